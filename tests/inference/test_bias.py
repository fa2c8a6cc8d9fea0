"""Fits of another nature's data: against linear theory, and where nature is what is fitted."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.detector.rates import Part, Rates, make_rates
from bayesxs.inference.asimov import DCP, DENSITY, DM31, THETA23, parameters
from bayesxs.inference.bias import bias_scan, biases, standard_errors
from bayesxs.inference.constraints import reactor_constraints
from bayesxs.inference.sensitivity import (
    Asimov,
    dcp_resolution,
    true_coordinates,
    wrong_octant,
    wrong_ordering,
)
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import Baseline

ENERGY = np.linspace(0.6, 6.0, 28)
FATES = (("mu", "e", False), ("mu", "e", True), ("mu", "mu", False), ("mu", "mu", True))
TRUTH = true_coordinates(nufit_6_0("ic24", "normal")._replace(dcp=np.array([-1.2, 0.8])))


def rates(bend: float, size: float = 300.0) -> Rates:
    """Return four samples of sharp energies, whose cross section rises or falls by a bend."""
    flux = size * ENERGY * np.exp(-0.5 * ((ENERGY - 2.5) / 1.2) ** 2)
    shape = flux * (1.0 + bend * np.tanh(ENERGY - 2.5))
    parts = [Part(place, fate) for place, fate in enumerate(FATES)]
    events = [np.diag(shape / (1.0 + 2.0 * bar)) for *_, bar in FATES]
    widths = 0.03 * np.eye(4)
    return make_rates(ENERGY, events, parts, widths, np.ones((4, 28), bool), Baseline())


def experiment(bend: float) -> Asimov:
    return Asimov(rates(0.0), 4, reactor_constraints, rates(bend))


def test_where_nature_is_what_is_fitted_nothing_moves() -> None:
    found = biases(experiment(0.0), TRUTH)
    assert found.converged.all()
    np.testing.assert_allclose(found.pulls, 0.0, atol=2e-3)
    np.testing.assert_allclose(found.chi2, 0.0, atol=1e-5)
    same = Asimov(rates(0.0), 4, reactor_constraints)
    np.testing.assert_allclose(found.ordering, wrong_ordering(same, TRUTH).chi2, rtol=1e-3)
    np.testing.assert_allclose(found.octant, wrong_octant(same, TRUTH).chi2, rtol=1e-3, atol=1e-3)


def test_small_shifts_are_those_of_linear_theory() -> None:
    """(J^T J/mu + 1/s^2)^-1 J^T (n - mu)/mu, and errors from the diagonal of the inverse."""
    bend = 3e-3
    found, fitted = biases(experiment(bend), TRUTH), rates(0.0)
    assert found.converged.all()

    def counts(v: jax.Array) -> jax.Array:
        return fitted(parameters(v[:7]), v[DENSITY], v[7:])

    sd = np.append(reactor_constraints(TRUTH), np.ones((2, 4)), axis=1)
    for row, truth in enumerate(TRUTH):
        v = jnp.append(jnp.asarray(truth), jnp.zeros(4))
        mu, slope = np.asarray(counts(v)), np.asarray(jax.jacrev(counts)(v))
        change = np.asarray(rates(bend)(parameters(v[:7]), v[DENSITY])) - mu
        curvature = slope.T @ (slope / mu[:, None]) + np.diag(1.0 / sd[row] ** 2)
        expected = np.linalg.solve(curvature, slope.T @ (change / mu))[:7]
        errors = np.sqrt(np.diag(np.linalg.inv(curvature)))[:7]
        np.testing.assert_allclose(found.sigma[row], errors, rtol=1e-6)
        pulls = expected / errors
        assert np.abs(pulls[[THETA23, DCP, DM31]]).max() > 0.02
        np.testing.assert_allclose(found.pulls[row], pulls, atol=4e-3)


def test_a_scan_has_the_mixing_in_its_own_error() -> None:
    scan = bias_scan(experiment(3e-3), nufit_6_0("ic24", "normal"), TRUTH[:, DCP])
    found = biases(experiment(3e-3), TRUTH)
    np.testing.assert_allclose(scan["dm31"], found.pulls[:, DM31], rtol=1e-6)
    np.testing.assert_allclose(scan["sin2_theta23"], found.pulls[:, THETA23], atol=1e-4)
    angle, step = TRUTH[:, THETA23], found.sigma[:, THETA23]
    width = 0.5 * (np.sin(angle + step) ** 2 - np.sin(angle - step) ** 2)
    np.testing.assert_allclose(scan["sin2_theta23_error"], width, rtol=2e-2)


def test_the_error_of_the_phase_is_where_chi2_is_one() -> None:
    asimov = Asimov(rates(0.0, 3000.0), 4, reactor_constraints)
    width, good = dcp_resolution(asimov, TRUTH)
    assert good.all()
    assert standard_errors(asimov, TRUTH)[:, DCP] == pytest.approx(width, rel=0.1)


def test_a_phase_moves_the_shorter_way_around() -> None:
    near = TRUTH.copy()
    near[:, DCP] = np.pi - 1e-6, -np.pi + 1e-6
    found = biases(experiment(0.01), near)
    assert np.all(np.abs(found.shift[:, DCP]) < 0.5)
