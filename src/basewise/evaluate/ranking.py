"""One ranking of tokens from several tables of scores, with chance and stability beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.evaluate import RANKINGS
from basewise.evaluate.token_tables import canonical_table, token_table
from basewise.registry import settings_of
from basewise.stats import benjamini_hochberg
from basewise.store import read_frame, write_frame
from basewise.types import Floats

__all__ = ["RANKING", "Ranking", "rank_tokens", "read_ranking", "resampled_ranks"]

RANKING = ("rank", "token", "value", "p", "q", "rank_low", "rank_high", "tables")
"""Columns of `Ranking.table`; after them `score: <name>` and `count: <name>` of each table."""

ENUMERATED = 1_000_000  # combinations of places up to which the null is exact
_DRAWS = 200_000  # beyond


@dataclass(frozen=True, eq=False)
class Ranking:
    """Tokens in order, the best first.

    Attributes
    ----------
    table : DataFrame
        rank (1 is best; equal values share their mean rank), token, value (what the method
        gives), p (chance of a value at least as good when every table is in random order), q
        (Benjamini-Hochberg over tokens), rank_low and rank_high (smallest and largest rank when
        one table is left out; NaN for a single table), tables (how many have the token); then
        for each table `score: <name>` and `count: <name>`.
    method : str
    settings : mapping
        Of the method.
    best : str
        Whether a `high` or a `low` value is good.
    """

    table: pd.DataFrame
    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    best: str = "high"

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        first = ", ".join(self.table["token"].head(3))
        return f"Ranking({self.method}, {len(self)} tokens: {first}, ...)"

    def _repr_html_(self) -> str:
        return str(self.table.head(20).to_html(index=False, float_format="{:.4g}".format))

    def to_parquet(self, path: str | Path) -> None:
        """Write the table, with method and settings, as one Parquet file."""
        table = self.table.copy()
        table.attrs = {"method": self.method, "settings": dict(self.settings), "best": self.best}
        write_frame(Path(path), table, "ranking")


def rank_tokens(
    tables: Mapping[str, pd.DataFrame],
    method: str = "borda",
    *,
    both_strands: bool = False,
    seed: int = 0,
    **settings: Any,
) -> Ranking:
    """Rank tokens by what several tables say of them.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Name -> one row per token with `token`, `score` and, if known, `count`; high scores are
        first. Other names of columns are understood, see `token_tables.ALIASES`.
    method : str
        `borda`, `reciprocal_rank`, `robust_rank` or `mean_deviation`.
    both_strands : bool
        Put a token and its reverse complement into one row first, and leave special tokens out.
    seed : int
        Of the null where it is sampled.
    **settings
        Of the method: `missing` (`drop` or `last`) for the rankings by rank; `lead`, `missing`
        (`skip` or `zero`) and `restrict` for `mean_deviation`.

    Returns
    -------
    Ranking
        p values are exact up to a million combinations of places (two tables of 1,000 tokens),
        and sampled beyond. They say whether the tables agree on a token more than independent
        orders would, not whether the token matters.

    Raises
    ------
    DataError
        If a table lacks a column, holds a token twice or a number that is not finite, or the
        tables have no token in common.
    ConfigError
        For an unknown method or setting, or a lead table that is none of the tables.

    Examples
    --------
    >>> import pandas as pd
    >>> tp = pd.DataFrame({"token": ["CGCG", "TATA"], "score": [0.6, 0.2], "count": [30, 12]})
    >>> ig = pd.DataFrame({"token": ["CGCG", "GGGG"], "score": [0.9, 0.3], "count": [9, 4]})
    >>> found = rank_tokens({"tp": tp, "ig": ig}, "mean_deviation", lead="tp", missing="skip")
    >>> found.table[["token", "value"]].round(3).values.tolist()
    [['CGCG', 50.0], ['TATA', -50.0]]
    """
    chosen = RANKINGS.build({"type": method, **settings})
    if not tables:
        raise DataError("There is no table to rank by; give at least one.")
    read = canonical_table if both_strands else token_table
    frames = {
        name: read(frame, f"Table {name!r}").set_index("token") for name, frame in tables.items()
    }
    names = list(frames)
    scores = pd.concat({name: frame["score"] for name, frame in frames.items()}, axis=1, sort=False)
    counts = pd.concat({name: frame["count"] for name, frame in frames.items()}, axis=1, sort=False)
    matrix = scores.to_numpy(float)
    rows = chosen.rows(names, matrix)
    _check_common(names, matrix, rows)
    places = chosen.places(names, matrix)[rows]
    value = chosen.value(places)
    sign = 1.0 if chosen.best == "high" else -1.0
    p = _chance(chosen, places, value, sign, np.random.default_rng([seed, 3]))
    low, high = _left_out(chosen, places, sign)
    table = pd.DataFrame(
        {
            "rank": _order(value, sign),
            "token": scores.index.to_numpy(object)[rows],
            "value": value,
            "p": p,
            "q": benjamini_hochberg(p),
            "rank_low": low,
            "rank_high": high,
            "tables": (~np.isnan(matrix[rows])).sum(1),
        }
    )
    for name in names:
        table[f"score: {name}"] = scores[name].to_numpy(float)[rows]
        table[f"count: {name}"] = counts[name].to_numpy(float)[rows]
    table = table.sort_values("rank", kind="stable", ignore_index=True)
    said = settings_of(chosen) | {"both_strands": both_strands, "seed": seed}
    return Ranking(table, method, said, chosen.best)


def resampled_ranks(
    method: str, resamples: Mapping[str, Floats], *, level: float = 0.95, **settings: Any
) -> tuple[Floats, Floats]:
    """How far ranks move when the records behind every table are drawn again.

    Parameters
    ----------
    method : str
    resamples : mapping of str to (r, t) float
        Name -> scores of the same tokens in r resamples; see `occurrences.resampled_means`.
    level : float
        Of the interval.
    **settings
        Of the method.

    Returns
    -------
    low, high : (t,) float
        Percentile interval of each token's rank.
    """
    chosen = RANKINGS.build({"type": method, **settings})
    names = list(resamples)
    sign = 1.0 if chosen.best == "high" else -1.0
    stacked = np.stack([resamples[name] for name in names], axis=-1)
    found = np.stack(
        [_order(chosen.value(chosen.places(names, scores)), sign) for scores in stacked]
    )
    tail = (1 - level) / 2
    low, high = np.nanquantile(found, [tail, 1 - tail], axis=0)
    return low, high


def read_ranking(path: str | Path) -> Ranking:
    """The ranking that `Ranking.to_parquet` wrote.

    Raises
    ------
    StoreError
        If the file is missing or holds something else.
    """
    frame = read_frame(Path(path), "ranking")
    said, frame.attrs = frame.attrs, {}
    return Ranking(frame, said["method"], said["settings"], said["best"])


def _check_common(names: Sequence[str], scores: Floats, rows: np.ndarray) -> None:
    """Refuse tables that say nothing of each other's tokens."""
    there = ~np.isnan(scores)
    shared = (there & (there.sum(1) > 1)[:, None]).any(0) | (len(names) == 1)
    if rows.any() and shared.all() and there[rows].any(0).all():
        return
    sizes = ", ".join(f"{name} ({n:,})" for name, n in zip(names, there.sum(0), strict=True))
    if shared.all():
        raise DataError(
            f"No token is in all of the tables {sizes}; rank by missing='last', or leave a table "
            "out."
        )
    alone = names[int(np.argmin(shared))]
    raise DataError(
        f"Table {alone!r} has no token in common with the others, of {sizes}; were the same "
        "letters, case and tokenizer used?"
    )


def _order(value: Floats, sign: float) -> Floats:
    """Ranks of the values, 1 for the best, ties their mean, NaN where there is no value."""
    from scipy.stats import rankdata

    # Equal places added in another order differ in the last digit; they are a tie all the same.
    rounded = np.array([np.float64(f"{v:.12g}") for v in value])
    return np.asarray(rankdata(-sign * rounded, nan_policy="omit"))


def _chance(
    method: Any, places: Floats, value: Floats, sign: float, rng: np.random.Generator
) -> Floats:
    """p of every value, (t,): places drawn independently from the columns of its own pattern.

    Tokens that the same tables have form a pattern; a missing place stays missing.
    """
    there = ~np.isnan(places)
    patterns, member = np.unique(there, axis=0, return_inverse=True)
    found = np.empty(len(places))
    for i, pattern in enumerate(patterns):
        own = np.flatnonzero(member.ravel() == i)
        columns = [places[there[:, j], j] if has else [np.nan] for j, has in enumerate(pattern)]
        total = np.prod([float(len(column)) for column in columns])
        if exact := total <= ENUMERATED:
            drawn = np.stack(np.meshgrid(*columns, indexing="ij"), -1).reshape(-1, len(columns))
        else:
            drawn = np.column_stack([rng.choice(column, _DRAWS) for column in columns])
        null = np.sort(-sign * method.value(drawn))
        edge = -sign * value[own]
        edge += 1e-9 * np.abs(edge)  # as good as, whatever the order of the sum
        better = np.searchsorted(null, edge, side="right")
        found[own] = better / len(null) if exact else (1 + better) / (1 + len(null))
    return found


def _left_out(method: Any, places: Floats, sign: float) -> tuple[Floats, Floats]:
    """The smallest and largest rank of every token when one table is left out, (t,) each."""
    m = places.shape[1]
    if m == 1:
        nothing = np.full(len(places), np.nan)
        return nothing, nothing.copy()
    with np.errstate(invalid="ignore"):  # a token that only the table left out has
        found = np.stack(
            [_order(method.value(np.delete(places, j, axis=1)), sign) for j in range(m)]
        )
    low, high = np.fmin.reduce(found), np.fmax.reduce(found)
    return np.asarray(low), np.asarray(high)
