"""What backends have in common: tasks, what becomes of them, and how one is tried."""

from __future__ import annotations

import os
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from basewise.errors import BasewiseError

__all__ = ["Backend", "Failed", "Outcome", "Task", "Workers", "attempt", "cores"]


class Task(Protocol):
    """Something to be done elsewhere; it can be pickled."""

    def run(self) -> bytes: ...


@dataclass(frozen=True)
class Failed:
    """Why a task gave nothing.

    Attributes
    ----------
    error : str
        In one line.
    trace : str
        Where in the code, for errors that are not basewise's own.
    lasting : bool
        Whether it would fail again, so that nothing is gained by trying.
    lost : bool
        Whether not the task failed but its worker: it was killed, or its machine was.
    """

    error: str
    trace: str = ""
    lasting: bool = False
    lost: bool = False


Outcome = bytes | Failed


class Workers(Protocol):
    """Workers at their work. A worker that dies is replaced, and its task is `Failed`, `lost`."""

    def room(self) -> int:
        """How many tasks can be given now."""

    def give(self, key: int, task: Task) -> None:
        """Let a free worker do a task."""

    def take(self, seconds: float) -> list[tuple[int, Outcome]]:
        """What became of the tasks that ended; waits for one, but not longer than `seconds`."""


class Backend(Protocol):
    """Gives workers for devices of a kind, `cpu` or `cuda`."""

    def open(self, device: str) -> AbstractContextManager[Workers]: ...


def cores() -> int:
    """Cores that this process may use; all there are where the system does not say."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def attempt(task: Task) -> Outcome:
    """The bytes of a task, or why there are none."""
    try:
        return task.run()
    except BasewiseError as error:
        return Failed(" ".join(str(error).split()), lasting=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the other shards go on
        said = traceback.format_exception_only(error)[-1].split()
        return Failed(" ".join(said), traceback.format_exc())
