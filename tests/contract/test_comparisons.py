"""The tables of a run that compare explanations: true to the run's own attributions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from basewise.evaluate.agreement import agree
from basewise.evaluate.agreement_measures import TopK
from basewise.evaluate.consensus import consensus
from basewise.evaluate.occurrences import OCCURRENCES
from basewise.evaluate.token_scores import TOKEN_RATIOS, token_ratios
from basewise.study.comparisons import (
    CONSENSUS,
    RANKINGS_OF_RUN,
    K,
    agreements,
    consensuses,
    rankings,
)
from basewise.study.results import Run
from basewise.study.study import Compare
from basewise.tokenize.kmer import Kmer
from synthetic_run import EXPLAINERS, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(make_run(tmp_path_factory.mktemp("run"), n=24))


@pytest.fixture(scope="module")
def ranked(run: Run):
    return rankings(run, {"cnn": None}, seed=3)


def test_explainers_of_a_model_are_compared_in_pairs(run: Run) -> None:
    pooled, records = agreements(run, seed=3)
    assert set(pooled["within"]) == {"model cnn"}  # one model: nothing to compare under each
    assert len(pooled) == 6 * 5
    found = {name: run.attributions("cnn", name) for name in EXPLAINERS}
    direct = agree(found, seed=3).pooled
    assert pooled["value"].to_numpy() == pytest.approx(direct["value"].to_numpy())
    assert pooled["p"].to_numpy() == pytest.approx(direct["p"].to_numpy())
    assert set(records["record_id"]) == {a.record_id for a in found["lime"]}


def test_the_consensus_is_that_of_the_explainers(run: Run) -> None:
    frame = consensuses(run)
    assert list(frame) == list(CONSENSUS)
    found = consensus({name: run.attributions("cnn", name) for name in EXPLAINERS})
    assert frame["record_id"].tolist() == [one.record_id for one in found]
    assert np.stack(frame["scores"]) == pytest.approx(np.stack([one.scores for one in found]))
    assert np.stack(frame["spread"]) == pytest.approx(np.stack([one.spread for one in found]))
    assert frame["explainers"][0] == list(EXPLAINERS)


def test_words_are_kmers_where_tokens_are_bases_and_tokens_elsewhere(run: Run, ranked) -> None:
    _, found = ranked
    assert list(found) == [f"cnn/{name}" for name in EXPLAINERS]
    own = found["cnn/lime"]
    assert list(own) == list(OCCURRENCES)
    assert set(own["token"].str.len()) == {K}
    assert set(own["explainer"]) == {"lime"}
    _, others = rankings(run, {"cnn": Kmer(k=3)}, seed=3)
    assert set(others["cnn/lime"]["token"].str.len()) == {3}


def test_settings_say_which_kmers_and_how_many_bases_are_compared(run: Run, ranked) -> None:
    tables, _ = rankings(run, {"cnn": None}, seed=3, k=4)
    assert set(tables.kmers["token"].str.len()) == {4}
    assert set(ranked[0].kmers["token"].str.len()) == {K}
    pooled, _ = agreements(run, 3, Compare(top=0.3))
    found = {name: run.attributions("cnn", name) for name in EXPLAINERS}
    direct = agree(found, measures=[TopK(share=0.3)], seed=3).pooled
    here = pooled[pooled["measure"] == "top_k"]
    assert here["value"].to_numpy() == pytest.approx(direct["value"].to_numpy())


def test_the_planted_motifs_lead_the_ranking(ranked) -> None:
    tables, _ = ranked
    assert list(tables.ranking) == list(RANKINGS_OF_RUN)
    assert set(tables.ranking["method"]) == {"borda", "reciprocal_rank", "robust_rank"}
    planted = {"CCGCC", "CGCCC", "TATAA", "ATAAA", "TTATA", "TTTAT", "TTTTA"}
    for _, own in tables.ranking.groupby("method"):
        assert set(own.sort_values("rank")["token"].head(3)) <= planted
        first = own.sort_values("rank").iloc[0]
        assert first["q"] < 0.01
        assert (own["low"] <= own["high"]).all()
    assert set(tables.kmers["outcome"]) == {"all"}
    assert {"all", "TP", "TN"} <= set(tables.tokens["outcome"])


def test_ratios_of_tokens_do_not_depend_on_the_explainer(ranked) -> None:
    tables, found = ranked
    assert list(tables.ratios) == ["model", *TOKEN_RATIOS]
    for frame in found.values():
        direct = token_ratios(frame)
        pd.testing.assert_frame_equal(tables.ratios.drop(columns="model"), direct)


def test_a_single_explainer_is_ranked_and_not_compared(tmp_path: Path) -> None:
    folder = make_run(tmp_path, n=10)
    lock = json.loads((folder / "lock.json").read_text())
    lock["explainers"] = {"lime": lock["explainers"]["lime"]}
    (folder / "lock.json").write_text(json.dumps(lock))
    run = Run(folder)
    pooled, records = agreements(run, seed=0)
    assert len(pooled) == len(records) == len(consensuses(run)) == 0
    tables, _ = rankings(run, {}, seed=0)
    assert (tables.ranking["tables"] == 1).all()
    assert tables.ranking["rank_low"].isna().all()
