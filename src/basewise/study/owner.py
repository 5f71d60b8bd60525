"""One run at a time in a folder: its owner holds a lock on `running.json` and is named there."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from basewise.errors import StoreError

__all__ = ["FILE", "give_up", "owned", "owner_of", "said"]

FILE = "running.json"
_OURS: set[Path] = set()  # what this process owns


@contextmanager
def owned(folder: Path) -> Iterator[str | None]:
    """Own a run's folder while the block lasts; gives who held it before and died, if anyone.

    The operating system keeps the lock and lets it go with the process, however that ends, so
    what a killed run left on this machine is taken over without asking whether a process id
    still means the same process. From another machine that cannot be known: its file stands.

    Raises
    ------
    StoreError
        Naming the owner, if another process runs in the folder, or one of another machine did
        and its file is still there.
    """
    path = folder / FILE
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        left = _read(file)
        if left and left.get("host") != socket.gethostname():
            raise StoreError(
                f"{folder} belongs to {said(left)}; whether it still runs cannot be seen from "
                f"here. Wait for it, give another --out, or, if it is gone, delete {path}."
            )
        file.seek(0)
        file.truncate()
        json.dump(
            {"pid": os.getpid(), "host": socket.gethostname(), "begin": round(time.time())}, file
        )
        file.flush()
        _OURS.add(path.absolute())
        try:
            yield said(left) if left else None
        finally:
            _OURS.discard(path.absolute())
            path.unlink(missing_ok=True)


def give_up() -> None:
    """Own nothing any more, for a process that is about to end in the middle of its work."""
    while _OURS:
        _OURS.pop().unlink(missing_ok=True)


def owner_of(folder: Path) -> str | None:
    """Who runs in the folder, or who ran there and did not come to an end."""
    try:
        with open(folder / FILE, encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return f"in use by {said(_read(file))}"
            return f"left by {said(_read(file))}: run the study again"
    except FileNotFoundError:
        return None


@contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    """The file, open and locked; refused where another process holds it."""
    while True:
        with open(path, "a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(
                    f"{path.parent} is in use by {said(_read(file))}; wait for it, or give "
                    "another --out."
                ) from None
            if not _there(path, file):  # its owner ended and removed it before we had the lock
                continue
            yield file
            return


def _there(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _read(file: IO[str]) -> dict[str, Any]:
    """What a file says; nothing where its writer was killed before it wrote."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def said(owner: Mapping[str, Any]) -> str:
    """Who owns a folder, as its file says."""
    if not owner.keys() >= {"pid", "host", "begin"}:
        return "another process"
    begin = time.strftime("%Y-%m-%d %H:%M", time.localtime(owner["begin"]))
    return (
        f"process {owner['pid']} on {owner['host']}, begun {begin} "
        f"({_age(time.time() - owner['begin'])} ago)"
    )


def _age(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} seconds"
