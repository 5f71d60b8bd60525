"""The packed evaluator: rows of many sequences, switched on the device, in batches that fill it.

Forward passes are the whole cost of explaining. A *switchboard* says how the rows of one
sequence are made from which units are present; the evaluator strings the rows of many
switchboards together, cuts them into batches of a token budget and reads the target.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from basewise.errors import CapabilityError, DataError
from basewise.models.batch import borrowed, few_widths, join
from basewise.models.network import Network
from basewise.models.onehot import OneHotNetwork
from basewise.models.precision import (
    Comparison,
    compared,
    comparing,
    forget_halves,
    halved,
    known,
    remember,
)
from basewise.models.switchboards import Switchboard, Variants
from basewise.types import Floats, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["SAMPLE", "Evaluator", "check_finite", "sample"]

Asked = Sequence[tuple[Variants, NDArray[Any]]]

SAMPLE = 8  # rows of a sequence, of two sequences, on which precisions are compared


class Evaluator:
    """Reads one target of one model over rows made by switchboards.

    The values of a record do not depend on the size of the batches beyond rounding; a model
    with `batch_tokens` set fixes it, and with it the last bit. A model with `precision` set to
    `auto` is evaluated in bfloat16 where that is sound for the rows that are asked for first.

    Parameters
    ----------
    model : Model
    target : Target
    question : hashable or None
        What is going to be asked (`precision.question_of`): the precision found sound for it
        holds for later evaluators of the same question, until the weights change.

    Raises
    ------
    DataError
        If the model gives a value that is no finite number.
    """

    def __init__(self, model: Model, target: Target, question: Hashable = None):
        self.model, self.target, self._question = model, target, question
        self.size = model.batch_size()
        self.undecided = model.precision != "full"
        self.comparison: Comparison | None = None
        self._full = model
        # How long rows other networks take is not known, unless they say so.
        own = isinstance(model.network, Network | OneHotNetwork)
        self._longest = model.longest if own else model.longest or 0
        self._stepped = False  # whether rows of few widths are made of what is asked for now
        if self.undecided and question is not None:
            self.comparison = known(model.network, self._key)
            if self.comparison is not None:
                self._choose()

    def __call__(self, asked: Asked) -> list[Floats]:
        """Values averaged over draws, (n,), for each pair of a board and n wishes."""
        return [values.mean(1) for values in self.by_draw(asked)]

    def by_draw(self, asked: Asked) -> list[Floats]:
        """Values of every draw, (n, draws), for each pair of a board and n wishes."""
        if self.undecided:
            self.decide(asked)
        found = [np.empty((len(wishes), board.draws)) for board, wishes in asked]
        order = sorted(range(len(asked)), key=lambda i: asked[i][0].width)
        widths = {board.width for board, _ in asked}
        fewer = {few_widths(width, self._longest) for width in widths}
        self._stepped = self.model.pads and len(fewer) < len(widths)
        with borrowed(self.model.network):
            queue = [_Piece(i, 0, found[i].size) for i in order if found[i].size]
            while queue:
                queue = self._batch(asked, found, queue)
        return found

    @property
    def _key(self) -> tuple[object, ...]:
        return self.model.device, self.target, self._question

    def decide(self, asked: Iterable[tuple[Variants, NDArray[Any]]]) -> None:
        """Choose the numbers to calculate with by some rows of what will be asked for.

        What it takes to find out what that is counts as part of it (`precision.comparing`).

        Raises
        ------
        CapabilityError
            If bfloat16 is demanded of a network that cannot be copied.
        """
        self.undecided = False
        with comparing():
            self._decide(asked)

    def _decide(self, asked: Iterable[tuple[Variants, NDArray[Any]]]) -> None:
        network = halved(self.model.network)
        if network is None:
            if self.model.precision == "bfloat16":
                raise CapabilityError(
                    f"{self.model.name} is foreign code, or in double precision already; only "
                    "networks of basewise's own run in bfloat16. Use precision='auto' or 'full'."
                )
            return
        read_as = "log_odds" if self.target.read == "top" else self.target.read
        judged = replace(self.target, read=read_as)
        full = Evaluator(replace(self.model, precision="full"), judged)
        half = Evaluator(replace(full.model, network=network), judged)
        half.size = self.model.batch_size("bfloat16")
        some = sample(list(asked))
        self.comparison = compared(
            self.model.network,
            self.model.device,
            partial(full.by_draw, some),
            partial(half.by_draw, some),
        )
        if self._question is not None:
            remember(self.model.network, self._key, self.comparison)
        self._choose(network)

    def _choose(self, few: nn.Module | None = None) -> None:
        """Go on in bfloat16, with this copy of the network or a new one, where that is sound."""
        self.undecided = False
        if self.model.precision == "bfloat16" or (self.comparison and self.comparison.worth_it):
            self.size = self.model.batch_size("bfloat16")
            network = few or halved(self.model.network) or self.model.network
            self.model = replace(self.model, network=network, precision="full")
        elif few is not None:
            forget_halves(self.model.network)

    @property
    def extras(self) -> dict[str, float]:
        """What attributions say about the numbers; nothing where they are the network's own.

        `bfloat16` is 1 where it was used, `bfloat16_error` its largest error on the sample in
        units of the target, `bfloat16_noise` that noise over the spread of the values.
        """
        if self._full.precision == "full":
            return {}
        found = {"bfloat16": float(self.model is not self._full)}
        if self.comparison is not None:
            found |= {
                "bfloat16_error": self.comparison.error,
                "bfloat16_noise": self.comparison.noise,
            }
        return found

    def _batch(
        self,
        asked: Asked,
        found: list[Floats],
        queue: list[_Piece],
    ) -> list[_Piece]:
        """Evaluate as much of the queue as fits one batch; return what is left."""
        enough = self.size.enough if self.model.pads else 0
        widths = (self._padded(asked[piece.board][0].width) for piece in queue)
        rows = _fitting(queue, widths, self.size.tokens, enough)
        taken, rest = _split(queue, rows)
        width = self._padded(asked[taken[-1].board][0].width)
        work = partial(self._fill, found, asked, taken)
        return rest if self.size.attempt(work, rows, width) else queue

    def _padded(self, width: int) -> int:
        """How wide rows of a board become."""
        return few_widths(width, self._longest) if self._stepped else width

    def _fill(
        self,
        found: list[Floats],
        asked: Asked,
        taken: Sequence[_Piece],
    ) -> None:
        """Put the values of all pieces where they belong."""
        values, at = self._values(asked, taken), 0
        for board, start, stop in taken:
            found[board].reshape(-1)[start:stop] = values[at : at + stop - start]
            at += stop - start

    def _values(self, asked: Asked, taken: Sequence[_Piece]) -> Floats:
        """The target, (n,), at the rows of all pieces."""
        wanted = [block for i, start, stop in taken for block in _blocks(*asked[i], start, stop)]
        parts = [board.rows(wishes, self.model) for board, wishes in wanted]
        batch = join(parts, self.model.tokenizer.pad_id, self._longest, self._stepped)
        if self.target.where is not None:
            spans = [each for board, wishes in wanted for each in board.spans(wishes, self.model)]
            weights = self.model.weights(self.target, spans, batch.ids.shape[1])
            batch = replace(batch, weights=weights)
        values = np.asarray(self.model.value(batch, self.target).double().cpu().numpy())
        check_finite(values, self.model, self.target)
        return values


def sample(asked: Asked) -> list[tuple[Variants, NDArray[Any]]]:
    """Some rows of the first and of the middle one of what is asked for, evenly spaced."""
    boards = [each for each in asked if len(each[1]) > 1] or list(asked)
    some = {0: boards[0], len(boards) // 2: boards[len(boards) // 2]}.values()
    return [
        (board, wishes[np.linspace(0, len(wishes) - 1, min(SAMPLE, len(wishes))).astype(int)])
        for board, wishes in some
    ]


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
    """Rows of what is asked of one board, every draw of a wish after the other."""

    board: int
    start: int
    stop: int


def _blocks(
    board: Variants, wishes: NDArray[Any], start: int, stop: int
) -> list[tuple[Variants, NDArray[Any]]]:
    """The boards and wishes that make the rows from start to stop.

    Whole wishes, and before and after them some draws of a single one.
    """
    d = board.draws
    first, last = -(-start // d), stop // d
    if first > last:  # within one wish
        return [_some_draws(board, wishes[last:first], start - last * d, stop - last * d)]
    found = [(board, wishes[first:last])] if first < last else []
    if start < first * d:
        found.insert(0, _some_draws(board, wishes[first - 1 : first], start - (first - 1) * d, d))
    if last * d < stop:
        found.append(_some_draws(board, wishes[last : last + 1], 0, stop - last * d))
    return found


def _some_draws(
    board: Variants, wish: NDArray[Any], start: int, stop: int
) -> tuple[Variants, NDArray[Any]]:
    """A board with some of its draws; what has several is a switchboard."""
    return cast(Switchboard, board).only(slice(start, stop)), wish


def _fitting(queue: Iterable[_Piece], widths: Iterable[int], budget: int, enough: int) -> int:
    """How many rows of the head of the queue fit the budget; at least one.

    A batch is as wide as its longest row; the queue is sorted by width. Rows of another width join
    a batch only while it has fewer tokens than `enough`: padding and its mask cost more than a few
    batches more. A batch that the budget cuts has one of `few_shapes`.
    """
    rows = widest = 0
    for (_, start, stop), width in zip(queue, widths, strict=True):
        if width > widest > 0 and rows * widest >= enough:
            break
        room = budget // width
        if rows + stop - start > room:
            return max(few_shapes(max(rows, room)), 1)
        rows, widest = rows + stop - start, width
    return rows


def _split(queue: list[_Piece], rows: int) -> tuple[list[_Piece], list[_Piece]]:
    """So many rows from the head of the queue, and the rest."""
    taken: list[_Piece] = []
    for at, (i, start, stop) in enumerate(queue):
        end = min(stop, start + rows)
        taken.append(_Piece(i, start, end))
        rows -= end - start
        if rows == 0:
            return taken, [_Piece(i, end, stop)] * (end < stop) + queue[at + 1 :]
    return taken, []


def few_shapes(rows: int) -> int:
    """The next number below of at most three binary digits and zeros: 7, 8, 10, 12, 14, 16, 20.

    A processor makes its kernels anew for each shape of a batch, which takes half as long as the
    batch itself; with few shapes they are there already.
    """
    zeros = max(rows.bit_length() - 3, 0)
    return rows >> zeros << zeros
