"""How a switched-off unit looks.

Each component's verb is `switchboard(record, tokens, units, model, rng)`. Replacing keeps
positions, so nothing shifts. Where the tokenizer allows, switching happens in token-id space;
where bases change and tokens are not bases, the sequence is tokenised again, openly: a
`BaseSwitch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from basewise.errors import CapabilityError
from basewise.models.switchboards import BaseSwitch, Switchboard, TokenSwitch
from basewise.registry import component
from basewise.sequence.alphabet import N, encode
from basewise.sequence.shuffle import shuffle_dinucleotides, shuffle_mononucleotides
from basewise.types import Codes, Ints, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["MaskToken", "Masking", "NBases", "PadToken", "Sampled", "Shuffled", "UnknownToken"]


class Masking(Protocol):
    """Says how the units of a sequence look when they are switched off."""

    @property
    def draws(self) -> int:
        """Rows made for each coalition, whose values are averaged."""

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard: ...


def _special(name: str, token_id: int | None, tokens: Tokens, units: Ints) -> Switchboard:
    if token_id is None:
        raise CapabilityError(
            f"This model's tokenizer has no {name} token; use masking='n', 'shuffled' or 'sampled'."
        )
    off = np.full_like(tokens.ids, token_id)[None]
    return TokenSwitch(tokens.ids, off, tokens.spans, units)


@component
class MaskToken:
    """Absent tokens become the mask token (for models trained to fill it in)."""

    draws: ClassVar[int] = 1

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        return _special("mask", model.tokenizer.mask_id, tokens, units)


@component
class PadToken:
    """Absent tokens become the padding token, in place and attended to."""

    draws: ClassVar[int] = 1

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        return _special("padding", model.tokenizer.pad_id, tokens, units)


@component
class UnknownToken:
    """Absent tokens become the unknown token."""

    draws: ClassVar[int] = 1

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        return _special("unknown", model.tokenizer.unknown_id, tokens, units)


@component
class NBases:
    """Absent bases become N, the unknown base; refused where an N moves the other tokens."""

    draws: ClassVar[int] = 1

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        if not model.tokenizer.frame_safe_n:
            raise CapabilityError(
                "An N moves the borders of this tokenizer's other tokens, so hiding one unit would "
                "change all that follow; use masking='mask', 'shuffled' or 'sampled'."
            )
        off = np.full((1, len(record.sequence)), N, np.uint8)
        return replacing(record, off, tokens, units, model)


@component
class Shuffled:
    """Absent bases come from shuffles of the sequence itself, averaged over `draws`.

    A base that no shuffle changes is never absent: as a unit it is worth 0, whatever it does, and
    no standard error tells. With dinucleotides kept that holds for the first and the last base
    of every stretch between Ns, which stay in place, and for all of a sequence that has no other
    such shuffle (A, AC, AAAA). Where the ends matter, keep bases, or explain a longer sequence
    and leave its flanks out.

    Attributes
    ----------
    keep : str
        `dinucleotides`: exact dinucleotide counts of the whole sequence are kept (Altschul &
        Erickson 1985). `bases`: only base counts.
    draws : int
        Shuffles averaged; each costs one evaluation per coalition.
    """

    keep: Literal["dinucleotides", "bases"] = "dinucleotides"
    draws: Annotated[int, Field(ge=1)] = 5

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        codes = encode(record.sequence)
        shuffle = shuffle_dinucleotides if self.keep == "dinucleotides" else shuffle_mononucleotides
        off = shuffle(codes[None], rng, self.draws)[0]
        return replacing(record, off, tokens, units, model)


@component
class Sampled:
    """Absent bases are drawn independently, averaged over `draws`.

    Attributes
    ----------
    composition : str
        `uniform`: a quarter each. `sequence`: the sequence's own base frequencies.
    draws : int
        Draws averaged; each costs one evaluation per coalition.
    """

    composition: Literal["uniform", "sequence"] = "uniform"
    draws: Annotated[int, Field(ge=1)] = 5

    def switchboard(
        self, record: Record, tokens: Tokens, units: Ints, model: Model, rng: np.random.Generator
    ) -> Switchboard:
        codes = encode(record.sequence)
        shape = (self.draws, len(codes))
        known = codes[codes < N]
        if self.composition == "uniform" or not len(known):
            off = rng.integers(0, 4, shape).astype(np.uint8)
        else:
            off = rng.choice(known, shape)
        return replacing(record, off, tokens, units, model)


def replacing(record: Record, off: Codes, tokens: Tokens, units: Ints, model: Model) -> Switchboard:
    """A sequence's bases replaced by others, (d, b): by id where a token is a base, else
    tokenised again."""
    if model.tokenizer.tokens_are_bases:
        return TokenSwitch(tokens.ids, model.tokenizer.encode_codes(off).ids, tokens.spans, units)
    return BaseSwitch(encode(record.sequence), off, units, len(tokens))
