"""Predicting the bases of a whole genome, in parts: a run that is killed continues where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from basewise.data.browser import Piece
from basewise.data.genome import Genome, place_of
from basewise.data.tiles import Tiles
from basewise.data.windows import other_strand
from basewise.errors import DataError
from basewise.models.model import Model
from basewise.store import whole
from basewise.types import Floats, Interval, Ints, Record

__all__ = ["Contig", "annotate", "contigs_of", "sizes_of", "tiles_for"]

PART = 1 << 18  # bases of a part file, about

Progress = Callable[[int, int, int], None]


class Contig(NamedTuple):
    """A sequence of a genome's file, and where it lies."""

    name: str
    chrom: str
    offset: int
    length: int


def contigs_of(genome: Genome) -> list[Contig]:
    """The sequences of a genome by chromosome, in alphabetic order, and place.

    A sequence named `chrom:a-b` is that piece of the chromosome; see `place_of`.

    Raises
    ------
    DataError
        If two of them hold the same bases.
    """
    found = sorted(
        (Contig(name, *place_of(name, length), length) for name, length in genome.lengths.items()),
        key=lambda contig: contig[1:3],
    )
    for one, other in pairwise(found):
        if one.chrom == other.chrom and one.offset + one.length > other.offset:
            raise DataError(f"{genome.path}: {one.name!r} and {other.name!r} overlap.")
    return found


def sizes_of(contigs: Sequence[Contig]) -> dict[str, int]:
    """Bases of every chromosome, as far as its last sequence reaches."""
    return {contig.chrom: contig.offset + contig.length for contig in contigs}


def tiles_for(model: Model, width: int | None = None, overlap: int | None = None) -> Tiles:
    """The windows that a model reads a genome in.

    Where not said: as wide as surely fits the model's longest input (with one base to a token),
    at most 4,096 bases; a quarter of the width shared, at most 512 bases.
    """
    if width is None:
        spans = model.tokenizer.encode("ACGT" * 8).spans
        special = int((spans[:, 0] == spans[:, 1]).sum())
        width = 4096 if model.longest is None else min(4096, model.longest - special)
    return Tiles(width=width, overlap=min(512, width // 4) if overlap is None else overlap)


def annotate(
    model: Model,
    genome: Genome,
    label: str,
    folder: Path,
    *,
    tiles: Tiles | None = None,
    both_strands: bool | None = None,
    progress: Progress | None = None,
) -> Iterator[Piece]:
    """The probability of a label at every base of a genome.

    A part of some 262,144 bases is predicted at a time and kept in `folder`; what is there and
    whole is not predicted again. The folder's name has to say all that the numbers depend on.

    Parameters
    ----------
    model : Model
        Labels bases.
    label : str
        By name.
    folder : Path
        Of the part files, `part-000000.npy` and so on.
    tiles : Tiles, optional
        How the genome is cut; those of `tiles_for` otherwise.
    both_strands : bool, optional
        Whether the mean over both strands is taken. By default it is, but for a network that
        reads both by itself.
    progress : callable, optional
        Called with the bases done, those of them predicted now, and those of the genome.

    Yields
    ------
    Piece
        In the order of `contigs_of`. Unknown bases (N), and those no token covers, have no
        number; windows that would speak for such bases only are not evaluated.

    Raises
    ------
    UnknownName
        If the model has no such label.
    CapabilityError
        If the model does not label bases.
    DataError
        If a sequence holds another letter, or a window more tokens than the model takes, or a file
        of a track does not have these chromosomes.
    """
    index = model.target(label).index(model.labels)
    if both_strands is None:
        config = getattr(model.network, "config", None)
        both_strands = not getattr(config, "both_strands", False)
    contigs = contigs_of(genome)
    if model.tracks is not None:
        model.tracks.check(contig.chrom for contig in contigs)
    done, made, total = 0, 0, sum(contig.length for contig in contigs)
    for i, part in enumerate(_parts(contigs, tiles or tiles_for(model))):
        path = folder / f"part-{i:06d}.npy"
        sizes = [int(own[-1, 3] - own[0, 2]) for _, own in part]
        values = _kept(path, sum(sizes))
        if values is None:
            predicted = [
                _predicted(model, genome, index, contig, own, both_strands) for contig, own in part
            ]
            values = np.concatenate(predicted).astype(np.float32)
            with whole(path) as aside, open(aside, "wb") as file:
                np.save(file, values)
            made += len(values)
        done += len(values)
        if progress:
            progress(done, made, total)
        cuts = np.cumsum(sizes)[:-1].tolist()
        for (contig, own), some in zip(part, np.split(values, cuts), strict=True):
            yield Piece(contig.chrom, contig.offset + int(own[0, 2]), some)


def _parts(contigs: Sequence[Contig], tiles: Tiles) -> Iterator[list[tuple[Contig, Ints]]]:
    """The windows of all contigs, in runs that speak for about `PART` bases."""
    part: list[tuple[Contig, Ints]] = []
    room = PART
    for contig in contigs:
        windows = tiles.cut(contig.length)
        while len(windows):
            n = max(int(np.searchsorted(windows[:, 3], windows[0, 2] + room, side="right")), 1)
            part.append((contig, windows[:n]))
            room -= int(windows[n - 1, 3] - windows[0, 2])
            windows = windows[n:]
            if len(windows) or room <= 0:
                yield part
                part, room = [], PART
    if part:
        yield part


def _predicted(
    model: Model, genome: Genome, index: int, contig: Contig, windows: Ints, both_strands: bool
) -> Floats:
    """The label's probability at the bases that some windows of a contig speak for."""
    low, high = int(windows[0, 0]), int(windows[:, 1].max())
    text = genome.fetch(Interval(contig.name, low, high))
    found = np.full(int(windows[-1, 3] - windows[0, 2]), np.nan)
    asked = []
    for start, end, first, last in windows.tolist():
        if text.count("N", first - low, last - low) < last - first:
            place = contig.offset + start
            locus = Interval(contig.chrom, place, contig.offset + end)
            record = Record(str(locus), text[start - low : end - low], locus=locus)
            asked.append((record, start, first, last))
    records = [record for record, *_ in asked]
    values = [each[:, index] for each in model.predict_bases(records)]
    if both_strands:
        turned = model.predict_bases([other_strand(record) for record in records])
        values = [_mean(one, other[::-1, index]) for one, other in zip(values, turned, strict=True)]
    begin = int(windows[0, 2])
    for (_, start, first, last), own in zip(asked, values, strict=True):
        found[first - begin : last - begin] = own[first - start : last - start]
    letters = np.frombuffer(text.encode(), np.uint8)[begin - low : begin - low + len(found)]
    found[letters == ord("N")] = np.nan
    return found


def _mean(one: Floats, other: Floats) -> Floats:
    """The mean of two strands, or that of them which has a number."""
    both = np.where(np.isnan(other), one, (one + other) / 2)
    return np.where(np.isnan(one), other, both)


def _kept(path: Path, size: int) -> NDArray[np.float32] | None:
    """What a part file holds; None if it is missing or broken, so that it is made again."""
    try:
        values: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape == (size,) and values.dtype == np.float32 else None
