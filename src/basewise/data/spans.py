"""Tables of intervals on sequences: BED, or columns with names."""

from __future__ import annotations

import re
from pathlib import Path

from basewise.data.files import decode_text, read_bytes
from basewise.errors import DataError
from basewise.types import Span

__all__ = ["read_spans"]

COLUMNS = ("record_id", "start", "end")


def read_spans(path: str | Path) -> dict[str, list[Span]]:
    """The intervals of each record.

    Parameters
    ----------
    path : path
        BED without a header (id of the record, start, end and, if there is one, a name), or a
        table (CSV, TSV) whose first line names the columns `record_id`, `start`, `end` and, if
        there is one, `name` or `motif`; gzipped or not. Positions are 0-based and half-open, on
        the record as it is read. Lines that are blank or begin with `#`, `track` or `browser`
        are no intervals.

    Returns
    -------
    dict
        By the id of the record, in the order of the file.

    Raises
    ------
    DataError
        With file and line: too few fields, a start or end that is no number from 0 on, a start
        that is not before its end; or a file without intervals.
    """
    path = Path(path)
    lines = [
        (number, fields)
        for number, line in enumerate(decode_text(path, read_bytes(path)).splitlines(), start=1)
        if (fields := _fields(line))
    ]
    at, name = (0, 1, 2), 3
    if lines and set(COLUMNS) <= set(lines[0][1]):
        header = lines.pop(0)[1]
        at = (header.index("record_id"), header.index("start"), header.index("end"))
        name = next((header.index(title) for title in ("name", "motif") if title in header), -1)
    found: dict[str, list[Span]] = {}
    for number, fields in lines:
        if len(fields) <= max(at):
            raise DataError(
                f"{path}, line {number}: {len(fields)} fields; needed are the id of a record, "
                "a start and an end."
            )
        record_id, start, end = (fields[i] for i in at)
        if not (start.isdecimal() and end.isdecimal() and int(start) < int(end)):
            raise DataError(
                f"{path}, line {number}: start {start!r} and end {end!r}; they are whole numbers "
                "from 0 on, the start before the end."
            )
        title = fields[name] if 0 <= name < len(fields) else ""
        found.setdefault(record_id, []).append(Span(int(start), int(end), title))
    if not found:
        raise DataError(f"{path} holds no intervals.")
    return found


def _fields(line: str) -> list[str]:
    """The fields of a line, none if it is no row; the first delimiter that it has counts."""
    text = line.strip("\r\n")
    if not text.strip() or re.match(r"#|(track|browser)\b", text):
        return []
    delimiter = next((mark for mark in "\t,;" if mark in text), None)
    return [field.strip() for field in text.split(delimiter)]
