"""Where a path of gradients starts: what the sequence is compared with.

Each component's verb is `embedded(record, tokens, x, model, rng) -> (d, t, e)`, the reference
in embedding space, one row per draw; special tokens stay as they are in the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from pydantic import Field, PlainValidator, field_validator, model_validator
from torch import Tensor

from basewise.errors import CapabilityError, DataError
from basewise.explainers import REFERENCES
from basewise.models.batch import Batch
from basewise.models.gradient import embed
from basewise.models.onehot import OneHot
from basewise.registry import component
from basewise.sequence.alphabet import N, encode
from basewise.sequence.shuffle import shuffle_dinucleotides, shuffle_mononucleotides
from basewise.types import Floats, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = [
    "ArrayReference",
    "Frequencies",
    "Reference",
    "Several",
    "ShuffledReference",
    "Starts",
    "TokenReference",
    "Uniform",
    "Zero",
    "bases_only",
    "in_parts",
    "is_one_hot",
    "shares",
]


class Reference(Protocol):
    """Gives the start of a path for one sequence."""

    @property
    def draws(self) -> int:
        """How many starts it gives."""

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        """Reference (d, t, e) for the sequence's embedding x (t, e)."""


def _built(given: Any) -> Any:
    if isinstance(given, np.ndarray):
        return ArrayReference(values=given)
    if isinstance(given, list | tuple):
        return Several(of=tuple(given))
    return REFERENCES.build(given)


Starts = Annotated[Reference, PlainValidator(_built)]
"""A setting: a reference by name, table or component; a list of them; or an array."""


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

    draws: ClassVar[int] = 1

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        return bases_only(torch.zeros_like(x)[None], x, tokens)


@component
class Uniform:
    """A quarter of every base (one-hot networks)."""

    draws: ClassVar[int] = 1

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        _one_hot_only("uniform", model)
        return torch.full_like(x, 0.25)[None]


@component
class Frequencies:
    """The sequence's own base frequencies at every position (one-hot networks)."""

    draws: ClassVar[int] = 1

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        _one_hot_only("frequencies", model)
        return x.mean(0, keepdim=True).expand_as(x)[None]


@component
class ShuffledReference:
    """Shuffles of the sequence, several of them averaged.

    A base that no shuffle changes scores 0, with standard error 0, whatever it does. With
    dinucleotides kept that holds for the first and the last base of every stretch between Ns,
    which stay in place, and for all of a sequence that has no other such shuffle (A, AC, AAAA).
    Where the ends matter, keep bases, or explain a longer sequence and leave its flanks out.

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
    """One token everywhere, special tokens kept.

    Attributes
    ----------
    token : str
        `mask`, `pad`, `unknown`, or `n` for those of a sequence of the base N.
    """

    draws: ClassVar[int] = 1

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
                    "tokenizer; use reference='token', which is the mask token, or 'zero'."
                )
        else:
            token_id = {
                "mask": tokenizer.mask_id,
                "pad": tokenizer.pad_id,
                "unknown": tokenizer.unknown_id,
            }[self.token]
            if token_id is None:
                raise CapabilityError(
                    f"This model's tokenizer has no {self.token} token; use the token n, --set "
                    """'reference={type="token",token="n"}' (in Python reference={"type": """
                    """"token", "token": "n"}), or reference='zero'."""
                )
            ids = np.full((1, len(tokens)), token_id)
        batch = Batch(torch.from_numpy(np.ascontiguousarray(ids)).to(x.device), None)
        return bases_only(embed(model, batch), x, tokens)


@component
class ArrayReference:
    """Values of one's own, special tokens kept; in Python an array stands for it.

    Attributes
    ----------
    values : (e,), (t, e) or (d, t, e) float
        One row for all tokens; or a row for each of the t tokens, of which those of special
        tokens are not read; or d such references. e is 4 (A, C, G, T) for one-hot networks.
    """

    values: Annotated[Any, PlainValidator(lambda given: _nested(np.asarray(given, float)))]

    @model_validator(mode="after")
    def _finite(self) -> ArrayReference:
        values = np.asarray(self.values)
        if not 1 <= values.ndim <= 3 or not values.size or not np.isfinite(values).all():
            raise ValueError(
                f"values have shape {values.shape}; allowed are finite numbers of shape (e,), "
                "(t, e) or (d, t, e)"
            )
        return self

    @property
    def draws(self) -> int:
        return len(self.values) if np.ndim(self.values) == 3 else 1

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        values = torch.tensor(self.values, dtype=x.dtype, device=x.device)
        if values.shape[-1] != x.shape[-1] or (values.ndim > 1 and values.shape[-2] != len(x)):
            raise DataError(
                f"Record {record.id!r} is embedded as {len(x)} tokens of {x.shape[-1]} numbers, "
                f"and the reference has shape {tuple(values.shape)}; give ({x.shape[-1]},) or "
                f"{tuple(x.shape)}."
            )
        return bases_only(values.expand(self.draws, *x.shape), x, tokens)


def _nested(array: Any) -> Any:
    """Nested tuples: settings are compared, and kept as JSON."""
    return tuple(map(_nested, array)) if array.ndim else float(array)


@component
class Several:
    """References of several kinds, which a list stands for.

    Scores are the mean of what each of them gives; one of many draws counts as one.

    Attributes
    ----------
    of : list of Reference
    """

    of: tuple[Starts, ...]

    @field_validator("of")
    @classmethod
    def _some(cls, of: tuple[Reference, ...]) -> tuple[Reference, ...]:
        if not of or any(isinstance(reference, Several) for reference in of):
            raise ValueError("a list of references has at least one, and no lists in it")
        return of

    @property
    def draws(self) -> int:
        return sum(reference.draws for reference in self.of)

    def embedded(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        return torch.cat([one.embedded(record, tokens, x, model, rng) for one in self.of])


def in_parts(reference: Reference, most: int) -> Iterator[Reference]:
    """References that together give the same starts, few at a time where they are drawn."""
    if reference.draws <= most:
        yield reference
    elif isinstance(reference, Several):
        for one in reference.of:
            yield from in_parts(one, most)
    elif isinstance(reference, ShuffledReference):
        for start in range(0, reference.draws, most):
            yield replace(reference, draws=min(most, reference.draws - start))
    else:
        yield reference


def shares(reference: Reference) -> Floats:
    """How much each of d starts counts in each of the m references that are compared, (m, d).

    Compared are the members of a list, or else the draws of a single reference.
    """
    draws = [1] * reference.draws
    if isinstance(reference, Several):
        draws = [one.draws for one in reference.of]
    of = np.repeat(np.arange(len(draws)), draws)
    counted: Floats = (of == np.arange(len(draws))[:, None]) / np.array(draws)[:, None]
    return counted
