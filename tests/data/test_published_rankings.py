"""Published token rankings, made again from the published tables of their scores.

The rankings themselves (repository yalibina/ZDNA_LLM, data/zdna/*mean*dev*ranking*.csv) are not
among the data; numbers quoted here were read from them.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import basewise as bw
from basewise.evaluate.token_tables import read_token_table

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "zdna_llm_results"
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the published tables are absent")

DNABERT_IG = "dnabert2_integrated_gradinents_scores_true_positive.csv"
DNABERT_TP = "dnabert2_lora_tokens_tp_ratio_cnt.csv"
GENA_IG = "gena-lm_integrated_gradinents_scores_true_positive-5-3-stages.csv"
GENA_TP = "gena-lm-tp-index-token-importance-3-stages.csv"


def read(name: str) -> pd.DataFrame:
    return read_token_table(FOLDER / name)


def test_every_published_table_is_read_whatever_its_columns_are_called() -> None:
    rows = {path.name: len(read(path.name)) for path in FOLDER.glob("*.csv")}
    assert len(rows) == 12
    assert rows[DNABERT_IG] == 351
    assert rows["dnabert2_tokens_tp_ratio.csv"] == 431  # TP_percent, cnt
    assert rows[GENA_TP] == 627  # Token, Counts, Score
    assert rows["gena-lm_token_scores_promoters_bare.csv"] == 5817  # mean_score, counts


def test_the_published_ranking_of_gena_is_made_again() -> None:
    """Lead table: true-positive ratio; missing tokens skipped. All 627 values agree."""
    tables = {"tp": read(GENA_TP), "ig": read(GENA_IG)}
    found = bw.rank_tokens(tables, method="mean_deviation", lead="tp", missing="skip").table
    assert len(found) == 627
    value = found["value"]
    assert value.sum() == pytest.approx(-5510.242429174352, abs=1e-7)
    assert (value**2).sum() == pytest.approx(15915393.969138224, rel=1e-12)
    published = {
        "GCGCG": 1239.7703255152244,
        "GCGC": 1032.6488630466954,
        "GCACG": 988.131930136246,
        "ACGCG": 968.0062375677876,
        "GCGTG": 962.3252291782356,
        "GCATG": 433.1970412331426,
        "TA": 31.599994190940613,
        "ATTAT": -100.0,
        "AGTAA": -110.27402423575128,
    }
    assert found["token"].head(5).tolist() == list(published)[:5]
    by_token = value.set_axis(found["token"])[list(published)]
    assert by_token.to_numpy() == pytest.approx(list(published.values()), abs=1e-9)


def test_the_published_ranking_of_dnabert2_agrees_as_far_as_its_tables_are_there() -> None:
    """Lead table: Integrated Gradients; the true-positive table restricted to its tokens.

    The true-positive table behind it is neither of the two published: tokens that it lacks
    agree to rounding, the others within 34 of up to 722 per cent.
    """
    tables = {"tp": read(DNABERT_TP), "ig": read(DNABERT_IG)}
    found = bw.rank_tokens(tables, "mean_deviation", lead="ig", restrict={"tp": "ig"}).table
    by_token = found.set_index("token")
    alone = {"CCGAA": 84.70159589476968, "CTATT": 51.714129428404576, "TTATG": -58.205950185642116}
    for token, value in alone.items():
        assert by_token.loc[token, "value"] == pytest.approx(value, abs=1e-9)
    assert (by_token["tables"] == 1).sum() == 20
    near = {"CACGC": 722.2506715580529, "GCGC": 678.2369767642324, "CG": 184.3139055509774}
    for token, value in near.items():
        assert by_token.loc[token, "value"] == pytest.approx(value, abs=34)
    published = [
        "CACGC",
        "GCGC",
        "GCGTG",
        "CGC",
        "GCGCA",
        "GGCGC",
        "CGTG",
        "CGCA",
        "CCCGC",
        "TACGC",
        "GCGCC",
        "GACGC",
        "GCGG",
        "GCACA",
        "CG",
        "GCGTA",
        "CACGG",
        "CGCC",
        "GTGTG",
        "CACA",
    ]
    assert len(set(published) & set(found["token"].head(20))) == 19


def test_rankings_on_both_strands_find_what_the_tables_share() -> None:
    tables = {name: read(name) for name in (DNABERT_IG, DNABERT_TP, GENA_IG, GENA_TP)}
    for method in ("borda", "reciprocal_rank", "robust_rank"):
        found = bw.rank_tokens(tables, method, both_strands=True).table
        assert set(found["token"].head(2)) == {"CACGC", "GCGC"}, method
        assert (found["tables"] == 4).all()
        assert found["token"].str.fullmatch("[ACGT]+").all()
