"""What stands beside models of bases: calls, baselines, tokens and repeats, each by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from basewise.biology.repeats import repeats_in_genome, repeats_in_regions, run_bases
from basewise.errors import ConfigError, DataError
from basewise.evaluate.base_calls import labels_of, moved_labels, read_calls
from basewise.evaluate.base_tokens import token_outcomes
from basewise.evaluate.bases import BaseScores, precision_recall
from basewise.evaluate.token_scores import token_ratios
from basewise.report.draw import Line, square
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.labelling import Labelling
from basewise.train.base_baseline import BaseKmers
from basewise.types import Interval, Record, Span


def flags(text: str) -> list[bool]:
    return [letter == "#" for letter in text]


# ------------------------------------------------------------------------------ calls


def test_calls_of_a_bed_file_on_either_strand(tmp_path: Path) -> None:
    bed = tmp_path / "calls.bed"
    # One that holds others, one that ends in the window, one that only touches it.
    bed.write_text("c\t12\t15\nc\t2\t40\nd\t0\t3\nc\t96\t103\nc\t90\t100\nc\t110\t120\n")
    there = [
        Record("whole", "A" * 10, locus=Interval("c", 20, 30)),
        Record("partly", "A" * 10, locus=Interval("c", 100, 110)),
        Record("turned", "A" * 10, locus=Interval("c", 100, 110, "-")),
        Record("elsewhere", "A" * 4, locus=Interval("e", 0, 4)),
    ]
    found = read_calls(bed, there)
    assert found[0].all()
    assert found[1].tolist() == flags("###.......")
    assert found[2].tolist() == flags(".......###")
    assert found[3].tolist() == flags("....")
    with pytest.raises(DataError, match=r"has no region on e; its chromosomes are c, d\."):
        read_calls(bed, there[3:])
    with pytest.raises(DataError, match="Record 'x' has no place in a genome to look calls up at"):
        read_calls(bed, [*there, Record("x", "ACGT")])


def test_labels_moved_by_hand() -> None:
    records = [Record("a", "ACGTACGT", truth=(Span(0, 3, "z"), Span(6, 8, "z"), Span(4, 5, "y")))]
    assert labels_of(records, "z")[0].tolist() == flags("###...##")
    assert moved_labels(records, "z", (1, 1))[0].tolist() == flags(".###...#")
    assert moved_labels(records, "z", (0, 1))[0].tolist() == flags("####..##")
    assert moved_labels(records, "z", (0, -1))[0].tolist() == flags("##....#.")


def test_the_curve_has_the_points_of_every_threshold() -> None:
    from sklearn.metrics import precision_recall_curve

    rng = np.random.default_rng(2)
    truth, scores = rng.random(60) < 0.3, rng.integers(0, 9, 60) / 8
    found = BaseScores(truth, scores, np.zeros(60, int))
    recall, precision = precision_recall(found, points=10_000)
    theirs = {
        (round(r, 9), round(p, 9))
        for p, r in zip(*precision_recall_curve(truth, scores)[:2], strict=True)
    }
    assert {(round(r, 9), round(p, 9)) for r, p in zip(recall, precision, strict=True)} <= theirs
    assert recall[-1] == 1
    assert (np.diff(recall) > 0).all()
    thin = precision_recall(found, points=4)
    assert len(thin[0]) <= 4
    assert thin[0][-1] == 1


# ------------------------------------------------------------------------------ baseline


def test_shares_of_words_by_hand() -> None:
    records = [
        Record("a", "ACGACG", truth=(Span(1, 2, "z"), Span(5, 6, "z"))),
        Record("b", "ACGNA", truth=(Span(0, 1, "y"),)),
    ]
    found = BaseKmers(k=3, weight=2).fit(records, "z")
    share = 2 / 11
    # ACG stands three times, once with a labelled middle; CGA and GAC once, with none.
    (one, two) = found.predict_label(records)
    acg, none = (1 + 2 * share) / 5, 2 * share / 3
    np.testing.assert_allclose(one, [share, acg, none, none, acg, share])
    np.testing.assert_allclose(two, [share, acg, share, share, share])
    assert found.parameters == 65
    assert BaseKmers(k=3).fit(records, "z").predict_label([Record("c", "AC")])[0].shape == (2,)
    with pytest.raises(ConfigError, match=r"k = 4: an odd number has a base in the middle\."):
        BaseKmers(k=4).fit(records, "z")


# ------------------------------------------------------------------------------ tokens


def test_outcomes_of_tokens_by_hand() -> None:
    records = [Record("a", "ACGTACGT"), Record("b", "TTTTNTAC")]
    truth = [np.array(flags("###...##")), np.array(flags("........"))]
    called = [np.array(flags("##......")), np.array(flags("......##"))]
    scores = [np.arange(8) / 8, np.zeros(8)]
    words = Kmer(k=4, stride=4, special_tokens=False)
    found = token_outcomes(records, truth, called, scores, words, Labelling(threshold=0.4))
    assert found[["token", "kmer", "outcome", "score"]].values.tolist() == [
        ["ACGT", "ACGT", "TP", 1.5 / 8],
        ["ACGT", "ACGT", "FN", 5.5 / 8],
        ["TTTT", "AAAA", "TN", 0.0],
    ]
    ratios = token_ratios(found).set_index("token")
    assert ratios.loc["ACGT", ["count", "tp", "fp"]].tolist() == [2, 1, 0]
    pairs = token_outcomes(records, truth, called, scores, 2, Labelling())
    assert len(pairs) == 7 + 5  # overlapping pairs, without the two that hold an N
    assert pairs["outcome"].tolist()[:3] == ["TP", "FN", "TN"]
    with pytest.raises(DataError, match="1 records have no token; give longer ones"):
        token_outcomes(records[:1], truth[:1], called[:1], scores[:1], 9, Labelling())


# ------------------------------------------------------------------------------ repeats


@pytest.mark.parametrize(
    ("sequence", "family", "expected"),
    [
        ("ATCGCGCGTA", "CG", "..######.."),
        ("ATCGCGCATA", "CG", "..#####..."),  # the other phase ends it
        ("AACACACAAT", "CA", ".#######.."),
        ("AATGTGTGTT", "CA", "..#######."),  # the other strand
        ("TTACGCACTT", "GC/AC", "..######.."),
        ("TTACGCACTT", "CA", ".........."),
        ("CGCGNCGCGC", "CG", ".....#####"),
    ],
)
def test_runs_of_repeats_by_hand(sequence: str, family: str, expected: str) -> None:
    assert run_bases(sequence, family, least=5).tolist() == flags(expected)


def test_the_null_puts_regions_where_they_fit() -> None:
    # Two free stretches of four bases with as many G and C: one is a run, the other is none.
    records = [Record("a", "GCGC" + "TTTTTTTT" + "CGCG" + "TTTTTTTT" + "CCGG")]
    regions = [np.array(flags("####" + "." * 24))]
    found = repeats_in_regions(
        records, {"labels": regions}, ["CG"], least=4, draws=4000, seed=1
    ).iloc[0]
    assert (found["regions"], found["bases"], found["share"]) == (1, 4, 1.0)
    # CGCG is a run; of CCGG only nothing is (its middle CG is two bases long).
    assert found["expected"] == pytest.approx(0.5, abs=0.03)
    assert found["p"] == pytest.approx(0.5, abs=0.03)
    assert found["in_background"] == pytest.approx(8 / 28)
    with pytest.raises(ConfigError, match="'CGA' is no family of repeats; write 'CG', 'CA' or 'GC"):
        run_bases("ACGT", "CGA")


def test_regions_of_neighbouring_records_are_two() -> None:
    records = [Record("a", "TTTTCGCG"), Record("b", "CGCGTTTT")]
    regions = [np.array(flags("....####")), np.array(flags("####...."))]
    found = repeats_in_regions(records, {"labels": regions}, ["CG"], least=4, draws=99).iloc[0]
    assert found["regions"] == 2
    assert found["expected"] == 0
    assert found["p"] == pytest.approx(0.01)


def test_a_region_that_fits_nowhere_else_is_no_evidence() -> None:
    records = [Record("a", "TTTTCGCGTT"), Record("b", "TTTTTTTTTT")]
    regions = [np.array(flags("#########.")), np.array(flags("...#######"))]
    found = repeats_in_regions(records, {"labels": regions}, ["CG"], least=4, draws=99).iloc[0]
    assert found["share"] == found["expected"] == 4 / 16
    assert (found["enrichment"], found["p"]) == (1, 1)


def test_regions_are_put_anywhere_in_a_genome_by_length_and_content(tmp_path: Path) -> None:
    # Stretches of four with four G and C: CGCG is a run; of GGGG and CCGG none; NCGCG lacks one.
    (tmp_path / "one.fa").write_text(">a\nTTTTCGCGTTTT\n>b\nTTTTGGGGTTTTNCGC\n")
    (tmp_path / "two.fa").write_text(">c\nTTTTCCGGTTTT\n>short\nCGC\n")
    genome = [tmp_path / "one.fa", tmp_path / "two.fa"]
    records = [Record("x", "AAGCGCAA"), Record("y", "GCGCTATA")]
    regions = {
        "strong": [np.array(flags("..####..")), np.array(flags("####...."))],
        "weak": [np.array(flags("........")), np.array(flags("....####"))],
    }
    found = repeats_in_genome(
        records, regions, ["CG", "TA"], genome, least=4, draws=3000, seed=4
    ).set_index(["of", "family"])
    strong = found.loc[("strong", "CG")]
    assert (strong["regions"], strong["bases"], strong["share"]) == (2, 8, 1.0)
    assert strong["expected"] == pytest.approx(1 / 3, abs=0.02)
    assert strong["p"] == pytest.approx(1 / 9, abs=0.02), "both regions drawn on the one run"
    weak = found.loc[("weak", "TA")]
    assert tuple(weak[["share", "share_low", "share_high"]]) == (1, 1, 1)
    half = repeats_in_regions(
        records,
        {"both": [np.array(flags("..####..")), np.array(flags("....####"))]},
        ["TA"],
        least=4,
    ).iloc[0]
    assert tuple(half[["share", "share_low", "share_high"]]) == (0.5, 0, 1)
    assert found.loc[("weak", "TA"), "expected"] == 0
    known = 12 + 15 + 12 + 3
    assert strong["in_background"] == pytest.approx(4 / known)
    assert set(found["background"]) == {"genome"}


# ------------------------------------------------------------------------------ drawing


def test_the_unit_square_by_hand() -> None:
    drawn = square(
        [Line("a", np.array([0.0, 1.0]), np.array([1.0, 0.5])), Line("<p>", *np.eye(2)[:, :1])],
        "recall",
        "precision",
        diagonal=True,
    )
    assert 'points="52.0,12.0 352.0,162.0"' in drawn
    assert '<circle class="line c1" cx="352.0" cy="312.0" r="4"><title>&lt;p&gt;' in drawn
    assert drawn.count('class="tss"') == 1
