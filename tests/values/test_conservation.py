"""Conservation without alignment, what follows it, reconstruction: by hand, by enumeration."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import basewise as bw
from basewise.biology.conservation import CONSERVATION, conservation, follow_conservation
from basewise.errors import ConfigError, DataError
from basewise.evaluate.reconstruction import RECONSTRUCTION, reconstruct
from basewise.report.conservation import conservation_sentences


def letters(rng, b):
    return "".join(rng.choice(list("ACGT"), b))


def test_shares_of_words_are_those_of_other_clusters():
    sequences = ["ACGTAC", "ACGTAC", "TTACGT", "GGGGGGG"]
    found = conservation(sequences, ["a", "a", "b", "c"], 3)
    # Of ACGTAC: ACG and CGT are in b, GTA and TAC are TAC in b; none in c.
    words = np.array([0.5, 0.5, 0.0, 0.5])
    by_hand = [words[max(i - 2, 0) : i + 1].mean() for i in range(6)]
    assert found[0] == pytest.approx(by_hand)
    assert found[0].tolist() == found[1].tolist()  # its copy does not count
    # Of TTACGT: TTA nowhere; TAC, ACG, CGT in both of a.
    words = np.array([0.0, 0.5, 0.5, 0.5])
    assert found[2] == pytest.approx([words[max(i - 2, 0) : i + 1].mean() for i in range(6)])
    assert found[3].tolist() == [0.0] * 7
    assert conservation(sequences, ["a", "a", "b", "c"], 3, of=[2])[0].tolist() == found[2].tolist()


def test_a_family_with_kept_stretches():
    rng = np.random.default_rng(0)
    kept = np.zeros(600, bool)
    kept[100:200] = kept[350:480] = True
    parent = np.array(list(letters(rng, 600)))
    genes = []
    for _ in range(6):
        other = np.array(list(letters(rng, 600)))
        genes.append("".join(np.where(kept, parent, other)))
    found = conservation(genes, list("abcdef"), 9)
    assert all(each[110:190].min() == 1.0 for each in found)
    assert max(each[~kept].mean() for each in found) < 0.15


def enumerated(scores, kept, k):
    """Rank correlations at every shift, with scores as means over words."""
    words = np.array([scores[i : i + k].mean() for i in range(len(scores) - k + 1)])
    smooth = np.array([words[max(i - k + 1, 0) : i + 1].mean() for i in range(len(scores))])
    return np.array([spearmanr(np.roll(smooth, s), kept).statistic for s in range(len(scores))])


@pytest.mark.parametrize("effect", [0.0, 1.0])
def test_correlation_null_and_p_are_those_of_an_enumeration(effect):
    rng, k = np.random.default_rng(1), 4
    sequence = letters(rng, 157)
    kept = np.convolve(rng.random(157), np.ones(9) / 9, "same")
    scores = effect * 40 * kept + rng.normal(size=157)
    table = follow_conservation([scores], [kept], [sequence], ["g"], ["c"], k, resamples=400)
    assert tuple(table.columns) == CONSERVATION
    row = table.iloc[0]
    every = enumerated(scores, kept, k)
    null = every[k : 157 - k + 1]
    assert row.rho == pytest.approx(every[0])
    above, below = (null >= every[0] - 1e-9).sum(), (null <= every[0] + 1e-9).sum()
    assert (row.above, row.below, row.shifts) == (above, below, 157 - 2 * k + 1)
    assert row.p == pytest.approx(min(2 * (1 + min(above, below)) / (1 + len(null)), 1))
    assert [row.null_low, row.null_high] == pytest.approx(np.quantile(null, [0.025, 0.975]))
    assert row.low < row.rho < row.high
    assert (row.p < 0.05) == bool(effect)
    assert (row.auroc > 0.9) == bool(effect)
    order = np.argsort(kept, kind="stable")
    assert row.conserved == pytest.approx(scores[order[-52:]].mean())
    assert row.variable == pytest.approx(scores[order[:52]].mean())


def test_what_composition_explains_is_gone_at_equal_composition():
    """Kept stretches are rich in G+C, and scores follow G+C alone."""
    rng, k = np.random.default_rng(2), 5
    rich = np.repeat(rng.random(60) < 0.5, 20)
    text = np.where(rich, rng.choice(list("GC"), 1200), rng.choice(list("ACGT"), 1200))
    gc = np.isin(text, list("GC")).astype(float)
    kept = np.convolve(rich + rng.normal(0, 0.3, 1200), np.ones(5) / 5, "same")
    scores = gc + rng.normal(0, 0.3, 1200)
    row = follow_conservation([scores], [kept], ["".join(text)], ["g"], ["c"], k).iloc[0]
    assert row.rho > 0.3
    assert row.p < 0.05
    assert row.gc_rho > 0.8
    assert abs(row.partial) < 0.15


def test_p_values_without_an_effect_are_even():
    rng, k, b = np.random.default_rng(3), 6, 900
    smooth = np.ones(12) / 12
    n = 160
    kept = [np.convolve(rng.random(b), smooth, "same") for _ in range(n)]
    scores = [np.convolve(rng.normal(size=b), smooth, "same") for _ in range(n)]
    same = [letters(rng, b) for _ in range(n)]
    names = [f"g{i}" for i in range(n)]
    table = follow_conservation(scores, kept, same, names, names, k, resamples=99)
    assert 0.01 <= (table.p < 0.05).mean() <= 0.09
    covered = ((table.low <= 0) & (table.high >= 0)).mean()
    assert 0.84 <= covered <= 0.97  # nominally 0.95; the module says 0.9


def test_families_of_one_cluster_are_refused():
    with pytest.raises(DataError, match="at least two clusters of near copies; there is one"):
        conservation(["ACGT", "ACGT"], ["a", "a"], 2)
    with pytest.raises(DataError, match="A gene has 4 bases, fewer than a word of k = 6"):
        conservation(["ACGT", "ACGTACGT"], ["a", "b"], 6)


def test_what_says_nothing_gives_no_number():
    rng = np.random.default_rng(0)
    genes = [letters(rng, 60), letters(rng, 60), "N" * 60]
    found = conservation(genes, ["a", "b", "c"], 2)
    assert found[2].tolist() == [0.0] * 60
    table = follow_conservation([np.zeros(60)], found[:1], genes[:1], ["g"], ["a"], 2, resamples=99)
    assert table[["rho", "p", "q"]].isna().all(axis=None)


class Found:
    """A run of which only the tables of conservation are read."""

    def __init__(self, **tables):
        self.conserved = lambda name: tables.get(name, pd.DataFrame())


@pytest.mark.parametrize("sign, said", [(1, "m does in 2 of 3 genes"), (-1, "none does in any")])
def test_only_scores_that_rise_with_conservation_follow_it(sign, said):
    table = pd.DataFrame({"rho": [0.9, 0.8, 0.1], "q": [0.01, 0.01, 0.6], "cluster": list("abc")})
    table["rho"] *= sign
    rows = [("m", 0.5, 0.75, 0.5, 1.0, 3), ("random", 0.5, 0.0, 0.0, 0.25, 3)]
    columns = ["order", "share", "recognised", "recognised_low", "recognised_high", "n"]
    again = pd.DataFrame(rows, columns=columns).assign(model="net")
    run = Found(conservation=table.assign(model="net", explainer="m"), reconstruction=again)
    first, second = conservation_sentences(run)
    assert said in first
    assert second.replace("\N{NO-BREAK SPACE}", " ") == (
        "Of 3 genes of which half of the bases are kept, the first by m, net recognises 75.0 "
        "% [50.0 %, 100 %], and 0 % [0 %, 25.0 %] where the half is random."
    )


WORD = "GATTACAGATTACA"


def model():
    """Log-odds above 0 with most of the word in place."""

    def value(sequences):
        return [
            float(sum(a == b for a, b in zip(s[40:54], WORD, strict=True))) - 11.5
            for s in sequences
        ]

    return bw.Model.from_callable(value, ["word"])


def test_reconstruction_is_what_the_model_says_of_kept_bases():
    rng = np.random.default_rng(0)
    records, good = [], []
    for i in range(5):
        text = letters(rng, 40) + WORD + letters(rng, 46)
        records.append(bw.Record(f"r{i}", text))
        own = rng.random(100) * 0.1
        own[40:54] += 1
        good.append(own)
    table = reconstruct(
        model(), records, {"good": good}, "word", shares=[0.0, 0.14, 1.0], draws=3, orders=2
    )
    assert tuple(table.columns) == RECONSTRUCTION
    found = table.set_index(["order", "share"])
    assert set(table.order) == {"good", "good reversed", "random"}
    assert (table.whole == 2.5).all()
    assert (table.n == 5).all()
    assert found.value["good", 0.14] == 2.5  # the 14 bases of the word are enough
    assert found.recognised["good", 0.14] == 1.0
    for order in ("good", "good reversed", "random"):
        assert found.value[order, 1.0] == 2.5
        assert found.recognised[order, 0.0] == 0.0
    assert found.recognised["good reversed", 0.14] == 0.0
    assert found.value["good reversed", 0.14] < found.value["good", 0.14] - 5
    assert (table.low <= table.value).all()
    assert (table.value <= table.high).all()


def test_the_rest_is_a_shuffle_of_the_sequence():
    seen = []

    def value(sequences):
        seen.extend(sequences)
        return [0.0] * len(sequences)

    record = bw.Record("r", letters(np.random.default_rng(4), 60))
    scores = np.arange(60.0)
    reconstruct(
        bw.Model.from_callable(value, ["x"]), [record], {"s": [scores]}, "x", shares=[0.0, 0.5]
    )
    whole = sorted(record.sequence)
    assert sum(sorted(each) == whole for each in set(seen)) >= 4  # nothing kept: the same letters
    assert any(each[30:] == record.sequence[30:] and each != record.sequence for each in seen)


@pytest.mark.parametrize(
    "change, error, said",
    [
        ({"shares": [1.5]}, ConfigError, r"shares = \[1.5\]: shares of the bases lie from 0 to 1"),
        ({"records": []}, DataError, "no records to reconstruct"),
        ({"scores": {"s": [np.zeros(3)]}}, DataError, "'s' are not one for each base"),
    ],
)
def test_what_cannot_be_reconstructed_is_said(change, error, said):
    given = {"records": [bw.Record("r", "ACGTA")], "scores": {"s": [np.zeros(5)]}} | change
    with pytest.raises(error, match=said):
        reconstruct(model(), given.pop("records"), given.pop("scores"), "word", **given)
