"""Sequences in which one thing varies: motifs of any letters, number, place and rule.

`MotifGrammar` plants short words into uniform random bases. A label is made by a *rule*, so the
bases that make it are known, and so is the likelihood of every sequence: what a model can know
at best is calculated, not estimated.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from basewise.errors import ConfigError, DataError
from basewise.registry import component
from basewise.sequence.alphabet import decode, decode_rows, encode, encode_rows
from basewise.types import Codes, Floats, Ints, Record, Span

__all__ = ["MotifGrammar"]

DECOY = "decoy"
PLANTED, OTHER = "motif", "background"
APART = (5, 10)  # bases by which the gap of the other class is wider, where spacing is the rule


class _Word(NamedTuple):
    """Letters that are planted together: parts by name, each so many bases after the first."""

    parts: tuple[tuple[str, int, str], ...]

    @property
    def width(self) -> int:
        return max(at + len(letters) for _, at, letters in self.parts)


class _Layout(NamedTuple):
    """How often each word stands in a sequence; `ordered`: the words in their order."""

    counts: Mapping[str, int]
    ordered: bool = False


@component
class MotifGrammar:
    """Uniform random bases with motifs planted by a rule; half of the records obey it.

    The sequence is cut into `slots` equal stretches, each of which holds one word at most,
    anywhere in it. Records that obey the rule are labelled `motif`, and their truth is the
    motifs; the others are labelled `background`:

    | rule | `motif` | `background` |
    |---|---|---|
    | `single` | `copies` of the motif | none |
    | `and` | A and B | only A, only B or neither |
    | `or` | only A, only B or both | neither |
    | `order` | A, and B after it | B, and A after it |
    | `spacing` | A, `gap` bases, B | A and B 5 or 10 bases further apart |

    Decoys stand in both classes alike and are no truth.

    Attributes
    ----------
    length : int
        Bases of each sequence.
    motif : str
        Letters `ACGT` of the motif (A where there are two); drawn where empty.
    width : int
        Bases of a motif that is drawn.
    purity : float
        Share of the bases of a drawn motif that are made A: 0 leaves the draw, 1 gives A only.
    draw : int
        Which motifs are drawn. With other draws the same except for their letters.
    mutation : float
        Share of planted motif bases that are replaced by another base.
    rule : str
    copies : int
        Of the motif, where the rule is `single`; 0: one in every slot.
    slots : int
        Stretches that hold one word each.
    regular : bool
        All words of a sequence at the same place in their slots: copies return after every
        `length / slots` bases exactly.
    jitter : int or None
        The motif stands in the middle of the sequence, up to so many bases off. None: anywhere
        in its slot.
    gap : int
        Bases between A and B, where spacing is the rule.
    decoys : int
        Of the motif with its bases shuffled, in records of both classes.
    """

    length: Annotated[int, Field(ge=10)] = 200
    motif: str = ""
    width: Annotated[int, Field(ge=2)] = 12
    purity: Annotated[float, Field(ge=0, le=1)] = 0.0
    draw: Annotated[int, Field(ge=0)] = 0
    mutation: Annotated[float, Field(ge=0, le=0.75)] = 0.0
    rule: Literal["single", "and", "or", "order", "spacing"] = "single"
    copies: Annotated[int, Field(ge=0)] = 1
    slots: Annotated[int, Field(ge=1)] = 1
    regular: bool = False
    jitter: Annotated[int, Field(ge=0)] | None = None
    gap: Annotated[int, Field(ge=0)] = 10
    decoys: Annotated[int, Field(ge=0)] = 0

    labels: ClassVar[tuple[str, str]] = (PLANTED, OTHER)
    tss: ClassVar[int | None] = None

    @field_validator("motif")
    @classmethod
    def _letters(cls, motif: str) -> str:
        if set(motif) - set("ACGT") or len(motif) == 1:
            raise ValueError("a motif is spelled in two or more letters of ACGT")
        return motif

    @model_validator(mode="after")
    def _fits(self) -> MotifGrammar:
        if self.rule != "single" and self.copies != 1:
            raise ValueError(f"copies = {self.copies} is for the rule 'single', not {self.rule!r}")
        if self.jitter is not None and (self.slots > 1 or self.rule not in ("single", "spacing")):
            raise ValueError("jitter is of one motif in the middle: with slots = 1 and rule single")
        most = max(sum(layout.counts.values()) for some in self._layouts() for layout in some)
        if most > self.slots:
            raise ValueError(f"{most} words need as many slots; slots = {self.slots}")
        widest = max(word.width for word in self._words().values())
        if (room := self._room()) < widest:
            raise ValueError(
                f"{widest} bases are planted together, and a slot has {room}: raise length or "
                "lower slots"
            )
        return self

    @property
    def motifs(self) -> dict[str, str]:
        """Letters of every motif, by the name that truth gives it."""
        first, second = self._drawn()
        return {"motif": first} if self.rule == "single" else {"A": first, "B": second}

    def make(self, n: int, seed: int) -> list[Record]:
        """`n` records, half of them obeying the rule, in random order; equal seeds, equal records.

        Labels are `motif` and `background`; the truth of the former are their motifs, by name.
        """
        if n < 0:
            raise ConfigError(f"n = {n}: how many records must be 0 or more.")
        rng = np.random.default_rng([seed, 4])
        codes = rng.integers(0, 4, (n, self.length)).astype(np.uint8)
        obeys = rng.permutation(n) % 2 == 0
        truth: list[list[Span]] = [[] for _ in range(n)]
        for layouts, rows, told in zip(
            self._layouts(), (np.flatnonzero(obeys), np.flatnonzero(~obeys)), (True, False),
            strict=True,
        ):  # fmt: skip
            chosen = rng.integers(0, len(layouts), len(rows))
            for i, layout in enumerate(layouts):
                own = rows[chosen == i]
                for name, starts in self._places(layout, len(own), rng):
                    self._plant(codes, own, starts, name, rng)
                    if told and name != DECOY:
                        self._tell(truth, own, starts, name)
        return [
            Record(
                id=f"{self.rule}-{seed}-{i}",
                sequence=sequence,
                label=PLANTED if yes else OTHER,
                truth=tuple(sorted(spans)),
            )
            for i, (sequence, yes, spans) in enumerate(
                zip(decode_rows(codes), obeys.tolist(), truth, strict=True)
            )
        ]

    def log_odds(self, sequences: Sequence[str], error: float = 0.01) -> Floats:
        """Log-odds of `motif`, (n,): what a model that knows the grammar says, by Bayes' rule.

        The likelihood of a sequence is that of its bases summed over every place in which the
        words may stand and over every way to obey the rule (or not to): exact, in closed form
        over places in a slot and by dynamic programming over slots. Unknown bases are
        averaged over.

        Parameters
        ----------
        sequences : sequence of str
            Of `length` bases each.
        error : float
            Share of either class without any word, which keeps the log-odds finite.

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
        codes = encode_rows(sequences)
        ratios = {name: self._ratios(codes, word) for name, word in self._words().items()}
        either = []
        for layouts in self._layouts():
            found = [self._likelihood(ratios, layout, len(codes)) for layout in layouts]
            mean = np.logaddexp.reduce(found, axis=0) - np.log(len(layouts))
            either.append(np.logaddexp(np.log1p(-error) + mean, np.log(error)))
        return np.asarray(either[0] - either[1])

    def _drawn(self) -> tuple[str, str]:
        """The letters of A and B; B is drawn alike."""
        rng = np.random.default_rng([self.draw, 5])
        width = len(self.motif) or self.width
        letters = rng.integers(0, 4, (2, width)).astype(np.uint8)
        letters[:, rng.permutation(width) < round(self.purity * width)] = 0
        return self.motif or decode(letters[0]), decode(letters[1])

    def _words(self) -> dict[str, _Word]:
        return _words(*self._drawn(), self.rule, self.gap, self.decoys > 0, self.draw)

    def _layouts(self) -> tuple[list[_Layout], list[_Layout]]:
        """Of the records that obey the rule, and of the others; each as likely as the next."""
        rules: dict[str, tuple[list[dict[str, int]], list[dict[str, int]]]] = {
            "single": ([{"motif": self.copies or self.slots}], [{}]),
            "and": ([{"A": 1, "B": 1}], [{"A": 1}, {"B": 1}, {}]),
            "or": ([{"A": 1}, {"B": 1}, {"A": 1, "B": 1}], [{}]),
            "order": ([{"A": 1, "B": 1}], [{"B": 1, "A": 1}]),
            "spacing": ([{"A..B": 1}], [{f"A..B+{more}": 1} for more in APART]),
        }
        obeying, others = rules[self.rule]
        decoys = {DECOY: self.decoys} if self.decoys else {}
        ordered = self.rule == "order"
        return (
            [_Layout({**counts, **decoys}, ordered) for counts in obeying],
            [_Layout({**counts, **decoys}, ordered) for counts in others],
        )

    def _room(self) -> int:
        """Bases of the shortest slot."""
        return self.length // self.slots

    def _starts(self, width: int) -> tuple[Ints, int]:
        """First place of a word in each slot, (s,), and how many places it has there."""
        if self.jitter is not None:
            middle = (self.length - width) // 2
            first = max(middle - self.jitter, 0)
            return np.array([first]), min(middle + self.jitter, self.length - width) - first + 1
        edges = np.arange(self.slots) * self.length // self.slots
        if self.regular:  # words of any width at the same place
            width = max(word.width for word in self._words().values())
        return edges, self._room() - width + 1

    def _places(
        self, layout: _Layout, n: int, rng: np.random.Generator
    ) -> Iterator[tuple[str, Ints]]:
        """Where the words of a layout go in n sequences: each with its starts, (n,)."""
        names = [name for name, count in layout.counts.items() for _ in range(count)]
        slots = rng.permuted(np.tile(np.arange(self.slots), (n, 1)), axis=1)[:, : len(names)]
        if layout.ordered:  # decoys come last in the list, so the first ones are in order
            own = sum(name != DECOY for name in names)
            slots[:, :own] = np.sort(slots[:, :own], axis=1)
        shared = rng.random(n)
        for i, name in enumerate(names):
            first, room = self._starts(self._words()[name].width)
            offsets = ((shared if self.regular else rng.random(n)) * room).astype(int)
            yield name, first[slots[:, i]] + offsets

    def _plant(
        self, codes: Codes, rows: Ints, starts: Ints, name: str, rng: np.random.Generator
    ) -> None:
        """Write a word into each row, (m,), from its start, (m,)."""
        for _, at, letters in self._words()[name].parts:
            for j, code in enumerate(encode(letters).tolist()):
                changed = rng.random(len(rows)) < self.mutation
                other = rng.integers(1, 4, len(rows))
                codes[rows, starts + at + j] = (code + changed * other) % 4

    def _tell(self, truth: list[list[Span]], rows: Ints, starts: Ints, name: str) -> None:
        for part, at, letters in self._words()[name].parts:
            for row, start in zip(rows.tolist(), (starts + at).tolist(), strict=True):
                truth[row].append(Span(start, start + len(letters), part))

    def _ratios(self, codes: Codes, word: _Word) -> Floats:
        """Log likelihood ratios of a word against random bases, (n, places, slots)."""
        same, other = np.log(4 * (1 - self.mutation)), _log(4 * self.mutation / 3)
        every = np.zeros((len(codes), self.length - word.width + 1))
        for _, at, letters in word.parts:
            for j, code in enumerate(encode(letters).tolist(), at):
                table = np.full(5, other)
                table[code], table[4] = same, 0.0
                every += table[codes[:, j : j + every.shape[1]]]
        first, room = self._starts(word.width)
        return every[:, first + np.arange(room)[:, None]]

    def _likelihood(self, ratios: Mapping[str, Floats], layout: _Layout, n: int) -> Floats:
        """Log likelihood ratio of a layout, (n,): the mean over all ways to place its words."""
        if not layout.counts:
            return np.zeros(n)
        own = [ratios[name] for name in layout.counts]
        if not self.regular:  # places in a slot are independent of those in others
            own = [_log_mean(each)[:, None] for each in own]
        counts = tuple(layout.counts.values())
        free = [name == DECOY or not layout.ordered for name in layout.counts]
        summed = _arranged(own, counts, free)
        ways = _arranged([np.zeros((1, self.slots)) for _ in own], counts, free)
        return _log_mean((summed - ways)[..., None])[:, 0]


@functools.cache
def _words(
    first: str, second: str, rule: str, gap: int, decoys: bool, draw: int
) -> dict[str, _Word]:
    """Every word that a record may hold, by name."""
    found = {"motif": _Word((("motif", 0, first),))}
    if rule != "single":
        found = {"A": _Word((("A", 0, first),)), "B": _Word((("B", 0, second),))}
    if rule == "spacing":
        found = {
            f"A..B{f'+{more}' if more else ''}": _Word(
                (("A", 0, first), ("B", len(first) + gap + more, second))
            )
            for more in (0, *APART)
        }
    if decoys:
        found[DECOY] = _Word(((DECOY, 0, _shuffled(first, draw)),))
    return found


def _shuffled(letters: str, draw: int) -> str:
    """The letters in another order, where there is one."""
    rng = np.random.default_rng([draw, 6])
    orders = ("".join(rng.permutation(list(letters))) for _ in range(1000))
    return next((found for found in orders if found != letters), letters)


def _arranged(ratios: list[Floats], counts: tuple[int, ...], free: list[bool]) -> Floats:
    """Log sum, over all ways to give words to slots, of the product of their ratios.

    Parameters
    ----------
    ratios : list of (..., s)
        Of each word in each of s slots, as logarithms.
    counts : tuple of int
        How many of each word are placed.
    free : list of bool
        Whether a word may stand anywhere, or only after all copies of the words before it.
    """
    shape = np.broadcast_shapes(*(each.shape[:-1] for each in ratios))
    none = np.full(shape, -np.inf)
    states = list(itertools.product(*(range(count + 1) for count in counts)))
    sums = dict.fromkeys(states, none) | {(0,) * len(counts): np.zeros(shape)}
    for slot in range(ratios[0].shape[-1]):
        for state in reversed(states):  # those with more words first: each slot takes one
            for word, count in enumerate(state):
                done = free[word] or state[:word] == counts[:word]
                if count and done:
                    before = (*state[:word], count - 1, *state[word + 1 :])
                    more = sums[before] + ratios[word][..., slot]
                    sums[state] = np.logaddexp(sums[state], more)
    return sums[counts]


def _log_mean(values: Floats) -> Floats:
    """Log of the mean of exponentials over the second axis of (n, m, ...)."""
    return np.asarray(np.logaddexp.reduce(values, axis=1) - np.log(values.shape[1]))


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else -np.inf
