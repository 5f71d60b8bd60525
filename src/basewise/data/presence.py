"""Which genomes have which genes: tables of presence and absence (Rtab, CSV)."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from basewise.data.files import decode_text, read_bytes
from basewise.errors import DataError
from basewise.types import Bools

__all__ = ["Presence", "read_presence"]

_ROARY = 14  # columns about the gene in Roary's CSV, before the genomes


@dataclass(frozen=True, eq=False)
class Presence:
    """Genes by genomes.

    Attributes
    ----------
    genes, samples : tuple of str
    present : (s, g) bool
    """

    genes: tuple[str, ...]
    samples: tuple[str, ...]
    present: Bools


def read_presence(path: str | Path) -> Presence:
    """Read a table with a row for each gene and a column for each genome, plain or gzip.

    Rtab (tabs) and CSV hold 0 and 1. `gene_presence_absence.csv` of Roary and Panaroo holds names
    of genes, nothing where there is none, and 14 columns about the gene before them.

    Raises
    ------
    DataError
        With file and line: a row of another width, a cell that is neither 0 nor 1, a name that
        occurs twice; or a table without genes or genomes.
    """
    path = Path(path)
    rows = _rows(path, decode_text(path, read_bytes(path)))
    _, header = next(rows, (1, []))
    if header and not header[-1]:  # a tab at the end of the line
        header = header[:-1]
    roary = len(header) > _ROARY and header[1].strip('" ') == "Non-unique Gene name"
    first = _ROARY if roary else 1
    samples, genes, cells = header[first:], [], []
    for number, row in rows:
        at = f"{path}, line {number}"
        if len(row) == len(header) + 1 and not row[-1]:
            row = row[:-1]
        if len(row) != len(header):
            raise DataError(f"{at}: {len(row)} fields; the first line has {len(header)}.")
        if not roary and (wrong := set(row[1:]) - {"0", "1"}):
            raise DataError(f"{at} ({row[0]}): {min(wrong)!r}; a cell is 0 or 1.")
        genes.append(row[0])
        cells.append([text not in ("", "0") for text in row[first:]])
    if not genes or not samples:
        raise DataError(f"{path} holds {len(genes)} genes and {len(samples)} genomes.")
    for what, names in (("gene", genes), ("genome", samples)):
        _refuse_repeats(path, what, names)
    return Presence(tuple(genes), tuple(samples), np.array(cells, bool).T)


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    lines = text.splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    for number, row in enumerate(csv.reader(lines, delimiter=delimiter), 1):
        if row:
            yield number, [cell.strip() for cell in row]


def _refuse_repeats(path: Path, what: str, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise DataError(f"{path}: the {what} {twice!r} occurs twice.")
