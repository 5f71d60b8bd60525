"""Progress on a terminal; plain lines where there is none, such as in the log of a job."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
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


EVERY = 10.0  # seconds between the lines of one step


class Terminal:
    """Shows a bar per step on standard error; lines, one in ten seconds, if it is no terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False)

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
            bar = _Bar(progress, title, total, self.note)
            yield bar
        seconds = time.perf_counter() - begin
        note = f"  {bar.note}" if bar.note else ""
        self._console.print(f"{title:<40} {seconds:7.1f} s{note}", style="dim", soft_wrap=True)

    def note(self, text: str) -> None:
        """One line worth saying."""
        self._console.print(text, soft_wrap=True)


class _Bar:
    """One step: a bar, or where that is not shown, a line now and then."""

    def __init__(
        self, progress: Progress, title: str, total: int | None, say: Callable[[str], None]
    ):
        self._progress, self._title, self._say, self.note = progress, title, say, ""
        self._task = progress.add_task(title, total=total, note="")
        self._said = time.perf_counter()

    def at(self, done: int, total: int | None = None, note: str = "") -> None:
        """So many of so many are done."""
        self.note = note or self.note
        if total is not None:
            self._progress.update(self._task, total=total)
        self._progress.update(self._task, completed=done, note=self.note)
        if self._progress.disable and time.perf_counter() - self._said >= EVERY:
            self._said = time.perf_counter()
            whole = self._progress.tasks[self._task].total
            of = "" if whole is None else f" of {whole:,.0f}"
            self._say(f"{self._title}: {done:,}{of}{f', {self.note}' if self.note else ''}")
