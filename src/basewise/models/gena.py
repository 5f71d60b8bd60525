"""GENA-LM (Fishman et al. 2025, NAR 53:gkae1310): BERT with the norms before its residuals.

The dense variants are here: learned absolute positions (`bert-base-t2t`, `bert-large-t2t` and
their relatives, some with a norm after the last layer) and rotary ones. Those with
block-sparse attention compute another function and are refused.

Letters of shapes: `n` rows, `t` tokens, `w` width, `h` heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from basewise.errors import WeightsError
from basewise.models.attention import attend, heads, key_bias, rotate, rotation
from basewise.models.heads import Head, Pooling
from basewise.models.network import (
    BertHeads,
    NetworkConfig,
    State,
    Trace,
    drop_frequencies,
    through,
)

__all__ = ["Gena", "GenaConfig"]

Angles = tuple[Tensor, Tensor]


class GenaConfig(NetworkConfig):
    """Settings of GENA-LM, under the published names; the defaults are bert-base-t2t."""

    model_type = "basewise-gena"
    published_pooling: ClassVar[Pooling] = "pooler"

    vocab_size: int = 32000
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    type_vocab_size: int = 2
    max_position_embeddings: int = 512
    position_embedding_type: Literal["absolute", "rotary"] = "absolute"
    rotary_base: float = 10000
    rotary_dim: int | None = None
    last_layer_norm: bool = True
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    pad_token_id: int | None = 3
    tie_word_embeddings: bool = True

    @classmethod
    def from_published(cls, published: Mapping[str, Any], head: Head) -> GenaConfig:
        if published.get("sparse_config_cls") or published.get("sparse_attention"):
            raise WeightsError(
                "This GENA-LM has block-sparse attention, which only deepspeed computes; "
                "use a dense variant such as AIRI-Institute/gena-lm-bert-base-t2t."
            )
        positions = published.get("position_embedding_type", "absolute")
        if positions not in ("absolute", "rotary"):
            raise WeightsError(
                f"position_embedding_type = {positions!r}: GENA-LM is known with "
                "'absolute' and 'rotary' positions."
            )
        return super().from_published(published, head)  # type: ignore[return-value]

    @property
    def max_tokens(self) -> int:
        return self.max_position_embeddings

    @property
    def turned(self) -> int:
        """Features of each head that rotary positions turn."""
        return self.rotary_dim or self.hidden_size // self.num_attention_heads


class Embeddings(nn.Module):
    """LayerNorm(word + position + type 0); the words come in already embedded."""

    def __init__(self, config: GenaConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.absolute = config.position_embedding_type == "absolute"
        self.word_embeddings = nn.Embedding(config.vocab_size, width)
        if self.absolute:
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, embedded: Tensor) -> Tensor:
        hidden = embedded + self.token_type_embeddings.weight[0]
        if self.absolute:
            hidden = hidden + self.position_embeddings.weight[: embedded.shape[1]]
        hidden = self.LayerNorm(hidden)
        dropped: Tensor = self.dropout(hidden)
        return dropped


class SelfAttention(nn.Module):
    """Multi-head attention, its queries and keys turned where positions are rotary."""

    def __init__(self, config: GenaConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden: Tensor, bias: Tensor | None, angles: Angles | None, want_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        query, key, value = (
            heads(project(hidden), self.heads) for project in (self.query, self.key, self.value)
        )
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        return attend(query, key, value, bias, self.dropout * self.training, want_map)


class Dense(nn.Module):
    """A dense layer with dropout."""

    def __init__(self, config: GenaConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(self.dense(hidden))
        return dropped


class Intermediate(nn.Module):
    """The widening half of the MLP."""

    def __init__(self, config: GenaConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        wide: Tensor = self.activation(self.dense(hidden))
        return wide


class Attention(nn.Module):
    """Self-attention and the dense layer after it."""

    def __init__(self, config: GenaConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Dense(config, config.hidden_size, config.hidden_size)

    def forward(
        self, hidden: Tensor, bias: Tensor | None, angles: Angles | None, want_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self(hidden, bias, angles, want_map)
        return self.output(mixed), weights


class Layer(GradientCheckpointingLayer):
    """x += attention(norm(x)); x += mlp(norm(x))"""

    def __init__(self, config: GenaConfig) -> None:
        super().__init__()
        self.pre_attention_ln = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.attention = Attention(config)
        self.post_attention_ln = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.intermediate = Intermediate(config)
        self.output = Dense(config, config.intermediate_size, config.hidden_size)

    def forward(
        self, hidden: Tensor, bias: Tensor | None, angles: Angles | None, want_map: bool
    ) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.attention(self.pre_attention_ln(hidden), bias, angles, want_map)
        hidden = hidden + mixed
        return hidden + self.output(self.intermediate(self.post_attention_ln(hidden))), weights


class Encoder(nn.Module):
    """The blocks and, where the checkpoint has one, the norm after the last."""

    def __init__(self, config: GenaConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])
        if config.last_layer_norm:
            self.last_layer_ln = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)


class Trunk(nn.Module):
    """Embedded tokens, (n, t, w), to hidden states; kept are the embeddings and every layer's.

    The last one kept is what the head reads: after the last norm where there is one.
    """

    def __init__(self, config: GenaConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, embedded: Tensor, mask: Tensor | None, trace: Trace) -> Tensor:
        config = self.config
        hidden = self.embeddings(embedded)
        trace.keep(hidden)
        angles = None
        if config.position_embedding_type == "rotary":
            angles = rotation(config.rotary_base, config.turned, hidden.shape[1], hidden)
        bias = key_bias(mask, hidden)
        hidden = through(self.encoder.layer, hidden, trace, bias, angles)
        if config.last_layer_norm:
            hidden = trace.replace(self.encoder.last_layer_ln(hidden))
        return hidden


class Gena(BertHeads):
    """GENA-LM with one of its heads."""

    config_class = GenaConfig
    unused = (*BertHeads.unused, r"^bert\.embeddings\.position_embeddings\.")

    def __init__(self, config: GenaConfig) -> None:
        super().__init__(config, Trunk(config))

    @classmethod
    def matches(cls, published: Mapping[str, Any]) -> bool:
        return bool(published.get("pre_layer_norm"))

    @classmethod
    def convert_keys(cls, state: State, config: Any) -> State:
        drop_frequencies(state, config.rotary_base, config.turned)
        return super().convert_keys(state, config)
