"""A residual, dilated convolutional network that labels every base.

The stem and the blocks of `basewise.models.cnn` without pooling: one output per base. With n
blocks of dilations 1, 2, 4, ... a base sees some 2**n times the kernel to either side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from basewise.models.cnn import Block
from basewise.models.labeller import BaseLabeller, BaseLabellerConfig
from basewise.models.onehot import Conv, MaskedBatchNorm, masked

__all__ = ["BaseCnn", "BaseCnnConfig"]


class BaseCnnConfig(BaseLabellerConfig):
    """Settings of the convolutional network on bases, beside `BaseLabellerConfig`'s.

    Parameters
    ----------
    channels : int
        Width of every layer.
    stem_kernel : int
        Bases one filter of the first layer reads.
    kernel : int
        Kernel of the first convolution of each block; the second has kernel 1.
    dilations : list of int
        One block per entry.
    hidden : int
        Width of the dense layer of the head.
    dropout : float
        Share of channels dropped in every block.
    """

    model_type = "basewise-base-cnn"

    def __init__(
        self,
        channels: int = 64,
        stem_kernel: int = 9,
        kernel: int = 5,
        dilations: Sequence[int] = (1, 2, 4, 8, 16),
        hidden: int = 64,
        dropout: float = 0.1,
        **kwargs: Any,
    ) -> None:
        self.channels = channels
        self.stem_kernel = stem_kernel
        self.kernel = kernel
        self.dilations = list(dilations)
        self.hidden = hidden
        self.dropout = dropout
        super().__init__(**kwargs)


class BaseCnn(BaseLabeller):
    """The convolutional network with a label for every base; its embedding is `OneHot`."""

    config_class = BaseCnnConfig
    base_model_prefix = "base_cnn"

    def __init__(self, config: BaseCnnConfig) -> None:
        super().__init__(config)
        c = config.channels
        self.stem = Conv(self.channels, c, config.stem_kernel, bias=False)
        self.blocks = nn.ModuleList(
            Block(c, config.kernel, dilation, config.dropout) for dilation in config.dilations
        )
        self.norm = MaskedBatchNorm(c)
        self.dense = nn.Linear(c, config.hidden)
        self.out = nn.Linear(config.hidden, cast(int, config.num_labels))
        self.post_init()  # type: ignore[no-untyped-call]

    def strand(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        layers = [self.stem(masked(x, mask))]
        for block in self.blocks:
            layers.append(block(layers[-1], mask))
        x = functional.gelu(self.norm(layers[-1], mask))
        return self.out(functional.gelu(self.dense(x))), layers
