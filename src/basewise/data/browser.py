"""Files for genome browsers: numbers on bases as bigWig, stretches as BED.

bigWig is written by pybigtools (the extra `tracks`), which reads the numbers one by one: memory
holds one piece of a track at a time. The same numbers give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from basewise.data.features import Feature
from basewise.errors import ConfigError, DataError, MissingExtra
from basewise.store import whole
from basewise.types import Interval

__all__ = [
    "BedRow",
    "Piece",
    "check_bigwig",
    "feature_rows",
    "write_bed",
    "write_bigwig",
    "write_regions",
]

_ENDINGS = (".bw", ".bigwig")


class Piece(NamedTuple):
    """Numbers on consecutive bases of a chromosome, from `start` on; NaN where there is none."""

    chrom: str
    start: int
    values: NDArray[np.float32]


class BedRow(NamedTuple):
    """A line of a BED file; `score` is what browsers shade by, 0 to 1000."""

    interval: Interval
    name: str
    score: int
    strand: str = "."


def check_bigwig(path: Path) -> None:
    """Refuse a name or an installation with which no bigWig can be written.

    Raises
    ------
    ConfigError
        If the name does not end in `.bw` or `.bigwig`.
    MissingExtra
        If pybigtools is not installed.
    """
    from importlib.util import find_spec

    if path.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"{path}: the name of a bigWig ends in .bw or .bigwig.")
    if find_spec("pybigtools") is None:
        raise MissingExtra("A bigWig needs the library pybigtools: pip install 'basewise[tracks]'.")


def write_bigwig(path: Path, lengths: Mapping[str, int], pieces: Iterable[Piece]) -> None:
    """Write a track as bigWig, whole or not at all.

    Parameters
    ----------
    path : Path
        Ending in `.bw` or `.bigwig`.
    lengths : mapping
        Bases of every chromosome.
    pieces : iterable of Piece
        By chromosome in alphabetic order (which the index of a bigWig needs) and by start, one
        after the other. Neighbouring bases with the same number become one interval.

    Raises
    ------
    DataError
        If pieces are out of order, overlap or reach beyond their chromosome, or no base has a
        number, which a bigWig cannot hold.
    ConfigError, MissingExtra
        See `check_bigwig`.
    """
    check_bigwig(path)
    import pybigtools

    held = _Held()
    found = (entry for piece in _checked(pieces, lengths) for entry in _runs(piece))
    first = next(found, None)
    if first is None:  # which the writer would print a line about
        raise DataError(f"{path}: no base has a number, and a bigWig cannot be empty.")

    def entries() -> Iterator[tuple[str, int, int, float]]:
        yield first
        with held:
            yield from found

    with whole(path) as aside:
        named = aside.with_name(f"{aside.name}.bw")  # the library goes by the ending
        try:
            pybigtools.open(str(named), "w").write(dict(sorted(lengths.items())), entries())
            if held.error is not None:
                raise held.error
            os.replace(named, aside)
        finally:
            named.unlink(missing_ok=True)


def write_regions(path: Path, pieces: Iterable[Piece], name: str, threshold: float) -> int:
    """Write the stretches where a track is at least `threshold` as BED, whole or not at all.

    Columns are chrom, start, end, name, score and strand (`.`): the score is 1000 times the mean
    of the track in the stretch. A base without a number ends a stretch.

    Returns
    -------
    int
        How many there are.
    """
    return write_bed(path, _above(pieces, name, threshold))


def write_bed(path: Path, rows: Iterable[BedRow]) -> int:
    """Write rows as a BED file of six columns, whole or not at all; how many there are."""
    count = 0
    with whole(path) as aside, open(aside, "w", encoding="utf-8") as file:
        for place, name, score, strand in rows:
            count += 1
            said = "_".join(name.split()) or "."
            file.write(f"{place.chrom}\t{place.start}\t{place.end}\t{said}\t{score}\t{strand}\n")
    return count


class _Held:
    """Holds what a block raises: the writer would print it, and end as if all were written."""

    error: BaseException | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        self.error = error
        return True


def _checked(pieces: Iterable[Piece], lengths: Mapping[str, int]) -> Iterator[Piece]:
    """The pieces, as long as they are in order."""
    before = ("", 0)
    for piece in pieces:
        end, length = piece.start + len(piece.values), lengths.get(piece.chrom, 0)
        place = f"{piece.chrom}:{piece.start}-{end}"
        if not 0 <= piece.start <= end <= length:
            raise DataError(f"{place} is outside {piece.chrom}, which has {length} bases.")
        if (piece.chrom, piece.start) < before:
            raise DataError(
                f"{place} comes after {before[0]}:{before[1]}; give the pieces of a track in "
                "alphabetic order of chromosomes, by start, without overlap."
            )
        before = (piece.chrom, end)
        yield piece


def _runs(piece: Piece) -> Iterator[tuple[str, int, int, float]]:
    """Stretches of one number each."""
    values = piece.values
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    last = np.append(first[1:], len(values))
    known = ~np.isnan(values[first])
    starts, ends = (first[known] + piece.start).tolist(), (last[known] + piece.start).tolist()
    for start, end, value in zip(starts, ends, values[first[known]].tolist(), strict=True):
        yield piece.chrom, start, end, value


def _above(pieces: Iterable[Piece], name: str, threshold: float) -> Iterator[BedRow]:
    chrom, start, end, total = "", 0, 0, 0.0  # the stretch that may go on in the next piece
    for piece in pieces:
        over = np.pad((piece.values >= threshold).astype(np.int8), 1)
        firsts, lasts = np.flatnonzero(np.diff(over) > 0), np.flatnonzero(np.diff(over) < 0)
        summed = np.append(0.0, np.cumsum(np.where(over[1:-1] > 0, piece.values, 0), dtype=float))
        for a, b in zip(firsts.tolist(), lasts.tolist(), strict=True):
            mass = float(summed[b] - summed[a])
            if (piece.chrom, piece.start + a) == (chrom, end):
                end, total = piece.start + b, total + mass
                continue
            if chrom:
                yield _row(chrom, start, end, total, name)
            chrom, start, end, total = piece.chrom, piece.start + a, piece.start + b, mass
    if chrom:
        yield _row(chrom, start, end, total, name)


def _row(chrom: str, start: int, end: int, total: float, name: str) -> BedRow:
    score = min(max(round(1000 * total / (end - start)), 0), 1000)
    return BedRow(Interval(chrom, start, end), name, score)


def feature_rows(features: Iterable[Feature], scores: Iterable[float]) -> Iterator[BedRow]:
    """The rows of features with scores, one for each part, named by name or id.

    The smallest score becomes 0 and the largest 1000; features with NaN are left out.
    """
    kept = [(f, s) for f, s in zip(features, scores, strict=True) if not np.isnan(s)]
    low, high = min((s for _, s in kept), default=0.0), max((s for _, s in kept), default=0.0)
    for feature, score in kept:
        shade = round(1000 * (score - low) / (high - low)) if high > low else 0
        for start, end in feature.parts:
            place = Interval(feature.chrom, start, end)
            yield BedRow(place, feature.name or feature.id, shade, feature.strand)
