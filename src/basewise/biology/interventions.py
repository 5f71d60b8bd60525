"""Does a model need a motif? Change it, and see what the model then says.

*Knock-out*: the bases of a hit are put into another order that is no hit (composition kept),
several times; the change of the model's output is held against the same edit of control
stretches. Two nulls, each blind to what the other sees, as in `reliance`:

* *same sequence*: the nearest stretches of the same sequence that touch no hit.
* *same position*: the same place of other sequences of the same class that have no hit of the
  motif in its window.

Controls have the G+C of the hit as nearly as can be (within `gc_tolerance`), and are reordered so
that as many bases change as in the hits. Every hit is edited by itself.

*Knock-in*: the motif is written into sequences that lack it, in its window, over what is there;
the change is held against writing the same letters at the same place in another order
(*shuffled motif*). Nothing moves: edits keep the length.

Effects are in units of the target, and negative where the output falls. The sequence is the unit
of test and interval (sign flips, cluster bootstrap; see `contrasts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from basewise.biology.contrasts import (
    MINIMUM_CONTROLS,
    Contrast,
    contrast,
    covered,
    infer,
    laid,
    places,
    sliding,
)
from basewise.biology.enrichment import ENRICHMENT, MINIMUM, enrichment_row, enrichment_table
from basewise.errors import DataError
from basewise.models.evaluator import Evaluator
from basewise.models.switchboards import spans_again, tokenised
from basewise.motifs.motif import Motif, check_tss
from basewise.motifs.pvalue import UNIFORM
from basewise.motifs.scan import Scanner
from basewise.sequence.alphabet import N
from basewise.stats import random_numbers
from basewise.types import Bools, Codes, Floats, Ints, Record, Target

if TYPE_CHECKING:
    from torch import Tensor

    from basewise.models.model import Model

__all__ = ["INTERVENTIONS", "knock_in", "knock_out"]

INTERVENTIONS = (*ENRICHMENT, "edit", "evaluations")
"""Columns of a table of interventions, one row per motif and null: those of `ENRICHMENT`, where

null : `same sequence`, `same position` (knock-out), `shuffled motif` (knock-in);
measure : the target whose change was measured, such as `log-odds of promoter`;
n, with_hit : sequences asked, and those that were edited and have controls;
n_null : control stretches edited (knock-out), or shuffled motifs written in (knock-in);
observed, expected : mean change of the target by the edit, and by the control edits;
effect, low, high : observed - expected, with its 95 % interval;

and `edit`, `knock-out` or `knock-in`, and `evaluations`, forward passes for this motif and edit.
"""

_CONTROLS = 5  # per hit and null
_HITS = 3  # of a motif in one sequence
_TRIES = 48  # orders drawn for a stretch, from which the edits are chosen

Progress = Callable[[int, int], None]


def knock_out(
    model: Model,
    records: Sequence[Record],
    motifs: Sequence[Motif],
    *,
    target: str | Target,
    tss: int | None = None,
    sequences: int = 100,
    draws: int = 3,
    gc_tolerance: float = 0.3,
    flips: int = 9999,
    seed: int = 0,
    p: float = 1e-4,
    background: Sequence[float] = UNIFORM,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How much the output changes when hits lose their order, against control edits.

    Parameters
    ----------
    model : Model
    records : sequence of Record
        Of any lengths; controls at the same position have the same label.
    motifs : sequence of Motif
        Hits count inside their window.
    target : str or Target
        What is read from the model, by name.
    tss : int, optional
        0-based index of the +1 base in every record; needed by motifs with a window.
    sequences : int
        The most sequences with a hit that are edited per motif, drawn with the seed.
    draws : int
        Orders of each stretch that the change is averaged over.
    gc_tolerance : float
        By which share of a motif's width the G+C of a control may differ from that of the hit.
        Stretches as extreme as a TATA or a GC box are rare; only the order of their letters is
        changed, so a little more or less G+C matters less than for attribution.
    flips : int
        Random sign flips; p is at least `1 / (flips + 1)`.
    seed : int
        The edits of a motif depend on it and on the motif's name alone.
    p : float
        A matrix hits where its score has at most this p value; patterns match exactly.
    background : (4,) floats
        That `p` refers to.
    progress : callable, optional
        Called with the evaluations done and those there will be.

    Returns
    -------
    DataFrame
        With the columns of `INTERVENTIONS`, two rows per motif. A motif with fewer than
        `MINIMUM` sequences to edit has a reason in place of numbers.

    Raises
    ------
    DataError
        If there are no records, a count is too small, or the TSS lies outside a record.
    """
    bench = _Bench(model, records, motifs, target, tss, sequences, draws, p, background)
    if not 0 <= gc_tolerance < 1:
        raise DataError(f"gc_tolerance is {gc_tolerance}; it is a share of the width, 0 to 1.")
    bench.gc_tolerance = gc_tolerance
    plans = [bench.knock_out(i, random_numbers(seed, m.name, "knock_out")) for i, m in bench.each]
    bench.measure(progress)
    found = [
        (i, null, result) for (i, _), plan in zip(bench.each, plans, strict=True)
        for null, result in bench.contrasts(i, plan)
    ]  # fmt: skip
    spent = {i: plan.evaluations for (i, _), plan in zip(bench.each, plans, strict=True)}
    return bench.table("knock-out", found, spent, np.random.default_rng([seed, 1]), flips)


def knock_in(
    model: Model,
    records: Sequence[Record],
    motifs: Sequence[Motif],
    *,
    target: str | Target,
    tss: int | None = None,
    at: int | None = None,
    sequences: int = 100,
    draws: int = 3,
    flips: int = 9999,
    seed: int = 0,
    p: float = 1e-4,
    background: Sequence[float] = UNIFORM,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """How much the output changes when the motif is written in, against its shuffled letters.

    Parameters
    ----------
    at : int, optional
        0-based index that the first base is written to. Otherwise a place is drawn for each
        sequence: from the motif's window, or anywhere where it has none.
    sequences : int
        The most sequences without a hit (in the window, where there is one) per motif.
    draws : int
        Instances of the motif per sequence, drawn from its matrix or pattern among those that are
        hits; each has its own shuffle. Motifs of both strands are written along the sequence.
    model, records, motifs, target, tss, flips, seed, p, background, progress
        As for `knock_out`.

    Returns
    -------
    DataFrame
        With the columns of `INTERVENTIONS`, one row per motif.

    Raises
    ------
    DataError
        As `knock_out`, or if a motif does not fit at `at` in any record.
    """
    bench = _Bench(model, records, motifs, target, tss, sequences, draws, p, background)
    plans = [bench.knock_in(i, at, random_numbers(seed, m.name, "knock_in")) for i, m in bench.each]
    bench.measure(progress)
    found = [
        (i, "shuffled motif", bench.paired(plan))
        for (i, _), plan in zip(bench.each, plans, strict=True)
    ]
    spent = {i: plan.evaluations for (i, _), plan in zip(bench.each, plans, strict=True)}
    return bench.table("knock-in", found, spent, np.random.default_rng([seed, 2]), flips)


class _Removal(NamedTuple):
    """Stretches of a motif that are reordered: hits first, then controls of both nulls."""

    row: Ints
    start: Ints
    hits: int
    edits: slice
    evaluations: int


class _Insertion(NamedTuple):
    """Sequences that a motif is written into, (s,), each several times, and so are shuffles."""

    row: Ints
    edits: slice
    shuffles: slice
    evaluations: int


class _Edited:
    """Rows of one sequence with letters written over it: `Variants` of it for the evaluator."""

    draws = 1

    def __init__(self, codes: Codes, start: Ints, words: Codes, width: int):
        self._codes, self._start, self._words, self.width = codes, start, words, width

    def rows(self, asked: Ints, model: Model) -> tuple[Tensor, Tensor | None]:
        """Wishes are numbers of edits; -1 is the sequence as it is."""
        return tokenised(self._bases(asked), model)

    def spans(self, asked: Ints, model: Model) -> list[Ints]:
        return spans_again(self._bases(asked), model)

    def _bases(self, asked: Ints) -> Codes:
        rows = np.tile(self._codes, (len(asked), 1))
        edited = np.flatnonzero(asked >= 0)
        words = self._words[asked[edited]]
        at, column = np.nonzero(words < N)
        rows[edited[at], self._start[asked[edited]][at] + column] = words[at, column]
        return rows


class _Bench:
    """Sequences, motifs and a model; collects edits, evaluates them together, compares them."""

    def __init__(
        self,
        model: Model,
        records: Sequence[Record],
        motifs: Sequence[Motif],
        target: str | Target,
        tss: int | None,
        sequences: int,
        draws: int,
        p: float,
        background: Sequence[float],
    ):
        if not records:
            raise DataError("There are no records to edit; give some sequences.")
        for name, value, least in (("sequences", sequences, MINIMUM), ("draws", draws, 1)):
            if value < least:
                raise DataError(f"{name} is {value}; at least {least} are needed.")
        check_tss(records, motifs, tss)
        self.model, self.records, self.motifs = model, records, tuple(motifs)
        self.target = model.target(target)
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
        self.gc_tolerance = 0.0
        self._row: list[Ints] = []
        self._start: list[Ints] = []
        self._words: list[Codes] = []
        self._count = 0
        self.change: Floats = np.zeros(0)

    @property
    def each(self) -> list[tuple[int, Motif]]:
        return list(enumerate(self.motifs))

    # ---------------------------------------------------------------- what is edited

    def knock_out(self, i: int, rng: np.random.Generator) -> _Removal:
        """Choose hits of a motif and their controls, and how each is reordered."""
        width, (row, start) = len(self.motifs[i]), self._inside(i)
        nothing = np.zeros(0, np.int64)
        if width > self.codes.shape[1] or not len(row):
            return _Removal(nothing, nothing, 0, slice(0, 0), 0)
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
        edits = self._add(row, start, words)
        return _Removal(row, start, hits, edits, words.shape[0] * words.shape[1])

    def knock_in(self, i: int, at: int | None, rng: np.random.Generator) -> _Insertion:
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
        lacking[self._inside(i)[0]] = False
        if width > longest or i not in self._single:
            return _Insertion(nothing, slice(0, 0), slice(0, 0), 0)
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
        edits = self._add(row[keep], start[keep], words[keep][:, None])
        shuffles = self._add(row[keep], start[keep], other[keep][:, :1])
        return _Insertion(rows[whole], edits, shuffles, 2 * int(keep.sum()))

    def _window(self, i: int) -> tuple[int, int]:
        motif = self.motifs[i]
        if motif.window is None or self.tss is None:
            return 0, self.codes.shape[1]
        first, last, _ = motif.window.span(self.tss)
        return first, last

    def _inside(self, i: int) -> tuple[Ints, Ints]:
        """The hits of a motif that lie in its window."""
        (row, start), (first, last) = self._hits[i], self._window(i)
        inside = (start >= first) & (start + len(self.motifs[i]) <= last)
        return row[inside], start[inside]

    def _free(self, i: int) -> tuple[Bools, Ints]:
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
        free, gc = self._free(i)
        without = np.ones(len(free), bool)
        without[self._inside(i)[0]] = False
        at, tolerance = np.arange(free.shape[1]), self._tolerance(i)
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

    def _tolerance(self, i: int) -> int:
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

    def _add(self, row: Ints, start: Ints, words: Codes) -> slice:
        """Take down edits, (k, m, w) words; the place of their values, in this order."""
        k, m, _ = words.shape
        self._row.append(np.repeat(row, m))
        self._start.append(np.repeat(start, m))
        self._words.append(words.reshape(k * m, words.shape[2]))
        self._count += k * m
        return slice(self._count - k * m, self._count)

    # ---------------------------------------------------------------- what the model says

    def measure(self, progress: Progress | None) -> None:
        """How much every edit changes the target."""
        from basewise.explainers.units import tokens_of

        if not self._count:
            return
        row, start = np.concatenate(self._row), np.concatenate(self._start)
        words = np.full((self._count, max(w.shape[1] for w in self._words)), N, np.uint8)
        at = 0
        for some in self._words:
            words[at : at + len(some), : some.shape[1]] = some
            at += len(some)
        order = np.argsort(row, kind="stable")
        ends = np.searchsorted(row[order], np.arange(len(self.records) + 1))
        self.change = np.empty(self._count)
        evaluator = Evaluator(self.model, self.target)
        done, whole = 0, self._count + len(np.unique(row))
        for part in _parts(np.flatnonzero(np.diff(ends))):
            edits = [order[ends[r] : ends[r + 1]] for r in part]
            boards = [
                _Edited(
                    self.codes[r, : len(self.records[r])],
                    start[of],
                    words[of],
                    len(tokens_of(self.model, self.records[r])),
                )
                for r, of in zip(part, edits, strict=True)
            ]
            asked = [np.arange(-1, len(of)) for of in edits]
            for of, values in zip(
                edits, evaluator(list(zip(boards, asked, strict=True))), strict=True
            ):
                self.change[of] = values[1:] - values[0]
                done += len(values)
            if progress:
                progress(done, whole)

    # ---------------------------------------------------------------- what it means

    def contrasts(self, i: int, plan: _Removal) -> Iterator[tuple[str, Contrast]]:
        """The change by edits of hits against that by edits of the controls of each null."""
        n, width = len(self.codes), len(self.motifs[i])
        starts = max(self.codes.shape[1] - width + 1, 1)
        gc = self._free(i)[1] if len(plan.row) else np.zeros((n, starts), np.int64)
        values, edited = np.zeros((n, starts)), np.zeros((n, starts), bool)
        if len(plan.row):
            values[plan.row, plan.start] = (
                self.change[plan.edits].reshape(len(plan.row), -1).mean(1)
            )
        row, start = plan.row[: plan.hits], plan.start[: plan.hits]
        edited[plan.row[plan.hits :], plan.start[plan.hits :]] = True
        for null, minimum in MINIMUM_CONTROLS.items():
            eligible = edited.copy()
            if null == "same sequence":
                group = np.broadcast_to(np.arange(n)[:, None], values.shape)
            else:
                eligible[self._inside(i)[0]] = False
                group = self.label[:, None] * values.shape[1] + np.arange(values.shape[1])
            found = contrast(
                values,
                gc,
                eligible,
                group,
                row,
                start,
                minimum,
                self._tolerance(i),
            )
            yield null, found

    def paired(self, plan: _Insertion) -> Contrast:
        """The change by a motif written in, less that by its shuffle, sequence by sequence."""
        n, edited = len(self.codes), len(plan.row)
        inside, control = (
            self.change[of].reshape(edited, -1).mean(1) if edited else np.zeros(0)
            for of in (plan.edits, plan.shuffles)
        )
        difference = inside - control
        contribution, influence = np.zeros((2, n))
        if edited:
            contribution[plan.row] = difference / edited
            influence[plan.row] = (difference - difference.mean()) / edited
        spread = float(difference.std(ddof=1)) if edited > 1 else np.nan
        return Contrast(
            float(inside.mean()) if edited else np.nan,
            float(control.mean()) if edited else np.nan,
            spread,
            edited,
            edited * self.draws,
            contribution,
            influence,
        )

    def table(
        self,
        edit: str,
        found: Sequence[tuple[int, str, Contrast]],
        evaluations: dict[int, int],
        rng: np.random.Generator,
        flips: int,
    ) -> pd.DataFrame:
        """The table of all contrasts, effects in units of the target."""
        plain = {(i, null): result._replace(deviation=1.0) for i, null, result in found}
        inference = infer(plain, rng, flips)
        rows = []
        for i, null, result in found:
            motif = self.motifs[i]
            row = enrichment_row(
                motif, "all", null, str(self.target), len(self.codes), result.controls,
                result.with_hit,
            )  # fmt: skip
            row["reason"] = self._refusal(motif, null, result)
            if not row["reason"]:
                row |= inference[i, null]
            rows.append(row)
        table = enrichment_table(rows)
        return table.assign(edit=edit, evaluations=[evaluations[i] for i, _, _ in found])

    def _refusal(self, motif: Motif, null: str, result: Contrast) -> str:
        """Why a contrast cannot be tested, or nothing."""
        if motif.name in self.scanner.unreachable:
            return "no word of the motif is rare enough to be a hit at this p"
        if result.with_hit < MINIMUM:
            what = (
                "with room for the motif and none"
                if null == "shuffled motif"
                else ("with a hit and matched controls")
            )
            return f"{MINIMUM} sequences {what} are needed; there are {result.with_hit}"
        moves = np.abs([*result.contribution, *result.influence]).sum()
        if moves <= 1e-9 * (abs(result.inside) + abs(result.control)) or not moves:
            return "the edits do not change the output"
        return ""


def _few(row: Ints, start: Ints, sequences: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """At most so many rows, and `_HITS` hits of each, drawn at random; sorted."""
    keep = np.sort(rng.permutation(np.unique(row))[:sequences])
    order = rng.permutation(len(row))
    order = order[np.argsort(row[order], kind="stable")]
    first = np.searchsorted(row[order], row[order])
    chosen = np.sort(order[(np.arange(len(row)) - first < _HITS) & np.isin(row[order], keep)])
    return row[chosen], start[chosen]


def _parts(rows: Ints, size: int = 64) -> list[Ints]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]
