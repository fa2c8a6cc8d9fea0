"""Spectra are linear in the structure functions, whichever way they are contracted."""

from __future__ import annotations

import numpy as np
import pytest

from bayesxs.constants import MUON_MASS
from bayesxs.detector.grid import EnergyGrid, NodeGrid, energy_grid, lepton_grid, node_grid
from bayesxs.detector.operator import row_quadrature, total_quadrature
from bayesxs.detector.spectrum import Spectrum


@pytest.fixture(scope="module")
def small() -> tuple[EnergyGrid, NodeGrid]:
    """Few energies, 10 x 10 nodes."""
    return energy_grid([1.0, 2.5], 0.5, 5.0, order=2), node_grid(5.0, 10, 10, MUON_MASS)


@pytest.fixture(scope="module")
def spectra(small) -> dict[str, Spectrum]:
    """The same 9 x 7 bins as they are, smeared into 11 others, and as unbinned events."""
    energies, nodes = small
    bins = lepton_grid(5.0, 9, 7, MUON_MASS)
    quadrature = row_quadrature(*bins.rows, energies, MUON_MASS)
    smearing = np.random.default_rng(0).uniform(0.0, 0.1, (11, bins.areas.size))
    total = total_quadrature(energies, MUON_MASS, 8, 6)
    return {
        "bins": Spectrum(quadrature, energies, nodes, bins.areas),
        "smeared": Spectrum(quadrature, energies, nodes, bins.areas, smearing),
        "events": Spectrum(quadrature, energies, nodes, totals=total),
    }


KINDS = ("bins", "smeared", "events")


@pytest.mark.parametrize("kind", KINDS)
def test_spectra_are_linear_in_the_node_values(kind, spectra, small):
    first, second = np.random.default_rng(1).standard_normal((2, small[1].size, 3))
    one, other, both = (spectra[kind].of_values(v) for v in (first, second, 2.0 * first - second))
    for a, b, c in zip(one, other, both, strict=True):
        np.testing.assert_allclose(c, 2.0 * a - b, rtol=0.0, atol=1e-12 * np.abs(c).max())


@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_gives_the_same_spectrum(kind, spectra, small):
    energies, nodes = small
    rng = np.random.default_rng(2)
    values, flux = rng.standard_normal((nodes.size, 3)), rng.uniform(0.0, 1.0, len(energies.points))
    found = spectra[kind].matrix(flux) @ values.ravel()
    expected = spectra[kind].of_values(values).rows @ flux
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["bins", "smeared"])
def test_bins_are_normalised_by_their_own_sum(kind, spectra, small, smooth):
    found = spectra[kind].of_function(smooth)
    areas = spectra["bins"].areas if kind == "bins" else np.ones(11)
    np.testing.assert_allclose(areas @ found.rows, found.total, rtol=1e-12)


def test_clamping_leaves_no_negative_cross_section(spectra, small):
    values = np.random.default_rng(3).standard_normal((small[1].size, 3))
    energies = small[0].points
    plain, clamped = (spectra["bins"].of_values(values, clamp=c) for c in (False, True))
    assert np.any(plain.rows @ np.ones(len(energies)) < 0.0)
    assert np.all(clamped.rows.sum(axis=1) >= -1e-12 * np.abs(clamped.rows).max())


def test_interpolation_reproduces_cubics(small):
    nodes = small[1]
    coefficients = np.random.default_rng(4).standard_normal((4, 4, 2))

    def cubic(x: np.ndarray, q2: np.ndarray) -> np.ndarray:
        u, v = np.cbrt(x), np.log(q2 + nodes.chart.q2_scale)
        return np.moveaxis(np.polynomial.polynomial.polyval2d(u, v, coefficients), 0, -1)

    rng = np.random.default_rng(5)
    u = rng.uniform(nodes.u[0], nodes.u[-1], (6, 5))
    v = rng.uniform(nodes.v[0], nodes.v[-1], (6, 5))
    x, q2 = u**3, np.exp(v) - nodes.chart.q2_scale
    found = nodes.interpolate(cubic(nodes.x, nodes.q2), x, q2)
    assert found.shape == (6, 5, 2)
    expected = cubic(x, q2)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-10 * np.abs(expected).max())
