"""Dividing records into splits, the same way every time.

Two windows of one chromosome, or two near copies of one sequence, belong into one split: a
model that has seen the one has seen the other. `by` says what must not be torn apart.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from basewise.errors import ConfigError, DataError
from basewise.sequence.alphabet import reverse_complement
from basewise.types import Floats, Record

__all__ = ["split", "split_chromosomes"]


def split(
    records: Sequence[Record],
    shares: Mapping[str, float],
    *,
    by: str | Sequence[str],
    seed: int,
) -> dict[str, list[Record]]:
    """Records divided into named splits, each in the order given.

    Parameters
    ----------
    records : n records
    shares : mapping
        Names of the splits to their shares, `{"train": 0.8, "dev": 0.1, "test": 0.1}`;
        they sum to 1.
    by : str or n str
        `record`: at random, the sizes as exact as can be. `id` or `sequence`: by a hash of
        it, so that a record stays where it is when others come or go; a sequence and its
        reverse complement go together. `chromosome`: whole chromosomes. Or the name of the
        group of every record (a cluster, a gene): whole groups. Groups go, the largest
        first, to the split that lacks most; those of one size in an order drawn by `seed`.
    seed : int
        Of the order, or mixed into the hash.

    Raises
    ------
    ConfigError
        If the shares do not sum to 1 or `by` is unknown.
    DataError
        If a split would be empty, or a record has no chromosome.
    """
    if not shares or min(shares.values()) <= 0 or not math.isclose(sum(shares.values()), 1):
        raise ConfigError(f"shares = {dict(shares)}: they must be positive and sum to 1.")
    ends = np.cumsum(list(shares.values()))
    if by == "record":
        order = np.random.default_rng(seed).permutation(len(records))
        named = _named(order, np.round(ends * len(records)), shares)
    elif by == "id":
        named = _named(_hashes([record.id for record in records], seed), ends, shares)
    elif by == "sequence":
        both = [(r.sequence, str(reverse_complement(r.sequence))) for r in records]
        named = _named(_hashes([min(pair) for pair in both], seed), ends, shares)
    elif by == "chromosome":
        named = _by_group(_chromosomes(records), shares, seed)
    elif isinstance(by, str):
        raise ConfigError(
            f"by = {by!r}: one of 'record', 'id', 'sequence', 'chromosome', "
            "or the group of every record."
        )
    else:
        if len(by) != len(records):
            raise DataError(f"{len(by)} groups for {len(records)} records: one each is needed.")
        named = _by_group(by, shares, seed)
    return _divided(records, named, shares)


def split_chromosomes(
    records: Sequence[Record], chromosomes: Mapping[str, Sequence[str]]
) -> dict[str, list[Record]]:
    """Records divided by chromosomes that are named.

    Parameters
    ----------
    chromosomes : mapping
        `{"train": ["chr13", "chr14"], "test": ["chr22"]}`.

    Raises
    ------
    DataError
        If a record lies on a chromosome of no split or of two, or a split would be empty.
    """
    listed = Counter(chrom for names in chromosomes.values() for chrom in names)
    if twice := [chrom for chrom, n in listed.items() if n > 1]:
        raise ConfigError(f"Chromosome {twice[0]!r} is in more than one split.")
    split_of = {chrom: name for name, chroms in chromosomes.items() for chrom in chroms}
    found = _chromosomes(records)
    if lost := sorted(set(found) - set(split_of)):
        raise DataError(
            f"Chromosomes {', '.join(lost)} are in no split, but hold "
            f"{sum(chrom in lost for chrom in found)} records; name them or leave these out."
        )
    for name, chroms in chromosomes.items():
        if not set(chroms) & set(found):
            raise DataError(
                f"Split {name!r} would be empty: no record lies on {', '.join(chroms)}; they lie "
                f"on {', '.join(sorted(set(found)))}."
            )
    return _divided(records, [split_of[chrom] for chrom in found], chromosomes)


def _chromosomes(records: Sequence[Record]) -> list[str]:
    for record in records:
        if record.locus is None:
            raise DataError(f"Record {record.id!r} has no locus, so no chromosome to split by.")
    return [record.locus.chrom for record in records if record.locus]


def _hashes(keys: Sequence[str], seed: int) -> list[float]:
    """Numbers from 0 to 1 that depend on each key and the seed alone."""
    digests = (hashlib.sha256(f"{seed}\0{key}".encode()).digest() for key in keys)
    return [int.from_bytes(digest[:6], "big") / 2**48 for digest in digests]


def _named(ranks: ArrayLike, ends: Floats, shares: Mapping[str, float]) -> list[str]:
    """The split in whose stretch each rank falls; the stretches end at `ends`."""
    names = list(shares)
    return [names[i] for i in np.searchsorted(ends[:-1], ranks, side="right")]


def _by_group(groups: Sequence[str], shares: Mapping[str, float], seed: int) -> list[str]:
    sizes = Counter(groups)
    names = sorted(sizes)
    drawn = np.random.default_rng(seed).permutation(len(names)).tolist()
    lacking = {split: share * len(groups) for split, share in shares.items()}
    home = {}
    for i in sorted(range(len(names)), key=lambda i: (-sizes[names[i]], drawn[i])):
        split = max(lacking, key=lambda name: lacking[name])
        home[names[i]] = split
        lacking[split] -= sizes[names[i]]
    return [home[group] for group in groups]


def _divided(
    records: Sequence[Record], named: Sequence[str], splits: Mapping[str, object]
) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {name: [] for name in splits}
    for record, name in zip(records, named, strict=True):
        found[name].append(record)
    if empty := [name for name, chosen in found.items() if not chosen]:
        raise DataError(
            f"Split {empty[0]!r} would be empty: {len(records)} records do not fill "
            f"{len(splits)} splits this way."
        )
    return found
