"""Everything needed to judge how the numbers were made, and to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pandas as pd
from markupsafe import Markup

from basewise.explainers.sensitivity import TOP
from basewise.picture.words import gap, number, percent, quantity
from basewise.registry import component
from basewise.report.blocks import Block, Details, Section, SubHeading, Table, Text
from basewise.report.frames import having, rows_of
from basewise.study.measures import REFERENCE_RECORDS, REFERENCES
from basewise.study.results import Run

__all__ = ["Methods"]

FLAGGED = 50  # sequences that are named; all are in the run's table
_PARTS = {"data": "Data", "models": "Models", "explainers": "Explainers", "biology": "Motifs"}


@component
class Methods:
    """Settings, seeds, versions, hashes, cost, and how to run it again."""

    title: ClassVar[str] = "How was it done?"
    place: ClassVar[int] = 70

    def render(self, run: Run) -> Section | None:
        """The section."""
        lock = run.lock
        study = lock.get("study", {})
        blocks: list[Block] = [Text(_again(run, study))]
        blocks += _costs(having(run.explainer_metrics, "model", "explainer"))
        blocks += _references(having(run.references, *REFERENCES))
        blocks += _flagged(having(run.reference_records, *REFERENCE_RECORDS))
        blocks.append(SubHeading("Settings"))
        blocks += [
            _settings(_PARTS[part], lock[part], named=part in ("models", "explainers"))
            for part in _PARTS
            if lock.get(part)
        ]
        known = [
            _pairs("Versions: one row per library.", "Library", "Version", lock.get("versions")),
            _pairs("Hashes: one row per input or weights.", "Of", "Hash", lock.get("hashes")),
            _pairs(
                "Where the attributions lie in the folder of the run: one row per model and "
                "explainer.",
                "Model / explainer",
                "Folder",
                lock.get("places"),
            ),
        ]
        tables = tuple(table for table in known if table)
        if tables:
            blocks.append(Details("Versions, hashes and places", tables))
        return Section(self.title, tuple(blocks))


def _again(run: Run, study: Mapping[str, Any]) -> Markup:
    """How to repeat the run."""
    data = " --data DIR" if run.lock.get("data", {}).get("type") == "files" else ""
    said = Markup(
        "To repeat it, beside the folder of this run: <code>basewise run {}/lock.json{}</code>. "
    ).format(run.folder.name, data)
    if data:
        said += Markup("<code>DIR</code> is the folder that holds the data. ")
    return said + (
        "The lock file holds every setting, also those left at their defaults; "
        f"everything random derives from seed {study.get('seed', 'unknown')}."
    )


def _pairs(caption: str, left: str, right: str, found: Mapping[str, Any] | None) -> Table | None:
    if not found:
        return None
    return Table(caption, (left, right), [(str(k), str(v)) for k, v in flat(found).items()])


def _settings(title: str, tables: Mapping[str, Any], *, named: bool) -> Table:
    """Settings of the components of one kind, every one with its value."""
    rows = []
    for name, settings in tables.items() if named else [(title.lower(), tables)]:
        values = flat(settings)
        kind = str(values.pop("type", ""))
        said = Markup(", ").join(
            Markup("<code>{}&nbsp;=&nbsp;{}</code>").format(k, v) for k, v in values.items()
        )
        rows.append((str(name), kind, said))
    what = f"{title}: one row per component, every setting with its value."
    return Table(what, ("Name", "Type", "Settings"), rows)


def flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested tables as one, keys joined by dots."""
    found: dict[str, str] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            found[f"{prefix}{key}"] = (
                (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
            )
    return found


def _costs(frame: pd.DataFrame) -> list[Block]:
    if frame.empty:
        return []

    def column(row: Any, name: str, say: Any) -> str:
        return str(say(getattr(row, name))) if hasattr(row, name) else "–"

    rows = [
        (
            str(row.explainer),
            str(row.model),
            column(row, "method", str),
            column(row, "n", quantity),
            column(row, "evaluations", quantity),
            column(row, "median_gap", gap),
            column(row, "median_r2", number),
        )
        for row in rows_of(frame)
    ]
    return [
        SubHeading("What the explanations cost, and how exact they are"),
        Table(
            "One row per model and explainer. Evaluations: passes through the model per record. "
            "Gap: median over records of what the scores fail to add up to, in the units of the "
            "target (0 is exact; only methods whose scores must add up have one). R²: median "
            "share of the model's changes that a surrogate of LIME's kind reproduces.",
            ("Explainer", "Model", "Method", "Records", "Evaluations", "Gap", "R²"),
            rows,
        ),
    ]


def _references(frame: pd.DataFrame) -> list[Block]:
    """Where one explainer ran over several references, whether they tell the same story."""
    if frame.empty:
        return []
    rows = [
        (
            str(row.explainer),
            str(row.model),
            quantity(row.references),
            number(row.rank_correlation),
            number(row.lowest_rank_correlation),
            percent(row.lowest_top_overlap),
            percent(row.lowest_sign_agreement),
            number(row.relative_spread),
            f"{percent(row.changes)} of {quantity(row.n)}",
        )
        for row in rows_of(frame)
    ]
    return [
        SubHeading("How much explanations depend on their reference"),
        Table(
            "One row per model and explainer that averages over several references. Medians over "
            "sequences: the mean and the least rank correlation of any two references over all "
            f"bases, the least share of the {TOP} bases of largest score that any two have in "
            "common, and to which any two give the same sign, and the standard deviation over "
            "references as a share of the mean score. Then the share "
            "of sequences whose story changes with the reference: less than half of the largest in "
            "common, or least agreement of signs below 80\N{NO-BREAK SPACE}%.",
            (
                "Explainer",
                "Model",
                "References",
                "Rank correlation",
                "Least",
                "Largest",
                "Signs",
                "Spread",
                "Story changes",
            ),
            rows,
        ),
    ]


def _flagged(frame: pd.DataFrame) -> list[Block]:
    """The sequences whose story changes with the reference, those that agree least first."""
    if frame.empty:
        return []
    some = frame[frame["changes"].astype(bool)]
    if some.empty:
        return [Text("No sequence's story changes with its reference.")]
    shown = some.sort_values(
        ["lowest_top_overlap", "record_id"], na_position="first", kind="stable"
    ).head(FLAGGED)
    rows = [
        (
            str(row.record_id),
            str(row.explainer),
            str(row.model),
            number(row.rank_correlation),
            number(row.lowest_rank_correlation),
            percent(row.lowest_top_overlap),
            percent(row.lowest_sign_agreement),
        )
        for row in rows_of(shown)
    ]
    first = f", the first {FLAGGED} of them" if len(some) > FLAGGED else ""
    return [
        Details(
            f"Sequences whose story changes with the reference: {quantity(len(some))}{first}",
            (
                Table(
                    "One row per sequence, model and explainer; those whose references agree "
                    "least first.",
                    (
                        "Record",
                        "Explainer",
                        "Model",
                        "Rank correlation",
                        "Least",
                        "Largest",
                        "Signs",
                    ),
                    rows,
                ),
            ),
        )
    ]
