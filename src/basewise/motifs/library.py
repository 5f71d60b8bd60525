"""Motif libraries from MEME, TRANSFAC and JASPAR text files, gzipped or not.

A motif is named by its accession and, where there is one, its name: `MA0004.1 Arnt`. Counts
become probabilities; nothing is added to them here (scores are smoothed, see `pvalue`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from basewise.data.files import decode_text, read_bytes
from basewise.errors import DataError
from basewise.motifs.motif import Motif

__all__ = ["read_motifs"]


class _Line(NamedTuple):
    """A line and where it stands, for errors to say."""

    path: Path
    number: int
    text: str

    def wrong(self, what: str) -> DataError:
        return DataError(f"{self.path}, line {self.number}: {what}")

    def numbers(self, fields: list[str], name: str) -> list[float]:
        try:
            found = [float(field) for field in fields]
        except ValueError:
            bad = next(field for field in fields if not _is_number(field))
            raise self.wrong(f"motif {name!r} has {bad!r} where a number belongs.") from None
        return found


class _Entry(NamedTuple):
    name: str
    line: _Line
    rows: list[list[float]]


def read_motifs(path: str | Path) -> list[Motif]:
    """The motifs of a library.

    Parameters
    ----------
    path : path
        A MEME file (minimal or full text), a TRANSFAC file (`AC`, `ID`, `PO`, `//`), or a
        JASPAR file (`>accession name` and four rows `A [ ... ]`). The content tells which.

    Returns
    -------
    list of Motif
        In the order of the file, without windows, read on both strands.

    Raises
    ------
    DataError
        With file, line and what is allowed: an unknown format, another alphabet than ACGT,
        rows with too few or too many columns, text where a number belongs, a motif without
        rows or twice.
    """
    path = Path(path)
    text = decode_text(path, read_bytes(path))
    lines = [_Line(path, i, line.strip()) for i, line in enumerate(text.splitlines(), start=1)]
    filled = [line for line in lines if line.text]
    if not filled:
        raise DataError(f"{path} is empty; a library holds at least one motif.")
    first = filled[0]
    if first.text.startswith("MEME version"):
        entries = _meme(filled)
    elif first.text.startswith(">"):
        entries = _jaspar(filled)
    elif first.text[:3].rstrip() in ("AC", "ID", "VV", "XX"):
        entries = _transfac(filled)
    else:
        raise first.wrong(
            f"{first.text[:40]!r} begins no motif library; MEME files begin with 'MEME version', "
            "TRANSFAC files with 'AC' or 'ID', JASPAR files with '>'."
        )
    found: dict[str, Motif] = {}
    for name, line, rows in entries:
        if not rows:
            raise line.wrong(f"motif {name!r} has no rows.")
        if name in found:
            raise line.wrong(f"there is a motif {name!r} already; every name may be used once.")
        try:
            found[name] = Motif.from_counts(name, rows, source=path.name)
        except DataError as error:
            raise line.wrong(str(error)) from None
    if not found:
        raise DataError(f"{path} holds no motif.")
    return list(found.values())


def _meme(lines: list[_Line]) -> Iterator[_Entry]:
    name, start, rows, wanted = "", lines[0], list[list[float]](), 0
    for line in lines:
        fields = line.text.split()
        if line.text.startswith("ALPHABET") and line.text.split("=")[-1].strip() != "ACGT":
            raise line.wrong(f"{line.text!r}; only the alphabet ACGT is read.")
        if fields[0] == "MOTIF":
            if name:
                yield _complete(_Entry(name, start, rows), wanted)
            if len(fields) < 2:
                raise line.wrong("a motif has no name.")
            name, start, rows, wanted = " ".join(fields[1:3]), line, [], 0
        elif line.text.startswith("letter-probability matrix"):
            width = re.search(r"\bw=\s*(\d+)", line.text)
            if not width:
                raise line.wrong(f"the matrix of motif {name!r} does not say its width (w= ...).")
            wanted = int(width.group(1))
        elif len(rows) < wanted:
            rows.append(_four(line, fields, name))
    if name:
        yield _complete(_Entry(name, start, rows), wanted)


def _complete(entry: _Entry, wanted: int) -> _Entry:
    """The entry itself, refused if its matrix breaks off."""
    if len(entry.rows) < wanted:
        raise entry.line.wrong(
            f"motif {entry.name!r} has {len(entry.rows)} rows; it says w= {wanted}."
        )
    return entry


def _transfac(lines: list[_Line]) -> Iterator[_Entry]:
    names, order, rows, start = dict[str, str](), "", list[list[float]](), lines[0]
    for line in lines:
        key, *fields = line.text.split()
        if not names:
            start = line
        if key in ("AC", "ID", "NA"):
            names[key] = " ".join(fields)
        elif key in ("PO", "P0"):
            order = "".join(fields[:4]).upper()
            if sorted(order) != list("ACGT"):
                raise line.wrong(f"the columns are {' '.join(fields)!r}; they must be A, C, G, T.")
        elif key.isdigit() and order:
            # A consensus letter may follow the four numbers.
            row = _four(line, fields[:4] if len(fields) == 5 else fields, names.get("AC", ""))
            rows.append([row[order.index(base)] for base in "ACGT"])
        elif key == "//":
            if names:
                yield _Entry(" ".join(dict.fromkeys(names.values())), start, rows)
            names, order, rows = {}, "", []
    if rows:
        raise lines[-1].wrong(f"motif {names.get('AC', '')!r} does not end with '//'.")


def _jaspar(lines: list[_Line]) -> Iterator[_Entry]:
    for i in range(0, len(lines), 5):
        start, columns = lines[i], list[list[float]]()
        name = " ".join(start.text[1:].split())
        if not start.text.startswith(">") or not name:
            raise start.wrong(f"{start.text[:40]!r} stands where '>accession name' belongs.")
        for base, line in zip("ACGT", lines[i + 1 : i + 5], strict=False):
            fields = line.text.replace("[", " ").replace("]", " ").split()
            if fields and fields[0].upper() == base:
                fields = fields[1:]
            columns.append(line.numbers(fields, name))
            if len(columns[0]) != len(columns[-1]):
                raise line.wrong(
                    f"motif {name!r} has {len(columns[-1])} numbers for {base} and "
                    f"{len(columns[0])} for A."
                )
        if len(columns) < 4:
            raise start.wrong(f"motif {name!r} has {len(columns)} rows; it needs A, C, G, T.")
        yield _Entry(name, start, [list(row) for row in zip(*columns, strict=True)])


def _four(line: _Line, fields: list[str], name: str) -> list[float]:
    """The four numbers of one position."""
    numbers = line.numbers(fields, name)
    if len(numbers) != 4:
        raise line.wrong(
            f"a row of motif {name!r} has {len(numbers)} columns; it needs 4 (A, C, G, T)."
        )
    return numbers


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
