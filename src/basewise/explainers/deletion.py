"""Switching off by leaving out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from basewise.errors import CapabilityError
from basewise.models.switchboards import Shortened, Switchboard
from basewise.registry import component
from basewise.sequence.alphabet import N
from basewise.types import Ints, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Deletion"]


@component
class Deletion:
    """Absent tokens are left out, which moves all that stands behind them.

    A model that knows positions then sees the rest of the sequence in other places: what is
    measured is the loss of a unit and the shift together, and attributions say so by the extra
    `positions_shift`. Tokens are left out by their ids; what is left is not tokenised again.
    Where nothing of a sequence is left, one unknown base (or token) stands for it.
    """

    draws: ClassVar[int] = 1

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        if not model.pads:
            raise CapabilityError(
                f"{model.name} takes sequences of one length a call, and deletion makes shorter "
                "ones; use masking='n', 'shuffled' or 'sampled'."
            )
        tokenizer = model.tokenizer
        if tokenizer.tokens_are_bases:
            last: int | None = int(tokenizer.encode_codes(np.array([[N]], np.uint8)).ids[0, 0])
        else:
            last = tokenizer.unknown_id
        if last is None:
            raise CapabilityError(
                "This model's tokenizer has no unknown token to stand for a sequence of which "
                "nothing is left; use masking='mask', 'shuffled' or 'sampled'."
            )
        return Shortened(tokens.ids, tokens.spans, units, last, tokenizer.pad_id)
