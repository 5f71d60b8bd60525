"""What a model says when a motif is taken out of a sequence, or written into one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import pandas as pd

from basewise.picture.words import NONE, counted, listing, number, p_value, quantity, sample
from basewise.picture.words import estimate as with_interval
from basewise.registry import component
from basewise.report.biology import (
    GREY,
    LEVEL,
    forests,
    half_tested,
    motif_name,
    null_name,
    usable,
)
from basewise.report.blocks import Block, Bullets, Details, Figure, Section, Table, Text
from basewise.report.frames import groups, having, rows_of
from basewise.study.results import Run

__all__ = ["Interventions", "intervention_sentences"]

SHOWN = 60
_SHORT = {
    "same sequence": "same sequences",
    "same position": "same place",
    "shuffled motif": "its letters shuffled",
}


class _Claim(NamedTuple):
    """An edit that changes the output of one model beyond every control."""

    model: str
    weakest: Any  # the row of the control that it differs least from
    rows: list[Any]  # those of all controls

    @property
    def what(self) -> tuple[bool, str, bool, tuple[str, ...]]:
        """The edit, and to which side of which controls it changes the output."""
        row = self.weakest
        nulls = tuple(other.null for other in self.rows)
        return row.edit == "knock-in", motif_name(row), row.effect > 0, nulls

    @property
    def size(self) -> float:
        return abs(float(self.weakest.effect))


def intervention_sentences(run: Run, most: int, motif: str = "") -> list[str]:
    """What the edits show: knock-outs first, what holds of many models, large effects; and of
    which models nothing is shown.

    With `motif`, of that one alone.
    """
    frame = having(run.interventions, "model", "edit")
    if motif and len(frame):
        frame = frame[frame["motif"] == motif]
    if usable(frame).empty:
        return []
    alike: dict[Any, list[_Claim]] = {}
    silent = []
    for of, rows in groups(frame, ("model",)):
        claims = list(_claims(rows, of["model"]))
        for claim in claims:
            alike.setdefault(claim.what, []).append(claim)
        if not claims:
            silent.append(of["model"])
    order = sorted(
        (sorted(claims, key=lambda c: -c.size) for claims in alike.values()),
        key=lambda claims: (claims[0].what[0], -len(claims), -claims[0].size),
    )
    said = [_sentence(claims) for claims in order[:most]]
    if silent:
        motifs = motif or f"any of {counted(usable(frame)['motif'].nunique(), 'motif')}"
        said.append(
            f"Taking out or writing in {motifs} changes what {listing(silent)} "
            f"{'says' if len(silent) == 1 else 'say'} no more than control edits do, at "
            f"q < {LEVEL}."
        )
    return said


def _claims(frame: pd.DataFrame, model: str) -> Iterator[_Claim]:
    """Edits that change the output of a model beyond every control."""
    for _, of_edit in groups(frame, ("edit",)):
        asked = of_edit["null"].nunique()
        for _, own in groups(usable(of_edit), ("motif",)):
            rows = rows_of(own)
            sides = {row.effect > 0 for row in rows}
            if len(rows) < asked or len(sides) != 1 or not all(row.q < LEVEL for row in rows):
                continue
            yield _Claim(model, min(rows, key=lambda row: abs(row.effect)), rows)


def _sentence(claims: list[_Claim]) -> str:
    """The same edit with the same outcome in one or several models, the largest effect first."""
    row, rows = claims[0].weakest, claims[0].rows
    done = "Removing" if row.edit == "knock-out" else "Writing in"
    more = "raises" if row.effect > 0 else "lowers"
    against = {
        "same sequence": "the same edit of like stretches of the same sequences",
        "same position": "the same edit at the same place of sequences without it",
        "shuffled motif": "its letters in another order at the same places",
    }
    every = [other for claim in claims for other in claim.rows]
    n = min(claim.weakest.with_hit for claim in claims)
    least = "at least " if n < max(claim.weakest.with_hit for claim in claims) else ""
    return (
        f"{done} {motif_name(row)} {more} the {row.measure} of {listing(map(_size, claims))} "
        f"more than {listing(against.get(other.null, other.null) for other in rows)}"
        f"{' does' if len(rows) == 1 else ' do'} ({least}{sample(n)} sequences"
        f"{' each' if len(claims) > 1 else ''}, {p_value(max(other.q for other in every))}"
        f"{'; the smaller of the two effects' if len(rows) > 1 else ''})."
    )


def _size(claim: _Claim) -> str:
    row = claim.weakest
    low, high = sorted((abs(row.low), abs(row.high)))
    return f"{claim.model} by {with_interval(claim.size, low, high)}"


@component
class Interventions:
    """Knock-outs and knock-ins of every model, as sentences, forests and rows."""

    title: ClassVar[str] = "Does the model need these motifs?"
    place: ClassVar[int] = 63

    def render(self, run: Run) -> Section | None:
        """The section; None where nothing was edited."""
        frame = having(run.interventions, "model", "edit")
        if usable(frame).empty:
            return None
        blocks: list[Block] = [
            Text(
                "Attribution says what a model looks at; here sequences are changed and the "
                "model is asked again. Knock-out: the letters of a hit are put into another "
                "order. Knock-in: the motif is written into sequences that lack it. Any edit may "
                "change what a model says, so each is held against control edits of equal length "
                "and composition. Hits are edited one at a time: where another copy takes over, "
                "the effect is small. A motif whose letters resemble another one's, or that is "
                "written over its place, has an effect through that one."
            ),
            Bullets(tuple(intervention_sentences(run, 6))),
            *half_tested(frame[frame["edit"] == "knock-out"]),
        ]
        for of, rows in groups(frame, ("model",)):
            blocks += _of_model(rows, of["model"], frame["model"].nunique() > 1)
        return Section(self.title, tuple(blocks))


def _of_model(frame: pd.DataFrame, model: str, several: bool) -> list[Block]:
    measure = str(frame["measure"].iloc[0])
    axis = f"change of the {measure}, less that by controls"
    panels, tables = {}, []
    for of, rows in groups(frame, ("edit",)):
        title = of["edit"].capitalize()
        panels[title] = rows.assign(measure=axis)
        tables.append(_table(rows, title, measure))
    nulls = [str(null) for null in usable(frame)["null"].unique()]
    out = [null for null in nulls if null != "shuffled motif"]
    legend = "; ".join(
        f"{kind}: against {null_name(null)}"
        for kind, null in zip(("filled", "open"), out, strict=False)
    )
    spent = frame.groupby(["motif", "edit"], sort=False)["evaluations"].first().sum()
    return [
        Figure(
            f"Model {model}" if several else "",
            forests(panels, nulls),
            f"Forest plots of what edits of motifs change in {model}, one row per motif; "
            "the tables below hold the same numbers.",
            f"What edits change. A dot is the {axis}, its line the 95 % interval over sequences: "
            "left of the dashed line the output falls"
            f"{f'. Knock-out, {legend}' if legend else ''}. "
            f"Grey: {GREY}.",
        ),
        Details(
            f"The numbers for {model} ({counted(int(spent), 'evaluation')}), motifs without "
            "a result included",
            tuple(tables),
        ),
    ]


def _table(frame: pd.DataFrame, title: str, measure: str) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            motif_name(row),
            _SHORT.get(row.null, row.null),
            quantity(row.with_hit),
            number(row.observed),
            number(row.expected),
            NONE if row.reason else with_interval(row.effect, row.low, row.high),
            NONE if row.reason else p_value(row.q, ""),
            row.reason,
        )
        for row in rows_of(frame.head(SHOWN))
    ]
    columns: tuple[str, ...] = ("Motif", "Against", "Sequences", "Change", "By controls")
    columns += ("Difference", "q", "No result")
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    cut = f" The first {SHOWN} of {len(frame)}." if len(frame) > SHOWN else ""
    return Table(
        f"{title}: one row per motif and control; mean change of the {measure} by the edit and by "
        "the control edits, their difference with its 95 % interval, q by Benjamini and Hochberg "
        f"over the motifs of one control.{cut}",
        columns,
        rows,
    )
