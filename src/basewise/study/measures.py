"""Tables that say how good models and explainers are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basewise.evaluate.localisation import CHANCE, localise, summarise
from basewise.train.metrics import metrics
from basewise.types import Floats, Record, Target

if TYPE_CHECKING:
    from basewise.study.results import Run

__all__ = ["BASELINE", "explainers", "localisation", "predictions", "quality"]

BASELINE = "6-mer baseline"


def predictions(
    labels: Sequence[str], split: str, records: Sequence[Record], scores: Floats
) -> pd.DataFrame:
    """record_id, split, label, predicted, and `p:<label>` for every label."""
    frame = pd.DataFrame(
        {
            "record_id": [record.id for record in records],
            "split": split,
            "label": [record.label for record in records],
            "predicted": np.asarray(labels, object)[scores.argmax(1)],
        }
    )
    for i, label in enumerate(labels):
        frame[f"p:{label}"] = scores[:, i]
    return frame
