"""basewise fetch"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fetch"]


def fetch(
    name: Annotated[str, typer.Argument(help="gue (the archive) or gue_promoters (its files).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to fill.")] = Path("data/gue"),
    url: Annotated[str | None, typer.Option("--url", help="Another place of the same.")] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Of the archive, if you trust another.")
    ] = None,
) -> None:
    """Download a published data set: checked against its checksum, resumable."""
    from basewise.cli.progress import Terminal
    from basewise.data.fetch import fetch as fetch_data

    with Terminal().step(f"fetch {name}", None) as bar:
        paths = fetch_data(name, out, url=url, sha256=sha256, progress=bar.at)
    for path in paths:
        typer.echo(path)
