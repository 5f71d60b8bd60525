"""The Nucleotide Transformer, version 2 (Dalla-Torre et al. 2025, Nature Methods 22:287).

An ESM encoder (Lin et al. 2023): norms before the residuals and one after the last layer, with
rotary positions (Su et al. 2021) and a gated MLP, SwiGLU without biases (Shazeer 2020).
Version 1 is transformers' own ESM and runs through that library; `honour_inputs_embeds` gives
it the meaning of `inputs_embeds` that every network here has, `one_pass_gelu` its speed.

The published weights are licensed CC BY-NC-SA 4.0: not for commercial use. This file was
written from the papers.

Letters of shapes: `n` rows, `t` tokens, `w` width, `h` heads, `v` vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer

from basewise.errors import WeightsError
from basewise.models.attention import attend, heads, key_bias, rotate, rotation
from basewise.models.heads import Decoder, Head, Pooling, pool
from basewise.models.network import (
    Network,
    NetworkConfig,
    State,
    Trace,
    drop_frequencies,
    through,
)

__all__ = [
    "NucleotideTransformer",
    "NucleotideTransformerConfig",
    "honour_inputs_embeds",
    "one_pass_gelu",
]

Angles = tuple[Tensor, Tensor]
ROTARY_BASE = 10000.0
KEPT_IN_TRAINING = 1 - 0.15 * 0.8  # of the tokens, in ESM's pretraining


class NucleotideTransformerConfig(NetworkConfig):
    """Settings of version 2, under the published names; the defaults are v2-50m."""

    model_type = "basewise-nucleotide-transformer"
    published_pooling: ClassVar[Pooling] = "first"

    vocab_size: int = 4107
    hidden_size: int = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 16
    intermediate_size: int = 2048
    add_bias_fnn: bool = False
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 2050
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int = 1
    tie_word_embeddings: bool = False

    @classmethod
    def from_published(
        cls, published: Mapping[str, Any], head: Head
    ) -> NucleotideTransformerConfig:
        for key in ("token_dropout", "emb_layer_norm_before"):
            if published.get(key):
                raise WeightsError(f"{key} = true, which no Nucleotide Transformer v2 has.")
        return super().from_published(published, head)  # type: ignore[return-value]

    @property
    def max_tokens(self) -> int:
        """ESM counts positions from the pad id on, so as many places are lost."""
        return self.max_position_embeddings - self.pad_token_id - 1


class SelfAttention(nn.Module):
    """Multi-head attention on queries and keys turned by their positions."""

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden: Tensor, bias: Tensor | None, angles: Angles, want_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        query, key, value = (
            heads(project(hidden), self.heads) for project in (self.query, self.key, self.value)
        )
        query, key = rotate(query, angles), rotate(key, angles)
        return attend(query, key, value, bias, self.dropout * self.training, want_map)


class Dense(nn.Module):
    """A dense layer with dropout."""

    def __init__(self, inputs: int, outputs: int, bias: bool, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(self.dense(hidden))
        return dropped


class Attention(nn.Module):
    """The norm, self-attention and the dense layer after it."""

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.self = SelfAttention(config)
        self.output = Dense(width, width, True, config.hidden_dropout_prob)

    def forward(
        self, hidden: Tensor, bias: Tensor | None, angles: Angles, want_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self(self.LayerNorm(hidden), bias, angles, want_map)
        return self.output(mixed), weights


class Layer(GradientCheckpointingLayer):
    """x += attention(norm(x)); x += output(silu(a) * b), a and b from one projection of norm(x)"""

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        width, inner, bias = config.hidden_size, config.intermediate_size, config.add_bias_fnn
        self.attention = Attention(config)
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.intermediate = Dense(width, 2 * inner, bias, 0.0)
        self.output = Dense(inner, width, bias, config.hidden_dropout_prob)

    def forward(
        self, hidden: Tensor, bias: Tensor | None, angles: Angles, want_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(hidden, bias, angles, want_map)
        hidden = hidden + mixed
        a, b = self.intermediate(self.LayerNorm(hidden)).chunk(2, -1)
        return hidden + self.output(functional.silu(a) * b), weights


class Embeddings(nn.Module):
    """The table of tokens; positions enter in the attention."""

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)


class Encoder(nn.Module):
    """The blocks and the norm after the last."""

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])
        self.emb_layer_norm_after = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class Trunk(nn.Module):
    """Embedded tokens, (n, t, w), to hidden states; kept are the embeddings and every layer's.

    The last one kept is what the head reads, after the last norm.
    """

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        self.features = config.hidden_size // config.num_attention_heads
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, embedded: Tensor, mask: Tensor | None, trace: Trace) -> Tensor:
        trace.keep(embedded)
        bias = key_bias(mask, embedded)
        angles = rotation(ROTARY_BASE, self.features, embedded.shape[1], embedded)
        hidden = through(self.encoder.layer, embedded, trace, bias, angles)
        return trace.replace(self.encoder.emb_layer_norm_after(hidden))


class LmHead(nn.Module):
    """Masked language model: dense, gelu, norm, decoder, (n, t, w) to (n, t, v)."""

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        width, rows = config.hidden_size, config.vocab_size
        self.dense = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.decoder = Decoder(width, rows, tied=config.tie_word_embeddings, bias=False)
        self.bias = nn.Parameter(torch.zeros(rows))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.layer_norm(functional.gelu(self.dense(hidden)))
        scores: Tensor = self.decoder(hidden, embedding)
        return scores + self.bias


class SequenceHead(nn.Module):
    """ESM's sequence classifier: dense, tanh, projection, (n, w) to (n, k)."""

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.outputs)

    def forward(self, pooled: Tensor) -> Tensor:
        dense = torch.tanh(self.dense(self.dropout(pooled)))
        logits: Tensor = self.out_proj(self.dropout(dense))
        return logits


class NucleotideTransformer(Network):
    """Nucleotide Transformer v2 with one of its heads."""

    config_class = NucleotideTransformerConfig
    base_model_prefix = "esm"
    heads = ("masked_lm", "sequence_classification", "token_classification")
    poolings = ("first", "mean")
    unused = (
        *Network.unused,
        r"^esm\.contact_head\.",  # contact prediction in proteins
        r"^esm\.embeddings\.position_embeddings\.",  # left over beside rotary positions
    )

    def __init__(self, config: NucleotideTransformerConfig) -> None:
        super().__init__(config)
        self.esm = Trunk(config)
        if config.head == "masked_lm":
            self.lm_head = LmHead(config)
        elif config.head == "sequence_classification":
            self.classifier: nn.Module = SequenceHead(config)
        else:
            self.dropout = nn.Dropout(config.hidden_dropout_prob)
            self.classifier = nn.Linear(config.hidden_size, config.outputs)
        self.post_init()

    def read(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor
        if self.config.head == "masked_lm":
            logits = self.lm_head(hidden, self.get_input_embeddings().weight)
        elif self.config.head == "sequence_classification":
            logits = self.classifier(pool(hidden, mask, self.config.pooling))
        else:
            logits = self.classifier(self.dropout(hidden))
        return logits

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[no-untyped-call]
        if isinstance(module, LmHead):
            initialization.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.esm.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.esm.embeddings.word_embeddings = value  # type: ignore[assignment]

    @classmethod
    def matches(cls, published: Mapping[str, Any]) -> bool:
        auto = published.get("auto_map") or {}
        gated = "add_bias_fnn" in published or any("modeling_esm." in v for v in auto.values())
        rotary = published.get("position_embedding_type") == "rotary"
        return published.get("model_type") == "esm" and gated and rotary

    @classmethod
    def convert_keys(cls, state: State, config: Any) -> State:
        drop_frequencies(state, ROTARY_BASE, config.hidden_size // config.num_attention_heads)
        return state


class OnePassIntermediate(nn.Module):
    """gelu(dense(x)), for the widening half of ESM's MLP."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.gelu(self.dense(hidden))


def one_pass_gelu(network: PreTrainedModel) -> None:
    """Let transformers' ESM compute its gelu in one pass over memory instead of five.

    Numbers differ in the last bits of float32; names of weights stay.
    """
    encoder: Any = network.base_model.encoder
    for layer in encoder.layer:
        layer.intermediate = OnePassIntermediate(layer.intermediate.dense)


def honour_inputs_embeds(network: PreTrainedModel) -> None:
    """Let transformers' ESM take as `inputs_embeds` what its word embedding gives.

    As the library has it, `inputs_embeds` skip the positions and token dropout, and so give
    another function than the ids. After this call they are treated like embedded ids; a token
    whose embedding is that of `<mask>` is a masked one, as with ids.
    """
    network.base_model.register_forward_pre_hook(_embed_like_ids, with_kwargs=True)


def _embed_like_ids(
    esm: Any, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    embedded, mask = named.get("inputs_embeds"), named.get("attention_mask")
    if embedded is None:
        return None
    config, embeddings = esm.config, esm.embeddings
    if config.token_dropout:
        masked = (embedded == embeddings.word_embeddings.weight[config.mask_token_id]).all(-1)
        real = masked.new_ones(masked.shape) if mask is None else mask
        share = masked.sum(1) / real.sum(1)
        kept = (KEPT_IN_TRAINING / (1 - share))[:, None, None].to(embedded.dtype)
        embedded = embedded.masked_fill(masked[:, :, None], 0.0) * kept
    named["inputs_embeds"] = embeddings(inputs_embeds=embedded, attention_mask=mask)
    return given, named
