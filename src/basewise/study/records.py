"""Which records are explained, and a digest of what records hold."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from basewise.evaluate.base_calls import labels_of
from basewise.tokenize.labelling import runs
from basewise.types import BACKGROUND, Record, Span, Target

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.study.study import Study

__all__ = ["called", "digest", "drawn", "read_of", "to_explain"]


def digest(records: Sequence[Record]) -> str:
    """A hash of everything the records hold."""
    found = hashlib.sha256()
    for r in records:
        found.update(f"{r.id}\t{r.sequence}\t{r.label}\t{r.locus}\t{r.truth}\n".encode())
    return found.hexdigest()[:16]


def to_explain(study: Study, test: Sequence[Record]) -> list[Record]:
    """The test records that are explained, drawn with the seed.

    Where the target is of each labelled region, they are these regions: each with its record's
    sequence and no other truth, and its place after the record's id. Where it is of each
    predicted one, models have to be trained first: until then labelled ones stand in, or the
    middles of records where none is labelled.
    """
    some = list(test)
    if isinstance(study.target.where, str):
        label = study.target.label
        some = [
            _region(record, span.start, span.end, label)
            for record in test
            for span in record.truth
            if span.name == label
        ] or [_region(r, len(r) // 2, len(r) // 2 + 1, label) for r in test]
    return drawn(some, study.about.explained, study.about.seed)


def called(models: Mapping[str, Model], test: Sequence[Record], label: str) -> list[Record]:
    """The regions that at least one model calls, each from its own threshold on, as records.

    So all models explain the same regions. What touches or overlaps is one. A record has the
    label where one of its bases is labelled, and is `background` where the call is wrong.
    """
    flags = [np.zeros(len(record), bool) for record in test]
    for model in models.values():
        at, threshold = model.labels.index(label), model.thresholds[label]
        for own, found in zip(flags, model.predict_bases(test), strict=True):
            own |= found[:, at] >= threshold
    regions = []
    for record, own, inside in zip(test, flags, labels_of(test, label), strict=True):
        for start, end in runs(own).tolist():
            true = label if inside[start:end].any() else BACKGROUND
            regions.append(replace(_region(record, start, end, label), label=true))
    return regions


def read_of(study: Study) -> Target:
    """The target as explainers are given it, with records that are regions."""
    target = study.target
    return replace(target, where="labelled") if target.where == "predicted" else target


def _region(record: Record, start: int, end: int, label: str) -> Record:
    return replace(record, id=f"{record.id}@{start}-{end}", truth=(Span(start, end, label),))


def drawn(records: list[Record], n: int, seed: int) -> list[Record]:
    """`n` of the records, in their order; all where 0 are asked for."""
    if n == 0 or n >= len(records):
        return records
    rows = np.random.default_rng([seed, 1]).permutation(len(records))[:n]
    return [records[i] for i in sorted(rows.tolist())]
