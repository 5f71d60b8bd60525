"""Banzhaf values (Banzhaf 1965; Wang & Jia 2023, arXiv 2205.15466)."""

from __future__ import annotations

from functools import partial
from math import ldexp
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from basewise.explainers.coalitions import fit_pairs, spanning
from basewise.explainers.count import Count, at_most, exactly
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.kernel_shap import budget_for, first_round, gains_of
from basewise.explainers.until import Stoppable, in_rounds
from basewise.registry import component
from basewise.types import Bools, Ints, Kind

__all__ = ["Banzhaf"]

BITS = 63  # of a coalition's number that are told apart
MANY = 64  # pairs in which no two of u units stand alike, but for a chance of u**2 / 2**64


@component
class Banzhaf(Stoppable):
    """What a unit adds on average over all coalitions of the others, each equally likely.

    They are the slopes of the plane that fits all 2**u values best (Hammer & Holzman 1992),
    fitted here to coalitions drawn uniformly, in complement pairs (Kernel Banzhaf, Liu et al.
    2024, arXiv 2410.08336), or to all where the budget allows. No pair is drawn twice, and pairs
    that leave a score open are drawn anew, all of them: every pair is as likely as any other.
    Half of the units are absent in most coalitions; scores do not sum to the gain.

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
            half = members(np.arange(2 ** (u - 1)), u)
            first = len(half)
        else:
            first = first_round(u, budget) // 2
            half = pairs(u, budget // 2, first, rng)
        return (yield from in_rounds(self.until, first, len(half), partial(_estimated, half)))


def _estimated(every: Bools, m: int) -> Play:
    """Play with the first m pairs."""
    half = every[:m]
    gains = yield from gains_of(half)
    rest = 1 - ldexp(m, 1 - half.shape[1])  # the share of all pairs that was not drawn
    return Estimate(*fit_pairs(half, gains, np.ones(m), np.full(m, rest)))


def pairs(u: int, m: int, first: int, rng: np.random.Generator) -> Bools:
    """One coalition, (m, u), of each of m different complement pairs, uniformly drawn.

    The first of them determine the score of every unit.
    """
    told = min(u, BITS)
    while True:
        half = rng.random((m, u)) < 0.5 if u > told else np.empty((m, u), bool)
        half[:, :told] = members(rng.choice(2 ** (told - 1), m, replace=False), told)
        if first >= MANY or spanning(half[:first]):
            return half


def members(numbers: Ints, u: int) -> Bools:
    """Coalitions, (n, u), by number; below `2 ** (u - 1)` are one of each complement pair."""
    present: Bools = (numbers[:, None] >> np.arange(u)) & 1 == 1
    return present
