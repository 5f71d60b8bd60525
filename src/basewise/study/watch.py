"""What a run tells while it works: lines in its log, and a watcher that may show progress."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Log", "Silent", "Step", "Watcher", "read_log"]


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

    A run that was killed in the middle of a line leaves a piece of it, which stays a line of
    its own; see `read_log`.
    """

    def __init__(self, path: Path):
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")

    def __call__(self, event: str, **values: Any) -> None:
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "event": event} | values
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log, each with `time` and `event`; pieces of lines are left out."""
    if not path.exists():
        return
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and {"time", "event"} <= found.keys():
                yield found
