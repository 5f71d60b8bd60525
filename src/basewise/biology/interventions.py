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
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from basewise.biology.contrasts import MINIMUM_CONTROLS, Contrast, contrast, infer
from basewise.biology.edited_outputs import changes
from basewise.biology.edits import Insertion, Planner, Removal
from basewise.biology.enrichment import ENRICHMENT, MINIMUM, enrichment_row, enrichment_table
from basewise.errors import DataError
from basewise.motifs.motif import Motif
from basewise.motifs.pvalue import UNIFORM
from basewise.stats import random_numbers
from basewise.types import Floats, Record, Target

if TYPE_CHECKING:
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
    if not 0 <= gc_tolerance < 1:
        raise DataError(f"gc_tolerance is {gc_tolerance}; it is a share of the width, 0 to 1.")
    planner = Planner(records, motifs, tss, sequences, draws, p, background, gc_tolerance)
    target = model.target(target)
    plans = [
        planner.removal(i, random_numbers(seed, motif.name, "knock_out"))
        for i, motif in enumerate(motifs)
    ]
    change = changes(model, target, records, planner.codes, planner.edits, progress)
    found = [
        (i, null, result)
        for i, plan in enumerate(plans)
        for null, result in _contrasts(planner, change, i, plan)
    ]
    spent = [plan.evaluations for plan in plans]
    rng = np.random.default_rng([seed, 1])
    return _table(planner, "knock-out", target, found, spent, rng, flips)


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
    planner = Planner(records, motifs, tss, sequences, draws, p, background)
    target = model.target(target)
    plans = [
        planner.insertion(i, at, random_numbers(seed, motif.name, "knock_in"))
        for i, motif in enumerate(motifs)
    ]
    change = changes(model, target, records, planner.codes, planner.edits, progress)
    found = [(i, "shuffled motif", _paired(planner, change, plan)) for i, plan in enumerate(plans)]
    spent = [plan.evaluations for plan in plans]
    rng = np.random.default_rng([seed, 2])
    return _table(planner, "knock-in", target, found, spent, rng, flips)


def _contrasts(
    planner: Planner, change: Floats, i: int, plan: Removal
) -> Iterator[tuple[str, Contrast]]:
    """The change by edits of hits against that by edits of the controls of each null."""
    n, width = len(planner.codes), len(planner.motifs[i])
    starts = max(planner.codes.shape[1] - width + 1, 1)
    gc = planner.free(i)[1] if len(plan.row) else np.zeros((n, starts), np.int64)
    values, edited = np.zeros((n, starts)), np.zeros((n, starts), bool)
    if len(plan.row):
        values[plan.row, plan.start] = change[plan.edits].reshape(len(plan.row), -1).mean(1)
    row, start = plan.row[: plan.hits], plan.start[: plan.hits]
    edited[plan.row[plan.hits :], plan.start[plan.hits :]] = True
    for null, minimum in MINIMUM_CONTROLS.items():
        eligible = edited.copy()
        if null == "same sequence":
            group = np.broadcast_to(np.arange(n)[:, None], values.shape)
        else:
            eligible[planner.inside(i)[0]] = False
            group = planner.label[:, None] * values.shape[1] + np.arange(values.shape[1])
        found = contrast(
            values,
            gc,
            eligible,
            group,
            row,
            start,
            minimum,
            planner.tolerance(i),
        )
        yield null, found


def _paired(planner: Planner, change: Floats, plan: Insertion) -> Contrast:
    """The change by a motif written in, less that by its shuffle, sequence by sequence."""
    n, edited = len(planner.codes), len(plan.row)
    inside, control = (
        change[of].reshape(edited, -1).mean(1) if edited else np.zeros(0)
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
        edited * planner.draws,
        contribution,
        influence,
    )


def _table(
    planner: Planner,
    edit: str,
    target: Target,
    found: Sequence[tuple[int, str, Contrast]],
    evaluations: Sequence[int],
    rng: np.random.Generator,
    flips: int,
) -> pd.DataFrame:
    """The table of all contrasts, effects in units of the target."""
    plain = {(i, null): result._replace(deviation=1.0) for i, null, result in found}
    inference = infer(plain, rng, flips)
    rows = []
    for i, null, result in found:
        motif = planner.motifs[i]
        row = enrichment_row(
            motif, "all", null, str(target), len(planner.codes), result.controls,
            result.with_hit,
        )  # fmt: skip
        row["reason"] = _refusal(planner, motif, null, result)
        if not row["reason"]:
            row |= inference[i, null]
        rows.append(row)
    table = enrichment_table(rows)
    return table.assign(edit=edit, evaluations=[evaluations[i] for i, _, _ in found])


def _refusal(planner: Planner, motif: Motif, null: str, result: Contrast) -> str:
    """Why a contrast cannot be tested, or nothing."""
    if motif.name in planner.scanner.unreachable:
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
