"""What is changed where: orders of hits that are no hits, control stretches, motifs written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from basewise.biology.contrasts import covered, laid, places, sliding
from basewise.biology.enrichment import MINIMUM
from basewise.errors import DataError
from basewise.motifs.motif import Motif, check_tss
from basewise.motifs.scan import Scanner
from basewise.sequence.alphabet import N
from basewise.types import Bools, Codes, Ints, Record

__all__ = ["Edits", "Insertion", "Planner", "Removal"]

_CONTROLS = 5  # per hit and null
_HITS = 3  # of a motif in one sequence
_TRIES = 48  # orders drawn for a stretch, from which the edits are chosen


class Removal(NamedTuple):
    """Stretches of a motif that are reordered: hits first, then controls of both nulls."""

    row: Ints
    start: Ints
    hits: int
    edits: slice
    evaluations: int


class Insertion(NamedTuple):
    """Sequences that a motif is written into, (s,), each several times, and so are shuffles."""

    row: Ints
    edits: slice
    shuffles: slice
    evaluations: int


class Edits:
    """Words to be written over stretches of sequences, as they are taken down."""

    def __init__(self) -> None:
        self._row: list[Ints] = []
        self._start: list[Ints] = []
        self._words: list[Codes] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, row: Ints, start: Ints, words: Codes) -> slice:
        """Take down edits, (k, m, w) words; the place of their values, in this order."""
        k, m, _ = words.shape
        self._row.append(np.repeat(row, m))
        self._start.append(np.repeat(start, m))
        self._words.append(words.reshape(k * m, words.shape[2]))
        self._count += k * m
        return slice(self._count - k * m, self._count)

    def laid(self) -> tuple[Ints, Ints, Codes]:
        """Sequence (k,), start (k,) and word (k, w) of each; shorter words end in N."""
        words = np.full((self._count, max(w.shape[1] for w in self._words)), N, np.uint8)
        at = 0
        for some in self._words:
            words[at : at + len(some), : some.shape[1]] = some
            at += len(some)
        return np.concatenate(self._row), np.concatenate(self._start), words


class Planner:
    """Sequences and motifs: where hits are, and which edits show what they do.

    Parameters
    ----------
    sequences, draws, p, background, tss
        As for `basewise.biology.interventions.knock_out`.
    gc_tolerance : float
        By which share of a motif's width the G+C of a control may differ.
    """

    def __init__(
        self,
        records: Sequence[Record],
        motifs: Sequence[Motif],
        tss: int | None,
        sequences: int,
        draws: int,
        p: float,
        background: Sequence[float],
        gc_tolerance: float = 0.0,
    ):
        if not records:
            raise DataError("There are no records to edit; give some sequences.")
        for name, value, least in (("sequences", sequences, MINIMUM), ("draws", draws, 1)):
            if value < least:
                raise DataError(f"{name} is {value}; at least {least} are needed.")
        check_tss(records, motifs, tss)
        self.motifs, self.gc_tolerance = tuple(motifs), gc_tolerance
        self.tss, self.sequences, self.draws = tss, sequences, draws
        self.codes = laid(records)
        names = [record.label if isinstance(record.label, str) else "" for record in records]
        _, label = np.unique(names, return_inverse=True)
        self.label: Ints = label
        self.scanner = Scanner(motifs, p, background)
        self._single = {
            i: Scanner([motif], p, background)
            for i, motif in enumerate(self.motifs)
            if motif.name not in self.scanner.unreachable
        }
        row, start, motif_of_hit = places(self.codes, self.scanner)
        self._hits = [
            (row[motif_of_hit == i], start[motif_of_hit == i]) for i in range(len(self.motifs))
        ]
        self.edits = Edits()

    def removal(self, i: int, rng: np.random.Generator) -> Removal:
        """Choose hits of a motif and their controls, and how each is reordered."""
        width, (row, start) = len(self.motifs[i]), self.inside(i)
        nothing = np.zeros(0, np.int64)
        if width > self.codes.shape[1] or not len(row):
            return Removal(nothing, nothing, 0, slice(0, 0), 0)
        row, start = _few(row, start, self.sequences, rng)
        words, moved = self._reordered(i, row, start, rng)
        row, start, words = row[moved > 0], start[moved > 0], words[moved > 0]
        hits = len(row)
        control_row, control_start = self._controls(i, row, start, rng)
        aim = np.round(moved[moved > 0].mean()) if hits else 0
        others, moved = self._reordered(i, control_row, control_start, rng, aim)
        row = np.concatenate([row, control_row[moved > 0]])
        start = np.concatenate([start, control_start[moved > 0]])
        words = np.concatenate([words, others[moved > 0]])
        edits = self.edits.add(row, start, words)
        return Removal(row, start, hits, edits, words.shape[0] * words.shape[1])

    def insertion(self, i: int, at: int | None, rng: np.random.Generator) -> Insertion:
        """Choose sequences without a motif, a place in each, and what is written there."""
        width, (n, longest) = len(self.motifs[i]), self.codes.shape
        nothing = np.zeros(0, np.int64)
        first, last = self._window(i)
        if at is not None:
            first, last = at, at + width
            if not 0 <= first <= longest - width:
                raise DataError(
                    f"{self.motifs[i].name!r} of {width} bases does not fit at {at} of any record; "
                    f"the longest has {longest} bases."
                )
        lacking = np.ones(n, bool)
        lacking[self.inside(i)[0]] = False
        if width > longest or i not in self._single:
            return Insertion(nothing, slice(0, 0), slice(0, 0), 0)
        room = sliding(self.codes >= N, width) == 0
        room[:, : max(first, 0)] = False
        room[:, max(last - width + 1, 0) :] = False
        rows = np.flatnonzero(lacking & room.any(1))
        rows = np.sort(rng.permutation(rows)[: self.sequences])
        start = np.where(room[rows], rng.random((len(rows), room.shape[1])), -1).argmax(1)
        words = self._instances(i, (len(rows), self.draws), rng)
        row, start = np.repeat(rows, self.draws), np.repeat(start, self.draws)
        words = words.reshape(len(row), width)
        other, moved = self._reordered(i, row, start, rng, words=words)
        whole = (moved > 0).reshape(-1, self.draws).all(1)
        keep = np.repeat(whole, self.draws)
        edits = self.edits.add(row[keep], start[keep], words[keep][:, None])
        shuffles = self.edits.add(row[keep], start[keep], other[keep][:, :1])
        return Insertion(rows[whole], edits, shuffles, 2 * int(keep.sum()))

    def _window(self, i: int) -> tuple[int, int]:
        motif = self.motifs[i]
        if motif.window is None or self.tss is None:
            return 0, self.codes.shape[1]
        first, last, _ = motif.window.span(self.tss)
        return first, last

    def inside(self, i: int) -> tuple[Ints, Ints]:
        """The hits of a motif that lie in its window."""
        (row, start), (first, last) = self._hits[i], self._window(i)
        inside = (start >= first) & (start + len(self.motifs[i]) <= last)
        return row[inside], start[inside]

    def free(self, i: int) -> tuple[Bools, Ints]:
        """Which stretches are known and touch no hit of a motif, and their G+C, (n, s)."""
        width, (row, start) = len(self.motifs[i]), self._hits[i]
        hit = np.zeros(self.codes.shape, bool)
        hit[row, start] = True
        free = sliding(covered(hit, width) | (self.codes >= N), width) == 0
        gc = sliding((self.codes == 1) | (self.codes == 2), width).astype(np.int64)
        return free, gc

    def _controls(
        self, i: int, row: Ints, start: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Ints]:
        """Stretches without the motif beside each hit, and at its place in other sequences."""
        free, gc = self.free(i)
        without = np.ones(len(free), bool)
        without[self.inside(i)[0]] = False
        at, tolerance = np.arange(free.shape[1]), self.tolerance(i)
        found = []
        for r, s in zip(row, start, strict=True):
            other = np.abs(gc[r] - gc[r, s])
            alike = np.flatnonzero(free[r] & (other <= tolerance))
            nearest = alike[np.lexsort([np.abs(at[alike] - s), other[alike]])[:_CONTROLS]]
            found.append(np.column_stack([np.full(len(nearest), r), nearest]))
        # Hits of one place, class and G+C share their controls, as many as if each had its own.
        cells = np.column_stack([self.label[row], start, gc[row, start]])
        for (label, s, content), count in zip(
            *np.unique(cells, axis=0, return_counts=True), strict=True
        ):
            other = np.abs(gc[:, s] - content)
            alike = free[:, s] & without & (self.label == label) & (other <= tolerance)
            some = rng.permutation(np.flatnonzero(alike))
            some = some[np.argsort(other[some], kind="stable")[: _CONTROLS * count]]
            found.append(np.column_stack([some, np.full(len(some), s)]))
        both = np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, 2), np.int64)
        return both[:, 0], both[:, 1]

    def tolerance(self, i: int) -> int:
        return int(self.gc_tolerance * len(self.motifs[i]))

    def _reordered(
        self,
        i: int,
        row: Ints,
        start: Ints,
        rng: np.random.Generator,
        aim: float | None = None,
        words: Codes | None = None,
    ) -> tuple[Codes, Ints]:
        """Letters of stretches in other orders that are no hit there, (k, draws, w).

        `words` stand for the bases of the stretches where given. With an aim, the orders that
        change most nearly so many letters. Also how many letters change, (k,), in the mean over
        draws rounded up; 0 where no order will do.
        """
        width = len(self.motifs[i])
        if words is None:
            words = self.codes[row[:, None], start[:, None] + np.arange(width)]
        k = len(words)
        drawn = rng.permuted(np.repeat(words[:, None], _TRIES, axis=1), axis=2)
        moved = (drawn != words[:, None]).sum(2)
        fit = (moved > 0) & ~self._hit_by(i, row, start, drawn)
        rank = np.where(fit, np.arange(_TRIES) if aim is None else np.abs(moved - aim), np.inf)
        best = np.argsort(rank, axis=1, kind="stable")[:, : self.draws]
        count = np.maximum(fit.sum(1), 1)
        best = np.take_along_axis(
            best, np.arange(self.draws) % np.minimum(count, best.shape[1])[:, None], 1
        )
        chosen = np.take_along_axis(drawn, best[:, :, None], 1)
        changed = np.ceil(np.take_along_axis(moved, best, 1).mean(1)).astype(np.int64)
        return chosen, np.where(fit.any(1), changed, 0) if k else np.zeros(0, np.int64)

    def _hit_by(self, i: int, row: Ints, start: Ints, words: Codes) -> Bools:
        """Whether each of the words, (k, m, w), written at its place, makes a hit there, (k, m)."""
        (k, m, width), scanner = words.shape, self._single[i]
        if not k:
            return np.zeros((k, m), bool)
        around = np.pad(self.codes, ((0, 0), (width - 1, width - 1)), constant_values=N)
        context = around[row[:, None], start[:, None] + np.arange(3 * width - 2)]
        context = np.repeat(
            np.pad(context, ((0, 0), (0, scanner.gap)), constant_values=N)[:, None], m, 1
        )
        context[:, :, width - 1 : 2 * width - 1] = words
        found = np.zeros((k, m), bool)
        found.ravel()[scanner.find(context.ravel()).start // context.shape[2]] = True
        return found

    def _instances(self, i: int, shape: tuple[int, int], rng: np.random.Generator) -> Codes:
        """Words of the motif that are hits, (n, draws, w); the consensus where none was drawn."""
        motif, scanner = self.motifs[i], self._single[i]
        edges = np.cumsum(motif.matrix, axis=1)[:, :3]
        count = shape[0] * shape[1]
        uniform = rng.random((_TRIES, count, len(motif)))
        drawn: Codes = (uniform[..., None] > edges).sum(-1).astype(np.uint8)
        apart = np.pad(drawn, ((0, 0), (0, 0), (0, scanner.gap)), constant_values=N)
        hit = np.zeros((_TRIES, count), bool)
        hit.ravel()[scanner.find(apart.ravel()).start // apart.shape[2]] = True
        words: Codes = drawn[hit.argmax(0), np.arange(count)]
        words[~hit.any(0)] = motif.matrix.argmax(1)
        return words.reshape(*shape, len(motif))


def _few(row: Ints, start: Ints, sequences: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """At most so many rows, and `_HITS` hits of each, drawn at random; sorted."""
    keep = np.sort(rng.permutation(np.unique(row))[:sequences])
    order = rng.permutation(len(row))
    order = order[np.argsort(row[order], kind="stable")]
    first = np.searchsorted(row[order], row[order])
    chosen = np.sort(order[(np.arange(len(row)) - first < _HITS) & np.isin(row[order], keep)])
    return row[chosen], start[chosen]
