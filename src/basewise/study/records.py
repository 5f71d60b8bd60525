"""Which records are explained, and a digest of what records hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from basewise.types import Record

__all__ = ["digest", "drawn"]


def digest(records: Sequence[Record]) -> str:
    """A hash of everything the records hold."""
    found = hashlib.sha256()
    for r in records:
        found.update(f"{r.id}\t{r.sequence}\t{r.label}\t{r.locus}\t{r.truth}\n".encode())
    return found.hexdigest()[:16]


def drawn(records: list[Record], n: int, seed: int) -> list[Record]:
    """`n` of the records, in their order; all where 0 are asked for."""
    if n == 0 or n >= len(records):
        return records
    rows = np.random.default_rng([seed, 1]).permutation(len(records))[:n]
    return [records[i] for i in sorted(rows.tolist())]
