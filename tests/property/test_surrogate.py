"""The surrogate of three units against sums over triples, enumeration and refitting."""

from __future__ import annotations

from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from basewise.explainers import EXPLAINERS
from basewise.explainers import surrogate as module
from basewise.explainers.coalitions import fit_pairs
from basewise.explainers.game import play_one
from basewise.explainers.surrogate import LENGTH, NOISE, Prior, Waves, surrogate
from basewise.types import Bools, Floats

UNITS = 7
AMOUNTS = ("alike", "scaled", "levels", "leveled", "numbered", "scores")


def signs(n: int, seed: int, u: int = UNITS) -> Any:
    return np.random.default_rng(seed).choice([-1, 1], (n, u)).astype(np.float32)


def prior(**amounts: float) -> Prior:
    rng = np.random.default_rng(5)
    made = Prior.of(signs(30, 1), rng.normal(size=UNITS))
    every = dict.fromkeys(AMOUNTS, 0.0) | amounts
    return Prior(made.scale, made.number, made.level, **every)


def estimate(value: Any, u: int, name: str = "leverage_shap", seed: int = 0, **given: Any) -> Any:
    explainer = EXPLAINERS.build({"type": name} | given)
    rng = np.random.default_rng(seed)
    return play_one(value, u, lambda game: explainer.estimate(game, rng))[1]


@pytest.mark.parametrize("amount", ["alike", "scaled"])
def test_the_covariance_is_a_sum_over_all_triples(amount: str) -> None:
    a, b, p = signs(3, 2), signs(4, 3), prior(**{amount: 1.0})
    scale = p.scale if amount == "scaled" else np.ones(UNITS)
    total = np.zeros((3, 4))
    weight = 0.0
    for three in map(list, combinations(range(UNITS), 3)):
        variance = scale[three].prod()
        weight += variance
        total += variance * np.outer(a[:, three].prod(1), b[:, three].prod(1))
    np.testing.assert_allclose(p.covariance(a, b), total / weight, atol=1e-5)


def test_the_other_covariances() -> None:
    a, b = signs(3, 2), signs(4, 3)
    dot = a @ b.T / UNITS
    np.testing.assert_allclose(prior(scores=2.0).covariance(a, b), 2 * dot, atol=1e-5)
    p = prior(levels=3.0, leveled=0.7, numbered=0.4)
    angle = [[np.outer(z @ w.weights, w.frequencies) for z in (a, b)] for w in (p.level, p.number)]
    waves = [w.size**2 for w in (p.level, p.number)]
    expected = 3 * (waves[0] * np.sin(angle[0][0])) @ np.sin(angle[0][1]).T
    for amount, wave, (one, other) in zip((0.7, 0.4), waves, angle, strict=True):
        expected += amount * dot * ((wave * np.cos(one)) @ np.cos(other).T)
    np.testing.assert_allclose(p.covariance(a, b), expected, atol=1e-5)


def test_waves_are_a_process_of_variance_one_that_forgets_with_distance() -> None:
    here = signs(400, 6, 40)
    waves = Waves.along(np.random.default_rng(7).normal(size=40), here)
    sine, cosine = waves.of(here)
    covariance = sine @ sine.T + cosine @ cosine.T
    np.testing.assert_allclose(np.diag(covariance), 2, rtol=1e-4)  # half of it sines
    apart = np.subtract.outer(here @ waves.weights, here @ waves.weights)
    near = np.abs(apart) < 3
    gaussian = np.exp(-((apart[near] / LENGTH) ** 2) / 2)
    assert np.corrcoef(covariance[near], gaussian)[0, 1] > 0.99


@pytest.mark.parametrize("amount", AMOUNTS)
def test_its_shapley_values_are_exact(amount: str) -> None:
    """Enumeration of the game whose gain between complements the surrogate is."""
    p, at = prior(**{amount: 1.0}), signs(4, 3)
    weights = np.array([0.3, -1.2, 0.7, 2.0], np.float32)

    def value(present: Bools) -> Floats:
        here = np.where(present, np.float32(1), np.float32(-1))
        return np.asarray(p.covariance(here, at) @ weights / 2, float)

    expected = estimate(value, UNITS, "exact_shapley").scores
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(p.shapley(weights, at), expected, atol=1e-5)


def drawn(m: int, u: int, seed: int) -> tuple[Bools, Floats, Floats]:
    rng = np.random.default_rng(seed)
    half = rng.random((m, u)) < 0.5
    gains = np.where(half, 1, -1) @ rng.normal(size=u) + rng.normal(size=m)
    scores, _ = fit_pairs(half, gains, np.ones(m), np.ones(m), 1.5)
    return half, gains, scores


def test_each_pair_is_compared_with_a_fit_to_the_others() -> None:
    half, gains, scores = drawn(40, 6, 3)
    known, missed, _ = surrogate(
        half, gains, scores, 1.5, np.ones(len(half)), np.random.default_rng(0)
    )
    at = np.where(np.vstack([half, np.ones(6, bool)]), np.float32(1), np.float32(-1))
    for _ in range(2):  # it looks along the scores that a first fit of its own found
        rest = np.append(gains, 1.5) - at @ scores
        rest[-1] = 1.5 - scores.sum()
        prior = Prior.of(at[:-1], scores)
        covariance = prior.covariance(at, at).astype(float)
        weights = np.linalg.solve(covariance + NOISE * np.eye(41), rest)
        scores = scores + prior.shapley(weights.astype(np.float32), at)
    np.testing.assert_allclose(known, scores, atol=1e-3)
    for i in (0, 7, 39):
        others = np.arange(41) != i
        gram = covariance[np.ix_(others, others)] + NOISE * np.eye(40)
        expected = rest[i] - covariance[i, others] @ np.linalg.solve(gram, rest[others])
        assert missed[i] == pytest.approx(expected, abs=1e-3)


def test_pairs_beyond_the_most_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    half, gains, scores = drawn(60, 6, 4)
    _, every, _ = surrogate(half, gains, scores, 1.5, np.ones(len(half)), np.random.default_rng(0))
    monkeypatch.setattr(module, "FITTED", 50)
    known, missed, _ = surrogate(
        half, gains, scores, 1.5, np.ones(len(half)), np.random.default_rng(0)
    )
    assert np.isfinite(known).all()
    assert np.corrcoef(every, missed)[0, 1] > 0.9
    assert not np.allclose(every, missed)


def triples(u: int, seed: int) -> Any:
    """A game of scores and of interactions of three units."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=u)
    threes = [rng.choice(u, 3, replace=False) for _ in range(3 * u)]
    sizes = rng.normal(size=len(threes))

    def value(present: Bools) -> Floats:
        here = 2.0 * present - 1
        products = np.stack([here[:, three].prod(1) for three in threes], axis=1)
        return np.asarray(here @ weights + products @ sizes)

    return value


def test_an_adjusted_fit_errs_less_and_says_how_much() -> None:
    u, away = 12, []
    errors: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(40):
        value = triples(u, seed)
        truth = estimate(value, u, "exact_shapley").scores
        for adjusted, kept in errors.items():
            found = estimate(value, u, seed=seed, evaluations=500, adjusted=adjusted)
            kept.append(float(np.linalg.norm(found.scores - truth)))
            assert found.scores.sum() == pytest.approx(truth.sum(), abs=1e-9)
        away.append((found.scores - truth) / found.standard_error)
    assert np.mean(errors[True]) < 0.7 * np.mean(errors[False])
    assert 0.8 < np.std(away) < 1.25
    assert abs(np.mean(away)) < 0.15


def test_a_model_that_decides_is_learned() -> None:
    """Its gains are steps of a sum of scores: not of few units, but of one direction."""
    u, errors = 12, []
    for seed in range(20):
        weights = np.random.default_rng(seed).normal(size=u)
        value = partial(decided, weights)
        truth = estimate(value, u, "exact_shapley").scores
        for adjusted in (False, True):
            found = estimate(value, u, seed=seed, evaluations=300, adjusted=adjusted)
            errors.append(float(np.linalg.norm(found.scores - truth)))
    assert np.mean(errors[1::2]) < 0.4 * np.mean(errors[::2])


def decided(weights: Floats, present: Bools) -> Floats:
    return np.asarray(np.tanh(2 * (present - 0.5) @ weights - 1), float)


@pytest.mark.parametrize(("adjusted", "evaluations"), [(False, 60), (False, 400), (True, 400)])
def test_standard_errors_are_the_spread_over_seeds(adjusted: bool, evaluations: int) -> None:
    u = 20
    value = triples(u, 3)
    found = [
        estimate(value, u, seed=seed, evaluations=evaluations, adjusted=adjusted)
        for seed in range(100)
    ]
    spread = np.std([each.scores for each in found], axis=0)
    said = np.sqrt(np.mean([each.standard_error**2 for each in found], axis=0))
    assert 0.8 < np.sqrt((said**2).sum() / (spread**2).sum()) < 1.25


def test_what_was_drawn_counts_for_itself_and_not_for_the_rest() -> None:
    """A fourth of all pairs is drawn, and fitted better than the others."""
    u = 12
    value = partial(decided, np.random.default_rng(0).normal(size=u))
    truth = estimate(value, u, "exact_shapley").scores
    found = [estimate(value, u, seed=s, evaluations=1000, adjusted=True) for s in range(30)]
    away = np.array([each.scores for each in found]) - truth
    noise = away.std(0, ddof=1) / np.sqrt(len(found))
    assert np.sqrt(np.mean((away.mean(0) / noise) ** 2)) < 2  # 1 where there is no bias
    said = np.array([each.standard_error for each in found])
    assert 0.75 < np.sqrt(np.mean((away / said) ** 2)) < 1.25


def test_nothing_is_adjusted_where_nothing_was_drawn() -> None:
    value = triples(8, 1)
    truth = estimate(value, 8, "exact_shapley").scores
    found = estimate(value, 8, adjusted=True)
    np.testing.assert_allclose(found.scores, truth, atol=1e-9)
    np.testing.assert_allclose(found.standard_error, 0)


def test_a_sum_and_a_constant_are_exact() -> None:
    weights = np.random.default_rng(2).normal(size=20)
    found = estimate(lambda z: z @ weights, 20, evaluations=200, adjusted=True)
    np.testing.assert_allclose(found.scores, weights, atol=1e-8)
    found = estimate(lambda z: np.full(len(z), 3.0), 20, evaluations=200, adjusted=True)
    np.testing.assert_allclose(found.scores, 0, atol=1e-12)
