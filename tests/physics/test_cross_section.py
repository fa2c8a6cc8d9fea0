"""The differential cross section: against the matrix element of one parton, and its edges."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.constants
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import FERMI_CONSTANT, MUON_MASS, NUCLEON_MASS, TAU_MASS, W_MASS
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.cross_section import (
    coefficients,
    differential_cross_section,
    five_function_bracket,
    propagator,
)
from bayesxs.physics.kinematics import invariants, lepton_from_invariants, x_min, y_range
from bayesxs.physics.structure_functions import PartonFunctions

M = NUCLEON_MASS
d2s_jit = jax.jit(differential_cross_section, static_argnums=(0, 4))

# (hbar c)^2 in GeV^2 cm^2, from CODATA
HBARC2 = (scipy.constants.hbar * scipy.constants.c / scipy.constants.e * 1e-9 * 1e2) ** 2


def physical_points(rng, n, energy_range, mass):
    """Random (E, E_l, z) inside the region, even in E and in the fractions of x and y."""
    energy = rng.uniform(*energy_range, n)
    lowest = x_min(energy, mass)
    x = lowest + rng.uniform(0.001, 0.999, n) * (1.0 - lowest)
    low, high = y_range(energy, x, mass)
    y = low + rng.uniform(0.001, 0.999, n) * (high - low)
    return energy, *lepton_from_invariants(energy, x, y, mass)


def one_parton(s_hat, y, mass, like):
    """Give 4 (k.p)(k'.p')/s_hat for like and 4 (k'.p)(k.p')/s_hat for opposite helicities.

    Of a massless parton p = x P with s_hat = 2 M E x: k.p = s_hat/2, k'.p' = (s_hat - m^2)/2,
    k'.p = (1 - y) s_hat/2, and k.p' = k.p - k.k' = ((1 - y) s_hat - m^2)/2.
    """
    return s_hat - mass**2 if like else (1.0 - y) * ((1.0 - y) * s_hat - mass**2)


@pytest.mark.parametrize("mass", [MUON_MASS, TAU_MASS])
@pytest.mark.parametrize("antineutrino", [False, True])
@pytest.mark.parametrize("like", [False, True])
def test_one_parton_scatters_like_its_matrix_element(analytic_pdf, mass, antineutrino, like):
    # d2s/dxdy = G_F^2/pi q(x) [one_parton - (M x/(2E)) (Q^2 + m^2)] / (1 + Q^2/M_W^2)^2, exactly,
    # for 2x F1 = F2 = 2x F5, F4 = 0. The last term, -(m^2/(4E^2) + M x y/(2E)) F2 in the bracket,
    # is what the tensor of a nucleon of mass M has over that of a massless parton.
    pid = {(False, True): 1, (False, False): -2, (True, True): -1, (True, False): 2}
    pdf = analytic_pdf({pid[antineutrino, like]: lambda x, q2: x * (1.0 - x) ** 3})
    sf = PartonFunctions(pdf, 1.0, 0.0, mass, antineutrino)
    rng = np.random.default_rng(1)
    energy, lepton_energy, z = physical_points(rng, 200, (4.5, 60.0), mass)
    x, q2, y = invariants(energy, lepton_energy, z, mass)
    result = d2s_jit(sf, energy, lepton_energy, z, mass) * (y * energy)
    target_mass = M * x / (2.0 * energy) * (q2 + mass**2)
    square = one_parton(2.0 * M * energy * x, y, mass, like) - target_mass
    natural = FERMI_CONSTANT**2 / np.pi * (1.0 - x) ** 3 / (1.0 + q2 / W_MASS**2) ** 2
    expected = natural * square * HBARC2 / 1e-38
    scale = natural * 2.0 * M * energy * x * HBARC2 / 1e-38
    assert np.max(np.abs(result - expected) / scale) < 1e-9


@pytest.mark.parametrize("mass", [MUON_MASS, TAU_MASS])
def test_quark_spectrum_is_flat_in_y_and_goes_like_s_hat_minus_m2(analytic_pdf, mass):
    # The limit M x/E -> 0 of the above, the W propagator taken out: d s/dy ~ s_hat - m^2
    pdf = analytic_pdf({1: lambda x, q2: x * jnp.ones_like(q2)})
    sf = PartonFunctions(pdf, 1.0, 0.0, mass)
    for energy in (1e3, 1e4):
        x, y = 0.02, np.linspace(0.2, 0.9, 8)
        lepton_energy, z = lepton_from_invariants(energy, x, y, mass)
        ds_dy = d2s_jit(sf, energy, lepton_energy, z, mass) * (y * energy)
        ds_dy = ds_dy / propagator(energy, 2.0 * M * energy * x * y)
        s_hat = 2.0 * M * energy * x
        expected = (s_hat - mass**2) / (M * energy)
        np.testing.assert_allclose(ds_dy, expected, rtol=M * x / energy)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), antineutrino=st.booleans())
def test_it_is_the_five_function_formula(nucleon_pdf, seed, antineutrino):
    # d2s/dE_l dz = d2s/dxdy / nu
    sf = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS, antineutrino)
    points = physical_points(np.random.default_rng(seed), 50, (0.5, 50.0), MUON_MASS)
    x, q2, y = invariants(*points, MUON_MASS)
    sign = -1 if antineutrino else 1
    bracket = five_function_bracket(sf.five(x, q2), points[0], x, y, MUON_MASS, sign)
    factor = propagator(points[0], q2) / (points[0] - points[1])
    result = d2s_jit(sf, *points, MUON_MASS)
    # Relative to F2, as terms cancel towards large y
    scale = factor * sf.five(x, q2)[:, 1]
    assert np.max(np.abs(result - factor * bracket) / scale) < 1e-10


def test_propagator():
    natural = FERMI_CONSTANT**2 * M / np.pi
    assert propagator(1.0, 0.0) == pytest.approx(natural * HBARC2 / 1e-38, rel=1e-9)
    assert propagator(3.0, W_MASS**2) == pytest.approx(0.25 * 3.0 * float(propagator(1.0, 0.0)))


def test_zero_outside_the_physical_region(nucleon_pdf):
    sf = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS)
    outside = np.array(
        [
            (2.0, 2.5, 0.3),  # more energy than the neutrino has
            (2.0, 1.0, 0.9),  # x > 1
            (2.0, 1.0, 0.0),  # cos theta > 1
            (2.0, 0.11, 0.4),  # cos theta < -1
            (2.0, 0.05, 0.1),  # less than the muon's mass
            (2.0, 2.0, 0.3),  # nu = 0
        ]
    )
    np.testing.assert_array_equal(d2s_jit(sf, *outside.T, MUON_MASS), 0.0)
    assert d2s_jit(sf, 2.0, 1.0, 0.3, MUON_MASS) > 0.0


def test_gradients_are_finite_inside_and_outside(nucleon_pdf):
    sf = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS)
    grid = np.meshgrid([0.5, 2.0, 5.0], np.linspace(0.0, 5.0, 21), np.linspace(-0.1, 1.1, 21))
    points = np.stack([v.ravel() for v in grid], axis=1)

    def value(point):
        return d2s_jit(sf, *point, MUON_MASS)

    values, gradients = jax.vmap(jax.value_and_grad(value))(jnp.asarray(points))
    assert np.isfinite(values).all()
    assert np.isfinite(gradients).all()
    np.testing.assert_array_equal(gradients[values == 0.0], 0.0)


def test_linear_in_the_structure_functions():
    rng = np.random.default_rng(2)
    points = physical_points(rng, 100, (0.5, 10.0), MUON_MASS)
    b = rng.normal(size=3)
    result = differential_cross_section(
        lambda x, q2: b * jnp.ones_like(x)[..., None], *points, MUON_MASS
    )
    np.testing.assert_allclose(result, coefficients(*points, MUON_MASS) @ b, rtol=1e-12)


def test_coefficients_are_non_negative():
    # With the cone of the Bernstein form this makes the cross section non-negative
    points = physical_points(np.random.default_rng(3), 1000, (0.3, 50.0), MUON_MASS)
    assert np.min(coefficients(*points, MUON_MASS)) >= 0.0


def test_arguments_broadcast(nucleon_pdf):
    sf = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS)
    lepton_energy, z = np.linspace(0.2, 2.0, 4)[:, None], np.linspace(0.1, 0.5, 3)
    together = d2s_jit(sf, 2.5, lepton_energy, z, MUON_MASS)
    alone = [[d2s_jit(sf, 2.5, e, v, MUON_MASS) for v in z] for e in lepton_energy[:, 0]]
    assert together.shape == (4, 3)
    np.testing.assert_allclose(together, alone, rtol=1e-12)


# sigma_CC/E of an isoscalar nucleon, 30 to 200 GeV, in 1e-38 cm^2/GeV: 0.677 +- 0.014 for neutrinos
# and 0.334 +- 0.008 for antineutrinos (PDG review of neutrino cross section measurements)
@pytest.mark.parametrize(("antineutrino", "measured"), [(False, 0.677), (True, 0.334)])
def test_leading_order_reaches_the_measured_total_to_5_percent(antineutrino, measured):
    energy = np.array([75.0, 100.0])[:, None, None]
    sf = PartonFunctions(embedded_ct18nnlo(), 0.5, 0.5, MUON_MASS, antineutrino)
    t, weights = np.polynomial.legendre.leggauss(32)
    lowest = np.cbrt(x_min(energy, MUON_MASS))
    u = lowest + 0.5 * (1.0 - lowest) * (t[:, None] + 1.0)
    low, high = y_range(energy, u**3, MUON_MASS)
    y = low + 0.5 * (high - low) * (t + 1.0)
    lepton_energy, z = lepton_from_invariants(energy, u**3, y, MUON_MASS)
    area = 0.25 * (1.0 - lowest) * weights[:, None] * 3.0 * u**2 * (high - low) * weights
    d2s = d2s_jit(sf, energy, lepton_energy, z, MUON_MASS)
    sigma = np.sum(area * y * energy * d2s, axis=(1, 2))
    np.testing.assert_allclose(sigma / energy.ravel(), measured, rtol=0.05)
