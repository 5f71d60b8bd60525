"""Families of dinucleotide repeats in labelled or called regions, against matched nulls.

A family such as (CG)n, (CA/TG)n or (GC/AC)n is spelled by its units: `CG`, `CA`, `GC/AC`. A run
is a stretch in which every step from one base to the next is one that the units make, in any
phase and on either strand: `GC/AC` makes GC, AC, CG and CA, so that every run of it alternates
purines and pyrimidines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from basewise.data.genome import Genome
from basewise.errors import ConfigError
from basewise.sequence.alphabet import (
    LETTERS,
    decode_rows,
    encode,
    encode_rows,
    reverse_complement,
)
from basewise.sequence.shuffle import shuffle_dinucleotides
from basewise.stats import benjamini_hochberg, bootstrap
from basewise.tokenize.labelling import runs
from basewise.types import Bools, Codes, Floats, Interval, Ints, Record

__all__ = ["REPEATS", "check_family", "repeats_in_genome", "repeats_in_regions", "run_bases"]

REPEATS = (
    "of",
    "background",
    "family",
    "regions",
    "bases",
    "share",
    "share_low",
    "share_high",
    "expected",
    "low",
    "high",
    "enrichment",
    "p",
    "q",
    "in_background",
    "in_shuffles",
)
"""Columns of `repeats_in_regions` and `repeats_in_genome`; `background`: `windows`, `genome`."""


def check_family(family: str) -> None:
    """Refuse what is no family of dinucleotides.

    Raises
    ------
    ConfigError
        Saying how one is written.
    """
    units = family.split("/")
    if any(len(unit) != 2 or set(unit) - set("ACGT") for unit in units):
        raise ConfigError(f"{family!r} is no family of repeats; write 'CG', 'CA' or 'GC/AC'.")


def run_bases(sequence: str, family: str, least: int = 8) -> Bools:
    """Which bases of a sequence lie in a run of a family, (b,).

    Parameters
    ----------
    family : str
        Units of two bases, joined by `/`.
    least : int
        Bases of the shortest run.
    """
    return _run_flags(encode(sequence), family, least)


def _run_flags(codes: Codes, family: str, least: int) -> Bools:
    """`run_bases` of codes."""
    check_family(family)
    found = np.zeros(len(codes), bool)
    units = family.split("/")
    steps = {*units} | {one[1] + other[0] for one in units for other in units}
    for strand in (steps, {str(reverse_complement(step)) for step in steps}):
        allowed = np.zeros((len(LETTERS), len(LETTERS)), bool)
        for step in strand:
            allowed[tuple(encode(step))] = True
        stretches = runs(allowed[codes[:-1], codes[1:]])
        for start, end in stretches[stretches[:, 1] + 1 - stretches[:, 0] >= least].tolist():
            found[start : end + 1] = True
    return found


def repeats_in_regions(
    records: Sequence[Record],
    regions: Mapping[str, Sequence[Bools]],
    families: Sequence[str],
    *,
    least: int = 8,
    draws: int = 999,
    shuffles: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """How much of some regions is repeats, against other places of the same composition.

    Parameters
    ----------
    records : n records
    regions : mapping of str to n arrays, (b,) each
        By what they are called: which bases lie in them.
    families : sequence of str
        See `run_bases`.
    least : int
        Bases of the shortest run.
    draws : int
        Of the null: each region is put on a stretch of these records, outside of all regions,
        of the same length and number of G and C (or the nearest number that there is). One for
        which there is no such stretch stays where it is.
    shuffles : int
        Dinucleotide shuffles of every record.

    Returns
    -------
    DataFrame
        By regions (`of`) and family: the number of `regions` and of their `bases`; the `share`
        of those that lie in runs, with its bootstrap interval of 95 % over regions (`share_low`,
        `share_high`); the share `expected` under the null with the interval of 95 %
        of its draws (`low`, `high`); `enrichment`, their ratio; p (one-sided, by the draws) and q
        (Benjamini-Hochberg over the families); and the share of all bases of these records that
        lies in runs, `in_background`, and `in_shuffles` of them, which keep every dinucleotide
        count.
    """
    rng = np.random.default_rng([seed, 5])
    runs_of = {f: _flags([r.sequence for r in records], f, least) for f in families}
    shuffled = _shuffled(records, shuffles, rng)
    by_chance = {f: float(_flags(shuffled, f, least).mean()) for f in families}
    record = np.repeat(np.arange(len(records)), [len(r.sequence) for r in records])
    gc = np.isin(encode("".join(r.sequence for r in records)), [1, 2])
    parts = []
    for name, each in regions.items():
        inside = np.concatenate([np.zeros(0, bool), *each])
        places = _Places(inside, record, gc)
        counts = places.drawn(list(runs_of.values()), draws, rng)
        rows = []
        for (family, flags), count in zip(runs_of.items(), counts, strict=True):
            told = _told(name, family, places.regions, flags[inside], count, seed)
            rows.append(told | {"in_background": flags.mean(), "in_shuffles": by_chance[family]})
        parts.append(_table(rows, "windows"))
    return pd.concat([pd.DataFrame(columns=list(REPEATS)), *parts][1:], ignore_index=True)


def repeats_in_genome(
    records: Sequence[Record],
    regions: Mapping[str, Sequence[Bools]],
    families: Sequence[str],
    genome: Sequence[Path],
    *,
    least: int = 8,
    draws: int = 999,
    seed: int = 0,
) -> pd.DataFrame:
    """`repeats_in_regions` against places anywhere in a genome instead of in the same records.

    Parameters
    ----------
    genome : sequence of Path
        FASTA files, plain or gzip, of all that a region could have been in: it is put on a stretch
        of the same length and number of G and C (or the nearest number that there is), without
        unknown bases. Labelled stretches are among these places, of which no list is complete; so
        an enrichment is too small rather than too large. Read one sequence at a time.

    Returns
    -------
    DataFrame
        As of `repeats_in_regions`; `in_background` is of the known bases of the genome, and
        `in_shuffles` is not computed.
    """
    rng = np.random.default_rng([seed, 6])
    runs_of = {f: _flags([r.sequence for r in records], f, least) for f in families}
    record = np.repeat(np.arange(len(records)), [len(r.sequence) for r in records])
    gc = np.isin(encode("".join(r.sequence for r in records)), [1, 2])
    flat = {name: np.concatenate([np.zeros(0, bool), *each]) for name, each in regions.items()}
    wanted = {name: _Places(inside, record, gc).regions for name, inside in flat.items()}
    lengths = sorted({region.length for own in wanted.values() for region in own})
    places = _GenomePlaces(genome, lengths)
    counts, share = places.drawn(wanted, families, least, draws, rng)
    parts = []
    for name, inside in flat.items():
        rows = []
        for (family, flags), count in zip(runs_of.items(), counts[name], strict=True):
            told = _told(name, family, wanted[name], flags[inside], count, seed)
            rows.append(told | {"in_background": share[family], "in_shuffles": np.nan})
        parts.append(_table(rows, "genome"))
    return pd.concat([pd.DataFrame(columns=list(REPEATS)), *parts][1:], ignore_index=True)


def _told(
    name: str, family: str, regions: Sequence[_Region], flags: Bools, count: Floats, seed: int
) -> dict[str, object]:
    """What is seen of a family on the bases of regions, and expected by the bases in runs of each
    draw of the null."""
    bases, expected = len(flags), float(count.mean()) / max(len(flags), 1)
    share, seen = (np.nan,) * 3, int(flags.sum())
    if regions:
        lengths = np.array([region.length for region in regions])
        own = np.stack([np.add.reduceat(flags, np.cumsum(lengths) - lengths, dtype=int), lengths])
        share = bootstrap(
            lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()),
            own.T,
            rng=np.random.default_rng([seed, 7]),
        )[:3]
    low, high = (np.quantile(count, [0.025, 0.975]) / max(bases, 1)).tolist()
    return {
        "of": name,
        "family": family,
        "regions": len(regions),
        "bases": bases,
        "share": share[0],
        "share_low": share[1],
        "share_high": share[2],
        "expected": expected,
        "low": low,
        "high": high,
        "enrichment": share[0] / expected if expected else float("inf"),
        "p": float((1 + (count >= seen).sum()) / (1 + len(count))),
    }


def _table(rows: Sequence[Mapping[str, object]], background: str) -> pd.DataFrame:
    """The families of some regions, with q over them."""
    table = pd.DataFrame(list(rows))
    q = benjamini_hochberg(table["p"].to_numpy(float))
    return table.assign(background=background, q=q)[list(REPEATS)]


def _flags(sequences: Sequence[str], family: str, least: int) -> Bools:
    """`run_bases` of sequences, one after the other."""
    return np.concatenate([run_bases(sequence, family, least) for sequence in sequences])


def _shuffled(records: Sequence[Record], draws: int, rng: np.random.Generator) -> list[str]:
    """Dinucleotide shuffles of every record, together where they are of one length."""
    found = []
    lengths = np.array([len(record.sequence) for record in records])
    for length in np.unique(lengths).tolist():
        own = [records[i].sequence for i in np.flatnonzero(lengths == length).tolist()]
        shuffled = shuffle_dinucleotides(encode_rows(own), rng, draws)
        found += decode_rows(shuffled.reshape(-1, length))
    return found


class _Region(NamedTuple):
    length: int
    gc: int


class _Places:
    """Where regions could have been: stretches outside of them, by length and G and C."""

    def __init__(self, inside: Bools, record: Ints, gc: Bools):
        self._record, self._gc = record, np.append(0, np.cumsum(gc))
        self._taken = np.append(0, np.cumsum(inside))
        edges = inside & np.append(True, (record[1:] != record[:-1]) | ~inside[:-1])
        self.regions = []
        starts = self._starts = np.flatnonzero(edges)
        stops = np.flatnonzero(inside & np.append((record[1:] != record[:-1]) | ~inside[1:], True))
        for start, stop in zip(starts.tolist(), (stops + 1).tolist(), strict=True):
            self.regions.append(_Region(stop - start, int(self._gc[stop] - self._gc[start])))

    def drawn(self, flags: Sequence[Bools], draws: int, rng: np.random.Generator) -> list[Floats]:
        """Of each of several flags: how many bases of all regions have it where they are put by
        chance, (draws,)."""
        totals = [np.append(0, np.cumsum(each)) for each in flags]
        counts = [np.zeros(draws) for _ in flags]
        free = {length: self._free(length) for length in {r.length for r in self.regions}}
        for region, start in zip(self.regions, self._starts, strict=True):
            starts, content = free[region.length]
            if not len(starts):  # it could have been nowhere else, so it says nothing
                for total, count in zip(totals, counts, strict=True):
                    count += total[start + region.length] - total[start]
                continue
            apart = np.abs(content - region.gc)
            some = starts[apart == apart.min()]
            chosen = some[rng.integers(0, len(some), draws)]
            for total, count in zip(totals, counts, strict=True):
                count += total[chosen + region.length] - total[chosen]
        return counts

    def _free(self, length: int) -> tuple[Ints, Ints]:
        """Starts of stretches outside of regions and within one record, and their G and C."""
        starts = np.arange(max(len(self._record) - length + 1, 0))
        stop = starts + length
        fits = (self._record[starts] == self._record[stop - 1]) & (
            self._taken[stop] == self._taken[starts]
        )
        starts, stop = starts[fits], stop[fits]
        return starts, self._gc[stop] - self._gc[starts]


class _GenomePlaces:
    """Where in a genome regions could have been: stretches of known bases, by length and G+C.

    Twice over the genome: how many places every length and content has, then those that are
    drawn. So memory holds one sequence.
    """

    def __init__(self, genome: Sequence[Path], lengths: Sequence[int]):
        self._genome, self._lengths = genome, lengths
        self._counts = {length: np.zeros(length + 1, np.int64) for length in lengths}
        for codes in self._sequences():
            for length, content in _contents(codes, lengths):
                self._counts[length] += np.bincount(content, minlength=length + 2)[:-1]

    def drawn(
        self,
        wanted: Mapping[str, Sequence[_Region]],
        families: Sequence[str],
        least: int,
        draws: int,
        rng: np.random.Generator,
    ) -> tuple[dict[str, list[Floats]], dict[str, float]]:
        """By name, for each family: bases in runs of all regions where they are put by chance,
        (draws,); and by family the share of the known bases of the genome in runs."""
        asked = self._ranks(wanted, draws, rng)
        counts = {name: [np.zeros(draws) for _ in families] for name in wanted}
        before = {length: np.zeros(length + 1, np.int64) for length in self._lengths}
        inside, known = np.zeros(len(families)), 0
        for codes in self._sequences():
            flags = [_run_flags(codes, family, least) for family in families]
            totals = [np.append(0, np.cumsum(each, dtype=np.int32)) for each in flags]
            inside += [total[-1] for total in totals]
            known += int((codes < 4).sum())
            for length, content in _contents(codes, self._lengths):
                for gc, of_names in asked[length].items():
                    starts = np.flatnonzero(content == gc)
                    first = before[length][gc]
                    before[length][gc] += len(starts)
                    for name, ranks in of_names.items():
                        row, draw = np.nonzero((ranks >= first) & (ranks < first + len(starts)))
                        at = starts[ranks[row, draw] - first]
                        for total, count in zip(totals, counts[name], strict=True):
                            count += np.bincount(draw, total[at + length] - total[at], draws)
        return counts, dict(zip(families, (inside / max(known, 1)).tolist(), strict=True))

    def _ranks(
        self, wanted: Mapping[str, Sequence[_Region]], draws: int, rng: np.random.Generator
    ) -> dict[int, dict[int, dict[str, Ints]]]:
        """By length, content and name: which of the places of that kind are drawn, (m, draws) of
        m regions, counted through the genome."""
        found: dict[int, dict[int, dict[str, Ints]]] = {length: {} for length in self._lengths}
        for name, regions in wanted.items():
            for region in sorted(set(regions)):
                there = np.flatnonzero(self._counts[region.length])
                if not len(there):
                    continue
                gc = int(there[np.abs(there - region.gc).argmin()])
                n, many = int(self._counts[region.length][gc]), regions.count(region)
                ranks = rng.integers(0, n, (many, draws))
                own = found[region.length].setdefault(gc, {})
                own[name] = np.concatenate([own[name], ranks]) if name in own else ranks
        return found

    def _sequences(self) -> Iterator[Codes]:
        for path in self._genome:
            genome = Genome(path)
            for name, length in genome.lengths.items():
                yield encode(genome.fetch(Interval(name, 0, length)))


def _contents(codes: Codes, lengths: Sequence[int]) -> Iterator[tuple[int, Ints]]:
    """For each length, the G and C of the stretch from every base on; where it holds an unknown
    base, one more than there can be."""
    gc, unknown = (
        np.append(np.int32(0), np.cumsum(each, dtype=np.int32))
        for each in ((codes == 1) | (codes == 2), codes > 3)
    )
    for length in lengths:
        if length <= len(codes):
            content = gc[length:] - gc[:-length]
            content[unknown[length:] > unknown[:-length]] = length + 1
            yield length, content
