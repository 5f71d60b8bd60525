"""A genome: sequences by name, read in pieces."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from basewise.data.files import decode_text, read_bytes
from basewise.errors import DataError
from basewise.sequence.alphabet import reverse_complement
from basewise.types import Interval

__all__ = ["Genome", "Place", "other_spellings", "place_of"]

_PIECE = re.compile(r"(.+):(\d+)-(\d+)")


class Place(NamedTuple):
    """Where a sequence of a FASTA lies: `offset` is the place of its first base in `chrom`."""

    chrom: str
    offset: int


def place_of(name: str, length: int) -> Place:
    """The place of a sequence: one named `chrom:a-b` (1-based, as `samtools faidx` writes it) and
    as long is that piece of the chromosome, any other begins one."""
    piece = _PIECE.fullmatch(name)
    if piece is None or int(piece[3]) - int(piece[2]) + 1 != length:
        return Place(name, 0)
    return Place(piece[1], int(piece[2]) - 1)


def other_spellings(name: str) -> set[str]:
    """Other ways to write the name of a chromosome."""
    bare = name[3:] if name.lower().startswith("chr") else name
    mitochondrial = {"M", "MT", "chrM", "chrMT"} if bare in ("M", "MT") else set()
    return {bare, f"chr{bare}", f"Chr{bare}", *mitochondrial} - {name}


class Genome:
    """The chromosomes of a FASTA file.

    A plain file is indexed (`.fai`, beside it where the folder can be written, else for
    this run only) and read in pieces. A gzipped file cannot be: it is held in memory whole,
    about one byte a base; unpack large genomes.

    Parameters
    ----------
    path : Path
        FASTA, plain or gzip.

    Attributes
    ----------
    lengths : dict of str to int
        Bases of every chromosome.

    Raises
    ------
    DataError
        If the file is missing, broken, or has lines of uneven length.
    """

    lengths: Mapping[str, int]

    def __init__(self, path: Path):
        self.path = path
        self._texts: Mapping[str, Any]
        if not path.exists():
            raise DataError(f"The genome {path} does not exist.")
        with open(path, "rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        self._texts = _in_memory(path) if packed else _indexed(path)
        self.lengths = {name: len(text) for name, text in self._texts.items()}

    def fetch(self, interval: Interval) -> str:
        """The bases of an interval, upper case, read along its strand.

        Raises
        ------
        DataError
            If the chromosome is unknown or ends before the interval does.
        """
        length = self.lengths.get(interval.chrom)
        if length is None:
            raise DataError(f"{self.path} has no chromosome {interval.chrom!r}.")
        if not 0 <= interval.start <= interval.end <= length:
            raise DataError(f"{interval} is outside {interval.chrom}, which has {length} bases.")
        found = str(self._texts[interval.chrom][interval.start : interval.end]).upper()
        return str(reverse_complement(found)) if interval.strand == "-" else found


def _in_memory(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in decode_text(path, read_bytes(path)).split(">")[1:]:
        header, _, sequence = entry.partition("\n")
        name = header.split(maxsplit=1)[0] if header.split() else ""
        if not name or name in found:
            raise DataError(f"{path}: the name {name!r} is empty or occurs twice.")
        found[name] = sequence.replace("\n", "").replace("\r", "")
    if not found:
        raise DataError(f"{path} holds no FASTA sequence; lines of names begin with '>'.")
    return found


def _indexed(path: Path) -> Mapping[str, Any]:
    import pyfaidx

    def opened(**where: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = pyfaidx.Fasta(str(path), as_raw=True, **where)
        return found

    try:
        try:
            return opened()
        except OSError:
            aside = Path(tempfile.mkdtemp(prefix="basewise-")) / f"{path.name}.fai"
            logging.getLogger("basewise").warning(
                "%s: no index can be written beside it; made one for this run only.", path
            )
            return opened(indexname=str(aside))
    except (OSError, ValueError, pyfaidx.FastaIndexingError) as error:
        raise DataError(f"{path} cannot be indexed: {' '.join(str(error).split())}") from None
