"""Attribution inside hits: against its definition, a bootstrap, null data, a planted effect."""

from __future__ import annotations

import numpy as np
import pytest

from basewise import Attribution, Record, Target
from basewise.biology.contrasts import contrast
from basewise.biology.enrichment import ENRICHMENT
from basewise.biology.reliance import attribution_enrichment
from basewise.errors import DataError
from basewise.motifs.motif import Motif
from basewise.sequence.alphabet import decode_rows
from basewise.stats import bootstrap

CORE = Motif.from_iupac("core", "GGCA", window=(-4, -1), strands="+")
FREE = Motif.from_iupac("free", "TGAC")
BASES, TSS = 48, 24


def attributions(records, scores, **changes):
    return [
        Attribution(
            **{
                "record_id": record.id,
                "sequence": record.sequence,
                "model": "cnn",
                "target": Target("promoter"),
                "method": "occlusion",
                "kind": "additive",
                "spans": np.column_stack([np.arange(len(record)), np.arange(len(record)) + 1]),
                "scores": track,
                "output": 1.0,
                "baseline": 0.0,
                "evaluations": 9,
                "seed": 1,
            }
            | changes
        )
        for record, track in zip(records, scores, strict=True)
    ]


def null_data(rng, n, profile=True, effect=0.0):
    """Attribution that follows composition, position, class and sequence, but no motif.

    Class `a` is richer in GC, has the motif more often, and more attribution around it.
    """
    one = rng.random(n) < 0.5
    gc = np.where(one, 0.65, 0.4) + rng.normal(0, 0.08, n)
    chance = np.cumsum(np.stack([1 - gc, gc, gc], axis=1) / 2, axis=1)
    codes = (rng.random((n, BASES))[..., None] > chance[:, None]).sum(2).astype(np.uint8)
    planted = rng.random(n) < np.where(one, 0.5, 0.25)
    codes[planted, TSS - 4 : TSS] = [2, 2, 1, 0]
    scores = rng.normal(size=(n, BASES)) + 0.8 * ((codes == 1) | (codes == 2))
    scores += np.roll(scores, 1, axis=1)
    scores *= rng.gamma(2, 1, (n, 1))
    if profile:
        scores += (1 + 2 * one[:, None]) * np.exp(-(((np.arange(BASES) - TSS + 2) / 6) ** 2))
    scores[planted, TSS - 4 : TSS] += effect
    names = decode_rows(codes)
    return [
        Record(f"r{i}", s, "ab"[not o]) for i, (s, o) in enumerate(zip(names, one, strict=True))
    ], scores


def slow_contrast(values, gc, eligible, group, row, start, minimum, tolerance):
    """`contrast` by its definition, hit by hit."""
    by_sequence = {}
    for r, s in zip(row, start, strict=True):
        controls = [
            values[i, j]
            for i in range(len(values))
            for j in range(values.shape[1])
            if eligible[i, j]
            and group[i, j] == group[r, s]
            and abs(gc[i, j] - gc[r, s]) <= tolerance
        ]
        if len(controls) >= minimum:
            by_sequence.setdefault(r, []).append((values[r, s], controls))
    inside = [np.mean([value for value, _ in hits]) for hits in by_sequence.values()]
    control = [np.mean([np.mean(c) for _, c in hits]) for hits in by_sequence.values()]
    variance = [
        (np.var(c, ddof=1), 1 / len(hits))
        for hits in by_sequence.values()
        for _, c in hits
        if len(c) > 1
    ]
    variances, weights = zip(*variance, strict=True)
    deviation = np.sqrt(np.average(variances, weights=weights))
    return np.mean(inside), np.mean(control), deviation, len(by_sequence)


@pytest.mark.parametrize("tolerance", [0, 1])
@pytest.mark.parametrize("minimum", [1, 3])
@pytest.mark.parametrize("by", ["sequence", "position"])
def test_a_contrast_equals_its_definition(by, minimum, tolerance):
    rng = np.random.default_rng(6)
    n, places = 17, 9
    values = rng.normal(3, 1, (n, places))
    gc = rng.integers(0, 4, (n, places))
    row, start = np.nonzero(rng.random((n, places)) < 0.2)
    eligible = rng.random((n, places)) < 0.7
    eligible[row, start] = False
    group = np.broadcast_to(np.arange(n)[:, None], gc.shape)
    if by == "position":
        group = rng.integers(0, 2, n)[:, None] * places + np.arange(places)
    found = contrast(values, gc, eligible, group, row, start, minimum, tolerance)
    expected = slow_contrast(values, gc, eligible, group, row, start, minimum, tolerance)
    assert (found.inside, found.control, found.deviation, found.with_hit) == pytest.approx(expected)
    assert found.contribution.sum() == pytest.approx(found.inside - found.control)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_influence_is_how_the_estimate_moves_with_a_sequence():
    # Doubling one sequence moves the estimate by its influence, to first order.
    rng = np.random.default_rng(7)
    n, copies = 12, 60
    values, gc = rng.normal(size=(n, 1)), np.zeros((n, 1), np.int64)
    hit = np.arange(n) < 4

    def estimate(weights):
        """The same contrast on `copies` copies of every sequence, and some more of one."""
        rows = np.repeat(np.arange(n), weights)
        which = np.flatnonzero(hit[rows])
        free = ~hit[rows][:, None]
        alone = np.zeros((len(rows), 1), np.int64)
        return contrast(values[rows], gc[rows], free, alone, which, 0 * which)

    even = np.full(n, copies)
    whole = estimate(even)
    influence = whole.influence.reshape(n, copies).sum(1)
    for i in range(n):
        more = even.copy()
        more[i] += 1
        moved = estimate(more)
        difference = (moved.inside - moved.control) - (whole.inside - whole.control)
        assert difference == pytest.approx(influence[i] / copies, rel=0.05, abs=1e-4)


def test_numbers_by_hand():
    # Every sequence has GGCA at -4..-1 with attribution 3 per base. Its controls are the two
    # other stretches with three G and C, both CCTG, one with attribution 1 and one with 2.
    records = [Record(f"r{i}", "AAAACCTGAACCTGAAGGCAAAAA", "a") for i in range(20)]
    scores = np.ones((20, 24))
    scores[:, 4:8] = 2
    scores[:, 16:20] = 3
    table = attribution_enrichment(
        records, attributions(records, scores), [CORE], tss=20, draws=499
    )
    assert tuple(table.columns) == ENRICHMENT
    table = table.set_index("null")
    row = table.loc["same sequence"]
    assert (row["n"], row["with_hit"], row["n_null"]) == (20, 20, 40)
    assert (row["observed"], row["expected"]) == (3, 1.5)
    deviation = np.sqrt(0.5)  # of 1 and 2
    for name in ("effect", "low", "high"):  # all sequences agree
        assert row[name] == pytest.approx(1.5 / deviation)
    assert row["p"] == 1 / 500
    assert table.loc["same position", "with_hit"] == 0
    assert table.loc["same position", "reason"] == (
        "10 sequences with a hit and matched controls are needed; 0 have them"
    )


def test_the_interval_is_that_of_a_bootstrap_over_sequences():
    rng = np.random.default_rng(8)
    records, scores = null_data(rng, 240, effect=2.0)
    table = attribution_enrichment(records, attributions(records, scores), [CORE], tss=TSS)
    codes = np.array([list(record.sequence) for record in records])
    window = codes[:, TSS - 4 : TSS]
    hit = (window == list("GGCA")).all(1)
    group = np.array([r.label == "a" for r in records]) * 9 + np.isin(window, ["G", "C"]).sum(1)
    value = scores[:, TSS - 4 : TSS].mean(1)

    def difference(hit, group, value):
        found = 0.0
        for g in np.unique(group[hit]):
            found += (hit & (group == g)).sum() * (
                value[hit & (group == g)].mean() - value[~hit & (group == g)].mean()
            )
        return found / hit.sum()

    row = table[table["null"] == "same position"].iloc[0]
    expected = bootstrap(difference, hit, group, value, rng=rng, resamples=800)
    assert row["with_hit"] == hit.sum()
    scale = row["effect"] / (row["observed"] - row["expected"])
    assert row["observed"] - row["expected"] == pytest.approx(expected.value)
    assert row["low"] == pytest.approx(expected.low * scale, abs=0.12 * row["effect"])
    assert row["high"] == pytest.approx(expected.high * scale, abs=0.12 * row["effect"])


@pytest.mark.parametrize("null, profile", [("same sequence", False), ("same position", True)])
def test_null_data_are_rejected_as_often_as_they_should_be(null, profile):
    rng = np.random.default_rng(9)
    p = []
    for repeat in range(60):
        records, scores = null_data(rng, 100, profile)
        table = attribution_enrichment(
            records, attributions(records, scores), [CORE, FREE], tss=TSS, draws=199, seed=repeat
        )
        p.append(table[table["null"] == null].set_index("motif")["p"])
    for motif in ("core", "free"):
        values = np.array([of[motif] for of in p])
        values = values[~np.isnan(values)]
        assert len(values) > 55
        assert (values <= 0.05).sum() <= 8  # more would be a chance of 1 in 300 at 5 %
        assert 0.4 < values.mean() < 0.6


def test_each_null_is_blind_where_it_says_so():
    # A profile of position alone: the motif's place has more attribution, the motif has not.
    records, scores = null_data(np.random.default_rng(10), 300, profile=True)
    p = attribution_enrichment(records, attributions(records, scores), [CORE], tss=TSS).set_index(
        "null"
    )["p"]
    assert p["same sequence"] < 0.001
    assert p["same position"] > 0.01


def test_a_planted_effect_is_found_by_both_nulls():
    records, scores = null_data(np.random.default_rng(11), 300, profile=False, effect=2.0)
    found = attributions(records, scores)
    table = attribution_enrichment(records, found, [CORE, FREE], tss=TSS)
    core = table[table["motif"] == "core"]
    assert (core["q"] < 0.01).all()
    assert (core["low"] > 0).all()
    assert (table[table["motif"] == "free"]["q"] > 0.01).all()
    order = np.random.default_rng(0).permutation(300)
    again = attribution_enrichment(records, [found[i] for i in order], [CORE, FREE], tss=TSS)
    same = ["observed", "expected", "effect", "with_hit", "n_null"]
    np.testing.assert_allclose(again[same], table[same])
    turned = attribution_enrichment(records, attributions(records, -scores), [CORE], tss=TSS)
    assert (turned["high"] < 0).all()


def test_hits_of_both_strands_at_one_place_count_once():
    rng = np.random.default_rng(12)
    records, scores = null_data(rng, 80)
    found = attributions(records, scores)
    one = attribution_enrichment(records, found, [Motif.from_iupac("x", "GATC", strands="+")])
    two = attribution_enrichment(records, found, [Motif.from_iupac("x", "GATC", strands="both")])
    assert two.equals(one)


def test_records_may_differ_in_length_and_hold_unknown_bases():
    rng = np.random.default_rng(13)
    records, scores = null_data(rng, 80)
    records = [
        Record(r.id, r.sequence[: 40 + i % 9].replace("TTT", "TNT"), r.label)
        for i, r in enumerate(records)
    ]
    tracks = [track[: len(record)] for track, record in zip(scores, records, strict=True)]
    table = attribution_enrichment(records, attributions(records, tracks), [CORE, FREE], tss=TSS)
    assert (table["n"] == 80).all()
    assert table["p"].notna().all()


def test_bad_requests_are_refused_in_one_line():
    records, scores = null_data(np.random.default_rng(14), 12)
    found = attributions(records, scores)

    def refused(says, found, records=records, **settings):
        with pytest.raises(DataError, match=says) as error:
            attribution_enrichment(records, found, [CORE], **({"tss": TSS} | settings))
        assert "\n" not in str(error.value)

    refused("There are no attributions", [])
    other = attributions(records[:1], scores[:1], method="lime")
    refused("of 2 methods \\(lime, occlusion\\); ask about one", found[1:] + other)
    other = attributions(records[:1], scores[:1], target=Target("other"))
    refused("of 2 targets", found[1:] + other)
    refused("Record 'r3' has two attributions", [*found, found[3]])
    refused("of record 'r3', but no such record", found, records=records[:3] + records[4:])
    changed = [Record("r0", "A" * BASES), *records[1:]]
    refused("attribution of record 'r0' is of another sequence", found, records=changed)
    refused(r"TSS \(index 48\) lies outside record 'r0' of 48 bases", found, tss=48)
    refused("gc_tolerance is 2; it is a share", found, gc_tolerance=2)
