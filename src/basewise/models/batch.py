"""Batches: what a network is given at once, how much of it, and how it is borrowed for that."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from basewise.errors import CapabilityError

__all__ = ["Batch", "BatchSize", "borrowed", "join"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Model input. ids : (n, t) int; mask : (n, t) bool, True where real, None if all are."""

    ids: Tensor
    mask: Tensor | None

    def __len__(self) -> int:
        return len(self.ids)


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


def join(parts: Sequence[tuple[Tensor, Tensor | None]], pad_id: int) -> Batch:
    """One batch of several blocks of rows, padded right; no mask where nothing is padded."""
    width = max(ids.shape[1] for ids, _ in parts)
    if all(ids.shape[1] == width and lengths is None for ids, lengths in parts):
        return Batch(parts[0][0] if len(parts) == 1 else torch.cat([ids for ids, _ in parts]), None)
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
def borrowed(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the network's modes are given back, also on error."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in modes:
            module.training = training
