"""Does a model rely on a motif? Attribution inside its hits, against matched stretches.

Two nulls, because each is blind to what the other sees:

* *same sequence*: stretches of the same length and GC content elsewhere in the same sequence
  that overlap no hit of the motif. Blind to position: models look more at some places, so a
  motif that lives there would seem important.
* *same position*: stretches of the same GC content at exactly the same place in other
  sequences of the same class that have no hit of the motif in its window. Blind to the
  sequence: a sequence with the motif may have more attribution all over.

A claim should hold against both.

**The estimate.** The mean attribution per base of every hit, less the mean of its controls;
hits are averaged within their sequence, then sequences are averaged, so every sequence counts
once. The effect is that difference in units of the controls' standard deviation among stretches
of one match (Glass's delta).

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

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from basewise.biology.enrichment import MINIMUM, enrichment_row, enrichment_table
from basewise.errors import DataError
from basewise.motifs.motif import Motif, check_tss
from basewise.motifs.pvalue import UNIFORM
from basewise.motifs.scan import Scanner
from basewise.sequence.alphabet import N, encode
from basewise.stats import empirical_p
from basewise.types import Attribution, Bools, Codes, Floats, Ints, Record

__all__ = ["Contrast", "attribution_enrichment", "contrast"]

MINIMUM_CONTROLS = {"same sequence": 1, "same position": 5}
"""Fewest controls a hit needs. In the same sequence one is enough, since its chance error stays
within that sequence; at the same position many hits share the controls and their error."""

_RESAMPLES = 2000
_CELLS = 1 << 22  # of resampling weights held at once: 32 MB


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


def attribution_enrichment(
    records: Sequence[Record],
    found: Sequence[Attribution],
    motifs: Sequence[Motif],
    *,
    tss: int | None = None,
    gc_tolerance: float = 0.0,
    draws: int = 9999,
    seed: int = 0,
    p: float = 1e-4,
    background: Sequence[float] = UNIFORM,
) -> pd.DataFrame:
    """Whether attribution is higher (or lower) inside the hits of motifs than in matched places.

    Parameters
    ----------
    records : sequence of Record
        Those explained, in any order; controls at the same position have the same label.
    found : sequence of Attribution
        Of one model, target and method, at most one per record.
    motifs : sequence of Motif
        Hits count inside their window.
    tss : int, optional
        0-based index of the +1 base in every record; needed by motifs with a window.
    gc_tolerance : float
        By which share of a motif's width the G+C of a control may differ from that of the hit.
        Motifs of extreme composition have neighbours on one side only, so more than 0 buys
        controls at the price of a bias where attribution follows composition.
    draws : int
        Random sign flips; p is at least `1 / (draws + 1)`.
    seed : int
        Of sign flips and resampling.
    p : float
        A matrix hits where its score has at most this p value; patterns match exactly.
    background : (4,) floats
        That `p` refers to.

    Returns
    -------
    DataFrame
        With the columns of `ENRICHMENT`, two rows per motif; label is `all`. A motif with
        fewer than `MINIMUM` sequences to test has a reason in place of numbers.

    Raises
    ------
    DataError
        If attributions mix models, targets or methods, belong to no record or to another
        sequence, or the TSS lies outside a record.
    """
    explained = _match(records, found)
    check_tss(explained, motifs, tss)
    if not 0 <= gc_tolerance < 1:
        raise DataError(f"gc_tolerance is {gc_tolerance}; it is a share of the width, 0 to 1.")
    data = _Data(explained, found)
    scanner = Scanner(motifs, p, background)
    row, start, motif_of_hit = data.hits(scanner)
    contrasts: dict[tuple[int, str], Contrast] = {}
    for i in sorted(range(len(motifs)), key=lambda i: len(motifs[i])):  # one width at a time
        here = motif_of_hit == i
        for null, result in data.contrasts(motifs[i], row[here], start[here], tss, gc_tolerance):
            contrasts[i, null] = result
    rows = []
    inference = _infer(contrasts, np.random.default_rng(seed), draws)
    for i, motif in enumerate(motifs):
        for null in MINIMUM_CONTROLS:
            result = contrasts[i, null]
            table_row = enrichment_row(
                motif,
                "all",
                null,
                "standardised mean difference",
                len(found),
                result.controls,
                result.with_hit,
            )
            table_row["reason"] = _refusal(result, motif.name in scanner.unreachable)
            if not table_row["reason"]:
                table_row |= inference[i, null]
            rows.append(table_row)
    return enrichment_table(rows)


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


class _Data:
    """Sequences and attributions as arrays, (n, b), short ones padded with unknown bases."""

    def __init__(self, records: Sequence[Record], found: Sequence[Attribution]):
        n, longest = len(records), max(len(record) for record in records)
        self.codes: Codes = np.full((n, longest), N, np.uint8)
        self.scores: Floats = np.zeros((n, longest))
        for i, (record, attribution) in enumerate(zip(records, found, strict=True)):
            self.codes[i, : len(record)] = encode(record.sequence)
            self.scores[i, : len(record)] = attribution.per_base()
        _, label = np.unique([_class(record) for record in records], return_inverse=True)
        self.label: Ints = label
        self.stretches = lru_cache(maxsize=1)(self._stretches)

    def hits(self, scanner: Scanner) -> tuple[Ints, Ints, Ints]:
        """Row, start and motif of every place with a hit, on whichever strand."""
        laid = np.pad(self.codes, ((0, 0), (0, scanner.gap)), constant_values=N)
        hits = scanner.find(laid.ravel())
        row, start = np.divmod(hits.start, laid.shape[1])
        places = np.column_stack([scanner.motif_of_row[hits.row], row, start])
        motif, row, start = np.unique(places, axis=0).reshape(-1, 3).T
        return row, start, motif

    def _stretches(self, width: int) -> tuple[Floats, Ints, Bools]:
        """Mean score, G+C and whether all bases are known, of all stretches of this width."""
        scores = _sliding(self.scores, width) / width
        gc = _sliding((self.codes == 1) | (self.codes == 2), width).astype(np.int64)
        return scores, gc, _sliding(self.codes >= N, width) == 0

    def contrasts(
        self, motif: Motif, row: Ints, start: Ints, tss: int | None, gc_tolerance: float
    ) -> Iterator[tuple[str, Contrast]]:
        """The hits of a motif that lie in its window against the controls of each null."""
        width, (n, longest) = min(len(motif), self.codes.shape[1]), self.codes.shape
        values, gc, known = self.stretches(width)
        hit = np.zeros((n, longest), bool)
        hit[row, start] = True
        free = known & (_sliding(_covered(hit, width), width) == 0)
        first, last = 0, longest
        if motif.window is not None and tss is not None:
            first, last, _ = motif.window.span(tss)
        inside = (start >= first) & (start + width <= last)
        row, start = row[inside], start[inside]
        tolerance = int(gc_tolerance * width)
        for null, minimum in MINIMUM_CONTROLS.items():
            eligible = free.copy()
            if null == "same sequence":
                group = np.broadcast_to(np.arange(n)[:, None], values.shape)
            else:
                eligible[row] = False
                group = self.label[:, None] * values.shape[1] + np.arange(values.shape[1])
            yield null, contrast(values, gc, eligible, group, row, start, minimum, tolerance)


def _sliding(values: Floats | Ints | Bools, width: int) -> Floats:
    """Sums of every stretch of `width` along the last axis, (n, b - width + 1)."""
    total = np.pad(np.cumsum(values, axis=1, dtype=float), ((0, 0), (1, 0)))
    return np.asarray(total[:, width:] - total[:, :-width])


def _covered(hit: Bools, width: int) -> Bools:
    """Whether a base lies in a stretch of `width` that starts at a hit, (n, b)."""
    total = np.cumsum(hit, axis=1, dtype=np.int64)
    before = np.pad(total, ((0, 0), (width, 0)))[:, : hit.shape[1]]
    return np.asarray(total > before)


def _infer(
    contrasts: Mapping[tuple[int, str], Contrast], rng: np.random.Generator, draws: int
) -> dict[tuple[int, str], dict[str, float]]:
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


def _refusal(result: Contrast, unreachable: bool) -> str:
    """Why a contrast cannot be tested, or nothing."""
    if unreachable:
        return "no word of the motif is rare enough to be a hit at this p"
    if result.with_hit < MINIMUM:
        return (
            f"{MINIMUM} sequences with a hit and matched controls are needed; "
            f"{result.with_hit} {'has' if result.with_hit == 1 else 'have'} them"
        )
    if not result.deviation > 0:
        return "the attribution of the controls does not vary"
    return ""


def _class(record: Record) -> str:
    return record.label if isinstance(record.label, str) else ""


def _match(records: Sequence[Record], found: Sequence[Attribution]) -> list[Record]:
    """The record of every attribution, after checking that they belong together."""
    if not found:
        raise DataError("There are no attributions; explain some records first.")
    for what, of in (("models", "model"), ("targets", "target"), ("methods", "method")):
        names = sorted({str(getattr(attribution, of)) for attribution in found})
        if len(names) > 1:
            raise DataError(
                f"The attributions are of {len(names)} {what} ({', '.join(names)}); "
                "ask about one at a time."
            )
    known = {record.id: record for record in records}
    seen: set[str] = set()
    for attribution in found:
        name = attribution.record_id
        if name not in known:
            raise DataError(f"There is an attribution of record {name!r}, but no such record.")
        if known[name].sequence != attribution.sequence:
            raise DataError(f"The attribution of record {name!r} is of another sequence.")
        if name in seen:
            raise DataError(f"Record {name!r} has two attributions; give one per record.")
        seen.add(name)
    return [known[attribution.record_id] for attribution in found]
