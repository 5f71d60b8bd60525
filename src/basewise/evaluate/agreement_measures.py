"""Measures of agreement between two tracks of scores on the same bases.

Each measure is an inner product: `features` turns tracks into vectors, and the agreement of two
tracks is the sum over bases of the product of theirs. That makes the agreement at every circular
shift of one track a correlation, which the Fourier transform gives for all shifts at once.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from basewise.registry import component
from basewise.types import Floats

__all__ = ["Cosine", "RankCorrelation", "SignAgreement", "TopK", "TopRankCorrelation"]


@component
class RankCorrelation:
    """Spearman's rank correlation of the scores; equal scores share their mean rank."""

    of_signs: ClassVar[bool] = False

    def features(self, scores: Floats) -> Floats:
        """(n, b) of (n, b) tracks; NaN for a track of equal scores."""
        from scipy.stats import rankdata

        return _standard(rankdata(scores, axis=1))


@component
class TopRankCorrelation:
    """Top-down rank correlation of the absolute scores: the first places weigh most.

    The correlation of Savage scores, `1/i + 1/(i + 1) + ... + 1/b` for the base at place i of b
    (Iman & Conover 1987, Technometrics 29:351); equal scores share their mean.
    """

    of_signs: ClassVar[bool] = False

    def features(self, scores: Floats) -> Floats:
        """(n, b) of (n, b) tracks; NaN for a track of equal absolute scores."""
        from scipy.stats import rankdata

        b = scores.shape[1]
        savage = np.cumsum(1 / np.arange(b, 0, -1))[::-1]
        total = np.concatenate([[0.0], np.cumsum(savage)])
        first = rankdata(-np.abs(scores), "min", axis=1).astype(int)
        last = rankdata(-np.abs(scores), "max", axis=1).astype(int)
        return _standard((total[last] - total[first - 1]) / (last - first + 1))


@component
class TopK:
    """Share of the bases with the largest absolute scores that both tracks have in common.

    Bases equal at the edge are in the set by their share, as if drawn at random.

    Attributes
    ----------
    share : float
        Of the bases, in the set; at least one.
    """

    of_signs: ClassVar[bool] = False
    share: Annotated[float, Field(gt=0, le=1)] = 0.1

    def features(self, scores: Floats) -> Floats:
        """(n, b) of (n, b) tracks."""
        size = np.abs(scores)
        k = max(round(self.share * scores.shape[1]), 1)
        cut = -np.partition(-size, k - 1, axis=1)[:, k - 1 : k]
        above, tied = size > cut, size == cut
        room = (k - above.sum(1, keepdims=True)) / tied.sum(1, keepdims=True)
        return np.asarray((above + room * tied) / np.sqrt(k))


@component
class SignAgreement:
    """Share of bases with the same sign less the share with opposite signs; 0 is no sign."""

    of_signs: ClassVar[bool] = True

    def features(self, scores: Floats) -> Floats:
        """(n, b) of (n, b) tracks."""
        return np.asarray(np.sign(scores) / np.sqrt(scores.shape[1]))


@component
class Cosine:
    """Cosine of the tracks: agreement of the signs, each base weighted by both its scores."""

    of_signs: ClassVar[bool] = False

    def features(self, scores: Floats) -> Floats:
        """(n, b) of (n, b) tracks; NaN for a track of zeros."""
        return _unit(scores)


def _standard(values: Floats) -> Floats:
    centred = values - values.mean(1, keepdims=True)
    # What rounding leaves of equal values is no variation.
    centred[np.abs(centred) < 1e-12 * np.abs(values).max(initial=0)] = 0
    return _unit(centred)


def _unit(values: Floats) -> Floats:
    size = np.sqrt((values**2).sum(1, keepdims=True))
    found: Floats = np.divide(values, size, out=np.full(values.shape, np.nan), where=size > 0)
    return found
