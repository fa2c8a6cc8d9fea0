"""Counts are integrals over bins: the package's own events fall where the integrals say."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import sparse, stats

from bayesxs.constants import MUON_MASS, NUCLEON_MASS
from bayesxs.detector.counting import Axis, CountedBins, CountedSpectrum, points_in_bins
from bayesxs.detector.density import Events, simulate_events
from bayesxs.detector.exact import exact_cross_section as exact
from bayesxs.detector.grid import energy_grid, lepton_grid, node_grid
from bayesxs.detector.operator import build_operator, fold, row_quadrature, total_quadrature
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    cosine_from_z,
    invariants,
    is_physical,
)
from bayesxs.physics.nucleus import Nucleus

NUMBER = 400_000

# Five energies by six angles, as uneven as published measurements
UNEVEN = ([0.0, 0.3, 0.7, 1.5, 3.2, 12.0], [-1.0, 0.0, 0.6, 0.8, 0.9, 0.96, 1.0])


def coordinate(events: Events, axis: Axis) -> np.ndarray:
    if axis == "z":
        return events.z
    return np.clip(cosine_from_z(events.lepton_energy, events.z, MUON_MASS), -1.0, 1.0)


@pytest.fixture(scope="module")
def events(flux, truth) -> Events:
    """Near-detector events of the quark-parton truth, drawn without any bins."""
    return simulate_events(
        jax.random.key(7), truth, lambda e: flux(14, e), (0.5, 10.0), MUON_MASS, NUMBER
    )


def regular(number: int) -> CountedBins:
    grid = lepton_grid(10.0, number, number, MUON_MASS)
    return CountedBins.of_edges(grid.energy_edges, grid.z_edges, "z")


BINNINGS = {
    "40 x 40": regular(40),
    "80 x 80": regular(80),
    "30 uneven": CountedBins.of_edges(*UNEVEN, "cos_theta"),
}


@pytest.fixture(scope="module")
def expected(energies, nodes, truth, near_flux) -> dict[str, np.ndarray]:
    """Expected events in each bin of the binnings, of arbitrary normalisation."""
    return {
        name: CountedSpectrum(bins, energies, nodes, MUON_MASS).of_function(truth).rows @ near_flux
        for name, bins in BINNINGS.items()
    }


@pytest.mark.parametrize("name", BINNINGS)
def test_events_fall_into_bins_as_the_integrals_say(name, events, expected):
    """Bins with next to nothing are one; false alarms: 1 in 1000 for each of six."""
    bins = BINNINGS[name]
    energy, second = np.unique(bins.energy), np.unique(bins.second)
    place = coordinate(events, bins.axis)
    counts = np.histogram2d(events.lepton_energy, place, [energy, second])[0].ravel()
    assert counts.sum() == NUMBER
    mean = NUMBER * expected[name] / expected[name].sum()
    for where in (np.full(bins.size, True), bins.energy[:, 1] < 0.51):
        if not where.any():
            continue
        several = where & (mean > 5.0)
        observed = np.append(counts[several], counts[~several].sum())
        predicted = np.append(mean[several], mean[~several].sum())
        assert stats.chisquare(observed, predicted).pvalue > 1e-3


def test_events_of_a_nucleus_fall_into_bins_as_the_integrals_say(flux, energies, near_flux):
    """With x > 1 and ridges; false alarms: 1 in 1000."""
    space = PhaseSpace(3.0)
    argon = Nucleus(embedded_ct18nnlo()).structure_functions(MUON_MASS, False)
    number, key = 30_000, jax.random.key(8)
    drawn = simulate_events(
        key, argon, lambda e: flux(14, e), (0.5, 10.0), MUON_MASS, number, space
    )
    assert np.all(is_physical(*drawn, MUON_MASS, space))
    x, _, _ = invariants(*drawn, MUON_MASS)
    assert 0.05 < np.mean(x > 1.0) < 0.15  # NuWro: 8.5 %, two nucleons included
    bins = CountedBins.of_edges(*UNEVEN, "cos_theta")
    nodes = node_grid(10.0, 10, 10, MUON_MASS)
    spectrum = CountedSpectrum(bins, energies, nodes, MUON_MASS, 1, space)
    rows = spectrum.of_function(argon).rows @ near_flux
    totals = total_quadrature(energies, MUON_MASS, space=space)
    rates = fold(totals, energies, exact(argon, totals)).sum(axis=1)
    assert rows.sum() == pytest.approx(rates @ (energies.weights * near_flux), rel=2e-3)
    mean = number * rows / rows.sum()
    cosine = coordinate(drawn, "cos_theta")
    counts = np.histogram2d(drawn.lepton_energy, cosine, UNEVEN)[0].ravel()
    several = mean > 5.0
    observed = np.append(counts[several], counts[~several].sum())
    predicted = np.append(mean[several], mean[~several].sum())
    assert stats.chisquare(observed, predicted).pvalue > 1e-3


@pytest.mark.parametrize("name", BINNINGS)
def test_bins_that_cover_everything_add_up_to_the_total(name, expected, energies, truth, near_flux):
    totals = total_quadrature(energies, MUON_MASS)
    rates = fold(totals, energies, np.maximum(exact(truth, totals), 0.0)).sum(axis=1)
    total = rates @ (energies.weights * near_flux)
    assert expected[name].sum() == pytest.approx(total, rel=2e-4)


def test_more_points_change_nothing_that_counts(expected, energies, nodes, truth, near_flux):
    """At ten million events, the chi-square of all bins changes by less than one."""
    name = "30 uneven"
    finer = CountedSpectrum(BINNINGS[name], energies, nodes, MUON_MASS, order=3)
    fine = finer.of_function(truth).rows @ near_flux
    fine, coarse = (1e7 * a / a.sum() for a in (fine, expected[name]))
    filled = fine > 0.0
    assert np.sum((coarse - fine)[filled] ** 2 / fine[filled]) < 1.0


@pytest.mark.parametrize("space", [NUCLEON, PhaseSpace(3.0)], ids=["nucleon", "argon"])
@pytest.mark.parametrize("mass", [MUON_MASS, 0.000511, 1.777])
def test_the_areas_of_points_add_up_to_the_reachable_part_of_the_plane(mass, space):
    """Against a plain sum over a fine mesh of the energy."""
    top = 10.0
    energy = mass + (top - mass) * (np.arange(400_000) + 0.5) / 400_000
    momentum = np.sqrt(energy**2 - mass**2)
    low = (energy - momentum) / NUCLEON_MASS
    reach = (space.x_max * (top - energy) + mass**2 / (2.0 * NUCLEON_MASS)) / top
    length = np.maximum(np.minimum((energy + momentum) / NUCLEON_MASS, reach) - low, 0.0)
    area = length.mean() * (top - mass)
    for axis, edges in (("z", [0.0, 0.1, 0.5, 3.0]), ("cos_theta", [-1.0, 0.3, 1.0])):
        bins = CountedBins.of_edges([0.0, 0.4, 3.0, 20.0], edges, axis)
        found = points_in_bins(bins, mass, top, space=space)
        assert found.areas.sum() == pytest.approx(area, rel=1e-3)
        inside = bins.energy[found.bin]
        assert np.all((inside[:, 0] < found.lepton_energy) & (found.lepton_energy < inside[:, 1]))


def test_bins_in_angle_are_those_in_its_cosine():
    cosine = BINNINGS["30 uneven"]
    angle = CountedBins(cosine.energy, np.arccos(cosine.second[:, ::-1]), "angle_rad")
    for one, other in zip(
        *(points_in_bins(b, MUON_MASS, 10.0) for b in (cosine, angle)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-8)


@pytest.fixture(scope="module")
def small() -> CountedSpectrum:
    """Few energies, 10 x 10 nodes, bins with a gap."""
    bins = CountedBins(
        np.array([[0.0, 1.0], [1.0, 3.0], [2.0, 5.0]]),
        np.array([[0.0, 0.2], [0.1, 0.4], [0.5, 0.6]]),
        "z",
    )
    energies = energy_grid([1.0, 2.5], 0.5, 5.0, order=2)
    return CountedSpectrum(bins, energies, node_grid(5.0, 10, 10, MUON_MASS), MUON_MASS)


def test_the_matrix_gives_the_same_spectrum(small):
    rng = np.random.default_rng(2)
    values = rng.standard_normal((small.nodes.size, 3))
    flux = rng.uniform(0.0, 1.0, len(small.energies.points))
    rows, total = small.of_values(values)
    np.testing.assert_allclose(small.matrix(flux) @ values.ravel(), rows @ flux, rtol=1e-10)
    np.testing.assert_allclose(rows.sum(axis=0), total, rtol=1e-12)


def test_sums_of_rows_are_sums_of_the_matrix(small):
    rng = np.random.default_rng(3)
    e_l, z = rng.uniform(0.2, 4.0, 30), rng.uniform(0.05, 0.5, 30)
    operator = build_operator(
        row_quadrature(e_l, z, small.energies, MUON_MASS), small.energies, small.nodes
    )
    summed = sparse.csr_array((rng.uniform(size=30), (rng.integers(0, 4, 30), np.arange(30))))
    flux = rng.uniform(size=len(small.energies.points))
    found = operator.summed_matrix(flux, summed).toarray()
    expected = (summed @ operator.near_matrix(flux)).toarray()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())
