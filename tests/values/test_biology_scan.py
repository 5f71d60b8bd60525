"""Scanning and exact p values against regular expressions and full enumeration."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from basewise import Record
from basewise.errors import DataError
from basewise.motifs.motif import IUPAC, Motif
from basewise.motifs.pvalue import (
    STEPS_PER_BIT,
    integer_scores,
    pattern_probability,
    score_table,
)
from basewise.motifs.scan import HITS, Scanner, in_window, scan
from basewise.sequence.alphabet import encode, reverse_complement

BACKGROUND = np.array([0.3, 0.2, 0.15, 0.35])


def random_records(rng, lengths, letters="ACGT"):
    return [
        Record(f"r{i}", "".join(rng.choice(list(letters), length)))
        for i, length in enumerate(lengths)
    ]


def test_p_values_equal_full_enumeration():
    motif = Motif("m", np.random.default_rng(3).dirichlet([0.4] * 4, 6))
    scores = integer_scores(motif, BACKGROUND)
    table = score_table(scores, BACKGROUND)
    words = np.array(list(itertools.product(range(4), repeat=6)))
    total = scores[np.arange(6), words].sum(1)
    chance = BACKGROUND[words].prod(1)
    for score in np.unique(total):
        expected = chance[total >= score].sum()
        assert table.p_value(score) == pytest.approx(expected, rel=1e-9)
    for p in [0.5, 0.01, 1e-3]:
        threshold = table.threshold(p)
        assert chance[total >= threshold].sum() <= p
        assert chance[total >= total[total < threshold].max()].sum() > p
    assert table.threshold(chance[total == total.max()].sum() / 2) is None


def test_one_p_value_by_hand():
    # One base, A with probability 1/2 and C, G, T with 1/6 each: A scores one bit (less the
    # smoothing), and one random base in four is an A.
    motif = Motif("m", [[0.5, 1 / 6, 1 / 6, 1 / 6]])
    scores = integer_scores(motif)
    assert scores[0].tolist() == [100, -58, -58, -58]
    table = score_table(scores)
    assert table.p_value(100) == 0.25
    assert table.p_value(-58) == 1
    assert table.threshold(0.3) == -57  # the smallest whole number that only A reaches
    assert pattern_probability("TATAWAW") == pytest.approx(4 / 4**7)


def expected_pattern_hits(record, motif, name):
    """The same hits from overlapping regular expressions."""
    found = []
    for strand in "+-" if motif.strands == "both" else "+":
        way = motif if strand == "+" else motif.reverse_complement()
        expression = "".join(f"[{IUPAC[letter]}]" for letter in way.pattern)
        found += [
            (record.id, name, hit.start(), hit.start() + len(motif), strand)
            for hit in re.finditer(f"(?={expression})", record.sequence)
        ]
    return found


def test_patterns_hit_where_regular_expressions_match():
    rng = np.random.default_rng(1)
    records = random_records(rng, [40, 3, 0, 211, 7], "ACGTN")
    motifs = [
        Motif.from_iupac("TATA", "TATAWAW", strands="+"),
        Motif.from_iupac("any", "RYN"),
        Motif.from_iupac("GC", "GGSS"),
        Motif.from_iupac("self", "WGCW"),
    ]
    hits = scan(records, motifs)
    assert tuple(hits.columns) == HITS
    expected = [
        row
        for m in motifs
        for record in records
        for row in expected_pattern_hits(record, m, m.name)
    ]
    assert len(expected) > 50
    found = list(
        hits[["record_id", "motif", "start", "end", "strand"]].itertuples(index=False, name=None)
    )
    assert sorted(found) == sorted(expected)
    assert hits["p"].to_numpy() == pytest.approx(
        hits["motif"].map({m.name: pattern_probability(m.pattern) for m in motifs}).to_numpy()
    )


def test_matrices_hit_where_every_word_is_scored_one_by_one():
    rng = np.random.default_rng(2)
    records = random_records(rng, [420, 5, 361, 4], "ACGTACGTN")
    motifs = [
        Motif("five", rng.dirichlet([0.3] * 4, 5)),
        Motif("nine", rng.dirichlet([0.8] * 4, 9), strands="+"),
        Motif.from_iupac("pattern", "NCA"),
    ]
    p = 0.02
    hits = scan(records, motifs, p=p, background=BACKGROUND)
    expected = []
    for motif in motifs[:2]:
        scores = integer_scores(motif, BACKGROUND)
        table = score_table(scores, BACKGROUND)
        for record in records:
            for start in range(len(record) - len(motif) + 1):
                word = record.sequence[start : start + len(motif)]
                for strand in "+-" if motif.strands == "both" else "+":
                    codes = encode(word if strand == "+" else reverse_complement(word))
                    if (codes > 3).any():
                        continue
                    score = scores[np.arange(len(motif)), codes].sum()
                    if table.p_value(score) <= p:
                        bits = score / STEPS_PER_BIT
                        expected.append((record.id, motif.name, start, strand, bits))
    assert len(expected) > 10
    matrices = hits[hits["motif"] != "pattern"]
    found = list(
        matrices[["record_id", "motif", "start", "strand", "score"]].itertuples(
            index=False, name=None
        )
    )
    assert sorted(found) == sorted(expected)
    assert (matrices["p"] <= p).all()


def test_hits_do_not_depend_on_how_work_is_cut(monkeypatch):
    rng = np.random.default_rng(4)
    records = random_records(rng, [50] * 13)
    motifs = [Motif(f"m{i}", rng.dirichlet([0.3] * 4, 4 + i)) for i in range(7)]
    whole = scan(records, motifs, p=0.02)
    monkeypatch.setattr("basewise.motifs.scan._WORDS", 17)
    monkeypatch.setattr("basewise.motifs.scan._ROWS", 3)
    assert scan(records, motifs, p=0.02).equals(whole)
    assert len(whole) > 100


def test_the_other_strand_mirrors_every_hit():
    rng = np.random.default_rng(5)
    record = random_records(rng, [90])[0]
    mirrored = Record("r0", reverse_complement(record.sequence))
    motifs = [Motif("m", rng.dirichlet([0.5] * 4, 5)), Motif.from_iupac("p", "GGNA")]
    here = scan([record], motifs, p=0.05)
    there = scan([mirrored], motifs, p=0.05)
    turned = here.assign(
        start=90 - here["end"],
        end=90 - here["start"],
        strand=here["strand"].map({"+": "-", "-": "+"}),
    )
    order = ["motif", "start", "strand"]
    assert len(here) > 5
    assert turned.sort_values(order, ignore_index=True)[list(HITS)].equals(
        there.sort_values(order, ignore_index=True)[list(HITS)]
    )


def test_windows_keep_whole_hits_only():
    #         +1 is index 4; TA starts at 0, 2, 4, 6.
    record = Record("a", "TATATATA")
    inside = Motif.from_iupac("in", "TA", window=(-2, 2), strands="+")
    anywhere = Motif.from_iupac("all", "TA", strands="+")
    hits = scan([record], [inside, anywhere])
    kept = in_window(hits, [inside, anywhere], tss=4)
    assert kept[kept["motif"] == "in"]["start"].tolist() == [2, 4]
    assert kept[kept["motif"] == "all"]["start"].tolist() == [0, 2, 4, 6]


def test_nothing_to_find_gives_an_empty_table():
    motif = Motif.from_iupac("m", "GATTACA")
    for records in [[], [Record("a", "ACG")], [Record("a", "N" * 30)]]:
        hits = scan(records, [motif])
        assert tuple(hits.columns) == HITS
        assert len(hits) == 0
        assert len(in_window(hits, [motif], tss=0)) == 0
    assert len(scan([Record("a", "ACG")], [])) == 0


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: Scanner([], p=0), r"p is 0; a hit's p value must lie in \(0, 1\]"),
        (lambda: Scanner([], background=(0.5, 0.5, 0, 0)), "needs four positive probabilities"),
        (lambda: Scanner([Motif.from_iupac("a", "TA")] * 2), "Two motifs are named 'a'"),
        (
            lambda: scan([], [Motif("weak", [[0.25] * 4]), Motif.from_iupac("a", "TA")]),
            "No word of 1 of 2 motifs has a p value of 0.0001 or less .*'weak'.*raise p",
        ),
    ],
)
def test_bad_requests_are_refused_in_one_line(make, says):
    with pytest.raises(DataError, match=says) as error:
        make()
    assert "\n" not in str(error.value)
