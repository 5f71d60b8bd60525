"""Code that is not ours behind the interface of a network: functions and one-hot modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from basewise.errors import CapabilityError, DataError
from basewise.models.onehot import OneHot
from basewise.sequence.alphabet import N, decode_rows

__all__ = ["FunctionNetwork", "OneHotModule"]


class FunctionNetwork(nn.Module):
    """A function of sequences behind the interface of a network."""

    def __init__(self, function: Callable[[list[str]], Any], columns: int):
        super().__init__()
        self.function, self.columns = function, columns

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> SequenceClassifierOutput:
        # Padding, which has no letter, is cut off again.
        sequences = decode_rows(np.minimum(input_ids.cpu().numpy().astype(np.uint8), N))
        if attention_mask is not None:
            lengths = attention_mask.sum(1).tolist()
            sequences = [row[:n] for row, n in zip(sequences, lengths, strict=True)]
        values = np.asarray(self.function(sequences), float)
        if values.ndim == 1:
            values = values[:, None]
        if values.shape != (len(sequences), self.columns):
            raise DataError(
                f"The function returned shape {values.shape} for {len(sequences)} sequences; "
                f"allowed is ({len(sequences)}, {self.columns}): one column per label."
            )
        return SequenceClassifierOutput(logits=torch.from_numpy(values))


class OneHotModule(nn.Module):
    """A foreign module on one-hot input behind the interface of a network."""

    def __init__(self, module: nn.Module, channels_first: bool):
        super().__init__()
        self.embeddings = OneHot()
        self.module, self.channels_first = module, channels_first
        for parameter in module.parameters():  # where it lies, and as exact as it is
            self.embeddings.to(parameter.device, parameter.dtype)
            break

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> SequenceClassifierOutput:
        if attention_mask is not None:
            raise CapabilityError("A foreign module takes sequences of one length a call.")
        one_hot = self.embeddings(input_ids)
        raw = self.module(one_hot.transpose(1, 2) if self.channels_first else one_hot)
        return SequenceClassifierOutput(logits=raw if raw.ndim == 2 else raw[:, None])
