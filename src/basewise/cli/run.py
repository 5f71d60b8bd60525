"""basewise run | check | status"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from basewise.study import Run
    from basewise.study.watch import Watcher

__all__ = ["check", "run", "status"]

StudyFile = Annotated[Path, typer.Argument(help="A study file (TOML), or the lock.json of a run.")]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        exists=True,
        file_okay=False,
        help="Folder that the data paths of the study are relative to.",
    ),
]
OutFolder = Annotated[
    str, typer.Option("--out", help="Where runs are kept: a folder, or a URL (s3://bucket/runs).")
]


def run(
    study: StudyFile,
    data: DataFolder = None,
    out: OutFolder = "runs",
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="Where to explain: local, processes, ray."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="How many; one per core otherwise.")
    ] = None,
    address: Annotated[
        str | None, typer.Option("--address", help="Of a Ray cluster: auto, host:port, local.")
    ] = None,
) -> None:
    """Run a study; what is done already is kept. Prints the path of the report last.

    Ends with 0 when all is done; with 3 when something is left that the same command continues
    with (it was stopped, a disk was full, shards failed); with 2 when the study or its data are
    wrong.
    """
    from basewise.cli.progress import Terminal
    from basewise.remote import is_url
    from basewise.study.finished import inputs, recognised, remember
    from basewise.study.twin import working_copy
    from basewise.study.which import is_experiment

    given = inputs(study, data)
    place = f"{out}/{given.name}" if is_url(out) else str(Path(out) / given.name)
    with working_copy(place, Terminal()) as (folder, watcher):
        said = recognised(folder, given)
        if said is None:
            settings = _backend(backend, workers, address)
            work = _experiment if is_experiment(study) else _study
            said = work(study, folder, data, watcher, settings)
            remember(folder, given, inputs(study, data), said)
        else:
            typer.echo("basewise: finished before, and no byte has changed since.", err=True)
    for line in said:
        typer.echo(line)
    typer.echo(f"{place}/report/index.html")


def _study(
    file: Path, folder: Path, data: Path | None, watcher: Watcher, backend: Any
) -> list[str]:
    """Run a study and write its report; gives what there is to say of it."""
    from basewise.report import write_report
    from basewise.study import load_study, run_study

    done = run_study(load_study(file), folder, data, watcher, backend)
    with watcher.step("report", None):
        write_report(folder)
    return _quality(done)


def _experiment(
    file: Path, folder: Path, data: Path | None, watcher: Watcher, backend: Any
) -> list[str]:
    """Run an experiment as `_study` does a study; all that there is to say is in its report."""
    from basewise.report.experiment import write_experiment_report
    from basewise.study.experiment import load_experiment
    from basewise.study.experiments import run_experiment

    _refuse_data(data)
    run_experiment(load_experiment(file), folder, watcher, backend)
    with watcher.step("report", None):
        write_experiment_report(folder)
    return []


def _refuse_data(data: Path | None) -> None:
    """An experiment reads none."""
    from basewise.errors import ConfigError

    if data is not None:
        raise ConfigError(f"--data {data}: an experiment makes its sequences and reads no data.")


def _backend(name: str | None, workers: int | None, address: str | None) -> dict[str, Any] | None:
    """The backend that the options say; None where they say nothing."""
    given = {"workers": workers, "address": address}
    settings = {key: value for key, value in given.items() if value is not None}
    if name is None and not settings:
        return None
    return {"type": name or ("processes" if address is None else "ray")} | settings


def _quality(run: Run) -> list[str]:
    """Matthews' coefficient on test of every model, and of what stands beside it."""
    found = []
    for what, table in (("", run.model_metrics), (" per base", run.bases("bases"))):
        if table.empty:
            continue
        rows = table[(table["split"] == "test") & (table["metric"] == "mcc")]
        if what:
            rows = rows[(rows["at"] == "windows") & (rows["kind"] != "moved")]
        found += [
            f"{row.model}: test MCC{what} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}], "
            f"n = {row.n:,}"
            for row in rows.itertuples()
        ]
    return found


def check(
    study: StudyFile,
    data: DataFolder = None,
    limit: Annotated[
        int, typer.Option("--limit", min=0, help="Count at most so many explained records.")
    ] = 0,
) -> None:
    """Read a study and its data, and say what it would cost; nothing is written.

    Per model and explainer: shards, evaluations, expected time and memory, disk.
    """
    from basewise.cli.progress import Terminal
    from basewise.study.which import is_experiment

    if is_experiment(study):
        from basewise.study.experiment import load_experiment
        from basewise.study.experiment_plan import plan_experiment

        _refuse_data(data)
        with Terminal().step("check", None) as step:
            lines = plan_experiment(load_experiment(study), step.at)
    else:
        from basewise.study import load_study
        from basewise.study.plan import plan

        with Terminal().step("check", None) as step:
            lines = plan(load_study(study), data, step.at, limit)
    for line in lines:
        typer.echo(line)


def status(
    folder: Annotated[str, typer.Argument(help="The folder of a run, or its URL.")],
) -> None:
    """Say what a run has finished and what is left."""
    from basewise.study.results import Run, folder_of
    from basewise.study.which import holds_experiment

    here = folder_of(folder)
    if holds_experiment(here):
        from basewise.study.experiments import ExperimentRun, progress_of_experiment

        lines = progress_of_experiment(ExperimentRun(here))
    else:
        from basewise.study.status import progress_of

        lines = progress_of(Run(here))
    for line in lines:
        typer.echo(line)
