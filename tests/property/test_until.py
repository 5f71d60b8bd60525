"""Stopping at a width of intervals: when, what it says, and that it costs nothing extra."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

import basewise as bw
from basewise.errors import ConfigError
from basewise.explainers import EXPLAINERS
from basewise.explainers.game import Board, keys_of, play, play_one
from basewise.explainers.permutation_shap import FIRST
from basewise.explainers.until import Until
from basewise.types import Bools, Floats

BUDGET = {  # setting, budget
    "banzhaf": ("evaluations", 3000),
    "kernel_shap": ("evaluations", 3000),
    "leverage_shap": ("evaluations", 3000),
    "lime": ("samples", 3000),
    "permutation_shap": ("evaluations", 3000),
}
NAMES = sorted(BUDGET)
U = 16


def game_of(noise: float, seed: int = 0) -> Any:
    """A sum with noise of that size on every coalition."""
    rng = np.random.default_rng(seed)
    weights, table = rng.normal(size=U), rng.normal(size=2**U)
    return lambda present: present @ weights + noise * table[present @ (1 << np.arange(U))]


def built(name: str, **settings: Any) -> Any:
    setting, budget = BUDGET[name]
    return EXPLAINERS.build({"type": name, setting: budget} | settings)


def played(name: str, value: Any, seed: int = 1, **settings: Any) -> Any:
    explainer = built(name, **settings)
    rng = np.random.default_rng(seed)
    return play_one(value, U, lambda game: explainer.estimate(game, rng))


def width(estimate: Any, top: int) -> float:
    largest = np.argsort(-np.abs(estimate.scores))[:top]
    return float(2 * quantile(estimate) * estimate.standard_error[largest].max())


def quantile(estimate: Any) -> float:
    """Half of a 95 % interval, in standard errors."""
    return float(t.ppf(0.975, estimate.freedom))


@pytest.mark.parametrize("name", NAMES)
def test_it_stops_when_the_intervals_are_narrow(name: str) -> None:
    value = game_of(0.3)
    _, whole = played(name, value)
    wide = 1.6 * width(whole, 3)
    game, found = played(name, value, until={"top": 3, "width": wide})
    assert found.extras["narrow"] == 1
    assert found.extras["width"] == pytest.approx(width(found, 3))
    assert found.extras["width"] <= wide
    assert game.evaluations < 0.8 * BUDGET[name][1]
    assert "width" not in whole.extras


@pytest.mark.parametrize("name", NAMES)
def test_or_at_the_budget(name: str) -> None:
    value = game_of(0.3)
    game, found = played(name, value, until={"top": 3, "width": 1e-6})
    assert found.extras["narrow"] == 0
    assert found.extras["width"] == pytest.approx(width(found, 3))
    assert game.evaluations <= BUDGET[name][1] + 2
    _, whole = played(name, value)
    assert found.extras["width"] == pytest.approx(width(whole, 3), rel=0.5)


@pytest.mark.parametrize("name", NAMES)
def test_a_tighter_wish_continues_the_same_coalitions(name: str) -> None:
    """What a loose wish asked for is the beginning of what a tight one asks for."""
    asked: dict[float, set[Any]] = {}
    for wish in (2.0, 0.7, 0.3):
        seen: set[Any] = set()

        def value(present: Bools, seen: set[Any] = seen) -> Floats:
            seen.update(keys_of(present))
            return np.asarray(game_of(0.5)(present))

        played(name, value, until={"width": wish})
        asked[wish] = seen
    assert asked[2.0] <= asked[0.7] <= asked[0.3]
    assert len(asked[2.0]) < len(asked[0.3])


@pytest.mark.parametrize("name", NAMES)
def test_a_game_without_noise_stops_after_one_round(name: str) -> None:
    weights = np.random.default_rng(3).normal(size=U)
    game, found = played(name, lambda z: z @ weights, until={"width": 0.2}, **ridgeless(name))
    assert found.extras["narrow"] == 1
    once = FIRST * (2 * U - 2) if name == "permutation_shap" else 6 * U
    assert game.evaluations <= once + 2


@pytest.mark.parametrize("name", NAMES)
def test_the_spread_of_the_draws_is_in_the_width(name: str) -> None:
    """Of what was reached, though not of what was waited for: evaluations do not narrow it."""
    record = bw.Record("r", "ACGTTGCATTGCAGGATCCA")
    model = bw.Model.from_callable(lambda seqs: [s.count("C") ** 2 for s in seqs], labels=["c"])
    found = bw.explain(
        model,
        [record],
        name,
        "c",
        until={"top": 2, "width": 1e9},
        units={"type": "windows", "size": 4},
        masking={"type": "sampled", "draws": 2},
    )[0]
    assert found.standard_error is not None
    largest = np.argsort(-np.abs(found.scores), kind="stable")[:2]
    wide = 2 * t.ppf(0.975, FIRST - 1 if name == "permutation_shap" else np.inf)
    assert found.extras["width"] == pytest.approx(wide * found.standard_error[largest].max())
    assert found.extras["width"] > 0.1
    assert found.extras["narrow"] == 1


def ridgeless(name: str) -> dict[str, Any]:
    return {"penalty": 1e-9} if name == "lime" else {}


@pytest.mark.parametrize("name", NAMES)
def test_each_record_stops_by_itself(name: str) -> None:
    """Games side by side stop where they stop alone."""

    class Noisy:
        n_units, draws, width = U, 1, 1

        def __init__(self, noise: float):
            self.value = game_of(noise)

    explainer = built(name, until={"width": 0.7})
    boards: list[Board] = [Noisy(noise) for noise in (0.05, 0.3, 1.0)]

    def seats(some: list[Any]) -> Any:
        for board in some:
            rng = np.random.default_rng(4)
            yield board, board, lambda game, rng=rng: explainer.estimate(game, rng)

    def evaluate(asked: Any) -> list[Floats]:
        return [board.value(rows) for board, rows in asked]

    together = {id(b): (game.evaluations, e) for b, game, e in play(seats(boards), evaluate)}
    counts = []
    for board in boards:
        ((_, game, alone),) = play(seats([board]), evaluate)
        count, estimate = together[id(board)]
        assert count == game.evaluations
        np.testing.assert_array_equal(estimate.scores, alone.scores)
        counts.append(count)
    assert counts[0] < counts[2]


@pytest.mark.parametrize("name", ["kernel_shap", "leverage_shap", "permutation_shap"])
def test_intervals_hold_the_truth_where_it_stopped(name: str) -> None:
    """95 % intervals of the top units, at a moment chosen for being narrow, over 40 games.

    Over 300 games of 12 units they hold 89 to 94 % of the truth, without stopping 95 to 96 %.
    """
    held = []
    for seed in range(40):
        value, truth = game_of(0.4, seed), truth_of(0.4, seed)
        _, found = played(name, value, seed, until={"top": 5, "width": 0.6})
        largest = np.argsort(-np.abs(found.scores))[:5]
        off = np.abs(found.scores - truth)[largest]
        held.append(off <= quantile(found) * found.standard_error[largest])
    assert 0.85 < np.mean(held) <= 1


@lru_cache(maxsize=40)
def truth_of(noise: float, seed: int) -> Floats:
    return exact(game_of(noise, seed), U)


def exact(value: Any, u: int) -> Floats:
    explainer = EXPLAINERS.build("exact_shapley")
    _, estimate = play_one(value, u, partial(explainer.estimate, rng=np.random.default_rng(0)))
    found: Floats = estimate.scores
    return found


def test_few_orders_have_wide_intervals() -> None:
    """Student's quantile with one degree of freedom less than there are orders."""
    game, found = played("permutation_shap", game_of(0.5), until={"top": 3, "width": 1e9})
    assert game.evaluations <= FIRST * (2 * U - 2) + 2
    assert found.freedom == FIRST - 1
    largest = found.standard_error[np.argsort(-np.abs(found.scores))[:3]].max()
    assert found.extras["width"] == pytest.approx(2 * 2.131449546 * largest)
    _, one = played("permutation_shap", game_of(0.5), evaluations=2 * U - 2, until={"width": 1e9})
    assert (one.extras["width"], one.extras["narrow"]) == (np.inf, 0)


def test_intervals_of_the_first_orders_hold_the_truth() -> None:
    """Of 8 units, at a width that the first look meets: a sum that saturates, a rule, a cubic.

    With 8 orders and the normal quantile intervals held 77 % of the truth of the first.
    """
    u, rng = 8, np.random.default_rng(1)
    weights, cube = rng.normal(size=u), rng.normal(size=(u, u, u))
    games: list[Any] = [
        lambda z: np.tanh(z @ weights),
        lambda z: z[:, :4].all(1) + 1.0 * (z[:, 3] & ~z[:, -1]),
        lambda z: np.einsum("ni,nj,nk,ijk->n", z * 1.0, z * 1.0, z * 1.0, cube),
    ]
    explainer, held = built("permutation_shap", until={"width": 1e9}), []
    for value in games:
        truth = exact(value, u)
        inside = []
        for seed in range(150):
            play = partial(explainer.estimate, rng=np.random.default_rng(seed))
            _, found = play_one(value, u, play)
            off = np.abs(found.scores - truth) - 1e-12
            inside.append(off <= quantile(found) * found.standard_error)
        held.append(np.mean(inside))
    assert min(held) > 0.81
    assert np.mean(held) > 0.9


def test_adjusted_scores_stop_too() -> None:
    _, found = played("leverage_shap", game_of(0.3), adjusted=True, until={"top": 3, "width": 0.5})
    assert found.extras["narrow"] == 1


def test_it_can_be_given_as_a_component() -> None:
    assert built("kernel_shap", until=Until(width=0.5)).until == Until(top=10, width=0.5)
    assert built("kernel_shap", until={"width": 0.5}).until == Until(top=10, width=0.5)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"widht": 1}, r"(?i)until has no setting 'widht'\. Did you mean 'width'"),
        ({"top": 3}, r"(?i)until: the setting 'width' is needed"),
        ({"width": 0}, r"(?i)until: width = 0: input should be greater than 0"),
        ({"width": 1, "top": 0}, r"(?i)until: top = 0: input should be greater than or equal to 1"),
        (0.5, r"until = 0\.5: a table such as \{ top = 10, width = 0\.1 \} is needed"),
    ],
)
def test_bad_wishes_are_refused(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        built("kernel_shap", until=given)
    assert "\n" not in str(error.value)
