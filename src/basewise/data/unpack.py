"""Tables out of a zip archive that nobody vouches for."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from basewise.errors import DataError, StoreError
from basewise.store import whole

__all__ = ["unpack"]

_CHUNK = 1 << 20


def unpack(archive: Path, folder: Path, *, limit: int = 8 << 30) -> list[Path]:
    """Write the CSV files of a zip archive into a folder, each whole or not at all.

    A folder that holds all of them (`GUE/`) is left out of their names; files that are not
    CSV are left in the archive.

    Parameters
    ----------
    limit : int
        Bytes, unpacked, above which the archive is refused.

    Returns
    -------
    list of Path
        Where the files are, relative to `folder`, sorted.

    Raises
    ------
    DataError
        If the archive is broken or encrypted, unpacks to more than `limit`, or has a member
        that is a link, whose name leads out of the folder, or that comes twice. Nothing is
        written before all names are checked.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = _members(archive, file, limit)
            for path, member in sorted(members.items()):
                with (
                    whole(folder / path) as aside,
                    file.open(member) as source,
                    open(aside, "wb") as target,
                ):
                    shutil.copyfileobj(source, target, _CHUNK)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise DataError(f"{archive} is not a whole zip archive ({error}); delete it.") from None
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}.") from None
    return sorted(members)


def _members(archive: Path, file: zipfile.ZipFile, limit: int) -> dict[Path, zipfile.ZipInfo]:
    """The CSV files by where they go, refused where any member is not to be trusted."""
    infos = [info for info in file.infolist() if not info.is_dir()]
    for info in infos:
        parts = info.filename.replace("\\", "/").split("/")
        if info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise DataError(f"{archive}: the name {info.filename!r} leads out of the folder.")
        if stat.S_ISLNK(info.external_attr >> 16):
            raise DataError(f"{archive}: {info.filename!r} is a link; only files are unpacked.")
        if info.flag_bits & 1:
            raise DataError(f"{archive}: {info.filename!r} is encrypted.")
    tables = [
        (PurePosixPath(info.filename.replace("\\", "/")), info)
        for info in infos
        if info.filename.lower().endswith(".csv") and not info.filename.startswith("__MACOSX/")
    ]
    # The library reads no more of a member than its header says, so the headers can be summed.
    if (size := sum(info.file_size for _, info in tables)) > limit:
        raise DataError(f"{archive} unpacks to {size} bytes, more than the {limit} allowed.")
    tops = {path.parts[0] if len(path.parts) > 1 else "" for path, _ in tables}
    strip = len(tops) == 1 and tops != {""}
    found: dict[Path, zipfile.ZipInfo] = {}
    for path, info in tables:
        where = Path(*path.parts[strip:])
        if where in found:
            raise DataError(f"{archive}: {info.filename!r} comes twice.")
        found[where] = info
    if not found:
        raise DataError(f"{archive} holds no CSV file.")
    return found
