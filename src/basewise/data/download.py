"""One file from a server: resumed where it broke off, checked, and whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from basewise.errors import DataError, StoreError

__all__ = ["Progress", "checksum", "download"]

Progress = Callable[[int, int | None], None]
"""Told the bytes there are and, where the server said so, the bytes there will be."""

_CHUNK = 1 << 18
_TRIES = 4  # in a row without a new byte
_WAIT = 1.0  # seconds before the second try, doubled before each further one
_TIMEOUT = 60.0


def checksum(path: Path, kind: str) -> str:
    """`kind:hex` of a file; `sha256`, or `git`, the name git gives the content (SHA-1)."""
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(usedforsecurity=False)
    if kind == "git":
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return f"{kind}:{digest.hexdigest()}"


def download(
    url: str,
    path: Path,
    expected: str,
    *,
    limit: int = 8 << 30,
    progress: Progress | None = None,
) -> None:
    """Bring a file to `path`, unless it is there.

    What has come stays in `<name>.part`, also when this process is killed, and the next call
    goes on behind it (HTTP Range). A whole file of another checksum is kept as
    `<name>.refused`, so that it need not come again once it is known to be right.

    Parameters
    ----------
    url : str
        `http`, `https` or `file`.
    expected : str
        `sha256:<hex>` or `git:<hex>`; see `checksum`.
    limit : int
        Bytes above which the server is not believed.

    Raises
    ------
    DataError
        If the server refuses, stays silent or sends something else.
    StoreError
        If the file cannot be written.
    """
    kind = expected.partition(":")[0]
    part, refused = (path.with_name(path.name + end) for end in (".part", ".refused"))
    for there in (path, refused):
        if there.exists() and checksum(there, kind) == expected:
            os.replace(there, path)
            return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _complete(url, part, limit, progress)
        found = checksum(part, kind)
        os.replace(part, path if found == expected else refused)
    except OSError as error:
        raise StoreError(f"{part} cannot be written: {error.strerror or error}.") from None
    if found != expected:
        raise DataError(
            f"{url} gave {refused.stat().st_size} bytes with {found.replace(':', ' ')}, but "
            f"{expected.partition(':')[2]} was expected; kept as {refused}, not used."
        )


def _complete(url: str, part: Path, limit: int, progress: Progress | None) -> None:
    """Append to `part` until the server has no more."""
    if url.partition(":")[0] not in ("http", "https", "file"):
        raise DataError(f"{url!r} is not an address that begins with http, https or file.")
    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        reason = _append(url, part, before, limit, progress)
        if reason is None:
            return
        tries = 1 if part.exists() and part.stat().st_size > before else tries + 1
        if tries == _TRIES or url.startswith("file:"):
            raise DataError(
                f"{url} cannot be downloaded: {reason}. What has come is kept; "
                "run the same command again to go on."
            )
        time.sleep(_WAIT * 2 ** (tries - 1))


def _append(url: str, part: Path, start: int, limit: int, progress: Progress | None) -> str | None:
    """One request for what is missing; why it broke off, or None when the file is complete."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "basewise"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as error:
        with error:
            return _answered(url, error, part, start)
    except (OSError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error))
    with response:
        if response.headers.get_content_type() == "text/html":
            raise DataError(
                f"{url} sent a web page, not a file; open it in a browser, save the file, and "
                "give its place as a file:// address."
            )
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.unlink()
            return "the server resumed at another place"
        length = response.headers.get("Content-Length")
        done = start if resumed else 0
        total = done + int(length) if length is not None else None
        with open(part, "ab" if resumed else "wb") as file:
            while done <= limit and (total is None or total <= limit):
                try:
                    chunk = response.read(_CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    return str(error) or type(error).__name__
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
            else:
                raise DataError(f"{url} is larger than the {limit} bytes allowed; not downloaded.")
    return None if total is None or done == total else f"the connection broke at byte {done}"


def _answered(url: str, error: urllib.error.HTTPError, part: Path, start: int) -> str | None:
    """What an error status means: complete (None), to be tried again (why), or the end."""
    if error.code == 416:
        if error.headers.get("Content-Range") == f"bytes */{start}":
            return None
        part.unlink()
        return "the server has another file than the one begun"
    said = f"the server answered {error.code} {error.reason}"
    if error.code in (408, 429) or error.code >= 500:
        return said
    raise DataError(f"{url} cannot be downloaded: {said}.")
