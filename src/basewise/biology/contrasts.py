"""Hits against matched controls: the difference, its test and its interval.

**The estimate.** The mean value of every hit, less the mean of its controls; hits are averaged
within their sequence, then sequences are averaged, so every sequence counts once.

**The test.** The difference is a weighted sum over sequences, each contributing through its own
hits and through the controls that others borrow from it, all measured from the mean of the
matched controls. Under the null these contributions have mean zero, so their signs are flipped
at random, sequence by sequence (sign-flip score test; Hemerik, Goeman & Finos 2020, J R Stat Soc
B 82:841). Controls shared by many hits are thereby counted once, as what they are.

**The interval.** Sequences are resampled with all their hits and controls (cluster bootstrap);
the difference is linearised, so one set of resamples serves every motif, and the standard
deviation is held fixed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from basewise.motifs.scan import Scanner
from basewise.sequence.alphabet import N, encode
from basewise.stats import empirical_p
from basewise.types import Bools, Codes, Floats, Ints, Record

__all__ = [
    "MINIMUM_CONTROLS",
    "Contrast",
    "contrast",
    "covered",
    "infer",
    "laid",
    "places",
    "sliding",
]

MINIMUM_CONTROLS = {"same sequence": 1, "same position": 5}
"""Fewest controls a hit needs. In the same sequence one is enough, since its chance error stays
within that sequence; at the same position many hits share the controls and their error."""

_RESAMPLES = 2000
_CELLS = 1 << 22  # of resampling weights held at once: 32 MB

K = TypeVar("K", bound=Hashable)


class Contrast(NamedTuple):
    """Hits against their controls.

    Attributes
    ----------
    inside, control : float
        Mean value of hits and of their controls; every sequence counts once.
    deviation : float
        Standard deviation of controls around the mean of their match.
    with_hit, controls : int
        Sequences with a hit that has controls; stretches used as controls.
    contribution : (n,) float
        Of each sequence to `inside - control`, with mean zero under the null.
    influence : (n,) float
        How the estimate changes with each sequence's weight; sums to zero.
    """

    inside: float
    control: float
    deviation: float
    with_hit: int
    controls: int
    contribution: Floats
    influence: Floats


def contrast(
    values: Floats,
    gc: Ints,
    eligible: Bools,
    group: Ints,
    row: Ints,
    start: Ints,
    minimum: int = 1,
    tolerance: int = 0,
) -> Contrast:
    """Compare hits with eligible stretches of the same group and GC content.

    Parameters
    ----------
    values : (n, s) float
        Mean attribution of the stretch that starts at each place of each sequence.
    gc : (n, s) int
        Its number of G and C.
    eligible : (n, s) bool
        Whether it may be a control.
    group : (n, s) int
        Hits are compared within a group: their sequence, or their class and position.
    row, start : (h,) int
        Where the hits are, in the first and the second axis.
    minimum : int
        Hits with fewer controls are left out.
    tolerance : int
        By how many G and C a control may differ.
    """
    n, columns = len(values), int(gc.max(initial=0)) + 1
    cell = group * columns + gc
    size = (int(group.max(initial=0)) + 1) * columns
    centre = float(values.mean())  # subtracted, so that squares keep their accuracy
    shifted = values - centre

    def by_match(of: Ints, weights: Floats | None = None) -> Floats:
        """Sums over cells, added up over the cells within the tolerance."""
        sums = np.bincount(of, weights, minlength=size).astype(float)
        return _band(sums.reshape(-1, columns), tolerance).ravel()

    eligible = eligible & (by_match(cell[row, start]) > 0)[cell]
    control_cell, control_value = cell[eligible], shifted[eligible]
    count = by_match(control_cell)
    mean = by_match(control_cell, control_value) / np.maximum(count, 1)
    square = by_match(control_cell, control_value**2) / np.maximum(count, 1)
    correction = count / np.maximum(count - 1, 1)  # of a variance from `count` values

    enough = count[cell[row, start]] >= minimum
    row, start = row[enough], start[enough]
    match, value = cell[row, start], shifted[row, start]
    hits = np.bincount(row, minlength=n)
    with_hit = int((hits > 0).sum())
    weight = 1 / (hits[row] * max(with_hit, 1))
    difference = value - mean[match]
    estimate = float(weight @ difference)
    known = weight * (count[match] > 1)
    variance = np.maximum(square - mean**2, 0) * correction
    deviation = np.sqrt(known @ variance[match] / known.sum()) if known.any() else np.nan

    borrowed = np.asarray(np.bincount(match, weight, minlength=size), float)
    borrowed *= np.sqrt(correction) / np.maximum(count, 1)
    slope = _band(borrowed.reshape(-1, columns), tolerance).ravel()[control_cell]
    level = _band((borrowed * mean).reshape(-1, columns), tolerance).ravel()[control_cell]
    control_row = np.nonzero(eligible)[0]
    lent = np.bincount(control_row, slope * control_value - level, minlength=n)
    return Contrast(
        float(weight @ value) + centre,
        float(weight @ mean[match]) + centre,
        float(deviation),
        with_hit,
        int((slope > 0).sum()),
        np.asarray(np.bincount(row, weight * difference, minlength=n) - lent),
        np.asarray(np.bincount(row, weight * (difference - estimate), minlength=n) - lent),
    )


def _band(cells: Floats, tolerance: int) -> Floats:
    """Sums of the cells within `tolerance` columns of each, (g, c)."""
    if not tolerance:
        return cells
    total = np.cumsum(np.pad(cells, ((0, 0), (1, 0))), axis=1)
    column = np.arange(cells.shape[1])
    last = np.minimum(column + tolerance + 1, cells.shape[1])
    return np.asarray(total[:, last] - total[:, np.maximum(column - tolerance, 0)])


def laid(records: Sequence[Record]) -> Codes:
    """Codes of sequences, (n, b), short ones padded with unknown bases."""
    codes = np.full((len(records), max(len(record) for record in records)), N, np.uint8)
    for i, record in enumerate(records):
        codes[i, : len(record)] = encode(record.sequence)
    return codes


def places(codes: Codes, scanner: Scanner) -> tuple[Ints, Ints, Ints]:
    """Row, start and motif of every place with a hit, on whichever strand."""
    apart = np.pad(codes, ((0, 0), (0, scanner.gap)), constant_values=N)
    hits = scanner.find(apart.ravel())
    row, start = np.divmod(hits.start, apart.shape[1])
    found = np.column_stack([scanner.motif_of_row[hits.row], row, start])
    motif, row, start = np.unique(found, axis=0).reshape(-1, 3).T
    return row, start, motif


def sliding(values: Floats | Ints | Bools, width: int) -> Floats:
    """Sums of every stretch of `width` along the last axis, (n, b - width + 1)."""
    total = np.pad(np.cumsum(values, axis=1, dtype=float), ((0, 0), (1, 0)))
    return np.asarray(total[:, width:] - total[:, :-width])


def covered(hit: Bools, width: int) -> Bools:
    """Whether a base lies in a stretch of `width` that starts at a hit, (n, b)."""
    total = np.cumsum(hit, axis=1, dtype=np.int64)
    before = np.pad(total, ((0, 0), (width, 0)))[:, : hit.shape[1]]
    return np.asarray(total > before)


def infer(
    contrasts: Mapping[K, Contrast], rng: np.random.Generator, draws: int
) -> dict[K, dict[str, float]]:
    """What the table says of every contrast, by one set of flips and resamples for all."""
    if not contrasts:
        return {}
    contribution = np.column_stack([c.contribution for c in contrasts.values()])
    influence = np.column_stack([c.influence for c in contrasts.values()])
    n = len(contribution)
    flips, resamples = [], []
    with threadpool_limits(1, user_api="blas"):
        for rows in _parts(draws, n):
            signs = rng.integers(0, 2, (rows, n), np.int8) * np.int8(2) - np.int8(1)
            flips.append(signs.astype(float) @ contribution)
        for rows in _parts(_RESAMPLES, n):
            drawn = rng.integers(0, n, (rows, n)) + np.arange(rows)[:, None] * n
            weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
            resamples.append(weights.astype(float) @ influence)
    # A flip that restores every sign must count as equal, whatever the order of the sum.
    null = np.abs(np.concatenate(flips)) * (1 + 1e-9)
    p = empirical_p(np.abs(contribution.sum(0)), null, two_sided=False)
    spread = np.quantile(np.concatenate(resamples), [0.025, 0.975], axis=0)
    found = {}
    for (key, c), low, high, chance in zip(contrasts.items(), *spread, p, strict=True):
        effect = np.array([0, low, high]) + c.inside - c.control
        with np.errstate(divide="ignore", invalid="ignore"):
            effect = effect / c.deviation
        numbers = (c.inside, c.control, *effect, chance)
        names = ("observed", "expected", "effect", "low", "high", "p")
        found[key] = dict(zip(names, map(float, numbers), strict=True))
    return found


def _parts(total: int, n: int) -> list[int]:
    size = max(_CELLS // max(n, 1), 1)
    return [min(size, total - begin) for begin in range(0, total, size)]
