"""The match of scores with a motif: by hand, and its chance level by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from basewise.data.planted import MotifGrammar
from basewise.errors import DataError
from basewise.evaluate.spelling import HYPOTHETICAL_CHANCE, SPELLING, highest, spell
from basewise.types import Attribution, Record, Span, Target


def scored(record: Record, scores, hypothetical=None) -> Attribution:
    bases = np.arange(len(record))
    return Attribution(
        record_id=record.id,
        sequence=record.sequence,
        model="m",
        target=Target("motif"),
        method="by hand",
        kind="ranking",
        spans=np.stack([bases, bases + 1], axis=1),
        scores=np.asarray(scores, float),
        output=0.0,
        baseline=0.0,
        evaluations=0,
        seed=0,
        hypothetical=hypothetical,
    )


def test_the_match_by_hand():
    record = Record("r", "TACGA", truth=(Span(1, 4, "m"),))  # ACG, and the motif is ACT
    #                              T  A  C   G  A
    one = scored(record, [1, 2, 0, -1, -3])
    # A is above the others (1), C ties with them (1/4), and of T, A, C above G each has a third.
    (row,) = spell([record], [one], {"m": "ACT"}).itertuples(index=False)
    assert row._fields == SPELLING
    assert row.positions == 3
    assert row.match == pytest.approx((1 + 1 / 4 + 1 / 3) / 3)
    assert row.match_chance == pytest.approx((1 + 0) / 2)
    assert np.isnan(row.hypothetical_match)

    four = np.zeros((5, 4))
    four[1, 0], four[2, 3], four[3, 3] = 1.0, 2.0, 0.5  # A as it should be, T for C, T again
    (row,) = spell([record], [scored(record, np.zeros(5), four)], {"m": "ACT"}).itertuples()
    assert row.hypothetical_match == pytest.approx(2 / 3)


def test_ties_of_all_four_count_a_quarter():
    assert highest(np.zeros((3, 4)), np.array([0, 1, 3], np.uint8)).tolist() == [0.25] * 3


def test_chance_is_a_half_of_signed_scores_a_quarter_of_hypothetical_ones_and_1_of_magnitudes():
    made = MotifGrammar(length=60, width=20, copies=2, slots=2)
    records = [r for r in made.make(400, seed=1) if r.truth]
    rng = np.random.default_rng(7)
    some = [scored(r, rng.normal(size=60), rng.normal(size=(60, 4))) for r in records]
    found = spell(records, some, made.motifs)
    assert set(found["positions"]) == {40}
    for column, chance in (
        ("match", 0.5),
        ("match_chance", 0.5),
        ("hypothetical_match", HYPOTHETICAL_CHANCE),
    ):
        error = 4 * np.sqrt(0.25 / (200 * 20))
        assert found[column].mean() == pytest.approx(chance, abs=error)
    sizes = [scored(r, rng.random(60) + 0.1) for r in records]
    found = spell(records, sizes, made.motifs)
    assert found["match"].tolist() == found["match_chance"].tolist() == [1.0] * 200


def test_a_record_that_is_all_motif_has_no_chance_level():
    record = Record("r", "ACGT", truth=(Span(0, 4, "m"),))
    found = spell([record], [scored(record, [1, 1, 1, 1])], {"m": "ACGT"})
    assert found["match"].tolist() == [1.0]
    assert found["match_chance"].isna().all()


def test_what_does_not_belong_together_is_refused():
    record = Record("r", "ACGTA", truth=(Span(0, 4, "m"),))
    one = scored(record, np.zeros(5))
    with pytest.raises(DataError, match="1 records and 2 attributions"):
        spell([record], [one, one], {"m": "ACGT"})
    with pytest.raises(DataError, match=r"Record 'r' has 'm' at 0-4; motifs of that name have 3"):
        spell([record], [one], {"m": "ACG"})
