"""basewise fetch"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["fetch"]


def fetch(
    name: Annotated[str, typer.Argument(help="gue")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to fill.")] = Path("data"),
) -> None:
    """Download a published data set, checked and resumable."""
    from basewise.data.fetch import fetch as fetch_data

    typer.echo(fetch_data(name, out))
