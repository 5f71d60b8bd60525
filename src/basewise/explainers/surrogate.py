"""A surrogate of what a game's gains hold beside scores, and its exact Shapley values.

Complement pairs cancel interactions of even order, so what disturbs a fit of Shapley values is
of odd order. Two kinds of it are learned by one Gaussian process: what changes smoothly with how
much the units present are worth together, as where a model decides or saturates, in waves along
that sum; and products of three units, of which there are too many to fit one by one. A Gaussian
process over all of them needs no more than the products of coalitions, and its Shapley values
are known in closed form. Taken off the gains before they are fitted, it leaves less to err by
(control variates of a fitted function: Witter, Liu & Musco 2025, arXiv 2506.11849).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from basewise.types import Bools, Floats

__all__ = ["Prior", "surrogate"]

Signs = NDArray[np.float32]  # 1 where a unit is present, -1 where it is absent

LEARNED = 512  # pairs that teach it along which scores to look
FITTED = 2048  # most pairs it is fitted to: the time grows with the third power
NOISE = 0.05  # variance that is not of its kind, beside the amounts of the prior
WAVES = 12  # along each sum
LENGTH = 0.5  # along which they are alike, in spreads of the sum
NODES = 32  # of half of a rule, at most: exact for games of up to four times as many units
FLOOR = 0.1  # scale of a unit without a score, beside the mean score


class Prior(NamedTuple):
    """How much of which kind a game's gains are expected to hold, as variances.

    `alike`: products of three units, all of the same size. `scaled`: products of three units
    in the size of their scores, since what matters alone matters together. `levels`: waves along
    how much the units present are worth by themselves, as where the model saturates or decides.
    `leveled`, `numbered`: scores that change in waves along that, and along how many units are
    present. `scores`: what the first fit missed. Errors hardly depend on the amounts.
    """

    scale: Signs  # (u,), of mean square 1
    number: Waves
    level: Waves
    alike: float = 0.5
    scaled: float = 0.5
    levels: float = 0.5
    leveled: float = 0.3
    numbered: float = 0.5
    scores: float = 30.0

    @classmethod
    def of(cls, signs: Signs, scores: Floats) -> Prior:
        """For games with about these scores, (u,), valued at these coalitions, (m, u)."""
        ones = np.ones(len(scores))
        some = scores if scores.any() else ones
        size = np.abs(some) + FLOOR * np.abs(some).mean()
        return cls(_normal(size), Waves.along(ones, signs), Waves.along(some, signs))

    def covariance(self, a: Signs, b: Signs) -> Signs:
        """Of gains at coalitions (n, u) and (m, u), (n, m)."""
        u, scale = a.shape[1], self.scale
        scaled = np.float32((self.scaled / 6 / _all_triples(scale)) ** (1 / 3)) * scale
        (odd, even), (odd_b, even_b) = self._features(a), self._features(b)
        product = a @ b.T
        found = product * product
        found -= 3 * u - 2
        found *= self.alike / 6 / _all_triples(np.ones_like(scale))
        found += self.scores / u
        found += even @ even_b.T
        found *= product
        found += np.hstack([odd, a * (2 * scaled**3)]) @ np.hstack([odd_b, b]).T
        first = (a * scaled) @ b.T
        np.multiply(first, first, out=product)
        product -= 3 * float((scaled**2).sum())
        product *= first
        found += product
        return found

    def _features(self, signs: Signs) -> tuple[Signs, Signs]:
        """Waves at coalitions (n, u) that gains, and that scores, change with."""
        u = signs.shape[1]
        (sine, cosine), (_, number) = self.level.of(signs), self.number.of(signs)
        amounts = np.sqrt([self.levels, self.leveled / u, self.numbered / u]).astype(np.float32)
        return amounts[0] * sine, np.hstack([amounts[1] * cosine, amounts[2] * number])

    def shapley(self, weights: Signs, at: Signs) -> Floats:
        """Shapley values, (u,), of the gains `covariance(·, at) @ weights`, (m, u) and (m,)."""
        u = at.shape[1]
        found = self.scores / u * (weights @ at)
        sine, cosine = self.level.of(at)
        moved = self.leveled / u * ((cosine.T * weights) @ at)
        found = found + self.level.shapley(moved, self.levels * (weights @ sine))
        moved = self.numbered / u * ((self.number.of(at)[1].T * weights) @ at)
        found = found + self.number.shapley(moved)
        for scale, amount in ((np.ones_like(self.scale), self.alike), (self.scale, self.scaled)):
            share = amount / _all_triples(scale)
            found = found + share * (weights @ _triples_with(at, scale))
        return np.asarray(found, float)


class Waves(NamedTuple):
    """Sines and cosines of a weighted sum of signs, for what changes smoothly along it."""

    weights: Signs  # (u,)
    frequencies: Signs  # (k,)
    size: Signs  # (k,), of each wave

    @classmethod
    def along(cls, weights: Floats, signs: Signs) -> Waves:
        """As a Gaussian process with a length of `LENGTH` spreads of the sum over coalitions."""
        spread = float(np.sqrt(np.mean((signs @ weights.astype(np.float32)) ** 2))) or 1.0
        normal = np.asarray(weights / spread, np.float32)
        reach = float(np.abs(signs @ normal).max()) or 1.0
        frequencies = np.pi / 1.5 / reach * np.arange(1, WAVES + 1)
        size = np.exp(-((LENGTH * frequencies) ** 2) / 4)
        size /= np.sqrt((size**2).sum() / 2)
        return cls(normal, frequencies.astype(np.float32), size.astype(np.float32))

    def of(self, signs: Signs) -> tuple[Signs, Signs]:
        """Sines and cosines at coalitions (n, u), (n, k) each."""
        angle = np.outer(signs @ self.weights, self.frequencies)
        return np.sin(angle) * self.size, np.cos(angle) * self.size

    def shapley(self, cosines: Signs | Floats, sines: Signs | Floats | float = 0.0) -> Floats:
        """Shapley values, (u,), of gains that are `sines`, (k,), and scores `cosines`, (k, u).

        A unit's value is its mean effect where all others are present with the same chance,
        over all chances (Owen 1972); the mean of a wave is then a product over units.
        """
        chance, share = _chances(len(self.weights))
        angle = np.outer(self.frequencies, self.weights).astype(float)
        sine, cosine = np.sin(angle), np.cos(angle)
        wave = cosine + 1j * chance * sine  # (chances, k, u), as what follows: means of a unit's
        signed = chance * cosine + 1j * sine
        others = share * wave.prod(2, keepdims=True) / wave
        tilt = self.size[:, None] * cosines
        moved = tilt * signed / wave
        moved = moved.sum(2, keepdims=True) - moved
        own = tilt * cosine + (self.size * sines)[:, None] * sine
        return np.asarray((own * others.real - sine * (others * moved).imag).sum((0, 1)))


@lru_cache(maxsize=64)
def _chances(u: int) -> tuple[Floats, Floats]:
    """How much likelier present than absent, and shares of it, (n, 1, 1) each: Gauss-Legendre.

    The half of the rule that is positive: the rest is conjugate.
    """
    n = min(u // 4 + 1, NODES)
    chance, share = np.polynomial.legendre.leggauss(2 * n)
    return chance[n:, None, None], share[n:, None, None]


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
    half: Bools,
    gains: Floats,
    scores: Floats,
    total: float,
    rest: Floats,
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats]:
    """Shapley values of a surrogate fitted to complement pairs, and what it misses of each.

    Its values are those of all pairs, drawn or not. So each pair that was drawn stands for
    itself, compared with the surrogate, and for those of its kind that were not, compared with
    the surrogate fitted to the other pairs: there it misses as much as of a pair never seen.

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
    rest : (m,) float
        The share of each pair's kind that was not drawn.

    Returns
    -------
    scores : (u,) float
    missed : (m,) float
    counts : (m,) float
        What the squares of these count in the variance that drawing leaves: the share of the
        rest, which those of pairs that it was fitted to hold twice already.
    """
    m, u = half.shape
    signs = np.where(half, np.float32(1), np.float32(-1))
    order = rng.permutation(m)
    for most in (LEARNED, FITTED):  # the second along the scores that the first has found
        left = gains - signs @ scores
        size = float(np.sqrt(np.mean(left**2) / max(1 - u / m, 0.2)))
        if size <= 1e-9 * float(np.abs(gains).max()):
            return scores, left, rest
        some = np.sort(order[:most])
        prior = Prior.of(signs, scores)
        at = np.concatenate([signs[some], np.ones((1, u), np.float32)])
        known = (np.append(left[some], total - scores.sum()) / size).astype(np.float32)
        covariance = prior.covariance(at, at)
        covariance.flat[:: len(at) + 1] += NOISE
        factor, _ = lapack.spotrf(covariance, lower=True, overwrite_a=True)
        weights, _ = lapack.spotrs(factor, known, lower=True)
        scores = scores + size * prior.shapley(weights, at)
    inverse, _ = lapack.strtri(factor, lower=True, overwrite_c=True)
    missed = left.copy()
    new = 1 / np.einsum("ij,ij->j", inverse, inverse)[:-1]
    missed[some] = size * weights[:-1] * (rest[some] * new + (1 - rest[some]) * NOISE)
    counts = rest.copy()
    counts[some] = np.divide(1.0, rest[some], out=np.zeros(len(some)), where=rest[some] > 0)
    if m > len(some):
        others = np.ones(m, bool)
        others[some] = False
        missed[others] -= size * (prior.covariance(signs[others], at) @ weights)
    return scores, missed, counts
