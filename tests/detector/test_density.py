"""Densities are normalized, blind to scale, and what simulated events follow."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.detector.density import Events, FoldedRows, Sample, density, simulate_events
from bayesxs.detector.exact import exact_response
from bayesxs.detector.grid import EnergyGrid, lepton_grid
from bayesxs.detector.operator import row_quadrature, total_quadrature
from bayesxs.errors import InputError
from bayesxs.physics.kinematics import is_physical, lepton_momentum
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import Baseline, probability

M, MUON = NUCLEON_MASS, MUON_MASS
RANGE = (0.5, 10.0)
# Every statistical test below is run with fixed seeds and rejects good code with this probability
FALSE_ALARM = 1e-4


def z_limits(lepton_energy):
    """Ends of z at fixed E_l for E up to 10 GeV: |cos theta| = 1 and x = 1."""
    momentum = lepton_momentum(lepton_energy, MUON)
    top = 1.0 - (lepton_energy - MUON**2 / (2.0 * M)) / RANGE[1]
    low = (lepton_energy - momentum) / M
    return low, np.minimum((lepton_energy + momentum) / M, top)


def rows_by_area(energy_edges, fraction_edges, n):
    """Gauss points in cells of (E_l, sqrt of the fraction of the z range): rows and their areas.

    In these coordinates the edges of the physical region are edges of cells, and the rise of the
    density towards the smallest z is resolved. Shapes (n_e, n_t, n^2).
    """
    t, weights = np.polynomial.legendre.leggauss(n)

    def points(edges):
        half = 0.5 * np.diff(edges)[:, None]
        return 0.5 * (edges[1:] + edges[:-1])[:, None] + half * t, half * weights

    e, weight_e = points(energy_edges)
    s, weight_s = points(fraction_edges)
    e, weight_e = e[:, None, :, None], weight_e[:, None, :, None]
    s, weight_s = s[None, :, None, :], weight_s[None, :, None, :]
    low, top = z_limits(e)
    z = low + (top - low) * s**2
    area = weight_e * weight_s * (top - low) * 2.0 * s
    shape = (*z.shape[:2], n * n)
    return (np.broadcast_to(e, z.shape).reshape(shape), z.reshape(shape), area.reshape(shape))


ENERGY_EDGES = np.concatenate([[MUON], np.arange(0.5, 4.6, 0.5), [6.0, 8.0, 10.0]])
FRACTION_EDGES = np.linspace(0.0, 1.0, 7)


@pytest.fixture(scope="module")
def cells():
    return rows_by_area(ENERGY_EDGES, FRACTION_EDGES, 5)


class Spectra(NamedTuple):
    """A cross section folded with everything but the flux, on the rows of the cells."""

    response: FoldedRows
    areas: np.ndarray

    def cell_probabilities(self, flux):
        """Integrate the density over each cell."""
        p = density(self.response, flux).reshape(self.areas.shape)
        return np.sum(p * self.areas, axis=-1)


def make_spectra(sf, energies):
    lepton_energy, z, areas = rows_by_area(ENERGY_EDGES, FRACTION_EDGES, 5)
    quadrature = row_quadrature(lepton_energy.ravel(), z.ravel(), energies, MUON)
    sigma = exact_response(sf, total_quadrature(energies, MUON), energies).sum(axis=0)
    rows = exact_response(sf, quadrature, energies)
    return Spectra(FoldedRows(rows, sigma * energies.weights), areas)


@pytest.fixture(scope="module")
def true_spectra(truth, energies):
    return make_spectra(truth, energies)


@pytest.fixture(scope="module")
def smooth_spectra(smooth, energies):
    return make_spectra(smooth, energies)


# Densities


def test_density_integrates_to_one(true_spectra, smooth_spectra, near_flux, far_flux):
    # Two independent integrals: over E at fixed (E_l, z) and then over these, against over (x, y)
    # at fixed E and then over E. Measured: 1e-4, from the 25 points per cell of (E_l, z)
    for spectra in (true_spectra, smooth_spectra):
        for flux in (near_flux, far_flux):
            assert np.sum(spectra.cell_probabilities(flux)) == pytest.approx(1.0, abs=3e-4)


@pytest.fixture(scope="module")
def toy_response(smooth_spectra):
    return smooth_spectra.response


def test_sum_over_bins_tends_to_one(smooth, energies, near_flux, toy_response):
    # Bin centers times bin areas, a midpoint rule across the edge of the region
    errors = []
    for n in (20, 80):
        leptons = lepton_grid(10.0, n, n, MUON)
        quadrature = row_quadrature(*leptons.rows, energies, MUON)
        rows = exact_response(smooth, quadrature, energies)
        p = density(FoldedRows(rows, toy_response.total), near_flux)
        assert np.all(p >= 0.0)
        errors.append(abs(np.sum(p * leptons.areas) - 1.0))
    assert errors[1] < 0.01
    assert errors[1] < errors[0]


def test_far_without_oscillation_is_near(toy_response, energies, near_flux):
    params, at_source = nufit_6_0(), Baseline(length=0.0)
    survival = np.asarray(probability("mu", "mu", params, energies.points, at_source))
    far = density(toy_response, near_flux * survival)
    np.testing.assert_allclose(far, density(toy_response, near_flux), rtol=1e-12)


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(1e-6, 1e6), negative=st.booleans(), flux_scale=st.floats(1e-6, 1e6))
def test_blind_to_the_scale_of_cross_section_and_flux(
    toy_response, near_flux, scale, negative, flux_scale
):
    factor = -scale if negative else scale
    scaled = FoldedRows(factor * toy_response.rows, factor * toy_response.total)
    result = density(scaled, flux_scale * near_flux)
    np.testing.assert_allclose(result, density(toy_response, near_flux), rtol=1e-12)


def test_density_of_a_mixture_is_the_mixture_of_densities(toy_response, near_flux, far_flux):
    rates = [toy_response.total @ flux for flux in (near_flux, far_flux)]
    parts = [density(toy_response, flux) for flux in (near_flux, far_flux)]
    expected = np.average(parts, axis=0, weights=rates)
    result = density(toy_response, near_flux + far_flux)
    np.testing.assert_allclose(result, expected, rtol=1e-12)


def test_sample_knows_its_neutrino_and_its_lepton():
    assert Sample().flux_id == 14
    assert Sample().lepton_mass == MUON
    appearance = Sample(flavor_in="mu", flavor_out="e", antineutrino=True, beam="antineutrino")
    assert (appearance.flux_id, appearance.lepton_mass) == (-14, ELECTRON_MASS)
    assert Sample(flavor_out="tau").lepton_mass == TAU_MASS


# Events


def chi_square_p_value(counts, expected):
    """p-value of counts given their expectations, cells of fewer than 20 joined into one."""
    large = expected >= 20.0
    counts = np.append(counts[large], counts[~large].sum())
    expected = np.append(expected[large], expected[~large].sum())
    if expected[-1] < 5.0:
        counts[-2], expected[-2] = counts[-2:].sum(), expected[-2:].sum()
        counts, expected = counts[:-1], expected[:-1]
    expected = expected * counts.sum() / expected.sum()
    statistic = np.sum((counts - expected) ** 2 / expected)
    return scipy.stats.chi2.sf(statistic, len(counts) - 1)


def oscillated(flux):
    def far(energy):
        return flux(14, energy) * np.asarray(probability("mu", "mu", nufit_6_0(), energy))

    return far


N = 20000


class Simulated(NamedTuple):
    """Events, the flux at the shared energies that they come from, and what they must follow."""

    events: Events
    flux: np.ndarray
    spectra: Spectra


@pytest.fixture(scope="module", params=["near", "far"])
def simulated(request, truth, smooth, flux, true_spectra, smooth_spectra, near_flux, far_flux):
    if request.param == "near":
        arguments = (jax.random.key(1), smooth, lambda e: flux(14, e))
        sampled, spectra = near_flux, smooth_spectra
    else:
        arguments = (jax.random.key(2), truth, oscillated(flux))
        sampled, spectra = far_flux, true_spectra
    return Simulated(simulate_events(*arguments, RANGE, MUON, N), sampled, spectra)


def test_every_event_is_physical(simulated):
    events = simulated.events
    assert [len(v) for v in events] == [N] * 3
    assert np.all(is_physical(*events, MUON))
    assert RANGE[0] <= np.min(events.energy) <= np.max(events.energy) <= RANGE[1]


def test_leptons_follow_the_density(simulated, energies):
    events = simulated.events
    low, top = z_limits(events.lepton_energy)
    fraction = np.sqrt((events.z - low) / (top - low))
    counts, _, _ = np.histogram2d(
        events.lepton_energy, fraction, bins=(ENERGY_EDGES, FRACTION_EDGES)
    )
    assert counts.sum() == N
    expected = N * simulated.spectra.cell_probabilities(simulated.flux)
    assert chi_square_p_value(counts.ravel(), expected.ravel()) > FALSE_ALARM
    # The test has power: it excludes a flux that is a little harder
    harder = simulated.flux * energies.points**0.3
    expected = N * simulated.spectra.cell_probabilities(harder)
    assert chi_square_p_value(counts.ravel(), expected.ravel()) < 1e-6


def test_neutrino_energies_follow_flux_times_total_cross_section(simulated, energies):
    rate = simulated.spectra.response.total * simulated.flux
    rate = rate.reshape(-1, energies.order).sum(axis=1)  # of each panel
    counts, _ = np.histogram(simulated.events.energy, energies.edges)
    assert chi_square_p_value(counts, N * rate / rate.sum()) > FALSE_ALARM


def test_events_of_a_key_are_reproducible(smooth, flux):
    def draw(seed, number):
        key = jax.random.key(seed)
        return simulate_events(key, smooth, lambda e: flux(14, e), RANGE, MUON, number)

    first = draw(3, 500)
    # A larger sample of the same key begins with the smaller
    for a, b in zip(first, draw(3, 800), strict=True):
        np.testing.assert_array_equal(a, b[:500])
    assert not np.any(first.z == draw(4, 500).z)


def test_more_events_than_one_batch_are_all_different(smooth, flux):
    events = simulate_events(jax.random.key(5), smooth, lambda e: flux(14, e), RANGE, MUON, 30000)
    assert len(np.unique(events.z)) == 30000


def energy_p_value(smooth, flux, edges, number, seed):
    """p-value of the energies of events drawn from a flux that is constant between the edges."""
    events = simulate_events(jax.random.key(seed), smooth, flux, RANGE, MUON, number)
    panels = EnergyGrid(edges, 4)
    sigma = exact_response(smooth, total_quadrature(panels, MUON), panels).sum(axis=0)
    rate = (sigma * panels.weights * flux(panels.points)).reshape(-1, 4).sum(axis=1)
    counts, _ = np.histogram(events.energy, edges)
    assert counts.sum() == number
    return chi_square_p_value(counts, number * rate / rate.sum())


def test_flux_may_vanish_in_parts_of_the_range(smooth):
    # Windows with sharp edges that fall inside the cells of the envelope, and nothing elsewhere
    def windows(energy):
        energy = np.asarray(energy)
        return 1.0 * ((energy > 2.013) & (energy < 3.017)) + 0.3 * (np.abs(energy - 7.0) < 0.51)

    edges = np.array([2.013, 2.3, 2.6, 3.017, 6.49, 7.0, 7.51])
    assert energy_p_value(smooth, windows, edges, 20000, 6) > FALSE_ALARM


def test_a_spike_that_the_envelope_missed_is_found_and_sampled(smooth):
    # Height 40, between the energies at which the bounds are set (0.5 + 0.02375 k GeV)
    def spiky(energy):
        energy = np.asarray(energy)
        return 1.0 + 40.0 * (np.abs(energy - 4.01) < 0.004)

    edges = np.array([0.5, 2.0, 4.006, 4.014, 7.0, 10.0])
    assert energy_p_value(smooth, spiky, edges, 20000, 7) > FALSE_ALARM


@pytest.mark.parametrize("flux", [lambda e: 0.0 * e, lambda e: 1.0 * (e > 50.0)])
def test_zero_density_is_an_error(smooth, flux):
    with pytest.raises(InputError, match=r"0\.5 to 10 GeV.*flux times cross section > 0"):
        simulate_events(jax.random.key(8), smooth, flux, RANGE, MUON, 10)


def test_below_threshold_there_are_no_events(smooth):
    with pytest.raises(InputError):
        simulate_events(jax.random.key(9), smooth, np.ones_like, (0.5, 3.4), TAU_MASS, 10)
    events = simulate_events(jax.random.key(9), smooth, np.ones_like, (0.5, 8.0), TAU_MASS, 200)
    # m + m^2/(2M)
    assert np.min(events.energy) > TAU_MASS + TAU_MASS**2 / (2.0 * M)
    assert np.all(is_physical(*events, TAU_MASS))
