"""Weights that processes of one machine share: pages of the file, in memory once for all."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from basewise.models.checkpoints import read_weights

__all__ = ["map_weights"]


def map_weights(network: nn.Module, folder: Path) -> int:
    """Put the pages of a checkpoint's file in the place of equal weights; gives their bytes.

    The system keeps one copy of them for all processes that do the same. What is written to a
    weight stays with its process. Only safetensors can be mapped, and what an architecture
    keeps in another shape or under another name than the file stays as it is. The file must not
    be written over while the network lives; it may be replaced.
    """
    state, path = read_weights(folder)
    if ".safetensors" not in path.suffixes:
        return 0
    there = [*network.named_parameters(), *network.named_buffers()]
    mapped = 0
    with torch.no_grad():
        for name, weight in there:
            found = state.get(name)
            if found is None or found.dtype != weight.dtype or found.shape != weight.shape:
                continue
            if torch.equal(found, weight):
                weight.data = found
                mapped += found.nbytes
    return mapped
