"""Tables of sequences that say which of their bases are labelled."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple

from basewise.data.files import decode_text, read_bytes, stem
from basewise.data.reading import read
from basewise.errors import DataError, nearest
from basewise.types import BACKGROUND, Interval, Record, Span

__all__ = ["Labelled", "read_labelled"]

_INTERVAL = re.compile(r"(\d+)-(\d+)")
_STARTS = ("start", "start0")  # 0-based, as BED
_ENDS = ("end", "end0")


class Labelled(NamedTuple):
    """Records with their labelled stretches as truth, and the split that each row names."""

    records: list[Record]
    splits: list[str]


def read_labelled(
    path: str | Path,
    *,
    label: str,
    intervals: str = "intervals",
    sequence: str | None = None,
    split: str | None = None,
) -> Labelled:
    """Sequences with the stretches of their bases that have a label.

    Parameters
    ----------
    path : path
        CSV or TSV with a header, gzipped or not. Columns `chrom`, `start` and `end` (or
        `start0`, `end0`; 0-based, half-open) say where a sequence lies, if they are there.
    label : str
        Name of the label of bases inside the intervals; the others are `background`.
    intervals : str
        The column with the intervals of each sequence, `a-b;c-d`: 0-based, half-open, counted
        from the first base; empty where there is none. Intervals that touch are joined.
    sequence : str, optional
        The column with the sequences; see `basewise.read`.
    split : str, optional
        The column that names each row's split.

    Returns
    -------
    Labelled
        In the order of the file. A record's label is `label` where it has a labelled base, else
        `background`; `splits` is empty without a column for them.

    Raises
    ------
    DataError
        With file, line and value: an interval that cannot be read, overlaps the one before it
        or ends beyond its sequence; a missing column; or no labelled base in the whole file.
    """
    path = Path(path)
    rows = _rows(path, [intervals, *([split] if split else [])])
    plain = read(path, sequence=sequence, label=split)
    if len(plain) != len(rows):  # quoted line breaks and the like
        raise DataError(f"{path}: {len(plain)} sequences but {len(rows)} rows of intervals.")
    loci = [_locus(row) for row in rows]
    named = all(loci) and len(set(loci)) == len(loci)
    found = []
    for i, (record, row, locus) in enumerate(zip(plain, rows, loci, strict=True)):
        where = f"{path}, line {row['line']}"
        truth = _spans(row[intervals], label, len(record.sequence), where)
        if locus is not None and locus.end - locus.start != len(record.sequence):
            raise DataError(f"{where}: {locus} for a sequence of {len(record.sequence)} bases.")
        name = str(locus) if named else f"{stem(path)}:{i + 1}"
        found.append(Record(name, record.sequence, label if truth else BACKGROUND, locus, truth))
    if not any(record.truth for record in found):
        raise DataError(f"{path}: no row has an interval in the column {intervals!r}.")
    return Labelled(found, [row[split] for row in rows] if split else [])


def _rows(path: Path, needed: list[str]) -> list[dict[str, str]]:
    """Every row by column, with its `line`."""
    text = decode_text(path, read_bytes(path))
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = next((mark for mark in "\t,;" if mark in first), ",")
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name.strip() for name in reader.fieldnames or []]
    for name in needed:
        if name not in names:
            listed = ", ".join(names)
            raise DataError(
                f"{path} has no column {name!r}.{nearest(name, names)} Its columns are {listed}."
            )
    reader.fieldnames = names
    return [
        {key: (value or "").strip() for key, value in row.items() if key in names}
        | {"line": str(reader.line_num)}
        for row in reader
    ]


def _locus(row: dict[str, str]) -> Interval | None:
    start, end = (
        next((row[name] for name in names if row.get(name, "").isdecimal()), None)
        for names in (_STARTS, _ENDS)
    )
    if not row.get("chrom") or start is None or end is None:
        return None
    return Interval(row["chrom"], int(start), int(end))


def _spans(text: str, label: str, b: int, where: str) -> tuple[Span, ...]:
    found: list[Span] = []
    for part in filter(None, text.split(";")):
        match = _INTERVAL.fullmatch(part.strip())
        start, end = (int(match[1]), int(match[2])) if match else (0, 0)
        if start >= end:
            raise DataError(f"{where}: {part!r} is not an interval; write start-end;start-end.")
        if end > b:
            raise DataError(f"{where}: the interval {part} ends beyond the {b} bases of its row.")
        if found and start < found[-1].end:
            raise DataError(
                f"{where}: the intervals {found[-1].start}-{found[-1].end} and {part} overlap or "
                "are not in order; labels must not overlap."
            )
        if found and start == found[-1].end:
            start = found.pop().start
        found.append(Span(start, end, label))
    return tuple(found)
