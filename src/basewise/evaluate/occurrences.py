"""The tidy table of occurrences: one row per token of a sequence; everything else is a group-by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from basewise.errors import ConfigError, DataError
from basewise.evaluate.token_tables import canonical_tokens
from basewise.sequence.alphabet import decode_rows, encode
from basewise.store import read_frame, write_frame
from basewise.types import Attribution, Ints, Tokens

__all__ = ["OCCURRENCES", "OUTCOMES", "occurrences", "read_occurrences", "write_occurrences"]

OCCURRENCES = (
    "record_id",
    "start",
    "end",
    "token",
    "kmer",
    "score",
    "label",
    "predicted",
    "outcome",
    "model",
    "explainer",
)
"""Columns: where the token stands (0-based, half-open), its letters, the same or its reverse
complement, whichever comes first (`kmer`), the sum of the scores of its bases, the class of the
record and the one predicted, what that makes of the record with regard to the class explained,
and what was explained by what."""

OUTCOMES = ("TP", "FP", "FN", "TN")
_TEXT = ("record_id", "token", "kmer", "label", "predicted", "outcome", "model", "explainer")


class Encoder(Protocol):
    """What says which tokens a sequence has: any tokenizer."""

    def encode(self, sequence: str) -> Tokens: ...


def occurrences(
    found: Sequence[Attribution],
    predictions: pd.DataFrame,
    *,
    words: Encoder | int | None = None,
    explainer: str | None = None,
) -> pd.DataFrame:
    """Every occurrence of every token in the explained sequences, with its score.

    Parameters
    ----------
    found : sequence of Attribution
        Of one model, target and explainer.
    predictions : DataFrame
        record_id, label, predicted; one row for each record explained, more do no harm.
    words : tokenizer, int or None
        What the tokens are: those of a tokenizer, every k-mer of this length (they overlap), or
        the units that were explained. Tokens that cover no base or an unknown one are left out.
    explainer : str, optional
        Its name in the table; by default the method of the attributions.

    Returns
    -------
    DataFrame
        With the columns of `OCCURRENCES`, in the order of `found` and then of position; texts
        are categorical. Scores are sums over the bases of the token, a unit's score being
        shared equally by its bases, so overlapping tokens count a base more than once.

    Raises
    ------
    DataError
        If there is no attribution, they are of several models, targets or methods, or a record
        has no prediction.
    ConfigError
        If k is less than 1.
    """
    _check(found)
    spans = [_spans(attribution, words) for attribution in found]
    sizes = np.array([len(span) for span in spans])
    row = np.repeat(np.arange(len(found)), sizes)
    start, end = np.concatenate(spans).T
    lengths = np.array([len(attribution.sequence) for attribution in found])
    offset = (np.cumsum(lengths) - lengths)[row]
    codes = np.concatenate([encode(attribution.sequence) for attribution in found])
    # One running sum over all sequences; a token's score is the difference of two of its values.
    track = np.concatenate([attribution.per_base() for attribution in found])
    total = np.concatenate([[0.0], np.cumsum(track)])
    unknown = np.concatenate([[0], np.cumsum(codes > 3)])
    keep = (end > start) & (unknown[offset + end] == unknown[offset + start])
    row, start, end, offset = row[keep], start[keep], end[keep], offset[keep]
    names, token = _letters(codes, offset + start, end - start)
    about = _of_records(found, predictions)
    canonical, kmer = np.unique(np.array(canonical_tokens(names), object), return_inverse=True)
    columns = {
        "record_id": _text(row, [a.record_id for a in found]),
        "start": start,
        "end": end,
        "token": _text(token, names),
        "kmer": _text(kmer[token], canonical.tolist()),
        "score": total[offset + end] - total[offset + start],
        **{name: about[name].take(row) for name in ("label", "predicted", "outcome")},
        "model": _text(np.zeros_like(row), [found[0].model]),
        "explainer": _text(np.zeros_like(row), [explainer or found[0].method]),
    }
    return pd.DataFrame(columns)[list(OCCURRENCES)]


def write_occurrences(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table of occurrences as one Parquet file, whole or not at all."""
    missing = [column for column in OCCURRENCES if column not in frame.columns]
    if missing:
        raise DataError(
            f"The table has no column {missing[0]!r}; occurrences have {', '.join(OCCURRENCES)}."
        )
    write_frame(Path(path), frame[list(OCCURRENCES)], "occurrences")


def read_occurrences(path: str | Path) -> pd.DataFrame:
    """The table that `write_occurrences` wrote.

    Raises
    ------
    StoreError
        If the file is missing or holds something else.
    """
    frame = read_frame(Path(path), "occurrences")
    return frame.astype(dict.fromkeys(_TEXT, "category"))


def _text(codes: Ints, names: list[str]) -> Any:
    """A column of text, each name kept once."""
    return pd.Categorical.from_codes(codes.astype(np.int64), pd.Index(names, dtype=object))


def _check(found: Sequence[Attribution]) -> None:
    if not found:
        raise DataError("There are no attributions; explain some records first.")
    said = {
        "models": [a.model for a in found],
        "targets": [str(replace(a.target, where=None)) for a in found],
        "methods": [a.method for a in found],
    }
    for what, each in said.items():
        names = sorted(set(each))
        if len(names) > 1:
            raise DataError(
                f"The attributions are of {len(names)} {what} ({', '.join(names)}); "
                "make one table of each and put them together."
            )
    ids = [attribution.record_id for attribution in found]
    if len(set(ids)) < len(ids):
        twice = next(id for id in ids if ids.count(id) > 1)
        raise DataError(f"Record {twice!r} has two attributions; give one per record.")


def _spans(attribution: Attribution, words: Encoder | int | None) -> Ints:
    if words is None:
        return attribution.spans
    if not isinstance(words, int):
        return words.encode(attribution.sequence).spans
    if words < 1:
        raise ConfigError(f"words = {words}: a k-mer has at least 1 base.")
    start = np.arange(max(len(attribution.sequence) - words + 1, 0))
    return np.column_stack([start, start + words])


def _letters(codes: np.ndarray, start: Ints, lengths: Ints) -> tuple[list[str], Ints]:
    """The different texts of stretches, sorted, and which of them each stretch is, (m,)."""
    texts: list[str] = []
    which = np.zeros(len(start), np.int64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        letters = codes[start[rows, None] + np.arange(length)]
        # Rows as opaque bytes sort much faster than rows as columns.
        packed = np.ascontiguousarray(letters).view(f"V{length}").ravel()
        different, member = np.unique(packed, return_inverse=True)
        which[rows] = len(texts) + member
        texts += decode_rows(different.view(np.uint8).reshape(-1, length))
    order = np.argsort(texts)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return [texts[i] for i in order], place[which] if len(order) else which


def _of_records(found: Sequence[Attribution], predictions: pd.DataFrame) -> dict[str, Any]:
    """label, predicted and outcome of every record explained, as categoricals, in its order."""
    for column in ("record_id", "label", "predicted"):
        if column not in predictions.columns:
            raise DataError(
                f"The predictions have no column {column!r}; they have "
                f"{', '.join(map(str, predictions.columns)) or 'none'}."
            )
    known = predictions.drop_duplicates("record_id").set_index("record_id")
    ids = [attribution.record_id for attribution in found]
    place = known.index.get_indexer(pd.Index(ids))
    if (place < 0).any():
        raise DataError(
            f"Record {ids[int(np.argmin(place))]!r} is explained but has no prediction; "
            "predict the records that you explain."
        )
    rows = known.iloc[place]
    target = found[0].target.label
    truly, called = (rows["label"] == target).to_numpy(), (rows["predicted"] == target).to_numpy()
    outcome = np.select([truly & called, called, truly], OUTCOMES[:3], OUTCOMES[3])
    return {
        "label": pd.Categorical(rows["label"].astype(str)),
        "predicted": pd.Categorical(rows["predicted"].astype(str)),
        "outcome": pd.Categorical(outcome, categories=list(OUTCOMES)),
    }
