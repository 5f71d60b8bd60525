"""Tables that compare explanations: do they agree, and which words carry the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from basewise.evaluate.agreement import AGREEMENT, MEASURES, RECORD_AGREEMENT, agree, tracks_of
from basewise.evaluate.consensus import consensus
from basewise.evaluate.occurrences import occurrences
from basewise.evaluate.ranking import RANKING, rank_tokens, resampled_ranks
from basewise.evaluate.token_scores import (
    MINIMUM_RECORDS,
    TOKEN_RATIOS,
    TOKEN_SCORES,
    resampled_means,
    token_ratios,
    token_scores,
)
from basewise.stats import benjamini_hochberg
from basewise.study.study import Compare

if TYPE_CHECKING:
    from basewise.study.results import Run
    from basewise.tokenize.base import Tokenizer
    from basewise.types import Attribution

__all__ = ["CONSENSUS", "RANKINGS_OF_RUN", "K", "agreements", "consensuses", "rankings", "words"]

K = Compare().kmer

CONSENSUS = ("model", "record_id", "scores", "spread", "explainers")
"""Columns of `consensuses`."""

RANKINGS_OF_RUN = ("method", *RANKING, "count", "low", "high")
"""Columns of the combined ranking: those of a `Ranking`, the occurrences of the k-mer, and the
95 % interval of its rank when records are drawn again."""

_BY_RANK = ("borda", "reciprocal_rank", "robust_rank")
_RESAMPLES = 200


class Rankings(NamedTuple):
    """What occurrences say: tokens of each model and explainer (`TOKEN_SCORES` with model and
    explainer), the same for k-mers of both strands, the k-mers ranked over all
    (`RANKINGS_OF_RUN`), and of each model the true-positive ratios of its tokens, which no
    explainer enters into (`TOKEN_RATIOS` with model)."""

    tokens: pd.DataFrame
    kmers: pd.DataFrame
    ranking: pd.DataFrame
    ratios: pd.DataFrame


def agreements(
    run: Run, seed: int, settings: Compare | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement of the explainers of each model, and of the models under each explainer.

    Returns
    -------
    pooled, records : DataFrame
        As `agree`, with `within`: `model <name>` where explainers are compared, `explainer
        <name>` where models are. q is corrected over all rows of `pooled`.
    """
    top = (settings or Compare()).top
    measures = [{"type": name, "share": top} if name == "top_k" else name for name in MEASURES]
    pooled = [pd.DataFrame(columns=["within", *AGREEMENT])]
    records = [pd.DataFrame(columns=["within", *RECORD_AGREEMENT])]
    compared = {
        f"model {model}": {name: run.attributions(model, name) for name in run.explainers}
        for model in run.models
    } | {
        f"explainer {name}": {model: run.attributions(model, name) for model in run.models}
        for name in run.explainers
    }
    for within, tracks in compared.items():
        known = {name: found for name, found in tracks.items() if _comparable(found)}
        if len(known) > 1:
            found = agree(tracks_of(known), measures=measures, seed=seed)
            pooled.append(found.pooled.assign(within=within))
            records.append(found.records.assign(within=within))
    table = pd.concat(pooled[1:] or pooled, ignore_index=True)
    table["q"] = benjamini_hochberg(table["p"].to_numpy(float))
    each = pd.concat(records[1:] or records, ignore_index=True)
    return table[["within", *AGREEMENT]], each[["within", *RECORD_AGREEMENT]]


def consensuses(run: Run) -> pd.DataFrame:
    """For each model, what its explainers that tell for from against say together."""
    rows = []
    for model in run.models:
        tracks = {name: run.attributions(model, name) for name in run.explainers}
        signed = {
            name: found
            for name, found in tracks.items()
            if _comparable(found) and any((a.scores < 0).any() for a in found)
        }
        if len(signed) > 1:
            rows += [
                (model, one.record_id, one.scores, one.spread, list(one.names))
                for one in consensus(signed)
            ]
    return pd.DataFrame(rows, columns=list(CONSENSUS))


def words(tokenizer: Tokenizer | None, k: int = K) -> Tokenizer | int:
    """What the tokens of a model are: its tokenizer's, or k-mers where those are single bases."""
    return k if tokenizer is None or tokenizer.tokens_are_bases else tokenizer


def rankings(
    run: Run, tokenizers: Mapping[str, Tokenizer | None], seed: int, k: int = K
) -> tuple[Rankings, dict[str, pd.DataFrame]]:
    """Scores of tokens and k-mers, and one ranking of the k-mers over all models and explainers.

    Returns
    -------
    Rankings
    dict of str to DataFrame
        `<model>/<explainer>` -> its occurrences.
    """
    tokens = [pd.DataFrame(columns=["model", "explainer", *TOKEN_SCORES])]
    kmers = [pd.DataFrame(columns=["model", "explainer", *TOKEN_SCORES])]
    ratios = [pd.DataFrame(columns=["model", *TOKEN_RATIOS])]
    written: dict[str, pd.DataFrame] = {}
    spelled: dict[str, pd.DataFrame] = {}
    for model in run.models:
        predictions = run.predictions(model)
        split = words(tokenizers.get(model), k)
        own = pd.DataFrame()
        for name in run.explainers:
            found = run.attributions(model, name)
            if not _comparable(found):
                continue
            about = {"model": model, "explainer": name}
            own = occurrences(found, predictions, words=split, explainer=name)
            short = own if split == k else occurrences(found, predictions, words=k, explainer=name)
            if own.empty or short.empty:
                continue
            written[f"{model}/{name}"], spelled[f"{model}/{name}"] = own, short
            tokens.append(token_scores(own, split=True, seed=seed).assign(**about))
            kmers.append(token_scores(short, "kmer", seed=seed).assign(**about))
        if len(own):
            ratios.append(token_ratios(own).assign(model=model))
    order = ["model", "explainer", *TOKEN_SCORES]
    return (
        Rankings(
            pd.concat(tokens[1:] or tokens, ignore_index=True)[order],
            pd.concat(kmers[1:] or kmers, ignore_index=True)[order],
            _combined(spelled, pd.concat(kmers[1:] or kmers, ignore_index=True), seed),
            pd.concat(ratios[1:] or ratios, ignore_index=True)[["model", *TOKEN_RATIOS]],
        ),
        written,
    )


def _combined(spelled: Mapping[str, pd.DataFrame], kmers: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The k-mers of enough records, ranked by every method that needs no lead table."""
    often = kmers[kmers["records"] >= MINIMUM_RECORDS]
    tables = {
        f"{model}/{name}": rows.rename(columns={"mean": "score"})[["token", "score", "count"]]
        for (model, name), rows in often.groupby(["model", "explainer"], sort=False)
    }
    if not tables or len(shared := _shared(tables)) < 2:
        return pd.DataFrame(columns=list(RANKINGS_OF_RUN))
    drawn = {
        name: resampled_means(spelled[name], shared, "kmer", resamples=_RESAMPLES, seed=seed)
        for name in tables
    }
    complete = ~np.isnan(np.concatenate(list(drawn.values()), axis=1)).any(1)
    found = []
    for method in _BY_RANK:
        ranking = rank_tokens(tables, method, seed=seed).table
        count = ranking.filter(like="count: ").max(axis=1)
        low, high = resampled_ranks(method, {n: d[complete] for n, d in drawn.items()})
        place = pd.Index(shared).get_indexer(pd.Index(ranking["token"]))
        found.append(
            ranking[list(RANKING)].assign(
                method=method, count=count, low=low[place], high=high[place]
            )
        )
    return pd.concat(found, ignore_index=True)[list(RANKINGS_OF_RUN)]


def _shared(tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """Tokens that all tables have, sorted."""
    return sorted(set.intersection(*(set(table["token"]) for table in tables.values())))


def _comparable(found: Sequence[Attribution]) -> bool:
    """Whether attributions score the bases of single records."""
    return bool(found) and found[0].kind != "corpus"
