"""The tables of a published reading of a run, with the names that sentences need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from basewise.picture.words import estimate
from basewise.report.biology import LEVEL
from basewise.report.frames import groups, having, rows_of
from basewise.report.lock import target_of
from basewise.study.as_published import AS_PUBLISHED
from basewise.study.results import Run

__all__ = [
    "LAST",
    "NAMED",
    "OTHER",
    "SAME",
    "Found",
    "by_class",
    "capital",
    "found_in",
    "holds",
    "ratio",
    "who",
]

NAMED, LAST, OTHER = "by position", "last occurrence", "other class"
SAME = "same sequence"


class Found(NamedTuple):
    """The tables of a run, with the names that sentences need."""

    word: str
    element: str  # the letters of the motif that the word is taken for
    label: str
    top: int
    presence: pd.DataFrame
    signs: pd.DataFrame
    counts: pd.DataFrame
    attribution: pd.DataFrame
    strings: pd.DataFrame
    pairs: pd.DataFrame
    borders: pd.DataFrame
    rules: pd.DataFrame

    @property
    def together(self) -> pd.DataFrame:
        """The counts of all tokens that hold the word, of each explanation."""
        return self.counts[self.counts["token"] == ""] if len(self.counts) else self.counts


def found_in(run: Run) -> Found | None:
    """The tables of the reading; None where none was asked for."""
    settings, target = run.lock.get("as_published", {}), target_of(run)
    if not settings.get("word") or target is None:
        return None
    tables = {name: having(run.as_published(name), *columns) for name, columns in
              AS_PUBLISHED.items()}  # fmt: skip
    if all(table.empty for table in tables.values()):
        return None
    word = str(settings["word"])
    presence = tables["presence"]
    motifs = [str(motif) for motif in presence["motif"].unique()] if len(presence) else []
    element = next((motif for motif in motifs if motif != word), word)
    return Found(word, element, target.label, int(settings["top"]), **tables)


def by_class(found: Found) -> Iterator[tuple[tuple[str, str, str], list[Any]]]:
    """Model, explainer and class, with the rows of the element in its window, one per null."""
    frame = found.attribution
    if frame.empty:
        return
    frame = frame[frame["motif"] == found.element]
    placed = frame[frame["window"] != "anywhere"]
    for said, own in groups(placed if len(placed) else frame, ("model", "explainer", "label")):
        yield (said["model"], said["explainer"], said["label"]), rows_of(own)


def holds(rows: list[Any]) -> bool:
    """Whether the difference holds against every null, to one side; one that could not be tried
    bears nothing out."""
    tested = bool(rows) and not any(row.reason for row in rows)
    return tested and all(row.q < LEVEL for row in rows) and len({r.effect > 0 for r in rows}) == 1


def ratio(row: Any) -> str:
    """An effect with its interval."""
    return estimate(row.effect, row.low, row.high)


def who(row: Any) -> str:
    """An explanation: `lime of cnn`."""
    return f"{row.explainer} of {row.model}"


def capital(text: str) -> str:
    """A name at the beginning of a sentence; the rest of it stays as it is."""
    return text[:1].upper() + text[1:]
