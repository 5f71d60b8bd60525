"""Splits: shares as said, nothing torn apart, the same every time."""

from __future__ import annotations

import pytest

from basewise.data.splits import split, split_chromosomes
from basewise.errors import ConfigError, DataError
from basewise.types import Interval, Record

SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}


def made(n: int) -> list[Record]:
    return [
        Record(f"r{i}", "ACGT" * (i % 7) + "A" * i, None, Interval(f"chr{i % 9}", i, i + 4))
        for i in range(1, n + 1)
    ]


def sizes(found: dict[str, list[Record]]) -> dict[str, int]:
    return {name: len(records) for name, records in found.items()}


def test_random_splits_have_exact_sizes():
    records = made(130)
    found = split(records, SHARES, by="record", seed=3)
    assert sizes(found) == {"train": 104, "dev": 13, "test": 13}
    assert sorted(r.id for part in found.values() for r in part) == sorted(r.id for r in records)
    assert found == split(records, SHARES, by="record", seed=3)
    assert found != split(records, SHARES, by="record", seed=4)
    assert sizes(split(records, {"a": 0.3, "b": 0.7}, by="record", seed=1)) == {"a": 39, "b": 91}


@pytest.mark.parametrize("by", ["id", "sequence"])
def test_hashed_records_stay_where_they_are(by: str):
    records = made(400)
    home = {
        r.id: name for name, part in split(records, SHARES, by=by, seed=0).items() for r in part
    }
    fewer = split(records[::2], SHARES, by=by, seed=0)
    assert all(home[r.id] == name for name, part in fewer.items() for r in part)
    assert 0.7 < sum(name == "train" for name in home.values()) / 400 < 0.9


def test_a_sequence_and_its_reverse_complement_stay_together():
    pairs = [("ACGTTG", "CAACGT"), ("GGATAC", "GTATCC"), ("AAAAAC", "GTTTTT"), ("CACCCA", "TGGGTG")]
    for seed in range(9):
        records = [Record(f"{i}{s}", s) for i, pair in enumerate(pairs) for s in pair]
        try:
            found = split(records, {"a": 0.5, "b": 0.5}, by="sequence", seed=seed)
        except DataError:
            continue  # all four pairs on one side
        for part in found.values():
            assert all(sum(r.id[0] == other.id[0] for other in part) == 2 for r in part)


def test_groups_stay_whole_and_near_the_shares():
    records = made(180)
    found = split(records, {"train": 0.7, "dev": 0.3}, by="chromosome", seed=1)
    chroms = [{r.locus.chrom for r in part} for part in found.values()]
    assert not chroms[0] & chroms[1]
    assert sizes(found) == {"train": 120, "dev": 60}
    groups = ["big"] * 6 + ["a", "b", "c", "d"]
    chosen = split(records[:10], {"train": 0.6, "dev": 0.4}, by=groups, seed=1)
    assert chosen == {"train": records[:6], "dev": records[6:10]}


def test_chromosomes_that_are_named():
    records = made(30)[:8]
    found = split_chromosomes(
        records, {"train": [f"chr{i}" for i in range(1, 8)], "test": ["chr8"]}
    )
    assert sizes(found) == {"train": 7, "test": 1}
    with pytest.raises(DataError, match="Chromosomes chr7, chr8 are in no split, but hold 2 rec"):
        split_chromosomes(records, {"train": [f"chr{i}" for i in range(1, 7)]})
    with pytest.raises(ConfigError, match="Chromosome 'chr1' is in more than one split"):
        split_chromosomes(records, {"train": ["chr1"], "test": ["chr1"]})


def test_what_cannot_be_split_is_said():
    records = made(12)
    with pytest.raises(ConfigError, match="must be positive and sum to 1"):
        split(records, {"train": 0.8, "test": 0.3}, by="record", seed=0)
    with pytest.raises(ConfigError, match="by = 'label': one of 'record', 'id'"):
        split(records, SHARES, by="label", seed=0)
    with pytest.raises(DataError, match="Split 'dev' would be empty: 1 records do not fill 3"):
        split(records[:1], SHARES, by="record", seed=0)
    with pytest.raises(DataError, match="1 groups for 12 records"):
        split(records, SHARES, by=["a"], seed=0)
    with pytest.raises(DataError, match="Record 'x' has no locus"):
        split([Record("x", "A")], SHARES, by="chromosome", seed=0)
