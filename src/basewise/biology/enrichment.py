"""Is a motif more frequent than it should be? Shares of sequences with a hit, against a null.

Two nulls, and one table for both (and for `reliance`, which asks about attribution):

* *other classes*: how often the sequences of one class have a hit against all others, by
  Fisher's exact test, at every count: it is exact where a chi-square test is only good for
  large counts, and costs nothing here.
* *dinucleotide shuffles*: how often sequences of a class have a hit against shuffles of the
  same sequences with the same dinucleotides, by the exact test of matched sets (`matched`).

The two differ. A class may hold a motif more often than another only because it is richer in
its bases; the shuffles say whether the motif is more than its dinucleotides make likely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from basewise.biology.matched import matched_odds_ratio
from basewise.errors import DataError, UnknownName
from basewise.motifs.motif import Motif, check_tss
from basewise.motifs.pvalue import UNIFORM
from basewise.motifs.scan import Scanner
from basewise.sequence.alphabet import N, encode_rows
from basewise.sequence.shuffle import shuffle_dinucleotides
from basewise.stats import benjamini_hochberg, odds_ratio, random_numbers
from basewise.types import Bools, Codes, Ints, Record

__all__ = [
    "ENRICHMENT",
    "MINIMUM",
    "Occupancy",
    "class_enrichment",
    "enrichment_row",
    "enrichment_table",
    "shuffle_enrichment",
]

ENRICHMENT = (
    "motif",
    "window",
    "label",
    "null",
    "measure",
    "n",
    "n_null",
    "with_hit",
    "observed",
    "expected",
    "effect",
    "low",
    "high",
    "p",
    "q",
    "reason",
)
"""Columns of every table of enrichment, one row per motif, label and null.

motif, window : the motif and where its hits may lie (`-35..-20`, `anywhere`).
label : the class of the sequences tested; `all` where classes are pooled.
null : what they are compared with: `other classes`, `dinucleotide shuffles`, `same sequence`,
    `same position`.
measure : what `effect` is: `odds ratio` or `standardised mean difference`.
n, n_null : sequences tested, and sequences, shuffles or stretches they are compared with.
with_hit : of the sequences tested, those with a hit (for attribution: with a hit that has
    controls).
observed, expected : share of sequences with a hit, and under the null; or mean attribution
    per base inside hits, and in the controls.
effect, low, high : with its 95 % interval.
p, q : two-sided; q by Benjamini & Hochberg 1995 over the motifs of one null and label.
reason : why there is no result (the numbers are then NaN); otherwise empty.
"""

MINIMUM = 10
"""Fewest sequences that a share, a mean or an interval is computed from."""

_BLOCK = 1 << 25  # bases of shuffles held at once: 32 MB


class Occupancy:
    """Whether sequences have a hit of each motif inside its window.

    Parameters
    ----------
    motifs : sequence of Motif
    tss : int or None
        0-based index of the +1 base; needed by motifs with a window.
    p, background
        As for `Scanner`.
    """

    def __init__(
        self,
        motifs: Sequence[Motif],
        tss: int | None,
        p: float = 1e-4,
        background: Sequence[float] = UNIFORM,
    ):
        self.motifs = tuple(motifs)
        self._places: list[tuple[slice, Ints, Scanner]] = []
        self.unreachable = Scanner(motifs, p, background).unreachable
        for window in [*sorted({m.window for m in motifs if m.window}), None]:
            members = np.array([i for i, m in enumerate(motifs) if m.window == window], np.int64)
            place = slice(None)
            if window is not None and tss is not None:
                span = window.span(tss)
                place = slice(max(span.start, 0), max(span.end, 0))
            scanner = Scanner([motifs[i] for i in members], p, background)
            self._places.append((place, members, scanner))

    def __call__(self, codes: Codes) -> Bools:
        """Which of the rows of codes, (n, b), has a hit of which motif, (n, m)."""
        found = np.zeros((len(codes), len(self.motifs)), bool)
        for place, members, scanner in self._places:
            stretch = codes[:, place]
            if not stretch.size or not len(members):
                continue
            laid = np.pad(stretch, ((0, 0), (0, scanner.gap)), constant_values=N)
            hits = scanner.find(laid.ravel())
            found[hits.start // laid.shape[1], members[scanner.motif_of_row[hits.row]]] = True
        return found

    def room(self, length: int) -> Bools:
        """Whether a sequence of this length reaches far enough into each window, (m,)."""
        found = np.zeros(len(self.motifs), bool)
        for place, members, _ in self._places:
            reach = len(range(length)[place])
            found[members] = [reach >= len(self.motifs[i]) for i in members]
        return found


def class_enrichment(
    records: Sequence[Record],
    motifs: Sequence[Motif],
    *,
    label: str,
    tss: int | None = None,
    p: float = 1e-4,
    background: Sequence[float] = UNIFORM,
) -> pd.DataFrame:
    """Whether sequences of one class have a motif more often than all others.

    Parameters
    ----------
    records : sequence of Record
        With class names as labels, of any lengths.
    motifs : sequence of Motif
    label : str
        The class asked about, by name.
    tss : int, optional
        0-based index of the +1 base in every record; needed by motifs with a window.
    p : float
        A matrix hits where its score has at most this p value; patterns match exactly.
    background : (4,) floats
        That `p` refers to.

    Returns
    -------
    DataFrame
        With the columns of `ENRICHMENT`; the effect is an odds ratio with Woolf's interval,
        p is Fisher's exact test.

    Raises
    ------
    DataError
        If a record has no class, the TSS lies outside a record, or the class or the others
        have fewer than `MINIMUM` records.
    """
    from scipy.stats import fisher_exact

    labels = _classes(records)
    if label not in labels:
        raise UnknownName("class of these records", label, set(labels))
    inside = np.array([found == label for found in labels], bool)
    for name, count in ((repr(label), inside.sum()), ("all others", (~inside).sum())):
        if count < MINIMUM:
            raise DataError(
                f"Comparing classes needs {MINIMUM} records of each; "
                f"{name} {'have' if name == 'all others' else 'has'} {count}."
            )
    check_tss(records, motifs, tss)
    occupancy = Occupancy(motifs, tss, p, background)
    hit, room = np.zeros((2, len(records), len(motifs)), bool)
    for rows, codes in _by_length(records):
        hit[rows] = occupancy(codes)
        room[rows] = occupancy.room(codes.shape[1])
    rows_of_table = []
    for i, motif in enumerate(motifs):
        a, b, c, d = (
            int((hit[:, i] & inside & room[:, i]).sum()),
            int((~hit[:, i] & inside & room[:, i]).sum()),
            int((hit[:, i] & ~inside & room[:, i]).sum()),
            int((~hit[:, i] & ~inside & room[:, i]).sum()),
        )
        row = enrichment_row(motif, label, "other classes", "odds ratio", a + b, c + d, a)
        row["reason"] = _refusal(motif, occupancy, a + b, c + d) or (
            "" if a + c else "no sequence has a hit"
        )
        if not row["reason"]:
            ratio = odds_ratio(a, b, c, d)
            row |= {
                "observed": a / (a + b),
                "expected": c / (c + d),
                "effect": ratio.value,
                "low": ratio.low,
                "high": ratio.high,
                "p": float(fisher_exact([[a, b], [c, d]]).pvalue),
            }
        rows_of_table.append(row)
    return enrichment_table(rows_of_table)


def shuffle_enrichment(
    records: Sequence[Record],
    motifs: Sequence[Motif],
    *,
    tss: int | None = None,
    draws: int = 20,
    seed: int = 0,
    p: float = 1e-4,
    background: Sequence[float] = UNIFORM,
) -> pd.DataFrame:
    """Whether the sequences of each class have a motif more often than their own shuffles.

    Parameters
    ----------
    records : sequence of Record
        With class names as labels, or without labels: then all are one class, `all`.
    motifs, tss, p, background
        As for `class_enrichment`.
    draws : int
        Dinucleotide shuffles per sequence. The test is exact for any number; more of them make
        the interval narrower.
    seed : int
        The shuffles of a record depend on it and on the record's id alone.

    Returns
    -------
    DataFrame
        With the columns of `ENRICHMENT`; the effect is the odds of a hit in the real sequences
        over the odds in their shuffles, matched by sequence (see `matched`).

    Raises
    ------
    DataError
        If some records have a class and others none, the TSS lies outside a record, or a class
        has fewer than `MINIMUM` records.
    """
    if draws < 1:
        raise DataError(f"draws is {draws}; at least 1 shuffle per sequence is needed.")
    labels = (
        _classes(records) if any(r.label is not None for r in records) else ["all"] * len(records)
    )
    for name in sorted(set(labels)):
        if labels.count(name) < MINIMUM:
            raise DataError(
                f"A class needs {MINIMUM} records to be compared with its shuffles; "
                f"{name!r} has {labels.count(name)}."
            )
    check_tss(records, motifs, tss)
    occupancy = Occupancy(motifs, tss, p, background)
    real, room = np.zeros((2, len(records), len(motifs)), bool)
    shuffled = np.zeros((len(records), draws, len(motifs)), bool)
    for rows, codes in _by_length(records, _BLOCK // draws):
        real[rows] = occupancy(codes)
        room[rows] = occupancy.room(codes.shape[1])
        generators = [random_numbers(seed, records[i].id, "shuffle_enrichment") for i in rows]
        null = shuffle_dinucleotides(codes, generators, draws)
        shuffled[rows] = occupancy(null.reshape(-1, codes.shape[1])).reshape(len(rows), draws, -1)
    rows_of_table = []
    for name in sorted(set(labels)):
        inside = np.array([found == name for found in labels], bool)
        for i, motif in enumerate(motifs):
            rows = np.flatnonzero(inside & room[:, i])
            hits, null_hits = real[rows, i], shuffled[rows, :, i]
            row = enrichment_row(
                motif,
                name,
                "dinucleotide shuffles",
                "odds ratio",
                len(rows),
                null_hits.size,
                int(hits.sum()),
            )
            row["reason"] = _refusal(motif, occupancy, len(rows))
            if not row["reason"]:
                found = matched_odds_ratio(hits, null_hits)
                row |= {
                    "observed": hits.mean(),
                    "expected": null_hits.mean(),
                    "effect": found.odds_ratio.value,
                    "low": found.odds_ratio.low,
                    "high": found.odds_ratio.high,
                    "p": found.p,
                }
                if np.isnan(found.p):
                    row["reason"] = "no sequence differs from its shuffles in having a hit"
            rows_of_table.append(row)
    return enrichment_table(rows_of_table)


def enrichment_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table of the columns `ENRICHMENT`, q values filled in per null and label."""
    table = pd.DataFrame(list(rows), columns=list(ENRICHMENT))
    for name in ("motif", "window", "label", "null", "measure", "reason"):
        table[name] = table[name].astype(str)
    for name in ("n", "n_null", "with_hit"):
        table[name] = table[name].astype(np.int64)
    for name in ("observed", "expected", "effect", "low", "high", "p", "q"):
        table[name] = table[name].astype(float)
    for rows_of_test in table.groupby(["null", "label"]).indices.values():
        table.loc[rows_of_test, "q"] = benjamini_hochberg(table["p"].to_numpy()[rows_of_test])
    return table


def enrichment_row(
    motif: Motif, label: str, null: str, measure: str, n: int, n_null: int, with_hit: int
) -> dict[str, Any]:
    nothing = dict.fromkeys(("observed", "expected", "effect", "low", "high", "p", "q"), np.nan)
    return nothing | {
        "motif": motif.name,
        "window": motif.where,
        "label": label,
        "null": null,
        "measure": measure,
        "n": n,
        "n_null": n_null,
        "with_hit": with_hit,
        "reason": "",
    }


def _refusal(motif: Motif, occupancy: Occupancy, *counts: int) -> str:
    """Why a motif cannot be tested, or nothing."""
    if motif.name in occupancy.unreachable:
        return "no word of the motif is rare enough to be a hit at this p"
    if min(counts) < MINIMUM:
        return f"{MINIMUM} sequences that reach into the window are needed; {min(counts)} do"
    return ""


def _classes(records: Sequence[Record]) -> list[str]:
    """The class of every record."""
    for record in records:
        if not isinstance(record.label, str):
            raise DataError(
                f"Record {record.id!r} has the label {record.label!r}; "
                "enrichment by class needs a class name in every record."
            )
    return [str(record.label) for record in records]


def _by_length(records: Sequence[Record], bases: int = _BLOCK) -> Iterator[tuple[Ints, Codes]]:
    """Rows and codes of records of one length, at most about `bases` bases at a time."""
    lengths = np.array([len(record) for record in records], np.int64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        size = max(bases // max(int(length), 1), 1)
        for begin in range(0, len(rows), size):
            part = rows[begin : begin + size]
            yield part, encode_rows([records[i].sequence for i in part])
