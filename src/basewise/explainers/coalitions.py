"""Drawing coalitions, and fitting Shapley values to coalitions that come in complement pairs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from basewise.errors import CapabilityError
from basewise.models.memory import machine_memory
from basewise.types import Bools, Floats, Ints

__all__ = ["PairFit", "check_fits", "fit_pairs", "sandwich", "solver", "spanning", "subsets"]


def check_fits(method: str, setting: str, number: int, u: int, each: float) -> None:
    """Refuse more coalitions of u units than memory holds, before any of them is drawn.

    Parameters
    ----------
    setting : str
        What asks for so many.
    each : float
        Bytes of a coalition and unit, at the peak.

    Raises
    ------
    CapabilityError
        Saying how much memory they take, and how many fit.
    """
    held, needed = machine_memory(), number * u * each
    if needed <= held:
        return
    fit = int(held / (u * each))
    fit -= fit % 10 ** max(len(str(fit)) - 2, 0)
    raise CapabilityError(
        f"{method}: {setting} = {number} of {u} units take up to {needed / 1e9:,.0f} GB of memory, "
        f"and this machine has {held / 1e9:,.0f} GB; at most {setting} = {fit} fit. Give fewer, or "
        "use larger units (units='windows')."
    )


def subsets(sizes: Ints, u: int, rng: np.random.Generator) -> Bools:
    """Coalitions, (n, u), each drawn uniformly from those of its size, (n,)."""
    draws = rng.random((len(sizes), u))
    last = np.sort(draws, axis=1)[np.arange(len(sizes)), sizes - 1]
    return draws <= np.where(sizes > 0, last, -1)[:, None]


class PairFit:
    """Scores that fit complement pairs best by weighted squares, for any gains of the pairs.

    Interactions of even order cancel within a pair, so only the difference of its two values
    speaks (Covert & Lee 2021, section 4.2): `v(z) - v(not z) = (2 z - 1) @ scores`.

    Parameters
    ----------
    half : (m, u) bool
        One coalition of each pair.
    weights : (m,) float
    summed : bool
        Whether it is given what the scores have to sum to.
    """

    def __init__(self, half: Bools, weights: Floats, *, summed: bool = True):
        self.signs, self.weights = np.where(half, 1.0, -1.0), weights
        root = np.sqrt(weights)[:, None] * self.signs
        gram: Floats = root.T @ root
        if summed:  # the square of a sum that is given changes but the condition
            gram += float(np.trace(gram)) / len(gram) ** 2
        self._inverse = solver(gram)(np.eye(len(gram)))
        if summed:
            ones = self._inverse.sum(1)
            self._ones = ones / ones.sum()
            self._inverse -= np.outer(ones, self._ones)

    def scores(self, gains: Floats, total: float | None = None) -> Floats:
        """Scores, (u,), by gains of the pairs, (m,), with this sum."""
        scores: Floats = self._inverse @ (self.signs.T @ (self.weights * gains))
        return scores if total is None else scores + self._ones * (total - scores.sum())

    def error(self, residual: Floats, drawn: Floats, *, left_out: bool = False) -> Floats:
        """Standard errors of the scores, (u,), that drawing leaves; see `sandwich`."""
        return sandwich(self.signs, residual, self.weights, drawn, self._inverse, left_out=left_out)


def fit_pairs(
    half: Bools,
    gains: Floats,
    weights: Floats,
    drawn: Floats,
    total: float | None = None,
) -> tuple[Floats, Floats]:
    """What `PairFit` finds for gains of pairs that are fitted to once.

    Parameters
    ----------
    half : (m, u) bool
        One coalition of each pair.
    gains : (m,) float
        Its value less that of its complement.
    weights : (m,) float
    drawn : (m,) float
        1 where a pair is one of very many of its kind, drawn at random, 0 where all of its
        kind are there; between them, the share of its kind that was not drawn. More generally,
        what the square of its residual counts in the variance.
    total : float, optional
        What the scores have to sum to.

    Returns
    -------
    scores : (u,) float
    standard_error : (u,) float
        Of drawing, by the sandwich estimator (White 1980).
    """
    fit = PairFit(half, weights, summed=total is not None)
    scores = fit.scores(gains, total)
    return scores, fit.error(gains - fit.signs @ scores, drawn)


def sandwich(
    signs: Floats,
    residual: Floats,
    weights: Floats,
    drawn: Floats,
    inverse: Floats,
    *,
    left_out: bool = False,
) -> Floats:
    """Standard errors, (u,), that drawing leaves in a weighted fit (White 1980).

    Single precision is enough for them.

    Parameters
    ----------
    signs : (m, u)
        What is fitted to.
    residual, weights, drawn : (m,) float
        `drawn` as in `fit_pairs`.
    inverse : (u, u) float
        Of the normal equations.
    left_out : bool
        Residuals are what a fit to the other pairs missed: as large as for new pairs already.
        Otherwise each is divided by what its leverage spares it.
    """
    some = drawn > 0
    drawn_signs = signs[some].astype(np.float32)
    pull = drawn_signs @ inverse.astype(np.float32)
    noise = (weights * residual)[some] ** 2 * drawn[some]
    if not left_out:
        leverage = weights[some] * np.einsum("ij,ij->i", pull, drawn_signs)
        noise /= np.maximum(1 - leverage, 1e-3)
    return np.asarray(np.sqrt(noise @ np.square(pull, out=pull)))


def spanning(half: Bools, *, summed: bool = False) -> bool:
    """Whether the gains of pairs, one coalition of each (m, u), determine the score of every unit.

    Parameters
    ----------
    summed : bool
        Whether the sum of the scores is known beside them.
    """
    signs = np.where(half, 1.0, -1.0)
    gram = signs.T @ signs + float(summed)
    rank = int(np.linalg.matrix_rank(gram, hermitian=True))
    return bool(rank == half.shape[1])


def solver(gram: Floats) -> Callable[[Floats], Floats]:
    """What solves the normal equations; in the sense of least norm if they are singular."""
    try:
        return partial(cho_solve, cho_factor(gram))
    except LinAlgError:
        return partial(np.matmul, np.linalg.pinv(gram, hermitian=True))
