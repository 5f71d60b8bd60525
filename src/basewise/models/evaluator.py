"""The packed evaluator: rows of many sequences, switched on the device, in batches that fill it.

Forward passes are the whole cost of explaining. A *switchboard* says how the rows of one
sequence are made from which units are present; the evaluator strings the rows of many
switchboards together, cuts them into batches of a token budget and reads the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from basewise.errors import DataError
from basewise.models.batch import BatchSize, borrowed, join
from basewise.models.reading import read
from basewise.models.switchboards import Variants
from basewise.types import Floats, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Evaluator", "check_finite"]

Asked = Sequence[tuple[Variants, NDArray[Any]]]


class Evaluator:
    """Reads one target of one model over rows made by switchboards.

    The values of a record do not depend on the size of the batches beyond rounding; a model
    with `batch_tokens` set fixes it, and with it the last bit.

    Parameters
    ----------
    model : Model
    target : Target

    Raises
    ------
    DataError
        If the model gives a value that is no finite number.
    """

    def __init__(self, model: Model, target: Target):
        self.model, self.target = model, target
        self.size = BatchSize.of(model)
        self._index = target.index(model.labels)

    def __call__(self, asked: Asked) -> list[Floats]:
        """Values averaged over draws, (n,), for each pair of a board and n wishes."""
        return [values.mean(1) for values in self.by_draw(asked)]

    def by_draw(self, asked: Asked) -> list[Floats]:
        """Values of every draw, (n, draws), for each pair of a board and n wishes."""
        found = [np.empty((len(wishes), board.draws)) for board, wishes in asked]
        order = sorted(range(len(asked)), key=lambda i: asked[i][0].width)
        with borrowed(self.model.network):
            queue = [_Piece(i, 0, len(asked[i][1])) for i in order if len(asked[i][1])]
            while queue:
                queue = self._batch(asked, found, queue)
        return found

    def _batch(
        self,
        asked: Asked,
        found: list[Floats],
        queue: list[_Piece],
    ) -> list[_Piece]:
        """Evaluate as much of the queue as fits one batch; return what is left."""
        taken, rest, tokens = _take(asked, queue, self.size.tokens, self.model.pads)
        wishes = sum(piece.stop - piece.start for piece in taken)
        work = partial(self._fill, found, asked, taken)
        return rest if self.size.attempt(work, tokens, wishes > 1) else queue

    def _fill(
        self,
        found: list[Floats],
        asked: Asked,
        taken: Sequence[_Piece],
    ) -> None:
        """Put the values of all pieces where they belong."""
        values, at = self._values(asked, taken), 0
        for piece in taken:
            some = found[piece.board][piece.start : piece.stop]
            some[:] = values[at : at + some.size].reshape(some.shape)
            at += some.size

    def _values(self, asked: Asked, taken: Sequence[_Piece]) -> Floats:
        """The target, (n,), at the rows of all pieces."""
        parts = [asked[i][0].rows(asked[i][1][a:b], self.model) for i, a, b in taken]
        raw = self.model.outputs_of(join(parts, self.model.tokenizer.pad_id))
        value = read(raw, self._index, self.target.read, self.model.outputs)
        values = np.asarray(value.double().cpu().numpy())
        check_finite(values, self.model, self.target)
        return values


def check_finite(values: Floats, model: Model, target: Target) -> None:
    """Refuse values of the target, (n,), that are no numbers.

    Raises
    ------
    DataError
        Saying which model gave what.
    """
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)]
        raise DataError(
            f"{model.name} gives {bad[0]} as the {target} for {len(bad)} of {len(values)} "
            "sequences; only finite numbers can be explained."
        )


class _Piece(NamedTuple):
    """What is asked of one board, from `start` to `stop`."""

    board: int
    start: int
    stop: int


def _take(
    asked: Asked,
    queue: list[_Piece],
    budget: int,
    mixed: bool,
) -> tuple[list[_Piece], list[_Piece], int]:
    """The head of the queue that fits the budget (at least one wish), the rest, the tokens.

    A batch is as wide as its longest row; the queue is sorted by width. Rows of several
    widths share a batch only where they may be `mixed`, and where less than half of it would
    be left: padding and its mask cost more than a few batches more.
    """
    taken: list[_Piece] = []
    rows = tokens = 0
    for at, (i, start, stop) in enumerate(queue):
        board = asked[i][0]
        wider = taken and board.width != asked[taken[0].board][0].width
        if wider and (not mixed or 2 * tokens >= budget):
            return taken, queue[at:], tokens
        room = budget // board.width - rows
        fits = min(stop - start, max(room // board.draws, 0 if taken else 1))
        if fits:
            taken.append(_Piece(i, start, start + fits))
            rows += fits * board.draws
            tokens = rows * board.width
        if fits < stop - start:
            return taken, [_Piece(i, start + fits, stop), *queue[at + 1 :]], tokens
    return taken, [], tokens
