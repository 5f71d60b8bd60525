"""Occlusion, also called leave-one-out (Zeiler & Fergus 2014)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from basewise.explainers.count import Count, exactly
from basewise.explainers.game import MOST_CELLS, Estimate, Game, Play
from basewise.explainers.perturbation import Perturbation
from basewise.registry import component
from basewise.types import Kind

__all__ = ["Occlusion"]


@component
class Occlusion(Perturbation):
    """What is lost when one unit is switched off: `v(all) - v(all but i)`."""

    kind: ClassVar[Kind] = "ranking"

    def coalitions(self, units: int) -> Count:
        return exactly(min(units + 2, 2**units))

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        u, without = game.n_units, np.empty(game.n_units)
        rows = max(MOST_CELLS // u, 1)
        for start in range(0, u, rows):
            some = np.arange(start, min(start + rows, u))
            without[some] = yield np.arange(u) != some[:, None]
        return Estimate(game.full - without)
