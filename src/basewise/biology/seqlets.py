"""Seqlets: contiguous stretches of high attribution, each with a p value.

The cluster-mass test of brain imaging on a track of scores (Bullmore et al. 1999, IEEE Trans Med
Imaging 18:32; Maris & Oostenveld 2007, J Neurosci Methods 164:177): bases above a threshold that
stand together, small gaps allowed, are a candidate; its mass is the sum of its scores; the masses
of candidates of null tracks say how large a mass chance makes. Every candidate is one test, so
their q values (Benjamini & Hochberg) control the share of false seqlets among those called.

Two nulls:

* *permuted units* (the default, free of cost): the scores of a sequence are dealt out anew among
  its units, which keeps their sizes and destroys their neighbourhood. A seqlet then says that high
  scores stand together more than chance places them. Explainers that smear a score over
  neighbours (smooth gradients) make them stand together by themselves, which this null cannot see.
* *given attributions* (`null=`): of sequences without motifs, such as dinucleotide shuffles
  explained in the same way. This is the stronger null, at the price of explaining them.

Scores are taken in units of their record's root mean square, positive and negative ones apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.stats import benjamini_hochberg, random_numbers
from basewise.types import Attribution, Bools, Floats, Ints

__all__ = ["SEQLETS", "call_seqlets"]

SEQLETS = ("record_id", "start", "end", "sequence", "score", "p", "q")
"""Columns of a table of seqlets, one row each, ordered by record and start.

record_id, sequence : str; start, end : int, 0-based half-open; score : sum of the attribution of
its bases, in units of the target, negative for a stretch that speaks against it; p : probability
that a candidate of the null has so large a mass; q : by Benjamini & Hochberg over all candidates.
"""

MINIMUM_NULL = 1000
"""Fewest candidates of the null that p values are read from; fewer cannot give small ones."""


def call_seqlets(
    found: Sequence[Attribution],
    *,
    null: Sequence[Attribution] | None = None,
    level: float = 0.05,
    threshold: float = 1.0,
    gap: int = 1,
    draws: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Stretches of attribution that chance does not explain.

    Parameters
    ----------
    found : sequence of Attribution
        Of one model, target and method, of sequences of any lengths.
    null : sequence of Attribution, optional
        Of sequences without motifs, made in the same way.
    level : float
        Seqlets with a q value of at most this are in the table; 1 shows every candidate.
    threshold : float
        A base belongs to a candidate when its score is beyond so many root mean squares of the
        scores of its record.
    gap : int
        So many bases below the threshold may lie inside a candidate, next to each other.
    draws : int
        Permuted tracks per record, where no null is given.
    seed : int
        The permutations of a record depend on it and the record's id alone.

    Returns
    -------
    DataFrame
        With the columns of `SEQLETS`.

    Raises
    ------
    DataError
        If there are no attributions, they are not of the same model, target and method as the
        null, a setting is out of range, or the null has fewer than `MINIMUM_NULL` candidates.
    """
    _check(found, null, level, threshold, gap, draws)
    track, start, end, mass = _candidates([a.per_base() for a in found], threshold, gap)
    if null is None:
        tracks = [
            permuted
            for a in found
            for permuted in _permuted(a, draws, random_numbers(seed, a.record_id, "seqlets"))
        ]
        given = "raise draws, or explain more records"
    else:
        tracks = [a.per_base() for a in null]
        given = "give more attributions as null"
    chance = _candidates(tracks, threshold, gap)[3]
    p = np.ones(len(mass))
    for sign in (1, -1):
        own, other = mass * sign > 0, chance[chance * sign > 0] * sign
        if own.any() and len(other) < MINIMUM_NULL:
            raise DataError(
                f"p values of seqlets need {MINIMUM_NULL:,} candidates of the null; there are "
                f"{len(other):,} {'positive' if sign > 0 else 'negative'} ones: {given}."
            )
        other.sort()
        above = len(other) - np.searchsorted(other, mass[own] * sign * (1 - 1e-9))
        p[own] = (1 + above) / (1 + len(other))
    q = benjamini_hochberg(p)
    kept = np.flatnonzero(q <= level)
    total = [np.concatenate([[0.0], np.cumsum(a.per_base())]) for a in found]
    at = list(zip(track[kept].tolist(), start[kept].tolist(), end[kept].tolist(), strict=True))
    return pd.DataFrame(
        {
            "record_id": pd.Series([found[i].record_id for i, _, _ in at], dtype=str),
            "start": start[kept],
            "end": end[kept],
            "sequence": pd.Series([found[i].sequence[s:e] for i, s, e in at], dtype=str),
            "score": np.array([total[i][e] - total[i][s] for i, s, e in at], float),
            "p": p[kept],
            "q": q[kept],
        },
        columns=list(SEQLETS),
    )


def _candidates(
    tracks: Sequence[Floats], threshold: float, gap: int
) -> tuple[Ints, Ints, Ints, Floats]:
    """Track, start, end and mass of every candidate of either sign, in order of their place.

    Tracks are laid end to end, further apart than a candidate's gaps.
    """
    apart = np.zeros(gap + 1)
    sizes = np.array([len(track) for track in tracks], np.int64)
    first = np.cumsum(np.concatenate([[0], sizes + len(apart)]))[:-1]
    laid = np.concatenate([part for track in tracks for part in (_scaled(track), apart)])
    total = np.concatenate([[0.0], np.cumsum(laid)])
    start, end = np.concatenate([_runs(sign * laid >= threshold, gap) for sign in (1, -1)], axis=1)
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    track = np.searchsorted(first, start, side="right") - 1
    return track, start - first[track], end - first[track], total[end] - total[start]


def _runs(high: Bools, gap: int) -> Ints:
    """Starts and ends of runs of high bases, (2, r), those `gap` bases apart or less as one."""
    edge = np.diff(np.concatenate([[0], high.view(np.int8), [0]]))
    start, end = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    if not len(start):
        return np.zeros((2, 0), np.int64)
    far = start[1:] - end[:-1] > gap
    return np.stack([start[np.concatenate([[True], far])], end[np.concatenate([far, [True]])]])


def _scaled(track: Floats) -> Floats:
    size = float(np.sqrt((track**2).mean())) if len(track) else 0.0
    return track / size if size > 0 else track


def _permuted(found: Attribution, draws: int, rng: np.random.Generator) -> Floats:
    """Tracks with the scores dealt out anew among the units, (draws, b).

    Runs of equal bases are the units, as they lie on the bases: what overlaps is taken as it adds
    up. A unit keeps its size, so wide ones may stand anywhere.
    """
    track = found.per_base()
    edges = np.unique(np.concatenate([[0, len(track)], found.spans.ravel()]))
    value, length = track[edges[:-1]], np.diff(edges)
    order = rng.permuted(np.tile(np.arange(len(value)), (draws, 1)), axis=1)
    return np.repeat(value[order].ravel(), length[order].ravel()).reshape(draws, -1)


def _check(
    found: Sequence[Attribution],
    null: Sequence[Attribution] | None,
    level: float,
    threshold: float,
    gap: int,
    draws: int,
) -> None:
    if not found:
        raise DataError("There are no attributions; explain some records first.")
    every = [*found, *(null or ())]
    for what, of in (("models", "model"), ("targets", "target"), ("methods", "method")):
        names = sorted({str(getattr(attribution, of)) for attribution in every})
        if len(names) > 1:
            raise DataError(
                f"The attributions are of {len(names)} {what} ({', '.join(names)}); "
                "ask about one at a time."
            )
    for name, value, holds, allowed in (
        ("level", level, 0 < level <= 1, "a share above 0, at most 1"),
        ("threshold", threshold, threshold > 0, "above 0"),
        ("gap", gap, gap >= 0, "0 or more"),
        ("draws", draws, draws >= 1, "1 or more"),
    ):
        if not holds:
            raise DataError(f"{name} is {value}; it must be {allowed}.")
