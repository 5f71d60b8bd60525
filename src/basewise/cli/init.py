"""basewise init"""

from __future__ import annotations

import typer

__all__ = ["init"]


def init() -> None:
    """Print a commented study file to start from: basewise init > study.toml"""
    from importlib.resources import files

    text = (files("basewise.study") / "start.toml").read_text(encoding="utf-8")
    typer.echo(text, nl=False)
