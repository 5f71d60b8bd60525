"""Shards in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Annotated

from pydantic import Field

from basewise.registry import component
from basewise.study.backends.work import Failed, Outcome, Task, attempt, cores

__all__ = ["Processes"]


@component
class Processes:
    """In processes of this machine, each with the model in memory and one thread.

    Attributes
    ----------
    workers : int
        How many; 0: one for each core, or for each accelerator.
    """

    workers: Annotated[int, Field(ge=0)] = 0

    @contextmanager
    def open(self, device: str) -> Iterator[_Pool]:
        devices = _accelerators() if device == "cuda" else 0
        pool = _Pool(self.workers or devices or cores(), devices)
        try:
            yield pool
        finally:
            pool.close()


def _accelerators() -> int:
    import torch

    return torch.cuda.device_count()


class _Pool:
    """Processes that are started when there is something to do, and again when they die."""

    def __init__(self, workers: int, devices: int):
        self._free: list[_Worker | None] = [None] * workers
        self._devices = list(range(devices))
        self._busy: list[_Worker] = []

    def room(self) -> int:
        return len(self._free)

    def give(self, key: int, task: Task) -> None:
        worker = self._free.pop() or self._hired()
        worker.key = key
        self._busy.append(worker)
        with suppress(BrokenPipeError, ConnectionResetError):  # taking says that it had died
            worker.pipe.send(task)

    def take(self, seconds: float) -> list[tuple[int, Outcome]]:
        if not self._busy:
            time.sleep(seconds)
            return []
        ready = wait([worker.pipe for worker in self._busy], seconds)
        found: list[tuple[int, Outcome]] = []
        for worker in [worker for worker in self._busy if worker.pipe in ready]:
            self._busy.remove(worker)
            try:
                found.append((worker.key, worker.pipe.recv()))
                self._free.append(worker)
            except (EOFError, OSError):
                found.append((worker.key, Failed(worker.end(), lost=True)))
                if worker.device >= 0:
                    self._devices.append(worker.device)
                self._free.append(None)
        return found

    def close(self) -> None:
        for worker in [*self._busy, *self._free]:
            if worker is not None:
                worker.process.kill()
                worker.end()

    def _hired(self) -> _Worker:
        return _Worker(self._devices.pop() if self._devices else -1)


class _Worker:
    """A process and the pipe to it; `key` says what it does, `device` on which accelerator."""

    def __init__(self, device: int):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.key, self.device = -1, device
        self.process = context.Process(target=_serve, args=(theirs, device), daemon=True)
        self.process.start()
        theirs.close()  # so that the pipe ends with the process

    def end(self) -> str:
        """Wait for its end, and say how it ended."""
        self.process.join(5)
        self.pipe.close()
        code = self.process.exitcode or 0
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
        return f"its worker, process {self.process.pid}, ended {how}"


def _serve(pipe: Connection, device: int) -> None:
    """Do tasks until the driver hangs up, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: for the driver to answer
    if device >= 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = _named(device)
    threading.Thread(target=_end_with_driver, daemon=True).start()
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(task))


def _named(device: int) -> str:
    """The accelerator of this number, of those that the run was given by a scheduler or by hand."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    return str(device) if given is None else given.split(",")[device].strip()


def _end_with_driver() -> None:
    """A driver that is killed says nothing; work that nobody waits for ends with it."""
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
    os._exit(1)
