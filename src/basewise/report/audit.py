"""What is wrong with the data, said before anything is concluded from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from basewise.checks import Audit, Finding
from basewise.picture.words import counted, estimate, listing, number, quantity
from basewise.registry import component
from basewise.report.blocks import Block, Bullets, Callout, Details, Section, Table, Text
from basewise.study.results import Run

__all__ = ["AuditWarnings", "audit_verdict"]


NAMED = 4  # findings named in one sentence


def audit_verdict(audit: Audit) -> str:
    """How many findings matter, in one sentence."""
    errors = [f for f in audit.findings if f.severity == "error"]
    warnings = [f for f in audit.findings if f.severity == "warning"]
    asked = counted(len(audit.findings), "question")
    if not errors and not warnings:
        return f"The audit asked {asked} of the data and raised no warning."
    said = " and ".join(
        counted(len(found), what)
        for found, what in ((errors, "error"), (warnings, "warning"))
        if found
    )
    titles = [f"“{finding.title}”" for finding in (errors or warnings)]
    shown = titles[:NAMED] + (["others"] if len(titles) > NAMED else [])
    which = f"The {'error' if errors else 'warning'}{'' if len(titles) == 1 else 's'}"
    return f"The audit asked {asked} of the data and raised {said}. {which}: {listing(shown)}."


@component
class AuditWarnings:
    """Warnings first, each with its evidence."""

    title: ClassVar[str] = "Can the data be trusted?"
    place: ClassVar[int] = 30

    def render(self, run: Run) -> Section | None:
        """The section; None if the data were not audited."""
        audit = run.audit
        if audit is None:
            return None
        grave = [f for f in audit.findings if f.severity != "info"]
        harmless = [f for f in audit.findings if f.severity == "info"]
        blocks: list[Block] = [Text(audit_verdict(audit) + " " + _consequence(audit))]
        blocks += [
            Callout(
                finding.severity,
                f"{finding.severity.capitalize()}: {finding.title}",
                (finding.sentence,),
                _evidence(finding),
            )
            for finding in grave
        ]
        if harmless:
            table = Table(
                "What was looked at and found harmless: one row per finding.",
                ("Finding", "In words", "Sequences"),
                [(f.title, f.sentence, quantity(f.n)) for f in harmless],
            )
            said = counted(len(harmless), "question")
            blocks.append(Details(f"{said} asked of the data with a harmless answer", (table,)))
        if audit.splits:
            blocks.append(_splits(audit))
        return Section(self.title, tuple(blocks))


def _consequence(audit: Audit) -> str:
    return {
        "info": "Nothing found here stands in the way of believing the results below; that no "
        "check fired does not prove that the data are free of faults.",
        "warning": "A warning names something in the data that could produce part of a result by "
        "itself. Each conclusion below has to be read beside them: a model can score well, and "
        "its attributions can look orderly, because of what they describe.",
        "error": "An error means that a result on these splits does not mean what it seems to "
        "mean: do not quote the quality of the model, or what is concluded from its "
        "attributions, before the data are mended.",
    }[audit.worst]


def _evidence(finding: Finding) -> Details | None:
    rows = [
        (_words(name), estimate(e.value, e.low, e.high), quantity(e.n))
        for name, e in finding.effect.items()
    ]
    rows += [(_words(name), _value(value), "") for name, value in finding.evidence.items()]
    blocks: list[Block] = []
    if rows:
        width = 3 if finding.effect else 2
        blocks.append(
            Table(
                f"One row per number counted by the check {finding.check}; "
                "95 % intervals in brackets.",
                ("Counted", "Value", "Of")[:width],
                [row[:width] for row in rows],
            )
        )
    if finding.examples:
        blocks += [Text("For example:"), Bullets(finding.examples)]
    return Details("Evidence", tuple(blocks)) if blocks else None


def _words(name: str) -> str:
    return name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return quantity(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{_words(str(k))}: {_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value))
    return value if isinstance(value, str) else json.dumps(value)


def _splits(audit: Audit) -> Table:
    labels = sorted({label for split in audit.splits for label in split.labels})
    return Table(
        "What was audited: one row per split of the data, counts of sequences, lengths in bases.",
        ("Split", "Rows", "Distinct", "Shortest", "Longest", "With N", *labels),
        [
            (
                split.name,
                *map(quantity, (split.rows, split.distinct, split.shortest, split.longest)),
                quantity(split.with_unknown),
                *(quantity(split.labels.get(label, 0)) for label in labels),
            )
            for split in audit.splits
        ],
    )
