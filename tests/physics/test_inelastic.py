"""Effective partons: their limits at high and at vanishing Q^2."""

from __future__ import annotations

import numpy as np
import pytest

from bayesxs.constants import NUCLEON_MASS
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.helicity import five_from_helicity
from bayesxs.physics.inelastic import (
    longitudinal_fits,
    longitudinal_ratio,
    low_q2_factors,
    parton_tensor,
    scaling_variable,
)

M = NUCLEON_MASS
PDF = embedded_ct18nnlo()


def at(x, q2, antineutrino=False):
    w2 = M**2 + q2 * (1.0 / x - 1.0)
    return parton_tensor(PDF, 18.0, 22.0, antineutrino, w2, q2)


@pytest.mark.parametrize("antineutrino", [False, True])
def test_partons_are_free_at_high_q2(antineutrino):
    x, q2 = np.array([0.01, 0.1, 0.3, 0.6]), 9000.0
    ours = five_from_helicity(at(x, q2, antineutrino), x, q2)
    d, u, s, c = PDF.xf(x, q2, (1, 2, 3, 4)).T
    dbar, ubar, sbar, cbar = PDF.xf(x, q2, (-1, -2, -3, -4)).T
    if antineutrino:
        quarks, antiquarks = 18.0 * u + 22.0 * d + 40.0 * c, 18.0 * dbar + 22.0 * ubar + 40.0 * sbar
    else:
        quarks, antiquarks = 18.0 * d + 22.0 * u + 40.0 * s, 18.0 * ubar + 22.0 * dbar + 40.0 * cbar
    f2, xf3 = 2.0 * (quarks + antiquarks), 2.0 * (quarks - antiquarks)
    np.testing.assert_allclose(ours[:, 1], f2, rtol=2e-3)
    # R makes F1 smaller at a given F2, by some per cent at small x; F3 goes with F1
    np.testing.assert_allclose(2.0 * x * ours[:, 0], f2, rtol=0.08)
    np.testing.assert_allclose(ours[:, 2] / ours[:, 0], 2.0 * xf3 / f2, rtol=2e-3)


def test_the_scaling_variable_is_a_fraction_and_tends_to_x():
    x = np.linspace(0.01, 1.0, 100)
    for q2 in (1e-6, 0.1, 1.0, 10.0):
        values = np.asarray(scaling_variable(x, q2))
        assert np.all(values > 0.0)
        assert np.all(values < 1.0)
    np.testing.assert_allclose(scaling_variable(x, 1e6), x, rtol=1e-5)


def test_the_vector_current_decouples_and_the_axial_one_does_not():
    vector, axial = (np.asarray(k) for k in low_q2_factors(1e-9, 2.0, antineutrino=False))
    np.testing.assert_allclose(vector, 0.0, atol=1e-7)
    assert np.all(axial[1] > 0.5)
    vector, axial = (np.asarray(k) for k in low_q2_factors(1e6, 1e6, antineutrino=False))
    np.testing.assert_allclose(vector[1], 1.0, rtol=1e-5)
    np.testing.assert_allclose(axial[1], 1.0, rtol=1e-5)


def test_f2_stays_finite_at_vanishing_q2_and_is_longitudinal_there():
    nu, q2 = 3.0, np.array([1e-4, 1e-6])
    x = q2 / (2.0 * M * nu)
    tensor = at(x, q2)
    f2 = np.asarray(five_from_helicity(tensor, x, q2))[:, 1]
    np.testing.assert_allclose(f2[0], f2[1], rtol=1e-2)
    # PCAC: F2(Q^2=0) = f_pi^2/pi sigma(pi A) (Adler 1964), 25 to 35 mb a nucleon in free space;
    # partons give the order of magnitude
    pcac = 40.0 * 0.0924**2 * 2.0 / np.pi * 28.0 / 0.3894
    assert 0.3 * pcac < f2[1] < 2.0 * pcac
    # F_T/F_L vanishes with Q^2
    ratio = np.asarray((tensor.plus + tensor.minus) / tensor.ll)
    assert ratio[1] < 0.05 * ratio[0]


def test_the_three_fits_of_r_agree_where_data_are():
    # Three forms with six constants each, fitted to the same 237 data: an error of transcription
    # in one would part it from the others
    x, q2 = np.meshgrid(np.linspace(0.05, 0.7, 14), np.geomspace(1.0, 20.0, 12))
    fits = np.array(longitudinal_fits(x, q2))
    np.testing.assert_allclose(fits, np.broadcast_to(fits.mean(axis=0), fits.shape), atol=0.06)
    np.testing.assert_allclose(longitudinal_ratio(x, q2), fits.mean(axis=0), rtol=1e-12)


def test_r_is_continuous_at_its_edge_and_vanishes_with_q2():
    edge = np.asarray(longitudinal_ratio(0.2, np.array([0.2999, 0.3001])))
    np.testing.assert_allclose(edge[0], edge[1], rtol=2e-3)
    low = np.asarray(longitudinal_ratio(0.2, np.array([1e-3, 1e-4])))
    np.testing.assert_allclose(low[0] / low[1], 10.0, rtol=1e-4)
