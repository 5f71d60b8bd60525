"""Do scores spell the motif? Which of the four bases they rank highest at its positions.

A planted motif has a true base at every position. Scores are four to a position: those of the
base that is there, with 0 for the three others; or, where an explainer gives them, hypothetical
ones, what each base would have scored. The match is the share of motif positions at which the
true base is the highest. Ties are settled as if broken at random (their expected value).

With scores of the bases that are there, the true base is the highest wherever its score is above
0: chance alone gives a half if signs are random, and everything if scores are magnitudes. So the
chance level is measured beside it, on bases of the same sequence that are in no motif. With
hypothetical scores it is a quarter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.sequence.alphabet import encode
from basewise.types import Attribution, Bools, Codes, Floats, Record

__all__ = ["HYPOTHETICAL_CHANCE", "SPELLING", "highest", "spell"]

HYPOTHETICAL_CHANCE = 0.25

SPELLING = ("record_id", "positions", "match", "match_chance", "hypothetical_match")
"""Columns of `spell`: one row per attribution. `match_chance` is the match of the bases outside of
all motifs with themselves, NaN where there are none; `hypothetical_match` is NaN where an explainer
has no hypothetical scores, and its chance is `HYPOTHETICAL_CHANCE`."""


def highest(scores: Floats, true: Codes) -> Floats:
    """Whether the true base is the highest, (m,); `1 / k` where it is one of k that tie.

    Parameters
    ----------
    scores : (m, 4) float
    true : (m,) codes
    """
    best = scores == scores.max(1, keepdims=True)
    return np.asarray(best[np.arange(len(true)), true] / best.sum(1))


def spell(
    records: Sequence[Record], found: Sequence[Attribution], motifs: Mapping[str, str]
) -> pd.DataFrame:
    """How much of the planted motifs attributions spell, with the columns of `SPELLING`.

    Parameters
    ----------
    records : sequence of Record
        With motifs as truth.
    found : sequence of Attribution
        Of these records, in their order.
    motifs : mapping
        Letters of each motif, by the name that truth gives it.

    Raises
    ------
    DataError
        If a record has no attribution, or a stretch of its truth is no motif of that length.
    """
    if [record.id for record in records] != [a.record_id for a in found]:
        raise DataError(
            f"Motifs need one attribution per record, in the same order; there are "
            f"{len(records)} records and {len(found)} attributions."
        )
    rows = []
    for record, a in zip(records, found, strict=True):
        true, inside = _true(record, motifs)
        there = encode(record.sequence)
        single = np.zeros((len(there), 4))
        single[np.arange(len(there)), there] = a.per_base()
        outside = highest(single[~inside], there[~inside])
        rows.append(
            (
                record.id,
                int(inside.sum()),
                _mean(highest(single[inside], true[inside])),
                _mean(outside),
                _mean(highest(a.hypothetical[inside], true[inside]))
                if a.hypothetical is not None
                else np.nan,
            )
        )
    return pd.DataFrame(rows, columns=list(SPELLING))


def _true(record: Record, motifs: Mapping[str, str]) -> tuple[Codes, Bools]:
    """The true base of every position, (b,), and which positions have one."""
    true = np.zeros(len(record), np.uint8)
    inside = np.zeros(len(record), bool)
    for span in record.truth:
        letters = motifs.get(span.name, "")
        if len(letters) != span.end - span.start:
            raise DataError(
                f"Record {record.id!r} has {span.name!r} at {span.start}-{span.end}; motifs of "
                f"that name have {len(letters)} bases."
            )
        true[span.start : span.end] = encode(letters)
        inside[span.start : span.end] = True
    return true, inside


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")
