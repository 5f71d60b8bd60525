"""Folders in a store, named by a URL (`s3://bucket/runs`), and their copies here.

Stores are reached through fsspec. They put a file whole or not at all, but know no locks and no
renaming; see `docs/decisions/008-a-run-in-a-store-is-worked-on-here.md`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import posixpath
import re
import shutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from basewise.errors import ConfigError, MissingExtra
from basewise.store import write_text

__all__ = ["Twin", "cache", "is_url", "place_of", "url_of"]

SUMS = "checksums.json"
UNSUMMED = {SUMS, "steps.json", "running.json", "log.jsonl"}
FIRST = "steps.json"
WHOLE = "models/"  # folders in it are whole or are not
KNOWN = ".twin.json"
SEALED = re.compile(r"part-\d+\.parquet")
URL = re.compile(r"[a-z][a-z0-9+.-]+://.")


def is_url(place: object) -> bool:
    """Whether a place is a URL, and not a path."""
    return isinstance(place, str) and URL.match(place) is not None


def cache() -> Path:
    """Where copies of what lies in stores are kept: `$XDG_CACHE_HOME`, or `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "basewise"


class Twin:
    """A folder in a store and its copy here.

    Parameters
    ----------
    url : str
        Of the folder.
    use : str
        What the copy is for; each use has its own.

    Attributes
    ----------
    folder : Path
        The copy; it stays, so that only what has changed is fetched another time.
    """

    def __init__(self, url: str, use: str = ""):
        self.url = url.rstrip("/")
        if local := re.match(r"(file|local)://(?!/)", self.url):
            rest = self.url.removeprefix(local[0])
            raise ConfigError(
                f"{url}: a local folder has three slashes: {local[0]}/{rest}; or give its path, "
                f"{rest}."
            )
        said = hashlib.sha256(f"{self.url}{use}".encode()).hexdigest()[:12]
        self.folder = cache() / f"{posixpath.basename(self.url)}-{said}"
        self._there: dict[str, list[Any]] = {}  # name -> what the store and the system know it by
        self._sums: dict[str, str] = {}  # name -> SHA-256, of files that do not say it themselves

    @cached_property
    def _store(self) -> tuple[Any, str]:
        """The file system of the URL, and the folder's path in it."""
        import fsspec

        try:
            system, root = fsspec.url_to_fs(self.url)
        except ImportError as error:
            raise MissingExtra(
                f"{self.url} needs another library ({error}); for S3: pip install 'basewise[s3]'."
            ) from None
        except ValueError as error:
            raise ConfigError(f"{self.url}: {str(error).rstrip('.')}; give s3://..., gs://... or "
                              "another URL that fsspec knows.") from None  # fmt: skip
        return system, root

    def read(self, name: str) -> bytes | None:
        """One file of the store; None where there is none."""
        system, root = self._store
        try:
            found: bytes = system.cat_file(f"{root}/{name}")
        except FileNotFoundError:
            return None
        return found

    def pull(self, below: str = "") -> None:
        """Make the copy what the store holds; what lies in its folder `below`, or everything.

        A file that is not what its checksum says is left out, as one that was never made: a
        part file has its checksum within, and is looked at where it is read. One that is here and
        not there is kept: it was finished when the run was killed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed: several processes may pull
            self._pull(below)

    def _pull(self, below: str) -> None:
        system, root = self._store
        system.invalidate_cache()
        found = system.find(root, detail=True) if system.exists(root) else {}
        there = {posixpath.relpath(path, root): info for path, info in found.items()}
        # What has gone from the store is sent again, if it is kept.
        self._there = {name: each for name, each in self._known().items() if name in there}
        self._sums = _json(self.read(SUMS))
        for name, info in there.items():
            if name in (SUMS, "running.json") or _hidden(name) or not name.startswith(below):
                continue
            key, path = _key(info), self.folder / name
            if self._there.get(name) != [key, _stamp(path)]:
                path.parent.mkdir(parents=True, exist_ok=True)
                system.get_file(f"{root}/{name}", str(path))
                self._there[name] = [key, _stamp(path)]
            if not self._whole(name, path):
                path.unlink()
        for path in self._files():
            name = path.relative_to(self.folder).as_posix()
            if name not in there and not SEALED.fullmatch(path.name):
                path.unlink()
        for name in self._sums:
            if name.startswith(WHOLE) and not (self.folder / name).exists():
                shutil.rmtree(self.folder.joinpath(*name.split("/")[:2]), ignore_errors=True)
        self._keep()

    def push(self) -> None:
        """Make the store hold what the copy does; safe to be interrupted at any moment.

        What steps are done goes first: where a step is about to replace files, it says so.
        """
        names = {path.relative_to(self.folder).as_posix(): path for path in self._files()}
        changed = [
            name for name, path in names.items()
            if self._there.get(name, [None, None])[1] != _stamp(path)
        ]  # fmt: skip
        system, root = self._store
        for name in sorted(changed, key=lambda name: (name != FIRST, name)):
            system.makedirs(posixpath.dirname(f"{root}/{name}"), exist_ok=True)
            stamp = _stamp(names[name])
            system.put_file(str(names[name]), f"{root}/{name}")
            self._there[name] = [_key(system.info(f"{root}/{name}")), stamp]
        gone = [name for name in self._there if name not in names]
        for name in gone:
            del self._there[name]
            if system.exists(f"{root}/{name}"):
                system.rm_file(f"{root}/{name}")
        summed = [name for name in changed if _summed(name)]
        if summed or any(name in self._sums for name in gone):
            self._sums |= {name: _sha(names[name]) for name in summed}
            self._sums = {name: each for name, each in self._sums.items() if name in names}
            system.pipe_file(f"{root}/{SUMS}", json.dumps(self._sums).encode())
        if changed or gone:
            self._keep()

    def _whole(self, name: str, path: Path) -> bool:
        return not _summed(name) or self._sums.get(name) == _sha(path)

    def _files(self) -> list[Path]:
        """What of the copy belongs in the store: not what is being written."""
        found = self.folder.rglob("*") if self.folder.exists() else ()
        return [
            path for path in found
            if path.is_file() and not _hidden(path.relative_to(self.folder).as_posix())
        ]  # fmt: skip

    def _known(self) -> dict[str, list[Any]]:
        path = self.folder / KNOWN
        known = _json(path.read_bytes() if path.exists() else None).get("files")
        return known if isinstance(known, dict) else {}

    def _keep(self) -> None:
        write_text(self.folder / KNOWN, json.dumps({"url": self.url, "files": self._there}))


def url_of(folder: Path) -> str:
    """The URL of which a folder is the copy; empty if it is none."""
    path = folder / KNOWN
    return str(_json(path.read_bytes() if path.exists() else None).get("url", ""))


def place_of(folder: Path) -> str:
    """Where a folder is, as users know it: the URL of which it is the copy, or else its path."""
    return url_of(folder) or str(folder)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _summed(name: str) -> bool:
    return name not in UNSUMMED and not SEALED.fullmatch(posixpath.basename(name))


def _key(info: Mapping[str, Any]) -> str:
    """What changes when a store's file does: its tag or its date, and its size."""
    known = [info.get(key) for key in ("ETag", "etag", "md5Hash", "mtime", "created", "size")]
    return json.dumps(known, default=str)


def _stamp(path: Path) -> list[int] | None:
    """What changes when a file here does."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _sha(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _json(data: bytes | None) -> dict[str, Any]:
    """What a file says; nothing where there is none, or it is broken."""
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
