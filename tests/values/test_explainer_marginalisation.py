"""Marginalisation: a motif written into backgrounds, against hand-made models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import basewise as bw
from basewise.errors import ConfigError, DataError
from basewise.explainers import EXPLAINERS


def explain(function: Any, sequence: str, **settings: Any) -> Any:
    model = bw.Model.from_callable(lambda rows: [float(function(r)) for r in rows], ["score"])
    record = bw.Record("r", sequence)
    return bw.explain(model, [record], "marginalisation", "score", **settings)[0]


def test_a_motif_that_counts_anywhere_scores_one_everywhere() -> None:
    a = explain(lambda s: s.count("GGG"), "ATCTATTACATTA", motif="GGG", stride=1, draws=5)
    np.testing.assert_array_equal(a.spans, [[i, i + 3] for i in range(11)])
    np.testing.assert_array_equal(a.scores, 1)
    np.testing.assert_array_equal(a.standard_error, 0)
    assert (a.output, a.baseline, a.evaluations) == (0, 0, 1 + 5 * 12)


def test_a_motif_that_counts_at_one_place() -> None:
    a = explain(lambda s: 7 * (s[4:8] == "GCGC"), "ATATATATATATTT", motif="GCGC", stride=4)
    np.testing.assert_array_equal(a.spans, [[0, 4], [4, 8], [8, 12]])
    np.testing.assert_array_equal(a.scores, [0, 7, 0])


def test_an_n_leaves_the_background_as_it_is() -> None:
    a = explain(lambda s: s.count("G") + 10 * s.count("T"), "TTTTTT", motif="GNG")
    np.testing.assert_array_equal(a.spans, [[1, 4]])  # the middle
    np.testing.assert_array_equal(a.scores, [2 - 20])


def test_the_mean_is_over_shuffles_and_says_how_sure_it_is() -> None:
    """An A at base 3 counts; a shuffle of AACCCCCCCC has one there in a fifth of all cases."""
    settings = {"motif": "A", "keep": "bases", "draws": 400, "stride": 3}
    a = explain(lambda s: s[3] == "A", "AACCCCCCCC", **settings)
    assert a.scores[1] == pytest.approx(0.8, abs=4 * a.standard_error[1])
    assert a.standard_error[1] == pytest.approx((0.2 * 0.8 / 400) ** 0.5, rel=0.2)
    np.testing.assert_array_equal(a.scores[[0, 2, 3]], 0)
    assert a.baseline == pytest.approx(0.2, abs=0.08)
    assert a.output == 0


def test_records_share_batches_and_do_not_depend_on_each_other() -> None:
    calls: list[int] = []

    def dense(sequences: list[str]) -> list[float]:
        calls.append(len(sequences))
        return [s.count("CG") ** 2 / len(s) for s in sequences]

    model = replace(bw.Model.from_callable(dense, ["dense"]), batch_tokens=2000)
    rng = np.random.default_rng(1)
    records = [bw.Record(str(i), "".join(rng.choice(list("ACGT"), 20))) for i in range(30)]
    together = bw.explain(model, records, "marginalisation", "dense", motif="CGCG", draws=3)
    assert calls == [96, 96, 18]  # 30 times 1 + 3 * 2 rows; 100 fit, in few shapes 96
    for record, one in zip(records, together, strict=True):
        (alone,) = bw.explain(model, [record], "marginalisation", "dense", motif="CGCG", draws=3)
        np.testing.assert_array_equal(one.scores, alone.scores)
        assert one.output == alone.output
        assert one.baseline == alone.baseline


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError, match=r"the setting 'motif' is needed"):
        EXPLAINERS.build("marginalisation")
    with pytest.raises(ConfigError, match=r"motif = 'GAX': a motif is spelled in the letters A, C"):
        EXPLAINERS.build({"type": "marginalisation", "motif": "GAX"})
    with pytest.raises(DataError, match=r"'r' has 3 bases; the motif GATTACA has 7 and does not"):
        explain(len, "ACG", motif="GATTACA")
