"""Sequences of megabases: the same numbers as in one piece, in memory that does not grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import basewise as bw
from basewise import Model
from basewise.errors import DataError
from basewise.explainers import gradient, occlusion
from basewise.explainers.game import keys_of, play_one
from basewise.explainers.occlusion import Occlusion
from basewise.explainers.path import Walker
from basewise.models import streaming
from basewise.models.batch import Batch
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification, Member
from basewise.models.cnn_lstm import CnnLstmConfig, CnnLstmForSequenceClassification
from basewise.models.gradient import embed, frozen, value_at
from basewise.models.onehot import PAD, OneHot, masked_
from basewise.models.streaming import whole
from basewise.tokenize.nucleotide import Nucleotide
from explained_models import records, tiny_cnn

NETWORKS = {
    "pooled": CnnConfig(channels=6, stem_kernel=7, dilations=[1, 2, 4], num_labels=3),
    "even kernels": CnnConfig(channels=5, stem_kernel=4, kernel=2, dilations=[3], num_labels=2),
    "an ensemble": CnnConfig(channels=5, stem_kernel=5, dilations=[2], members=2, num_labels=2),
    "no reach": CnnConfig(channels=4, stem_kernel=1, kernel=1, dilations=[1], num_labels=2),
}


@pytest.fixture
def short_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "TILE", 64)


def built(name: str) -> CnnForSequenceClassification:
    torch.manual_seed(3)
    network = CnnForSequenceClassification(NETWORKS[name]).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def values_and_gradients(network: CnnForSequenceClassification) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(4)
    x = torch.randn(3, 301, 4, requires_grad=True)
    mask = torch.arange(301) < torch.tensor([301, 150, 9])[:, None]
    logits = network(inputs_embeds=x, attention_mask=mask).logits
    (found,) = torch.autograd.grad((logits * torch.randn(logits.shape)).sum(), x)
    return logits.detach(), found


@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_give_what_the_whole_sequence_gives(name: str, short_tiles: None) -> None:
    network = built(name)
    tiles = values_and_gradients(network)
    with whole():
        once = values_and_gradients(network)
    for a, b in zip(tiles, once, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_tiles_without_their_surroundings_give_something_else(
    short_tiles: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = built("pooled")
    once = values_and_gradients(network)
    monkeypatch.setattr(Member, "reach", 2)
    assert (values_and_gradients(network)[1] - once[1]).abs().max() > 1e-3


def test_a_network_whose_layers_are_asked_for_reads_in_one_piece(short_tiles: None) -> None:
    network = built("pooled")
    states = network(torch.zeros(2, 200, dtype=torch.long), output_hidden_states=True).hidden_states
    assert [state.shape for state in states] == [(2, 200, 6)] * 4


@pytest.mark.parametrize("method", ["deep_lift", "integrated_gradients", "saliency", "occlusion"])
def test_explanations_do_not_depend_on_tiles(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, some = tiny_cnn(), records((210, 170))
    settings = {"units": {"type": "windows", "size": 50}} if method == "occlusion" else {}
    once = bw.explain(model, some, method, "a", **settings)
    monkeypatch.setattr(streaming, "TILE", 64)
    tiles = bw.explain(model, some, method, "a", **settings)
    for a, b in zip(tiles, once, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
        assert a.output == pytest.approx(b.output, abs=1e-5)


def strided(batch_tokens: int) -> Model:
    torch.manual_seed(5)
    config = CnnLstmConfig(
        filters=[8, 6], kernels=[12, 5], strides=[4, 2], pools=[2, 2], lstm_units=7, num_labels=2
    )
    network = CnnLstmForSequenceClassification(config)
    return Model(network, Nucleotide(), ("no", "yes"), name="cnn_lstm", batch_tokens=batch_tokens)


def test_integrated_gradients_step_by_step_are_those_of_all_steps_at_once() -> None:
    (record,) = records((2000,))
    settings = {"reference": ["zero", "shuffled"], "steps": 20, "tolerance": None}
    streamed, at_once = (
        bw.explain(strided(tokens), [record], "integrated_gradients", "yes", **settings)[0]
        for tokens in (1, 1 << 20)
    )
    size = np.abs(at_once.scores).max()
    np.testing.assert_allclose(streamed.scores, at_once.scores, atol=1e-4 * size)
    np.testing.assert_allclose(streamed.hypothetical, at_once.hypothetical, atol=1e-4 * size)


def test_a_mask_may_leave_out_any_bases(short_tiles: None) -> None:
    """On the left as on the right, and within: those bases are as good as not there."""
    network = built("pooled")
    ids = torch.arange(3 * 90).view(3, 90) % 5 % 4
    left = torch.full((3, 101), PAD)
    left[0, 11:], left[1, :90], left[2] = ids[0], ids[1], torch.arange(101) % 3
    found, alone = network(input_ids=left).logits, network(input_ids=ids[:2]).logits
    torch.testing.assert_close(found[:2], alone)
    x, mask = torch.randn(2, 9, 3), torch.ones(2, 9, dtype=torch.bool)
    mask[0, 2:4], mask[1, 7] = False, False
    for value in (0.0, -torch.inf):
        assert torch.equal(masked_(x.clone(), mask, value), x.masked_fill(~mask[..., None], value))
        assert torch.equal(masked_(x.clone(), mask | True, value), x)


class Turned(OneHot):
    """An embedding whose rows lie in memory as columns."""

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return super().forward(input_ids).mT.contiguous().mT


def test_gradients_do_not_depend_on_how_an_embedding_lies_in_memory() -> None:
    (record,) = records((50,))
    turned, plain = built("pooled"), built("pooled")
    turned.embeddings = Turned()
    found, expected = (
        bw.explain(Model(n, Nucleotide(), ("a", "b", "c")), [record], "integrated_gradients", "b")
        for n in (turned, plain)
    )
    np.testing.assert_allclose(found[0].scores, expected[0].scores, atol=1e-6)


def test_hooks_of_an_embedding_are_asked_once() -> None:
    """What they make of its output is what paths lead to."""
    network = built("pooled")
    model = Model(network, Nucleotide(), ("a", "b", "c"))
    network.embeddings.register_forward_hook(lambda module, given, found: 2 * found)
    batch = Batch(torch.arange(90).view(2, 45) % 4, None)
    target = bw.Target("b", "logit")
    with frozen(model):
        value = value_at(model, batch, embed(model, batch), target)
        torch.testing.assert_close(value, model.value(batch, target))
    assert "forward" not in vars(network.embeddings)
    assert len(network.embeddings._forward_hooks) == 1


def test_long_records_are_walked_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    model, some = tiny_cnn(), records((40, 40, 31, 40))
    together = bw.explain(model, some, "integrated_gradients", "b", steps=5)
    monkeypatch.setattr(gradient, "MOST_BYTES", 1)
    alone = bw.explain(model, some, "integrated_gradients", "b", steps=5)
    for a, b in zip(alone, together, strict=True):
        assert a.record_id == b.record_id
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("deep_lift", {}),
        ("deep_lift", {"reference": ["zero", {"type": "shuffled", "draws": 5}, "uniform"]}),
        ("smoothgrad", {"draws": 23}),
        ("expected_gradients", {"draws": 26, "reference": ["zero", "uniform"]}),
    ],
)
def test_draws_in_parts_are_the_same_draws(
    name: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, some = tiny_cnn(), records((40, 40, 31))
    asked: list[int] = []
    together = bw.explain(model, some, name, "b", seed=3, **settings)
    monkeypatch.setattr(gradient, "MOST_BYTES", gradient.PARTS * 40 * 16 * 2)  # two at a time
    walk = Walker.integrate

    def watched(self: Walker, paths: Any, at: Any, weight: Any) -> Any:
        asked.extend(len(path.references) for path in paths)
        return walk(self, paths, at, weight)

    monkeypatch.setattr(Walker, "integrate", watched)
    for a, b in zip(bw.explain(model, some, name, "b", seed=3, **settings), together, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)
        np.testing.assert_allclose(a.hypothetical, b.hypothetical, atol=1e-6)
        assert a.evaluations == b.evaluations
        assert a.baseline == pytest.approx(b.baseline, nan_ok=True)
        assert a.extras == pytest.approx(b.extras, abs=1e-5)
        if b.standard_error is not None:
            np.testing.assert_allclose(a.standard_error, b.standard_error, atol=1e-6)
    assert max(asked, default=0) <= 2
    assert len(asked) > 3 * 10 or name == "deep_lift"  # which walks by rules of its own


@pytest.mark.parametrize(
    "reference",
    [{"type": "shuffled", "draws": 20}, ["zero", {"type": "shuffled", "draws": 20}]],
)
def test_records_of_which_chance_leaves_out_other_starts_share_parts(
    reference: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 21 starts, 9 lines take some: of each part of the starts more in one record."""
    settings = {"draws": 9, "reference": reference}
    model, some = tiny_cnn(), records((40, 40, 40))
    monkeypatch.setattr(gradient, "MOST_BYTES", gradient.PARTS * 40 * 16 * 2)  # two at a time
    together = bw.explain(model, some, "expected_gradients", "b", **settings)
    for record, one in zip(some, together, strict=True):
        (alone,) = bw.explain(model, [record], "expected_gradients", "b", **settings)
        np.testing.assert_allclose(one.scores, alone.scores, atol=1e-6)
        assert one.baseline == pytest.approx(alone.baseline, abs=1e-6)


def test_occlusion_of_many_units_asks_for_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(occlusion, "MOST_CELLS", 1500)
    u, asked = 130, []

    def value(present: np.ndarray) -> np.ndarray:
        asked.append(len(present))
        return present @ np.arange(u, dtype=float)

    game, estimate = play_one(value, u, lambda game: Occlusion().estimate(game, None))
    np.testing.assert_allclose(estimate.scores, np.arange(u))
    assert max(asked) == 1500 // u + 2  # and both ends
    assert game.evaluations == u + 2


def test_coalitions_of_many_units_have_short_keys_of_their_own() -> None:
    u = 3000
    present = np.concatenate([~np.eye(u, dtype=bool)[:500], np.eye(u, dtype=bool)[:500]])
    keys = keys_of(present)
    assert len(set(keys)) == 1000
    assert {len(key) for key in keys} == {16}
    assert keys == keys_of(present)


def test_a_model_of_shorter_input_says_so_in_one_line() -> None:
    config = CnnConfig(channels=4, dilations=[1], positions=100, num_labels=2)
    model = Model(CnnForSequenceClassification(config), Nucleotide(), ("a", "b"), name="short")
    with pytest.raises(
        DataError, match=r"'r0' has 2000 bases, .* short takes at most 100; cut"
    ) as e:
        bw.explain(model, records((2000,)), "integrated_gradients", "a")
    assert "\n" not in str(e.value)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from /proc")
def test_memory_grows_with_neither_steps_nor_layers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True, timeout=300
    )
    few, many, once, tiles, *draws = map(float, done.stdout.split())
    assert many < few + 20  # the gradients of 56 more steps are 44 MB
    assert tiles < once / 2
    for few, many in zip(draws[::2], draws[1::2], strict=True):
        assert many < few + 16  # 20 more references and their gradients are 32 MB


PEAKS = """
from pathlib import Path
import numpy as np, torch
import basewise as bw
from basewise.explainers import gradient
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.models.cnn_lstm import CnnLstmConfig, CnnLstmForSequenceClassification
from basewise.models.streaming import whole
from basewise.tokenize.nucleotide import Nucleotide

torch.set_num_threads(1)
sizes = dict(filters=[8, 8], kernels=[24, 12], strides=[8, 4], pools=[4, 2], lstm_units=8)
networks = [
    CnnLstmForSequenceClassification(CnnLstmConfig(**sizes, num_labels=2)),
    CnnForSequenceClassification(CnnConfig(channels=16, dilations=[1, 2], num_labels=2)),
]
lstm, cnn = [bw.Model(each, Nucleotide(), ("a", "b"), name="m") for each in networks]
letters = np.random.default_rng(0).choice(list("ACGT"), 50_000)
record = bw.Record("r", "".join(letters))

def megabytes(of):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(of)) / 1024

def peak(model, method, **settings):
    Path("/proc/self/clear_refs").write_text("5")
    bw.explain(model, [record], method, "a", **settings)
    return megabytes("VmHWM") - loaded

for model in (lstm, cnn):
    bw.explain(model, [bw.Record("r", "ACGT" * 200)], "saliency", "a")
loaded = megabytes("VmRSS")
zero = {"reference": "zero", "tolerance": None}
peak(lstm, "integrated_gradients", steps=8, **zero)  # what the allocator keeps
few = peak(lstm, "integrated_gradients", steps=8, **zero)
print(few, peak(lstm, "integrated_gradients", steps=64, **zero))
tiles = peak(cnn, "saliency")
with whole():
    print(peak(cnn, "saliency"), tiles)
gradient.MOST_BYTES = 1 << 23  # two references at a time
for method in ("smoothgrad", "expected_gradients"):
    for draws in (4, 24):
        print(peak(lstm, method, draws=draws))
"""
