"""Controls on models whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError, UnknownName
from basewise.evaluate.controls import (
    CONTROL,
    Case,
    Verdict,
    check_controls,
    correlations,
    judged,
    verdict_table,
)
from basewise.evaluate.decoy_control import Decoys
from basewise.evaluate.invariance_controls import output_correlation
from basewise.explainers import EXPLAINERS
from basewise.models.randomised import layers, randomised
from basewise.registry import component
from basewise.stats import Estimate
from explained_models import Additive, Constant, of_module, tiny_cnn
from tiny_networks import tiny


def some(n: int = 12, length: int = 40, seed: int = 3) -> list[bw.Record]:
    rng = np.random.default_rng(seed)
    return [bw.Record(f"s{i}", "".join(rng.choice(list("ACGT"), length))) for i in range(n)]


def case(model: bw.Model, explainer: Any = "occlusion", n: int = 12, **more: Any) -> Case:
    records, target = some(n), model.target(model.labels[-1])
    built = EXPLAINERS.build(explainer)
    return Case(model, built, target, records, built.explain(model, records, target, 0), **more)


def one(about: Case, control: Any) -> Verdict:
    [verdict] = check_controls(about, [control])
    return verdict


class Counts(nn.Module):
    """Counts G and C: the same on both strands."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 1] + x[:, 2]).sum(1) + (x[:, 1, 1:] * x[:, 2, :-1]).sum(1)


class Everywhere(nn.Module):
    """How often TATA stands anywhere: moves along with the sequence."""

    def forward(self, x: Tensor) -> Tensor:
        t, a = x[:, 3], x[:, 0]
        return (t[:, :-3] * a[:, 1:-2] * t[:, 2:-1] * a[:, 3:]).sum(1) + 0.1 * t.sum(1)


@component
class Letters:
    """Scores every G 1, and reads nothing of the model: what no explanation may do."""

    kind = "ranking"

    def explain(self, model: Any, records: Any, target: Any, seed: int = 0, progress: Any = None):
        found = EXPLAINERS.build("random").explain(model, records, target, seed)
        return [replace(a, scores=np.array([float(x == "G") for x in a.sequence])) for a in found]


# ------------------------------------------------------------------------------ deciding


@pytest.mark.parametrize(
    ("low", "high", "side", "outcome"),
    [
        (0.8, 0.9, "above", "pass"),
        (0.6, 0.9, "above", "undecided"),
        (0.1, 0.2, "above", "fail"),
        (-0.1, 0.1, "within", "pass"),
        (0.1, 0.9, "within", "undecided"),
        (-0.9, -0.8, "within", "fail"),
        (0.8, 0.9, "within", "fail"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, side: Any, outcome: str) -> None:
    threshold = 0.7
    assert judged(Estimate(0.0, low, high, 9), side, threshold) == outcome
    assert judged(Estimate(0.0, low, high, 4), side, threshold) == "undecided"


def test_correlations_are_means_over_records() -> None:
    up, down = np.arange(6.0), -np.arange(6.0)
    assert correlations([up, up], [up, up], 0).value == pytest.approx(1)
    assert correlations([up, up], [up, down], 0).value == pytest.approx(0)


# ------------------------------------------------------------------------------ random layers


@pytest.mark.parametrize("architecture", ["basewise-cnn", "basewise-dnabert2", "basewise-hyenadna"])
def test_layers_forget_from_the_top(architecture: str) -> None:
    network = tiny_cnn().network if architecture == "basewise-cnn" else tiny(architecture)
    model = replace(tiny_cnn(), network=network)
    names = layers(network)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    half = randomised(model, 0.5, seed=1).network
    gone = {n for n, p in half.named_parameters() if not torch.equal(p, before[n])}
    kept = names[: len(names) - round(len(names) / 2)]
    assert gone
    assert not [n for n in gone if n.rpartition(".")[0] in kept]
    for name, parameter in randomised(model, 1.0, seed=1).network.named_parameters():
        old = before[name]
        torch.testing.assert_close(parameter.flatten().sort()[0], old.flatten().sort()[0])
        if old.numel() > 20 and len(old.unique()) > 20:
            assert not torch.equal(parameter, old), name
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    same = randomised(model, 1.0, seed=1).network.state_dict()
    assert all(
        torch.equal(v, same[k]) for k, v in randomised(model, 1.0, 1).network.state_dict().items()
    )


def test_a_function_has_no_layers() -> None:
    model = bw.Model.from_callable(lambda rows: [0.0] * len(rows), ["score"])
    with pytest.raises(CapabilityError, match="function without weights; there are no layers"):
        randomised(model, 1.0)
    verdict = one(case(model, "random"), "randomised_layers")
    assert verdict.outcome == "not run"
    assert "function without weights" in verdict.why


def test_an_explanation_of_weights_changes_with_them() -> None:
    model = of_module(Additive())
    verdict = one(case(model, n=30), {"type": "randomised_layers", "stages": 1})
    assert verdict.outcome in ("pass", "undecided")
    assert abs(verdict.estimate.value) < 0.3
    assert verdict.estimate.n == 30
    assert verdict.evaluations == 30 * 42


def test_an_explanation_that_ignores_the_model_fails() -> None:
    model = of_module(Additive())
    records, target = some(), model.target("score")
    about = Case(model, Letters(), target, records, Letters().explain(model, records, target))
    verdict = one(about, "randomised_layers")
    assert verdict.outcome == "fail"
    assert [stage for stage, _ in verdict.stages] == [
        f"top {n} % of the layers" for n in (33, 67, 100)
    ]
    assert verdict.stages[-1][1] == verdict.estimate
    assert verdict.estimate.value == pytest.approx(1)


# ------------------------------------------------------------------------------ scores, labels


def test_true_effects_say_more_than_random_scores_and_random_scores_do_not() -> None:
    model = of_module(Additive())
    assert one(case(model), "random_scores").outcome == "pass"
    noise = one(case(model, "random"), "random_scores")
    assert noise.outcome == "fail"
    assert noise.estimate.value == 0  # the very same scores


def test_a_model_of_permuted_labels_is_trained_and_compared() -> None:
    asked: list[int] = []

    def retrain(epochs: int) -> bw.Model:
        asked.append(epochs)
        return of_module(Additive())

    model = of_module(Additive())
    verdict = one(case(model, retrain=retrain), {"type": "permuted_labels", "epochs": 3})
    assert asked == [3]
    assert verdict.outcome == "fail"  # it learned the same
    assert verdict.estimate.value == pytest.approx(1)
    assert one(case(model), "permuted_labels").outcome == "not run"


# ------------------------------------------------------------------------------ decoys


def test_a_decoy_the_model_never_read_gets_nothing_more_than_its_shuffles() -> None:
    verdict = one(case(of_module(Additive()), n=60), {"type": "decoys", "motif": "GATTACAG"})
    assert verdict.outcome == "pass"
    assert "planted GATTACAG" in verdict.statistic
    assert one(case(of_module(Constant())), "decoys").estimate.value == 0


def test_a_decoy_that_the_model_reads_fails() -> None:
    verdict = one(case(of_module(Everywhere())), {"type": "decoys", "motif": "TATA"})
    assert verdict.outcome == "fail"
    assert verdict.estimate.low > 0.2


def test_decoys_stay_clear_of_truth_and_of_one_another() -> None:
    rng = np.random.default_rng(0)
    record = bw.Record("r", "A" * 30, truth=(bw.Span(5, 20),))
    starts = Decoys(copies=9)._starts(record, 5, rng)
    assert sorted(starts.tolist())[:1] == [0] or len(starts) >= 2
    taken = np.zeros(30, int)
    for start in starts:
        taken[start : start + 5] += 1
    assert taken.max() == 1
    assert taken[5:20].sum() == 0
    full = bw.Record("f", "A" * 8, truth=(bw.Span(0, 8),))
    assert not len(Decoys()._starts(full, 5, rng))
    with pytest.raises(ConfigError, match="two or more of the letters"):
        Decoys(motif="AAAA")


# ------------------------------------------------------------------------------ invariance


def test_a_model_of_both_strands_owes_the_same_explanation() -> None:
    verdict = one(case(of_module(Counts())), "strand")
    assert verdict.outcome == "pass"
    assert verdict.estimate.value == pytest.approx(1)


def test_a_model_of_one_strand_owes_nothing() -> None:
    verdict = one(case(of_module(Additive())), "strand")
    assert verdict.outcome == "not expected"
    assert "the model's own output changes (correlation" in verdict.why


def test_an_explanation_moves_with_what_the_model_finds_anywhere() -> None:
    verdict = one(case(of_module(Counts())), {"type": "shift", "bases": 2})
    assert "shifted by 2 bases" in verdict.statistic
    assert verdict.estimate.value > 0.9


def test_explanations_without_order_fail_where_the_model_is_invariant() -> None:
    verdict = one(case(of_module(Counts()), "random"), "strand")
    assert verdict.outcome == "fail"


def test_outputs_are_compared_with_their_means() -> None:
    found = case(of_module(Counts())).found
    assert output_correlation(found, found) == pytest.approx(1)
    moved = [replace(a, output=a.output + 100) for a in found]
    assert output_correlation(found, moved) < 0.1
    flat = [replace(a, output=1.0) for a in found]
    assert output_correlation(flat, flat) == 1


# ------------------------------------------------------------------------------ the table, refusals


def test_the_table_has_a_row_per_verdict_and_per_stage() -> None:
    about = case(tiny_cnn(), n=6)
    verdicts = check_controls(about)
    table = verdict_table(verdicts)
    assert list(table) == list(CONTROL)
    assert table["control"].drop_duplicates().tolist() == [
        "random_scores", "randomised_layers", "decoys", "strand", "shift",
    ]  # fmt: skip
    assert (table["stage"] != "").sum() == 3
    assert (table.loc[table["stage"] != "", "outcome"] == "").all()
    assert (table.loc[table["stage"] == "", "why"] != "").all()
    again = verdict_table(check_controls(about))
    np.testing.assert_allclose(again["value"], table["value"], atol=1e-4)


def test_attributions_of_other_records_are_refused() -> None:
    about = case(tiny_cnn(), n=6)
    with pytest.raises(DataError, match=r"there are 5 records and 6 attributions"):
        check_controls(replace(about, records=about.records[:5]))
    with pytest.raises(UnknownName, match=r"No control named 'strands'\. Did you mean 'strand'"):
        check_controls(about, ["strands"])
