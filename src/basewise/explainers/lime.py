"""LIME: a ridge surrogate fitted near the sequence (Ribeiro, Singh & Guestrin 2016)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from basewise.explainers.coalitions import solver, subsets
from basewise.explainers.count import Count, at_most
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.perturbation import Perturbation
from basewise.registry import component
from basewise.types import Bools, Floats, Kind

__all__ = ["Lime", "ridge"]


@component
class Lime(Perturbation):
    """LIME as the `lime` package's text explainer draws, weighs and fits it.

    The first sample is the sequence itself; each other one switches off a uniformly drawn
    number of units. The surrogate's weighted R2 is reported as the extra `r2`.

    Attributes
    ----------
    samples : int
        Samples drawn, the sequence itself included.
    kernel_width : float
        Weights are `sqrt(exp(-distance**2 / kernel_width**2))`.
    distance : str
        `cosine` or `euclidean` distance to the sequence, times 100.
    features : int or None
        Keep this many units with the largest weights of a first fit (penalty 0.01), as the
        package's `highest_weights` does, and refit on them; None keeps all.
    penalty : float
        Of the final ridge regression.
    """

    kind: ClassVar[Kind] = "ranking"

    samples: Annotated[int, Field(ge=2)] = 1000
    kernel_width: Annotated[float, Field(gt=0)] = 25.0
    distance: Literal["cosine", "euclidean"] = "cosine"
    features: Annotated[int, Field(ge=1)] | None = None
    penalty: Annotated[float, Field(gt=0)] = 1.0

    def coalitions(self, units: int) -> Count:
        return at_most(min(self.samples + 1, 2**units))

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        present = draw(self.samples, game.n_units, rng)
        values = yield present
        weights = np.sqrt(np.exp(-(self.distances(present) ** 2) / self.kernel_width**2))
        kept = np.arange(game.n_units)
        if self.features is not None and self.features < game.n_units:
            first, _ = ridge(present, values, weights, 0.01)
            kept = np.sort(np.argsort(-np.abs(first), kind="stable")[: self.features])
        scores = np.zeros(game.n_units)
        scores[kept], r2 = ridge(present[:, kept], values, weights, self.penalty)
        return Estimate(scores, extras={"r2": r2})

    def distances(self, present: Bools) -> Floats:
        """Distance of each sample, (n,), to the whole sequence, times 100."""
        share = present.mean(1)
        if self.distance == "cosine":
            return np.asarray(100 * (1 - np.sqrt(share)))
        return np.asarray(100 * np.sqrt((1 - share) * present.shape[1]))


def draw(samples: int, n_units: int, rng: np.random.Generator) -> Bools:
    """Samples of units present, (samples, u): the first has all."""
    off = np.zeros(samples, int)
    off[1:] = rng.integers(1, n_units + 1, samples - 1)
    return ~subsets(off, n_units, rng)


def ridge(x: Bools, y: Floats, weights: Floats, penalty: float) -> tuple[Floats, float]:
    """Weighted ridge regression with an unpenalised intercept: coefficients (u,) and R2."""
    share, root = weights / weights.sum(), np.sqrt(weights)
    centred = (x - share @ x) * root[:, None]
    residual = (y - share @ y) * root
    gram = centred.T @ centred
    gram.flat[:: len(gram) + 1] += penalty
    coefficients = solver(gram)(centred.T @ residual)
    unexplained = ((residual - centred @ coefficients) ** 2).sum()
    spread = (residual**2).sum()
    return coefficients, float(1 - unexplained / spread) if spread > 0 else 1.0
