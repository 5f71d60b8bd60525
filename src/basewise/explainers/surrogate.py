"""A surrogate of a game's interactions of three units, and its exact Shapley values.

Complement pairs cancel interactions of even order, so what disturbs a fit of Shapley values is
of odd order, and three units are the first of them. There are too many triples to fit one by
one; a Gaussian process over all of them needs no more than the products of coalitions, and its
Shapley values are known in closed form: each unit of a product of three gets a third of it.
Taken off the gains before they are fitted, it leaves less to err by (control variates of a
fitted function: Witter, Liu & Musco 2025, arXiv 2506.11849).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from basewise.types import Bools, Floats

__all__ = ["Prior", "surrogate"]

Signs = NDArray[np.float32]  # 1 where a unit is present, -1 where it is absent

FITTED = 2048  # most pairs it is fitted to: the time grows with the third power
NOISE = 0.05  # variance that is not of its kind, beside the amounts of the prior
FLOOR = 0.1  # scale of a unit without a score, beside the mean score


class Prior(NamedTuple):
    """How much of which kind a game's gains are expected to hold, as variances.

    `alike`: products of three units, all of the same size. `scaled`: products of three units
    in the size of their scores, since what matters alone matters together. `numbers`: scores
    that change with the square of how many units are present beyond those absent. `levels`:
    scores that change with the square of how much they are worth by themselves, as all do
    where the model saturates. `scores`: what the first fit missed. Errors hardly depend on the
    amounts.
    """

    scale: Signs  # (u,), of mean square 1
    number: Bend
    level: Bend
    alike: float = 0.5
    scaled: float = 0.5
    numbers: float = 0.3
    levels: float = 0.1
    scores: float = 10.0

    @classmethod
    def of(cls, signs: Signs, scores: Floats) -> Prior:
        """For games with about these scores, (u,), valued at these coalitions, (m, u)."""
        ones = np.ones(len(scores))
        some = scores if scores.any() else ones
        size = np.abs(some) + FLOOR * np.abs(some).mean()
        return cls(_normal(size), Bend.along(ones, signs), Bend.along(some, signs))

    def covariance(self, a: Signs, b: Signs) -> Signs:
        """Of gains at coalitions (n, u) and (m, u), (n, m)."""
        u, scale = a.shape[1], self.scale
        product = a @ b.T
        found = product * product
        found -= 3 * u - 2
        found *= self.alike / 6 / _all_triples(np.ones_like(scale))
        for bend, amount in ((self.number, self.numbers), (self.level, self.levels)):
            found += np.outer(amount / u * bend.of(a), bend.of(b))
        found += self.scores / u
        found *= product
        scaled = self.scaled / 6 / _all_triples(scale)
        found += (a * (2 * scaled * scale**3)) @ b.T
        first = (a * scale) @ b.T
        third = first * first
        third -= 3 * float((scale**2).sum())
        third *= first
        third *= scaled
        found += third
        return found

    def shapley(self, weights: Signs, at: Signs) -> Floats:
        """Shapley values, (u,), of the gains `covariance(·, at) @ weights`, (m, u) and (m,)."""
        u = at.shape[1]
        found = self.scores / u * (weights @ at)
        for bend, amount in ((self.number, self.numbers), (self.level, self.levels)):
            found = found + amount / u * bend.shapley(np.asarray((weights * bend.of(at)) @ at))
        for scale, amount in ((np.ones_like(self.scale), self.alike), (self.scale, self.scaled)):
            share = amount / _all_triples(scale)
            found = found + share * (weights @ _triples_with(at, scale))
        return np.asarray(found, float)


class Bend(NamedTuple):
    """The square of a weighted sum of signs, standardised: how strongly scores change."""

    weights: Signs  # (u,), of mean square 1
    mean: float
    spread: float

    @classmethod
    def along(cls, weights: Floats, signs: Signs) -> Bend:
        """With mean 0 and variance 1 over coalitions (m, u)."""
        normal = _normal(weights)
        square = (signs @ normal) ** 2
        return cls(normal, float(square.mean()), float(square.std()) or 1.0)

    def of(self, signs: Signs) -> Signs:
        """At coalitions (n, u), (n,)."""
        return np.asarray(((signs @ self.weights) ** 2 - self.mean) / self.spread, np.float32)

    def shapley(self, c: Signs | Floats) -> Floats:
        """Shapley values, (u,), of gains that are scores, (u,), times this.

        Multiplied out, a sum of single signs and of products of three.
        """
        w, c = self.weights.astype(float), c.astype(float)
        both = c * w
        alone = c * (w @ w - self.mean) + 2 * w * (both.sum() - both)
        others = w.sum() - w
        pairs = (others**2 - (w @ w - w**2)) / 2
        mixed = (c.sum() - c) * others - (both.sum() - both)
        return np.asarray((alone + 2 / 3 * (c * pairs + w * mixed)) / self.spread)


def _normal(weights: Floats) -> Signs:
    """Divided by the root of their mean square."""
    return np.asarray(weights / np.sqrt((weights**2).mean()), np.float32)


def _all_triples(scale: Signs) -> float:
    """The sum over all triples of units of the product of their scales, (u,) each."""
    first, second, third = (float((scale.astype(float) ** k).sum()) for k in (1, 2, 3))
    return (first**3 - 3 * first * second + 2 * third) / 6


def _triples_with(signs: Signs, scale: Signs) -> Signs:
    """A third of the sum of all products of three scaled signs with a unit, (n, u)."""
    each = signs * scale
    every = each.sum(1, keepdims=True)
    pairs = (every**2 - (scale**2).sum()) / 2
    return np.asarray(each * (pairs - each * every + scale**2) / 3)


def surrogate(
    half: Bools, gains: Floats, scores: Floats, total: float, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Shapley values of a surrogate fitted to complement pairs, and what it misses of each.

    Each pair is compared with the surrogate fitted to the others, so what is missed is as
    large as for a pair never seen.

    Parameters
    ----------
    half : (m, u) bool
        One coalition of each pair.
    gains : (m,) float
        Its value less that of its complement.
    scores : (u,) float
        Of a first fit.
    total : float
        Gain of all units together.

    Returns
    -------
    scores : (u,) float
    missed : (m,) float
    """
    m, u = half.shape
    signs = np.where(half, np.float32(1), np.float32(-1))
    rest = gains - signs @ scores
    size = float(np.sqrt(np.mean(rest**2) / max(1 - u / m, 0.2)))
    if size <= 1e-9 * float(np.abs(gains).max()):
        return scores, rest
    some = np.sort(rng.permutation(m)[:FITTED]) if m > FITTED else np.arange(m)
    prior = Prior.of(signs, scores)
    at = np.concatenate([signs[some], np.ones((1, u), np.float32)])
    known = (np.append(rest[some], total - scores.sum()) / size).astype(np.float32)
    covariance = prior.covariance(at, at)
    covariance.flat[:: len(at) + 1] += NOISE
    factor, _ = lapack.spotrf(covariance, lower=True, overwrite_a=True)
    weights, _ = lapack.spotrs(factor, known, lower=True)
    inverse, _ = lapack.spotri(factor, lower=True, overwrite_c=True)
    missed = rest.copy()
    missed[some] = size * (weights / np.diag(inverse))[:-1]
    if m > len(some):
        others = np.ones(m, bool)
        others[some] = False
        missed[others] -= size * (prior.covariance(signs[others], at) @ weights)
    return scores + size * prior.shapley(weights, at), missed
