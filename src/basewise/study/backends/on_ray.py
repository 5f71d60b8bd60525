"""Shards on the machines of a Ray cluster."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field

from basewise.errors import ConfigError, MissingExtra
from basewise.registry import component
from basewise.study.backends.work import Failed, Outcome, Task, attempt

__all__ = ["OnRay"]

EVERY = 5.0  # seconds between looks at how large the cluster is
STILLBORN = 10  # actors that may die before they began, one after the other


@component
class OnRay:
    """On a Ray cluster: one actor for each core or accelerator, which keeps the model.

    All machines see the model's folder under the same path; results come back to this process,
    which alone writes to the run's folder. Machines may leave and join while it runs.

    Attributes
    ----------
    address : str
        Of the cluster: `auto` for the one this machine belongs to, `host:port`, or `local` for
        one that is started here and ends with the run.
    workers : int
        The most actors; 0: as many as the cluster has cores, or accelerators.
    """

    address: str = "auto"
    workers: Annotated[int, Field(ge=0)] = 0

    @contextmanager
    def open(self, device: str) -> Iterator[_Actors]:
        try:
            import ray
        except ImportError:
            raise MissingExtra(
                "The backend 'ray' needs Ray; install it with: pip install 'basewise[ray]'."
            ) from None
        ours, signals = not ray.is_initialized(), _Signals()
        if ours:
            try:
                ray.init(
                    address=self.address, log_to_driver=False, include_dashboard=False,
                    logging_level=logging.ERROR,
                )  # fmt: skip
            except ConnectionError as error:
                raise ConfigError(
                    f"There is no Ray cluster at {self.address!r} ({str(error).splitlines()[0]}); "
                    "start one with: ray start --head, or give --address local."
                ) from None
        try:
            with signals:
                yield _Actors(self.workers, device, signals)
        finally:
            if ours:
                ray.shutdown()


class _Signals:
    """Who asks the process to stop is answered between two calls of Ray, by whoever did before.

    Ray takes SIGTERM for itself and aborts by it, and what a handler raises in the middle of a
    call does not come out of it as it was.
    """

    def __init__(self) -> None:
        self._main = threading.current_thread() is threading.main_thread()
        self._before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
        self._heard: list[int] = []

    def __enter__(self) -> None:
        for each in self._before if self._main else ():
            signal.signal(each, lambda heard, _: self._heard.append(heard))

    def answer(self) -> None:
        """Do what was done before Ray came, if a signal was heard."""
        heard, self._heard = self._heard, []
        if heard:
            self._back()
        for each in heard:
            signal.raise_signal(each)

    def _back(self) -> None:
        for each, handler in self._before.items() if self._main else ():
            signal.signal(each, handler)

    def __exit__(self, *_: object) -> None:
        self._back()
        self.answer()


class _Actor:
    """Runs on a slot of the cluster."""

    def ready(self) -> None:
        """Answers once there is a slot, and basewise is imported there."""

    def run(self, task: Task) -> Outcome:
        return attempt(task)


class _Actors:
    """As `ray.util.ActorPool`, but actors that die are replaced, and more come with machines."""

    def __init__(self, most: int, device: str, signals: _Signals):
        import ray

        self._signals = signals
        self._most, self._resource = most, "GPU" if device == "cuda" else "CPU"
        self._class = ray.remote(num_cpus=1, num_gpus=int(device == "cuda"))(_Actor)
        self._free: list[Any] = []
        self._coming: dict[Any, Any] = {}  # what says that it is there -> actor
        self._busy: dict[Any, tuple[Any, int]] = {}  # result -> actor, key
        self._looked, self._stillborn = 0.0, 0
        self._look()

    def room(self) -> int:
        return len(self._free)

    def give(self, key: int, task: Task) -> None:
        actor = self._free.pop()
        self._busy[actor.run.remote(task)] = actor, key

    def take(self, seconds: float) -> list[tuple[int, Outcome]]:
        import ray

        self._signals.answer()
        self._look()
        waited = [*self._busy, *self._coming]
        if not waited:
            time.sleep(seconds)
            return []
        ready, _ = ray.wait(waited, timeout=seconds)
        if ready:  # and all others that have come meanwhile
            ready, _ = ray.wait(waited, num_returns=len(waited), timeout=0)
        found: list[tuple[int, Outcome]] = []
        for each in ready:
            actor, key = self._busy.pop(each, None) or (self._coming.pop(each), None)
            try:
                outcome = ray.get(each)
                self._free.append(actor)
                self._stillborn = 0
            except ray.exceptions.RayError as error:
                said = " ".join(str(error).split(".")[0].split())
                outcome = Failed(f"its actor was lost ({said})", lost=True)
                self._stillborn += key is None
                if self._stillborn == STILLBORN:
                    raise ConfigError(
                        f"{STILLBORN} actors in turn did not start on the Ray cluster: {said}. "
                        "Install the same basewise on all of its machines."
                    ) from None
                ray.kill(actor)
                self._hire()
            if key is not None:
                found.append((key, outcome))
        return found

    def _look(self) -> None:
        """Have as many actors as the cluster has slots now."""
        import ray

        if self._looked and time.monotonic() - self._looked < EVERY:
            return
        self._looked = time.monotonic()
        slots = int(ray.cluster_resources().get(self._resource, 0))
        wanted = min(self._most or slots, max(slots, 1))
        for _ in range(wanted - len(self._free) - len(self._coming) - len(self._busy)):
            self._hire()

    def _hire(self) -> None:
        actor: Any = self._class.remote()
        self._coming[actor.ready.remote()] = actor
