"""Counts and signs of top tokens, on records small enough to count by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest

from basewise.errors import ConfigError, DataError
from basewise.evaluate.top_tokens import (
    repeats,
    same_signs,
    top_counts,
    top_signs,
    whole_words,
)
from basewise.stats import wilson

YES, NO = "promoter", "background"
# Per record: class, tokens, scores. Equal strings repeat within a record.
BY_HAND = {
    "a": (YES, ("TATA", "CC", "TATA", "GG"), (0.9, 0.1, -0.4, 0.3)),
    "b": (YES, ("CC", "TATA", "GG"), (0.2, 0.5, -0.3)),
    "c": (NO, ("TATA", "CC", "CC", "GG", "AA"), (-0.7, -0.6, 0.8, 0.0, 0.0)),
}


def occurrences(records):
    rows = []
    for name, (label, tokens, scores) in records.items():
        ends = np.cumsum([len(token) for token in tokens])
        rows += [
            (name, end - len(token), end, token, score, label)
            for token, score, end in zip(tokens, scores, ends, strict=True)
        ]
    return pd.DataFrame(rows, columns=["record_id", "start", "end", "token", "score", "label"])


def random_records(n, rng, words=("TATA", "ATAT", "CC", "GG", "AC")):
    found = {}
    for i in range(n):
        length = int(rng.integers(3, 8))
        tokens = tuple(rng.choice(words, length))
        found[f"r{i:03d}"] = ((NO, YES)[i % 2], tokens, tuple(rng.normal(0, 1, length)))
    return found


def test_counts_of_the_top_two_by_hand():
    table = top_counts(occurrences(BY_HAND), "TATA", top=2)
    every = table[table["token"] == ""].iloc[0]
    # By position: both of a, one of b; in c TATA (0.7) comes second. As published, a has one
    # TATA, of score -0.4.
    assert (every["count"], every["published"]) == (4, 3)
    assert (every["occurrences"], every["records"]) == (4, 3)
    assert every["expected"] == pytest.approx(2 * 2 / 4 + 1 * 2 / 3 + 1 * 2 / 5)
    assert every["effect"] == pytest.approx(4 / (1 + 2 / 3 + 2 / 5))
    tokens = table.set_index("token")
    assert tokens.loc["GG", "published"] == 2  # of a and b
    assert tokens.loc["CC", "published"] == 1  # of c, by its last score
    assert list(table["rank"])[1:] == [1, 2, 3]
    assert table["token"].tolist() == ["", "TATA", "GG", "CC"]


def test_scores_of_nothing_are_not_among_the_top():
    table = top_counts(occurrences({"c": BY_HAND["c"]}), "GG", top=10)
    assert table.loc[table["token"] == "", ["published", "count"]].iloc[0].tolist() == [0, 0]


def test_signs_by_hand():
    table = top_signs(occurrences(BY_HAND), "TATA", top=2).set_index(["reading", "label"])
    columns = ["tokens", "positive", "negative", "records"]
    assert {key: tuple(row) for key, row in table[columns].T.items()} == {
        ("by position", YES): (3, 2, 1, 2),  # of a 0.9 and -0.4, of b 0.5
        ("by position", NO): (1, 0, 1, 1),
        ("last occurrence", YES): (2, 1, 1, 2),  # a's 0.9 is lost
        ("last occurrence", NO): (1, 0, 1, 1),
        ("other class", YES): (3, 1, 2, 2),
        ("other class", NO): (1, 1, 0, 1),
    }
    assert table.loc[("by position", YES), "share"] == pytest.approx(2 / 3)
    assert np.isnan(table.loc[("by position", YES), "low"])  # two sequences are too few
    assert table.loc[("by position", YES), "others"] == 0  # GG of b
    assert table.loc[("by position", NO), "others"] == 1  # CC of c


def test_a_share_of_all_is_not_certain():
    frame = occurrences({f"r{i}": (YES, ("TATA", "CC"), (1.0, 0.5)) for i in range(20)})
    row = top_signs(frame, "TATA", top=1).iloc[0]
    assert (row["share"], row["high"]) == (1, 1)
    assert row["low"] == pytest.approx(wilson(20, 20).low)


def test_repeated_strings_by_hand():
    # a: the first TATA would get -0.4 instead of 0.9; c: the first CC 0.8 instead of -0.6.
    assert repeats(occurrences(BY_HAND)) == (12, 2, 2)


def test_the_null_is_every_turn_of_every_sequence():
    frame = occurrences(random_records(4, np.random.default_rng(4)))
    table = top_counts(frame, "TATA", top=2)
    marks = []
    for _, own in frame.groupby("record_id"):
        size = own["score"].abs().to_numpy()
        top = np.isin(np.arange(len(size)), np.argsort(-size)[:2])
        marks.append((own["token"].to_numpy() == "TATA", top))
    sums = [
        sum(int((word & np.roll(top, s)).sum()) for (word, top), s in zip(marks, turn, strict=True))
        for turn in itertools.product(*(range(len(word)) for word, _ in marks))
    ]
    observed = sum(int((word & top).sum()) for word, top in marks)
    row = table[table["token"] == "TATA"].iloc[0]
    assert row["count"] == observed
    assert row["expected"] == pytest.approx(np.mean(sums))
    tails = np.mean(np.array(sums) >= observed), np.mean(np.array(sums) <= observed)
    assert row["p"] == pytest.approx(min(2 * min(tails), 1))


def test_a_word_that_scores_high_is_found_and_one_that_does_not_is_not():
    rng = np.random.default_rng(9)
    records = random_records(300, rng)
    plain = top_counts(occurrences(records), "TATA", top=2)
    assert plain.iloc[0]["p"] > 0.01
    raised = {
        name: (label, tokens, tuple(np.add(scores, 2 * (np.array(tokens) == "CC"))))
        for name, (label, tokens, scores) in records.items()
    }
    row = top_counts(occurrences(raised), "CC", top=2).iloc[0]
    assert row["p"] < 1e-6
    assert row["low"] > 1


def test_p_values_of_chance_are_uniform():
    rng = np.random.default_rng(2)
    p = [
        top_counts(occurrences(random_records(40, rng)), "TATA", top=2).iloc[0]["p"]
        for _ in range(100)
    ]
    assert np.mean(np.array(p) < 0.1) < 0.2
    assert np.mean(np.array(p) < 0.5) > 0.25


def test_agreement_in_sign_turns_with_the_class():
    rng = np.random.default_rng(3)
    frame = occurrences(random_records(80, rng))
    pair = same_signs(frame, frame, top=3)
    assert pair.tokens == pair.same == 5
    assert same_signs(frame, frame.assign(score=-frame["score"]), top=3) == (5, 0)


def test_words_that_borders_cut_by_hand():
    # GTATAC: whole in none; TATA|TA: at 0 whole, at 2 cut.
    records = {"x": (YES, ("GTA", "TAC"), (1.0, 1.0)), "y": (NO, ("TATA", "TA"), (1.0, 1.0))}
    assert whole_words(occurrences(records), "TATA", ["GTATAC", "TATATA"]) == (3, 1)


def test_what_cannot_be_counted_is_refused():
    frame = occurrences(BY_HAND)
    with pytest.raises(ConfigError, match="top = 0: at least 1 token"):
        top_counts(frame, "TATA", top=0)
    with pytest.raises(DataError, match="There are no occurrences"):
        top_signs(frame.iloc[:0], "TATA")
    with pytest.raises(DataError, match="stand apart"):
        repeats(frame.iloc[[0, 5, 1]])
