"""DNABERT-2 (Zhou et al. 2024, arXiv 2306.15006): a MosaicBERT on byte-pair tokens of DNA.

MosaicBERT (Portes et al. 2023, arXiv 2312.17482) is BERT with three changes: symmetric ALiBi
instead of position embeddings (Press et al. 2022), a gated MLP (Shazeer 2020), and no computing
on padding. Norms stand after the residuals, as in BERT. Any length goes, since positions enter
only as distances.

The published checkpoint holds no pooler: a sequence classifier made from it starts from the
mean of the real tokens unless told otherwise.

Letters of shapes: `n` rows, `t` tokens, `w` width, `h` heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from basewise.models.attention import alibi, attend, heads, key_bias
from basewise.models.heads import Pooling
from basewise.models.network import BertHeads, NetworkConfig, Trace, through

__all__ = ["Dnabert2", "Dnabert2Config"]


class Dnabert2Config(NetworkConfig):
    """Settings of DNABERT-2, under the published names; the defaults are DNABERT-2-117M."""

    model_type = "basewise-dnabert2"
    published_pooling: ClassVar[Pooling] = "pooler"

    vocab_size: int = 4096
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.0
    classifier_dropout: float | None = None
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True


class Embeddings(nn.Module):
    """LayerNorm(word + type 0); the words come in already embedded."""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, embedded: Tensor) -> Tensor:
        hidden: Tensor = self.LayerNorm(embedded + self.token_type_embeddings.weight[0])
        dropped: Tensor = self.dropout(hidden)
        return dropped


class SelfAttention(nn.Module):
    """Queries, keys and values from one projection, in this order."""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.dropout = config.attention_probs_dropout_prob
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)

    def forward(self, hidden: Tensor, bias: Tensor, want_map: bool) -> tuple[Tensor, Tensor | None]:
        query, key, value = (heads(x, self.heads) for x in self.Wqkv(hidden).chunk(3, -1))
        return attend(query, key, value, bias, self.dropout * self.training, want_map)


class SelfOutput(nn.Module):
    """LayerNorm(dense(mixed) + residual)"""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, mixed: Tensor, residual: Tensor) -> Tensor:
        hidden: Tensor = self.LayerNorm(self.dropout(self.dense(mixed)) + residual)
        return hidden


class Attention(nn.Module):
    """Self-attention and its residual."""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = SelfOutput(config)

    def forward(self, hidden: Tensor, bias: Tensor, want_map: bool) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self(hidden, bias, want_map)
        return self.output(mixed, hidden), weights


class GatedMlp(nn.Module):
    """LayerNorm(wo(gelu(a) * b) + residual), a and b from one projection without bias."""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        inner = config.intermediate_size
        self.gated_layers = nn.Linear(config.hidden_size, 2 * inner, bias=False)
        self.wo = nn.Linear(inner, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor) -> Tensor:
        a, b = self.gated_layers(hidden).chunk(2, -1)
        normed: Tensor = self.layernorm(self.wo(self.dropout(functional.gelu(a) * b)) + hidden)
        return normed


class Layer(GradientCheckpointingLayer):
    """One block."""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.mlp = GatedMlp(config)

    def forward(self, hidden: Tensor, bias: Tensor, want_map: bool) -> tuple[Tensor, Tensor | None]:
        hidden, weights = self.attention(hidden, bias, want_map)
        return self.mlp(hidden), weights


class Encoder(nn.Module):
    """The blocks, under their published name."""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        self.layer = nn.ModuleList([Layer(config) for _ in range(config.num_hidden_layers)])


class Trunk(nn.Module):
    """Embedded tokens, (n, t, w), to hidden states; kept is what each layer gave."""

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, embedded: Tensor, mask: Tensor | None, trace: Trace) -> Tensor:
        hidden = self.embeddings(embedded)
        bias = alibi(self.heads, hidden.shape[1], hidden)
        hide = key_bias(mask, hidden)
        return through(self.encoder.layer, hidden, trace, bias if hide is None else bias + hide)


class Dnabert2(BertHeads):
    """DNABERT-2 with one of its heads.

    As in the original implementation, `hidden_states[i]` is what layer `i` gave, counted from
    0; the embeddings are not among them.
    """

    config_class = Dnabert2Config
    adapted = ("Wqkv",)

    def __init__(self, config: Dnabert2Config) -> None:
        super().__init__(config, Trunk(config))

    @classmethod
    def matches(cls, published: Mapping[str, Any]) -> bool:
        auto = published.get("auto_map") or {}
        return "alibi_starting_size" in published or any("bert_layers." in v for v in auto.values())
