"""Sensitivities of Asimov data: published ones, another minimiser, and identities."""

from __future__ import annotations

from functools import cache
from math import pi, sin

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.optimize import minimize

from bayesxs.detector.reconstructed import reconstructed_samples
from bayesxs.inference.asimov import (
    DCP,
    DENSITY,
    DM21,
    DM31,
    THETA12,
    THETA13,
    THETA23,
    Expected,
    Problems,
    coordinates,
    minimise,
    parameters,
)
from bayesxs.inference.constraints import reactor_constraints, relative_constraints
from bayesxs.inference.sensitivity import (
    Asimov,
    cp_violation,
    dcp_resolution,
    dcp_scan,
    octant_scan,
    true_coordinates,
    wrong_octant,
    wrong_ordering,
)
from bayesxs.inputs.globes.dune import embedded_dune
from bayesxs.physics.joint import Request, joint_probabilities
from bayesxs.physics.oscillation import (
    Baseline,
    OscillationParameters,
)

NUFIT_4_0 = OscillationParameters(
    *(sin(t) ** 2 for t in (0.5903, 0.150, 0.866)), 0.0, 7.39e-5, 2.451e-3 + 7.39e-5
)
ENERGY = np.linspace(0.6, 6.0, 24)
SHAPE = ENERGY * np.exp(-0.5 * ((ENERGY - 2.5) / 1.2) ** 2)


@cache
def toy(size: float) -> Expected:
    """Return spectra of electrons and muons, of both helicities, with two normalisations."""

    def expected(params: OscillationParameters, density: float, pulls: jax.Array) -> jax.Array:
        baseline = Baseline(1300.0, density)
        kinds = (("mu", "e", False), ("mu", "e", True), ("mu", "mu", False))
        requests = [Request(*kind, jnp.asarray(ENERGY), baseline) for kind in kinds]
        p = joint_probabilities(requests, params)
        scale = jnp.concatenate([1.0 + 0.05 * pulls, jnp.ones(2)])[:2]
        rates = [size * scale[i // 2] * SHAPE * (p[i] + 0.01) for i in range(3)]
        return jnp.concatenate(rates)

    return Partial(expected)


def nearly_known(truth: np.ndarray) -> np.ndarray:
    """Hold what would add to chi2; all masses with another sign would look like the truth."""
    return relative_constraints(truth, dict.fromkeys((THETA12, THETA13, DM21, DENSITY), 1e-6))


def solar_and_reactor(truth: np.ndarray) -> np.ndarray:
    return reactor_constraints(truth)


def test_cp_violation_of_dunes_published_configuration() -> None:
    # Peaks of the figure of arXiv:2103.04797, 6.5 + 6.5 years, normal ordering: 6.8 at -0.35 pi,
    # 7.1 at 0.64 pi, read off to 0.05 and 0.01 pi. Above the second it falls steeply.
    asimov = Asimov(reconstructed_samples(embedded_dune()).rates(), 9)
    phases = np.array([-0.35, 0.60, 0.63, 0.66])
    found = cp_violation(asimov, true_coordinates(NUFIT_4_0._replace(dcp=pi * phases)))
    assert found.converged.all()
    np.testing.assert_allclose(found.sigma[[0, 2]], [6.8, 7.1], rtol=0.01)
    assert np.argmax(found.sigma) == 2


def test_minima_are_those_of_another_minimiser() -> None:
    expected = toy(40.0)
    truth = true_coordinates(NUFIT_4_0._replace(dcp=np.array([1.0])))
    counts = Asimov(expected, 2).counts(truth)
    sd = solar_and_reactor(truth)
    start = truth.copy()
    start[:, DCP] = pi
    free = np.arange(7) != DCP
    found = minimise(expected, 2, Problems(counts, truth, sd, start, free[None]))
    scale = np.array([0.01, 0.002, 0.02, 1.0, 1e-6, 2e-5, 0.05, 1.0, 1.0])

    @jax.jit
    @jax.value_and_grad
    def chi2(u: jax.Array) -> jax.Array:
        v = np.append(start[0], [0.0, 0.0]) + u * scale * np.append(free, [1, 1])
        mu = expected(parameters(v[:7]), v[DENSITY], v[7:])
        away = (v[:7] - truth[0]) / sd[0]
        n = counts[0]
        return 2.0 * jnp.sum(mu - n + n * jnp.log(n / mu)) + jnp.sum(away**2) + jnp.sum(v[7:] ** 2)

    other = minimize(
        lambda u: [np.asarray(x) for x in chi2(u)], np.zeros(9), jac=True, method="BFGS"
    )
    assert found.converged.all()
    assert found.chi2[0] > 1.0
    np.testing.assert_allclose(found.chi2[0], other.fun, rtol=1e-5)
    np.testing.assert_allclose(found.pulls[0], other.x[7:], atol=1e-3)
    assert found.x[0, DCP] == pi  # what is not free stays
    # Fits go on from where others ended, pulls included
    ended = Problems(counts, truth, sd, found.x, free[None], found.pulls)
    np.testing.assert_allclose(minimise(expected, 2, ended, steps=0).chi2, found.chi2, rtol=1e-12)


def test_a_bad_fit_ends_at_its_minimum() -> None:
    """Where slopes vanish there and data do not: Gauss-Newton has no Hessian, and does not arrive.

    n ln(n/mu) + mu - n at the smallest mu that there is, of 12 bins; with pulls that move it.
    """

    def expected(params: OscillationParameters, density: float, pulls: jax.Array) -> jax.Array:
        bins = 100.0 + 20.0 * (1.0 - jnp.cos(params.dcp)) * jnp.linspace(0.5, 1.0, 12)
        return bins * (1.0 + 0.02 * pulls[0])

    counts, free = np.full((2, 12), 80.0), np.arange(7) == DCP
    truth = np.repeat(true_coordinates(NUFIT_4_0), 2, axis=0)
    start = truth.copy()
    start[:, DCP] = (1.0, -0.4)
    sd, every = np.full_like(truth, np.inf), np.broadcast_to(free, truth.shape)
    found = minimise(Partial(expected), 1, Problems(counts, truth, sd, start, every))

    def chi2(pull: np.ndarray) -> float:
        mu = 100.0 * (1.0 + 0.02 * pull[0])
        return float(24.0 * (mu - 80.0 + 80.0 * np.log(80.0 / mu)) + pull[0] ** 2)

    wanted = minimize(chi2, [0.0], tol=1e-12)
    assert found.converged.all()
    np.testing.assert_allclose(found.chi2, wanted.fun, rtol=1e-4)
    np.testing.assert_allclose(found.pulls[:, 0], wanted.x[0], atol=0.02)
    assert np.abs(np.sin(found.x[:, DCP])).max() < 0.05


def test_conserved_cp_is_not_excluded() -> None:
    truth = true_coordinates(NUFIT_4_0._replace(dcp=np.array([0.0, pi, -pi])))
    found = cp_violation(Asimov(toy(40.0), 2, solar_and_reactor), truth)
    np.testing.assert_allclose(found.chi2, 0.0, atol=1e-6)


def test_statistics_multiply_chi2() -> None:
    truth = true_coordinates(NUFIT_4_0._replace(dcp=np.array([-1.0, 2.0])))
    few, many = (
        wrong_ordering(Asimov(toy(size), 0, nearly_known), truth) for size in (40.0, 120.0)
    )
    assert few.converged.all() and many.converged.all()
    assert np.all(few.x[:, DM31] < 0.0)
    np.testing.assert_allclose(many.chi2, 3.0 * few.chi2, rtol=1e-4)


def test_what_is_left_free_lowers_chi2() -> None:
    truth = true_coordinates(NUFIT_4_0._replace(dcp=np.array([-1.2, 1.2])))
    loose = cp_violation(Asimov(toy(40.0), 2, solar_and_reactor), truth)
    tight = cp_violation(Asimov(toy(40.0), 2, lambda t: 1e-3 * solar_and_reactor(t)), truth)
    assert np.all(loose.chi2 < tight.chi2)


def test_resolution_of_many_events_is_that_of_the_information() -> None:
    expected = toy(4e5)
    truth = true_coordinates(NUFIT_4_0._replace(dcp=np.array([0.3])))
    width, found = dcp_resolution(Asimov(expected, 2, solar_and_reactor), truth)
    v = jnp.concatenate([jnp.asarray(truth[0]), jnp.zeros(2)])
    slope = np.asarray(jax.jacfwd(lambda v: expected(parameters(v[:7]), v[DENSITY], v[7:]))(v))
    counts = Asimov(expected, 2).counts(truth)[0]
    sd = np.append(solar_and_reactor(truth)[0], [1.0, 1.0])
    information = (slope.T / counts) @ slope + np.diag(1.0 / sd**2)
    scale = 1.0 / np.sqrt(np.diag(information))
    covariance = np.linalg.inv(scale[:, None] * information * scale) * np.outer(scale, scale)
    assert found.all()
    assert width[0] == pytest.approx(np.sqrt(covariance[DCP, DCP]), rel=0.03)


def test_octants_are_told_apart_away_from_the_middle() -> None:
    scan = octant_scan(Asimov(toy(40.0), 2, solar_and_reactor), NUFIT_4_0, [0.42, 0.499, 0.58])
    assert bool(scan["converged"].all())
    low, middle, high = scan["octant"].values
    assert low > 0.5 and high > 0.5 and middle < 0.1
    # The best point in the other octant is no better than the truth, and lies there
    found = wrong_octant(
        Asimov(toy(40.0), 2, solar_and_reactor), true_coordinates(NUFIT_4_0._replace(s2_23=0.42))
    )
    assert np.sin(found.x[0, THETA23]) ** 2 >= 0.5 - 1e-9


def test_a_scan_holds_what_its_parts_give() -> None:
    asimov = Asimov(toy(40.0), 2, solar_and_reactor)
    dcp = np.array([-1.5, 0.2])
    scan = dcp_scan(asimov, NUFIT_4_0, dcp)
    truth = true_coordinates(NUFIT_4_0._replace(dcp=dcp))
    np.testing.assert_allclose(scan["cp_violation"], cp_violation(asimov, truth).sigma)
    np.testing.assert_allclose(scan["ordering"], wrong_ordering(asimov, truth).sigma)
    assert scan.attrs["true_ordering"] == "normal"


def test_coordinates_come_back() -> None:
    params = NUFIT_4_0._replace(dcp=1.0)
    back = parameters(jnp.asarray(coordinates(params, 2.848)))
    np.testing.assert_allclose(np.array(back), np.array(params), rtol=1e-12)
