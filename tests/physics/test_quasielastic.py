"""Quasi-elastic scattering against Llewellyn Smith's formula and sums over the Fermi sphere."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.constants import (
    AXIAL_COUPLING,
    CABIBBO,
    CROSS_SECTION_UNIT,
    ELECTRON_MASS,
    FERMI_CONSTANT,
    HBARC_SQUARED,
    MUON_MASS,
    NEUTRON_MOMENT,
    NUCLEON_MASS,
    PION_MASS,
    PROTON_MOMENT,
    TAU_MASS,
)
from bayesxs.physics.cross_section import density_of_transfer, total_cross_section
from bayesxs.physics.fermi_motion import in_motion
from bayesxs.physics.helicity import bernstein_from_helicity
from bayesxs.physics.nucleon_form_factors import elastic_tensor, vector_form_factors
from bayesxs.physics.quasielastic import QuasiElastic, superscaling_function

M = NUCLEON_MASS
UNIT = HBARC_SQUARED / CROSS_SECTION_UNIT


def llewellyn_smith(energy: float, q2: np.ndarray, mass: float, sign: int) -> np.ndarray:
    """Return ds/dQ^2 of a free nucleon in 1e-38 cm^2/GeV^2, dipole form factors.

    Phys. Rept. 3 (1972) 261, equation 3.18; F_A > 0 here, hence + for neutrinos.
    """
    tau = q2 / (4.0 * M**2)
    dipole = (1.0 + q2 / 0.71) ** -2
    electric, magnetic = dipole, (PROTON_MOMENT - NEUTRON_MOMENT) * dipole
    f1 = (electric + tau * magnetic) / (1.0 + tau)
    f2 = (magnetic - electric) / (1.0 + tau)
    fa = AXIAL_COUPLING * (1.0 + q2 / 1.03**2) ** -2
    fp = 2.0 * M**2 * fa / (PION_MASS**2 + q2)
    a = (1.0 + tau) * fa**2 - (1.0 - tau) * f1**2 + tau * (1.0 - tau) * f2**2 + 4.0 * tau * f1 * f2
    a -= (
        mass**2 / (4.0 * M**2) * ((f1 + f2) ** 2 + (fa + 2.0 * fp) ** 2 - 4.0 * (1.0 + tau) * fp**2)
    )
    a *= (mass**2 + q2) / M**2
    b = q2 / M**2 * fa * (f1 + f2)
    c = 0.25 * (fa**2 + f1**2 + tau * f2**2)
    su = (4.0 * M * energy - q2 - mass**2) / M**2
    flux = M**2 * FERMI_CONSTANT**2 * CABIBBO**2 / (8.0 * np.pi * energy**2)
    return UNIT * flux * (a + sign * b * su + c * su**2)


@pytest.mark.parametrize(
    ("mass", "energy", "q2"),
    [
        (ELECTRON_MASS, 0.7, np.array([0.02, 0.2, 0.6])),
        (MUON_MASS, 0.7, np.array([0.05, 0.2, 0.6])),
        (MUON_MASS, 3.0, np.array([0.01, 0.5, 2.0])),
        (TAU_MASS, 8.0, np.array([1.0, 2.0, 4.0])),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_nucleon_at_rest_is_llewellyn_smith(mass, energy, q2, sign):
    # A Fermi momentum of 2 MeV: the response is a peak over |psi| < 1 at nu = Q^2/(2M)
    fermi = 0.002
    model = QuasiElastic(fermi, 0.0, vector="dipole", scaling="fermi_gas")

    def sf(x, scale):
        parts = model(scale / (2.0 * M * x), scale)
        return bernstein_from_helicity(parts, x, scale, mass, sign)

    t, share = np.polynomial.legendre.leggauss(40)
    peak = q2[:, None] / (2.0 * M)
    width = 1.1 * fermi * np.sqrt(peak**2 + q2[:, None]) / M
    nu = peak + width * t
    density = np.asarray(density_of_transfer(sf, energy, nu, q2[:, None], mass))
    # the propagator is no part of Llewellyn Smith's formula
    expected = llewellyn_smith(energy, q2, mass, sign) / (1.0 + q2 / 80.3692**2) ** 2
    np.testing.assert_allclose(np.sum(width * share * density, axis=1), expected, rtol=4e-3)


@pytest.mark.parametrize(
    ("sign", "energies", "measured", "error"),
    [
        # NOMAD, arXiv:0812.4543, per bound nucleon, 3 to 100 GeV, two standard errors
        (1, (5.0, 10.0, 25.0), 0.92, 0.126),
        (-1, (5.0, 10.0, 25.0), 0.81, 0.20),
        # the plateau begins at 1 GeV (Formaggio and Zeller, arXiv:1305.7513, figure 11)
        (1, (1.0, 1.5), 0.95, 0.05),
    ],
)
def test_the_fermi_gas_has_the_measured_size(sign, energies, measured, error):
    model = QuasiElastic(0.241, 0.028, scaling="fermi_gas")

    def sf(x, q2):
        parts = model(q2 / (2.0 * M * x), q2)
        return bernstein_from_helicity(parts, x, q2, MUON_MASS, sign)

    totals = total_cross_section(sf, np.array(energies), MUON_MASS)
    np.testing.assert_allclose(totals, measured, atol=error)


@pytest.mark.parametrize("size", [0.3, 0.45, 0.9])  # the first two are Pauli-blocked, below 2 k_F
def test_the_fermi_gas_is_a_sum_over_nucleons(size):
    # int dnu R = int d^3p n(p) (M/E)(M/E') [nucleon] over |p| < k_F < |p + q|
    fermi = 0.24
    model = QuasiElastic(fermi, 0.0, scaling="fermi_gas")
    t, share = np.polynomial.legendre.leggauss(400)
    p, cosine = 0.5 * fermi * (t + 1.0)[:, None], t
    weight = 0.5 * fermi * share[:, None] * share * p**2 * 1.5 / fermi**3
    energy = np.hypot(p, M)
    final = np.sqrt(p**2 + size**2 + 2.0 * p * size * cosine)
    out = np.hypot(final, M)
    nu = out - energy
    allowed = (final > fermi) & (nu > 0.0)
    nu = np.where(allowed, nu, 0.1)
    q2 = size**2 - nu**2
    product = nu * energy - size * p * cosine
    c = (q2 * energy + nu * product) / (size * np.sqrt(M**2 * q2 + product**2))
    parts = in_motion(elastic_tensor(q2, 1.03), c, c**2)
    # M delta(nu_rest - Q^2/(2M)) = M (M/E') delta(nu - ...)
    factor = weight * np.where(allowed, M / energy * M / out * M, 0.0)
    direct = np.array([np.sum(factor * part) for part in parts])
    top = np.hypot(size + fermi, M) - np.hypot(fermi, M)
    edges = 0.5 * top * (t + 1.0)
    response = np.array(model(edges, size**2 - edges**2))
    # the edge of the sphere cuts through the points of the sum
    np.testing.assert_allclose(0.5 * top * response @ share, direct, rtol=4e-3, atol=1e-9)


def published_psi(nu: np.ndarray, size: float, fermi: float) -> np.ndarray:
    """Return psi of nucl-th/0409078 without shift."""
    lam, kappa = nu / (2.0 * M), size / (2.0 * M)
    tau = kappa**2 - lam**2
    xi = np.sqrt(1.0 + (fermi / M) ** 2) - 1.0
    root = np.sqrt((1.0 + lam) * tau + kappa * np.sqrt(tau * (1.0 + tau)))
    return (lam - tau) / (np.sqrt(xi) * root)


def test_responses_scale_in_the_published_variable():
    fermi, shift, size = 0.24, 0.028, 0.9
    nu = np.linspace(0.1, 0.75, 40)
    psi = published_psi(nu - shift, size, fermi)
    xi = np.sqrt(1.0 + (fermi / M) ** 2) - 1.0
    scale = xi / ((fermi / M) ** 3 * size / (2.0 * M))  # of M times the response
    q2 = size**2 - nu**2
    gas, data = (
        QuasiElastic(fermi, shift, scaling=scaling)(nu, q2).ss / elastic_tensor(q2, 1.03).ss / scale
        for scaling in ("fermi_gas", "superscaling")
    )
    np.testing.assert_allclose(gas, np.maximum(0.75 * (1.0 - psi**2), 0.0), atol=1e-9)
    # at |q| > 2 k_F nothing of the peak is blocked
    np.testing.assert_allclose(data, superscaling_function(psi), atol=3e-3)


def test_the_scaling_function_is_normalized_in_the_region_of_data():
    psi = np.linspace(-3.0, 4.0, 20001)
    area = np.sum(superscaling_function(psi)) * (psi[1] - psi[0])
    np.testing.assert_allclose(area, 1.0, atol=0.01)


def test_pauli_blocking_empties_low_energies():
    model = QuasiElastic(0.24, 0.028)
    nu = np.array([0.02, 0.028, 0.028 + 1e-6, 0.06])
    response = np.asarray(model(nu, 0.15**2 - nu**2).ll)
    np.testing.assert_array_equal(response[:2], 0.0)
    assert 0.0 < response[2] < 1e-3 * response[3]


def test_form_factors_start_from_charge_and_moment():
    for vector in ("bbba05", "dipole"):
        electric, magnetic = vector_form_factors(jnp.array(0.0), vector)
        np.testing.assert_allclose(electric, 1.0)
        np.testing.assert_allclose(magnetic, PROTON_MOMENT - NEUTRON_MOMENT)
        # 10 % from a dipole up to 1 GeV^2 (hep-ex/0602017, figure 1)
        q2 = np.linspace(0.0, 1.0, 11)
        ratio = np.asarray(vector_form_factors(q2, vector).magnetic) * (1.0 + q2 / 0.71) ** 2
        np.testing.assert_allclose(ratio / ratio[0], 1.0, atol=0.1)
