"""The options of every command that reads a file of sequences; named as in `basewise.read`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from basewise.types import Record

__all__ = ["Label", "OnError", "OnErrorOption", "Sequence", "read_file"]

Sequence = Annotated[
    str | None, typer.Option("--sequence", help="Column of the sequences, if not found.")
]
Label = Annotated[str | None, typer.Option("--label", help="Column of the labels, if not found.")]


class OnError(StrEnum):
    """What becomes of rows that are wrong."""

    RAISE = "raise"
    SKIP = "skip"


OnErrorOption = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        help="Rows that cannot be read: stop at them, or skip them, counted and shown. "
        "A record that is read is never skipped: one that then cannot be used stops the command.",
    ),
]


def read_file(
    path: str | Path, sequence: str | None, label: str | None, on_error: OnError
) -> list[Record]:
    """The records of a file."""
    from basewise.data import read

    return read(path, sequence=sequence, label=label, on_error=on_error.value)
