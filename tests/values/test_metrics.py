"""Metrics a reader can check by hand, their limits and their errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from basewise.errors import DataError, UnknownName
from basewise.train.metrics import classification_metrics

RNG = np.random.default_rng(0)


def test_by_hand():
    # Three promoters, two others; scores rank p p o p o; one promoter is missed at 0.5.
    truth = ["promoter", "promoter", "other", "promoter", "other"]
    p = np.array([0.9, 0.8, 0.6, 0.4, 0.1])
    found = classification_metrics(
        truth,
        np.stack([1 - p, p], 1),
        ["other", "promoter"],
        positive="promoter",
        rng=RNG,
        resamples=50,
    )
    assert found["accuracy"].value == pytest.approx(3 / 5)
    assert found["precision"].value == pytest.approx(2 / 3)
    assert found["recall"].value == pytest.approx(2 / 3)
    assert found["f1"].value == pytest.approx(2 / 3)
    assert found["mcc"].value == pytest.approx((2 * 1 - 1 * 1) / 6)
    assert found["auroc"].value == pytest.approx(5 / 6)
    assert found["auprc"].value == pytest.approx((1 + 1 + 3 / 4) / 3)
    for estimate in found.values():
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.n == 5


def test_the_positive_class_is_a_name_not_a_place():
    truth = ["b", "a", "a", "b", "a"]
    scores = np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6], [0.1, 0.9], [0.9, 0.1]])
    there = classification_metrics(truth, scores, ["a", "b"], positive="b", rng=RNG, resamples=9)
    turned = classification_metrics(
        truth, scores[:, ::-1], ["b", "a"], positive="b", rng=RNG, resamples=9
    )
    other = classification_metrics(truth, scores, ["a", "b"], positive="a", rng=RNG, resamples=9)
    assert {n: e.value for n, e in there.items()} == {n: e.value for n, e in turned.items()}
    assert there["precision"].value == pytest.approx(2 / 3)
    assert other["precision"].value == 1


def test_a_class_without_rows():
    found = classification_metrics(
        ["a", "a"], np.array([[0.9, 0.1], [0.8, 0.2]]), ["a", "b"], rng=RNG, resamples=20
    )
    assert found["accuracy"] == (1, 1, 1, 2)
    assert found["mcc"].value == 0
    assert math.isnan(found["auroc"].value)
    assert math.isnan(found["auroc"].low)
    assert found["recall"].value == 0.5


@pytest.mark.parametrize(
    ("truth", "scores", "positive", "error", "said"),
    [
        (["a", "c"], np.ones((2, 2)), None, UnknownName, "No class among the labels named 'c'."),
        (["a", "b"], np.ones((2, 2)), "B", UnknownName, "named 'B'"),
        (
            ["a"],
            np.ones((2, 2)),
            None,
            DataError,
            r"shape \(2, 2\) for 1 true labels and 2 classes",
        ),
        ([], np.ones((0, 2)), None, DataError, "for 0 true labels"),
        (["a", "b"], np.array([[0, 1], [0, np.nan]]), None, DataError, "'b' in row 1 is not a"),
    ],
)
def test_errors(truth, scores, positive, error, said):
    with pytest.raises(error, match=said):
        classification_metrics(truth, scores, ["a", "b"], positive=positive, rng=RNG, resamples=2)
