"""Agreement with `anchor-exp`, the code of the paper's authors, on bounds, bandits and rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from anchor.anchor_base import AnchorBaseBeam as theirs

from basewise.explainers import EXPLAINERS
from basewise.explainers.anchors import Rule, _Level, _Search, bounds, exploration
from basewise.explainers.game import Game, keys_of, play_one
from basewise.types import Bools, Floats


def test_bounds_are_the_packages() -> None:
    """It halves an interval of at most sqrt(level / 2) 16 times, and leaves p within 1e-7."""
    rng = np.random.default_rng(0)
    means = np.concatenate([rng.random(300), [0, 1, 0.5]])
    levels = np.concatenate([10 ** rng.uniform(-4, 0.5, 300), [0.02, 0.02, 0.3]])
    for above, package in ((True, theirs.dup_bernoulli), (False, theirs.dlow_bernoulli)):
        expected = [package(p, level) for p, level in zip(means, levels, strict=True)]
        found = bounds(means, levels, np.full(len(means), above))
        np.testing.assert_allclose(found, expected, atol=4e-5)


@pytest.mark.parametrize("arms, t, delta", [(2, 1, 0.1), (300, 40, 0.05), (7, 9, 0.5)])
def test_the_level_of_exploration_is_the_packages(arms: int, t: int, delta: float) -> None:
    assert exploration(arms, t, delta) == pytest.approx(theirs.compute_beta(arms, t, delta))


@pytest.mark.parametrize("top, tolerance", [(1, 0.15), (3, 0.15), (4, 0.3)])
@pytest.mark.parametrize("seed", range(4))
def test_kl_lucb_is_the_packages_on_a_scripted_bandit(
    top: int, tolerance: float, seed: int
) -> None:
    """The n-th sample of an arm is the same hit or miss for both: so are arms and samples taken."""
    u, batch, delta = 9, 40, 0.1
    rng = np.random.default_rng(seed)
    script = rng.random((u, 40_000)) < rng.random((u, 1))
    before = rng.random((50 + u, u)) < 0.5
    before[:u] |= np.eye(u, dtype=bool)  # every arm has been tried
    hits = (rng.random(len(before)) < 0.5).astype(float)

    settings = {"beam": top, "tolerance": tolerance, "delta": delta, "batch": batch}
    anchors = EXPLAINERS.build({"type": "anchors", "evaluations": 10**7} | settings)
    game = Game(u)
    game.learn(keys_of(game.ends), np.array([1.0, 0.0]))
    level = _Level([Rule(np.zeros(u, bool), before, hits)])
    started = level.tried.copy()
    taken = np.zeros(u, int)

    def sample(arm: int, n: int) -> Floats:
        taken[arm] += n
        return script[arm, taken[arm] - n : taken[arm]].astype(float)

    search = _Search(anchors, game, rng).best(level)
    values = None
    try:
        while True:
            samples = (search.send(values) if values is not None else next(search)).reshape(
                2, batch, u
            )
            arms = [np.flatnonzero(each.all(0)) for each in samples]  # what all samples keep
            values = np.concatenate([sample(int(arm), batch) for (arm,) in arms])
    except StopIteration as end:
        chosen = end.value

    paid = taken.copy()
    taken[:] = 0
    statistics = {"n_samples": started, "positives": hits @ before}
    functions = [lambda n, arm=arm: sample(arm, n).sum() for arm in range(u)]
    expected = theirs.lucb(functions, statistics, tolerance, delta, batch, top)
    assert set(chosen) == {int(arm) for arm in expected}
    np.testing.assert_array_equal(paid, taken)
    assert paid.sum() > 2 * batch
    np.testing.assert_allclose(level.tried, started + paid)


RULES: dict[str, Any] = {
    "one": lambda z: z[:, 2],
    "pair": lambda z: z[:, 1] & z[:, 4],
    "three": lambda z: z[:, 0] & z[:, 3] & z[:, 6],
    "pair or three": lambda z: (z[:, 1] & z[:, 4]) | (z[:, 0] & z[:, 3] & z[:, 6]),
    "most": lambda z: z.sum(1) >= 6,
}


@pytest.mark.parametrize("name", RULES)
def test_the_rule_of_a_small_function_is_the_packages(name: str) -> None:
    """Units come and go with chance 1/2. The best rule of each function is unique, but of `most`
    any five units do (in 3 of 4 samples a sixth is there: not enough), so six are compared."""
    u, holds = 7, RULES[name]

    def value(present: Bools) -> Floats:
        return np.asarray(holds(present), float)

    settings = {"precision": 0.95, "delta": 0.1, "tolerance": 0.15, "slack": 0.05, "beam": 4}
    anchors = EXPLAINERS.build({"type": "anchors", "samples": 300, "evaluations": 10**6} | settings)
    _, ours = play_one(value, u, lambda game: anchors.estimate(game, np.random.default_rng(2)))

    rng = np.random.default_rng(3)

    def sample(kept: list[int], n: int, compute_labels: bool = True) -> Any:
        data = rng.random((n, u)) < 0.5
        data[:, kept] = True
        return data, data.astype(int), value(data).astype(int) if compute_labels else []

    np.random.seed(4)  # noqa: NPY002 - the package draws its examples from it
    found = theirs.anchor_beam(
        sample, delta=0.1, epsilon=0.15, batch_size=100, desired_confidence=0.95, beam_size=4,
        epsilon_stop=0.05, min_samples_start=300, coverage_samples=20_000,
    )  # fmt: skip
    rule = set(np.flatnonzero(ours.scores).tolist())
    if name == "most":
        assert len(rule) == len(found["feature"]) == 6
    else:
        assert rule == {int(f) for f in found["feature"]}
    assert ours.extras["precision_low"] <= found["precision"][-1] <= ours.extras["precision_high"]
    assert ours.extras["coverage"] == pytest.approx(found["coverage"][-1], abs=0.01)


@pytest.mark.parametrize("u", [8, 56, 57, 60, 64, 65])
def test_every_rule_of_one_unit_more_is_tried_once(u: int) -> None:
    parents = [np.zeros(u, bool), np.zeros(u, bool)]
    parents[0][u - 4] = parents[1][1] = True
    level = _Level([Rule(units, np.empty((0, u), bool), np.empty(0)) for units in parents])
    found = {tuple(np.flatnonzero(units)) for units in level.units}
    expected = {tuple(sorted({a, b})) for a in (u - 4, 1) for b in range(u) if a != b}
    assert found == expected
    assert len(level.units) == len(expected) == 2 * (u - 1) - 1
