"""basewise report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    folder: Annotated[str, typer.Argument(help="The folder of a run, or its URL.")],
) -> None:
    """Write the report of a run again, and print its path."""
    from basewise.cli.progress import Terminal
    from basewise.report import write_report
    from basewise.study import open_run
    from basewise.study.twin import working_copy
    from basewise.study.which import holds_experiment

    if holds_experiment(Path(folder)):
        from basewise.report.experiment import write_experiment_report

        typer.echo(write_experiment_report(folder))
    else:
        open_run(folder)  # which is one, or nothing is written
        with working_copy(folder, Terminal()) as (here, _):
            write_report(here)
        typer.echo(f"{folder.rstrip('/')}/report/index.html")
