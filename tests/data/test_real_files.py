"""The real files read as their README says."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewise.data.download import checksum
from basewise.data.fetch import PUBLISHED
from basewise.data.reading import read, read_report

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared data is not here")


def test_gue_core_promoters():
    path = DATA / "gue/prom/prom_core_all/train.csv"
    report = read_report(path, labels={"0": "non-promoter", "1": "promoter"})
    assert len(report.records) == report.rows == 47356
    assert report.counts == {"contradictory_label": 40}
    assert {len(record) for record in report.records} == {70}
    test = {record.sequence for record in read(path.with_name("test.csv"))}
    assert len(test & {record.sequence for record in report.records}) == 42


def test_gue_300_has_one_unknown_base():
    records = read(DATA / "gue/prom/prom_300_all/dev.csv")
    assert sum("N" in record.sequence for record in records) == 1


def test_the_known_checksums_are_those_of_the_files():
    here = {path: DATA / "gue" / path for path in PUBLISHED["gue_promoters"].files or {}}
    found = {path: file for path, file in here.items() if file.exists()}
    assert len(found) == 16
    for path, file in found.items():
        assert checksum(file, "sha256") == PUBLISHED["gue_promoters"].files[path]


def test_terminators_have_no_header():
    records = read(DATA / "mpra_yeast_terminators/shalem_13.txt", labels="values")
    assert len(records) == 85
    assert {len(record) for record in records} == {150}


def test_published_z_regions_lie_on_their_chromosome():
    folder = DATA / "zdna_kouzine_hg19"
    windows = read(folder / "windows_510.csv.gz", label="has_zdna")
    assert len(windows) == 5439
    genes = read(DATA / "bacteria/16S_rRNA_extracted.fasta")
    assert len(genes) == 63
