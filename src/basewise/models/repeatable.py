"""Numbers that come out the same to the last bit, whoever calculates them and however often.

A sum of floating-point numbers depends on the order of its terms, and so a value depends on how
many rows share its batch and on how many threads share the work. Sizes that are found by timing
(`batch_size.BatchSize`) therefore change the last bit from call to call. Inside `repeatable`
nothing is timed: the size of a batch and the choice of bfloat16 follow from the kind of device, and
a processor works with one thread; more of them is what more workers are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from threadpoolctl import threadpool_limits

from basewise.errors import CapabilityError

__all__ = ["TOKENS", "MemoryRanOut", "agreed_tokens", "faster_halved", "repeatable", "timed"]

TOKENS = {"cpu": 1 << 12, "cuda": 1 << 17}
"""Of a batch, by the kind of device; a processor is as fast with half and with twice as many."""

_HALVINGS: ContextVar[int | None] = ContextVar("halvings", default=None)


class MemoryRanOut(CapabilityError):
    """A batch of the agreed size does not fit: all that shares it is to be calculated again."""


@contextmanager
def repeatable(halvings: int = 0) -> Iterator[None]:
    """The same numbers inside the block for the same work on the same kind of device.

    Parameters
    ----------
    halvings : int
        How often the size of a batch is halved, for work that did not fit.

    Raises
    ------
    MemoryRanOut
        From what is calculated inside, instead of going on with smaller batches.
    """
    token, threads = _HALVINGS.set(halvings), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
        _HALVINGS.reset(token)


def timed() -> bool:
    """Whether sizes and precisions are found by the clock: outside of `repeatable`."""
    return _HALVINGS.get() is None


def agreed_tokens(device: torch.device, tokens: int | None = None) -> int:
    """The tokens of a batch inside `repeatable`, unless a model says how many."""
    return max((tokens or TOKENS.get(device.type, TOKENS["cuda"])) >> (_HALVINGS.get() or 0), 1)


def faster_halved(device: torch.device) -> bool:
    """Whether a device calculates with bfloat16 itself, and so counts as faster with it."""
    if device.type == "cpu":
        known = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not say
        return bool(known.get("amx_bf16", False))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
