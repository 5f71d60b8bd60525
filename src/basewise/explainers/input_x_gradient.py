"""Input times gradient (Shrikumar et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import Tensor

from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, corrected
from basewise.explainers.path import Path, Walker
from basewise.registry import component
from basewise.types import Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["InputXGradient"]


@component
class InputXGradient(Gradient):
    """`x * g`, summed over channels: with one-hot input the slope along the base that is there.

    It has no baseline. With one-hot networks the hypothetical scores (b, 4) are the gradient.

    Attributes
    ----------
    centred : bool
        Subtract the gradient's mean over the bases first (Majdandzic et al. 2023), which
        makes a score the base's slope against the average base. One-hot networks only.
    """

    kind: ClassVar[Kind] = "ranking"

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
        for path, gradient, value in zip(
            paths, gradients[:, 0], values[:, 0, 0].tolist(), strict=True
        ):
            channels = corrected(gradient, walker.model, self.centred)
            found.append(
                Found(
                    scores=(path.x.double().cpu().numpy() * channels).sum(1),
                    output=value,
                    baseline=float("nan"),
                    evaluations=1,
                    hypothetical=channels,
                )
            )
        return found
