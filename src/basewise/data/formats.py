"""From a file to columns of text: one function per format; values are judged elsewhere.

Rows that have no place in the columns (a line with too few fields, an interval outside its
chromosome) are kept as problems, so that none is lost.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from basewise.data.files import decode_text, read_bytes
from basewise.data.genome import Genome
from basewise.errors import ConfigError, DataError, nearest
from basewise.types import Interval

__all__ = ["Columns", "Problem", "Wanted", "parse"]

# Names a column may have, lower case, where none is given.
_NAMES = {
    "sequence": ("sequence", "seq", "sequences", "dna", "dna_sequence", "kmers", "text"),
    "label": ("label", "labels", "class", "target"),
    "id": ("id", "name", "record_id", "sequence_id", "seq_id"),
}
_DNA = re.compile(r"[ACGTUNacgtun ]{8,}")
_BED = ("chrom", "start", "end", "name", "score", "strand")


class Problem(NamedTuple):
    """One thing wrong with one row.

    `line` is the line of the file, counted from 1 (in Parquet the row); `value` says what
    was found and, within a sequence, at which base.
    """

    kind: str
    line: int
    id: str
    value: str


@dataclass
class Columns:
    """The rows of a file, column by column, as text; `None` for a column that it lacks.

    `unread` names the columns of a table that were taken for nothing.
    """

    lines: Sequence[int]
    sequences: list[str]
    ids: list[str] | None = None
    labels: list[str] | None = None
    loci: list[Interval] | None = None
    problems: list[Problem] = field(default_factory=list)
    unit: str = "line"
    unread: list[str] = field(default_factory=list)


class Wanted(NamedTuple):
    """What the caller said about the file: names of columns, and the genome of a BED file."""

    sequence: str | None = None
    label: str | None = None
    id: str | None = None
    genome: Path | None = None


def parse(path: Path, wanted: Wanted) -> Columns:
    """The columns of a file, its format told by its content, else by its name."""
    content = read_bytes(path)
    return _format(path, content, wanted)(path, content, wanted)


def _format(path: Path, content: bytes, wanted: Wanted) -> Callable[..., Columns]:
    if content.startswith(b"PAR1"):
        return _parquet
    if content[:1000].lstrip().startswith(b">"):
        return _fasta
    endings = {ending.lower() for ending in path.suffixes}
    if endings & {".parquet", ".pq"}:
        raise DataError(f"{path} is not a Parquet file: it does not begin with PAR1.")
    if endings & {".fa", ".fasta", ".fna", ".ffn", ".fas"} and content.strip():
        raise DataError(f"{path}, line 1: FASTA begins with '>'; this file does not.")
    return _bed if ".bed" in endings or wanted.genome is not None else _table


def _table(path: Path, content: bytes, wanted: Wanted) -> Columns:
    """CSV, TSV and the like; without a header, columns are named by their numbers, from 1."""
    _refuse(wanted, "genome", "a table")
    text = decode_text(path, content)
    first = text.lstrip("\r\n").partition("\n")[0]
    delimiter = next((mark for mark in "\t,;" if mark in first), ",")
    rows, lines = _rows(path, text, delimiter)
    if not rows:
        return Columns([], [])
    dna = [i for i, cell in enumerate(rows[0]) if _DNA.fullmatch(cell.strip())]
    if dna:
        names = [str(i + 1) for i in range(len(rows[0]))]
        wanted = wanted._replace(sequence=wanted.sequence or names[dna[0]])
        if wanted.label is None and len(names) == 2:
            wanted = wanted._replace(label=names[1 - dna[0]])
    else:
        names = [cell.strip() for cell in rows.pop(0)]
        del lines[0]
    found = {what: _column(path, what, getattr(wanted, what), names) for what in _NAMES}
    problems = [
        Problem("bad_row", line, "", f"{len(row)} fields where the first line has {len(names)}")
        for row, line in zip(rows, lines, strict=True)
        if len(row) != len(names)
    ]
    if problems:
        lines = [n for row, n in zip(rows, lines, strict=True) if len(row) == len(names)]
        rows = [row for row in rows if len(row) == len(names)]

    def cells(what: str) -> list[str] | None:
        at = found[what]
        return None if at is None else [cell.strip() for cell in map(itemgetter(at), rows)]

    return Columns(
        lines,
        cells("sequence") or [],
        cells("id"),
        cells("label"),
        problems=problems,
        unread=[name for i, name in enumerate(names) if i not in found.values()],
    )


def _rows(path: Path, text: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    """The rows that are not blank, and the line of each."""
    rows, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    with _long_fields():
        try:
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
        except csv.Error as error:
            raise DataError(f"{path}, line {reader.line_num}: {error}.") from None
    return rows, lines


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let the csv module read sequences of any length while the block lasts."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _column(path: Path, what: str, given: str | None, names: list[str]) -> int | None:
    """Which column holds the sequence, label or id."""
    listed = ", ".join(names)
    if given is not None:
        if names.count(given) != 1:
            times = "no" if given not in names else "more than one"
            raise DataError(
                f"{path} has {times} column {given!r} for the {what}.{nearest(given, names)} "
                f"Its columns are {listed}."
            )
        return names.index(given)
    fitting = [i for i, name in enumerate(names) if name.lower() in _NAMES[what]]
    if len(fitting) > 1:
        both = " and ".join(repr(names[i]) for i in fitting)
        raise DataError(f"{path}: columns {both} may each be the {what}; say {what}='...'.")
    if not fitting and what == "sequence":
        raise DataError(
            f"{path} has no column named {', '.join(_NAMES[what][:-1])} or {_NAMES[what][-1]}; "
            f"say sequence='...', one of its columns: {listed}."
        )
    return fitting[0] if fitting else None


def _fasta(path: Path, content: bytes, wanted: Wanted) -> Columns:
    """FASTA; the id is the header's first word, the label its `label=...` if it has one."""
    for what in ("sequence", "id", "genome"):
        _refuse(wanted, what, "FASTA")
    text = decode_text(path, content).replace("\r\n", "\n")
    lines = text.split("\n")
    heads = [i for i, line in enumerate(lines) if line.startswith(">")]
    label = re.compile(rf"(?:^|[\s|;,]){re.escape(wanted.label or 'label')}=([^\s|;,]+)")
    said = [label.search(lines[i][1:]) for i in heads]
    return Columns(
        lines=[i + 1 for i in heads],
        sequences=[
            "".join(lines[a + 1 : b]).replace(" ", "") for a, b in pairwise([*heads, len(lines)])
        ],
        ids=[(lines[i][1:].split(maxsplit=1) or [""])[0] for i in heads],
        labels=[match.group(1) if match else "" for match in said]
        if any(said) or wanted.label is not None
        else None,
    )


def _bed(path: Path, content: bytes, wanted: Wanted) -> Columns:
    """BED; the sequence of each interval is read from the genome, along its strand."""
    _refuse(wanted, "sequence", "BED")
    if wanted.genome is None:
        raise ConfigError(f"{path} holds intervals, not sequences; say genome='genome.fa'.")
    genome, problems = Genome(wanted.genome), []
    kept: list[tuple[int, list[str], Interval, str]] = []
    for i, text in enumerate(decode_text(path, content).split("\n")):
        cells = text.rstrip("\r").split("\t") if "\t" in text else text.split()
        if not cells or cells[0].startswith("#") or cells[0] in ("track", "browser"):
            continue
        try:
            interval = _interval(cells)
            kept.append((i + 1, cells, interval, genome.fetch(interval)))
        except DataError as error:
            name = cells[3] if len(cells) > 3 else ""
            problems.append(Problem("bad_interval", i + 1, name, str(error).rstrip(".")))
    width = min((len(cells) for _, cells, _, _ in kept), default=3)
    names = [*_BED, *(str(i + 1) for i in range(6, width))][:width]
    loci = [interval for _, _, interval, _ in kept]

    def cells_of(what: str) -> list[str] | None:
        given = getattr(wanted, what)
        if given is None:
            return None
        at = _column(path, what, given, names)
        return [cells[at or 0] for _, cells, _, _ in kept]

    ids = cells_of("id") or ([cells[3] for _, cells, _, _ in kept] if width > 3 else [])
    if wanted.id is None and len(set(ids)) < len(kept):
        ids = [str(locus) for locus in loci]  # names that repeat (peak, gene) identify nothing
    return Columns(
        lines=[line for line, _, _, _ in kept],
        sequences=[sequence for _, _, _, sequence in kept],
        ids=ids,
        labels=cells_of("label"),
        loci=loci,
        problems=problems,
    )


def _interval(cells: list[str]) -> Interval:
    """The interval of a line of BED; `.` reads as the plus strand."""
    if len(cells) < 3 or not (cells[1].isdecimal() and cells[2].isdecimal()):
        raise DataError(f"{' '.join(cells[:3])!r} is not a chromosome, a start and an end")
    strand = cells[5] if len(cells) > 5 else "."
    if strand not in ("+", "-", "."):
        raise DataError(f"strand {strand!r} is neither + nor - (nor . for none)")
    if int(cells[1]) >= int(cells[2]):
        raise DataError(f"start {cells[1]} is not before end {cells[2]}")
    return Interval(cells[0], int(cells[1]), int(cells[2]), "-" if strand == "-" else "+")


def _parquet(path: Path, content: bytes, wanted: Wanted) -> Columns:
    """Parquet; only the columns needed are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _refuse(wanted, "genome", "Parquet")
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        names = file.schema_arrow.names
        at = {what: _column(path, what, getattr(wanted, what), names) for what in _NAMES}
        used = [names[i] for i in at.values() if i is not None]
        table = file.read(columns=used)
        texts = {name: table[name].cast(pa.string()).to_pylist() for name in used}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise DataError(f"{path} cannot be read: {' '.join(str(error).split())}.") from None

    def cells(what: str) -> list[str] | None:
        i = at[what]
        return None if i is None else [(cell or "").strip() for cell in texts[names[i]]]

    rows = range(1, table.num_rows + 1)
    return Columns(
        rows,
        cells("sequence") or [],
        cells("id"),
        cells("label"),
        unit="row",
        unread=[name for name in names if name not in used],
    )


def _refuse(wanted: Wanted, what: str, format: str) -> None:
    if (given := getattr(wanted, what)) is not None:
        raise ConfigError(f"{what} = {str(given)!r} has no meaning for {format}; leave it out.")
