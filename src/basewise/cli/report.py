"""basewise report"""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["report"]


def report(
    folder: Annotated[str, typer.Argument(help="The folder of a run, or its URL.")],
) -> None:
    """Write the report of a run again, and print its path."""
    from basewise.cli.progress import Terminal
    from basewise.study.results import folder_of
    from basewise.study.twin import working_copy
    from basewise.study.which import holds_experiment

    folder_of(folder)  # which is one, or nothing is written
    with working_copy(folder, Terminal()) as (here, _):
        if holds_experiment(here):
            from basewise.report.experiment import write_experiment_report

            write_experiment_report(here)
        else:
            from basewise.report import write_report

            write_report(here)
    typer.echo(f"{folder.rstrip('/')}/report/index.html")
