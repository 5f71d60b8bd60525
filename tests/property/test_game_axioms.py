"""Exact Shapley values as referee of the estimators, and the axioms, on random games."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewise.explainers import EXPLAINERS, banzhaf, leverage_shap
from basewise.explainers import game as game_module
from basewise.explainers.coalitions import spanning, subsets
from basewise.explainers.game import Estimate, Game, keys_of, play, play_one
from basewise.explainers.kernel_shap import pairs, pairs_of_size
from basewise.types import Bools, Floats

SHAPLEY = ["kernel_shap", "leverage_shap", "permutation_shap"]  # estimators of Shapley values
REGRESSIONS = ["kernel_shap", "leverage_shap"]
QUICK = settings(max_examples=25, deadline=None)


def random_game(u: int, seed: int) -> Any:
    table = np.random.default_rng(seed).normal(size=2**u)
    return lambda present: table[present @ (1 << np.arange(u))]


def estimate(name: str, value: Any, u: int, seed: int = 0, **given: Any) -> Any:
    explainer = EXPLAINERS.build({"type": name} | given)
    rng = np.random.default_rng(seed)
    return play_one(value, u, lambda game: explainer.estimate(game, rng))[1]


def exact(value: Any, u: int) -> Floats:
    found: Floats = estimate("exact_shapley", value, u).scores
    return found


@pytest.mark.parametrize("u", [1, 7, 8, 9, 63, 64, 65, 130])
def test_coalitions_have_one_key_each(u: int) -> None:
    coalitions = np.concatenate(
        [np.eye(u, dtype=bool), ~np.eye(u, dtype=bool)[: u if u > 2 else 0]]
    )
    keys = keys_of(coalitions)
    assert len(set(keys)) == len(coalitions)
    assert keys_of(coalitions[::-1].copy()) == keys[::-1]


@given(u=st.integers(1, 5), seed=st.integers(0, 1000))
@QUICK
def test_exact_shapley_is_the_mean_over_orders(u: int, seed: int) -> None:
    """Against the definition: what each unit adds, in every order."""
    value = random_game(u, seed)
    gains = []
    for order in permutations(range(u)):
        place = np.argsort(order)
        present = place[None] < np.arange(u + 1)[:, None]
        gains.append(np.diff(value(present))[place])
    np.testing.assert_allclose(exact(value, u), np.mean(gains, axis=0), atol=1e-12)


@pytest.mark.parametrize("name", REGRESSIONS)
@given(u=st.integers(1, 10), seed=st.integers(0, 1000))
@QUICK
def test_with_every_coalition_the_estimate_is_exact(name: str, u: int, seed: int) -> None:
    value = random_game(u, seed)
    np.testing.assert_allclose(estimate(name, value, u).scores, exact(value, u), atol=1e-9)


@given(u=st.integers(1, 9), seed=st.integers(0, 1000))
@QUICK
def test_banzhaf_is_the_mean_over_coalitions_of_the_others(u: int, seed: int) -> None:
    value = random_game(u, seed)
    present = (np.arange(2**u)[:, None] >> np.arange(u)) & 1 == 1
    values = value(present)
    mean = [values[present[:, i]].mean() - values[~present[:, i]].mean() for i in range(u)]
    np.testing.assert_allclose(estimate("banzhaf", value, u).scores, mean, atol=1e-9)


def test_banzhaf_from_some_coalitions_is_near_and_says_how_near() -> None:
    u, away = 12, []
    for seed in range(60):
        value = random_game(u, seed)
        truth = estimate("banzhaf", value, u, evaluations=4094).scores
        found = estimate("banzhaf", value, u, seed=seed, evaluations=400)
        away.append((found.scores - truth) / found.standard_error)
    assert 0.8 < np.std(away) < 1.25


@pytest.mark.parametrize("until", [None, {"width": 1e-9}])
@pytest.mark.parametrize(("u", "seeds"), [(5, range(120)), (6, (2237, 4422, *range(60))), (9, [0])])
def test_banzhaf_of_a_sum_is_its_terms_at_the_least_budget(
    u: int, seeds: Iterable[int], until: Any
) -> None:
    """Some pairs leave a score open, such as those where two units always stand alike."""
    terms = np.arange(1, u + 1.0)
    for seed in seeds:
        found = estimate(
            "banzhaf", lambda z: z @ terms, u, seed, evaluations=4 * u, until=until
        ).scores
        np.testing.assert_allclose(found, terms, atol=1e-9, err_msg=f"seed {seed}")


def test_banzhaf_draws_every_pair_once_and_equally_often() -> None:
    """32 pairs of 6 units; of some seeds the first 12 drawn leave a score open."""
    u, m = 6, 12
    drawn = np.random.default_rng(2237).choice(2 ** (u - 1), m, replace=False)
    assert not spanning(banzhaf.members(drawn, u))
    rng, counts = np.random.default_rng(5), np.zeros(32)
    for _ in range(2000):
        half = banzhaf.pairs(u, m, m, rng)
        numbers = half @ (1 << np.arange(u))
        assert len(set(numbers)) == m
        assert numbers.max() < 32
        counts[numbers] += 1
    share, expected = counts / 2000, m / 32
    assert np.abs(share - expected).max() < 4 * np.sqrt(expected * (1 - expected) / 2000)


@pytest.mark.parametrize("u", [63, 64, 130])
def test_banzhaf_draws_every_unit_of_many_in_half_of_the_coalitions(u: int) -> None:
    m = 4000
    half = banzhaf.pairs(u, m, m, np.random.default_rng(1))
    assert len(set(keys_of(np.concatenate([half, ~half])))) == 2 * m
    signs = np.where(half, 1.0, -1.0)
    assert np.abs(signs.T @ signs / m - np.eye(u)).max() < 5.5 / np.sqrt(m)
    other = np.delete(np.arange(u), 62)  # the one that is absent from one of each pair
    assert np.abs(half[:, other].mean(0) - 0.5).max() < 5 / np.sqrt(4 * m)


def test_banzhaf_from_nearly_all_pairs_says_that_little_is_missing() -> None:
    u, away, wide = 8, [], []
    for seed in range(150):
        value = random_game(u, seed)
        truth = estimate("banzhaf", value, u, evaluations=254).scores
        found = estimate("banzhaf", value, u, seed=seed, evaluations=220)
        away.append((found.scores - truth) / found.standard_error)
        wide.append(found.standard_error.mean())
    assert 0.8 < np.std(away) < 1.25
    assert np.mean(wide) < 0.08  # 0.14 if drawn with replacement, all of them at random


def owen_values(value: Any, u: int) -> Floats:
    """The mean over the orders in which halves of windows stand together, either one first."""

    def orders(start: int, end: int) -> list[list[int]]:
        if end - start == 1:
            return [[start]]
        middle = (start + end) // 2
        first, second = orders(start, middle), orders(middle, end)
        return [x + y for a in first for b in second for x, y in ((a, b), (b, a))]

    gains = []
    for order in orders(0, u):
        place = np.argsort(order)
        gains.append(np.diff(value(place[None] < np.arange(u + 1)[:, None]))[place])
    return np.asarray(np.mean(gains, axis=0))


@given(u=st.integers(1, 9), seed=st.integers(0, 1000))
@QUICK
def test_partition_shap_with_all_windows_open_is_owens_value(u: int, seed: int) -> None:
    value = random_game(u, seed)
    found = estimate("partition_shap", value, u, evaluations=100_000).scores
    np.testing.assert_allclose(found, owen_values(value, u), atol=1e-9)


@given(u=st.integers(2, 40), budget=st.integers(2, 90), seed=st.integers(0, 99))
@QUICK
def test_partition_shap_is_complete_at_every_budget(u: int, budget: int, seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=u)
    asked = 0

    def value(present: Bools) -> Floats:
        nonlocal asked
        asked += len(present)
        return np.tanh(present @ weights)

    found = estimate("partition_shap", value, u, evaluations=budget).scores
    assert found.sum() == pytest.approx(np.tanh(weights.sum()), abs=1e-12)
    assert asked <= budget + 2


def test_partition_shap_opens_the_window_with_the_signal() -> None:
    """Units 21 to 23 of 64 matter: those three are found, where Shapley values take 256."""

    def few(present: Bools) -> Floats:
        return present[:, 21:24].sum(1) ** 2

    found = estimate("partition_shap", few, 64, evaluations=64).scores
    assert set(np.argsort(-found)[:3]) == {21, 22, 23}
    opened = estimate("partition_shap", few, 64, evaluations=200).scores
    np.testing.assert_allclose(np.delete(opened, [21, 22, 23]), 0, atol=1e-12)


def test_an_order_and_its_reverse_settle_interactions_of_two() -> None:
    """A quadratic game is exact after one pair of walks."""
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(7, 7))

    def quadratic(present: Bools) -> Floats:
        return np.einsum("ni,ij,nj->n", present, matrix, present)

    found = estimate("permutation_shap", quadratic, 7, evaluations=12)
    np.testing.assert_allclose(found.scores, exact(quadratic, 7), atol=1e-9)
    assert found.standard_error is None


def test_many_orders_come_near_the_truth() -> None:
    value = random_game(8, 5)
    found = estimate("permutation_shap", value, 8, evaluations=14 * 4000)
    assert abs(found.scores - exact(value, 8)).max() < 0.06
    assert abs((found.scores - exact(value, 8)) / found.standard_error).max() < 4


@pytest.mark.parametrize("features", [None, 5])
def test_limes_standard_errors_are_its_spread_over_seeds(features: int | None) -> None:
    u = 10
    weights = np.r_[np.zeros(5), 2.0 + np.arange(5)]  # which are kept is no matter of chance
    noise = random_game(u, 3)

    def value(present: Bools) -> Floats:
        return np.asarray(present @ weights + noise(present))

    found = [
        estimate("lime", value, u, seed, samples=400, features=features) for seed in range(120)
    ]
    spread = np.std([each.scores for each in found], axis=0, ddof=1)
    said = np.mean([each.standard_error for each in found], axis=0)
    np.testing.assert_allclose(said[5:], spread[5:], rtol=0.3)
    if features:
        np.testing.assert_array_equal(said[:5], 0)


@pytest.mark.parametrize("samples", [5, 10, 12, 15, 20, 30, 60])
def test_limes_standard_errors_hold_for_few_samples_too(samples: int) -> None:
    """Never smaller than the spread over seeds, nor by more than a third larger."""
    u = 10
    weights, noise = np.linspace(-2, 3, u), random_game(u, 5)

    def value(present: Bools) -> Floats:
        return np.asarray(present @ weights + 2 * noise(present))

    found = [estimate("lime", value, u, seed, samples=samples) for seed in range(200)]
    spread = np.std([each.scores for each in found], axis=0, ddof=1)
    said = [each.standard_error for each in found]
    assert 0.95 < np.sqrt(np.mean(np.square(said)) / np.mean(spread**2)) < 1.35


@pytest.mark.parametrize("name", SHAPLEY)
def test_standard_errors_say_how_far_the_truth_is(name: str) -> None:
    u, away = 12, []
    for seed in range(60):
        value = random_game(u, seed)
        found = estimate(name, value, u, seed=seed, evaluations=600)
        away.append((found.scores - exact(value, u)) / found.standard_error)
    spread = np.std(away)
    assert 0.8 < spread < 1.25  # 720 values, were they independent: 1 +- 0.03
    assert abs(np.mean(away)) < 0.15


@pytest.mark.parametrize("name", SHAPLEY)
@given(u=st.integers(2, 12), seed=st.integers(0, 1000), budget=st.integers(48, 400))
@QUICK
def test_axioms_hold_for_estimates_too(name: str, u: int, seed: int, budget: int) -> None:
    """Complete, and exact for games that are sums."""
    value, weights = random_game(u, seed), np.random.default_rng(seed + 1).normal(size=u)
    ends = np.array([[True] * u, [False] * u])
    found = estimate(name, value, u, evaluations=budget).scores
    full, empty = value(ends)
    np.testing.assert_allclose(found.sum(), full - empty, atol=1e-9)
    sums = estimate(name, lambda z: z @ weights + 3, u, evaluations=budget).scores
    np.testing.assert_allclose(sums, weights, atol=1e-8)


@pytest.mark.parametrize(
    "name", ["banzhaf", "exact_shapley", "lime", "occlusion", "partition_shap", *SHAPLEY]
)
@given(u=st.integers(2, 8), seed=st.integers(0, 1000))
@QUICK
def test_scores_are_linear_in_the_game(name: str, u: int, seed: int) -> None:
    one, two = random_game(u, seed), random_game(u, seed + 5000)
    both = estimate(name, lambda z: 2 * one(z) - 3 * two(z) + 1, u).scores
    parts = 2 * estimate(name, one, u).scores - 3 * estimate(name, two, u).scores
    np.testing.assert_allclose(both, parts, atol=1e-9)


@pytest.mark.parametrize("name", ["banzhaf", "exact_shapley", "occlusion", *REGRESSIONS])
def test_units_that_do_the_same_score_the_same(name: str) -> None:
    def symmetric(present: Bools) -> Floats:
        return np.sqrt(present[:, [1, 2, 4]].sum(1)) + present[:, 0] * present[:, 3]

    found = estimate(name, symmetric, 5).scores
    np.testing.assert_allclose(found[[1, 2]], found[4])
    np.testing.assert_allclose(found[0], found[3])


# ------------------------------------------------------------------------------ coalitions


@given(u=st.integers(2, 11), budget=st.integers(44, 3000), seed=st.integers(0, 99))
@QUICK
def test_pairs_stand_for_the_shapley_kernel(u: int, budget: int, seed: int) -> None:
    half, weights, drawn = pairs(u, min(budget, 2**u - 2), np.random.default_rng(seed))
    assert 2 * len(half) <= budget
    assert len(weights) == len(half) == len(drawn)
    assert weights.sum() == pytest.approx(1)
    sizes = half.sum(1)
    assert sizes.min() >= 1
    assert (2 * sizes <= u).all()
    whole = np.concatenate([half, ~half])[: 2**u]
    if not drawn.any():  # each coalition once
        assert len(set(keys_of(whole))) == len(whole) == 2**u - 2


@pytest.mark.parametrize("u, size, number", [(5, 1, 5), (5, 2, 10), (6, 3, 10), (2, 1, 1)])
def test_all_pairs_of_a_size(u: int, size: int, number: int) -> None:
    half = pairs_of_size(u, size)
    assert half.shape == (number, u)
    assert (half.sum(1) == size).all()
    assert len(set(keys_of(np.concatenate([half, ~half])))) == 2 * number


def test_leverage_draws_every_size_equally_often_up_to_all() -> None:
    """Algorithm 1 of the paper: a coalition is drawn with chance min(1, c / C(u, size)).

    9 units and 60 pairs: 9 + 36 + 84 + 126 pairs of sizes 1 to 4; all 9 of size 1, and
    (60 - 9) / 3 = 17 of each other size.
    """
    rng = np.random.default_rng(0)
    counts: dict[bytes, int] = {}
    for _ in range(600):
        half, weights, rest = leverage_shap.pairs(9, 60, rng)
        sizes = half.sum(1)
        np.testing.assert_array_equal(np.bincount(sizes, minlength=5), [0, 9, 17, 17, 17])
        kernel = 1 / (sizes * (9 - sizes))
        np.testing.assert_allclose(weights, kernel / np.array([0, 9, 17, 17, 17])[sizes])
        np.testing.assert_allclose(rest, 1 - np.array([0, 1, 17 / 36, 17 / 84, 17 / 126])[sizes])
        for key in keys_of(half):
            counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 9 + 36 + 84 + 126
    every = np.array([counts[key] for key in keys_of(pairs_of_size(9, 2))]) / 600
    assert abs(every - 17 / 36).max() < 4.5 * np.sqrt(17 / 36 * 19 / 36 / 600)


@pytest.mark.parametrize("adjusted", [False, True])
def test_leverage_of_few_pairs_leaves_no_score_open(adjusted: bool) -> None:
    """A sum is found from the least budget there is; of 800 draws for 7 units 15 would not do."""
    u = 7
    worth = np.arange(1.0, u + 1)
    for seed in range(200):
        explainer = EXPLAINERS.build(
            {"type": "leverage_shap", "evaluations": 3 * u, "adjusted": adjusted}
        )
        rng = np.random.default_rng(seed)
        found = play_one(lambda z: z @ worth, u, partial(explainer.estimate, rng=rng))[1]
        np.testing.assert_allclose(found.scores, worth, atol=1e-6)


def test_leverage_halves_the_middle_size_and_rounds_fairly() -> None:
    """8 units: 8, 28, 56 pairs, and 35 of the middle size, drawn half as often."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        half, _, _ = leverage_shap.pairs(8, 60, rng)
        assert len(half) == len(set(keys_of(np.concatenate([half, ~half])))) / 2 == 60
        drawn.append(np.bincount(half.sum(1), minlength=5))
    np.testing.assert_allclose(np.mean(drawn, axis=0), [0, 8, 20.8, 20.8, 10.4], atol=0.1)


def test_subsets_are_uniform_over_those_of_their_size() -> None:
    drawn = subsets(np.repeat([0, 2, 5], 4000), 5, np.random.default_rng(3))
    np.testing.assert_array_equal(drawn.sum(1), np.repeat([0, 2, 5], 4000))
    _, counts = np.unique(drawn[4000:8000], axis=0, return_counts=True)
    assert len(counts) == 10
    assert abs(counts - 400).max() < 5 * np.sqrt(400 * 0.9)


# ------------------------------------------------------------------------------ the game itself


@given(u=st.integers(1, 20), rows=st.integers(1, 40), seed=st.integers(0, 99))
@QUICK
def test_a_game_never_pays_twice(u: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, again = (rng.random((rows, u)) < 0.3 for _ in range(2))
    paid: list[bytes] = []

    def value(present: Bools) -> Floats:
        paid.extend(keys_of(present))
        return present @ np.arange(1.0, u + 1)

    def ask(game: Game) -> Any:
        for some in (first, again, np.concatenate([again, first])):
            values = yield some
            np.testing.assert_array_equal(values, some @ np.arange(1.0, u + 1))

    game, _ = play_one(value, u, ask)
    assert len(paid) == len(set(paid)) == game.evaluations


def test_memory_does_not_grow_with_the_number_of_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Boards are drawn, and estimators asked, only while there is room."""
    monkeypatch.setattr(game_module, "ROWS_AT_ONCE", 100)
    begun: list[int] = []
    over: list[int] = []
    most = 0

    class Counting:
        n_units, draws, width = 9, 1, 1

    def asks(game: Game) -> Any:
        nonlocal most
        rng = np.random.default_rng(0)
        for _ in range(3):
            most = max(most, len(begun) - len(over))
            yield rng.random((70, 9)) < 0.5
        return Estimate(np.zeros(9))

    def boards() -> Any:
        for i in range(300):
            begun.append(i)
            yield i, Counting(), asks

    rows: list[int] = []

    def evaluate(asked: Any) -> list[Floats]:
        rows.append(sum(len(some) for _, some in asked))
        return [np.zeros(len(some)) for _, some in asked]

    for name, _, _ in play(boards(), evaluate):
        over.append(name)
    assert sorted(over) == list(range(300))
    assert most <= 50
    assert max(rows) <= 99 + 70


def test_long_sequences_wait_in_small_numbers() -> None:
    class Long:
        n_units, draws, width = 3, 1, 1_000_000

    held: list[int] = []

    def evaluate(asked: Any) -> list[Floats]:
        held.append(len(asked))
        return [np.zeros(len(some)) for _, some in asked]

    def nothing(game: Game) -> Any:
        yield game.ends

    assert len(list(play([(i, Long(), nothing) for i in range(50)], evaluate))) == 50
    assert max(held) <= 5
