"""The table of occurrences and its group-bys: by hand, and against slow but sure ways."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basewise import Attribution, Target
from basewise.errors import ConfigError, DataError, StoreError
from basewise.evaluate.occurrences import (
    OCCURRENCES,
    occurrences,
    read_occurrences,
    write_occurrences,
)
from basewise.evaluate.token_scores import (
    MINIMUM_RECORDS,
    TOKEN_RATIOS,
    TOKEN_SCORES,
    resampled_means,
    shrink,
    token_ratios,
    token_scores,
)
from basewise.stats import wilson
from basewise.tokenize.nucleotide import Nucleotide


def attribution(id, sequence, spans, scores, **other):
    about = {
        "record_id": id,
        "sequence": sequence,
        "model": "cnn",
        "target": Target("promoter"),
        "method": "lime",
        "kind": "additive",
        "spans": np.asarray(spans),
        "scores": np.asarray(scores, float),
        "output": 0.0,
        "baseline": 0.0,
        "evaluations": 1,
        "seed": 0,
    }
    return Attribution(**about | other)


FOUND = [
    attribution("r1", "TTTACG", [[0, 3], [3, 6]], [3.0, -1.5]),
    attribution("r2", "CGTNA", [[0, 3], [3, 4], [4, 5], [5, 5]], [0.6, 9.0, 0.5, 7.0]),
    attribution("r3", "AAAACGT", [[0, 3], [3, 4], [4, 7]], [1.0, 2.0, 4.0]),
]
PREDICTIONS = pd.DataFrame(
    {
        "record_id": ["r3", "r9", "r2", "r1"],
        "label": ["background", "promoter", "promoter", "promoter"],
        "predicted": ["promoter", "promoter", "background", "promoter"],
    }
)


def test_every_unit_is_a_row():
    found = occurrences(FOUND, PREDICTIONS, explainer="lime_500")
    assert list(found) == list(OCCURRENCES)
    rows = found[["record_id", "start", "end", "token", "kmer", "outcome"]].astype(str)
    assert rows.to_numpy().tolist() == [
        ["r1", "0", "3", "TTT", "AAA", "TP"],
        ["r1", "3", "6", "ACG", "ACG", "TP"],
        ["r2", "0", "3", "CGT", "ACG", "FN"],
        ["r2", "4", "5", "A", "A", "FN"],
        ["r3", "0", "3", "AAA", "AAA", "FP"],
        ["r3", "3", "4", "A", "A", "FP"],
        ["r3", "4", "7", "CGT", "ACG", "FP"],
    ]
    assert found["score"].to_numpy() == pytest.approx([3.0, -1.5, 0.6, 0.5, 1.0, 2.0, 4.0])
    assert set(found["model"]) == {"cnn"}
    assert set(found["explainer"]) == {"lime_500"}


def test_kmers_overlap_and_sum_the_scores_of_their_bases():
    found = occurrences(FOUND[:2], PREDICTIONS, words=4)
    assert found["token"].tolist() == ["TTTA", "TTAC", "TACG"]  # those of r2 hold an N
    assert found["kmer"].tolist() == ["TAAA", "GTAA", "CGTA"]
    assert found["score"].to_numpy() == pytest.approx([2.5, 1.0, -0.5])


def test_a_tokenizer_says_what_tokens_are():
    found = occurrences(FOUND[:1], PREDICTIONS, words=Nucleotide())
    assert found["token"].tolist() == list("TTTACG")
    assert found["score"].to_numpy() == pytest.approx([1, 1, 1, -0.5, -0.5, -0.5])


def test_scores_are_those_of_a_slow_sum():
    rng = np.random.default_rng(1)
    sequences = ["".join(rng.choice(list("ACGTN"), n, p=[0.24] * 4 + [0.04])) for n in (31, 47)]
    some = [
        attribution(f"r{i}", s, [[j, j + 1] for j in range(len(s))], rng.normal(size=len(s)))
        for i, s in enumerate(sequences, 1)
    ]
    found = occurrences(some, PREDICTIONS, words=5)
    expected = [
        (a.record_id, i, a.sequence[i : i + 5], a.scores[i : i + 5].sum())
        for a in some
        for i in range(len(a.sequence) - 4)
        if "N" not in a.sequence[i : i + 5]
    ]
    rows = zip(found["record_id"], found["start"], found["token"], strict=True)
    assert list(rows) == [row[:3] for row in expected]
    assert found["score"].to_numpy() == pytest.approx([row[3] for row in expected])


def test_the_table_is_read_as_it_was_written(tmp_path):
    found = occurrences(FOUND, PREDICTIONS)
    write_occurrences(tmp_path / "o.parquet", found)
    again = read_occurrences(tmp_path / "o.parquet")
    pd.testing.assert_frame_equal(again, found, check_categorical=False)
    with pytest.raises(DataError, match="has no column 'kmer'; occurrences have record_id"):
        write_occurrences(tmp_path / "o.parquet", found.drop(columns="kmer"))
    with pytest.raises(StoreError, match="does not exist"):
        read_occurrences(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("found", "predictions", "message"),
    [
        ([], PREDICTIONS, "There are no attributions"),
        (FOUND, PREDICTIONS[:3], "Record 'r1' is explained but has no prediction"),
        (FOUND, PREDICTIONS.drop(columns="label"), "The predictions have no column 'label'"),
        (
            [*FOUND, attribution("r9", "AC", [[0, 2]], [1], model="bert")],
            PREDICTIONS,
            r"are of 2 models \(bert, cnn\)",
        ),
        ([*FOUND, FOUND[1]], PREDICTIONS, "Record 'r2' has two attributions"),
    ],
)
def test_what_is_no_table_of_occurrences_is_refused(found, predictions, message):
    with pytest.raises(DataError, match=message):
        occurrences(found, predictions)


def test_a_kmer_of_no_base_is_refused():
    with pytest.raises(ConfigError, match="words = 0: a k-mer has at least 1 base"):
        occurrences(FOUND, PREDICTIONS, words=0)


# ---------------------------------------------------------------- scores of tokens


def many(n=60, seed=4):
    """Occurrences of four tokens in n records."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        for token, mean in (("AC", 1.0), ("CC", 0.0), ("CC", 0.1)):
            rows.append((f"r{i:02d}", token, mean + rng.normal(0, 0.5), "TP" if i % 3 else "FN"))
    rows.append(("r00", "TTT", 9.0, "TP"))  # once
    frame = pd.DataFrame(rows, columns=["record_id", "token", "score", "outcome"])
    return frame.assign(kmer=frame["token"].replace("CC", "AC"))


def test_means_medians_and_counts_are_those_of_pandas():
    frame = many()
    found = token_scores(frame, split=True)
    assert list(found) == list(TOKEN_SCORES)
    assert found["outcome"].unique().tolist() == ["all", "TP", "FN"]  # none of the others
    for outcome in ("all", "TP", "FN"):
        own = frame if outcome == "all" else frame[frame["outcome"] == outcome]
        grouped = own.groupby("token")
        rows = found[found["outcome"] == outcome].set_index("token").sort_index()
        assert rows["count"].tolist() == grouped.size().tolist()
        assert rows["records"].tolist() == grouped["record_id"].nunique().tolist()
        assert rows["mean"].tolist() == pytest.approx(grouped["score"].mean().tolist())
        assert rows["median"].tolist() == pytest.approx(grouped["score"].median().tolist())
    merged = token_scores(frame, "kmer").set_index("token")
    assert merged.loc["AC", "count"] == 180


def test_the_interval_is_that_of_records_drawn_again():
    frame = many()
    found = token_scores(frame, resamples=4000).set_index("token")
    per_record = frame[frame["token"] == "CC"].groupby("record_id")["score"].mean()
    error = per_record.std() / np.sqrt(len(per_record))  # two occurrences in every record
    half = (found.loc["CC", "high"] - found.loc["CC", "low"]) / 2
    assert half == pytest.approx(1.96 * error, rel=0.08)
    once = found.loc["TTT"]
    assert once["records"] < MINIMUM_RECORDS
    assert np.isnan([once["low"], once["high"]]).all()


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(8)
    inside = 0
    for repeat in range(200):
        shared = rng.normal(0, 1, 40)  # what all occurrences of one record have in common
        frame = pd.DataFrame(
            {
                "record_id": np.repeat([f"r{i}" for i in range(40)], 3),
                "token": "AC",
                "kmer": "AC",
                "outcome": "TP",
                "score": np.repeat(shared, 3) + rng.normal(0, 0.3, 120),
            }
        )
        row = token_scores(frame, resamples=300, seed=repeat).iloc[0]
        inside += row["low"] <= 0 <= row["high"]
    assert 0.88 < inside / 200 < 0.99


def test_resampled_means_are_paired_between_explainers():
    frame = many()
    one = resampled_means(frame, ["CC", "AC", "GG"], resamples=30)
    two = resampled_means(frame.assign(score=2 * frame["score"]), ["CC", "AC", "GG"], resamples=30)
    assert two[:, :2] == pytest.approx(2 * one[:, :2])
    assert np.isnan(one[:, 2]).all()
    assert one[:, 0].std() > 0


def test_shrinkage_by_hand():
    # v = 1, 1: Q = 8, (Q - 1) / (2 - 2 / 2) = 7; each keeps 7/8 of its distance from the centre
    found = shrink(np.array([-2.0, 2.0]), np.array([1.0, 1.0]))
    assert found.mean.tolist() == pytest.approx([-1.75, 1.75])
    assert found.error.tolist() == pytest.approx([np.sqrt(7 / 8)] * 2)
    assert (found.centre, found.spread) == pytest.approx((0.0, np.sqrt(7)))
    # no more spread than chance gives: all are the centre
    assert shrink(np.array([0.5, -0.5]), np.array([1.0, 1.0])).mean.tolist() == [0, 0]
    # nothing is uncertain: nothing moves
    assert shrink(np.array([0.5, -0.5]), np.zeros(2)).mean.tolist() == [0.5, -0.5]


def test_shrunken_means_are_nearer_to_the_truth():
    rng = np.random.default_rng(6)
    truth, v = rng.normal(1, 0.5, 400), rng.uniform(0.01, 2, 400)
    seen = truth + rng.normal(0, np.sqrt(v))
    found = shrink(seen, v)
    assert found.spread == pytest.approx(0.5, abs=0.15)
    assert ((found.mean - truth) ** 2).mean() < 0.4 * ((seen - truth) ** 2).mean()
    covered = np.abs(found.mean - truth) < 1.96 * found.error
    assert 0.9 < covered.mean() < 0.99


def test_a_token_seen_once_does_not_lead_the_list():
    found = token_scores(many())
    assert found.sort_values("mean")["token"].iloc[-1] == "TTT"
    once = found.set_index("token").loc["TTT"]
    assert once["shrunken"] < once["mean"]


def test_ratios_of_outcomes_by_hand():
    frame = pd.DataFrame(
        {
            "record_id": [f"r{i}" for i in range(10)],
            "token": ["AC"] * 6 + ["GG"] * 4,
            "kmer": "AC",
            "score": 0.0,
            "outcome": ["TP", "TP", "TP", "FP", "FN", "TN", "TP", "TN", "TN", "TN"],
        }
    )
    found = token_ratios(frame).set_index("token")
    assert ["token", *found] == list(TOKEN_RATIOS)
    ac = found.loc["AC"]
    assert (ac["count"], ac["tp"], ac["fp"], ac["ratio"], ac["ppv"]) == (6, 3, 1, 0.5, 0.75)
    assert (ac["low"], ac["high"]) == pytest.approx(wilson(3, 6)[1:3])
    assert ac["log_odds"] == pytest.approx(np.log(3.5 * 3.5 / (3.5 * 1.5)))
    gg = found.loc["GG"]
    assert (gg["ratio"], gg["ppv"]) == (0.25, 1.0)
    assert gg["log_odds"] == pytest.approx(-ac["log_odds"])


@pytest.mark.parametrize(
    ("frame", "by", "error", "message"),
    [
        (many().drop(columns="score"), "token", DataError, "has no column 'score'; it has record"),
        (many()[:0], "token", DataError, "There is no occurrence"),
        (many(), "bpe", ConfigError, "by = 'bpe': 'token' or 'kmer' is needed"),
        (
            many().assign(score=np.inf),
            "token",
            DataError,
            "Record 'r00': the score of 'AC' is inf; finite scores are needed",
        ),
    ],
)
def test_a_table_that_has_no_scores_is_refused(frame, by, error, message):
    with pytest.raises(error, match=message):
        token_scores(frame, by)
