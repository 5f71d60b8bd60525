"""LIME: a ridge surrogate fitted near the sequence (Ribeiro, Singh & Guestrin 2016)."""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from basewise.explainers.coalitions import check_fits, solver, subsets
from basewise.explainers.count import Count, at_most
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.until import Stoppable, in_rounds
from basewise.registry import component
from basewise.types import Bools, Floats, Kind

__all__ = ["Lime", "ridge"]

CELL = 42.0  # bytes of a unit of a sample, at the peak of drawing and fitting (measured)


@component
class Lime(Stoppable):
    """LIME as the `lime` package's text explainer draws, weighs and fits it.

    The first sample is the sequence itself; each other one switches off a uniformly drawn
    number of units. The surrogate's weighted R2 is reported as the extra `r2`, 1 where all values
    are equal: nothing is left to explain. The standard errors are how much the weights vary from
    seed to seed (their stability), for the features that were kept.

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
        check_fits("lime", "samples", self.samples, units, CELL)
        return at_most(min(self.samples + 1, 2**units))

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        present = draw(self.samples, game.n_units, rng)
        first = min(6 * game.n_units, self.samples)
        play = partial(self._estimated, present)
        return (yield from in_rounds(self.until, first, self.samples, play))

    def _estimated(self, samples: Bools, n: int) -> Play:
        """Play with the first n samples."""
        present = samples[:n]
        units = present.shape[1]
        values = yield present
        weights = np.sqrt(np.exp(-(self.distances(present) ** 2) / self.kernel_width**2))
        kept = np.arange(units)
        if self.features is not None and self.features < units:
            first = ridge(present, values, weights, 0.01).weights
            kept = np.sort(np.argsort(-np.abs(first), kind="stable")[: self.features])
        fit = ridge(present[:, kept], values, weights, self.penalty)
        scores, error = np.zeros((2, units))
        scores[kept], error[kept] = fit.weights, fit.standard_error
        return Estimate(scores, error, {"r2": fit.r2})

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


class Fit(NamedTuple):
    """A fitted plane: weights (u,), their standard errors (u,), and its weighted R2.

    R2 is 1 where values are equal but for rounding, since there is nothing that it misses.
    """

    weights: Floats
    standard_error: Floats
    r2: float


def ridge(x: Bools, y: Floats, weights: Floats, penalty: float) -> Fit:
    """Weighted ridge regression with an unpenalised intercept; the first sample was not drawn."""
    share, root = weights / weights.sum(), np.sqrt(weights)[:, None]
    centred, rest = x - share @ x, y - share @ y
    scaled = centred * root
    gram = scaled.T @ scaled
    gram.flat[:: len(gram) + 1] += penalty
    inverse = solver(gram)(np.eye(len(gram)))
    found = inverse @ (centred.T @ (weights * rest))
    residual = rest - centred @ found
    spread = float(weights @ rest**2)
    error = errors(centred, residual, weights, inverse)
    rounding = (len(y) * np.finfo(float).eps) ** 2 * float(weights @ y**2)  # of the mean, at most
    r2 = 1 - float(weights @ residual**2) / spread if spread > rounding else 1.0
    return Fit(found, error, r2)


def errors(centred: Floats, residual: Floats, weights: Floats, inverse: Floats) -> Floats:
    """Standard errors, (u,), that drawing leaves in a ridge regression, of many samples or few.

    A residual is small where a sample has pulled the plane towards itself, so each is divided by
    the share of it that is left (HC3: MacKinnon & White 1985, J Econometrics 29:305). They come
    out as large as the spread over seeds, or by up to a fourth larger where samples are few.

    Parameters
    ----------
    centred : (m, u) float
        What was fitted to; the first was not drawn.
    residual, weights : (m,) float
    inverse : (u, u) float
        Of the normal equations, with the penalty.
    """
    rows = centred.astype(np.float32)
    pull = rows @ inverse.astype(np.float32)
    own = weights * np.einsum("mu,mu->m", pull, rows) + weights / weights.sum()
    noise = (weights * residual / np.maximum(1 - own, 1e-6)) ** 2
    return np.asarray(np.sqrt(noise[1:] @ np.square(pull[1:])))
