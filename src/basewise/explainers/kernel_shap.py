"""KernelSHAP: Shapley values by constrained weighted least squares (Lundberg & Lee 2017)."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from basewise.errors import ConfigError
from basewise.explainers.game import Estimate, Game, Play
from basewise.explainers.perturbation import Perturbation
from basewise.registry import component
from basewise.types import Bools, Floats, Kind

__all__ = ["KernelShap", "coalitions", "solve"]


@component
class KernelShap(Perturbation):
    """KernelSHAP with complement pairs.

    Sizes of coalitions that the budget allows to enumerate are enumerated, from the smallest
    and largest inwards; the rest is sampled with the Shapley kernel, every coalition together
    with its complement (Covert & Lee 2021, section 4.2). No units are selected away: a default
    of the `shap` package keeps ten and so never converges.

    Attributes
    ----------
    evaluations : int or None
        Coalitions valued beside the two ends; None means `2 * units + 2048`.
    """

    kind: ClassVar[Kind] = "additive"

    evaluations: Annotated[int, Field(ge=2)] | None = None

    def estimate(self, game: Game, rng: np.random.Generator) -> Play:
        u = game.n_units
        if u == 1:
            return Estimate(np.array([game.full - game.empty]))
        budget = 2 * u + 2048 if self.evaluations is None else self.evaluations
        if budget < min(2 * u, 2**u - 2):
            raise ConfigError(
                f"kernel_shap: evaluations = {budget} is too few for {u} units; at least {2 * u} "
                "are needed. Give more evaluations or use larger units."
            )
        present, weights = coalitions(u, budget, rng)
        values = yield present
        return Estimate(solve(present, values - game.empty, weights, game.full - game.empty))


def coalitions(u: int, budget: int, rng: np.random.Generator) -> tuple[Bools, Floats]:
    """Coalitions (n, u) and weights (n,) that stand for the Shapley kernel over `u` units.

    n is at most `budget` (rounded up to a pair).
    """
    sizes = np.arange(1, u // 2 + 1)
    kernel = (u - 1) / (sizes * (u - sizes))
    kernel[2 * sizes < u] *= 2  # each such size stands for its complement too
    kernel /= kernel.sum()
    blocks: list[Bools] = []
    weights: list[Floats] = []
    left, first = budget, 0
    for size, mass in zip(sizes.tolist(), kernel.tolist(), strict=True):
        number = comb(u, size) * (2 if 2 * size < u else 1)
        if number > left * mass / kernel[first:].sum() * (1 + 1e-9):
            break
        block = np.zeros((comb(u, size), u), bool)
        members = np.array(list(combinations(range(u), size)))
        np.put_along_axis(block, members, True, axis=1)
        blocks.append(np.concatenate([block, ~block]) if 2 * size < u else block)
        weights.append(np.full(number, mass / number))
        left, first = left - number, first + 1
    if first < len(sizes) and left > 0:
        pairs = (left + 1) // 2
        rest = kernel[first:]
        drawn = rng.choice(sizes[first:], pairs, p=rest / rest.sum())
        block = rng.permuted(np.arange(u) < drawn[:, None], axis=1)
        blocks.append(np.concatenate([block, ~block]))
        weights.append(np.full(2 * pairs, rest.sum() / (2 * pairs)))
    return np.concatenate(blocks), np.concatenate(weights)


def solve(present: Bools, gains: Floats, weights: Floats, total: float) -> Floats:
    """Scores (u,) that fit gains (n,) best by weighted squares and sum to `total`."""
    last = present[:, -1].astype(float)
    x = present[:, :-1] - last[:, None]
    y = gains - last * total
    weighted = x * weights[:, None]
    gram = weighted.T @ x
    head = np.linalg.lstsq(gram, weighted.T @ y, rcond=None)[0]
    return np.append(head, total - head.sum())
