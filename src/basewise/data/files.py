"""Files as text, gzipped or not, judged by content and not by name."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from basewise.errors import DataError

__all__ = ["decode_text", "read_bytes", "stem"]

_PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}
_SPREADSHEETS = {".ods", ".xls", ".xlsm", ".xlsx"}


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked where it is gzip.

    Raises
    ------
    DataError
        If the file is missing, a folder, not readable, truncated, packed otherwise,
        or a spreadsheet.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; give one file of sequences.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    if path.suffix.lower() in _SPREADSHEETS:
        raise DataError(f"{path} is a spreadsheet; save the sheet as CSV and give that.")
    for magic, packing in _PACKED.items():
        if content.startswith(magic):
            raise DataError(f"{path} is {packing}; unpack it first, or pack it with gzip.")
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path} is not a whole gzip file ({error}); copy or download it again."
        ) from None


def decode_text(path: Path, content: bytes) -> str:
    """Bytes of a file as text: UTF-8, with or without a byte-order mark.

    Raises
    ------
    DataError
        Naming the line where the bytes are not UTF-8, or hold zeros, as UTF-16 does.
    """
    if (at := content.find(b"\0")) >= 0:
        raise DataError(
            f"{path}, line {_line(content, at)}: a null byte, which no text has; the file is "
            "UTF-16, binary or damaged. Save it as UTF-8 text, or copy it again."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {_line(content, error.start)}: byte {content[error.start]:#04x} is not "
            "UTF-8 text; save the file as UTF-8."
        ) from None


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def stem(path: Path) -> str:
    """The name of a file without its endings: `train` of `train.csv.gz`."""
    return path.name.split(".")[0] or path.name
