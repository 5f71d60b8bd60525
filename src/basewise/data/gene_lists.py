"""Lists of genes by name: tables with a column of genes, and operons as SubtiWiki exports them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from basewise.data.files import decode_text, read_bytes
from basewise.errors import DataError, nearest

__all__ = ["read_gene_list", "read_operons"]

_MARKED = re.compile(r"\[\[gene\|([^\]]+)\]\]")  # [[gene|spo0A]]


def read_gene_list(
    path: str | Path, column: str = "gene", *, alias: str | None = None
) -> list[str]:
    """The names of genes in a column of a CSV or TSV with a header, each once, in order.

    Parameters
    ----------
    column : str
    alias : str, optional
        Of a column with other names of the same gene. They are joined by `/`, which
        `basewise.biology.region_scores.gene_sets` reads as "either".

    Raises
    ------
    DataError
        If a column is missing (the nearest is named) or holds no name.
    """
    path = Path(path)
    header, rows = _table(path)
    for name in (column, *([alias] if alias else [])):
        if name not in header:
            raise DataError(
                f"{path} has no column {name!r}.{nearest(name, header)} It has "
                f"{', '.join(map(repr, header))}."
            )
    names = [
        "/".join(filter(None, [row[column], row[alias] if alias else ""]))
        for _, row in rows
        if row[column]
    ]
    if not names:
        raise DataError(f"{path}: the column {column!r} holds no name.")
    return list(dict.fromkeys(names))


def read_operons(path: str | Path) -> dict[str, list[str]]:
    """Operons, by their name, with the names of their genes in order of transcription.

    A CSV or TSV with the columns `operon` and `genes`: names as SubtiWiki marks them
    (`[[gene|yokI]]-[[gene|yokJ]]`), or with `;` or blanks between them. An operon is called by its
    first and last gene (`yokI-yokL`); where two would have one name, by all of them.

    Raises
    ------
    DataError
        If a column is missing, or an operon names no gene.
    """
    path = Path(path)
    header, rows = _table(path)
    if "genes" not in header:
        raise DataError(
            f"{path} has no column 'genes'.{nearest('genes', header)} It has "
            f"{', '.join(map(repr, header))}."
        )
    found: dict[str, list[str]] = {}
    for number, row in rows:
        genes = _MARKED.findall(row["genes"]) or re.split(r"[;\s]+", row["genes"].strip("; \t"))
        if not genes or not all(genes):
            raise DataError(f"{path}, line {number}: the operon {row['genes']!r} names no gene.")
        name = genes[0] if len(genes) == 1 else f"{genes[0]}-{genes[-1]}"
        found[name if name not in found else "-".join(genes)] = genes
    if not found:
        raise DataError(f"{path} holds no operons.")
    return found


def _table(path: Path) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The header, and every row by column with its line."""
    lines = decode_text(path, read_bytes(path)).lstrip("\ufeff").splitlines()
    delimiter = "\t" if lines and "\t" in lines[0] else ","
    rows = csv.reader(lines, delimiter=delimiter)
    header = [cell.strip() for cell in next(rows, [])]
    if not header:
        raise DataError(f"{path} is empty; a line with the names of columns is needed.")

    def named() -> Iterator[tuple[int, dict[str, str]]]:
        for row in rows:
            if any(row):
                cells = [cell.strip() for cell in row] + [""] * (len(header) - len(row))
                yield rows.line_num, dict(zip(header, cells, strict=False))

    return header, named()
