"""Explaining labels of bases: which regions of which record a target is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from basewise.errors import CapabilityError, DataError
from basewise.models.memory import memory_kept
from basewise.registry import Registry
from basewise.tokenize.labelling import runs
from basewise.types import Attribution, Record, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["check_some", "explain_in_place", "explain_regions", "regions_of"]


def regions_of(model: Model, records: Sequence[Record], target: Target) -> list[list[Target]]:
    """The targets of every record, each of one region, from left to right.

    Where a target is of no bases in particular, or of a region in numbers, it is the only one.

    Returns
    -------
    list of lists of Target
        Empty for a record in which nothing is predicted, or labelled, as `target.where` asks.

    Raises
    ------
    DataError
        If a region is not within a record.
    CapabilityError
        If the model does not label bases.
    """
    if target.where == "predicted":
        at = target.index(model.labels)
        places = [runs(found.argmax(1) == at).tolist() for found in model.predict_bases(records)]
    elif target.where == "labelled":
        places = [
            [(start, end) for start, end, name in record.truth if name == target.label]
            for record in records
        ]
    else:
        if target.where is not None:
            _check_within(target, records)
        return [[target]] * len(records)
    return [
        [replace(target, where=(int(start), int(end))) for start, end in found] for found in places
    ]


def explain_regions(
    explainer: Any,
    model: Model,
    records: Sequence[Record],
    target: Target,
    seed: int = 0,
    progress: Callable[[Attribution], None] | None = None,
) -> list[Attribution]:
    """What an explainer says of every region that a target is of; see `regions_of`.

    Records whose regions are the same numbers are explained together.

    Returns
    -------
    list of Attribution
        In the order of the records, and of the regions of each.

    Raises
    ------
    CapabilityError
        If memory runs out.
    """
    places = regions_of(model, records, target)
    found: dict[tuple[int, Target], Attribution] = {}
    having: dict[Target, list[int]] = {}
    for i, targets in enumerate(places):
        for each in dict.fromkeys(targets):
            having.setdefault(each, []).append(i)
    with memory_kept():
        for each, rows in having.items():
            own = [records[i] for i in rows]
            some = explain_in_place(explainer, model, own, each, seed, progress)
            found |= {(i, each): one for i, one in zip(rows, some, strict=True)}
    return [found[i, each] for i, targets in enumerate(places) for each in targets]


def explain_in_place(
    explainer: Any,
    model: Model,
    records: Sequence[Record],
    target: Target,
    seed: int = 0,
    progress: Callable[[Attribution], None] | None = None,
) -> list[Attribution]:
    """What an explainer says of records, each where it lies in a genome.

    They are explained one by one where the model reads tracks from files, whose values stay with
    the place while bases are changed; otherwise together.

    Raises
    ------
    CapabilityError
        If memory runs out.
    """
    found: list[Attribution] = []
    try:
        if model.tracks is None:
            found += explainer.explain(model, records, target, seed, progress)
            return found
        for record in records:
            found += explainer.explain(model.at(record), [record], target, seed, progress)
    except MemoryError as error:
        raise CapabilityError(
            f"{Registry.name_of(explainer)}: memory ran out ({' '.join(str(error).split())}); "
            "ask for fewer evaluations or samples, or larger units."
        ) from None
    return found


def check_some(found: Sequence[object], records: Sequence[Record], target: Target) -> None:
    """Refuse a target whose regions no record has.

    Raises
    ------
    DataError
        Saying how else to ask.
    """
    if records and not found:
        raise DataError(
            f"None of {len(records)} records has a {target.where} region of {target.label}, so "
            "there is nothing to explain; give a region in numbers, or leave it out."
        )


def _check_within(target: Target, records: Sequence[Record]) -> None:
    start, end = target.region
    for record in records:
        if not 0 <= start < end <= len(record.sequence):
            raise DataError(
                f"Record {record.id!r} has {len(record.sequence)} bases, and the target is read at "
                f"{start}-{end}; regions are 0-based, half-open and within the sequence."
            )
