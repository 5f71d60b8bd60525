"""The same sequence twice: within a split, between splits, and with another label."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import pandas as pd

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
from basewise.checks.splits import Splits, compared, named, own
from basewise.checks.text import Text, turned
from basewise.registry import component
from basewise.stats import wilson
from basewise.types import Record

__all__ = ["Duplicates"]

_CHECK = "duplicates"


@component
class Duplicates:
    """Equal sequences, on the same strand and on the other one, and labels that contradict.

    Two sequences are equal when every letter is (`N` equals `N`). What chance gives is the
    expected number of equal pairs among independent random bases with the data's own base
    frequencies: pairs of equal length b times `q**b`, q the probability that two bases are
    equal. A count that a Poisson variable with this mean reaches in 1 of 1,000 cases is `info`.

    Attributes
    ----------
    repeated : float
        Share of repeated rows within a split that is a warning. Repeats give some rows double
        weight, which below 1 % moves a score by less than its own sampling error.
    leaked, leaked_badly : float
        Share of a split's rows that stand in another split, or contradict another row, that is
        a warning and an error. Such a row moves accuracy by at most its share: 0.1 % moves the
        third digit, 1 % is as much as published models differ by.
    """

    repeated: Part = 0.01
    leaked: Part = 0.001
    leaked_badly: Part = 0.01

    def check(self, splits: Splits) -> list[Finding]:
        """Findings within each split of the data set, then between each pair of splits."""
        table = _table(splits)
        rows = {name: table[table.split == name] for name in splits}
        found: list[Finding] = []
        for name in own(splits):
            found += self._repeated(rows[name], name, splits)
            found += self._contradictory(rows[name], name, splits)
        for known, judged in compared(splits):
            found.append(self._shared(rows[known], rows[judged], known, judged, splits))
        return found

    def _repeated(self, rows: pd.DataFrame, name: str, splits: Splits) -> list[Finding]:
        n, distinct = len(rows), rows.sequence.nunique()
        repeats, chance = n - distinct, _chance(splits[name])
        strands = _turned(rows, rows).sequence.nunique()
        lead = wilson(repeats, n)
        return [
            Finding(
                check=_CHECK,
                severity=unless_chance(repeats, chance, graded(lead.value, self.repeated)),
                title=f"Repeated sequences in {name}",
                sentence=(
                    f"{repeats:,} of {n:,} {name} rows repeat the sequence of an earlier row "
                    f"({share(repeats, n)}); chance would give {expected(chance)}. The reverse "
                    f"complement is there, too, of {counted(strands, 'sequence')}."
                    + (" Keep one row of each, or weight them." if repeats else "")
                ),
                n=repeats,
                effect={"share of rows": lead},
                evidence={
                    "expected by chance": chance,
                    "distinct sequences": distinct,
                    "sequences on both strands": strands,
                },
                examples=_shown(rows[rows.sequence.duplicated(keep=False)], splits),
            )
        ]

    def _contradictory(self, rows: pd.DataFrame, name: str, splits: Splits) -> list[Finding]:
        clashing = rows[rows.groupby("sequence").label.transform("nunique") > 1]
        if clashing.empty:
            return []
        sequences, chance = clashing.sequence.nunique(), _chance(splits[name])
        commonest = clashing.groupby(["sequence", "label"]).size().groupby("sequence").max()
        lost = len(clashing) - int(commonest.sum())
        lead = wilson(len(clashing), len(rows))
        severity = graded(lead.value, 0.0, self.leaked_badly)
        return [
            Finding(
                check=_CHECK,
                severity=unless_chance(sequences, chance, severity),
                title=f"Contradictory labels in {name}",
                sentence=(
                    f"The labels of {counted(sequences, 'sequence')} of {name} contradict each "
                    f"other ({len(clashing):,} rows, {share(len(clashing), len(rows))}); chance "
                    f"would give {expected(chance)}. A model is wrong on at least {lost:,} of "
                    "them, whatever it learns. Find out which label is true, or drop the rows."
                ),
                n=sequences,
                effect={"share of rows": lead},
                evidence={"expected by chance": chance, "rows": len(clashing), "rows lost": lost},
                examples=_shown(clashing, splits),
            )
        ]

    def _shared(
        self, there: pd.DataFrame, here: pd.DataFrame, known: str, judged: str, splits: Splits
    ) -> Finding:
        equal = here[here.sequence.isin(there.sequence)]
        origin = there[there.sequence.isin(here.sequence)]
        pairs = equal.merge(origin, on="sequence", suffixes=("", "_known")).dropna()
        clashes = pairs[pairs.label != pairs.label_known].sequence.nunique()
        other = _turned(here[~here.sequence.isin(there.sequence)], there)
        n, rows, sequences = len(here), len(equal), equal.sequence.nunique()
        chance = _chance(splits[known], splits[judged])
        lead = wilson(rows + len(other), n)
        severity = graded(lead.value, self.leaked, self.leaked_badly)
        return Finding(
            check=_CHECK,
            severity=unless_chance(rows + len(other), 2 * chance, severity),
            title=f"Sequences of {judged} that are in {known}",
            sentence=(
                f"{judged} has {counted(sequences, 'sequence')} ({rows:,} of {n:,} rows, "
                f"{share(rows, n)}) in common with {known}, {clashes:,} of them with another label "
                f"there, and {other.sequence.nunique():,} more as reverse complements; chance "
                f"would give {expected(chance)}."
                + (f" Drop them from {known} or from {judged}." if lead.value else "")
            ),
            n=sequences,
            effect={"share of rows, both strands": lead},
            evidence={
                "expected by chance": chance,
                f"rows of {judged}": rows,
                f"rows of {known}": len(origin),
                "with another label": clashes,
                "as reverse complement": other.sequence.nunique(),
            },
            examples=_shown(pd.concat([equal, origin]), splits),
        )


def _table(splits: Splits) -> pd.DataFrame:
    """One row per record of every split: `split, row, sequence, mate, label`.

    `sequence` numbers the distinct sequences; `mate` is the number of the reverse complement,
    -1 where no split holds it or it is the sequence itself; `label` is missing where unknown.
    """
    records = [record for some in splits.values() for record in some]
    sequences = pd.Series([record.sequence for record in records], dtype=object)
    number, distinct = pd.factorize(sequences)
    mates = turned(list(distinct))
    mate = pd.Index(distinct).get_indexer(pd.Index(mates))
    mate[mate == np.arange(len(mate))] = -1
    return pd.DataFrame(
        {
            "split": np.repeat(list(splits), [len(some) for some in splits.values()]),
            "row": np.concatenate([np.arange(len(some)) for some in splits.values()]),
            "sequence": number,
            "mate": mate[number],
            "label": pd.Series([record.label for record in records], dtype=object),
        }
    )


def _turned(rows: pd.DataFrame, among: pd.DataFrame) -> pd.DataFrame:
    """The rows whose reverse complement is a sequence of `among`."""
    return rows[(rows.mate >= 0) & rows.mate.isin(among.sequence)]


def _chance(records: Sequence[Record], others: Sequence[Record] | None = None) -> float:
    """Expected equal pairs among independent random sequences of the same lengths and bases."""
    pooled = [record.sequence for record in (*records, *(others or ()))]
    alike = float((Text.of(pooled).frequencies() ** 2).sum())
    lengths, n = np.unique([len(r.sequence) for r in records], return_counts=True)
    if others is None:
        pairs = n * (n - 1) / 2
    else:
        there = np.array([len(record.sequence) for record in others])
        pairs = n * np.array([(there == length).sum() for length in lengths])
    return float((pairs * alike**lengths).sum())


def _shown(rows: pd.DataFrame, splits: Splits) -> tuple[str, ...]:
    """A few groups of equal sequences."""
    groups = rows.groupby("sequence", sort=False)[["split", "row"]]
    return tuple(
        " = ".join(named(split, splits[split][row]) for split, row in group.head(3).to_numpy())
        for _, group in islice(groups, SHOWN)
    )
