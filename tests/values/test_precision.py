"""bfloat16 is used where it is faster and close enough, and attributions say so."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import basewise as bw
from basewise.errors import CapabilityError, ConfigError
from basewise.models import precision
from basewise.models.evaluator import SAMPLE
from basewise.models.precision import Comparison, compared, halved, known, question_of, remember
from explained_models import kmer_bert, tiny_cnn

NAMES = ["anchors", "kernel_shap", "mutagenesis", "occlusion", "partition_shap"]


def records(lengths: tuple[int, ...] = (12, 9, 17)) -> list[bw.Record]:
    rng = np.random.default_rng(5)
    return [bw.Record(str(n), "".join(rng.choice(list("ACGT"), n))) for n in lengths]


def test_a_copy_in_few_bits_holds_the_same_weights() -> None:
    for model in (tiny_cnn(), kmer_bert()):
        before = {k: v.clone() for k, v in model.network.state_dict().items()}
        half: Any = halved(model.network)
        assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
        for name, weight in half.state_dict().items():
            whole = before[name]
            expected = whole.bfloat16() if whole.is_floating_point() else whole
            assert torch.equal(weight, expected), name
        for name, weight in model.network.state_dict().items():
            assert torch.equal(weight, before[name])  # the network itself is left alone
        assert not any(p.requires_grad for p in half.parameters())


def test_copies_share_one_place_and_are_as_the_network_is_when_they_are_made() -> None:
    network: Any = tiny_cnn().network
    weight = next(network.parameters())
    with torch.inference_mode():  # as within an explanation
        first: Any = halved(network)
    weight.data.mul_(3.0)  # which no version counts
    second: Any = halved(network)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert a.data_ptr() == b.data_ptr()
    assert torch.equal(next(second.parameters()), weight.bfloat16())
    weight.data = torch.zeros(weight.shape[0], 2)  # nor does it fit any more
    third: Any = halved(network)
    assert torch.equal(next(third.parameters()), weight.bfloat16())
    place = weakref.ref(precision._FEW[weight])
    del weight, network, first, second, third
    gc.collect()
    assert place() is None


def changes() -> list[Callable[[nn.Module], object]]:
    """Ways to train on that torch does not count as writing."""

    def fused(network: nn.Module) -> None:
        weights = list(network.parameters())
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        torch.optim.AdamW(weights, lr=1e-4, fused=True).step()

    def data(network: nn.Module) -> None:
        for weight in network.parameters():
            weight.data.mul_(1.0001)

    return [fused, data]


@pytest.mark.parametrize("change", changes())
def test_what_was_found_for_other_weights_is_not_known(change: Callable[[nn.Module], Any]) -> None:
    network = kmer_bert().network.requires_grad_()
    remember(network, "question", Comparison(0.1, 0.01, 9.0))
    assert known(network, "question") is not None
    change(network)
    assert known(network, "question") is None


def test_where_few_bits_are_refused_they_leave_no_copy(monkeypatch: Any) -> None:
    monkeypatch.setattr(precision, "_seconds", _alternating(0.5))
    model = replace(kmer_bert(), precision="auto")
    bw.explain(model, records((12,)), "occlusion", model.labels[0])
    assert not any(weight in precision._FEW for weight in model.network.parameters())


def test_questions_differ_in_what_print_would_leave_out() -> None:
    one, other = np.zeros(2000), np.zeros(2000)
    other[1000] = 1.0
    assert question_of((one,), []) == question_of((one.copy(),), [])
    assert question_of((one,), []) != question_of((other,), [])


def test_foreign_and_double_networks_are_not_copied() -> None:
    assert halved(nn.Linear(2, 3)) is None
    assert halved(tiny_cnn().network.double()) is None
    model = bw.Model.from_callable(lambda s: [0.0] * len(s), ["score"])
    (a,) = bw.explain(replace(model, precision="auto"), records((7,)), "occlusion", "score")
    assert a.extras == {"bfloat16": 0.0}
    with pytest.raises(CapabilityError, match="only networks of basewise's own run in bfloat16"):
        bw.explain(replace(model, precision="bfloat16"), records((7,)), "occlusion", "score")


def test_noise_is_measured_within_sequences() -> None:
    full = [np.array([[1.0], [3.0]]), np.array([[101.0], [103.0]])]
    half = [np.array([[1.5], [3.5]]), np.array([[101.0], [103.2]])]
    found = compared(nn.Identity(), torch.device("cpu"), lambda: full, lambda: half)
    assert found.error == pytest.approx(0.5)
    assert found.noise == pytest.approx(np.sqrt(0.01 / 2) / 1.0)  # a shift of all is no noise
    same = compared(nn.Identity(), torch.device("cpu"), lambda: full[:1], lambda: full[:1])
    assert (same.error, same.noise) == (0.0, 0.0)
    for n in (1, 2):  # values that do not differ tell nothing of the noise
        alike = partial(lambda n: [np.ones((n, 1))], n)
        assert compared(nn.Identity(), torch.device("cpu"), alike, alike).noise == np.inf


@pytest.mark.parametrize(
    "noise, speed, worth_it", [(0.05, 1.2, True), (0.051, 9.0, False), (0.0, 1.1, False)]
)
def test_both_conditions_must_hold(noise: float, speed: float, worth_it: bool) -> None:
    assert Comparison(1.0, noise, speed).worth_it == worth_it


@pytest.mark.parametrize("name", NAMES)
def test_auto_takes_few_bits_where_they_are_worth_it(name: str, monkeypatch: Any) -> None:
    model = tiny_cnn() if name == "mutagenesis" else kmer_bert()
    model = replace(model, batch_tokens=1 << 12)  # batches of another size round otherwise
    settings: dict[str, Any] = {}
    if name == "anchors":
        settings = {"evaluations": 40, "samples": 10, "batch": 5}
    label = model.labels[0]
    found = {}
    for speed in (0.5, 9.0):
        monkeypatch.setattr(precision, "_SPEEDS", {})
        monkeypatch.setattr(precision, "_KNOWN", {})
        monkeypatch.setattr(precision, "_seconds", _alternating(speed))
        monkeypatch.setattr(precision, "NOISE", np.inf)
        found[speed] = bw.explain(
            replace(model, precision="auto"), records(), name, label, **settings
        )
    plain = bw.explain(model, records(), name, label, **settings)
    for a, slow, fast in zip(plain, found[0.5], found[9.0], strict=True):
        np.testing.assert_allclose(a.scores, slow.scores, atol=1e-6)
        assert slow.extras["bfloat16"] == 0
        assert fast.extras["bfloat16"] == 1
        assert fast.extras["bfloat16_error"] == slow.extras["bfloat16_error"]
        assert a.evaluations == slow.evaluations  # the sample is no part of it
        assert "bfloat16" not in a.extras


def _alternating(speed: float) -> Any:
    """Seconds of full and of half, in turns."""
    turns = iter([speed, 1.0] * 9)
    return lambda work: next(turns)


def test_few_bits_that_say_something_else_are_not_used(monkeypatch: Any) -> None:
    monkeypatch.setattr(precision, "_seconds", _alternating(9.0))
    monkeypatch.setattr(precision, "NOISE", 0.0)
    (a, *_) = bw.explain(replace(tiny_cnn(), precision="auto"), records(), "kernel_shap", "a")
    assert a.extras["bfloat16"] == 0
    assert a.extras["bfloat16_noise"] > 0


def test_what_few_bits_cost_is_below_what_is_said() -> None:
    """Every value of a coalition is within a few times the largest error of the sample."""
    model = tiny_cnn()
    whole = bw.explain(model, records(), "kernel_shap", "a")
    few = bw.explain(replace(model, precision="bfloat16"), records(), "kernel_shap", "a")
    for a, b in zip(whole, few, strict=True):
        assert 0 < abs(a.output - b.output) <= 5 * b.extras["bfloat16_error"]
        assert np.abs(a.scores - b.scores).max() <= 5 * b.extras["bfloat16_error"]


def test_gradients_and_predictions_stay_in_full() -> None:
    model, few = tiny_cnn(), replace(tiny_cnn(), precision="bfloat16")
    np.testing.assert_array_equal(model.predict(records()), few.predict(records()))
    a, b = (bw.explain(m, records(), "saliency", "a") for m in (model, few))
    np.testing.assert_allclose(a[0].scores, b[0].scores, atol=1e-7)


@contextmanager
def rows_seen(network: nn.Module) -> Iterator[list[int]]:
    """Rows of every forward pass of the network, and of copies made of it meanwhile."""
    seen: list[int] = []
    handle = network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize(
    ("explainer", "settings", "others"),
    [
        ("occlusion", {}, {"units": {"type": "windows", "size": 3}}),
        ("marginalisation", {"motif": "AC", "draws": 4}, {"motif": "AC", "draws": 3}),
        ("mutagenesis", {}, None),
    ],
)
def test_precisions_are_compared_once_for_a_question_and_weights(
    explainer: str, settings: dict[str, Any], others: dict[str, Any] | None
) -> None:
    model = replace(tiny_cnn(), precision="bfloat16")

    def explained(settings: dict[str, Any] = settings) -> tuple[int, bw.Attribution]:
        with rows_seen(model.network) as seen:
            (a,) = bw.explain(model, records((12,)), explainer, "a", **settings)
        return sum(seen), a

    (first, a), (again, b) = explained(), explained()
    assert first > again == a.evaluations
    np.testing.assert_array_equal(a.scores, b.scores)
    assert a.extras == b.extras
    if others:
        other, c = explained(others)
        assert other > c.evaluations  # another question
    with rows_seen(model.network) as seen:
        (c,) = bw.explain(model, records((13,)), explainer, "a", **settings)
    assert sum(seen) > c.evaluations  # other records
    with torch.no_grad():
        next(model.network.parameters()).mul_(2.0)
    changed, c = explained()
    assert changed > c.evaluations  # other weights
    assert a.extras["bfloat16_error"] != c.extras["bfloat16_error"]


def test_the_sample_is_small() -> None:
    model = tiny_cnn()
    with rows_seen(model.network) as seen:
        many = records(tuple(range(12, 30)))
        found = bw.explain(replace(model, precision="auto"), many, "occlusion", "a")
    paid = sum(a.evaluations for a in found)
    # Ends of two scouts, then the sample: values, and two timings, in each precision.
    assert sum(seen) <= paid + 2 * 2 + 2 * 3 * 2 * SAMPLE


def test_a_loaded_model_has_the_precision_asked_for(tmp_path: Path) -> None:
    tiny_cnn().save(tmp_path)
    assert bw.Model.load(tmp_path).precision == "full"
    model = bw.Model.load(tmp_path, precision="bfloat16")
    (a,) = bw.explain(model, records((7,)), "occlusion", "a")
    assert a.extras["bfloat16"] == 1
    with pytest.raises(ConfigError, match="'half' is none of full, auto, bfloat16"):
        bw.Model.load(tmp_path, precision="half")  # type: ignore[arg-type]
