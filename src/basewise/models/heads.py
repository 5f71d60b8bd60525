"""Heads of the native networks, and the losses they are trained with.

Letters of shapes: `n` rows, `t` tokens, `w` width of the network, `k` labels, `v` rows of the
embedding.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    CausalLMOutput,
    MaskedLMOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

__all__ = [
    "OUTPUTS",
    "Decoder",
    "Head",
    "MaskedLmHead",
    "Pooler",
    "Pooling",
    "head_loss",
    "pool",
]

Head = Literal["masked_lm", "causal_lm", "sequence_classification", "token_classification"]
"""What a network's logits say: a token at every (next) place, a label of the sequence (or a
number, with `problem_type="regression"`), or a label of every token."""

Pooling = Literal["mean", "first", "last", "pooler"]
"""How a sequence classifier makes one vector of its tokens': the mean of the real ones, the
first, the last real one, or BERT's pooler (a dense layer and tanh on the first)."""

OUTPUTS: dict[str, Any] = {
    "masked_lm": MaskedLMOutput,
    "causal_lm": CausalLMOutput,
    "sequence_classification": SequenceClassifierOutput,
    "token_classification": TokenClassifierOutput,
}


def pool(hidden: Tensor, mask: Tensor | None, how: str) -> Tensor:
    """One vector of a sequence, (n, w), from those of its tokens, (n, t, w).

    The `mean` of the real tokens, the `first` token, or the `last` real one (padded right).
    """
    if how == "first":
        return hidden[:, 0]
    if mask is None:
        return hidden.mean(1) if how == "mean" else hidden[:, -1]
    if how == "mean":
        real = mask[:, :, None].to(hidden.dtype)
        return (hidden * real).sum(1) / real.sum(1).clamp(min=1)
    last = (mask.sum(1) - 1).clamp(min=0).to(torch.long)
    return hidden[torch.arange(len(hidden), device=hidden.device), last]


def head_loss(config: Any, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss a head is trained with.

    Language models and token classifiers: cross-entropy, labels of -100 left out (a causal
    model's labels are the ids themselves; they are shifted here). Sequence classifiers: by
    `config.problem_type`, or by the labels where it says nothing: one output is a regression
    (mean squared error), whole numbers name one class (cross-entropy), other numbers are
    several labels at once (binary cross-entropy).
    """
    if config.head == "causal_lm":
        logits, labels = logits[:, :-1], labels[:, 1:]
    if config.head != "sequence_classification":
        return functional.cross_entropy(logits.flatten(0, 1).float(), labels.flatten())
    logits = logits.float()
    problem = config.problem_type
    if problem == "regression" or (problem is None and config.num_labels == 1):
        return functional.mse_loss(logits, labels.view_as(logits).to(logits.dtype))
    if problem == "multi_label_classification" or (problem is None and labels.is_floating_point()):
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return functional.cross_entropy(logits, labels)


class Decoder(nn.Linear):
    """Scores of the vocabulary, (n, t, v); its weight is its own or, when tied, the embedding's."""

    def __init__(self, width: int, rows: int, *, tied: bool, bias: bool) -> None:
        super().__init__(width, rows, bias=bias)
        if tied:
            self.register_parameter("weight", None)

    def forward(self, input: Tensor, embedding: Tensor | None = None) -> Tensor:
        weight = embedding if self.weight is None else self.weight
        return functional.linear(input, weight, self.bias)


class Transform(nn.Module):
    """Dense layer, activation, norm: (n, t, w) to (n, t, w)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.activation(self.dense(hidden)))
        return normed


class Predictions(nn.Module):
    """The transform and the decoder of a masked language model."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.transform = Transform(config)
        self.decoder = Decoder(
            config.hidden_size, config.vocab_size, tied=config.tie_word_embeddings, bias=True
        )


class MaskedLmHead(nn.Module):
    """BERT's masked language model (Devlin et al. 2019), (n, t, w) to (n, t, v)."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.predictions = Predictions(config)

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        scores: Tensor = self.predictions.decoder(self.predictions.transform(hidden), embedding)
        return scores


class Pooler(nn.Module):
    """BERT's pooled vector, (n, w): a dense layer and tanh on the first token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.tanh(self.dense(hidden[:, 0]))
