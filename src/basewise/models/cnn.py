"""A residual, dilated convolutional network on one-hot bases.

Blocks are pre-activation residuals (He et al. 2016) with dilated convolutions (Yu & Koltun
2016), on a stem of wide convolutions that read motifs. The network either knows positions
(sequences aligned to a point, such as a transcription start site, up to a fixed length): then
what the stem reads is shifted by a learned vector of its position, and the head reads each
position by itself; or it pools over all positions (any length). Several members may stand
side by side, an ensemble in one network.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig

from basewise.errors import DataError
from basewise.models.onehot import Conv, MaskedBatchNorm, OneHotNetwork, masked, masked_
from basewise.models.streaming import streams, tiled

__all__ = ["CnnConfig", "CnnForSequenceClassification"]


class CnnConfig(PreTrainedConfig):
    """Settings of the convolutional network.

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
    positions : int
        Length in bases up to which the network knows where a base stands, counted from the
        first; longer sequences are refused. 0: it does not know, and takes any length.
    members : int
        Networks side by side whose logits are averaged. Each learns from its own share of
        every batch, so they err differently, and training costs no more.
    reduced : int
        Channels kept per position before a position-aware head is flattened.
    hidden : int
        Width of the dense layer of the head.
    dropout, head_dropout : float
        Share of channels dropped in every block, and of features in the head.
    """

    model_type = "basewise-cnn"

    def __init__(
        self,
        channels: int = 128,
        stem_kernel: int = 15,
        kernel: int = 5,
        dilations: tuple[int, ...] | list[int] = (1, 2, 4),
        positions: int = 0,
        members: int = 1,
        reduced: int = 16,
        hidden: int = 128,
        dropout: float = 0.2,
        head_dropout: float = 0.4,
        **kwargs: Any,
    ) -> None:
        self.channels = channels
        self.stem_kernel = stem_kernel
        self.kernel = kernel
        self.dilations = list(dilations)
        self.positions = positions
        self.members = members
        self.reduced = reduced
        self.hidden = hidden
        self.dropout = dropout
        self.head_dropout = head_dropout
        super().__init__(**kwargs)

    @property
    def max_tokens(self) -> int | None:
        """The longest sequence, in bases; None where any length goes."""
        return self.positions or None


class ChannelDropout(nn.Module):
    """Drops whole channels of rows (n, b, c), drawn for each row (Tompson et al. 2015)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.share == 0:
            return x
        keep = x.new_empty(len(x), 1, x.shape[-1]).bernoulli_(1 - self.share)
        return x * keep.div_(1 - self.share)


class Block(nn.Module):
    """x + conv1(act(norm(conv_k(act(norm(x)))))), where only conv_k looks sideways."""

    def __init__(self, channels: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = MaskedBatchNorm(channels)
        self.conv1 = Conv(channels, channels, kernel, dilation=dilation, bias=False)
        self.norm2 = MaskedBatchNorm(channels)
        self.drop = ChannelDropout(dropout)
        self.conv2 = Conv(channels, channels, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.conv1(masked_(functional.gelu(self.norm1(x, mask)), mask))
        y = self.conv2(self.drop(functional.gelu(self.norm2(y, mask))))
        added: Tensor = x + y
        return added


class PositionHead(nn.Module):
    """Reads every position by itself: (n, b, c) with b up to `positions`, to (n, k)."""

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        self.positions = config.positions
        self.reduce = nn.Linear(config.channels, config.reduced)
        self.dense = nn.Linear(config.reduced * config.positions, config.hidden)
        self.out = nn.Linear(config.hidden, cast(int, config.num_labels))
        self.drop = nn.Dropout(config.head_dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = masked(self.reduce(x), mask)
        x = functional.pad(x, (0, 0, 0, self.positions - x.shape[1])).flatten(1)
        logits: Tensor = self.out(self.drop(functional.gelu(self.dense(self.drop(x)))))
        return logits


class PoolingHead(nn.Module):
    """Mean and maximum over the bases: (n, b, c) of any length, to (n, k)."""

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * config.channels, config.hidden)
        self.out = nn.Linear(config.hidden, cast(int, config.num_labels))
        self.drop = nn.Dropout(config.head_dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.read(*sum_and_highest(x, mask), lengths(x, mask))

    def read(self, total: Tensor, highest: Tensor, bases: Tensor | int) -> Tensor:
        """Logits (n, k) of the sum and the maximum over so many bases, (n, c) each."""
        x = torch.cat([total / bases, highest], 1)
        logits: Tensor = self.out(self.drop(functional.gelu(self.dense(self.drop(x)))))
        return logits


def lengths(x: Tensor, mask: Tensor | None) -> Tensor | int:
    """Bases of rows (n, b, c): one number, or (n, 1)."""
    return x.shape[1] if mask is None else mask.sum(1, keepdim=True)


def sum_and_highest(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Over the bases of rows (n, b, c), which are changed where there is none; (n, c) each."""
    total = masked_(x, mask).sum(1)
    return total, masked_(x, mask, -torch.inf).amax(1)


class Member(nn.Module):
    """One network of the ensemble: rows (n, b, 4) to logits (n, k) and the layers before.

    Its convolutions have no biases, which the normalisation after them would take away.
    """

    def __init__(self, config: CnnConfig) -> None:
        super().__init__()
        c = config.channels
        self.stem = Conv(4, c, config.stem_kernel, bias=False)
        self.place = nn.Parameter(torch.empty(config.positions, c)) if config.positions else None
        self.blocks = nn.ModuleList(
            Block(c, config.kernel, dilation, config.dropout) for dilation in config.dilations
        )
        self.norm = MaskedBatchNorm(c)
        self.head = PositionHead(config) if config.positions else PoolingHead(config)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        if isinstance(self.head, PoolingHead) and not self.training and streams(x.shape[1]):
            parts = tiled(self._pooled, x, mask, self.reach)
            total, highest = (torch.stack(each) for each in zip(*parts, strict=True))
            return self.head.read(total.sum(0), highest.amax(0), lengths(x, mask)), []
        x = self.stem(x)
        if self.place is not None:
            x = x + self.place[: x.shape[1]].to(x.dtype)
        layers = [x]
        for block in self.blocks:
            layers.append(block(layers[-1], mask))
        return self.head(self._last(layers[-1], mask), mask), layers

    @property
    def reach(self) -> int:
        """Bases to either side on which what the head reads at a base may depend."""
        convolutions = [self.stem, *(cast(Block, block).conv1 for block in self.blocks)]
        return sum(-(-(c.kernel_size[0] - 1) * c.dilation[0] // 2) for c in convolutions)

    def _last(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return functional.gelu(self.norm(x, mask))

    def _pooled(self, x: Tensor, mask: Tensor | None, inside: slice) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, mask)
        x = self._last(x[:, inside], mask)
        return sum_and_highest(x, None if mask is None else mask[:, inside])


class CnnForSequenceClassification(OneHotNetwork):
    """The convolutional network with a head on whole sequences; its embedding is `OneHot`."""

    config_class = CnnConfig
    base_model_prefix = "cnn"

    def __init__(self, config: CnnConfig) -> None:
        super().__init__(config)
        self.members = nn.ModuleList(Member(config) for _ in range(config.members))
        self.post_init()  # type: ignore[no-untyped-call]

    def read(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        if 0 < self.config.positions < x.shape[1]:
            raise DataError(
                f"A sequence has {x.shape[1]} bases; this network knows positions up to "
                f"{self.config.positions}. Cut the sequences, or train one with "
                f"positions = {x.shape[1]} or 0."
            )
        found: list[tuple[Tensor, list[Tensor]]]
        if self.training:
            rows = x.chunk(len(self.members))
            masks = [None] * len(rows) if mask is None else mask.chunk(len(self.members))
            found = [
                member(*share) for member, *share in zip(self.members, rows, masks, strict=False)
            ]
            logits = torch.cat([logits for logits, _ in found])
            return logits, [
                torch.cat(layers) for layers in zip(*(f[1] for f in found), strict=True)
            ]
        found = [member(x, mask) for member in self.members]
        if len(found) == 1:
            return found[0]
        logits = torch.stack([logits for logits, _ in found]).mean(0)
        return logits, [
            torch.cat(layers, -1) for layers in zip(*(f[1] for f in found), strict=True)
        ]

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Member) and module.place is not None:
            nn.init.normal_(module.place, std=0.02)
