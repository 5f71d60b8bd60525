"""Scores of regions against nulls: by enumeration on genomes small enough for it."""

import numpy as np
import pytest

from basewise.biology.region_scores import (
    MEASURES,
    SCORES,
    family_wise,
    gene_sets,
    region_scores,
    set_enrichment,
)
from basewise.data.features import Feature
from basewise.errors import ConfigError, DataError

LENGTH = 61


def genome(seed=0, ties=False):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 4, LENGTH).astype(float) if ties else rng.normal(size=LENGTH)
    values[[5, 6, 40]] = np.nan
    return {"c": values}


FEATURES = [
    Feature("a", "gene", "c", ((3, 12),), "+", "dnaA_1"),
    Feature("b", "gene", "c", ((30, 31),), "-", "recF"),
    Feature("o", "gene", "c", ((58, 61), (0, 2)), "+", "oriC"),  # across the origin
    Feature("s", "tRNA", "c", ((15, 19), (22, 27)), "+", ""),  # spliced
    Feature("n", "tRNA", "c", ((5, 7),), "+", "none"),  # no base has a score
]


def bases(feature, shift=0):
    return [(i + shift) % LENGTH for start, end in feature.parts for i in range(start, end)]


def measures(values, cutoff):
    known = values[~np.isnan(values)]
    if not len(known):
        return dict.fromkeys(MEASURES, np.nan)
    density = float((known >= cutoff).mean())
    return {"mean": known.mean(), "sum": known.sum(), "maximum": known.max(), "density": density}


def exact_p(observed, null):
    null = np.array(null)[~np.isnan(null)]
    above = (null >= observed - 1e-9).sum()
    below = (null <= observed + 1e-9).sum()
    return above, below, min(2 * (1 + min(above, below)) / (1 + len(null)), 1)


@pytest.mark.parametrize("ties", [False, True])
def test_all_shifts_are_those_of_an_enumeration(ties):
    track = genome(ties=ties)
    found = region_scores(track, FEATURES, draws=1000, cutoff=0.7)
    table = found.regions.set_index(["measure", "id"])
    assert list(found.regions.columns[7:-1]) == list(SCORES)
    for feature in FEATURES:
        here = measures(track["c"][bases(feature)], 0.7)
        null = [measures(track["c"][bases(feature, s)], 0.7) for s in range(1, LENGTH)]
        for measure in MEASURES:
            row = table.loc[measure, feature.id]
            if feature.id == "n":
                assert (row.reason, np.isnan(row.p)) == ("no base has a score", True)
                continue
            drawn = np.array([each[measure] for each in null])
            above, below, p = exact_p(here[measure], drawn)
            assert row.null == "all shifts"
            assert row.observed == pytest.approx(here[measure])
            assert (row.above, row.below, row.n_null) == (above, below, (~np.isnan(drawn)).sum())
            assert row.p == pytest.approx(p)
            assert row.expected == pytest.approx(np.nanmean(drawn))
            spread = np.nanstd(drawn)
            assert row.effect == pytest.approx((here[measure] - np.nanmean(drawn)) / spread)


def test_kinds_are_the_enumeration_of_their_bases():
    track = genome()
    table = region_scores(track, FEATURES, draws=1000, cutoff=0.7).kinds.set_index(
        ["measure", "kind"]
    )
    for kind in ("gene", "tRNA"):
        own = [f for f in FEATURES if f.kind == kind]

        def at(shift, own=own):
            return measures(track["c"][[i for f in own for i in bases(f, shift)]], 0.7)

        for measure in MEASURES:
            row = table.loc[measure, kind]
            above, below, p = exact_p(at(0)[measure], [at(s)[measure] for s in range(1, LENGTH)])
            assert (row.observed, row.p) == (pytest.approx(at(0)[measure]), pytest.approx(p))
            assert (row.above, row.below, row.regions) == (above, below, len(own))


def test_shifts_that_are_drawn_approach_all_of_them():
    track = {"c": np.random.default_rng(1).normal(size=4001)}
    features = [Feature("a", "gene", "c", ((100, 400),), "+")]
    every = region_scores(track, features, draws=4000).regions
    some = region_scores(track, features, draws=1500, seed=5).regions
    assert (every["null"].unique(), some["null"].unique()) == (["all shifts"], ["shift"])
    assert (some.n_null == 1500).all()
    spread = np.sqrt(every.p * (1 - every.p / 2) / 1500)
    assert (np.abs(some.p - every.p) <= 4 * spread + 2 / 1500).all()


def test_contigs_shift_by_themselves():
    """A contig whose every base is alike cannot change, whatever the other does."""
    track = {"c": np.ones(50), "d": np.random.default_rng(0).normal(size=70)}
    features = [Feature("a", "gene", "c", ((4, 9),)), Feature("b", "gene", "d", ((60, 65),))]
    table = region_scores(track, features, draws=500).regions.set_index(["measure", "id"])
    row = table.loc["mean", "a"]
    assert (row.observed, row.expected, row.p) == (1.0, 1.0, 1.0)
    assert np.isnan(row.effect)
    values = track["d"]
    every = np.array([np.roll(values, -s)[60:65].mean() for s in range(70)])
    assert table.loc["mean", "b"].expected == pytest.approx(every.mean(), abs=0.1)


def test_the_quantile_as_published_compares_a_mean_with_single_bases():
    track = {"c": np.arange(10.0)}
    table = region_scores(track, [Feature("a", "gene", "c", ((4, 8),))]).regions
    assert table.quantile_as_published.unique() == [0.6]  # the mean 5.5 of 4, 5, 6, 7


def test_matched_places_have_the_length_and_the_gc():
    """Scores follow G+C alone: shifts call the region, matched places do not."""
    rng = np.random.default_rng(3)
    rich = np.zeros(6000, bool)
    for at in range(100, 6000, 400):
        rich[at : at + 60] = True
    letters = np.where(rich, rng.choice(list("GC"), 6000), rng.choice(list("AT"), 6000))
    track, sequence = {"c": rich + rng.normal(0, 0.1, 6000)}, {"c": "".join(letters)}
    features = [Feature("a", "gene", "c", ((900, 960),), "+")]
    features += [Feature("odd", "gene", "c", ((0, 5900),), "+")]
    shifted = region_scores(track, features, draws=5000).regions.set_index(["measure", "id"])
    matched = region_scores(track, features, null="matched", sequences=sequence, draws=400)
    assert len(matched.kinds) == 0
    found = matched.regions.set_index(["measure", "id"])
    assert shifted.loc["mean", "a"].p < 0.01
    row = found.loc["mean", "a"]
    assert (row["null"], row.n_null) == ("matched", 400)
    assert row.p > 0.05
    assert row.expected == pytest.approx(1, abs=0.05)
    running = np.append(0, np.cumsum(track["c"]))
    gc = np.append(0, np.cumsum(rich))
    starts = np.arange(6000 - 60 + 1)
    alike = starts[np.abs((gc[starts + 60] - gc[starts]) / 60 - 1) <= 0.02]
    null = (running[alike + 60] - running[alike]) / 60
    observed = running[960] - running[900]
    expected = 2 * min((null >= observed / 60).mean(), (null <= observed / 60).mean())
    assert row.p == pytest.approx(min(expected, 1), abs=0.12)


def test_too_few_places_is_a_reason():
    letters = "A" * 3000 + "G" * 30 + "A" * 3000
    track = {"c": np.random.default_rng(0).normal(size=len(letters))}
    features = [Feature("a", "gene", "c", ((2000, 4000),), "+")]
    features += [Feature("b", "gene", "c", ((3000, 3030),), "+")]
    found = region_scores(track, features, null="matched", sequences={"c": letters}, draws=50)
    assert (found.regions.reason == "too few places of its length and G+C").all()
    assert found.regions.p.isna().all()


def test_sets_are_the_enumeration_of_their_genes():
    track = genome()
    rng = np.random.default_rng(2)
    genes = [
        Feature(f"g{i}", "gene", "c", ((at, at + int(rng.integers(2, 6))),), "+", f"n{i}")
        for i, at in enumerate(range(0, 55, 6))
    ]
    sets = {"first": [0, 1, 2, 5], "none": []}
    found = set_enrichment(track, genes, sets, draws=1000).set_index("set")

    def difference(shift):
        means = [measures(track["c"][bases(g, shift)], 0)["mean"] for g in genes]
        return np.nanmean([means[i] for i in sets["first"]]) - np.nanmean(
            [m for i, m in enumerate(means) if i not in sets["first"]]
        )

    above, below, p = exact_p(difference(0), [difference(s) for s in range(1, LENGTH)])
    row = found.loc["first"]
    assert row.observed == pytest.approx(difference(0))
    assert (row.above, row.below, row.genes) == (above, below, 4)
    assert row.p == row.q == pytest.approx(p)
    none = found.loc["none"]
    assert (none.reason, none.genes) == ("no base has a score", 0)


def test_p_values_of_a_track_without_signal_are_even():
    """Scores that go on over neighbours, as attributions do, and genes in runs."""
    rng = np.random.default_rng(7)
    smooth = np.convolve(rng.normal(size=40_000), np.ones(50) / 50, "same")
    features = [Feature(f"g{at}", "gene", "c", ((at, at + 120),)) for at in range(0, 39_000, 130)]
    table = region_scores({"c": smooth}, features, draws=800).regions
    share = (table[table.measure == "mean"].p < 0.05).mean()
    assert 0.02 <= share <= 0.09
    assert not (table.q < 0.05).any()


def test_step_down_is_that_of_an_enumeration():
    """Against the adjusted p values written out region by region."""
    track = genome(seed=4)
    found = family_wise(track, FEATURES, draws=1000)
    null = np.array(
        [[measures(track["c"][bases(f, s)], 0)["mean"] for f in FEATURES] for s in range(1, LENGTH)]
    )
    here = np.array([measures(track["c"][bases(f)], 0)["mean"] for f in FEATURES])
    middle, spread = np.nanmean(null, 0), np.nanstd(null, 0)
    own, drawn = np.abs((here - middle) / spread), np.abs((null - middle) / spread)
    order = [i for i in np.argsort(-own) if not np.isnan(own[i])]
    expected, so_far = {}, 0.0
    for place, i in enumerate(order):
        highest = np.nanmax(drawn[:, order[place:]], axis=1)
        so_far = max(so_far, (1 + (highest >= own[i] - 1e-9).sum()) / LENGTH)
        expected[i] = so_far
    assert np.isnan(found[4])
    assert found[:4] == pytest.approx([expected[i] for i in range(4)])


def test_step_down_calls_one_region_in_few_tracks_without_any_and_finds_one_that_is():
    features = [Feature(f"g{at}", "gene", "c", ((at, at + 60),)) for at in range(0, 4000, 80)]
    any_called, found = 0, 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        smooth = np.convolve(rng.normal(size=4000), np.ones(20) / np.sqrt(20), "same")
        any_called += family_wise({"c": smooth}, features, draws=199, seed=seed).min() < 0.05
        smooth[800:860] += 3
        p = family_wise({"c": smooth}, features, draws=199, seed=seed)
        found += p[10] < 0.05
    assert any_called <= 12  # 6 are expected; 12 or fewer with a probability of 0.99
    assert found >= 80


def test_names_join_without_case_and_with_copies():
    sets = {"spo": ["DNAA", "absentee/recF ", "Absent"], "empty": []}
    found, missing = gene_sets(FEATURES, sets)
    assert found == {"spo": [0, 1], "empty": []}
    assert missing == {"spo": ["Absent"], "empty": []}


@pytest.mark.parametrize(
    "track, features, said",
    [
        ({"c": np.zeros(9)}, [], "There are no regions to score; give some features."),
        ({"d": np.zeros(9)}, FEATURES[:1], "a lies on 'c', which has no track; there are tracks"),
        ({"c": np.zeros(9)}, FEATURES[:1], r"a \(c:3-12\) is beyond its track, which has 9 bases"),
    ],
)
def test_what_cannot_be_scored_is_said(track, features, said):
    with pytest.raises(DataError, match=said):
        region_scores(track, features)


def test_matching_needs_the_sequence():
    with pytest.raises(DataError, match="give the sequences of the contigs"):
        region_scores(genome(), FEATURES, null="matched")
    with pytest.raises(DataError, match="The sequence of 'c' has 3 bases and its track 61"):
        region_scores(genome(), FEATURES, null="matched", sequences={"c": "ACG"})


def test_no_other_null_is_taken_for_a_null():
    for score in (region_scores, lambda *a, **k: set_enrichment(*a, {"x": [0]}, **k)):
        with pytest.raises(ConfigError, match=r"No null named 'matchd'\. Did you mean 'matched'"):
            score(genome(), FEATURES, null="matchd")
        with pytest.raises(ConfigError, match="draws = 0: a null has at least one draw"):
            score(genome(), FEATURES, draws=0)
    with pytest.raises(ConfigError, match="draws = -1"):
        family_wise(genome(), FEATURES, draws=-1)


def test_scores_and_names_without_what_they_are_of_are_refused():
    with pytest.raises(DataError, match=r"The track is 'ndarray'; give .* \{'c': scores\}"):
        region_scores(genome()["c"], FEATURES)
    many = {f"other{i}": np.zeros(9) for i in range(9)}
    with pytest.raises(DataError, match=r"tracks of 'other0', .*'other4', \.\.\.\.$"):
        region_scores(many, FEATURES)
    with pytest.raises(DataError, match="There is no sequence of 'c'; there are 1 others"):
        region_scores(genome(), FEATURES, null="matched", sequences={"chr": "ACGT"})
    with pytest.raises(DataError, match="The set 'core' is the text 'recF'; give a list of names"):
        gene_sets(FEATURES, {"core": "recF"})


def test_matched_sets_are_places_of_their_genes():
    """What composition explains is gone, the rest stays; expected from all places there are."""
    rng = np.random.default_rng(5)
    rich = np.repeat(rng.random(120) < 0.5, 50)
    letters = np.where(rich, rng.choice(list("GC"), 6000), rng.choice(list("AT"), 6000))
    values, sequence = rich + rng.normal(0, 0.2, 6000), "".join(letters)
    genes = [Feature(f"g{i}", "gene", "c", ((i * 50 + 5, i * 50 + 35),), "+") for i in range(120)]
    of_rich = [i for i in range(120) if rich[50 * i]][:12]
    marked = [i for i in range(120) if not rich[50 * i]][:9]
    for i in marked:
        values[genes[i].start : genes[i].end] += 0.3
    sets = {"rich": of_rich, "marked": marked, "none": []}
    settings = {"draws": 3000, "gc_tolerance": 0.0}
    shifted = set_enrichment({"c": values}, genes, sets, draws=3000).set_index("set")
    found = set_enrichment(
        {"c": values}, genes, sets, null="matched", sequences={"c": sequence}, **settings
    ).set_index("set")
    assert shifted.p["rich"] < 0.01
    assert found.p["rich"] > 0.05
    assert found.p["marked"] < 0.01
    assert (found["null"] == "matched").all()
    assert found.observed.tolist()[:2] == pytest.approx(shifted.observed.tolist()[:2])
    assert (found.genes.tolist(), found.reason["none"]) == ([12, 9, 0], "no base has a score")
    running, gc = np.append(0, np.cumsum(values)), np.append(0, np.cumsum(rich))
    starts = np.arange(6000 - 30 + 1)
    at = starts[gc[starts + 30] - gc[starts] == 30]
    places = (running[at + 30] - running[at]) / 30
    others = [i for i in range(120) if i not in of_rich]
    rest = np.mean([values[genes[i].start : genes[i].end].mean() for i in others])
    assert found.expected["rich"] == pytest.approx(places.mean() - rest, abs=0.002)
    spread = places.std() / np.sqrt(12)
    observed = np.mean([values[genes[i].start : genes[i].end].mean() for i in of_rich])
    assert found.effect["rich"] == pytest.approx((observed - places.mean()) / spread, abs=0.1)


@pytest.mark.parametrize(
    ("genes", "sets", "said"),
    [
        ("recF", {"core": ["recF"]}, r"genes\(\) gives; this is str\."),
        (["recF"], {"core": ["recF"]}, "this is a list of other values"),
        (FEATURES, ["recF"], "sets is of list; give a mapping of names of sets to lists"),
        (FEATURES, {"core": ["recF", 3]}, "The set 'core' holds 3; names of genes are text"),
    ],
)
def test_sets_of_another_kind_are_refused(genes, sets, said):
    with pytest.raises(DataError, match=said):
        gene_sets(genes, sets)
