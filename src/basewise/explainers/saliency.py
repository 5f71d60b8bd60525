"""Saliency: how steep the target is in every base (Simonyan, Vedaldi & Zisserman 2014)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from torch import Tensor

from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, corrected
from basewise.explainers.path import Path, Walker
from basewise.registry import component
from basewise.types import Floats, Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["Magnitude", "Saliency", "magnitude"]

Magnitude = Literal["max", "l2", "abs_sum"]


@component
class Saliency(Gradient):
    """The size of the gradient at the sequence itself.

    It has no baseline. With one-hot networks the gradient itself, (b, 4), comes along as the
    hypothetical scores.

    Attributes
    ----------
    aggregate : str
        Over the channels of a position: `max` of the magnitudes (as published), `l2` norm, or
        `abs_sum`.
    centred : bool
        Subtract the gradient's mean over the bases first: one-hot rows lie on a simplex, and
        what points away from it says nothing (Majdandzic et al. 2023). One-hot networks only.
    """

    kind: ClassVar[Kind] = "ranking"

    aggregate: Magnitude = "max"
    centred: bool = False

    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        return x[None]

    def rows(self) -> Count:
        return exactly(1)

    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        (paths,) = parts
        gradients, values = walker.integrate(paths, np.ones(1), np.ones(1))
        found = []
        for gradient, value in zip(gradients[:, 0], values[:, 0, 0].tolist(), strict=True):
            channels = corrected(gradient, walker.model, self.centred)
            found.append(
                Found(
                    scores=magnitude(channels, self.aggregate),
                    output=value,
                    baseline=float("nan"),
                    evaluations=1,
                    hypothetical=channels,
                )
            )
        return found


def magnitude(channels: Floats, how: Magnitude) -> Floats:
    """One size, (t,), for the channels (t, e) of every position."""
    if how == "l2":
        return np.asarray(np.linalg.norm(channels, axis=1))
    sizes = np.abs(channels)
    return np.asarray(sizes.max(1) if how == "max" else sizes.sum(1))
