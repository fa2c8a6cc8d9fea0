"""The linear operator: its two contractions, and its accuracy against direct integration."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.detector import operator as module
from bayesxs.detector.charts import CubeRoot
from bayesxs.detector.exact import exact_response
from bayesxs.detector.grid import EnergyGrid, NodeGrid, energy_grid, lepton_grid, node_grid
from bayesxs.detector.operator import build_operator, row_quadrature, total_quadrature
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.cross_section import differential_cross_section
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    invariants,
    is_physical,
    x_min,
)
from bayesxs.physics.nucleus import Nucleus

ARGON = PhaseSpace(3.0)
spaces = st.sampled_from([NUCLEON, PhaseSpace(1.5), ARGON])

d2s = jax.jit(differential_cross_section, static_argnums=(0, 4, 5))


def rel_l2(value, reference):
    return np.linalg.norm(value - reference) / np.linalg.norm(reference)


@pytest.fixture(scope="module")
def truth_values(truth, nodes):
    return np.asarray(truth(nodes.x, nodes.q2))


@pytest.fixture(scope="module")
def interpolated(operator, truth_values):
    return operator.response(truth_values)


@pytest.fixture(scope="module")
def exact(truth, bins, energies):
    return exact_response(truth, bins, energies)


@pytest.fixture(scope="module")
def small():
    """Coarse grids, for what does not ask for accuracy: (operator, quadrature)."""
    grid = energy_grid([1.0, 2.0, 3.0], 0.5, 4.0, turn=1.0)
    leptons = lepton_grid(4.0, 9, 8, MUON_MASS)
    quadrature = row_quadrature(*leptons.rows, grid, MUON_MASS)
    return build_operator(quadrature, grid, node_grid(4.0, 9, 8, MUON_MASS)), quadrature


# Accuracy


def test_interpolated_truth_gives_the_exact_spectra(interpolated, exact, near_flux, far_flux):
    # Asked for: 2e-4 of the spectrum. Measured: 4e-5, near and far
    for flux in (near_flux, far_flux):
        assert rel_l2(interpolated @ flux, exact @ flux) < 1e-4


def test_interpolated_truth_gives_the_exact_response_energy_by_energy(interpolated, exact):
    # Unweighted by the flux, energies of 8-10 GeV and small z dominate: measured 2.3e-4
    assert rel_l2(interpolated, exact) < 3e-4


def test_more_nodes_bring_the_spectrum_closer(smooth, bins, energies, near_flux):
    rows = np.random.default_rng(0).choice(np.unique(bins.row), 300, replace=False)
    some = np.isin(bins.row, rows)
    part = replace(
        bins,
        **{name: getattr(bins, name)[some] for name in ("row", "energy", "lepton_energy", "z")},
        weights=bins.weights[some],
    )
    exact = exact_response(smooth, part, energies) @ near_flux
    errors = []
    for n in (16, 32, 64):
        nodes = node_grid(10.0, n, n, MUON_MASS)
        response = build_operator(part, energies, nodes).response(smooth(nodes.x, nodes.q2))
        errors.append(rel_l2(response @ near_flux, exact))
    # Cubics gain 16 per halving of the step, in the limit
    assert errors[1] < errors[0] / 8.0
    assert errors[2] < errors[1] / 8.0


@pytest.fixture(scope="module")
def fine(leptons, energies, truth):
    """Random rows and their response with four times the points and a deeper grading."""
    rows = np.random.default_rng(1).choice(len(leptons.areas), 700, replace=False)
    coordinates = [v[rows] for v in leptons.rows]
    quadrature = row_quadrature(*coordinates, energies, MUON_MASS, order=12, softening=0.0002)
    return rows, exact_response(truth, quadrature, energies)


def test_row_quadrature_against_a_much_finer_one(exact, fine, near_flux, far_flux):
    rows, reference = fine
    for flux in (near_flux, far_flux):  # measured: 2e-5 each
        assert rel_l2(exact[rows] @ flux, reference @ flux) < 1e-4
    assert rel_l2(exact[rows], reference) < 5e-4


def test_operator_against_a_much_finer_quadrature(interpolated, fine, near_flux, far_flux):
    # Nodes and quadrature together: the accuracy that the design asks for
    rows, reference = fine
    for flux in (near_flux, far_flux):
        assert rel_l2(interpolated[rows] @ flux, reference @ flux) < 2e-4


@pytest.mark.parametrize("row", [15 * 80 + 6, 20 * 80 + 32])  # (2.0 GeV, 0.08), (2.6 GeV, 0.40)
def test_spectra_against_scipy(truth, exact, leptons, flux, near_flux, energies, row):
    # Integral of flux times cross section over energy, panel by panel between the flux's kinks.
    # The truth itself has kinks, at the knots of its PDF
    lepton_energy, z = (v[row] for v in leptons.rows)
    result = exact[row] @ near_flux

    def integrand(energy):
        return float(flux(14, energy) * d2s(truth, energy, lepton_energy, z, MUON_MASS))

    expected = sum(
        scipy.integrate.quad(integrand, low, high, epsrel=1e-5, epsabs=1e-6 * result)[0]
        for low, high in zip(energies.edges[:-1], energies.edges[1:], strict=True)
        if is_physical(high, lepton_energy, z, MUON_MASS)
    )
    assert result == pytest.approx(expected, rel=2e-4)


def test_row_quadrature_converges_with_its_order(smooth, leptons, energies, near_flux):
    # Without the truth's kinks, the gain per order is large
    rows = np.random.default_rng(2).choice(len(leptons.areas), 600, replace=False)
    coordinates = [v[rows] for v in leptons.rows]
    *spectra, reference = [
        exact_response(smooth, row_quadrature(*coordinates, energies, MUON_MASS, n), energies)
        @ near_flux
        for n in (2, 3, 4, 5, 10)
    ]
    errors = [rel_l2(spectrum, reference) for spectrum in spectra]
    assert errors[1] < 1e-4
    assert errors[3] < 1e-5
    assert np.all(np.diff(np.log(errors)) < -1.0)


def test_totals_against_a_finer_quadrature(truth, flux):
    energies = EnergyGrid(np.geomspace(0.5, 10.0, 7))
    totals = [
        exact_response(truth, total_quadrature(energies, MUON_MASS, *n), energies).sum(axis=0)
        for n in ((32, 16), (64, 32))
    ]
    np.testing.assert_allclose(*totals, rtol=1e-4)
    averages = [total @ (energies.weights * flux(14, energies.points)) for total in totals]
    assert averages[0] == pytest.approx(averages[1], rel=2e-5)


# Structure


def test_the_two_contractions_agree(operator, interpolated, truth_values, near_flux):
    spectrum = operator.near_matrix(near_flux) @ truth_values.ravel()
    assert rel_l2(spectrum, interpolated @ near_flux) < 1e-13


vectors = st.integers(0, 2**32 - 1)


@settings(max_examples=20, deadline=None)
@given(seed=vectors, a=st.floats(-3.0, 3.0), b=st.floats(-3.0, 3.0))
def test_response_is_linear_in_the_structure_functions(small, seed, a, b):
    operator, _ = small
    rng = np.random.default_rng(seed)
    w1, w2 = rng.normal(size=(2, operator.nodes.size, 3))
    together = operator.response(a * w1 + b * w2)
    apart = a * operator.response(w1) + b * operator.response(w2)
    scale = np.abs(operator.response(w1)).max() + np.abs(operator.response(w2)).max()
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-12 * scale)


@settings(max_examples=20, deadline=None)
@given(seed=vectors)
def test_near_matrix_is_the_response_folded_with_any_flux(small, seed):
    operator, _ = small
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(operator.nodes.size, 3))
    flux = rng.uniform(size=len(operator.energies.points))
    expected = operator.response(w) @ flux
    result = operator.near_matrix(flux) @ w.ravel()
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_constant_structure_functions_leave_the_coefficients(small):
    # Interpolation has partition of unity
    operator, _ = small
    b = np.array([0.3, -0.2, 1.1])
    values = np.tile(b, (operator.nodes.size, 1))
    np.testing.assert_allclose(operator.cross_section(values), operator.coefficients @ b, rtol=1e-9)


def test_response_has_nothing_above_the_lepton_energy(small, smooth):
    # An energy panel that ends below E_l contributes nothing
    operator, _ = small
    leptons = lepton_grid(4.0, 9, 8, MUON_MASS)
    response = operator.response(smooth(operator.nodes.x, operator.nodes.q2))
    panel_end = np.repeat(operator.energies.edges[1:], operator.energies.order)
    np.testing.assert_array_equal(response[leptons.rows[0][:, None] >= panel_end], 0.0)
    assert np.any(response > 0.0)


def test_clamping_only_removes_negative_cross_sections(small, smooth):
    # Linear interpolation between nodes, which never overshoots
    operator, quadrature = small
    nodes = node_grid(4.0, 9, 8, MUON_MASS, order=1)
    operator = build_operator(quadrature, operator.energies, nodes)
    values = np.asarray(smooth(nodes.x, nodes.q2))
    positive, clamped = (operator.response(values, clamp=c) for c in (False, True))
    np.testing.assert_array_equal(clamped, positive)
    np.testing.assert_array_equal(operator.response(-values, clamp=True), 0.0)
    mixed = np.where(nodes.x[:, None] > 0.3, -values, values)
    cross_section = operator.cross_section(mixed)
    assert cross_section.min() < 0.0 < cross_section.max()
    # Each row integrated over all energies, without the negative points
    kept = np.bincount(quadrature.row, quadrature.weights * np.maximum(cross_section, 0.0))
    total = operator.response(mixed, clamp=True).sum(axis=1)
    np.testing.assert_allclose(total[: len(kept)], kept, rtol=1e-10, atol=1e-14)


def test_results_do_not_depend_on_the_chunks(small, smooth, monkeypatch):
    operator, quadrature = small
    values = np.asarray(smooth(operator.nodes.x, operator.nodes.q2))
    flux = np.ones(len(operator.energies.points))

    def results():
        return (
            operator.response(values),
            operator.near_matrix(flux).toarray(),
            exact_response(smooth, quadrature, operator.energies),
        )

    whole = results()
    monkeypatch.setattr(module, "CHUNK", 97)
    for a, b in zip(results(), whole, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14 * np.abs(b).max())


def test_rows_may_be_events_in_any_order(operator, leptons, energies, nodes, truth_values):
    # The same builder takes unbinned coordinates; repeated and unphysical ones stay in place
    rows = np.random.default_rng(3).choice(len(leptons.areas), 40)
    lepton_energy, z = (v[rows] for v in leptons.rows)
    lepton_energy, z = np.append(lepton_energy, [9.99, 0.2]), np.append(z, [0.9, 0.9])
    events = build_operator(row_quadrature(lepton_energy, z, energies, MUON_MASS), energies, nodes)
    response = events.response(truth_values)
    np.testing.assert_allclose(response[:40], operator.response(truth_values)[rows], rtol=1e-10)
    np.testing.assert_array_equal(response[40:], 0.0)


@settings(max_examples=30, deadline=None)
@given(
    seed=vectors,
    mass=st.sampled_from([MUON_MASS, TAU_MASS]),
    order=st.integers(1, 5),
    space=spaces,
)
def test_row_quadrature_covers_exactly_the_physical_energies(seed, mass, order, space):
    rng = np.random.default_rng(seed)
    energies = EnergyGrid(np.array([0.5, 1.3, 2.0, 4.5, 9.0]))
    lepton_energy, z = rng.uniform(mass, 9.0, 30), rng.uniform(0.0, space.x_max, 30)
    # Some that go almost straight forward, whose threshold is lowest
    momentum = np.sqrt(lepton_energy**2 - mass**2)
    z[::2] = 1.001 * (lepton_energy - momentum)[::2] / NUCLEON_MASS
    q = row_quadrature(lepton_energy, z, energies, mass, order=order, space=space)
    assert q.n_rows == 30
    assert np.all(np.diff(q.row) >= 0)
    assert np.all(q.weights > 0.0)
    assert np.all(is_physical(q.energy, q.lepton_energy, q.z, mass, space))
    # The weights of a row add up to the length of its physical interval
    even = np.linspace(0.5, 9.0, 20001)
    inside = is_physical(even[:, None], lepton_energy, z, mass, space)
    length = np.bincount(q.row, q.weights, minlength=30)
    np.testing.assert_allclose(length, inside.mean(axis=0) * 8.5, atol=1.5e-3)


# A nucleus: x > 1, ridges


@pytest.fixture(scope="module")
def argon():
    """The built-in nucleus for muon neutrinos."""
    return Nucleus(embedded_ct18nnlo()).structure_functions(MUON_MASS, False)


@pytest.fixture(scope="module")
def few_rows():
    """Some of the default bins that neutrinos reach."""
    leptons = lepton_grid(10.0, 80, 80, MUON_MASS, ARGON)
    lepton_energy, z = leptons.rows
    possible = np.flatnonzero(is_physical(10.0, lepton_energy, z, MUON_MASS, ARGON))
    some = np.sort(np.random.default_rng(4).choice(possible, 500, replace=False))
    return lepton_energy[some], z[some]


def test_interpolated_nucleus_gives_the_exact_spectra(
    argon, few_rows, energies, near_flux, far_flux
):
    # Asked for: 2e-4 of the near spectrum, with 3000 nodes at most
    nodes = node_grid(10.0, 48, 48, MUON_MASS, space=ARGON)
    quadrature = row_quadrature(*few_rows, energies, MUON_MASS, space=ARGON)
    operator = build_operator(quadrature, energies, nodes)
    values = np.asarray(argon(nodes.x, nodes.q2))
    exact, found = exact_response(argon, quadrature, energies), operator.response(values)
    assert rel_l2(found @ near_flux, exact @ near_flux) < 2e-4
    assert rel_l2(found @ far_flux, exact @ far_flux) < 4e-4
    assert len(np.unique(operator.near_matrix(near_flux).indices // 3)) < 3000
    # Nodes in (x, Q^2), as many, do ten times worse
    even = NodeGrid(
        np.linspace(np.cbrt(x_min(10.0, MUON_MASS)), np.cbrt(3.0), 54),
        np.linspace(np.log(0.101), np.log(50.0), 54),
        CubeRoot(),
    )
    values = np.asarray(argon(even.x, even.q2))
    worse = build_operator(quadrature, energies, even).response(values)
    assert rel_l2(worse @ near_flux, exact @ near_flux) > 1e-3


def test_rows_of_a_nucleus_against_scipy(argon, few_rows, flux, energies, near_flux):
    """The errors of all rows together, relative to the spectrum."""
    lepton_energy, z = (a[::12] for a in few_rows)
    quadrature = row_quadrature(lepton_energy, z, energies, MUON_MASS, space=ARGON)
    found = exact_response(argon, quadrature, energies) @ near_flux

    def integrand(energy):
        value = d2s(argon, energy, lepton_energy, z, MUON_MASS, ARGON)
        return flux(14, energy) * np.asarray(value)

    expected, error = scipy.integrate.quad_vec(
        integrand, 0.5, 10.0, epsrel=1e-5, points=energies.edges[1:-1]
    )
    assert error < 2e-5 * np.linalg.norm(expected)
    assert rel_l2(found, expected) < 1e-4


@pytest.mark.parametrize("energy", [0.7, 2.5, 9.0])
def test_total_of_a_nucleus_against_scipy_over_energy_and_angle(argon, energy):
    energies = EnergyGrid(np.array([energy - 0.01, energy + 0.01]), 1)
    quadrature = total_quadrature(energies, MUON_MASS, space=ARGON)
    found = exact_response(argon, quadrature, energies).sum()
    point, weight = np.polynomial.legendre.leggauss(800)
    t = np.cbrt(2.0) * 0.5 * (point + 1.0)  # cos theta = 1 - t^3

    def over_angles(lepton_energy):
        momentum = np.sqrt(lepton_energy**2 - MUON_MASS**2)
        z = (lepton_energy - momentum * (1.0 - t**3)) / NUCLEON_MASS
        value = np.asarray(d2s(argon, energy, lepton_energy, z, MUON_MASS, ARGON))
        measure = momentum / NUCLEON_MASS * 3.0 * t**2 * np.cbrt(2.0) * 0.5 * weight
        return measure @ value

    breaks = [energy - b for b in (0.028, 0.1, 0.3, 0.6, 1.0) if b < energy - MUON_MASS]
    expected, _ = scipy.integrate.quad(
        over_angles, MUON_MASS, energy, points=breaks, epsrel=1e-4, limit=200
    )
    assert found == pytest.approx(expected, rel=4e-4)


def test_partons_have_the_same_spectra_where_x_may_exceed_one(
    truth, leptons, exact, interpolated, energies, near_flux, far_flux
):
    rows = np.sort(np.random.default_rng(6).choice(len(leptons.areas), 800, replace=False))
    quadrature = row_quadrature(*(v[rows] for v in leptons.rows), energies, MUON_MASS, space=ARGON)
    nodes = node_grid(10.0, 48, 48, MUON_MASS, space=ARGON)
    values = np.asarray(truth(nodes.x, nodes.q2))
    again = exact_response(truth, quadrature, energies)
    found = build_operator(quadrature, energies, nodes).response(values)
    for flux in (near_flux, far_flux):
        assert rel_l2(again @ flux, exact[rows] @ flux) < 1e-4
        assert rel_l2(found @ flux, exact[rows] @ flux) < 2e-4
    space = total_quadrature(energies, MUON_MASS, space=ARGON)
    totals = [
        exact_response(truth, q, energies).sum(axis=0)
        for q in (space, total_quadrature(energies, MUON_MASS))
    ]
    np.testing.assert_allclose(totals[0], totals[1], rtol=5e-4)


@pytest.mark.parametrize("space", [NUCLEON, ARGON], ids=["nucleon", "argon"])
def test_total_quadrature_measures_the_area_of_the_region(energies, space):
    # Weights are dE_l dz over the physical region at each energy
    quadrature = total_quadrature(energies, MUON_MASS, space=space)
    coordinates = (quadrature.energy, quadrature.lepton_energy, quadrature.z)
    assert np.all(is_physical(*coordinates, MUON_MASS, space))
    area = np.bincount(quadrature.row, quadrature.weights)
    for i in (0, 20, 70, -1):
        energy = energies.points[i]
        lepton_energy = np.linspace(MUON_MASS, energy, 1501)[1:]
        z = np.linspace(0.0, space.x_max, 1500)
        inside = is_physical(energy, lepton_energy[:, None], z, MUON_MASS, space)
        plane = space.x_max * (energy - MUON_MASS)
        assert area[i] == pytest.approx(inside.mean() * plane, rel=4e-3)


@pytest.mark.parametrize("space", [NUCLEON, PhaseSpace(1.5), ARGON])
def test_x_of_the_points_reaches_its_upper_end(energies, space):
    leptons = lepton_grid(10.0, 40, 40, MUON_MASS, space)
    for q in (
        row_quadrature(*leptons.rows, energies, MUON_MASS, space=space),
        total_quadrature(energies, MUON_MASS, space=space),
    ):
        x, _, _ = invariants(q.energy, q.lepton_energy, q.z, MUON_MASS)
        assert 0.99 * space.x_max < x.max() < space.x_max


def test_energies_below_threshold_have_no_cross_section(smooth):
    # nu_tau: nothing happens below m + m^2/(2M) = 3.46 GeV, where x_min = 1
    energies = EnergyGrid(np.linspace(0.5, 6.0, 12))
    quadrature = total_quadrature(energies, TAU_MASS)
    threshold = energies.points[x_min(energies.points, TAU_MASS) < 1.0]
    above = np.unique(quadrature.energy)
    assert above.min() > 3.45
    assert set(above) <= set(threshold)
    nodes = node_grid(6.0, 24, 24, TAU_MASS)
    total = build_operator(quadrature, energies, nodes).response(smooth(nodes.x, nodes.q2))
    assert np.isfinite(total).all()
    below = energies.points < 3.45
    np.testing.assert_array_equal(total[below], 0.0)
    assert total.sum(axis=1)[~below].max() > 0.0


def test_operator_keeps_what_it_was_built_from(small):
    operator, quadrature = small
    x, q2, _ = invariants(quadrature.energy, quadrature.lepton_energy, quadrature.z, MUON_MASS)
    table = np.stack([operator.nodes.x ** (1 / 3), np.log(operator.nodes.q2 + 0.1)], axis=1)
    start = operator.start_u * len(operator.nodes.v) + operator.start_v
    # Interior stencils bracket their point: the first of the four nodes lies below it
    assert np.all(table[start, 0] <= np.cbrt(x) + 1e-12)
    assert np.all(table[start, 1] <= np.maximum(np.log(q2 + 0.1), table[:, 1].min()) + 1e-12)
    lengths = np.sum(operator.weights_e, axis=1)
    np.testing.assert_allclose(lengths, quadrature.weights, rtol=1e-12)
