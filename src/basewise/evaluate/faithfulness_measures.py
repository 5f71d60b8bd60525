"""Measures of faithfulness, as arithmetic on one sequence: orders, rows to ask for, areas.

An *order* ranks the bases of a sequence, the one with the highest score first. *Deletion* hides
bases in that order, *insertion* shows them in that order where all else is hidden.
"""

from __future__ import annotations

import numpy as np

from basewise.evaluate.agreement_measures import RankCorrelation
from basewise.types import Bools, Floats, Ints

__all__ = [
    "area",
    "deleted",
    "infidelity",
    "inserted",
    "places",
    "rank_correlation",
    "unexplained",
    "window_sums",
]


def places(scores: Floats, rng: np.random.Generator) -> Ints:
    """The place of every base, (b,), 0 for the highest score; equal scores in random order."""
    shuffled = rng.permutation(len(scores))
    order = shuffled[np.argsort(-scores[shuffled], kind="stable")]
    found = np.empty(len(scores), np.int64)
    found[order] = np.arange(len(scores))
    return found


def deleted(place: Ints, counts: Ints) -> Bools:
    """Which bases are present, (k, b), when the first of the order are hidden, `counts` (k,)."""
    return np.asarray(place >= counts[:, None])


def inserted(place: Ints, counts: Ints) -> Bools:
    """Which bases are present, (k, b), when only the first of the order are, `counts` (k,)."""
    return np.asarray(place < counts[:, None])


def area(counts: Ints, values: Floats) -> float:
    """Area under values, (k,), over the share of bases, by trapezoids.

    Where `counts` run from none to all of the bases it is the mean height of the curve, in units
    of the values.
    """
    return float(np.trapezoid(values, counts / counts[-1]))


def infidelity(said: Floats, found: Floats) -> float:
    """Mean squared error of what scores say perturbations take away, (m,), against what they do.

    Yeh et al. 2019 (NeurIPS), equation 1, where a perturbation hides some bases: what the
    scores say is their sum over these.
    """
    return float(np.mean((said - found) ** 2))


def unexplained(said: Floats, found: Floats) -> float:
    """The infidelity at the best positive scale of the scores, as a share of that of no scores.

    Between 0 (proportional) and 1 (nothing in common, or the other way round); NaN where
    nothing that was hidden changed anything.
    """
    own, cross, whole = float(said @ said), max(float(said @ found), 0.0), float(found @ found)
    if whole == 0:
        return float("nan")
    return 1 - (cross**2 / own if own > 0 else 0.0) / whole


def window_sums(scores: Floats, starts: Ints, width: int) -> Floats:
    """Sums of the scores, (b,), over windows from each start, (m,)."""
    total = np.concatenate([[0.0], np.cumsum(scores)])
    return np.asarray(total[starts + width] - total[starts])


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's of two tracks, (b,); 0 where one has equal scores, and so no order."""
    features = RankCorrelation().features(np.stack([first, second]))
    found = float(features[0] @ features[1])
    return 0.0 if np.isnan(found) else found
