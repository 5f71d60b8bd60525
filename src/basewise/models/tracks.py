"""Tracks: numbers per base that a network reads beside the bases, and made from them.

A track is a layer that is not trained. It is computed again for every row, whatever was masked,
shuffled or mutated in it, so explanations, predictions and annotations stay true; and it may be
taken away, which says how much of a decision it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basewise.registry import Registry

__all__ = ["TRACKS", "Tracks"]

TRACKS = Registry("track", {"z_forming": "basewise.models.z_forming:ZForming"})


class Tracks(nn.ModuleDict):
    """One-hot rows (n, b, 4) with a channel more for each track: (n, b, 4 + tracks)."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__({name: TRACKS.get(name)() for name in names})

    def forward(self, x: Tensor) -> Tensor:
        if not self:
            return x
        return torch.cat([x, *(track(x).unsqueeze(-1) for track in self.values())], -1)
