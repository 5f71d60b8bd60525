"""Labelled bases as data sets of a study, and clusters that are not torn apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from basewise.checks.clusters import clusters
from basewise.errors import ConfigError, DataError
from basewise.sequence.alphabet import reverse_complement
from basewise.study.study import DATASETS
from basewise.types import Interval, Record

RNG = np.random.default_rng(8)


def letters(b: int) -> str:
    return "".join(RNG.choice(list("ACGT"), b))


@pytest.fixture
def folder(tmp_path) -> Path:
    lengths = {"c1": 900, "c2": 600, "c3": 500, "c4": 300}
    (tmp_path / "g.fa").write_text("".join(f">{n}\n{letters(b)}\n" for n, b in lengths.items()))
    rows = (f"{name}\t{at}\t{at + 12}\n" for name, b in lengths.items() for at in range(5, b, 97))
    kept = [row for row in rows if int(row.split()[2]) < lengths[row.split()[0]]]
    (tmp_path / "z.bed").write_text("".join(kept))
    return tmp_path


SETTINGS = {
    "type": "labelled_genome",
    "genome": ["g.fa"],
    "labels": {"Z": "z.bed"},
    "windows": {"width": 40, "negatives": "all"},
}


def test_named_chromosomes(folder):
    chromosomes = {"train": ["c1", "c3"], "dev": ["c2"], "test": ["c4"]}
    plain = DATASETS.build(SETTINGS | {"chromosomes": chromosomes}).splits(folder, 0)
    for name, chroms in chromosomes.items():
        assert {r.locus.chrom for r in plain[name].records} == set(chroms)
        assert {r.label for r in plain[name].records} == {"Z", "background"}
    assert plain["test"].source == "z.bed on g.fa"
    both = SETTINGS["windows"] | {"both_strands": True}
    twice = DATASETS.build(SETTINGS | {"chromosomes": chromosomes, "windows": both})
    found = twice.splits(folder, 0)
    assert found["test"].records == plain["test"].records
    assert found["train"].records[::2] == plain["train"].records
    assert {r.locus.strand for r in found["train"].records[1::2]} == {"-"}


def test_windows_that_overlap_stay_together(folder):
    settings = SETTINGS | {"by": "cluster", "shares": {"train": 0.5, "dev": 0.25, "test": 0.25}}
    settings["windows"] = {"width": 40, "step": 25, "negatives": "random", "per_positive": 0.2}
    found = DATASETS.build(settings).splits(folder, 0)
    places = {name: [r.locus for r in split.records] for name, split in found.items()}
    for name, loci in places.items():
        others = [locus for other, more in places.items() if other != name for locus in more]
        for a in loci:
            assert not any(a[0] == b[0] and a[1] < b[2] and b[1] < a[2] for b in others)


def test_clusters():
    one, other, third = letters(60), letters(60), letters(60)
    records = [
        Record("a", one),
        Record("b", other),
        Record("c", str(reverse_complement(one[20:] + letters(20)))),
        Record("d", third, locus=Interval("c", 100, 160)),
        Record("e", letters(60), locus=Interval("c", 130, 190, "-")),
        Record("f", letters(60), locus=Interval("c", 190, 250)),
        Record("g", letters(60), locus=Interval("d", 100, 160)),
        Record("h", str(reverse_complement(other))),
        Record("i", "ACGTAC"),
        Record("j", "GTACGT"),  # equal on the other strand, and shorter than a word
    ]
    assert clusters(records) == ["a", "b", "a", "d", "d", "f", "g", "b", "i", "i"]


def test_a_table_that_names_its_splits(tmp_path):
    rows = [
        f"{split},{a}-{a + 2},{letters(9)}" for split in ("train", "dev", "test") for a in (1, 3)
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["split,z,sequence", *rows]) + "\n")
    data = DATASETS.build(
        {"type": "labelled_bases", "file": "t.csv", "label": "Z", "intervals": "z"}
    )
    found = data.splits(tmp_path, 0)
    assert [len(split.records) for split in found.values()] == [2, 2, 2]
    assert found["dev"].records[1].truth == ((3, 5, "Z"),)
    path.write_text(path.read_text().replace("test,", "held-out,"))
    with pytest.raises(DataError, match=r"must name the splits .*unknown: 'held-out', 'test'\."):
        data.splits(tmp_path, 0)


def test_bad_splits(folder):
    with pytest.raises(ConfigError, match="chromosomes needs train, dev, test, and has train"):
        DATASETS.build(SETTINGS | {"chromosomes": {"train": ["c1"]}})
    chromosomes = {"train": ["c1"], "dev": ["c2"], "test": ["c3"]}
    (folder / "z.bed").write_text("c1\t3\t9\nc3\t5\t9\n")
    with pytest.raises(DataError, match="The split 'dev' has no labelled base in its windows"):
        DATASETS.build(SETTINGS | {"chromosomes": chromosomes}).splits(folder, 0)
