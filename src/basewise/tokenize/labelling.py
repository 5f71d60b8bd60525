"""Labels of bases to labels of tokens, and what is predicted for tokens back to bases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from basewise.errors import DataError, UnknownName
from basewise.registry import component
from basewise.tokenize.base import Tokenizer
from basewise.types import BACKGROUND, Bools, Floats, Ints, Record

__all__ = ["IGNORED", "Labelling", "label_bases", "runs", "spans_of"]

IGNORED = -100  # a label that counts neither in a loss nor in a metric
_EQUAL = 1e-9


@component
class Labelling:
    """How labels of bases and labels of tokens become each other.

    Both rules are in the literature: tokens of byte pairs by the share of their bases, above or
    from a threshold on; overlapping k-mers by their first base (Z-DNABERT; Umerenkov et al.
    2023). Special tokens have no label.

    Attributes
    ----------
    rule : {"share", "first"}
        share: a token has the label that most of its bases have, if their share passes the
        threshold, else `background`; a base is predicted the mean of the tokens that cover it.
        first: a token has the label of its first base, and a base is predicted what the last
        token that begins there or before it is, if that token covers it.
    threshold : float
        Share of its bases, 0 to 1.
    comparison : {">", ">="}
        Whether a share passes that is above the threshold, or one that is equal too.
    """

    rule: Literal["share", "first"] = "share"
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    comparison: Literal[">", ">="] = ">"

    @model_validator(mode="after")
    def _something_passes(self) -> Labelling:
        if (self.threshold, self.comparison) in ((0, ">="), (1, ">")):
            which = "every" if self.threshold == 0 else "no"
            other = ">" if self.threshold == 0 else ">="
            raise ValueError(
                f"threshold = {self.threshold:g} with {self.comparison!r} labels {which} token; "
                f"write comparison = {other!r}"
            )
        return self

    def to_tokens(self, labels: Ints, spans: Ints, background: int) -> Ints:
        """The label of every token.

        Parameters
        ----------
        labels : (..., b) int
            Of bases: positions among the names.
        spans : (t, 2) int
            The bases of each token.
        background : int
            The label of a token none of whose labels passes.

        Returns
        -------
        (..., t) int
            -100 for tokens that cover no base.
        """
        starts, ends = spans.T
        found = np.full((*labels.shape[:-1], len(spans)), background)
        if self.rule == "first":
            found[...] = labels[..., np.minimum(starts, labels.shape[-1] - 1)]
        else:
            length = np.maximum(ends - starts, 1)
            most = np.zeros(found.shape, np.int64)
            for label in np.unique(labels[labels != background]).tolist():
                summed = np.zeros((*labels.shape[:-1], labels.shape[-1] + 1), np.int64)
                np.cumsum(labels == label, axis=-1, out=summed[..., 1:])
                n = summed[..., ends] - summed[..., starts]
                # As counts, and not by the last bit: 7 of 50 is 0.14.
                beyond = n - self.threshold * length
                passes = beyond > -_EQUAL if self.comparison == ">=" else beyond > _EQUAL
                chosen = passes & (n > most)
                found[chosen] = label
                most[chosen] = n[chosen]
        found[..., starts == ends] = IGNORED
        return found

    def to_bases(self, values: Floats, spans: Ints, b: int) -> Floats:
        """What is predicted at every base.

        Parameters
        ----------
        values : (..., t, k) float
            Of tokens.
        spans : (t, 2) int
            In order of their starts, which differ.
        b : int
            Bases of the sequence.

        Returns
        -------
        (..., b, k) float
            NaN at bases that no token covers.
        """
        covering = np.flatnonzero(spans[:, 1] > spans[:, 0])
        (starts, ends), values = spans[covering].T, values[..., covering, :]
        if self.rule == "first" or (starts[1:] >= ends[:-1]).all():
            token = np.searchsorted(starts, np.arange(b), side="right") - 1
            found = values[..., np.maximum(token, 0), :]
            found[..., (token < 0) | (np.arange(b) >= ends[token]), :] = np.nan
            return np.asarray(found)
        summed = np.zeros((*values.shape[:-2], b, values.shape[-1]))
        count = np.zeros(b)
        for shift in range(int((ends - starts).max())):
            reaches = starts + shift < ends
            summed[..., starts[reaches] + shift, :] += values[..., reaches, :]
            count[starts[reaches] + shift] += 1
        with np.errstate(invalid="ignore"):
            return np.asarray(summed / count[:, None])

    def weights(self, spans: Ints, start: int, end: int) -> Floats:
        """What every token counts in the mean over the bases of a region, (t,); they sum to 1.

        The mean of `to_bases` over the bases is the sum of the tokens' values by these weights.

        Raises
        ------
        DataError
            If no token covers a base of the region.
        """
        at = np.arange(start, end)
        covering = np.flatnonzero(spans[:, 1] > spans[:, 0])
        starts, ends = spans[covering].T
        found = np.zeros(len(spans))
        if self.rule == "first":
            last = np.searchsorted(starts, at, side="right") - 1
            _check_covered(at, (last >= 0) & (at < ends[last]))
            found[covering] = np.bincount(last, minlength=len(covering))
        else:
            edges = np.zeros(max(int(ends.max(initial=0)), end) + 1, np.int64)
            np.add.at(edges, starts, 1)
            np.add.at(edges, ends, -1)
            tokens = np.cumsum(edges)[start:end]
            _check_covered(at, tokens > 0)
            shares = np.append(0, np.cumsum(1 / tokens))
            first, stop = (np.clip(each - start, 0, len(at)) for each in (starts, ends))
            found[covering] = shares[stop] - shares[first]
        return found / len(at)


def _check_covered(at: Ints, covered: Bools) -> None:
    if not covered.all():
        base = int(at[np.argmin(covered)])
        raise DataError(f"No token covers base {base}, so nothing is predicted there.")


def label_bases(records: Sequence[Record], labels: Sequence[str]) -> Ints:
    """The label of every base of records of one length, (n, b): positions among `labels`.

    A base in a stretch of a record's truth has the label that names the stretch, every other
    one is `background`.

    Raises
    ------
    UnknownName
        If `labels` lacks `background` or the name of a stretch.
    DataError
        If a stretch reaches beyond its record or overlaps one of another name.
    """
    place = {label: i for i, label in enumerate(labels)}
    if BACKGROUND not in place:
        raise UnknownName("label for bases in no stretch", BACKGROUND, labels)
    found = np.full((len(records), len(records[0].sequence)), place[BACKGROUND])
    for row, record in zip(found, records, strict=True):
        for start, end, name in record.truth:
            if name not in place:
                raise UnknownName("label of this model", name, labels)
            if not 0 <= start < end <= len(row):
                raise DataError(
                    f"Record {record.id!r}: the stretch {start}-{end} ({name}) is not within its "
                    f"{len(row)} bases."
                )
            here = row[start:end]
            if ((here != place[BACKGROUND]) & (here != place[name])).any():
                raise DataError(
                    f"Record {record.id!r}: the stretch {start}-{end} ({name}) overlaps one of "
                    "another label; a base has one label."
                )
            here[:] = place[name]
    return found


def runs(flags: Bools) -> Ints:
    """The stretches of flags, (b,), that are set, (m, 2): starts and ends, ascending."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def spans_of(tokenizer: Tokenizer, sequences: Sequence[str]) -> list[Ints]:
    """The bases of every token, (t, 2), of sequences of one length."""
    if tokenizer.frame_safe_n:  # frames that no letter moves: one for all
        return [tokenizer.encode(sequences[0]).spans] * len(sequences)
    return [tokenizer.encode(sequence).spans for sequence in sequences]
