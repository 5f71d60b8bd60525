"""Groups of records that must not be torn apart: near copies, and windows that overlap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from basewise.checks.near_duplicates import NearDuplicates, near_pairs
from basewise.checks.text import Text, turned
from basewise.types import Ints, Record

__all__ = ["clusters"]


def clusters(records: Sequence[Record], similarity: NearDuplicates | None = None) -> list[str]:
    """The cluster of every record, for `basewise.data.splits.split(..., by=clusters(...))`.

    Two records belong together where they are near duplicates (on either strand), equal, or
    overlap in the genome; and so do all that are joined by a chain of such pairs (single
    linkage).

    Parameters
    ----------
    similarity : NearDuplicates, optional
        Its `word`, `repeat` and `containment` say what near duplicates are.

    Returns
    -------
    n names
        Of the first record of each cluster.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    said = similarity or NearDuplicates()
    sequences = [record.sequence for record in records]
    text = Text.of(sequences)
    pairs = near_pairs(text, text, said.word, said.repeat)
    near = pairs.loc[pairs.containment >= said.containment, ["a", "b"]].to_numpy()
    links = np.concatenate([near, _equal(sequences), _overlapping(records)])
    n = len(records)
    graph = coo_array((np.ones(len(links), bool), tuple(links.T)), shape=(n, n))
    _, found = connected_components(graph, directed=False)
    _, first = np.unique(found, return_index=True)
    return [records[i].id for i in first[found].tolist()]


def _equal(sequences: Sequence[str]) -> Ints:
    """Each row with the first that has its sequence, on either strand, (n, 2)."""
    first: dict[str, int] = {}
    pairs = [
        (first.setdefault(min(pair), i), i)
        for i, pair in enumerate(zip(sequences, turned(list(sequences)), strict=True))
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _overlapping(records: Sequence[Record]) -> Ints:
    """Neighbours in the genome that share a base, (m, 2)."""
    placed = sorted(
        (record.locus.chrom, record.locus.start, record.locus.end, i)
        for i, record in enumerate(records)
        if record.locus is not None
    )
    pairs, furthest = [], ("", 0, -1)  # chromosome, end, row
    for chrom, start, end, i in placed:
        if furthest[0] == chrom and start < furthest[1]:
            pairs.append((furthest[2], i))
        if furthest[0] != chrom or end > furthest[1]:
            furthest = (chrom, end, i)
    return np.array(pairs, np.int64).reshape(-1, 2)
