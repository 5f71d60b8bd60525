"""Gene presence: tables, the forest, and rankings of genes."""

from itertools import permutations

import numpy as np
import pytest

from basewise.biology.presence import _fitted, _importance, compare_rankings, presence_forest
from basewise.data.presence import Presence, read_presence
from basewise.errors import DataError, UnknownName

ROARY = ",".join(["Gene", "Non-unique Gene name", *(f"x{i}" for i in range(12)), "s1", "s2"])


def test_tables_of_numbers_and_of_names(tmp_path):
    (tmp_path / "a.Rtab").write_text("Gene\ts1\ts2\ts3\t\nx\t1\t0\t1\ny\t0\t0\t1\n")
    found = read_presence(tmp_path / "a.Rtab")
    assert (found.genes, found.samples) == (("x", "y"), ("s1", "s2", "s3"))
    np.testing.assert_array_equal(found.present, [[1, 0], [0, 0], [1, 1]])
    (tmp_path / "b.csv").write_text(f'{ROARY}\n"x",{"," * 13}"AB_1 AB_2",\n')
    found = read_presence(tmp_path / "b.csv")
    assert (found.samples, found.present.tolist()) == (("s1", "s2"), [[True], [False]])


@pytest.mark.parametrize(
    "text, said",
    [
        ("Gene\ts1\ts2\nx\t1\n", r"a\.Rtab, line 2: 2 fields; the first line has 3\."),
        ("Gene\ts1\nx\t1\ny\t2\n", r"a\.Rtab, line 3 \(y\): '2'; a cell is 0 or 1\."),
        ("Gene\ts1\nx\t1\nx\t0\n", r"a\.Rtab: the gene 'x' occurs twice\."),
        ("Gene\ts1\ts1\nx\t1\t0\n", r"a\.Rtab: the genome 's1' occurs twice\."),
        ("Gene\ts1\n", r"a\.Rtab holds 0 genes and 1 genomes\."),
    ],
)
def test_a_table_that_is_wrong_is_one_line(tmp_path, text, said):
    (tmp_path / "a.Rtab").write_text(text)
    with pytest.raises(DataError, match=said):
        read_presence(tmp_path / "a.Rtab")


def clonal(seed=0, n=240, clades=24):
    """Genomes in clades: one gene acts, others mark clades, which lean to a class."""
    rng = np.random.default_rng(seed)
    clade = np.arange(n) % clades
    cause = rng.random(n) < 0.5
    leaning = rng.random(clades) < 0.5
    truth = np.where(rng.random(n) < 0.4, cause, leaning[clade])
    genes = rng.random((clades, 30))[clade] < 0.5  # the same in all genomes of a clade
    noise = rng.random((n, 5)) < 0.5
    present = np.column_stack([cause, genes, noise, cause])
    names = ["cause", *(f"mark{i}" for i in range(30)), *(f"noise{i}" for i in range(5)), "twin"]
    samples = tuple(f"s{i}" for i in range(n))
    labels = dict(zip(samples, np.where(truth, "yes", "no").tolist(), strict=True))
    return (
        Presence(tuple(names), samples, present),
        labels,
        dict(zip(samples, map(str, clade), strict=True)),
    )


@pytest.fixture(scope="module")
def found():
    return presence_forest(*clonal(), target="yes", trees=60)


def test_the_gene_with_an_effect_is_first_and_clades_flatter(found):
    assert set(found.genes.gene[:2]) == {"cause", "twin"}
    first = found.genes.iloc[0]
    assert 0 < first.low < first.importance < first.high
    assert first.twins == 1
    quality = found.quality.set_index(["folds", "metric"]).value
    assert quality["at random", "AUROC"] > quality["clades kept together", "AUROC"] + 0.02
    marks = found.genes[found.genes.gene.str.startswith("mark")]
    assert (marks.low > first.low).sum() == 0


def test_prevalence_is_counted_in_each_class(found):
    presence, labels, _ = clonal()
    row = found.genes.set_index("gene").loc["noise3"]
    column = presence.present[:, presence.genes.index("noise3")]
    yes = np.array([labels[s] == "yes" for s in presence.samples])
    assert row["in yes"] == pytest.approx(column[yes].mean())
    assert row["in no"] == pytest.approx(column[~yes].mean())
    assert row["genomes"] == column.sum()


def test_importance_is_the_mean_over_all_permutations():
    """The referee: the whole forest, every permutation of five genomes."""
    rng = np.random.default_rng(1)
    columns = (rng.random((90, 7)) < 0.5).astype(np.float32)
    truth = (columns[:, 2] > 0) ^ (rng.random(90) < 0.2)
    forest = _fitted(columns[:85], truth[:85], 25, 0)
    test = columns[85:].copy()
    probability, rise = _importance(forest, test, truth[85:])
    np.testing.assert_array_equal(test, columns[85:])
    np.testing.assert_allclose(probability, forest.predict_proba(test)[:, 1])
    orders = list(permutations(range(5)))
    for g in range(7):
        after = np.zeros(5)
        for order in orders:
            moved = test.copy()
            moved[:, g] = test[list(order), g]
            after += (forest.predict_proba(moved)[:, 1] - truth[85:]) ** 2 / len(orders)
        np.testing.assert_allclose(rise[g], after - (probability - truth[85:]) ** 2, atol=1e-9)


def test_importance_agrees_with_scikit_learn():
    from sklearn.inspection import permutation_importance

    rng = np.random.default_rng(2)
    columns = (rng.random((300, 5)) < 0.5).astype(np.float32)
    truth = (columns[:, 1] + columns[:, 4] + rng.normal(0, 0.5, 300)) > 1
    forest = _fitted(columns[:200], truth[:200], 40, 0)
    _, rise = _importance(forest, columns[200:].copy(), truth[200:])

    def negative_brier(model, x, y):
        return -float(((model.predict_proba(x)[:, 1] - y) ** 2).mean())

    theirs = permutation_importance(
        forest, columns[200:], truth[200:], scoring=negative_brier, n_repeats=40, random_state=0
    )
    spread = theirs.importances_std / np.sqrt(40)
    assert (np.abs(rise.mean(1) - theirs.importances_mean) < 6 * spread + 1e-9).all()


def test_what_cannot_be_fitted_is_said():
    presence, labels, clades = clonal(n=60, clades=12)
    with pytest.raises(UnknownName, match=r"No class of a genome named 'yess'\. Did you mean"):
        presence_forest(presence, labels, clades, target="yess")
    few = {name: clade for name, clade in clades.items() if clade in "012"}
    with pytest.raises(DataError, match="2 classes, 3 clades; two classes and 5 clades are needed"):
        presence_forest(presence, labels, few, target="yes")


def test_rankings_of_the_same_genes():
    one = {f"G{i}": float(-i) for i in range(40)}
    other = {f"g{i}": float(-i if i < 10 else i - 60) for i in range(40)} | {"more": 1.0}
    found = compare_rankings(one, other, first=(10, 100), draws=499)
    from scipy.stats import hypergeom, spearmanr

    values = [[own[k] for k in sorted(own) if k.lower() != "more"] for own in (one, other)]
    assert found.spearman.value == pytest.approx(spearmanr(*values).statistic)
    assert (found.spearman.n, list(found.top.k)) == (40, [10])
    row = found.top.iloc[0]
    assert (row.shared, row.expected) == (10, 2.5)
    assert row.p == row.q == pytest.approx(float(hypergeom.pmf(10, 40, 10, 10)))
    same = compare_rankings(one, {k.lower(): v for k, v in one.items()}, draws=499)
    assert same.p == pytest.approx(1 / 500)
    with pytest.raises(DataError, match="0 genes are in both rankings"):
        compare_rankings({"a": 1.0}, {"b": 1.0})
