"""Knock-out and knock-in: a model that wants a motif, one that does not, and edits by hand."""

from __future__ import annotations

import numpy as np
import pytest

from basewise import Model, Record
from basewise.biology.interventions import INTERVENTIONS, knock_in, knock_out
from basewise.errors import DataError
from basewise.motifs.motif import Motif
from basewise.sequence.alphabet import decode_rows, encode_rows

WANTED = Motif.from_iupac("wanted", "TGACT", window=(-10, 10), strands="+")
OTHER = Motif.from_iupac("other", "GGCAC", window=(-10, 10), strands="+")
RARE = Motif.from_iupac("rare", "ACGTACGTACGTACGT")
BASES, TSS, AT = 61, 30, 25


def records(n=80, seed=0):
    """Half carry each motif, in its window; lengths differ."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, (n, BASES)).astype(np.uint8)
    for rows, motif, at in ((slice(0, n, 2), WANTED, AT), (slice(0, n // 2), OTHER, AT + 7)):
        codes[rows, at : at + 5] = encode_rows([motif.pattern])[0]
    return [
        Record(f"r{i}", s[: BASES - i % 3], "ab"[i % 4 // 2])
        for i, s in enumerate(decode_rows(codes))
    ]


class Counted:
    """Wants the motif in its place: 3 more with it. Keeps what it was asked."""

    def __init__(self, effect=3.0):
        self.asked, self.effect = [], effect

    def __call__(self, sequences):
        self.asked += sequences
        place = slice(TSS - 10, TSS + 10)
        return [
            self.effect * (s[place].find("TGACT") >= 0) + 0.001 * s.count("G") for s in sequences
        ]


def wanting(effect=3.0):
    function = Counted(effect)
    return Model.from_callable(function, ["score"]), function


def ask(edit, model, motifs=(WANTED, OTHER), n=80, **settings):
    settings = {"target": "score", "tss": TSS, "flips": 999, "seed": 1} | settings
    return edit(model, records(n), motifs, **settings).set_index(["motif", "null"])


def test_removing_what_the_model_wants_costs_what_it_is_worth():
    model, function = wanting()
    table = ask(knock_out, model)
    assert list(table.reset_index().columns.sort_values()) == sorted(INTERVENTIONS)
    row = table.loc["wanted", "same sequence"]
    assert row["effect"] == pytest.approx(-3, abs=0.01)
    assert row["observed"] == pytest.approx(-3, abs=0.01)
    assert row["expected"] == pytest.approx(0, abs=0.01)
    assert row["low"] - 1e-9 <= row["effect"] <= row["high"] + 1e-9 < -2.9
    assert row["q"] < 0.01
    assert (row["measure"], row["edit"]) == ("value of score", "knock-out")
    assert 30 < row["with_hit"] <= 42
    assert table.loc["wanted", "same position"]["effect"] == pytest.approx(-3, abs=0.05)
    for null in ("same sequence", "same position"):
        other = table.loc["other", null]
        assert other["reason"] or not other["q"] < 0.05
    by_motif = table["evaluations"].groupby(level="motif").first().sum()
    assert len(function.asked) == by_motif + len(
        {r.id for r in records() if r.sequence in set(function.asked)}
    )


def test_a_knock_out_keeps_composition_length_and_everything_else():
    model, function = wanting()
    ask(knock_out, model, motifs=(WANTED,), n=40)
    originals = {r.sequence for r in records(40)}
    edited = [s for s in function.asked if s not in originals]
    assert len(edited) > 200
    for s in edited:
        near = min(
            (o for o in originals if len(o) == len(s)),
            key=lambda o: sum(a != b for a, b in zip(o, s, strict=True)),
        )
        differ = [i for i, (a, b) in enumerate(zip(near, s, strict=True)) if a != b]
        assert 1 < len(differ) <= 5
        assert differ[-1] - differ[0] < 5
        assert sorted(s) == sorted(near)


def test_writing_the_motif_in_brings_what_it_is_worth():
    table = ask(knock_in, wanting()[0])
    row = table.loc["wanted", "shuffled motif"]
    assert row["effect"] == pytest.approx(3, abs=0.02)
    assert (row["q"] < 0.01, row["edit"]) == (True, "knock-in")
    assert row["with_hit"] == row["n_null"] / 3
    assert row["evaluations"] == 6 * row["with_hit"]
    assert table.loc["other", "shuffled motif"]["reason"] or (
        abs(table.loc["other", "shuffled motif"]["effect"]) < 0.5
    )
    lacking = [r for r in records() if "TGACT" not in r.sequence[TSS - 10 : TSS + 11]]
    assert row["with_hit"] <= len(lacking)


def test_a_motif_is_written_where_it_is_asked_for():
    model, function = wanting()
    ask(knock_in, model, motifs=(WANTED,), at=22)
    originals = {r.sequence for r in records()}
    written = [s for s in function.asked if s not in originals]
    assert sum(s[22:27] == "TGACT" for s in written) == len(written) // 2
    with pytest.raises(DataError, match=r"'wanted' of 5 bases does not fit at 57 .* has 61 bases"):
        ask(knock_in, model, motifs=(WANTED,), at=57)


def test_numbers_do_not_hang_on_the_other_motifs_and_follow_the_seed():
    columns = ["observed", "expected", "n_null", "evaluations"]
    both = ask(knock_out, wanting()[0])[columns]
    alone = ask(knock_out, wanting()[0], motifs=(OTHER,))[columns]
    assert both.loc["other"].equals(alone.loc["other"])
    assert not both.equals(ask(knock_out, wanting()[0], seed=2)[columns])


def test_matrices_are_sampled_as_hits():
    matrix = np.array([[0.7, 0.1, 0.1, 0.1], [0, 0, 1, 0], [0, 1, 0, 0]] * 2)
    motif = Motif("soft", matrix, window=(-10, 10), strands="both")
    model, function = wanting()
    table = ask(knock_in, model, motifs=(motif,), p=1e-3)
    from basewise.motifs.scan import scan

    originals = {r.sequence for r in records()}
    written = [Record(str(i), s) for i, s in enumerate(function.asked) if s not in originals]
    hits = set(scan(written, [motif], p=1e-3)["record_id"])
    assert len(hits) >= table["evaluations"].iloc[0] / 2


@pytest.mark.parametrize("edit", [knock_out, knock_in])
def test_without_an_effect_little_is_called(edit):
    # Every edit moves this model at random: the null holds, and 5 % may be called.
    weights = np.random.default_rng(5).normal(size=(4, BASES))

    def rugged(sequences):
        at = [np.array(["ACGT".index(c) for c in s]) for s in sequences]
        return [np.sin(1e4 * weights[codes, np.arange(len(codes))].sum()) for codes in at]

    model, called = Model.from_callable(rugged, ["score"]), 0
    for seed in range(20):
        found = edit(model, records(60, seed), [WANTED, OTHER], target="score", tss=TSS, flips=199)
        called += bool((found["q"] < 0.05).any())
    assert called <= 4  # 99.7 % of times, at 5 %


def test_what_cannot_be_tested_says_why():
    table = ask(knock_out, wanting()[0], motifs=(RARE, WANTED), n=16)
    for null in ("same sequence", "same position"):
        assert table.loc["rare", null]["reason"] == (
            "10 sequences with a hit and matched controls are needed; there are 0"
        )
    assert "10 sequences" in table.loc["wanted", "same sequence"]["reason"]
    quiet = ask(knock_in, wanting(0.0)[0], motifs=(WANTED,))
    assert quiet["reason"].tolist() == ["the edits do not change the output"]
    everywhere = [Record(f"t{i}", "TGACT" * 5) for i in range(12)]
    full = knock_in(wanting()[0], everywhere, [Motif.from_iupac("w", "TGACT")], target="score")
    assert full["reason"].tolist() == [
        "10 sequences with room for the motif and none are needed; there are 0"
    ]


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"draws": 0}, r"draws is 0; at least 1 are needed"),
        ({"sequences": 9}, r"sequences is 9; at least 10 are needed"),
        ({"tss": 61}, r"The TSS \(index 61\) lies outside record 'r0' of 61 bases"),
        ({"tss": None}, r"Motif 'wanted' belongs at -10..\+10 of the TSS; give tss"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(settings, says):
    with pytest.raises(DataError, match=says) as error:
        ask(knock_out, wanting()[0], **settings)
    assert "\n" not in str(error.value)


def test_no_records_are_no_experiment():
    with pytest.raises(DataError, match="There are no records to edit"):
        knock_out(wanting()[0], [], [WANTED], target="score", tss=TSS)
