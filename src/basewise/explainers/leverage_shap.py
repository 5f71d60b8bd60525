"""Leverage SHAP (Musco & Witter 2025, arXiv 2410.01917)."""

from __future__ import annotations

from functools import lru_cache, partial
from math import comb
from threading import Lock
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from basewise.explainers.coalitions import PairFit, fit_pairs, spanning, subsets
from basewise.explainers.count import Count, at_most, exactly
from basewise.explainers.game import Estimate, Game, Key, Play, keys_of
from basewise.explainers.kernel_shap import budget_for, first_round, gains_of, pairs_of_size
from basewise.explainers.surrogate import FITTED, Surrogate
from basewise.explainers.until import Stoppable, in_rounds
from basewise.models.repeatable import timed
from basewise.registry import component
from basewise.types import Bools, Floats, Ints, Kind

__all__ = ["LeverageShap"]

KEPT = 1 << 24  # numbers of single precision that are kept, 64 MB, or those of a single fit
CERTAIN = 4  # pairs per unit: of 4,000 draws of 3 per unit none left a score open
LEAST = 3  # evaluations per unit: no pair is drawn twice, so half as many pairs suffice for a fit


@component
class LeverageShap(Stoppable):
    """Shapley values by regression on coalitions drawn by their leverage scores.

    The leverage of a coalition in the regression that KernelSHAP solves is `1 / C(u, size)`,
    so every size is drawn equally often, up to all there are of it; complement pairs, without
    replacement, weighted by the Shapley kernel over the chance to be drawn (algorithm 1 of the
    paper). The number drawn of each size is its expectation, rounded, where the paper draws
    it too: the budget is kept.

    Attributes
    ----------
    evaluations : int or None
        Coalitions asked for beside the two ends, at least 3 per unit; None means
        `2 * units + 2048`.
    adjusted : bool
        Take a fitted surrogate of what bends and of interactions of three units off the values
        first and add its own Shapley values, known exactly, afterwards (regression adjustment,
        Witter, Liu & Musco 2025, arXiv 2506.11849). Smaller errors for the same evaluations and
        about the same arithmetic (docs/benchmarks.md): games of as many units share their pairs,
        each with the units in an order of its own, and what does not depend on values is
        calculated once. Its standard errors are up to 1.6 times too large at
        three evaluations for a unit, 1.1 at ten.
    """

    kind: ClassVar[Kind] = "additive"

    evaluations: Annotated[int, Field(ge=2)] | None = None
    adjusted: bool = False

    def coalitions(self, units: int) -> Count:
        most = 2 * (budget_for("leverage_shap", self.evaluations, units, LEAST) // 2) + 2
        return exactly(most) if self.until is None else at_most(most)

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        u = game.n_units
        budget = budget_for("leverage_shap", self.evaluations, u, LEAST)
        if u == 1:
            return Estimate(np.array([game.full - game.empty]), np.zeros(1))
        first, most = first_round(u, budget) // 2, budget // 2
        if self.adjusted:
            play = partial(_adjusted, game, rng.permutation(u), most)
        else:
            play = partial(_plain, game, pairs(u, most, rng))
        return (yield from in_rounds(self.until, first, most, play))


def _plain(game: Game, drawn: tuple[Bools, Floats, Floats], m: int) -> Play:
    """Play with the first m pairs, of each size its share."""
    half, weights, rest = drawn if m == len(drawn[0]) else first_of(drawn[0], m)
    gains = yield from gains_of(half)
    return Estimate(*fit_pairs(half, gains, weights, rest, game.full - game.empty))


def _adjusted(game: Game, order: Ints, most: int, m: int) -> Play:
    """The same with a surrogate, by pairs that games of as many units share.

    Each game has its units in an order of its own, (u,), and so coalitions of its own. What does
    not depend on values does not depend on the order, and is calculated once.
    """
    shared = Shared.of(game.n_units, most, m)
    gains = yield from gains_of(shared.half[:, order])
    found, error = shared.estimated(gains, game.full - game.empty)
    return Estimate(found[order], error[order])


class Shared:
    """What games of as many units have in common: pairs, the fit to them, and the surrogate."""

    _kept: ClassVar[dict[tuple[int, int, int, bool], Shared]] = {}
    _lock: ClassVar[Lock] = Lock()

    def __init__(self, half: Bools, weights: Floats, rest: Floats):
        self.half, self._rest, self._fit = half, rest, PairFit(half, weights)
        self._surrogate = Surrogate(half, rest) if rest.any() else None

    @classmethod
    def of(cls, u: int, most: int, m: int) -> Shared:
        """For the first m of the most pairs, of each size its share.

        The latest are kept. Inside `models.repeatable` only those that were made there, for the
        last bit depends on the number of threads.
        """
        key = (u, most, m, timed())
        with cls._lock:
            found = cls._kept.pop(key, None)
            if found is None:
                drawn = pairs(u, most, np.random.default_rng(key[:2]))
                found = cls(*(drawn if m == len(drawn[0]) else first_of(drawn[0], m)))
            cls._kept[key] = found
            while len(cls._kept) > 1 and sum(each.numbers for each in cls._kept.values()) > KEPT:
                del cls._kept[next(iter(cls._kept))]
        return found

    @property
    def numbers(self) -> int:
        """About how many numbers of single precision it holds once it was used."""
        m, u = self.half.shape
        return int(2 * min(m, FITTED) ** 2 + 6 * m * u + 2 * u * u)

    def estimated(self, gains: Floats, total: float) -> tuple[Floats, Floats]:
        """Scores and standard errors, (u,) each, by gains of the pairs, (m,)."""
        fit = self._fit
        scores = fit.scores(gains, total)
        if self._surrogate is None:
            return scores, fit.error(gains - fit.signs @ scores, self._rest)
        known, missed, unseen = self._surrogate.learn(gains, scores, total)
        more = fit.scores(missed, total - float(known.sum()))
        return known + more, fit.error(unseen - fit.signs @ more, self._rest, left_out=True)


def pairs(u: int, m: int, rng: np.random.Generator) -> tuple[Bools, Floats, Floats]:
    """Complement pairs drawn by leverage: one coalition of each (m, u), weights, rest (m,).

    The rest is the share of all pairs of a size that was not drawn. Few pairs may leave the score
    of a unit open; then all are drawn again.
    """
    while True:
        found = _drawn(u, m, rng)
        if m >= CERTAIN * u or spanning(found[0], summed=True):
            return found


def _drawn(u: int, m: int, rng: np.random.Generator) -> tuple[Bools, Floats, Floats]:
    sizes, kernel, every, mean = plan(u, m)
    number = rounded(mean, rng)
    listed = every < 4 * number
    blocks = [
        rng.choice(pairs_of_size(u, s), n, replace=False)
        for s, n in zip(sizes[listed].tolist(), number[listed].tolist(), strict=True)
    ]
    blocks.append(distinct(np.repeat(sizes[~listed], number[~listed]), u, rng))
    order = np.concatenate([np.flatnonzero(listed), np.flatnonzero(~listed)])
    size = np.repeat(order, number[order])
    return np.concatenate(blocks), (kernel / mean)[size], (1 - mean / every)[size]


def first_of(half: Bools, m: int) -> tuple[Bools, Floats, Floats]:
    """What `pairs` gives for m, taken from the beginning of each size of more pairs."""
    u = half.shape[1]
    _, kernel, every, mean = plan(u, m)
    size = half.sum(1) - 1
    begin = np.zeros(len(mean), int)
    sizes, begin_of = np.unique(size, return_index=True)
    begin[sizes] = begin_of
    kept = np.arange(len(half)) - begin[size] < np.round(mean)[size]
    size = size[kept]
    return half[kept], (kernel / mean)[size], (1 - mean / every)[size]


@lru_cache(maxsize=64)
def plan(u: int, m: int) -> tuple[Ints, Floats, Floats, Floats]:
    """What m pairs of u units are made of: sizes, their kernel, pairs there are, pairs drawn.

    Every size is drawn equally often, up to all there are; the level is such that they are m
    together (the paper finds it by bisection too). The size u / 2 is its own complement's:
    half as many pairs, drawn half as often. Of pairs there are, 8 m is as good as more.
    """
    sizes = np.arange(1, u // 2 + 1)
    share = np.where(2 * sizes == u, 0.5, 1.0)
    every = np.array([min(comb(u, s), 8 * m) for s in sizes.tolist()]) * share
    low, high = 0.0, 8.0 * m
    for _ in range(100):
        level = (low + high) / 2
        low, high = (low, level) if np.minimum(share * level, every).sum() > m else (level, high)
    return sizes, share / (sizes * (u - sizes)), every, np.minimum(share * high, every)


def rounded(mean: Floats, rng: np.random.Generator) -> Ints:
    """Whole numbers, (s,), that are right on average, with the right sum (systematic sampling)."""
    ends = np.floor(np.cumsum(mean) + rng.random() * (1 - 1e-9) + 1e-10)
    return np.diff(ends, prepend=0).astype(int)


def distinct(sizes: Ints, u: int, rng: np.random.Generator) -> Bools:
    """Different coalitions, (n, u), of the sizes given, no two of them complements."""
    half = subsets(sizes, u, rng)
    again = np.arange(len(sizes))
    while len(again):
        turned = again[(2 * sizes[again] == u) & ~half[again, 0]]
        half[turned] = ~half[turned]
        first: dict[Key, int] = {}
        keys = keys_of(half)
        again = np.array([i for i, key in enumerate(keys) if first.setdefault(key, i) != i], int)
        half[again] = subsets(sizes[again], u, rng)
    return half
