"""Nucleons in motion against tensors of explicit four-vectors and sums over the sphere."""

from __future__ import annotations

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import NUCLEON_MASS
from bayesxs.physics.fermi_motion import FermiSphere, in_motion, struck
from bayesxs.physics.helicity import Helicity

M = NUCLEON_MASS
METRIC = np.diag([1.0, -1.0, -1.0, -1.0])
numbers = st.floats(-3.0, 3.0)
positive = st.floats(0.05, 4.0)
few = settings(max_examples=60, deadline=None)


def levi_civita() -> np.ndarray:
    epsilon = np.zeros((4,) * 4)
    for order in permutations(range(4)):
        epsilon[order] = np.linalg.det(np.eye(4)[list(order)])
    return epsilon


EPSILON = levi_civita()


def tensor(p: np.ndarray, q: np.ndarray, five: list[float]) -> np.ndarray:
    """Return a tensor of p and q with five arbitrary invariants, upper indices."""
    w1, w2, w3, w4, w5 = five
    lower_p, lower_q = METRIC @ p, METRIC @ q
    odd = np.einsum("mnab,a,b->mn", EPSILON, lower_p, lower_q)
    return (
        -w1 * METRIC
        + w2 * np.outer(p, p)
        - 0.5j * w3 * odd
        + w4 * np.outer(q, q)
        + w5 * (np.outer(p, q) + np.outer(q, p))
    )


def components(w: np.ndarray, nu: float, size: float) -> np.ndarray:
    """Contract a tensor with the helicity basis of a boson along the third axis."""
    q = np.sqrt(size**2 - nu**2)
    along = np.array([size, 0.0, 0.0, nu]) / q
    scalar = np.array([nu, 0.0, 0.0, size]) / q
    right = np.array([0.0, 1.0, 1.0j, 0.0]) / np.sqrt(2.0)
    left = right.conj()
    pairs = [(right, right), (left, left), (along, along), (along, scalar), (scalar, scalar)]
    return np.array([((METRIC @ a).conj() @ w @ (METRIC @ b)).real for a, b in pairs])


@few
@given(nu=positive, q=positive, p=st.floats(0.0, 0.8), cosine=st.floats(-1.0, 1.0), data=st.data())
def test_motion_is_a_boost_of_the_tensor(nu, q, p, cosine, data):
    five = data.draw(st.lists(numbers, min_size=5, max_size=5))
    size = np.hypot(nu, q)
    energy = np.hypot(p, M)
    boson = np.array([nu, 0.0, 0.0, size])
    angles = 2.0 * np.pi * np.arange(5) / 5.0  # averages the second harmonic exactly
    moving = np.zeros(5)
    for angle in angles:
        across = p * np.sqrt(1.0 - cosine**2)
        nucleon = np.array([energy, across * np.cos(angle), across * np.sin(angle), p * cosine])
        moving += components(tensor(nucleon, boson, five), nu, size) / 5.0
    product = nu * energy - size * p * cosine
    at_rest = np.array([M, 0.0, 0.0, 0.0])
    rest_size = np.hypot(product / M, q)
    rest_boson = np.array([product / M, 0.0, 0.0, rest_size])
    rest = components(tensor(at_rest, rest_boson, five), product / M, rest_size)
    c = (q**2 * energy + nu * product) / (size * np.sqrt(M**2 * q**2 + product**2))
    # the sign of the antisymmetric part depends on the sense of the cross product only
    mapped = np.array(in_motion(Helicity(*rest), c, c**2))
    scale = 1.0 + np.max(np.abs(mapped))
    np.testing.assert_allclose(moving, mapped, atol=1e-9 * scale)


@few
@given(nu=positive, q=positive, product=positive)
def test_the_struck_nucleon_moves_along_q_and_has_the_product(nu, q, product):
    size = np.hypot(nu, q)
    energy, momentum, slope = map(float, struck(nu, size, product))
    np.testing.assert_allclose(energy**2 - momentum**2, M**2, rtol=1e-7)
    np.testing.assert_allclose(nu * energy - size * momentum, product, rtol=1e-7)
    # c = 1 there, and c grows as the formula of the module says
    root = np.sqrt(M**2 * q**2 + product**2)
    np.testing.assert_allclose((q**2 * energy + nu * product) / (size * root), 1.0, rtol=1e-7)
    np.testing.assert_allclose(slope, q**2 / (size * root), rtol=1e-7)


def test_the_fold_is_an_integral_over_the_sphere():
    def nucleon(w2, q2):
        shape = jnp.exp(-0.3 * (w2 - 1.5) ** 2 / (1.0 + q2))
        return Helicity(2.0 * shape, 0.5 * shape, 0.7 * shape, 0.2 * shape, 0.9 * shape)

    fermi, nu, q2 = 0.24, 1.1, 0.8
    folded = np.array(FermiSphere(fermi, 0.0, points=48)(nucleon, nu, q2))
    t, share = np.polynomial.legendre.leggauss(60)
    p, cosine = 0.5 * fermi * (t + 1.0)[:, None], t
    weight = 0.5 * fermi * share[:, None] * share * p**2 * 1.5 / fermi**3
    energy, size = np.hypot(p, M), np.sqrt(nu**2 + q2)
    product = nu * energy - size * p * cosine
    c = (q2 * energy + nu * product) / (size * np.sqrt(M**2 * q2 + product**2))
    parts = in_motion(nucleon(M**2 + 2.0 * product - q2, q2), c, c**2)
    direct = [np.sum(weight * M / energy * part) for part in parts]
    np.testing.assert_allclose(folded, direct, rtol=1e-8)


def test_the_energy_shift_is_kept_by_the_nucleus():
    # Nucleons nearly at rest: W^2 = (M + nu - E_shift)^2 - |q|^2
    def nucleon(w2, q2):
        return Helicity(w2, w2, w2, w2, w2)

    nu, q2, shift = 1.4, 0.6, 0.03
    w2 = FermiSphere(1e-4, shift, points=8)(nucleon, nu, q2).ss
    np.testing.assert_allclose(w2, (M + nu - shift) ** 2 - nu**2 - q2, rtol=1e-6)


def test_no_energy_beyond_the_shift_gives_nothing():
    def nucleon(w2, q2):
        return Helicity(*(jnp.ones_like(w2),) * 5)

    for part in FermiSphere(0.24, 0.03, points=8)(nucleon, jnp.array([0.01, 0.03]), 0.1):
        np.testing.assert_array_equal(part, 0.0)


def test_gradients_are_finite():
    def total(nu):
        sphere = FermiSphere(0.24, 0.03, points=8)
        return jnp.sum(sphere(lambda w2, q2: Helicity(w2, w2, w2, w2, w2), nu, 0.2).ll)

    assert np.isfinite(jax.grad(lambda nu: total(nu))(jnp.array([0.02, 0.5, 3.0]))).all()
