"""What is switched on and off: disjoint stretches of a sequence.

Each component's verb is `spans(record, tokens) -> (u, 2) int`, 0-based half-open.
"""

from __future__ import annotations

from typing import Annotated, Protocol

import numpy as np
from pydantic import Field

from basewise.errors import CapabilityError
from basewise.registry import component
from basewise.types import Ints, Record, Tokens

__all__ = ["Bases", "TokenUnits", "Units", "Windows"]


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
