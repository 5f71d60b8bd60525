"""Batches: what a network is given at once, how much of it, and how it is borrowed for that."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from basewise.errors import CapabilityError
from basewise.models.foreign import FunctionNetwork
from basewise.models.repeatable import MemoryRanOut, agreed_tokens, timed

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Batch", "BatchSize", "borrowed", "evaluating", "join"]

Work = Literal["forward", "backward", "bfloat16"]
"""What a batch is for; each has its own best size. bfloat16: forward, in half the bits."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Model input.

    Attributes
    ----------
    ids : (n, t) int
    mask : (n, t) bool or None
        True where real; None if all are.
    weights : (n, t) float or None
        What every token counts in the target, where that is of a region of bases.
    """

    ids: Tensor
    mask: Tensor | None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


class BatchSize:
    """The token budget of a batch, found by trying and halved when memory runs out.

    Starts small and doubles, up to `largest`, until four times the best size did no better; and as
    long as a batch takes next to no time, most of which is spent around the network. A size that
    was `agreed` upon stays; see `models.repeatable`.
    """

    SMALLEST, MOST = 1 << 9, 1 << 22
    WORTH, QUICK, LOOKS = 1.05, 4e-3, 4  # times as fast, seconds, times

    def __init__(self, tokens: int | None = None, largest: int = MOST, agreed: bool = False):
        self.tokens, self.largest, self._agreed = tokens or self.SMALLEST, largest, agreed
        self._settled = tokens is not None
        self._rates: dict[int, list[float]] = {}

    @classmethod
    def of(cls, model: Model, work: Work = "forward") -> BatchSize:
        """The budget of a model where it lies, with what earlier calls have learnt."""
        if not timed():
            return cls(agreed_tokens(model.device, model.batch_tokens), agreed=True)
        if model.batch_tokens is not None:
            return cls(model.batch_tokens)
        known, key = _LEARNT.setdefault(model.network, {}), (model.device, work)
        if key not in known:
            known[key] = cls(largest=_largest(model))
        return known[key]

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
        MemoryRanOut
            If memory runs out at a size that was agreed upon.
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
            if self._agreed:
                raise MemoryRanOut(f"Memory ran out on a batch of {tokens} tokens.") from error
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
        most = max(max(each) for each in self._rates.values())
        best = min(size for size, each in self._rates.items() if self.WORTH * max(each) >= most)
        if 2 * self.tokens <= self.MOST and tokens / max(rates) < self.QUICK:
            self._rates.clear()  # not worth comparing
            self.tokens *= 2
        elif self.tokens > best and len(rates) < self.LOOKS:
            return  # rows of a new shape, or other work on the machine, may have slowed it down
        elif self.tokens >= 4 * best or 2 * self.tokens > self.largest:
            self.tokens, self._settled = best, True
        else:
            self.tokens *= 2


_LEARNT: WeakKeyDictionary[nn.Module, dict[tuple[torch.device, Work], BatchSize]]
_LEARNT = WeakKeyDictionary()


def _largest(model: Model) -> int:
    """The most tokens of a batch that are tried.

    A processor is fastest at a few sequences a batch, and its memory ends without an error
    that could be caught; of a function nothing is known but that calling it may take long.
    """
    if isinstance(model.network, FunctionNetwork):
        return 1 << 17
    return 1 << 13 if model.device.type == "cpu" else BatchSize.MOST


def _memory_ran_out(error: RuntimeError | MemoryError) -> bool:
    """Whether that is what an error says; on the CPU torch has no class for it."""
    said = r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED"
    return isinstance(error, MemoryError) or re.search(said, str(error)) is not None


def join(parts: Sequence[tuple[Tensor, Tensor | None]], pad_id: int) -> Batch:
    """One batch of several blocks of rows, padded right; no mask where nothing is padded."""
    width = max(ids.shape[1] for ids, _ in parts)
    if all(ids.shape[1] == width and lengths is None for ids, lengths in parts):
        return Batch(torch.cat([ids for ids, _ in parts]).long(), None)
    ids = torch.cat(
        [torch.nn.functional.pad(ids, (0, width - ids.shape[1]), value=pad_id) for ids, _ in parts]
    ).long()
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
def borrowed(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the network's modes are given back, also on error."""
    with evaluating(network), torch.inference_mode():
        yield


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode; what was in training mode is so again afterwards, also on error."""
    training = [module for module in network.modules() if module.training]
    if training:
        network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
