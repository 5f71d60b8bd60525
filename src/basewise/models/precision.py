"""Numbers of half the bits, where they are faster and say the same.

Rounded to bfloat16, a value is off by an amount that depends on the network and hardly on the
row. What it spoils depends on what is asked: single substitutions move a value by less than
half of all units do. So the two are compared on rows of the very task, and the rounding is
measured by how far the values of those rows lie apart.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import PreTrainedModel

from basewise.models.repeatable import faster_halved, timed
from basewise.types import Floats, Record

__all__ = [
    "FASTER",
    "NOISE",
    "Comparison",
    "compared",
    "comparing",
    "comparisons_inside",
    "forget_halves",
    "halved",
    "known",
    "question_of",
    "remember",
]

KEPT = 64  # comparisons of a network
LOOKED_AT = 64  # numbers of each weight, at least, by which weights are known again

FASTER, NOISE = 1.2, 0.05
"""`auto` takes bfloat16 where it is at least so many times as fast, with at most such noise."""


@dataclass(frozen=True)
class Comparison:
    """Values of a sample of rows in bfloat16 beside those in full.

    Attributes
    ----------
    error : float
        The largest difference, in the units of the target.
    noise : float
        The standard deviation of the differences over that of the values, both within
        sequences: scores are made of differences of one sequence's values. Infinite where they
        do not differ, as where there is one of each.
    speed : float
        How many times as fast; inside `models.repeatable` by the device, not by the clock.
    """

    error: float
    noise: float
    speed: float

    @property
    def worth_it(self) -> bool:
        return self.noise <= NOISE and self.speed >= FASTER


def halved(network: nn.Module) -> nn.Module | None:
    """A copy of a network with its weights in bfloat16; None where there is none to be made.

    Only networks of known architecture in single precision are copied: foreign code may
    depend on the precision it was written for. The copies of a network hold their weights in
    one place, half as large as the network's, for as long as that lives: new memory would cost
    several times what rounding does. They are rounded anew for each copy, so every copy is as
    the network is now.
    """
    if not isinstance(network, PreTrainedModel):
        return None
    weights = [*network.parameters(), *network.buffers()]
    if any(weight.dtype == torch.double for weight in weights):
        return None
    # Deep-copying what is already there in few bits never holds a second copy in full.
    known: dict[int, object] = {
        id(weight): _half(weight) for weight in weights if weight.dtype == torch.float32
    }
    return copy.deepcopy(network, known) if known else None


def forget_halves(network: nn.Module) -> None:
    """Give back the place that copies in few bits hold their weights in."""
    for weight in (*network.parameters(), *network.buffers()):
        _FEW.pop(weight, None)


_FEW = WeakTensorKeyDictionary()  # of each weight, where it lies in few bits


@torch.inference_mode(False)  # what is made in it could not be written to outside
def _half(weight: torch.Tensor) -> torch.Tensor:
    own = weight.detach()
    few = _FEW.get(weight)
    if few is None or (few.shape, few.device) != (own.shape, own.device):
        few = _FEW[weight] = torch.empty_like(own, dtype=torch.bfloat16)
    few.copy_(own)
    return nn.Parameter(few, requires_grad=False) if isinstance(weight, nn.Parameter) else few


_SPEEDS: WeakKeyDictionary[nn.Module, dict[torch.device, float]] = WeakKeyDictionary()
_KNOWN: WeakKeyDictionary[nn.Module, dict[tuple[int, Hashable], Comparison]] = WeakKeyDictionary()


def question_of(asking: object, records: Sequence[Record], seed: int = 0) -> Hashable:
    """What says which rows a component will ask for: itself, the records and the seed."""
    with np.printoptions(threshold=sys.maxsize):
        own = f"{type(asking).__module__} {asking!r}"
    return own, hash(tuple((record.id, record.sequence) for record in records)), seed


_AROUND: ContextVar[Callable[[], AbstractContextManager[object]]] = ContextVar(
    "around", default=nullcontext
)


def comparing() -> AbstractContextManager[object]:
    """What is done inside is done once, however many rows follow."""
    return _AROUND.get()()


@contextmanager
def comparisons_inside(around: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Have each comparison made inside of a context of one's own, which can take its time."""
    token = _AROUND.set(around)
    try:
        yield
    finally:
        _AROUND.reset(token)


def known(network: nn.Module, question: Hashable) -> Comparison | None:
    """What was found for the same question, as long as the weights are the same.

    Nothing inside `repeatable`, where it must not matter what was asked before.
    """
    if not timed():
        return None
    return _KNOWN.get(network, {}).get((_state(network), question))


def remember(network: nn.Module, question: Hashable, found: Comparison) -> None:
    """Keep what was found; only that of the weights as they are now, and the latest of it."""
    state = _state(network)
    kept = [(key, each) for key, each in _KNOWN.get(network, {}).items() if key[0] == state]
    _KNOWN[network] = dict(kept[-KEPT:]) | {(state, question): found}


def _state(network: nn.Module) -> int:
    """Where the weights lie, and some of what each holds.

    How often one was written to does not tell: fused optimisers and `.data` are not counted.
    """
    weights = [weight.detach() for weight in (*network.parameters(), *network.buffers())]
    some = [weight.reshape(-1)[:: max(weight.numel() // LOOKED_AT, 1)] for weight in weights]
    places = tuple(weight.data_ptr() for weight in weights)
    seen = torch.cat([each.double().cpu() for each in some]) if some else torch.empty(0)
    return hash((places, seen.numpy().tobytes()))


def compared(
    network: nn.Module,
    device: torch.device,
    full: Callable[[], Sequence[Floats]],
    half: Callable[[], Sequence[Floats]],
) -> Comparison:
    """Compare both on the same rows: values (n, draws) of each of several sequences.

    The times are taken once for a network and kept; the values are compared anew.
    """
    own, few = full(), half()
    speeds = _SPEEDS.setdefault(network, {})
    if not timed():
        speeds = {device: FASTER if faster_halved(device) else 1.0}
    elif device not in speeds:  # the first calls paid for their buffers
        times = [(_seconds(full), _seconds(half)) for _ in range(2)]
        speeds[device] = min(a for a, _ in times) / min(b for _, b in times)
    apart = [b - a for a, b in zip(own, few, strict=True)]
    spread, noise = _within(own), _within(apart)
    return Comparison(
        error=max(float(np.abs(difference).max()) for difference in apart),
        noise=noise / spread if spread else float("inf"),  # values that do not differ tell nothing
        speed=speeds[device],
    )


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _within(values: Sequence[Floats]) -> float:
    """Root mean square distance of values from the mean of their sequence."""
    return float(np.sqrt(np.mean(np.concatenate([(v - v.mean()).ravel() ** 2 for v in values]))))
