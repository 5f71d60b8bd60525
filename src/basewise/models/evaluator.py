"""The packed evaluator: rows of many sequences, switched on the device, in batches that fill it.

Forward passes are the whole cost of explaining. A *switchboard* says how the rows of one
sequence are made from which units are present; the evaluator strings the rows of many
switchboards together, cuts them into batches of a token budget and reads the target.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from basewise.models.reading import read
from basewise.types import Bools, Codes, Floats, Ints, Target

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["BaseSwitch", "Batch", "Evaluator", "Switchboard", "TokenSwitch"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Model input. ids : (n, t) int; mask : (n, t) bool, True where real, None if all are."""

    ids: Tensor
    mask: Tensor | None

    def __len__(self) -> int:
        return len(self.ids)


class Switchboard(Protocol):
    """How a sequence looks while some of its units are switched off."""

    @property
    def n_units(self) -> int: ...

    @property
    def draws(self) -> int:
        """Rows made for each coalition; their values are averaged."""

    @property
    def width(self) -> int:
        """Tokens of a row, for packing."""

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        """ids (n * draws, t) and lengths (n * draws,) or None, of coalitions (n, u)."""


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
        device = model.device
        kept = _present(torch.from_numpy(present).to(device), self._covering.to(device))
        ids = torch.where(kept[:, None], self._on.to(device), self._off.to(device))
        return ids.flatten(0, 1), None


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
    """

    def __init__(self, on: Codes, off: Codes, units: Ints):
        at = np.arange(len(on))
        self._on, self._off = on, off
        self._unit = _covering(np.stack([at, at + 1], axis=1), units)[:, 0]
        self.n_units, self.draws, self.width = len(units), len(off), len(on)

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        with_rest = np.concatenate([present, np.ones((len(present), 1), bool)], axis=1)
        kept = with_rest[:, self._unit]
        codes = np.where(kept[:, None], self._on, self._off).reshape(-1, len(self._on))
        ids, lengths = model.tokenizer.encode_codes(codes)
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

    def halve(self) -> None:
        """Settle on half after memory ran out."""
        self.tokens, self._settled = max(self.tokens // 2, 1), True


class Evaluator:
    """Reads one target of one model over rows made by switchboards.

    Parameters
    ----------
    model : Model
    target : Target
    batch_tokens : int, optional
        Tokens in a batch; found by trying when not given. The values of a record do not
        depend on it beyond rounding.
    """

    def __init__(self, model: Model, target: Target, batch_tokens: int | None = None):
        self.model, self.target = model, target
        self.size = BatchSize(batch_tokens or model.batch_tokens)
        self._index = target.index(model.labels)

    def __call__(self, asked: Sequence[tuple[Switchboard, Bools]]) -> list[Floats]:
        """Values, one array (n,) per pair of a switchboard and its coalitions (n, u)."""
        found = [np.empty(len(present)) for _, present in asked]
        order = sorted(range(len(asked)), key=lambda i: asked[i][0].width)
        with borrowed(self.model):
            queue = [(i, 0, len(asked[i][1])) for i in order if len(asked[i][1])]
            while queue:
                queue = self._batch(asked, found, queue)
        return found

    def _batch(
        self,
        asked: Sequence[tuple[Switchboard, Bools]],
        found: list[Floats],
        queue: list[tuple[int, int, int]],
    ) -> list[tuple[int, int, int]]:
        """Evaluate as many queued rows as fit one batch; return what is left."""
        taken, rest, tokens = _take(asked, queue, self.size.tokens, self.model.pads)
        try:
            begin = time.perf_counter()
            parts = [asked[i][0].rows(asked[i][1][a:b], self.model) for i, a, b in taken]
            values = self._read(join(parts, self.model.tokenizer.pad_id))
            self.size.learn(tokens, time.perf_counter() - begin)
        except torch.OutOfMemoryError:
            if len(taken) == 1 and taken[0][2] - taken[0][1] == 1:
                raise
            self.size.halve()
            return queue
        at = 0
        for i, a, b in taken:
            draws = asked[i][0].draws
            rows = values[at : at + (b - a) * draws]
            found[i][a:b] = rows.reshape(b - a, draws).mean(1)
            at += (b - a) * draws
        return rest

    def _read(self, batch: Batch) -> Floats:
        raw = self.model.outputs_of(batch)
        value = read(raw, self._index, self.target.read, self.model.outputs)
        return np.asarray(value.double().cpu().numpy())


def _take(
    asked: Sequence[tuple[Switchboard, Bools]],
    queue: list[tuple[int, int, int]],
    budget: int,
    mixed: bool,
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]], int]:
    """The head of the queue that fits the budget (at least one coalition), and the rest.

    A batch is as wide as its longest row; the queue is sorted by width. Rows of several
    widths share a batch only where they may be `mixed`.
    """
    taken: list[tuple[int, int, int]] = []
    rows = tokens = 0
    for at, (i, start, stop) in enumerate(queue):
        board = asked[i][0]
        if taken and not mixed and board.width != asked[taken[0][0]][0].width:
            return taken, queue[at:], tokens
        room = budget // board.width - rows
        fits = min(stop - start, max(room // board.draws, 0 if taken else 1))
        if fits:
            taken.append((i, start, start + fits))
            rows += fits * board.draws
            tokens = rows * board.width
        if fits < stop - start:
            return taken, [(i, start + fits, stop), *queue[at + 1 :]], tokens
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
