"""Synthetic sequences whose signal is planted, so that the truth is known.

A grammar is a component with the verb `make(n, seed) -> list[Record]`; `Record.truth` are
the stretches that make the label what it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from basewise.errors import ConfigError, DataError
from basewise.registry import component
from basewise.sequence.alphabet import decode_rows, encode_rows
from basewise.types import Bools, Codes, Floats, Ints, Record, Span

__all__ = ["PromoterGrammar"]

_SLOT = 9  # bases set aside for a decoy: the longest element and some play
_IUPAC = {
    "A": (0,), "C": (1,), "G": (2,), "T": (3,), "W": (0, 3), "B": (1, 2, 3),
}  # fmt: skip


class _Element(NamedTuple):
    """A motif with its place: 0 is the base +1, and -1 the one before it."""

    name: str
    pattern: str
    start: int  # of the motif, relative to +1
    play: int  # how far the start may lie to either side
    window: tuple[int, int]  # bases within which the motif would count, half-open


# Patterns and places as in the review of Kadonaga 2012 (TATA), Vo ngoc et al. 2017 (human
# Inr, whose A is +1) and Bucher 1990 (GC box).
_ELEMENTS = (
    _Element("GC_box", "GGGCGG", -60, 12, (-164, 1)),
    _Element("TATA", "TATAWAW", -31, 2, (-35, -20)),
    _Element("Inr", "BBCABW", -3, 0, (-9, 9)),
)


@component
class PromoterGrammar:
    """Promoters that differ from non-promoters by where their elements stand, not by which.

    Each record of uniform random bases gets a GC box (start at -60, up to 12 off), a TATA
    box (-31, up to 2 off) and an Inr (A at +1), each with its own probability, at least
    `at_least` of them. In a promoter they stand in their places; in a non-promoter the same
    elements stand elsewhere. Both carry `decoys` further copies of each element elsewhere.
    So counts of k-mers say nothing, and positions everything. The truth of a promoter is
    its elements in place; a non-promoter has none. Half of the records are promoters.

    Attributes
    ----------
    length : int
        Bases of each sequence.
    tss : int
        0-based index of the base +1.
    gc_box, tata, inr : float
        Probability of each element, before the condition of `at_least`.
    at_least : int
        Elements that every record has.
    decoys : int
        Further copies of each element outside its window, in promoters too.
    """

    length: Annotated[int, Field(ge=20)] = 300
    tss: Annotated[int, Field(ge=0)] = 249
    gc_box: Annotated[float, Field(ge=0, le=1)] = 0.7
    tata: Annotated[float, Field(ge=0, le=1)] = 0.7
    inr: Annotated[float, Field(ge=0, le=1)] = 0.9
    at_least: Annotated[int, Field(ge=1, le=3)] = 2
    decoys: Annotated[int, Field(ge=0)] = 1

    @model_validator(mode="after")
    def _fits(self) -> PromoterGrammar:
        first = min(self.tss + element.start - element.play for element in _ELEMENTS)
        last = max(self.tss + e.start + e.play + len(e.pattern) for e in _ELEMENTS)
        if first < 0 or last > self.length:
            raise ValueError(
                f"the elements need bases {first} to {last} of {self.length}: "
                f"tss from {self.tss - first} to {self.length - last + self.tss} fits this length"
            )
        if sum(p > 0 for p in (self.gc_box, self.tata, self.inr)) < self.at_least:
            raise ValueError(f"at_least = {self.at_least} elements, but fewer have a probability")
        needed = 0
        for e in self._by_room():
            needed += 1 + self.decoys
            if (room := int(self._allowed()[e].sum())) < needed:
                raise ValueError(
                    f"{self.decoys} decoys of each element need more room: {_ELEMENTS[e].name} "
                    f"can stand at {room} places outside its window; raise length or lower decoys"
                )
        return self

    def make(self, n: int, seed: int) -> list[Record]:
        """`n` records, half of them promoters, in random order; equal seeds, equal records.

        Labels are `promoter` and `non-promoter`.
        """
        if n < 0:
            raise ConfigError(f"n = {n}: how many records must be 0 or more.")
        rng = np.random.default_rng(seed)
        codes = rng.integers(0, 4, (n, self.length)).astype(np.uint8)
        promoter = rng.permutation(n) % 2 == 0
        present = self._presence(n, rng)
        starts = np.stack(
            [self.tss + e.start + rng.integers(-e.play, e.play + 1, n) for e in _ELEMENTS], axis=1
        )
        self._plant_decoys(codes, present & ~promoter[:, None], rng)
        in_place = present & promoter[:, None]
        for e, element in enumerate(_ELEMENTS):
            rows = np.flatnonzero(in_place[:, e])
            _plant(codes, rows, starts[rows, e], element.pattern, rng)
        return [
            Record(
                id=f"promoter-{seed}-{i}",
                sequence=sequence,
                label="promoter" if positive else "non-promoter",
                truth=_truth(here, there),
            )
            for i, (sequence, positive, here, there) in enumerate(
                zip(
                    decode_rows(codes),
                    promoter.tolist(),
                    in_place.tolist(),
                    starts.tolist(),
                    strict=True,
                )
            )
        ]

    def log_odds(self, sequences: Sequence[str], error: float = 0.01) -> Floats:
        """Log-odds of `promoter` by the elements in their places, (n,): what a model that knows
        the grammar would say, so the best that explanations of one can be held against.

        The likelihood of the bases in every place an element may have, over that of uniform
        random bases, summed over places and over which elements there are. Decoys and elements
        elsewhere say nothing here. Unknown bases are averaged over.

        Parameters
        ----------
        sequences : sequence of str
            Of `length` bases each.
        error : float
            Share of promoters without any element, which keeps the log-odds finite.

        Raises
        ------
        DataError
            If a sequence has another length.
        """
        for sequence in sequences:
            if len(sequence) != self.length:
                raise DataError(
                    f"A sequence of {len(sequence)} bases; the grammar's have {self.length}."
                )
        letters = np.eye(5)[encode_rows(sequences)][..., :4]
        letters[letters.sum(2) == 0] = 0.25
        ratios = np.ones((len(sequences), len(_ELEMENTS)))
        for e, element in enumerate(_ELEMENTS):
            every = np.ones((len(sequences), 2 * element.play + 1))
            for j, letter in enumerate(element.pattern):
                at = self.tss + element.start - element.play + j
                allowed = letters[:, at : at + every.shape[1], list(_IUPAC[letter])]
                every *= 4 * allowed.mean(2)
            ratios[:, e] = every.mean(1)
        patterns, chance = self._patterns()
        likely = np.where(patterns, ratios[:, None], 1.0).prod(2) @ chance
        return np.asarray(np.log((1 - error) * likely + error))

    def _presence(self, n: int, rng: np.random.Generator) -> Bools:
        """Which elements each record has, (n, 3)."""
        patterns, chance = self._patterns()
        return patterns[rng.choice(len(patterns), n, p=chance)]

    def _patterns(self) -> tuple[Bools, Floats]:
        """Which elements there may be, (8, 3), and how likely: independent, given so many."""
        patterns = np.array(list(itertools.product([False, True], repeat=len(_ELEMENTS))))
        rates = np.array([self.gc_box, self.tata, self.inr])
        chance: Floats = np.where(patterns, rates, 1 - rates).prod(axis=1)
        chance[patterns.sum(axis=1) < self.at_least] = 0
        return patterns, chance / chance.sum()

    def _slots(self) -> Ints:
        """Starts of the places for decoys: clear of every place where an element may stand."""
        taken = np.zeros(self.length + 1, bool)
        taken[-1] = True
        for e in _ELEMENTS:
            taken[self.tss + e.start - e.play : self.tss + e.start + e.play + len(e.pattern)] = True
        found, at = [], 0
        while at + _SLOT <= self.length:
            if taken[at : at + _SLOT].any():
                at += int(np.flatnonzero(taken[at : at + _SLOT])[-1]) + 1
            else:
                found.append(at)
                at += _SLOT
        return np.array(found, np.int64)

    def _allowed(self) -> Bools:
        """Which slots, (3, s), lie outside the window of each element."""
        slots = self._slots() - self.tss
        return np.stack(
            [(slots + _SLOT <= e.window[0]) | (slots >= e.window[1]) for e in _ELEMENTS]
        )

    def _by_room(self) -> list[int]:
        """The elements, the one with the fewest slots first."""
        return np.argsort(self._allowed().sum(axis=1), kind="stable").tolist()  # type: ignore[no-any-return]

    def _plant_decoys(self, codes: Codes, misplaced: Bools, rng: np.random.Generator) -> None:
        """Copies outside the windows: `decoys` of each element, one more where misplaced."""
        slots, allowed = self._slots(), self._allowed()
        free = np.ones((len(codes), len(slots)), bool)
        for e in self._by_room():
            pattern = _ELEMENTS[e].pattern
            for copy in range(self.decoys + 1):
                wanted = np.ones(len(codes), bool) if copy else misplaced[:, e]
                rows = np.flatnonzero(wanted)
                draw = np.where(free[rows] & allowed[e], rng.random((len(rows), len(slots))), 2.0)
                chosen = draw.argmin(axis=1)
                free[rows, chosen] = False
                play = rng.integers(0, _SLOT - len(pattern) + 1, len(rows))
                _plant(codes, rows, slots[chosen] + play, pattern, rng)


def _plant(codes: Codes, rows: Ints, starts: Ints, pattern: str, rng: np.random.Generator) -> None:
    """Write an instance of an IUPAC pattern into each row, (m,), from its start, (m,)."""
    for shift, letter in enumerate(pattern):
        codes[rows, starts + shift] = rng.choice(_IUPAC[letter], len(rows))


def _truth(present: list[bool], starts: list[int]) -> tuple[Span, ...]:
    spans = [
        Span(start, start + len(element.pattern), element.name)
        for element, here, start in zip(_ELEMENTS, present, starts, strict=True)
        if here
    ]
    return tuple(sorted(spans))
