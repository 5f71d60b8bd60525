"""Words among the top tokens of each sequence: the counts and signs that studies publish, with
what they leave out.

A published reading takes the ten tokens of largest absolute score of every sequence and counts
those that hold a word, such as `TATA`, by sign and class. Three things go wrong there, and each
is measured here by itself:

* a count says nothing without what chance gives. The null turns the scores of each sequence
  round in a circle, which keeps their sizes and how they cluster, and lets them meet the tokens
  at any place. All turns are counted, so the p value is exact. (A word and a score that both
  keep to one place still meet: for that there are matched positions, in `biology.reliance`.)
* one score per token *string*: libraries that return a score for each different text give all
  occurrences in a sequence the score of one of them, here the last.
* the sign belongs to a class. Explaining the other of two classes turns every sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from basewise.errors import ConfigError, DataError
from basewise.evaluate.token_scores import MINIMUM_RECORDS
from basewise.stats import benjamini_hochberg, wilson
from basewise.types import Bools, Floats, Ints

__all__ = [
    "READINGS",
    "TOP_COUNTS",
    "TOP_SIGNS",
    "Pair",
    "Repeats",
    "Whole",
    "repeats",
    "same_signs",
    "top_counts",
    "top_signs",
    "whole_words",
]

TOP_COUNTS = (
    "token", "rank", "published", "count", "occurrences", "records", "expected", "effect", "low",
    "high", "p", "q",
)  # fmt: skip
"""Columns of `top_counts`.

token : its letters; empty in the row of all tokens that hold the word, together.
rank : place by the published count; NaN in the row of all.
published : in how many sequences the string is among the top, each string having the score of
    its last occurrence.
count : how many occurrences are among the top.
occurrences, records : in all, and in how many sequences.
expected : the count under the null; effect, low, high : count over expected, with its 95 %
    bootstrap interval over sequences.
p, q : two-sided and exact; q by Benjamini & Hochberg 1995 over the tokens of the table.
"""

TOP_SIGNS = (
    "reading", "label", "tokens", "positive", "negative", "share", "low", "high", "records",
    "others",
)  # fmt: skip
"""Columns of `top_signs`: the reading, the class of the sequences, top tokens that hold the word
and those of either sign, the positive share with its 95 % bootstrap interval over sequences (NaN
for few; Wilson's, of sequences, where all have one sign), sequences that have such a token, and
the positive share of all other top tokens."""

READINGS = ("by position", "last occurrence", "other class")
"""`by position`: every occurrence has its own score, for the class named. `last occurrence`: of
equal strings in a sequence the last one's score. `other class`: by position, for the other of
two classes, whose log-odds are the negative."""

_RESAMPLES = 1000
_LEAST = 1e-9  # of the largest score: what is less is rounding
_SMALLEST = 1e-12  # p value that sums in double precision can tell from nothing
_CELLS = 1 << 21


class Repeats(NamedTuple):
    """Occurrences of tokens; those with an equal, later one in their sequence; of these, those
    whose score has the other sign than that of the last."""

    occurrences: int
    repeated: int
    turned: int


class Pair(NamedTuple):
    """Tokens that two explanations both have among the top of enough sequences, and on how many
    the signs of their mean scores agree."""

    tokens: int
    same: int


class Whole(NamedTuple):
    """Places where the word stands in the sequences, and of these, inside one token."""

    places: int
    whole: int


def top_counts(
    frame: pd.DataFrame, word: str, *, top: int = 10, shown: int = 10, seed: int = 0
) -> pd.DataFrame:
    """How often tokens are among the top of their sequence, and how often chance has them there.

    Parameters
    ----------
    frame : DataFrame
        Occurrences of one model by one explainer.
    word : str
        Tokens are asked for that hold these letters.
    top : int
        Tokens per sequence that count: of largest absolute score, scores of 0 left out.
    shown : int
        The tokens of the largest published count that are tested too.
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        With the columns of `TOP_COUNTS`: all tokens with the word, then tokens by place.
    """
    table = _Table(frame, word, top)
    published = np.bincount(table.token[table.last_top], minlength=len(table.names))
    order = np.lexsort((table.names, -published))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    chosen = order[(published[order] > 0) & ((rank[order] <= shown) | table.holds[order])]
    masks = [table.of_word, *(table.token == i for i in chosen)]
    counts = np.stack([table.per_record(mask & table.top) for mask in masks], 1)
    sizes = np.stack([table.per_record(mask) for mask in masks], 1)
    expected = sizes * (table.per_record(table.top) / table.lengths)[:, None]
    ratio, low, high = _ratios(counts, expected, seed)
    p = [table.chance(mask) for mask in masks]
    found = pd.DataFrame(
        {
            "token": ["", *table.names[chosen]],
            "rank": [np.nan, *rank[chosen].astype(float)],
            "published": [
                int((table.last_top & table.of_word).sum()),
                *published[chosen].tolist(),
            ],
            "count": counts.sum(0).astype(np.int64),
            "occurrences": sizes.sum(0).astype(np.int64),
            "records": (sizes > 0).sum(0),
            "expected": expected.sum(0),
            "effect": ratio,
            "low": low,
            "high": high,
            "p": p,
        }
    )
    found["q"] = [np.nan, *benjamini_hochberg(p[1:])]
    return found[list(TOP_COUNTS)]


def top_signs(frame: pd.DataFrame, word: str, *, top: int = 10, seed: int = 0) -> pd.DataFrame:
    """Signs of the top tokens that hold a word, by class, under each of the `READINGS`.

    Parameters
    ----------
    frame, word, top, seed
        As for `top_counts`; the scores must have signs.

    Returns
    -------
    DataFrame
        With the columns of `TOP_SIGNS`, a row per reading and class.
    """
    table = _Table(frame, word, top)
    labels = frame["label"].astype(str).to_numpy()
    rows = []
    for reading in READINGS:
        among = table.last_top if reading == "last occurrence" else table.top
        positive = table.score > 0
        if reading == "other class":
            positive = table.score < 0
        for label in sorted(set(labels)):
            of_class = among & (labels == label)
            mine, others = of_class & table.of_word, of_class & ~table.of_word
            tokens, signs = table.per_record(mine), table.per_record(mine & positive)
            n, k = int(tokens.sum()), int(signs.sum())
            records = int((tokens > 0).sum())
            share, low, high = np.full(3, np.nan)
            if n:
                [share], [low], [high] = _ratios(signs[:, None], tokens[:, None], seed)
            if records < MINIMUM_RECORDS:
                low = high = np.nan
            elif k in (0, n):  # resamples of one sign say nothing of the other
                _, low, high, _ = wilson(records if k else 0, records)
            rest = int(others.sum())
            rest_share = int((others & positive).sum()) / rest if rest else np.nan
            rows.append((reading, label, n, k, n - k, share, low, high, records, rest_share))
    return pd.DataFrame(rows, columns=list(TOP_SIGNS))


def repeats(frame: pd.DataFrame) -> Repeats:
    """What one score per string would change: occurrences that would get another one's score."""
    table = _Table(frame, "", 1)
    last = table.score[table.last_of_string()]
    repeated = table.last_of_string() != np.arange(len(frame))
    turned = repeated & (np.sign(last) * np.sign(table.score) < 0)
    return Repeats(len(frame), int(repeated.sum()), int(turned.sum()))


def same_signs(first: pd.DataFrame, second: pd.DataFrame, *, top: int = 10) -> Pair:
    """On how many tokens two explanations of the same sequences agree in sign.

    Tokens count that are among the top in at least `MINIMUM_RECORDS` sequences of both; of each
    the mean over its occurrences among the top has the sign. Where one of the two had explained
    the other class, exactly the other tokens would agree.
    """
    means = []
    for frame in (first, second):
        table = _Table(frame, "", top)
        own = pd.DataFrame(
            {
                "token": table.names[table.token[table.top]],
                "score": table.score[table.top],
                "record": table.record[table.top],
            }
        ).groupby("token")
        means.append(own["score"].mean()[own["record"].nunique() >= MINIMUM_RECORDS])
    shared = means[0].index.intersection(means[1].index)
    product = np.sign(means[0][shared].to_numpy()) * np.sign(means[1][shared].to_numpy())
    return Pair(len(shared), int((product > 0).sum()))


def whole_words(frame: pd.DataFrame, word: str, sequences: Sequence[str]) -> Whole:
    """How many places of a word no border of tokens cuts.

    Parameters
    ----------
    frame : DataFrame
        Occurrences of tokens in the sequences.
    word : str
    sequences : sequence of str
        Those that `frame` is about.
    """
    places = sum(len(_starts(sequence, word)) for sequence in sequences)
    table = _Table(frame, word, 1)
    start = frame["start"].to_numpy(np.int64)
    found = []
    for i in np.flatnonzero(table.holds):
        rows = np.flatnonzero(table.token == i)
        found += [
            np.stack([table.record[rows], start[rows] + offset], 1)
            for offset in _starts(str(table.names[i]), word)
        ]
    return Whole(places, len(np.unique(np.concatenate(found), axis=0)) if found else 0)


def _starts(text: str, word: str) -> list[int]:
    """Where a word begins in a text; occurrences may overlap."""
    return [i for i in range(len(text) - len(word) + 1) if text.startswith(word, i)]


class _Table:
    """Occurrences as arrays, (m,), with their sequences, (n,)."""

    def __init__(self, frame: pd.DataFrame, word: str, top: int):
        if top < 1:
            raise ConfigError(f"top = {top}: at least 1 token per sequence is needed.")
        if frame.empty:
            raise DataError("There are no occurrences; explain some records first.")
        record, _ = pd.factorize(frame["record_id"])
        self.record: Ints = record.astype(np.int64)
        if (np.diff(self.record) < 0).any():
            raise DataError("The occurrences of a record stand apart; sort them by record.")
        token, names = pd.factorize(frame["token"].astype(str))
        self.token: Ints = token.astype(np.int64)
        self.names = np.asarray(names, object)
        self.score: Floats = frame["score"].to_numpy(float)
        self.lengths: Ints = np.bincount(self.record)
        self.holds: Bools = np.array([word in name for name in self.names])
        self.of_word: Bools = self.holds[self.token]
        self.top: Bools = self._top(np.arange(len(frame)), top)
        self.last_top: Bools = self._top(np.unique(self.last_of_string()), top)

    def last_of_string(self) -> Ints:
        """For each occurrence the last one of its string in its sequence, (m,)."""
        key = self.record * len(self.names) + self.token
        _, member = np.unique(key, return_inverse=True)
        last = np.zeros(member.max() + 1, np.int64)
        np.maximum.at(last, member, np.arange(len(key)))
        return last[member]

    def _top(self, rows: Ints, top: int) -> Bools:
        """Which occurrences are, of these rows, among the `top` of their sequence, (m,)."""
        size = np.abs(self.score)
        largest = np.zeros(len(self.lengths))
        np.maximum.at(largest, self.record, size)
        rows = rows[size[rows] > _LEAST * largest[self.record[rows]]]
        rows = rows[np.lexsort((rows, -size[rows], self.record[rows]))]
        sizes = np.bincount(self.record[rows], minlength=len(self.lengths))
        place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        found = np.zeros(len(size), bool)
        found[rows[place < top]] = True
        return found

    def per_record(self, mask: Bools) -> Floats:
        """How many of the occurrences chosen each sequence has, (n,)."""
        return np.bincount(self.record[mask], minlength=len(self.lengths)).astype(float)

    def chance(self, mask: Bools) -> float:
        """Two-sided p value of how many of the tokens chosen are among the top, when the scores
        of each sequence are turned round by every number of tokens."""
        observed = int((mask & self.top).sum())
        begins = np.cumsum(self.lengths) - self.lengths
        densities = []
        for length in np.unique(self.lengths):
            rows = begins[self.lengths == length][:, None] + np.arange(length)
            here = mask[rows].any(1) & self.top[rows].any(1)
            if here.any():
                densities.append(_turned(mask[rows[here]], self.top[rows[here]]))
        if not densities:
            return 1.0
        density = _sum_of(densities)
        tail = min(density[observed:].sum(), density[: observed + 1].sum())
        return float(np.clip(2 * tail, _SMALLEST, 1.0))


def _turned(chosen: Bools, top: Bools) -> Floats:
    """Distribution of how many chosen tokens are top when the marks of each row, (n, t), are
    turned by 0 to t - 1 places: (n, largest + 1)."""
    t = chosen.shape[1]
    product = np.fft.rfft(chosen.astype(float)) * np.conj(np.fft.rfft(top.astype(float)))
    met = np.rint(np.fft.irfft(product, t)).astype(np.int64)
    width = int(met.max()) + 1
    cells = np.arange(len(met))[:, None] * width + met
    counts = np.bincount(cells.ravel(), minlength=len(met) * width).reshape(-1, width)
    return np.asarray(counts / t, float)


def _sum_of(densities: Sequence[Floats]) -> Floats:
    """Distribution of the sum of independent counts, whose distributions are rows, (s,)."""
    size = 1 + sum(int((d > 0).cumsum(1).argmax(1).sum()) for d in densities)
    product = np.ones(size // 2 + 1, complex)
    for density in densities:
        part = max(_CELLS // size, 1)
        for begin in range(0, len(density), part):
            product *= np.fft.rfft(density[begin : begin + part], size, axis=1).prod(0)
    return np.maximum(np.fft.irfft(product, size), 0.0)


def _ratios(over: Floats, under: Floats, seed: int) -> tuple[Floats, Floats, Floats]:
    """Sums of columns, (n, k), divided, with a 95 % bootstrap interval over rows: (k,) each."""
    n = len(over)
    drawn = np.random.default_rng([seed, 3]).multinomial(n, np.full(n, 1 / n), _RESAMPLES)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = over.sum(0) / under.sum(0)
        every = (drawn @ over) / (drawn @ under)
        every[~np.isfinite(every)] = np.nan
        empty = np.isnan(every).all(0)
        every[:, empty] = 0.0
        low, high = np.nanquantile(every, [0.025, 0.975], axis=0)
    low[empty], high[empty] = np.nan, np.nan
    return ratio, low, high
