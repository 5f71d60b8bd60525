"""What a motif is, and where biology expects it.

Biological positions count from the transcription start site (TSS): +1 is the first base
transcribed, -1 the base before it, and **there is no position 0**. Sequences are indexed from
0, so the TSS is given as the index of the +1 base (`tss`): 249 in a 300-bp promoter that reads
from -249 to +51.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from basewise.errors import DataError
from basewise.picture.axis import index_of
from basewise.types import Bools, Floats, Record, Span

__all__ = [
    "IUPAC",
    "Motif",
    "Strands",
    "Window",
    "check_tss",
    "letters_of",
]

Strands = Literal["+", "both"]

IUPAC = {
    "A": "A",
    "C": "C",
    "G": "G",
    "T": "T",
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
"""Nucleotide codes (IUPAC-IUB 1984) and the bases each stands for."""

_COMPLEMENT = str.maketrans("ACGTRYSWKMBDHVN", "TGCAYRSWMKVHDBN")


class Window(NamedTuple):
    """Biological positions, both ends included, that a whole hit must lie in."""

    first: int
    last: int

    def span(self, tss: int) -> Span:
        """The window as a 0-based half-open span; it may reach beyond the sequence."""
        return Span(index_of(self.first, tss), index_of(self.last, tss) + 1)

    def __str__(self) -> str:
        return f"{self.first:+d}..{self.last:+d}"


@dataclass(frozen=True, eq=False)
class Motif:
    """A short pattern of bases.

    Attributes
    ----------
    name : str
        Unique within a panel or library.
    matrix : (w, 4) float
        Probability of A, C, G, T at each position; rows sum to 1.
    source : str
        Where the motif is published.
    window : Window or None
        Where a whole hit must lie relative to the TSS; None is anywhere.
    strands : {'+', 'both'}
        Whether the motif is read along the sequence only, or in both orientations.
    pattern : str or None
        IUPAC letters. Where there is one, a hit is an exact match and `matrix` only draws it.

    Raises
    ------
    DataError
        If the matrix is not one of probabilities, or the window is too short for it.
    """

    name: str
    matrix: Floats
    source: str = ""
    window: Window | None = None
    strands: Strands = "both"
    pattern: str | None = None

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, float)
        if matrix.ndim != 2 or matrix.shape[1] != 4 or not len(matrix):
            raise DataError(
                f"Motif {self.name!r}: the matrix has shape {matrix.shape}; "
                "it needs (width, 4), the columns being A, C, G, T."
            )
        bad = np.flatnonzero(~(np.isclose(matrix.sum(1), 1, atol=1e-2) & (matrix >= 0).all(1)))
        if len(bad):
            row = ", ".join(f"{value:g}" for value in matrix[bad[0]])
            raise DataError(
                f"Motif {self.name!r}: row {bad[0] + 1} of {len(matrix)} is {row}; "
                "it needs four probabilities that sum to 1 (counts: use Motif.from_counts)."
            )
        if self.strands not in ("+", "both"):
            raise DataError(
                f"Motif {self.name!r}: strands is {self.strands!r}; it must be '+' or 'both'."
            )
        matrix /= matrix.sum(1, keepdims=True)
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        if self.window is not None:
            window = Window(*self.window)
            span = window.span(0)
            if span.end - span.start < len(matrix):
                raise DataError(
                    f"Motif {self.name!r} is {len(matrix)} bases wide; "
                    f"its window {window} holds {max(span.end - span.start, 0)}."
                )
            object.__setattr__(self, "window", window)

    @classmethod
    def from_iupac(
        cls,
        name: str,
        pattern: str,
        source: str = "",
        window: tuple[int, int] | None = None,
        strands: Strands = "both",
    ) -> Motif:
        """A motif whose hits match `pattern` exactly, such as `TATAWAW`.

        Raises
        ------
        DataError
            If a letter is not an IUPAC code.
        """
        pattern = pattern.upper()
        letters = letters_of(pattern, name)
        return cls(
            name,
            letters / letters.sum(1, keepdims=True),
            source,
            None if window is None else Window(*window),
            strands,
            pattern,
        )

    @classmethod
    def from_counts(
        cls,
        name: str,
        counts: ArrayLike,
        source: str = "",
        window: tuple[int, int] | None = None,
        strands: Strands = "both",
    ) -> Motif:
        """A motif from how often A, C, G, T were seen at each position, (w, 4).

        Raises
        ------
        DataError
            If a position was never seen.
        """
        counts = np.asarray(counts, float)
        if counts.ndim == 2 and not (counts.sum(1) > 0).all():
            row = int(np.flatnonzero(~(counts.sum(1) > 0))[0])
            raise DataError(
                f"Motif {name!r}: the counts of row {row + 1} sum to {counts[row].sum():g}."
            )
        return cls(
            name,
            counts / counts.sum(-1, keepdims=True),
            source,
            None if window is None else Window(*window),
            strands,
        )

    def __len__(self) -> int:
        return len(self.matrix)

    def __repr__(self) -> str:
        what = self.pattern or f"{len(self)} bases"
        return f"Motif({self.name!r}, {what}, {self.where}, strands={self.strands!r})"

    @property
    def where(self) -> str:
        """The window in words, such as `-35..-20` or `anywhere`."""
        return "anywhere" if self.window is None else str(self.window)

    def reverse_complement(self) -> Motif:
        """The motif as the other strand carries it, without its window."""
        pattern = None if self.pattern is None else self.pattern.translate(_COMPLEMENT)[::-1]
        return Motif(self.name, self.matrix[::-1, ::-1], self.source, None, self.strands, pattern)


def letters_of(pattern: str, name: str = "") -> Bools:
    """Which of A, C, G, T each letter of an IUPAC pattern allows, (w, 4)."""
    wrong = sorted(set(pattern) - set(IUPAC))
    if wrong or not pattern:
        found = f"holds {', '.join(map(repr, wrong))}" if wrong else "is empty"
        raise DataError(
            f"Motif {name!r}: the pattern {pattern!r} {found}; IUPAC letters are {''.join(IUPAC)}."
        )
    return np.array([[base in IUPAC[letter] for base in "ACGT"] for letter in pattern])


def check_tss(records: Sequence[Record], motifs: Sequence[Motif], tss: int | None) -> None:
    """Refuse windows without a TSS, and a TSS that is no base of some record.

    Raises
    ------
    DataError
        In one line, naming the motif or the record.
    """
    if tss is None:
        for motif in motifs:
            if motif.window is not None:
                raise DataError(
                    f"Motif {motif.name!r} belongs at {motif.window} of the TSS; "
                    "give tss, the 0-based index of the +1 base."
                )
        return
    for record in records:
        if not 0 <= tss < len(record):
            raise DataError(
                f"The TSS (index {tss}) lies outside record {record.id!r} of {len(record)} bases; "
                f"tss is the 0-based index of the +1 base, 0 to {len(record) - 1}."
            )
