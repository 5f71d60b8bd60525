"""Enrichment of hits by class and against shuffles: by hand, and against full enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact

from basewise import Record
from basewise.biology.enrichment import (
    ENRICHMENT,
    Occupancy,
    class_enrichment,
    enrichment_row,
    enrichment_table,
    shuffle_enrichment,
)
from basewise.biology.matched import coin_sum, matched_odds_ratio
from basewise.biology.sentences import sentences
from basewise.errors import DataError
from basewise.motifs.motif import Motif
from basewise.motifs.scan import in_window, scan
from basewise.sequence.alphabet import encode_rows

TA = Motif.from_iupac("TA", "TTAA", window=(-4, 2), strands="+")
GC = Motif.from_iupac("GC", "GGC")


def random_records(rng, lengths, labels=None):
    return [
        Record(f"r{i}", "".join(rng.choice(list("ACGT"), n)), labels[i] if labels else None)
        for i, n in enumerate(lengths)
    ]


def with_and_without(n, hits, label, start=0):
    """Records of 9 bases, +1 at index 5, the first `hits` of which have TTAA at -4..-1."""
    return [
        Record(f"{label}{i}", "GTTAAGGGG" if i < start + hits else "GTTCAGGGG", label)
        for i in range(start, start + n)
    ]


def test_a_share_by_class_by_hand():
    records = with_and_without(20, 15, "promoter") + with_and_without(40, 10, "other")
    table = class_enrichment(records, [TA, GC], label="promoter", tss=5)
    assert tuple(table.columns) == ENRICHMENT
    row = table.iloc[0]
    assert (row["motif"], row["window"], row["label"]) == ("TA", "-4..+2", "promoter")
    assert (row["n"], row["n_null"], row["with_hit"]) == (20, 40, 15)
    assert (row["observed"], row["expected"]) == (0.75, 0.25)
    assert row["effect"] == pytest.approx(15 * 30 / (5 * 10))
    half = 1.959964 * np.sqrt(1 / 15 + 1 / 5 + 1 / 10 + 1 / 30)
    assert row["low"] == pytest.approx(9 * np.exp(-half), rel=1e-6)
    assert row["high"] == pytest.approx(9 * np.exp(half), rel=1e-6)
    assert row["p"] == pytest.approx(fisher_exact([[15, 5], [10, 30]]).pvalue)
    assert row["q"] == row["p"]  # the other motif cannot be tested
    assert table.iloc[1]["reason"] == "no sequence has a hit"
    assert np.isnan(table.iloc[1]["q"])
    mirrored = class_enrichment(records, [TA], label="other", tss=5).iloc[0]
    assert mirrored["effect"] == pytest.approx(1 / 9)


def test_q_values_are_over_the_motifs_of_one_null_and_label():
    rows = [
        enrichment_row(TA, label, "other classes", "odds ratio", 1, 1, 1) | {"p": p}
        for label, p in [("a", 0.01), ("b", 0.03), ("a", 0.04), ("a", np.nan)]
    ]
    assert enrichment_table(rows)["q"].tolist()[:3] == pytest.approx([0.02, 0.03, 0.04])


def test_occupancy_is_whether_the_scan_has_a_hit_in_the_window():
    rng = np.random.default_rng(0)
    motifs = [
        TA,
        Motif.from_iupac("any", "TGR"),
        Motif("matrix", rng.dirichlet([0.4] * 4, 5), window=(-9, 8)),
        Motif.from_iupac("edge", "WW", window=(-40, -11)),
        Motif.from_iupac("outside", "NN", window=(-40, -14)),
    ]
    records = random_records(rng, [33] * 60)
    found = Occupancy(motifs, tss=12, p=0.05)(encode_rows([r.sequence for r in records]))
    hits = in_window(scan(records, motifs, p=0.05), motifs, tss=12)
    expected = [
        [((hits["record_id"] == r.id) & (hits["motif"] == m.name)).any() for m in motifs]
        for r in records
    ]
    np.testing.assert_array_equal(found, expected)
    assert found[:, :4].any(0).all()
    assert Occupancy(motifs, tss=12, p=0.05).room(33).tolist() == [True, True, True, True, False]
    assert Occupancy(motifs, tss=12, p=0.05).room(7).tolist() == [False, True, False, True, False]


def test_records_that_do_not_reach_the_window_are_not_counted():
    motif = Motif.from_iupac("down", "GG", window=(3, 4), strands="+")
    records = with_and_without(20, 3, "promoter") + with_and_without(20, 3, "other")
    short = [Record(f"s{i}", "GTTAAG", "promoter") for i in range(7)]
    table = class_enrichment(records + short, [motif, TA], label="promoter", tss=5)
    assert table["n"].tolist() == [20, 27]
    beyond = Motif.from_iupac("beyond", "GG", window=(30, 40))
    reason = class_enrichment(records, [beyond], label="promoter", tss=5).iloc[0]["reason"]
    assert reason == "10 sequences that reach into the window are needed; 0 do"


def test_coins_add_up_as_in_full_enumeration():
    tosses, chance = np.array([2, 0, 3]), np.array([0.2, 0.9, 0.7])
    expected = np.zeros(6)
    coins = np.repeat(chance, tosses)
    for faces in itertools.product([0, 1], repeat=5):
        faces = np.array(faces)
        expected[faces.sum()] += np.where(faces, coins, 1 - coins).prod()
    np.testing.assert_allclose(coin_sum(tosses, chance), expected, rtol=1e-12)


def test_the_matched_test_equals_every_choice_of_the_real_member():
    real = np.array([1, 1, 0, 1, 1], bool)
    shuffled = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 0, 0]], bool)
    members = np.column_stack([real, shuffled])
    totals = np.array(
        [members[np.arange(5), chosen].sum() for chosen in itertools.product(range(4), repeat=5)]
    )
    observed = real.sum()
    expected = 2 * min((totals >= observed).mean(), (totals <= observed).mean())
    assert matched_odds_ratio(real, shuffled).p == pytest.approx(min(expected, 1))


def test_with_one_shuffle_the_matched_test_is_that_of_mcnemar():
    real = np.repeat([1, 1, 0, 0], [6, 17, 5, 30]).astype(bool)
    shuffled = np.repeat([1, 0, 1, 0], [6, 17, 5, 30]).astype(bool)[:, None]
    found = matched_odds_ratio(real, shuffled)
    assert found.odds_ratio.value == pytest.approx(17 / 5)
    assert found.p == pytest.approx(binomtest(17, 22).pvalue)
    exact = binomtest(17, 22).proportion_ci()
    assert found.odds_ratio.low == pytest.approx(exact.low / (1 - exact.low), rel=0.1)
    assert found.odds_ratio.high == pytest.approx(exact.high / (1 - exact.high), rel=0.15)


def test_matched_odds_ratios_at_the_edges():
    none, every = np.zeros(12, bool), np.ones(12, bool)
    some = np.arange(24).reshape(12, 2) % 5 == 0
    low = matched_odds_ratio(none, some).odds_ratio
    assert (low.value, low.low) == (0, 0)
    assert 0 < low.high < np.inf
    high = matched_odds_ratio(every, some).odds_ratio
    assert (high.value, high.high) == (np.inf, np.inf)
    assert 0 < high.low < np.inf
    assert np.isnan(matched_odds_ratio(none, np.zeros((12, 2), bool)).p)
    assert matched_odds_ratio(np.ones(3000, bool), np.zeros((3000, 20), bool)).p > 0


def test_a_planted_motif_stands_out_from_shuffles_and_a_shuffled_one_does_not():
    rng = np.random.default_rng(2)
    planted = [
        Record(r.id, r.sequence[:20] + "GATTACA" + r.sequence[27:], "planted")
        for r in random_records(rng, [50] * 30 + [41] * 10)
    ]
    plain = [Record(f"p{r.id}", r.sequence, "plain") for r in random_records(rng, [50] * 40)]
    motifs = [Motif.from_iupac("GATTACA", "GATTACA"), Motif.from_iupac("TRC", "TRC")]
    table = shuffle_enrichment(planted + plain, motifs, draws=9, seed=3).set_index(
        ["motif", "label"]
    )
    row = table.loc[("GATTACA", "planted")]
    assert (row["n"], row["n_null"], row["with_hit"]) == (40, 360, 40)
    assert row["q"] < 1e-6
    assert row["low"] > 10
    assert table.loc[("GATTACA", "plain"), "with_hit"] == 0
    assert table.loc[("GATTACA", "plain"), "p"] == 1
    other = table.loc[("TRC", "plain")]
    assert other["p"] > 0.01
    assert other["low"] < 1 < other["high"]
    absent = Motif.from_iupac("absent", "GATTACAGATTACA")
    reason = shuffle_enrichment(plain, [absent], draws=2)["reason"].item()
    assert reason == "no sequence differs from its shuffles in having a hit"
    again = shuffle_enrichment(plain[::-1] + planted, motifs, draws=9, seed=3)
    assert again.set_index(["motif", "label"]).loc[table.index].equals(table)
    assert not shuffle_enrichment(planted, motifs, draws=9, seed=4)["expected"].equals(
        table["expected"]
    )


def test_sequences_that_are_shuffles_are_seldom_called_enriched():
    rng = np.random.default_rng(4)
    motifs = [Motif.from_iupac("a", "TGR"), Motif.from_iupac("b", "CCW")]
    tests = [
        shuffle_enrichment(random_records(rng, [24] * 40), motifs, draws=5, seed=i)["p"]
        for i in range(40)
    ]
    rejected = (np.concatenate(tests) < 0.05).sum()
    assert rejected <= 9  # of 80; more than 9 would be a chance of 1 in 100 at 5 %


def test_motifs_that_no_word_can_hit_say_so():
    weak = Motif("weak", [[0.4, 0.2, 0.2, 0.2]] * 2)
    records = with_and_without(20, 3, "promoter") + with_and_without(20, 3, "other")
    for table in (
        class_enrichment(records, [weak, TA], label="other", tss=5),
        shuffle_enrichment(records, [weak, TA], tss=5, draws=2),
    ):
        reasons = table[table["motif"] == "weak"]["reason"]
        assert reasons.str.startswith("no word of the motif is rare enough").all()


@pytest.mark.parametrize(
    "make, says",
    [
        (
            lambda r: class_enrichment(r, [TA], label="promotor", tss=5),
            "No class of these records named 'promotor'. Did you mean 'promoter'?",
        ),
        (
            lambda r: class_enrichment(r[:25], [TA], label="promoter", tss=5),
            "needs 10 records of each; all others have 5",
        ),
        (
            lambda r: class_enrichment(r[15:], [TA], label="promoter", tss=5),
            "needs 10 records of each; 'promoter' has 5",
        ),
        (
            lambda r: shuffle_enrichment(r[15:], [TA], tss=5),
            "needs 10 records to be compared with its shuffles; 'promoter' has 5",
        ),
        (
            lambda r: class_enrichment([*r, Record("x", "ACGTACGTA")], [TA], label="other", tss=5),
            "Record 'x' has the label None; enrichment by class needs a class name",
        ),
        (
            lambda r: class_enrichment(r, [TA], label="promoter", tss=9),
            r"The TSS \(index 9\) lies outside record 'promoter0' of 9 bases",
        ),
        (lambda r: class_enrichment(r, [TA], label="promoter"), "give tss"),
        (lambda r: shuffle_enrichment(r, [TA], tss=5, draws=0), "draws is 0; at least 1"),
    ],
)
def test_bad_requests_are_refused_in_one_line(make, says):
    records = with_and_without(20, 3, "promoter") + with_and_without(20, 3, "other")
    with pytest.raises((DataError, KeyError, ValueError), match=says) as error:
        make(records)
    assert "\n" not in str(error.value)


def test_sentences_say_what_against_what_how_much_and_how_sure():
    records = with_and_without(40, 30, "promoter") + with_and_without(40, 10, "other")
    said = sentences(class_enrichment(records, [TA, GC], label="promoter", tss=5))
    assert said == [
        "TA at -4..+2 of the TSS occurs in 75.0 % of 40 promoter sequences and in 25.0 % of 40 "
        "others: more often (odds ratio 9.00 [3.27, 24.76], Fisher's exact test, q < 0.001).",
        "GC: not tested against the other classes, no sequence has a hit.",
    ]
    rows = [
        enrichment_row(GC, "all", "same position", "standardised mean difference", 90, 400, 30)
        | {"observed": 0.5, "expected": 0.1, "effect": 0.8, "low": 0.4, "high": 1.2, "p": 0.003},
        enrichment_row(TA, "all", "same sequence", "standardised mean difference", 90, 400, 30)
        | {"observed": 0.5, "expected": 0.4, "effect": 0.1, "low": -0.4, "high": 0.6, "p": 0.4},
        enrichment_row(TA, "all", "dinucleotide shuffles", "odds ratio", 90, 900, 9)
        | {"observed": 0.1, "expected": 0.4, "effect": 0.2, "low": 0, "high": 0.6, "p": 0.002},
    ]
    assert sentences(enrichment_table(rows)) == [
        "GC has a mean attribution per base of 0.5 in 30 sequences, higher than in the same "
        "positions, at the same GC content, of sequences of the same class without it (0.1; "
        "standardised mean difference 0.80 [0.40, 1.20], sign-flip test over sequences, "
        "q = 0.003). Its sequence alone may explain it: no difference from matched stretches of "
        "the same sequences is shown.",
        "TA at -4..+2 of the TSS has a mean attribution per base of 0.5 in 30 sequences, not "
        "shown to differ from stretches of the same length and GC content elsewhere in the same "
        "sequences (0.4; standardised mean difference 0.10 [-0.40, 0.60], sign-flip test over "
        "sequences, q = 0.4).",
        "TA at -4..+2 of the TSS occurs in 10.0 % of 90 sequences and in 40.0 % of their "
        "dinucleotide shuffles: less often than their dinucleotides alone would make it (odds "
        "ratio 0.20 [0.00, 0.60], exact test of matched sets, q = 0.002).",
    ]


@pytest.mark.parametrize(("other", "claimed"), [(0.7, True), (-0.7, False), (None, False)])
def test_attribution_that_differs_from_one_null_alone_claims_nothing(other, claimed):
    def row(null, effect):
        numbers = {"observed": 0.5, "expected": 0.1, "low": 0.4, "high": 1.2, "p": 0.003}
        about = enrichment_row(GC, "all", null, "standardised mean difference", 90, 400, 30)
        return about | numbers | {"effect": effect}

    rows = [row("same sequence", 0.8)] + [row("same position", other)] * (other is not None)
    said = sentences(enrichment_table(rows))[0]
    assert said.endswith("the same positions of other sequences is shown.") is not claimed
