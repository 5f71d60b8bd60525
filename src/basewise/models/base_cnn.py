"""A residual, dilated convolutional network that labels every base.

The stem and the blocks of `basewise.models.cnn` without pooling: one output per base. With n
blocks of dilations 1, 2, 4, ... a base sees some 2**n times the kernel to either side. What it
gives may be averaged over both strands (as Shrikumar et al. 2017 share weights between them), so
that a base has one label whichever strand is read.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig
from transformers.modeling_outputs import TokenClassifierOutput

from basewise.models.cnn import Block
from basewise.models.onehot import Conv, MaskedBatchNorm, OneHotNetwork

__all__ = ["BaseCnn", "BaseCnnConfig"]


class BaseCnnConfig(PreTrainedConfig):
    """Settings of the convolutional network on bases.

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
    both_strands : bool
        Read both strands and average them: twice the work, and no label depends on the strand.
    """

    model_type = "basewise-base-cnn"

    def __init__(
        self,
        channels: int = 64,
        stem_kernel: int = 9,
        kernel: int = 5,
        dilations: tuple[int, ...] | list[int] = (1, 2, 4, 8, 16),
        hidden: int = 64,
        dropout: float = 0.1,
        both_strands: bool = True,
        head: str = "token_classification",
        **kwargs: Any,
    ) -> None:
        self.channels = channels
        self.stem_kernel = stem_kernel
        self.kernel = kernel
        self.dilations = list(dilations)
        self.hidden = hidden
        self.dropout = dropout
        self.both_strands = both_strands
        self.head = head
        super().__init__(**kwargs)


class BaseCnn(OneHotNetwork):
    """The convolutional network with a label for every base; its embedding is `OneHot`."""

    config_class = BaseCnnConfig
    base_model_prefix = "base_cnn"

    def __init__(self, config: BaseCnnConfig) -> None:
        super().__init__(config)
        c = config.channels
        self.stem = Conv(4, c, config.stem_kernel, bias=False)
        self.blocks = nn.ModuleList(Block(cast(Any, config), d) for d in config.dilations)
        self.norm = MaskedBatchNorm(c)
        self.dense = nn.Linear(c, config.hidden)
        self.out = nn.Linear(config.hidden, cast(int, config.num_labels))
        self.post_init()  # type: ignore[no-untyped-call]

    def read(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Logits (n, b, k), and what every layer gave, of rows (n, b, 4)."""
        if not self.config.both_strands:
            return self._strand(x, mask)
        # In one batch, so that normalisation sees both strands alike; next to each other, so
        # that the first half of the rows stays the first half.
        both = torch.stack([x, x.flip(1, 2)], 1).flatten(0, 1)
        masks = None if mask is None else torch.stack([mask, mask.flip(1)], 1).flatten(0, 1)
        logits, layers = self._strand(both, masks)
        one, other = logits.unflatten(0, (-1, 2)).unbind(1)
        return (one + other.flip(1)) / 2, [layer[::2] for layer in layers]

    def _strand(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        layers = [self.stem(x)]
        for block in self.blocks:
            layers.append(block(layers[-1], mask))
        x = functional.gelu(self.norm(layers[-1], mask))
        return self.out(functional.gelu(self.dense(x))), layers

    def forward(self, *given: Any, labels: Tensor | None = None, **named: Any) -> Any:
        """Logits, (n, b, k); see `OneHotNetwork.forward`. Labels, (n, b), of -100 are left out."""
        found: Any = super().forward(*given, **named)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(found.logits.flatten(0, 1).float(), labels.flatten())
        return TokenClassifierOutput(
            loss=loss, logits=found.logits, hidden_states=found.hidden_states
        )
