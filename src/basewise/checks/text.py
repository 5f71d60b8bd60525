"""Many sequences as one array, their words, and their agreement along a diagonal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from basewise.sequence.alphabet import N, encode, reverse_complement
from basewise.sequence.kmers import kmer_numbers
from basewise.types import Bools, Codes, Floats, Ints

__all__ = ["Agreement", "Text", "Words", "agreements", "turned"]

_CELLS = 4_000_000  # of the widest array held at once


class Words(NamedTuple):
    """Every k-mer of known bases: its number, its row and its position there, each (w,) int."""

    number: Ints
    row: Ints
    position: Ints


class Agreement(NamedTuple):
    """Some of the pairs that were compared, base by base.

    Attributes
    ----------
    part : slice
        Which of the p pairs.
    equal, both : (part, width) bool
        Where the two bases are known and equal, and where both sequences have a base.
    """

    part: slice
    equal: Bools
    both: Bools


@dataclass(frozen=True, eq=False)
class Text:
    """Sequences of any lengths laid end to end, one `N` between them.

    Attributes
    ----------
    codes : (sum of b + 1,) uint8
    start, length : (n,) int
        Where each sequence begins in `codes`, and its number of bases.
    """

    codes: Codes
    start: Ints
    length: Ints

    @classmethod
    def of(cls, sequences: Sequence[str]) -> Text:
        """Lay sequences end to end."""
        length = np.fromiter(map(len, sequences), np.int64, len(sequences))
        return cls(encode("N".join(sequences)), np.cumsum(length + 1) - length - 1, length)

    def reverse_complement(self) -> Text:
        """The other strand of every sequence; rows stay rows."""
        codes = np.asarray(reverse_complement(self.codes), np.uint8)
        return Text(codes, len(codes) - self.start - self.length, self.length)

    def rows(self, rows: Ints, width: int) -> Codes:
        """The first `width` bases of some sequences, (r, width), `N` beyond their ends."""
        t = np.arange(width)
        inside = t < self.length[rows, None]
        at = np.where(inside, self.start[rows, None] + t, 0)
        return np.where(inside, self.codes[at], np.uint8(N))

    def frequencies(self) -> Floats:
        """Shares of A, C, G and T among the known bases, (4,)."""
        counts = np.bincount(self.codes, minlength=N)[:N]
        return np.asarray(counts / max(counts.sum(), 1))

    def words(self, k: int) -> Words:
        """Every k-mer without `N`, k at most 31."""
        number = kmer_numbers(self.codes, k)
        at = np.flatnonzero(number >= 0)
        order = np.argsort(self.start)
        row = order[np.searchsorted(self.start[order], at, side="right") - 1]
        return Words(number[at], row, at - self.start[row])


def agreements(a: Text, i: Ints, b: Text, j: Ints, shift: Ints) -> Iterator[Agreement]:
    """Compare rows `i` of a with rows `j` of b without gaps, in parts that fit in memory.

    One part at least, empty where there are no pairs.

    Base t of `b[j]` is laid against base `t + shift` of `a[i]`; `i, j, shift` are (p,) int.
    """
    width = int(b.length[j].max(initial=0))
    step = max(1, _CELLS // max(width, 1))
    t = np.arange(width)
    for first in range(0, max(len(i), 1), step):
        part = slice(first, first + step)
        at = t + shift[part, None]
        both = (t < b.length[j[part], None]) & (at >= 0) & (at < a.length[i[part], None])
        left = a.codes[np.where(both, a.start[i[part], None] + at, 0)]
        right = b.codes[np.where(both, b.start[j[part], None] + t, 0)]
        yield Agreement(part, (left == right) & (left < N) & both, both)


def turned(sequences: Sequence[str]) -> list[str]:
    """The reverse complement of every sequence, in their order."""
    return str(reverse_complement("\n".join(sequences))).split("\n")[::-1]
