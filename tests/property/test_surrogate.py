"""The surrogate of three units against sums over triples, enumeration and refitting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from basewise.explainers import EXPLAINERS
from basewise.explainers import surrogate as module
from basewise.explainers.coalitions import fit_pairs
from basewise.explainers.game import play_one
from basewise.explainers.leverage_shap import Shared
from basewise.explainers.surrogate import (
    LARGEST,
    LENGTH,
    NOISE,
    TILTS,
    WAVES,
    Level,
    Surrogate,
    Waves,
)
from basewise.models.repeatable import repeatable
from basewise.types import Bools, Floats

UNITS = 7
AMOUNTS = ("TRIPLES", "NUMBERED", "SCORES")


def signs(n: int, seed: int, u: int = UNITS) -> Any:
    return np.random.default_rng(seed).choice([-1, 1], (n, u)).astype(np.float32)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Surrogate]:
    """A surrogate that expects nothing but what is said."""

    def made(half: Bools | None = None, **amounts: float) -> Surrogate:
        for name in AMOUNTS:
            monkeypatch.setattr(module, name, amounts.get(name, 0.0))
        half = signs(30, 1) > 0 if half is None else half
        return Surrogate(half, np.ones(len(half)))

    return made


def estimate(value: Any, u: int, name: str = "leverage_shap", seed: int = 0, **given: Any) -> Any:
    explainer = EXPLAINERS.build({"type": name} | given)
    rng = np.random.default_rng(seed)
    return play_one(value, u, lambda game: explainer.estimate(game, rng))[1]


def test_the_covariance_is_a_sum_over_all_triples(alone: Callable[..., Surrogate]) -> None:
    a, b = signs(3, 2), signs(4, 3)
    triples = [list(three) for three in combinations(range(UNITS), 3)]
    expected = np.mean([np.outer(a[:, t].prod(1), b[:, t].prod(1)) for t in triples], axis=0)
    np.testing.assert_allclose(alone(TRIPLES=1.0).covariance(a, b), expected, atol=1e-5)


def test_the_other_covariances(alone: Callable[..., Surrogate]) -> None:
    a, b = signs(3, 2), signs(4, 3)
    dot = a @ b.T / UNITS
    np.testing.assert_allclose(alone(SCORES=2.0).covariance(a, b), 2 * dot, atol=1e-5)
    made = alone(NUMBERED=0.4)
    waves = Waves.along(np.ones(UNITS), signs(30, 1))
    one, other = (np.cos(np.outer(z @ waves.weights, waves.frequencies)) for z in (a, b))
    expected = 0.4 * dot * ((waves.size**2 * one) @ other.T)
    np.testing.assert_allclose(made.covariance(a, b), expected, atol=1e-5)


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


def exact(gain: Callable[[Any], Any]) -> Floats:
    """Shapley values, by enumeration, of the game with this gain between complements."""

    def value(present: Bools) -> Floats:
        return np.asarray(gain(np.where(present, np.float32(1), np.float32(-1))) / 2, float)

    return np.asarray(estimate(value, UNITS, "exact_shapley").scores)


@pytest.mark.parametrize("amount", AMOUNTS)
def test_its_shapley_values_are_exact(alone: Callable[..., Surrogate], amount: str) -> None:
    made = alone(**{amount: 1.0})
    expected = [exact(lambda z, at=at: made.covariance(z, at[None])[:, 0]) for at in made._at]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(made._shapley, expected, atol=1e-5)


@pytest.mark.parametrize("tilted", [0, 3])
def test_shapley_values_of_levels_are_exact(tilted: int) -> None:
    rng = np.random.default_rng(5)
    level = Level.along(rng.normal(size=UNITS), signs(30, 1), tilted)
    amounts = rng.normal(size=WAVES + TILTS * tilted).astype(np.float32)
    expected = exact(lambda z: level.of(z) @ amounts)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(level.shapley(amounts), expected, atol=1e-5)


def drawn(m: int, u: int, seed: int) -> tuple[Bools, Floats, Floats]:
    rng = np.random.default_rng(seed)
    half = rng.random((m, u)) < 0.5
    gains = np.where(half, 1, -1) @ rng.normal(size=u) + rng.normal(size=m)
    scores, _ = fit_pairs(half, gains, np.ones(m), np.ones(m), 1.5)
    return half, gains, scores


def test_each_pair_is_compared_with_a_fit_to_the_others() -> None:
    """Against everything solved at once, in full."""
    half, gains, scores = drawn(40, 6, 3)
    rest = np.linspace(0, 1, 40)
    made = Surrogate(half, rest)
    known, missed, unseen = made.learn(gains, scores, 1.5)
    at = np.where(np.vstack([half, np.ones(6, bool)]), np.float32(1), np.float32(-1))
    shapley = made._shapley.astype(float)
    for tilted in (0, LARGEST):  # it looks along the scores that a first fit of its own found
        left = np.append(gains, 1.5) - at @ scores
        left[-1] = 1.5 - scores.sum()
        size = np.sqrt(np.mean(left[:-1] ** 2) / (1 - 6 / 40))
        level = Level.along(scores, at[:-1], tilted)
        waves = level.of(at).astype(float)
        covariance = made.covariance(at, at) + waves @ waves.T
        weights = np.linalg.solve(covariance + NOISE * np.eye(41), left / size)
        amounts = (waves.T @ weights).astype(np.float32)
        scores = scores + size * (weights @ shapley + level.shapley(amounts))
    np.testing.assert_allclose(known, scores, atol=1e-3)
    for i in (1, 7, 39):
        others = np.arange(41) != i
        gram = covariance[np.ix_(others, others)] + NOISE * np.eye(40)
        of_others = left[i] - covariance[i, others] @ np.linalg.solve(gram, left[others])
        of_all = size * NOISE * weights[i]
        expected = rest[i] * of_others + (1 - rest[i]) * of_all
        assert missed[i] == pytest.approx(expected, abs=1e-3)
        assert unseen[i] == pytest.approx(of_others, abs=1e-3)


def test_pairs_beyond_the_most_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    half, gains, scores = drawn(60, 6, 4)
    every = Surrogate(half, np.ones(60)).learn(gains, scores, 1.5).missed
    monkeypatch.setattr(module, "FITTED", 50)
    known, missed, unseen = Surrogate(half, np.ones(60)).learn(gains, scores, 1.5)
    assert np.isfinite(known).all()
    assert np.corrcoef(every, missed)[0, 1] > 0.9
    assert not np.allclose(every, missed)
    np.testing.assert_allclose(unseen, missed, atol=1e-5)  # where nothing but unseen ones are meant


@pytest.mark.parametrize("size", [1e-25, 1e-9, 1e25])
def test_what_is_learned_grows_with_the_values(size: float) -> None:
    half, gains, scores = drawn(40, 6, 3)
    made = Surrogate(half, np.ones(40))
    expected = made.learn(gains, scores, 1.5)
    known, missed, _ = made.learn(size * gains, size * scores, size * 1.5)
    np.testing.assert_allclose(known / size, expected.scores, rtol=1e-4)
    np.testing.assert_allclose(missed / size, expected.missed, rtol=1e-3, atol=1e-5)


def test_games_share_pairs_and_have_coalitions_of_their_own() -> None:
    """Each has its units in an order of its own: the same sizes, and chances, of every unit."""
    u, seen = 20, []

    def value(present: Bools) -> Floats:
        seen.append(present.copy())
        return np.asarray(present @ np.arange(u), float)

    for seed in (0, 1, 0):
        estimate(value, u, seed=seed, evaluations=200, adjusted=True)
    first, second, again = (np.concatenate(seen[i::3]) for i in range(3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first.sum(1), second.sum(1))
    assert (first != second).any(1).mean() > 0.9


def test_inside_repeatable_nothing_is_taken_over() -> None:
    outside = Shared.of(20, 100, 100)
    with repeatable():
        inside = Shared.of(20, 100, 100)
        assert inside is not outside
        assert Shared.of(20, 100, 100) is inside
    assert Shared.of(20, 100, 100) is outside


@pytest.mark.parametrize(("u", "evaluations"), [(8, 250), (10, 970), (12, 2072), (12, 3274)])
def test_where_most_pairs_are_drawn_errors_are_small_and_known(u: int, evaluations: int) -> None:
    """No worse than without a surrogate, which is exact where all are, and said to be so."""
    value = triples(u, 5)
    truth = estimate(value, u, "exact_shapley").scores
    away: dict[bool, list[Floats]] = {True: [], False: []}
    said = []
    for seed in range(20):
        for adjusted, kept in away.items():
            settings = {"evaluations": evaluations, "adjusted": adjusted}
            found = estimate(value, u, seed=seed, **settings)
            kept.append(found.scores - truth)
            if adjusted:
                said.append(found.standard_error)
    adjusted_, plain = (np.sqrt(np.mean(np.square(away[key]))) for key in (True, False))
    assert adjusted_ < plain
    assert 0.7 < np.sqrt(np.mean(np.square(said))) / adjusted_ < 1.6


def test_the_latest_fits_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shared, "_kept", {})
    monkeypatch.setattr("basewise.explainers.leverage_shap.KEPT", 2 * 35_000)
    first, second = Shared.of(20, 100, 100), Shared.of(21, 100, 100)
    assert Shared.of(20, 100, 100) is first
    Shared.of(22, 100, 100)
    assert Shared.of(20, 100, 100) is first
    assert Shared.of(21, 100, 100) is not second


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
