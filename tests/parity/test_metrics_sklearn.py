"""Every metric against scikit-learn, its interval against resampling row by row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as referee

from basewise.train.metrics import METRICS, classification_metrics, matthews

NAMES = ("exon", "intron", "neither")


def sklearn_values(truth, scores, of):
    """All metrics by scikit-learn; `of` is a class, or None for the macro mean."""
    k = scores.shape[1]
    predicted = scores.argmax(1)
    some = {"labels": list(range(k)) if of is None else [of], "average": "macro"}
    classes = range(k) if of is None else [of]
    return {
        "accuracy": referee.accuracy_score(truth, predicted),
        "mcc": referee.matthews_corrcoef(truth, predicted),
        "f1": referee.f1_score(truth, predicted, zero_division=0, **some),
        "precision": referee.precision_score(truth, predicted, zero_division=0, **some),
        "recall": referee.recall_score(truth, predicted, zero_division=0, **some),
        "auroc": np.mean([referee.roc_auc_score(truth == c, scores[:, c]) for c in classes]),
        "auprc": np.mean(
            [referee.average_precision_score(truth == c, scores[:, c]) for c in classes]
        ),
    }


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(9, 40),
    k=st.integers(2, 3),
    steps=st.integers(2, 12),
    by_name=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_values_are_those_of_sklearn_ties_included(n, k, steps, by_name, seed):
    rng = np.random.default_rng(seed)
    truth = np.append(np.arange(k), rng.integers(0, k, n - k))  # every class occurs
    scores = rng.integers(0, steps, (n, k)) / steps
    positive = NAMES[k - 1] if by_name else None
    found = classification_metrics(
        [NAMES[i] for i in truth], scores, NAMES[:k], positive=positive, rng=rng, resamples=1
    )
    assert tuple(found) == METRICS
    for name, value in sklearn_values(truth, scores, k - 1 if by_name else None).items():
        assert found[name].value == pytest.approx(value, abs=1e-12), name
        assert found[name].n == n


def test_intervals_are_those_of_resampled_rows():
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 301)
    scores = np.stack([np.zeros(301), rng.normal(size=301) + truth], axis=1)
    found = classification_metrics(
        [NAMES[i] for i in truth], scores, NAMES[:2], positive="intron", rng=rng, resamples=4000
    )
    drawn = rng.integers(0, 301, (150, 301))
    slow = [sklearn_values(truth[rows], scores[rows], 1) for rows in drawn]
    for name in METRICS:
        low, high = np.quantile([values[name] for values in slow], [0.025, 0.975])
        assert found[name].low == pytest.approx(low, abs=0.25 * (high - low)), name
        assert found[name].high == pytest.approx(high, abs=0.25 * (high - low)), name


def test_matthews_of_many_matrices_at_once():
    rng = np.random.default_rng(2)
    truth, predicted = rng.integers(0, 4, (2, 3, 50))
    confusion = np.stack(
        [referee.confusion_matrix(t, p) for t, p in zip(truth, predicted, strict=True)]
    )
    expected = [referee.matthews_corrcoef(t, p) for t, p in zip(truth, predicted, strict=True)]
    np.testing.assert_allclose(matthews(confusion), expected)
