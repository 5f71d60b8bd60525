"""What a model's folder says beside the weights: names of the outputs, licence, and the card.

The card, `basewise_model.json`, holds what the published layouts have no place for.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from basewise.errors import StoreError, WeightsError
from basewise.models.hub import licence_of
from basewise.models.reading import Outputs
from basewise.store import write_text

__all__ = [
    "CARD",
    "checkpoint_licence",
    "head_of",
    "labels_of",
    "output_kind",
    "read_card",
    "tell",
    "write_card",
]

log = logging.getLogger("basewise")
CARD = "basewise_model.json"
NUCLEOTIDE_TRANSFORMER = "CC BY-NC-SA 4.0"


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model's folder; empty where there is none.

    Raises
    ------
    StoreError
        If it is no JSON, or of another format.
    """
    path = folder / CARD
    if not path.exists():
        return {}
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}); save the model again.") from None
    if card.get("format") != 1:
        raise StoreError(f"{path} has format {card.get('format')!r}; this basewise reads format 1.")
    return card


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Write the card of a model's folder, whole or not at all."""
    write_text(folder / CARD, json.dumps({"format": 1, **card}) + "\n")


def head_of(network: nn.Module) -> str:
    """What a network's logits say, by its configuration or the end of its class's name."""
    said: str | None = getattr(getattr(network, "config", None), "head", None)
    name = type(network).__name__
    return said or name[max(name.find("For"), 0) :]


def output_kind(network: PreTrainedModel) -> Outputs:
    """What the logits of a network say, by its configuration or its class."""
    head = head_of(network)
    if head.endswith(("_lm", "LM", "LMHeadModel")):
        return "tokens"
    return "values" if network.config.problem_type == "regression" else "logits"


def labels_of(
    folder: Path, network: PreTrainedModel, given: Sequence[str] | None
) -> tuple[str, ...]:
    """The names of a network's outputs; none where they are tokens."""
    if output_kind(network) == "tokens":
        if given is not None:
            raise WeightsError(
                f"{folder}: labels were given ({', '.join(given)}), but this is a language model; "
                "load it with head='sequence_classification' for a new head with these labels."
            )
        return ()
    config: Any = network.config
    found = tuple(given or (config.id2label[i] for i in range(config.num_labels)))
    if len(found) != config.num_labels:
        raise WeightsError(
            f"{folder}: {len(found)} labels were given ({', '.join(found)}), "
            f"the network has {config.num_labels} outputs."
        )
    return found


def checkpoint_licence(folder: Path) -> str | None:
    """The licence that the model card names, or that all checkpoints of an architecture share.

    An ESM with the vocabulary of 6-mers is a Nucleotide Transformer; one that was trained from
    scratch here is no ESM by its configuration.
    """
    from basewise.models.checkpoints import read_config

    config = read_config(folder)
    known = config.get("model_type") == "esm" and config.get("vocab_size") in (4105, 4107)
    return licence_of(folder) or (NUCLEOTIDE_TRANSFORMER if known else None)


def tell(name: str, licence: str | None) -> None:
    """Log a model's licence, as a warning where it forbids commercial use."""
    if licence is None:
        return
    restricted = re.search(r"\bnc\b|non.?commercial", licence, re.IGNORECASE)
    log.log(
        logging.WARNING if restricted else logging.INFO,
        "%s: licence %s%s",
        name,
        licence,
        "; not for commercial use" if restricted else "",
    )
