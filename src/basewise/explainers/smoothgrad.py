"""SmoothGrad: saliency averaged over noisy copies (Smilkov et al. 2017, arXiv 1706.03825)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, corrected
from basewise.explainers.path import Path, Walker
from basewise.explainers.references import bases_only
from basewise.explainers.saliency import Magnitude, magnitude
from basewise.registry import component
from basewise.types import Floats, Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["SmoothGrad"]


@component
class SmoothGrad(Gradient):
    """The size of the gradient's mean over copies of the sequence with Gaussian noise.

    It has no baseline. With one-hot networks the mean gradient, (b, 4), comes along as the
    hypothetical scores.

    Attributes
    ----------
    draws : int
        Noisy copies.
    noise : float
        Standard deviation of the noise, as a share of the range of the embedding's values
        (the paper: 0.1 to 0.2).
    aggregate : str
        Over the channels of a position: `max` of the magnitudes, `l2` norm, or `abs_sum`.
    centred : bool
        Subtract the gradient's mean over the bases first; see `saliency`.
    """

    kind: ClassVar[Kind] = "ranking"

    draws: Annotated[int, Field(ge=1)] = 50
    noise: Annotated[float, Field(gt=0)] = 0.15
    aggregate: Magnitude = "max"
    centred: bool = False

    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        width = self.noise * float(x.max() - x.min())
        drawn = rng.normal(0, width, (self.draws, *x.shape))
        return bases_only(x + torch.from_numpy(drawn).to(x), x, tokens)

    def starts(
        self,
        record: Record,
        tokens: Tokens,
        x: Tensor,
        model: Model,
        rng: np.random.Generator,
        most: int,
    ) -> Iterator[tuple[Tensor, Floats]]:
        for start in range(0, self.draws, most):
            part = replace(self, draws=min(most, self.draws - start))
            yield part.start(record, tokens, x, model, rng), np.empty(0)

    def rows(self) -> Count:
        return exactly(1 + self.draws)

    def find(self, walker: Walker, parts: Iterable[Sequence[Path]]) -> list[Found]:
        sums: list[Tensor] = []
        for paths in parts:
            gradients, _ = walker.integrate(paths, np.zeros(1), np.ones(1))  # at the noisy copies
            more = gradients.sum(1)
            sums = [a.add_(b) for a, b in zip(sums, more, strict=True)] if sums else list(more)
        found = []
        for total, output in zip(sums, walker.outputs(paths), strict=True):
            channels = corrected(total / self.draws, walker.model, self.centred)
            found.append(
                Found(
                    scores=magnitude(channels, self.aggregate),
                    output=output,
                    baseline=float("nan"),
                    evaluations=1 + self.draws,
                    hypothetical=channels,
                )
            )
        return found
