"""Readings of published metrics against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as oracle

from basewise.checks import metrics_possible

AVERAGES = {
    "positive": {"pos_label": 1},
    "negative": {"pos_label": 0},
    "macro": {"average": "macro"},
    "weighted": {"average": "weighted"},
}


@pytest.mark.parametrize("reading", AVERAGES)
@pytest.mark.parametrize("cells", [(31, 6, 11, 52), (0, 7, 0, 13), (5, 0, 4, 0)])
def test_metrics_of_scikit_learn_come_from_their_own_matrix(reading, cells) -> None:
    tp, fn, fp, tn = cells
    truth = np.repeat([1, 1, 0, 0], cells)
    said = np.repeat([1, 0, 1, 0], cells)
    how = AVERAGES[reading] | {"zero_division": 0}
    given = {
        "accuracy": oracle.accuracy_score(truth, said),
        "balanced_accuracy": oracle.balanced_accuracy_score(truth, said),
        "mcc": oracle.matthews_corrcoef(truth, said),
        "f1": oracle.f1_score(truth, said, **how),
        "precision": oracle.precision_score(truth, said, **how),
        "recall": oracle.recall_score(truth, said, **how),
    }
    rounded = {name: f"{value:.6f}" for name, value in given.items()}
    rounded = {name: text.replace("-0.000000", "0.000000") for name, text in rounded.items()}
    found = metrics_possible(rounded, positives=tp + fn, negatives=fp + tn)
    rows = {*found.matrices.itertuples(index=False, name=None)}
    assert (reading, *cells) in rows
