"""basewise run | check | status"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from basewise.study import Run, Study
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
    from basewise.errors import ConfigError
    from basewise.remote import is_url
    from basewise.study import load_study
    from basewise.study.finished import inputs, recognised, remember
    from basewise.study.twin import working_copy
    from basewise.study.which import is_experiment

    if is_experiment(study):
        if is_url(out):
            raise ConfigError(f"--out {out}: an experiment is kept in a folder, a study in a URL.")
        _experiment(study, Path(out), _backend(backend, workers, address))
        return
    given = inputs(study, data)
    place = f"{out}/{given.name}" if is_url(out) else str(Path(out) / given.name)
    with working_copy(place, Terminal()) as (folder, watcher):
        said = recognised(folder, given)
        if said is None:
            settings = _backend(backend, workers, address)
            said = _run(load_study(study), folder, data, watcher, settings)
            remember(folder, given, inputs(study, data), said)
        else:
            typer.echo("basewise: finished before, and no byte has changed since.", err=True)
    for line in said:
        typer.echo(line)
    typer.echo(f"{place}/report/index.html")


def _run(
    study: Study, folder: Path, data: Path | None, watcher: Watcher, backend: Any
) -> list[str]:
    """Run a study and write its report; gives what there is to say of it."""
    from basewise.report import write_report
    from basewise.study import run_study

    done = run_study(study, folder, data, watcher, backend)
    with watcher.step("report", None):
        write_report(folder)
    return _quality(done)


def _experiment(file: Path, out: Path, backend: dict[str, Any] | None) -> None:
    """Run an experiment as `run` does a study."""
    from basewise.cli.progress import Terminal
    from basewise.report.experiment import write_experiment_report
    from basewise.study.experiment import load_experiment
    from basewise.study.experiments import run_experiment

    experiment = load_experiment(file)
    watcher = Terminal()
    done = run_experiment(experiment, out / experiment.about.name, watcher, backend)
    with watcher.step("report", None):
        page = write_experiment_report(done.folder)
    typer.echo(page)


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
    from basewise.study import load_study
    from basewise.study.plan import plan
    from basewise.study.which import is_experiment

    if is_experiment(study):
        from basewise.study.experiment import load_experiment
        from basewise.study.experiments import plan_experiment

        for line in plan_experiment(load_experiment(study)):
            typer.echo(line)
        return
    with Terminal().step("check", None) as step:
        lines = plan(load_study(study), data, step.at, limit)
    for line in lines:
        typer.echo(line)


def status(
    folder: Annotated[str, typer.Argument(help="The folder of a run, or its URL.")],
) -> None:
    """Say what a run has finished and what is left."""
    from basewise.study import open_run
    from basewise.study.status import progress_of
    from basewise.study.which import holds_experiment

    if holds_experiment(Path(folder)):
        from basewise.study.experiments import ExperimentRun, progress_of_experiment

        lines = progress_of_experiment(ExperimentRun(Path(folder)))
    else:
        lines = progress_of(open_run(folder))
    for line in lines:
        typer.echo(line)
