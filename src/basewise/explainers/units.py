"""What is switched on and off: disjoint stretches of a sequence.

Each component's verb is `spans(record, tokens) -> (u, 2) int`, 0-based half-open; its `rest`
says what becomes of the bases in none of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from basewise.errors import CapabilityError, DataError
from basewise.models.batch import check_bases
from basewise.registry import component
from basewise.types import Floats, Ints, Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "Bases",
    "Cut",
    "Rest",
    "TokenUnits",
    "Units",
    "Windows",
    "cut",
    "disjoint",
    "tokens_of",
]

Rest = Literal["one", "kept"]
"""What becomes of the bases in no unit: together they are `one` more, or they are always `kept`."""


class Units(Protocol):
    """Cuts a sequence into units."""

    @property
    def rest(self) -> Rest: ...

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        """Disjoint units, (u, 2)."""


@component
class Bases:
    """One unit per base."""

    rest: ClassVar[Rest] = "kept"

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        at = np.arange(len(record.sequence))
        return np.stack([at, at + 1], axis=1)


@component
class Windows:
    """Windows of `size` bases side by side; the last may be shorter.

    Attributes
    ----------
    size : int
        Bases of a window.
    """

    rest: ClassVar[Rest] = "kept"

    size: Annotated[int, Field(ge=1)] = 10

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        length = len(record.sequence)
        starts = np.arange(0, length, self.size)
        return np.stack([starts, np.minimum(starts + self.size, length)], axis=1)


@component
class TokenUnits:
    """One unit per token that covers bases; refused where tokens overlap."""

    rest: ClassVar[Rest] = "kept"

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        spans = tokens.spans[tokens.spans[:, 1] > tokens.spans[:, 0]]
        if (spans[1:, 0] < spans[:-1, 1]).any():
            raise CapabilityError(
                f"The tokens of {record.id!r} overlap (k-mers with a stride below k), and hiding "
                "one hides nothing; use units='bases' or units='windows'."
            )
        return spans


@dataclass(frozen=True, eq=False)
class Cut:
    """A sequence cut into units; only the rest of it may have several stretches.

    Attributes
    ----------
    spans : (s, 2) int
        Disjoint stretches.
    unit : (s,) int
        The unit of each; the rest is the last one.
    rest : bool
        Whether the last unit is the rest.
    """

    spans: Ints
    unit: Ints
    rest: bool

    @property
    def n_units(self) -> int:
        return int(self.unit.max()) + 1

    def shared(self, scores: Floats, kind: Kind) -> Floats:
        """Scores of units, (u,), on stretches, (s,).

        Stretches of one unit share its score by their numbers of bases, so the sum is kept;
        those of a rule are all in it or all outside.
        """
        if not self.rest or kind == "rule":
            return scores[self.unit]
        bases = (self.spans[:, 1] - self.spans[:, 0]).astype(float)
        found: Floats = (scores / np.bincount(self.unit, bases))[self.unit] * bases
        return found


def cut(units: Units, record: Record, tokens: Tokens) -> Cut:
    """The units of a record, in the order of the sequence where they have a rest.

    Raises
    ------
    DataError
        As `disjoint` does.
    """
    spans = disjoint(units.spans(record, tokens), record)
    if units.rest == "kept":
        return Cut(spans, np.arange(len(spans)), rest=False)
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    rest = np.stack([[0, *spans[:, 1]], [*spans[:, 0], len(record.sequence)]], axis=1)
    rest = rest[rest[:, 0] < rest[:, 1]]
    unit = np.minimum(np.arange(len(spans) + len(rest)), len(spans))
    stretches = np.concatenate([spans, rest])
    order = np.argsort(stretches[:, 0], kind="stable")
    return Cut(stretches[order], unit[order], rest=len(rest) > 0)


def disjoint(units: Ints, record: Record) -> Ints:
    """The units themselves, (u, 2), in any order.

    Raises
    ------
    DataError
        If there are none, if one covers no base or bases the record lacks, or if two overlap.
    """
    length = len(record.sequence)
    starts, ends = units[:, 0], units[:, 1]
    inside = len(units) and starts[0] >= 0 and ends[-1] <= length
    if inside and (starts < ends).all() and (starts[1:] >= ends[:-1]).all():
        return units  # as most come; the rest of this costs
    if not len(units):
        raise DataError(f"Record {record.id!r} ({length} bases) has no units to switch off.")
    wrong = (starts < 0) | (starts >= ends) | (ends > length)
    if wrong.any():
        start, end = units[wrong][0]
        raise DataError(
            f"Record {record.id!r} has a unit from {start} to {end}; "
            f"units start before they end and lie within 0 to {length}."
        )
    ordered = units[np.argsort(starts, kind="stable")]
    if (ordered[1:, 0] < ordered[:-1, 1]).any():
        raise DataError(
            f"The units of record {record.id!r} overlap, so none can be switched off alone; "
            "use units='bases' or units='windows'."
        )
    return units


def tokens_of(model: Model, record: Record) -> Tokens:
    """The record's tokens; what is wrong with its sequence is said with its id."""
    check_bases(record)
    if not record.sequence.strip("Nn"):
        raise DataError(
            f"Record {record.id!r} has no base that is known ({len(record.sequence)} N), so there "
            "is nothing to explain; leave it out."
        )
    try:
        tokens = model.tokenizer.encode(record.sequence)
    except DataError as error:
        raise DataError(f"Record {record.id!r}: {error}") from None
    model.check_length(len(tokens), len(record.sequence), record.id)
    return tokens
