"""Findings a reader can check by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import basewise as bw
from audit_sets import bases, records, rng
from basewise.checks import Audit, Finding, Split, audit, metrics_possible
from basewise.checks.blocks import correlation, find_cuts, find_period
from basewise.checks.duplicates import Duplicates
from basewise.checks.near_duplicates import NearDuplicates
from basewise.checks.shortcuts import PLAIN, Shortcuts
from basewise.errors import DataError, StoreError, UnknownName
from basewise.stats import Estimate
from basewise.types import Record

ARCHIVE = Path(__file__).parents[1] / "archive"


def rows(*pairs: tuple[str, str | float | None]) -> list[Record]:
    return [Record(str(i), sequence, label) for i, (sequence, label) in enumerate(pairs)]


A, B, C = "ACCTGATTAGACCATT", "TTGACCATAGGGACAT", "GGGATTTACCCAGGAA"
TURNED_A = "AATGGTCTAATCAGGT"


def only(findings, title: str) -> Finding:
    (found,) = [f for f in findings if f.title == title]
    return found


# duplicates


def test_repeats_and_contradictions_are_counted() -> None:
    train = rows((A, "x"), (A, "x"), (A, "y"), (B, "y"), (B, "y"), (TURNED_A, "x"), (C, None))
    found = Duplicates().check({"train": train})
    repeated = only(found, "Repeated sequences in train")
    assert repeated.n == 3
    assert repeated.effect["share of rows"].value == 3 / 7
    assert repeated.evidence["distinct sequences"] == 4
    assert repeated.evidence["sequences on both strands"] == 2
    assert repeated.severity == "warning"
    assert repeated.examples == (
        "train 0 (x) = train 1 (x) = train 2 (y)",
        "train 3 (y) = train 4 (y)",
    )
    clash = only(found, "Contradictory labels in train")
    assert (clash.n, clash.evidence["rows"], clash.evidence["rows lost"]) == (1, 3, 1)
    assert clash.severity == "error"
    assert clash.sentence == (
        "The labels of 1 sequence of train contradict each other (3 rows, 42.9 % [15.8, 75.0]); "
        "chance would give none. A model is wrong on at least 1 of them, whatever it learns. "
        "Find out which label is true, or drop the rows."
    )


def test_values_contradict_when_they_differ_and_unknown_labels_do_not() -> None:
    values = Duplicates().check({"train": rows((A, 0.5), (A, 0.75), (B, 1.0), (B, 1.0))})
    assert only(values, "Contradictory labels in train").n == 1
    unknown = Duplicates().check({"train": rows((A, None), (A, "x"), (B, None))})
    assert [f.title for f in unknown] == ["Repeated sequences in train"]


def test_shared_sequences_are_counted_on_both_strands() -> None:
    splits = {
        "train": rows((A, "x"), (B, "y"), (C, "x")),
        "test": rows((TURNED_A, "x"), (B, "x"), (B, "x"), ("ACGTACGTACGTACGTAA", "y")),
    }
    found = only(Duplicates().check(splits), "Sequences of test that are in train")
    assert found.n == 1
    assert found.effect["share of rows, both strands"].value == 3 / 4
    assert found.evidence["rows of test"] == 2
    assert found.evidence["rows of train"] == 1
    assert found.evidence["with another label"] == 1
    assert found.evidence["as reverse complement"] == 1
    assert found.severity == "error"
    assert found.examples == ("test 1 (x) = test 2 (x) = train 1 (y)",)


def test_a_palindrome_is_not_its_own_double() -> None:
    found = Duplicates().check({"train": rows(("GAATTC", "x"), ("GGGGGG", "y"))})
    assert found[0].evidence["sequences on both strands"] == 0


def test_what_chance_gives_is_counted_and_is_no_warning() -> None:
    draw = rng(5)
    short = {
        "train": records(bases(draw, 400, 6), "x", "a"),
        "test": records(bases(draw, 300, 6), "y", "b"),
    }
    found = Duplicates().check(short)
    assert {f.severity for f in found} == {"info"}
    within, _, between = found
    assert within.evidence["expected by chance"] == pytest.approx(400 * 399 / 2 / 4**6, rel=0.02)
    assert between.evidence["expected by chance"] == pytest.approx(400 * 300 / 4**6, rel=0.02)
    assert within.n == pytest.approx(within.evidence["expected by chance"], rel=0.5)


def test_references_are_looked_for_but_not_judged() -> None:
    splits = {
        "test": rows((A, "x"), (B, "y")),
        "old": rows((A, "x"), (A, "y")),
        "older": rows((A, "x")),
    }
    titles = [f.title for f in Duplicates().check(splits)]
    assert titles == [
        "Repeated sequences in test",
        "Sequences of test that are in old",
        "Sequences of test that are in older",
    ]


# near duplicates


def test_containment_by_hand() -> None:
    draw = rng(6)
    long = "".join("ACGT"[i] for i in draw.integers(0, 4, 120))
    core = long[37:77]
    changed = long[:60] + "".join("CATG"["ACGT".index(b)] for b in long[60:66]) + long[66:]
    splits = {
        "train": rows((core, "x"), (long, "y")),
        "test": rows((long[:30] + "G" + long[31:], "x"), (changed, "y")),
    }
    found = NearDuplicates().check(splits)[0]
    assert found.n == 2
    # 6 of 120 bases differ: (114 - 6 / 3) / 120; the core lies whole in the first.
    assert found.examples == (
        "test 0 (x) ~ train 0 (x), at [37:77] of the test sequence, containment 1.000",
        "test 1 (y) ~ train 1 (y), at [0:120] of the train sequence, containment 0.933",
    )
    assert found.evidence["rows whose match is whole"] == 1
    assert found.evidence["commonest place"] == "[37:77] of the test sequence"
    assert found.evidence["of one label"] == 2
    assert found.severity == "error"


def test_windows_that_overlap_by_half_and_the_other_strand() -> None:
    draw = rng(7)
    genome = "".join("ACGT"[i] for i in draw.integers(0, 4, 150))
    turned = bw.Record("t", genome[50:150], "x")
    back = genome[:100][::-1].translate(str.maketrans("ACGT", "TGCA"))
    found = NearDuplicates().check({"train": [turned], "test": rows((back, "y"))})[0]
    assert found.n == 1
    assert found.evidence["rows matched on the other strand"] == 1
    # Bases 0:50 of the train sequence are 50:100 of the genome, the last half of the test window.
    assert found.examples[0].endswith(
        "[-50:50] of the train sequence, other strand, containment 0.500"
    )
    assert "The labels are equal in 0.0 % [0.0, 79.3]. Most differ" in found.sentence


def test_equal_sequences_are_left_to_the_other_check() -> None:
    draw = rng(8)
    some = records(bases(draw, 5, 40), "x", "a")
    turned = [
        Record(f"r{r.id}", r.sequence[::-1].translate(str.maketrans("ACGT", "TGCA")), "x")
        for r in some
    ]
    found = NearDuplicates().check({"train": some, "test": turned + some})[0]
    assert found.n == 0
    assert found.severity == "info"


def test_repeats_do_not_start_comparisons_and_short_rows_are_said() -> None:
    train = [Record(str(i), "A" * 25 + "CGT"[i % 3] * i, "x") for i in range(1, 9)]
    found = NearDuplicates(repeat=3).check(
        {"train": train, "test": rows(("A" * 30, "y"), ("ACG", "y"))}
    )
    assert found[0].n == 0
    assert found[0].evidence["rows shorter than a word"] == 1
    assert found[0].sentence.endswith(
        "1 row of test cannot be judged: shorter than a word of 20 bases."
    )
    assert (
        NearDuplicates(repeat=48).check({"train": train, "test": rows(("A" * 30, "y"))})[0].n == 1
    )


# shortcuts


def test_plain_numbers_by_hand() -> None:
    #                      A  C  G  T  N   CG
    counts = np.array([[2, 3, 3, 2, 0], [0, 0, 0, 0, 4], [1, 0, 0, 1, 2]])
    cpg = np.array([2, 0, 0])
    values = {name: number(counts, cpg).tolist() for name, number in PLAIN.items()}
    assert values == {
        "GC content": [0.6, 0.0, 0.0],
        "CpG observed/expected": [2 * 10 / 9, 0.0, 0.0],
        "length": [10.0, 4.0, 4.0],
        "share of unknown bases": [0.0, 1.0, 0.5],
    }


def test_each_shortcut_is_found_where_it_was_put() -> None:
    draw = rng(9)

    def split(n: int) -> list[Record]:
        rich = bases(draw, n, 60, (0.2, 0.3, 0.3, 0.2))
        even = bases(draw, n, 60)
        even[: n // 3, :7] = 4  # unknown bases in a third of one class
        odd = [
            Record(r.id, r.sequence[: 60 - 12 * (i % 2)], r.label)
            for i, r in enumerate(records(even, "even", "e"))
        ]
        return records(rich, "rich", "r") + odd

    found = {
        f.title: f for f in Shortcuts(resamples=50).check({"train": split(150), "test": split(90)})
    }
    severities = {title.removeprefix("Shortcut: "): f.severity for title, f in found.items()}
    assert severities["GC content"] == "warning"
    assert severities["length"] == "warning"
    assert severities["share of unknown bases"] == "warning"
    assert severities["CpG observed/expected"] == "info"
    # GC of 60 bases: means 0.6 and 0.5, sd about 0.065: AUROC = Phi(0.1 / (0.065 sqrt 2)) = 0.86.
    assert found["Shortcut: GC content"].effect["AUROC"].value == pytest.approx(0.86, abs=0.05)
    # Half of the shorter class is told apart: AUROC 0.75.
    assert found["Shortcut: length"].effect["AUROC"].value == 0.75
    assert found["Shortcut: length"].evidence["means"] == {"even": 54.0, "rich": 60.0}
    assert "fitted on train" in found["Shortcut: length"].sentence


def test_neither_short_nor_long_is_a_shortcut() -> None:
    draw = rng(10)
    wide = [Record(f"w{i}", "ACGT" * n, "wide") for i, n in enumerate(draw.choice([4, 6], 60))]
    narrow = [Record(f"n{i}", "ACGT" * 5, "narrow") for i in range(50)]
    found = only(Shortcuts(resamples=20).check({"data": wide + narrow}), "Shortcut: length")
    assert found.effect["AUROC"].value == 1.0
    assert found.severity == "error"
    assert "data (cross-validated)" in found.sentence


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        ({"train": rows((A, None), (B, None))}, "there are no two classes"),
        ({"train": rows((A, 0.1), (B, 0.2))}, "there are no two classes"),
        (
            {"train": rows(*[(A, "x")] * 20, *[(B, "y")] * 3)},
            "y has 3 rows, 10 are needed",
        ),
    ],
)
def test_shortcuts_say_why_they_were_not_looked_at(splits, said: str) -> None:
    (found,) = Shortcuts().check(splits)
    assert found.severity == "info"
    assert said in found.sentence


# blocks


def test_the_period_of_exact_cuts() -> None:
    switches = np.array([7, 19, 31, 31, 43, 55, 55, 67])  # 7 + 12 i
    period = find_period(switches, 80)
    assert (period.length, period.phase, period.regular) == (12, 7, 1.0)
    # 8 of 8 on one of 12 phases: exp(-8 log 12), times 5 + 6 + ... + 40 periods and phases.
    assert period.p == pytest.approx(12.0**-8 * sum(range(5, 41)))
    assert find_cuts(switches, period, 80).tolist() == [0, 7, 19, 31, 43, 55, 67, 80]


def test_switches_anywhere_have_no_period() -> None:
    draw = rng(11)
    sure = [find_period(draw.integers(1, 200, 300), 200).p < 0.001 for _ in range(200)]
    assert sum(sure) == 0
    assert find_period(np.zeros(0, np.int64), 200).p == 1.0


def test_correlation_and_its_interval() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    y = np.array([2.0, 1.0, 4.0, 3.0, 7.0, 5.0, 6.0])
    # Ranks: r = 1 - 6 * 10 / (7 * 48) = 23/28; atanh r = 1.161, 1.96 / sqrt(4) = 0.98.
    assert correlation(x, y) == pytest.approx((23 / 28, 0.179, 0.973, 7), abs=0.001)
    assert np.isnan(correlation(x, x * 0).value)


# published metrics


def test_a_table_that_fits_and_one_that_does_not() -> None:
    # tp 90, fn 10, fp 20, tn 80: accuracy .85, precision 90/110, F1 180/210, MCC 70/sqrt(9900).
    fits = metrics_possible(
        {"accuracy": "0.850", "f1": "0.857", "mcc": "0.704"}, positives=100, negatives=100
    )
    assert fits.matrices.to_dict("records") == [
        {"reading": "positive", "tp": 90, "fn": 10, "fp": 20, "tn": 80},
        {"reading": "negative", "tp": 80, "fn": 20, "fp": 10, "tn": 90},
    ]
    assert fits.finding.severity == "info"
    assert fits.sentence == (
        "accuracy 0.85, F1 0.857, MCC 0.704 can come from one confusion matrix of 100 positives "
        "and 100 negatives: 1 matrix with F1 of the positive class or 1 matrix with F1 of the "
        "negative class; for instance 90 true positives, 10 false negatives, 20 false positives "
        "and 80 true negatives."
    )
    wrong = metrics_possible(
        {"accuracy": "0.850", "f1": "0.900", "mcc": "0.704"}, positives=100, negatives=100
    )
    assert not wrong.possible
    assert wrong.finding.severity == "error"
    assert "cannot come from one confusion matrix" in wrong.sentence
    assert json.loads(json.dumps(wrong.finding.evidence)) == wrong.finding.evidence
    assert wrong.nearest["error"] > 1


def test_zeros_at_the_end_count_as_digits() -> None:
    # tp 9 of 11, tn 10 of 10: accuracy 19/21 = 0.9048, MCC 90 / sqrt(9 * 12 * 110) = 0.8257.
    def possible(accuracy: float | str, mcc: float | str, digits: int | None = None) -> bool:
        given = {"accuracy": accuracy, "mcc": mcc}
        return metrics_possible(given, positives=11, negatives=10, digits=digits).possible

    assert possible("0.905", "0.826")
    assert possible("0.9", "0.826")
    assert not possible("0.900", "0.826")
    assert not possible(0.9, 0.826)
    assert possible(0.9, 0.826, digits=1)


def test_large_test_sets_are_searched_whole() -> None:
    tp, fn, fp, tn = 28_000, 12_000, 9_000, 891_000
    mcc = (tp * tn - fp * fn) / ((tp + fp) * (tn + fn) * (tp + fn) * (tn + fp)) ** 0.5
    given = {"f1": round(2 * tp / (2 * tp + fp + fn), 6), "mcc": round(mcc, 6)}
    found = metrics_possible(given, positives=tp + fn, negatives=fp + tn)
    of = found.matrices[found.matrices.reading == "positive"]
    assert ((of.tp == tp) & (of.tn == tn)).any()
    f1 = 2 * of.tp / (2 * of.tp + of.fp + of.fn)
    assert (f1 - given["f1"]).abs().max() <= 0.5e-6 + 1e-12


@pytest.mark.parametrize(
    ("metrics", "error", "said"),
    [
        (
            {"accuracy": 92.76, "mcc": 0.8},
            DataError,
            "accuracy = 92.76 is outside 0 to 1; give a share",
        ),
        ({"mcc": -1.2, "f1": 0.8}, DataError, "mcc = -1.2 is outside -1 to 1"),
        (
            {"acuracy": 0.9, "mcc": 0.8},
            UnknownName,
            "No metric named 'acuracy'. Did you mean 'accuracy'?",
        ),
        ({"f1": "n/a", "mcc": 0.8}, DataError, "f1 = 'n/a' is not a number"),
        ({"f1": "nan", "mcc": 0.8}, DataError, "f1 = 'nan' is not a number"),
        ({"f1": 0.5}, DataError, "give two or more"),
    ],
)
def test_metrics_that_cannot_be_read(metrics, error, said: str) -> None:
    with pytest.raises(error, match=said.replace(".", r"\.").replace("?", r"\?")):
        metrics_possible(metrics, positives=9, negatives=8)
    with pytest.raises(DataError, match="each class needs a row"):
        metrics_possible({"f1": 0.5, "mcc": 0.1}, positives=0, negatives=8)


# the audit


def test_what_the_audit_refuses() -> None:
    with pytest.raises(DataError, match=r"audit got no split; give lists of records"):
        audit()
    with pytest.raises(DataError, match=r"The split 'dev' holds no record; leave it out\."):
        audit(train=rows((A, "x")), dev=[])
    with pytest.raises(
        DataError, match=r"The split 'test' holds 'ACGT', a str; audit takes lists of Record"
    ):
        audit(test=["ACGT"])
    with pytest.raises(DataError, match=r"Record '1' of the split 'train' has no sequence"):
        audit(train=rows((A, "x"), ("", "y")))


def test_the_worst_comes_first_and_the_table_shows_the_leading_effect() -> None:
    found = bw.audit(
        train=rows((A, "x"), (A, "y"), (B, "x")), test=rows((C, "x")), checks=["duplicates"]
    )
    assert [f.severity for f in found.findings] == ["error", "warning", "info", "info"]
    assert found.worst == "error"
    assert found.splits[0] == Split("train", 3, 2, 16, 16, 0, {"x": 2, "y": 1})
    table = found.to_frame()
    assert [*table.columns[:5]] == ["check", "severity", "title", "sentence", "n"]
    assert [*table.columns[5:]] == ["effect", "value", "low", "high", "examples"]
    first = table.iloc[0]
    assert (first.title, first.n, first.effect) == (
        "Contradictory labels in train",
        1,
        "share of rows",
    )
    assert first.value == pytest.approx(2 / 3)
    assert first.low < first.value < first.high
    assert (
        str(found).splitlines()[0].startswith("ERROR   Contradictory labels in train: The labels")
    )


def test_an_audit_of_the_first_format_is_still_read() -> None:
    found = Audit.from_json((ARCHIVE / "audit-1.json").read_text())
    assert found.findings[0] == Finding(
        check="duplicates",
        severity="error",
        title="Contradictory labels in train",
        sentence="Two rows.",
        n=1,
        effect={"share of rows": Estimate(0.5, 0.25, 0.75, 4)},
        evidence={"rows": 2, "expected by chance": 0.0},
        examples=("train 0 (x) = train 1 (y)",),
    )
    assert np.isnan(found.findings[1].effect["AUROC"].value)
    assert found.splits == (Split("train", 4, 3, 16, 20, 1, {"x": 2, "y": 2}),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "This is not the JSON of an audit"),
        ("[]", "This JSON holds no schema version -; this basewise reads audit version 1"),
        ('{"schema": "audit", "version": 2}', "holds audit version 2"),
    ],
)
def test_foreign_json_is_refused(text: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        Audit.from_json(text)
