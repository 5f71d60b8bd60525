"""A surrogate of what a game's gains hold beside scores, and its exact Shapley values.

Complement pairs cancel interactions of even order, so what disturbs a fit of Shapley values is
of odd order. A Gaussian process learns it: products of three units, of which there are too many to
fit one by one; scores that change smoothly with how many units are present; and what changes
smoothly with how much the units present are worth together, as where a model decides or saturates,
in waves along that sum. Its Shapley values are known in closed form. Taken off the gains before
they are fitted, it leaves less to err by (control variates of a fitted function: Witter, Liu &
Musco 2025, arXiv 2506.11849).

All of it but the waves along a sum of scores is the same for every game that is valued at the same
pairs, whatever its values: it is inverted once, and the few waves of a game are added to that
(Woodbury's identity).
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from basewise.types import Bools, Floats, Ints

__all__ = ["FITTED", "Surrogate"]

Signs = NDArray[np.float32]  # 1 where a unit is present, -1 where it is absent

FITTED = 2048  # most pairs it is fitted to: the time grows with the third power
NOISE = 0.05  # variance that is not of its kind, beside the amounts below
SCORES = 30.0  # what a first fit missed of the scores
TRIPLES = 0.5  # products of three units
NUMBERED = 0.5  # scores that change in waves along how many units are present
LEVELS = 0.5  # waves along how much the units present are worth by themselves
TILTED = 0.3  # scores that change in waves along that
WAVES = 12  # along each sum
TILTS = 5  # of them, in which scores change: each for each unit takes as long as one of the gain
LARGEST = 8  # units, by their scores, whose scores change
LENGTH = 0.5  # along which they are alike, in spreads of the sum
NODES = 32  # of half of a rule, at most: exact for games of up to four times as many units


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

    def shapley(self, sines: Signs | Floats | float = 0.0, cosines: Floats | None = None) -> Floats:
        """Shapley values, (u,), of gains that are `sines`, (k,), and scores `cosines`, (u, k).

        A unit's value is its mean effect where all others are present with the same chance,
        over all chances (Owen 1972); the mean of a wave is then a product over units.
        """
        chance, share = _chances(len(self.weights))
        angle = np.outer(self.weights, self.frequencies).astype(float)[:, None]
        sine, cosine = np.sin(angle), np.cos(angle)
        wave = cosine + 1j * (chance * sine)  # (u, chances, k), as what follows: means of a unit's
        others = share * wave.prod(0) / wave
        found = self.size * sines * sine * others.real
        if cosines is not None:
            tilt = (self.size * cosines)[:, None]
            moved = tilt * (chance * cosine + 1j * sine) / wave
            moved = moved.sum(0) - moved
            found = found + tilt * cosine * others.real - sine * (others * moved).imag
        return np.asarray(found.sum((1, 2)))


class Level(NamedTuple):
    """What changes along how much the units present are worth by themselves.

    Attributes
    ----------
    waves : Waves
        Along the sum of scores: of the gain.
    tilted : (t,) int
        Units whose scores change too, in the first `TILTS` of these waves.
    """

    waves: Waves
    tilted: Ints

    @classmethod
    def along(cls, scores: Floats, signs: Signs, tilted: int) -> Level:
        """With so many units tilted, those with the largest scores, (u,)."""
        weights = scores if scores.any() else np.ones(len(scores))
        largest = np.argsort(-np.abs(weights), kind="stable")[:tilted]
        return cls(Waves.along(weights, signs), largest)

    def of(self, signs: Signs) -> Signs:
        """All of it at coalitions (n, u), (n, waves + TILTS * t)."""
        sine, cosine = self.waves.of(signs)
        sine *= LEVELS**0.5
        if not len(self.tilted):
            return sine
        own = (TILTED / signs.shape[1]) ** 0.5 * signs[:, self.tilted]
        tilts = cosine[:, :TILTS, None] * own[:, None]
        return np.hstack([sine, tilts.reshape(len(signs), -1)])

    def shapley(self, amounts: Signs) -> Floats:
        """Shapley values, (u,), of so much of each."""
        weights, frequencies, size = self.waves
        found = self.waves.shapley(LEVELS**0.5 * amounts[: len(size)])
        if len(self.tilted):
            cosines = np.zeros((len(weights), TILTS))
            own = amounts[len(size) :].reshape(TILTS, -1).T
            cosines[self.tilted] = (TILTED / len(weights)) ** 0.5 * own
            few = slice(TILTS)
            found += Waves(weights, frequencies[few], size[few]).shapley(cosines=cosines)
        return found


@lru_cache(maxsize=64)
def _chances(u: int) -> tuple[Floats, Floats]:
    """How much likelier present than absent, and shares of it, (n, 1) each: Gauss-Legendre.

    The half of the rule that is positive: the rest is conjugate.
    """
    n = min(u // 4 + 1, NODES)
    chance, share = np.polynomial.legendre.leggauss(2 * n)
    return chance[n:, None], share[n:, None]


def _signs(half: Bools) -> Signs:
    return np.where(half, np.float32(1), np.float32(-1))


def _triples(u: int) -> float:
    """How many products of three units there are."""
    return u * (u - 1) * (u - 2) / 6


def _triples_with(signs: Signs) -> Signs:
    """A third of the sum of all products of three signs with a unit, (n, u)."""
    every = signs.sum(1, keepdims=True)
    pairs = (every**2 - signs.shape[1]) / 2
    return np.asarray(signs * (pairs - signs * every + 1) / 3)


class Learned(NamedTuple):
    """What a surrogate knows of a game.

    Attributes
    ----------
    scores : (u,) float
        The Shapley values of the fit, those of the first fit among them.
    missed : (m,) float
        What it misses of the gain of every pair. Its values are those of all pairs, drawn or
        not. So each pair that was drawn stands for itself, compared with the surrogate, and for
        those of its kind that were not, as `unseen`.
    unseen : (m,) float
        What the surrogate fitted to the other pairs misses: as much as of a pair never seen.
    """

    scores: Floats
    missed: Floats
    unseen: Floats


class Surrogate:
    """A Gaussian process over gains of complement pairs, ready for any game valued at them.

    Parameters
    ----------
    half : (m, u) bool
        One coalition of each pair.
    rest : (m,) float
        The share of each pair's kind that was not drawn.
    """

    def __init__(self, half: Bools, rest: Floats):
        self._signs, self._rest = _signs(half), rest
        m, self._units = half.shape
        chosen = np.random.default_rng(0).permutation(m)[:FITTED]
        self._some = np.sort(chosen)
        ends = np.ones((1, self._units), np.float32)
        self._at = np.concatenate([self._signs[self._some], ends])
        self._number = Waves.along(np.ones(self._units), self._signs)

    def covariance(self, a: Signs, b: Signs) -> Signs:
        """Of gains at coalitions (n, u) and (m, u), (n, m), without waves along a game's scores."""
        u = self._units
        product = a @ b.T
        found = product * product
        found -= 3 * u - 2
        found *= TRIPLES / 6 / _triples(u)
        found += SCORES / u
        found += NUMBERED / u * (self._number.of(a)[1] @ self._number.of(b)[1].T)
        found *= product
        return found

    @cached_property
    def _covariance(self) -> Signs:
        covariance = self.covariance(self._at, self._at)
        covariance.flat[:: len(self._at) + 1] += NOISE
        return covariance

    @cached_property
    def _inverse(self) -> Signs:
        factor, _ = lapack.spotrf(self._covariance, lower=True)
        lower, _ = lapack.spotri(factor, lower=True, overwrite_c=True)
        return np.ascontiguousarray(np.tril(lower) + np.tril(lower, -1).T)

    @cached_property
    def _shapley(self) -> Signs:
        """Shapley values, (n, u), of the covariance with each pair."""
        u, at = self._units, self._at
        found = SCORES / u * at + TRIPLES / _triples(u) * _triples_with(at)
        for wave, one in zip(self._number.of(at)[1].T, np.eye(WAVES), strict=True):
            # Of a score of the first unit, as of any: its own share, and each of the others'.
            first = np.arange(u)[:, None] == 0
            own, other = self._number.shapley(cosines=first * one)[:2]
            scores = NUMBERED / u * wave[:, None] * at
            found += (own - other) * scores + other * scores.sum(1, keepdims=True)
        return np.asarray(found, np.float32)

    def learn(self, gains: Floats, scores: Floats, total: float) -> Learned:
        """Learn a game.

        Parameters
        ----------
        gains : (m,) float
            Of every pair, the value of its coalition less that of its complement.
        scores : (u,) float
            Of a first fit.
        total : float
            Gain of all units together.
        """
        # Single precision holds no squares of extremes.
        unit = max(float(np.abs(gains).max()), abs(total)) or 1.0
        found = self._learn(gains / unit, scores / unit, total / unit)
        return Learned(unit * found.scores, unit * found.missed, unit * found.unseen)

    def _learn(self, gains: Floats, scores: Floats, total: float) -> Learned:
        m, u = self._signs.shape
        for tilted in (0, LARGEST):  # the second along the scores that the first has found
            left = gains - self._signs @ scores
            size = float(np.sqrt(np.mean(left**2) / max(1 - u / m, 0.2)))
            if size <= 1e-9:
                return Learned(scores, left, left)
            level = Level.along(scores, self._signs, tilted)
            known = np.append(left[self._some], total - scores.sum()) / size
            fit = _Waved(self._inverse, level.of(self._at), known.astype(np.float32))
            if tilted:
                fit.refine(self._covariance)
            scores = scores + size * (fit.weights @ self._shapley + level.shapley(fit.amounts))
        some, weights = self._some, size * fit.weights
        missed, rest = left.copy(), self._rest[some]
        unseen = left.copy()
        unseen[some] = weights[:-1] / fit.precision[:-1]
        if m > len(some):
            others = np.ones(m, bool)
            others[some] = False
            missed[others] -= self.covariance(self._signs[others], self._at) @ weights
            missed[others] -= size * (level.of(self._signs[others]) @ fit.amounts)
            unseen[others] = missed[others]
        missed[some] = rest * unseen[some] + (1 - rest) * NOISE * weights[:-1]
        return Learned(scores, missed, unseen)


class _Waved:
    """A Gaussian process of known inverse, (n, n), with waves, (n, k), added, fitted to (n,).

    Attributes
    ----------
    weights : (n,)
        The solution.
    amounts : (k,)
        Of each wave.
    precision : (n,)
        The diagonal of the inverse of all together.
    """

    def __init__(self, inverse: Signs, waves: Signs, known: Signs):
        self._inverse, self._waves, self._known = inverse, waves, known
        self._pulled = inverse @ waves
        among = waves.T @ self._pulled
        among.flat[:: len(among) + 1] += 1
        self._factor, _ = lapack.spotrf(among, lower=True, overwrite_a=True)
        self.weights = self._solved(known)

    @property
    def amounts(self) -> Signs:
        return np.asarray(self._waves.T @ self.weights)

    def refine(self, covariance: Signs) -> None:
        """Solve again for what single precision left over, which would pass for fitted."""
        left = self._known - covariance @ self.weights - self._waves @ self.amounts
        self.weights = self.weights + self._solved(left)

    def _solved(self, known: Signs) -> Signs:
        alone = self._inverse @ known
        among, _ = lapack.spotrs(self._factor, self._waves.T @ alone, lower=True)
        return np.asarray(alone - self._pulled @ among)

    @property
    def precision(self) -> Signs:
        spread = blas.strsm(1.0, self._factor, self._pulled.T, lower=1)
        return np.asarray(np.diag(self._inverse) - np.einsum("ij,ij->j", spread, spread))
