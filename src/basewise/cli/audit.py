"""basewise audit"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["audit"]


def audit(
    files: Annotated[
        list[str],
        typer.Argument(help="Files of sequences, as train=a.csv dev=b.csv test=c.csv or a.csv."),
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write JSON here.")] = None,
) -> None:
    """Say what is wrong with a data set before a model is trained on it.

    Leakage, contradictions, composition shortcuts, construction artefacts. A file without a
    name is called after itself.
    """
    from basewise.checks import audit as audit_splits
    from basewise.cli.progress import Terminal
    from basewise.data import read
    from basewise.errors import ConfigError
    from basewise.store import write_text

    splits = {}
    for text in files:
        name, equals, path = text.rpartition("=")
        name = name if equals else Path(path).name.split(".")[0]
        if name in splits:
            raise ConfigError(f"two files are called {name!r}; write name=path for each.")
        splits[name] = read(path)
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
