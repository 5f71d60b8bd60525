"""Intervals and tests against closed forms and other libraries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from basewise.stats import (
    benjamini_hochberg,
    bootstrap,
    cluster_interval,
    empirical_p,
    odds_ratio,
    wilson,
)


def test_bootstrap_of_a_mean_is_as_wide_as_its_standard_error_says():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap(np.mean, values, rng=np.random.default_rng(1), resamples=4000)
    half = 1.96 * values.std() / 20
    assert found.value == values.mean()
    assert found.n == 400
    assert abs(found.low - (values.mean() - half)) < 0.15 * half
    assert abs(found.high - (values.mean() + half)) < 0.15 * half


def test_bootstrap_of_clusters_is_wider_where_rows_repeat():
    """Ten copies of every row say no more than the rows."""
    rows = np.random.default_rng(2).normal(size=40)
    repeated, clusters = np.repeat(rows, 10), np.repeat(np.arange(40), 10)
    alone = bootstrap(np.mean, rows, rng=np.random.default_rng(3), resamples=3000)
    whole = bootstrap(
        np.mean, repeated, rng=np.random.default_rng(3), resamples=3000, clusters=clusters
    )
    blind = bootstrap(np.mean, repeated, rng=np.random.default_rng(3), resamples=3000)
    assert abs((whole.high - whole.low) / (alone.high - alone.low) - 1) < 0.1
    assert blind.high - blind.low < 0.5 * (whole.high - whole.low)


def test_the_interval_of_clusters_is_students_of_their_means():
    values = np.array([0.2, 0.4, np.nan, 0.7, 0.9, 0.5, 0.1])
    clusters = np.array(["a", "a", "a", "b", "b", "c", "c"])
    means = [0.3, 0.8, 0.3]
    found = cluster_interval(values, clusters)
    assert (found.value, found.n) == (pytest.approx(np.mean(means)), 6)
    known = scipy_stats.ttest_1samp(means, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((known.low, known.high))
    # By hand: means 1, 2, 3 have deviation 1, and t of two degrees is 4.303.
    low, high = cluster_interval(np.repeat([1.0, 2.0, 3.0], 50), np.repeat([7, 8, 9], 50))[1:3]
    assert (high - low) / 2 == pytest.approx(4.3027 / 3**0.5, abs=1e-4)


def test_one_cluster_has_no_interval_and_nothing_has_nothing():
    one = cluster_interval(np.array([1.0, 3.0]), [4, 4])
    assert (one.value, one.n) == (2, 2)
    assert np.isnan([one.low, one.high]).all()
    none = cluster_interval(np.array([np.nan]), [4])
    assert none.n == 0
    assert np.isnan(none[:3]).all()


@pytest.mark.parametrize(("k", "between"), [(2, 1.0), (3, 1.0), (3, 0.0), (5, 2.0)])
def test_the_interval_of_clusters_covers_as_often_as_it_says(k, between):
    """The truth is 0; values share what their cluster drew. Others are too sure, by as much as
    closed forms say."""
    rng, m, repeats = np.random.default_rng(5), 12, 4000
    values = between * rng.normal(size=(repeats, k, 1)) + rng.normal(size=(repeats, k, m))
    clusters = np.repeat(np.arange(k), m)
    found = [cluster_interval(each.ravel(), clusters) for each in values]
    covered = np.mean([each.low <= 0 <= each.high for each in found])
    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors of 4,000
    # The mean varies 1 + (m - 1) times the intraclass correlation as much as of single values.
    shared = between**2 / (between**2 + 1)
    design = 1 + (m - 1) * shared
    single = (between**2 + 1) / (k * m)
    assert values.mean((1, 2)).var() == pytest.approx(design * single, rel=0.08)
    half = np.mean([((each.high - each.low) / 2) ** 2 for each in found])
    t = scipy_stats.t.ppf(0.975, k - 1)
    assert half == pytest.approx(t**2 * design * single, rel=0.1)


def test_of_few_clusters_bootstraps_are_too_sure():
    rng, k, m = np.random.default_rng(6), 3, 12
    blind, drawn = 0, 0
    for _ in range(400):
        values = (rng.normal(size=(k, 1)) + rng.normal(size=(k, m))).ravel()
        clusters = np.repeat(np.arange(k), m)
        for own in (None, clusters):
            found = bootstrap(np.mean, values, rng=rng, resamples=120, clusters=own)
            covers = found.low <= 0 <= found.high
            blind, drawn = blind + (covers and own is None), drawn + (covers and own is not None)
    assert blind / 400 < 0.6
    assert drawn / 400 < 0.8


def test_bootstrap_keeps_rows_of_columns_together():
    x = np.arange(30.0)
    found = bootstrap(lambda a, b: float((a - b).max()), x, x, rng=np.random.default_rng(0))
    assert (found.value, found.low, found.high) == (0, 0, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_that_of_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), scipy_stats.false_discovery_control(p))


def test_benjamini_hochberg_leaves_out_what_was_not_tested():
    np.testing.assert_allclose(benjamini_hochberg([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])


def test_empirical_p_counts_draws_and_is_never_zero():
    null = np.arange(1, 100.0)[:, None]  # 99 draws
    assert empirical_p([1000.0], null, two_sided=False)[0] == 1 / 100
    assert empirical_p([1000.0], null)[0] == 2 / 100
    assert empirical_p([50.0], null)[0] == 1.0


def test_wilson_by_hand():
    """Seven of ten: Wilson 1927 gives [0.397, 0.892]."""
    found = wilson(7, 10)
    np.testing.assert_allclose([found.low, found.high], [0.3968, 0.8922], atol=1e-4)
    assert np.isnan(wilson(0, 0).value)


def test_odds_ratio_by_hand():
    found = odds_ratio(10, 20, 5, 40)
    assert found.value == pytest.approx(4.0)
    half = 1.959964 * np.sqrt(1 / 10 + 1 / 20 + 1 / 5 + 1 / 40)
    assert np.log([found.low, found.high]) == pytest.approx(np.log(4) + np.array([-half, half]))
    assert odds_ratio(0, 5, 5, 5).value == pytest.approx(0.5 * 5.5 / 5.5 / 5.5)
