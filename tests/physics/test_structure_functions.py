"""The reduction to three functions, Bernstein form and positivity, and the quark-parton truth."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.cross_section import five_function_bracket
from bayesxs.physics.kinematics import x_min, y_max, y_range
from bayesxs.physics.modification import Modification
from bayesxs.physics.structure_functions import (
    PartonFunctions,
    bernstein_basis,
    bernstein_from_polynomial,
    polynomial_from_bernstein,
    reduce_five_to_three,
)

M = NUCLEON_MASS
X = np.linspace(0.02, 0.98, 25)
Q2 = 3.0

# XLA takes numbers below 1e-308 for zero
TINY = 1e-290

numbers = st.floats(-10.0, 10.0)
many = settings(max_examples=60, deadline=None)

bracket = jax.jit(five_function_bracket, static_argnums=4)
reduce = jax.jit(reduce_five_to_three, static_argnums=3)


def quadratic(g, y):
    return g[..., 0] + g[..., 1] * y + g[..., 2] * y**2


@many
@given(
    five=st.lists(numbers, min_size=5, max_size=5),
    energy=st.floats(4.0, 100.0),
    fractions=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
    mass=st.sampled_from([MUON_MASS, TAU_MASS]),
    sign=st.sampled_from([1, -1]),
)
def test_reduction_to_three_is_exact(five, energy, fractions, mass, sign):
    lowest = x_min(energy, mass)
    x = lowest + fractions[0] * (1.0 - lowest)
    low, high = y_range(energy, x, mass)
    y = low + fractions[1] * (high - low)
    q2 = 2.0 * M * energy * x * y
    # The terms cancel against each other: relative to the sum of their sizes
    parts = np.diag(five)
    terms = np.asarray(reduce(parts, x, q2, mass, sign)) * y ** np.arange(3)
    expected = np.asarray(bracket(parts, energy, x, y, mass, sign))
    scale = np.abs(terms).sum() + TINY
    total = quadratic(np.asarray(reduce(np.array(five), x, q2, mass, sign)), y)
    np.testing.assert_allclose(terms.sum(axis=1), expected, rtol=0, atol=1e-12 * scale)
    assert total == pytest.approx(
        float(bracket(np.array(five), energy, x, y, mass, sign)), rel=0, abs=1e-12 * scale
    )


@many
@given(g=st.lists(numbers, min_size=3, max_size=3), top=st.floats(0.01, 1.0))
def test_bernstein_and_polynomial_invert_each_other(g, top):
    g = np.array(g)
    b = bernstein_from_polynomial(jnp.array(g), top)
    scale = np.abs(g).max() / top**2
    np.testing.assert_allclose(
        polynomial_from_bernstein(b, top), g, rtol=0, atol=1e-13 * scale + TINY
    )
    t = np.linspace(0.0, 1.0, 11)
    np.testing.assert_allclose(bernstein_basis(t) @ b, quadratic(g, top * t), rtol=0, atol=1e-13)


def test_bernstein_basis_is_a_partition_of_unity():
    basis = bernstein_basis(np.linspace(0.0, 1.0, 101))
    np.testing.assert_allclose(basis.sum(axis=-1), 1.0, rtol=1e-14)
    assert np.min(basis) >= 0.0


@many
@given(a=st.floats(0.0, 10.0), c=st.floats(0.0, 10.0), above=st.floats(0.0, 10.0))
def test_inside_the_cone_the_bracket_is_nowhere_negative(a, c, above):
    b = jnp.array([a, above - np.sqrt(a * c), c])
    values = bernstein_basis(np.linspace(0.0, 1.0, 201)) @ b
    assert np.min(values) >= -1e-14 * (a + c)


@many
@given(a=st.floats(1e-3, 10.0), c=st.floats(1e-3, 10.0), below=st.floats(1e-6, 10.0))
def test_below_the_cone_the_bracket_is_negative_somewhere(a, c, below):
    b = jnp.array([a, -np.sqrt(a * c) - below, c])
    # (sqrt(a) (1-t) - sqrt(c) t)^2 vanishes here, and only what lies below the cone is left
    t = np.sqrt(a) / (np.sqrt(a) + np.sqrt(c))
    value = bernstein_basis(t) @ b
    assert value == pytest.approx(-2.0 * t * (1.0 - t) * below, rel=1e-6, abs=1e-14 * (a + c))
    assert value < 0.0


@pytest.mark.parametrize("end", [0, 2])
def test_a_negative_end_makes_the_bracket_negative_there(end):
    b = np.ones(3)
    b[end] = -1e-9
    assert bernstein_basis(float(end == 2)) @ b < 0.0


def truth(pdf, protons=18.0, neutrons=22.0, mass=MUON_MASS, antineutrino=False):
    return PartonFunctions(pdf, protons, neutrons, mass, antineutrino)


@pytest.mark.parametrize("form", ["collinear", "helicity"])
@pytest.mark.parametrize("modification", [None, Modification(0.3, 1.1, 40.0)])
def test_partons_end_at_x_one(form, modification):
    nature = PartonFunctions(
        embedded_ct18nnlo(), 18.0, 22.0, MUON_MASS, modification=modification, form=form
    )
    beyond = np.asarray(nature(np.array([1.0 + 1e-9, 1.5, 3.0])[:, None], np.array([0.1, Q2])))
    np.testing.assert_array_equal(beyond, 0.0)
    assert np.all(np.asarray(nature(0.9, Q2)) > 0.0)


@pytest.mark.parametrize("antineutrino", [False, True])
def test_callan_gross_and_albright_jarlskog(nucleon_pdf, antineutrino):
    f1, f2, _, f4, f5 = truth(nucleon_pdf, antineutrino=antineutrino).five(X, Q2).T
    np.testing.assert_allclose(2.0 * X * f1, f2, rtol=1e-14)
    np.testing.assert_allclose(2.0 * X * f5, f2, rtol=1e-14)
    np.testing.assert_array_equal(f4, 0.0)


def test_each_flavor_enters_as_the_charge_of_the_w_demands(analytic_pdf):
    # F2 and x F3 of a proton, in units of 2 x f: nu sees d, s, ubar, cbar antineutrinos u, c, dbar,
    # sbar (PDG review of structure functions)
    seen = {1: 1, 3: 1, -2: -1, -4: -1}
    for pid in (1, 2, 3, 4, -1, -2, -3, -4):
        pdf = analytic_pdf({pid: lambda x, q2: x * (1.0 - x)})
        neutrino = truth(pdf, 1.0, 0.0).five(X, Q2)
        anti = truth(pdf, 1.0, 0.0, antineutrino=True).five(X, Q2)
        for five, weight in ((neutrino, seen.get(pid, 0)), (anti, -seen.get(-pid, 0))):
            xf = X * (1.0 - X)
            np.testing.assert_allclose(five[:, 1], 2.0 * abs(weight) * xf, rtol=1e-14)
            np.testing.assert_allclose(X * five[:, 2], 2.0 * weight * xf, rtol=1e-14)


def conjugate(pdf, analytic_pdf):
    return analytic_pdf({-pid: f for pid, f in pdf.distributions.items()})


def test_antineutrinos_on_antimatter_are_neutrinos_on_matter(nucleon_pdf, analytic_pdf):
    # CP: q <-> qbar together with nu <-> antinu changes nothing
    antimatter = conjugate(nucleon_pdf, analytic_pdf)
    expected = truth(nucleon_pdf)(X, Q2)
    result = truth(antimatter, antineutrino=True)(X, Q2)
    np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-15)


def test_proton_and_neutron_are_isospin_mirrors(nucleon_pdf, analytic_pdf):
    f = nucleon_pdf.distributions
    mirrored = analytic_pdf({**f, 1: f[2], 2: f[1], -1: f[-2], -2: f[-1]})
    for antineutrino in (False, True):
        neutron = truth(nucleon_pdf, 0.0, 1.0, antineutrino=antineutrino).five(X, Q2)
        proton = truth(mirrored, 1.0, 0.0, antineutrino=antineutrino).five(X, Q2)
        np.testing.assert_allclose(neutron, proton, rtol=1e-14)


@pytest.mark.parametrize(("protons", "neutrons"), [(18.0, 22.0), (6.0, 6.0), (1.0, 0.0)])
def test_a_nucleus_is_the_sum_of_its_nucleons(nucleon_pdf, protons, neutrons):
    total = truth(nucleon_pdf, protons, neutrons)(X, Q2)
    parts = [truth(nucleon_pdf, *zn)(X, Q2) for zn in ((1.0, 0.0), (0.0, 1.0))]
    np.testing.assert_allclose(total, protons * parts[0] + neutrons * parts[1], rtol=1e-12)


def test_isoscalar_target_has_one_f2_where_the_sea_is_symmetric(nucleon_pdf, analytic_pdf):
    f = nucleon_pdf.distributions
    symmetric = analytic_pdf({**f, -3: f[3], -4: f[4]})
    neutrino, anti = (truth(symmetric, 1.0, 1.0, antineutrino=a).five(X, Q2) for a in (False, True))
    np.testing.assert_allclose(neutrino[:, 1], anti[:, 1], rtol=1e-14)
    # x F3 differs by strange and charm alone: 4 x (s - c) per nucleon
    expected = 2.0 * 4.0 * (f[3](X, Q2) - f[4](X, Q2))
    np.testing.assert_allclose(X * (neutrino - anti)[:, 2], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("antineutrino", [False, True])
def test_massless_helicity_shapes(analytic_pdf, antineutrino):
    # Like helicities scatter isotropically, opposite ones like (1 - y)^2: nu d and nubar dbar
    # against nu ubar and nubar u. Exact but for the target-mass term -(M x/(2E)) y F2, E = a/y.
    y = np.linspace(0.0, 1.0, 7)
    x, q2 = 0.3, 20.0
    like, opposite = (-1, 2) if antineutrino else (1, -2)
    for pid, shape in ((like, np.ones_like(y)), (opposite, (1.0 - y) ** 2)):
        pdf = analytic_pdf({pid: lambda x, q2: x * (1.0 - x) ** 3})
        sf = truth(pdf, 1.0, 0.0, mass=0.0, antineutrino=antineutrino)
        f2 = 2.0 * x * (1.0 - x) ** 3
        g = polynomial_from_bernstein(sf(x, q2), y_max(x, q2, 0.0))
        target_mass = (M * x * y) ** 2 / q2 * f2
        np.testing.assert_allclose(quadratic(g, y) + target_mass, f2 * shape, rtol=0, atol=1e-12)


def test_massless_bernstein_coefficients_are_helicities(analytic_pdf):
    # Where Q^2 >> M^2 x^2: (1, 1, 1) for the quark and (1, 0, 0) for the antiquark
    x, q2 = 0.3, 1e8
    for pid, expected in ((1, (1.0, 1.0, 1.0)), (-2, (1.0, 0.0, 0.0))):
        pdf = analytic_pdf({pid: lambda x, q2: 0.5 * jnp.ones_like(x)})
        b = truth(pdf, 1.0, 0.0, mass=0.0)(x, q2)
        np.testing.assert_allclose(b, expected, rtol=0, atol=10.0 * M**2 * x**2 / q2)


@pytest.fixture(scope="module")
def ct18():
    return embedded_ct18nnlo()


def integral_over_x(function):
    """Integrate over 0 < x < 1, evenly in ln x below 0.1 and in x above (both Gauss-Legendre)."""
    t, weights = np.polynomial.legendre.leggauss(100)
    half = 0.5 * (np.log(0.1) - np.log(1e-9))
    low = np.exp(np.log(1e-9) + half * (t + 1.0))
    high = 0.1 + 0.45 * (t + 1.0)
    return np.sum(half * weights * low * function(low)) + np.sum(0.45 * weights * function(high))


@pytest.mark.parametrize("q2", [2.0, 10.0, 100.0])
def test_adler_sum_rule(ct18, q2):
    # Integral of (F2^{nubar p} - F2^{nu p})/(2x) = 1, at all orders (Adler 1966); the table's
    # numbers of valence quarks are right to 1e-3
    def difference(x):
        anti = truth(ct18, 1.0, 0.0, antineutrino=True).five(x, q2)
        return np.asarray(anti - truth(ct18, 1.0, 0.0).five(x, q2))[:, 1] / (2.0 * x)

    assert integral_over_x(difference) == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("q2", [2.0, 10.0, 100.0])
def test_gross_llewellyn_smith_sum_rule(ct18, q2):
    # Integral of F3 of an isoscalar nucleon, averaged over nu and nubar, is 3 at leading order
    def f3(x):
        both = sum(truth(ct18, 0.5, 0.5, antineutrino=a).five(x, q2) for a in (False, True))
        return np.asarray(both)[:, 2] / 2.0

    assert integral_over_x(f3) == pytest.approx(3.0, abs=1e-2)


def test_the_neutrino_truth_lies_in_the_cone(ct18):
    # Not so for antineutrinos: with 2x F1 = F2 the target-mass term makes nubar u negative near
    # y_max, where (1 - y)^2 has fallen below M x y/(2E)
    u, q2 = (
        v.ravel() for v in np.meshgrid(np.linspace(0.08, 0.99, 40), np.geomspace(1e-3, 19, 40))
    )
    b0, b1, b2 = np.asarray(truth(ct18)(u**3, q2)).T
    assert np.min(b0) >= 0.0
    assert np.min(b2) >= 0.0
    assert np.all(b1 >= -np.sqrt(b0 * b2))
