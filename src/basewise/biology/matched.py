"""The odds of a hit in real sequences against shuffles of the same sequences.

Every sequence and its `d` shuffles form a matched set of `d + 1`. If the sequence is no
different from its shuffles, each member of the set is equally likely to be the real one, so,
given how many members of each set carry the hit, the number of real sequences with a hit is a
sum of independent coin tosses whose probabilities are known. The p value is that exact
distribution's tail: it needs no approximation and no minimum number of shuffles. This is the
conditional likelihood of matched case-control studies (Breslow & Day 1980, chapter 7), and its
maximum is the odds ratio reported.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from basewise.stats import Estimate
from basewise.types import Bools, Floats, Ints

__all__ = ["Matched", "coin_sum", "matched_odds_ratio"]


class Matched(NamedTuple):
    """The odds ratio of a hit, real against shuffled, with its exact two-sided p value."""

    odds_ratio: Estimate
    p: float


def matched_odds_ratio(real: Bools, shuffled: Bools, level: float = 0.95) -> Matched:
    """Compare sequences with their own shuffles.

    Parameters
    ----------
    real : (n,) bool
        Whether each sequence has a hit.
    shuffled : (n, d) bool
        Whether each of its shuffles has.
    level : float
        Of the interval, which inverts the score test with a continuity correction of half a hit.

    Returns
    -------
    Matched
        NaN where no set tells anything: all of its members have the hit, or none has.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtri

    members = shuffled.shape[1] + 1
    with_hit = real.astype(np.int64) + shuffled.sum(1)
    telling = (with_hit > 0) & (with_hit < members)
    sets = np.bincount(with_hit[telling], minlength=members)
    hits, n = int(real[telling].sum()), int(telling.sum())
    if not n:
        return Matched(Estimate(np.nan, np.nan, np.nan, len(real)), np.nan)
    chance = np.arange(members) / members
    density = coin_sum(sets, chance)
    tail = min(density[: hits + 1].sum(), density[hits:].sum())
    p = float(min(max(2 * tail, np.finfo(float).tiny), 1.0))  # a tail may be too small to write

    def surplus(log_odds: float, shift: float, z: float) -> float:
        odds = np.exp(log_odds) * chance
        tilted = odds / (odds + 1 - chance)
        return float(hits + shift - sets @ tilted - z * np.sqrt(sets @ (tilted * (1 - tilted))))

    def solve(shift: float, z: float) -> float:
        return float(np.exp(brentq(surplus, -40, 40, args=(shift, z))))

    z = float(ndtri(0.5 + level / 2))
    value = 0.0 if hits == 0 else np.inf if hits == n else solve(0, 0)
    low = 0.0 if hits == 0 else solve(-0.5, z)
    high = np.inf if hits == n else solve(0.5, -z)
    return Matched(Estimate(value, low, high, len(real)), p)


def coin_sum(tosses: Ints, chance: Floats) -> Floats:
    """Distribution of the number of heads, (n + 1,), when `tosses[i]` coins have `chance[i]`.

    Only sums of positive terms, so small tails keep their relative accuracy.
    """
    from scipy.stats import binom

    density = np.ones(1)
    for count, probability in zip(tosses, chance, strict=True):
        if count:
            density = np.convolve(density, binom.pmf(np.arange(count + 1), count, probability))
    return density
