"""Tracks: numbers per base that a network reads beside the bases, and made from them.

A track is a layer that is not trained. It is computed again for every row, whatever was masked,
shuffled or mutated in it, so explanations, predictions and annotations stay true; and it may be
taken away, which says how much of a decision it is.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from basewise.errors import UnknownName
from basewise.registry import Registry

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["TRACKS", "Tracks", "without_track"]

TRACKS = Registry("track", {"z_forming": "basewise.models.z_forming:ZForming"})


class Tracks(nn.ModuleDict):
    """One-hot rows (n, b, 4) with a channel more for each track: (n, b, 4 + tracks)."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__({name: TRACKS.get(name)() for name in names})

    def forward(self, x: Tensor) -> Tensor:
        if not self:
            return x
        return torch.cat([x, *(track(x).unsqueeze(-1) for track in self.values())], -1)


class Level(nn.Module):
    """A track that says the same everywhere: rows (n, b, 4) to (n, b)."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        return torch.full_like(x[..., 0], self.value)


def without_track(model: Model, track: str, level: float) -> Model:
    """A copy of a model that reads `level` at every base in place of a track.

    The bases stay, so what the network itself finds in them does too.

    Raises
    ------
    UnknownName
        If the model reads no such track.
    """
    network = copy.deepcopy(model.network)
    tracks = getattr(network, "tracks", {})
    if track not in tracks:
        raise UnknownName(f"track of {model.name}", track, list(tracks))
    tracks[track] = Level(level)
    return replace(model, network=network, name=f"{model.name} without {track}")
