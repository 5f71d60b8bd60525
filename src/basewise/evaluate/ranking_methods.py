"""Ways to make one ranking of several: each token gets a place in each table, and a value.

Every method works in two steps on a matrix of tokens by tables. `places` looks down the
columns: what a token's score is worth within its own table (a deviation, a rank). `value` looks
along the rows: one number from a token's places. Because `value` knows nothing else, its null is
known too: places drawn independently, one from each table.

Letters of shapes: `t` tokens, `m` tables; a score that a table lacks is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from basewise.errors import ConfigError, DataError, nearest
from basewise.registry import component
from basewise.types import Bools, Floats

__all__ = ["Borda", "MeanDeviation", "ReciprocalRank", "RobustRank", "ranks"]


@component
class MeanDeviation:
    """The mean over tables of how far, in per cent, a score is from its table's mean.

    As published for tokens of Z-DNA models: in each table `100 * (score - mean) / mean`, and
    the value of a token is the mean of its deviations. It explodes where a mean is near zero,
    changes sign with it, and lets the vocabularies leak into the ranking; it is here so that
    published rankings can be made again.

    Attributes
    ----------
    lead : str
        The table whose tokens are ranked.
    missing : str
        `skip`: a table that lacks a token says nothing of it, and means are over the table's
        own tokens. `zero`: a table is first brought to the tokens of the lead table, the
        missing ones with score 0, which count in its mean.
    restrict : mapping of str to str
        `{"a": "b"}`: table a keeps the tokens that b has, before its mean is taken.
    """

    best: ClassVar[Literal["high", "low"]] = "high"
    lead: str
    missing: Literal["skip", "zero"] = "skip"
    restrict: dict[str, str] = Field(default_factory=dict)

    def rows(self, names: Sequence[str], scores: Floats) -> Bools:
        """Which tokens are ranked, (t,)."""
        for said in (self.lead, *self.restrict, *self.restrict.values()):
            if said not in names:
                what = "lead" if said == self.lead else "restrict"
                raise ConfigError(
                    f"{what} = {said!r} is none of the tables.{nearest(said, names)} "
                    f"They are {', '.join(names)}."
                )
        found: Bools = ~np.isnan(scores[:, list(names).index(self.lead)])
        return found

    def places(self, names: Sequence[str], scores: Floats) -> Floats:
        """Deviations in per cent, (t, m); NaN where a table is skipped."""
        rows, scores = self.rows(names, scores), scores.copy()
        for name, other in self.restrict.items():
            i, j = list(names).index(name), list(names).index(other)
            scores[np.isnan(scores[:, j]), i] = np.nan
        if self.missing == "zero":
            scores[~rows] = np.nan
            scores[rows] = np.nan_to_num(scores[rows])
        mean = np.nanmean(scores, axis=0, where=~np.isnan(scores))
        if not np.all(np.abs(mean) > 0):
            name = names[int(np.argmin(np.abs(np.nan_to_num(mean))))]
            raise DataError(
                f"The scores of table {name!r} have mean 0, so there is no deviation in per cent; "
                "rank by method='borda', which needs no mean."
            )
        return np.asarray(100 * (scores - mean) / mean)

    def value(self, places: Floats) -> Floats:
        """The mean of the deviations that are there, (...,) of (..., m)."""
        there = ~np.isnan(places)
        return np.asarray(np.where(there, places, 0).sum(-1) / there.sum(-1))


@component
class _Ranks:
    """What rankings by rank have in common.

    Attributes
    ----------
    missing : str
        `drop`: only tokens that every table has are ranked. `last`: all are, and a table that
        lacks a token puts it behind all others.
    """

    missing: Literal["drop", "last"] = "drop"

    def rows(self, names: Sequence[str], scores: Floats) -> Bools:
        """Which tokens are ranked, (t,)."""
        if self.missing == "last":
            return np.ones(len(scores), bool)
        return np.asarray(~np.isnan(scores).any(1))

    def _ranks(self, names: Sequence[str], scores: Floats) -> Floats:
        """Ranks among the tokens that are ranked, 1 for the highest score, (t, m)."""
        rows = self.rows(names, scores)
        found = np.full(scores.shape, np.nan)
        found[rows] = ranks(scores[rows])
        return found


@component
class Borda(_Ranks):
    """The mean over tables of the share of other tokens that a token stands before.

    1 is first everywhere, 0 last everywhere. Borda 1781 (Mémoire sur les élections au scrutin),
    scaled to [0, 1].
    """

    best: ClassVar[Literal["high", "low"]] = "high"

    def places(self, names: Sequence[str], scores: Floats) -> Floats:
        """Shares of the others that stand behind, (t, m)."""
        found = self._ranks(names, scores)
        ranked = int(self.rows(names, scores).sum())
        return np.asarray((ranked - found) / max(ranked - 1, 1))

    def value(self, places: Floats) -> Floats:
        """Their mean, (...,) of (..., m)."""
        return np.asarray(places.mean(-1))


@component
class ReciprocalRank(_Ranks):
    """The mean over tables of `1 / (k + rank)`.

    Reciprocal rank fusion (Cormack, Clarke & Buettcher 2009, SIGIR: 758), as a mean. The first
    places count most, the more so the smaller `k`.

    Attributes
    ----------
    k : float
        60 in the paper; 0 gives the mean reciprocal rank.
    """

    best: ClassVar[Literal["high", "low"]] = "high"
    k: Annotated[float, Field(ge=0)] = 60.0

    def places(self, names: Sequence[str], scores: Floats) -> Floats:
        """Reciprocals of the ranks, (t, m)."""
        return np.asarray(1 / (self.k + self._ranks(names, scores)))

    def value(self, places: Floats) -> Floats:
        """Their mean, (...,) of (..., m)."""
        return np.asarray(places.mean(-1))


@component
class RobustRank(_Ranks):
    """Robust rank aggregation: is a token ranked better than a random order would have it?

    Ranks are divided by the number of tokens and sorted, `r_1 <= ... <= r_m`. In random orders
    `r_k` has the distribution Beta(k, m - k + 1); the score rho is the smallest of these m
    probabilities times m, at most 1 (Kolde, Laur, Adler & Vilo 2012, Bioinformatics 28:573).
    Low is good, and a token that a few tables rank high is found although others do not.
    """

    best: ClassVar[Literal["high", "low"]] = "low"

    def places(self, names: Sequence[str], scores: Floats) -> Floats:
        """Ranks as shares of the number of tokens, (t, m)."""
        found = self._ranks(names, scores)
        return np.asarray(found / self.rows(names, scores).sum())

    def value(self, places: Floats) -> Floats:
        """The score rho, (...,) of (..., m)."""
        from scipy.special import betainc

        m = places.shape[-1]
        k = np.arange(1, m + 1)
        chance = betainc(k, m - k + 1, np.sort(places, axis=-1))
        return np.asarray(np.minimum(m * chance.min(-1), 1.0))


def ranks(scores: Floats) -> Floats:
    """Ranks down each column, 1 for the highest, equal scores their mean rank, (t, m).

    NaN ranks last: the number of rows.
    """
    from scipy.stats import rankdata

    there = ~np.isnan(scores)
    found = rankdata(np.where(there, -scores, np.inf), axis=0)
    return np.asarray(np.where(there, found, len(scores)), float)
