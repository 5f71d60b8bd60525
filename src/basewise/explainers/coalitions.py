"""Drawing coalitions, and fitting Shapley values to coalitions that come in complement pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from basewise.types import Bools, Floats, Ints

__all__ = ["fit_pairs", "solver", "subsets"]


def subsets(sizes: Ints, u: int, rng: np.random.Generator) -> Bools:
    """Coalitions, (n, u), each drawn uniformly from those of its size, (n,)."""
    draws = rng.random((len(sizes), u))
    ranked = np.pad(np.sort(draws, axis=1), ((0, 0), (1, 0)), constant_values=-1)
    return draws <= ranked[np.arange(len(sizes)), sizes][:, None]


def fit_pairs(
    half: Bools, gains: Floats, weights: Floats, total: float, sampled: int
) -> tuple[Floats, Floats]:
    """Scores that fit complement pairs best by weighted squares and sum to `total`.

    Interactions of even order cancel within a pair, so only the difference of its two values
    speaks (Covert & Lee 2021, section 4.2): `v(z) - v(not z) = (2 z - 1) @ scores`.

    Parameters
    ----------
    half : (m, u) bool
        One coalition of each pair.
    gains : (m,) float
        Its value less that of its complement.
    weights : (m,) float
    total : float
        Value of all units less that of none.
    sampled : int
        How many pairs, at the end, were drawn; the others were all of their kind.

    Returns
    -------
    scores : (u,) float
    standard_error : (u,) float
        Of drawing, by the sandwich estimator (White 1980); 0 where all pairs were there.
    """
    signs = half * 2.0 - 1
    root = np.sqrt(weights)[:, None] * signs
    gram: Floats = root.T @ root
    # The sum of the scores is given, so adding its square changes nothing but the condition.
    gram += float(np.trace(gram)) / len(gram) ** 2
    solve = solver(gram)
    ones = solve(np.ones(len(gram)))
    free = solve(signs.T @ (weights * gains))
    scores = free + ones * (total - free.sum()) / ones.sum()

    if not sampled:
        return scores, np.zeros(len(scores))
    drawn = slice(len(signs) - sampled, None)
    pull = solve(signs[drawn].T).T
    pull -= pull.sum(1, keepdims=True) * (ones / ones.sum())
    residual = weights[drawn] * (gains - signs @ scores)[drawn]
    spare = max(1 - (len(scores) - 1) / len(signs), 1e-3)
    variance: Floats = residual**2 @ pull**2 / spare
    return scores, np.sqrt(variance)


def solver(gram: Floats) -> Callable[[Floats], Floats]:
    """What solves the normal equations; in the sense of least norm if they are singular."""
    try:
        return partial(cho_solve, cho_factor(gram))
    except LinAlgError:
        return partial(np.matmul, np.linalg.pinv(gram, hermitian=True))
