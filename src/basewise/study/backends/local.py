"""Shards one after the other, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from basewise.registry import component
from basewise.study.backends.work import Outcome, Task, attempt

__all__ = ["Local"]


@component
class Local:
    """In this process; on the processor with one thread."""

    @contextmanager
    def open(self, device: str) -> Iterator[_Here]:
        yield _Here()


class _Here:
    def __init__(self) -> None:
        self._done: list[tuple[int, Outcome]] = []

    def room(self) -> int:
        return 0 if self._done else 1

    def give(self, key: int, task: Task) -> None:
        self._done.append((key, attempt(task)))

    def take(self, seconds: float) -> list[tuple[int, Outcome]]:
        if not self._done:
            time.sleep(seconds)
        found, self._done = self._done, []
        return found
