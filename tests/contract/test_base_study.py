"""A study whose models label bases: the whole of it on a small task, in seconds."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import basewise as bw
from basewise.cli import main
from basewise.errors import CapabilityError, ConfigError, DataError, StoreError
from basewise.evaluate.bases import base_metrics, base_scores
from basewise.models import NETWORKS
from basewise.models.thresholds import threshold_of
from basewise.report import SECTIONS, write_report
from basewise.report.bases import base_sentences
from basewise.study.bases import BASELINE, TABLES
from basewise.study.checked import check
from basewise.study.plan import plan
from basewise.study.results import Run
from basewise.study.run import run_study
from basewise.study.study import MODELS, load_study
from basewise.tokenize.learning import learn_bpe
from basewise.train.training import Training

WIDTH = 60
SMALL = "hidden_size = 12, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 16"
STUDY = f"""
[study]
name = "boxes"
title = "Boxes"
seed = 3
explained = 9

[data]
type = "labelled_bases"
file = "windows.csv"
label = "box"

[models.base_cnn]
network = {{ channels = 12, dilations = [1, 2], stem_kernel = 7, hidden = 8 }}
training = {{ epochs = 6, batch_size = 20, learning_rate = 0.02, sampling = "presence" }}

[models.dnabert2]
head = "token_classification"
entries = 40
network = {{ {SMALL} }}
training = {{ epochs = 1, batch_size = 30 }}
grid = {{ max_length = [3], "labelling.threshold" = [0.3, 0.6] }}

[target]
label = "box"
where = "labelled"

[bases]
published = {{ caller = "calls.bed" }}
label_sets = {{ others = "others.bed" }}
prevalence = 0.001
repeats = ["CG", "GC/AC"]
genome = ["genome.fa"]

[explainers.occlusion]
units = {{ type = "windows", size = 10 }}
masking = "shuffled"

[explainers.integrated_gradients]
reference = "zero"
steps = 8
"""


def task(folder: Path) -> None:
    """Windows with a labelled box; calls that hold all boxes and more, and labels of half."""
    rng = np.random.default_rng(5)
    rows, calls, others = [], [], []
    for i, split in enumerate(["train"] * 150 + ["dev"] * 40 + ["test"] * 45):
        letters, start = rng.choice(list("ACGT"), WIDTH), 1000 * i
        interval = ""
        if i % 2 == 0:
            at = int(rng.integers(0, WIDTH - 10))
            letters[at : at + 10] = list("TGCGCGCGCA")
            interval = f"{at}-{at + 10}"
            calls.append((start + at, start + at + 10))
            if i % 4 == 0:
                others.append((start + at, start + at + 10))
        elif i % 3 == 0:
            calls.append((start + 20, start + 26))
        rows.append(("c", start, start + WIDTH, split, interval, "".join(letters)))
    (folder / "genome.fa").write_text(f">c\n{''.join(rng.choice(list('ACGT'), 30_000))}\n")
    columns = ["chrom", "start", "end", "split", "intervals", "sequence"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "windows.csv", index=False)
    for name, places in (("calls", calls), ("others", others)):
        (folder / f"{name}.bed").write_text("".join(f"c\t{a}\t{b}\n" for a, b in places))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("bases")
    task(folder)
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def finished(home: Path) -> Any:
    return run_study(load_study(home / "study.toml"), home / "boxes", home)


def test_everything_promised_is_there(finished: Any, home: Path) -> None:
    cnn, *small = finished.models
    assert [cnn, *small] == [
        "base_cnn",
        "dnabert2-max_length3-threshold0.3",
        "dnabert2-max_length3-threshold0.6",
    ]
    for name, columns in TABLES.items():
        found = finished.bases(name.rpartition("/")[2])
        assert tuple(found.columns) == columns
        assert len(found), name
    for name in finished.models:
        assert len(finished.base_predictions(name)) == len(finished.records("test")) == 45
    assert bw.Model.load(home / "boxes" / "models" / small[1]).labelling.threshold == 0.6
    pruned = bw.Model.load(home / "boxes" / "models" / small[0]).tokenizer
    assert max(map(len, pruned.vocabulary()[5:])) == 3


def test_the_threshold_is_that_of_dev_and_the_metrics_those_of_test(
    finished: Any, home: Path
) -> None:
    table = finished.bases("bases").set_index(["model", "split", "at", "metric"])["value"]
    test = finished.records("test")
    for name in finished.models:
        threshold = threshold_of(home / "boxes" / "models" / name, "box")
        model = bw.Model.load(home / "boxes" / "models" / name)
        scores = base_scores(test, "box", [each[:, 1] for each in model.predict_bases(test)])
        told = base_metrics(scores, threshold, rng=np.random.default_rng(0), resamples=2)
        for metric in ("f1", "auprc", "prevalence"):
            assert table[name, "test", "windows", metric] == pytest.approx(told[metric].value)
        kept = np.concatenate(finished.base_predictions(name)["probability"].tolist())
        np.testing.assert_allclose(kept, scores.scores, atol=1e-6)
    assert table["base_cnn", "test", "windows", "f1"] > 0.8
    assert table["base_cnn", "test", "genome", "prevalence"] == pytest.approx(0.001)
    rare = table["caller", "test", "genome", "f1"]  # it calls where no box is
    assert rare < table["caller", "test", "windows", "f1"] / 5
    assert table[BASELINE, "test", "windows", "auprc"] < 0.95


def test_calls_and_labels_of_others_by_hand(finished: Any) -> None:
    table = finished.bases("bases")
    table = table[(table["at"] == "windows")].set_index(["model", "metric"])["value"]
    test = finished.records("test")
    boxes = sum(len(record.truth) for record in test)
    more = sum(1 for i in range(190, 235) if i % 2 and i % 3 == 0)
    assert table["caller", "recall"] == 1
    assert table["caller", "precision"] == pytest.approx(10 * boxes / (10 * boxes + 6 * more))
    fewer = sum(1 for i in range(190, 235) if i % 4 == 0)
    assert table["others", "recall"] == pytest.approx(fewer / boxes)
    assert table["others", "precision"] == 1
    edges = {record.id: record.truth[0] for record in test if record.truth}
    whole = sum(span.end < WIDTH for span in edges.values())
    assert table["labels moved by 1 base", "recall"] == pytest.approx(0.9)
    assert table["labels 1 base longer", "precision"] == pytest.approx(
        10 * boxes / (10 * boxes + whole)
    )
    assert table["labels 1 base shorter", "recall"] == pytest.approx(0.9)


def test_every_labelled_region_is_explained_by_every_explainer(finished: Any) -> None:
    explained = finished.records("explained")
    assert len(explained) == 9
    by_id = {record.id: record for record in finished.records("test")}
    for record in explained:
        window, _, place = record.id.rpartition("@")
        (span,) = record.truth
        assert place == f"{span.start}-{span.end}"
        assert record.sequence == by_id[window].sequence
    for name in finished.models:
        for explainer in finished.explainers:
            found = finished.attributions(name, explainer)
            assert [a.record_id for a in found] == [record.id for record in explained]
            places = [tuple(record.truth[0][:2]) for record in explained]
            assert [a.target.where for a in found] == places
    assert finished.localisation.empty  # the truth of a region says where it is, not why
    assert len(finished.kmers)
    predictions = finished.predictions("base_cnn").set_index("record_id")
    assert set(predictions["label"]) == {"box"}
    assert predictions["p:box"].between(0, 1).all()


def test_repeats_are_where_the_boxes_are(finished: Any) -> None:
    table = finished.bases("base_repeats").set_index(["background", "of", "family"])
    assert set(table.index.unique("of")) == {"labels", *finished.models, "caller", "others"}
    anywhere = table.loc[("genome", "labels", "CG")]
    assert anywhere["enrichment"] > 3
    table = table.loc["windows"]
    labels = table.loc[("labels", "CG")]
    assert anywhere["share"] == labels["share"]
    assert labels["share"] == pytest.approx(0.8)  # GCGCGCGC of TGCGCGCGCA
    assert table.loc[("labels", "GC/AC"), "share"] >= 0.9  # and the last CA, or the first TG
    assert labels["q"] < 0.01
    assert labels["enrichment"] > 3


def test_tokens_and_kmers_with_their_ratios(finished: Any) -> None:
    tokens = finished.bases("base_tokens")
    assert set(tokens["by"]) == {"token", "kmer"}
    best = tokens[(tokens["model"] == "base_cnn") & (tokens["by"] == "kmer")].iloc[0]
    assert best["token"] in "TGCGCGCGCA"
    assert best["tp"] <= best["count"]
    methods = set(finished.bases("base_kmers")["method"])
    assert methods == {"borda", "reciprocal_rank", "robust_rank", "mean_deviation"}


def test_running_again_computes_nothing(finished: Any, home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home / "boxes").rglob("*.parquet")}
    run_study(load_study(home / "study.toml"), home / "boxes", home)
    assert {path: path.stat().st_mtime_ns for path in (home / "boxes").rglob("*.parquet")} == before


def test_the_command_says_how_good_the_models_are(
    finished: Any, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "study.toml", "--data", ".", "--out", "."]
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "argv", ["basewise", *command])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    said = capsys.readouterr().out
    for name in (*finished.models, BASELINE, "caller", "others"):
        assert f"{name}: test MCC per base " in said
    assert "labels moved" not in said


def test_what_it_would_cost(home: Path) -> None:
    said = "\n".join(plan(load_study(home / "study.toml"), home))
    assert "explain: 9 test records, log-odds of box in each labelled region" in said


def test_the_report_is_written(finished: Any, home: Path) -> None:
    page = write_report(home / "boxes").read_text()
    section = page[page.index('id="bases"') :]
    assert "The labels are a subset of what caller calls." in section
    assert "subset of what others" not in section
    poor = "is not shown to be better than counting k-mers around a base."
    assert f"{finished.models[1]} {poor}" in section  # one epoch
    assert f"base_cnn {poor}" not in section
    for name in (*finished.models, BASELINE, "labels moved by 1 base"):
        assert name in section
    best = finished.bases("bases").set_index(["model", "at", "metric"])["value"]
    said = base_sentences(finished)
    assert said[0].startswith("Of 2,700 bases in 45 test windows, ")
    assert (
        f"base_cnn labels them with F1 {best['base_cnn', 'windows', 'f1'].iloc[0]:.3f}" in said[0]
    )
    assert "At its share of the genome, 0.100" in said[1]
    assert SECTIONS.build("bases").render(Run(home)) is None


def test_regions_that_are_predicted_are_explained_by_all_models(home: Path, tmp_path: Path) -> None:
    start = STUDY.index("[models.dnabert2]")
    second = (
        STUDY[STUDY.index("[models.base_cnn]") : start]
        .replace("[models.base_cnn]", "[models.base_unet]")
        .replace("{ channels = 12, dilations = [1, 2], stem_kernel = 7, hidden = 8 }", UNET)
    )
    text = STUDY[:start] + second + STUDY[STUDY.index("[target]") :]
    text = text.replace('"labelled"', '"predicted"').replace("explained = 9", "explained = 0")
    few = 'maskings = ["n"]\nsteps = 3\norders = 1\nperturbations = 2\nrecords = 4'
    (tmp_path / "study.toml").write_text(f"{text}\n[faithfulness]\n{few}\n")
    study = load_study(tmp_path / "study.toml")
    assert "in each predicted region" in "\n".join(plan(study, home))
    run = run_study(study, tmp_path / "run", home)
    explained, test = run.records("explained"), {r.id: r for r in run.records("test")}
    calls = run.bases("base_calls")
    calls = calls[calls["kind"] == "model"]
    assert set(calls["name"]) == {"base_cnn", "base_unet"}
    inside = {id: np.zeros(WIDTH, bool) for id in test}
    for row in calls.itertuples():
        inside[row.record_id][row.start : row.end] = True
    found = {id: np.zeros(WIDTH, bool) for id in test}
    for record in explained:
        (span,) = record.truth
        window = record.id.rpartition("@")[0]
        found[window][span.start : span.end] = True
        touched = [s for s in test[window].truth if s.start < span.end and span.start < s.end]
        assert record.label == ("box" if touched else "background")
    for id, own in inside.items():
        np.testing.assert_array_equal(found[id], own)
    for model in run.models:
        attributions = run.attributions(model, "occlusion")
        assert [a.target.where for a in attributions] == [tuple(r.truth[0][:2]) for r in explained]
    faithful = run.faithfulness
    assert set(faithful["model"]) == {"base_cnn", "base_unet"}
    gain = faithful[
        (faithful["metric"] == "comprehensiveness") & (faithful["masking"] == "all")
    ].set_index(["model", "explainer"])["gain"]
    assert gain["base_cnn", "occlusion"] > 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*.parquet")}
    run_study(study, tmp_path / "run", home)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    page = write_report(tmp_path / "run").read_text()
    assert "in each predicted region" in page


OF_SEQUENCES = "gives one label for a sequence and none for its bases"


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        (
            '"labelled"',
            "[3]",
            ConfigError,
            r"\[target\] where = \[3\]: 'labelled', 'predicted' or \[start, end\]",
        ),
        ('"box"\nwhere', '"background"\nwhere', DataError, "no test record has a stretch labelled"),
        ('"calls.bed"', '"none.bed"', DataError, r"none.bed does not exist \(\[bases\] caller ="),
        (
            '"others.bed"',
            '"named.bed"',
            DataError,
            r"named.bed has no region on c; its chromosomes",
        ),
        ('"genome.fa"', '"none.fa"', DataError, r"none.fa does not exist \(\[bases\] genome ="),
        ('["CG", "GC/AC"]', '["CGT"]', ConfigError, r"\[bases\].*'CGT' is no family of repeats"),
        ("prevalence = 0.001", "prevalence = 2", ConfigError, r"\[bases\].*prevalence"),
        ("[bases]", "[controls]\n[bases]", ConfigError, r"\[controls\] cannot go with \[target\]"),
        ('head = "token_classification"\n', "", CapabilityError, OF_SEQUENCES),
    ],
)
def test_what_is_refused(
    home: Path, tmp_path: Path, old: str, new: str, error: Any, said: str
) -> None:
    assert STUDY.count(old) == 1
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new))
    for name in ("windows.csv", "calls.bed", "others.bed", "genome.fa"):
        shutil.copy(home / name, tmp_path)
    (tmp_path / "named.bed").write_text("chrc\t20\t30\n")
    with pytest.raises(error, match=said) as caught:
        run_study(load_study(tmp_path / "study.toml"), tmp_path / "run", tmp_path)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "run").glob("models/*")), "refused before training"


# ------------------------------------------------------------------------------ models


def small(kind: str) -> dict[str, Any]:
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "hyenadna":
        sizes = {"d_model": 12, "d_inner": 16, "max_seq_len": 70, "filter_order": 8}
    return {"type": kind, "head": "token_classification", "network": sizes, "entries": 40}


@pytest.mark.parametrize("kind", ["dnabert2", "gena", "hyenadna", "nucleotide_transformer"])
def test_every_language_model_labels_bases_from_scratch_and_from_a_checkpoint(
    kind: str, home: Path, tmp_path: Path
) -> None:
    training = {"epochs": 1, "batch_size": 30, "precision": "fp32"}
    splits = load_study(home / "study.toml").data.splits(home, 0)
    train, dev = splits["train"].records[:60], splits["dev"].records
    table = small(kind) | {"training": training, "labelling": {"threshold": 0.4}}
    made = MODELS.build(table).model("m", train, dev, tmp_path / "a", 1, lambda *_: None)
    assert made.labels == ("background", "box")
    assert made.labelling.threshold == 0.4
    made.save(tmp_path / "saved")
    again = {"type": "checkpoint", "path": str(tmp_path / "saved"), "head": "token_classification"}
    again |= {"training": training, "labelling": {"threshold": 0.6, "comparison": ">="}}
    tuned = MODELS.build(again).model("t", train, dev, tmp_path / "b", 1, lambda *_: None)
    assert tuned.labelling.threshold == 0.6
    for model in (made, tuned):
        found = model.predict_bases(dev[:3])
        assert [each.shape for each in found] == [(WIDTH, 2)] * 3
    as_it_is = MODELS.build({"type": "checkpoint", "path": str(tmp_path / "saved")})
    loaded = as_it_is.model("l", train, dev, tmp_path / "c", 1, lambda *_: None)
    np.testing.assert_allclose(loaded.predict_bases(dev[:1])[0], made.predict_bases(dev[:1])[0])


UNET = "{ channels = 8, growth = 2, depth = 2, stem_kernel = 7 }"
VOCABULARY = 'tokenizer = { type = "bpe", file = "words/tokenizer.json", compact = true }'


def test_a_published_vocabulary_is_looked_for_in_the_data_folder(
    home: Path, tmp_path: Path
) -> None:
    records = load_study(home / "study.toml").data.splits(home, 0)["train"].records[:30]
    whole = learn_bpe(
        [record.sequence for record in records], 60, tmp_path / "words/tokenizer.json"
    )
    text = STUDY.replace("entries = 40", VOCABULARY)
    text = text.replace("max_length = [3]", '"tokenizer.max_length" = [2, 4]')
    (tmp_path / "study.toml").write_text(text)
    study = load_study(tmp_path / "study.toml")
    assert str(tmp_path) not in str(study.settings()), "a lock says what the file says"
    for name, source in study.located(tmp_path).models.items():
        if name == "base_cnn":
            continue
        model = source.untrained(name, records, tmp_path, 0)
        longest = int(name[len("dnabert2-max_length")])
        assert max(map(len, model.tokenizer.vocabulary()[5:])) == longest
        assert model.tokenizer.vocabulary_size < whole.vocabulary_size
    with pytest.raises(StoreError, match=r"bases0/words/tokenizer.json does not exist") as caught:
        plan(study, home)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        ("base_unet", {"channels": 6, "growth": 2, "depth": 2, "tracks": ["z_forming"]}),
        ("base_recurrent", {"units": 5, "layers": 1, "hidden": 4}),
        ("base_graph", {"widths": [6, 5]}),
    ],
)
def test_every_network_of_bases(kind: str, network: Any, home: Path, tmp_path: Path) -> None:
    splits = load_study(home / "study.toml").data.splits(home, 0)
    train, dev = splits["train"].records[:30], splits["dev"].records
    table = {"type": kind, "network": network, "training": {"epochs": 1, "batch_size": 30}}
    made = MODELS.build(table).model("m", train, dev, tmp_path, 1, lambda *_: None)
    assert [each.shape for each in made.predict_bases(dev[:2])] == [(WIDTH, 2)] * 2


TUNED = """
[models.checkpoint]
path = "pretrained"
head = "token_classification"
training = { epochs = 1, batch_size = 30, precision = "fp32", lora = { rank = 2 } }
stages = [{ threshold = 0.2, learning_rate = 0.01 }, { width = 25, learning_rate = 0.001 }]
tokenizer = { type = "bpe", file = "words/tokenizer.json" }
grid = { "tokenizer.max_length" = [2, 4], "labelling.threshold" = [0.3, 0.7] }
"""


def test_token_length_and_threshold_are_axes_also_in_stages_with_adapters(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("windows.csv", "calls.bed", "others.bed", "genome.fa"):
        shutil.copy(home / name, tmp_path)
    train = load_study(home / "study.toml").data.splits(home, 0)["train"].records
    words = learn_bpe([r.sequence for r in train], 60, tmp_path / "words/tokenizer.json")
    torch.manual_seed(0)
    cls = NETWORKS.get("basewise-dnabert2")
    sizes = {"hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 16, "vocab_size": words.vocabulary_size}
    cls(cls.config_class(**sizes)).save_pretrained(tmp_path / "pretrained")
    start, end = STUDY.index("[models.base_cnn]"), STUDY.index("[target]")
    (tmp_path / "study.toml").write_text(STUDY[:start] + TUNED + STUDY[end:])
    monkeypatch.chdir(tmp_path)
    seen = []

    def note(
        self: Training, model: bw.Model, train: Any, dev: Any, *rest: Any, **named: Any
    ) -> Any:
        seen.append((model.labelling.threshold, {len(r) for r in train}, self.lora is not None))
        return whole(self, model, train, dev, *rest, **named)

    whole = Training.train
    monkeypatch.setattr(Training, "train", note)
    run = run_study(load_study("study.toml"), Path("run"), tmp_path)
    assert run.models == [
        f"checkpoint-max_length{length}-threshold{threshold}"
        for length in (2, 4)
        for threshold in (0.3, 0.7)
    ]
    assert seen == [
        stage
        for _ in (2, 4)
        for threshold in (0.3, 0.7)
        for stage in ((0.2, {WIDTH}, True), (threshold, {25}, True))
    ]
    for name in run.models:
        model = bw.Model.load(Path("run/models") / name)
        length, threshold = name.removeprefix("checkpoint-max_length").split("-threshold")
        assert model.labelling.threshold == float(threshold)
        texts = [text for text in model.tokenizer.vocabulary() if set(text) <= set("ACGT")]
        assert max(map(len, texts)) == int(length)
        assert len(run.base_predictions(name)) == len(run.records("test")) == 45


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([{"width": 0}], r"stages: width = 0; bases of a window are 1 or more"),
        ([{"threshold": 1.5}], r"threshold"),
        ([{"epocs": 1}], r"no setting 'epocs'. Did you mean 'epochs'"),
    ],
)
def test_stages_that_are_refused(stages: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        MODELS.build({"type": "base_cnn", "stages": stages})
    assert "\n" not in str(caught.value)


def test_every_window_may_hold_the_label(home: Path) -> None:
    study = load_study(home / "study.toml")
    splits = study.data.splits(home, 0)
    records = {name: [r for r in split.records if r.truth] for name, split in splits.items()}
    check(study, records, home)
    of_sequences = replace(study, models={"cnn": MODELS.build({"type": "cnn"})})
    with pytest.raises(DataError, match="All 75 training records are 'box'; a classifier needs"):
        check(of_sequences, records, home)


def test_models_of_bases_need_labelled_bases(home: Path, tmp_path: Path) -> None:
    plain = [bw.Record(f"r{i}", "ACGT" * 9, label="ab"[i % 2]) for i in range(9)]
    for table in ({"type": "base_cnn"}, small("hyenadna")):
        with pytest.raises(
            DataError, match="None of 9 training records has a labelled base; a mod"
        ):
            MODELS.build(table).untrained("m", plain, tmp_path, 0)
    with pytest.raises(
        ConfigError, match="max_length is of a learned vocabulary; give it in the t"
    ):
        MODELS.build({"type": "gena", "max_length": 3, "tokenizer": {"type": "kmer", "k": 3}})
