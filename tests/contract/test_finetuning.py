"""Fine-tuning: new heads, adapters merged and kept, accumulated gradients, stages, one split."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, RobertaConfig
from transformers import RobertaForSequenceClassification as Roberta

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError, WeightsError
from basewise.models.adapters import Lora, adapters, merged
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.nucleotide import Nucleotide
from basewise.train.finetuning import Stage, train_in_stages
from basewise.train.training import Training
from tiny_networks import library_networks, tiny

ADAPTED = {
    "basewise-dnabert2": (3, {"Wqkv"}),
    "basewise-gena": (9, {"query", "key", "value"}),
    "basewise-nucleotide-transformer": (9, {"query", "key", "value"}),
    "basewise-hyenadna": (6, {"in_proj", "out_proj"}),
    "bert": (9, {"query", "key", "value"}),
    "esm": (9, {"query", "key", "value"}),
}
TOKENIZERS: dict[str, Any] = {"basewise-hyenadna": Nucleotide(layout="hyenadna")}
QUICK = Training(epochs=2, batch_size=16, learning_rate=0.01, precision="fp32")


def boxes(n: int, seed: int, length: int = 17) -> list[bw.Record]:
    """Random sequences, half of them with a TATAAA."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        letters = rng.choice(list("ACGT"), length)
        if i % 2:
            letters[5:11] = list("TATAAA")
        found.append(bw.Record(f"s{seed}-{i}", "".join(letters), "box" if i % 2 else "rest"))
    return found


TRAIN, DEV = boxes(64, 1), boxes(32, 2)


def pretrained(name: str, folder: Path) -> bw.Model:
    """A language model's folder, loaded with a new head."""
    if name in ("bert", "esm"):
        network = library_networks()[name]
    else:
        network = tiny(name, head="causal_lm" if "hyena" in name else "masked_lm")
    network.save_pretrained(folder)
    return bw.Model.load(
        folder,
        head="sequence_classification",
        labels=["rest", "box"],
        tokenizer=TOKENIZERS.get(name, Kmer(k=2)),
    )


@pytest.fixture(params=ADAPTED)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(name: str, tmp_path: Path) -> bw.Model:
    return pretrained(name, tmp_path / "pretrained")


def state(model: bw.Model) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in model.network.state_dict().items()}


def is_head(model: bw.Model, name: str) -> bool:
    return not name.startswith(f"{model.network.base_model_prefix}.") or ".pooler." in name


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {k for k, v in before.items() if not torch.equal(v, after[k])}


def test_all_weights(model: bw.Model, tmp_path: Path) -> None:
    before = state(model)
    trained = QUICK.train(model, TRAIN, DEV, tmp_path, seed=2)
    assert trained.history["loss"].iloc[-1] < trained.history["loss"].iloc[0]
    assert len(changed(before, state(trained.model))) > len(before) / 2
    assert not changed(before, state(model))


def test_adapters_merged(
    name: str, model: bw.Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "basewise")
    training = replace(QUICK, lora=Lora(rank=3, dropout=0.0))
    before = state(model)
    trained = training.train(model, TRAIN, DEV, tmp_path, seed=2)
    count, ends = ADAPTED[name]
    head = {k for k in before if is_head(model, k)}
    assert head
    moved = changed(before, state(trained.model)) - head
    assert len(moved) == count
    assert {k.split(".")[-2] for k in moved} == ends
    assert not adapters(trained.model.network)
    assert all(p.requires_grad for p in trained.model.network.parameters())
    (said,) = [r.message for r in caplog.records if "LoRA" in r.message]
    assert said.startswith(f"LoRA of rank 3 on {count} layers (")
    assert all(end in said for end in ends)
    trained.model.save(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("adapter*"))
    again = bw.Model.load(tmp_path / "saved")
    np.testing.assert_array_equal(again.predict(DEV), trained.model.predict(DEV))


def test_adapters_kept(name: str, model: bw.Model, tmp_path: Path) -> None:
    training = replace(QUICK, lora=Lora(rank=3, merge=False))
    before = state(model)
    kept = training.train(model, TRAIN, DEV, tmp_path, seed=2).model
    assert len(adapters(kept.network)) == ADAPTED[name][0]
    folder = tmp_path / "saved"
    kept.save(folder)
    # The weights beside the adapters are the untouched ones, under their own names.
    (folder / "adapter_config.json").rename(tmp_path / "aside.json")
    bare = state(bw.Model.load(folder))
    assert all(is_head(model, k) for k in changed(before, bare))
    (tmp_path / "aside.json").rename(folder / "adapter_config.json")
    again = bw.Model.load(folder)
    np.testing.assert_allclose(again.predict(DEV), kept.predict(DEV), rtol=1e-6)
    assert np.abs(again.predict(DEV) - model.predict(DEV)).max() > 1e-3
    # Merging later gives the same function.
    flat = replace(again, network=merged(again.network))
    np.testing.assert_allclose(flat.predict(DEV), kept.predict(DEV), rtol=1e-4, atol=1e-6)
    with pytest.raises(CapabilityError, match="has adapters already"):
        training.train(again, TRAIN, DEV, tmp_path)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_kept_adapters_are_what_peft_reads(tmp_path: Path) -> None:
    import peft

    model = pretrained("bert", tmp_path / "pretrained")
    training = replace(QUICK, lora=Lora(rank=3, merge=False))
    kept = training.train(model, TRAIN, DEV, tmp_path, seed=2).model
    kept.save(tmp_path / "saved")
    ids = torch.from_numpy(kept.tokenizer.encode(DEV[0].sequence).ids)[None]
    base = BertForSequenceClassification.from_pretrained(tmp_path / "saved")
    base.__dict__.pop("peft_config", None)
    theirs = peft.PeftModel.from_pretrained(base, str(tmp_path / "saved")).eval()
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, kept.network(ids).logits)


def test_broken_adapters_are_refused(tmp_path: Path) -> None:
    model = pretrained("basewise-gena", tmp_path / "pretrained")
    training = replace(QUICK, epochs=1, lora=Lora(rank=3, merge=False))
    training.train(model, TRAIN, DEV, tmp_path).model.save(tmp_path / "a")
    other = replace(training, lora=Lora(rank=4, targets=("query",), merge=False))
    other.train(model, TRAIN, DEV, tmp_path).model.save(tmp_path / "b")
    path = tmp_path / "a" / "adapter_model.safetensors"
    whole = path.read_bytes()
    path.write_bytes((tmp_path / "b" / "adapter_model.safetensors").read_bytes())
    with pytest.raises(
        WeightsError, match=r"does not fit the network beside it: base_model\.model"
    ):
        bw.Model.load(tmp_path / "a")
    path.write_bytes(whole[:-30])
    with pytest.raises(WeightsError, match="is broken"):
        bw.Model.load(tmp_path / "a")


def test_layers_can_be_named(tmp_path: Path) -> None:
    model = pretrained("basewise-dnabert2", tmp_path / "pretrained")
    network = Lora(targets=("mlp.wo", "gated_layers")).adapt(model.network)
    assert len(adapters(network)) == 6
    with pytest.raises(ConfigError, match=r"has no layer of that name; it has Wqkv, classifier"):
        Lora(targets=("query",)).adapt(model.network)
    cnn = CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], hidden=3))
    with pytest.raises(ConfigError, match="No layers are known for adapters of CnnFor"):
        Lora().adapt(cnn)
    sizes = {"hidden_size": 12, "num_attention_heads": 3, "num_hidden_layers": 2}
    roberta = Roberta(RobertaConfig(vocab_size=21, intermediate_size=8, **sizes))
    assert len(adapters(Lora().adapt(roberta))) == 4  # peft's own choice: query and value


def test_a_step_in_parts_is_the_same_step(tmp_path: Path) -> None:
    model = still()
    whole = QUICK.train(model, TRAIN, DEV, tmp_path, seed=2)
    for settings in ({"accumulation": 4}, {"checkpointing": True}):
        parts = replace(QUICK, **settings).train(model, TRAIN, DEV, tmp_path, seed=2)
        assert len(parts.history) == 2
        np.testing.assert_allclose(
            parts.model.predict(DEV), whole.model.predict(DEV), rtol=1e-3, atol=1e-5
        )
        np.testing.assert_allclose(
            parts.history["learning_rate"], whole.history["learning_rate"], rtol=1e-6
        )


def test_checkpointing_on_every_network(model: bw.Model, tmp_path: Path) -> None:
    training = replace(QUICK, epochs=1, checkpointing=True, lora=Lora())
    trained = training.train(model, TRAIN, DEV, tmp_path)
    assert not any(
        getattr(module, "gradient_checkpointing", False)
        for module in trained.model.network.modules()
    )


def test_checkpointing_needs_layers(tmp_path: Path) -> None:
    cnn = CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], hidden=3))
    model = bw.Model(cnn, Nucleotide(), ("rest", "box"))
    with pytest.raises(CapabilityError, match="checkpointing: CnnForSequenceClassification has no"):
        replace(QUICK, checkpointing=True).train(model, TRAIN, DEV, tmp_path)


def test_language_models_are_not_trained_on_labels(tmp_path: Path) -> None:
    tiny("basewise-gena").save_pretrained(tmp_path)
    with pytest.raises(CapabilityError, match="This is a language model"):
        QUICK.train(bw.Model.load(tmp_path, tokenizer=Kmer(k=2)), TRAIN, DEV, tmp_path)


class Killed(Exception):
    pass


def test_a_killed_training_with_adapters_ends_as_it_would_have(tmp_path: Path) -> None:
    model = pretrained("basewise-dnabert2", tmp_path / "pretrained")
    training = replace(QUICK, epochs=3, lora=Lora(rank=2, merge=False))
    whole = training.train(model, TRAIN, DEV, tmp_path / "whole", seed=5)
    steps = []

    def kill(done: int, total: int, note: str) -> None:
        steps.append(done)
        if done == 6:  # in the second of three epochs of four steps
            raise Killed

    with pytest.raises(Killed):
        training.train(model, TRAIN, DEV, tmp_path / "killed", seed=5, progress=kill)
    steps.clear()
    again = training.train(
        model, TRAIN, DEV, tmp_path / "killed", seed=5, progress=lambda *told: steps.append(told[0])
    )
    assert steps == [5, 6, 7, 8, 9, 10, 11, 12]
    assert not changed(state(whole.model), state(again.model))


def test_half_precision_on_every_network(model: bw.Model, tmp_path: Path) -> None:
    trained = replace(QUICK, precision="bf16").train(model, TRAIN, DEV, tmp_path)
    assert trained.history["loss"].iloc[-1] < trained.history["loss"].iloc[0]
    assert {p.dtype for p in trained.model.network.parameters()} == {torch.float32}


SPREAD = """
import json, os, sys
from dataclasses import replace
sys.path[:0] = sys.argv[2:]
from test_finetuning import DEV, QUICK, TRAIN, still
model = still()
found = QUICK.train(model, TRAIN, DEV, sys.argv[1], seed=2, progress=lambda *_: None)
if os.environ["RANK"] == "0":
    print(json.dumps(found.model.predict(DEV).tolist()))
"""


def still() -> bw.Model:
    """A model without dropout, which each process would draw for itself."""
    network = tiny(
        "basewise-gena",
        head="sequence_classification",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return bw.Model(network, Kmer(k=2), ("rest", "box"))


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    """What `accelerate launch` does on two devices; `batch_size` stays that of a step."""
    (tmp_path / "spread.py").write_text(SPREAD)
    here = Path(__file__).parent
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, "spread.py", "checkpoints", str(here), str(here.parent)],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    alone = QUICK.train(still(), TRAIN, DEV, tmp_path / "alone", seed=2)
    np.testing.assert_allclose(
        json.loads(done.stdout), alone.model.predict(DEV), rtol=1e-4, atol=1e-6
    )


# ------------------------------------------------------------------------------ stages


def test_stages_follow_each_other(tmp_path: Path) -> None:
    model = pretrained("basewise-hyenadna", tmp_path / "pretrained")
    first, second = replace(QUICK, epochs=1), replace(QUICK, learning_rate=1e-3)
    stages = [Stage(first, TRAIN, DEV), Stage(second, TRAIN, DEV)]
    trained = train_in_stages(model, stages, tmp_path / "stages", seed=3)
    assert list(trained.history["stage"]) == [1, 2, 2]
    one = first.train(model, TRAIN, DEV, tmp_path / "one", seed=3).model
    two = second.train(one, TRAIN, DEV, tmp_path / "two", seed=3)
    assert not changed(state(two.model), state(trained.model))
    assert trained.best_epoch == two.best_epoch


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_stages_that_are_done_are_not_trained_again(tmp_path: Path, average: float) -> None:
    network = CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], hidden=3))
    model = bw.Model(network, Nucleotide(), ("rest", "box"))
    training = replace(QUICK, average=average)
    stages = [Stage(training, TRAIN, DEV), Stage(replace(training, epochs=1), TRAIN, DEV)]
    steps: list[int] = []
    whole, again = (
        train_in_stages(model, stages, tmp_path, seed=3, progress=lambda *told: steps.append(1))
        for _ in range(2)
    )
    assert len(steps) == (2 + 1) * 4
    assert len(list(tmp_path.glob("stage-2/*"))) == 1
    assert not changed(state(whole.model), state(again.model))
    assert whole.history.equals(again.history)


def moved(record: bw.Record, start: int, **values: Any) -> bw.Record:
    return replace(record, locus=bw.Interval("chr3", start, start + 17), **values)


def test_stages_share_one_split(tmp_path: Path) -> None:
    model = pretrained("basewise-hyenadna", tmp_path / "pretrained")

    def refused(*stages: tuple[list[bw.Record], list[bw.Record]]) -> str:
        with pytest.raises(DataError) as caught:
            train_in_stages(model, [Stage(QUICK, *data) for data in stages], tmp_path)
        return str(caught.value)

    assert refused((TRAIN, DEV), ([*TRAIN[:9], DEV[4]], DEV[5:])) == (
        "Record 's2-4' that stage 2 trains on is or overlaps record 's2-4' that stage 1 holds "
        "out; split the data once, and make all stages from that split."
    )
    # Windows of other lengths are other sequences; their places tell.
    held = [moved(DEV[0], 90), moved(DEV[1], 100), moved(DEV[2], 300)]
    near = moved(boxes(1, 5)[0], 116, id="near")
    assert refused((TRAIN[:4], held), ([near], DEV[3:5])).startswith(
        "Record 'near' that stage 2 trains on is or overlaps record 's2-1' that stage 1 holds"
    )
    from basewise.train.finetuning import check_one_split

    apart = moved(near, 117)
    check_one_split([Stage(QUICK, TRAIN[:4], held), Stage(QUICK, [apart], DEV[3:5])])
    # A duplicate across the split of the data itself is no fault of the stages.
    twice = [*TRAIN, replace(DEV[0], id="twice")]
    check_one_split([Stage(QUICK, twice, DEV), Stage(QUICK, twice, DEV)])
    assert refused() == "No stages to train in; at least one is needed."
