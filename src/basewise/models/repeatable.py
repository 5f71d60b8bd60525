"""Numbers that come out the same to the last bit, whoever calculates them and however often.

A sum of floating-point numbers depends on the order of its terms, and so a value depends on how
many rows share its batch and on how many threads share the work. Sizes that are found by timing
(`batch_size.BatchSize`) therefore change the last bit from call to call. Inside `repeatable`
nothing is timed: the size of a batch and the choice of bfloat16 follow from the kind of device, and
a processor works with one thread; more of them is what more workers are for.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

from basewise.errors import CapabilityError

__all__ = [
    "TOKENS",
    "MemoryRanOut",
    "agreed_tokens",
    "faster_halved",
    "repeatable",
    "settled",
    "timed",
]

TOKENS = {"cpu": 1 << 12, "cuda": 1 << 17}
"""Of a batch, by the kind of device; a processor is as fast with half and with twice as many."""

T = TypeVar("T")
HALVINGS = (0, 0, 1, 2, 3, 4, 5, 6)  # again as it was: memory may have been short for a moment

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


def settled(
    work: Callable[[], T], device: torch.device, again: Callable[[], None] | None = None
) -> T:
    """What work gives inside `repeatable`, done again as a whole where memory runs out.

    A value depends in its last bit on the size of its batch, so all of the work is done again:
    once as it was, for memory may have been short for a moment, and then in smaller batches.

    Parameters
    ----------
    again : callable, optional
        Told each time.

    Raises
    ------
    CapabilityError
        If memory runs out on the smallest batches too.
    """
    for halvings in HALVINGS:
        try:
            with repeatable(halvings):
                return work()
        except MemoryRanOut:
            if again:
                again()
        gc.collect()  # the frames of the error held tensors
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    tokens = agreed_tokens(device) >> HALVINGS[-1]
    raise CapabilityError(
        f"Memory ran out on batches of {tokens} tokens; explain shorter windows of the sequences, "
        "or use a smaller model or another machine."
    )


def timed() -> bool:
    """Whether sizes and precisions are found by the clock: outside of `repeatable`."""
    return _HALVINGS.get() is None


def agreed_tokens(device: torch.device, tokens: int | None = None) -> int:
    """The tokens of a batch inside `repeatable`, unless a model says how many."""
    return max((tokens or TOKENS.get(device.type, TOKENS["cuda"])) >> (_HALVINGS.get() or 0), 1)


def faster_halved(device: torch.device) -> bool:
    """Whether a device calculates with bfloat16 itself, and so counts as faster with it."""
    if device.type == "cpu":
        # Older torch does not say.
        known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(known.get("amx_bf16", False))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
