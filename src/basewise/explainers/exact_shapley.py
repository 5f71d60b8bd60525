"""Exact Shapley values by enumeration: the referee of every estimator."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import gammaln

from basewise.errors import CapabilityError
from basewise.explainers.count import Count, exactly
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.perturbation import Perturbation
from basewise.registry import component
from basewise.types import Kind

__all__ = ["ExactShapley"]

LIMIT = 16


@component
class ExactShapley(Perturbation):
    """Shapley values over all 2**u coalitions (Shapley 1953); for at most 16 units."""

    kind: ClassVar[Kind] = "additive"

    def coalitions(self, units: int) -> Count:
        if units > LIMIT:
            raise CapabilityError(
                f"exact_shapley enumerates 2**u coalitions and allows at most {LIMIT} units; this "
                f"sequence has {units}. Use larger units (units='windows') or kernel_shap."
            )
        return exactly(2**units)

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        u = game.n_units
        bits = np.arange(self.coalitions(u).number)
        present = (bits[:, None] >> np.arange(u)) & 1 == 1
        values = yield present
        sizes = np.arange(u)
        weight = np.exp(gammaln(sizes + 1) + gammaln(u - sizes) - gammaln(u + 1))
        scores = np.empty(u)
        for i in range(u):
            without = np.flatnonzero(~present[:, i])
            gain = values[without | (1 << i)] - values[without]
            scores[i] = weight[present[without].sum(1)] @ gain
        return Estimate(scores)
