"""Progress on a terminal; one line per step where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Terminal"]


class Terminal:
    """Shows a bar per step on standard error; quiet lines when it is not a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[_Bar]:
        begin = time.perf_counter()
        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<32}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(
            *columns, console=self._console, transient=True, disable=not sys.stderr.isatty()
        ) as progress:
            bar = _Bar(progress, title, total)
            yield bar
        seconds = time.perf_counter() - begin
        note = f"  {bar.note}" if bar.note else ""
        self._console.print(f"{title:<40} {seconds:7.1f} s{note}", style="dim")

    def note(self, text: str) -> None:
        """One line worth saying."""
        self._console.print(text)


class _Bar:
    def __init__(self, progress: Progress, title: str, total: int | None):
        self._progress, self.note = progress, ""
        self._task = progress.add_task(title, total=total, note="")

    def at(self, done: int, total: int | None = None, note: str = "") -> None:
        """So many of so many are done."""
        self.note = note or self.note
        if total is not None:
            self._progress.update(self._task, total=total)
        self._progress.update(self._task, completed=done, note=self.note)
