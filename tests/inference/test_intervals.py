"""Intervals: their equations, independent codes, and what they cover."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayesxs.inference.intervals import (
    basic_interval,
    bca_interval,
    contains,
    hdi,
    influence_acceleration,
    jackknife_acceleration,
    percentile_interval,
    profile_interval,
    profile_region,
)

DENSITIES = {
    # Shortest intervals in closed form: symmetric about the mode, or from the end of a density
    # that only falls or only rises
    "normal": (stats.norm(), lambda p: stats.norm.interval(p)),
    "exponential": (stats.expon(), lambda p: (0.0, -np.log1p(-p))),
    "rising": (stats.beta(3, 1), lambda p: ((1.0 - p) ** (1 / 3), 1.0)),
    "uniform": (stats.uniform(), None),
}


@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("prob", [0.5, 0.68, 0.9])
def test_hdi_of_known_densities(name, prob):
    density, ends = DENSITIES[name]
    draws = density.rvs((40, 4000), random_state=np.random.default_rng(7))
    found = hdi(draws, prob)
    mass = density.cdf(found[:, 1]) - density.cdf(found[:, 0])
    # Standard error of one mass is at most 0.8 %, of the mean of 40 0.13 %; beyond that the choice
    # of the shortest costs some 0.1 %
    assert np.mean(mass) == pytest.approx(prob, abs=0.004 if ends else 0.03)
    if ends:
        assert np.mean(found, axis=0) == pytest.approx(ends(prob), abs=0.03)


def test_plain_hdi_is_that_of_arviz_within_a_draw():
    draws = np.random.default_rng(8).standard_normal((3, 2000))
    for row, found in zip(draws, hdi(draws, 0.68, smoothing=0.0), strict=True):
        gap = 4.0 * np.max(np.diff(np.sort(row))[600:1400])
        assert found == pytest.approx(az.hdi(row, prob=0.68), abs=gap)


def test_smoothing_takes_away_undercoverage_of_the_plain_estimate():
    # Mean mass of 4000 intervals from 500 draws, its standard error 0.03 %
    draws = np.random.default_rng(9).standard_normal((4000, 500))

    def mass(ends):
        return float(np.mean(np.diff(stats.norm.cdf(ends), axis=1)))

    assert mass(hdi(draws, 0.68, smoothing=0.0)) < 0.670
    assert mass(hdi(draws, 0.68)) == pytest.approx(0.68, abs=0.003)


def test_hdi_takes_the_narrow_one_of_two_modes():
    rng = np.random.default_rng(10)
    draws = np.where(
        rng.uniform(size=(20, 2000)) < 0.6,
        -3.0 + 0.1 * rng.standard_normal((20, 2000)),
        3.0 + rng.standard_normal((20, 2000)),
    )
    assert np.all(hdi(draws, 0.5)[:, 1] < -2.0)


def test_intervals_of_replicas_follow_their_equations():
    # Replicas at i/100, i = 1 ... 99: order statistic p (n + 1) is p itself
    replicas = np.arange(1, 100) / 100.0
    assert percentile_interval(replicas, 0.9) == pytest.approx([0.05, 0.95])
    assert percentile_interval(replicas, 0.5) == pytest.approx([0.25, 0.75])
    assert basic_interval(replicas, 0.4, 0.9) == pytest.approx([-0.15, 0.75])
    assert percentile_interval(replicas, 0.999) == pytest.approx([0.01, 0.99])  # no further


@given(
    prob=st.floats(0.1, 0.99),
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.1, 10.0),
)
@settings(max_examples=30, deadline=None)
def test_bca_without_bias_or_acceleration_is_percentile(prob, seed, scale):
    half = scale * np.random.default_rng(seed).exponential(size=(3, 100))
    replicas = np.concatenate([half, -half], axis=1)  # half of them below zero: z0 = 0
    expected = percentile_interval(replicas, prob)
    assert bca_interval(replicas, np.zeros(3), 0.0, prob) == pytest.approx(expected, rel=1e-9)


def test_bca_percentiles_are_those_of_the_textbook():
    # Efron and Tibshirani (1993), Sec. 14.3: z0 = 0.146, a = 0.061 and 90 % ask
    # for the 11.0 and 98.5 percentiles, as the variance of the spatial data has it
    uniform = np.arange(1, 20000) / 20000.0
    estimate = stats.norm.cdf(0.146)
    found = bca_interval(uniform, estimate, 0.061, 0.9)
    assert found == pytest.approx([0.110, 0.985], abs=1e-3)


def test_bca_is_finite_where_all_replicas_lie_on_one_side():
    replicas = np.linspace(0.9, 1.0, 50)
    for estimate in (0.8, 1.0, 1.2):
        ends = bca_interval(replicas, estimate, 0.3, 0.9)
        assert np.all(np.isfinite(ends)) and 0.9 <= ends[0] <= ends[1] <= 1.0


def test_acceleration_of_a_mean_is_its_skewness():
    # For the mean a = skewness / (6 sqrt n), whichever way it is taken
    x = np.random.default_rng(11).exponential(size=(4, 50))
    expected = stats.skew(x, axis=1) / (6.0 * np.sqrt(50))
    assert influence_acceleration(x - x.mean(axis=1, keepdims=True)) == pytest.approx(expected)
    left_out = (x.sum(axis=1, keepdims=True) - x) / 49.0
    assert jackknife_acceleration(left_out) == pytest.approx(expected)
    assert influence_acceleration(np.zeros(5)) == 0.0


def test_bca_covers_better_than_percentiles_where_estimates_are_skewed():
    # Variance of 20 Gaussian numbers, 90 %: percentile intervals undercover by some 10 %. 400
    # experiments, standard error 1.5 %, of the paired difference less
    rng = np.random.default_rng(12)
    x = rng.standard_normal((400, 20))
    resampled = x[np.arange(400)[:, None, None], rng.integers(0, 20, (400, 500, 20))]
    replicas, estimate = resampled.var(axis=2), x.var(axis=1)
    influence = (x - x.mean(axis=1, keepdims=True)) ** 2 - estimate[:, None]
    bca = bca_interval(replicas, estimate, influence_acceleration(influence), 0.9)
    plain = percentile_interval(replicas, 0.9)
    held = [np.mean(contains(ends, np.ones(400))) for ends in (plain, bca)]
    assert held[0] < 0.87 and held[1] > held[0] + 0.02


@given(
    mean=st.floats(-1.0, 1.0),
    sigma=st.floats(0.3, 1.5),
    prob=st.floats(0.3, 0.97),
    points=st.integers(5, 80),
)
@settings(max_examples=60, deadline=None)
def test_profile_interval_of_a_gaussian_is_its_own(mean, sigma, prob, points):
    grid = np.linspace(-8.0, 8.0, points)
    loglike = 5.0 - 0.5 * ((grid - mean) / sigma) ** 2
    expected = stats.norm(mean, sigma).interval(prob)
    # Rounding of the log-likelihood, 1e-15, enters under a root
    assert profile_interval(grid, loglike, prob) == pytest.approx(expected, abs=1e-6)
    assert profile_region(grid, loglike, prob).shape == (1, 2)


def test_profile_interval_ends_at_the_edges_of_the_prior():
    grid = np.linspace(0.0, 2.0, 21)
    z = stats.norm.ppf(0.84)
    assert profile_interval(grid, -0.5 * (grid + 0.0) ** 2, 0.68) == pytest.approx([0.0, z])
    assert profile_interval(grid, -0.5 * (grid / 9.0) ** 2, 0.68) == pytest.approx([0.0, 2.0])
    forbidden = np.where(grid > 0.55, -np.inf, -0.5 * (grid - 0.4) ** 2)
    assert profile_interval(grid, forbidden, 0.68) == pytest.approx([0.0, 0.5])


def test_profile_region_keeps_octants_apart():
    grid = np.linspace(0.35, 0.65, 121)
    loglike = -0.5 * ((np.abs(grid - 0.5) - 0.05) / 0.01) ** 2
    region = profile_region(grid, loglike, 0.68)
    half = 0.01 * stats.norm.ppf(0.84)
    expected = [[0.45 - half, 0.45 + half], [0.55 - half, 0.55 + half]]
    assert region == pytest.approx(np.array(expected), abs=1e-6)
    both = profile_interval(grid, np.stack([loglike, -1e4 * (grid - 0.5) ** 2]), 0.68)
    assert both[0] == pytest.approx([0.45 - half, 0.55 + half], abs=1e-6)
    assert both.shape == (2, 2)


def test_contains_counts_the_ends():
    assert contains([[0.0, 1.0]] * 4, [0.0, 1.0, -0.1, 0.5]).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    "call",
    [
        lambda: hdi(np.ones((2, 10)), 68.0),
        lambda: percentile_interval(np.ones(1), 0.9),
        lambda: profile_region([0.0, 0.0, 1.0], [0.0, 0.0, 0.0], 0.68),
        lambda: profile_region([0.0, 0.5, 1.0], [0.0, np.nan, 0.0], 0.68),
        lambda: profile_region([0.0, 0.5, 1.0], [-np.inf] * 3, 0.68),
    ],
)
def test_intervals_of_nonsense_are_refused(call):
    with pytest.raises(ValueError, match=r"."):
        call()
