"""Helicity structure functions against the contraction of lepton and hadron tensors."""

from __future__ import annotations

from itertools import permutations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.cross_section import five_function_bracket
from bayesxs.physics.helicity import (
    Helicity,
    bernstein_from_helicity,
    five_from_helicity,
    helicity_from_five,
    lepton_coefficients,
)
from bayesxs.physics.kinematics import x_min, y_max, y_range
from bayesxs.physics.modification import Modification
from bayesxs.physics.structure_functions import (
    PartonFunctions,
    Positive,
    bernstein_basis,
    project_onto_cone,
)

M = NUCLEON_MASS
METRIC = np.diag([1.0, -1.0, -1.0, -1.0])
MASSES = (ELECTRON_MASS, MUON_MASS, TAU_MASS)

masses = st.sampled_from(MASSES)
signs = st.sampled_from([1, -1])
numbers = st.floats(-10.0, 10.0)
unit = st.floats(0.0, 1.0)
energies = st.floats(4.0, 100.0)


def at_any_point(**drawn):
    """Run a test at many energies and fractions (u, v) of the kinematic ranges."""

    def decorate(test):
        many = settings(max_examples=100, deadline=None)
        return many(given(u=unit, v=unit, energy=energies, **drawn)(test))

    return decorate


FIVE = st.lists(numbers, min_size=5, max_size=5)

forward = jax.jit(helicity_from_five)
backward = jax.jit(five_from_helicity)
coefficients = jax.jit(lepton_coefficients, static_argnums=(3, 4))
bracket = jax.jit(five_function_bracket, static_argnums=(4, 5))
bernstein = jax.jit(bernstein_from_helicity, static_argnums=(3, 4))


def levi_civita() -> np.ndarray:
    epsilon = np.zeros((4,) * 4)
    for order in permutations(range(4)):
        epsilon[order] = np.linalg.det(np.eye(4)[list(order)])
    return epsilon


EPSILON = levi_civita()


def point(energy: float, mass: float, u: float, v: float) -> tuple[float, float, float]:
    """Return x, y and Q^2 inside the physical region."""
    lowest = float(x_min(energy, mass))
    x = lowest + (0.01 + 0.98 * u) * (1.0 - lowest)
    low, high = y_range(energy, x, mass)
    y = float(low + (0.001 + 0.998 * v) * (high - low))
    return x, y, 2.0 * M * energy * x * y


def momenta(energy: float, x: float, y: float, mass: float) -> tuple[np.ndarray, ...]:
    """Return k, k', q with q along the third axis, upper indices, target at rest."""
    nu = energy * y
    q2 = 2.0 * M * x * nu
    size = np.sqrt(nu**2 + q2)
    along = (energy * nu + 0.5 * (q2 + mass**2)) / size  # from k'^2 = m^2
    k = np.array([energy, np.sqrt(max(energy**2 - along**2, 0.0)), 0.0, along])
    q = np.array([nu, 0.0, 0.0, size])
    return k, k - q, q


def lepton_tensor(k: np.ndarray, k_out: np.ndarray, sign: int) -> np.ndarray:
    """Return L_{mu nu} = k k' + k' k - g k.k' - sign i eps(mu, nu, k, k'), lower indices."""
    low, low_out = METRIC @ k, METRIC @ k_out
    symmetric = np.outer(low, low_out) + np.outer(low_out, low) - METRIC * (low @ k_out)
    return symmetric - sign * 1j * np.einsum("mnab,a,b->mn", EPSILON, k, k_out)


def hadron_tensor(five: np.ndarray, x: float, q: np.ndarray) -> np.ndarray:
    """Return W^{mu nu} = -g F1 + p p/(p.q) F2 + i eps(p,q)/(2 p.q) F3 + q q/(x p.q) F4 + ..."""
    f1, f2, f3, f4, f5 = five
    p = np.array([M, 0.0, 0.0, 0.0])
    dot = M * q[0]
    epsilon = np.einsum("mnab,a,b->mn", EPSILON, METRIC @ p, METRIC @ q)
    return (
        -METRIC * f1
        + np.outer(p, p) / dot * f2
        + 1j * epsilon / (2.0 * dot) * f3
        + np.outer(q, q) / (x * dot) * f4
        + (np.outer(p, q) + np.outer(q, p)) / dot * f5
    )


def basis(q: np.ndarray) -> dict[str, np.ndarray]:
    size = np.sqrt(q[3] ** 2 - q[0] ** 2)
    transverse = {s: np.array([0.0, 1.0, s * 1j, 0.0]) / np.sqrt(2.0) for s in (1, -1)}
    return {
        "plus": transverse[1],
        "minus": transverse[-1],
        "l": np.array([q[3], 0.0, 0.0, q[0]]) / size,
        "s": q / size,
    }


@at_any_point(five=FIVE, mass=masses)
def test_map_and_inverse(five, u, v, energy, mass):
    x, _, q2 = point(energy, mass, u, v)
    five = np.array(five)
    found = np.asarray(backward(forward(five, x, q2), x, q2))
    # F2/(2x) is what adds to the others
    scale = np.abs(five).max() + abs(five[1]) / x
    np.testing.assert_allclose(found, five, rtol=0, atol=1e-12 * scale + 1e-290)
    helicity = Helicity(*five)
    again = np.array(forward(backward(helicity, x, q2), x, q2))
    r2 = 1.0 + 4.0 * M**2 * x**2 / q2
    np.testing.assert_allclose(again, five, rtol=0, atol=1e-12 * r2 * np.abs(five).max() + 1e-290)


@at_any_point(five=FIVE, mass=masses)
def test_components_are_those_of_the_tensor(five, u, v, energy, mass):
    x, y, q2 = point(energy, mass, u, v)
    _, _, q = momenta(energy, x, y, mass)
    tensor = METRIC @ hadron_tensor(np.array(five), x, q) @ METRIC
    e = basis(q)
    component = {
        a + b: np.conj(e[a]) @ tensor @ e[b] for a in ("plus", "minus", "l", "s") for b in e
    }
    found = forward(np.array(five), x, q2)
    # What cancels in the brute-force contraction at small Q^2
    scale = np.abs(tensor).max() * np.linalg.norm(e["l"]) ** 2 + 1e-290
    expected = ("plusplus", "minusminus", "ll", "ls", "ss")
    for value, name in zip(found, expected, strict=True):
        assert abs(value - component.pop(name)) < 1e-12 * scale
    assert abs(component.pop("sl") - found.ls) < 1e-12 * scale
    assert max(abs(rest) for rest in component.values()) < 1e-12 * scale


@at_any_point(five=FIVE, mass=masses, sign=signs)
def test_contraction_of_the_tensors_is_the_bracket(five, u, v, energy, mass, sign):
    x, y, q2 = point(energy, mass, u, v)
    k, k_out, q = momenta(energy, x, y, mass)
    assert k_out @ METRIC @ k_out == pytest.approx(mass**2, abs=1e-10 * energy**2)
    five = np.array(five)
    tensors = lepton_tensor(k, k_out, sign)
    scale = y / (2.0 * energy * M)
    brute = scale * np.sum(tensors * hadron_tensor(five, x, q))
    c, h = coefficients(energy, x, y, mass, sign), forward(five, x, q2)
    terms = np.array([a * b for a, b in zip(c, h, strict=True)])
    size = np.abs(terms).sum() + scale * np.abs(tensors).sum() * np.abs(five).sum() + 1e-290
    assert abs(brute - terms.sum()) < 1e-11 * size
    # No cancellation but between the five terms
    size = np.abs(terms).sum() + np.abs(bracket(np.diag(five), energy, x, y, mass, sign)).sum()
    expected = float(bracket(five, energy, x, y, mass, sign))
    assert terms.sum() == pytest.approx(expected, rel=0, abs=1e-12 * size + 1e-290)


@at_any_point(mass=masses, sign=signs)
def test_coefficients_are_contractions_and_not_negative(u, v, energy, mass, sign):
    x, y, q2 = point(energy, mass, u, v)
    k, k_out, q = momenta(energy, x, y, mass)
    tensor, e = lepton_tensor(k, k_out, sign), basis(q)
    scale = y / (2.0 * energy * M)
    found = coefficients(energy, x, y, mass, sign)
    # W = sum of eta_a eta_b W_ab e_a e_b*, eta = +1 for L and -1 for the others
    expected = Helicity(
        *((e[a] @ tensor @ np.conj(e[a])).real for a in ("plus", "minus", "l")),
        -2.0 * (e["l"] @ tensor @ e["s"]).real,
        (e["s"] @ tensor @ e["s"]).real,
    )
    size = scale * np.abs(tensor).max() * np.linalg.norm(e["l"]) ** 2
    np.testing.assert_allclose(found, scale * np.array(expected), rtol=0, atol=1e-12 * size)
    assert min(found.plus, found.minus, found.ll, found.ss) >= 0.0
    # Of second order in the lepton's mass
    assert found.ss == pytest.approx(scale * 0.5 * mass**2 * (1.0 + mass**2 / q2), rel=1e-12)
    assert abs(found.ls) <= 2.0 * np.sqrt(found.ll * found.ss) * (1.0 + 1e-9)


@at_any_point(mass=masses, sign=signs)
def test_bernstein_form_of_the_coefficients(u, v, energy, mass, sign):
    x, y, q2 = point(energy, mass, u, v)
    t = y / float(y_max(x, q2, mass))
    found = coefficients(energy, x, y, mass, sign)
    for i, expected in enumerate(found):
        b = bernstein(Helicity(*np.eye(5)[i]), x, q2, mass, sign)
        value = float(bernstein_basis(t) @ b)
        # t is known to rounding, and one of the coefficients vanishes where it is 1
        assert value == pytest.approx(float(expected), rel=1e-11, abs=1e-13 * float(max(found)))


@at_any_point(
    t=st.tuples(st.floats(0, 10), st.floats(0, 10)),
    root=st.tuples(numbers, numbers, numbers),
    sign=signs,
)
def test_positive_tensor_makes_no_negative_cross_section(t, root, u, v, energy, sign):
    a, b, c = root  # Cholesky factor of ((LL, LS), (LS, SS))
    helicity = Helicity(*t, a * a, a * b, b * b + c * c)
    for mass in MASSES:
        x, y, q2 = point(energy, mass, u, v)
        five = np.asarray(backward(helicity, x, q2))
        size = np.abs(bracket(np.diag(five), energy, x, y, mass, sign)).sum()
        assert bracket(five, energy, x, y, mass, sign) >= -1e-11 * size
        b0, b1, b2 = np.asarray(bernstein(helicity, x, q2, mass, sign))
        assert min(b0, b2) >= 0.0
        assert b1 >= -np.sqrt(b0 * b2) - 1e-12 * max(b0, b2)


X, Q2 = (
    v.ravel() for v in np.meshgrid(np.linspace(0.08, 0.98, 30) ** 3, np.geomspace(1e-3, 19, 30))
)


def nature(antineutrino, form="helicity", mass=MUON_MASS, modification=None):
    pdf = embedded_ct18nnlo()
    return PartonFunctions(pdf, 18.0, 22.0, mass, antineutrino, modification, form)


@pytest.mark.parametrize("antineutrino", [False, True])
def test_quarks_are_one_helicity_and_antiquarks_the_other(analytic_pdf, antineutrino):
    # d and ubar of a proton for neutrinos, u and dbar for antineutrinos: PDG review
    quark, antiquark = (2, -1) if antineutrino else (1, -2)
    pdf = analytic_pdf({quark: lambda x, q2: x * (1 - x), antiquark: lambda x, q2: x * x})
    x, q2 = np.array([0.1, 0.4, 0.8]), 0.7
    sf = PartonFunctions(pdf, 1.0, 0.0, MUON_MASS, antineutrino, form="helicity")
    found = helicity_from_five(sf.five(x, q2), x, q2)
    np.testing.assert_allclose(found.plus, 2.0 * (1.0 - x), rtol=1e-13)
    np.testing.assert_allclose(found.minus, 2.0 * x, rtol=1e-13)
    for rest in (found.ll, found.ls, found.ss):
        np.testing.assert_allclose(rest, 0.0, atol=1e-13)


@pytest.mark.parametrize("antineutrino", [False, True])
def test_both_forms_agree_where_the_target_is_light(antineutrino):
    x, q2 = np.array([0.01, 0.1, 0.3]), 1e4
    one, other = (nature(antineutrino, form).five(x, q2) for form in ("collinear", "helicity"))
    scale = np.abs(np.asarray(one)).max(axis=-1, keepdims=True)
    np.testing.assert_allclose(one / scale, other / scale, rtol=0, atol=4.0 * M**2 * 0.3**2 / q2)


@pytest.mark.parametrize("antineutrino", [False, True])
@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("modification", [None, Modification(0.3, 0.0, 40)])
def test_helicity_nature_needs_no_projection(nucleon_pdf, antineutrino, mass, modification):
    sf = PartonFunctions(nucleon_pdf, 18.0, 22.0, mass, antineutrino, modification, "helicity")
    b = np.asarray(sf(X, Q2))
    assert np.abs(np.asarray(Positive(sf)(X, Q2)) - b).max() <= 1e-13 * np.abs(b).max()


@pytest.mark.parametrize(("antineutrino", "factor"), [(False, 1.0), (True, 1.0), (True, 2.0)])
@pytest.mark.parametrize("form", ["collinear", "helicity"])
def test_projected_nature_lies_in_the_cone(antineutrino, factor, form):
    original = nature(antineutrino, form, modification=Modification(f3_scale=factor))
    b, before = (np.asarray(sf(X, Q2)) for sf in (Positive(original), original))
    assert np.min(b[:, [0, 2]]) >= 0.0
    assert np.all(b[:, 1] >= -np.sqrt(b[:, 0] * b[:, 2]))
    untouched = (before[:, [0, 2]] >= 0.0).all(axis=1)
    untouched &= before[:, 1] >= -np.sqrt(np.maximum(before[:, 0] * before[:, 2], 0.0))
    np.testing.assert_array_equal(b[untouched], before[untouched])
    assert np.all(b >= before)
    # The case that this is for: F1 with target mass, or antiquarks made negative
    if antineutrino and (form == "collinear" or factor > 1.0):
        assert np.mean(~untouched) > 0.2


def test_projection_has_finite_slopes():
    for b in (np.zeros(3), np.array([-1.0, -2.0, 3.0]), np.array([1.0, -5.0, 2.0])):
        assert np.all(np.isfinite(jax.jacobian(project_onto_cone)(b)))
