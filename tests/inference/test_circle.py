"""The circle: the wrapped normal against quadrature and draws, branches, moments of angles."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import simpson

from bayesxs.inference.circle import (
    TURN,
    WrappedNormal,
    about,
    circular_sd,
    mean_direction,
    on_branch,
)
from bayesxs.inference.priors import Flat, Gaussian, log_prior, on_prior_branch, prior_distribution
from bayesxs.physics.nufit import nufit_6_0

CIRCLE = np.linspace(-np.pi, np.pi, 4001)


@pytest.mark.parametrize("degrees", [1.0, 23.5, 40.0, 60.0, 90.0, 200.0, 1e4])
def test_the_wrapped_normal_has_the_width_asked_for(degrees):
    """E exp(i x) = exp(i mean - sd^2/2), and the sum over turns, one by one."""
    sd, mean = np.deg2rad(degrees), 3.5
    density = np.exp(np.asarray(WrappedNormal(mean, sd).log_prob(CIRCLE)))
    grid = np.linspace(-np.pi, np.pi, 200_001) if degrees < 5.0 else CIRCLE
    density = np.exp(np.asarray(WrappedNormal(mean, sd).log_prob(grid)))
    np.testing.assert_allclose(simpson(density, grid), 1.0, rtol=1e-9)
    moment = simpson(density * np.exp(1j * grid), grid)
    np.testing.assert_allclose(moment, np.exp(1j * mean - 0.5 * sd**2), atol=1e-9)
    if degrees < 500.0:
        turns = sum(stats.norm.pdf(CIRCLE + TURN * k, mean, sd) for k in range(-20, 21))
        np.testing.assert_allclose(
            np.exp(np.asarray(WrappedNormal(mean, sd).log_prob(CIRCLE))), turns, atol=1e-12
        )


def test_draws_of_a_gaussian_phase_have_its_width_and_branch():
    """Of 20 000 draws: 0.5 % on a standard deviation, five of them are allowed."""
    for degrees in (23.5, 60.0):
        sd, mean = np.deg2rad(degrees), np.deg2rad(180.0)
        prior = prior_distribution("dcp", Gaussian(mean, sd))
        draws = np.asarray(prior.sample(jax.random.key(0), (20_000,)))
        assert np.all(np.abs(draws - mean) <= np.pi)
        assert circular_sd(draws) == pytest.approx(sd, rel=0.025)
        assert np.quantile(np.abs(draws - mean), 0.6827) == pytest.approx(sd, rel=0.03)


@given(angle=st.floats(-1e3, 1e3), low=st.floats(-7.0, 7.0))
def test_a_branch_is_the_same_direction(angle, low):
    found = on_branch(np.array(angle), low)
    assert low - 1e-9 <= found <= low + TURN + 1e-9
    assert np.abs(np.exp(1j * found) - np.exp(1j * angle)) < 1e-9
    if low <= angle < low + TURN:
        assert found == angle  # to the bit


def test_the_phase_is_put_on_the_branch_of_its_prior():
    truth = nufit_6_0()._replace(dcp=np.deg2rad(212.0))
    for low, degrees in ((-180.0, -148.0), (0.0, 212.0), (-360.0, -148.0)):
        prior = Flat(np.deg2rad(low), np.deg2rad(low + 360.0))
        placed = on_prior_branch({"dcp": prior}, truth)
        assert float(np.rad2deg(placed.dcp)) == pytest.approx(degrees)
        np.testing.assert_allclose(log_prior({"dcp": prior}, truth), -np.log(TURN), rtol=1e-12)
    cut = {"dcp": Flat(np.deg2rad(-160.0), np.deg2rad(-100.0))}
    assert np.isfinite(log_prior(cut, on_prior_branch(cut, truth)))
    assert on_prior_branch({}, truth) is truth


def test_moments_do_not_know_where_the_circle_is_cut():
    rng = np.random.default_rng(0)
    line = 0.3 * rng.standard_normal((3, 500))
    for center in (0.0, np.pi, -2.0):
        angles = on_branch(line + center, -np.pi)
        np.testing.assert_allclose(circular_sd(angles, axis=1), line.std(axis=1), rtol=0.05)
        np.testing.assert_allclose(
            about(angles, mean_direction(angles, axis=1)[:, None]).std(axis=1), line.std(axis=1)
        )
