"""The audit's arithmetic against slow, plain enumeration."""

from __future__ import annotations

from itertools import combinations, groupby, pairwise
from math import isclose, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewise.checks import Audit, Finding, Split, metrics_possible
from basewise.checks.blocks import Blocks, aligned_pairs, chance_pairs, shared_runs
from basewise.checks.near_duplicates import near_pairs
from basewise.checks.published import METRICS, READINGS
from basewise.checks.text import Text, turned
from basewise.sequence.alphabet import reverse_complement
from basewise.stats import Estimate

dna = st.text("ACGT", min_size=1, max_size=14)
masked = st.text("ACGTN", min_size=1, max_size=14)


@given(st.lists(masked, min_size=1, max_size=6), st.integers(1, 5))
def test_words_are_all_substrings_of_known_bases(sequences: list[str], k: int) -> None:
    words = Text.of(sequences).words(k)
    found = sorted(
        zip(words.row.tolist(), words.position.tolist(), words.number.tolist(), strict=True)
    )
    expected = sorted(
        (row, at, int("".join("0123"["ACGT".index(b)] for b in s[at : at + k]), 4))
        for row, s in enumerate(sequences)
        for at in range(len(s) - k + 1)
        if "N" not in s[at : at + k]
    )
    assert found == expected


@given(st.lists(masked, min_size=1, max_size=5))
def test_the_other_strand_of_a_text_is_that_of_each_row(sequences: list[str]) -> None:
    other = [str(reverse_complement(s)) for s in sequences]
    assert turned(sequences) == other
    text, expected = Text.of(sequences).reverse_complement(), Text.of(other)
    rows = np.arange(len(sequences))
    assert (text.rows(rows, 14) == expected.rows(rows, 14)).all()
    assert text.length.tolist() == expected.length.tolist()


def contained(a: str, b: str, shift: int) -> float:
    pairs = [(a[t + shift], b[t]) for t in range(len(b)) if 0 <= t + shift < len(a)]
    equal = sum(x == y != "N" for x, y in pairs)
    return (equal - (len(pairs) - equal) / 3) / min(len(a), len(b))


@settings(deadline=None)
@given(
    st.lists(masked, min_size=1, max_size=4),
    st.lists(masked, min_size=1, max_size=3),
    st.integers(2, 5),
)
def test_near_pairs_are_all_diagonals_with_a_shared_word(
    here: list[str], there: list[str], word: int
) -> None:
    found = near_pairs(Text.of(here), Text.of(there), word, repeat=1000)
    expected = {}
    for i, a in enumerate(here):
        for other, strand in ((False, a), (True, str(reverse_complement(a)))):
            for j, b in enumerate(there):
                for s in range(len(a) - word + 1):
                    for t in range(len(b) - word + 1):
                        if strand[s : s + word] == b[t : t + word] and "N" not in b[t : t + word]:
                            expected[i, j, other, s - t] = contained(strand, b, s - t)
    keys = zip(found.a, found.b, found.other_strand, found["shift"], strict=True)
    assert dict(zip(keys, found.containment, strict=True)) == pytest.approx(expected)


@given(
    st.text("ACGT", min_size=4, max_size=9),
    st.text("ACGT", max_size=6),
    st.text("ACGT", max_size=5),
)
def test_a_sequence_within_another_is_found_at_its_place_on_both_strands(
    core: str, before: str, behind: str
) -> None:
    for strand, at in (
        (before + core + behind, len(before)),
        (str(reverse_complement(before + core + behind)), len(behind)),
    ):
        for pair in ((strand, core), (core, strand)):
            found = near_pairs(*(Text.of([s]) for s in pair), word=4, repeat=1000)
            found = found[found.containment == 1]
            for start, end, other in zip(found.start, found.end, found.other_strand, strict=True):
                piece = strand[start:end]
                assert (str(reverse_complement(piece)) if other else piece) == core
            assert at in set(found.start)


@given(st.lists(st.text("ACN", min_size=1, max_size=9), min_size=1, max_size=6), st.integers(2, 4))
def test_aligned_pairs_and_runs_are_those_of_plain_comparison(
    sequences: list[str], word: int
) -> None:
    text = Text.of(sequences)
    i, j = aligned_pairs(text, word, repeat=1000)
    runs = shared_runs(text, i, j, word)
    pairs, expected = set(), []
    for a, b in combinations(range(len(sequences)), 2):
        equal = [x == y != "N" for x, y in zip(sequences[a], sequences[b], strict=False)]
        at = 0
        for agree, run in groupby(equal):
            end = at + len(list(run))
            if agree and end - at >= word:
                pairs.add((a, b))
                expected.append((a, b, at, end, at > 0, end < len(equal)))
            at = end
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == pairs
    assert sorted(runs.itertuples(index=False, name=None)) == sorted(expected)


def test_words_of_many_rows_are_passed_over() -> None:
    text = Text.of(["AAAACCCC"] * 4 + ["AAAAGGGG"] * 2)
    i, j = aligned_pairs(text, 4, repeat=4)
    every = {(a, b) for a in range(6) for b in range(a + 1, 6)}
    between = {(a, b) for a in range(4) for b in (4, 5)}
    assert set(zip(i.tolist(), j.tolist(), strict=True)) == every - between
    assert len(aligned_pairs(text, 4, repeat=6)[0]) == len(every)


@given(st.text("ACGTN", min_size=13, max_size=13), st.text("ACGTN", min_size=6, max_size=13))
def test_blocks_are_kept_when_every_base_is_equal(a: str, b: str) -> None:
    cuts = [0, 5, 11, 13]  # a block too short to tell at the end
    blocks = Blocks.compare(Text.of([a, b]), np.array([0]), np.array([1]), np.array(cuts))
    kept = []
    for start, end in pairwise(cuts):
        x, y = a[start : min(end, len(b))], b[start:end]
        kept.append(len(y) >= 5 and x == y and "N" not in x)
    assert blocks.kept.tolist() == [kept]
    number = [sum(t >= c for c in cuts[1:]) for t in range(len(a))]
    changed = [t < len(b) and not kept[number[t]] and "N" not in a[t] + b[t] for t in range(len(a))]
    assert blocks.exchanged.tolist() == [changed]
    if any(changed):
        share = np.mean([a[t] == b[t] for t in range(len(b)) if changed[t]])
        assert isclose(blocks.agreement()[0], share)


@given(st.lists(st.integers(5, 20), min_size=1, max_size=7), st.floats(0.25, 0.4))
def test_chance_of_blocks_sums_over_all_sets(sizes: list[int], alike: float) -> None:
    expected = [
        1000 * sum(prod(alike**size for size in some) for some in combinations(sizes, m))
        for m in range(len(sizes) + 1)
    ]
    assert chance_pairs(np.array(sizes), alike, 1000) == pytest.approx(expected)


def by_hand(tp: int, tn: int, positives: int, negatives: int, reading: str) -> dict[str, float]:
    """Every metric of one confusion matrix, written out."""
    fn, fp, n = positives - tp, negatives - tn, positives + negatives
    over = lambda x, y: x / y if y else 0.0  # noqa: E731
    precision = over(tp, tp + fp), over(tn, tn + fn)
    recall = tp / positives, tn / negatives
    f1 = tuple(over(2 * p * r, p + r) for p, r in zip(precision, recall, strict=True))
    spread = ((tp + fp) * (tn + fn) * positives * negatives) ** 0.5
    plain = {
        "accuracy": (tp + tn) / n,
        "balanced_accuracy": sum(recall) / 2,
        "specificity": recall[1],
        "mcc": over(tp * tn - fp * fn, spread),
    }

    def read(pair: tuple[float, ...]) -> float:
        return {
            "positive": pair[0],
            "negative": pair[1],
            "weighted": (positives * pair[0] + negatives * pair[1]) / n,
        }.get(reading, sum(pair) / 2)

    averaged = {"precision": read(precision), "recall": read(recall), "f1": read(f1)}
    if reading == "macro_means":
        p, r = sum(precision) / 2, sum(recall) / 2
        averaged["f1"] = over(2 * p * r, p + r)
    return plain | averaged


@settings(deadline=None)
@given(
    st.integers(1, 7),
    st.integers(1, 9),
    st.lists(st.sampled_from(METRICS), min_size=2, max_size=4, unique=True),
    st.integers(1, 3),
    st.data(),
)
def test_metrics_are_possible_exactly_when_enumeration_says_so(
    positives: int, negatives: int, names: list[str], digits: int, data: st.DataObject
) -> None:
    if data.draw(st.booleans(), "from a real matrix"):
        tp, tn = data.draw(st.integers(0, positives)), data.draw(st.integers(0, negatives))
        of = by_hand(tp, tn, positives, negatives, data.draw(st.sampled_from(list(READINGS))))
        values = {name: round(of[name], digits) for name in names}
    else:
        values = {name: data.draw(st.integers(0, 10**digits)) / 10**digits for name in names}
    found = metrics_possible(values, positives=positives, negatives=negatives, digits=digits)
    averaged = {"f1", "precision", "recall"} & set(names)
    readings = list(READINGS) if averaged else ["positive"]
    half = 0.5 * 10**-digits
    errors = {}
    for reading in readings:
        if reading == "macro_means" and "f1" not in names:
            continue
        for tp in range(positives + 1):
            for tn in range(negatives + 1):
                of = by_hand(tp, tn, positives, negatives, reading)
                errors[reading, tp, tn] = max(abs(of[m] - v) / half for m, v in values.items())
    fitting = {key for key, error in errors.items() if error <= 1 + 1e-9}
    rows = found.matrices
    assert {*zip(rows.reading, rows.tp, rows.tn, strict=True)} == fitting
    assert (rows.tp + rows.fn == positives).all()
    assert (rows.tn + rows.fp == negatives).all()
    assert found.possible == bool(fitting)
    if not fitting:
        near = found.nearest
        assert near["error"] == pytest.approx(min(errors.values()))
        assert errors[near["reading"], near["tp"], near["tn"]] == pytest.approx(near["error"])


number = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | number | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.text(),
    st.dictionaries(st.text(), st.tuples(number, number, number, st.integers(0)), max_size=3),
    st.dictionaries(st.text(), plain, max_size=3),
    st.lists(st.text(), max_size=2),
)
def test_json_gives_back_an_equal_audit(sentence, effect, evidence, examples) -> None:
    finding = Finding(
        check="duplicates",
        severity="warning",
        title="t",
        sentence=sentence,
        n=3,
        effect={name: Estimate(*parts) for name, parts in effect.items()},
        evidence=evidence,
        examples=tuple(examples),
    )
    whole = Audit((finding,), (Split("train", 5, 4, 1, 9, 0, {"a": 2, "b": 3}),))
    assert Audit.from_json(whole.to_json()) == whole
