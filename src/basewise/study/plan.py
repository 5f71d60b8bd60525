"""What running a study would compute, and what of it is done."""

from __future__ import annotations

from pathlib import Path

from basewise.study.checked import check
from basewise.study.rehearsal import rehearse
from basewise.study.results import Run
from basewise.study.run import PART, drawn
from basewise.study.study import Study

__all__ = ["plan", "progress_of"]


def plan(study: Study, data: Path | None = None) -> list[str]:
    """Read and validate the data, and say how much there is to do; nothing is written."""
    splits = study.data.splits(data, study.about.seed)
    records = {name: split.records for name, split in splits.items()}
    check(study, records)
    explained = drawn(records["test"], study.about.explained, study.about.seed)
    rehearse(study, records, explained)
    n = len(explained)
    lines = [
        f"{name}: {len(split.records):,} records from {split.source}"
        for name, split in splits.items()
    ]
    lines.append(f"explain: {n:,} test records, {study.target}")
    lines += [
        f"  {model} by {explainer}: {-(-n // PART)} parts"
        for model in study.models
        for explainer in study.explainers
    ]
    return lines


def progress_of(run: Run) -> list[str]:
    """One line per model and explainer: parts finished of all; then where the report lies."""
    n = len(run.records("explained"))
    lines = []
    whole = True
    for model in run.models:
        for explainer in run.explainers:
            done = len(list(run.parts(model, explainer)))
            whole &= done == -(-n // PART)
            lines.append(f"{model} by {explainer}: {done} of {-(-n // PART)} parts")
    report = run.folder / "report" / "index.html"
    said = f"{report}{'' if whole else ' (of an earlier state: run the study again)'}"
    lines.append(f"report: {said if report.exists() else 'not written yet'}")
    return lines
