"""Banzhaf values (Banzhaf 1965; Wang & Jia 2023, arXiv 2205.15466)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from basewise.explainers.coalitions import fit_pairs
from basewise.explainers.count import Count, at_most, exactly
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.kernel_shap import budget_for, first_round, gains_of
from basewise.explainers.until import Stoppable, in_rounds
from basewise.registry import component
from basewise.types import Bools, Kind

__all__ = ["Banzhaf"]


@component
class Banzhaf(Stoppable):
    """What a unit adds on average over all coalitions of the others, each equally likely.

    They are the slopes of the plane that fits all 2**u values best (Hammer & Holzman 1992),
    fitted here to coalitions drawn uniformly, in complement pairs (Kernel Banzhaf, Liu et al.
    2024, arXiv 2410.08336), or to all where the budget allows. Half of the units are absent
    in most coalitions; scores do not sum to the gain.

    Attributes
    ----------
    evaluations : int or None
        Coalitions asked for, at least 4 per unit; None means `2 * units + 2048`.
    """

    kind: ClassVar[Kind] = "ranking"

    evaluations: Annotated[int, Field(ge=2)] | None = None

    def coalitions(self, units: int) -> Count:
        budget = budget_for("banzhaf", self.evaluations, units)
        if budget + 2 >= 2**units:
            return exactly(2**units)
        return at_most(2 * (budget // 2) + 2)

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        u = game.n_units
        budget = budget_for("banzhaf", self.evaluations, u)
        if budget + 2 >= 2**u:
            half = (np.arange(2 ** (u - 1))[:, None] >> np.arange(u)) & 1 == 1
        else:
            half = rng.random((budget // 2, u)) < 0.5
        first = first_round(u, budget) // 2 if budget + 2 < 2**u else len(half)
        return (yield from in_rounds(self.until, first, len(half), partial(self._estimated, half)))

    def _estimated(self, every: Bools, m: int) -> Play:
        """Play with the first m pairs."""
        half = every[:m]
        gains = yield from gains_of(half)
        same = np.ones(m)
        return Estimate(*fit_pairs(half, gains, same, same * (2 * m < 2 ** half.shape[1])))
