"""What every explainer says it will cost is what it then costs, or the most it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import basewise as bw
from basewise.errors import BasewiseError, CapabilityError, ConfigError, DataError
from basewise.evaluate import CONTROLS
from basewise.evaluate.controls import Case
from basewise.evaluate.faithfulness import Faithfulness
from basewise.explainers import EXPLAINERS
from basewise.explainers.count import Count, at_most, exactly
from basewise.explainers.random import Random
from explained_models import Constant, bpe_bert, kmer_bert, of_module, records, tiny_cnn

# Settings under which the count is known beforehand, and under which it is a bound.
EXACT: dict[str, list[dict[str, Any]]] = {
    "attention": [{}],
    "attention_rollout": [{}],
    "banzhaf": [{"units": {"type": "windows", "size": 3}}],
    "deep_lift": [{}, {"reference": "uniform"}],
    "exact_shapley": [{"units": {"type": "windows", "size": 2}, "masking": "sampled"}],
    "expected_gradients": [{"draws": 7}, {"draws": 5, "reference": {"type": "zero"}}],
    "input_x_gradient": [{}],
    "integrated_gradients": [
        {"tolerance": None, "steps": 6},
        {"tolerance": None, "steps": 6, "rule": "gauss_legendre"},
        {"steps": 9, "most_steps": 17, "reference": "uniform"},
    ],
    "kernel_shap": [{"units": {"type": "windows", "size": 3}}, {"evaluations": 4096}],
    "leverage_shap": [{"evaluations": n} for n in (48, 61, 256, 4094)],
    "marginalisation": [{"motif": "TATA", "draws": 3, "stride": 4}, {"motif": "G"}],
    "mutagenesis": [{}],
    "occlusion": [{}, {"masking": {"type": "shuffled", "draws": 3}}],
    "partition_shap": [{}, {"evaluations": 30}, {"evaluations": 31}, {"evaluations": 2}],
    "permutation_shap": [{"units": {"type": "windows", "size": 6}}],
    "random": [{}, {"units": {"type": "windows", "size": 4}}],
    "saliency": [{}],
    "smoothgrad": [{"draws": 4}],
}
BOUND: dict[str, list[dict[str, Any]]] = {
    "anchors": [{"samples": 40, "evaluations": 90}, {"beam": 1, "samples": 5, "evaluations": 10}],
    "banzhaf": [{"evaluations": 60}],
    "integrated_gradients": [{"steps": 2, "most_steps": 8}, {"rule": "gauss_legendre", "steps": 3}],
    "kernel_shap": [{"evaluations": 60}],
    "lime": [{"samples": 50}],
    "permutation_shap": [{"evaluations": 90}],
}
CASES = [(name, given) for kind in (EXACT, BOUND) for name in kind for given in kind[name]]


def test_every_explainer_is_here() -> None:
    assert sorted({*EXACT, *BOUND}) == EXPLAINERS.names()


@pytest.mark.parametrize(("name", "given"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_the_count_is_what_is_paid_or_its_bound(name: str, given: dict[str, Any]) -> None:
    model = kmer_bert() if name.startswith("attention") else tiny_cnn()
    explainer = EXPLAINERS.build({"type": name} | given)
    known = given in EXACT.get(name, [])
    some = [*records((11, 7, 12)), bw.Record("n", "ACGNTATANCC")]
    for record, found in zip(
        some, bw.explain(model, some, explainer, model.labels[-1]), strict=True
    ):
        said = explainer.cost(model, record)
        assert said.exact == known
        if known:
            assert found.evaluations == said.number
        else:
            assert found.evaluations <= said.number


def test_bounds_are_reached_or_nearly() -> None:
    """A bound that is never near the truth would say nothing."""
    for name, given, least in (
        ("kernel_shap", {"evaluations": 2000, "units": "bases"}, 0.75),
        ("lime", {"samples": 200}, 0.4),
        ("permutation_shap", {"evaluations": 700}, 0.7),
        ("banzhaf", {"evaluations": 300}, 0.9),
        ("integrated_gradients", {"tolerance": 1e-9, "steps": 3}, 1.0),
    ):
        some, explainer = records((12,)), EXPLAINERS.build({"type": name} | given)
        model = tiny_cnn()
        (found,) = bw.explain(model, some, explainer, "a")
        assert found.evaluations >= least * explainer.cost(model, some[0]).number, name


@pytest.mark.parametrize("settings", [{"samples": 40}, {"samples": 60, "batch": 30, "beam": 2}])
def test_anchors_spend_at_most_the_bound_even_where_no_rule_is_enough(settings: Any) -> None:
    """On a coin's toss the search goes on to the end of its budget."""
    model = bw.Model.from_callable(
        lambda seqs: [(hash_of(s), 1 - hash_of(s)) for s in seqs], ["a", "b"], outputs="logits"
    )
    explainer = EXPLAINERS.build({"type": "anchors", "evaluations": 300} | settings)
    (found,) = bw.explain(model, records((20,)), explainer, "a")
    bound = explainer.cost(model, records((20,))[0]).number
    assert 300 <= found.evaluations <= bound


def hash_of(sequence: str) -> float:
    return float(sum(ord(c) * 31**i for i, c in enumerate(sequence)) % 7 > 3)


def test_draws_multiply_the_cost_and_byte_pairs_may_double_it(tmp_path: Path) -> None:
    model = bpe_bert(tmp_path)
    (record,) = records((15,))
    drawn = EXPLAINERS.build({"type": "occlusion", "masking": {"type": "sampled", "draws": 4}})
    assert drawn.cost(model, record) == exactly(4 * 17)
    mutagenesis = EXPLAINERS.build("mutagenesis")
    assert mutagenesis.cost(model, record) == at_most(1 + 2 * 45)
    (found,) = bw.explain(model, [record], mutagenesis, "yes")
    assert 46 < found.evaluations <= 91


@pytest.mark.parametrize("name", EXPLAINERS.names())
def test_one_unit_costs_what_it_costs(name: str) -> None:
    """The smallest sequence: formulas in 2**u and u - 1 are right at u = 1."""
    if name.startswith("attention"):
        return
    settings = {"motif": "G"} if name == "marginalisation" else {}
    explainer = EXPLAINERS.build({"type": name} | settings)
    model, one = of_module(Constant()), bw.Record("one", "A")
    (found,) = bw.explain(model, [one], explainer, "score")
    said = explainer.cost(model, one)
    assert found.evaluations == said.number if said.exact else found.evaluations <= said.number


@pytest.mark.parametrize(
    ("name", "settings", "sequence", "error"),
    [
        ("kernel_shap", {"evaluations": 20}, "ACGT" * 5, ConfigError),
        ("permutation_shap", {"evaluations": 20}, "ACGT" * 5, ConfigError),
        ("exact_shapley", {}, "ACGT" * 5, CapabilityError),
        ("marginalisation", {"motif": "ACGTACGT"}, "ACGT", DataError),
        ("occlusion", {}, "", DataError),
        ("mutagenesis", {}, "ACGX", DataError),
    ],
)
def test_the_count_refuses_as_explaining_does(
    name: str, settings: Any, sequence: str, error: type[BasewiseError]
) -> None:
    explainer, record = EXPLAINERS.build({"type": name} | settings), bw.Record("r", sequence)
    with pytest.raises(error) as said:
        explainer.cost(tiny_cnn(), record)
    with pytest.raises(error) as done:
        bw.explain(tiny_cnn(), [record], explainer, "a")
    assert str(said.value) == str(done.value)


def test_counts_say_whether_they_are_bounds() -> None:
    assert str(Count.total([exactly(1000), exactly(234)])) == "1,234"
    assert str(Count.total([exactly(1000), at_most(234)])) == "at most 1,234"
    assert exactly(7).times(3) == exactly(21)


@pytest.mark.parametrize(
    "given",
    [
        {"maskings": ["n"], "correlations": False, "steps": 4},
        {"maskings": ["n", "mask", "shuffled"], "orders": 2, "perturbations": 7},
        {"maskings": [{"type": "sampled", "draws": 3}], "perturbations": 0, "shares": [0.5]},
    ],
)
@pytest.mark.parametrize("tracks", [1, 3])
def test_faithfulness_costs_no_more_than_it_says(given: dict[str, Any], tracks: int) -> None:
    model, some = tiny_cnn(), records((60, 47, 12))
    target = model.target(model.labels[-1])
    settings = Faithfulness(**given)
    found = {str(i): Random().explain(model, some, target, i) for i in range(tracks)}
    paid = settings.measure(model, some, found, target).evaluations
    said = [settings.cost(model, record, tracks) for record in some]
    assert not any(each.exact for each in said)
    whole = sum(each.number for each in said)
    assert paid <= whole < 2 * paid  # what orders share is valued once


@pytest.mark.parametrize("control", CONTROLS.names())
def test_controls_cost_what_they_say(control: str) -> None:
    model, some = tiny_cnn(), records((30, 24, 18))
    target, explainer = model.target(model.labels[-1]), EXPLAINERS.build("occlusion")
    found = explainer.explain(model, some, target, 0)
    built = CONTROLS.build(control)
    verdict = built.judge(Case(model, explainer, target, some, found, retrain=lambda _: model))
    said = Count.total(built.cost(explainer, model, record) for record in some)
    assert said.exact == (control != "random_scores")
    if said.exact:
        assert verdict.evaluations == said.number
    else:
        assert verdict.evaluations <= said.number < 2 * verdict.evaluations
