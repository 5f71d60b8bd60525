"""Do genes stand out in a track of scores? Regions against places where they are not.

A region's score is the mean, sum or maximum of a track on its bases, or its density: the share of
its bases with a score of at least a cutoff. Two nulls:

* *shift*: all regions move along their contig by the same number of bases, round its end, as if it
  were a circle. Lengths, order, operons and overlaps stay, and so does the track: what is broken is
  which bases are under which region. Where there are no more shifts than were asked for, every one
  is taken and p values are exact; otherwise they are drawn, without replacement on a single contig.
* *matched*: a region lies anywhere else, as one stretch, where G+C is that of the region within a
  tolerance. This takes out what composition explains.

p = (1 + placements at least as extreme) / (1 + placements), two-sided twice the smaller tail
(Phipson & Smyth 2010); q by Benjamini & Hochberg 1995 within a measure; the effect is the
difference from the mean of the null in its standard deviations. The *quantile as published* is the
share of all bases whose score is at most the region's mean: the mean of many bases is compared with
single ones, so that it depends on length and has no p value.

Either null places a region onto the other regions that stand out, too, so that p cannot fall far
below the share of the track that is high: with many high genes single ones are not called, and the
question is one about a set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from basewise.biology.placements import MEASURES, ScoredGenome, matched_places, shifts_of
from basewise.data.features import Feature
from basewise.errors import ConfigError, DataError, UnknownName
from basewise.stats import benjamini_hochberg
from basewise.types import Bools, Floats, Ints

__all__ = [
    "MEASURES",
    "SCORES",
    "RegionScores",
    "family_wise",
    "gene_sets",
    "region_scores",
    "set_enrichment",
]

SCORES = (
    "measure", "null", "bases", "observed", "expected", "effect", "above", "below", "n_null", "p",
    "q", "reason",
)  # fmt: skip
"""Columns of every table, after those that say what a row is of.

measure : one of `MEASURES`, or `difference of means` for sets;
null : `shift`, `all shifts` (exact) or `matched`;
bases : with a score;
observed, expected : the measure, and its mean over the null;
effect : their difference in standard deviations of the null;
above, below : placements of the null at least as high, and at most as high;
n_null : placements;
p, q : two-sided, and corrected within measure (and kind of row);
reason : why there is no p value, or nothing.
"""

MINIMUM_PLACEMENTS = 100
_EQUAL = 1e-9  # of sums that were added up otherwise

Null = Literal["shift", "matched"]


class RegionScores(NamedTuple):
    """Tables: a row per region and measure, and one per kind of region and measure."""

    regions: pd.DataFrame
    kinds: pd.DataFrame


def region_scores(
    track: Mapping[str, Floats],
    features: Sequence[Feature],
    *,
    null: Null = "shift",
    sequences: Mapping[str, str] | None = None,
    draws: int = 10_000,
    cutoff: float | None = None,
    gc_tolerance: float = 0.02,
    seed: int = 0,
) -> RegionScores:
    """Score regions of a genome, and hold them against a null.

    Parameters
    ----------
    track : mapping of str to (b,) float
        Of every contig with a region; NaN at bases without a score, which count nowhere.
    features : sequence of Feature
        Such as `Annotation.genes()` and `noncoding`. Kinds are scored as a whole too (bases in two
        of its regions count twice), against shifts only.
    null : {"shift", "matched"}
    sequences : mapping of str to str, optional
        Of the contigs; needed by `matched`.
    draws : int
        Shifts, or placements of each region.
    cutoff : float, optional
        From which score on a base counts for the density; the 99 % quantile of the track if None.
    gc_tolerance : float
        By how much a placement's share of G+C may differ. A region with fewer placements than
        `MINIMUM_PLACEMENTS` in some 1.3 million tries has a reason in place of a p value.
    seed : int

    Returns
    -------
    RegionScores
        `regions` has the columns `id`, `name`, `kind`, `chrom`, `start`, `end`, `strand`, those
        of `SCORES`, and `quantile_as_published`; `kinds` has `kind`, `regions` and those of
        `SCORES`, and is empty for `matched`.

    Raises
    ------
    DataError
        If there are no features, or a contig has no track, or one that ends before a feature does.
    ConfigError
        If there is no such null, or less than one draw.
    """
    _check(null, draws)
    genome = ScoredGenome.of(track, features, cutoff)
    if null == "matched":
        found = {m: _Tally(genome.observed[m]) for m in MEASURES}
        for r, placed in matched_places(genome, sequences, draws, gc_tolerance, seed):
            for measure, tally in found.items():
                tally.add(placed[measure][:, None], r)
        empty = pd.DataFrame(columns=["kind", "regions", *SCORES])
        return RegionScores(_regions(genome, features, found, null), empty)
    kinds, groups = np.unique([feature.kind for feature in features], return_inverse=True)
    own = {m: _Tally(genome.observed[m]) for m in MEASURES}
    whole = {m: _Tally(values) for m, values in _by_kind(genome.observed, groups).items()}
    shifts, exact = shifts_of(genome.lengths, draws, seed)
    for values in genome.shifted(shifts, MEASURES):
        for measure, of_kinds in _by_kind(values, groups).items():
            own[measure].add(values[measure])
            whole[measure].add(of_kinds)
    told = "all shifts" if exact else "shift"
    named = pd.DataFrame({"kind": kinds, "regions": np.bincount(groups)})
    bases = np.bincount(groups, weights=genome.observed["bases"])
    return RegionScores(_regions(genome, features, own, told), _tables(whole, told, named, bases))


def set_enrichment(
    track: Mapping[str, Floats],
    genes: Sequence[Feature],
    sets: Mapping[str, Sequence[int]],
    *,
    null: Null = "shift",
    sequences: Mapping[str, str] | None = None,
    draws: int = 10_000,
    gc_tolerance: float = 0.02,
    seed: int = 0,
) -> pd.DataFrame:
    """Do the genes of a set score higher than the other genes do? Against the nulls of regions.

    The measure is the mean over the set's genes of their mean score, less that over all other
    genes. Under a shift the set keeps its genes, their lengths and how they lie together in
    operons, so neighbours that share a score are not taken for independent evidence. Under
    `matched` each gene of the set goes to another place of its length and G+C by itself, and the
    other genes stay: what composition explains is taken out, but neighbours count as independent,
    so that p is too small for sets that lie together. Read both.

    Parameters
    ----------
    sets : mapping of str to sequence of int
        Which of `genes`, by the name of the set; see `gene_sets`.
    track, null, sequences, draws, gc_tolerance, seed
        As for `region_scores`. A gene without a place of its length and G+C is left out of
        `matched`, and the count of genes says so.

    Returns
    -------
    DataFrame
        Columns `set`, `genes` (how many of them are scored), and those of `SCORES`.
    """
    _check(null, draws)
    genome = ScoredGenome.of(track, genes, 0.0)
    member = np.zeros((len(sets), len(genes)), bool)
    for row, chosen in zip(member, sets.values(), strict=True):
        row[list(chosen)] = True

    def difference(means: Floats) -> Floats:
        known = ~np.isnan(means)
        values = np.where(known, means, 0.0)
        sums, counts = values @ member.T, known.astype(float) @ member.T
        with np.errstate(invalid="ignore", divide="ignore"):
            rest = (values.sum(-1, keepdims=True) - sums) / (known.sum(-1, keepdims=True) - counts)
            return np.asarray(sums / counts - rest)

    scored = member & ~np.isnan(genome.observed["mean"])
    if null == "matched":
        tally, scored = _matched_sets(
            genome,
            scored,
            matched_places(genome, sequences, draws, gc_tolerance, seed),
            draws,
            seed,
        )
        told: str = null
    else:
        tally = _Tally(difference(genome.observed["mean"][None])[0])
        shifts, exact = shifts_of(genome.lengths, draws, seed)
        for values in genome.shifted(shifts, ("mean",)):
            tally.add(difference(values["mean"]))
        told = "all shifts" if exact else "shift"
    named = pd.DataFrame({"set": list(sets), "genes": scored.sum(1)})
    bases = scored @ genome.observed["bases"]
    return _tables({"difference of means": tally}, told, named, bases)


def _matched_sets(
    genome: ScoredGenome,
    member: Bools,
    placements: Iterator[tuple[int, dict[str, Floats]]],
    draws: int,
    seed: int,
) -> tuple[_Tally, Bools]:
    """Sets, (s, r), whose genes are placed one by one; and which genes could be."""
    means, rng = genome.observed["mean"], np.random.default_rng([seed, 8])
    placed, kept = np.zeros((draws, len(member))), member.copy()
    for r, measures in placements:
        found = measures["mean"]
        if len(found) < min(draws, MINIMUM_PLACEMENTS):
            kept[:, r] = False
        elif member[:, r].any():
            # Where there are fewer places than draws, they come again.
            own = rng.permutation(np.resize(found, draws))
            placed[:, member[:, r]] += own[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        size = kept.sum(1)
        others = ~member & ~np.isnan(means)
        rest = (others @ np.nan_to_num(means)) / others.sum(1)
        tally = _Tally((kept @ np.nan_to_num(means)) / size - rest)
        tally.add(placed / size - rest)
    return tally, kept


def family_wise(
    track: Mapping[str, Floats], features: Sequence[Feature], *, draws: int = 10_000, seed: int = 0
) -> Floats:
    """p values of single regions, adjusted for all of them: step-down max T from the shifts.

    Of each shift the largest effects of all regions are kept together, so that regions whose
    scores go together are not corrected for twice, as they are by q values. The chance that any
    region is called at p < 0.05 is 5 % where none stands out; and where some do, as far as the
    others' effects are what they would be without these (Westfall & Young 1993, algorithm 2.8).
    A shift moves regions onto those that stand out, too, which makes p larger.

    Parameters
    ----------
    track, features, draws, seed
        As for `region_scores`; the shifts are the same.

    Returns
    -------
    (r,) float
        At least 1 / (1 + draws); NaN for a region without a score.
    """
    _check("shift", draws)
    genome = ScoredGenome.of(track, features, 0.0)
    shifts, _ = shifts_of(genome.lengths, draws, seed)
    tally = _Tally(genome.observed["mean"])
    for values in genome.shifted(shifts, ("mean",)):
        tally.add(values["mean"])
    known = np.flatnonzero(~np.isnan(tally.observed))
    expected, spread = tally.moments()
    effect = np.abs(_effect(tally.observed, expected, spread))[known]
    order = known[np.argsort(-effect, kind="stable")]
    effect = np.sort(effect)[::-1]
    beyond = np.zeros(len(order))
    for values in genome.shifted(shifts, ("mean",)):
        null = np.abs(_effect(values["mean"], expected, spread))[:, order]
        highest = np.maximum.accumulate(np.nan_to_num(null)[:, ::-1], axis=1)[:, ::-1]
        beyond += (highest >= effect * (1 - _EQUAL)).sum(0)
    found = np.full(len(features), np.nan)
    found[order] = np.maximum.accumulate((1 + beyond) / (1 + len(shifts)))
    return found


def gene_sets(
    genes: Sequence[Feature], sets: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[int]], dict[str, list[str]]]:
    """Join lists of names with genes.

    Names are compared without regard to case; `yqfU/yitE` is either. A copy that Prokka numbers
    (`dnaA_1`) is of its gene's name. A name that several genes have stands for all of them.

    Returns
    -------
    sets : dict
        By the name of the set, which of `genes`.
    missing : dict
        By the name of the set, the names that no gene has.

    Raises
    ------
    DataError
        If a set is one name where a list of them is asked for, or an argument is not of its kind.
    """
    several = isinstance(genes, Sequence) and not isinstance(genes, str)
    if not (several and all(isinstance(gene, Feature) for gene in genes)):
        raise DataError(
            "genes are features, such as read_annotation(path).genes() gives; this is "
            f"{f'a {type(genes).__name__} of other values' if several else type(genes).__name__}."
        )
    if not isinstance(sets, Mapping):
        raise DataError(
            f"sets is of {type(sets).__name__}; give a mapping of names of sets to lists of genes."
        )
    known: dict[str, list[int]] = {}
    for i, gene in enumerate(genes):
        if gene.name:
            base, mark, copy = gene.name.lower().rpartition("_")
            for name in {gene.name.lower(), base if mark and copy.isdecimal() else ""} - {""}:
                known.setdefault(name, []).append(i)
    found, missing = {}, {}
    for title, names in sets.items():
        if isinstance(names, str):
            raise DataError(f"The set {title!r} is the text {names!r}; give a list of names.")
        if wrong := [name for name in names if not isinstance(name, str)]:
            raise DataError(f"The set {title!r} holds {wrong[0]!r}; names of genes are text.")
        wanted = {name: name.lower().replace(" ", "").split("/") for name in names}
        found[title] = sorted({i for own in wanted.values() for n in own for i in known.get(n, [])})
        missing[title] = [name for name, own in wanted.items() if not known.keys() & set(own)]
    return found, missing


# -------------------------------------------------------------------- placements


def _check(null: str, draws: int) -> None:
    if null not in get_args(Null):
        raise UnknownName("null", null, get_args(Null))
    if draws < 1:
        raise ConfigError(f"draws = {draws}: a null has at least one draw.")


class _Tally:
    """What is kept of a null: how often it is as extreme, its mean and spread. Nothing grows."""

    def __init__(self, observed: Floats):
        self.observed = observed
        self.above, self.below, self.n, self.total, self.squares = np.zeros((5, len(observed)))
        # Sums of the same numbers in another order are the same.
        self.slack = _EQUAL * np.maximum(np.abs(observed), 1e-300)

    def add(self, values: Floats, only: int | None = None) -> None:
        """Take note of placements, (s, m); or, of one region `only`, (s, 1)."""
        at = slice(None) if only is None else slice(only, only + 1)
        observed, slack = self.observed[at], self.slack[at]
        self.above[at] += (values >= observed - slack).sum(0)
        self.below[at] += (values <= observed + slack).sum(0)
        known = ~np.isnan(values)
        away = np.where(known, values - observed, 0.0)
        self.n[at] += known.sum(0)
        self.total[at] += away.sum(0)
        self.squares[at] += (away**2).sum(0)

    def moments(self) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the placements; 0 where all are equal."""
        with np.errstate(invalid="ignore", divide="ignore"):
            away = self.total / self.n
            spread = np.sqrt(np.maximum(self.squares / self.n - away**2, 0))
        flat = spread <= _EQUAL * np.maximum(np.abs(self.observed), np.abs(away))
        return self.observed + away, np.where(flat, 0.0, spread)

    def frame(self, measure: str, null: str) -> pd.DataFrame:
        """The columns of `SCORES` but `bases` and `q`."""
        enough = (self.n >= MINIMUM_PLACEMENTS) | (null == "all shifts")
        expected, spread = self.moments()
        away = expected - self.observed
        effect = np.where(spread > 0, _effect(self.observed, expected, spread), np.nan)
        p = np.minimum(2 * (1 + np.minimum(self.above, self.below)) / (1 + self.n), 1.0)
        reason = np.where(enough, "", "too few places of its length and G+C")
        reason = np.where(np.isnan(self.observed), "no base has a score", reason).astype(object)
        return pd.DataFrame(
            {
                "measure": measure,
                "null": null,
                "observed": self.observed,
                "expected": self.observed + away,
                "effect": effect,
                "above": self.above.astype(int),
                "below": self.below.astype(int),
                "n_null": self.n.astype(int),
                "p": np.where(reason == "", p, np.nan),
                "reason": reason,
            }
        )


def _effect(values: Floats, expected: Floats, spread: Floats) -> Floats:
    """Differences from the mean of the null in its standard deviations; 0 where it has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, (values - expected) / spread, 0.0))


# -------------------------------------------------------------------- tables


def _by_kind(values: Mapping[str, Floats], groups: Ints) -> dict[str, Floats]:
    """The measures of all regions of a kind together, (..., k), from those of the regions."""
    member = np.eye(int(groups.max()) + 1)[groups]
    count = values["bases"] @ member
    total = np.nan_to_num(values["sum"]) @ member
    over = (np.nan_to_num(values["density"]) * values["bases"]) @ member
    order = np.argsort(groups, kind="stable")
    first = np.searchsorted(groups[order], np.arange(member.shape[1]))
    highest = np.where(np.isnan(values["maximum"]), -np.inf, values["maximum"])[..., order]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = {
            "mean": total / count,
            "sum": total,
            "maximum": np.maximum.reduceat(highest, first, axis=-1),
            "density": over / count,
        }
    return {m: np.where(count > 0, of, np.nan) for m, of in found.items()}


def _regions(
    genome: ScoredGenome, features: Sequence[Feature], tallies: Mapping[str, _Tally], null: str
) -> pd.DataFrame:
    """The table of regions."""
    named = pd.DataFrame(
        [(f.id, f.name, f.kind, f.chrom, f.start, f.end, f.strand) for f in features],
        columns=["id", "name", "kind", "chrom", "start", "end", "strand"],
    )
    found = _tables(tallies, null, named, genome.observed["bases"])
    once = np.concatenate(
        [genome.doubled[b : b + n] for b, n in zip(genome.base, genome.lengths, strict=True)]
    )
    single = np.sort(once[~np.isnan(once)])
    mean = genome.observed["mean"]
    quantile = np.searchsorted(single, mean, side="right") / max(len(single), 1)
    quantile = np.where(np.isnan(mean), np.nan, quantile)
    return found.assign(quantile_as_published=np.tile(quantile, len(tallies)))


def _tables(
    tallies: Mapping[str, _Tally], null: str, named: pd.DataFrame, bases: Floats | Ints
) -> pd.DataFrame:
    """A row for each row of `named` and each measure, q values within a measure."""
    frames = []
    for measure, tally in tallies.items():
        frame = tally.frame(measure, null)
        frame["bases"] = bases.astype(int)
        frame["q"] = benjamini_hochberg(frame["p"])
        frames.append(pd.concat([named, frame], axis=1))
    return pd.concat(frames, ignore_index=True)[[*named.columns, *SCORES]]
