"""Intervals and tests against closed forms and other libraries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from basewise.stats import benjamini_hochberg, bootstrap, empirical_p, odds_ratio, wilson


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
