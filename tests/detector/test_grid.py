"""Grids: what they cover, and what their stencils and quadratures reproduce exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.detector.charts import CubeRoot, Ridge
from bayesxs.detector.grid import (
    EnergyGrid,
    NodeGrid,
    energy_grid,
    lagrange_weights,
    lepton_grid,
    node_grid,
)
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    invariants,
    lepton_from_invariants,
    x_min,
    y_range,
)

ARGON = PhaseSpace(3.0)
spaces = st.sampled_from([NUCLEON, PhaseSpace(1.5), ARGON])

many = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def gather(start, weights, values):
    """Interpolate: sum of the weights times the values from each start on."""
    return np.sum(weights * values[start[:, None] + np.arange(weights.shape[1])], axis=1)


@many
@given(seed=seeds, order=st.integers(1, 6), panels=st.integers(1, 8))
def test_energy_stencil_reproduces_polynomials(seed, order, panels):
    rng = np.random.default_rng(seed)
    edges = np.cumsum(rng.uniform(0.05, 1.0, panels + 1))
    grid = EnergyGrid(edges, order)
    # A different polynomial of degree order - 1 in each panel: nothing leaks across an edge
    coefficients = rng.normal(size=(panels, order))

    def polynomial(panel, energy):
        t = energy - edges[panel]
        return sum(coefficients[panel, k] * t**k for k in range(order))

    values = polynomial(np.repeat(np.arange(panels), order), grid.points)
    panel = rng.integers(0, panels, 100)
    energy = edges[panel] + np.diff(edges)[panel] * rng.uniform(0.001, 0.999, 100)
    result = gather(*grid.stencil(energy), values)
    np.testing.assert_allclose(result, polynomial(panel, energy), rtol=0, atol=1e-11)


@many
@given(seed=seeds, order=st.integers(1, 6))
def test_energy_quadrature_is_gauss_legendre_per_panel(seed, order):
    # Exact to degree 2 order - 1
    edges = np.cumsum(np.random.default_rng(seed).uniform(0.05, 1.0, 4))
    grid = EnergyGrid(edges, order)
    assert np.all(np.diff(grid.points) > 0.0)
    for k in range(2 * order):
        exact = (edges[-1] ** (k + 1) - edges[0] ** (k + 1)) / (k + 1)
        assert np.sum(grid.weights * grid.points**k) == pytest.approx(exact, rel=1e-12)


def test_energy_stencil_has_partition_of_unity_up_to_the_ends(energies):
    energy = np.concatenate([energies.edges, np.linspace(0.5, 10.0, 1001)])
    start, weights = energies.stencil(energy)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
    assert np.min(start) >= 0
    assert np.max(start) + energies.order <= len(energies.points)


def test_energy_stencil_is_the_identity_at_its_own_points(energies):
    values = np.random.default_rng(0).normal(size=len(energies.points))
    result = gather(*energies.stencil(energies.points), values)
    np.testing.assert_allclose(result, values, rtol=1e-12, atol=1e-12)


def test_piecewise_linear_flux_is_interpolated_exactly(energies, flux):
    energy = np.random.default_rng(1).uniform(0.5, 10.0, 1000)
    result = gather(*energies.stencil(energy), flux(14, energies.points))
    expected = flux(14, energy)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 * np.max(expected))


@many
@given(
    seed=seeds,
    low=st.floats(0.2, 2.0),
    width=st.floats(0.5, 20.0),
    turn=st.floats(0.02, 1.0),
)
def test_energy_grid_cuts_at_knots_and_where_the_phase_turns(seed, low, width, turn):
    knots = np.sort(np.random.default_rng(seed).uniform(0.0, 25.0, 20))
    high = low + width
    edges = energy_grid(knots, low, high, turn=turn).edges
    np.testing.assert_allclose(edges[[0, -1]], [low, high], rtol=1e-14)
    assert np.all(np.diff(edges) > 0.0)
    assert np.max(1.0 / edges[:-1] - 1.0 / edges[1:]) <= turn * (1.0 + 1e-9)
    for knot in knots[(knots > low) & (knots < high)]:
        assert np.min(np.abs(edges / knot - 1.0)) < 1e-14


@many
@given(seed=seeds, count=st.integers(1, 6))
def test_lagrange_weights_reproduce_polynomials(seed, count):
    rng = np.random.default_rng(seed)
    nodes = np.cumsum(rng.uniform(0.2, 1.0, count))
    points = rng.uniform(nodes[0], nodes[-1], 50)
    weights = lagrange_weights(nodes, points)
    for k in range(count):
        np.testing.assert_allclose(weights @ nodes**k, points**k, rtol=1e-9)


def interpolate(grid, values, x, q2):
    start_u, weights_u, start_v, weights_v = grid.stencil(x, q2)
    table = values.reshape(len(grid.u), len(grid.v))
    offsets = np.arange(grid.order + 1)
    rows = (start_u[:, None] + offsets)[:, :, None]
    columns = (start_v[:, None] + offsets)[:, None, :]
    return np.einsum("pi,pj,pij->p", weights_u, weights_v, table[rows, columns])


def physical_points(rng, n, energy_range, mass, space=NUCLEON):
    """Random (x, Q^2) inside the region."""
    energy = rng.uniform(*energy_range, n)
    lowest = x_min(energy, mass)
    x = lowest + rng.uniform(0.0, 1.0, n) ** 3 * (space.x_max - lowest)
    low, high = y_range(energy, x, mass)
    y = low + rng.uniform(0.0, 1.0, n) * (high - low)
    x, q2, _ = invariants(energy, *lepton_from_invariants(energy, x, y, mass), mass)
    return x, q2


@many
@given(seed=seeds, order=st.sampled_from([1, 2, 3, 5]), space=spaces)
def test_node_stencil_reproduces_polynomials(seed, order, space):
    # Cubics in (u, v) for the default order; nodes that stand in for nu < 0 have another u
    rng = np.random.default_rng(seed)
    grid = node_grid(10.0, 12, 9, MUON_MASS, order=order, space=space)
    coefficients = rng.normal(size=(order + 1, order + 1))
    size = np.abs(grid.u).max()

    def polynomial(u, v):
        u, v = np.broadcast_arrays(u / size, v)
        return np.polynomial.polynomial.polyval2d(u, v, coefficients)

    x, q2 = physical_points(rng, 200, (0.5, 10.0), MUON_MASS, space)
    expected = polynomial(*grid.chart.forward(x, q2))
    result = interpolate(grid, polynomial(grid.u[:, None], grid.v).ravel(), x, q2)
    scale = np.abs(coefficients).sum() * 4.0**order  # |u| < 1, |v| < 4
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("space", [NUCLEON, ARGON], ids=["nucleon", "argon"])
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_node_stencil_is_a_partition_of_unity(order, space):
    grid = node_grid(10.0, 12, 9, MUON_MASS, order=order, space=space)
    x, q2 = physical_points(np.random.default_rng(2), 1000, (0.5, 10.0), MUON_MASS, space)
    start_u, weights_u, start_v, weights_v = grid.stencil(x, q2)
    for start, weights, nodes in ((start_u, weights_u, grid.u), (start_v, weights_v, grid.v)):
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-12)
        assert np.min(start) >= 0
        assert np.max(start) + order < len(nodes)


def test_node_stencil_is_the_identity_at_the_nodes(nodes):
    values = np.random.default_rng(3).normal(size=nodes.size)
    result = interpolate(nodes, values, nodes.x, nodes.q2)
    np.testing.assert_allclose(result, values, rtol=0, atol=1e-9)


@many
@given(x=st.floats(1e-4, 3.0), log_q2=st.floats(-7.0, 4.0), step=st.floats(1e-3, 2.0))
def test_the_chart_of_ridges_is_inverted_and_falls_with_x(x, log_q2, step):
    chart, q2 = Ridge(3.0), np.exp(np.array([log_q2]))
    u, v = chart.forward(np.array([x]), q2)
    back, q2_back = chart.inverse(u, v)
    np.testing.assert_allclose(q2_back, q2, rtol=1e-9, atol=1e-15)
    ridge = q2 / (2.0 * NUCLEON_MASS) * (1.0 / x - 1.0)
    found = q2 / (2.0 * NUCLEON_MASS) * (1.0 / back - 1.0)
    np.testing.assert_allclose(found, ridge, rtol=1e-9, atol=1e-11)
    assert chart.forward(np.array([x + step]), q2)[0] < u


def test_tables_of_nodes_are_taken_to_axes_in_x_and_q2():
    for space in (NUCLEON, ARGON):
        grid = node_grid(10.0, 200, 80, MUON_MASS, space=space)
        x, q2, on_axes, densities = grid.axes(space.x_max)
        assert x[-1] == pytest.approx(space.x_max)
        u, v = grid.chart.forward(x[:, None], q2)
        table = np.stack(np.broadcast_arrays(grid.u[:, None] ** 2, grid.v), axis=-1)
        expected = np.stack(np.broadcast_arrays(u**2, v), axis=-1)
        np.testing.assert_allclose(on_axes(table), expected, rtol=1e-9, atol=1e-9)
        # The area in (x, Q^2) of the cell of each node, as a sum, has a density of one
        corner = np.stack([grid.x, grid.q2]).reshape(2, len(grid.u), -1)
        cells = np.abs(np.gradient(corner[0], axis=0)) * np.gradient(corner[1][0])
        density = densities(cells[..., None])[..., 0]
        inside = (u > grid.u[2]) & (u < grid.u[-3]) & (v > grid.v[2]) & (v < grid.v[-3])
        inside &= x[:, None] < 0.9 * space.x_max
        # but for cells that the end of the phase space cuts
        assert np.count_nonzero(inside) > 1000
        assert np.quantile(np.abs(density[inside] - 1.0), 0.9) < 0.1


def test_nodes_without_an_x_stand_far_beyond_the_largest():
    grid = node_grid(10.0, 24, 24, MUON_MASS, space=ARGON)
    assert np.all((grid.x > 0.0) & (grid.x <= 12.0 * (1.0 + 1e-12)))
    u, _ = grid.chart.forward(grid.x, grid.q2)
    moved = np.abs(u - np.repeat(grid.u, len(grid.v))) > 1e-6
    assert np.any(moved)
    np.testing.assert_allclose(grid.x[moved], 12.0)


def test_nodes_run_over_q2_fastest():
    chart = CubeRoot(0.1)
    grid = NodeGrid(np.array([0.5, 1.0]), np.log(np.array([1.0, 2.0, 3.0])), chart)
    assert grid.size == 6
    np.testing.assert_allclose(grid.x, [0.125] * 3 + [1.0] * 3)
    np.testing.assert_allclose(grid.q2, [0.9, 1.9, 2.9] * 2)


@pytest.mark.parametrize("space", [NUCLEON, ARGON], ids=["nucleon", "argon"])
@pytest.mark.parametrize("mass", [ELECTRON_MASS, MUON_MASS, TAU_MASS])
@pytest.mark.parametrize("energy_max", [6.0, 10.0, 40.0])
def test_nodes_cover_the_physical_region(mass, energy_max, space):
    grid = node_grid(energy_max, 48, 48, mass, space=space)
    rng = np.random.default_rng(4)
    x, q2 = physical_points(rng, 20000, (0.6 * energy_max, energy_max), mass, space)
    u, v = grid.chart.forward(x, q2)
    step = grid.v[1] - grid.v[0]
    rounding = 1e-9 * np.abs(grid.u).max()
    assert np.min(u) >= grid.u[0] - rounding
    assert np.max(u) <= grid.u[-1] + rounding
    # Q^2 -> 0 lies a fifth of a cell below the first node
    assert np.min(v) >= grid.v[0] - 0.25 * step
    assert np.max(v) <= grid.v[-1]
    if space == NUCLEON:
        assert np.max(grid.q2) == pytest.approx(2.0 * NUCLEON_MASS * energy_max, rel=1e-9)


@pytest.mark.parametrize("mass", [ELECTRON_MASS, MUON_MASS, TAU_MASS])
def test_lepton_bins_cover_the_physical_region(mass):
    grid = lepton_grid(10.0, 20, 30, mass)
    rng = np.random.default_rng(5)
    energy = rng.uniform(4.0, 10.0, 20000)
    lowest = x_min(energy, mass)
    x = lowest + rng.uniform(0.0, 1.0, 20000) * (1.0 - lowest)
    low, high = y_range(energy, x, mass)
    y = low + rng.uniform(0.0, 1.0, 20000) * (high - low)
    lepton_energy, z = lepton_from_invariants(energy, x, y, mass)
    assert grid.energy_edges[0] <= np.min(lepton_energy)
    assert np.max(lepton_energy) <= grid.energy_edges[-1]
    assert grid.z_edges[0] <= np.min(z)
    assert np.max(z) <= grid.z_edges[-1]


def test_lepton_bins_run_over_z_fastest():
    grid = lepton_grid(10.0, 4, 3, MUON_MASS)
    lepton_energy, z = (v.reshape(grid.shape) for v in grid.rows)
    assert grid.shape == (4, 3)
    np.testing.assert_array_equal(lepton_energy[:, 1], grid.energy_centers)
    np.testing.assert_array_equal(z[2], grid.z_centers)
    assert np.all((grid.z_edges[:-1] < grid.z_centers) & (grid.z_centers < grid.z_edges[1:]))
    whole = (10.0 - MUON_MASS) * (grid.z_edges[-1] - grid.z_edges[0])
    assert np.sum(grid.areas) == pytest.approx(whole, rel=1e-12)
