"""A whole study on tiny data: what it writes, what it keeps, what it computes again."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basewise.data.grammar import PromoterGrammar
from basewise.errors import CapabilityError, ConfigError, DataError, StoreError
from basewise.report import write_report
from basewise.study import load_study, open_run, run_study
from basewise.study.ledger import Ledger
from basewise.study.plan import plan
from basewise.study.scratch import Dnabert2
from basewise.study.status import progress_of
from basewise.study.steps import STEPS
from basewise.study.watch import Silent
from basewise.tokenize.learning import learn_bpe

STUDY = """
[study]
name = "tiny"
seed = 3
explained = 12

[data]
train = "train.csv"
dev = "dev.csv"
test = "test.csv"
labels = { "0" = "non-promoter", "1" = "promoter" }
tss = 110

[models.cnn]
type = "cnn"
network = { channels = 8, dilations = [1], stem_kernel = 7 }
training = { epochs = 1, batch_size = 32 }

[target]
label = "promoter"

[explainers.occlusion]
units = "bases"

[explainers.shap]
type = "kernel_shap"
units = { type = "windows", size = 20 }
evaluations = 60

[biology]
shuffles = 1
draws = 99
"""
NAMES = {"promoter": 1, "non-promoter": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with three files of sequences and a study file."""
    folder = tmp_path_factory.mktemp("study")
    records = PromoterGrammar(length=150, tss=110).make(120, seed=1)
    for name, some in (("train", records[:60]), ("dev", records[60:80]), ("test", records[80:])):
        rows = [(r.sequence, NAMES[str(r.label)]) for r in some]
        pd.DataFrame(rows, columns=["sequence", "label"]).to_csv(
            folder / f"{name}.csv", index=False
        )
    (folder / "tiny.toml").write_text(STUDY)
    return folder


@pytest.fixture(scope="module")
def finished(home):
    return run_study(load_study(home / "tiny.toml"), home / "runs" / "tiny", home)


def scores(run) -> dict[str, bytes]:
    """The bytes of every part file of the present settings."""
    files = [part for name in run.explainers for part in run.parts("cnn", name)]
    return {str(path.relative_to(run.folder)): path.read_bytes() for path in files}


def snapshot(folder: Path) -> dict[str, int]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in files}


def changed(folder: Path, before: dict[str, int]) -> set[str]:
    always = {"log.jsonl", "lock.json"}
    return {f for f, at in snapshot(folder).items() if before.get(f) != at} - always


def test_every_promised_file_is_there(finished):
    found = snapshot(finished.folder)
    for name in (
        "lock.json", "audit.json", "data/summary.json", "models/cnn/model.safetensors",
        "predictions/cnn.parquet", "metrics/models.parquet", "metrics/explainers.parquet",
        "metrics/agreement.parquet", "metrics/consensus.parquet", "rankings/combined.parquet",
        "rankings/occurrences/cnn/shap.parquet",
        "biology/hits.parquet", "biology/class_enrichment.parquet",
    ):  # fmt: skip
        assert name in found
    assert not [f for f in found if ".part" in f or f.split("/")[-1].startswith(".")]


def test_every_record_is_explained_once_by_every_explainer(finished):
    ids = [record.id for record in finished.records("explained")]
    assert len(set(ids)) == 12
    for explainer in finished.explainers:
        found = finished.attributions("cnn", explainer)
        assert [a.record_id for a in found] == ids
        assert {str(a.target) for a in found} == {"log-odds of promoter"}


def test_the_model_stands_beside_the_baseline(finished):
    metrics = finished.model_metrics
    assert set(metrics["model"]) == {"cnn", "6-mer baseline"}
    assert set(metrics["positive"]) == {"promoter"}
    assert (metrics["low"] <= metrics["high"]).all()


def test_what_each_model_is_stands_beside_how_long_it_learned(finished):
    [about] = finished.training.to_dict("records")
    assert about["model"] == "cnn"
    assert about["architecture"] == "basewise-cnn"
    assert about["tokenizer"] == "nucleotide"
    assert about["parameters"] == finished.model_metrics["parameters"].iloc[0]
    assert 0 < about["seconds"] < 600


def test_running_again_computes_nothing(home, finished):
    before = snapshot(finished.folder)
    run_study(load_study(home / "tiny.toml"), finished.folder, home)
    assert not changed(finished.folder, before)


def test_changing_one_explainer_recomputes_only_it(home, finished, tmp_path):
    study = tmp_path / "tiny.toml"
    study.write_text(STUDY.replace("evaluations = 60", "evaluations = 62"))
    before = snapshot(finished.folder)
    run_study(load_study(study), finished.folder, home)
    new = {f for f in changed(finished.folder, before) if "/part-" in f}
    assert len(new) == 1
    assert new.pop().startswith("attributions/cnn/shap-")
    assert not [f for f in changed(finished.folder, before) if f.startswith(("models", "data"))]
    run_study(load_study(home / "tiny.toml"), finished.folder, home)


def test_the_lock_runs_the_study_again(home, finished, tmp_path):
    again = run_study(load_study(finished.folder / "lock.json"), tmp_path / "again", home)
    assert scores(finished) == scores(again)
    assert finished.lock["places"] == again.lock["places"]


@pytest.mark.parametrize(
    "step, made", [("audit", "audit.json"), ("explain", "attributions/cnn/shap-")]
)
def test_what_code_of_before_made_is_made_again(home, copied, monkeypatch, step, made):
    monkeypatch.setitem(STEPS, step, STEPS[step] + 1)
    before = snapshot(copied)
    run_study(load_study(home / "tiny.toml"), copied, home)
    new = changed(copied, before)
    assert [name for name in new if name.startswith(made)]
    assert not [name for name in new if name.startswith(("models", "data"))]


def test_a_tokenizer_file_is_part_of_what_a_model_depends_on(tmp_path):
    file = tmp_path / "tokenizer.json"
    source = Dnabert2(tokenizer={"type": "bpe", "file": str(file)})
    origins = []
    for entries in (20, 24):
        learn_bpe(["ACGTTGCAACGGTTAACCGGATAT" * 20], entries, file)
        origins.append(source.origin())
    assert len(set(origins)) == 2
    assert Dnabert2().origin() == ""


def test_a_broken_part_is_made_again(home, finished):
    part = next(finished.parts("cnn", "occlusion"))
    whole = part.read_bytes()
    part.write_bytes(whole[: len(whole) // 2])
    run_study(load_study(home / "tiny.toml"), finished.folder, home)
    assert len(finished.attributions("cnn", "occlusion")) == 12


def test_a_run_killed_at_any_moment_ends_as_an_undisturbed_one(home, finished, tmp_path):
    """SIGKILL after ever longer times, until a run lives to its end."""
    code = (
        "import sys; from pathlib import Path; from basewise.study import load_study, run_study;"
        "run_study(load_study(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))"
    )
    arguments = [str(home / "tiny.toml"), str(tmp_path / "killed"), str(home)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    kills, wait = 0, 4.0
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)
        try:
            assert process.wait(wait) == 0
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills, wait = kills + 1, wait * 1.5
    assert kills
    found = open_run(tmp_path / "killed")
    assert scores(finished) == scores(found)
    assert not list((tmp_path / "killed").rglob("*.part"))


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("[models.cnn]", "[modells.cnn]", r"no table \[modells\]\. Did you mean 'models'\?"),
        ("evaluations = 60", "evaluation = 60", "Did you mean 'evaluations'"),
        ('type = "kernel_shap"', 'type = "kernelshap"', "Did you mean 'kernel_shap'"),
        ("evaluations = 60", "evaluations = -1", "evaluations = -1"),
        ('label = "promoter"', 'read = "logit"', r"\[target\] needs the setting 'label'"),
        ("channels = 8", "chanels = 8", "no setting 'chanels'"),
        ('name = "tiny"', 'name = "../up"', "name = '../up'"),
        ("[study]", "[study", "tiny.toml"),
        ("[study]", "[study]\nexplaned = 3", r"\[study\] About has no setting 'explaned'"),
        ("[study]", "[study]\nquestion = why", "at line 3, column 12.; text stands in quotes"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(home, tmp_path, old, new, message):
    assert old in STUDY
    (tmp_path / "tiny.toml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", home)
    assert "\n" not in str(caught.value)


def test_a_study_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "tiny.toml").write_bytes(b"[study]\n\xff")
    with pytest.raises(ConfigError, match="byte 0xff at 8 is not UTF-8 text"):
        load_study(tmp_path / "tiny.toml")


def test_a_target_that_is_no_class_is_refused_before_anything_is_trained(home, tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace('label = "promoter"', 'label = "promotor"'))
    with pytest.raises(ConfigError, match="its classes are non-promoter, promoter"):
        run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", home)
    assert not (tmp_path / "run" / "models").exists()


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            'type = "kernel_shap"\nunits = { type = "windows", size = 20 }\nevaluations = 60',
            'type = "exact_shapley"\nunits = { type = "windows", size = 5 }',
            r"\[explainers.shap\] with \[models.cnn\]: .* at most 16 units; .* has 30",
        ),
        (
            "evaluations = 60",
            "evaluations = 8",
            r"\[explainers.shap\] .*evaluations = 8 is too few",
        ),
        (
            "[biology]",
            "[explainers.attention]\n[biology]",
            r"explainers.attention\] .*no attention",
        ),
        ('label = "promoter"', 'label = "promoter"\nread = "value"', r"\[models.cnn\]: .*'value'"),
        (
            'units = "bases"',
            'units = "bases"\nmasking = "mask"',
            r"\[explainers.occlusion\] .* no mask token",
        ),
    ],
)
def test_what_an_explainer_cannot_do_is_refused_before_training(home, tmp_path, old, new, message):
    assert old in STUDY
    (tmp_path / "tiny.toml").write_text(STUDY.replace(old, new, 1))
    with pytest.raises((ConfigError, CapabilityError), match=message) as caught:
        run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", home)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "models").exists()
    with pytest.raises((ConfigError, CapabilityError), match=message):
        plan(load_study(tmp_path / "tiny.toml"), home)


def test_a_test_sequence_that_is_too_long_is_refused_before_training(home, tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv").write_bytes((home / f"{name}.csv").read_bytes())
    with open(tmp_path / "test.csv", "a") as file:
        file.write("ACGT" * 60 + ",1\n")
    start, end = STUDY.index("[models.cnn]"), STUDY.index("[target]")
    model = (
        '[models.nt]\ntype = "nucleotide_transformer"\n'
        "network = { hidden_size = 16, num_hidden_layers = 1, num_attention_heads = 2, "
        "intermediate_size = 16, max_position_embeddings = 34 }\n"
    )
    (tmp_path / "tiny.toml").write_text(STUDY[:start] + model + STUDY[end:])
    with pytest.raises(
        DataError, match=r"\[models.nt\]: Record 'test:41' has 240 bases, .* at most"
    ):
        run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", tmp_path)
    assert not (tmp_path / "run" / "models").exists()


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("tss = 110\n", "", r"panel = 'core_promoter' looks for .* give \[data\] tss, .*'none'"),
        ("tss = 110", "tss = 150", r"The TSS \(index 150\) lies outside record 'test:1'"),
        ("[biology]", '[biology]\npanel = "cor_promoter"', "Did you mean 'core_promoter'"),
        ('label = "promoter"', 'label = "promoter"\nread = "log-odds"', "one of log_odds, .*"),
        ("[study]", "biology = 3\n[study]", r"biology = 3 must be a table: write \[biology\]"),
        ('label = "promoter"', "label = 1", r"\[target\] label = 1 is no text"),
        ('"1" = "promoter"', '"1" = "non-promoter"', "no class of the training data"),
    ],
)
def test_what_would_fail_after_training_is_refused_before(home, tmp_path, old, new, message):
    study = STUDY.replace("[biology]\nshuffles = 1\ndraws = 99\n", "") if "3" in new else STUDY
    assert old in study
    (tmp_path / "tiny.toml").write_text(study.replace(old, new, 1))
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", home)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "models").exists()


def test_a_class_that_train_has_not_is_refused_before_anything_is_trained(home, tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv").write_bytes((home / f"{name}.csv").read_bytes())
    table = pd.read_csv(tmp_path / "test.csv", dtype=str)
    table.loc[3, "label"] = "2"
    table.to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "tiny.toml").write_text(STUDY.replace('{ "0"', '{ "2" = "enhancer", "0"'))
    with pytest.raises(DataError, match="'test:4' of test has the class 'enhancer'"):
        run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", tmp_path)
    assert not (tmp_path / "run" / "models").exists()


def test_truth_is_found_whichever_class_is_explained(tmp_path):
    """The truth speaks for promoters, so for occlusion both targets mirror each other."""
    found = []
    for label in ("promoter", "non-promoter"):
        data = 'type = "grammar"\ntrain = 60\ndev = 20\ntest = 40\n\n[models.cnn]'
        study = STUDY[: STUDY.index("train =")] + data + STUDY.split("[models.cnn]")[1]
        study = study.split("[explainers.shap]")[0].replace('= "promoter"', f'= "{label}"')
        (tmp_path / "tiny.toml").write_text(study)
        run = run_study(load_study(tmp_path / "tiny.toml"), tmp_path / label)
        found.append(run.localisation.set_index("metric")["value"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


def test_a_study_without_tss_and_biology_ends_with_a_report(home, tmp_path):
    study = STUDY.split("[biology]")[0].replace("tss = 110\n", "")
    (tmp_path / "tiny.toml").write_text(study)
    found = run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", home)
    assert found.hits.empty
    assert write_report(found.folder).exists()


def test_a_test_split_too_small_for_motifs_by_class_ends_with_a_report(home, tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv").write_bytes((home / f"{name}.csv").read_bytes())
    table = pd.read_csv(tmp_path / "test.csv")
    pd.concat([table[table["label"] == k][:9] for k in (0, 1)]).to_csv(
        tmp_path / "test.csv", index=False
    )
    (tmp_path / "tiny.toml").write_text(STUDY)
    found = run_study(load_study(tmp_path / "tiny.toml"), tmp_path / "run", tmp_path)
    assert found.class_enrichment.empty
    assert not found.attribution_enrichment.empty
    assert write_report(found.folder).exists()


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run, for tests that change it."""
    return Path(shutil.copytree(finished.folder, tmp_path / "copied"))


def test_another_tss_makes_the_tables_of_motifs_again(home, copied, tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace("tss = 110", "tss = 60"))
    before = snapshot(copied)
    run_study(load_study(tmp_path / "tiny.toml"), copied, home)
    new = changed(copied, before)
    assert {f"biology/{name}.parquet" for name in ("hits", "class_enrichment")} <= new
    assert not [name for name in new if name.startswith(("models", "attributions"))]


def test_a_record_that_moves_between_splits_trains_again(home, copied, tmp_path):
    tables = {name: pd.read_csv(home / f"{name}.csv") for name in ("train", "dev", "test")}
    for name, table in tables.items():
        table.insert(0, "id", [f"{name}-{i}" for i in range(len(table))])
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "tiny.toml").write_text(STUDY)
    study = load_study(tmp_path / "tiny.toml")
    first = run_study(study, copied, tmp_path).lock["hashes"]
    last = tables["train"].iloc[-1:]
    tables["train"].iloc[:-1].to_csv(tmp_path / "train.csv", index=False)
    pd.concat([last, tables["dev"]]).to_csv(tmp_path / "dev.csv", index=False)
    second = run_study(study, copied, tmp_path)
    assert len(second.records("train")) == 59
    assert second.lock["hashes"]["data"] != first["data"]
    assert second.lock["hashes"]["model cnn"] != first["model cnn"]


def test_a_saved_model_that_changed_is_read_again(home, finished, tmp_path):
    saved = Path(shutil.copytree(finished.folder / "models" / "cnn", tmp_path / "saved"))
    start, end = STUDY.index("[models.cnn]"), STUDY.index("[target]")
    model = f'[models.saved]\ntype = "checkpoint"\npath = "{saved}"\n'
    (tmp_path / "tiny.toml").write_text(STUDY[:start] + model + STUDY[end:])
    study = load_study(tmp_path / "tiny.toml")
    first = run_study(study, tmp_path / "run", home).lock["hashes"]["model saved"]
    config = (saved / "config.json").read_text()
    (saved / "config.json").write_text(
        config.replace('"non-promoter"', '"x"')
        .replace('"promoter"', '"non-promoter"')
        .replace('"x"', '"promoter"')
    )
    second = run_study(study, tmp_path / "run", home)
    assert second.lock["hashes"]["model saved"] != first


class Stopping(Silent):
    """Stops the run where a step begins."""

    def __init__(self, title: str):
        self._title = title

    def step(self, title, total=None):
        if title == self._title:
            raise KeyboardInterrupt
        return super().step(title, total)


def test_what_a_stopped_run_left_of_earlier_settings_is_not_shown(home, copied, tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace("evaluations = 60", "evaluations = 62"))
    with pytest.raises(KeyboardInterrupt):
        run_study(load_study(tmp_path / "tiny.toml"), copied, home, Stopping("explain"))
    found = open_run(copied)
    assert not found.model_metrics.empty
    for table in (found.explainer_metrics, found.hits, found.attribution_enrichment):
        assert table.empty
    assert write_report(copied).exists()


def test_motifs_that_are_no_longer_asked_for_are_not_shown(home, copied, tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY.replace("[biology]", '[biology]\npanel = "none"'))
    found = run_study(load_study(tmp_path / "tiny.toml"), copied, home)
    assert found.hits.empty
    assert found.class_enrichment.empty


def test_a_step_begun_for_one_study_is_not_done_for_the_one_before(tmp_path):
    """Killed while files of B replaced those of A: going back to A must make them again."""
    (tmp_path / "file").touch()
    steps = Ledger(tmp_path / "steps.json")
    steps.record("predict", "A")
    assert steps.done("predict", "A", "file")
    assert not steps.done("predict", "B", "file")
    assert not Ledger(tmp_path / "steps.json").done("predict", "A", "file")


def test_missing_data_say_where_they_were_looked_for(home, tmp_path):
    with pytest.raises(DataError, match="--data DIR"):
        run_study(load_study(home / "tiny.toml"), tmp_path / "run", tmp_path)


def test_bad_data_leave_earlier_results_untouched(home, finished, tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.csv").write_bytes((home / f"{name}.csv").read_bytes())
    with open(tmp_path / "test.csv", "a") as file:
        file.write("ACGTXX,1\n")
    before = snapshot(finished.folder)
    with pytest.raises(DataError, match=r"test\.csv.*42"):
        run_study(load_study(home / "tiny.toml"), finished.folder, tmp_path)
    assert not changed(finished.folder, before)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"no lock\.json"):
        open_run(tmp_path)


def test_the_log_is_json_lines(finished):
    lines = (finished.folder / "log.jsonl").read_text().splitlines()
    assert {"start", "complete"} <= {json.loads(line)["event"] for line in lines}


def test_status_does_not_offer_a_report_of_an_earlier_state_as_this_one(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    run = open_run(folder)
    assert progress_of(run)[-1] == "report: not written yet"
    page = folder / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("<html>")
    assert progress_of(run)[-1] == f"report: {page}"
    next(iter(run.parts(run.models[0], run.explainers[0]))).unlink()
    assert progress_of(run)[-1] == f"report: {page} (of an earlier state: run the study again)"
