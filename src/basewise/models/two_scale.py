"""A network of two scales that labels every base: what is near says where, what is around whether.

One part reads the bases beside each base and finds where a stretch begins and ends; it never leaves
the resolution of bases. The other pools the bases at once, so it knows no edges, and says by the
composition and the words of a few hundred bases which stretches have which label; it reads both
strands. Their logits add, so each part learns what it can see: where stretches of a label are a
choice among stretches that look alike, one network at one scale learns the edges and little else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from basewise.models.cnn import Block
from basewise.models.labeller import (
    BaseLabeller,
    BaseLabellerConfig,
    reversed_complement,
    reversed_rows,
)
from basewise.models.onehot import Conv, MaskedBatchNorm, masked

__all__ = ["TwoScale", "TwoScaleConfig"]


class TwoScaleConfig(BaseLabellerConfig):
    """Settings of the network of two scales, beside `BaseLabellerConfig`'s.

    Parameters
    ----------
    channels : int
        Width of the part at the resolution of bases.
    stem_kernel : int
        Bases one filter of the first layer of either part reads.
    kernel : int
        Kernel of every block.
    dilations : list of int
        One block of the part at the resolution of bases per entry.
    around_channels : int
        Width of the part that looks around.
    pool : int
        Bases that it makes one position of.
    around_dilations : list of int
        One block of it per entry.
    reach : int
        Bases to either side over which it takes the mean.
    dropout : float
        Share of channels it drops in every block; of its last layer, twice as many.
    """

    model_type = "basewise-two-scale"

    def __init__(
        self,
        channels: int = 16,
        stem_kernel: int = 15,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 2, 4),
        around_channels: int = 32,
        pool: int = 16,
        around_dilations: Sequence[int] = (1, 2),
        reach: int = 256,
        dropout: float = 0.2,
        **kwargs: Any,
    ) -> None:
        self.channels = channels
        self.stem_kernel = stem_kernel
        self.kernel = kernel
        self.dilations = list(dilations)
        self.around_channels = around_channels
        self.pool = pool
        self.around_dilations = list(around_dilations)
        self.reach = reach
        self.dropout = dropout
        super().__init__(**kwargs)


class Around(nn.Module):
    """Rows (n, b, channels) to logits (n, b, labels) that are the same for `pool` bases.

    What a filter finds is averaged over these, read by blocks, and joined with its mean over
    `reach` bases to either side. Means are over bases, never over pads.
    """

    def __init__(self, config: TwoScaleConfig, channels: int, labels: int) -> None:
        super().__init__()
        c = config.around_channels
        self.pool, self.side = config.pool, config.reach // config.pool
        self.stem = Conv(channels, c, config.stem_kernel, bias=False)
        self.first = MaskedBatchNorm(c)
        self.blocks = nn.ModuleList(
            Block(c, config.kernel, d, config.dropout) for d in config.around_dilations
        )
        self.last = MaskedBatchNorm(c)
        self.mean = nn.Linear(c, c)
        self.drop = nn.Dropout(min(2 * config.dropout, 0.9))
        self.out = nn.Linear(c, labels)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        b = x.shape[1]
        x = masked(functional.gelu(self.first(self.stem(x), mask)), mask)
        real = torch.ones(x.shape[:2], device=x.device) if mask is None else mask
        share = self._pooled(real.to(x.dtype).unsqueeze(-1))
        x = self._pooled(x) / share.clamp(min=1 / self.pool)
        there = None if mask is None else share[..., 0] > 0
        for block in self.blocks:
            x = block(x, there)
        x = functional.gelu(self.last(x, there))
        bases = self._averaged(share)  # of a short sequence next to none, behind its end none
        mean = self._averaged(x * share) / bases.where(bases > 0, 1)
        x = x + functional.gelu(self.mean(mean))
        logits: Tensor = self.out(self.drop(x))
        return logits.repeat_interleave(self.pool, 1)[:, :b]

    def _pooled(self, x: Tensor) -> Tensor:
        """Means (n, p, c) of so many bases of (n, b, c) each; zeros fill up the last ones."""
        x = functional.pad(x, (0, 0, 0, -x.shape[1] % self.pool))
        means: Tensor = x.unflatten(1, (-1, self.pool)).mean(2)
        return means

    def _averaged(self, x: Tensor) -> Tensor:
        """Means (n, p, c) over positions within reach, zeros behind the ends."""
        width = 2 * self.side + 1
        return functional.avg_pool1d(x.transpose(1, 2), width, 1, self.side).transpose(1, 2)


class TwoScale(BaseLabeller):
    """The network of two scales with a label for every base; its embedding is `OneHot`."""

    config_class = TwoScaleConfig
    base_model_prefix = "two_scale"

    def __init__(self, config: TwoScaleConfig) -> None:
        super().__init__(config)
        c, labels = config.channels, cast(int, config.num_labels)
        self.stem = Conv(self.channels, c, config.stem_kernel, bias=False)
        self.blocks = nn.ModuleList(Block(c, config.kernel, d, 0.0) for d in config.dilations)
        self.norm = MaskedBatchNorm(c)
        self.out = nn.Linear(c, labels)
        self.around = Around(config, self.channels, labels)
        self.post_init()  # type: ignore[no-untyped-call]

    def read(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        if self.config.both_strands:
            return super().read(x, mask)
        twice = None if mask is None else mask.repeat_interleave(2, 0)
        both = self.tracks(torch.stack([x, reversed_complement(x, mask)], 1).flatten(0, 1))
        near, layers = self._near(both[::2], mask)
        around: Tensor = self.around(masked(both, twice), twice)
        around = (around[::2] + reversed_rows(around[1::2], mask)) / 2
        return near + around, layers

    def strand(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        near, layers = self._near(x, mask)
        return near + self.around(masked(x, mask), mask), layers

    def _near(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        layers = [self.stem(masked(x, mask))]
        for block in self.blocks:
            layers.append(block(layers[-1], mask))
        logits: Tensor = self.out(functional.gelu(self.norm(layers[-1], mask)))
        return logits, layers
