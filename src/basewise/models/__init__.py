"""Networks and the one class around them. Adding an architecture: write its file, add its line."""

from __future__ import annotations

from basewise.registry import Registry

__all__ = ["NETWORKS"]

NETWORKS = Registry(
    "network",
    {
        "basewise-cnn": "basewise.models.cnn:CnnForSequenceClassification",
        "basewise-cnn-lstm": "basewise.models.cnn_lstm:CnnLstmForSequenceClassification",
    },
)
