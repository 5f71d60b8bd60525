"""What a trial of a second says about the whole: time, disk, refusals; and that it ends."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import basewise as bw
from basewise.errors import BasewiseError, CapabilityError
from basewise.explainers import EXPLAINERS
from basewise.explainers.count import exactly
from basewise.explainers.forecast import FILE, Forecast, _stored, forecast
from basewise.models import precision
from basewise.models.repeatable import repeatable
from basewise.store import attribution_bytes, write_attributions
from basewise.types import Record
from explained_models import bpe_bert, kmer_bert, records, tiny_cnn

EACH = 4e-4  # seconds of a row


def sleeper() -> bw.Model:
    """A model whose cost is known."""

    def slow(sequences: list[str]) -> list[float]:
        time.sleep(EACH * len(sequences))
        return [s.count("CG") for s in sequences]

    return bw.Model.from_callable(slow, ["cpg"])


def some(n: int, length: int = 20) -> list[Record]:
    rng = np.random.default_rng(3)
    return [Record(str(i), "".join(rng.choice(list("ACGT"), length))) for i in range(n)]


def of(model: bw.Model, given: list[Record], name: str, **settings: Any) -> Forecast:
    explainer = EXPLAINERS.build({"type": name} | settings)
    return forecast(explainer, model, given, model.target(model.labels[-1]))


@pytest.mark.parametrize(
    ("n", "name", "settings"),
    [
        (3000, "occlusion", {}),  # many records, few evaluations of each
        (20, "lime", {"samples": 40_000}),  # a record takes longer than the trial
        (7, "occlusion", {}),  # all of it takes less than the trial
    ],
)
def test_the_time_is_that_of_the_evaluations(n: int, name: str, settings: Any) -> None:
    said = of(sleeper(), some(n), name, **settings)
    known = EACH * said.evaluations.number
    assert 0.95 * known < said.seconds < 2.5 * known
    assert said.records == n
    assert said.seconds <= said.most


def test_where_evaluations_are_a_bound_the_time_is_of_those_that_the_trial_made() -> None:
    given = some(40, 12)
    said = of(sleeper(), given, "kernel_shap", evaluations=1000)  # of 4,096 coalitions there are
    made = sum(a.evaluations for a in bw.explain(sleeper(), given, "kernel_shap", "cpg",
                                                 evaluations=1000))  # fmt: skip
    assert said.evaluations.number > 1.1 * made
    assert said.seconds / said.most == pytest.approx(made / said.evaluations.number, rel=0.1)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("noise", [0.0, np.inf])
def test_precisions_are_compared_once_for_a_shard(
    noise: float, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether few bits are then taken or not; by the rows that shards ask of both networks."""
    monkeypatch.setattr(precision, "faster_halved", lambda device: True)
    monkeypatch.setattr(precision, "NOISE", noise)
    model, rows = replace(tiny_cnn(), precision="auto"), [0]

    def slow(module: object, args: object, given: dict[str, Any], found: object) -> None:
        rows[0] += len(given["input_ids"])
        time.sleep(5 * EACH * len(given["input_ids"]))

    model.network.register_forward_hook(slow, with_kwargs=True)  # copies have it too
    given, explainer = some(6, 13), EXPLAINERS.build("occlusion")
    target = model.target(model.labels[-1])
    with repeatable():
        said = forecast(explainer, model, given, target, shards=shards)
        rows[0] = 0
        for i in range(shards):
            found = explainer.explain(model, given[i::shards], target, 0)
    assert {a.extras["bfloat16"] for a in found} == {float(noise > 0)}
    assert rows[0] >= 6 * 15 + 32 * shards
    assert 0.9 * rows[0] < said.seconds / (5 * EACH) < 1.6 * rows[0]


def test_longer_records_take_longer() -> None:
    """Of each record, the share of its bases and its evaluations is counted."""
    model = tiny_cnn()
    even, mixed = some(40, 30), some(20, 10) + some(20, 50)
    assert of(model, even, "occlusion").evaluations == exactly(40 * 32)
    assert of(model, mixed, "occlusion").evaluations == exactly(20 * 12 + 20 * 52)


@pytest.mark.parametrize(("name", "scores"), [("occlusion", 1), ("input_x_gradient", 5)])
def test_the_disk_is_about_that_of_the_file(tmp_path: Path, name: str, scores: int) -> None:
    given, model = some(90, 100), tiny_cnn()
    said = of(model, given, name)
    write_attributions(tmp_path / "a.parquet", bw.explain(model, given, name, "c"))
    real = (tmp_path / "a.parquet").stat().st_size
    assert real > 90 * 100 * 8 * scores * 0.4  # of bytes sorted by place, half may be packed away
    assert 0.5 * real < said.disk < 2 * real


def test_the_disk_is_known_from_a_single_record() -> None:
    """A trial on a busy machine may see no more; its file holds little but what every file has."""
    (one,) = bw.explain(tiny_cnn(), some(1, 100), "input_x_gradient", "c")
    assert len(attribution_bytes([one])) < 2 * FILE
    many = bw.explain(tiny_cnn(), some(90, 100), "input_x_gradient", "c")
    per_base = (len(attribution_bytes(many)) - FILE) / 9000
    assert 0.5 * per_base < _stored([one]) < 2 * per_base


def test_memory_is_that_of_a_process() -> None:
    assert 5e7 < of(tiny_cnn(), records(), "occlusion").memory < 1e11


@pytest.mark.parametrize("draws", [1, 48])
def test_memory_holds_for_the_whole_of_it_whatever_the_draws(draws: int) -> None:
    """The trial ends before batches have grown to their size; each in a process of its own."""
    said, held = (
        float(
            subprocess.run(
                [sys.executable, "-c", MEMORY, what, str(draws)],
                capture_output=True, text=True, check=True, timeout=300,
            ).stdout
        )
        for what in ("forecast", "explain")
    )  # fmt: skip
    assert held - 25 < said < held + 200  # megabytes, above what is held before


MEMORY = """
import sys
import numpy as np, torch
import basewise as bw
from basewise.explainers import EXPLAINERS, forecast
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.tokenize.nucleotide import Nucleotide

torch.set_num_threads(1)
what, draws = sys.argv[1], int(sys.argv[2])
network = CnnForSequenceClassification(CnnConfig(channels=160, dilations=[1], num_labels=2))
model = bw.Model(network, Nucleotide(), ("a", "b"))
rng = np.random.default_rng(0)
records = [bw.Record(str(i), "".join(rng.choice(list("ACGT"), 300))) for i in range(6)]
masking = {"type": "sampled", "draws": draws}
units = {"type": "windows", "size": 6 if draws == 1 else 100}
explainer = EXPLAINERS.build({"type": "occlusion", "units": units, "masking": masking})
target = model.target("a")
forecast.forget_peak(model.device)
before = forecast.peak(model.device)
if what == "explain":
    explainer.explain(model, records, target)
    held = forecast.peak(model.device)
else:
    held = forecast.forecast(explainer, model, records, target, seconds=0.05).memory
print((held - before) / 2**20)
"""


@pytest.mark.parametrize(
    ("name", "settings"), [("deep_lift", {}), ("kernel_shap", {"masking": "mask"})]
)
def test_what_explaining_refuses_is_refused(name: str, settings: Any) -> None:
    model = kmer_bert() if name == "deep_lift" else tiny_cnn()
    with pytest.raises(CapabilityError) as said:
        of(model, records(), name, **settings)
    with pytest.raises(CapabilityError) as done:
        bw.explain(model, records(), name, model.labels[-1], **settings)
    assert str(said.value) == str(done.value)


def test_refusals_of_byte_pairs_too(tmp_path: Path) -> None:
    with pytest.raises(BasewiseError, match="An N moves the borders"):
        of(bpe_bert(tmp_path), records(), "occlusion")


def test_nothing_is_left_on_the_network_also_when_the_trial_is_cut_short() -> None:
    model = sleeper()
    of(model, some(30), "lime", samples=30_000)
    with pytest.raises(CapabilityError):
        of(tiny_cnn(), records(), "attention")
    for network in (model.network, tiny_cnn().network):
        assert not any(m._forward_pre_hooks for m in network.modules())
