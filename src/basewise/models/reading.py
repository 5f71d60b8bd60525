"""From a model's outputs to the one number explained, on torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from basewise.errors import CapabilityError, ConfigError
from basewise.types import Read, Target

__all__ = ["LANGUAGE_MODEL", "Outputs", "as_target", "probabilities", "read"]

Outputs = Literal["logits", "probabilities", "values", "tokens"]
"""What a network's outputs are: class logits, class probabilities, numbers as they stand, or the
logits of a language model, which name tokens and no labels.

Several logits belong to classes that exclude each other (softmax); a single one is the log-odds
of its label (sigmoid)."""

ALLOWED: dict[Outputs, tuple[Read, ...]] = {
    "logits": ("log_odds", "logit", "probability", "margin", "top"),
    "probabilities": ("log_odds", "probability", "top"),
    "values": ("value",),
    "tokens": (),
}
LANGUAGE_MODEL = (
    "This is a language model, whose outputs are tokens and no labels; train a head of labels on "
    'it, as a model of a study (type "checkpoint") or in Python on '
    "Model.load(folder, head='sequence_classification', labels=[...])."
)
SMALLEST = 1e-12  # probabilities are kept this far from 0 and 1 before a logarithm


def as_target(target: str | Target, labels: Sequence[str], outputs: Outputs) -> Target:
    """The target itself, or the default reading of a label; refused if the model cannot give it.

    Raises
    ------
    UnknownName
        If no label has that name.
    ConfigError
        If it is neither a label nor a `Target`.
    CapabilityError
        If the model's outputs cannot be read that way, or it is a language model.
    """
    if outputs == "tokens":
        raise CapabilityError(LANGUAGE_MODEL)
    if isinstance(target, str):
        target = Target(target, ALLOWED[outputs][0])
    if not isinstance(target, Target):
        raise ConfigError(
            f"target = {target!r}: name the label to explain, one of {', '.join(labels)}, or give "
            "a Target; outputs have no numbers here."
        )
    target.index(labels)
    if target.read not in ALLOWED[outputs]:
        raise CapabilityError(
            f"This model gives {outputs}, which cannot be read as {target.read!r}; "
            f"read is one of {', '.join(ALLOWED[outputs])}."
        )
    return target


def read(raw: Tensor, index: int, how: Read, outputs: Outputs) -> Tensor:
    """The target's value, (n,), of raw outputs, (n, k)."""
    raw = raw.double()  # in single precision a probability within 1e-7 of 1 has no log-odds
    if how == "probability":
        return probabilities(raw, outputs)[:, index]
    chosen = raw[:, index]
    if how == "top":
        half = 0.5 if outputs == "probabilities" else 0.0
        top = chosen > half if raw.shape[1] == 1 else raw.argmax(1) == index
        return torch.where(chosen.isnan(), chosen, top.double())
    if outputs == "probabilities":
        return torch.logit(chosen, eps=SMALLEST)
    if how in ("logit", "value") or raw.shape[1] == 1:
        return chosen
    others = torch.cat([raw[:, :index], raw[:, index + 1 :]], dim=1)
    if how == "log_odds":
        return chosen - others.logsumexp(1)
    return chosen - others.max(1).values


def probabilities(raw: Tensor, outputs: Outputs) -> Tensor:
    """Class probabilities, (n, k), where the outputs are logits; else the outputs themselves."""
    if outputs != "logits":
        return raw
    return raw.sigmoid() if raw.shape[1] == 1 else raw.softmax(1)
