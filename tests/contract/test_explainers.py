"""What every registered explainer owes its caller. A new explainer is tested by existing."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError, UnknownName
from basewise.explainers import EXPLAINERS
from basewise.explainers.gradient import Gradient
from basewise.registry import settings_of
from basewise.store import read_attributions, write_attributions
from explained_models import (
    AT,
    MOTIF,
    Additive,
    Constant,
    Fragile,
    Planted,
    Whole,
    bpe_bert,
    kmer_bert,
    of_module,
    records,
    tiny_cnn,
)

ATTENTION = ["attention", "attention_rollout"]  # of networks that have it, whatever the target
NAMES = [name for name in EXPLAINERS.names() if name not in ATTENTION]
KIND = {name: EXPLAINERS.get(name).kind for name in NAMES}
CONTROL = ["random"]  # explains nothing, on purpose
SCORING = [n for n in NAMES if KIND[n] in ("additive", "ranking") and n not in CONTROL]
ADDITIVE = [name for name in NAMES if KIND[name] == "additive"]
PERTURBING = [name for name in NAMES if "masking" in EXPLAINERS.get(name).__dataclass_fields__]
GRADIENT = [name for name in NAMES if issubclass(EXPLAINERS.get(name), Gradient)]

# Settings that make a test quick, or that make its truth known.
QUICK: dict[str, dict[str, Any]] = {
    "anchors": {"samples": 40, "evaluations": 400},
    "exact_shapley": {"units": {"type": "windows", "size": 2}},
    "expected_gradients": {"draws": 30},
    "integrated_gradients": {"steps": 8, "tolerance": None},
    "banzhaf": {"evaluations": 60},
    "kernel_shap": {"evaluations": 60},
    "leverage_shap": {"evaluations": 60},
    "lime": {"samples": 60},
    "marginalisation": {"motif": "TATA", "draws": 3, "stride": 4},
    "permutation_shap": {"evaluations": 60},
    "smoothgrad": {"draws": 9},
}
ELSEWHERE = ["marginalisation"]  # its scores are a motif's, not the sequence's
SURROGATE = ["lime"]  # a ridge on samples of its own: the axioms hold on average only
ORDERED = ["partition_shap", "permutation_shap"]  # by halves of windows, or by some of all orders
ONE_HOT_ONLY = ["deep_lift"]
KNOWN: dict[str, dict[str, Any]] = {
    "deep_lift": {"reference": "uniform"},
    "expected_gradients": {"reference": "uniform"},
    "integrated_gradients": {"reference": "uniform"},
}


def built(name: str, **settings: Any) -> Any:
    return EXPLAINERS.build({"type": name} | QUICK.get(name, {}) | settings)


def known(name: str) -> Any:
    return EXPLAINERS.build({"type": name} | KNOWN.get(name, {}))


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def explained(model: Any, some: list[Any], explainer: Any, seed: int = 1, **settings: Any) -> Any:
    return bw.explain(model, some, explainer, model.labels[-1], seed=seed, **settings)


# ------------------------------------------------------------------------------ a component


def test_settings_are_frozen_and_rebuild_it(name: str) -> None:
    explainer = built(name)
    with pytest.raises(FrozenInstanceError):
        setattr(explainer, next((f.name for f in fields(explainer)), "anything"), None)
    assert EXPLAINERS.build({"type": name} | settings_of(explainer)) == explainer


def test_can_be_sent_to_a_worker(name: str) -> None:
    assert pickle.loads(pickle.dumps(built(name))) == built(name)


def test_an_unknown_setting_names_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match="has no setting 'colour'"):
        bw.explain(tiny_cnn(), records(), name, "a", colour="red", **QUICK.get(name, {}))


def test_a_built_explainer_takes_settings_too() -> None:
    found = explained(of_module(Planted()), records(), built("occlusion"), units="windows")
    assert found[0].settings["units"] == {"type": "windows", "size": 10}


# ------------------------------------------------------------------------------ its scores


def test_shapes_and_numbers_of_the_record(name: str) -> None:
    some, model = records(), tiny_cnn()
    seen: list[Any] = []
    found = bw.explain(model, some, built(name), "b", seed=5, progress=seen.append)
    assert [a.record_id for a in found] == [r.id for r in some]
    assert {id(a) for a in seen} == {id(a) for a in found}
    for a, record in zip(found, some, strict=True):
        b = len(record.sequence)
        assert a.sequence == record.sequence
        assert (a.model, a.method, a.target.label) == ("cnn", name, "b")
        assert (a.kind, a.seed, a.evaluations > 0) == (KIND[name], 5, True)
        assert a.spans.shape == (u := len(a.scores), 2)
        if name not in ELSEWHERE:
            assert [*a.spans[:, 0], b] == [0, *a.spans[:, 1]]
        assert a.scores.dtype == float
        assert np.isfinite(a.scores).all()
        assert a.per_base().shape == (b,)
        np.testing.assert_allclose(a.per_base().sum(), a.scores.sum())
        if a.standard_error is not None:
            assert a.standard_error.shape == (u,)
            assert (a.standard_error >= 0).all()
        if a.hypothetical is not None:
            assert a.hypothetical.shape == (b, 4)


@pytest.mark.parametrize("name", SCORING)
def test_the_output_is_what_the_model_predicts(name: str) -> None:
    model = tiny_cnn()
    p = model.predict(records())[:, 1]
    found = bw.explain(model, records(), built(name), "b")
    np.testing.assert_allclose([a.output for a in found], np.log(p / (1 - p)), atol=1e-5)


def test_the_same_seed_gives_the_same_scores(name: str) -> None:
    model = replace(tiny_cnn(), batch_tokens=64)
    one, two = (explained(model, records(), built(name), seed=3) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)


def test_stored_attributions_are_equal(name: str, tmp_path: Path) -> None:
    found = explained(tiny_cnn(), records(), built(name))
    write_attributions(tmp_path / "a.parquet", found)
    for a, b in zip(found, read_attributions(tmp_path / "a.parquet"), strict=True):
        for field in fields(a):
            left, right = getattr(a, field.name), getattr(b, field.name)
            if isinstance(left, np.ndarray):
                np.testing.assert_array_equal(left, right)
                assert left.dtype == right.dtype
            else:
                np.testing.assert_equal(right, left)


@pytest.mark.parametrize("name", SCORING)
def test_a_model_that_ignores_the_sequence_scores_zero(name: str) -> None:
    for a in explained(of_module(Constant()), records(), built(name)):
        np.testing.assert_allclose(a.scores, 0, atol=1e-9)
        assert a.output == 3


@pytest.mark.parametrize("name", [name for name in SCORING if name not in ELSEWHERE])
def test_the_planted_motif_is_found(name: str) -> None:
    for a in explained(of_module(Planted()), records(), known(name)):
        best = np.argsort(-a.per_base())[: len(MOTIF)]
        assert sorted(best) == list(range(AT, AT + len(MOTIF)))


@pytest.mark.parametrize("name", sorted({*SCORING} - {*ELSEWHERE, *SURROGATE}))
def test_bases_that_do_nothing_score_nothing(name: str) -> None:
    for a in explained(of_module(Planted()), records((10, 9)), known(name)):
        outside = np.delete(a.per_base(), range(AT, AT + len(MOTIF)))
        np.testing.assert_allclose(outside, 0, atol=1e-6)


@pytest.mark.parametrize("name", sorted({*SCORING} - {*ELSEWHERE, *SURROGATE, *ORDERED}))
def test_bases_that_do_the_same_score_the_same(name: str) -> None:
    """Each base of the motif adds 1, and all four together 1 more."""
    for a in explained(of_module(Planted()), records((10, 9)), known(name)):
        inside = a.per_base()[AT : AT + len(MOTIF)]
        assert inside[0] > 0.5
        np.testing.assert_allclose(inside, inside[0], atol=1e-6)


@pytest.mark.parametrize("name", [name for name in NAMES if KIND[name] == "rule"])
def test_a_rule_is_the_motif_where_it_decides(name: str) -> None:
    for a in explained(of_module(Whole()), records(), EXPLAINERS.build(name)):
        np.testing.assert_array_equal(np.flatnonzero(a.scores), range(AT, AT + len(MOTIF)))
        assert set(a.scores) == {0, 1}
    for a in explained(of_module(Constant(-1)), records(), built(name)):
        assert not a.scores.any()  # nothing is needed for what is always so


@pytest.mark.parametrize("name", ADDITIVE)
def test_an_additive_model_is_recovered(name: str) -> None:
    module = Additive(constant=7.0)
    some = records()
    for a in explained(of_module(module), some, known(name)):
        np.testing.assert_allclose(a.per_base(), module.scores(a.sequence), atol=1e-6)


@pytest.mark.parametrize("name", ADDITIVE)
def test_scores_are_complete(name: str) -> None:
    for a in explained(tiny_cnn(), records(), known(name)):
        assert abs(a.gap) < 0.02 * max(abs(a.output - a.baseline), 1)
        assert a.gap == pytest.approx(a.output - a.baseline - a.scores.sum(), abs=1e-12)


# ------------------------------------------------------------------------------ independence


@pytest.mark.parametrize("tokens", [1, 100, None])
@pytest.mark.parametrize("make", [tiny_cnn, kmer_bert, lambda: of_module(Additive())])
def test_scores_depend_on_the_record_alone(name: str, make: Any, tokens: int | None) -> None:
    """Not on neighbours, their order or number, lengths beside it, or the size of batches."""
    some = records((11, 10, 12, 11))
    if name in ONE_HOT_ONLY and make is kmer_bert:
        said = "reads tokens; use explainer='integrated_gradients' with reference='token'"
        with pytest.raises(CapabilityError, match=said):
            explained(make(), some, built(name))
        return
    alone = [explained(make(), [record], built(name))[0] for record in some]
    model = replace(make(), batch_tokens=tokens)
    together = explained(model, some, built(name))
    backwards = explained(model, some[::-1], built(name))[::-1]
    for a, b, c in zip(alone, together, backwards, strict=True):
        np.testing.assert_allclose(b.scores, a.scores, atol=2e-5)
        np.testing.assert_allclose(c.scores, a.scores, atol=2e-5)
        assert a.evaluations == b.evaluations == c.evaluations


def test_the_record_and_the_model_stay_as_they_are(name: str) -> None:
    some, model = records(), tiny_cnn()
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    model.network.train()
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - it is the global state that must stay
    state = torch.random.get_rng_state().clone(), np.random.get_state()[1].copy()  # noqa: NPY002
    explained(model, some, built(name))
    assert some == records()
    assert all(torch.equal(v, before[k]) for k, v in model.network.state_dict().items())
    assert model.network.training
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


def test_everything_borrowed_is_given_back_after_an_error(name: str) -> None:
    module = Fragile().train()
    model = of_module(module)
    module.layer[1].eval()  # modes that differ from module to module
    module.layer[0].bias.requires_grad_(False)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - it is the global state that must stay
    state = torch.random.get_rng_state().clone(), np.random.get_state()[1].copy()  # noqa: NPY002
    with pytest.raises(ZeroDivisionError, match="broke down"):
        explained(replace(model, batch_tokens=13), records(), built(name))
    assert module.training
    assert not module.layer[1].training
    assert [p.requires_grad for p in module.parameters()] == [True, False]
    assert all(p.grad is None for p in module.parameters())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.backends.cudnn.enabled
    hooks = [m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in _all(model)]
    assert not any(hooks)
    assert torch.equal(torch.random.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()  # noqa: NPY002


def _all(model: Any) -> list[Any]:
    return list(model.network.modules())


# ------------------------------------------------------------------------------ refusals


def test_an_unknown_label_is_refused_with_the_known(name: str) -> None:
    with pytest.raises(UnknownName, match=r"No label of this model named 'd'\..*Known: a, b, c"):
        bw.explain(tiny_cnn(), records(), built(name), "d")


def test_an_empty_sequence_is_refused_by_its_id(name: str) -> None:
    some = [*records(), bw.Record("nothing", "")]
    said = r"^Record 'nothing' has 0 bases, so there is nothing to read in it; leave it out\.$"
    for model in (kmer_bert(), tiny_cnn()):
        with pytest.raises(DataError, match=said):
            explained(model, some, built(name))
        with pytest.raises(DataError, match=said):
            model.predict(some)


def test_a_sequence_too_long_for_the_model_is_refused_by_its_id(name: str) -> None:
    if name in ONE_HOT_ONLY:
        return
    settings = {"masking": "mask"} if name in PERTURBING else {}
    with pytest.raises(DataError, match=r"Record 'long' has 90 bases, .* takes at most 64; cut"):
        explained(kmer_bert(), [bw.Record("long", "ACG" * 30)], built(name, **settings))


def test_illegal_letters_are_refused_by_the_records_id(name: str) -> None:
    with pytest.raises(DataError, match="Record 'odd': Letter 'X' at base 3"):
        explained(tiny_cnn(), [bw.Record("odd", "ACGXACG")], built(name))


def test_a_value_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=r"Constant gives nan as the \S+ of score"):
        explained(of_module(Constant(float("nan"))), records(), built(name))


@pytest.mark.parametrize("name", GRADIENT)
def test_a_function_has_no_gradient(name: str) -> None:
    model = bw.Model.from_callable(lambda s: [0.0] * len(s), ["score"])
    with pytest.raises(CapabilityError, match=r"is a function, .* perturbation explainer"):
        explained(model, records(), built(name))


@pytest.mark.parametrize("name", PERTURBING)
def test_tokens_that_an_n_would_move_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CapabilityError, match=r"An N moves .* use masking='mask'"):
        explained(bpe_bert(tmp_path), records(), built(name))


@pytest.mark.parametrize("name", PERTURBING)
def test_a_special_token_the_model_lacks_is_refused(name: str) -> None:
    with pytest.raises(CapabilityError, match=r"has no mask token; use masking='n'"):
        explained(tiny_cnn(), records(), built(name, masking="mask"))


@pytest.mark.parametrize("name", PERTURBING)
def test_overlapping_units_are_refused(name: str) -> None:
    """By the longest record, which is asked first."""
    with pytest.raises(CapabilityError, match=r"tokens of 'r2' overlap .* use units='bases'"):
        explained(kmer_bert(), records(), built(name, units="tokens"))


@pytest.mark.parametrize("given", ["ACGT", ["ACGT"], [3]])
def test_what_are_no_records_is_refused(given: Any) -> None:
    model = bw.Model.from_callable(lambda seqs: [len(s) for s in seqs], labels=["length"])
    with pytest.raises(DataError, match=r"^('ACGT'|3) is no record; give a list of them, \[Rec"):
        bw.explain(model, given, "occlusion", "length")
    (one,) = bw.explain(model, bw.Record("a", "ACGT"), "occlusion", "length")  # type: ignore[arg-type]
    assert one.record_id == "a"


LENGTH = bw.Model.from_callable(lambda seqs: [len(s) for s in seqs], labels=["length"])


def test_two_records_of_one_id_are_refused() -> None:
    some = [bw.Record("a", "ACGT"), bw.Record("b", "ACGT"), bw.Record("a", "GGGG")]
    with pytest.raises(DataError, match=r"Records 0 and 2 \(from 0\) have one id, 'a'; scores"):
        bw.explain(LENGTH, some, "occlusion", "length")


@pytest.mark.parametrize("seed", ["x", -1, 0.5, None, True])
def test_what_is_no_seed_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"seed = .*: a whole number, 0 or more, is needed"):
        bw.explain(LENGTH, [bw.Record("a", "ACGT")], "occlusion", "length", seed=seed)


def test_a_record_of_unknown_bases_has_nothing_to_explain() -> None:
    model = bw.Model.from_callable(lambda seqs: [len(s) for s in seqs], labels=["length"])
    with pytest.raises(DataError, match=r"Record 'n' has no base that is known \(4 N\), so there"):
        bw.explain(model, [bw.Record("n", "NNNN")], "occlusion", "length")
