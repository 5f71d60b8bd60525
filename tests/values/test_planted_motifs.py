"""Planted motifs: truth is where it is said, rules hold, and the log-odds are Bayes' rule."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from basewise.data import GRAMMARS
from basewise.data.planted import MotifGrammar
from basewise.errors import ConfigError, DataError
from basewise.study.datasets import Grammar
from basewise.types import Record

A, B = "ACGTTGCA", "GGATCCTT"


def grammar(**settings) -> MotifGrammar:
    return MotifGrammar(**({"length": 120, "width": 8} | settings))


def obeying(records: list[Record]) -> list[Record]:
    return [record for record in records if record.label == "motif"]


def spelled(record: Record, name: str) -> list[str]:
    return [record.sequence[s.start : s.end] for s in record.truth if s.name == name]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"copies": 3, "slots": 6},
        {"copies": 0, "slots": 5, "regular": True},
        {"jitter": 4},
        {"rule": "and", "slots": 4},
        {"rule": "or", "slots": 2},
        {"rule": "order", "slots": 3},
        {"rule": "spacing", "gap": 7},
        {"decoys": 3, "slots": 6},
    ],
    ids=str,
)
def test_truth_spells_the_motifs_and_only_the_rule_makes_truth(settings):
    made = grammar(**settings)
    records = made.make(201, seed=3)
    assert len({record.id for record in records}) == 201
    assert {len(record) for record in records} == {120}
    assert sum(record.label == "motif" for record in records) == 101
    for record in records:
        assert bool(record.truth) == (record.label == "motif")
        assert list(record.truth) == sorted(record.truth)
        for start, end, name in record.truth:
            assert record.sequence[start:end] == made.motifs[name]


@pytest.mark.parametrize("copies", [1, 4, 6])
def test_as_many_copies_as_asked_for_each_in_its_slot(copies):
    for record in obeying(grammar(copies=copies, slots=6).make(60, seed=1)):
        assert len(record.truth) == copies
        assert len({span.start // 20 for span in record.truth}) == copies
        assert all(span.start // 20 == (span.end - 1) // 20 for span in record.truth)


def test_regular_copies_return_after_every_slot():
    for record in obeying(grammar(copies=0, slots=5, regular=True).make(40, seed=1)):
        assert np.diff([span.start for span in record.truth]).tolist() == [24] * 4


def test_a_motif_anywhere_is_as_often_at_every_place():
    starts = [r.truth[0].start for r in obeying(grammar(length=20).make(26_000, seed=2))]
    counts = np.bincount(starts, minlength=13)
    assert counts.shape == (13,)
    assert abs(counts - 1000).max() < 5 * np.sqrt(1000)


@pytest.mark.parametrize("jitter", [0, 3])
def test_jitter_moves_the_motif_from_the_middle(jitter):
    starts = {r.truth[0].start for r in obeying(grammar(jitter=jitter).make(400, seed=2))}
    assert starts == set(range(56 - jitter, 57 + jitter))


def test_rules_hold_by_construction():
    def motifs(record: Record, made: MotifGrammar) -> list[str]:
        """In their order, found in the letters and not in the truth."""
        places = {name: record.sequence.find(motif) for name, motif in made.motifs.items()}
        return sorted((name for name, at in places.items() if at >= 0), key=places.__getitem__)

    every = {}
    for rule in ("and", "or", "order"):
        made = grammar(rule=rule, slots=3, width=10)
        for label in ("motif", "background"):
            some = [r for r in made.make(400, seed=5) if r.label == label]
            every[rule, label] = {tuple(motifs(record, made)) for record in some}
    both = {("A", "B"), ("B", "A")}
    assert every["and", "motif"] == both
    assert every["and", "background"] == {("A",), ("B",), ()}
    assert every["or", "motif"] == both | {("A",), ("B",)}
    assert every["or", "background"] == {()}
    assert every["order", "motif"] == {("A", "B")}
    assert every["order", "background"] == {("B", "A")}


def test_spacing_is_what_tells_the_classes():
    made = grammar(rule="spacing", gap=6, width=10)
    gaps: dict[str, set[int]] = {"motif": set(), "background": set()}
    for record in made.make(300, seed=5):
        first, second = (record.sequence.index(made.motifs[name]) for name in "AB")
        gaps[str(record.label)].add(second - first - 10)
    assert gaps == {"motif": {6}, "background": {11, 16}}


def test_decoys_are_in_both_classes_and_not_in_truth():
    made = grammar(decoys=4, slots=6, width=10)
    decoy = made._words()["decoy"].parts[0][2]
    assert sorted(decoy) == sorted(made.motifs["motif"])
    assert decoy != made.motifs["motif"]
    for record in made.make(80, seed=8):
        assert record.sequence.count(decoy) >= 4
        for span in record.truth:
            assert span.name == "motif"
            assert record.sequence[span.start : span.end] != decoy


def test_purity_makes_bases_of_one_draw_a():
    motifs = [grammar(width=30, purity=p).motifs["motif"] for p in (0, 1 / 3, 2 / 3, 1)]
    assert motifs[-1] == "A" * 30
    for less, more in itertools.pairwise(motifs):
        changed = [(a, b) for a, b in zip(less, more, strict=True) if a != b]
        assert changed
        assert {b for _, b in changed} == {"A"}
    assert grammar(draw=1).motifs != grammar(draw=2).motifs


def test_mutations_change_as_many_bases_as_asked_for():
    made = grammar(motif=A, mutation=0.3)
    letters = np.array([list(spelled(r, "motif")[0]) for r in obeying(made.make(8000, seed=1))])
    changed = letters != np.array(list(A))
    assert changed.mean(0) == pytest.approx(np.full(8, 0.3), abs=0.03)
    assert {"C", "G", "T"} == set(letters[changed[:, 0], 0])


def by_enumeration(made: MotifGrammar, sequence: str, error: float = 0.01) -> float:
    """The log-odds from the likelihood of every single way to place words, with plain loops."""

    def likelihood(placed) -> float:
        found = 1.0
        for name, start in placed:
            for _, at, letters in made._words()[name].parts:
                for j, letter in enumerate(letters):
                    seen = sequence[start + at + j]
                    same = 1 - made.mutation if seen == letter else made.mutation / 3
                    found *= 1.0 if seen == "N" else 4 * same
        return found

    size = made.length // made.slots

    def starts(name: str, slot: int) -> list[int]:
        width = made._words()[name].width
        if made.jitter is not None:
            middle = (made.length - width) // 2
            return list(range(middle - made.jitter, middle + made.jitter + 1))
        if made.regular:  # at the same place, which has to fit the widest
            width = max(word.width for word in made._words().values())
        return [slot * size + i for i in range(size - width + 1)]

    either = []
    for layouts in made._layouts():
        means = []
        for layout in layouts:
            names = [name for name, count in layout.counts.items() for _ in range(count)]
            values = []
            for slots in itertools.permutations(range(made.slots), len(names)):
                own = [s for s, name in zip(slots, names, strict=True) if name != "decoy"]
                if layout.ordered and own != sorted(own):
                    continue
                every = [starts(name, s) for name, s in zip(names, slots, strict=True)]
                ways = zip(*every, strict=True) if made.regular else itertools.product(*every)
                values += [likelihood(list(zip(names, way, strict=True))) for way in ways]
            means.append(np.mean(values) if names else 1.0)
        either.append((1 - error) * np.mean(means) + error)
    return float(np.log(either[0] / either[1]))


@pytest.mark.parametrize(
    "settings",
    [
        {"length": 13},
        {"length": 13, "jitter": 2},
        {"length": 24, "slots": 4, "copies": 2},
        {"length": 24, "slots": 3, "copies": 0, "regular": True},
        {"length": 18, "slots": 3, "rule": "and"},
        {"length": 18, "slots": 3, "rule": "or"},
        {"length": 18, "slots": 3, "rule": "order", "decoys": 1},
        {"length": 24, "rule": "spacing", "gap": 2},
        {"length": 24, "slots": 4, "copies": 1, "decoys": 2},
        {"length": 44, "slots": 2, "rule": "spacing", "gap": 0, "decoys": 1, "regular": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("mutation", [0.0, 0.2])
def test_the_log_odds_are_those_of_enumeration(settings, mutation):
    made = MotifGrammar(width=4, mutation=mutation, **settings)
    sequences = [record.sequence for record in made.make(12, seed=4)]
    sequences.append("N" * 5 + sequences[0][5:])
    expected = [by_enumeration(made, sequence) for sequence in sequences]
    assert made.log_odds(sequences) == pytest.approx(expected, abs=1e-9)
    assert max(expected) > 0 > min(expected)


def test_nothing_known_is_no_evidence_and_lengths_are_checked():
    made = grammar(rule="and", slots=4)
    assert made.log_odds(["N" * 120]) == pytest.approx([0.0], abs=1e-12)
    with pytest.raises(DataError, match="A sequence of 4 bases; the grammar's have 120"):
        made.log_odds(["ACGT"])


def test_the_log_odds_tell_the_classes_as_well_as_can_be():
    from sklearn.metrics import roc_auc_score

    made = grammar(length=100, mutation=0.25)
    records = made.make(1500, seed=5)
    label = [record.label == "motif" for record in records]
    best = roc_auc_score(label, made.log_odds([r.sequence for r in records]))
    counted = [max(sum(a == b for a, b in zip(r.sequence[i:], made.motifs["motif"], strict=False))
                   for i in range(93)) for r in records]  # fmt: skip
    assert 0.75 < roc_auc_score(label, counted) <= best + 0.005 < 0.99


def test_twenty_copies_of_thirty_bases_are_no_overflow():
    made = MotifGrammar(length=2000, width=30, copies=0, slots=20)
    found = made.log_odds([record.sequence for record in made.make(6, seed=1)])
    assert np.isfinite(found).all()
    assert found.max() > 500


def test_a_study_of_planted_motifs_has_no_start_site():
    assert Grammar(grammar={"type": "motif"}).tss is None


def test_equal_seeds_give_equal_records():
    made = GRAMMARS.build({"type": "motif", "decoys": 2, "slots": 4})
    assert made.make(5, seed=1) == made.make(5, seed=1)
    assert made.make(5, seed=1)[0].sequence != made.make(5, seed=2)[0].sequence
    assert made.make(0, seed=1) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "and"}, "2 words need as many slots; slots = 1"),
        ({"slots": 20}, "8 bases are planted together, and a slot has 6: raise length or lower"),
        ({"rule": "spacing", "gap": 100}, "126 bases are planted together, and a slot has 120"),
        ({"rule": "or", "slots": 2, "copies": 2}, "copies = 2 is for the rule 'single', not 'or'"),
        ({"jitter": 3, "slots": 2}, "jitter is of one motif in the middle"),
        ({"motif": "AXC"}, "motif = 'AXC': a motif is spelled in two or more letters of ACGT"),
        ({"decoys": 2, "slots": 2}, "3 words need as many slots; slots = 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message: str):
    with pytest.raises(ConfigError, match=message):
        grammar(**settings)
    with pytest.raises(ConfigError, match="n = -1: how many"):
        grammar().make(-1, seed=0)
