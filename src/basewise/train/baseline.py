"""What composition alone can do: a logistic regression on k-mer counts.

A model that is not clearly better has learned how often short words occur, and its
explanations should be read so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from basewise.errors import DataError
from basewise.registry import component
from basewise.sequence.alphabet import encode
from basewise.sequence.kmers import kmer_numbers
from basewise.train.metrics import matthews
from basewise.types import Floats, Ints, Record

__all__ = ["Baseline", "KmerBaseline", "kmer_shares"]


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted k-mer logistic regression.

    Attributes
    ----------
    k : int
        Length of the words.
    labels : k class names, sorted
    weights : (4**k, classes) float
        Of the share of each word in a sequence; columns as `labels`.
    bias : (classes,) float
    strength : float
        The C that was best on dev.
    dev_mcc : float
        Matthews' coefficient on dev, with that C.
    """

    k: int
    labels: tuple[str, ...]
    weights: Floats
    bias: Floats
    strength: float
    dev_mcc: float

    @property
    def parameters(self) -> int:
        """Number of fitted numbers."""
        return self.weights.size + self.bias.size

    def predict(self, records: Sequence[Record]) -> Floats:
        """Class probabilities, (n, classes), columns as `labels`."""
        logits = kmer_shares(records, self.k) @ self.weights + self.bias
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(odds / odds.sum(1, keepdims=True))


@component
class KmerBaseline:
    """Logistic regression on the shares of all k-mers, with the penalty chosen on dev.

    A share is a k-mer's count over the number of k-mers of its sequence, so length itself is
    no feature. The penalty is L2; of `strengths` the one with the highest Matthews coefficient
    on dev is kept, the strongest penalty of those that tie.

    Attributes
    ----------
    k : int
        Length of the words.
    strengths : tuple of float
        Candidates for scikit-learn's C, on shares times the mean number of k-mers of a
        training sequence (which are counts, where all have one length).
    """

    k: Annotated[int, Field(ge=1, le=8)] = 6
    strengths: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = (
        0.001,
        0.003,
        0.01,
        0.03,
        0.1,
    )

    def fit(self, train: Sequence[Record], dev: Sequence[Record]) -> Baseline:
        """Fit to `train`, choose the penalty on `dev`.

        Raises
        ------
        DataError
            If a record has no class name as its label, `train` has a single class, or `dev`
            a class that `train` has not.
        """
        names, held_out = _names(train), _names(dev)
        labels, truth = np.unique(names, return_inverse=True)
        if len(labels) < 2:
            raise DataError(
                f"All {len(train)} training records are {names[0]!r}; two classes are needed."
            )
        if unknown := set(held_out) - set(names):
            raise DataError(
                f"Class {min(unknown)!r} is in dev and not in train, "
                f"which has {', '.join(labels.tolist())}."
            )
        expected, k = np.searchsorted(labels, held_out), len(labels)
        scale = float(np.mean([max(len(record.sequence) - self.k + 1, 1) for record in train]))
        counts, seen = kmer_shares(train, self.k) * scale, kmer_shares(dev, self.k)
        found = []
        for strength in sorted(self.strengths):
            weights, bias = _regress(counts, truth, strength)
            predicted = (seen @ weights.T * scale + bias).argmax(1)
            confusion = np.bincount(expected * k + predicted, minlength=k * k).reshape(k, k)
            found.append((strength, weights, bias, float(matthews(confusion))))
        strength, weights, bias, mcc = max(found, key=lambda one: one[3])
        return Baseline(self.k, tuple(labels.tolist()), weights.T * scale, bias, strength, mcc)


def kmer_shares(records: Sequence[Record], k: int) -> Any:
    """The share of every k-mer in each sequence, a sparse (n, 4**k) matrix.

    k-mers with an `N` are not counted; a sequence without any k-mer has a row of zeros.
    """
    from scipy.sparse import csr_array

    codes = encode("".join([record.sequence for record in records]))
    lengths = np.array([len(record.sequence) for record in records])
    row = np.repeat(np.arange(len(records), dtype=np.int32), lengths)
    numbers = kmer_numbers(codes, k)
    starts, ends = row[: len(numbers)], row[len(row) - len(numbers) :]
    inside = (starts == ends) & (numbers >= 0)  # neither over two sequences nor with an N
    counts = np.bincount(starts[inside], minlength=len(records))
    shares = csr_array(
        (
            (1 / np.maximum(counts, 1))[starts[inside]],
            numbers[inside].astype(np.int32),
            np.append(0, np.cumsum(counts)).astype(np.int32),
        ),
        shape=(len(records), 4**k),
    )
    shares.sum_duplicates()
    return shares


def _regress(counts: Any, truth: Ints, strength: float) -> tuple[Floats, Floats]:
    """Weights (classes, 4**k) and biases (classes,)."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, max_iter=2000).fit(counts, truth)
    weights, bias = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # two classes: the log-odds of the second
        return np.concatenate([np.zeros_like(weights), weights]), np.append(0.0, bias)
    return weights, bias


def _names(records: Sequence[Record]) -> list[str]:
    for record in records:
        if not isinstance(record.label, str):
            raise DataError(
                f"Record {record.id!r} has the label {record.label!r}; "
                "the baseline needs a class name for every record."
            )
    if not records:
        raise DataError("No records to fit or to choose by; at least one is needed.")
    return [str(record.label) for record in records]
