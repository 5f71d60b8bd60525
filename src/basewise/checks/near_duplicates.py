"""Sequences that lie in, overlap or nearly equal a sequence of another split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field
from scipy.special import bdtrc

from basewise.checks.findings import (
    SHOWN,
    Finding,
    Part,
    counted,
    expected,
    graded,
    share,
    unless_chance,
)
from basewise.checks.splits import Splits, compared, named
from basewise.checks.text import Text, agreements, turned
from basewise.registry import component
from basewise.stats import wilson
from basewise.types import Ints, Record

__all__ = ["NearDuplicates", "near_pairs"]

_CHECK = "near_duplicates"


@component
class NearDuplicates:
    """Sequences of one split that lie in, overlap or nearly equal one of another split.

    Two sequences that share a word of `word` bases, on either strand, are laid against each
    other along the diagonal of that word (no gaps) and compared base by base. Their
    *containment* is the number of equal bases beyond chance, `equal - unequal / 3` (a base
    that was replaced is equal by chance in a quarter of the cases), over the length of the
    shorter sequence: 1 for a sequence within another, 0.5 for windows of a genome that overlap
    by half, 0.93 at 5 % substitutions, about 0 for unrelated sequences. Sequences that equal
    one of the other split, on either strand, are left to the check `duplicates`.

    Attributes
    ----------
    word : int
        Bases of a shared word, at most 31. Between two sets of 6,000 random sequences of
        300 bp about five words of 20 are shared by chance.
    repeat : int
        A word that stands in the other split more often than this starts no comparison: it is
        a repeat (Alu, poly-A), and the pairs of its copies grow with the square.
    containment : float
        From where on a pair counts as near duplicates: half of the shorter sequence.
    leaked, leaked_badly : float
        Share of the rows of a split that is a warning and an error; reasons as in `Duplicates`.
    """

    word: Annotated[int, Field(ge=8, le=31)] = 20
    repeat: Annotated[int, Field(ge=1)] = 50
    containment: Part = 0.5
    leaked: Part = 0.001
    leaked_badly: Part = 0.01

    def check(self, splits: Splits) -> list[Finding]:
        """One finding for each pair of splits, or one `info` where there is but one split."""
        found = [self._between(known, judged, splits) for known, judged in compared(splits)]
        alone = "Not looked at: there is one split only, and nothing to compare it with."
        return found or [Finding(_CHECK, "info", "Near duplicates", alone, n=0)]

    def _between(self, known: str, judged: str, splits: Splits) -> Finding:
        there, here = _distinct(splits[known]), _distinct(splits[judged])
        here = here[~here.sequence.isin([*there.sequence, *turned(list(there.sequence))])]
        a, b = Text.of(list(there.sequence)), Text.of(list(here.sequence))
        pairs = near_pairs(a, b, self.word, self.repeat)
        pairs = pairs[pairs.containment >= self.containment]
        pairs = pairs.assign(
            rows=here.rows.to_numpy()[pairs.b],
            row=here["first"].to_numpy()[pairs.b],
            row_known=there["first"].to_numpy()[pairs.a],
        )
        best = pairs.sort_values("containment", ascending=False, kind="stable").drop_duplicates("b")
        n, rows = len(splits[judged]), int(best.rows.sum())
        lead, chance = wilson(rows, n), self._chance(a, b)
        severity = graded(lead.value, self.leaked, self.leaked_badly)
        short = sum(len(record.sequence) < self.word for record in splits[judged])
        evidence: dict[str, Any] = {
            "expected by chance": chance,
            f"rows of {judged}": rows,
            "rows shorter than a word": short,
        }
        if rows:
            evidence |= _places(pairs, known, judged)
            evidence |= _labels(best, splits[known], splits[judged])
        return Finding(
            check=_CHECK,
            severity=unless_chance(len(best), chance, severity),
            title=f"Near duplicates of {known} in {judged}",
            sentence=(
                f"{judged} has {counted(len(best), 'sequence')} ({rows:,} of {n:,} rows, "
                f"{share(rows, n)}) that hold, lie in or overlap one of {known} by at least "
                f"{100 * self.containment:g} % of the shorter of the two, equal ones not counted; "
                f"chance would give {expected(chance, bound=True)}."
                + (_told(evidence, judged) if rows else "")
                + (
                    f" {counted(short, 'row')} of {judged} cannot be judged: shorter than a word "
                    f"of {self.word} bases."
                    if short
                    else ""
                )
            ),
            n=len(best),
            effect={"share of rows": lead},
            evidence=evidence,
            examples=tuple(
                f"{named(judged, splits[judged][pair.row])} ~ "
                f"{named(known, splits[known][pair.row_known])}, at "
                f"{_place(pair, known, judged)}, containment {pair.containment:.3f}"
                for _, pair in best.head(SHOWN).iterrows()
            ),
        )

    def _chance(self, a: Text, b: Text) -> float:
        """Upper bound on the pairs found among independent random sequences.

        For each two lengths and each diagonal: the chance that enough bases of the shorter
        sequence agree, or that a word does, whichever is smaller.
        """
        (la, na), (lb, nb) = (np.unique(text.length, return_counts=True) for text in (a, b))
        alike = float((a.frequencies() * b.frequencies()).sum())
        short = np.minimum.outer(la, lb)
        enough = bdtrc(np.ceil(short * (3 * self.containment + 1) / 4) - 1, short, alike)
        word = np.maximum(short - self.word + 1, 0) * alike**self.word
        diagonals = 2 * np.add.outer(la, lb)
        return float((np.outer(na, nb) * diagonals * np.minimum(enough, word)).sum())


def near_pairs(a: Text, b: Text, word: int, repeat: int) -> pd.DataFrame:
    """Sequences of `a` and `b` that share a word, laid along its diagonal.

    Parameters
    ----------
    word : int
        Bases of the word, at most 31.
    repeat : int
        Words that stand in `a` more often than this are passed over.

    Returns
    -------
    DataFrame
        One row per pair, strand and diagonal: `a, b` (rows), `other_strand` (whether the
        sequence of a is read as its reverse complement), `shift` (base t of b lies against base
        t + shift of a), `containment` (see `NearDuplicates`), `longer` (`"b"` where the sequence
        of b is longer, else `"a"`) and where in the longer one, as it stands, the shorter one
        lies, `start` and `end`; negative, or past its end, where they only overlap.
    """
    parts = []
    for other_strand, strand in ((False, a), (True, a.reverse_complement())):
        i, j, shift = _diagonals(strand, b, word, repeat)
        equal, both = np.zeros(len(i), np.int64), np.zeros(len(i), np.int64)
        for found in agreements(strand, i, b, j, shift):
            equal[found.part], both[found.part] = found.equal.sum(1), found.both.sum(1)
        short = np.minimum(a.length[i], b.length[j])
        columns = {"a": i, "b": j, "other_strand": other_strand, "shift": shift}
        columns["containment"] = (equal - (both - equal) / 3) / short
        in_a = a.length[i] - shift - short if other_strand else shift
        columns["longer"] = np.where(a.length[i] < b.length[j], "b", "a")
        columns["start"] = np.where(a.length[i] < b.length[j], -shift, in_a)
        columns["end"] = columns["start"] + short
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _diagonals(a: Text, b: Text, word: int, repeat: int) -> tuple[Ints, Ints, Ints]:
    """Every (row of a, row of b, shift) at which a word is shared."""
    left, right = a.words(word), b.words(word)
    order, others = np.argsort(left.number), np.argsort(right.number)
    numbers, sought = left.number[order], right.number[others]
    first = np.searchsorted(numbers, sought)
    count = np.searchsorted(numbers, sought, side="right") - first
    count[count > repeat] = 0
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    i, j = order[np.repeat(first, count) + within], np.repeat(others, count)
    shift = left.position[i] - right.position[j]
    found = pd.DataFrame({"a": left.row[i], "b": right.row[j], "shift": shift}).drop_duplicates()
    return found.a.to_numpy(), found.b.to_numpy(), found["shift"].to_numpy()


def _distinct(records: Sequence[Record]) -> pd.DataFrame:
    """The distinct sequences: `sequence, first` (the row it first stands in), `rows`."""
    every = pd.DataFrame({"sequence": [record.sequence for record in records]})
    return (
        every.reset_index(names="first")
        .groupby("sequence", sort=False, as_index=False)
        .agg(first=("first", "min"), rows=("first", "size"))
    )


def _places(pairs: pd.DataFrame, known: str, judged: str) -> dict[str, Any]:
    """How many rows lie whole in, or hold whole, one of the other split, and mostly where."""
    whole = pairs[pairs.containment == 1]
    found: dict[str, Any] = {
        "rows whose match is whole": int(whole.drop_duplicates("b").rows.sum()),
        "rows matched on the other strand": int(
            pairs[pairs.other_strand].drop_duplicates("b").rows.sum()
        ),
    }
    if whole.empty:
        return found
    place = ["other_strand", "longer", "start", "end"]
    once = whole.drop_duplicates(["b", *place])
    commonest = once.groupby(place).rows.agg("sum").sort_values(ascending=False).head(1)
    first = commonest.reset_index().iloc[0]
    there = once.merge(commonest.reset_index()[place], on=place)
    return found | {
        "commonest place": _place(first, known, judged),
        "rows at the commonest place": int(first.rows),
        "sequences at the commonest place": len(there),
    }


def _place(pair: Any, known: str, judged: str) -> str:
    holder = judged if pair.longer == "b" else known
    strand = ", other strand" if pair.other_strand else ""
    return f"[{pair.start}:{pair.end}] of the {holder} sequence{strand}"


def _labels(
    best: pd.DataFrame, known: Sequence[Record], judged: Sequence[Record]
) -> dict[str, Any]:
    """How many of the pairs have one label."""
    pairs = [
        (known[i].label, judged[j].label)
        for i, j in zip(best.row_known, best.row, strict=True)
        if known[i].label is not None and judged[j].label is not None
    ]
    return {"pairs with labels": len(pairs), "of one label": sum(a == b for a, b in pairs)}


def _told(evidence: dict[str, Any], judged: str) -> str:
    """The rest of the sentence: where they match, how the labels agree, what to do."""
    told = ""
    if "commonest place" in evidence:
        whole = counted(evidence["rows whose match is whole"], "row")
        told += (
            f" One lies whole in the other in {whole}, in "
            f"{evidence['rows at the commonest place']:,} of them "
            f"({counted(evidence['sequences at the commonest place'], 'distinct sequence')}) "
            f"at {evidence['commonest place']}."
        )
    equal, pairs = evidence["of one label"], evidence["pairs with labels"]
    if pairs:
        told += f" The labels are equal in {share(equal, pairs)}."
    if 2 * equal < pairs:
        return told + (
            " Most differ: classes made from one another, or labels that contradict; memory "
            "misleads a model there. Split so that like sequences stay together."
        )
    return told + (
        f" A score on them measures memory: drop them from {judged}, or split so that like "
        "sequences stay together."
    )
