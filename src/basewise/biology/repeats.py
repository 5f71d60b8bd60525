"""Families of dinucleotide repeats in labelled or called regions, against matched nulls.

A family such as (CG)n, (CA/TG)n or (GC/AC)n is spelled by its units: `CG`, `CA`, `GC/AC`. A run
is a stretch in which every step from one base to the next is one that the units make, in any
phase and on either strand: `GC/AC` makes GC, AC, CG and CA, so that every run of it alternates
purines and pyrimidines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from basewise.errors import ConfigError
from basewise.sequence.alphabet import (
    LETTERS,
    decode_rows,
    encode,
    encode_rows,
    reverse_complement,
)
from basewise.sequence.shuffle import shuffle_dinucleotides
from basewise.stats import benjamini_hochberg
from basewise.tokenize.labelling import runs
from basewise.types import Bools, Floats, Ints, Record

__all__ = ["REPEATS", "check_family", "repeats_in_regions", "run_bases"]

REPEATS = (
    "of",
    "family",
    "regions",
    "bases",
    "share",
    "expected",
    "low",
    "high",
    "enrichment",
    "p",
    "q",
    "in_windows",
    "in_shuffles",
)
"""Columns of `repeats_in_regions`."""


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
    check_family(family)
    codes = encode(sequence)
    found = np.zeros(len(codes), bool)
    units = family.split("/")
    steps = {*units} | {one[1] + other[0] for one in units for other in units}
    for strand in (steps, {str(reverse_complement(step)) for step in steps}):
        allowed = np.zeros((len(LETTERS), len(LETTERS)), bool)
        for step in strand:
            allowed[tuple(encode(step))] = True
        for start, end in runs(allowed[codes[:-1], codes[1:]]).tolist():
            if end + 1 - start >= least:
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
        of the same length and number of G and C (or the nearest number that there is).
    shuffles : int
        Dinucleotide shuffles of every record.

    Returns
    -------
    DataFrame
        By regions (`of`) and family: the number of `regions` and of their `bases`; the `share`
        of those that lie in runs; the share `expected` under the null with the interval of 95 %
        of its draws (`low`, `high`); `enrichment`, their ratio; p (one-sided, by the draws) and q
        (Benjamini-Hochberg over the families); and the share of all bases in runs `in_windows`,
        and `in_shuffles` of them, which keep every dinucleotide count.
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
            observed = float(flags[inside].mean()) if inside.any() else float("nan")
            null = count / max(int(inside.sum()), 1)
            expected = float(null.mean())
            low, high = np.quantile(null, [0.025, 0.975]).tolist()
            enrichment = observed / expected if expected else float("inf")
            p = float((1 + (null >= observed).sum()) / (1 + draws))
            told = (name, family, len(places.regions), int(inside.sum()), observed, expected)
            seen = (float(flags.mean()), by_chance[family])
            rows.append((*told, low, high, enrichment, p, np.nan, *seen))
        table = pd.DataFrame(rows, columns=list(REPEATS))
        table["q"] = benjamini_hochberg(table["p"].to_numpy(float))
        parts.append(table)
    return pd.concat([pd.DataFrame(columns=list(REPEATS)), *parts][1:], ignore_index=True)


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
        starts = np.flatnonzero(edges)
        stops = np.flatnonzero(inside & np.append((record[1:] != record[:-1]) | ~inside[1:], True))
        for start, stop in zip(starts.tolist(), (stops + 1).tolist(), strict=True):
            self.regions.append(_Region(stop - start, int(self._gc[stop] - self._gc[start])))

    def drawn(self, flags: Sequence[Bools], draws: int, rng: np.random.Generator) -> list[Floats]:
        """Of each of several flags: how many bases of all regions have it where they are put by
        chance, (draws,)."""
        totals = [np.append(0, np.cumsum(each)) for each in flags]
        counts = [np.zeros(draws) for _ in flags]
        free = {length: self._free(length) for length in {r.length for r in self.regions}}
        for region in self.regions:
            starts, content = free[region.length]
            if not len(starts):
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
