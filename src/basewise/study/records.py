"""Which records are explained, and a digest of what records hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from basewise.types import Record

if TYPE_CHECKING:
    from basewise.study.study import Study

__all__ = ["digest", "drawn", "to_explain"]


def digest(records: Sequence[Record]) -> str:
    """A hash of everything the records hold."""
    found = hashlib.sha256()
    for r in records:
        found.update(f"{r.id}\t{r.sequence}\t{r.label}\t{r.locus}\t{r.truth}\n".encode())
    return found.hexdigest()[:16]


def to_explain(study: Study, test: Sequence[Record]) -> list[Record]:
    """The test records that are explained, drawn with the seed.

    Where the target is of each labelled region, they are these regions: each with its record's
    sequence and no other truth, and its place after the record's id.
    """
    some = list(test)
    if study.target.where == "labelled":
        some = [
            replace(record, id=f"{record.id}@{span.start}-{span.end}", truth=(span,))
            for record in test
            for span in record.truth
            if span.name == study.target.label
        ]
    return drawn(some, study.about.explained, study.about.seed)


def drawn(records: list[Record], n: int, seed: int) -> list[Record]:
    """`n` of the records, in their order; all where 0 are asked for."""
    if n == 0 or n >= len(records):
        return records
    rows = np.random.default_rng([seed, 1]).permutation(len(records))[:n]
    return [records[i] for i in sorted(rows.tolist())]
