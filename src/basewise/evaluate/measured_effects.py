"""Do scores agree with measured effects of mutations?

**The null.** Scores of neighbouring bases are alike, and so are effects, so some correlation
comes by itself. Turning the scores round the sequence keeps them as they are, but for their
place: the correlations at all other shifts are what chance gives. Whether scores find the right
*bases* is asked beyond how smooth both are.

**The interval.** Stretches of ten bases are drawn again with all their variants (block
bootstrap), since those of one position, and of its neighbours, do not err by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.sequence.alphabet import N, encode
from basewise.stats import benjamini_hochberg, bootstrap
from basewise.types import Attribution, Floats

if TYPE_CHECKING:
    from basewise.data.saturation import Saturation

__all__ = ["AGAINST", "FEWEST", "MEASURED", "compare_with_measured", "losses", "rank_of_effects"]

MEASURED = (
    "record_id", "method", "against", "value", "low", "high", "n", "expected", "p", "q",
)  # fmt: skip
"""Columns of `compare_with_measured`: Spearman's correlation with its 95 % interval, of `n`
values; expected is its mean over all circular shifts, p the share of them that give as much or
more, q corrected over all rows."""

AGAINST: Mapping[str, str] = {
    "substitutions": "hypothetical scores of every substitution with its effect",
    "positions": "score of a base with the mean loss when it is substituted",
    "magnitudes": "absolute score of a base with the mean absolute effect of its substitutions",
    "deletions": "score of a base with the loss when it is deleted",
}
"""What is compared with what."""

FEWEST = 20  # values behind a correlation
BLOCK = 10  # bases drawn together


def losses(measured: Saturation) -> Floats:
    """What substitutions of a base take away on average, (b,); NaN where none was measured."""
    return -_mean(measured.effects)


def rank_of_effects(
    scores: Floats, effects: Floats, seed: int = 0, resamples: int = 500
) -> dict[str, float]:
    """Spearman's correlation of scores with measured effects, against circular shifts.

    Parameters
    ----------
    scores, effects : (b, c) float
        Of c variants at each of b positions; NaN where there is none. Where scores are turned
        round, columns stay.

    Returns
    -------
    dict
        `value`, `low`, `high`, `n`, `expected`, `p`; NaN where fewer than `FEWEST` values are
        known, or all are equal.
    """
    from scipy.stats import rankdata

    known = np.isfinite(scores) & np.isfinite(effects)
    n = int(known.sum())
    nothing = dict.fromkeys(("value", "low", "high", "expected", "p"), np.nan)
    if n < FEWEST:
        return nothing | {"n": n}

    def spearman(a: Floats, b: Floats) -> float:
        first, second = (rankdata(x) - (len(x) + 1) / 2 for x in (a, b))
        size = np.sqrt((first @ first) * (second @ second))
        return float(first @ second / size) if size > 0 else np.nan

    if not np.isfinite(spearman(scores[known], effects[known])):
        return nothing | {"n": n}
    block = np.broadcast_to(np.arange(len(scores))[:, None] // BLOCK, scores.shape)[known]
    found = bootstrap(
        spearman,
        scores[known],
        effects[known],
        rng=np.random.default_rng(seed),
        resamples=resamples,
        clusters=block,
    )
    shifts = np.full(len(scores), np.nan)
    shifts[0] = found.value
    for shift in range(1, len(scores)):
        turned = np.roll(scores, shift, axis=0)
        both = np.isfinite(turned) & np.isfinite(effects)
        if both.sum() >= FEWEST:
            shifts[shift] = spearman(turned[both], effects[both])
    shifts = shifts[np.isfinite(shifts)]
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "n": n,
        "expected": float(shifts.mean()),
        "p": float((shifts >= found.value - 1e-9).mean()),
    }


def compare_with_measured(
    found: Sequence[Attribution], measured: Mapping[str, Saturation], *, seed: int = 0
) -> pd.DataFrame:
    """Rank correlation of attributions with the measured effects of mutations.

    Hypothetical scores, where there are any (in-silico mutagenesis, gradients of one-hot
    networks), are compared substitution by substitution: the score of the new base less that of
    the old. Scores on bases say what the base that is there adds, so they are compared with what
    its substitutions take away.

    Parameters
    ----------
    found : sequence of Attribution
        Of the wild types, `Saturation.record`.
    measured : mapping of str to Saturation
        By the id of the record; see `basewise.data.saturation.read_saturation`.

    Returns
    -------
    DataFrame
        With the columns of `MEASURED`: for each attribution a row per entry of `AGAINST` that
        can be compared.

    Raises
    ------
    DataError
        If an attribution is of no measured element, or of another sequence.
    """
    rows: list[dict[str, Any]] = []
    for attribution in found:
        name = attribution.record_id
        if name not in measured:
            raise DataError(
                f"There is an attribution of {name!r}, but no measured element of that name; "
                f"there are {', '.join(sorted(measured)) or 'none'}."
            )
        if attribution.sequence != measured[name].record.sequence:
            raise DataError(
                f"The attribution of {name!r} is of another sequence than its wild type."
            )
        for against, (scores, effects) in _pairs(attribution, measured[name]).items():
            about = {"record_id": name, "method": attribution.method, "against": against}
            rows.append(about | rank_of_effects(scores, effects, seed))
    table = pd.DataFrame(rows, columns=[c for c in MEASURED if c != "q"])
    table["q"] = benjamini_hochberg(table["p"].to_numpy(float))
    return table[list(MEASURED)]


def _pairs(a: Attribution, measured: Saturation) -> dict[str, tuple[Floats, Floats]]:
    """Scores and effects, (b, c) each, by what is compared."""
    track = a.per_base()[:, None]
    size = _mean(np.abs(measured.effects))
    pairs = {
        "positions": (track, losses(measured)[:, None]),
        "magnitudes": (np.abs(track), size[:, None]),
        "deletions": (track, -measured.deletions[:, None]),
    }
    if a.hypothetical is None:
        return pairs
    codes = encode(a.sequence)
    there = np.take_along_axis(a.hypothetical, np.minimum(codes, N - 1)[:, None].astype(int), 1)
    change = np.where((codes < N)[:, None], a.hypothetical - there, np.nan)
    return {"substitutions": (change, measured.effects)} | pairs


def _mean(values: Floats) -> Floats:
    """Means of rows, (b,), over what is known; NaN where nothing is."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(1)
    found: Floats = np.full(len(values), np.nan)
    np.divide(total, known.sum(1), out=found, where=known.any(1))
    return found
