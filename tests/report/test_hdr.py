"""Highest-density regions: they hold their mass, stay within bounds, and close around a circle."""

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator
from scipy.stats import norm

from bayesxs.report.hdr import Support, smooth

DRAWS = 20_000


def inside(smoothed, points, mass):
    """Which points lie in the region of the given mass."""
    density = RegularGridInterpolator(
        smoothed.axes, smoothed.density, bounds_error=False, fill_value=0.0
    )
    return density(points) >= smoothed.level(mass)


@pytest.mark.parametrize("mass", [0.68, 0.95])
@pytest.mark.parametrize("correlation", [0.0, -0.9])
def test_region_holds_its_mass_of_a_gaussian(mass, correlation):
    rng = np.random.default_rng(7)
    covariance = [[1.0, correlation], [correlation, 1.0]]
    draws, fresh = rng.multivariate_normal([0.0, 3.0], covariance, (2, DRAWS))
    smoothed = smooth(draws, [Support(), Support()])
    held = inside(smoothed, fresh, mass).mean()
    # The level and the count each have a binomial error; five of them
    assert held == pytest.approx(mass, abs=5.0 * np.sqrt(2.0 * mass * (1.0 - mass) / DRAWS))


@pytest.mark.parametrize("mass", [0.68, 0.95])
def test_interval_of_a_gaussian_is_central(mass):
    draws = np.random.default_rng(3).normal(2.0, 0.5, DRAWS)
    smoothed = smooth(draws, [Support()])
    grid = smoothed.axes[0][smoothed.density >= smoothed.level(mass)]
    half = norm.ppf(0.5 + 0.5 * mass) * 0.5
    # A quantile's error is sqrt(p (1 - p) / n) over the density there
    error = 0.5 * np.sqrt(mass * (1.0 - mass) / DRAWS) / norm.pdf(half / 0.5)
    assert grid[[0, -1]] == pytest.approx([2.0 - half, 2.0 + half], abs=8.0 * error)


def test_density_integrates_to_one_and_matches_the_normal():
    draws = np.random.default_rng(5).normal(size=DRAWS)
    smoothed = smooth(draws, [Support()])
    assert np.trapezoid(smoothed.density, smoothed.axes[0]) == pytest.approx(1.0, abs=1e-3)
    # Smoothing widens by h^2 = n^(-2/5): 2 % of the peak; the rest is noise of a kernel estimate
    assert smoothed.density.max() == pytest.approx(norm.pdf(0.0), rel=0.06)


def test_reflection_keeps_the_density_up_to_the_bound_and_nothing_beyond():
    draws = 1.0 - np.abs(np.random.default_rng(11).normal(0.0, 0.01, DRAWS))
    smoothed = smooth(draws, [Support(0.0, 1.0)])
    assert smoothed.axes[0][-1] == 1.0
    assert smoothed.density[-1] == pytest.approx(2.0 * norm.pdf(0.0) / 0.01, rel=0.1)
    free = smooth(draws, [Support()])
    at_bound = np.interp(1.0, free.axes[0], free.density)
    assert at_bound == pytest.approx(0.5 * smoothed.density[-1], rel=0.15)


def test_region_at_a_bound_holds_its_mass_in_two_dimensions():
    rng = np.random.default_rng(13)

    def half_plane():
        pair = rng.normal(size=(DRAWS, 2))
        return np.column_stack([1.0 - np.abs(pair[:, 0]), pair[:, 1]])

    smoothed = smooth(half_plane(), [Support(None, 1.0), Support()])
    assert smoothed.axes[0][-1] == 1.0
    held = inside(smoothed, half_plane(), 0.95).mean()
    assert held == pytest.approx(0.95, abs=5.0 * np.sqrt(2.0 * 0.95 * 0.05 / DRAWS))


def test_circle_has_no_seam():
    angles = np.random.default_rng(17).vonmises(np.pi, 4.0, DRAWS)
    smoothed = smooth(angles, [Support(-np.pi, np.pi, True)])
    assert smoothed.density[0] == pytest.approx(smoothed.density[-1], rel=0.02)
    peak = np.exp(4.0) / (2.0 * np.pi * np.i0(4.0))
    assert smoothed.density[0] == pytest.approx(peak, rel=0.08)


def test_two_narrow_modes_are_not_smeared_into_one():
    rng = np.random.default_rng(19)
    draws = np.where(rng.uniform(size=DRAWS) < 0.5, 0.47, 0.53) + 0.006 * rng.normal(size=DRAWS)
    smoothed = smooth(draws, [Support(0.0, 1.0)])
    valley = np.interp(0.5, smoothed.axes[0], smoothed.density)
    assert valley < 0.02 * smoothed.density.max()


def test_more_mass_means_a_lower_level():
    smoothed = smooth(np.random.default_rng(23).normal(size=500), [Support()])
    assert smoothed.level(0.95) < smoothed.level(0.68) < smoothed.density.max()


@pytest.mark.parametrize("draws", [np.ones(10), np.zeros((1, 2)), np.zeros((9, 3))])
def test_draws_that_have_no_density_are_refused(draws):
    with pytest.raises(ValueError, match="density"):
        smooth(draws, [Support()] * (1 if draws.ndim == 1 else draws.shape[1]))
