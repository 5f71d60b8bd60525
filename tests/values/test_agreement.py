"""Agreement of tracks: by hand, against scipy, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

import basewise as bw
from basewise import Attribution, Target
from basewise.errors import ConfigError, DataError, UnknownName
from basewise.evaluate.agreement import AGREEMENT, MEASURES, RECORD_AGREEMENT, shifted
from basewise.evaluate.agreement_measures import (
    Cosine,
    RankCorrelation,
    SignAgreement,
    TopK,
    TopRankCorrelation,
)
from basewise.evaluate.consensus import consensus, scaled
from basewise.stats import benjamini_hochberg


def track(id, scores, **other):
    b = len(scores)
    about = {
        "record_id": id,
        "sequence": ("ACGT" * b)[:b],
        "model": "m",
        "target": Target("x"),
        "method": "lime",
        "kind": "additive",
        "spans": np.column_stack([np.arange(b), np.arange(b) + 1]),
        "scores": np.asarray(scores, float),
        "output": 0.0,
        "baseline": 0.0,
        "evaluations": 1,
        "seed": 0,
    }
    return Attribution(**about | other)


def tracks(rng, n=4, b=23, noise=1.0):
    """Two tracks of n records that have something in common; the last is longer."""
    found = {"a": [], "b": []}
    for i in range(n):
        shared = rng.normal(size=b + 8 * (i == n - 1))
        for name in found:
            found[name].append(track(f"r{i}", shared + noise * rng.normal(size=len(shared))))
    return found


def dot(measure, x, y):
    f = measure.features(np.array([x, y], float))
    return float(f[0] @ f[1])


X = np.array([5.0, -4.0, 3.0, 0.0, 1.0, -0.5, 2.0])
Y = np.array([4.0, 1.0, 3.0, 0.0, -2.0, -0.5, 2.0])


def test_measures_by_hand_and_by_scipy():
    assert dot(RankCorrelation(), X, Y) == pytest.approx(spearmanr(X, Y).statistic)
    assert dot(Cosine(), X, Y) == pytest.approx(X @ Y / np.sqrt(X @ X) / np.sqrt(Y @ Y))
    assert dot(SignAgreement(), X, Y) == pytest.approx((4 - 2) / 7)
    # 3 of 7: X has 0, 1, 2; Y has 0, 2 and half of 4 and half of 6, which are equal
    assert dot(TopK(share=0.4), X, Y) == pytest.approx(2 / 3)
    assert dot(TopK(share=0.28), X, Y) == pytest.approx(1 / 2)
    savage = np.cumsum(1 / np.arange(7, 0, -1))[::-1]
    x = savage[[0, 1, 2, 6, 4, 5, 3]]
    y = savage[[0, 4, 1, 6, 2, 5, 2]]
    y[[4, 6]] = savage[[2, 3]].mean()  # both 2 in size
    assert dot(TopRankCorrelation(), X, Y) == pytest.approx(pearsonr(x, y).statistic)


@pytest.mark.parametrize("name", MEASURES)
def test_a_track_agrees_with_itself_and_not_with_its_opposite(name):
    from basewise.evaluate import AGREEMENTS

    measure = AGREEMENTS.build(name)
    x = np.random.default_rng(0).normal(size=50)
    assert dot(measure, x, x) == pytest.approx(1)
    assert dot(measure, x, -x) == pytest.approx(1 if "top" in name else -1)


@pytest.mark.parametrize("name", ["rank", "cosine", "top_rank"])
def test_a_track_of_equal_scores_has_no_agreement(name):
    found = {
        "a": [track("r0", np.zeros(11)), track("r1", X)],
        "b": [track("r0", np.arange(11.0)), track("r1", Y)],
    }
    pooled = bw.agree(found, measures=[name]).pooled
    assert pooled["n"].tolist() == [1]


def test_shifts_are_those_of_a_slow_loop():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 3, 10))
    found = shifted(x, y)
    for s in range(10):
        assert found[:, s] == pytest.approx((x * np.roll(y, -s, axis=1)).sum(1))


def test_values_and_p_of_every_record_are_those_of_a_slow_loop():
    found = tracks(np.random.default_rng(2), noise=0.7)
    records = bw.agree(found, measures=["rank", TopK(share=0.2)]).records
    assert list(records) == list(RECORD_AGREEMENT)
    assert len(records) == 2 * 4
    for name, function in (
        ("rank", lambda x, y: spearmanr(x, y).statistic),
        ("top_k", lambda x, y: dot(TopK(share=0.2), x, y)),
    ):
        own = records[records["measure"] == name].set_index("record_id")
        for a, b in zip(found["a"], found["b"], strict=True):
            null = [function(a.scores, np.roll(b.scores, -s)) for s in range(len(b.scores))]
            row = own.loc[a.record_id]
            assert row["value"] == pytest.approx(null[0])
            assert row["expected"] == pytest.approx(np.mean(null))
            assert row["p"] == pytest.approx(np.mean(np.array(null) >= null[0] - 1e-9))
        assert own["q"].tolist() == pytest.approx(benjamini_hochberg(own["p"]).tolist())


def test_the_pooled_row_is_the_mean_over_records():
    found = tracks(np.random.default_rng(3), n=12)
    pooled, records = bw.agree(found)
    assert list(pooled) == list(AGREEMENT)
    assert pooled["measure"].tolist() == list(MEASURES)
    for row in pooled.itertuples():
        own = records[records["measure"] == row.measure]
        assert row.value == pytest.approx(own["value"].mean())
        assert row.expected == pytest.approx(own["expected"].mean())
        assert row.beyond == pytest.approx((own["q"] < 0.05).mean())
        assert row.low < row.value < row.high
        assert row.n == 12
        error = own["value"].std() / np.sqrt(12)
        assert (row.high - row.low) / 2 == pytest.approx(1.96 * error, rel=0.25)
    assert pooled["q"].tolist() == pytest.approx(benjamini_hochberg(pooled["p"]).tolist())
    pd.testing.assert_frame_equal(bw.agree(found).pooled, pooled)  # seeded


def test_other_records_are_compared_at_the_same_places():
    found = tracks(np.random.default_rng(6), n=7)  # six of a length, and one of another
    pooled = bw.agree(found, measures=["rank"], draws=9_999).pooled.iloc[0]
    scores = [[a.scores for a in some] for some in found.values()]

    def alike(i, j):
        return spearmanr(scores[0][i], scores[1][j]).statistic

    apart = [alike(i, j) for i in range(6) for j in range(6) if i != j]
    assert pooled["others"] == pytest.approx(np.mean(apart))
    every = [
        np.mean([alike(i, j) for i, j in enumerate(order)] + [alike(6, 6)])
        for order in permutations(range(6))
    ]
    exact = np.mean(np.array(every) >= pooled["value"] - 1e-9)
    assert pooled["p_others"] == pytest.approx(exact, abs=0.003)
    few = bw.agree(tracks(np.random.default_rng(6), n=5), measures=["rank"]).pooled.iloc[0]
    assert np.isnan([few["others"], few["p_others"], few["q_others"]]).all()


def test_unsigned_tracks_are_compared_without_signs():
    rng = np.random.default_rng(4)
    found = tracks(rng, noise=0.1)
    found["a"] = [track(a.record_id, np.abs(a.scores)) for a in found["a"]]
    pooled = bw.agree(found).pooled.set_index("measure")
    assert not pooled["signed"].any()
    assert "sign" not in pooled.index
    assert pooled.loc["cosine", "value"] > 0.95


def test_units_of_several_bases_are_compared_base_by_base():
    spans = np.array([[0, 4], [4, 10]])
    coarse = replace(track("r0", np.zeros(10)), spans=spans, scores=np.array([4.0, 1.2]))
    fine = track("r0", [1.0] * 4 + [0.2] * 6)
    assert bw.agree({"a": [coarse], "b": [fine]}, measures=["cosine"]).pooled["value"][
        0
    ] == pytest.approx(1)


def test_only_the_pairs_asked_for_and_records_in_common_are_compared():
    rng = np.random.default_rng(5)
    found = tracks(rng) | {"c": [track("r1", rng.normal(size=23))]}
    pooled = bw.agree(found, pairs=[("b", "c")], measures=["rank"]).pooled
    assert pooled[["first", "second", "n"]].to_numpy().tolist() == [["b", "c", 1]]


@pytest.mark.parametrize(
    ("found", "settings", "error", "message"),
    [
        ({"a": [track("r", X)]}, {}, DataError, "Agreement needs at least two tracks; there is 1"),
        (
            {"a": [track("r", X)], "b": [track("s", X)]},
            {},
            DataError,
            r"No record is explained in all of the tracks a \(1\), b \(1\)",
        ),
        (
            {"a": [track("r", X)], "b": [track("r", X[:5])]},
            {},
            DataError,
            "Record 'r' of b has another sequence",
        ),
        (
            {"a": [track("r", X)], "b": [track("r", X, target=Target("y"))]},
            {},
            DataError,
            "Record 'r' of b is explained for 'y', in the first track for 'x'",
        ),
        (
            {"a": [track("r", X)], "b": [track("r", np.where(X == 0, np.nan, X))]},
            {},
            DataError,
            "Record 'r' of b: the score of unit 3 is nan; finite scores are needed",
        ),
        (
            {"lime": [track("r", X)], "shap": [track("r", Y)]},
            {"pairs": [("lime", "shape")]},
            UnknownName,
            "No track named 'shape'. Did you mean 'shap'",
        ),
        (
            {"a": [track("r", X)], "b": [track("r", Y)]},
            {"measures": ["ranks"]},
            UnknownName,
            "No agreement measure named 'ranks'. Did you mean 'rank'",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(found, settings, error, message):
    with pytest.raises(error, match=message) as caught:
        bw.agree(found, **settings)
    assert "\n" not in str(caught.value)


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="share = 0"):
        TopK(share=0)


# ---------------------------------------------------------------- consensus


def test_the_consensus_by_hand():
    found = {"a": [track("r", [3.0, -4.0])], "b": [track("r", [0.4, 0.3])]}
    one = consensus(found)[0]
    root = np.sqrt(12.5), np.sqrt(0.125)
    a, b = np.array([3, -4]) / root[0], np.array([0.4, 0.3]) / root[1]
    assert one.scores == pytest.approx((a + b) / 2)
    assert one.spread == pytest.approx(np.abs(a - b) / np.sqrt(2))
    assert (one.record_id, one.sequence, one.names) == ("r", "AC", ("a", "b"))


def test_scales():
    x = np.array([[0.5, -2.0, 0.5, 9.0, 0.0], [0, 0, 0, 0, 0]])
    assert scaled(x, "rank").tolist() == [[0.25, -1, 0.25, 1, -0.5], [0] * 5]
    assert (scaled(x, "unit") ** 2).mean(1).tolist() == pytest.approx([1, 0])


def test_the_consensus_keeps_the_order_of_records():
    found = tracks(np.random.default_rng(9))
    found["a"], found["b"] = found["a"][::-1], found["b"]
    some = consensus(found, "rank")
    assert [one.record_id for one in some] == ["r3", "r2", "r1", "r0"]
    assert [len(one.scores) for one in some] == [31, 23, 23, 23]
    with pytest.raises(DataError, match="scale = 'z': 'unit' or 'rank' is needed"):
        consensus(found, "z")
