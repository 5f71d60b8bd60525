"""Whether explainers, and models, point at the same bases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from basewise.picture.logo import Track, logo
from basewise.picture.words import (
    NONE,
    counted,
    estimate,
    listing,
    number,
    p_value,
    percent,
    quantity,
)
from basewise.registry import component
from basewise.report.biology import LEVEL
from basewise.report.blocks import Block, Details, Figure, Section, SubHeading, Table, Text
from basewise.report.draw import Curve, profile
from basewise.report.frames import groups, having, rows_of
from basewise.report.lock import target_of, tss_of
from basewise.study.results import Run
from basewise.types import Floats

__all__ = ["Agreement", "agreement_sentences"]

_COLUMNS = (
    "within", "first", "second", "measure", "signed", "value", "low", "high", "n", "expected",
    "q", "others", "q_others", "beyond",
)  # fmt: skip
_MAIN = "rank"
_NAMES = {
    "rank": "rank correlation",
    "top_rank": "top-down rank correlation",
    "top_k": "top bases in common",
    "sign": "sign agreement",
    "cosine": "cosine",
}
_MEANING = {
    "rank": "rank correlation: Spearman's, of the scores",
    "top_rank": "top-down rank correlation: of the absolute scores, the first places weigh most",
    "top_k": "top bases in common: share of the {top} of bases with the largest absolute scores",
    "sign": "sign agreement: share of bases with the same sign less the share with opposite ones",
    "cosine": "cosine: agreement of the signs, each base weighted by its scores",
}
_CELL, _LABEL, _ROW = 132, 190, 34
_TRACKS = ("scores", "spread")
_LOGO = (
    "The line through the end of each letter is the standard deviation over the explainers at that "
    "base: where it crosses 0 they do not agree that the base matters. The record is the one with "
    "the median spread."
)


def _name(measure: str) -> str:
    return _NAMES.get(measure, measure.replace("_", " "))


def agreement_sentences(run: Run) -> list[str]:
    """For each model, which explainers agree more than both nulls would have them."""
    frame = having(run.agreement, *_COLUMNS)
    found = []
    for said, own in groups(frame, ("within",)) if len(frame) else []:
        rows = _main(own)
        if not len(rows):
            continue
        best: Any = rows.iloc[int(rows["value"].argmax())]
        least: Any = rows.iloc[int(rows["value"].argmin())]
        beyond = sum(map(_holds, rows_of(rows)))
        kind, _, name = said["within"].partition(" ")
        who = f"explainers of {name}" if kind == "model" else f"models under {name}"
        sentence = (
            f"Of {counted(len(rows), 'pair')} of {who}, {beyond} "
            f"{'agrees' if beyond == 1 else 'agree'} on the order of bases more than shifted "
            f"tracks and than tracks of other sequences do (q < {LEVEL} each). {_pair(best)} "
            f"agree best: {_numbers(best)}."
        )
        if len(rows) > 1:
            sentence += f" {_pair(least)} agree least: {_numbers(least)}."
        found.append(sentence)
    return found


def _main(frame: pd.DataFrame) -> pd.DataFrame:
    rows = frame[frame["measure"] == _MAIN]
    return rows[rows["value"].notna()]


def _pair(row: Any) -> str:
    return f"{row['first']} and {row['second']}"


def _numbers(row: Any) -> str:
    return (
        f"{_name(_MAIN)} {estimate(row['value'], row['low'], row['high'])}, shifts give "
        f"{number(row['expected'])} ({p_value(row['q'])}) and other sequences "
        f"{number(row['others'])} ({p_value(row['q_others'])}); they agree beyond shifts in "
        f"{percent(row['beyond'])} of {counted(int(row['n']), 'sequence')} taken alone"
    )


def _holds(row: Any) -> bool:
    """Whether a pair agrees beyond both nulls."""
    return bool(row.q < LEVEL and row.q_others < LEVEL)


@component
class Agreement:
    """Agreement of explainers and of models, with what chance gives, and their consensus."""

    title: ClassVar[str] = "Do the methods agree?"
    place: ClassVar[int] = 55

    def render(self, run: Run) -> Section | None:
        """The section; None where nothing was compared."""
        frame = having(run.agreement, *_COLUMNS)
        if frame.empty:
            return None
        blocks: list[Block] = [
            Text(
                "Two explainers of one model answer different questions, and two models may have "
                "learned different things; where they point at the same bases all the same, that "
                "is worth more than any of them alone. Some agreement comes by itself. Bases side "
                "by side score alike: what smoothness gives is left when one track is turned "
                "round its sequence, by every number of bases. And tracks that prefer the same "
                "places in every sequence are alike whatever stands there: that is left when one "
                "track is laid beside those of other sequences. A claim needs to exceed both."
            ),
            *(Text(sentence) for sentence in agreement_sentences(run)),
            _heat(frame),
            Details("All measures", (_table(frame, run.lock.get("compare", {}).get("top", 0.1)),)),
        ]
        if unsigned := sorted(_unsigned(frame)):
            blocks.append(
                Text(
                    f"{listing(unsigned)} never {'scores' if len(unsigned) == 1 else 'score'} "
                    "below 0, so with them absolute scores were compared, and signs cannot be."
                )
            )
        blocks += _consensus(run)
        return Section(self.title, tuple(blocks))


def _unsigned(frame: pd.DataFrame) -> set[str]:
    """Names of which every comparison is without signs."""
    signed = frame[frame["signed"].astype(bool)]
    return {*frame["first"], *frame["second"]} - {*signed["first"], *signed["second"]}


def _heat(frame: pd.DataFrame) -> Figure:
    parts, seen = [], []
    for said, own in groups(frame, ("within",)):
        rows = _main(own)
        names = list(dict.fromkeys([*own["first"], *own["second"]]))
        parts.append(
            Markup('<div class="panel"><h4>{}</h4>{}</div>').format(
                said["within"], _matrix(names, rows)
            )
        )
        seen += [f"{row.first} and {row.second} {number(row.value)}" for row in rows_of(rows)[:10]]
    return Figure(
        "",
        Markup('<div class="panels">{}</div>').format(Markup("").join(parts)),
        f"Matrices of the {_name(_MAIN)} of every pair: {listing(seen) or 'no value'}. The table "
        "below holds the same numbers.",
        f"{_name(_MAIN).capitalize()} of the scores of bases, mean over sequences. Blue: they "
        "agree, orange: they contradict each other, the stronger the more. In grey brackets, "
        "what shifted tracks give, and what tracks of other sequences give; a value in brackets "
        f"itself is not beyond both (q below {LEVEL}).",
    )


def _matrix(names: Sequence[str], rows: pd.DataFrame) -> Markup:
    """Half a matrix of pairs as a drawing that scrolls when it is wide."""
    width, height = _LABEL + _CELL * (len(names) - 1), _ROW * len(names)
    drawn = []
    for i, name in enumerate(names[1:], 1):
        y = _ROW * (i - 1)
        drawn.append(f'<text x="{_LABEL - 8}" y="{y + 21}" text-anchor="end">{_short(name)}</text>')
    for j, name in enumerate(names[:-1]):
        drawn.append(
            f'<text x="{_LABEL + _CELL * (j + 0.5)}" y="{height - 12}" text-anchor="middle">'
            f"{_short(name, 20)}</text>"
        )
    for row in rows_of(rows):
        i, j = sorted((names.index(row.first), names.index(row.second)))
        x, y = _LABEL + _CELL * i, _ROW * (j - 1)
        tone = "c0" if row.value >= 0 else "c1"
        value = number(row.value)
        shown = value if _holds(row) else f"({value})"
        drawn.append(
            f'<rect x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" height="{_ROW - 2}" '
            f'fill="var(--{tone})" fill-opacity="{0.55 * min(abs(row.value), 1):.2f}"/>'
            f'<text x="{x + _CELL / 2}" y="{y + 15}" text-anchor="middle">{shown}</text>'
            f'<text class="muted" x="{x + _CELL / 2}" y="{y + 28}" font-size="10" '
            f'text-anchor="middle">[{number(row.expected)}; {number(row.others)}]</text>'
        )
    return Markup(
        f'<div class="scroll"><svg width="{width}" height="{height}" font-size="12.5" '
        f'aria-hidden="true">{"".join(drawn)}</svg></div>'
    )


def _short(name: str, most: int = 24) -> str:
    return str(escape(name if len(name) <= most else f"{name[: most - 1]}…"))


def _table(frame: pd.DataFrame, top: float) -> Table:
    rows = [
        (
            f"{row.first} and {row.second}",
            str(row.within),
            _name(row.measure),
            estimate(row.value, row.low, row.high),
            number(row.expected),
            p_value(row.q, ""),
            number(row.others),
            p_value(row.q_others, ""),
            percent(row.beyond) if row.n else NONE,
            quantity(row.n),
        )
        for row in rows_of(frame)
    ]
    meanings = "; ".join(_MEANING[m] for m in dict.fromkeys(frame["measure"]) if m in _MEANING)
    meanings = meanings.replace("{top}", percent(top))
    return Table(
        "One row per pair and measure: mean over sequences with its 95 % bootstrap interval; what "
        "circular shifts give, and what tracks of other sequences give, each with q "
        "(Benjamini-Hochberg over all rows); the share of sequences in which the pair agrees "
        f"beyond shifts when taken alone (q < {LEVEL}), and how many there are. {meanings}.",
        (
            "Pair",
            "Within",
            "Measure",
            "Agreement",
            "Shifts",
            "q",
            "Others",
            "q",
            "Alone",
            "Sequences",
        ),
        rows,
    )


def _consensus(run: Run) -> list[Block]:
    """The consensus of each model over all records of one length, and of one of them."""
    frame = having(run.consensus, "model", "record_id", "scores", "spread", "explainers")
    if frame.empty:
        return []
    target, tss = target_of(run), tss_of(run)
    letters = {record.id: record.sequence for record in run.records("explained")}
    names = listing(frame["explainers"].iloc[0])
    towards = f" for {target.label}" if target else ""
    panels: list[Markup] = []
    seen: list[str] = []
    logos: list[Figure] = []
    for said, own in groups(frame, ("model",)):
        model = said["model"]
        scores, spread = ([np.asarray(x, float) for x in own[name]] for name in _TRACKS)
        if len({len(s) for s in scores}) == 1:
            mean, apart = np.mean(scores, 0), np.mean(spread, 0)
            curve = Curve("mean", mean, mean - apart, mean + apart)
            drawing = profile([curve], "scaled score", tss=tss)
            panels.append(Markup('<div class="panel"><h4>{}</h4>{}</div>').format(model, drawing))
            seen.append(f"{model}: {_clear(mean, apart)} clear of 0")
        # The record whose explainers differ neither least nor most.
        order = np.argsort([float(np.mean(s)) for s in spread], kind="stable")
        chosen = int(order[len(order) // 2])
        id, mean, apart = str(own["record_id"].iloc[chosen]), scores[chosen], spread[chosen]
        if id in letters:
            track = Track(f"consensus of {names}", mean, "scaled score", spread=apart)
            logos.append(
                Figure(
                    f"{model}, record {id}",
                    logo(letters[id], [track], tss=tss),
                    f"Logo of the consensus of {names} of {model} on record {id}: "
                    f"{_clear(mean, apart)} clear of 0.",
                    f"Clear of 0: {_clear(mean, apart)}.",
                    least_width=760,
                )
            )
    if logos:
        logos[-1] = replace(logos[-1], caption=f"{logos[-1].caption} {_LOGO}")
    if not panels:
        return [SubHeading("What they say together"), *logos]
    return [
        Figure(
            "What they say together",
            Markup('<div class="panels wide">{}</div>').format(Markup("").join(panels)),
            f"Consensus of {names} per position with its spread. {listing(seen)}.",
            f"Consensus of {names}, mean of all records: each scaled to root mean square 1 in "
            f"every sequence, then averaged; above 0 speaks{towards}. The band is the mean over "
            "records of the standard deviation over the explainers at each base.",
        ),
        *logos,
    ]


def _clear(mean: Floats, apart: Floats) -> str:
    """How many bases score further from 0 than the explainers lie apart."""
    return f"{int((np.abs(mean) > apart).sum()):,} of {len(mean):,} bases"
