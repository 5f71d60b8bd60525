"""Exact p values of matrix scores.

A matrix becomes log-odds against a background, `log2(p / background)`, rounded to hundredths
of a bit *before* anything is counted; the p value of a score is then exact: the probability that
a random word of independent background bases scores at least as much, summed over the whole
score distribution by dynamic programming (Staden 1989, CABIOS 5:89; Touzet & Varre 2007,
Algorithms Mol Biol 2:15). Scores and p values therefore belong together without any estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from basewise.errors import DataError
from basewise.motifs.motif import Motif, letters_of
from basewise.types import Floats, Ints

__all__ = [
    "STEPS_PER_BIT",
    "UNIFORM",
    "ScoreTable",
    "check_background",
    "integer_scores",
    "pattern_probability",
    "score_table",
]

STEPS_PER_BIT = 100
SMOOTHING = 1e-3
UNIFORM = (0.25, 0.25, 0.25, 0.25)
"""Background of equally likely bases."""


def check_background(background: Sequence[float]) -> Floats:
    """The background as an array, (4,).

    Raises
    ------
    DataError
        Unless it is four positive probabilities that sum to 1.
    """
    found = np.asarray(background, float)
    if found.shape != (4,) or not (found > 0).all() or not np.isclose(found.sum(), 1, atol=1e-3):
        raise DataError(
            f"The background is {found.tolist()}; it needs four positive probabilities "
            "(A, C, G, T) that sum to 1."
        )
    return np.asarray(found / found.sum())


def integer_scores(motif: Motif, background: ArrayLike = UNIFORM) -> Ints:
    """Log-odds of a motif's matrix in hundredths of a bit, (w, 4).

    The background is mixed into the matrix at one part in a thousand, so that a base never
    seen costs about 10 bits rather than infinitely many.
    """
    background = np.asarray(background, float)
    mixed = (motif.matrix + SMOOTHING * background) / (1 + SMOOTHING)
    return np.asarray(np.rint(STEPS_PER_BIT * np.log2(mixed / background)), np.int64)


class ScoreTable(NamedTuple):
    """The exact survival function of a matrix's scores.

    Attributes
    ----------
    lowest : int
        The smallest score there is.
    survival : (s,) float
        `survival[i]` is the probability of a score of `lowest + i` or more.
    """

    lowest: int
    survival: Floats

    def p_value(self, score: ArrayLike) -> Floats:
        """Probability of scores at least as large as these integers."""
        at = np.clip(np.asarray(score) - self.lowest, 0, len(self.survival) - 1)
        return np.asarray(self.survival[at.astype(np.int64)])

    def threshold(self, p: float) -> int | None:
        """The smallest score whose p value is at most `p`; None if no word is that rare."""
        found = np.flatnonzero(self.survival <= p)
        return int(self.lowest + found[0]) if len(found) else None


def score_table(scores: Ints, background: ArrayLike = UNIFORM) -> ScoreTable:
    """The distribution of the summed score of a random word, by dynamic programming.

    Parameters
    ----------
    scores : (w, 4) int
        Of each base at each position.
    background : (4,) float
        Probabilities of A, C, G, T.
    """
    background = np.asarray(background, float)
    floor = scores.min(1)
    density = np.ones(1)
    for row in scores - floor[:, None]:
        grown = np.zeros(len(density) + int(row.max()))
        for step, probability in zip(row, background, strict=True):
            grown[step : step + len(density)] += probability * density
        density = grown
    survival = np.minimum(np.cumsum(density[::-1])[::-1], 1.0)
    return ScoreTable(int(floor.sum()), survival)


def pattern_probability(pattern: str, background: ArrayLike = UNIFORM) -> float:
    """Probability that a random word matches an IUPAC pattern."""
    return float((letters_of(pattern) @ np.asarray(background, float)).prod())
