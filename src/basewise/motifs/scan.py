"""Hits of motifs on sequences.

One kernel serves matrices and IUPAC patterns: sequences are laid end to end with unknown bases
between them, every motif becomes whole numbers per base, and a matrix product scores all words
against all motifs. Whole numbers below 2**24 are exact in single precision, so a hit is a hit on
every machine, and the p value of a matrix score is exact (see `pvalue`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from basewise.errors import DataError
from basewise.motifs.motif import Motif, letters_of
from basewise.motifs.pvalue import (
    STEPS_PER_BIT,
    UNIFORM,
    ScoreTable,
    check_background,
    integer_scores,
    pattern_probability,
    score_table,
)
from basewise.sequence.alphabet import encode
from basewise.types import Codes, Floats, Ints, Record

__all__ = ["HITS", "Found", "Scanner", "in_window", "scan"]

HITS = ("record_id", "motif", "start", "end", "strand", "score", "p")
"""Columns of a table of hits, one row per hit, ordered by record, start, motif and strand.

record_id, motif : str; start, end : int, 0-based half-open on the record as it is read;
strand : `+` as the motif is written, `-` its reverse complement; score : bits, log2 of the
word's probability under the motif over that under the background (a pattern's hits all score
-log2 p); p : probability that a random word of the background scores as much.
"""

_ONE_HOT = np.zeros((256, 4), np.float32)  # unknown bases have no channel
_ONE_HOT[:4] = np.eye(4, dtype=np.float32)
_WORDS = 16384  # per matrix product: the words and their scores stay in the cache
_ROWS = 64


class Found(NamedTuple):
    """Hits in laid-out codes: where each starts, and which row of the scanner it belongs to."""

    start: Ints
    row: Ints
    score: Ints


class _Row(NamedTuple):
    motif: int
    strand: str
    weights: Ints
    threshold: int


class _Group(NamedTuple):
    rows: Ints
    width: int
    weights: NDArray[np.float32]  # (4 * width, rows)
    threshold: NDArray[np.float32]


class Scanner:
    """Motifs made ready to be found.

    Parameters
    ----------
    motifs : sequence of Motif
        Of which none may share a name.
    p : float
        A word is a hit of a matrix when its score has at most this p value. Patterns match
        exactly, whatever `p` is.
    background : (4,) floats
        Probabilities of A, C, G, T that scores and p values refer to.

    Attributes
    ----------
    gap : int
        How many unknown bases must follow every sequence in the codes given to `find`.
    unreachable : tuple of str
        Motifs without hits because no word has a p value of `p` or less.
    """

    def __init__(
        self, motifs: Sequence[Motif], p: float = 1e-4, background: Sequence[float] = UNIFORM
    ):
        if not 0 < p <= 1:
            raise DataError(f"p is {p!r}; a hit's p value must lie in (0, 1], such as 1e-4.")
        names = [motif.name for motif in motifs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"Two motifs are named {twice[0]!r}; every name may be used once.")
        self.motifs = tuple(motifs)
        self.background = check_background(background)
        self.p = p
        self.gap = max((len(motif) for motif in motifs), default=0)
        self._tables = [
            None
            if motif.pattern
            else score_table(integer_scores(motif, self.background), self.background)
            for motif in motifs
        ]
        self._rows = list(self._compile())
        reached = {row.motif for row in self._rows}
        self.unreachable = tuple(n for i, n in enumerate(names) if i not in reached)
        self._groups = [self._pack(rows) for rows in self._batches()]
        self.motif_of_row = np.array([row.motif for row in self._rows], np.int64)
        self.strand_of_row = np.array([row.strand for row in self._rows], "U1")
        self._width_of_row = np.array([len(row.weights) for row in self._rows], np.int64)

    def _compile(self) -> Iterator[_Row]:
        for i, (motif, table) in enumerate(zip(self.motifs, self._tables, strict=True)):
            threshold = len(motif) if table is None else table.threshold(self.p)
            if threshold is None:
                continue
            weights = (
                letters_of(motif.pattern).astype(np.int64)
                if motif.pattern
                else integer_scores(motif, self.background)
            )
            yield _Row(i, "+", weights, threshold)
            if motif.strands == "both":
                # Scored as the word on the other strand, so A stands where the word has T.
                yield _Row(i, "-", weights[::-1, ::-1], threshold)

    def _batches(self) -> Iterator[list[int]]:
        by_width = sorted(range(len(self._rows)), key=lambda i: len(self._rows[i].weights))
        for begin in range(0, len(by_width), _ROWS):
            yield by_width[begin : begin + _ROWS]

    def _pack(self, rows: list[int]) -> _Group:
        width = max(len(self._rows[i].weights) for i in rows)
        weights = np.zeros((width, 4, len(rows)), np.float32)
        for column, i in enumerate(rows):
            weights[: len(self._rows[i].weights), :, column] = self._rows[i].weights
        threshold = np.array([self._rows[i].threshold for i in rows], np.float32)
        return _Group(np.array(rows), width, weights.reshape(4 * width, -1), threshold)

    def find(self, codes: Codes) -> Found:
        """Every hit in sequences laid end to end, each followed by `gap` unknown bases.

        A word with an unknown base is never a hit.
        """
        unknown = np.concatenate([[0], np.cumsum(codes >= 4, dtype=np.int64)])
        words = len(codes) - self.gap
        # The products are small: a second BLAS thread costs more in waiting than it brings.
        with threadpool_limits(1, user_api="blas"):
            found = [
                self._group(codes[begin : begin + _WORDS + self.gap], group, begin, unknown)
                for group in self._groups
                for begin in range(0, words, _WORDS)
            ]
        if not found:
            nothing = np.zeros(0, np.int64)
            return Found(nothing, nothing, nothing)
        return Found(*(np.concatenate(parts) for parts in zip(*found, strict=True)))

    def _group(self, codes: Codes, group: _Group, begin: int, unknown: Ints) -> Found:
        words = min(_WORDS, len(codes) - self.gap)
        one_hot = _ONE_HOT[codes[: words + group.width - 1]]
        windows = np.lib.stride_tricks.as_strided(
            one_hot,
            (words, 4 * group.width),
            (4 * one_hot.itemsize, one_hot.itemsize),
            writeable=False,
        )
        scores = np.ascontiguousarray(windows) @ group.weights
        hit = np.flatnonzero(scores >= group.threshold)
        score = scores.ravel()[hit].astype(np.int64)
        start, column = np.divmod(hit, len(group.rows))
        start += begin
        row = group.rows[column]
        known = unknown[start + self._width_of_row[row]] == unknown[start]
        return Found(start[known], row[known], score[known])

    def read(self, found: Found) -> tuple[Floats, Floats]:
        """Scores in bits and p values of hits."""
        bits, p = np.empty(len(found.row)), np.empty(len(found.row))
        motif_of_hit = self.motif_of_row[found.row]
        order = np.argsort(motif_of_hit, kind="stable")
        ends = np.searchsorted(motif_of_hit[order], np.arange(len(self.motifs) + 1))
        for i, motif in enumerate(self.motifs):
            rows = order[ends[i] : ends[i + 1]]
            table: ScoreTable | None = self._tables[i]
            if table is None:
                p[rows] = pattern_probability(motif.pattern or "", self.background)
                bits[rows] = -np.log2(p[rows])
            else:
                p[rows] = table.p_value(found.score[rows])
                bits[rows] = found.score[rows] / STEPS_PER_BIT
        return bits, p

    def scan(self, records: Sequence[Record]) -> pd.DataFrame:
        """Every hit on every record; see the function `scan`."""
        if self.unreachable:
            raise DataError(
                f"No word of {len(self.unreachable)} of {len(self.motifs)} motifs has a p value of "
                f"{self.p:g} or less (the first is {self.unreachable[0]!r}); raise p or leave them "
                "out."
            )
        gap = "N" * self.gap
        found = self.find(encode("".join(record.sequence + gap for record in records)))
        first = np.cumsum([0, *(len(record) + self.gap for record in records)])
        record = np.searchsorted(first, found.start, side="right") - 1
        start = found.start - first[record]
        motif = self.motif_of_row[found.row]
        strand = self.strand_of_row[found.row]
        bits, p_values = self.read(found)
        order = np.lexsort((strand, motif, start, record))
        width = np.array([len(m) for m in self.motifs], np.int64)
        ids = np.array([record.id for record in records], object)
        names = np.array([m.name for m in self.motifs], object)
        return pd.DataFrame(
            {
                "record_id": pd.Series(ids[record[order]], dtype=str),
                "motif": pd.Series(names[motif[order]], dtype=str),
                "start": start[order],
                "end": (start + width[motif])[order],
                "strand": pd.Series(strand[order], dtype=str),
                "score": bits[order],
                "p": p_values[order],
            }
        )


def scan(
    records: Sequence[Record],
    motifs: Sequence[Motif],
    *,
    p: float = 1e-4,
    background: Sequence[float] = UNIFORM,
) -> pd.DataFrame:
    """Every hit of every motif, wherever it lies; `in_window` keeps those in their window.

    Parameters
    ----------
    records : sequence of Record
        Of any lengths.
    motifs : sequence of Motif
        Matrices hit where their score has a p value of at most `p`, patterns where they match.
        A motif of both strands that equals its reverse complement hits twice at one place.
    p : float
        Per word and strand, not corrected for the number of words.
    background : (4,) floats
        Probabilities of A, C, G, T that the p values refer to.

    Returns
    -------
    DataFrame
        With the columns of `HITS`.

    Raises
    ------
    DataError
        If a matrix is too short or too weak for any word to have a p value of `p` or less.
    """
    return Scanner(motifs, p, background).scan(records)


def in_window(hits: pd.DataFrame, motifs: Sequence[Motif], tss: int) -> pd.DataFrame:
    """The hits that lie wholly in their motif's window; those of motifs without one all stay.

    Parameters
    ----------
    hits : DataFrame
        With the columns of `HITS`.
    tss : int
        0-based index of the +1 base.
    """
    spans = {m.name: m.window.span(tss) for m in motifs if m.window is not None}
    first = hits["motif"].map({name: span.start for name, span in spans.items()}).astype(float)
    last = hits["motif"].map({name: span.end for name, span in spans.items()}).astype(float)
    outside = (hits["start"] < first) | (hits["end"] > last)
    return hits[~outside].reset_index(drop=True)
