"""Convolutions, max-pooling and batch normalisation, then an LSTM, then dense layers.

The kind of network that reads whole contigs or genomes of bacteria (Mreches et al. 2024,
deepG): convolutions of relu, the first pooled before it is normalised and the others after;
the final state of a (bidirectional) LSTM; dense layers of relu. Written from that description.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import PreTrainedConfig

from basewise.errors import ConfigError
from basewise.models.onehot import Conv, MaskedBatchNorm, OneHotNetwork, masked

__all__ = ["CnnLstmConfig", "CnnLstmForSequenceClassification"]


class CnnLstmConfig(PreTrainedConfig):
    """Settings of the CNN-LSTM.

    Parameters
    ----------
    filters, kernels, strides, pools : list of int
        Of each convolution and of the max-pooling that follows it; lists of one length.
        The LSTM takes one step per `product(strides) * product(pools)` bases.
    lstm_units, lstm_layers : int
        Width (of each direction) and depth of the LSTM.
    bidirectional : bool
        Whether a second LSTM reads from the end.
    dense : list of int
        Widths of the dense layers before the output.
    dropout : float
        Share of features dropped before every dense layer.

    Raises
    ------
    ConfigError
        If the four lists differ in length.

    Notes
    -----
    For 1,000,000 bases: `filters=[64, 96, 128], kernels=[24, 12, 12], strides=[8, 4, 4],
    pools=[4, 2, 2]`, an LSTM of 489 steps.
    """

    model_type = "basewise-cnn-lstm"

    def __init__(
        self,
        filters: Sequence[int] = (64, 128),
        kernels: Sequence[int] = (12, 5),
        strides: Sequence[int] = (1, 1),
        pools: Sequence[int] = (2, 2),
        lstm_units: int = 64,
        lstm_layers: int = 1,
        bidirectional: bool = True,
        dense: Sequence[int] = (64,),
        dropout: float = 0.3,
        **kwargs: Any,
    ) -> None:
        lists = {"filters": filters, "kernels": kernels, "strides": strides, "pools": pools}
        if len({len(values) for values in lists.values()}) > 1:
            given = ", ".join(f"{name} has {len(values)}" for name, values in lists.items())
            raise ConfigError(f"A CNN-LSTM needs one entry per convolution in each list; {given}.")
        self.filters = list(filters)
        self.kernels = list(kernels)
        self.strides = list(strides)
        self.pools = list(pools)
        self.lstm_units = lstm_units
        self.lstm_layers = lstm_layers
        self.bidirectional = bidirectional
        self.dense = list(dense)
        self.dropout = dropout
        super().__init__(**kwargs)


class ConvBlock(nn.Module):
    """relu convolution, max-pooling and batch normalisation of rows (n, b, c)."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int, pool: int, *, pool_first: bool
    ) -> None:
        super().__init__()
        self.conv = Conv(channels, out, kernel, stride=stride)
        self.norm = MaskedBatchNorm(out)
        self.stride, self.pool, self.pool_first = stride, pool, pool_first

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = torch.relu(self.conv(x))
        mask = _every(mask, self.stride)
        if not self.pool_first:
            x = self.norm(x, mask)
        x, mask = _pooled(x, mask, self.pool), _every(mask, self.pool)
        if self.pool_first:
            x = self.norm(x, mask)
        return masked(x, mask), mask


def _every(mask: Tensor | None, step: int) -> Tensor | None:
    # Output j of a stride or window stands on input j * step, so ceil(b / step) are real.
    return None if mask is None else mask[:, ::step]


def _pooled(x: Tensor, mask: Tensor | None, width: int) -> Tensor:
    if width == 1:
        return x
    x = masked(x, mask, -torch.inf).transpose(1, 2)
    pooled = nn.functional.max_pool1d(x, width, ceil_mode=True).transpose(1, 2)
    real = _every(mask, width)  # filled in, since zero times infinity is no number
    return pooled if real is None else pooled.masked_fill(~real.unsqueeze(-1), 0.0)


class CnnLstmForSequenceClassification(OneHotNetwork):
    """The CNN-LSTM with a head on whole sequences; its embedding is `OneHot`."""

    config_class = CnnLstmConfig
    base_model_prefix = "cnn_lstm"

    def __init__(self, config: CnnLstmConfig) -> None:
        super().__init__(config)
        inputs = [4, *config.filters[:-1]]
        self.blocks = nn.ModuleList(
            ConvBlock(channels, out, kernel, stride, pool, pool_first=i == 0)
            for i, (channels, out, kernel, stride, pool) in enumerate(
                zip(
                    inputs,
                    config.filters,
                    config.kernels,
                    config.strides,
                    config.pools,
                    strict=True,
                )
            )
        )
        self.lstm = nn.LSTM(
            config.filters[-1],
            config.lstm_units,
            num_layers=config.lstm_layers,
            bidirectional=config.bidirectional,
            batch_first=True,
        )
        widths = [config.lstm_units * (2 if config.bidirectional else 1), *config.dense]
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.out = nn.Linear(widths[-1], cast(int, config.num_labels))
        self.drop = nn.Dropout(config.dropout)
        self.post_init()  # type: ignore[no-untyped-call]

    def read(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        layers = []
        for block in self.blocks:
            x, mask = block(x, mask)
            layers.append(x)
        # Packed, each row ends at its last real step, forwards and backwards.
        _, (state, _) = self.lstm(
            x
            if mask is None
            else pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        )
        top = state[-2:] if self.config.bidirectional else state[-1:]
        x = top.transpose(0, 1).flatten(1)
        for layer in self.dense:
            x = torch.relu(layer(self.drop(x)))
        return self.out(self.drop(x)), layers
