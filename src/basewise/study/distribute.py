"""Giving tasks to workers until every one is done, or set aside."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from basewise.explainers.shards import SECONDS, WORK
from basewise.study.backends import BACKENDS
from basewise.study.backends.work import Backend, Failed, Outcome, Task, Workers, cores

__all__ = ["LOSSES", "TRIES", "distribute", "fitting"]

TRIES = 3
"""How often a task may fail before it is set aside; one that would fail again is so at once."""
LOSSES = 10
"""How often its worker may die under a task before the task passes for the cause."""
WORTHWHILE = 30.0  # seconds of work before processes are started for it
WAIT, LONGEST = 1.0, 60.0  # seconds before a task is tried again, twice as many each time


def fitting(device: str, works: Sequence[int]) -> Backend:
    """Several processes for shards of so much work, where it is more than they need to start."""
    seconds = sum(works) / WORK[device] * SECONDS
    several = cores() > 1 and seconds > WORTHWHILE and len(works) > 1
    found: Backend = BACKENDS.build("processes" if several else "local")
    return found


def distribute(
    tasks: Iterable[tuple[int, Task]],
    workers: Workers,
    failed: Callable[[int, Failed], None] | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """What became of each task, in the order in which they end.

    Tasks are drawn from the iterable as workers are free, so there may be very many.

    Parameters
    ----------
    tasks : iterable of (int, Task)
        Each with a key of its own.
    failed : callable, optional
        Told of every failure after which the task is tried again.
    """
    fresh = iter(tasks)
    again: list[tuple[float, int, Task]] = []
    running: dict[int, Task] = {}
    errors: Counter[tuple[int, bool]] = Counter()
    drained = False
    while True:
        while workers.room() and not (drained and not again):
            if again and again[0][0] <= time.monotonic():
                _, key, task = heapq.heappop(again)
            elif not drained and (found := next(fresh, None)) is not None:
                key, task = found
            else:
                drained = True
                break
            running[key] = task
            workers.give(key, task)
        if drained and not (running or again):
            return
        for key, outcome in workers.take(_patience(again) if workers.room() else 1.0):
            task = running.pop(key)
            if not isinstance(outcome, Failed):
                yield key, outcome
                continue
            kind = (key, outcome.lost)
            errors[kind] += 1
            if outcome.lasting or errors[kind] >= (LOSSES if outcome.lost else TRIES):
                yield key, outcome
                continue
            if failed:
                failed(key, outcome)
            wait = min(WAIT * 2 ** (errors[kind] - 1), LONGEST)
            heapq.heappush(again, (time.monotonic() + wait, key, task))


def _patience(again: list[tuple[float, int, Task]]) -> float:
    """Seconds to wait for workers: until the next task is due, and a second at most."""
    return min(max(again[0][0] - time.monotonic(), 0.0), 1.0) if again else 1.0
