"""How much an explanation depends on what the sequence was compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from basewise.errors import DataError
from basewise.types import Attribution, Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TOP", "disagreement", "sensitivity"]

TOP = 10  # units of largest score, which are the story
COLUMNS = [
    "references",
    "rank_correlation",
    "lowest_rank_correlation",
    "lowest_top_overlap",
    "lowest_sign_agreement",
    "relative_spread",
]


def disagreement(scores: Floats) -> dict[str, float]:
    """What the scores (m, u) from m references say of each other; nothing if there is one.

    Returns
    -------
    dict
        `references`, m. `rank_correlation` and `lowest_rank_correlation`: the mean and the least
        Spearman correlation of any two references; absent where one gives all units the same
        score. `lowest_top_overlap`: the least share, over any two, of the `TOP` units of largest
        score that both have in common (with fewer than twice as many units, of half of them).
        `lowest_sign_agreement`: the least share, over any two, of the `TOP` units with the largest
        mean scores to which both give the same sign. `relative_spread`: the standard
        deviation over references, averaged over units, as a share of the mean magnitude of the
        mean scores; absent where they are all 0.
    """
    from scipy.stats import rankdata

    m = len(scores)
    if m < 2:
        return {}
    found = {"references": float(m)}
    first, second = np.triu_indices(m, 1)
    ranks = rankdata(scores, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    lengths = np.sqrt((ranks**2).sum(1))
    if lengths.all():
        correlations = (ranks @ ranks.T / np.outer(lengths, lengths))[first, second]
        found["rank_correlation"] = float(correlations.mean())
        found["lowest_rank_correlation"] = float(correlations.min())
    mean, k = scores.mean(0), max(min(TOP, scores.shape[1] // 2), 1)
    largest = np.zeros(scores.shape)
    np.put_along_axis(largest, _largest(scores)[:, :k], 1.0, axis=1)
    found["lowest_top_overlap"] = float((largest @ largest.T / k)[first, second].min())
    signs = np.sign(scores[:, _largest(mean)[:TOP]])
    found["lowest_sign_agreement"] = float((signs[first] == signs[second]).mean(1).min())
    if mean.any():
        found["relative_spread"] = float(scores.std(0, ddof=1).mean() / np.abs(mean).mean())
    return found


def _largest(scores: Floats) -> Ints:
    """Places by falling magnitude, (..., u); of equal ones the first first."""
    return np.argsort(-np.abs(scores), axis=-1, kind="stable")


def sensitivity(
    found: Sequence[Attribution], overlap: float = 0.5, signs: float = 0.8
) -> pd.DataFrame:
    """How much each explanation depends on its reference.

    The story of a sequence is told by its largest scores, so these are what is judged; over all
    bases, references disagree on the order of what is near zero. Of few units, half of the largest
    may be shared by chance: of 4, by five of six pairs of random scores.

    The spread of one base over references is `standard_error * sqrt(references)`.

    Parameters
    ----------
    found : sequence of Attribution
        By `integrated_gradients` or `deep_lift` from several references.
    overlap, signs : float
        The story of a sequence changes with the reference if its lowest overlap of largest
        scores, or its lowest agreement of signs, is below.

    Returns
    -------
    DataFrame
        `record_id, model, method`, the numbers of `disagreement` (NaN where one is absent), and
        `changes`, whether the story changes; a row per attribution, in their order.

    Raises
    ------
    DataError
        Naming a record that was explained from one reference, or before what is asked here was
        kept.
    """
    import pandas as pd

    for a in found:
        if "references" not in a.extras:
            raise DataError(
                f"Record {a.record_id!r} was explained by {a.method} from one reference, which "
                "says nothing of others; give several, such as reference=['zero', 'shuffled']."
            )
        if "lowest_top_overlap" not in a.extras:
            raise DataError(
                f"Record {a.record_id!r} was explained by an earlier version, which compared no "
                "largest scores of references; explain it again."
            )
    said = [{"record_id": a.record_id, "model": a.model, "method": a.method} for a in found]
    numbers = pd.DataFrame([a.extras for a in found], columns=COLUMNS, dtype=float)
    table = pd.concat(
        [pd.DataFrame(said, columns=["record_id", "model", "method"]), numbers], axis=1
    )
    table["references"] = table["references"].astype(int)
    shared, agreed = table["lowest_top_overlap"], table["lowest_sign_agreement"]
    return table.assign(changes=(shared < overlap) | (agreed < signs))
