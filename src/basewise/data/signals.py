"""Numbers on the bases of a genome, read from bigWig at places.

Read by pybigtools (the extra `tracks`). Coordinates are 0-based and half-open.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from basewise.data.genome import other_spellings
from basewise.errors import DataError, MissingExtra
from basewise.types import Floats, Interval

__all__ = ["check_signal", "read_signal"]

_SHOWN = 3


def check_signal(path: Path, chroms: Iterable[str]) -> dict[str, int]:
    """Bases of every chromosome of a bigWig, which has all of those that are asked for.

    Raises
    ------
    DataError
        If the file is missing or no bigWig, or has no such chromosome, or has it under another
        name (`1` for `chr1`).
    MissingExtra
        If pybigtools is not installed.
    """
    lengths: dict[str, int] = _opened(path, _state(path)).chroms()
    for chrom in dict.fromkeys(chroms):
        if chrom in lengths:
            continue
        if meant := other_spellings(chrom) & set(lengths):
            raise DataError(
                f"{path} says {min(meant)!r} where the sequences say {chrom!r}; write the names of "
                "one of them as in the other."
            )
        listed = ", ".join([*lengths][:_SHOWN]) + (", ..." if len(lengths) > _SHOWN else "")
        raise DataError(f"{path} has no chromosome {chrom!r}; it has {listed}.")
    return lengths


def read_signal(path: Path, places: Sequence[Interval]) -> list[Floats]:
    """The numbers on the bases of some places, (b,) each, along the strand of the place.

    Returns
    -------
    list of arrays
        NaN where the file has no number.

    Raises
    ------
    DataError
        As `check_signal`, or if a place is not within its chromosome.
    """
    lengths = check_signal(path, [place.chrom for place in places])
    for place in places:
        if not 0 <= place.start <= place.end <= lengths[place.chrom]:
            raise DataError(
                f"{path}: {place} is outside {place.chrom}, which has {lengths[place.chrom]} bases "
                "there; take a file that was made on the same genome."
            )
    file = _opened(path, _state(path))
    found = []
    for chrom, start, end, strand in places:
        values = np.empty(0)
        if end > start:
            values = np.asarray(file.values(chrom, start, end, fillna=None), np.float64)
        found.append(values[::-1] if strand == "-" else values)
    return found


def _state(path: Path) -> tuple[int, int]:
    """What tells a file from one that takes its place."""
    try:
        state = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from None
    return state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=8)
def _opened(path: Path, state: tuple[int, int]) -> Any:
    try:
        import pybigtools
    except ImportError:
        raise MissingExtra(
            "A bigWig needs the library pybigtools: pip install 'basewise[tracks]'."
        ) from None
    try:
        file = pybigtools.open(str(path))
    except (pybigtools.BBIReadError, ValueError):
        raise DataError(f"{path} is no bigWig.") from None
    if not file.is_bigwig:
        raise DataError(f"{path} is no bigWig.")
    return file
