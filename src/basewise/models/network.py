"""What the native networks share: the forward pass around a trunk, and published checkpoints.

A native network is one readable file: its configuration, its trunk with the parameter names of
the published checkpoint, and one class that adds a head. `config.head` says which head.

Letters of shapes: `n` rows, `t` tokens, `w` width, `h` heads, `k` labels, `v` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.models.attention import frequencies
from basewise.models.heads import (
    OUTPUTS,
    Head,
    MaskedLmHead,
    Pooler,
    Pooling,
    head_loss,
    pool,
)

__all__ = [
    "BertHeads",
    "Network",
    "NetworkConfig",
    "State",
    "Trace",
    "drop_copy",
    "drop_frequencies",
    "through",
]

State = dict[str, Tensor]
"""Weights by name."""


class NetworkConfig(PreTrainedConfig):
    """Settings common to the native networks.

    Attributes
    ----------
    head : str
        What the logits say; see `basewise.models.heads.Head`.
    pooling : str
        What a sequence classifier reads; see `basewise.models.heads.Pooling`.
    """

    head: Head = "masked_lm"
    pooling: Pooling = "mean"

    published_pooling: ClassVar[Pooling]

    @classmethod
    def from_published(cls, published: Mapping[str, Any], head: Head) -> NetworkConfig:
        """Our configuration of a published `config.json`; what the network does not use is left."""
        known = {"id2label", "label2id", "num_labels", "problem_type", *cls.__dataclass_fields__}
        foreign = {
            "architectures",
            "dtype",
            "head",
            "model_type",
            "pooling",
            "transformers_version",
        }
        settings = {k: v for k, v in published.items() if k in known - foreign}
        return cls(**settings, head=head, pooling=cls.published_pooling)

    @property
    def outputs(self) -> int:
        """Numbers that a classification or regression head gives."""
        return len(self.id2label or ())

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of one sequence, special ones included; None where any length goes."""
        return None


@dataclass
class Trace:
    """Hidden states (n, t, w) and attention maps (n, h, t, t), kept when asked for."""

    states: list[Tensor] | None = None
    maps: list[Tensor] | None = None

    def keep(self, hidden: Tensor, weights: Tensor | None = None) -> None:
        """Add what one layer gave."""
        if self.states is not None:
            self.states.append(hidden)
        if self.maps is not None and weights is not None:
            self.maps.append(weights)

    def replace(self, hidden: Tensor) -> Tensor:
        """Put what a last norm made of the last state in that state's place."""
        if self.states is not None:
            self.states[-1] = hidden
        return hidden


def through(layers: Iterable[nn.Module], hidden: Tensor, trace: Trace, *context: Any) -> Tensor:
    """Pass hidden states, (n, t, w), through layers that also take `context` and `want_map`."""
    for layer in layers:
        hidden, weights = layer(hidden, *context, trace.maps is not None)
        trace.keep(hidden, weights)
    return hidden


class Network(PreTrainedModel):
    """Base of the native networks.

    A subclass names its trunk by `base_model_prefix`, called as
    `trunk(embedded, mask, trace) -> hidden`, and says with `read` what its head makes of it.

    Attributes
    ----------
    heads, poolings : tuple of str
        Those that this architecture has.
    adapted : tuple of str
        Ends of the names of the linear layers that get an adapter (LoRA) by default: those
        that mix tokens.
    unused : tuple of str
        Patterns of weights that published checkpoints of this architecture hold and that
        this network has no use for.
    """

    config: NetworkConfig
    heads: ClassVar[tuple[Head, ...]]
    poolings: ClassVar[tuple[Pooling, ...]]
    adapted: ClassVar[tuple[str, ...]] = ("query", "key", "value")
    unused: ClassVar[tuple[str, ...]] = (r"\bposition_ids$",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: Any) -> None:
        for name in ("head", "pooling"):
            value, known = getattr(config, name), getattr(self, f"{name}s")
            if value not in known:
                raise ConfigError(
                    f"{name} = {value!r}: {type(self).__name__} has one of {', '.join(known)}."
                )
        super().__init__(config)

    def post_init(self) -> None:
        """To be called when all modules are there; transformers initialises them."""
        super().post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def matches(cls, published: Mapping[str, Any]) -> bool:
        """Whether a published `config.json` describes this architecture."""
        raise NotImplementedError

    @classmethod
    def convert_keys(cls, state: State, config: NetworkConfig) -> State:
        """The published weights under the names of this network."""
        return state

    def read(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """What the head makes of the trunk's last hidden states, (n, t, w)."""
        raise NotImplementedError

    def real(
        self, input_ids: Tensor | None, embedded: Tensor, attention_mask: Tensor | None
    ) -> Tensor | None:
        """The mask of real tokens, (n, t), or None where all are."""
        return attention_mask

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = False,
        output_attentions: bool | None = False,
        return_dict: bool | None = True,
    ) -> Any:
        """Run the network.

        Parameters
        ----------
        input_ids : (n, t) int
            Vocabulary ids; or give `inputs_embeds`.
        attention_mask : (n, t) int, optional
            1 for real tokens, 0 for padding, which belongs on the right.
        inputs_embeds : (n, t, w), optional
            What `get_input_embeddings()` gives for the ids, or something in its place.
        labels : optional
            See `basewise.models.heads.head_loss`.
        output_hidden_states, output_attentions : bool
            Keep the hidden states (in the order of the original implementation) and the
            attention maps, (n, h, t, t) per layer, which costs the fast attention.
        return_dict : bool
            False gives a plain tuple.

        Returns
        -------
        transformers.utils.ModelOutput
            `logits` ((n, k), (n, t, k) or (n, t, v)), and `loss`, `hidden_states`,
            `attentions` where asked for.

        Raises
        ------
        CapabilityError
            If not exactly one of `input_ids` and `inputs_embeds` is given.
        DataError
            If a row has more tokens than the network takes.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise CapabilityError("Give the network input_ids or inputs_embeds, and not both.")
        embedded = inputs_embeds
        if embedded is None:
            embedded = self.get_input_embeddings()(input_ids)
        longest = self.config.max_tokens
        if longest is not None and embedded.shape[1] > longest:
            raise DataError(
                f"{type(self).__name__} takes at most {longest} tokens and got "
                f"{embedded.shape[1]}; cut the sequence into windows."
            )
        mask = self.real(input_ids, embedded, attention_mask)
        trace = Trace([] if output_hidden_states else None, [] if output_attentions else None)
        hidden = self.base_model(embedded, mask, trace)
        logits = self.read(hidden, mask)
        output = OUTPUTS[self.config.head](
            loss=None if labels is None else head_loss(self.config, logits, labels),
            logits=logits,
            hidden_states=None if trace.states is None else tuple(trace.states),
            attentions=None if trace.maps is None else tuple(trace.maps),
        )
        return output.to_tuple() if return_dict is False else output


class BertHeads(Network):
    """A network with BERT's heads under BERT's names: `cls`, `bert.pooler`, `classifier`.

    `pooling` is `pooler` as published (a dense layer and tanh on the first token) or `mean`.
    """

    base_model_prefix = "bert"
    bert: Any
    heads = ("masked_lm", "sequence_classification", "token_classification")
    poolings = ("pooler", "mean")
    unused = (*Network.unused, r"^bert\.pooler\.", r"^cls\.seq_relationship\.")

    def __init__(self, config: Any, trunk: nn.Module) -> None:
        super().__init__(config)
        self.bert = trunk
        if config.head == "masked_lm":
            self.cls = MaskedLmHead(config)
        else:
            dropout = config.classifier_dropout
            self.dropout = nn.Dropout(config.hidden_dropout_prob if dropout is None else dropout)
            self.classifier = nn.Linear(config.hidden_size, config.outputs)
        if config.head == "sequence_classification" and config.pooling == "pooler":
            self.bert.pooler = Pooler(config.hidden_size)
        self.post_init()

    def read(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        if self.config.head == "masked_lm":
            scores: Tensor = self.cls(hidden, self.bert.embeddings.word_embeddings.weight)
            return scores
        if self.config.head == "sequence_classification":
            if self.config.pooling == "pooler":
                hidden = self.bert.pooler(hidden)
            else:
                hidden = pool(hidden, mask, self.config.pooling)
        logits: Tensor = self.classifier(self.dropout(hidden))
        return logits

    def get_input_embeddings(self) -> nn.Module:
        found: nn.Module = self.bert.embeddings.word_embeddings
        return found

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.bert.embeddings.word_embeddings = value

    @classmethod
    def convert_keys(cls, state: State, config: Any) -> State:
        decoder, table = "cls.predictions.decoder", "bert.embeddings.word_embeddings.weight"
        drop_copy(state, "cls.predictions.bias", f"{decoder}.bias")
        if config.tie_word_embeddings:
            drop_copy(state, f"{decoder}.weight", table)
            config.tie_word_embeddings = f"{decoder}.weight" not in state
        return state


def drop_copy(state: State, copy: str, original: str) -> None:
    """Forget weights that are stored twice; a copy that differs stays, to be seen."""
    if copy not in state:
        return
    if original not in state:
        state[original] = state.pop(copy)
    elif torch.equal(state[copy], state[original]):
        del state[copy]


def drop_frequencies(state: State, base: float, features: int) -> None:
    """Forget stored rotary frequencies that are what we compute; others stay, to be seen."""
    ours = frequencies(base, features)
    for key in [key for key in state if key.endswith(".inv_freq")]:
        theirs = state[key].float()
        # Some checkpoints keep them in half precision.
        if theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=2e-3):
            del state[key]
