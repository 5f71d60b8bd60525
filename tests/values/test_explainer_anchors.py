"""Anchors: bounds, search and rules against the paper's package and against arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import basewise as bw
from basewise.errors import CapabilityError, ConfigError
from basewise.explainers import EXPLAINERS
from basewise.explainers.anchors import bounds, carried_by, exploration
from basewise.explainers.game import play_one
from basewise.types import Bools, Floats


def rule(value: Any, u: int = 8, seed: int = 0, **settings: Any) -> Any:
    anchors = EXPLAINERS.build({"type": "anchors"} | settings)
    rng = np.random.default_rng(seed)

    def top(present: Bools) -> Floats:
        return np.asarray(value(present), float)

    game, estimate = play_one(top, u, lambda game: anchors.estimate(game, rng))
    return tuple(np.flatnonzero(estimate.scores).tolist()), estimate.extras, game


# ------------------------------------------------------------------------------ bounds


def test_bounds_are_those_of_the_package() -> None:
    """`dlow_bernoulli`, `dup_bernoulli` (16 halvings) and `compute_beta` of anchor-exp 0.0.2.0."""
    mean = np.array([0.5, 0.9, 0.97, 1.0, 0.0])
    level = np.array([0.1, 0.05, 0.02, 0.03, 0.2])
    low = [0.287120433, 0.779921172, 0.922845764, 0.970444733, 0]
    high = [0.712879567, 0.968722534, 0.992712402, 1, 0.181275096]
    np.testing.assert_allclose(bounds(mean, level, np.zeros(5, bool)), low, atol=2e-5)
    np.testing.assert_allclose(bounds(mean, level, np.ones(5, bool)), high, atol=2e-5)
    assert exploration(10, 1, 0.1) == pytest.approx(12.97211544436091)
    assert exploration(300, 7, 0.05) == pytest.approx(19.669198782808895)


def divergence(p: Floats, q: Floats) -> Floats:
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


@given(
    mean=st.floats(0.001, 0.999),
    n=st.integers(1, 20_000),
    beta=st.floats(1, 25),
    above=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_bounds_solve_their_equation(mean: float, n: int, beta: float, above: bool) -> None:
    p, level = np.array([mean]), np.array([beta / n])
    q = bounds(p, level, np.array([above]))
    assert (q > p) == above
    if 1e-9 < q < 1 - 1e-9:
        np.testing.assert_allclose(divergence(p, q), level, rtol=1e-4)


def test_bounds_of_what_always_or_never_happens() -> None:
    """n hits of n: at least `exp(-beta / n)` likely, at most certain."""
    mean, level = np.array([1.0, 0.0]), np.array([0.2, 0.2])
    np.testing.assert_allclose(bounds(mean, level, mean == 1), mean, atol=1e-12)
    expected = [np.exp(-0.2), 1 - np.exp(-0.2)]
    np.testing.assert_allclose(bounds(mean, level, mean == 0), expected)


def test_the_interval_covers_the_precision_as_often_as_it_says() -> None:
    """Hits of 100 coins of chance 0.8: beyond a bound at most in `delta` of all runs."""
    rng = np.random.default_rng(0)
    mean = rng.binomial(100, 0.8, 4000) / 100
    level = np.full(4000, np.log(1 / 0.05) / 100)
    assert (bounds(mean, level, np.zeros(4000, bool)) > 0.8).mean() < 0.05
    assert (bounds(mean, level, np.ones(4000, bool)) < 0.8).mean() < 0.05


# ------------------------------------------------------------------------------ rules

# Rules that anchor-exp 0.0.2.0 (`anchor_beam`, delta 0.1, epsilon 0.15, batch 50, confidence
# 0.95, beam 4, 500 samples at the start) finds with every one of 20 seeds.
GAMES: dict[str, tuple[Any, tuple[int, ...]]] = {
    "both of two": (lambda z: z[:, 2] & z[:, 5], (2, 5)),
    "one, or both of two": (lambda z: z[:, 1] | (z[:, 4] & z[:, 6]), (1,)),
    "always": (lambda z: np.ones(len(z)), ()),
    "enough weight": (lambda z: z @ np.array([3, -1, 2, 0.5, -0.5, 1, 0, 0]) > 1.2, (0,)),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", GAMES)
def test_rules_are_those_of_the_package(name: str, seed: int) -> None:
    value, expected = GAMES[name]
    units, extras, _ = rule(value, seed=seed)
    assert units == expected
    assert extras["enough"] == 1
    assert extras["units"] == len(expected)
    assert extras["coverage"] == 0.5 ** len(expected)
    assert 0.9 < extras["precision_low"] <= extras["precision"] <= extras["precision_high"] <= 1


def test_any_three_of_five_that_decide() -> None:
    units, extras, _ = rule(lambda z: z[:, :5].sum(1) >= 3)
    assert len(units) == 3
    assert set(units) < set(range(5))
    assert extras["coverage"] == 1 / 8


def test_a_prediction_against_the_label_is_kept_too() -> None:
    """With all units the label is not predicted; unit 3 alone sees to that."""
    units, extras, game = rule(lambda z: ~z[:, 3])
    assert units == (3,)
    assert (game.full, game.empty) == (0, 1)
    assert extras["precision"] == 1


def test_the_precision_is_the_one_that_enumeration_gives() -> None:
    """16 units; a rule of precision 0.75 is enough when 0.7 is asked for."""
    units, extras, _ = rule(
        lambda z: z[:, 0] & (z[:, 1] | z[:, 2]), u=16, precision=0.7, slack=0.02
    )
    assert units == (0,)
    assert extras["precision_low"] <= 0.75 <= extras["precision_high"]
    assert extras["precision_high"] - extras["precision_low"] < 0.2


def test_the_budget_ends_the_search_and_says_so() -> None:
    _, extras, game = rule(lambda z: z.all(1), u=20, evaluations=3000)
    assert extras["enough"] == 0
    assert extras["precision"] < 0.95
    assert 2500 < game.evaluations < 3000 + 2 * 500 * 4


@pytest.mark.parametrize("seed", range(3))
def test_what_is_drawn_again_is_free(seed: int) -> None:
    """All three of 12 units: most of the 4,096 coalitions are known before it is clear which."""
    units, extras, game = rule(lambda z: z[:, :3].all(1), u=12, seed=seed)
    assert units == (0, 1, 2)
    assert extras["enough"] == 1
    assert game.evaluations < 4096


def test_a_search_that_nothing_can_settle_ends() -> None:
    """All 32 coalitions are known at once; without a rule the precision is the one asked for."""
    _, extras, game = rule(
        lambda z: z[:, 1] | z[:, 3], u=5, precision=0.75, slack=1e-9, evaluations=600
    )
    assert extras["enough"] == 0
    assert game.evaluations == 32


@pytest.mark.parametrize("u", [3, 9, 14])
def test_what_is_paid_stays_below_what_is_said(u: int) -> None:
    settings = {"samples": 40, "batch": 30, "evaluations": 400, "beam": 3}
    said = EXPLAINERS.build({"type": "anchors"} | settings).coalitions(u)
    for seed in range(5):
        _, _, game = rule(lambda z: z.sum(1) > u / 2, u=u, seed=seed, **settings)
        assert game.evaluations <= said.number


def test_a_function_of_values_has_no_prediction() -> None:
    model = bw.Model.from_callable(lambda s: [0.0] * len(s), ["score"])
    with pytest.raises(CapabilityError, match=r"gives values, which cannot be read as 'top'"):
        bw.explain(model, [bw.Record("r", "ACGT")], "anchors", "score")


def test_a_rule_on_a_sequence_reads_the_prediction() -> None:
    """GATA decides; six of the ten other sequences carry it where the rule has it."""

    def likely(sequences: list[str]) -> list[float]:
        return [0.9 if s[3:7] == "GATA" else 0.2 for s in sequences]

    model = bw.Model.from_callable(likely, ["yes"], outputs="probabilities")
    (a,) = bw.explain(model, [bw.Record("r", "CCCGATACC")], "anchors", "yes", seed=1)
    np.testing.assert_array_equal(a.scores, [0, 0, 0, 1, 1, 1, 1, 0, 0])
    assert (a.target, a.output, a.kind) == (bw.Target("yes", "top"), 1, "rule")
    others = ["TTTGATATTT"] * 6 + ["GATACCCCC", "CCCGATC", "CCC", "CCCGCTACC"]
    assert carried_by(a, others) == 0.6
    windows = bw.explain(
        model, [bw.Record("r", "CCCGATACC")], "anchors", "yes", units={"type": "windows", "size": 4}
    )[0]
    np.testing.assert_array_equal(windows.scores, [1, 1, 0])
    assert carried_by(windows, ["CCCGATACTTT", "CCCGATAG"]) == 0.5


def test_draws_of_a_masking_count_by_their_share() -> None:
    """A switched-off base is drawn anew, so the two that decide are there by chance too."""

    def likely(sequences: list[str]) -> list[float]:
        return [0.9 if s[1:3] == "GT" else 0.1 for s in sequences]

    model = bw.Model.from_callable(likely, ["yes"], outputs="probabilities")
    (a,) = bw.explain(
        model, [bw.Record("r", "AGTAA")], "anchors", "yes", masking={"type": "sampled", "draws": 7}
    )
    np.testing.assert_array_equal(a.scores, [0, 1, 1, 0, 0])
    assert a.evaluations == 7 * 32


def test_a_budget_too_small_for_one_rule_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"'anchors': evaluations = 50 are fewer than samples = 500, .*; give more",
    ):
        EXPLAINERS.build({"type": "anchors", "evaluations": 50})
