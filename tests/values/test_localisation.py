"""Finding known truth: each measure by hand, against scikit-learn and by enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from basewise import Attribution, Record, Span, Target
from basewise.errors import DataError
from basewise.evaluate.localisation import (
    CHANCE,
    LOCALISATION,
    METRICS,
    SUMMARY,
    auprc,
    auprc_chance,
    first_rank,
    first_rank_chance,
    localise,
    mass_inside,
    prevalence,
    summarise,
    top_k_precision,
)

SCORES = np.array([[5.0, 4.0, -9.0, 2.0, 1.0]])
TRUTH = np.array([[0, 1, 0, 0, 1]], bool)


def attribution(record, scores, spans=None):
    if spans is None:
        spans = np.column_stack([np.arange(len(scores)), np.arange(len(scores)) + 1])
    return Attribution(
        record_id=record.id,
        sequence=record.sequence,
        model="m",
        target=Target("promoter"),
        method="occlusion",
        kind="additive",
        spans=np.asarray(spans),
        scores=np.asarray(scores, float),
        output=1.0,
        baseline=0.0,
        evaluations=9,
        seed=1,
    )


def test_each_measure_by_hand():
    # Ranked: 5, 4 (true), 2, 1 (true), -9.
    assert auprc(SCORES, TRUTH) == pytest.approx([(1 / 2 + 2 / 4) / 2])
    assert mass_inside(SCORES, TRUTH) == pytest.approx([5 / 12])
    assert top_k_precision(SCORES, TRUTH) == pytest.approx([1 / 2])
    assert first_rank(SCORES, TRUTH) == pytest.approx([2])
    assert prevalence(SCORES, TRUTH) == pytest.approx([2 / 5])
    assert first_rank_chance(SCORES, TRUTH) == pytest.approx([6 / 3])


def test_perfect_and_constant_scores():
    truth = np.array([[0, 1, 1, 0, 0, 0]], bool)
    perfect, flat = truth * 2.0, np.ones((1, 6))
    for name, best in {"auprc": 1, "mass_inside": 1, "top_k_precision": 1, "first_rank": 1}.items():
        assert METRICS[name](perfect, truth) == pytest.approx([best]), name
    for name in ("auprc", "mass_inside", "top_k_precision"):
        assert METRICS[name](flat, truth) == pytest.approx([1 / 3]), name
    assert first_rank(flat, truth) == pytest.approx(first_rank_chance(flat, truth))


def test_auprc_equals_scikit_learn_with_ties():
    rng = np.random.default_rng(0)
    scores = rng.integers(-3, 4, (40, 13)).astype(float)
    truth = rng.random((40, 13)) < 0.3
    truth[:, 5] |= ~truth.any(1)
    expected = [average_precision_score(t, s) for s, t in zip(scores, truth, strict=True)]
    np.testing.assert_allclose(auprc(scores, truth), expected, rtol=1e-12)


def test_ties_count_as_if_broken_at_random():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 3, (5, 11)).astype(float)
    truth = rng.random((5, 11)) < 0.4
    broken = [scores + rng.random(scores.shape) * 1e-3 for _ in range(4000)]
    for measure in (top_k_precision, first_rank):
        mean = np.mean([measure(each, truth) for each in broken], axis=0)
        np.testing.assert_allclose(measure(scores, truth), mean, atol=0.05)


def test_chance_is_the_mean_over_all_orders():
    truth = np.array([[1, 1, 0, 0, 0, 0, 0]], bool)
    scores = np.arange(7.0)[None]
    sets = np.zeros((21, 7), bool)
    for row, places in zip(sets, itertools.combinations(range(7), 2), strict=True):
        row[list(places)] = True
    ranks = np.repeat(scores, 21, axis=0)
    assert auprc_chance(scores, truth) == pytest.approx(auprc(ranks, sets).mean())
    assert first_rank_chance(scores, truth) == pytest.approx(first_rank(ranks, sets).mean())
    assert prevalence(scores, truth) == pytest.approx(top_k_precision(ranks, sets).mean())


def test_without_truth_or_positive_scores_there_is_no_value():
    scores = np.array([[1.0, 2.0, 3.0], [-1.0, 0.0, -2.0]])
    truth = np.array([[0, 0, 0], [0, 1, 0]], bool)
    for name, measure in METRICS.items():
        assert np.isnan(measure(scores, truth)[0]), name
    assert np.isnan(mass_inside(scores, truth)[1])
    assert first_rank(scores, truth)[1] == 1


def test_a_table_of_records_of_different_lengths():
    records = [
        Record("a", "ACGTA", truth=(Span(1, 2, "x"), Span(4, 5, "y"))),
        Record("none", "ACG"),
        Record("b", "ACGTACG", truth=(Span(2, 4),)),
    ]
    found = [
        attribution(records[2], [3, 0, 1], [[0, 2], [2, 5], [5, 7]]),
        attribution(records[1], [1, 2, 3]),
        attribution(records[0], SCORES[0]),
    ]
    table = localise(records, found)
    assert tuple(table.columns) == LOCALISATION
    assert table["record_id"].tolist() == ["b", "a"]
    assert table["length"].tolist() == [7, 5]
    assert table["auprc"].iloc[1] == pytest.approx(0.5)
    # On bases b reads 1.5 1.5 0 0 0 0.5 0.5: truth at 2 and 3 shares the last three places.
    assert table["first_rank"].iloc[0] == pytest.approx(4 + 4 / 3)
    assert table["mass_inside"].iloc[0] == 0
    empty = localise(records, found[1:2])
    assert tuple(empty.columns) == LOCALISATION
    assert len(empty) == 0
    assert summarise(empty)["n"].tolist() == [0, 0, 0, 0]


def test_the_summary_is_the_mean_with_an_interval():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({name: rng.random(30) for name in LOCALISATION})
    frame.loc[:4, "mass_inside"] = np.nan
    table = summarise(frame, resamples=400, seed=3).set_index("metric")
    assert tuple(summarise(frame).columns) == SUMMARY
    assert table.index.tolist() == list(METRICS)
    assert table.loc["auprc", "value"] == pytest.approx(frame["auprc"].mean())
    assert table.loc["auprc", "chance"] == pytest.approx(frame[CHANCE["auprc"]].mean())
    assert table["n"].tolist() == [30, 25, 30, 30]
    standard_error = frame["auprc"].std() / np.sqrt(30)
    assert table.loc["auprc", "high"] - table.loc["auprc", "low"] == pytest.approx(
        2 * 1.96 * standard_error, rel=0.2
    )


@pytest.mark.parametrize(
    "record, says",
    [
        (Record("a", "ACG", truth=(Span(1, 4, "TATA"),)), "has 3 bases; its truth 'TATA' at 1-4"),
        (Record("a", "ACGT", truth=(Span(1, 4),)), "has 4 bases; its attribution has 3"),
        (Record("b", "ACG", truth=(Span(1, 3),)), "of record 'a', but no such record"),
    ],
)
def test_bad_truth_is_refused_in_one_line(record, says):
    with pytest.raises(DataError, match=says):
        localise([record], [attribution(Record("a", "ACG"), [1, 2, 3])])
