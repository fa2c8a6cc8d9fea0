"""Interpolation, continuation and the JAX behavior of parton distributions."""

from __future__ import annotations

import csv
import sys
import types
from math import exp, log

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.errors import InputError
from bayesxs.inputs.pdf import (
    HEAVY,
    PDF,
    GridPDF,
    embedded_ct18nnlo,
    load_lhapdf_grid,
    load_official,
    require_flavors,
    with_heavy_flavors,
)


@pytest.fixture(scope="module")
def official(reference):
    return load_lhapdf_grid(reference / "pdfsets" / "CT18NNLO")


@pytest.fixture(scope="module")
def toy(toy_set):
    return load_lhapdf_grid(toy_set.folder)


@pytest.mark.parametrize("region", ["inside", "low_q2", "edge"])
def test_agrees_with_lhapdf(official, reference, region):
    # Values computed with the official LHAPDF 6.5.5.
    with (reference / "reference" / "lhapdf_6.5.5_CT18NNLO_xf.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["region"] == region]
    x, q2, expected = (np.array([float(row[k]) for row in rows]) for k in ("x", "Q2_GeV2", "xf"))
    column = [official.flavors.index(int(row["pdg_id"])) for row in rows]
    values = np.asarray(official.xf(x, q2, official.flavors))[np.arange(len(rows)), column]
    assert len(rows) > 1000
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-14)


def scalar_lhapdf(subgrids, column, x, q2):
    """Evaluate one point as LHAPDF 6.5 does, branch by branch, without the package's code."""
    knots = subgrids[0][0]
    all_q2 = np.concatenate([grid[1] for grid in subgrids])
    low, high, last_but_one = all_q2[0], all_q2[-1], all_q2[-2]

    def line(u, u0, u1, v0, v1):
        t = (log(u) - log(u0)) / (log(u1) - log(u0))
        if v0 > 1e-3 and v1 > 1e-3:
            return exp(log(v0) + t * (log(v1) - log(v0)))
        return v0 + t * (v1 - v0)

    def hermite(t, v0, m0, v1, m1):
        a, b = t**3 - 2 * t**2 + t, t**3 - t**2
        return (2 * t**3 - 3 * t**2 + 1) * v0 + a * m0 + (3 * t**2 - 2 * t**3) * v1 + b * m1

    def cubic(u, grid, values):
        u_knots = np.log(grid)
        i = min(max(int(np.searchsorted(grid, u, side="right")) - 1, 0), len(grid) - 2)

        def slope(k):
            sides = [
                (values[j + 1] - values[j]) / (u_knots[j + 1] - u_knots[j])
                for j in (k - 1, k)
                if 0 <= j < len(grid) - 1
            ]
            return sum(sides) / len(sides)

        h = u_knots[i + 1] - u_knots[i]
        t = (log(u) - u_knots[i]) / h
        if len(grid) == 2:
            return (1 - t) * values[i] + t * values[i + 1]
        return hermite(t, values[i], slope(i) * h, values[i + 1], slope(i + 1) * h)

    def inside(x, q2):
        grids = [grid for grid in subgrids if grid[1][0] <= q2 <= grid[1][-1]]
        _, q2_knots, values = grids[-1]  # on a threshold the upper subgrid holds
        if len(q2_knots) == 2:
            i = min(int(np.searchsorted(knots, x, side="right")) - 1, len(knots) - 2)
            t = log(x / knots[i]) / log(knots[i + 1] / knots[i])
            row = (1 - t) * values[i, :, column] + t * values[i + 1, :, column]
        else:
            row = [cubic(x, knots, values[:, j, column]) for j in range(len(q2_knots))]
        return cubic(q2, q2_knots, row)

    def in_x(q2):
        if x >= knots[0]:
            return inside(x, q2)
        return line(x, knots[0], knots[1], inside(knots[0], q2), inside(knots[1], q2))

    def above(x):
        return line(q2, high, last_but_one, inside(x, high), inside(x, last_but_one))

    if q2 > high and x < knots[0]:
        return line(x, knots[0], knots[1], above(knots[0]), above(knots[1]))
    if q2 > high:
        return above(x)
    if q2 >= low:
        return in_x(q2)
    value, stepped, r = in_x(low), in_x(1.01 * low), q2 / low
    slope = 1.0 if abs(value) < 1e-5 else max(-2.5, (stepped - value) / value / 0.01)
    return value * r ** (slope * r + 1 - r)


@settings(max_examples=150, deadline=None)
@given(log_x=st.floats(-8, 0), log_q2=st.floats(-3, 5), threshold=st.booleans())
def test_every_region_follows_lhapdf(toy, toy_set, log_x, log_q2, threshold):
    x, q2 = 10**log_x, 16.0 if threshold else 10**log_q2
    expected = [scalar_lhapdf(toy_set.subgrids, i, x, q2) for i in range(len(toy.flavors))]
    values = toy.xf(x, q2, toy.flavors)
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-13)


def test_subgrid_of_two_knots_is_bilinear(make_toy_set):
    toy_set = make_toy_set([1.5, 2.0], [2.0, 3.0, 4.0, 6.0])
    toy = load_lhapdf_grid(toy_set.folder)
    for x, q2 in [(3e-3, 2.5), (0.2, 3.9), (0.2, 5.0), (3e-6, 2.5), (0.2, 1.0)]:
        expected = [scalar_lhapdf(toy_set.subgrids, i, x, q2) for i in range(len(toy.flavors))]
        np.testing.assert_allclose(toy.xf(x, q2, toy.flavors), expected, rtol=1e-12)


def test_exact_at_knots(toy, toy_set):
    for x, q2, values in toy_set.subgrids:
        inner = q2[:-1] if q2[-1] == 16.0 else q2  # the threshold belongs to the upper subgrid
        found = toy.xf(x[:, None], inner[None, :], toy.flavors)
        np.testing.assert_allclose(found, values[:, : len(inner)], rtol=1e-13, atol=1e-16)


def test_official_grid_is_exact_at_knots(official):
    q2 = official.q2_axis.knots
    found = official.xf(official.x_axis.knots[:, None], q2[None, :], official.flavors)
    np.testing.assert_allclose(found, official.table.values, rtol=1e-13, atol=1e-16)


def test_limits_of_a_threshold_are_those_of_the_subgrids(toy, toy_set):
    (x, _, below), (_, _, above) = toy_set.subgrids
    beside = 16.0 * (1 + jnp.array([-2e-13, -1e-13, 1e-13, 2e-13]))
    at = toy.xf(x[:, None], beside, toy.flavors)
    np.testing.assert_allclose(at[:, 1], below[:, -1], rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(at[:, 2], above[:, 0], rtol=1e-10, atol=1e-13)
    assert not np.allclose(below[:, -1], above[:, 0])


def test_continuous_where_subgrids_share_their_edge(make_toy_set):
    toy = load_lhapdf_grid(make_toy_set([1.5, 2.0, 3.0], [3.0, 5.0, 9.0], jump=0.0).folder)
    x = jnp.geomspace(1e-4, 0.9, 30)
    below, above = (toy.xf(x, 9.0 * (1 + side * 1e-12), toy.flavors) for side in (-1, 1))
    np.testing.assert_allclose(below, above, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("edge", [2.25, 900.0])
def test_continuation_joins_the_table(toy, edge):
    x = jnp.geomspace(1e-7, 0.9, 40)
    below, above = (toy.xf(x, edge * (1 + side * 1e-12), toy.flavors) for side in (-1, 1))
    np.testing.assert_allclose(below, above, rtol=1e-9, atol=1e-12)


def test_vanishes_with_q2(toy):
    values = np.abs(toy.xf(0.1, jnp.append(0.0, jnp.geomspace(1e-12, 1e-3, 39)), toy.flavors))
    assert np.all(values[0] == 0)
    assert np.all(np.diff(values, axis=0) > 0)


@pytest.mark.parametrize(("x", "q2"), [(1.1, 10.0), (0.0, 10.0), (-0.1, 10.0), (0.1, -1.0)])
def test_unphysical_points_give_nan(toy, x, q2):
    assert np.all(np.isnan(toy.xf(x, q2, toy.flavors)))


def test_shapes_and_order_of_flavors(toy):
    x, q2 = jnp.full((3, 1), 0.2), jnp.array([2.0, 5.0])
    values = toy.xf(x, q2, (21, 2, 21))
    assert values.shape == (3, 2, 3)
    np.testing.assert_array_equal(values[..., 0], values[..., 2])
    np.testing.assert_array_equal(values[..., 1], toy.xf(x, q2, (2,))[..., 0])
    assert toy.xf(0.2, 2.0, (2,)).shape == (1,)


def test_jit_and_vmap_equal_eager(toy):
    x, q2 = jnp.geomspace(1e-6, 0.9, 40), jnp.geomspace(0.1, 2e3, 40)
    eager = toy.xf(x, q2, (1, 21))
    as_argument = jax.jit(lambda pdf, x, q2: pdf.xf(x, q2, (1, 21)))(toy, x, q2)
    mapped = jax.vmap(lambda x, q2: toy.xf(x, q2, (1, 21)))(x, q2)
    np.testing.assert_allclose(as_argument, eager, rtol=1e-13)
    np.testing.assert_allclose(mapped, eager, rtol=1e-13)


@pytest.mark.parametrize("q2", [0.3, 3.3, 2000.0])
@pytest.mark.parametrize("x", [3e-6, 0.2])
def test_gradients_equal_finite_differences(toy, x, q2):
    def total(x, q2):
        return toy.xf(x, q2, toy.flavors).sum()

    step = 1e-6
    by_x, by_q2 = jax.grad(total, argnums=(0, 1))(x, q2)
    expected_x = (total(x * (1 + step), q2) - total(x * (1 - step), q2)) / (2 * step * x)
    expected_q2 = (total(x, q2 * (1 + step)) - total(x, q2 * (1 - step))) / (2 * step * q2)
    assert by_x == pytest.approx(float(expected_x), rel=1e-6)
    assert by_q2 == pytest.approx(float(expected_q2), rel=1e-6)


@pytest.mark.parametrize(("mode", "floor"), [(1, 0.0), (2, 1e-10)])
def test_force_positive_clamps(make_toy_set, mode, floor):
    clamped = load_lhapdf_grid(
        make_toy_set([1.5, 2.0, 3.0], extra=f"ForcePositive: {mode}\n").folder
    )
    free = load_lhapdf_grid(make_toy_set([1.5, 2.0, 3.0]).folder)
    assert free.xf(0.5, 4.0, (-1,))[0] < 0
    assert clamped.xf(0.5, 4.0, (-1,))[0] == floor


def test_missing_flavor_is_an_input_error(toy):
    for ask in (lambda: toy.xf(0.1, 4.0, (1, 6)), lambda: require_flavors(toy, (1, 6))):
        with pytest.raises(InputError, match=r"Toy: flavor = 6: the set holds -1, 1, 2, 21$"):
            ask()


def fake_lhapdf(grid: GridPDF) -> types.ModuleType:
    """Stand in for the official module; its values come from the package's own reader."""

    class FakePDF:
        q2Min = grid.q2_min

        def flavors(self):
            return list(grid.flavors)

        def xfxQ2(self, pid, x, q2):
            return float(grid.xf(x, q2, (pid,))[0])

    def make(name, member):
        if name != "Toy":
            raise RuntimeError(f"Info file not found\nfor PDF set '{name}'")
        return FakePDF()

    module = types.ModuleType("lhapdf")
    module.mkPDF = make
    return module


def test_official_module_behind_the_same_call(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "lhapdf", fake_lhapdf(toy))
    pdf: PDF = load_official("Toy")
    x, q2 = np.array([[0.1], [0.3]]), np.array([2.0, 5.0, 20.0])
    expected = toy.xf(x, q2, (2, 21))
    assert (pdf.name, pdf.q2_min, pdf.flavors) == ("Toy", toy.q2_min, toy.flavors)
    np.testing.assert_allclose(pdf.xf(x, q2, (2, 21)), expected, rtol=1e-14)
    np.testing.assert_allclose(jax.jit(lambda x: pdf.xf(x, q2, (2, 21)))(x), expected, rtol=1e-14)
    mapped = jax.vmap(lambda q2: pdf.xf(x[:, 0], q2, (2, 21)), out_axes=1)(q2)
    np.testing.assert_allclose(mapped, expected, rtol=1e-14)
    assert np.all(np.isnan(pdf.xf(1.5, 2.0, (2,))))
    with pytest.raises(InputError, match="flavor = 6"):
        pdf.xf(0.1, 2.0, (6,))


def test_official_module_absent_or_without_the_set(toy, monkeypatch):
    monkeypatch.setitem(sys.modules, "lhapdf", None)
    with pytest.raises(InputError, match="module lhapdf is not installed"):
        load_official("Toy")
    monkeypatch.setitem(sys.modules, "lhapdf", fake_lhapdf(toy))
    with pytest.raises(InputError, match="Info file not found for PDF set 'Other'"):
        load_official("Other")


def integrate(pdf, q2, combine, power):
    """Integrate x^(power - 1) times a combination of x f, cell by cell of the table."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.log(pdf.x_axis.knots)
    half = np.diff(edges) / 2
    x = np.exp((edges[1:] + edges[:-1])[:, None] / 2 + half[:, None] * nodes)
    values = np.asarray(pdf.xf(x, q2, pdf.flavors))
    by_flavor = dict(zip(pdf.flavors, np.moveaxis(values, -1, 0), strict=True))
    return float(np.sum(half[:, None] * weights * combine(by_flavor) * x**power))


@pytest.mark.parametrize("q", [1.295, 2.0, 4.7, 4.8, 30.0, 1e4])
def test_sum_rules_of_the_embedded_table(q):
    pdf = embedded_ct18nnlo()
    up = integrate(pdf, q * q, lambda xf: xf[2] - xf[-2], 0)
    down = integrate(pdf, q * q, lambda xf: xf[1] - xf[-1], 0)
    momentum = integrate(pdf, q * q, lambda xf: sum(xf.values()), 1)
    assert up == pytest.approx(2, abs=2e-4)
    assert down == pytest.approx(1, abs=1e-4)
    # s, c, b equal to their antiquarks costs 2e-4 of momentum, in the official set as well.
    assert momentum == pytest.approx(1, abs=3e-4)


LIGHT = (-3, -2, -1, 1, 2, 3, 21)


def relative_difference(pdf, official, x, q2):
    """Compare where x f is not negligible: above 1e-4."""
    ours, theirs = (np.asarray(p.xf(x, q2, LIGHT)) for p in (pdf, official))
    return (np.abs(ours - theirs) / np.abs(theirs))[np.abs(theirs) > 1e-4]


def test_embedded_table_against_the_official_grid(official):
    pdf = embedded_ct18nnlo()
    assert pdf.q2_min == pytest.approx(official.q2_min, rel=1e-12)
    x = official.x_axis.knots
    # On the threshold the table holds the upper limit, the official grid the lower one.
    q2 = official.q2_axis.knots * (1 - 1e-12)
    x, q2 = x[(x > 1e-6) & (x < 0.7)][:, None], q2[q2 > 1.6**2]
    difference = relative_difference(pdf, official, x, q2)
    assert difference.max() < 2e-3
    assert np.median(difference) < 2.5e-4


@pytest.mark.parametrize(
    ("q_low", "q_high", "limit"),
    [(0.1, 1.295, 4e-3), (1.295, 1.6, 2e-3), (1.6, 4.0, 2e-3), (7.1, 1e4, 2e-3)],
)
def test_embedded_table_between_knots(official, q_low, q_high, limit):
    rng = np.random.default_rng(7)
    x = 10 ** rng.uniform(-4, np.log10(0.7), 20_000)
    q2 = 10 ** rng.uniform(2 * np.log10(q_low), 2 * np.log10(q_high), 20_000)
    difference = relative_difference(embedded_ct18nnlo(), official, x, q2)
    assert difference.max() < limit
    assert np.median(difference) < 1e-3


def test_heavy_flavors_that_a_set_lacks_are_zero(toy):
    whole = with_heavy_flavors(toy)
    assert set(whole.flavors) == {*toy.flavors, *HEAVY}
    x, q2 = jnp.array([1e-6, 0.1, 0.5]), jnp.array([0.5, 9.0, 1e4])
    np.testing.assert_array_equal(whole.xf(x, q2, HEAVY), np.zeros((3, len(HEAVY))))
    np.testing.assert_array_equal(whole.xf(x, q2, toy.flavors), toy.xf(x, q2, toy.flavors))
    with pytest.raises(InputError, match="flavor = 3"):
        require_flavors(whole, (1, 3))
