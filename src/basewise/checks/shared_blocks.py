"""Sequences of one class made of pieces of those of another, discovered from the data alone.

A common way to make negatives is to cut a positive into blocks of equal length, to keep some
of them in place and to replace the others. Such a negative agrees with its parent, base against
base, in whole blocks: the agreement of the two switches on and off at the cuts only. No length
is assumed here; it is read from where the agreement switches.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import ceil
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from basewise.checks.blocks import (
    Blocks,
    Period,
    aligned_pairs,
    chance_pairs,
    find_cuts,
    find_period,
    shared_runs,
)
from basewise.checks.findings import (
    SHOWN,
    Finding,
    Part,
    Severity,
    class_name,
    counted,
    expected,
    graded,
    share,
)
from basewise.checks.splits import Splits, named, own
from basewise.checks.text import Text
from basewise.registry import component
from basewise.sequence.alphabet import N
from basewise.stats import Estimate, wilson
from basewise.types import Bools, Codes, Ints, Record

__all__ = ["SharedBlocks"]

_CHECK = "shared_blocks"
_SURE = 0.001  # bound on the chance of the period found


@component
class SharedBlocks:
    """Sequences of one class made of pieces of a sequence of another class, in place.

    1. Pairs of sequences that hold the same word at the same position are compared base by
       base. Those are kept that agree in runs of at least a word which sum to two words or
       more: unrelated sequences do not.
    2. Where runs begin and end gives the period and phase of the cuts; see `find_period`. Each
       sequence speaks in its best pair only, so that neither a family of alike sequences nor
       a flank that all have is many witnesses.
    3. A pair is of this make when at least half as many blocks agree whole as in the commonest
       pair, and so many that less than one such pair is expected by chance, while less than
       half of the other bases agree. Each sequence of the derived class counts once, with its
       best partner.
    4. The derived class is the one whose exchanged bases do not know the kept ones: in a
       natural sequence the GC contents of two parts go together. It is named where the
       intervals of the two correlations do not touch.

    Attributes
    ----------
    word : int
        Bases of the word that starts a comparison. Shorter blocks are seen where two
        neighbours are kept.
    repeat : int
        A word that more sequences than this hold at one position starts no comparison.
    regular : float
        Least share of the begins and ends of runs that lie on a cut. A base beside a cut
        agrees by chance in a quarter of the cases, so clean data give 0.75.
    pairs : int
        Fewest pairs, each sequence in one of them only, that are spoken of.
    derived, derived_badly : float
        Share of a class with its parent in the data that is a warning and an error. From 1 %
        on the make is that of the class (most parents may be elsewhere), and a model learns to
        tell natural from mended sequence.
    """

    word: Annotated[int, Field(ge=6, le=20)] = 12
    repeat: Annotated[int, Field(ge=2)] = 50
    regular: Annotated[float, Field(gt=0, le=1)] = 0.5
    pairs: Annotated[int, Field(ge=1)] = 10
    derived: Part = 0.001
    derived_badly: Part = 0.01

    def check(self, splits: Splits) -> list[Finding]:
        """One finding for each two classes that share blocks; one `info` where none do."""
        pool = _Pool.of(own(splits))
        if len(pool.labels) < 2:
            return [_nothing("Not looked at: there are no two classes.")]
        runs = shared_runs(pool.text, *aligned_pairs(pool.text, self.word, self.repeat), self.word)
        bases = (runs.end - runs.start).groupby([runs.i, runs.j]).transform("sum")
        runs = runs.assign(bases=bases)[bases >= 2 * self.word]
        makes = (self._make(pool, runs, a, b) for a, b in combinations(range(len(pool.labels)), 2))
        found = [_finding(pool, make, self._severity(pool, make)) for make in makes if make]
        classes = " and ".join(map(class_name, pool.labels))
        return found or [
            _nothing(
                f"{classes} share no blocks in place: fewer than {self.pairs} pairs of sequences "
                "agree in long runs, or not at regular cuts."
            )
        ]

    def _make(self, pool: _Pool, runs: pd.DataFrame, first: int, second: int) -> _Make | None:
        """How sequences of two classes were made from one another; None if they were not."""
        between = _between(pool, runs, first, second)
        best = between.sort_values("bases", ascending=False, kind="stable")[["a", "b"]]
        once = _single(best).merge(between, on=["a", "b"])
        switches = np.concatenate([once.start[once.begins], once.end[once.ends]])
        width = int(pool.text.length.max())
        period = find_period(switches, width)
        if period.regular < self.regular or period.p > _SURE:
            return None
        cuts = find_cuts(switches, period, width)
        alike = float((pool.text.frequencies() ** 2).sum())
        sizes = np.bincount(pool.classes)
        chance = chance_pairs(np.diff(cuts), alike, int(sizes[first] * sizes[second]))
        sure = np.flatnonzero(chance < 1)
        if not len(sure):
            return None
        pairs = _pieced(pool.text, between, cuts, int(sure[0]))
        single = _single(pairs)
        if len(single) < self.pairs:
            return None
        usual = int(single.kept.mode().iloc[0])
        least = max(int(sure[0]), ceil(usual / 2))
        single = single[single.kept >= least]
        blocks = Blocks.compare(pool.text, single.a.to_numpy(), single.b.to_numpy(), cuts)
        coupling = blocks.coupling(blocks.a), blocks.coupling(blocks.b)
        swap = coupling[1].value < coupling[0].value
        derived, parent = ("b", "a") if swap else ("a", "b")
        pairs = pairs[pairs.kept >= least].drop_duplicates(derived)
        within = pd.concat([_between(pool, runs, label, label) for label in (first, second)])
        return _Make(
            derived=(second, first)[not swap],
            parent=(first, second)[not swap],
            told=max(c.low for c in coupling) > min(c.high for c in coupling),
            period=period,
            cuts=cuts,
            usual=usual,
            i=pairs[derived].to_numpy(),
            j=pairs[parent].to_numpy(),
            coupling=coupling[::-1] if swap else coupling,
            chance=float(chance[least]),
            within=len(_pieced(pool.text, within, cuts, least)),
        )

    def _severity(self, pool: _Pool, make: _Make) -> Severity:
        part = len(make.i) / int((pool.classes == make.derived).sum())
        return graded(part, self.derived, self.derived_badly)


class _Pool(NamedTuple):
    """The labelled rows of all splits: where each stands, and its label's place in `labels`."""

    text: Text
    records: list[Record]
    split: list[str]
    classes: Ints
    labels: list[str]

    @classmethod
    def of(cls, splits: Splits) -> _Pool:
        rows = [
            (r, name) for name, some in splits.items() for r in some if isinstance(r.label, str)
        ]
        names, classes = np.unique([str(r.label) for r, _ in rows], return_inverse=True)
        return cls(
            text=Text.of([record.sequence for record, _ in rows]),
            records=[record for record, _ in rows],
            split=[name for _, name in rows],
            classes=classes,
            labels=names.tolist(),
        )


class _Make(NamedTuple):
    """How sequences of one class were made from those of another.

    `i` and `j` are the rows of the derived sequences and of their parents, (d,); `told` says
    whether it is known which is which; `coupling` is that of the derived and of the parents;
    `chance` and `within` are the pairs like these that chance gives and that stand within
    the classes.
    """

    derived: int
    parent: int
    told: bool
    period: Period
    cuts: Ints
    usual: int
    i: Ints
    j: Ints
    coupling: tuple[Estimate, Estimate]
    chance: float
    within: int


def _between(pool: _Pool, runs: pd.DataFrame, first: int, second: int) -> pd.DataFrame:
    """The runs of pairs of two classes, with `a` the row of the first class, `b` the other."""
    here, there = pool.classes[runs.i], pool.classes[runs.j]
    straight, crossed = (here == first) & (there == second), (here == second) & (there == first)
    some: pd.DataFrame = runs[straight | crossed]
    turned = ~straight[straight | crossed]
    return some.assign(a=np.where(turned, some.j, some.i), b=np.where(turned, some.i, some.j))


def _single(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each sequence in one pair only, of pairs `a, b` in the order of their worth."""
    return pairs.drop_duplicates("a").drop_duplicates("b")


def _pieced(text: Text, runs: pd.DataFrame, cuts: Ints, least: int) -> pd.DataFrame:
    """Pairs `a, b` that share `least` whole blocks and little else, most `kept` first."""
    pairs = runs[["a", "b", "bases"]].drop_duplicates(["a", "b"])
    blocks = Blocks.compare(text, pairs.a.to_numpy(), pairs.b.to_numpy(), cuts)
    pairs = pairs.assign(kept=blocks.kept.sum(1))
    pairs = pairs[(pairs.kept >= least) & (blocks.agreement() < 0.5)]
    return pairs.sort_values(["kept", "bases"], ascending=False, kind="stable")


def _nothing(sentence: str) -> Finding:
    return Finding(_CHECK, "info", "Blocks shared between classes", sentence, n=0)


def _finding(pool: _Pool, make: _Make, severity: Severity) -> Finding:
    child, parent = (class_name(pool.labels[label]) for label in (make.derived, make.parent))
    n, found = int((pool.classes == make.derived).sum()), len(make.i)
    blocks = Blocks.compare(pool.text, make.i, make.j, make.cuts)
    kept = Counter(blocks.kept.sum(1).tolist())
    always = _spans(make.cuts, blocks.kept.mean(0) >= 0.99)
    never = _spans(make.cuts, blocks.kept.mean(0) <= 0.01)
    replaced = blocks.exchanged
    new, old = _frequencies(blocks.a[replaced]), _frequencies(blocks.b[replaced])
    equal, bases = int((blocks.a == blocks.b)[replaced].sum()), int(replaced.sum())
    parted = Counter((pool.split[i], pool.split[j]) for i, j in zip(make.i, make.j, strict=True))
    return Finding(
        check=_CHECK,
        severity=severity,
        title=f"{child} sequences are made from {parent} sequences",
        sentence=(
            f"{found:,} of {n:,} {child} sequences ({share(found, n)}) are a {parent} sequence "
            f"of the same data cut every {make.period.length} bases into {len(make.cuts) - 1} "
            f"blocks, {_kept(kept, make.usual)}"
            + (f"; {' and '.join(always)} always" if always else "")
            + (f"; {' and '.join(never)} never" if never else "")
            + f") and the others replaced; chance would give {expected(make.chance)}, and "
            f"within the classes {counted(make.within, 'pair')} can be found. {_bases(new, old)} "
            f"They equal the parent's in {share(equal, bases)} of the places. "
            + _apart(parted)
            + ("" if make.told else "Which of the two was made from the other cannot be told. ")
            + "A model can learn the joints and the replaced bases in place of biology: use "
            f"{child} sequences of another make, or say this beside every score."
        ),
        n=found,
        effect={
            f"share of {child} with its parent here": wilson(found, n),
            f"share that keeps {make.usual} blocks": wilson(kept[make.usual], found),
            "agreement of replaced bases": wilson(equal, bases),
            f"GC correlation of kept and replaced bases, {child}": make.coupling[0],
            f"GC correlation of kept and replaced bases, {parent}": make.coupling[1],
        },
        evidence={
            "derived class": pool.labels[make.derived],
            "derived class is certain": make.told,
            "bases between cuts": make.period.length,
            "cuts": make.cuts[1:-1].tolist(),
            "blocks": len(make.cuts) - 1,
            "kept blocks: sequences": {str(count): kept[count] for count in sorted(kept)},
            "always kept": always,
            "never kept": never,
            "replaced bases": new,
            "bases of the parents in their place": old,
            "split from split: sequences": {f"{i} from {j}": m for (i, j), m in parted.items()},
            "switches on cuts": make.period.regular,
            "chance of such cuts, at most": make.period.p,
            "pairs expected by chance": make.chance,
            "pairs within a class": make.within,
        },
        examples=tuple(
            f"{named(pool.split[i], pool.records[i])} from {named(pool.split[j], pool.records[j])}"
            for i, j in zip(make.i[:SHOWN], make.j[:SHOWN], strict=True)
        ),
    )


def _kept(kept: Counter[int], usual: int) -> str:
    """How many blocks are kept, and in how many of the sequences; leaves a bracket open."""
    if kept[usual] >= 0.9 * kept.total():
        return f"{usual} of them kept in place ({kept[usual]:,} times"
    return (
        f"{min(kept)} to {max(kept)} of them kept in place ({usual} most often, {kept[usual]:,} "
        f"times; fewer than {min(kept)} cannot be told from chance"
    )


def _spans(cuts: Ints, chosen: Bools) -> list[str]:
    """The chosen blocks as `[start:end]`."""
    return [f"[{cuts[i]}:{cuts[i + 1]}]" for i in np.flatnonzero(chosen)]


def _frequencies(codes: Codes) -> dict[str, float]:
    counts = np.bincount(codes, minlength=N)[:N]
    return {
        letter: float(count / counts.sum()) for letter, count in zip("ACGT", counts, strict=True)
    }


def _bases(new: dict[str, float], old: dict[str, float]) -> str:
    """What the replaced bases are."""
    shares, before = (
        " ".join(f"{letter} {part:.3f}" for letter, part in parts.items()) for parts in (new, old)
    )
    even = max(abs(part - 0.25) for part in new.values()) <= 0.01
    what = "uniform random bases: " if even else ""
    return f"The replaced bases are {what}{shares} (the parent has {before} there)."


def _apart(parted: Counter[tuple[str, str]]) -> str:
    """How many have their parent in another split."""
    cases = [(i, j, count) for (i, j), count in sorted(parted.items()) if i != j]
    if not cases:
        return ""
    told = ", ".join(f"{count:,} of {i} have it in {j}" for i, j, count in cases)
    return f"Parents in another split: {told}. "
