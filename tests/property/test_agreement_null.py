"""The null of agreement: unrelated smooth tracks must not be said to agree."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from basewise import Attribution, Target
from basewise.evaluate.agreement import MEASURES, agree

SPANS = np.column_stack([np.arange(120), np.arange(120) + 1])


def smooth(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Noise whose neighbours correlate with 0.9, as attributions do."""
    noise = rng.normal(size=(rows, 320))
    kept = np.zeros((rows, 320))
    for i in range(1, 320):
        kept[:, i] = 0.9 * kept[:, i - 1] + noise[:, i]
    return kept[:, 200:]


def attributions(scores: np.ndarray) -> list[Attribution]:
    return [
        Attribution(
            record_id=f"r{i}",
            sequence="ACGT" * 30,
            model="m",
            target=Target("x"),
            method="lime",
            kind="additive",
            spans=SPANS,
            scores=row,
            output=0.0,
            baseline=0.0,
            evaluations=1,
            seed=0,
        )
        for i, row in enumerate(scores)
    ]


@pytest.fixture(scope="module")
def unrelated():
    """Agreement of 200 unrelated pairs of tracks of 10 records."""
    rng = np.random.default_rng(17)
    return [
        agree(
            {"a": attributions(smooth(rng, 10)), "b": attributions(smooth(rng, 10))},
            draws=199,
            resamples=20,
            seed=repeat,
        )
        for repeat in range(200)
    ]


@pytest.mark.parametrize("measure", MEASURES)
def test_unrelated_autocorrelated_tracks_rarely_agree(unrelated, measure):
    pooled = np.array([a.pooled.set_index("measure").loc[measure, "p"] for a in unrelated])
    each = np.concatenate([a.records.set_index("measure").loc[measure, "p"] for a in unrelated])
    # Of 200 studies and of 2,000 records; each bound is about three standard errors wide.
    assert 0.0 <= (pooled <= 0.05).mean() <= 0.10
    assert (pooled <= 0.5).mean() == pytest.approx(0.5, abs=0.12)
    assert (each <= 0.05).mean() <= 0.075
    assert (each <= 0.5).mean() <= 0.56
    if measure != "top_k":  # of a record it has few values, and equal ones count against it
        assert (each <= 0.5).mean() >= 0.44


@pytest.mark.parametrize("measure", MEASURES)
def test_a_shared_preference_for_places_is_no_agreement_on_records(measure):
    """Every record has the same hill in both tracks, and nothing else in common."""
    rng, found = np.random.default_rng(23), []
    hill = 12 * np.exp(-(((np.arange(120) - 80) / 10) ** 2))
    for repeat in range(150):
        tracks = {name: attributions(hill + smooth(rng, 12)) for name in "ab"}
        found.append(agree(tracks, measures=[measure], draws=99, resamples=2, seed=repeat).pooled)
    table = pd.concat(found)
    if measure != "sign":  # a hill has one sign only where it is high
        assert (table["p"] <= 0.05).mean() > 0.9
    # Of 150 studies; the bounds are about three standard errors wide.
    assert (table["p_others"] <= 0.05).mean() <= 0.11
    assert (table["p_others"] <= 0.5).mean() == pytest.approx(0.5, abs=0.13)
    assert table["others"].mean() == pytest.approx(table["value"].mean(), abs=0.02)


def test_shuffling_bases_would_have_been_fooled(unrelated):
    """The same tracks by the p value of a rank correlation of independent bases."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(18)
    x, y = smooth(rng, 100), smooth(rng, 100)
    wrong = np.mean(
        [spearmanr(a, b, alternative="greater").pvalue < 0.05 for a, b in zip(x, y, strict=True)]
    )
    assert wrong > 0.2


def test_related_tracks_are_found():
    rng = np.random.default_rng(19)
    shared, ours, theirs = smooth(rng, 10), smooth(rng, 10), smooth(rng, 10)
    found = agree({"a": attributions(shared + ours), "b": attributions(shared + theirs)}).pooled
    assert (found[["q", "q_others"]] < 0.01).all(axis=None)
    assert (found["value"] > found["expected"]).all()
    assert (found["value"] > found["others"]).all()
