"""What a run tells while it works: lines in its log, and a watcher that may show progress."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Log", "Silent", "Step", "Watcher"]


class Step(Protocol):
    """Progress of one step."""

    def at(self, done: int, total: int | None = None, note: str = "") -> None:
        """So many of so many are done; the note replaces the last one."""


class Watcher(Protocol):
    """Shows steps as they go."""

    def step(self, title: str, total: int | None) -> Any:
        """A context manager that gives a `Step`; `total` is None where it is not known."""

    def note(self, text: str) -> None:
        """One line worth saying."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def step(self, title: str, total: int | None = None) -> Iterator[Step]:
        yield self

    def at(self, done: int, total: int | None = None, note: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        pass


class Log:
    """`log.jsonl`: one JSON object a line, appended.

    The file of a run killed in the middle of a line is still readable: readers skip what
    does not parse.
    """

    def __init__(self, path: Path):
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, event: str, **values: Any) -> None:
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event} | values
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")
