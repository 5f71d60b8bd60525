"""Long sequences read a tile at a time, so that memory does not grow with their length.

Convolutions look no further than their reach. A network whose layers are convolutions up to a
pooling over all bases can therefore pool tile by tile, each with that many bases more on both
sides, and forget everything else of a tile; a gradient calculates it once more (checkpointing,
Chen et al. 2016, arXiv 1604.06174). Values and gradients are those of the whole sequence; only
where several bases tie for a maximum may they share its gradient in other parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor, cat
from torch.utils.checkpoint import checkpoint

__all__ = ["TILE", "streams", "tiled", "whole"]

TILE = 1 << 13
"""Bases of a tile; shorter sequences are read at once."""

_WHOLE: ContextVar[bool] = ContextVar("whole", default=False)


@contextmanager
def whole() -> Iterator[None]:
    """Inside, all layers are calculated once, of the whole sequence, and kept."""
    token = _WHOLE.set(True)
    try:
        yield
    finally:
        _WHOLE.reset(token)


def streams(bases: int) -> bool:
    """Whether a sequence of so many bases is to be read in tiles."""
    return bases > TILE and not _WHOLE.get()


def tiled(
    read: Callable[[Tensor, Tensor | None, slice], tuple[Tensor, ...]],
    x: Tensor,
    mask: Tensor | None,
    reach: int,
) -> list[tuple[Tensor, ...]]:
    """What `read` gives for every tile of rows (n, b, c).

    Parameters
    ----------
    read : callable
        Takes the rows of a tile with their surroundings, their mask and where the tile stands
        among them. What it gives should be small: it is all that is kept.
    reach : int
        Bases to either side that a layer may see. Where it is long, tiles are at least eight
        times as long, so that a quarter more is calculated at most.
    """
    size = max(TILE, 8 * reach)
    tiles = x.split(size, 1)
    found = []
    for i, tile in enumerate(tiles):
        # Of a neighbour and not of x, whose gradient would then be as long as x for each tile.
        before = tiles[i - 1][:, size - reach :] if i else tile[:, :0]
        after = tiles[i + 1][:, :reach] if i + 1 < len(tiles) else tile[:, :0]
        rows = cat([before, tile, after], 1)
        inside = slice(before.shape[1], before.shape[1] + tile.shape[1])
        start = i * size - before.shape[1]
        real = None if mask is None else mask[:, start : start + rows.shape[1]]
        found.append(
            checkpoint(read, rows, real, inside, use_reentrant=False, preserve_rng_state=False)
        )
    return found
