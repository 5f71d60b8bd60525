"""How many evaluations an explainer will need: each says so itself, beside its settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Count", "at_most", "exactly"]


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
