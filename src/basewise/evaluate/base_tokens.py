"""Tokens by what a model of bases makes of them: the table of occurrences of a labelled data set.

Every token of every record is one occurrence, labelled or not and called or not, by the rule that
makes labels of bases labels of tokens. `token_ratios` of it gives each token's true-positive
ratio and what has to stand beside that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.evaluate.occurrences import OUTCOMES, Encoder
from basewise.evaluate.token_tables import canonical_tokens
from basewise.tokenize.labelling import Labelling
from basewise.types import Bools, Floats, Ints, Record

__all__ = ["token_outcomes"]


def token_outcomes(
    records: Sequence[Record],
    truth: Sequence[Bools],
    called: Sequence[Bools],
    scores: Sequence[Floats],
    words: Encoder | int,
    labelling: Labelling,
) -> pd.DataFrame:
    """Every token of every record, with what it is and what it was taken for.

    Parameters
    ----------
    records : n records
    truth, called : n arrays, (b,) each
        Which bases have the label, and which are called.
    scores : n arrays, (b,) each
        Probabilities.
    words : tokenizer or int
        What the tokens are: those of a tokenizer, or every k-mer of this length.
    labelling : Labelling
        From which share of its bases on a token counts as labelled, or as called.

    Returns
    -------
    DataFrame
        `record_id, start, end, token, kmer, score` (mean probability of its bases), `outcome`
        (TP, FP, FN, TN). Tokens with an unknown base are left out.

    Raises
    ------
    DataError
        If there are no records, or no token is left.
    """
    parts = []
    for record, true, call, score in zip(records, truth, called, scores, strict=True):
        spans = _spans(record, words)
        spans = spans[spans[:, 1] > spans[:, 0]]
        if not len(spans):
            continue
        is_true, is_called = (
            labelling.to_tokens(flags.astype(np.int64), spans, 0) == 1 for flags in (true, call)
        )
        total = np.append(0.0, np.cumsum(score))
        part = {
            "record_id": record.id,
            "start": spans[:, 0],
            "end": spans[:, 1],
            "token": [record.sequence[a:b] for a, b in spans.tolist()],
            "score": (total[spans[:, 1]] - total[spans[:, 0]]) / (spans[:, 1] - spans[:, 0]),
            "outcome": np.select(
                [is_true & is_called, is_called, is_true], OUTCOMES[:3], OUTCOMES[3]
            ),
        }
        parts.append(pd.DataFrame(part))
    if not parts:
        raise DataError(f"{len(records)} records have no token; give longer ones.")
    found = pd.concat(parts, ignore_index=True)
    found = found[~found["token"].str.contains("N")].reset_index(drop=True)
    names = pd.Categorical(found["token"])
    canonical = np.array(canonical_tokens([str(name) for name in names.categories]), object)
    found.insert(4, "kmer", canonical[names.codes])
    return found


def _spans(record: Record, words: Encoder | int) -> Ints:
    if not isinstance(words, int):
        return words.encode(record.sequence).spans
    start = np.arange(max(len(record.sequence) - words + 1, 0))
    return np.column_stack([start, start + words])
