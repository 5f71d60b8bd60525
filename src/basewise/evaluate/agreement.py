"""Do explanations agree? Tracks of scores on the same bases, held against two nulls.

The tracks may be of several explainers, models, seeds or references: whatever gives a score to
every base of the same records.

**Two nulls**, because each is blind to what the other sees.

*Shifts.* Neighbouring bases have similar scores, so two unrelated tracks can agree by chance far
more than shuffled bases would. Turning one track round its sequence keeps it as it is, but for
its place: the agreements at all shifts are what chance gives. Per record all shifts are taken;
for the mean over records, each is shifted by itself, at random. Blind to a preference for
places: two models that look at the same region of every sequence, whatever stands there, agree.
Turning joins the two ends, and the seam makes shifted tracks a little rougher than the record's
own: where neighbours correlate with 0.5, 0.9 and 0.95, p is at most 0.05 for 4.5, 5.0 and 6.8 %
of unrelated pairs of 70 bases, 5.4, 5.4 and 6.5 % of 120, 5.1, 5.5 and 5.3 % of 300 (rank
correlation, 20,000 pairs each).

*Other records.* The first track of a record beside the second of another one of the same length,
at the same places, for a random dealing of the records: what the preference for places gives by
itself. Blind to nothing but records that resemble one another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from basewise.errors import DataError, UnknownName
from basewise.evaluate import AGREEMENTS
from basewise.stats import benjamini_hochberg, mean_interval
from basewise.types import Attribution, Bools, Floats, Ints

__all__ = [
    "AGREEMENT",
    "MINIMUM",
    "RECORD_AGREEMENT",
    "Agreement",
    "Tracks",
    "agree",
    "shifted",
    "tracks_of",
]

AGREEMENT = (
    "first",
    "second",
    "measure",
    "signed",
    "value",
    "low",
    "high",
    "n",
    "expected",
    "p",
    "q",
    "others",
    "p_others",
    "q_others",
    "beyond",
)
"""Columns of `Agreement.pooled`: one row per pair and measure. value is the mean over records
with its 95 % bootstrap interval, expected what circular shifts give, p the chance of as much
agreement or more, q corrected over all rows (Benjamini-Hochberg); others, p_others and q_others
the same of other records at the same places (NaN with fewer than `MINIMUM` records of a common
length); beyond the share of records whose own q is below 0.05; signed is False where one of the
two never scores below 0, so that absolute scores were compared."""

MINIMUM = 5
"""Records of a length that others have, too, behind the null of other records."""

RECORD_AGREEMENT = ("record_id", "first", "second", "measure", "value", "expected", "p", "q")
"""Columns of `Agreement.records`: one row per record, pair and measure; q is corrected over the
records of one pair and measure."""

MEASURES = tuple(AGREEMENTS.names())


class Agreement(NamedTuple):
    """Agreement of pairs of tracks: means over records (`AGREEMENT`), and each record by itself
    (`RECORD_AGREEMENT`)."""

    pooled: pd.DataFrame
    records: pd.DataFrame


class Tracks(NamedTuple):
    """Scores on bases of the records that all tracks have.

    Attributes
    ----------
    names : list of str
    ids : list of str
        Records, in the order of the first track.
    groups : list of (rows, scores)
        For each length of sequence: which records, (g,) int, and the scores of all tracks,
        (tracks, g, b).
    """

    names: list[str]
    ids: list[str]
    groups: list[tuple[Ints, Floats]]


def agree(
    tracks: Mapping[str, Sequence[Attribution]] | Tracks,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    measures: Iterable[Any] = MEASURES,
    draws: int = 999,
    resamples: int = 1000,
    seed: int = 0,
) -> Agreement:
    """How much every two tracks agree, against circular shifts of one and against other records.

    Parameters
    ----------
    tracks : mapping of str to sequence of Attribution
        Name -> attributions of the same records for the same class: by explainer, model, seed,
        reference. Scores are shared equally by the bases of a unit.
    pairs : iterable of (str, str), optional
        Which to compare; by default all.
    measures : iterable
        Names of measures, or measures with settings: `cosine`, `rank`, `sign`, `top_k`,
        `top_rank`.
    draws : int
        Of random shifts, and of dealings of the records, behind the p values of a mean.
    resamples : int
        Of the bootstrap over records behind its interval.
    seed : int

    Returns
    -------
    Agreement
        A record where a measure has no value (all scores equal) does not count towards it.

    Raises
    ------
    DataError
        If there are fewer than two tracks, no record that all have, or a record that differs in
        sequence or explained class, or a score is not finite.
    UnknownName
        If a pair names no track, or there is no such measure.
    """
    tracks = tracks if isinstance(tracks, Tracks) else tracks_of(tracks)
    chosen = list(itertools.combinations(tracks.names, 2) if pairs is None else pairs)
    for name in itertools.chain.from_iterable(chosen):
        if name not in tracks.names:
            raise UnknownName("track", name, tracks.names)
    signed = _signed(tracks)
    pooled: list[dict[str, Any]] = []
    records: list[pd.DataFrame] = []
    for measure in map(AGREEMENTS.build, measures):
        spectra = _Spectra(tracks, measure)
        label = AGREEMENTS.name_of(measure)
        for first, second in chosen:
            i, j = tracks.names.index(first), tracks.names.index(second)
            both = bool(signed[i] and signed[j])
            if measure.of_signs and not both:
                continue
            own, row = _compare(tracks, spectra, i, j, both, draws, resamples, seed)
            about = {"first": first, "second": second, "measure": label}
            records.append(own.assign(**about))
            pooled.append(about | {"signed": both} | row)
    table = pd.DataFrame(pooled, columns=[c for c in AGREEMENT if not c.startswith("q")])
    for q, p in (("q", "p"), ("q_others", "p_others")):
        table[q] = benjamini_hochberg(table[p].to_numpy(float))
    each = pd.concat(records, ignore_index=True) if records else pd.DataFrame()
    return Agreement(table[list(AGREEMENT)], each.reindex(columns=list(RECORD_AGREEMENT)))


def shifted(first: Floats, second: Floats) -> Floats:
    """Inner products of rows of features with every circular shift of others, (n, b).

    Column s is with `second` moved s bases to the left: `sum_i first[i] * second[i + s]`.
    """
    b = first.shape[-1]
    product = np.conj(np.fft.rfft(first)) * np.fft.rfft(second)
    return np.asarray(np.fft.irfft(product, b))


def tracks_of(found: Mapping[str, Sequence[Attribution]]) -> Tracks:
    """Scores on bases of the records that all have; see `agree`."""
    if len(found) < 2:
        raise DataError(f"Agreement needs at least two tracks; there is {len(found)}.")
    known = {name: {a.record_id: a for a in some} for name, some in found.items()}
    first = next(iter(known.values()))
    ids = [id for id in first if all(id in some for some in known.values())]
    if not ids:
        sizes = ", ".join(f"{name} ({len(some):,})" for name, some in known.items())
        raise DataError(
            f"No record is explained in all of the tracks {sizes}; explain the same records."
        )
    for name, some in known.items():
        for id in ids:
            _check_same(id, name, some[id], first[id])
    lengths = np.array([len(first[id].sequence) for id in ids])
    groups = []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        scores = [[some[ids[i]].per_base() for i in rows] for some in known.values()]
        groups.append((rows, np.array(scores)))
    return Tracks(list(known), ids, groups)


def _check_same(id: str, name: str, ours: Attribution, other: Attribution) -> None:
    if ours.sequence != other.sequence:
        raise DataError(f"Record {id!r} of {name} has another sequence than in the first track.")
    if ours.target.label != other.target.label:
        raise DataError(
            f"Record {id!r} of {name} is explained for {ours.target.label!r}, in the first track "
            f"for {other.target.label!r}; only explanations of one class can agree."
        )
    if not np.isfinite(ours.scores).all():
        unit = int(np.argmin(np.isfinite(ours.scores)))
        raise DataError(
            f"Record {id!r} of {name}: the score of unit {unit} is {ours.scores[unit]}; finite "
            "scores are needed."
        )


def _signed(tracks: Tracks) -> Bools:
    """Whether a track ever scores below 0, (tracks,)."""
    found: Bools = np.any([(scores < 0).any((1, 2)) for _, scores in tracks.groups], axis=0)
    return found


class _Spectra:
    """Fourier transforms of the features of every track, made when first asked for."""

    def __init__(self, tracks: Tracks, measure: Any):
        self._tracks, self._measure = tracks, measure
        self._made: dict[tuple[int, int, bool], np.ndarray] = {}

    def shifted(self, group: int, i: int, j: int, signed: bool) -> Floats:
        """Agreement of tracks i and j at every shift, (g, b)."""
        product = np.conj(self._of(group, i, signed)) * self._of(group, j, signed)
        return np.asarray(np.fft.irfft(product, self._tracks.groups[group][1].shape[2]))

    def between(self, group: int, i: int, j: int, signed: bool) -> Floats:
        """Agreement of track i of every record with track j of every other, (g, g)."""
        b = self._tracks.groups[group][1].shape[2]
        mine, theirs = (np.fft.irfft(self._of(group, each, signed), b) for each in (i, j))
        return np.asarray(mine @ theirs.T)

    def _of(self, group: int, i: int, signed: bool) -> np.ndarray:
        key = (group, i, signed)
        if key not in self._made:
            scores = self._tracks.groups[group][1][i]
            features = self._measure.features(scores if signed else np.abs(scores))
            self._made[key] = np.fft.rfft(features)
        return self._made[key]


def _compare(
    tracks: Tracks,
    spectra: _Spectra,
    i: int,
    j: int,
    signed: bool,
    draws: int,
    resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Two tracks by one measure: each record, and the mean over them."""
    n = len(tracks.ids)
    value, expected, p = np.full((3, n), np.nan)
    null, others = np.zeros((2, draws))
    apart, dealt = 0.0, 0  # the sum of what other records give, and of how many records
    rng = np.random.default_rng([seed, 5])
    deal = np.random.default_rng([seed, 11])
    for group, (rows, scores) in enumerate(tracks.groups):
        found = spectra.shifted(group, i, j, signed)
        known = ~np.isnan(found[:, 0])
        rows, found = rows[known], found[known]
        value[rows], expected[rows] = found[:, 0], found.mean(1).round(12)
        # Rounding must not make a shift better than an equal one.
        p[rows] = (found >= found[:, :1] - 1e-9).mean(1)
        shift = rng.integers(0, scores.shape[2], (draws, len(rows)))
        null += found[np.arange(len(rows)), shift].sum(1)
        if len(rows):
            between = spectra.between(group, i, j, signed)[np.ix_(known, known)]
            others += _dealt(between, draws, deal)
            if len(rows) > 1:
                apart += (between.sum() - np.trace(between)) / (len(rows) - 1)
                dealt += len(rows)
    known = ~np.isnan(value)
    q = benjamini_hochberg(p)
    own = pd.DataFrame(
        {"record_id": tracks.ids, "value": value, "expected": expected, "p": p, "q": q}
    )
    count = int(known.sum())
    if not count:
        names = ("value", "low", "high", "expected", "p", "others", "p_others", "beyond")
        return own, dict.fromkeys(names, np.nan) | {"n": 0}
    mean = float(value[known].mean())
    _, low, high, _ = mean_interval(value[known], np.random.default_rng([seed, 6]), resamples)
    return own, {
        "value": mean,
        "low": low,
        "high": high,
        "n": count,
        "expected": float(expected[known].mean()) + 0.0,
        "p": float((1 + (null / count >= mean - 1e-9).sum()) / (1 + draws)),
        "others": apart / dealt + 0.0 if dealt >= MINIMUM else np.nan,
        "p_others": float((1 + (others / count >= mean - 1e-9).sum()) / (1 + draws))
        if dealt >= MINIMUM
        else np.nan,
        "beyond": float((q[known] < 0.05).mean()),
    }


def _dealt(between: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """Sums over records when the second track of each is dealt out anew, (draws,)."""
    g = len(between)
    found = np.empty(draws)
    for draw in range(draws):  # one permutation at a time: (draws, g) would be large
        found[draw] = between[np.arange(g), rng.permutation(g)].sum()
    return found
