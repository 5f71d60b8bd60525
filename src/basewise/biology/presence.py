"""What the presence of genes alone says of a class: a random forest, held out clade by clade.

Genomes of one clade share both genes and traits because they share ancestors. A forest that has
seen relatives of a held-out genome recognises the clade, and its most important genes mark clades;
folds that keep clades together do not allow that. Both are measured, and the difference is how much
of the quality is descent.

The importance of a gene is how much the squared error of the held-out predictions rises when the
gene's column is permuted among the genomes of the fold (Breiman 2001, with the Brier score): the
mean over all permutations, which for a column of two values needs none of them.
Genes with the same pattern in all genomes cannot be told apart: they are one column, permuted
together, and share their importance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from basewise.data.presence import Presence
from basewise.errors import DataError, UnknownName
from basewise.stats import Estimate, benjamini_hochberg, bootstrap
from basewise.train.metrics import Ranked
from basewise.types import Bools, Floats, Ints

__all__ = ["PresenceForest", "RankingAgreement", "compare_rankings", "presence_forest"]

Progress = Callable[[int, int], None]

_RESAMPLES = 1000


class PresenceForest(NamedTuple):
    """What a forest of gene presence found.

    Attributes
    ----------
    quality : DataFrame
        `folds` (`clades kept together`, `at random`), `metric` (AUROC, AUPRC, Brier score),
        `value`, `low`, `high` (95 %, whole clades resampled), `n`, and `prevalence` of the label.
    genes : DataFrame
        By falling importance: `gene`, `importance`, `low`, `high` (95 %, whole clades resampled),
        `pattern` (a number), `twins` (other genes with the same pattern), `genomes` that have it,
        and for each class `in <class>`: the share of its genomes that do.
    """

    quality: pd.DataFrame
    genes: pd.DataFrame


class RankingAgreement(NamedTuple):
    """How alike two rankings of the same genes are.

    Attributes
    ----------
    spearman : Estimate
        With its bootstrap interval over genes; `n` is how many genes both rank.
    p : float
        Two-sided, by permutation.
    top : DataFrame
        `k`, `shared` among the first k of each, `expected` by chance, and the exact p and q
        (hypergeometric, one-sided).
    """

    spearman: Estimate
    p: float
    top: pd.DataFrame


def presence_forest(
    presence: Presence,
    labels: Mapping[str, str],
    clades: Mapping[str, str],
    *,
    target: str,
    trees: int = 300,
    folds: int = 5,
    seed: int = 0,
    progress: Progress | None = None,
) -> PresenceForest:
    """Fit forests on gene presence, judge them on held-out clades, and rank the genes.

    Parameters
    ----------
    labels, clades : mapping
        From genome to class name and to clade; genomes that lack either are left out.
    target : str
        The class whose probability is predicted.
    trees : int
        Of each forest (scikit-learn's, its other settings as they come).
    folds : int
        With whole clades each, classes as even as can be.
    progress : callable, optional
        Called with the forests done, and all there will be.

    Raises
    ------
    UnknownName
        If no genome has the target class.
    DataError
        If fewer than two classes, or fewer clades than folds, are left.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    rows = [i for i, s in enumerate(presence.samples) if s in labels and s in clades]
    names = np.array([labels[presence.samples[i]] for i in rows])
    if target not in set(names.tolist()):
        raise UnknownName("class of a genome", target, set(names.tolist()))
    _, clade = np.unique([clades[presence.samples[i]] for i in rows], return_inverse=True)
    present, truth = presence.present[rows], names == target
    if truth.all() or clade.max() + 1 < folds:
        raise DataError(
            f"{len(rows)} genomes with a class and a clade, {len(set(names.tolist()))} classes, "
            f"{clade.max() + 1} clades; two classes and {folds} clades are needed."
        )
    patterns, pattern_of = np.unique(present, axis=1, return_inverse=True)
    columns = patterns.astype(np.float32)
    kept = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    loose = StratifiedKFold(folds, shuffle=True, random_state=seed)
    blocked, loosely = np.zeros((2, len(rows)))
    rise = np.zeros((columns.shape[1], int(clade.max()) + 1))  # of squared error, summed by clade
    rng = np.random.default_rng([seed, 6])
    for i, (train, test) in enumerate(kept.split(columns, truth, clade)):
        forest = _fitted(columns[train], truth[train], trees, seed + i)
        blocked[test], changed = _importance(forest, columns[test], truth[test])
        for g in range(len(rise)):
            rise[g] += np.bincount(clade[test], weights=changed[g], minlength=rise.shape[1])
        if progress:
            progress(i + 1, 2 * folds)
    for i, (train, test) in enumerate(loose.split(columns, truth)):
        forest = _fitted(columns[train], truth[train], trees, seed + i)
        loosely[test] = forest.predict_proba(columns[test])[:, 1]
        if progress:
            progress(folds + i + 1, 2 * folds)
    drawn = rng.multinomial(rise.shape[1], np.full(rise.shape[1], 1 / rise.shape[1]), _RESAMPLES)
    held_out = {"clades kept together": blocked, "at random": loosely}
    quality = _quality(held_out, truth, clade, drawn)
    ranked = _ranked(presence.genes, pattern_of.ravel(), rise, clade, drawn)
    ranked["genomes"] = present.sum(0)
    for name in sorted(set(names.tolist())):
        ranked[f"in {name}"] = present[names == name].mean(0)
    ranked = ranked.sort_values("importance", ascending=False, kind="stable", ignore_index=True)
    return PresenceForest(quality, ranked)


def compare_rankings(
    one: Mapping[str, float],
    other: Mapping[str, float],
    *,
    first: Sequence[int] = (10, 20, 50, 100),
    draws: int = 9999,
    seed: int = 0,
) -> RankingAgreement:
    """Compare two scores of genes, such as a forest's importance and a model's attribution.

    Parameters
    ----------
    one, other : mapping
        From gene to score; larger is more important. Genes of both count, by name without regard
        to case; NaN does not.
    first : sequence of int
        How many of the first genes are compared; those above the number of genes are left out.

    Raises
    ------
    DataError
        If fewer than three genes are in both.
    """
    from scipy.stats import hypergeom, rankdata

    lower = [
        {name.lower(): float(v) for name, v in own.items() if not np.isnan(v)}
        for own in (one, other)
    ]
    shared = sorted(lower[0].keys() & lower[1].keys())
    if len(shared) < 3:
        raise DataError(
            f"{len(shared)} genes are in both rankings (of {len(one)} and {len(other)}); at least "
            "3 are needed. Are they named alike?"
        )
    values = np.array([[own[name] for name in shared] for own in lower])
    ranks = rankdata(values, axis=1)
    rng = np.random.default_rng([seed, 7])

    def spearman(a: Floats, b: Floats) -> float:
        spread = a.std() * b.std()
        return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else float("nan")

    found = bootstrap(
        lambda a, b: spearman(rankdata(a), rankdata(b)), *values, rng=rng, resamples=_RESAMPLES
    )
    null = np.array([spearman(ranks[0], rng.permutation(ranks[1])) for _ in range(draws)])
    p = (1 + (np.abs(null) >= abs(found.value) - 1e-12).sum()) / (1 + draws)
    order = [np.argsort(-own, kind="stable") for own in values]
    n, rows = len(shared), []
    for k in first:
        if k <= n:
            both = len(set(order[0][:k].tolist()) & set(order[1][:k].tolist()))
            rows.append((k, both, k * k / n, float(hypergeom.sf(both - 1, n, k, k))))
    top = pd.DataFrame(rows, columns=["k", "shared", "expected", "p"])
    return RankingAgreement(
        found, float(p) if not np.isnan(found.value) else np.nan,
        top.assign(q=benjamini_hochberg(top["p"].to_numpy())),
    )  # fmt: skip


def _fitted(columns: Floats, truth: Bools, trees: int, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    if truth.all() or not truth.any():
        raise DataError("The clades outside one fold are all of one class; take fewer folds.")
    return RandomForestClassifier(trees, random_state=seed).fit(columns, truth)


def _importance(forest: Any, columns: Any, truth: Bools) -> tuple[Floats, Floats]:
    """Probabilities, (n,), and by how much each squared error rises without a column, (g, n).

    A permutation changes a genome's cell with the share of genomes that have the other value; so
    one look at the forest with every cell of the column turned gives the mean over all
    permutations. Only trees that ask for the column are asked again.
    """
    trees = [each.tree_ for each in forest.estimators_]
    own = np.stack([_of_tree(tree, columns) for tree in trees])
    whole = own.mean(0)
    moved = np.zeros((columns.shape[1], len(columns)))
    for tree, before in zip(trees, own, strict=True):
        for g in np.unique(tree.feature[tree.feature >= 0]).tolist():
            columns[:, g] = 1 - columns[:, g]
            moved[g] += _of_tree(tree, columns) - before
            columns[:, g] = 1 - columns[:, g]
    share = columns.mean(0)[:, None]
    turned = np.where(columns.T > 0, 1 - share, share)
    error = (whole + moved / len(trees) - truth) ** 2 - (whole - truth) ** 2
    return whole, turned * error


def _of_tree(tree: Any, columns: Any) -> Floats:
    """A tree's probability of the second class, (n,)."""
    counts = tree.value[tree.apply(columns), 0]
    return np.asarray(counts[:, 1] / counts.sum(1))


def _quality(found: Mapping[str, Floats], truth: Bools, clade: Ints, drawn: Ints) -> pd.DataFrame:
    """Of held-out probabilities, with intervals over clades drawn (resamples, clades) times."""
    weights = np.concatenate([np.ones((1, len(clade))), drawn[:, clade]])
    rows = []
    for folds, probability in found.items():
        auroc, auprc = Ranked(truth, probability)(weights)
        brier = weights @ (probability - truth) ** 2 / weights.sum(1)
        for name, values in (("AUROC", auroc), ("AUPRC", auprc), ("Brier score", brier)):
            low, high = np.nanquantile(values[1:], [0.025, 0.975])
            rows.append((folds, name, values[0], low, high, len(truth), truth.mean()))
    return pd.DataFrame(
        rows, columns=["folds", "metric", "value", "low", "high", "n", "prevalence"]
    )


def _ranked(
    genes: Sequence[str], pattern: Ints, rise: Floats, clade: Ints, drawn: Ints
) -> pd.DataFrame:
    """Importance of genes, with intervals over clades drawn (resamples, clades) times."""
    size = np.bincount(clade)
    means = (rise @ drawn.T) / (drawn @ size)
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    importance = rise.sum(1) / len(clade)
    return pd.DataFrame(
        {
            "gene": genes,
            "importance": importance[pattern],
            "low": low[pattern],
            "high": high[pattern],
            "pattern": pattern,
            "twins": np.bincount(pattern)[pattern] - 1,
        }
    )
