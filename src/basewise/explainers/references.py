"""Where a path of gradients starts: what the sequence is compared with.

Each component's verb is `embedded(record, tokens, x, model, rng) -> (d, t, e)`, the reference
in embedding space, one row per draw; special tokens stay as they are in the sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basewise.errors import CapabilityError
from basewise.models.batch import Batch
from basewise.models.gradient import embed
from basewise.models.onehot import OneHot
from basewise.registry import component
from basewise.sequence.alphabet import N, encode
from basewise.sequence.shuffle import shuffle_dinucleotides, shuffle_mononucleotides
from basewise.types import Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "Frequencies",
    "Reference",
    "ShuffledReference",
    "TokenReference",
    "Uniform",
    "Zero",
    "bases_only",
    "is_one_hot",
]


class Reference(Protocol):
    """Gives the start of a path for one sequence."""

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        """Reference (d, t, e) for the sequence's embedding x (t, e)."""


def is_one_hot(model: Model) -> bool:
    """Whether the embedding is one-hot, so that its columns are A, C, G, T."""
    return isinstance(model.embedding, OneHot)


def bases_only(reference: Tensor, x: Tensor, tokens: Tokens) -> Tensor:
    """The reference (d, t, e) on tokens that cover bases, the sequence itself on the others."""
    covers = torch.from_numpy(tokens.spans[:, 1] > tokens.spans[:, 0]).to(x.device)
    return torch.where(covers[None, :, None], reference, x)


def _one_hot_only(name: str, model: Model) -> None:
    if not is_one_hot(model):
        raise CapabilityError(
            f"The reference {name!r} is a mixture of bases, which an embedding of tokens does not "
            "have; use reference='token', 'shuffled' or 'zero'."
        )


@component
class Zero:
    """All zeros: no base, or no token, at all."""

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        return bases_only(torch.zeros_like(x)[None], x, tokens)


@component
class Uniform:
    """A quarter of every base (one-hot networks)."""

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        _one_hot_only("uniform", model)
        return torch.full_like(x, 0.25)[None]


@component
class Frequencies:
    """The sequence's own base frequencies at every position (one-hot networks)."""

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        _one_hot_only("frequencies", model)
        return x.mean(0, keepdim=True).expand_as(x)[None]


@component
class ShuffledReference:
    """Shuffles of the sequence, several of them averaged.

    Attributes
    ----------
    keep : str
        `dinucleotides` (exact counts kept) or `bases`.
    draws : int
        Shuffles; each costs a whole path.
    """

    keep: Literal["dinucleotides", "bases"] = "dinucleotides"
    draws: Annotated[int, Field(ge=1)] = 5

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        shuffle = shuffle_dinucleotides if self.keep == "dinucleotides" else shuffle_mononucleotides
        codes = shuffle(encode(record.sequence)[None], rng, self.draws)[0]
        batch = model.batch_of(codes)
        if batch.mask is not None or batch.ids.shape[1] != len(tokens):
            raise CapabilityError(
                "A shuffled sequence has other tokens than the sequence itself under this "
                "tokenizer, so no path joins them; use reference='token' or 'zero'."
            )
        return bases_only(embed(model, batch), x, tokens)


@component
class TokenReference:
    """One token everywhere, special tokens kept: `mask`, `pad`, `unknown` or the base `n`."""

    token: Literal["mask", "pad", "unknown", "n"] = "mask"

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        tokenizer = model.tokenizer
        if self.token == "n":
            codes = np.full((1, len(record.sequence)), N, np.uint8)
            ids = tokenizer.encode_codes(codes).ids
            if ids.shape[1] != len(tokens):
                raise CapabilityError(
                    "A sequence of N has other tokens than the sequence itself under this "
                    "tokenizer; use token='mask'."
                )
        else:
            token_id = {
                "mask": tokenizer.mask_id,
                "pad": tokenizer.pad_id,
                "unknown": tokenizer.unknown_id,
            }[self.token]
            if token_id is None:
                raise CapabilityError(
                    f"This model's tokenizer has no {self.token} token; use token='n' or "
                    "another reference ('zero', 'uniform', 'shuffled')."
                )
            ids = np.full((1, len(tokens)), token_id)
        batch = Batch(torch.from_numpy(np.ascontiguousarray(ids)).to(x.device), None)
        return bases_only(embed(model, batch), x, tokens)
