"""Language models in a study: small ones from scratch, checkpoints as they are or fine-tuned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import basewise as bw
from basewise.errors import ConfigError, DataError
from basewise.study.study import MODELS, load_study, study_from
from basewise.study.which import is_experiment
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.learning import learn_bpe
from tiny_networks import tiny

SMALL = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES: dict[str, dict[str, Any]] = {
    "dnabert2": SMALL | {"intermediate_size": 16},
    "gena": SMALL | {"intermediate_size": 16, "max_position_embeddings": 40},
    "nucleotide_transformer": SMALL | {"intermediate_size": 16},
    "hyenadna": {"d_model": 12, "d_inner": 16, "max_seq_len": 40, "filter_order": 8},
}
QUICK = {"epochs": 1, "batch_size": 20, "precision": "fp32"}


def boxes(n: int, seed: int) -> list[bw.Record]:
    rng = np.random.default_rng(seed)
    letters = rng.choice(list("ACGT"), (n, 29))
    letters[::2, 7:13] = list("TATAAA")
    return [
        bw.Record(f"r{seed}-{i}", "".join(row), "rest" if i % 2 else "box")
        for i, row in enumerate(letters)
    ]


TRAIN, DEV = boxes(40, 1), boxes(18, 2)


def made(table: dict[str, Any], folder: Path, seed: int = 4) -> bw.Model:
    source = MODELS.build(table)
    model: bw.Model = source.model("m", TRAIN, DEV, folder, seed, lambda *_: None)
    return model


@pytest.fixture(params=SIZES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_small_ones_from_scratch(kind: str, tmp_path: Path) -> None:
    table = {"type": kind, "network": SIZES[kind], "training": QUICK, "entries": 20}
    model = made(table, tmp_path)
    assert model.labels == ("box", "rest")
    assert model.network.config.model_type == f"basewise-{kind.replace('_', '-')}"
    rows = model.network.get_input_embeddings().weight.shape[0]
    assert model.tokenizer.vocabulary_size <= rows < model.tokenizer.vocabulary_size + 8
    model.save(tmp_path / "saved")
    again = bw.Model.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict(DEV), model.predict(DEV))
    other = made(table, tmp_path / "other")
    np.testing.assert_array_equal(other.predict(DEV), model.predict(DEV))


def test_on_another_tokenizer(kind: str, tmp_path: Path) -> None:
    table = {"type": kind, "network": SIZES[kind], "training": QUICK}
    model = made(table | {"tokenizer": {"type": "kmer", "k": 3, "stride": 3}}, tmp_path)
    assert model.tokenizer == Kmer(k=3, stride=3)
    with pytest.raises(ConfigError, match=r"No tokenizer named 'kmers'\. Did you mean 'kmer'"):
        MODELS.build(table | {"tokenizer": {"type": "kmers"}})


def test_the_sizes_unless_told_otherwise(kind: str, tmp_path: Path) -> None:
    said = {"dnabert2": 0.7, "gena": 0.7, "nucleotide_transformer": 1.2, "hyenadna": 0.4}[kind]
    assert f"{said} M weights" in (MODELS.get(kind).__doc__ or "")
    model = made({"type": kind, "training": QUICK, "entries": 20}, tmp_path)
    rest = 512 if kind in ("dnabert2", "gena") else model.tokenizer.vocabulary_size
    width = 128 * (rest - model.tokenizer.vocabulary_size)  # of a whole vocabulary
    assert round((model.parameters + width) / 1e6, 1) == said


def test_a_checkpoint_fine_tuned_in_stages(tmp_path: Path) -> None:
    tiny("basewise-gena").save_pretrained(tmp_path / "pretrained")
    table = {
        "type": "checkpoint",
        "path": str(tmp_path / "pretrained"),
        "tokenizer": {"type": "kmer", "k": 2},
        "training": QUICK | {"lora": {"rank": 2}, "learning_rate": 0.01},
        "stages": [{}, {"learning_rate": 0.001, "lora": None}],
    }
    model = made(table, tmp_path / "run")
    assert model.labels == ("box", "rest")
    # The first stage moved what has adapters and the head alone, the second everything.
    loaded = {"head": "sequence_classification", "labels": ["box", "rest"]}
    start = bw.Model.load(tmp_path / "pretrained", tokenizer=Kmer(k=2), **loaded)
    before, after = start.network.state_dict(), model.network.state_dict()
    assert not any((before[k] == v).all() for k, v in after.items())
    one = made(table | {"stages": [{}]}, tmp_path / "one").network.state_dict()
    fixed = [k for k in after if "query" not in k and "key" not in k and "value" not in k]
    assert all((before[k] == one[k]).all() for k in fixed if k.startswith("bert."))


def test_a_checkpoint_as_it_is(tmp_path: Path) -> None:
    network = tiny("basewise-hyenadna", head="sequence_classification")
    network.save_pretrained(tmp_path / "a")
    table = {"type": "checkpoint", "path": str(tmp_path / "a"), "labels": ["box", "rest"]}
    model = made(table, tmp_path / "run")
    assert model.labels == ("box", "rest")
    assert MODELS.build(table).origin() == MODELS.build(table).origin()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stages": [{}]}, "stages and pooling are of a training; give training"),
        ({"training": {}, "labels": ["a"]}, "labels of a model that is trained are those of the"),
        ({"training": {"epoch": 3}}, "has no setting 'epoch'. Did you mean 'epochs'"),
        ({"training": {"lora": {"rnk": 3}}}, "lora has no setting 'rnk'. Did you mean 'rank'"),
        ({"training": {}, "stages": [{"epocs": 1}]}, "has no setting 'epocs'. Did you mean"),
    ],
)
def test_wrong_settings(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MODELS.build({"type": "checkpoint", "path": "x"} | change)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_rebuild_the_study() -> None:
    tables = {
        "study": {"name": "s"},
        "data": {"train": "a.csv", "dev": "b.csv", "test": "c.csv"},
        "models": {
            "one": {"type": "dnabert2", "tokenizer": {"type": "kmer", "k": 3}, "stages": [{}]},
            "two": {
                "type": "checkpoint",
                "path": "lab/model",
                "training": {"lora": {"rank": 4}},
                "stages": [{"epochs": 1}, {"lora": None}],
            },
        },
        "target": {"label": "box"},
        "explainers": {"occlusion": {}},
    }
    study = study_from(tables)
    again = study_from(json.loads(json.dumps(study.settings(), default=str)))
    assert again.models == study.models


# ------------------------------------------------------------------------------ learned byte pairs


def test_learned_byte_pairs(tmp_path: Path) -> None:
    sequences = ["GTAC", "TACNTA", "TATAAC"]
    learned = learn_bpe(sequences, 11, tmp_path / "tokenizer.json")
    assert learned == Bpe(file=tmp_path / "tokenizer.json")
    assert learned.vocabulary_size == 11
    # By hand: TA occurs five times, then TA followed by C twice.
    assert learned.vocabulary() == [
        *["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"],
        *["A", "C", "G", "T", "TA", "TAC"],
    ]
    tokens = learned.encode("TATAAAC")
    assert tokens.ids[0] == 1
    assert tokens.ids[-1] == 2
    assert tokens.spans[:, 1].max() == 7
    first = (tmp_path / "tokenizer.json").read_bytes()
    learn_bpe(sequences, 11, tmp_path / "tokenizer.json")
    assert (tmp_path / "tokenizer.json").read_bytes() == first


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    for sequences, entries in ((["NNN"], 15), (["ACGT"], 9)):
        with pytest.raises(DataError, match=f"{entries} entries of byte pairs from . stretches"):
            learn_bpe(sequences, entries, tmp_path / "tokenizer.json")


# ------------------------------------------------------------------------------ recipes


RECIPES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))


@pytest.mark.parametrize("path", [path for path in RECIPES if not is_experiment(path)])
def test_recipes_are_whole(path: Path) -> None:
    study = load_study(path)
    assert study.models
    assert study_from(json.loads(json.dumps(study.settings(), default=str))).models == study.models
