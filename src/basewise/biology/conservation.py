"""What a family of genes keeps, without an alignment, and whether explanations follow it.

The conservation of a base is the mean, over the words of k bases that cover it, of the share of
other genes that hold the word anywhere. Near copies (genes of one genome, of one species) say
nothing of each other: genes come in clusters, a cluster's share is that of its genes, all clusters
count alike, and a gene's own cluster does not count. A word occurs by chance in a gene of b bases
with a probability of about b / 4^k, so k should be at least log4(b) + 3, some 9 for 1,500 bases;
the larger it is, the more a variable base lowers all around it.

It is no alignment: a word that moved counts as kept, a base that is kept beside two that are not
counts as lost, and positions are not homologous by it.

Scores and G+C are read at the same resolution: as means over the same words. Correlations are
Spearman's, the null is every circular shift of the scores by at least k bases, the interval that
of a bootstrap of stretches of 5 k bases (Kuensch 1989), which is somewhat too narrow: where there
is no correlation, 0.9 of those of 900 bases with k = 6 hold 0. The partial correlation holds local
G+C fixed: conserved stretches of a gene may differ in composition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from basewise.errors import DataError
from basewise.sequence.alphabet import encode
from basewise.sequence.kmers import kmer_numbers
from basewise.stats import benjamini_hochberg
from basewise.types import Codes, Floats, Ints

__all__ = ["CONSERVATION", "conservation", "follow_conservation"]

CONSERVATION = (
    "record_id", "cluster", "bases", "rho", "low", "high", "null_low", "null_high", "above",
    "below", "shifts", "p", "q", "gc_rho", "partial", "partial_p", "conserved", "variable",
    "auroc",
)  # fmt: skip
"""Columns of `follow_conservation`, a row per gene.

rho : rank correlation of scores and conservation, with its 95 % interval;
null_low, null_high : of 95 % of the shifts;
above, below, shifts, p : as the module says, two-sided;
q : corrected over the genes given;
gc_rho : of scores and local G+C; partial, partial_p : of scores and conservation at equal G+C;
conserved, variable : mean score per base in the third that is most, and least, conserved;
auroc : how often a base of the one third scores higher than one of the other; .5 is chance.
"""

_STRETCH = 5  # words in a stretch of the bootstrap


def conservation(
    sequences: Sequence[str], clusters: Sequence[str], k: int, of: Sequence[int] | None = None
) -> list[Floats]:
    """How much of each base's surroundings other genes hold, 0 to 1; see the module.

    Parameters
    ----------
    sequences : n str
        A family, all on the same strand.
    clusters : n str
        Near copies have one name; see `basewise.checks.clusters.clusters`.
    k : int
        1 to 31.
    of : sequence of int, optional
        Which of them conservation is calculated for; all if None.

    Returns
    -------
    list of (b,) float

    Raises
    ------
    DataError
        If there is only one cluster, or a gene is shorter than a word.
    """
    names = sorted(set(clusters))
    if len(names) < 2:
        raise DataError(
            "Conservation needs genes of at least two clusters of near copies; there is one."
        )
    codes = [encode(sequence) for sequence in sequences]
    if short := [len(own) for own in codes if len(own) < k]:
        raise DataError(f"A gene has {short[0]} bases, fewer than a word of k = {k}.")
    numbers = [kmer_numbers(own, k) for own in codes]
    held: dict[str, tuple[Ints, Floats]] = {}
    for name in names:
        own = [
            np.unique(each[each >= 0])
            for each, c in zip(numbers, clusters, strict=True)
            if c == name
        ]
        words, count = np.unique(np.concatenate(own), return_counts=True)
        held[name] = words, count / len(own)
    found = []
    for i in range(len(codes)) if of is None else of:
        others = [held[name] for name in names if name != clusters[i]]
        shares = np.mean([_looked_up(numbers[i], *each) for each in others], axis=0)
        found.append(_on_bases(shares, k))
    return found


def follow_conservation(
    scores: Sequence[Floats],
    conserved: Sequence[Floats],
    sequences: Sequence[str],
    ids: Sequence[str],
    clusters: Sequence[str],
    k: int,
    *,
    resamples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Whether scores on the bases of genes are high where the genes are conserved.

    Parameters
    ----------
    scores : n (b,) float
        Such as `Attribution.per_base`, for the class of the genes.
    conserved : n (b,) float
        By `conservation` with the same k.

    Returns
    -------
    DataFrame
        With the columns of `CONSERVATION`.
    """
    rows = [
        (id, cluster, len(own), *_followed(own, kept, encode(text), k, resamples, [seed, 10, i]))
        for i, (own, kept, text, id, cluster) in enumerate(
            zip(scores, conserved, sequences, ids, clusters, strict=True)
        )
    ]
    table = pd.DataFrame(rows, columns=[name for name in CONSERVATION if name != "q"])
    table["q"] = benjamini_hochberg(table["p"].to_numpy(float))
    return table[list(CONSERVATION)]


def _looked_up(numbers: Ints, words: Ints, share: Floats) -> Floats:
    """The share of each word in a sorted table; 0 where it is not there."""
    if not len(words):  # unknown bases in all of them
        return np.zeros(len(numbers))
    at = np.minimum(np.searchsorted(words, numbers), len(words) - 1)
    return np.where(words[at] == numbers, share[at], 0.0)


def _on_bases(of_words: Floats, k: int) -> Floats:
    """The mean over the words that cover each base, (b,), of values of words, (b - k + 1,)."""
    ones = np.ones(k)
    total = np.convolve(of_words, ones)
    return np.asarray(total / np.convolve(np.ones(len(of_words)), ones))


def _at_resolution(values: Floats, k: int) -> Floats:
    """Values of bases as means over words, put back on bases."""
    return _on_bases(np.convolve(values, np.full(k, 1 / k), "valid"), k)


def _followed(
    scores: Floats, kept: Floats, codes: Codes, k: int, resamples: int, seed: list[int]
) -> tuple[float, ...]:
    """The columns of `CONSERVATION` of one gene, from `rho` on but `q`."""
    smooth = _at_resolution(scores, k)
    gc = _at_resolution(((codes == 1) | (codes == 2)).astype(float), k)
    s, c, g = (_ranked(values) for values in (smooth, kept, gc))
    b = len(s)
    rhos = {"c": _shifted(c, s), "g": _shifted(g, s)}
    fixed = float(c @ g)
    with np.errstate(invalid="ignore", divide="ignore"):
        partial = (rhos["c"] - rhos["g"] * fixed) / np.sqrt((1 - rhos["g"] ** 2) * (1 - fixed**2))
    away = slice(min(k, b // 2), b - min(k, b // 2) + 1)
    null, above, below, p = _against(rhos["c"], away)
    low, high = _interval(s, c, min(_STRETCH * k, b), resamples, np.random.default_rng(seed))
    third = b // 3
    order = np.argsort(kept, kind="stable")
    least, most = order[:third], order[-third:]
    return (
        float(rhos["c"][0]), low, high,
        *(float(q) for q in np.quantile(null, [0.025, 0.975])), above, below, len(null), p,
        float(rhos["g"][0]), float(partial[0]), _against(partial, away)[3],
        float(scores[most].mean()), float(scores[least].mean()),
        _auroc(smooth[most], smooth[least]),
    )  # fmt: skip


def _against(values: Floats, away: slice) -> tuple[Floats, int, int, float]:
    """The value at no shift against those at the others: these, above, below, two-sided p."""
    null = values[away]
    slack = 1e-9
    above, below = int((null >= values[0] - slack).sum()), int((null <= values[0] + slack).sum())
    p = min(2 * (1 + min(above, below)) / (1 + len(null)), 1.0)
    return null, above, below, p if np.isfinite(values[0]) else float("nan")


def _ranked(values: Floats) -> Floats:
    """Ranks, centred, of length 1; their inner product is Spearman's correlation."""
    from scipy.stats import rankdata

    ranks = rankdata(np.round(values, 12))
    ranks = ranks - ranks.mean()
    length = np.linalg.norm(ranks)
    return np.asarray(ranks / length) if length else np.full(len(ranks), np.nan)


def _shifted(fixed: Floats, moved: Floats) -> Floats:
    """Inner products with every circular shift, (b,); the first with none."""
    product = np.conj(np.fft.rfft(moved)) * np.fft.rfft(fixed)
    return np.asarray(np.fft.irfft(product, len(fixed)))


def _interval(
    first: Floats, second: Floats, stretch: int, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % interval of the correlation of ranks, over stretches put together at random."""
    b = len(first)
    pieces = -(-b // stretch)
    starts = rng.integers(0, b, (resamples, pieces, 1))
    at = ((starts + np.arange(stretch)) % b).reshape(resamples, -1)[:, :b]
    x, y = first[at], second[at]
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))
    low, high = np.nanquantile(found, [0.025, 0.975]) if np.isfinite(found).any() else (np.nan,) * 2
    return float(low), float(high)


def _auroc(high: Floats, low: Floats) -> float:
    """How often a value of the one is above one of the other; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([high, low]))
    n, m = len(high), len(low)
    if not n:
        return float("nan")
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
