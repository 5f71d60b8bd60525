"""What a model says of edited sequences: edits of many sequences, evaluated together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from basewise.biology.edits import Edits
from basewise.models.evaluator import Evaluator
from basewise.models.switchboards import spans_again, tokenised
from basewise.sequence.alphabet import N
from basewise.types import Codes, Floats, Ints, Record, Target

if TYPE_CHECKING:
    from torch import Tensor

    from basewise.models.model import Model

__all__ = ["changes"]

Progress = Callable[[int, int], None]


def changes(
    model: Model,
    target: Target,
    records: Sequence[Record],
    codes: Codes,
    edits: Edits,
    progress: Progress | None = None,
) -> Floats:
    """How much every edit changes the target, (k,), of sequences laid side by side, (n, b)."""
    from basewise.explainers.units import tokens_of

    if not len(edits):
        return np.zeros(0)
    row, start, words = edits.laid()
    order = np.argsort(row, kind="stable")
    ends = np.searchsorted(row[order], np.arange(len(records) + 1))
    change = np.empty(len(edits))
    evaluator = Evaluator(model, target)
    done, whole = 0, len(edits) + len(np.unique(row))
    for part in _parts(np.flatnonzero(np.diff(ends))):
        of_rows = [order[ends[r] : ends[r + 1]] for r in part]
        boards = [
            _Edited(
                codes[r, : len(records[r])],
                start[of],
                words[of],
                len(tokens_of(model, records[r])),
            )
            for r, of in zip(part, of_rows, strict=True)
        ]
        asked = [np.arange(-1, len(of)) for of in of_rows]
        for of, values in zip(
            of_rows, evaluator(list(zip(boards, asked, strict=True))), strict=True
        ):
            change[of] = values[1:] - values[0]
            done += len(values)
        if progress:
            progress(done, whole)
    return change


class _Edited:
    """Rows of one sequence with letters written over it: `Variants` of it for the evaluator."""

    draws = 1

    def __init__(self, codes: Codes, start: Ints, words: Codes, width: int):
        self._codes, self._start, self._words, self.width = codes, start, words, width

    def rows(self, asked: Ints, model: Model) -> tuple[Tensor, Tensor | None]:
        """Wishes are numbers of edits; -1 is the sequence as it is."""
        return tokenised(self._bases(asked), model)

    def spans(self, asked: Ints, model: Model) -> list[Ints]:
        return spans_again(self._bases(asked), model)

    def _bases(self, asked: Ints) -> Codes:
        rows = np.tile(self._codes, (len(asked), 1))
        edited = np.flatnonzero(asked >= 0)
        words = self._words[asked[edited]]
        at, column = np.nonzero(words < N)
        rows[edited[at], self._start[asked[edited]][at] + column] = words[at, column]
        return rows


def _parts(rows: Ints, size: int = 64) -> list[Ints]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]
