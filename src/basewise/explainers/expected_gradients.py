"""Expected gradients (Erion et al. 2021, arXiv 1906.10670)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from basewise.explainers.count import Count, exactly
from basewise.explainers.gradient import Found, Gradient, averaged
from basewise.explainers.path import Path, Walker
from basewise.explainers.references import ShuffledReference, Starts, shares
from basewise.registry import component
from basewise.types import Floats, Kind, Record, Tokens

if TYPE_CHECKING:
    from basewise.models.model import Model

__all__ = ["ExpectedGradients"]


@component
class ExpectedGradients(Gradient):
    """Integrated Gradients over a distribution of references, as one expectation.

    Each draw takes a reference and one place on the line from it. The places are one in each
    of `draws` equal parts of the line, in random order: as unbiased as independent places
    (equation 3 of the paper), and steadier. Scores sum to the gain on average only; the gap
    shrinks as draws grow.

    Attributes
    ----------
    reference : Reference, list of them, or array
        Where lines start; by default 100 dinucleotide shuffles.
    draws : int
        Lines; references take turns, and so do the starts of each.
    """

    kind: ClassVar[Kind] = "additive"

    reference: Starts = ShuffledReference(draws=100)
    draws: Annotated[int, Field(ge=2)] = 100

    def start(
        self, record: Record, tokens: Tokens, x: Tensor, model: Model, rng: np.random.Generator
    ) -> Tensor:
        references = self.reference.embedded(record, tokens, x, model, rng)
        kinds = [np.flatnonzero(share) for share in shares(self.reference)]
        turns = [divmod(i, len(kinds)) for i in range(self.draws)]
        chosen = [kinds[kind][turn % len(kinds[kind])] for turn, kind in turns]
        return references[torch.tensor(chosen, device=x.device)]

    def places(self, rng: np.random.Generator) -> Floats:
        return (rng.permutation(self.draws) + rng.random(self.draws)) / self.draws

    def rows(self) -> Count:
        return exactly(1 + 2 * self.draws)

    def find(self, walker: Walker, paths: Sequence[Path]) -> list[Found]:
        at = np.stack([path.places for path in paths])[..., None]
        gradients, _ = walker.integrate(paths, at, np.ones(1))
        ends = zip(walker.outputs(paths), walker.baselines(paths), strict=True)
        rows = 1 + 2 * self.draws
        return [
            averaged(path, gradient, *both, rows)
            for path, gradient, both in zip(paths, gradients, ends, strict=True)
        ]
