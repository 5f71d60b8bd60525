"""A model on a vocabulary of short byte pairs: its tokenizer pruned, its embedding rows shrunk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from basewise.errors import CapabilityError
from basewise.models.adapters import adapters
from basewise.models.model import Model
from basewise.tokenize.bpe import Bpe
from basewise.tokenize.pruning import prune_bpe

__all__ = ["prune_model"]


def prune_model(model: Model, max_length: int, compact: bool = True) -> Model:
    """The model without tokens of more than `max_length` bases.

    Parameters
    ----------
    model : Model
        On byte pairs.
    max_length : int
        Bases of the longest token kept.
    compact : bool
        Number the kept tokens anew and drop the rows of all others from the embedding and,
        in a language model, from the decoder; about nine in ten of DNABERT-2's at 5 bases.
        Otherwise ids and rows stay as published. Both give the same outputs.

    Raises
    ------
    CapabilityError
        If the model is not on byte pairs, or has adapters that are not merged.
    """
    if not isinstance(model.tokenizer, Bpe) or not isinstance(model.network, PreTrainedModel):
        raise CapabilityError(
            f"{model.name} reads {type(model.tokenizer).__name__} tokens; only byte pairs are "
            "pruned."
        )
    if adapters(model.network):
        raise CapabilityError(
            f"{model.name} has adapters beside its weights; merge them first "
            "(basewise.models.adapters.merged)."
        )
    tokenizer = prune_bpe(model.tokenizer, max_length, compact)
    if not compact:
        return replace(model, tokenizer=tokenizer, thresholds={})
    network = _shrunk(model.network, tokenizer)
    return replace(model, tokenizer=tokenizer, network=network, thresholds={})


def _shrunk(network: PreTrainedModel, tokenizer: Bpe) -> PreTrainedModel:
    """A copy whose weights have a row per token of the compacted tokenizer."""
    kept = torch.from_numpy(tokenizer.published_ids)
    settings = network.config.to_dict()
    settings |= {"vocab_size": len(kept)}
    if settings.get("pad_token_id") is not None:
        settings["pad_token_id"] = tokenizer.pad_id
    with torch.random.fork_rng(devices=[]):  # the copy is initialised before it is filled
        made: Any = type(network)(type(network.config).from_dict(settings))
    state: dict[str, Tensor] = {}
    for name, value in network.state_dict().items():
        # Whatever has other rows for another vocabulary is indexed by its ids.
        state[name] = value if made.state_dict()[name].shape == value.shape else value[kept]
    made.load_state_dict(state)
    shrunk: PreTrainedModel = made.to(network.device, network.dtype).train(network.training)
    return shrunk
