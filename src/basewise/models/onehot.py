"""One-hot input as a network's embedding, and what networks on bases share about padding.

A network on bases takes ids of the nucleotide tokenizer (A 0, C 1, G 2, T 3, N 4, PAD 5)
or their one-hot rows, `inputs_embeds` (n, b, 4). Sequences are padded on the right and
carried with a mask; a layer that looks sideways must see zeros where there is no base,
so a sequence has the same outputs in every batch.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from basewise.errors import CapabilityError
from basewise.models.streaming import whole

__all__ = ["PAD", "Conv", "MaskedBatchNorm", "OneHot", "OneHotNetwork", "masked", "masked_"]

PAD = 5
_ROWS = (*torch.eye(4).tolist(), [0.25] * 4, [0.0] * 4)


class OneHot(nn.Module):
    """Ids (n, b) to rows (n, b, 4): unit vectors for A, C, G, T; quarters for N; zeros for PAD.

    The table is fixed. Gradient methods hook the output of this module, as they hook the
    word embeddings of a language model.
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(_ROWS), persistent=False)

    def reset(self) -> None:
        """Fill the table again: it is no part of a checkpoint."""
        self.weight.copy_(torch.tensor(_ROWS))

    def forward(self, input_ids: Tensor) -> Tensor:
        return nn.functional.embedding(input_ids, self.weight)


def masked(x: Tensor, mask: Tensor | None, value: float = 0.0) -> Tensor:
    """Rows (n, b, c) with `value` where the mask (n, b) says there is no base."""
    if mask is None:
        return x
    if value == 0:  # multiplied: more than twice as fast as filling in
        return x * mask.unsqueeze(-1)
    return x.masked_fill(~mask.unsqueeze(-1), value)


def masked_(x: Tensor, mask: Tensor | None, value: float = 0.0) -> Tensor:
    """The same in place, for what was just made, nobody else holds and no gradient needs again.

    Only what stands from the first base on that some row lacks is looked at: rows that share a
    batch are padded on the right and of nearly one length, so this costs next to nothing. (On an
    accelerator, where asking for that base would wait for it, all are.)
    """
    if mask is not None:
        first = 0
        if mask.device.type == "cpu":
            first = int(mask.view(torch.uint8).amin(0).argmin())
        x[:, first:].masked_fill_(~mask[:, first:].unsqueeze(-1), value)
    return x


class Conv(nn.Conv1d):
    """A convolution over rows (n, b, c), zero-padded to the same length (`ceil(b / stride)`).

    Computed as a two-dimensional one of height one, channels last, which oneDNN and cuDNN
    do about 1.5 times as fast as `Conv1d` on (n, c, b).
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: int,
        *,
        dilation: int = 1,
        stride: int = 1,
        bias: bool = True,
    ) -> None:
        reach = dilation * (kernel - 1)
        super().__init__(channels, out, kernel, stride, reach // 2, dilation, bias=bias)
        # An even reach pads both sides alike; an odd one lacks a column on the right.
        self.more = reach % 2

    def forward(self, x: Tensor) -> Tensor:
        if self.more:
            x = nn.functional.pad(x, (0, 0, 0, self.more))
        y = nn.functional.conv2d(
            x.transpose(1, 2).unsqueeze(2),
            self.weight.unsqueeze(2),
            self.bias,
            (1, self.stride[0]),
            (0, cast(int, self.padding[0])),
            (1, self.dilation[0]),
        )
        return y.squeeze(2).transpose(1, 2)


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of rows (n, b, c) whose statistics count bases only, never pads.

    What it gives for pads means nothing; a layer behind it that looks sideways masks them.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None or not self.training:  # in evaluation nothing is counted
            return super().forward(x.reshape(-1, x.shape[-1])).view(x.shape)
        y = torch.zeros_like(x)
        y[mask] = super().forward(x[mask]).to(y.dtype)
        return y


class OneHotNetwork(PreTrainedModel):
    """A network that reads one-hot bases: what all of them share.

    A subclass makes its layers, calls `post_init`, and says in `read` how rows become logits.
    """

    main_input_name = "input_ids"

    def __init__(self, config: PreTrainedConfig) -> None:
        super().__init__(config)
        self.embeddings = OneHot()

    def get_input_embeddings(self) -> OneHot:
        return self.embeddings

    def read(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Logits (n, k), and what every layer gave, of rows (n, b, 4) under a mask (n, b) bool."""
        raise NotImplementedError

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        **unused: Any,
    ) -> SequenceClassifierOutput:
        """Logits, (n, k), of ids (n, b) or of one-hot rows `inputs_embeds` (n, b, 4).

        Without a mask, PAD ids are no bases and every row of `inputs_embeds` is one.

        Raises
        ------
        CapabilityError
            If not exactly one of `input_ids` and `inputs_embeds` is given.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise CapabilityError("Give the network input_ids or inputs_embeds, and not both.")
        if attention_mask is None and input_ids is not None:
            attention_mask = input_ids != PAD
        x = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        mask = None
        if attention_mask is not None and not bool(attention_mask.all()):
            mask = attention_mask.bool()
        with whole() if output_hidden_states else nullcontext():
            logits, layers = self.read(masked(x, mask), mask)
        return SequenceClassifierOutput(
            loss=None
            if labels is None
            else self.loss_function(labels=labels, pooled_logits=logits, config=self.config),
            logits=logits,
            hidden_states=tuple(layers) if output_hidden_states else None,
        )

    def _init_weights(self, module: nn.Module) -> None:
        # torch's own initialisation of every layer; transformers' default (normal, 0.02)
        # is meant for Transformers.
        if isinstance(module, OneHot):
            module.reset()
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.BatchNorm1d | nn.LSTM):
            module.reset_parameters()
