"""A U-Net that labels every base: what stands far away is read coarsely, what is near sharply.

Going down, each level halves the resolution and adds channels; going up, each level is brought back
and joined with what the way down had found there (Ronneberger, Fischer & Brox 2015, MICCAI, in
one dimension, with the residual blocks of `basewise.models.cnn`). A base sees some 2**depth times
the kernel to either side, at little more cost than one level.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from basewise.models.cnn import Block
from basewise.models.labeller import BaseLabeller, BaseLabellerConfig
from basewise.models.onehot import Conv, MaskedBatchNorm, masked

__all__ = ["UNet", "UNetConfig"]


class UNetConfig(BaseLabellerConfig):
    """Settings of the U-Net, beside `BaseLabellerConfig`'s.

    Parameters
    ----------
    channels : int
        Width at the resolution of bases.
    growth : int
        Channels more at each coarser level.
    depth : int
        Levels below the bases; the coarsest has one position for 2**depth of them.
    stem_kernel : int
        Bases one filter of the first layer reads.
    kernel : int
        Kernel of every block.
    dropout : float
        Share of channels dropped in every block.
    """

    model_type = "basewise-unet"

    def __init__(
        self,
        channels: int = 32,
        growth: int = 16,
        depth: int = 5,
        stem_kernel: int = 15,
        kernel: int = 5,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.channels = channels
        self.growth = growth
        self.depth = depth
        self.stem_kernel = stem_kernel
        self.kernel = kernel
        self.dropout = dropout
        super().__init__(**kwargs)


class UNet(BaseLabeller):
    """The U-Net with a label for every base; its embedding is `OneHot`."""

    config_class = UNetConfig
    base_model_prefix = "unet"

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        widths = [config.channels + level * config.growth for level in range(config.depth + 1)]
        pairs = list(pairwise(widths))
        self.stem = Conv(self.channels, widths[0], config.stem_kernel, bias=False)
        self.down = nn.ModuleList(_block(config, c) for c in widths)
        self.coarser = nn.ModuleList(Conv(c, wide, 3, stride=2, bias=False) for c, wide in pairs)
        self.finer = nn.ModuleList(Conv(wide, c, 1, bias=False) for c, wide in pairs)
        self.up = nn.ModuleList(_block(config, c) for c in widths[:-1])
        self.norm = MaskedBatchNorm(widths[0])
        self.out = nn.Linear(widths[0], cast(int, config.num_labels))
        self.post_init()  # type: ignore[no-untyped-call]

    def strand(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        masks = [mask]
        layers = [self.down[0](self.stem(masked(x, mask)), mask)]
        for coarser, block in zip(self.coarser, self.down[1:], strict=True):
            # The position of a pair of bases is real where its first one is.
            above = masks[-1]
            masks.append(None if above is None else above[:, ::2])
            layers.append(block(coarser(masked(layers[-1], above)), masks[-1]))
        x = layers[-1]
        for level in range(len(self.up) - 1, -1, -1):
            beside = layers[level]
            finer = self.finer[level](x).repeat_interleave(2, 1)[:, : beside.shape[1]]
            x = self.up[level](beside + finer, masks[level])
            layers.append(x)
        logits: Tensor = self.out(functional.gelu(self.norm(x, mask)))
        return logits, layers


def _block(config: UNetConfig, channels: int) -> Block:
    return Block(channels, config.kernel, 1, config.dropout)
