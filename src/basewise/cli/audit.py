"""basewise audit"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from basewise.cli.reading import Label, OnError, OnErrorOption, Sequence, read_file

__all__ = ["audit"]


def audit(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Files of sequences, as train=a.csv dev=b.csv test=c.csv or a.csv."),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write JSON here.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Published metrics to check, as accuracy=0.860,mcc=0.720,f1=0.859."),
    ] = None,
    positives: Annotated[int, typer.Option(help="Positives of their test set.")] = 0,
    negatives: Annotated[int, typer.Option(help="Negatives of their test set.")] = 0,
    sequence: Sequence = None,
    label: Label = None,
    on_error: OnErrorOption = OnError.RAISE,
) -> None:
    """Say what is wrong with a data set before a model is trained on it.

    Leakage, contradictions, composition shortcuts, construction artefacts.

    A file without a name is called after itself.

    With --metrics: whether published numbers can come from one confusion matrix.
    """
    from basewise.errors import ConfigError

    if not files and not metrics:
        raise ConfigError("audit needs files, as train=a.csv test=b.csv, or --metrics.")
    if metrics:
        _published(metrics, positives, negatives)
    if files:
        _data(files, out, sequence, label, on_error)


def _published(metrics: str, positives: int, negatives: int) -> None:
    from basewise.checks import metrics_possible
    from basewise.errors import ConfigError

    pairs = dict(text.strip().partition("=")[::2] for text in metrics.split(","))
    if not all(pairs.values()):
        raise ConfigError(f"--metrics {metrics!r}: write name=value,name=value.")
    found = metrics_possible(pairs, positives=positives, negatives=negatives)
    typer.echo(found.sentence)


def _data(
    files: list[str],
    out: Path | None,
    sequence: str | None,
    label: str | None,
    on_error: OnError,
) -> None:
    from basewise.checks import audit as audit_splits
    from basewise.cli.progress import Terminal
    from basewise.errors import ConfigError
    from basewise.store import write_text

    splits = {}
    for text in files:
        name, equals, path = text.rpartition("=")
        name = name if equals else Path(path).name.split(".")[0]
        if name in splits or name == "checks":
            raise ConfigError(f"a split cannot be called {name!r} here; write othername={path}.")
        splits[name] = read_file(path, sequence, label, on_error)
    with Terminal().step("audit", None):
        found = audit_splits(**splits)
    for split in found.splits:
        labels = ", ".join(f"{label} {n:,}" for label, n in split.labels.items())
        typer.echo(
            f"{split.name}: {split.rows:,} rows, {split.distinct:,} distinct, "
            f"{split.shortest}-{split.longest} bases{'; ' + labels if labels else ''}"
        )
    typer.echo()
    typer.echo(str(found))
    if out:
        write_text(out, found.to_json())
