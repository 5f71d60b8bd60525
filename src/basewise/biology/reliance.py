"""Does a model rely on a motif? Attribution inside its hits, against matched stretches.

Two nulls, because each is blind to what the other sees:

* *same sequence*: stretches of the same length and GC content elsewhere in the same sequence
  that overlap no hit of the motif. Blind to position: models look more at some places, so a
  motif that lives there would seem important.
* *same position*: stretches of the same GC content at exactly the same place in other
  sequences of the same class that have no hit of the motif in its window. Blind to the
  sequence: a sequence with the motif may have more attribution all over.

A claim should hold against both.

The estimate is the mean attribution per base inside hits less that of their controls, and the
effect that difference in units of the controls' standard deviation among stretches of one match
(Glass's delta); `contrasts` says how it is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from basewise.biology.contrasts import (
    MINIMUM_CONTROLS,
    Contrast,
    contrast,
    covered,
    infer,
    laid,
    places,
    sliding,
)
from basewise.biology.enrichment import MINIMUM, enrichment_row, enrichment_table
from basewise.errors import DataError
from basewise.motifs.motif import Motif, check_tss
from basewise.motifs.pvalue import UNIFORM
from basewise.motifs.scan import Scanner
from basewise.sequence.alphabet import N
from basewise.types import Attribution, Bools, Codes, Floats, Ints, Record

__all__ = ["attribution_enrichment"]


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
    row, start, motif_of_hit = places(data.codes, scanner)
    contrasts: dict[tuple[int, str], Contrast] = {}
    for i in sorted(range(len(motifs)), key=lambda i: len(motifs[i])):  # one width at a time
        here = motif_of_hit == i
        for null, result in data.contrasts(motifs[i], row[here], start[here], tss, gc_tolerance):
            contrasts[i, null] = result
    rows = []
    inference = infer(contrasts, np.random.default_rng(seed), draws)
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


class _Data:
    """Sequences and attributions as arrays, (n, b), short ones padded with unknown bases."""

    def __init__(self, records: Sequence[Record], found: Sequence[Attribution]):
        self.codes: Codes = laid(records)
        self.scores: Floats = np.zeros(self.codes.shape)
        for i, attribution in enumerate(found):
            track = attribution.per_base()
            self.scores[i, : len(track)] = track
        _, label = np.unique([_class(record) for record in records], return_inverse=True)
        self.label: Ints = label
        self.stretches = lru_cache(maxsize=1)(self._stretches)

    def _stretches(self, width: int) -> tuple[Floats, Ints, Bools]:
        """Mean score, G+C and whether all bases are known, of all stretches of this width."""
        scores = sliding(self.scores, width) / width
        gc = sliding((self.codes == 1) | (self.codes == 2), width).astype(np.int64)
        return scores, gc, sliding(self.codes >= N, width) == 0

    def contrasts(
        self, motif: Motif, row: Ints, start: Ints, tss: int | None, gc_tolerance: float
    ) -> Iterator[tuple[str, Contrast]]:
        """The hits of a motif that lie in its window against the controls of each null."""
        width, (n, longest) = min(len(motif), self.codes.shape[1]), self.codes.shape
        values, gc, known = self.stretches(width)
        hit = np.zeros((n, longest), bool)
        hit[row, start] = True
        free = known & (sliding(covered(hit, width), width) == 0)
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
