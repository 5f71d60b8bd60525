"""Z-DNA windows of hg19: what was counted from the files before, found again by this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from basewise.data.labelled import read_labelled
from basewise.data.spans import read_spans
from basewise.data.windows import Windows
from basewise.evaluate.bases import base_metrics, base_scores
from basewise.types import Record

DATA = Path(__file__).parents[3] / "shared" / "data" / "zdna_kouzine_hg19"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared data is not here")


@pytest.fixture(scope="module")
def windows() -> dict[str, list[Record]]:
    path = DATA / "windows_510.csv.gz"
    table = read_labelled(path, label="Z-DNA", intervals="z_intervals", split="split")
    found: dict[str, list[Record]] = {}
    for record, name in zip(table.records, table.splits, strict=True):
        found.setdefault(name, []).append(record)
    return found


def test_the_windows_are_those_of_the_genome_and_the_bed(windows):
    assert {name: len(records) for name, records in windows.items()} == {
        "train": 4629,
        "dev": 372,
        "test": 438,
    }
    every = Windows(width=510, step=1, negatives="random", per_positive=0)
    cut = every.cut(DATA / "hg19_chr22_50000000.fa.gz", {"Z-DNA": DATA / "Kouzine.bed.gz"})
    by_place = {record.locus: record for record in cut}
    labelled = [record for record in windows["test"] if record.truth]
    assert len(labelled) == 146
    for record in labelled:
        assert by_place[record.locus] == record


@pytest.mark.parametrize(
    ("file", "precision", "recall", "f1"),
    [
        ("ZHUNT_hg19_chunks", 0.708, 1.0, 0.829),
        ("ZDNABERT_pred_hg19_chunks", None, None, 0.673),
        ("DeepZ_may", None, None, 0.057),
    ],
)
def test_published_calls_on_the_test_windows(windows, file, precision, recall, f1):
    spans = read_spans(DATA / f"{file}.bed.gz")["chr22"]
    called = np.zeros(51_304_566, bool)
    for start, end, _ in spans:
        called[start:end] = True
    scores = [called[record.locus.start : record.locus.end] for record in windows["test"]]
    found = base_scores(windows["test"], "Z-DNA", scores)
    told = base_metrics(found, 0.5, rng=np.random.default_rng(0), resamples=20)
    assert told["f1"].value == pytest.approx(f1, abs=6e-4)
    assert told["prevalence"].value == pytest.approx(0.019, abs=1e-3)
    if precision is not None:
        assert told["precision"].value == pytest.approx(precision, abs=6e-4)
        assert told["recall"].value == pytest.approx(recall, abs=6e-4)
