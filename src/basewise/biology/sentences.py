"""A table of enrichment in words: what was counted, against what, how much, and how sure."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

__all__ = ["sentences"]


def sentences(table: pd.DataFrame, level: float = 0.05) -> list[str]:
    """One sentence for every row of a table with the columns `ENRICHMENT`.

    Parameters
    ----------
    table : DataFrame
        From `class_enrichment`, `shuffle_enrichment` or `attribution_enrichment`, or rows of
        all of them together.
    level : float
        A q value below it is called a difference; otherwise the sentence says that none was
        shown, which is not the same as that there is none. A difference of attribution from one
        null that the table does not bear out against the other is said to claim nothing.
    """
    say = {
        "other classes": _classes,
        "dinucleotide shuffles": _shuffles,
        "same sequence": _attribution,
        "same position": _attribution,
    }
    found = []
    for values in table.itertuples(index=False, name=None):
        row = dict(zip(table.columns, values, strict=True))
        window = "" if row["window"] == "anywhere" else f" at {row['window']} of the TSS"
        name = f"{row['motif']}{window}"
        if row["reason"]:
            found.append(f"{name}: not tested against {_AGAINST[row['null']]}, {row['reason']}.")
        else:
            found.append(f"{name} {say[row['null']](row, level)}{_alone(row, table, level)}")
    return found


_BLIND = {
    "same sequence": ("place", "same position"),
    "same position": ("sequence", "same sequence"),
}


def _alone(row: dict[str, Any], table: pd.DataFrame, level: float) -> str:
    """What is missing where attribution differs from one null and not, as far as known, from
    the other: each is blind to what the other sees."""
    if row["null"] not in _BLIND or not row["q"] < level:
        return ""
    blind, other = _BLIND[row["null"]]
    keys = ["motif", "window", "label"]
    same = (table[keys] == [row[key] for key in keys]).all(axis=1)
    rest = table[same & (table["null"] == other) & (table["q"] < level)]
    if ((rest["effect"] > 0) == (row["effect"] > 0)).any():
        return ""
    return f" Its {blind} alone may explain it: no difference from {_AGAINST[other]} is shown."


_AGAINST = {
    "other classes": "the other classes",
    "dinucleotide shuffles": "dinucleotide shuffles",
    "same sequence": "matched stretches of the same sequences",
    "same position": "the same positions of other sequences",
}


def _classes(row: dict[str, Any], level: float) -> str:
    verdict = _verdict(row, level, "more often", "less often", "no difference was shown")
    return (
        f"occurs in {_percent(row['observed'])} of {row['n']:,} {row['label']} sequences and in "
        f"{_percent(row['expected'])} of {row['n_null']:,} others: {verdict} "
        f"(odds ratio {_estimate(row)}, Fisher's exact test, {_q(row)})."
    )


def _shuffles(row: dict[str, Any], level: float) -> str:
    verdict = _verdict(
        row,
        level,
        "more often than their dinucleotides alone would make it",
        "less often than their dinucleotides alone would make it",
        "no more and no less than chance, as far as these data show",
    )
    which = "" if row["label"] == "all" else f"{row['label']} "
    return (
        f"occurs in {_percent(row['observed'])} of {row['n']:,} {which}sequences and in "
        f"{_percent(row['expected'])} of their dinucleotide shuffles: {verdict} "
        f"(odds ratio {_estimate(row)}, exact test of matched sets, {_q(row)})."
    )


def _attribution(row: dict[str, Any], level: float) -> str:
    verdict = _verdict(row, level, "higher", "lower", "not shown to differ", neutral=0.0)
    controls = {
        "same sequence": "stretches of the same length and GC content elsewhere in the same "
        "sequences",
        "same position": "the same positions, at the same GC content, of sequences of the same "
        "class without it",
    }[row["null"]]
    link = "from" if verdict == "not shown to differ" else "than in"
    return (
        f"has a mean attribution per base of {row['observed']:.3g} in {row['with_hit']:,} "
        f"sequences, {verdict} {link} {controls} ({row['expected']:.3g}; standardised mean "
        f"difference {_estimate(row)}, sign-flip test over sequences, {_q(row)})."
    )


def _verdict(
    row: dict[str, Any], level: float, more: str, less: str, none: str, neutral: float = 1.0
) -> str:
    if not row["q"] < level:
        return none
    return more if row["effect"] > neutral else less


def _estimate(row: dict[str, Any]) -> str:
    value, low, high = (_number(row[name]) for name in ("effect", "low", "high"))
    return f"{value} [{low}, {high}]"


def _number(value: float) -> str:
    if math.isinf(value):
        return "infinite" if value > 0 else "minus infinite"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _q(row: dict[str, Any]) -> str:
    return "q < 0.001" if row["q"] < 0.001 else f"q = {row['q']:.2g}"
