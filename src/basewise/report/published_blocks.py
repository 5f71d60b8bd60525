"""The tables and figures of a published reading, each beside what it leaves out."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from markupsafe import Markup

from basewise.picture.words import (
    NONE,
    estimate,
    number,
    p_value,
    percent,
    quantity,
)
from basewise.report.biology import LEVEL, window_name
from basewise.report.blocks import Block, Details, Figure, SubHeading, Table, Text
from basewise.report.draw import Dot, Row, intervals
from basewise.report.frames import groups, rows_of
from basewise.report.published_run import (
    LAST,
    NAMED,
    OTHER,
    SAME,
    Found,
    by_class,
    capital,
    ratio,
)

__all__ = ["counts", "presence", "rules", "signs"]


def presence(found: Found) -> list[Block]:
    """Share of sequences with the letters, by class."""
    frame = found.presence
    if frame.empty:
        return []
    rows, dots = [], []
    for row in rows_of(frame):
        name = f"{row.motif}, {window_name(str(row.window))}"
        null = "other sequences" if row.null == "other classes" else "its shuffles"
        rows.append(
            (
                name,
                str(row.label),
                percent(row.observed),
                null,
                percent(row.expected),
                _cell(row, row.reason),
                NONE if row.reason else p_value(row.q, ""),
            )
        )
        if row.null == "other classes" and not row.reason:
            tone = ("up" if row.effect > 1 else "down") if row.q < LEVEL else "muted"
            dots.append(Row(name, (Dot(row.effect, row.low, row.high, tone),), said=ratio(row)))
    blocks: list[Block] = [
        SubHeading(f"Which sequences hold {found.word}"),
        Text(
            f"As published: the share of sequences of each class that hold {found.word} anywhere. "
            f"Soundly: the same with an odds ratio, the element ({found.element}) in the window "
            "where it works, and shuffles of each sequence that keep its dinucleotides."
        ),
    ]
    if dots:
        blocks.append(
            Figure(
                "",
                intervals(dots, "odds ratio", log=True, reference=1.0),
                "Odds ratios of the letters and the element; the table below holds the numbers.",
                f"How much more often {found.label} sequences of the test split hold it than the "
                "others, with its 95 % interval; left of the dashed line less often.",
            )
        )
    blocks.append(
        Table(
            "One row per pattern, place, class and comparison; odds ratio with its 95 % interval, "
            "q over all rows of one class and comparison.",
            ("Pattern", "Class", "Share", "Compared with", "Share there", "Odds ratio", "q"),
            rows,
        )
    )
    return blocks


def signs(found: Found) -> list[Block]:
    """Importance sign by label, as published and by name; attribution inside the element."""
    if found.signs.empty:
        return []
    labels = [str(label) for label in found.signs["label"].unique()]
    by_key = {(r.model, r.explainer, r.reading, r.label): r for r in rows_of(found.signs)}
    explanations = list(dict.fromkeys((r.model, r.explainer) for r in rows_of(found.signs)))
    matched = dict(by_class(found))
    readings = [r for r in (NAMED, LAST, OTHER) if (found.signs["reading"] == r).any()]
    rows = [
        (
            f"{name}, {model}",
            label,
            *(_plus_minus(by_key.get((model, name, reading, label))) for reading in readings),
            percent(by_key[model, name, NAMED, label].others),
            *_matched_cells(matched.get((model, name, label), [])),
        )
        for model, name in explanations
        for label in labels
    ]
    window = next(
        (window_name(str(r.window)) for _, some in by_class(found) for r in some), "its window"
    )
    heads = {NAMED: "By position", LAST: "Last of its string", OTHER: "Other class"}
    return [
        SubHeading(f"The sign of tokens with {found.word}"),
        Text(
            f"As published: top tokens with {found.word}, positive and negative, by class. The "
            "readings differ in one thing each: every occurrence with its own score for "
            f"{found.label}; one score per token string, the last; the other class explained. "
            f"Soundly: attribution inside {found.element} against matched stretches, in the "
            "sequences of one class."
        ),
        Figure(
            "",
            _sign_panels(found, labels, explanations, by_key),
            "Shares of positive scores among top tokens with the word, one panel per class, one "
            "row per explanation; the table below holds the numbers.",
            f"Share of top tokens with {found.word} that have a positive score, with its 95 % "
            "bootstrap interval over sequences. Filled: each occurrence by itself, "
            f"{found.label} explained by name; open: the other class explained. The small bar is "
            "the share among all other top tokens: where the dot is not apart from it, the sign "
            f"is not one of {found.word}.",
        ),
        Details(
            "The numbers, and the attribution inside the element",
            (
                Table(
                    "One row per explanation and class. First the published counts, positive and "
                    f"negative top tokens with {found.word}, by reading; then the positive share "
                    f"of other top tokens; then the standardised mean difference inside "
                    f"{found.element} ({window}) against stretches of the same sequences and "
                    "against the same place of others, with 95 % intervals and q.",
                    (
                        "Explanation",
                        "Class",
                        *(f"{heads[reading]}: + / −" for reading in readings),
                        "Others +",
                        "Against same sequence",
                        "q",
                        "Against same position",
                        "q",
                    ),
                    rows,
                ),
            ),
        ),
    ]


def _sign_panels(
    found: Found, labels: list[str], explanations: list[tuple[str, str]], by_key: dict[Any, Any]
) -> Markup:
    panels = []
    for label in labels:
        rows = []
        for model, name in explanations:
            kinds = [by_key.get((model, name, reading, label)) for reading in (NAMED, OTHER)]
            dots = tuple(
                Dot(row.share, row.low, row.high, "up" if row.share > 0.5 else "down")
                for row in kinds
                if row is not None and row.tokens
            )
            if dots:
                chance = None if kinds[0] is None else float(kinds[0].others)
                rows.append(Row(f"{name}, {model}", dots, chance=chance))
        if rows:
            title = f"{label} sequences"
            drawing = intervals(rows, "share of positive scores", reference=0.5)
            panels.append(Markup('<div class="panel"><h4>{}</h4>{}</div>').format(title, drawing))
    return Markup('<div class="panels">{}</div>').format(Markup("").join(panels))


def counts(found: Found) -> list[Block]:
    """Counts among the top tokens, beside what chance gives."""
    together = found.together
    if together.empty:
        return []
    dots = []
    for row in rows_of(together):
        tone = ("up" if row.effect > 1 else "down") if row.q < LEVEL else "muted"
        if math.isfinite(row.effect):
            dot = Dot(row.effect, row.low, row.high, tone)
            dots.append(Row(f"{row.explainer}, {row.model}", (dot,), said=ratio(row)))
    tables = [
        _count_table(own, f"{said['explainer']} of {said['model']}")
        for said, own in groups(found.counts[found.counts["token"] != ""], ("model", "explainer"))
    ]
    return [
        SubHeading(f"Tokens with {found.word} among the top {found.top}"),
        Text(
            "As published: in how many sequences a token string is among the top. Soundly: how "
            "many occurrences are, against the same scores turned round in their sequences, which "
            "keeps how large and how clustered they are."
        ),
        Figure(
            "",
            intervals(dots, "counted over expected", reference=1.0),
            "Ratios of counts over expectation, one row per explanation; the table below holds "
            "the numbers.",
            f"How often tokens with {found.word} are among the top {found.top}, over how often "
            "chance has them there, with its 95 % bootstrap interval over sequences. Grey: q of "
            f"{LEVEL} or more.",
        ),
        _count_table(together, f"all tokens with {found.word}, by explanation", together=True),
        Details("The tokens counted most, as a published table has them", tuple(tables)),
    ]


def _count_table(frame: pd.DataFrame, title: str, *, together: bool = False) -> Table:
    rows = [
        (
            f"{row.explainer}, {row.model}" if together else str(row.token),
            quantity(row.published),
            quantity(row.count),
            quantity(row.occurrences),
            number(row.expected),
            estimate(row.effect, row.low, row.high),
            p_value(row.q, ""),
        )
        for row in rows_of(frame)
    ]
    return Table(
        f"{capital(title)}, one row per {'explanation' if together else 'token'}: sequences with "
        "the string among the top, as published; then occurrences among the top, in all, those "
        "that chance puts there, and their ratio with its 95 % interval.",
        (
            "Explanation" if together else "Token",
            "As published",
            "Among the top",
            "In all",
            "By chance",
            "Ratio",
            "q",
        ),
        rows,
    )


def rules(found: Found) -> list[Block]:
    """Precision and coverage as measured."""
    if found.rules.empty:
        return []
    rows = [
        (
            f"{row.explainer}, {row.model}",
            quantity(row.n),
            number(row.units),
            percent(row.precision),
            percent(row.coverage),
            f"{percent(row.least)} to {percent(row.most)}",
        )
        for row in rows_of(found.rules)
    ]
    return [
        SubHeading("Rules with a measured precision and coverage"),
        Table(
            "One row per explanation: sequences, and over them medians of the units in a rule, its "
            "precision and its coverage, and the range of the coverage.",
            ("Explanation", "Sequences", "Units", "Precision", "Coverage", "Range"),
            rows,
        ),
    ]


def _matched_cells(rows: list[Any]) -> tuple[str, str, str, str]:
    """Effect and q against stretches of the same sequence and the same place of others."""
    cells = {
        row.null: (
            "too few" if row.reason else ratio(row),
            "" if row.reason else p_value(row.q, ""),
        )
        for row in rows
    }
    first, second = cells.get(SAME, (NONE, "")), cells.get("same position", (NONE, ""))
    return (*first, *second)


def _plus_minus(row: Any) -> str:
    return NONE if row is None else f"{quantity(row.positive)} / {quantity(row.negative)}"


def _cell(row: Any, reason: str) -> str:
    return reason or ratio(row)
