"""basewise run | check | status"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["check", "run", "status"]

StudyFile = Annotated[Path, typer.Argument(help="A study file (TOML), or the lock.json of a run.")]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder that the data paths of the study are relative to."),
]
OutFolder = Annotated[Path, typer.Option("--out", help="Where runs are kept.")]


def run(study: StudyFile, data: DataFolder = None, out: OutFolder = Path("runs")) -> None:
    """Run a study; what is done already is kept. Prints the path of the report last."""
    from basewise.cli.progress import Terminal
    from basewise.report import write_report
    from basewise.study import load_study, run_study

    loaded = load_study(study)
    folder = out / loaded.about.name
    watcher = Terminal()
    done = run_study(loaded, folder, data, watcher)
    with watcher.step("report", None):
        page = write_report(folder)
    for line in _quality(done.model_metrics):
        typer.echo(line)
    typer.echo(page)


def _quality(metrics: pd.DataFrame) -> list[str]:
    """Matthews' coefficient on test of every model and of the baseline beside it."""
    rows = metrics[(metrics["split"] == "test") & (metrics["metric"] == "mcc")]
    return [
        f"{row.model}: test MCC {row.value:.3f} [{row.low:.3f}, {row.high:.3f}], n = {row.n:,}"
        for row in rows.itertuples()
    ]


def check(study: StudyFile, data: DataFolder = None) -> None:
    """Read a study and its data, and say what it would cost; nothing is written.

    Per model and explainer: evaluations, expected time and memory, disk.
    """
    from basewise.cli.progress import Terminal
    from basewise.study import load_study
    from basewise.study.plan import plan

    with Terminal().step("check", None) as step:
        lines = plan(load_study(study), data, step.at)
    for line in lines:
        typer.echo(line)


def status(folder: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Say what a run has finished and what is left."""
    from basewise.study import open_run
    from basewise.study.plan import progress_of

    for line in progress_of(open_run(folder)):
        typer.echo(line)
