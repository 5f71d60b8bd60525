"""What is switched on and off: disjoint stretches of a sequence.

Each component's verb is `spans(record, tokens) -> (u, 2) int`, 0-based half-open.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Protocol

import numpy as np
from pydantic import Field

from basewise.errors import CapabilityError, DataError
from basewise.registry import component
from basewise.types import Ints, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Bases", "TokenUnits", "Units", "Windows", "disjoint", "random_numbers", "tokens_of"]


class Units(Protocol):
    """Cuts a sequence into units."""

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        """Disjoint units, (u, 2)."""


@component
class Bases:
    """One unit per base."""

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        at = np.arange(len(record.sequence))
        return np.stack([at, at + 1], axis=1)


@component
class Windows:
    """Windows of `size` bases side by side; the last may be shorter."""

    size: Annotated[int, Field(ge=1)] = 10

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        length = len(record.sequence)
        starts = np.arange(0, length, self.size)
        return np.stack([starts, np.minimum(starts + self.size, length)], axis=1)


@component
class TokenUnits:
    """One unit per token that covers bases; refused where tokens overlap."""

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        spans = tokens.spans[tokens.spans[:, 1] > tokens.spans[:, 0]]
        if (spans[1:, 0] < spans[:-1, 1]).any():
            raise CapabilityError(
                f"The tokens of {record.id!r} overlap (k-mers with a stride below k), and hiding "
                "one hides nothing; use units='bases' or units='windows'."
            )
        return spans


def disjoint(units: Ints, record: Record) -> Ints:
    """The units themselves, (u, 2), in any order.

    Raises
    ------
    DataError
        If there are none, if one covers no base or bases the record lacks, or if two overlap.
    """
    length = len(record.sequence)
    if not len(units):
        raise DataError(f"Record {record.id!r} ({length} bases) has no units to switch off.")
    wrong = (units[:, 0] < 0) | (units[:, 0] >= units[:, 1]) | (units[:, 1] > length)
    if wrong.any():
        start, end = units[wrong][0]
        raise DataError(
            f"Record {record.id!r} has a unit from {start} to {end}; "
            f"units start before they end and lie within 0 to {length}."
        )
    ordered = units[np.argsort(units[:, 0], kind="stable")]
    if (ordered[1:, 0] < ordered[:-1, 1]).any():
        raise DataError(
            f"The units of record {record.id!r} overlap, so none can be switched off alone; "
            "use units='bases' or units='windows'."
        )
    return units


def tokens_of(model: Model, record: Record) -> Tokens:
    """The record's tokens; what is wrong with its sequence is said with its id."""
    try:
        tokens = model.tokenizer.encode(record.sequence)
    except DataError as error:
        raise DataError(f"Record {record.id!r}: {error}") from None
    model.check_length(len(tokens), len(record.sequence), record.id)
    return tokens


def random_numbers(seed: int, record_id: str, method: str) -> np.random.Generator:
    """The random numbers of one record and method, whatever stands beside it."""
    text = f"{seed}\n{method}\n{record_id}".encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))
