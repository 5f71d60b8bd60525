"""Where regions lie in a track of scores: as they are, shifted together, or each anywhere else.

The measures of all placements come from running sums and from maxima of windows of 1, 2, 4, ...
bases, which are made once; see `basewise.biology.region_scores` for what they are for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from basewise.data.features import Feature
from basewise.errors import DataError
from basewise.sequence.alphabet import encode
from basewise.types import Bools, Floats, Ints

__all__ = ["MEASURES", "ScoredGenome", "matched_places", "shifts_of"]

MEASURES = ("mean", "sum", "maximum", "density")

_CHUNK = 1000  # shifts at a time
_BLOCK = 1 << 15  # placements drawn at a time
_BLOCKS = 40  # of them, at most, for a region
_SHOWN = 5  # names of contigs in an error


@dataclass(frozen=True, eq=False)
class ScoredGenome:
    """A track on its contigs, one after the other, and where the parts of regions lie in it.

    Every contig is there twice in a row, so that what is shifted round its end is one stretch.
    """

    lengths: Ints  # of contigs, (c,)
    base: Ints  # where each contig begins in the doubled arrays
    contig: Ints  # of every part, (p,)
    start: Ints
    size: Ints
    first: Ints  # first part of every region, (r,)
    doubled: Floats  # scores, NaN where there are none
    cutoff: float
    sums: Floats
    over: Floats
    known: Floats | None  # running counts of bases with a score; None if all have one
    chroms: tuple[str, ...]

    @classmethod
    def of(
        cls, track: Mapping[str, Floats], features: Sequence[Feature], cutoff: float | None
    ) -> ScoredGenome:
        if not features:
            raise DataError("There are no regions to score; give some features.")
        if not isinstance(track, Mapping):
            raise DataError(
                f"The track is {type(track).__name__!r}; give scores by contig: "
                f"{{{features[0].chrom!r}: scores}}."
            )
        chroms = tuple(dict.fromkeys(feature.chrom for feature in features))
        for feature in features:
            if feature.chrom not in track:
                raise DataError(
                    f"{feature.id} lies on {feature.chrom!r}, which has no track; there are "
                    f"tracks of {', '.join(map(repr, [*track][:_SHOWN]))}"
                    f"{', ...' if len(track) > _SHOWN else ''}."
                )
            length = len(track[feature.chrom])
            if max(end for _, end in feature.parts) > length:
                raise DataError(
                    f"{feature.id} ({feature.chrom}:{feature.start}-{feature.end}) is beyond its "
                    f"track, which has {length} bases."
                )
        values = [np.asarray(track[chrom], float) for chrom in chroms]
        place = {chrom: i for i, chrom in enumerate(chroms)}
        parts = np.array(
            [(place[f.chrom], start, end - start) for f in features for start, end in f.parts]
        )
        count = np.array([len(feature.parts) for feature in features])
        doubled = np.concatenate([np.tile(each, 2) for each in values])
        if cutoff is None:
            cutoff = float(np.nanquantile(np.concatenate(values), 0.99))
        known = ~np.isnan(doubled)
        return cls(
            lengths=np.array([len(each) for each in values]),
            base=np.cumsum([0, *(2 * len(each) for each in values)])[:-1],
            contig=parts[:, 0],
            start=parts[:, 1],
            size=parts[:, 2],
            first=np.cumsum(count) - count,
            doubled=doubled,
            cutoff=cutoff,
            sums=_running(np.where(known, doubled, 0.0)),
            over=_running(doubled >= cutoff),
            known=None if known.all() else _running(known),
            chroms=chroms,
        )

    @cached_property
    def observed(self) -> dict[str, Floats]:
        """The measures of the regions where they are, (r,), and their `bases` with a score."""
        found = next(self.shifted(np.zeros((1, len(self.lengths)), np.int64), MEASURES))
        return {m: values[0] for m, values in found.items()}

    def shifted(self, shifts: Ints, measures: Sequence[str]) -> Iterator[dict[str, Floats]]:
        """The measures, each (s, r), of all regions under shifts of the contigs, (n, c).

        With them `bases`: how many have a score.
        """
        for begin in range(0, len(shifts), _CHUNK):
            some = shifts[begin : begin + _CHUNK]
            length = self.lengths[self.contig]
            at = (self.start + some[:, self.contig]) % length + self.base[self.contig]
            count = self._count(at)
            found = {"bases": count}
            with np.errstate(invalid="ignore", divide="ignore"):
                total = self._within(self.sums, at)
                found["sum"] = np.where(count > 0, total, np.nan)
                found["mean"] = total / count
                if "density" in measures:
                    found["density"] = self._within(self.over, at) / count
            if "maximum" in measures:
                highest = self._highest(at)
                found["maximum"] = np.where(count > 0, highest, np.nan)
            yield found

    def _count(self, at: Ints) -> Floats:
        if self.known is None:
            bases = np.add.reduceat(self.size, self.first).astype(float)
            return np.broadcast_to(bases, (len(at), len(bases)))
        return self._within(self.known, at)

    def _within(self, running: Floats, at: Ints) -> Floats:
        """Sums over regions of a running sum, (s, r), where parts begin at (s, p)."""
        return np.add.reduceat(running[at + self.size] - running[at], self.first, axis=1)

    def _highest(self, at: Ints) -> Floats:
        """The maximum over each region: over two windows whose width is a power of two."""
        level, found = np.log2(self.size).astype(int), np.empty(at.shape)
        for k, windows in enumerate(_maxima(self.doubled, int(level.max()))):
            own = level == k
            if own.any():
                low, high = at[:, own], at[:, own] + self.size[own] - (1 << k)
                found[:, own] = np.maximum(windows[low], windows[high])
        return np.maximum.reduceat(found, self.first, axis=1)


def _running(values: Floats | Bools) -> Floats:
    found = np.zeros(len(values) + 1)
    np.cumsum(values, out=found[1:])
    return found


def _maxima(values: Floats, levels: int) -> Iterator[Floats]:
    """The maximum of every window of 1, 2, 4, ... bases, by its first base; in one array."""
    found = np.where(np.isnan(values), -np.inf, values)
    yield found
    for k in range(levels):
        half = 1 << k
        np.maximum(found[:-half], found[half:], out=found[:-half])
        yield found


def shifts_of(lengths: Ints, draws: int, seed: int) -> tuple[Ints, bool]:
    """Shifts of every contig, (n, c), none of them zero throughout; whether they are all."""
    rng = np.random.default_rng([seed, 3])
    if len(lengths) == 1:
        most = int(lengths[0]) - 1
        if most <= draws:
            return np.arange(1, most + 1)[:, None], True
        return rng.choice(most, draws, replace=False)[:, None] + 1, False
    found = rng.integers(0, lengths, (draws, len(lengths)))
    return found[found.any(1)], False


def matched_places(
    genome: ScoredGenome,
    sequences: Mapping[str, str] | None,
    draws: int,
    tolerance: float,
    seed: int,
) -> Iterator[tuple[int, dict[str, Floats]]]:
    """Every region anywhere on the contigs, as one stretch of its length and G+C.

    Which region, and the measures of its placements, (at most `draws`,) each.
    """
    if sequences is None:
        raise DataError("null = 'matched' matches G+C; give the sequences of the contigs.")
    for chrom, length in zip(genome.chroms, genome.lengths, strict=True):
        if chrom not in sequences:
            raise DataError(
                f"There is no sequence of {chrom!r}; there are {len(sequences)} others. Name them "
                "as the contigs of the track."
            )
        if len(sequences[chrom]) != length:
            raise DataError(
                f"The sequence of {chrom!r} has {len(sequences[chrom])} bases and its "
                f"track {length}; both are of one contig."
            )
    codes = np.concatenate([np.tile(encode(sequences[chrom]), 2) for chrom in genome.chroms])
    gc = _running((codes == 1) | (codes == 2))
    at = genome.base[genome.contig] + genome.start
    size = np.add.reduceat(genome.size, genome.first)
    share = np.add.reduceat(gc[at + genome.size] - gc[at], genome.first) / size
    level = np.log2(size).astype(int)
    ends, rng = np.cumsum(genome.lengths), np.random.default_rng([seed, 4])
    for k, windows in enumerate(_maxima(genome.doubled, int(level.max()))):
        for r in np.flatnonzero(level == k).tolist():
            b, found, left = int(size[r]), [], draws
            for _ in range(_BLOCKS):
                place = rng.integers(0, ends[-1], _BLOCK)
                contig = np.searchsorted(ends, place, side="right")
                place += genome.base[contig] - (ends - genome.lengths)[contig]
                fits = place + b <= genome.base[contig] + genome.lengths[contig]
                alike = np.abs((gc[place + fits * b] - gc[place]) / b - share[r]) <= tolerance
                kept = place[fits & alike]
                if genome.known is not None:
                    kept = kept[genome.known[kept + b] > genome.known[kept]]
                found.append(kept[:left])
                left -= len(found[-1])
                if not left:
                    break
            place = np.concatenate(found)
            count = (
                np.full(len(place), float(b))
                if genome.known is None
                else genome.known[place + b] - genome.known[place]
            )
            total = genome.sums[place + b] - genome.sums[place]
            over = genome.over[place + b] - genome.over[place]
            highest = np.maximum(windows[place], windows[place + b - (1 << k)])
            measures = (total / count, total, highest, over / count)
            yield r, dict(zip(MEASURES, measures, strict=True))
