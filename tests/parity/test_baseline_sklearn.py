"""The k-mer baseline against scikit-learn's own word counts and classifier."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from basewise.errors import ConfigError, DataError
from basewise.train.baseline import KmerBaseline, kmer_shares
from basewise.types import Record


def sequences(n: int, classes: tuple[str, ...], seed: int, length: int = 30) -> list[Record]:
    """Each class prefers a letter of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(n):
        p = np.full(4, 0.2)
        p[i % len(classes)] = 0.4
        letters = "".join(rng.choice(list("ACGT"), length, p=p))
        found.append(Record(f"s{i}", letters, classes[i % len(classes)]))
    return found


@pytest.mark.parametrize("classes", [("other", "promoter"), ("x", "a", "m")])
def test_probabilities_are_those_of_sklearn_on_counts(classes):
    train, dev = sequences(150, classes, 1), sequences(60, classes, 2)
    found = KmerBaseline(k=2, strengths=[0.5]).fit(train, dev)
    words = CountVectorizer(analyzer="char", ngram_range=(2, 2), lowercase=False)
    counts = words.fit_transform([record.sequence for record in train])
    referee = LogisticRegression(C=0.5, max_iter=2000).fit(counts, [r.label for r in train])
    expected = referee.predict_proba(words.transform([record.sequence for record in dev]))
    assert found.labels == tuple(referee.classes_) == tuple(sorted(classes))
    np.testing.assert_allclose(found.predict(dev), expected, atol=2e-3)
    assert found.dev_mcc > 0.3


def test_the_penalty_is_chosen_on_dev():
    train, dev = sequences(80, ("a", "b"), 1, 12), sequences(200, ("a", "b"), 2, 12)
    each = {c: KmerBaseline(k=3, strengths=[c]).fit(train, dev).dev_mcc for c in (1e-3, 0.1, 50)}
    best = KmerBaseline(k=3, strengths=[50, 1e-3, 0.1]).fit(train, dev)
    assert best.dev_mcc == max(each.values())
    assert each[best.strength] == best.dev_mcc


def test_shares_of_every_length():
    records = [Record("a", "ACACA"), Record("b", "AC"), Record("c", "A"), Record("d", "ANCAC")]
    shares = kmer_shares(records, 2).toarray()
    assert shares.shape == (4, 16)
    ac, ca = 1, 4
    assert shares[:, ac].tolist() == [0.5, 1, 0, 0.5]
    assert shares[:, ca].tolist() == [0.5, 0, 0, 0.5]
    assert shares.sum() == 3


def test_length_is_no_feature():
    train, dev = sequences(80, ("a", "b"), 1), sequences(20, ("a", "b"), 2)
    found = KmerBaseline(k=1, strengths=[1.0]).fit(train, dev)
    once, thrice = Record("o", "AACGT"), Record("t", "AACGT" * 3)
    np.testing.assert_allclose(found.predict([once]), found.predict([thrice]))


@pytest.mark.parametrize(
    ("train", "dev", "said"),
    [
        ([Record("r", "ACGT")], [], "'r' has the label None; the baseline needs a class name"),
        ([], [], "No records to fit"),
        (sequences(4, ("a",), 1), sequences(4, ("a",), 1), "All 4 training records are 'a'; two"),
        (sequences(4, ("a", "b"), 1), sequences(3, ("a", "b", "c"), 1), "Class 'c' is in dev"),
    ],
)
def test_bad_records(train, dev, said):
    with pytest.raises(DataError, match=said):
        KmerBaseline().fit(train, dev)


def test_bad_settings():
    with pytest.raises(ConfigError, match="k = 9"):
        KmerBaseline(k=9)
    with pytest.raises(ConfigError, match="strengths"):
        KmerBaseline(strengths=[])
