"""Rankings: by hand, by closed form, and what is refused."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

import basewise as bw
from basewise.errors import ConfigError, DataError, StoreError, UnknownName
from basewise.evaluate.ranking import RANKING, read_ranking, resampled_ranks
from basewise.evaluate.ranking_methods import RobustRank, ranks
from basewise.evaluate.token_tables import canonical_table, canonical_tokens, read_token_table


def table(scores, counts=None):
    frame = pd.DataFrame({"token": list(scores), "score": list(scores.values())})
    return frame if counts is None else frame.assign(count=counts)


TP = table({"CGCG": 0.6, "TATA": 0.3, "GGG": 0.1, "AAC": 0.2}, [30, 12, 7, 5])  # mean 0.3
IG = table({"CGCG": 1.0, "GGG": 0.5, "TTT": 0.0}, [9, 4, 2])  # mean 0.5


def values(found):
    return found.table.set_index("token")["value"].to_dict()


# ---------------------------------------------------------------- mean deviation, as published


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # skip: each mean over the table's own tokens, the value over the tables that have it
        (
            {"lead": "tp", "missing": "skip"},
            {
                "CGCG": (100 + 100) / 2,
                "TATA": 0.0,
                "GGG": (-200 / 3 + 0) / 2,
                "AAC": -100 / 3,
            },
        ),
        # zero: ig becomes 1, 0, 0.5, 0 with mean 0.375
        (
            {"lead": "tp", "missing": "zero"},
            {
                "CGCG": (100 + 500 / 3) / 2,
                "TATA": (0 - 100) / 2,
                "GGG": (-200 / 3 + 100 / 3) / 2,
                "AAC": (-100 / 3 - 100) / 2,
            },
        ),
        (
            {"lead": "ig", "missing": "skip"},
            {"CGCG": 100.0, "GGG": -100 / 3, "TTT": -100.0},
        ),
        # tp keeps CGCG and GGG, mean 0.35
        (
            {"lead": "ig", "missing": "skip", "restrict": {"tp": "ig"}},
            {
                "CGCG": (100 * 0.25 / 0.35 + 100) / 2,
                "GGG": (-100 * 0.25 / 0.35 + 0) / 2,
                "TTT": -100.0,
            },
        ),
    ],
)
def test_mean_deviation_is_that_of_the_hand_made_table(settings, expected):
    found = bw.rank_tokens({"tp": TP, "ig": IG}, method="mean_deviation", **settings)
    assert values(found) == pytest.approx(expected, abs=1e-9)
    assert found.table["token"].tolist() == sorted(expected, key=lambda t: -expected[t])
    assert found.settings["lead"] == settings["lead"]


def test_a_ranking_says_everything_that_it_is_made_of():
    found = bw.rank_tokens({"tp": TP, "ig": IG}, "mean_deviation", lead="tp")
    expected = [*RANKING, "score: tp", "count: tp", "score: ig", "count: ig"]
    assert list(found.table) == expected
    row = found.table.set_index("token").loc["GGG"]
    assert (row["tables"], row["count: tp"], row["score: ig"]) == (2, 7, 0.5)
    assert math.isnan(found.table.set_index("token").loc["AAC"]["score: ig"])
    assert repr(found) == "Ranking(mean_deviation, 4 tokens: CGCG, TATA, GGG, ...)"
    assert "<table" in found._repr_html_()


def test_a_ranking_is_read_as_it_was_written(tmp_path):
    found = bw.rank_tokens({"tp": TP, "ig": IG}, "mean_deviation", lead="ig", restrict={"tp": "ig"})
    found.to_parquet(tmp_path / "r.parquet")
    again = read_ranking(tmp_path / "r.parquet")
    pd.testing.assert_frame_equal(again.table, found.table)
    assert (again.method, again.settings, again.best) == (
        found.method,
        found.settings,
        found.best,
    )
    TP.to_parquet(tmp_path / "x.parquet")
    with pytest.raises(StoreError, match="holds a foreign table"):
        read_ranking(tmp_path / "x.parquet")


# ---------------------------------------------------------------- rankings by rank

A = table({"AC": 5.0, "CC": 4.0, "GT": 3.0, "TA": 3.0})
B = table({"CC": 9.0, "AC": 8.0, "TA": 1.0, "GT": 0.0, "GG": -1.0})


def test_borda_counts_the_others_behind():
    found = bw.rank_tokens({"a": A, "b": B})  # the default
    # ranks a: 1 2 3.5 3.5; b: 2 1 4 3, of four shared tokens
    assert values(found) == pytest.approx(
        {"AC": (3 + 2) / 6, "CC": (2 + 3) / 6, "GT": (0.5 + 0) / 6, "TA": (0.5 + 1) / 6}
    )
    assert found.table["rank"].tolist() == [1.5, 1.5, 3, 4]


def test_a_table_that_lacks_a_token_may_put_it_last():
    found = values(bw.rank_tokens({"a": A, "b": B}, missing="last"))
    # of five tokens; GG is rank 5 in both
    assert found == pytest.approx(
        {"AC": (4 + 3) / 8, "CC": (3 + 4) / 8, "GT": (1.5 + 1) / 8, "TA": (1.5 + 2) / 8, "GG": 0}
    )


@pytest.mark.parametrize("k", [0, 60])
def test_reciprocal_rank(k):
    found = values(bw.rank_tokens({"a": A, "b": B}, "reciprocal_rank", k=k))
    assert found == pytest.approx(
        {
            "AC": (1 / (k + 1) + 1 / (k + 2)) / 2,
            "CC": (1 / (k + 2) + 1 / (k + 1)) / 2,
            "GT": (1 / (k + 3.5) + 1 / (k + 4)) / 2,
            "TA": (1 / (k + 3.5) + 1 / (k + 3)) / 2,
        }
    )


def test_robust_rank_of_two_tables_by_its_closed_form():
    # Beta(1, 2) and Beta(2, 1) have the distribution functions 1 - (1 - x)^2 and x^2
    found = values(bw.rank_tokens({"a": A, "b": B}, "robust_rank"))

    def rho(a, b):
        low, high = sorted((a / 4, b / 4))
        return min(1.0, 2 * min(1 - (1 - low) ** 2, high**2))

    assert found == pytest.approx(
        {"AC": rho(1, 2), "CC": rho(2, 1), "GT": rho(3.5, 4), "TA": rho(3.5, 3)}
    )
    assert bw.rank_tokens({"a": A, "b": B}, "robust_rank").table["token"][0] == "AC"  # low is good


def test_robust_rank_of_five_tables_by_the_beta_distribution():
    r = np.array([[0.02, 0.5, 0.03, 0.9, 0.04], [0.9, 0.8, 1.0, 0.7, 0.95]])
    expected = [
        min(1.0, 5 * min(beta.cdf(x, k, 6 - k) for k, x in enumerate(sorted(row), 1)))
        for row in r.tolist()
    ]
    assert RobustRank().value(r) == pytest.approx(expected)
    # Three of five at 0.02, 0.03, 0.04: a binomial sum says how likely three below 0.04 are.
    likely = sum(math.comb(5, i) * 0.04**i * 0.96 ** (5 - i) for i in range(3, 6))
    assert RobustRank().value(r)[0] == pytest.approx(5 * likely)


def test_ranks_share_ties_and_put_what_is_missing_last():
    found = ranks(np.array([[3.0, np.nan], [3.0, 1.0], [9.0, 2.0]]))
    assert found.tolist() == [[2.5, 3], [2.5, 2], [1, 1]]


# ---------------------------------------------------------------- chance and stability


@pytest.mark.parametrize("method", ["borda", "reciprocal_rank", "robust_rank"])
def test_p_is_the_share_of_all_pairs_of_orders_that_do_as_well(method):
    """The referee permutes one table in every way there is."""
    found = bw.rank_tokens({"a": A, "b": B}, method).table.set_index("token")
    shared = ["AC", "CC", "GT", "TA"]
    b = B.set_index("token")["score"][shared].to_numpy()
    sign = -1 if method == "robust_rank" else 1
    as_good = dict.fromkeys(shared, 0)
    total = 0
    for order in itertools.permutations(range(4)):
        moved = table(dict(zip(shared, b[list(order)].tolist(), strict=True)))
        null = bw.rank_tokens({"a": A, "b": moved}, method).table.set_index("token")["value"]
        # A token of table a is any token: its own place is random too.
        for other in shared:
            total += 1
            for token in shared:
                as_good[token] += bool(
                    sign * null[other] >= sign * found.loc[token, "value"] - 1e-12
                )
    for token in shared:
        assert found.loc[token, "p"] == pytest.approx(as_good[token] / total)


def test_sampled_chance_agrees_with_exact(monkeypatch):
    rng = np.random.default_rng(3)
    tables = {
        name: table(dict(zip((f"t{i}" for i in range(30)), rng.normal(size=30), strict=True)))
        for name in "abc"
    }
    exact = bw.rank_tokens(tables, "robust_rank").table
    monkeypatch.setattr("basewise.evaluate.ranking.ENUMERATED", 10)
    sampled = bw.rank_tokens(tables, "robust_rank").table
    assert sampled["token"].tolist() == exact["token"].tolist()
    assert sampled["p"].to_numpy() == pytest.approx(exact["p"].to_numpy(), abs=0.006)


def test_tokens_of_other_tables_have_another_chance():
    """A token of one table alone is judged by that table alone."""
    found = bw.rank_tokens({"tp": TP, "ig": IG}, "mean_deviation", lead="tp")
    p = found.table.set_index("token")["p"]
    # TATA and AAC: one of the four deviations 100, 0, -33, -67 of tp
    assert p[["TATA", "AAC"]].tolist() == [0.5, 0.75]
    # CGCG and GGG: the mean of one of these and one of the two of ig, 100 and 0
    assert p[["CGCG", "GGG"]].tolist() == [1 / 8, 1.0]


def test_p_is_uniform_where_orders_are_independent():
    rng = np.random.default_rng(11)
    p = [
        bw.rank_tokens(
            {
                name: table(dict(zip("ABCDEFGHIJ", rng.normal(size=10), strict=True)))
                for name in ("x", "y")
            }
        )
        .table.set_index("token")["p"]
        .loc["A"]
        for _ in range(150)
    ]
    share = np.mean(np.array(p) <= 0.1)
    assert 0.02 < share < 0.18


def test_ranks_without_one_table_bound_the_interval():
    c = table({"AC": 0.0, "CC": 3.0, "GT": 2.0, "TA": 1.0})
    found = bw.rank_tokens({"a": A, "b": B, "c": c}).table.set_index("token")
    pairs = [
        bw.rank_tokens(dict(pair)).table.set_index("token")["rank"]
        for pair in itertools.combinations({"a": A, "b": B, "c": c}.items(), 2)
    ]
    # B's fifth token is in no other table, so leaving one out ranks the same four.
    for token in ("AC", "CC", "GT", "TA"):
        assert found.loc[token, "rank_low"] == min(p[token] for p in pairs)
        assert found.loc[token, "rank_high"] == max(p[token] for p in pairs)
    alone = bw.rank_tokens({"a": A}).table
    assert alone[["rank_low", "rank_high"]].isna().all(axis=None)


def test_resampled_ranks_are_narrow_where_scores_are_sure():
    rng = np.random.default_rng(2)
    sure = np.array([9.0, 5.0, 1.0]) + rng.normal(0, 0.1, (50, 3))
    low, high = resampled_ranks("borda", {"a": sure, "b": sure + 0.01})
    assert low.tolist() == high.tolist() == [1, 2, 3]
    loose = rng.normal(0, 1, (200, 3))
    low, high = resampled_ranks("borda", {"a": loose})
    assert low.tolist() == [1, 1, 1]
    assert high.tolist() == [3, 3, 3]


# ---------------------------------------------------------------- both strands


def test_both_strands_of_a_token_are_one_row():
    assert canonical_tokens(["TTT", "ACG", "CGT", "[CLS]", "ANA"]) == [
        "AAA",
        "ACG",
        "ACG",
        "[CLS]",
        "ANA",
    ]
    frame = table({"TTT": 1.0, "AAA": 4.0, "CG": 2.0, "[SEP]": 9.0}, [3, 1, 5, 8])
    found = canonical_table(frame)
    assert found.to_numpy().tolist() == [["AAA", (3 + 4) / 4, 4.0], ["CG", 2.0, 5.0]]
    plain = canonical_table(frame.drop(columns="count"))
    assert plain["score"].tolist() == [2.5, 2.0]
    assert plain["count"].isna().all()


def test_tables_of_other_strands_are_ranked_together():
    other = table({"CGT": 2.0, "TTT": 1.0})
    here = table({"ACG": 3.0, "AAA": 1.0, "[CLS]": 7.0})
    found = bw.rank_tokens({"x": here, "y": other}, both_strands=True)
    assert found.table["token"].tolist() == ["ACG", "AAA"]


# ---------------------------------------------------------------- foreign tables


def test_columns_of_other_names_are_found(tmp_path):
    path = tmp_path / "scores.tsv"
    path.write_text("\tToken\tTP_percent\tcnt\n0\tNA\t0.5\t3\n1\tAC\t0.25\t4\n")
    found = read_token_table(path)
    assert found.to_numpy().tolist() == [["NA", 0.5, 3.0], ["AC", 0.25, 4.0]]
    path = tmp_path / "scores.csv"
    path.write_text("piece,weight\nAC,1.5\nGG,2\n")
    found = read_token_table(path, {"token": "piece", "score": "weight"})
    assert found["score"].tolist() == [1.5, 2.0]
    assert found["count"].isna().all()
    found.to_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(read_token_table(tmp_path / "scores.parquet"), found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("word,rank\nA,1\n", r"t\.csv has no column of scores; it has word, rank\. Allowed are"),
        ("score\n1\n", r"t\.csv has no column of tokens; it has score\. Allowed are token"),
        ("token,score\n", r"t\.csv has no rows; a ranking needs at least one token\."),
        ("token,score\nA,1\nA,2\n", r"t\.csv, row 1: the token 'A' stands there a second time"),
        ("token,score\nA,1\nC,inf\n", r"t\.csv, row 1: the score of 'C' is inf; a finite"),
        ("token,score\nA,1\nC,high\n", r"row 1: the score of 'C' is 'high'; a finite number"),
        ("token,score\nA,1\n,2\n", r"t\.csv, row 1: the token is empty; give its letters\."),
        ("token,score\nA,1,2,3\nB,1\n", r"t\.csv"),
    ],
)
def test_a_table_that_cannot_be_ranked_says_why(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_token_table(tmp_path / "t.csv")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_wrong_column_are_named(tmp_path):
    with pytest.raises(DataError, match=r"x\.csv: No such file or directory; give a table"):
        read_token_table(tmp_path / "x.csv")
    (tmp_path / "t.csv").write_text("token,score\nA,1\n")
    with pytest.raises(DataError, match=r"has no column 'weight'; it has token, score\."):
        read_token_table(tmp_path / "t.csv", {"score": "weight"})


@pytest.mark.parametrize(
    ("tables", "settings", "error", "message"),
    [
        ({}, {}, DataError, "There is no table to rank by"),
        (
            {"tp": TP, "ig": table({"TTT": 1.0})},
            {},
            DataError,
            r"Table 'tp' has no token in common with the others, of tp \(4\), ig \(1\)",
        ),
        (
            {"a": table({"A": 1, "C": 2}), "b": table({"C": 1, "G": 2}), "c": table({"G": 3})},
            {},
            DataError,
            "No token is in all of the tables .*; rank by missing='last'",
        ),
        (
            {"tp": TP, "ig": table({"TTT": 1.0})},
            {"method": "mean_deviation", "lead": "tp"},
            DataError,
            "has no token in common",
        ),
        (
            {"tp": TP, "ig": IG},
            {"method": "mean_deviation", "lead": "tpr"},
            ConfigError,
            r"lead = 'tpr' is none of the tables\. Did you mean 'tp'\? They are tp, ig\.",
        ),
        (
            {"tp": TP, "ig": IG},
            {"method": "mean_deviation", "lead": "tp", "restrict": {"x": "ig"}},
            ConfigError,
            r"restrict = 'x' is none of the tables",
        ),
        ({"tp": TP}, {"method": "mean_deviation"}, ConfigError, "the setting 'lead' is needed"),
        ({"tp": TP}, {"method": "bordo"}, UnknownName, "Did you mean 'borda'"),
        ({"tp": TP}, {"missing": "skip"}, ConfigError, "missing = 'skip'"),
        ({"tp": TP}, {"k": 3}, ConfigError, "has no setting 'k'"),
        (
            {"tp": TP, "ig": IG.assign(score=[1.0, -1.0, 0.0])},
            {"method": "mean_deviation", "lead": "tp"},
            DataError,
            "The scores of table 'ig' have mean 0",
        ),
        (
            {"tp": TP.assign(score=[1, np.nan, 2, 3])},
            {},
            DataError,
            "Table 'tp', row 1: the score of 'TATA' is nan",
        ),
    ],
)
def test_what_cannot_be_ranked_is_refused_in_one_line(tables, settings, error, message):
    with pytest.raises(error, match=message) as caught:
        bw.rank_tokens(tables, **settings)
    assert "\n" not in str(caught.value)
