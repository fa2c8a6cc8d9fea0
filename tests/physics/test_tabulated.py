"""Tensors as tables: what is read off them is what was put in."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity
from bayesxs.physics.kinematics import PhaseSpace, q2_range
from bayesxs.physics.nucleus import Nucleus
from bayesxs.physics.tabulated import Q_HIGH, RIDGE_HIGH, RIDGE_LOW, Tabulated

ARGON = Nucleus(embedded_ct18nnlo())


def bump(nu, q2) -> Helicity:
    """A tensor as wide as the Delta, five components of different shapes, none below nu = 0."""
    ridge = nu - q2 / (2.0 * NUCLEON_MASS)
    x = q2 / (2.0 * NUCLEON_MASS * nu)
    height = jnp.exp(-0.5 * ((ridge - 0.4) / 0.12) ** 2) / (1.0 + q2)
    parts = (height * q2, 0.3 * height, 1.0 / (1.0 + q2 + jnp.exp(-ridge)), -height, 2.0 * height)
    return Helicity(*(part / x for part in parts))


@pytest.fixture(scope="module")
def table() -> Tabulated:
    return Tabulated(bump)


def points(number: int, w2_max: float, q2_max: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    q2 = np.exp(rng.uniform(np.log(1e-4), np.log(q2_max), number))
    nu = (rng.uniform(1.0, w2_max, number) - NUCLEON_MASS**2 + q2) / (2.0 * NUCLEON_MASS)
    return nu, q2


def stacked(tensor: Helicity, x: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(part) * x for part in tensor])


@pytest.mark.parametrize("q2_max", [30.0, 300.0])  # within the table, and beyond it
def test_a_table_gives_back_a_smooth_tensor(table: Tabulated, q2_max: float) -> None:
    nu, q2 = points(3000, 20.0, q2_max)
    x = q2 / (2.0 * NUCLEON_MASS * nu)
    exact = stacked(bump(nu, q2), x)
    error = np.abs(stacked(jax.jit(table)(nu, q2), x) - exact).max(axis=1)
    assert np.all(error < 3e-5 * np.abs(exact).max(axis=1))


@pytest.mark.parametrize("mass", [ELECTRON_MASS, MUON_MASS, TAU_MASS])
def test_the_table_holds_the_phase_space_of_a_nucleus_up_to_10_gev(mass: float) -> None:
    _, most = q2_range(10.0, mass, PhaseSpace(ARGON.x_max))
    assert most < Q_HIGH**2
    assert RIDGE_HIGH > 10.0


def test_no_channel_that_is_tabulated_is_left_below_the_table() -> None:
    """At the momentum transfer that Fermi motion widens most."""
    q2 = np.array([Q_HIGH**2])
    below = RIDGE_LOW - 0.5 + q2 / (2.0 * NUCLEON_MASS)
    x = q2 / (2.0 * NUCLEON_MASS * below)
    for part in ARGON.helicity(x, q2, channels=("delta", "inelastic")):
        np.testing.assert_array_equal(part, 0.0)


def test_beyond_the_table_the_tensor_is_exact(table: Tabulated) -> None:
    q2 = np.array([2.0, 60.0, 100.0])
    nu = np.array([30.0, 40.0, 60.0])
    for one, other in zip(table(nu, q2), bump(nu, q2), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_structure_functions_of_a_nucleus_are_those_of_its_tensor() -> None:
    """To 1e-4 of their size; kinks in Q^2 (where a PDF begins, where a fit ends) are rounded."""
    nu, q2 = points(4000, 17.0, 20.0)
    x = q2 / (2.0 * NUCLEON_MASS * nu)
    tensor = jax.jit(ARGON.helicity)(x, q2)
    exact = np.asarray(bernstein_from_helicity(tensor, x, q2, MUON_MASS, sign=1))
    found = np.asarray(jax.jit(ARGON.structure_functions(MUON_MASS))(x, q2))
    size = np.maximum(np.abs(exact).max(axis=1), 1e-3 * np.abs(exact).max())
    error = np.abs(found - exact).max(axis=1) / size
    kinks = (np.abs(np.log(q2 / 0.3)) < 0.2) | (np.abs(np.log(q2 / 1.69)) < 0.15)
    assert np.quantile(error, 0.5) < 1e-6
    assert np.quantile(error[~kinks], 0.98) < 1e-4
    assert error.max() < 1e-2
    assert np.isfinite(found).all()
