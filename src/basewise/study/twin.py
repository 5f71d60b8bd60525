"""A run in a store: its folder's copy here is worked on, and the store follows step by step."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from basewise.errors import StoreError
from basewise.remote import Twin, is_url
from basewise.study.owner import FILE, owned, said
from basewise.study.watch import Step, Watcher

__all__ = ["working_copy"]

EVERY = 10.0  # seconds after which results of shards and cells are sent
LONG = ("explain", "cells")  # steps that are followed while they last


@contextmanager
def working_copy(place: str | Path, watcher: Watcher) -> Iterator[tuple[Path, Watcher]]:
    """The folder of a run to work in, and the watcher to work under.

    Of a path these are the path and the watcher. Of a URL it is a copy of what the store
    holds, and the watcher sends what is new after every step, after every ten seconds of
    shards or cells, and at the end.

    Raises
    ------
    StoreError
        If the store says that a run is at work there on another machine.
    """
    if not is_url(place):
        yield Path(place), watcher
        return
    twin = Twin(str(place))
    with owned(twin.folder.with_name(f"{twin.folder.name}.use")):  # the copy, by one run at a time
        _refuse_others(twin)
        twin.pull()
        try:
            yield twin.folder, _Following(watcher, twin)
        finally:
            twin.push()


def _refuse_others(twin: Twin) -> None:
    found = twin.read(FILE)
    owner = json.loads(found) if found else {}
    if owner and owner.get("host") != socket.gethostname():
        raise StoreError(
            f"{twin.url} belongs to {said(owner)}; whether it still runs cannot be seen from "
            f"here. Wait for it, give another --out, or, if it is gone, delete {twin.url}/{FILE}."
        )


class _Following:
    """Watches as another does, and has a store follow."""

    def __init__(self, watcher: Watcher, twin: Twin):
        self._watcher, self._twin = watcher, twin
        self.note = watcher.note

    @contextmanager
    def step(self, title: str, total: int | None) -> Iterator[Step]:
        with self._watcher.step(title, total) as step:
            yield _FollowingStep(step, self._twin) if title in LONG else step
        self._twin.push()


class _FollowingStep:
    """Sends the results of shards while others are at work."""

    def __init__(self, step: Step, twin: Twin):
        self._step, self._twin = step, twin
        self._sent = time.monotonic()

    def at(self, done: int, total: int | None = None, note: str = "") -> None:
        self._step.at(done, total, note)
        if time.monotonic() - self._sent >= EVERY:
            self._twin.push()
            self._sent = time.monotonic()
