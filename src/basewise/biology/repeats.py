"""Families of dinucleotide repeats in labelled or called regions, against matched nulls.

A family such as (CG)n, (CA/TG)n or (GC/AC)n is spelled by its units: `CG`, `CA`, `GC/AC`. A run
is a stretch in which every step from one base to the next is one that the units make, in any
phase and on either strand: `GC/AC` makes GC, AC, CG and CA, so that every run of it alternates
purines and pyrimidines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from basewise.errors import ConfigError
from basewise.sequence.alphabet import LETTERS, encode, reverse_complement
from basewise.sequence.shuffle import shuffle_dinucleotides
from basewise.stats import benjamini_hochberg
from basewise.tokenize.labelling import runs
from basewise.types import Bools, Floats, Ints, Record

__all__ = ["REPEATS", "check_family", "repeats_in_regions", "run_bases"]

REPEATS = (
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
    regions: Sequence[Bools],
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
    regions : n arrays, (b,) each
        Which bases lie in the regions.
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
        By family: the number of `regions` and of their `bases`; the `share` of those that lie
        in runs; the share `expected` under the null with the interval of 95 % of its draws
        (`low`, `high`); `enrichment`, their ratio; p (one-sided, by the draws) and q
        (Benjamini-Hochberg over families); and the share of all bases in runs `in_windows`,
        and `in_shuffles` of them, which keep every dinucleotide count.
    """
    rng = np.random.default_rng([seed, 5])
    text = "".join(record.sequence for record in records)
    inside = np.concatenate([np.zeros(0, bool), *regions])
    record = np.repeat(np.arange(len(records)), [len(r.sequence) for r in records])
    gc = np.isin(encode(text), [1, 2])
    place = _Places(inside, record, gc)
    shuffled = [
        ["".join(LETTERS[c] for c in codes) for codes in own]
        for own in (
            shuffle_dinucleotides(encode(r.sequence)[None], rng, shuffles)[0] for r in records
        )
    ]
    rows = []
    for family in families:
        flags = np.concatenate([run_bases(r.sequence, family, least) for r in records])
        observed = float(flags[inside].mean()) if inside.any() else float("nan")
        null = place.drawn(flags, draws, rng) / max(int(inside.sum()), 1)
        expected = float(null.mean())
        by_chance = [run_bases(one, family, least).mean() for own in shuffled for one in own]
        rows.append(
            {
                "family": family,
                "regions": len(place.regions),
                "bases": int(inside.sum()),
                "share": observed,
                "expected": expected,
                "low": float(np.quantile(null, 0.025)),
                "high": float(np.quantile(null, 0.975)),
                "enrichment": observed / expected if expected else float("inf"),
                "p": float((1 + (null >= observed).sum()) / (1 + draws)),
                "in_windows": float(flags.mean()),
                "in_shuffles": float(np.mean(by_chance)),
            }
        )
    table = pd.DataFrame(rows)
    table["q"] = benjamini_hochberg(table["p"].to_numpy(float))
    return table[list(REPEATS)]


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

    def drawn(self, flags: Bools, draws: int, rng: np.random.Generator) -> Floats:
        """How many bases of all regions are flagged where they are put by chance, (draws,)."""
        total, count = np.append(0, np.cumsum(flags)), np.zeros(draws)
        lengths = {region.length for region in self.regions}
        free = {length: self._free(length) for length in lengths}
        for region in self.regions:
            starts, content = free[region.length]
            if not len(starts):
                continue
            apart = np.abs(content - region.gc)
            some = starts[apart == apart.min()]
            chosen = some[rng.integers(0, len(some), draws)]
            count += total[chosen + region.length] - total[chosen]
        return count

    def _free(self, length: int) -> tuple[Ints, Ints]:
        """Starts of stretches outside of regions and within one record, and their G and C."""
        starts = np.arange(max(len(self._record) - length + 1, 0))
        stop = starts + length
        fits = (self._record[starts] == self._record[stop - 1]) & (
            self._taken[stop] == self._taken[starts]
        )
        starts, stop = starts[fits], stop[fits]
        return starts, self._gc[stop] - self._gc[starts]
