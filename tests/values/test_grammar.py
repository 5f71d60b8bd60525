"""Synthetic promoters: the truth is where it is said, and k-mer counts do not give it away."""

from __future__ import annotations

import re

import numpy as np
import pytest

from basewise.data import GRAMMARS
from basewise.data.grammar import PromoterGrammar
from basewise.errors import ConfigError, DataError
from basewise.sequence.alphabet import encode_rows
from basewise.sequence.kmers import count_kmers

PATTERNS = {"GC_box": "GGGCGG", "TATA": "TATA[AT]A[AT]", "Inr": "[CGT][CGT]CA[CGT][AT]"}
PLACES = {"GC_box": range(-72, -47), "TATA": range(-33, -28), "Inr": range(-3, -2)}
SHORT = {"length": 150, "tss": 100}


def in_place(sequence: str, tss: int) -> list[str]:
    """The elements that stand where they belong, found without the truth."""
    return [
        name
        for name, pattern in PATTERNS.items()
        if any(re.match(pattern, sequence[tss + at :]) for at in PLACES[name])
    ]


@pytest.mark.parametrize("settings", [{}, SHORT, {"decoys": 0}])
def test_truth_spells_the_elements_in_their_places(settings):
    grammar = PromoterGrammar(**settings)
    records = grammar.make(301, seed=4)
    assert len({record.id for record in records}) == 301
    assert {len(record) for record in records} == {grammar.length}
    assert sum(record.label == "promoter" for record in records) == 151
    for record in records:
        if record.label == "non-promoter":
            assert record.truth == ()
            continue
        assert len(record.truth) >= 2
        assert list(record.truth) == sorted(record.truth)
        for start, end, name in record.truth:
            assert re.fullmatch(PATTERNS[name], record.sequence[start:end])
            assert start - grammar.tss in PLACES[name]


def test_positions_alone_tell_promoters():
    grammar = PromoterGrammar()
    records = grammar.make(1000, seed=5)
    right = [
        (len(in_place(r.sequence, grammar.tss)) >= 2) == (r.label == "promoter") for r in records
    ]
    assert np.mean(right) > 0.98


def test_both_classes_carry_the_same_number_of_elements():
    grammar = PromoterGrammar(gc_box=1, tata=1, inr=1, decoys=2)
    records = grammar.make(400, seed=6)
    for name in ("GC_box", "TATA"):
        counts = {"promoter": 0, "non-promoter": 0}
        for record in records:
            found = len(re.findall(PATTERNS[name], record.sequence))
            assert found >= 3
            counts[record.label] += found
        assert abs(counts["promoter"] - counts["non-promoter"]) < 0.05 * counts["promoter"]


def test_decoys_stand_outside_the_window_of_their_element():
    grammar = PromoterGrammar(gc_box=1, tata=1, inr=1)
    negatives = [r for r in grammar.make(400, seed=6) if r.label == "non-promoter"]
    # TATA by chance in a window of five starts: 5 / 4**6, four in a thousand sequences.
    assert sum("TATA" in in_place(r.sequence, grammar.tss) for r in negatives) <= 4


def test_counts_of_kmers_do_not_tell_promoters():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    records = PromoterGrammar(**SHORT).make(2000, seed=7)
    counts = count_kmers(encode_rows([r.sequence for r in records]), 4)
    label = np.array([r.label == "promoter" for r in records])
    model = LogisticRegression(C=0.01, max_iter=300).fit(counts[:1400], label[:1400])
    assert 0.4 < roc_auc_score(label[1400:], model.decision_function(counts[1400:])) < 0.6


def test_equal_seeds_give_equal_records():
    grammar = GRAMMARS.build("promoter")
    assert grammar.make(5, seed=1) == grammar.make(5, seed=1)
    assert grammar.make(5, seed=1)[0].sequence != grammar.make(5, seed=2)[0].sequence
    assert grammar.make(0, seed=1) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tss": 30}, "elements need bases -42 to 33 of 300: tss from 72 to 297 fits"),
        ({"length": 150, "tss": 148}, "elements need bases 76 to 151 of 150"),
        ({"decoys": 9}, "9 decoys of each element need more room: Inr can stand at 25 places"),
        ({"tata": 0, "inr": 0}, "at_least = 2 elements, but fewer have a probability"),
        ({"inr": 1.2}, "inr = 1.2: input should be less than or equal to 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message: str):
    with pytest.raises(ConfigError, match=message):
        PromoterGrammar(**settings)
    with pytest.raises(ConfigError, match="n = -1: how many"):
        PromoterGrammar().make(-1, seed=0)


def test_the_log_odds_of_one_element_by_hand() -> None:
    grammar = PromoterGrammar(length=120, tss=80, gc_box=0, tata=0, inr=1, at_least=1, decoys=0)
    base = "A" * 77 + "TCCAGT" + "A" * 37  # BBCABW, A at the base +1
    with_inr = np.log(0.99 * (4 / 3) ** 3 * 4**2 * 2 + 0.01)  # two letters in full, W in half
    unknown = base[:80] + "N" + base[81:]
    found = grammar.log_odds([base, base.replace("CCA", "CGA"), unknown])
    assert found == pytest.approx(
        [with_inr, np.log(0.01), np.log(0.99 * (4 / 3) ** 3 * 4 * 2 + 0.01)]
    )
    with pytest.raises(DataError, match="A sequence of 4 bases; the grammar's have 120"):
        grammar.log_odds(["ACGT"])


def test_the_log_odds_tell_promoters_as_well_as_can_be() -> None:
    grammar = PromoterGrammar(length=150, tss=110)
    records = grammar.make(400, 5)
    found = grammar.log_odds([record.sequence for record in records])
    right = (found > 0) == np.array([record.label == "promoter" for record in records])
    assert right.mean() > 0.99
