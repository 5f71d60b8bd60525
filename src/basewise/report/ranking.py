"""Which words of DNA carry the scores."""

from __future__ import annotations

import math
from typing import ClassVar

import pandas as pd

from basewise.picture.words import (
    NONE,
    counted,
    estimate,
    listing,
    number,
    p_value,
    percent,
    quantity,
)
from basewise.registry import component
from basewise.report.blocks import Block, Details, Section, Table, Text
from basewise.report.frames import groups, having, rows_of
from basewise.report.lock import target_of
from basewise.study.results import Run

__all__ = ["TokenRanking", "ranking_sentences"]

_RANKING = ("method", "rank", "token", "value", "q", "low", "high", "count", "tables")
_TOKENS = (
    "model", "explainer", "token", "outcome", "count", "records", "mean", "low", "high",
    "median", "shrunken",
)  # fmt: skip
_RATIOS = ("model", "token", "count", "tp", "fp", "ratio", "low", "high", "ppv", "log_odds", "q")
_METHODS = {
    "borda": "Borda",
    "reciprocal_rank": "Reciprocal rank",
    "robust_rank": "Robust rank",
}
_SHOWN, _EACH, _OFTEN = 15, 10, 20


def ranking_sentences(run: Run) -> list[str]:
    """Which k-mers lead, by how many tables, and on how many the methods agree."""
    frame = having(run.ranking, *_RANKING)
    if frame.empty:
        return []
    best = {
        said["method"]: own.sort_values("rank", kind="stable")
        for said, own in groups(frame, ("method",))
    }
    own = best.get("borda", next(iter(best.values())))
    sure = own[own["q"] < 0.05]
    tables = f"all {int(own['tables'].max())} explanations (models by explainers)"
    if own["tables"].max() < 2:
        said = "There is one model and one explainer, so its own order is all there is."
    elif len(sure):
        said = (
            f"{counted(len(sure), 'k-mer')} of {len(own):,} {'is' if len(sure) == 1 else 'are'} "
            f"ranked high by {tables} together more than independent orders would (Borda, "
            f"q < 0.05): {listing(sure['token'].head(5))}{' first' if len(sure) > 5 else ''}."
        )
    else:
        said = (
            f"No k-mer of {len(own):,} is ranked high by {tables} together more than independent "
            "orders would (Borda, q < 0.05)."
        )
    return [said]


@component
class TokenRanking:
    """The k-mers ranked over all explanations, and the tokens of each."""

    title: ClassVar[str] = "Which words carry the scores?"
    place: ClassVar[int] = 58

    def render(self, run: Run) -> Section | None:
        """The section; None where no words were ranked."""
        ranking, tokens = having(run.ranking, *_RANKING), having(run.tokens, *_TOKENS)
        if ranking.empty and tokens.empty:
            return None
        target = target_of(run)
        label = target.label if target else "the class explained"
        blocks: list[Block] = [
            Text(
                "Every occurrence of a word in the explained sequences has the sum of the scores "
                f"of its bases; high words speak for {label}. A word is a description of where "
                "scores lie, not a motif: it says nothing of position or of what binds, and "
                "neighbours of a real element rank high with it."
            ),
            *(Text(sentence) for sentence in ranking_sentences(run)),
        ]
        if len(ranking):
            blocks.append(_combined(ranking))
        for said, of_model in groups(tokens, ("model",)) if len(tokens) else []:
            tables = [
                _tokens(own, label, named["explainer"])
                for named, own in groups(of_model, ("explainer",))
            ]
            title = f"Tokens of {said['model']}, by {counted(len(tables), 'explainer')}"
            blocks.append(Details(title, tuple(tables)))
        ratios = having(run.token_ratios, *_RATIOS)
        for said, own in groups(ratios, ("model",)) if len(ratios) else []:
            title = f"True-positive ratios of the tokens of {said['model']}"
            blocks.append(Details(title, (_ratios(own, label),)))
        return Section(self.title, tuple(blocks))


def _combined(frame: pd.DataFrame) -> Table:
    """The first k-mers of the leading method, with their places in the others."""
    methods = [str(method) for method in dict.fromkeys(frame["method"])]
    lead = methods[0]
    places = {m: frame[frame["method"] == m].set_index("token")["rank"] for m in methods}
    rows = [
        (
            str(row.token),
            number(row.value),
            p_value(row.q, ""),
            f"{_place(row.low)}–{_place(row.high)}",
            quantity(row.count),
            *(_place(places[m].get(row.token, math.nan)) for m in methods[1:]),
        )
        for row in rows_of(
            frame[frame["method"] == lead].sort_values("rank", kind="stable").head(_SHOWN)
        )
    ]
    others = [f"{_METHODS.get(m, m)} place" for m in methods[1:]]
    return Table(
        f"The first {len(rows)} k-mers, both strands together, over all models and explainers: "
        f"one row per k-mer, its {_METHODS.get(lead, lead)} value (1 is first everywhere), q "
        "against independent orders, the 95 % interval of its place when sequences are drawn "
        "again, and how often it occurs.",
        ("k-mer", _METHODS.get(lead, lead), "q", "Place", "Occurrences", *others),
        rows,
    )


def _place(rank: float) -> str:
    """A place among others: ties and intervals have halves."""
    return NONE if math.isnan(rank) else f"{rank:.1f}".removesuffix(".0")


def _tokens(frame: pd.DataFrame, label: str, explainer: str) -> Table:
    """The tokens that speak most for and against, after shrinkage."""
    every = frame[frame["outcome"] == "all"].sort_values("shrunken", ascending=False, kind="stable")
    shown = every if len(every) <= 2 * _EACH else pd.concat([every.head(_EACH), every.tail(_EACH)])
    by_outcome = {
        (row.token, row.outcome): row.mean
        for row in rows_of(frame[frame["outcome"].isin(["TP", "FP", "FN", "TN"])])
    }
    outcomes = [o for o in ("TP", "FP", "FN", "TN") if (frame["outcome"] == o).any()]
    rows = [
        (
            str(row.token),
            quantity(row.count),
            quantity(row.records),
            estimate(row.mean, row.low, row.high),
            number(row.median),
            number(row.shrunken),
            *(number(by_outcome.get((row.token, o))) for o in outcomes),
        )
        for row in rows_of(shown)
    ]
    which = f"the {_EACH} that speak most for {label} and the {_EACH} that speak most against it, "
    return Table(
        f"By {explainer}, one row per token, {which if len(every) > 2 * _EACH else ''}by the "
        "shrunken mean: occurrences, sequences that have it, mean score with its 95 % bootstrap "
        "interval over sequences (none for fewer than five), median, and the mean drawn towards "
        "that of all tokens by how little is known of it; then the mean among true and false "
        "positives and negatives.",
        ("Token", "Occurrences", "Sequences", "Mean", "Median", "Shrunken mean", *outcomes),
        rows,
    )


def _ratios(frame: pd.DataFrame, label: str) -> Table:
    """The tokens whose sequences are most often rightly called, of those seen often enough."""
    often = frame[frame["count"] >= _OFTEN]
    share = frame["tp"].sum() / frame["count"].sum()
    rows = [
        (
            str(row.token),
            quantity(row.count),
            quantity(row.tp),
            estimate(row.ratio, row.low, row.high),
            number(row.ppv),
            number(row.log_odds),
            p_value(row.q, ""),
        )
        for row in rows_of(often.head(2 * _EACH))
    ]
    return Table(
        f"As published, of the data and their labels and not of any attribution: the share of a "
        f"token's occurrences that lie in sequences rightly called {label}. It contains how many "
        f"such sequences there are ({percent(share)} of all occurrences), so beside it stand the "
        "share among those called so at all (PPV), and the log odds against all other tokens with "
        "q, which takes occurrences as independent and is too sure of repeats. One row per token, "
        f"the {len(rows)} of highest ratio among {len(often):,} with at least {_OFTEN} occurrences "
        f"({len(frame):,} in all).",
        ("Token", "Occurrences", "In true positives", "Ratio", "PPV", "Log odds", "q"),
        rows,
    )
