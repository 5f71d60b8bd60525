"""Measured effects of mutations: a small file made by hand, and scores held against it."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import basewise as bw
from basewise.data.saturation import Saturation, read_saturation
from basewise.errors import DataError
from basewise.evaluate.measured_effects import (
    FEWEST,
    MEASURED,
    compare_with_measured,
    losses,
    rank_of_effects,
)

HEAD = "Chrom\tPos\tRef\tAlt\tBarcodes\tDNA\tRNA\tCoefficient\tpValue\tElement\tRelease\n"
ROWS = """5\t101\tA\tC\t30\t1\t1\t-0.5\t0.01\tE1\tGRCh38
5\t101\tA\tG\t30\t1\t1\t-0.1\t0.2\tE1\tGRCh38
5\t101\tA\t-\t30\t1\t1\t-0.9\t0.001\tE1\tGRCh38
5\t103\tT\tA\t30\t1\t1\t0.25\t0.03\tE1\tGRCh38
5\t103\tT\tC\t4\t1\t1\t2.0\t0.5\tE1\tGRCh38
NA\tNA\tNA\tNA\t30\t1\t1\t0.3\t0.5\tE1\tGRCh38
5\t901\tG\tA\t30\t1\t1\t0.3\t0.5\tE1\tGRCh37
7\t50\tC\tG\t30\t1\t1\t0.4\t0.5\tE2\tGRCh38
"""
WILD = "element\tstart1\twt_plus_strand\nE1\t101\tAGT\nE2\t49\tTC\n"


def written(folder: Path, text: str = HEAD + ROWS) -> Path:
    path = folder / "elements.tsv"
    path.write_text(text)
    return path


def test_a_hand_made_table_is_read_position_by_position(tmp_path: Path) -> None:
    found = read_saturation(written(tmp_path))
    assert list(found) == ["E1", "E2"]
    one = found["E1"]
    assert one.record == bw.Record("E1", "ANT", locus=bw.Interval("5", 100, 103))
    nan = np.nan
    np.testing.assert_array_equal(
        one.effects, [[nan, -0.5, -0.1, nan], [nan] * 4, [0.25, nan, nan, nan]]
    )
    np.testing.assert_array_equal(one.p[0], [nan, 0.01, 0.2, nan])
    np.testing.assert_array_equal(one.deletions, [-0.9, nan, nan])
    np.testing.assert_array_equal(one.deletion_p, [0.001, nan, nan])
    assert one.barcodes.tolist() == [[0, 30, 30, 0], [0] * 4, [30, 0, 0, 0]]
    assert one.skipped == {"no_position": 1, "few_barcodes": 1}
    np.testing.assert_allclose(losses(one), [0.3, nan, -0.25])
    assert len(found["E2"]) == 1


def test_gzip_other_releases_and_fewer_barcodes(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv.gz"
    path.write_bytes(gzip.compress((HEAD + ROWS).encode()))
    assert read_saturation(path, barcodes=4)["E1"].effects[2, 1] == 2.0
    old = read_saturation(path, release="GRCh37")
    assert old["E1"].record.locus == bw.Interval("5", 900, 901)


def test_wild_types_fill_what_was_not_measured_and_must_agree(tmp_path: Path) -> None:
    wild = tmp_path / "wild.tsv"
    wild.write_text(WILD)
    found = read_saturation(written(tmp_path), wild)
    assert found["E1"].record.sequence == "AGT"
    assert found["E2"].record == bw.Record("E2", "TC", locus=bw.Interval("7", 48, 50))
    wild.write_text(WILD.replace("AGT", "AGA"))
    with pytest.raises(DataError, match=r"wild type of E1 has 'A' at 103, where Ref says 'T'"):
        read_saturation(tmp_path / "elements.tsv", wild)
    wild.write_text(WILD.replace("AGT", "AXT"))
    with pytest.raises(DataError, match=r"wild\.tsv, line 2: the wild type holds 'X'"):
        read_saturation(tmp_path / "elements.tsv", wild)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Alt\t", "Alternative\t", r"lacks the column 'Alt'; it needs Chrom, Pos, .* by tabs"),
        ("GRCh38", "hg38", r"no rows of release 'GRCh38'; it has GRCh37, hg38"),
        ("A\tC\t30", "A\tN\t30", r"line 2: Alt is 'N'; one of A, C, G, T, - is allowed"),
        ("5\t103\tT\tA", "5\tlow\tT\tA", r"line 5: Pos is 'low', which is no number"),
        ("A\tG\t30", "A\tC\t30", r"line 3: a second row for E1 101 A>C; one per variant"),
        ("5\t101\tA\tG", "5\t101\tC\tG", r"Ref of E1 at 101 is '[AC]' here and '[AC]' in another"),
        ("-0.5\t", "much\t", r"line 2: Coefficient is 'much', which is no number"),
    ],
)
def test_bad_tables_are_refused_by_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_saturation(written(tmp_path, (HEAD + ROWS).replace(old, new)))


# ------------------------------------------------------------------------------ comparing


def element(b: int = 40, seed: int = 2) -> Saturation:
    rng = np.random.default_rng(seed)
    record = bw.Record("E", "".join(rng.choice(list("ACGT"), b)))
    effects = rng.normal(size=(b, 4))
    codes = ["ACGT".index(letter) for letter in record.sequence]
    effects[np.arange(b), codes] = np.nan
    nothing = np.full(b, np.nan)
    return Saturation(record, effects, effects * 0, nothing, nothing, np.full((b, 4), 9))


def of(measured: Saturation, scores: np.ndarray, hypothetical: np.ndarray | None) -> bw.Attribution:
    b = len(measured)
    at = np.arange(b)
    return bw.Attribution(
        record_id="E", sequence=measured.record.sequence, model="m", target=bw.Target("x"),
        method="mutagenesis", kind="ranking", spans=np.stack([at, at + 1], 1), scores=scores,
        output=0.0, baseline=0.0, evaluations=1, seed=0, hypothetical=hypothetical,
    )  # fmt: skip


def test_scores_equal_to_the_effects_correlate_fully_and_only_in_their_place() -> None:
    measured = element()
    predicted = np.exp(
        np.nan_to_num(measured.effects)
    )  # monotone, and 1 for the base that is there
    table = compare_with_measured(
        [of(measured, losses(measured), predicted)], {"E": measured}
    ).set_index("against")
    assert list(table.reset_index()[list(MEASURED)]) == list(MEASURED)
    for against, n in (("substitutions", 120), ("positions", 40)):
        assert table.loc[against, "value"] == pytest.approx(1)
        assert table.loc[against, "n"] == n
        assert table.loc[against, "p"] == pytest.approx(1 / 40)
        assert abs(table.loc[against, "expected"]) < 0.1
    assert np.isnan(table.loc["deletions", "value"])  # none was measured
    assert table.loc["deletions", "n"] == 0


def test_hypothetical_scores_are_read_relative_to_the_base_that_is_there() -> None:
    measured = element()
    offset = np.random.default_rng(5).normal(size=(40, 1)) * 100
    one = of(measured, losses(measured), np.nan_to_num(measured.effects) + offset)
    table = compare_with_measured([one], {"E": measured}).set_index("against")
    assert table.loc["substitutions", "value"] == pytest.approx(1)


def test_the_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    measured = element()
    scores = np.random.default_rng(7).normal(size=40)
    found = rank_of_effects(scores[:, None], losses(measured)[:, None])
    assert found["value"] == pytest.approx(spearmanr(scores, losses(measured)).statistic)
    assert found["low"] < found["value"] < found["high"]


def test_smooth_but_unrelated_tracks_are_not_beyond_shifts() -> None:
    """A p value that forgot the smoothness would be small in far more than 5 % of pairs."""
    rng = np.random.default_rng(3)
    kernel = np.ones(15)
    p = []
    for _ in range(60):
        a, b = (np.convolve(rng.normal(size=90), kernel, "same") for _ in range(2))
        p.append(rank_of_effects(a[:, None], b[:, None], resamples=1)["p"])
    assert np.mean(np.array(p) < 0.05) < 0.15


def test_too_few_values_have_no_correlation() -> None:
    found = rank_of_effects(np.arange(FEWEST - 1.0)[:, None], np.arange(FEWEST - 1.0)[:, None])
    assert np.isnan(found["value"])
    assert found["n"] == FEWEST - 1


def test_attributions_of_something_else_are_refused() -> None:
    measured = element()
    one = of(measured, losses(measured), None)
    with pytest.raises(DataError, match=r"attribution of 'E', but no measured element .* are F"):
        compare_with_measured([one], {"F": measured})
    other = replace(one, sequence="A" * 40)
    with pytest.raises(DataError, match="'E' is of another sequence than its wild type"):
        compare_with_measured([other], {"E": measured})
