"""basewise report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(folder: Annotated[Path, typer.Argument(help="The folder of a run.")]) -> None:
    """Write the report of a run again, and print its path."""
    from basewise.report import write_report
    from basewise.study import open_run
    from basewise.study.which import holds_experiment

    if holds_experiment(folder):
        from basewise.report.experiment import write_experiment_report

        typer.echo(write_experiment_report(folder))
    else:
        typer.echo(write_report(open_run(folder).folder))
