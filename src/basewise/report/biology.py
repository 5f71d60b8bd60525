"""Which known motifs mark the classes, and which the model leans on; each against its nulls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import pandas as pd
from markupsafe import Markup

from basewise.biology.enrichment import ENRICHMENT, MINIMUM
from basewise.picture.words import (
    MINUS,
    NONE,
    counted,
    estimate,
    listing,
    number,
    p_value,
    percent,
    quantity,
    sample,
)
from basewise.registry import component
from basewise.report.blocks import Block, Bullets, Details, Figure, Section, SubHeading, Table, Text
from basewise.report.draw import Dot, Row, intervals
from basewise.report.frames import groups, having, rows_of
from basewise.study.results import Run

__all__ = [
    "GREY",
    "LEVEL",
    "Biology",
    "biology_sentences",
    "forests",
    "half_tested",
    "motif_name",
    "motif_table",
    "null_name",
    "result_of",
    "signed",
    "usable",
    "window_name",
]

LEVEL = 0.05
GREY = f"q of {LEVEL} or more against one of them, or not comparable with all"
SHOWN = 40  # rows of a table or plot; a library of motifs has hundreds
_NULLS = {
    "other classes": "the other classes",
    "dinucleotide shuffles": "shuffles that keep their dinucleotides",
    "same sequence": "matched stretches of the same sequence",
    "same position": "the same place in sequences without the motif",
    "shuffled motif": "the motif's letters in another order",
}


class _Claim(NamedTuple):
    """A sentence, with what it is ranked by."""

    holds: int  # how many explainers, nulls or tests agree
    strength: float
    sentence: str


def biology_sentences(run: Run, in_sequences: int, in_attributions: int) -> list[str]:
    """What each of the two tables shows, the strongest first, and what it does not show: at most
    so many sentences on what the sequences show, and on what the attributions do."""
    return _in_sequences(run.class_enrichment, in_sequences) + _in_attributions(
        run.attribution_enrichment, in_attributions
    )


def usable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a result; none if the table is not one of enrichment."""
    frame = having(frame, *ENRICHMENT)
    return frame if frame.empty else frame[frame["effect"].notna()]


def _ratio(row: Any) -> bool:
    return "ratio" in row.measure


def signed(row: Any) -> float:
    """The effect on a scale where 0 is none."""
    if not _ratio(row):
        return float(row.effect)
    return math.log(row.effect) if row.effect > 0 else -math.inf


def motif_name(row: Any) -> str:
    """A motif with its window."""
    window = window_name(row.window)
    return f"{row.motif} ({window})" if window and window != "anywhere" else str(row.motif)


def window_name(window: str) -> str:
    """The bases of a window as they are read: `−31 to −24`."""
    return window.replace("-", MINUS).replace("..", " to ")


def result_of(row: Any) -> str:
    return f"{estimate(row.effect, row.low, row.high)}, {p_value(row.q)}"


def _best(claims: list[_Claim], most: int) -> list[str]:
    return [claim.sentence for claim in sorted(claims, key=lambda c: c[:2], reverse=True)[:most]]


def _in_sequences(frame: pd.DataFrame, most: int) -> list[str]:
    """Which motifs tell the classes apart, and whether they are more than their dinucleotides."""
    frame = usable(frame)
    if frame.empty:
        return []
    claims = []
    for _, own in groups(frame, ("label", "motif")):
        by_null = {row.null: row for row in rows_of(own)}
        row = by_null.get("other classes")
        if row is not None and row.q < LEVEL:
            shuffled = by_null.get("dinucleotide shuffles")
            claims.append(
                _Claim(1, abs(signed(row)), _class_sentence(row) + _shuffle_sentence(shuffled))
            )
    tested = frame.loc[frame["null"] == "other classes", "motif"].nunique()
    if tested and not claims:
        return [f"None of {counted(tested, 'motif')} tells the classes apart at q < {LEVEL}."]
    return _best(claims, most)


def _class_sentence(row: Any) -> str:
    said = "more" if row.effect > 1 else "less"
    return (
        f"{motif_name(row)} is {said} frequent in {row.label} than in the other sequences: "
        f"{percent(row.observed)} against {percent(row.expected)}, {row.measure} {result_of(row)}, "
        f"{sample(row.n, row.n_null)}."
    )


def _shuffle_sentence(row: Any) -> str:
    if row is None:
        return ""
    if row.q < LEVEL:
        said = "more" if row.effect > 1 else "less"
        return (
            f" There it is {said} frequent than its dinucleotides make likely ({result_of(row)})."
        )
    return (
        " There it is not shown to be more or less frequent than its dinucleotides make likely "
        f"({result_of(row)})."
    )


def _in_attributions(frame: pd.DataFrame, most: int) -> list[str]:
    """Which motifs the models lean on: a claim has to hold against every null."""
    nulls = [str(null) for null in frame["null"].unique()] if "null" in frame else []
    frame = having(usable(frame), "model", "explainer")
    if frame.empty:
        return []
    alike: dict[tuple[str, bool], list[_Leaning]] = {}
    silent = []
    for of, of_model in groups(frame, ("model",)):
        found = [
            leaning
            for _, own in groups(of_model, ("motif",))
            for leaning in _leanings(own, of["model"], of_model["explainer"].nunique(), nulls)
        ]
        for leaning in found:
            alike.setdefault((motif_name(leaning.rows[0]), leaning.more), []).append(leaning)
        if not found:
            silent.append(of["model"])
    said = _best([_leaning_claim(own) for own in alike.values()], most)
    if silent:
        said.append(
            f"For none of {counted(frame['motif'].nunique(), 'motif')} does any explainer of "
            f"{listing(silent)} give the hits more or less attribution than "
            f"{listing(map(null_name, nulls))} at q < {LEVEL}."
        )
    return said


def null_name(null: str) -> str:
    return _NULLS.get(null, null)


class _Leaning(NamedTuple):
    """A motif whose hits explainers of one model score otherwise than every null, to one side."""

    model: str
    more: bool
    held: int  # explainers of which it holds,
    explainers: int  # of so many
    rows: list[Any]  # against each null, of the explainer in the middle of those

    @property
    def strength(self) -> float:
        return min(abs(signed(row)) for row in self.rows)


def _leanings(
    own: pd.DataFrame, model: str, explainers: int, nulls: list[str]
) -> Iterator[_Leaning]:
    for sign in (1, -1):
        held: list[list[Any]] = []
        for _, of_explainer in groups(own, ("explainer",)):
            rows = rows_of(of_explainer)
            everywhere = len(rows) == len(nulls)
            if everywhere and all(row.q < LEVEL and sign * signed(row) > 0 for row in rows):
                held.append(rows)
        if held:
            held.sort(key=lambda rows: min(abs(signed(row)) for row in rows))
            yield _Leaning(model, sign > 0, len(held), explainers, held[len(held) // 2])


def _leaning_claim(of: list[_Leaning]) -> _Claim:
    """The same leaning of one or several models in a sentence, with the numbers of the first."""
    of = sorted(of, key=lambda each: (-each.held, -each.strength))
    first, rows = of[0], of[0].rows
    each = [f"{first.held} of {counted(first.explainers, 'explainer')} of {first.model}"]
    each += [f"{other.held} of {other.explainers} of {other.model}" for other in of[1:]]
    whose = f" of {first.model}" if len(of) > 1 else ""
    sentence = (
        f"{motif_name(rows[0])}: {listing(each)} "
        f"{'gives' if len(of) == first.held == 1 else 'give'} its hits "
        f"{'more' if first.more else 'less'} attribution than "
        f"{listing(null_name(row.null) for row in rows)}. "
        f"With {rows[0].explainer}{whose} the {rows[0].measure} is "
        f"{listing(result_of(row) for row in rows)}"
        f"{', in this order' if len(rows) > 1 else ''}; "
        f"{sample(min(row.with_hit for row in rows))} sequences with a hit."
    )
    return _Claim(sum(each.held for each in of), first.strength, sentence)


@component
class Biology:
    """The panel's two tables, as sentences, forests and rows."""

    title: ClassVar[str] = "Which known motifs matter?"
    place: ClassVar[int] = 60

    def render(self, run: Run) -> Section | None:
        """The section; None where no motifs were looked for."""
        in_sequences, in_attributions = run.class_enrichment, run.attribution_enrichment
        blocks: list[Block] = []
        small = _too_small(run)
        if small and not in_attributions.empty and usable(in_sequences).empty:
            blocks += [SubHeading("In the sequences"), Text(small)]
        if not usable(in_sequences).empty:
            blocks += [
                SubHeading("In the sequences"),
                Text(
                    "First without any model: does one class carry a motif, in the window where "
                    "it works, more often than the other sequences do, and more often than its "
                    "dinucleotides alone make likely?"
                ),
                Bullets(tuple(_in_sequences(in_sequences, 6))),
                *([Text(small)] if small else []),
                *_class_tables(in_sequences),
            ]
        if not usable(in_attributions).empty and "explainer" in in_attributions:
            blocks += [
                SubHeading("In the attributions"),
                Text(
                    "Then the model: do the bases of a motif's hits get more attribution than "
                    "comparable bases? More says that the model takes the motif as a sign for the "
                    "explained class, less as a sign against it. Each null is blind to something, "
                    "so a claim is made only where an explainer's result holds against all of them."
                ),
                Bullets(tuple(_in_attributions(in_attributions, 6))),
                *half_tested(in_attributions),
                *_without_result(in_attributions),
                *_attribution_tables(in_attributions),
            ]
        return Section(self.title, tuple(blocks)) if blocks else None


def _too_small(run: Run) -> str:
    """Which classes of the test split have too few records for motifs to be compared."""
    counts = run.data.get("test", {}).get("labels", {})
    few = [f"{label} ({counted(n, 'record')})" for label, n in counts.items() if n < MINIMUM]
    target = run.lock.get("target", {}).get("label", "")
    rest = sum(counts.values()) - counts.get(target, 0)
    if not few and rest >= MINIMUM:
        return ""
    if not few:
        few = [f"all classes but {target} ({counted(rest, 'record')})"]
    return f"Left out, because a comparison needs at least {MINIMUM} test records: {listing(few)}."


def _class_tables(frame: pd.DataFrame) -> list[Block]:
    """A forest and a table per null and class."""
    panels, tables = {}, []
    for said, rows in groups(frame, ("null", "label")):
        title = f"{said['label']} against {null_name(said['null'])}"
        panels[title] = rows
        tables.append(motif_table(rows, title))
    return [
        Figure(
            "",
            forests(panels, [str(null) for null in frame["null"].unique()]),
            "Forest plots of how frequent motifs are, one row per motif; the tables below hold "
            "the same numbers.",
            "How frequent motifs are. A dot is the odds ratio, its line the 95 % interval: right "
            "of the dashed line the motif is more frequent than what it is compared with, left "
            f"of it less. Grey: {GREY}.",
        ),
        Details("The numbers, motifs without a result included", tuple(tables)),
    ]


def half_tested(frame: pd.DataFrame) -> list[Block]:
    """Motifs that differ from all nulls but those that could not be tried: nothing is claimed."""
    nulls = set(frame["null"])
    found: dict[tuple[str, ...], set[str]] = {}
    for said, own in groups(usable(frame), ("model", "explainer", "motif")):
        untested = tuple(sorted(nulls - set(own["null"])))
        if untested and (own["q"] < LEVEL).all():
            found.setdefault(untested, set()).add(said["motif"])
    return [
        Text(
            f"Nothing is claimed of {listing(sorted(motifs))} where hits could not be compared "
            f"with {listing(map(null_name, untested))}: what differs from the rest may do so by "
            f"its {'place' if 'same position' in untested else 'sequence'} alone."
        )
        for untested, motifs in found.items()
    ]


def _without_result(frame: pd.DataFrame) -> list[Block]:
    """Which motifs are in no plot; a reader misses one that the sequences are full of."""
    shown = set(usable(frame)["motif"])
    absent = [str(motif) for motif in frame["motif"].unique() if motif not in shown]
    if not absent:
        return []
    return [
        Text(
            f"Without a result for {listing(absent[:SHOWN])}"
            f"{f' and {len(absent) - SHOWN} more' if len(absent) > SHOWN else ''}, mostly because "
            "too few of the explained sequences have a hit and comparable bases; the tables below "
            "say why for each."
        )
    ]


def _attribution_tables(frame: pd.DataFrame) -> list[Block]:
    """Per model a forest for each explainer, all nulls in one; the tables in a fold."""
    blocks: list[Block] = []
    for said, of_model in groups(frame, ("model",)):
        nulls = [str(null) for null in usable(of_model)["null"].unique()]
        panels, tables = {}, []
        for named, rows in groups(of_model, ("explainer",)):
            panels[named["explainer"]] = rows
            tables += [
                motif_table(own, f"By {named['explainer']}, against {null_name(null['null'])}")
                for null, own in groups(rows, ("null",))
            ]
        model = said["model"]
        kinds = ("filled", "open")
        legend = "; ".join(
            f"{kind}: against {null_name(null)}" for kind, null in zip(kinds, nulls, strict=False)
        )
        if len(nulls) == 1:
            legend = f"compared with {null_name(nulls[0])}"
        blocks += [
            Figure(
                f"Model {model}" if frame["model"].nunique() > 1 else "",
                forests(panels, nulls),
                f"Forest plots of the attribution inside motif hits for {model}, one panel per "
                "explainer, one row per motif; the tables below hold the same numbers.",
                "Attribution inside motif hits. A dot is the effect, its line the 95 % interval: "
                "right of the dashed line hits get more attribution than what they are compared "
                f"with, left of it less; {legend}. Grey: {GREY}.",
            ),
            Details(f"The numbers for {model}, motifs without a result included", tuple(tables)),
        ]
    return blocks


def forests(frames: Mapping[str, pd.DataFrame], nulls: list[str]) -> Markup:
    """Panels by title over one axis: a row per motif, a dot per null."""
    results = [row for frame in frames.values() for row in rows_of(usable(frame))]
    if not results:
        return Markup("<p>No motif has a result.</p>")
    first = results[0]
    rows = {title: _rows(frame, nulls) for title, frame in frames.items()}
    every = [row for of_panel in rows.values() for row in of_panel]
    panels = [
        Markup('<div class="panel"><h4>{}</h4>{}</div>').format(
            title,
            intervals(
                of_panel,
                first.measure,
                log=_ratio(first),
                reference=1.0 if _ratio(first) else 0.0,
                among=every,
            )
            if of_panel
            else Markup("<p>No motif has a result.</p>"),
        )
        for title, of_panel in rows.items()
    ]
    return Markup('<div class="panels">{}</div>').format(Markup("").join(panels))


def _rows(frame: pd.DataFrame, nulls: list[str]) -> list[Row]:
    """The largest effect first; of a large library the smallest q values only. A colour says that
    the effect holds against every null that was asked about."""
    asked, found = frame["null"].nunique(), []
    for _, own in groups(usable(frame), ("motif",)):
        by_null = {row.null: row for row in rows_of(own)}
        if dots := [by_null[null] for null in nulls if null in by_null]:
            found.append(dots)
    found = sorted(found, key=lambda dots: min(row.q for row in dots))[:SHOWN]
    found.sort(key=lambda dots: -dots[0].effect)
    single = all(len(dots) == 1 for dots in found)
    return [
        Row(
            str(dots[0].motif),
            tuple(Dot(row.effect, row.low, row.high, _tone(dots, asked)) for row in dots),
            said=result_of(dots[0]) if single else "",
        )
        for dots in found
    ]


def _tone(rows: list[Any], asked: int) -> str:
    sides = {signed(row) > 0 for row in rows if row.q < LEVEL}
    if len(rows) < asked or len(sides) != 1 or not all(row.q < LEVEL for row in rows):
        return "muted"
    return "up" if sides.pop() else "down"


def motif_table(frame: pd.DataFrame, title: str) -> Table:
    rows: list[tuple[str, ...]] = []
    for row in rows_of(frame.head(SHOWN)):
        share = percent if _ratio(row) else number
        reason = row.reason
        rows.append(
            (
                motif_name(row),
                quantity(row.n),
                quantity(row.with_hit),
                share(row.observed),
                share(row.expected),
                NONE if reason else estimate(row.effect, row.low, row.high),
                NONE if reason else p_value(row.q, ""),
                reason,
            )
        )
    measure = str(frame["measure"].iloc[0])
    cut = f" The first {SHOWN} of {len(frame)}." if len(frame) > SHOWN else ""
    columns: tuple[str, ...] = ("Motif", "Sequences", "With a hit", "Observed", "Null", measure)
    columns += ("q", "No result")
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return Table(
        f"{title[:1].upper()}{title[1:]}: one row per motif and window; {measure} with its 95 % "
        f"interval, q by Benjamini and Hochberg over the motifs of this table.{cut}",
        columns,
        rows,
    )
