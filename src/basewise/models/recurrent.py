"""A recurrent network that labels every base: the kind that DeepZ is.

Beknazarov, Jin & Poptsova 2020, Sci. Rep. 10:19134: a bidirectional LSTM of two layers, then
dropout, a dense layer, a sigmoid, dropout and the output. There the LSTM was given batches of shape
(windows, bases, features) and not told that windows come first, so that it ran over the batch: a
base knew the same base of the other windows of its batch, and no neighbour. Written from that
description, with the recurrence as published and as meant.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from basewise.errors import ConfigError
from basewise.models.labeller import BaseLabeller, BaseLabellerConfig
from basewise.models.onehot import masked

__all__ = ["Recurrent", "RecurrentConfig"]


class RecurrentConfig(BaseLabellerConfig):
    """Settings of the recurrent network, beside `BaseLabellerConfig`'s.

    Parameters
    ----------
    units : int
        Width of each direction of the LSTM; 500 as published.
    layers : int
        Layers of the LSTM.
    hidden : int
        Width of the dense layer; 500 as published.
    dropout : float
        Share of features dropped before each dense layer.
    recurrence : {"sequence", "batch"}
        What the LSTM runs over: the bases of a sequence, or, as published, the sequences of a
        batch. By "batch" what is predicted for a sequence depends on the others of its batch and on
        their order; alone in its batch, a base is judged without its neighbours. It reads one
        strand.

    Raises
    ------
    ConfigError
        If `recurrence` is another one, or "batch" is to read both strands.
    """

    model_type = "basewise-recurrent"

    def __init__(
        self,
        units: int = 64,
        layers: int = 2,
        hidden: int = 64,
        dropout: float = 0.2,
        recurrence: Literal["sequence", "batch"] = "sequence",
        **kwargs: Any,
    ) -> None:
        self.units = units
        self.layers = layers
        self.hidden = hidden
        self.dropout = dropout
        self.recurrence = recurrence
        super().__init__(**kwargs)
        if recurrence not in ("sequence", "batch"):
            raise ConfigError(f"recurrence = {recurrence!r}: it is 'sequence' or 'batch'.")
        if recurrence == "batch" and self.both_strands:
            raise ConfigError(
                "recurrence = 'batch' is as published, of one strand; set both_strands = false."
            )


class Recurrent(BaseLabeller):
    """The recurrent network with a label for every base; its embedding is `OneHot`."""

    config_class = RecurrentConfig
    base_model_prefix = "recurrent"

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.lstm = nn.LSTM(
            self.channels,
            config.units,
            config.layers,
            bidirectional=True,
            batch_first=config.recurrence == "sequence",
        )
        self.drop = nn.Dropout(config.dropout)
        self.dense = nn.Linear(2 * config.units, config.hidden)
        self.out = nn.Linear(config.hidden, cast(int, config.num_labels))
        self.post_init()  # type: ignore[no-untyped-call]

    def strand(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        x = masked(x, mask)
        if mask is None or self.config.recurrence == "batch":
            found, _ = self.lstm(x)
        else:
            # Packed, so that the direction that comes from the end starts at the last base.
            packed = pack_padded_sequence(
                x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False
            )
            found, _ = pad_packed_sequence(
                self.lstm(packed)[0], batch_first=True, total_length=x.shape[1]
            )
        hidden = torch.sigmoid(self.dense(self.drop(found)))
        logits: Tensor = self.out(self.drop(hidden))
        return logits, [found, hidden]
