"""Saturation mutagenesis as published: read, counted, held against an explanation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import basewise as bw
from basewise.data.saturation import Saturation, read_saturation
from basewise.evaluate.measured_effects import compare_with_measured

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "satmut_kircher2019"

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the shared data is not here")


@pytest.fixture(scope="module")
def elements() -> dict[str, Saturation]:
    return read_saturation(
        FOLDER / "elements.tsv.gz", FOLDER / "wildtype_sequences_GRCh38.tsv", barcodes=0
    )


def test_all_elements_are_there_and_counted(elements: dict[str, Saturation]) -> None:
    assert len(elements) == 21
    tert = elements["TERT-HEK"]
    assert tert.record.locus == bw.Interval("5", 1294988, 1295247)
    assert len(tert) == 259
    assert np.isfinite(tert.effects).sum() == 777
    assert np.isfinite(tert.deletions).sum() == 198
    assert tert.skipped["no_position"] == 11
    assert sum(np.isfinite(e.effects).sum() + np.isfinite(e.deletions).sum()
               for e in elements.values()) == 32029 - 11  # fmt: skip
    assert elements["TCF7L2"].record.sequence.count("N") == 1


def test_wild_type_bases_have_no_effect_of_their_own(elements: dict[str, Saturation]) -> None:
    for element in elements.values():
        codes = np.array(["ACGTN".index(letter) for letter in element.record.sequence])
        known = codes < 4
        own = element.effects[np.flatnonzero(known), codes[known]]
        assert np.isnan(own).all()


def test_the_known_mutations_of_tert_raise_expression(elements: dict[str, Saturation]) -> None:
    """C228T and C250T (G>A on the plus strand) make binding sites of ETS factors."""
    tert = elements["TERT-HEK"]
    for position in (1295113, 1295135):
        at = position - 1 - tert.record.locus.start
        assert tert.record.sequence[at] == "G"
        assert tert.effects[at, 0] > 0.5
        assert tert.p[at, 0] < 1e-5


def test_mutagenesis_of_a_model_is_compared(elements: dict[str, Saturation]) -> None:
    """A model that counts G and C, which promoters of this kind are rich in."""
    model = bw.Model.from_callable(
        lambda rows: [row.count("G") + row.count("C") for row in rows], ["gc"]
    )
    tert = elements["TERT-GBM"]
    found = bw.explain(model, [tert.record], "mutagenesis", bw.Target("gc", "value"))
    table = compare_with_measured(found, elements).set_index("against")
    assert table.loc["substitutions", "n"] == 777
    assert table.loc["substitutions", "low"] < table.loc["substitutions", "value"]
    assert np.isfinite(table.loc[["substitutions", "positions", "deletions"], "value"]).all()
    assert np.isnan(table.loc["magnitudes", "value"])  # every base counts as much
