"""Owen values over a hierarchy of windows (Owen 1977; `PartitionExplainer` of `shap`)."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from basewise.explainers.count import Count, exactly
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.perturbation import Perturbation
from basewise.registry import component
from basewise.types import Bools, Floats, Ints, Kind

__all__ = ["PartitionShap"]


@component
class PartitionShap(Perturbation):
    """Shapley values of a game in which neighbours stand together.

    The sequence is halved, and each half again, down to single units. A window's gain is
    shared between its halves as in a game of two, and so on downwards, with the rest of the
    sequence as it stood (Owen values). Windows whose gain is large are opened first; when the
    budget is spent, a window that is still closed shares its gain equally among its units.
    Few evaluations show where the signal is, and scores always sum to the gain; but with all
    windows open they are Owen values, which are not Shapley values.

    Attributes
    ----------
    evaluations : int
        Coalitions asked for beside the two ends, two for each window and context opened.
    """

    kind: ClassVar[Kind] = "additive"

    evaluations: Annotated[int, Field(ge=2)] = 512

    def coalitions(self, units: int) -> Count:
        return exactly(2 + 2 * min(self.evaluations // 2, openings(units)))

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        u, left = game.n_units, self.evaluations // 2 - 1
        if u == 1:
            return Estimate(np.array([game.full - game.empty]))
        unknown = np.zeros(1)
        whole = _Windows(
            np.zeros((1, u), bool), np.array([0]), np.array([u]), np.ones(1), unknown, unknown
        )
        first, second = whole.halves()
        values = yield np.concatenate([first, second])
        whole = whole._replace(low=np.array([game.empty]), high=np.array([game.full]))
        windows = whole.parts(first, second, *np.split(values, 2))
        while len(some := windows.promising(left)):
            left -= len(some)
            opened = windows.only(some)
            first, second = opened.halves()
            values = yield np.concatenate([first, second])
            rest = np.ones(len(windows.start), bool)
            rest[some] = False
            closed = windows.only(rest)
            windows = closed.and_these(opened.parts(first, second, *np.split(values, 2)))
        each = windows.gain / (windows.end - windows.start)
        steps = np.zeros(u + 1)
        np.add.at(steps, windows.start, each)
        np.subtract.at(steps, windows.end, each)
        return Estimate(np.cumsum(steps)[:-1])


@lru_cache
def openings(u: int) -> int:
    """How often windows of u units and less can be opened, each in all its contexts."""
    return 1 + 2 * openings(u // 2) + 2 * openings(u - u // 2) if u > 1 else 0


class _Windows(NamedTuple):
    """Windows of units, (m,), each with what stands outside of it."""

    around: Bools  # (m, u), units present outside
    start: Ints
    end: Ints
    weight: Floats  # of the window with these units outside
    low: Floats  # value without the window
    high: Floats  # value with it

    @property
    def gain(self) -> Floats:
        return self.weight * (self.high - self.low)

    def promising(self, most: int) -> Ints:
        """Which to open next, of those with several units: gains within a quarter of the largest.

        Where the signal is in one place they are few; where it is everywhere, all.
        """
        several = np.flatnonzero(self.end - self.start > 1)
        size = np.abs(self.gain[several])
        order = np.argsort(-size, kind="stable")
        return several[order[: min(int((size >= size.max(initial=0) / 4).sum()), most)]]

    def only(self, some: Ints | Bools) -> _Windows:
        return _Windows._make(field[some] for field in self)

    def and_these(self, more: _Windows) -> _Windows:
        return _Windows._make(np.concatenate(both) for both in zip(self, more, strict=True))

    def halves(self) -> tuple[Bools, Bools]:
        """What is present with the first half of each window, and with the second, (m, u)."""
        at = np.arange(self.around.shape[1])
        middle = self.middle[:, None]
        first = (self.start[:, None] <= at) & (at < middle)
        second = (middle <= at) & (at < self.end[:, None])
        return self.around | first, self.around | second

    def parts(self, first: Bools, second: Bools, value1: Floats, value2: Floats) -> _Windows:
        """Both halves, each without the other half beside it and with it, (4 m,)."""
        start, middle, end, half = self.start, self.middle, self.end, self.weight / 2
        parts = [
            _Windows(self.around, start, middle, half, self.low, value1),
            _Windows(second, start, middle, half, value2, self.high),
            _Windows(self.around, middle, end, half, self.low, value2),
            _Windows(first, middle, end, half, value1, self.high),
        ]
        return _Windows._make(np.concatenate(field) for field in zip(*parts, strict=True))

    @property
    def middle(self) -> Ints:
        return (self.start + self.end) // 2
