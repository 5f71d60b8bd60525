"""Metrics on bases: by hand, against scikit-learn, and projected to another prevalence."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import calibration as sk_calibration
from sklearn import metrics as sk

from basewise.errors import ConfigError, DataError, UnknownName
from basewise.evaluate.bases import (
    BASE_METRICS,
    BaseScores,
    base_metrics,
    base_scores,
    calibration,
    choose_threshold,
    region_metrics,
)
from basewise.types import Record, Span


def scores_of(truth: str, called: str, record: str | None = None) -> BaseScores:
    flags = [np.array([letter == "1" for letter in text]) for text in (truth, called)]
    of = np.array([int(r) for r in record]) if record else np.zeros(len(truth), int)
    return BaseScores(flags[0], flags[1].astype(float), of)


@pytest.fixture(scope="module")
def noisy() -> BaseScores:
    """2,600 bases of 13 records, one in eleven labelled; scores with many ties."""
    rng = np.random.default_rng(3)
    truth = rng.random(2600) < 1 / 11
    scores = np.round(np.clip(rng.normal(0.3 + 0.25 * truth, 0.2), 0, 1), 2)
    return BaseScores(truth, scores, np.repeat(np.arange(13), 200))


def values(found: BaseScores, threshold: float, **more: object) -> dict[str, float]:
    rng = np.random.default_rng(0)
    told = base_metrics(found, threshold, rng=rng, resamples=3, **more)
    return {name: estimate.value for name, estimate in told.items()}


def referee(found: BaseScores, threshold: float, weights: np.ndarray | None) -> dict[str, float]:
    called, more = found.scores >= threshold, {"sample_weight": weights}
    return {
        "f1": sk.f1_score(found.truth, called, **more),
        "mcc": sk.matthews_corrcoef(found.truth, called, **more),
        "precision": sk.precision_score(found.truth, called, **more),
        "recall": sk.recall_score(found.truth, called, **more),
        "auprc": sk.average_precision_score(found.truth, found.scores, **more),
        "auroc": sk.roc_auc_score(found.truth, found.scores, **more),
        "prevalence": np.average(found.truth, weights=weights),
    }


@pytest.mark.parametrize("threshold", [0.2, 0.55, 0.8])
def test_scikit_learn_gives_the_same(noisy, threshold):
    found = values(noisy, threshold)
    assert tuple(found) == BASE_METRICS
    assert found == pytest.approx(referee(noisy, threshold, None))


def test_by_hand():
    # 4 labelled bases, 3 called, 2 of them right; 10 bases.
    found = values(scores_of("1111000000", "1100100000"), 0.5)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == 0.5
    assert found["f1"] == pytest.approx(4 / 7)
    assert found["prevalence"] == 0.4
    assert found["mcc"] == pytest.approx((2 * 5 - 1 * 2) / np.sqrt(3 * 4 * 6 * 7))


@pytest.mark.parametrize("prevalence", [0.001, 0.02, 0.5])
def test_another_prevalence_keeps_the_rates(noisy, prevalence):
    threshold = 0.5
    found = values(noisy, threshold, prevalence=prevalence)
    called = noisy.scores >= threshold
    tpr, fpr = called[noisy.truth].mean(), called[~noisy.truth].mean()
    precision = tpr * prevalence / (tpr * prevalence + fpr * (1 - prevalence))
    assert found["precision"] == pytest.approx(precision)
    assert found["recall"] == pytest.approx(tpr)
    assert found["f1"] == pytest.approx(2 * precision * tpr / (precision + tpr))
    assert found["prevalence"] == pytest.approx(prevalence)
    share = noisy.truth.mean()
    weights = np.where(noisy.truth, prevalence / share, (1 - prevalence) / (1 - share))
    assert found == pytest.approx(referee(noisy, threshold, weights))
    assert found["auroc"] == pytest.approx(values(noisy, threshold)["auroc"])


def test_projected_to_where_it_is_nothing_changes(noisy):
    there = values(noisy, 0.4, prevalence=noisy.prevalence)
    assert there == pytest.approx(values(noisy, 0.4))


def test_intervals_are_of_records(noisy):
    """Bases of a record stand together: equal ones in a record widen the interval."""
    whole = BaseScores(noisy.truth, noisy.scores, np.repeat(np.arange(2600 // 2), 2))
    alike = BaseScores(  # 10 kinds of records, 26 copies of each base: as many bases, fewer records
        np.repeat(noisy.truth[:100], 26),
        np.repeat(noisy.scores[:100], 26),
        np.repeat(range(10), 260),
    )
    rng = np.random.default_rng(1)
    narrow, wide = (
        base_metrics(each, 0.5, rng=rng, resamples=300)["f1"] for each in (whole, alike)
    )
    assert narrow.low < narrow.value < narrow.high
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert narrow.n == 2600
    # The draws are of whole records: two records, one with all hits, one with none.
    two = scores_of("11" * 5 + "11" * 5, "11" * 5 + "00" * 5, "0" * 10 + "1" * 10)
    recall = base_metrics(two, 0.5, rng=rng, resamples=200)["recall"]
    assert (recall.low, recall.value, recall.high) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("metric", ["f1", "mcc"])
def test_the_threshold_is_the_best_of_all(noisy, metric):
    chosen = choose_threshold(noisy, metric)
    measure = {"f1": sk.f1_score, "mcc": sk.matthews_corrcoef}[metric]
    every = {t: measure(noisy.truth, noisy.scores >= t) for t in np.unique(noisy.scores)}
    assert every[chosen] == max(every.values())
    assert values(noisy, chosen)[metric] == pytest.approx(max(every.values()))


def test_of_equal_thresholds_the_highest():
    found = BaseScores(np.array([True, False, True]), np.array([0.9, 0.5, 0.4]), np.zeros(3, int))
    assert choose_threshold(found) == 0.4  # F1 of 2/3, 1/2, 4/5
    assert choose_threshold(BaseScores(~found.truth, found.scores, found.record)) == 0.5


# ------------------------------------------------------------------------------- regions


def test_regions_by_hand():
    #        0         1: a stretch ends where its record does
    record = "0000000000" + "11111111"
    truth = "0110001111" + "11000110"
    called = "0010000000" + "01110000"
    found = scores_of(truth, called, record)
    told = region_metrics(found, 0.5, rng=np.random.default_rng(0), resamples=50)
    # Labelled: 1-3, 6-10 | 0-2, 5-7, of which two are touched. Called: 2-3 | 1-4, both touch.
    assert told["region_recall"].value == 0.5
    assert told["region_precision"].value == 1.0
    assert told["region_f1"].value == pytest.approx(2 / 3)
    assert [told[name].n for name in ("region_f1", "region_precision", "region_recall")] == [
        6,
        2,
        4,
    ]
    half = region_metrics(found, 0.5, overlap=0.5, rng=np.random.default_rng(0), resamples=9)
    # More than half: of the labelled none (one of two bases is no more than half), of called one.
    assert half["region_recall"].value == 0.0
    assert half["region_precision"].value == 0.5


def test_nothing_called():
    told = region_metrics(scores_of("0110", "0000"), 0.5, rng=np.random.default_rng(0), resamples=5)
    assert [estimate.value for estimate in told.values()] == [0.0, 0.0, 0.0]


# --------------------------------------------------------------------------- calibration


def test_calibration_is_that_of_scikit_learn(noisy):
    found = calibration(noisy, bins=7)
    share, probability = sk_calibration.calibration_curve(noisy.truth, noisy.scores, n_bins=7)
    np.testing.assert_allclose(found.bins["share"], share)
    np.testing.assert_allclose(found.bins["probability"], probability)
    assert found.bins["n"].sum() == 2600
    assert ((found.bins["share_low"] <= share) & (share <= found.bins["share_high"])).all()


def test_the_error_by_hand():
    scores = np.array([0.1, 0.1, 0.1, 0.1, 0.9, 1.0])
    found = BaseScores(np.array([0, 0, 1, 0, 1, 1], bool), scores, np.zeros(6, int))
    # |0.25 - 0.1| over four bases, |1 - 0.95| over two.
    assert calibration(found, bins=2).error == pytest.approx((4 * 0.15 + 2 * 0.05) / 6)
    right = BaseScores(np.array([True, False]), np.array([1.0, 0.0]), np.zeros(2, int))
    assert calibration(right).error == 0


# ----------------------------------------------------------------------------- bad input

RECORDS = [Record("a", "ACGTA", truth=(Span(1, 3, "Z"),)), Record("b", "GG")]


def test_scores_and_truth_of_records():
    found = base_scores(RECORDS, "Z", [np.arange(5) / 10, np.array([1, 0])])
    assert found.truth.tolist() == [False, True, True, False, False, False, False]
    assert found.scores.tolist() == [0, 0.1, 0.2, 0.3, 0.4, 1, 0]
    assert found.record.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert found.prevalence == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    ("label", "scores", "error", "said"),
    [
        ("z", [np.zeros(5), np.zeros(2)], UnknownName, r"named 'z'\. Did you mean 'Z'\?|named 'z'"),
        ("Z", [np.zeros(5)], DataError, "1 arrays of scores for 2 records"),
        ("Z", [np.zeros(5), np.zeros(3)], DataError, r"'b' has 2 bases and scores of shape \(3,\)"),
        ("Z", [np.zeros(5), np.array([0, np.nan])], DataError, "'b' has no score at base 1; no to"),
    ],
)
def test_scores_that_do_not_fit(label, scores, error, said):
    with pytest.raises(error, match=said):
        base_scores(RECORDS, label, scores)


def test_bad_settings(noisy):
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"threshold = 1\.5: a number from 0 to 1"):
        base_metrics(noisy, 1.5, rng=rng)
    with pytest.raises(ConfigError, match=r"prevalence = 0: a share between 0 and 1"):
        base_metrics(noisy, 0.5, prevalence=0, rng=rng)
    with pytest.raises(ConfigError, match="overlap = 1: a share from 0 to below 1"):
        region_metrics(noisy, 0.5, overlap=1, rng=rng)
    with pytest.raises(ConfigError, match="bins = 1: at least 2"):
        calibration(noisy, bins=1)
    with pytest.raises(ConfigError, match="metric = 'auc': one of 'f1' and 'mcc'"):
        choose_threshold(noisy, "auc")
    with pytest.raises(DataError, match="Scores below 0 or above 1 are no probabilities"):
        calibration(BaseScores(noisy.truth, noisy.scores - 1, noisy.record))
