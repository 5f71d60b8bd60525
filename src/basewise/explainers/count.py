"""How many evaluations an explainer will need: each says so itself, beside its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from basewise.models.model import Model
    from basewise.types import Record

__all__ = ["Costed", "Count", "at_most", "costs", "exactly"]


@dataclass(frozen=True)
class Count:
    """So many evaluations, known before any is made.

    Attributes
    ----------
    number : int
    exact : bool
        Whether it will be this number; otherwise it is the most there can be.
    """

    number: int
    exact: bool

    def times(self, factor: int) -> Count:
        """What each costs where each costs so many rows."""
        return Count(self.number * factor, self.exact)

    @classmethod
    def total(cls, counts: Iterable[Count]) -> Count:
        """All of them together; exact if each is."""
        every = list(counts)
        return cls(sum(each.number for each in every), all(each.exact for each in every))

    def __str__(self) -> str:
        return f"{self.number:,}" if self.exact else f"at most {self.number:,}"


def exactly(number: int) -> Count:
    """A count that is known."""
    return Count(number, True)


def at_most(number: int) -> Count:
    """An upper bound."""
    return Count(number, False)


class Costed(Protocol):
    """Says what it costs: every explainer."""

    def cost(self, model: Model, record: Record) -> Count: ...


def costs(explainer: Costed, model: Model, records: Sequence[Record]) -> list[Count]:
    """What explaining each record will cost.

    The longest is asked for first: it needs the largest budget, so who gives what a refusal asks
    for is not refused again.

    Raises
    ------
    BasewiseError
        As explaining the records would.
    """
    if records:
        explainer.cost(model, max(records, key=len))
    return [explainer.cost(model, record) for record in records]
