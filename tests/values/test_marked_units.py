"""Motif hits and annotated features as units, and the rest of the sequence beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import basewise as bw
from basewise.data.spans import read_spans
from basewise.errors import ConfigError, DataError
from basewise.explainers import UNITS
from basewise.explainers.marked import merged
from basewise.explainers.units import cut
from basewise.types import Span, Tokens
from explained_models import Whole, of_module

LENGTH = bw.Model.from_callable(lambda rows: [float(r.count("N")) for r in rows], ["unknown"])
NO_TOKENS = Tokens(np.zeros(0, np.int64), np.zeros((0, 2), np.int64))


def stretches(units: Any, sequence: str, truth: tuple[Span, ...] = ()) -> Any:
    return cut(UNITS.build(units), bw.Record("r", sequence, truth=truth), NO_TOKENS)


def spans(units: Any, sequence: str, truth: tuple[Span, ...] = ()) -> Any:
    return stretches(units, sequence, truth).spans.tolist()


# ------------------------------------------------------------------------------ overlaps and rest


def test_stretches_that_share_a_base_are_merged_and_neighbours_are_not() -> None:
    given = np.array([[8, 9], [0, 3], [2, 5], [5, 6], [1, 2]])
    assert merged(given).tolist() == [[0, 5], [5, 6], [8, 9]]


def test_the_rest_is_one_unit_of_several_stretches() -> None:
    features = (Span(6, 8, "b"), Span(1, 4, "a"))
    found = stretches("features", "ACGTACGTAC", features)
    assert found.spans.tolist() == [[0, 1], [1, 4], [4, 6], [6, 8], [8, 10]]
    assert found.unit.tolist() == [2, 0, 2, 1, 2]
    assert (found.n_units, found.rest) == (3, True)
    kept = stretches({"type": "features", "rest": "kept"}, "ACGTACGTAC", features)
    assert kept.spans.tolist() == [[1, 4], [6, 8]]
    assert (kept.n_units, kept.rest) == (2, False)
    whole = stretches("features", "ACGT", (Span(0, 4),))  # where there is no rest
    assert (whole.spans.tolist(), whole.n_units, whole.rest) == ([[0, 4]], 1, False)


@pytest.mark.parametrize("name", ["occlusion", "exact_shapley", "kernel_shap", "partition_shap"])
def test_the_rest_shares_its_score_by_bases(name: str) -> None:
    """Each unknown base counts 1: of 8 bases, 3 are in the feature, 1 stands before, 4 behind."""
    record = bw.Record("r", "ACGTACGT", truth=(Span(1, 4),))
    (a,) = bw.explain(LENGTH, [record], name, "unknown", units="features")
    assert a.spans.tolist() == [[0, 1], [1, 4], [4, 8]]
    np.testing.assert_allclose(a.scores, [-1, -3, -4])
    np.testing.assert_allclose(a.per_base(), -1)
    assert a.extras["rest"] == pytest.approx(-5)
    assert (a.output, a.baseline) == (0, 8)
    (kept,) = bw.explain(
        LENGTH, [record], name, "unknown", units={"type": "features", "rest": "kept"}
    )
    assert (kept.spans.tolist(), kept.scores.tolist()) == ([[1, 4]], [-3])
    assert (kept.baseline, "rest" in kept.extras) == (3, False)


def test_the_rest_is_wholly_in_a_rule_or_outside() -> None:
    """The prediction needs TATA at 5 to 9; the features cover its two halves, or nothing of it."""
    inside = bw.Record("inside", "ACGCATATACGGC", truth=(Span(5, 7), Span(7, 9)))
    outside = bw.Record("outside", "ACGCATATACGGC", truth=(Span(0, 2), Span(11, 12)))
    settings = {"units": "features", "samples": 60, "evaluations": 2000}
    found = bw.explain(of_module(Whole()), [inside, outside], "anchors", "score", **settings)
    assert found[0].spans[found[0].scores > 0].tolist() == [[5, 7], [7, 9]]
    assert found[1].spans[found[1].scores > 0].tolist() == [[2, 11], [12, 13]]


# ------------------------------------------------------------------------------ motifs


def test_hits_of_patterns_on_both_strands() -> None:
    """GATA at 2 and 12, its reverse complement TATC at 8, which shares no base with either."""
    units = {"type": "motifs", "patterns": ["GATA"], "rest": "kept"}
    assert spans(units, "CCGATACCTATCGATACC") == [[2, 6], [8, 12], [12, 16]]
    assert spans(units | {"patterns": ["GATA", "ATACC"]}, "CCGATACCTATCGATACC") == [
        [2, 8],
        [8, 12],
        [12, 18],
    ]


def test_hits_of_a_panel_count_in_their_windows() -> None:
    """TATAWAW belongs at -35..-20: with the TSS at 40, hits may begin at 5 to 14."""
    sequence = "TATAAAA" + "C" * 4 + "TATAAAA" + "C" * 30
    units = {"type": "motifs", "panel": "core_promoter", "rest": "kept", "tss": 40}
    assert [11, 18] in spans(units, sequence)
    assert [0, 7] not in spans(units, sequence)
    with pytest.raises(DataError, match=r"Motif 'TATA' belongs at -35..-20 of the TSS; give tss"):
        spans(units | {"tss": None}, sequence)
    with pytest.raises(DataError, match=r"The TSS \(index 40\) lies outside record 'r' of 9 bases"):
        spans(units, "ACGTACGTA")


JASPAR = ">M1 box\nA [ 9 0 0 9 0 0 ]\nC [ 0 9 0 0 9 0 ]\nG [ 0 0 9 0 0 9 ]\nT [ 0 0 0 0 0 0 ]\n"


def test_hits_of_a_library(tmp_path: Path) -> None:
    (tmp_path / "m.jaspar").write_text(JASPAR)
    units = {"type": "motifs", "library": str(tmp_path / "m.jaspar"), "p": 1e-3, "rest": "kept"}
    assert spans(units, "TTACGACGTTTTT") == [[2, 8]]
    with pytest.raises(
        DataError, match=r"^No word of 1 of 1 motifs has a p value of 1e-05 or less"
    ):
        spans(units | {"p": 1e-5}, "TTACGACGTTTTT")


def test_a_record_without_hits_is_refused() -> None:
    said = (
        r"^Record 'r' has no hit of the 2 motifs of GATA, CAGG; give others or a larger p, leave "
        r"it out, or use units='bases' or 'windows'\.$"
    )
    with pytest.raises(DataError, match=said):
        spans({"type": "motifs", "patterns": ["GATA", "CAGG"]}, "TTTTTTTT")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "motifs come from one of panel = 'core_promoter', library = 'file' and patterns"),
        ({"panel": "core_promoter", "patterns": ["A"]}, "give one of them"),
        ({"panel": "core_promotor"}, "panel named 'core_promotor'. Did you mean 'core_promoter'"),
        ({"patterns": ["GAXA"]}, r"the pattern 'GAXA' holds 'X'; IUPAC letters are"),
        ({"patterns": ["GATA"], "rest": "gone"}, "rest = 'gone'"),
    ],
)
def test_motifs_that_are_none_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        UNITS.build({"type": "motifs", **settings})


# ------------------------------------------------------------------------------ features


@pytest.mark.parametrize(
    "text",
    [
        "track name=x\n# note\nr\t1\t4\ta\t0\t+\n\nr\t3\t5\tb\nother\t0\t1\n",
        "record_id,motif,start,end,strand\nother,m,0,1,+\nr,a,1,4,+\nr,b,3,5,-\n",
        "r 1 4\nr 3 5\n",
    ],
    ids=["bed", "hits", "spaces"],
)
def test_features_of_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "f.bed").write_text(text)
    units = {"type": "features", "file": str(tmp_path / "f.bed"), "rest": "kept"}
    assert spans(units, "ACGTACGT", (Span(6, 7),)) == [[1, 5]]


def test_intervals_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "f.tsv").write_text("name\trecord_id\tend\tstart\nbox\tr\t4\t1\n")
    assert read_spans(tmp_path / "f.tsv") == {"r": [Span(1, 4, "box")]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("r\t1\n", r"f.bed, line 1: 2 fields; needed are the id of a record, a start and an end"),
        ("r\t1\t3\nr\t4\t4\n", r"f.bed, line 2: start '4' and end '4'; they are whole numbers"),
        ("r\t-1\t4\n", r"f.bed, line 1: start '-1' and end '4'"),
        ("id\tfrom\tto\n", r"f.bed, line 1: start 'from' and end 'to'"),
        ("# nothing\n", r"f.bed holds no intervals\.$"),
    ],
)
def test_files_that_hold_no_intervals_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "f.bed").write_text(text)
    with pytest.raises(DataError, match=said):
        read_spans(tmp_path / "f.bed")


def test_records_without_features_or_too_short_for_them_are_refused(tmp_path: Path) -> None:
    said = r"^Record 'r' has no feature in its truth; annotate it, leave it out, or use"
    with pytest.raises(DataError, match=said):
        spans("features", "ACGT")
    (tmp_path / "f.bed").write_text("r\t2\t6\tbox\n")
    units = {"type": "features", "file": str(tmp_path / "f.bed")}
    said = r"^Record 'r' has 4 bases; in \S+f.bed its feature 'box' reaches from 2 to 6\.$"
    with pytest.raises(DataError, match=said):
        spans(units, "ACGT")
