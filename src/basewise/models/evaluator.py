"""The packed evaluator: rows of many sequences, switched on the device, in batches that fill it.

Forward passes are the whole cost of explaining. A *switchboard* says how the rows of one
sequence are made from which units are present; the evaluator strings the rows of many
switchboards together, cuts them into batches of a token budget and reads the target.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from basewise.errors import CapabilityError, DataError
from basewise.models.reading import read
from basewise.types import Bools, Codes, Floats, Ints, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "BaseSwitch",
    "Batch",
    "BatchSize",
    "Evaluator",
    "Switchboard",
    "TokenSwitch",
    "Variants",
    "borrowed",
    "check_finite",
    "tokenised",
]


@dataclass(frozen=True, eq=False)
class Batch:
    """Model input. ids : (n, t) int; mask : (n, t) bool, True where real, None if all are."""

    ids: Tensor
    mask: Tensor | None

    def __len__(self) -> int:
        return len(self.ids)


class Variants(Protocol):
    """Makes rows: changed copies of one sequence, as arrays of wishes describe them."""

    @property
    def draws(self) -> int:
        """Rows made for each wish; their values are averaged."""

    @property
    def width(self) -> int:
        """Tokens of a row, for packing."""

    def rows(self, asked: Any, model: Model) -> tuple[Tensor, Tensor | None]:
        """ids (n * draws, t) and lengths (n * draws,) or None, of wishes (n, ...)."""


class Switchboard(Variants, Protocol):
    """How a sequence looks while some of its units are switched off.

    What is wished for are coalitions (n, u) bool, True where a unit is present.
    """

    @property
    def n_units(self) -> int: ...


Asked = Sequence[tuple[Variants, NDArray[Any]]]


def _covering(spans: Ints, units: Ints) -> Ints:
    """Which units touch each span, (s, m); the index `u` (always present) fills up.

    A span that several units touch is present only while all of them are.
    """
    order = np.argsort(units[:, 0], kind="stable")
    starts, ends = units[order, 0], units[order, 1]
    first = np.searchsorted(ends, spans[:, 0], side="right")
    stop = np.searchsorted(starts, spans[:, 1], side="left")
    count = np.where(spans[:, 1] > spans[:, 0], np.maximum(stop - first, 0), 0)
    at = first[:, None] + np.arange(max(int(count.max(initial=0)), 1))
    inside = at < (first + count)[:, None]
    return np.where(inside, order[np.minimum(at, len(order) - 1)], len(units))


def _present(present: Tensor, covering: Tensor) -> Tensor:
    """Whether each span is present, (n, s) bool, from units (n, u) and covering (s, m)."""
    with_rest = torch.cat([present, present.new_ones(len(present), 1)], dim=1)
    if covering.shape[1] == 1:
        return with_rest[:, covering[:, 0]]
    return with_rest[:, covering].all(-1)


class TokenSwitch:
    """Switching in token-id space: nothing is decoded, nothing is tokenised again.

    Parameters
    ----------
    on : (t,) int
        Ids of the sequence.
    off : (d, t) int
        Ids shown where a token is absent, one row per draw.
    spans : (t, 2) int
        Bases of the tokens; tokens that cover none are never switched.
    units : (u, 2) int
        Disjoint units. A token is absent while any unit that touches it is.
    """

    def __init__(self, on: Ints, off: Ints, spans: Ints, units: Ints):
        self._on, self._off = torch.from_numpy(on), torch.from_numpy(off)
        self._covering = torch.from_numpy(_covering(spans, units))
        self.n_units, self.draws, self.width = len(units), len(off), len(on)

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        self._move(model.device)
        kept = _present(torch.from_numpy(present).to(model.device), self._covering)
        return torch.where(kept[:, None], self._on, self._off).flatten(0, 1), None

    def _move(self, device: torch.device) -> None:
        """Keep everything where the rows are made, so that it is copied once."""
        if self._on.device != device:
            self._on, self._off, self._covering = (
                tensor.to(device) for tensor in (self._on, self._off, self._covering)
            )


class BaseSwitch:
    """Switching in base space: bases are replaced and the sequence is tokenised again.

    Parameters
    ----------
    on : (b,) codes
        The sequence.
    off : (d, b) codes
        Bases shown where a unit is absent, one row per draw.
    units : (u, 2) int
        Disjoint units of bases.
    width : int
        Tokens of the sequence, for packing; other bases may give a few more or less.
    """

    def __init__(self, on: Codes, off: Codes, units: Ints, width: int):
        at = np.arange(len(on))
        self._on, self._off = on, off
        self._unit = _covering(np.stack([at, at + 1], axis=1), units)[:, 0]
        self.n_units, self.draws, self.width = len(units), len(off), width

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        with_rest = np.concatenate([present, np.ones((len(present), 1), bool)], axis=1)
        kept = with_rest[:, self._unit]
        return tokenised(np.where(kept[:, None], self._on, self._off), model)


def tokenised(codes: Codes, model: Model) -> tuple[Tensor, Tensor | None]:
    """What `Variants.rows` gives for rows of bases, (..., b)."""
    ids, lengths = model.tokenizer.encode_codes(codes.reshape(-1, codes.shape[-1]))
    ragged = None if (lengths == ids.shape[1]).all() else torch.from_numpy(lengths)
    return torch.from_numpy(ids).to(model.device), ragged


class BatchSize:
    """The token budget of a batch, found by trying and halved when memory runs out.

    Starts small and doubles; settles on the best rate once four times its size did no better.
    """

    SMALLEST, LARGEST = 1 << 9, 1 << 22

    def __init__(self, tokens: int | None = None):
        self.tokens = tokens or self.SMALLEST
        self._settled = tokens is not None
        self._rates: dict[int, list[float]] = {}

    def rows(self, width: int) -> int:
        """Rows of so many tokens that fit a batch; at least one."""
        return max(self.tokens // max(width, 1), 1)

    def over(self, rows: int, width: int, work: Callable[[slice], None]) -> None:
        """Do the work of all rows of one width, as many at a time as fit."""
        at = 0
        while at < rows:
            some = slice(at, min(at + self.rows(width), rows))
            n = some.stop - at
            if self.attempt(partial(work, some), n * width, n > 1):
                at = some.stop

    def attempt(self, work: Callable[[], None], tokens: int, divisible: bool) -> bool:
        """Do the work of one batch of so many tokens, and learn from how long it took.

        Returns
        -------
        bool
            False if memory ran out: try again with a smaller batch.

        Raises
        ------
        CapabilityError
            If memory runs out and the batch is not `divisible` any further.
        """
        begin = time.perf_counter()
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not _memory_ran_out(error):
                raise
            if not divisible:
                raise CapabilityError(
                    f"Memory ran out on the smallest possible batch, of {tokens} tokens; explain "
                    "shorter windows of the sequence, or use a smaller model or another machine."
                ) from error
            self.tokens, self._settled = max(tokens // 2, 1), True
            return False
        self.learn(tokens, time.perf_counter() - begin)
        return True

    def learn(self, tokens: int, seconds: float) -> None:
        """Take note of a batch; one that is much smaller than asked for says nothing."""
        if self._settled or 2 * tokens < self.tokens:
            return
        rates = self._rates.setdefault(self.tokens, [])
        rates.append(tokens / max(seconds, 1e-9))
        if len(rates) < 2:  # a first call at a size also pays for its buffers: look twice
            return
        best = max(self._rates, key=lambda size: max(self._rates[size]))
        if self.tokens >= 4 * best or self.tokens >= self.LARGEST:
            self.tokens, self._settled = best, True
        else:
            self.tokens *= 2


def _memory_ran_out(error: RuntimeError | MemoryError) -> bool:
    """Whether that is what an error says; on the CPU torch has no class for it."""
    said = r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED"
    return isinstance(error, MemoryError) or re.search(said, str(error)) is not None


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
        self.size = BatchSize(model.batch_tokens)
        self._index = target.index(model.labels)

    def __call__(self, asked: Asked) -> list[Floats]:
        """Values, one array (n,) per pair of a board and what is asked of it, n rows."""
        found = [np.empty(len(wishes)) for _, wishes in asked]
        order = sorted(range(len(asked)), key=lambda i: asked[i][0].width)
        with borrowed(self.model):
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
        """Put the values of all pieces where they belong, averaged over draws."""
        values, at = self._values(asked, taken), 0
        for piece in taken:
            draws = asked[piece.board][0].draws
            n = piece.stop - piece.start
            rows = values[at : at + n * draws]
            found[piece.board][piece.start : piece.stop] = rows.reshape(n, draws).mean(1)
            at += n * draws

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
    widths share a batch only where they may be `mixed`.
    """
    taken: list[_Piece] = []
    rows = tokens = 0
    for at, (i, start, stop) in enumerate(queue):
        board = asked[i][0]
        if taken and not mixed and board.width != asked[taken[0].board][0].width:
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


def join(parts: Sequence[tuple[Tensor, Tensor | None]], pad_id: int) -> Batch:
    """One batch of several blocks of rows, padded right; no mask where nothing is padded."""
    width = max(ids.shape[1] for ids, _ in parts)
    if all(ids.shape[1] == width and lengths is None for ids, lengths in parts):
        return Batch(torch.cat([ids for ids, _ in parts]), None)
    ids = torch.cat(
        [torch.nn.functional.pad(ids, (0, width - ids.shape[1]), value=pad_id) for ids, _ in parts]
    )
    lengths = torch.cat(
        [
            torch.full((len(ids),), ids.shape[1]) if lengths is None else lengths
            for ids, lengths in parts
        ]
    ).to(ids.device)
    longest = int(lengths.max())
    ids, mask = ids[:, :longest], torch.arange(longest, device=ids.device) < lengths[:, None]
    return Batch(ids, None if bool(mask.all()) else mask)


@contextmanager
def borrowed(model: Model) -> Iterator[None]:
    """Evaluation mode without gradients; the network's modes are given back, also on error."""
    modes = [(module, module.training) for module in model.network.modules()]
    model.network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
