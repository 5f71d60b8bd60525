"""Faithfulness of scores whose truth is known: every number here can be had by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import basewise as bw
from basewise.errors import CapabilityError, ConfigError, DataError
from basewise.evaluate.faithfulness import CURVES, FAITHFULNESS, Faithful, Faithfulness
from basewise.evaluate.faithfulness_measures import (
    area,
    deleted,
    infidelity,
    inserted,
    places,
    rank_correlation,
    unexplained,
    window_sums,
)
from explained_models import Additive, Constant, bpe_bert, of_module, tiny_cnn


def some(n: int, length: int = 11, seed: int = 3) -> list[bw.Record]:
    rng = np.random.default_rng(seed)
    return [bw.Record(f"s{i}", "".join(rng.choice(list("ACGT"), length))) for i in range(n)]


def measured(
    model: bw.Model, records: list[bw.Record], explainers: Any, **settings: Any
) -> Faithful:
    label = model.labels[-1]
    tracks = {name: bw.explain(model, records, name, label) for name in explainers}
    return Faithfulness(**settings).measure(model, records, tracks, label)


def value(found: Faithful, metric: str, column: str = "value", **where: str) -> float:
    rows = found.summary[found.summary["metric"] == metric]
    for name, said in where.items():
        rows = rows[rows[name] == said]
    [got] = rows[column]
    return float(got)


# ------------------------------------------------------------------------------ arithmetic


def test_orders_begin_with_the_highest_score_and_break_ties_at_random() -> None:
    rng = np.random.default_rng(1)
    assert places(np.array([0.5, -1.0, 2.0]), rng).tolist() == [1, 2, 0]
    first = [int(np.argmin(places(np.zeros(4), rng))) for _ in range(400)]
    assert np.bincount(first, minlength=4).min() > 60


def test_rows_of_deletion_and_insertion() -> None:
    place, counts = np.array([1, 2, 0]), np.array([0, 1, 3])
    assert deleted(place, counts).astype(int).tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    assert inserted(place, counts).astype(int).tolist() == [[0, 0, 0], [0, 0, 1], [1, 1, 1]]
    upside_down = len(place) - 1 - place
    np.testing.assert_array_equal(
        deleted(upside_down, counts), inserted(place, len(place) - counts)
    )


def test_areas_and_errors_by_hand() -> None:
    assert area(np.array([0, 1, 4]), np.array([4.0, 2.0, 0.0])) == (3 * 1 + 1 * 3) / 4
    assert infidelity(np.array([1.0, 3.0]), np.array([2.0, 1.0])) == (1 + 4) / 2
    assert unexplained(np.array([1.0, 2.0]), np.array([3.0, 6.0])) == pytest.approx(0)
    assert unexplained(np.array([-1.0, -2.0]), np.array([3.0, 6.0])) == 1
    assert unexplained(np.array([1.0, 0.0]), np.array([1.0, 1.0])) == 0.5
    assert unexplained(np.zeros(2), np.ones(2)) == 1
    assert np.isnan(unexplained(np.ones(2), np.zeros(2)))
    assert window_sums(np.array([1.0, 2.0, 4.0]), np.array([0, 1]), 2).tolist() == [3, 6]
    assert rank_correlation(np.array([1.0, 5.0, 6.0]), np.array([0.0, 0.1, 9.0])) == pytest.approx(
        1
    )
    assert rank_correlation(np.ones(3), np.arange(3.0)) == 0


# ------------------------------------------------------------------------------ an additive model


def test_true_effects_of_an_additive_model_by_hand() -> None:
    """An N is worth the mean over bases, so hiding a base takes its score away."""
    module, [record] = Additive(constant=7.0), some(1)
    model = of_module(module)
    shares = (0.1, 0.5)  # 1 and 6 of 11 bases
    found = measured(
        model, [record], ["occlusion"], maskings=["n"], shares=shares, steps=3, window=4
    )
    effects = np.sort(module.scores(record.sequence))[::-1]
    full = (
        7
        + module.table.detach()
        .numpy()[np.arange(11), ["ACGT".index(letter) for letter in record.sequence]]
        .sum()
    )
    lost = np.concatenate([[0.0], np.cumsum(effects)])
    own = {"masking": "n"}
    assert value(found, "comprehensiveness", **own) == pytest.approx(lost[[1, 6]].mean(), abs=1e-6)
    kept = lost[-1] - lost[[1, 6]]
    assert value(found, "sufficiency", **own) == pytest.approx(kept.mean(), abs=1e-6)
    at = np.array([0, 4, 7, 11])
    deletion = np.trapezoid(full - lost[at], at / 11)
    insertion = np.trapezoid(full - lost[-1] + lost[at], at / 11)
    assert value(found, "deletion", **own) == pytest.approx(deletion, abs=1e-6)
    assert value(found, "insertion", **own) == pytest.approx(insertion, abs=1e-6)
    curve = found.curves.query("order == 'own' and curve == 'deletion'")
    np.testing.assert_allclose(curve["value"], full - lost[at], atol=1e-6)
    assert value(found, "unexplained", **own) == pytest.approx(0, abs=1e-9)
    assert value(found, "occlusion", **own) == pytest.approx(1)
    assert value(found, "mutagenesis", masking="substitution") == pytest.approx(1)


def test_exact_scores_have_no_infidelity_and_doubled_ones_are_proportional() -> None:
    module, records = Additive(), some(3)
    model = of_module(module)
    exact = bw.explain(model, records, "kernel_shap", "score")
    double = [replace(a, scores=2 * a.scores) for a in exact]
    found = Faithfulness(maskings=["n"], window=3).measure(
        model, records, {"exact": exact, "double": double}, "score"
    )
    assert value(found, "infidelity", track="exact", masking="n") < 1e-10
    assert value(found, "infidelity", track="double", masking="n") > 0.1
    for track in ("exact", "double"):
        assert value(found, "unexplained", track=track, masking="n") == pytest.approx(0, abs=1e-6)


def test_true_effects_beat_random_orders_which_beat_the_inverted_order() -> None:
    found = measured(of_module(Additive()), some(12, 20), ["occlusion", "random"], orders=5)
    for metric in ("comprehensiveness", "sufficiency", "deletion", "insertion", "occlusion"):
        here = {"track": "occlusion", "masking": "all"}
        assert value(found, metric, "gain_low", **here) > 0
        sign = -1 if metric in ("sufficiency", "deletion") else 1
        best, random, worst = (
            sign * value(found, metric, c, **here) for c in ("value", "random", "inverted")
        )
        assert best > random > worst
        nothing = {"track": "random", "masking": "all"}
        assert value(found, metric, "gain_low", **nothing) < 0
        assert value(found, metric, "gain_high", **nothing) > 0


def test_the_inverted_orders_deletion_is_the_insertion_read_backwards() -> None:
    found = measured(tiny_cnn(), some(3, 20), ["occlusion"], maskings=["n"], steps=5)
    for one, other in (("deletion", "insertion"), ("insertion", "deletion")):
        inverted = value(found, one, "inverted", masking="n")
        assert inverted == pytest.approx(value(found, other, masking="n"))


def test_curves_fall_and_rise_where_every_base_helps() -> None:
    """Scores of the letters A and C only: all effects are at least 0."""
    model = bw.Model.from_callable(
        lambda rows: [sum("NACGT".index(x) * (x in "AC") for x in row) for row in rows], ["score"]
    )
    found = measured(model, some(4, 15), ["occlusion"], maskings=["n"], steps=15)
    for _, one in found.curves.groupby(["track", "order", "curve"]):
        steps = np.diff(one["value"])
        assert (steps <= 0).all() if one["curve"].iloc[0] == "deletion" else (steps >= 0).all()


def test_a_model_that_reads_nothing_gives_nothing() -> None:
    found = measured(of_module(Constant()), some(3), ["occlusion"], maskings=["n", "sampled"])
    for metric in ("comprehensiveness", "sufficiency", "occlusion"):
        assert value(found, metric, masking="all") == 0
        assert value(found, metric, "gain", masking="all") == 0
    assert value(found, "deletion", masking="all") == pytest.approx(3)
    assert "unexplained" not in set(found.summary["metric"])


# ------------------------------------------------------------------------------ several maskings


def test_the_spread_is_that_of_the_maskings_means() -> None:
    found = measured(tiny_cnn(), some(5, 20), ["occlusion"], maskings=["n", "shuffled", "sampled"])
    assert list(found.summary) == list(FAITHFULNESS)
    assert list(found.curves) == list(CURVES)
    of = {m: value(found, "deletion", masking=m) for m in ("n", "shuffled", "sampled")}
    assert len({round(v, 6) for v in of.values()}) == 3
    spread = value(found, "deletion", "spread", masking="all")
    assert spread == pytest.approx(max(of.values()) - min(of.values()))
    assert value(found, "deletion", masking="all") == pytest.approx(np.mean(list(of.values())))


def test_maskings_a_model_cannot_show_are_left_out(tmp_path: Path) -> None:
    model, records = bpe_bert(tmp_path), some(2, 12)
    tracks = {"noise": bw.explain(model, records, "random", "yes")}
    found = Faithfulness().measure(model, records, tracks, "yes")
    assert set(found.summary["masking"]) == {"mask", "shuffled", "sampled", "all", "substitution"}
    with pytest.raises(CapabilityError, match="None of the maskings can be shown: An N moves"):
        Faithfulness(maskings=["n"]).measure(model, records, tracks, "yes")


# ------------------------------------------------------------------------------ cost, independence


def test_rows_are_counted_exactly_and_none_twice() -> None:
    rows: list[str] = []

    def function(sequences: list[str]) -> list[float]:
        rows.extend(sequences)
        return [float(s.count("G")) for s in sequences]

    model, records = bw.Model.from_callable(function, ["score"]), some(3, 30)
    tracks = {name: bw.explain(model, records, name, "score") for name in ("occlusion", "random")}
    rows.clear()
    found = Faithfulness(maskings=["n"], correlations=False).measure(
        model, records, tracks, "score"
    )
    assert len(rows) == found.evaluations
    assert len(rows) - len(set(rows)) == len(records) - 1  # all of them hidden, once for each
    rows.clear()
    found = Faithfulness(maskings=["sampled"]).measure(model, records, tracks, "score")
    assert len(rows) == found.evaluations


def test_a_records_numbers_do_not_depend_on_its_neighbours() -> None:
    model, records = tiny_cnn(), some(4, 14)
    found = {
        len(part): measured(model, part, ["occlusion"]).records.set_index("record_id")
        for part in (records, records[2:3])
    }
    alone, together = found[1], found[4].loc[["s2"]]
    columns = ["track", "order", "masking", "metric"]
    alone, together = (frame.sort_values(columns) for frame in (alone, together))
    np.testing.assert_allclose(alone["value"], together["value"], atol=1e-5)


# ------------------------------------------------------------------------------ refusals


def test_a_track_that_lacks_a_record_is_refused() -> None:
    model, records = tiny_cnn(), some(3)
    tracks = {"few": bw.explain(model, records[:2], "random", "a")}
    with pytest.raises(DataError, match=r"track 'few' has no attribution of record 's2'"):
        Faithfulness().measure(model, records, tracks, "a")
    with pytest.raises(DataError, match=r"needs records and tracks; there are 3 and 0"):
        Faithfulness().measure(model, records, {}, "a")
    other = [bw.Record("s0", "A" * 11), *records[1:]]
    tracks = {"all": bw.explain(model, records, "random", "a")}
    with pytest.raises(DataError, match=r"'s0' has another sequence in the track 'all'"):
        Faithfulness().measure(model, other, tracks, "a")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shares": [0.1, 1.0]}, "shares of the bases lie between 0 and 1"),
        ({"maskings": []}, "one or more different maskings"),
        ({"maskings": ["n", "n"]}, r"one or more different maskings are needed, not \['n', 'n'\]"),
        ({"steps": 1}, "steps = 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Faithfulness(**settings)


def test_tables_can_be_stored() -> None:
    found = measured(tiny_cnn(), some(2), ["random"], maskings=["n"])
    assert isinstance(found.records, pd.DataFrame)
    assert set(found.records["order"]) == {"own", "inverted", "random"}


def test_a_rule_that_holds_another_prediction_speaks_against_the_target() -> None:
    model = of_module(Additive())
    records = some(2)
    found = bw.explain(model, records, "occlusion", "score", masking="n")
    first = [replace(a, kind="rule", scores=(a.scores > 0) * 1.0, output=1.0) for a in found]
    second = [replace(a, kind="rule", scores=(a.scores < 0) * 1.0, output=0.0) for a in found]
    settings = Faithfulness(maskings=["n"], perturbations=0, correlations=False, shares=[0.3])
    table = settings.measure(model, records, {"for": first, "against": second}, "score").records
    rows = table[(table["metric"] == "comprehensiveness") & (table["order"] == "own")]
    assert (rows["value"] > 0).all()
    turned = [replace(a, output=1.0) for a in second]
    table = settings.measure(model, records, {"against": turned}, "score").records
    rows = table[(table["metric"] == "comprehensiveness") & (table["order"] == "own")]
    assert (rows["value"] < 0).all()
