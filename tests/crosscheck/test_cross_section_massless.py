"""The operator's route to a total cross section against the massless textbook formula."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
import scipy.constants
import scipy.integrate

from bayesxs.constants import MUON_MASS
from bayesxs.detector.exact import exact_response
from bayesxs.detector.grid import EnergyGrid, node_grid
from bayesxs.detector.operator import build_operator, total_quadrature
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.structure_functions import PartonFunctions

# PDG 2024, GeV, and CODATA, (hbar c)^2 in GeV^2 cm^2: written down again, so that nothing is shared
G_F = 1.1663788e-5
M_W = 80.3692
M_N = 0.5 * (0.93827208943 + 0.93956542194)
HBARC2 = (scipy.constants.hbar * scipy.constants.c / scipy.constants.e * 1e-7) ** 2
FLAVORS = (1, 2, 3, 4, -1, -2, -3, -4)


PDF = embedded_ct18nnlo()
xf = jax.jit(lambda x, q2: PDF.xf(x, q2, FLAVORS))


@functools.cache
def textbook(energy, antineutrino):
    """sigma/E in 1e-38 cm^2/GeV of an isoscalar nucleon, all masses but the factor M neglected.

    G_F^2 M/pi int dx dy 2x [q + (1-y)^2 qbar] / (1 + Q^2/M_W^2)^2 for neutrinos, with q and qbar
    exchanged for antineutrinos (Halzen and Martin, Quarks and Leptons, section 9.4).
    """
    t = np.linspace(0.0, 1.0, 257)
    x = np.maximum(t, 1e-3)[:, None] ** 4  # fine at small x; x q t^3 vanishes below
    y = np.linspace(0.0, 1.0, 129)
    q2 = 2.0 * M_N * energy * x * y
    d, u, s, c, dbar, ubar, sbar, cbar = np.moveaxis(np.asarray(xf(x, q2)), -1, 0)
    half, half_bar = 0.5 * (u + d), 0.5 * (ubar + dbar)
    if antineutrino:
        flat, falling = half_bar + sbar, half + c
    else:
        flat, falling = half + s, half_bar + cbar
    bracket = 2.0 * (flat + (1.0 - y) ** 2 * falling) / (1.0 + q2 / M_W**2) ** 2
    over_y = scipy.integrate.simpson(bracket, x=y, axis=1)
    integral = scipy.integrate.simpson(over_y * 4.0 * t**3, x=t)
    return G_F**2 * M_N / np.pi * integral * HBARC2 / 1e-38


def isoscalar(antineutrino, mass=MUON_MASS):
    return PartonFunctions(PDF, 0.5, 0.5, mass, antineutrino)


def at_one_energy(energy):
    """A panel so narrow that its one point is the energy."""
    return EnergyGrid(energy + np.array([-1e-6, 1e-6]), 1)


@pytest.mark.parametrize("antineutrino", [False, True])
def test_total_cross_section_against_the_textbook(antineutrino):
    # Muon and target mass take off 0.6 % at 50 GeV and 0.3 % at 100 GeV
    energies = EnergyGrid(np.array([50.0, 100.0, 200.0]), 1)
    quadrature = total_quadrature(energies, MUON_MASS, 48, 24)
    sigma = exact_response(isoscalar(antineutrino), quadrature, energies).sum(axis=0)
    expected = [textbook(energy, antineutrino) for energy in energies.points]
    np.testing.assert_allclose(sigma / energies.points, expected, rtol=0.01)


def test_what_is_left_without_lepton_mass_is_the_target_mass():
    # F2 loses M x y/(2E) of itself: 0.15 % at 100 GeV, in proportion to 1/E
    mass = 1e-3
    energies = EnergyGrid(np.array([40.0, 80.0, 160.0]), 1)  # points: 60 and 120 GeV
    quadrature = total_quadrature(energies, mass, 96, 48)
    sigma = exact_response(isoscalar(False, mass), quadrature, energies).sum(axis=0)
    expected = np.array([textbook(energy, False) for energy in energies.points])
    loss = 1.0 - sigma / energies.points / expected
    assert 0.0 < loss[1] < 2e-3
    assert loss[0] * energies.points[0] == pytest.approx(loss[1] * energies.points[1], rel=0.1)


def test_nodes_and_operator_reach_the_textbook():
    energy = 50.0
    energies = at_one_energy(energy)
    nodes = node_grid(energy, 64, 64, MUON_MASS)
    operator = build_operator(total_quadrature(energies, MUON_MASS), energies, nodes)
    values = np.asarray(jax.jit(isoscalar(False))(nodes.x, nodes.q2))
    (result,) = operator.near_matrix(np.ones(1)) @ values.ravel()
    assert result / energy == pytest.approx(textbook(energy, False), rel=0.01)


# PDG review of neutrino cross section measurements: sigma_CC/E of an isoscalar nucleon from 30 to
# 200 GeV is 0.677 +- 0.014 for neutrinos and 0.334 +- 0.008 for antineutrinos, in 1e-38 cm^2/GeV
@pytest.mark.parametrize(("antineutrino", "measured"), [(False, 0.677), (True, 0.334)])
def test_leading_order_reaches_the_measured_average_to_5_percent(antineutrino, measured):
    energies = EnergyGrid(np.array([30.0, 60.0, 120.0, 200.0]), 2)
    sigma = exact_response(
        isoscalar(antineutrino), total_quadrature(energies, MUON_MASS), energies
    ).sum(axis=0)
    average = np.sum(energies.weights * sigma / energies.points) / 170.0
    assert average == pytest.approx(measured, rel=0.05)
