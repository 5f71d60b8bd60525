"""A genome and labelled regions, cut into windows that know which of their bases are what.

Windows lie on a fixed grid, so that a labelled region stands anywhere in them and its place says
nothing. One stretch of one contig is held at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field

from basewise.data.genome import Genome, other_spellings, place_of
from basewise.data.spans import read_spans
from basewise.errors import ConfigError, DataError
from basewise.registry import component
from basewise.sequence.alphabet import ILLEGAL, LETTERS, N, decode_rows, encode
from basewise.sequence.alphabet import reverse_complement as turn
from basewise.stats import random_numbers
from basewise.types import BACKGROUND, Bools, Codes, Interval, Ints, Record, Span

__all__ = ["Windows", "other_strand", "pieces"]

Paths = str | Path | Sequence[str | Path]

_STRETCH = 1 << 22  # bases counted at once
_GC_CLASSES = 50  # GC contents that are within 2 % of each other match
_SHOWN = 3


class _Counts(NamedTuple):
    """Of windows, (w,): bases of each label (w, k), unknown bases, G and C, blacklisted bases."""

    labelled: Ints
    unknown: Ints
    gc: Ints
    banned: Ints


@dataclass(frozen=True)
class _Contig:
    """A sequence of the genome; `offset` is the place of its first base in the chromosome."""

    chrom: str
    offset: int
    codes: Codes
    whole: bool  # whether it ends where the chromosome does

    def __str__(self) -> str:
        return f"{self.chrom} has {self.offset + len(self.codes)} bases"


class _Regions(NamedTuple):
    """Disjoint stretches of one contig, sorted: starts and ends, (m,)."""

    starts: Ints
    ends: Ints


@component
class Windows:
    """How a genome is cut into labelled windows.

    Attributes
    ----------
    width : int
        Bases of a window.
    step : int or None
        Bases from one window to the next; the width where None. Windows that overlap belong
        into one split.
    negatives : {"random", "gc_matched", "all"}
        Which windows without a labelled base are kept: drawn at random; drawn so that their GC
        contents are those of the labelled windows (in classes of 2 %); or all of them.
    per_positive : float
        How many are drawn for each labelled window, contig by contig. Fewer where a contig (or
        a class of GC) has no more; how many were lacking goes to the log `basewise`.
    max_unknown : float
        Windows with a larger share of N are left out.
    both_strands : bool
        Every window is there twice: also read along the other strand.
    """

    width: Annotated[int, Field(ge=1)] = 512
    step: Annotated[int, Field(ge=1)] | None = None
    negatives: Literal["random", "gc_matched", "all"] = "random"
    per_positive: Annotated[float, Field(ge=0)] = 1.0
    max_unknown: Annotated[float, Field(ge=0, le=1)] = 0.0
    both_strands: bool = False

    def cut(
        self,
        genome: Paths,
        labels: Mapping[str, str | Path],
        *,
        blacklist: str | Path | None = None,
        seed: int = 0,
    ) -> list[Record]:
        """The windows of a genome, in its order.

        Parameters
        ----------
        genome : path or several
            FASTA, plain or gzip. A sequence named `chrom:a-b` (1-based, as `samtools faidx`
            writes it) is that piece of the chromosome.
        labels : mapping
            From the name of a label to the BED file of the bases that have it, on either
            strand. Bases in no file are `background`. Regions of one file may overlap and are
            joined; those of two files may not. Chromosomes that the genome does not hold are
            passed over.
        blacklist : path, optional
            BED; windows that touch it are left out.
        seed : int
            Draws the windows without a label.

        Returns
        -------
        list of Record
            `label` is the name of the label with most bases in the window, else `background`;
            `truth` holds its labelled stretches, cut at the window's ends; `locus` its place.
            Contigs shorter than a window give none; a last window ends where the contig does.

        Raises
        ------
        DataError
            If a file cannot be read; the BED names chromosomes otherwise than the genome
            (`1` for `chr1`), reaches beyond one, or names none of it; labels overlap; or no
            window holds a labelled base.
        """
        if not labels:
            raise ConfigError("labels = {}: name at least one BED file, {'Z-DNA': 'z.bed'}.")
        if BACKGROUND in labels:
            raise ConfigError(f"{BACKGROUND!r} names the bases in no file; call the label else.")
        paths = [genome] if isinstance(genome, str | Path) else list(genome)
        files = {name: _Bed(Path(path)) for name, path in labels.items()}
        banned = _Bed(Path(blacklist)) if blacklist is not None else None
        found: list[Record] = []
        told = _Told()
        for contig in _contigs([Path(path) for path in paths]):
            told.add(contig)
            regions = {name: bed.on(contig) for name, bed in files.items()}
            _refuse_overlaps(contig, regions)
            out = banned.on(contig) if banned else _Regions(np.empty(0, int), np.empty(0, int))
            found += self._of_contig(contig, regions, out, seed, told)
        for bed in [*files.values(), *([banned] if banned else [])]:
            bed.check_spelling(told.chroms)
        for bed in files.values():
            bed.check_some_are_there(told.chroms)
        told.say(self)
        if not any(record.truth for record in found):
            raise DataError(
                f"No window of {', '.join(map(str, paths))} holds a base of "
                f"{', '.join(str(bed.path) for bed in files.values())} "
                f"({told.windows} windows of {self.width} bases, {told.left_out} left out)."
            )
        return found

    def _of_contig(
        self,
        contig: _Contig,
        regions: Mapping[str, _Regions],
        banned: _Regions,
        seed: int,
        told: _Told,
    ) -> list[Record]:
        starts = self._starts(len(contig.codes))
        if not len(starts):
            return []
        parts = [
            _counted(contig.codes, some, self.width, [*regions.values(), banned])
            for some in _stretches(starts, self.width)
        ]
        counts = _Counts(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        usable = (counts.banned == 0) & (counts.unknown <= self.max_unknown * self.width)
        positive = usable & counts.labelled.any(1)
        rng = random_numbers(seed, f"{contig.chrom}:{contig.offset}", "windows")
        drawn = self._drawn(positive, usable & ~positive, counts, rng, told)
        told.windows += len(starts)
        told.left_out += int((~usable).sum())
        chosen = np.flatnonzero(positive | drawn)
        records = _records(contig, regions, starts[chosen], self.width, counts.labelled[chosen])
        if not self.both_strands:
            return records
        return [each for record in records for each in (record, other_strand(record))]

    def _starts(self, b: int) -> Ints:
        last = b - self.width
        if last < 0:
            return np.empty(0, np.int64)
        starts = np.arange(0, last + 1, self.step or self.width)
        return starts if starts[-1] == last else np.append(starts, last)

    def _drawn(
        self, positive: Bools, free: Bools, counts: _Counts, rng: np.random.Generator, told: _Told
    ) -> Bools:
        """Which of the free windows are kept, (w,)."""
        if self.negatives == "all":
            return free
        share = counts.gc / np.maximum(self.width - counts.unknown, 1)
        groups = np.zeros(len(free), np.int64)
        if self.negatives == "gc_matched":
            groups = np.minimum((share * _GC_CLASSES).astype(np.int64), _GC_CLASSES - 1)
        kept = np.zeros(len(free), bool)
        order = rng.permutation(np.flatnonzero(free))
        wanted = np.bincount(groups[positive], minlength=_GC_CLASSES) * self.per_positive
        for group in np.flatnonzero(wanted).tolist():
            candidates = order[groups[order] == group]
            n = _rounded(wanted[group], rng)
            kept[candidates[:n]] = True
            told.lacking += max(n - len(candidates), 0)
        return kept


def other_strand(record: Record) -> Record:
    """A record read along the other strand, its truth with it; the id gains `/rc`, or its strand.

    Twice, it is the record again.
    """
    b, locus, name = len(record.sequence), record.locus, record.id
    if locus is not None:
        locus = locus._replace(strand="+" if locus.strand == "-" else "-")
    if record.locus is not None and name == str(record.locus):
        name = str(locus)
    else:
        name = name.removesuffix("/rc") if name.endswith("/rc") else f"{name}/rc"
    truth = tuple(Span(b - end, b - start, said) for start, end, said in reversed(record.truth))
    return Record(name, str(turn(record.sequence)), record.label, locus, truth)


def pieces(record: Record, width: int) -> list[Record]:
    """A record in windows of so many bases, one after the other; the last one ends where it does.

    Their labelled stretches and places are those of the record, cut at their ends; ids gain
    `@start-end`. A record that is no longer is the only one.
    """
    b = len(record.sequence)
    if b <= width:
        return [record]
    starts = [*range(0, b - width, width), b - width]
    return [_piece(record, start, start + width) for start in starts]


def _piece(record: Record, start: int, end: int) -> Record:
    locus = record.locus
    if locus is not None:
        first = start if locus.strand == "+" else len(record.sequence) - end
        at = locus.start + first
        locus = locus._replace(start=at, end=at + end - start)
    truth = tuple(
        Span(max(span.start, start) - start, min(span.end, end) - start, span.name)
        for span in record.truth
        if span.start < end and start < span.end
    )
    name = f"{record.id}@{start}-{end}"
    return Record(name, record.sequence[start:end], record.label, locus, truth)


class _Told:
    """What happened on the way, for the log and for errors."""

    def __init__(self) -> None:
        self.chroms: dict[str, int] = {}
        self.windows = self.left_out = self.lacking = 0

    def add(self, contig: _Contig) -> None:
        self.chroms[contig.chrom] = len(contig.codes)

    def say(self, windows: Windows) -> None:
        log = logging.getLogger("basewise")
        log.info(
            "%d windows of %d bases; %d left out (blacklist, N)",
            self.windows,
            windows.width,
            self.left_out,
        )
        if self.lacking:
            log.warning(
                "%d windows without a label are lacking: negatives = %r, per_positive = %g",
                self.lacking,
                windows.negatives,
                windows.per_positive,
            )


class _Bed:
    """The regions of a BED file by chromosome."""

    def __init__(self, path: Path) -> None:
        self.path, self._spans = path, read_spans(path)

    def on(self, contig: _Contig) -> _Regions:
        """The regions on a contig, in its coordinates, joined where they touch or overlap."""
        spans = self._spans.get(contig.chrom, [])
        places = np.array([span[:2] for span in spans], np.int64).reshape(-1, 2) - contig.offset
        b = len(contig.codes)
        if contig.whole and (beyond := places[:, 1] > b).any():
            start, end = places[np.argmax(beyond)]
            raise DataError(
                f"{self.path}: {contig.chrom}:{start}-{end} is beyond the end, {contig} in the "
                "genome; take the genome that the regions were made on."
            )
        starts, ends = np.clip(places[np.argsort(places[:, 0], kind="stable")], 0, b).T
        starts, ends = starts[ends > starts], ends[ends > starts]
        furthest = np.maximum.accumulate(ends)
        fresh = np.append(True, starts[1:] > furthest[:-1])[: len(starts)]
        last = np.append(fresh[1:], True)[: len(starts)]
        return _Regions(starts[fresh], furthest[last])

    def check_spelling(self, chroms: Mapping[str, int]) -> None:
        """Refuse names that are those of the genome written otherwise."""
        for name in self._spans:
            if name not in chroms and (meant := other_spellings(name) & set(chroms)):
                raise DataError(
                    f"{self.path} says {name!r} where the genome says {min(meant)!r}; write the "
                    "names of one of them as in the other."
                )

    def check_some_are_there(self, chroms: Mapping[str, int]) -> None:
        """Refuse a file that names nothing of the genome."""
        if not set(self._spans) & set(chroms):
            here, there = _some(self._spans), _some(chroms)
            raise DataError(
                f"{self.path} names no chromosome of the genome: it has {here}; the genome {there}."
            )


def _some(names: Mapping[str, object]) -> str:
    return ", ".join([*names][:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _rounded(wanted: float, rng: np.random.Generator) -> int:
    """A whole number with this mean."""
    return int(wanted) + int(rng.random() < wanted - int(wanted))


def _contigs(paths: Sequence[Path]) -> Iterator[_Contig]:
    """Every sequence of the genome, one at a time."""
    seen: dict[tuple[str, int], Path] = {}
    for path in paths:
        genome = Genome(path)
        for name, length in genome.lengths.items():
            chrom, offset = place_of(name, length)
            if (chrom, offset) in seen:
                raise DataError(f"{path} and {seen[chrom, offset]} both hold {name!r}.")
            seen[chrom, offset] = path
            text = genome.fetch(Interval(name, 0, length))
            codes = encode(text)
            if (illegal := codes == ILLEGAL).any():
                at = int(np.argmax(illegal))
                raise DataError(
                    f"{path}: letter {text[at]!r} at base {at} of {name} is none of {LETTERS}; "
                    "write unknown bases as N."
                )
            del text, illegal
            yield _Contig(chrom, offset, codes, whole=chrom == name)


def _refuse_overlaps(contig: _Contig, regions: Mapping[str, _Regions]) -> None:
    """Refuse bases with two labels."""
    names = [name for name, found in regions.items() for _ in found.starts]
    starts = np.concatenate([found.starts for found in regions.values()])
    ends = np.concatenate([found.ends for found in regions.values()])
    order = np.argsort(starts, kind="stable")
    clash = np.flatnonzero(ends[order][:-1] > starts[order][1:])
    if len(clash):
        (a, b), o = order[clash[0] : clash[0] + 2], contig.offset
        raise DataError(
            f"{contig.chrom}:{starts[a] + o}-{ends[a] + o} is {names[a]!r} and "
            f"{contig.chrom}:{starts[b] + o}-{ends[b] + o} is {names[b]!r}: labels must not "
            f"overlap ({len(clash)} do on {contig.chrom}); cut one of the files."
        )


def _stretches(starts: Ints, width: int) -> Iterator[Ints]:
    """Starts in runs that span about as many bases as are counted at once."""
    at = 0
    while at < len(starts):
        end = int(np.searchsorted(starts, starts[at] + max(_STRETCH - width, 1), side="right"))
        yield starts[at:end]
        at = end


def _counted(codes: Codes, starts: Ints, width: int, regions: Sequence[_Regions]) -> _Counts:
    """What the windows at `starts` hold; of `regions` the last is the blacklist."""
    low, high = int(starts[0]), int(starts[-1]) + width
    here = codes[low:high]

    def within(flags: Bools) -> Ints:
        summed = np.zeros(len(flags) + 1, np.int32)
        np.cumsum(flags, out=summed[1:])
        found: Ints = (summed[starts - low + width] - summed[starts - low]).astype(np.int64)
        return found

    *labelled, banned = (_covered(each, starts, width) for each in regions)
    gc = within((here == 1) | (here == 2))
    return _Counts(np.stack(labelled, axis=1), within(here == N), gc, banned)


def _covered(regions: _Regions, starts: Ints, width: int) -> Ints:
    """Bases of each window that disjoint, sorted regions cover, (w,)."""
    lengths = regions.ends - regions.starts
    before = np.append(0, np.cumsum(lengths))

    def up_to(place: Ints) -> Ints:
        """Covered bases before a place."""
        i = np.searchsorted(regions.starts, place, side="left")
        beyond = np.append(0, regions.ends)[i] - place
        found: Ints = before[i] - np.where(i > 0, np.maximum(beyond, 0), 0)
        return found

    return up_to(starts + width) - up_to(starts)


def _records(
    contig: _Contig,
    regions: Mapping[str, _Regions],
    starts: Ints,
    width: int,
    labelled: Ints,
) -> list[Record]:
    names = list(regions)
    most = labelled.argmax(1).tolist()
    bounds = [_touching(found, starts, width) for found in regions.values()]
    texts = decode_rows(contig.codes[starts[:, None] + np.arange(width)])
    found = []
    for i, start in enumerate(starts.tolist()):
        truth = [
            Span(max(a - start, 0), min(b - start, width), name)
            for (name, where), (first, stop) in zip(regions.items(), bounds, strict=True)
            for a, b in zip(
                where.starts[first[i] : stop[i]].tolist(),
                where.ends[first[i] : stop[i]].tolist(),
                strict=True,
            )
        ]
        place = contig.offset + start
        locus = Interval(contig.chrom, place, place + width)
        label = names[most[i]] if truth else BACKGROUND
        found.append(Record(str(locus), texts[i], label, locus, tuple(sorted(truth))))
    return found


def _touching(regions: _Regions, starts: Ints, width: int) -> tuple[Ints, Ints]:
    """First and one past the last region that each window touches."""
    first = np.searchsorted(regions.ends, starts, side="right")
    return first, np.searchsorted(regions.starts, starts + width, side="left")
