"""Switching off by in-fill: a masked language model says what might stand there instead."""

from __future__ import annotations

import functools
from copy import copy
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from basewise.errors import CapabilityError
from basewise.models.batch import borrowed
from basewise.models.model import Model
from basewise.models.switchboards import Switchboard, TokenSwitch, covering, present_spans
from basewise.registry import component
from basewise.types import Bools, Ints, Record, Tokens

if TYPE_CHECKING:
    from basewise.tokenize import Tokenizer

__all__ = ["Infill"]

OTHERS = "use masking='shuffled', 'sampled' or 'background'"


@component
class Infill:
    """Absent tokens are drawn from a masked language model, averaged over `draws`.

    The model reads the sequence with the absent tokens masked, once, and every one of them is
    drawn from its own distribution (input marginalisation: Kim et al. 2020, EMNLP; OLM: Harbecke
    & Alt 2020, ACL Student Research Workshop). Tokens that are absent together are drawn
    independently of each other: the product of their distributions stands for the joint one, so
    neighbours may not go together as they would in a sequence, the less so the more is absent.
    Only tokens that spell known bases are drawn; those of byte pairs may spell more bases or
    fewer than what they replace. The passes of the language model are not counted among the
    evaluations.

    Attributes
    ----------
    model : str
        A masked language model of the same tokenizer, such as the checkpoint that the model was
        fine-tuned from: a folder, or `"owner/name"` on the hub.
    revision : str or None
        Commit, tag or branch of a hub repository.
    given : str
        What the language model sees. `present`: what is present; one pass of it for each
        coalition. `others`: all other units, whether present or not; one pass for each unit,
        before anything is explained. That is the same where one unit is absent at a time
        (`occlusion`), and otherwise lets absent units speak for each other.
    draws : int
        In-fills averaged; each costs one evaluation per coalition.
    """

    files: ClassVar[tuple[str, ...]] = ("model",)
    model: str
    revision: str | None = None
    given: Literal["present", "others"] = "present"
    draws: Annotated[int, Field(ge=1)] = 5

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        check_fillable(record, tokens, model.tokenizer)
        language = loaded(self.model, self.revision)
        check_language(language, record, tokens, model)
        language.network.to(model.device)
        uniform = rng.random((self.draws, len(tokens)), np.float32)
        filler = Filler(language, tokens, units, uniform)
        if self.given == "present":
            return filler
        return TokenSwitch(tokens.ids, filler.one_by_one(), tokens.spans, units)


@functools.lru_cache(maxsize=1)
def loaded(source: str, revision: str | None) -> Model:
    """A language model, kept for the records to come."""
    return Model.load(source, revision=revision)


def check_fillable(record: Record, tokens: Tokens, tokenizer: Tokenizer) -> None:
    """Refuse tokens that no language model could fill in one by one."""
    if tokenizer.mask_id is None:
        raise CapabilityError(
            "This model's tokenizer has no mask token, so no masked language model has the same; "
            f"{OTHERS}."
        )
    spans = tokens.spans[tokens.spans[:, 1] > tokens.spans[:, 0]]
    if (spans[1:, 0] < spans[:-1, 1]).any():
        raise CapabilityError(
            f"The tokens of {record.id!r} overlap (k-mers with a stride below k), so tokens drawn "
            f"one by one spell no sequence; {OTHERS}."
        )


def check_language(language: Model, record: Record, tokens: Tokens, model: Model) -> None:
    """Refuse what is no masked language model, or has other tokens than the model explained."""
    config = getattr(language.network, "config", None)
    head = getattr(config, "head", None) or type(language.network).__name__
    if not head.endswith(("masked_lm", "ForMaskedLM")):
        raise CapabilityError(
            f"{language.name} is no masked language model (its head: {head}) and fills nothing in; "
            f"give the masked language model that {model.name} was fine-tuned from, or {OTHERS}."
        )
    ours, theirs = model.tokenizer, language.tokenizer
    same = ours.vocabulary() == theirs.vocabulary() and ours.mask_id == theirs.mask_id
    if not same or not np.array_equal(theirs.encode(record.sequence).ids, tokens.ids):
        raise CapabilityError(
            f"{language.name} has other tokens than {model.name}; give a masked language model of "
            f"the same tokenizer, or {OTHERS}."
        )
    language.check_length(len(tokens), len(record.sequence), record.id)


class Filler:
    """The switchboard whose absent tokens are drawn given the present ones.

    Parameters
    ----------
    language : Model
        A masked language model.
    tokens : Tokens
        Of the sequence, (t,).
    units : (u, 2) int
        Disjoint units. A token is absent while any unit that touches it is.
    uniform : (d, t) float32
        The randomness of every draw and token: the same for all coalitions, so their values
        differ by what is present and not by luck.
    """

    shifts = False

    def __init__(self, language: Model, tokens: Tokens, units: Ints, uniform: NDArray[np.float32]):
        self.language, self._on, self._uniform = language, tokens.ids, uniform
        self._covering, self._spans = covering(tokens.spans, units), tokens.spans
        self.n_units, self.draws, self.width = len(units), len(uniform), len(tokens)
        spelled = language.tokenizer.vocabulary()
        self._drawable = np.flatnonzero(
            [text != "" and set(text) <= set("ACGT") for text in spelled]
        )

    def only(self, draws: slice) -> Filler:
        some = copy(self)
        some._uniform = self._uniform[draws]
        some.draws = len(some._uniform)
        return some

    def rows(self, present: Bools, model: Model) -> tuple[Tensor, Tensor | None]:
        return torch.from_numpy(self.filled(present).reshape(-1, self.width)).to(model.device), None

    def spans(self, present: Bools, model: Model) -> list[Ints]:
        return [self._spans] * (len(present) * self.draws)

    def filled(self, present: Bools) -> Ints:
        """Ids, (n, d, t), of coalitions, (n, u)."""
        kept = present_spans(present, self._covering)
        ids = np.tile(self._on, (len(kept), self.draws, 1))
        some = np.flatnonzero(~kept.all(1))
        row, at = np.nonzero(~kept[some])
        if len(some):
            masked = np.where(kept[some], self._on, self.language.tokenizer.special["mask"])
            ids[some[row], :, at] = self._drawn(masked, row, at)
        return ids

    def _drawn(self, masked: Ints, row: Ints, at: Ints) -> Ints:
        """Tokens, (k, d), drawn for places of masked rows, (m, t), by inverting the cumulation."""
        network, device = self.language.network, self.language.device
        with borrowed(network):
            logits = network(input_ids=torch.from_numpy(masked).to(device)).logits
            drawable = torch.from_numpy(self._drawable).to(device)
            logits = logits[torch.from_numpy(row).to(device), torch.from_numpy(at).to(device)]
            up_to = logits[:, drawable].float().softmax(1).cumsum(1)
            uniform = torch.from_numpy(self._uniform[:, at].T.copy()).to(device)
            chosen = torch.searchsorted(up_to, uniform * up_to[:, -1:], right=True)
            last = len(self._drawable) - 1
        found: Ints = self._drawable[chosen.clamp(max=last).cpu().numpy()]
        return found

    def one_by_one(self) -> Ints:
        """What stands for each token, (d, t), while its unit alone is absent."""
        off = np.tile(self._on, (self.draws, 1))
        alone = ~np.eye(self.n_units, dtype=bool)

        def fill(some: slice) -> None:
            changed = ~present_spans(alone[some], self._covering)
            filled = self.filled(alone[some])
            unit, at = np.nonzero(changed)
            off[:, at] = filled[unit, :, at].T

        self.language.batch_size().over(self.n_units, self.width, fill)
        return off
