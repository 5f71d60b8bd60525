"""How much a network is given at once: found by trying, halved when memory runs out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn

from basewise.errors import CapabilityError
from basewise.models.foreign import FunctionNetwork
from basewise.models.repeatable import MemoryRanOut, agreed_tokens, timed

__all__ = ["BatchSize", "Work"]

Work = Literal["forward", "backward", "bfloat16"]
"""What a batch is for; each has its own best size. bfloat16: forward, in half the bits."""


class BatchSize:
    """The token budget of a batch, found by trying and halved when memory runs out.

    Starts small and doubles, up to `largest`, until four times the best size did no better; and as
    long as a batch takes next to no time, most of which is spent around the network. A batch of a
    shape that was not there before also pays for its kernels and buffers, so sizes at which shapes
    came again are compared by these, and by new ones only where after `LOOKS` none has come again.
    A size that was `agreed` upon stays; see `models.repeatable`.
    """

    SMALLEST, MOST = 1 << 9, 1 << 22
    WORTH, QUICK, LOOKS = 1.05, 4e-3, 4  # times as fast, seconds, times
    NEAR = 1.08  # times as fast, which padding and its mask cost

    def __init__(self, tokens: int | None = None, largest: int = MOST, agreed: bool = False):
        self.tokens, self.largest, self._agreed = tokens or self.SMALLEST, largest, agreed
        self._settled = tokens is not None
        self._shapes: set[tuple[int, int]] = set()
        self._new: dict[int, list[float]] = {}  # tokens a second at each size, of new shapes
        self._again: dict[int, list[float]] = {}  # and of those that came again

    @classmethod
    def of(
        cls, network: nn.Module, device: torch.device, tokens: int | None, work: Work
    ) -> BatchSize:
        """The budget of a network where it lies, with what earlier calls have learnt."""
        if not timed():
            return cls(agreed_tokens(device, tokens), agreed=True)
        if tokens is not None:
            return cls(tokens)
        known, key = _LEARNT.setdefault(network, {}), (device, work)
        if key not in known:
            known[key] = cls(largest=_largest(network, device))
        return known[key]

    @property
    def most(self) -> int:
        """The most tokens that a batch may have yet; of what was never asked for, none."""
        if self._settled:
            return self.tokens
        return self.largest if self._new or self.tokens > self.SMALLEST else 0

    @property
    def enough(self) -> int:
        """Tokens of a batch that more rows would hardly make faster, as far as sizes were tried."""
        half = -(-self.tokens // 2)
        rates = max(self._again, self._new, key=len)  # where more sizes can be compared
        return min(half, self._first_within(self.NEAR, rates)) if rates else half

    def rows(self, width: int) -> int:
        """Rows of so many tokens that fit a batch; at least one."""
        return max(self.tokens // max(width, 1), 1)

    def over(self, rows: int, width: int, work: Callable[[slice], None]) -> None:
        """Do the work of all rows of one width, as many at a time as fit."""
        at = 0
        while at < rows:
            some = slice(at, min(at + self.rows(width), rows))
            if self.attempt(partial(work, some), some.stop - at, width):
                at = some.stop

    def attempt(self, work: Callable[[], None], rows: int, width: int) -> bool:
        """Do the work of one batch of rows of so many tokens, and learn from how long it took.

        Returns
        -------
        bool
            False if memory ran out: try again with a smaller batch.

        Raises
        ------
        MemoryRanOut
            If memory runs out at a size that was agreed upon.
        CapabilityError
            If memory runs out on a single row.
        """
        tokens = rows * width
        begin = time.perf_counter()
        try:
            work()
        except (RuntimeError, MemoryError) as error:
            if not _memory_ran_out(error):
                raise
            if rows < 2:
                raise CapabilityError(
                    f"Memory ran out on the smallest possible batch, of {tokens} tokens; explain "
                    "shorter windows of the sequence, or use a smaller model or another machine."
                ) from error
            if self._agreed:
                raise MemoryRanOut(f"Memory ran out on a batch of {tokens} tokens.") from error
            self.tokens, self._settled = max(tokens // 2, 1), True
            return False
        self.learn(rows, width, time.perf_counter() - begin)
        return True

    def learn(self, rows: int, width: int, seconds: float) -> None:
        """Take note of a batch; one that is much smaller than asked for says nothing."""
        tokens = rows * width
        if self._settled or 2 * tokens < self.tokens:
            return
        new = (rows, width) not in self._shapes
        self._shapes.add((rows, width))
        rates = self._new if new else self._again
        looks = rates.setdefault(self.tokens, [])
        looks.append(tokens / max(seconds, 1e-9))
        if new and len(looks) < self.LOOKS:
            return
        best = self._first_within(self.WORTH, rates)
        if 2 * self.tokens <= self.MOST and tokens / max(looks) < self.QUICK:
            self._new.clear()  # not worth comparing
            self._again.clear()
            self.tokens *= 2
        elif self.tokens > best and len(looks) < self.LOOKS:
            return  # other work on the machine may have slowed it down
        elif self.tokens >= 4 * best or 2 * self.tokens > self.largest:
            self.tokens, self._settled = best, True
        else:
            self.tokens *= 2

    @staticmethod
    def _first_within(share: float, rates: Mapping[int, list[float]]) -> int:
        """The smallest size whose best rate, so many times, reaches the best of all."""
        most = max(max(each) for each in rates.values())
        return min(size for size, each in rates.items() if share * max(each) >= most)


_LEARNT: WeakKeyDictionary[nn.Module, dict[tuple[torch.device, Work], BatchSize]]
_LEARNT = WeakKeyDictionary()


def _largest(network: nn.Module, device: torch.device) -> int:
    """The most tokens of a batch that are tried.

    A processor is fastest at a few sequences a batch, and its memory ends without an error
    that could be caught; of a function nothing is known but that calling it may take long.
    """
    if isinstance(network, FunctionNetwork):
        return 1 << 17
    return 1 << 13 if device.type == "cpu" else BatchSize.MOST


def _memory_ran_out(error: RuntimeError | MemoryError) -> bool:
    """Whether that is what an error says; on the CPU torch has no class for it."""
    said = r"out of memory|can't allocate memory|not enough memory|ALLOC_FAILED"
    return isinstance(error, MemoryError) or re.search(said, str(error)) is not None
