"""basewise demo"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option("--out", help="Where runs are kept.")] = Path("runs"),
) -> None:
    """Do the whole job on a promoter grammar made here; prints the path of the report last."""
    from importlib.resources import as_file, files

    from basewise.cli.run import run

    with as_file(files("basewise.study") / "demo.toml") as study:
        run(study, None, str(out))
