"""Pieces in place: where the agreement of aligned sequences switches, and in which blocks.

Arrays only; `SharedBlocks` makes findings of them. Sequences are aligned at their first base.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log
from typing import NamedTuple

import numpy as np
import pandas as pd

from basewise.checks.text import Text, agreements
from basewise.sequence.alphabet import N
from basewise.stats import Estimate
from basewise.types import Bools, Codes, Floats, Ints

__all__ = [
    "Blocks",
    "Period",
    "aligned_pairs",
    "chance_pairs",
    "correlation",
    "find_cuts",
    "find_period",
    "shared_runs",
]

_SHORTEST = 5  # bases of a block that can be told from chance


class Period(NamedTuple):
    """Cuts at `phase`, `phase + length`, `phase + 2 length`, ...

    Attributes
    ----------
    length, phase : int
        Bases between two cuts, and the first cut (`0 <= phase < length`).
    regular : float
        Share of the switches that lie on a cut.
    p : float
        Upper bound on the chance of so many, were the switches anywhere; see `find_period`.
    """

    length: int
    phase: int
    regular: float
    p: float


def aligned_pairs(text: Text, word: int, repeat: int) -> tuple[Ints, Ints]:
    """Every two rows that hold the same word at the same position, (p,) and (p,), the lower first.

    Words that more than `repeat` rows hold at one position are passed over.
    """
    words = text.words(word)
    key = words.position * 4**word + words.number
    order = np.argsort(key)
    key, row = key[order], words.row[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    size = np.diff(first, append=len(key))
    within = np.repeat(size <= repeat, size)
    key, row = key[within], row[within]
    found = [np.zeros((0, 2), np.int64)]
    for lag in range(1, min(repeat, int(size.max(initial=1)))):
        same = key[lag:] == key[:-lag]
        found.append(np.unique(np.sort(np.stack([row[:-lag], row[lag:]], 1)[same]), axis=0))
    i, j = np.unique(np.concatenate(found), axis=0).T
    return i, j


def shared_runs(text: Text, i: Ints, j: Ints, shortest: int) -> pd.DataFrame:
    """Runs of equal bases in pairs of rows.

    Returns
    -------
    DataFrame
        One row per run of at least `shortest` bases: `i, j, start, end`, and whether agreement
        switches where it `begins` and `ends`, instead of a sequence beginning or ending.
    """
    parts = []
    for found in agreements(text, i, text, j, np.zeros(len(i), np.int64)):
        edge = np.diff(np.pad(found.equal, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        (pair, start), (_, end) = np.nonzero(edge == 1), np.nonzero(edge == -1)
        long = end - start >= shortest
        pair, start, end = pair[long], start[long], end[long]
        a = i[found.part][pair]
        columns = {"i": a, "j": j[found.part][pair], "start": start, "end": end}
        switches = {"begins": start > 0, "ends": end < found.both.sum(1)[pair]}
        parts.append(pd.DataFrame(columns | switches))
    return pd.concat(parts, ignore_index=True)


def find_period(switches: Ints, width: int) -> Period:
    """The likeliest period and phase of cuts, from the positions where agreement switches.

    Every length from 5 to `width` // 2 and its commonest phase are tried. With a share f of
    the n switches on the cuts of length b, the likelihood ratio against switches anywhere is
    `exp(n KL)`, `KL = f log(f b) + (1 - f) log((1 - f) / (1 - 1 / b))`: divisors of the true
    length have lower ratios because they leave more places, multiples because they miss cuts.
    `exp(-n KL)` also bounds the chance of a share f or more (Chernoff 1952); `p` is it times
    the number of lengths and phases tried.

    Parameters
    ----------
    switches : (n,) int
        Positions 1 to `width` - 1.
    width : int
        Bases of the sequences.
    """
    best, least = Period(max(width, 1), 0, 0.0, 1.0), 0.0
    n, tried = len(switches), 0
    for length in range(_SHORTEST, width // 2 + 1):
        counts = np.bincount(switches % length, minlength=length)
        tried += length
        share = int(counts.max()) / max(n, 1)
        if share <= 1 / length:
            continue
        gain = share * log(share * length)
        if share < 1:
            gain += (1 - share) * log((1 - share) / (1 - 1 / length))
        if gain > least:
            best, least = Period(length, int(counts.argmax()), share, 1.0), gain
    return best._replace(p=min(1.0, tried * exp(-n * least)))


def find_cuts(switches: Ints, period: Period, width: int) -> Ints:
    """The cuts of a period that are in use, with 0 and `width` around them, (k + 1,).

    In use: a tenth as many switches as at the cut that has most. A cut beside a block that is
    always kept, or between two that always go together, is not seen.
    """
    counts = np.bincount(switches, minlength=width)
    cuts = np.arange(period.phase, width, period.length)
    cuts = cuts[(cuts > 0) & (counts[cuts] >= counts[cuts].max(initial=0) / 10)]
    return np.concatenate([[0], cuts, [width]])


@dataclass(frozen=True, eq=False)
class Blocks:
    """Pairs of aligned sequences compared block by block.

    Attributes
    ----------
    a, b : (p, w) uint8
        Codes of the two sequences of each pair; `N` beyond their ends.
    kept : (p, k) bool
        Blocks of at least five bases in which every base is equal.
    exchanged : (p, w) bool
        Bases of the other blocks, where both sequences are known.
    """

    a: Codes
    b: Codes
    kept: Bools
    exchanged: Bools

    @classmethod
    def compare(cls, text: Text, i: Ints, j: Ints, cuts: Ints) -> Blocks:
        """Compare rows `i` with rows `j`, (p,), in the blocks between `cuts`, (k + 1,)."""
        a, b = text.rows(i, int(cuts[-1])), text.rows(j, int(cuts[-1]))
        ends = np.minimum(text.length[i], text.length[j])[:, None]
        wide = np.clip(ends, cuts[:-1], cuts[1:]) - cuts[:-1]
        equal = np.add.reduceat(((a == b) & (a < N)).astype(np.int64), cuts[:-1], axis=1)
        kept = (equal == wide) & (wide >= _SHORTEST)
        known = (a < N) & (b < N)
        return cls(a, b, kept, ~np.repeat(kept, np.diff(cuts), axis=1) & known)

    def agreement(self) -> Floats:
        """Share of equal bases among the exchanged ones of each pair, (p,); 1 if there are none."""
        equal = ((self.a == self.b) & self.exchanged).sum(1)
        count = self.exchanged.sum(1)
        return np.where(count > 0, equal / np.maximum(count, 1), 1.0)

    def coupling(self, codes: Codes) -> Estimate:
        """Correlation over pairs of the GC content of the kept and of the exchanged bases.

        `codes` is `a` or `b`.
        """
        known = codes < N
        strong = (codes == 1) | (codes == 2)
        kept = known & ~self.exchanged
        shares = [
            (strong & part).sum(1) / np.maximum(part.sum(1), 1) for part in (kept, self.exchanged)
        ]
        return correlation(shares[0], shares[1])


def correlation(x: Floats, y: Floats) -> Estimate:
    """Pearson's correlation with Fisher's interval; NaN for fewer than 4 points or a constant."""
    n = len(x)
    if n < 4 or not np.ptp(x) or not np.ptp(y):
        return Estimate(float("nan"), -1.0, 1.0, n)
    r = float(np.corrcoef(x, y)[0, 1])
    z, half = np.arctanh(np.clip(r, -0.999999, 0.999999)), 1.96 / np.sqrt(n - 3)
    return Estimate(r, float(np.tanh(z - half)), float(np.tanh(z + half)), n)


def chance_pairs(sizes: Ints, alike: float, pairs: int) -> Floats:
    """Expected pairs of unrelated sequences with at least 0, 1, ..., k equal blocks, (k + 1,).

    A union bound: the sum over sets of m blocks of the chance that they are equal.

    Parameters
    ----------
    sizes : (k,) int
        Bases of the blocks.
    alike : float
        Chance that two bases are equal.
    pairs : int
        Pairs compared.
    """
    sums = np.ones(1)
    for size in sizes[sizes >= _SHORTEST]:
        sums = np.convolve(sums, [1.0, alike ** float(size)])
    return pairs * np.pad(sums, (0, len(sizes) + 1 - len(sums)))
