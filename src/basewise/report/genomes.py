"""Which genes of a genome explanations single out, and what a study of few genomes can show."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from basewise.picture.words import (
    NONE,
    counted,
    listing,
    number,
    p_value,
    percent,
    quantity,
)
from basewise.registry import component
from basewise.report.biology import LEVEL
from basewise.report.blocks import Block, Bullets, Details, Figure, Section, SubHeading, Table, Text
from basewise.report.draw import Dot, Row, intervals
from basewise.report.frames import groups, having, rows_of
from basewise.study.results import Run

__all__ = ["Genomes", "few_genomes", "set_sentences"]

SHOWN = 15
_NULLS = {
    "shift": "circular shifts",
    "all shifts": "all circular shifts",
    "matched": "places of the same length and G+C",
}
_SHORT = {"shift": "shifts", "all shifts": "all shifts", "matched": "like places"}


def few_genomes(run: Run) -> list[str]:
    """What cannot be concluded of classes with one or two genomes."""
    calls = having(run.genes("genome_calls"), "genome", "label", "in_training", "learned", "target")
    if calls.empty:
        return []
    said = []
    one = calls.drop_duplicates("genome")
    for of, own in groups(one[one["in_training"]], ("label",)):
        if own["learned"].iloc[0] == 1:
            said.append(
                f"Only one genome was learned as {of['label']}, {_plain(own['genome'].iloc[0])}. "
                "Whatever sets this genome apart from the others (its composition, its codons, its "
                "repeats, its descent) tells the classes apart, so that nothing here is evidence "
                f"about what makes a genome {of['label']}: for that, many genomes of each class "
                "and of mixed descent are needed, and some of them held out whole."
            )
    unseen = [
        f"{_plain(row.genome)} ({row.label}; {row.model} calls {percent(row.share)} of "
        f"{counted(row.windows, 'window')} {row.target})"
        for row in rows_of(calls[~calls["in_training"]])
    ]
    if unseen:
        said.append(
            f"Never seen in training: {listing(unseen)}. How the windows of such a genome are "
            "called is the nearest there is to a test on other genomes."
        )
    else:
        said.append(
            "Every genome of the test split was seen in training, in other blocks: quality is "
            "that of recognising these genomes."
        )
    return said


@component
class Genomes:
    """Calls by genome, sets of genes, kinds of regions, single genes."""

    title: ClassVar[str] = "Which genes does the model use?"
    place: ClassVar[int] = 66
    rare: ClassVar[bool] = True

    def render(self, run: Run) -> Section | None:
        """The section; None where no regions were asked for."""
        genes = having(run.genes("region_scores"), "model", "explainer", "measure", "null", "q")
        if genes.empty:
            return None
        blocks: list[Block] = [
            SubHeading("What can be shown here, and what cannot"),
            Bullets(tuple(few_genomes(run))),
            *_calls(run),
            *_sets(run),
            *_kinds(run),
            *_genes(genes),
        ]
        return Section(self.title, tuple(blocks))


def _plain(name: object) -> str:
    return str(name).replace("_", " ")


def _calls(run: Run) -> list[Block]:
    calls = having(run.genes("genome_calls"), "model", "genome", "share", "low", "high")
    if calls.empty:
        return []
    target = str(calls["target"].iloc[0])
    blocks: list[Block] = [SubHeading("Genome by genome")]
    for of, own in groups(calls, ("model",)):
        rows = [
            Row(
                f"{_plain(row.genome)}{'' if row.in_training else ', never seen'}",
                (Dot(row.share, row.low, row.high, "up" if row.label == target else "muted"),),
                said=f"{percent(row.share)} of {quantity(row.windows)}",
            )
            for row in rows_of(own.sort_values("share", ascending=False))
        ]
        blocks.append(
            Figure(
                f"Model {of['model']}" if calls["model"].nunique() > 1 else "",
                intervals(rows, f"share of windows called {target}"),
                f"Share of the test windows of each genome that {of['model']} calls {target}.",
                f"Share of the test windows of each genome that are called {target}, with Wilson's "
                f"95 % interval; blue: genomes of {target}. Blocks of these windows were held "
                "out; a genome that was never "
                "seen was held out whole.",
            )
        )
    return blocks


def set_sentences(run: Run) -> list[str]:
    """Of every set of genes, whether it gets another attribution than other genes."""
    sets = having(run.genes("region_sets"), "model", "explainer", "set", "null", "p", "q")
    sentences: list[str] = []
    if sets.empty:
        return sentences
    for of, own in groups(sets, ("model", "explainer", "set")):
        usable = rows_of(own[own["reason"] == ""])
        if not usable:
            continue
        sides = {row.effect > 0 for row in usable}
        more = "more" if usable[0].effect > 0 else "less"
        holds = len(usable) == 2 and len(sides) == 1 and all(row.q < LEVEL for row in usable)
        told = listing(
            f"{_NULLS.get(row.null, row.null)}: {number(row.effect)} standard deviations, "
            f"{p_value(row.q)}"
            for row in usable
        )
        claim = (
            f"get {more} attribution than other genes, against both nulls"
            if holds
            else "are not shown to get another attribution than other genes against both nulls"
        )
        sentences.append(
            f"By {of['explainer']} of {of['model']}, the {quantity(usable[0].genes)} scored genes "
            f"of {_plain(of['set'])} {claim} ({told})."
        )
    return sentences


def _sets(run: Run) -> list[Block]:
    sets = having(run.genes("region_sets"), "model", "explainer", "set", "null", "p", "q")
    if sets.empty:
        return []
    tables = [
        Table(
            f"Sets of genes, {of['model']} by {of['explainer']}: listed names, those that no gene "
            "of the annotation has, genes with a score; mean score of the set less that of other "
            "genes, here and by the null, the effect in standard deviations of the null; q by "
            "Benjamini and Hochberg over the sets of one null.",
            ("Set", "Against", "Listed", "Missing", "Scored", "Difference", "Null", "Effect", "q"),
            [
                (
                    _plain(row.set), _SHORT.get(row.null, row.null), quantity(row.listed),
                    quantity(row.missing), quantity(row.genes), number(row.observed),
                    number(row.expected), number(row.effect),
                    NONE if row.reason else p_value(row.q, ""),
                )
                for row in rows_of(own)
            ],
        )
        for of, own in groups(sets, ("model", "explainer"))
    ]  # fmt: skip
    return [
        SubHeading("Sets of genes"),
        Text(
            "The mean score of a set's genes, less that of all other genes. Circular shifts keep "
            "how the genes lie together, and ask nothing of composition; places of the same "
            "length and G+C take composition out, and count neighbours as independent, so that "
            "their q is too small for genes that lie together. A claim has to hold against both. "
            "Only genes under explained windows have a score."
        ),
        Bullets(tuple(set_sentences(run))),
        *tables,
    ]


def _kinds(run: Run) -> list[Block]:
    kinds = having(run.genes("region_kinds"), "model", "explainer", "kind", "measure", "effect")
    kinds = kinds[kinds["measure"] == "mean"] if len(kinds) else kinds
    if kinds.empty:
        return []
    rows = [
        (
            _plain(row.kind), str(row.model), str(row.explainer), quantity(row.regions),
            quantity(row.bases), number(row.observed), number(row.expected), number(row.effect),
            p_value(row.q, "") if not row.reason else NONE,
        )
        for row in rows_of(kinds)
    ]  # fmt: skip
    return [
        SubHeading("Genes, and what lies between them"),
        Table(
            "Mean score of all bases of a kind of region against circular shifts. A kind that "
            "differs in composition differs here.",
            ("Kind", "Model", "Explainer", "Regions", "Scored bases", "Mean", "By shifts",
             "Effect (SD)",
             "q"),
            rows,
        ),
    ]  # fmt: skip


def _genes(frame: pd.DataFrame) -> list[Block]:
    """The genes with the largest effects, of each model and explainer."""
    genes = frame[(frame["measure"] == "mean") & ~frame["kind"].isin(_BETWEEN)]
    sentences, tables = [], []
    for of, own in groups(genes, ("model", "explainer")):
        by_null = dict(groups_of(own, "null"))
        scored = {null: rows[rows["reason"] == ""] for null, rows in by_null.items()}
        counts = listing(
            f"{quantity((rows['q'] < LEVEL).sum())} of {quantity(len(rows))} against "
            f"{_NULLS.get(null, null)}"
            for null, rows in scored.items()
        )
        sentences.append(f"By {of['explainer']} of {of['model']}, genes at q < {LEVEL}: {counts}.")
        tables.append(_top(own, f"{of['model']} by {of['explainer']}"))
    return [
        SubHeading("Single genes"),
        Bullets(tuple(sentences)),
        Text(
            "A shift moves a gene onto other genes that score high, so with many of these none can "
            "be called alone: the question is then one about a set."
        ),
        Details(f"The {SHOWN} genes that stand out most, of each explainer", tuple(tables)),
    ]


_BETWEEN = ("promoter_proximal", "terminator", "intergenic")


def groups_of(frame: pd.DataFrame, column: str) -> list[tuple[str, pd.DataFrame]]:
    """Rows by the values of one column, in order of appearance."""
    return [(of[column], rows) for of, rows in groups(frame, (column,))]


def _top(own: pd.DataFrame, title: str) -> Table:
    matched = own[own["null"] == "matched"].set_index("id")
    shifted = own[(own["null"] != "matched") & own["effect"].notna()]
    order = shifted["effect"].abs().sort_values(ascending=False, kind="stable").index
    rows = []
    for row in rows_of(shifted.loc[order].head(SHOWN)):
        other: Any = matched.loc[row.id] if row.id in matched.index else None
        rows.append(
            (
                row.name or row.id,
                row.kind.replace("_", " "),
                f"{quantity(row.start)}–{quantity(row.end)} ({row.strand})",
                quantity(row.bases),
                number(row.observed),
                number(row.effect),
                p_value(row.q, ""),
                NONE if other is None else number(float(other["effect"])),
                NONE if other is None or np.isnan(other["q"]) else p_value(float(other["q"]), ""),
                number(row.quantile_as_published),
            )
        )
    return Table(
        f"{title}: genes with the largest effect against circular shifts. Mean score per base, "
        "effect in standard deviations of the null, q over all genes and what lies between them; "
        "the last column is the place of the mean among single bases, as published, which is no "
        "test.",
        ("Gene", "Kind", "Place", "Scored bases", "Mean", "Effect, shifts", "q, shifts",
         "Effect, matched", "q, matched", "Quantile"),
        rows,
    )  # fmt: skip
