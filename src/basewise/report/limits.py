"""What must not be concluded from the report."""

from __future__ import annotations

from typing import ClassVar

from basewise.picture.words import counted
from basewise.registry import component
from basewise.report.blocks import Bullets, Section
from basewise.report.genomes import few_genomes
from basewise.report.lock import target_of
from basewise.report.quality import verdicts
from basewise.study.results import Run

__all__ = ["Limits"]


@component
class Limits:
    """The limits of what was found, those of this run first."""

    title: ClassVar[str] = "What may not be concluded?"
    place: ClassVar[int] = 80

    def render(self, run: Run) -> Section | None:
        """The section."""
        return Section(self.title, (Bullets((*_of_this_run(run), *_of_any_run(run))),))


def _of_this_run(run: Run) -> list[str]:
    said = [
        f"Nothing about where {verdict.model} looks is worth more than the model: "
        f"{verdict.sentence}"
        for verdict in verdicts(run)
        if verdict.better is False
    ]
    said += few_genomes(run)
    audit = run.audit
    if audit is None:
        said.append("The data were not audited: leaks and shortcuts may explain any result here.")
    else:
        said += [
            f"Audit, {finding.title}: {finding.sentence}"
            for finding in audit.findings
            if finding.severity != "info"
        ]
    return said


def _of_any_run(run: Run) -> list[str]:
    target = target_of(run)
    number = f"one number, the {target}" if target else "one number"
    said = [
        "Attributions describe this model, not biology. A base with a high score is one that the "
        "model uses; whether the cell does needs an experiment.",
        f"Only {number}, was explained. Other outputs of the model may rest on other bases.",
        "Explainers answer different questions and can disagree on the same sequence; a stretch "
        "that only one of them marks is weak evidence.",
        "A switched-off base has to look like something (a mask, a shuffle, a reference). "
        "Attributions depend on that choice, which the settings name.",
        "q values are corrected within one table of motifs, not over everything that was looked "
        "at; a motif without a small q was not shown to be absent.",
        "Motif hits are matches of letters. A match is not a bound protein, and real elements "
        "that differ by a letter are missed.",
        "A true-positive ratio of a token or k-mer, where one is given, describes the data set "
        "and its labels, not one prediction, and contains the share of positives.",
        "Results hold for sequences drawn like the test split: same source, same length, same "
        "share of each class.",
    ]
    explained = len(run.records("explained"))
    if explained:
        said.append(
            f"{counted(explained, 'sequence')} were explained; what happens in fewer than a few "
            "per cent of sequences may not be among them."
        )
    if any(record.truth for record in run.records("explained")):
        said.append(
            "The sequences were made by a grammar. How well explainers find planted stretches "
            "here says little about how well they do on genomes."
        )
    return said
