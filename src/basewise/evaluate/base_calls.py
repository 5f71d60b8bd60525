"""Calls of bases that others published, other sets of labels, and labels that are moved.

Beside a model on the same bases they say what its numbers are worth: what is known to be
possible, whether the labels are themselves made from such calls, and how much of a metric hangs
on where exactly a labelled stretch begins and ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from basewise.data.spans import read_spans
from basewise.errors import DataError
from basewise.types import Bools, Record, Span

__all__ = ["MOVES", "calls_in", "labels_of", "moved_labels", "read_calls"]

MOVES: Mapping[str, tuple[int, int]] = {
    "labels moved by 1 base": (1, 1),
    "labels 1 base longer": (0, 1),
    "labels 1 base shorter": (0, -1),
}
"""How far the start and the end of every labelled stretch are moved, by what that is called."""


def read_calls(path: str | Path, records: Sequence[Record]) -> list[Bools]:
    """Which bases of records lie in the regions of a BED file, (b,) each, along their strand.

    Raises
    ------
    DataError
        If a record has no locus, or the file has no region on any of their chromosomes, which
        may be named otherwise.
    """
    regions = read_spans(path)
    chroms = {record.locus.chrom for record in records if record.locus is not None}
    if not chroms & set(regions):
        raise DataError(
            f"{path} has no region on {', '.join(sorted(chroms)) or 'any place of the records'}; "
            f"its chromosomes are {', '.join(sorted(regions)[:5])}."
        )
    return calls_in(regions, records)


def calls_in(regions: Mapping[str, Sequence[Span]], records: Sequence[Record]) -> list[Bools]:
    """As `read_calls`, of regions by chromosome."""
    sorted_regions = {}
    for chrom, spans in regions.items():
        bounds = np.array([(start, end) for start, end, _ in spans]).reshape(-1, 2)
        order = np.argsort(bounds[:, 0], kind="stable")
        # Of regions that overlap, a later one may end before an earlier one.
        sorted_regions[chrom] = bounds[order], np.maximum.accumulate(bounds[order, 1])
    found = []
    for record in records:
        if record.locus is None:
            raise DataError(f"Record {record.id!r} has no place in a genome to look calls up at.")
        chrom, start, end, strand = record.locus
        called = np.zeros(end - start, bool)
        if chrom in sorted_regions:
            bounds, reached = sorted_regions[chrom]
            first = np.searchsorted(reached, start, side="right")
            stop = np.searchsorted(bounds[:, 0], end, side="left")
            for a, b in bounds[first:stop].tolist():
                called[max(a - start, 0) : max(b - start, 0)] = True
        found.append(called if strand == "+" else called[::-1])
    return found


def labels_of(records: Sequence[Record], label: str) -> list[Bools]:
    """Which bases of records have a label, (b,) each."""
    return moved_labels(records, label, (0, 0))


def moved_labels(records: Sequence[Record], label: str, by: tuple[int, int]) -> list[Bools]:
    """Which bases of records had the label if every stretch began and ended elsewhere, (b,) each.

    Parameters
    ----------
    by : (start, end)
        Bases that starts and ends move to the right.
    """
    found = []
    for record in records:
        flags = np.zeros(len(record.sequence), bool)
        for start, end, name in record.truth:
            if name == label:
                flags[max(start + by[0], 0) : max(end + by[1], 0)] = True
        found.append(flags)
    return found
