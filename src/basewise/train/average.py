"""An exponential moving average of a network's weights (Polyak & Juditsky 1992).

Evaluated and kept in place of the weights themselves, it does what many epochs of a falling
learning rate do, in fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["Average"]

FILE = "average.safetensors"


class Average:
    """The average of everything in a network that training changes.

    Parameters
    ----------
    network : torch.nn.Module
    decay : float
        Share of the old average that a step keeps; lower in the first steps, `(1 + s) / (10 + s)`,
        so that the start is forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        trained = {name: p.data for name, p in network.named_parameters() if p.requires_grad}
        self._current: dict[str, Tensor] = trained | dict(network.named_buffers())
        self._values = {name: value.clone() for name, value in self._current.items()}
        self._moving = [n for n, value in self._current.items() if value.is_floating_point()]
        self._decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the weights as they are after step number `step`."""
        move = get_ema_multi_avg_fn(min(self._decay, (1 + step) / (10 + step)))
        move(
            [self._values[name] for name in self._moving],
            [self._current[name] for name in self._moving],
            step,
        )
        for name in self._values.keys() - set(self._moving):  # counters
            self._values[name].copy_(self._current[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network holds the average inside the block, and its own weights after it."""
        own = {name: value.clone() for name, value in self._current.items()}
        self.keep()
        try:
            yield
        finally:
            _copy(own, self._current)

    def keep(self) -> None:
        """The network holds the average from now on."""
        _copy(self._values, self._current)

    def save(self, folder: Path) -> None:
        """Write the average into a checkpoint."""
        save_file(self._values, folder / FILE)

    def load(self, folder: Path) -> None:
        """Read the average of a checkpoint."""
        _copy(load_file(folder / FILE), self._values)


@torch.no_grad()
def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for name, value in source.items():
        target[name].copy_(value)
