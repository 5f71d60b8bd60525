"""Where attribution stands together: seqlets, and the motifs that are discovered in them."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from basewise.picture.words import NONE, listing, number, p_value, percent, quantity
from basewise.registry import component
from basewise.report.blocks import Block, Section, SubHeading, Table, Text
from basewise.report.frames import groups, having, rows_of
from basewise.study.results import Run

__all__ = ["Stretches"]

SHOWN = 40


@component
class Stretches:
    """Seqlets counted by explainer, and patterns with their names."""

    title: ClassVar[str] = "Which stretches stand out, whatever they are called?"
    place: ClassVar[int] = 64

    def render(self, run: Run) -> Section | None:
        """The section; None where no stretches were called."""
        seqlets = having(run.seqlets, "model", "explainer", "sequence")
        patterns = having(run.patterns, "model", "explainer", "pattern")
        blocks: list[Block] = []
        if not seqlets.empty:
            blocks += [
                SubHeading("Seqlets"),
                Text(
                    "Neighbouring bases of high attribution, called without any list of motifs. "
                    "The "
                    "null deals the scores of a sequence out anew among its units, so a seqlet "
                    "says "
                    "that high scores stand together more than chance places them; explainers that "
                    "smear their scores over neighbours have more of them for that reason alone."
                ),
                _counts(seqlets, run),
            ]
        if not patterns.empty:
            blocks += [SubHeading("Motifs discovered"), *_patterns(patterns, run)]
        return Section(self.title, tuple(blocks)) if blocks else None


def _counts(seqlets: pd.DataFrame, run: Run) -> Table:
    hits = having(run.hits, "record_id", "motif", "start", "end")
    explained = max(len(run.records("explained")), 1)
    rows = []
    for of, own in groups(seqlets, ("model", "explainer")):
        width = own["end"] - own["start"]
        common = own["sequence"].value_counts()
        common = common[common.index.str.len() >= 4].head(2)
        rows.append(
            (
                _by(of["model"], of["explainer"], run),
                quantity(len(own)),
                percent(own["record_id"].nunique() / explained),
                quantity(int((own["score"] > 0).sum())),
                number(float(width.median())),
                percent(_on_hits(own, hits)) if not hits.empty else NONE,
                listing(f"{word} ({quantity(n)})" for word, n in common.items()) or NONE,
            )
        )
    return Table(
        "One row per model and explainer: seqlets with q ≤ 0.05, the share of explained sequences "
        "that have one, how many speak for the class, their median width in bases, the share that "
        "touches a hit of the panel, and the most frequent ones of four bases or more.",
        ("Explainer", "Seqlets", "Sequences", "For", "Width", "On a hit", "Most frequent"),
        rows,
    )


def _on_hits(seqlets: pd.DataFrame, hits: pd.DataFrame) -> float:
    """Share of seqlets that overlap a hit."""
    both = seqlets.reset_index().merge(
        hits[["record_id", "start", "end"]], on="record_id", suffixes=("", "_hit")
    )
    touching = both[(both["start"] < both["end_hit"]) & (both["start_hit"] < both["end"])]
    return float(touching["index"].nunique() / len(seqlets))


def _by(model: str, explainer: str, run: Run) -> str:
    """The explainer, and the model where there are several."""
    return explainer if len(run.models) == 1 else f"{model}, {explainer}"


def _patterns(patterns: pd.DataFrame, run: Run) -> list[Block]:
    """A table of what was discovered, and why nothing could be where nothing could."""
    blocks: list[Block] = [
        Text(
            "TF-MoDISco clusters windows of high attribution by what every base would have scored "
            "there; TOMTOM says which motif of the panel a pattern resembles most. A pattern "
            "without "
            "a small q resembles none of them."
        )
    ]
    found = patterns[patterns["pattern"] != ""]
    if not found.empty:
        rows = [
            (
                _by(row.model, row.explainer, run),
                row.pattern.replace(" ", "\N{NO-BREAK SPACE}"),
                row.consensus,
                quantity(int(row.seqlets)),
                number(row.contribution),
                row.match or NONE,
                p_value(row.q, ""),
            )
            for row in rows_of(found.head(SHOWN))
        ]
        blocks.append(
            Table(
                "One row per pattern: its most frequent bases (lower case: under half), seqlets "
                "that it is made of, their mean attribution, the most similar motif and its q.",
                ("Explainer", "Pattern", "Bases", "Seqlets", "Attribution", "Like", "q"),
                rows,
            )
        )
    refused = patterns[patterns["reason"] != ""]
    blocks += [
        Text(f"{_by(row.model, row.explainer, run)}: {row.reason}")
        for row in rows_of(refused.head(SHOWN))
    ]
    return blocks
