"""Who is told how far training is: the caller, a bar on a terminal, or nobody."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "shown"]

Progress = Callable[[int, int, str], None]
"""Told `(steps done, steps in all, note)` after every step."""


@contextmanager
def shown(progress: Progress | None) -> Iterator[Progress]:
    """The given one; without one, a bar where the error stream is a terminal."""
    if progress is not None:
        yield progress
    elif not sys.stderr.isatty():
        yield _nobody
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
        )
        with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task("", total=None)
            yield lambda done, total, note: bars.update(
                task, completed=done, total=total, description=note
            )


def _nobody(done: int, total: int, note: str) -> None:
    pass
