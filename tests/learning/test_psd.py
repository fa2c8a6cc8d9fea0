"""Networks of nuclei: five functions that no lepton sees as negative, along ridges."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.learning.heads import Lepton, psd_tensor
from bayesxs.learning.network import Architecture, create_network, ridge_inputs
from bayesxs.physics.helicity import Helicity, lepton_coefficients
from bayesxs.physics.kinematics import y_range
from bayesxs.physics.structure_functions import bernstein_basis, y_max

NUCLEAR = Architecture(layers=2, width=8).suited(3.0)
LEPTONS = [Lepton(m, s) for m in (ELECTRON_MASS, MUON_MASS, TAU_MASS) for s in (1, -1)]
SEEDS = st.integers(0, 2**32 - 1)


def contracted(tensor: Helicity, energy, x, y, lepton: Lepton) -> np.ndarray:
    """Return the bracket, by the lepton tensor in place of Bernstein coefficients."""
    parts = lepton_coefficients(energy, x, y, lepton.mass, lepton.sign)
    return sum(np.asarray(c) * np.asarray(w) for c, w in zip(parts, tensor, strict=True))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, size=st.floats(0.1, 20.0))
def test_five_outputs_make_a_positive_tensor(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    raw, x = size * rng.standard_normal((200, 5)), 3.0 * rng.uniform(1e-3, 1.0, 200)
    plus, minus, ll, ls, ss = (np.asarray(part) for part in psd_tensor(raw, x))
    assert min(plus.min(), minus.min(), ll.min(), ss.min()) >= 0.0
    assert np.all(ls**2 <= ll * ss * (1.0 + 1e-9))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_every_positive_tensor_has_its_outputs(seed: int) -> None:
    """The inverse, written out: logarithms of ratios, and the factor of Cholesky."""
    rng = np.random.default_rng(seed)
    plus, minus, ll, ss = np.exp(2.0 * rng.standard_normal((4, 50)))
    ls = np.sqrt(ll * ss) * rng.uniform(-0.99, 0.99, 50)
    x = rng.uniform(0.01, 3.0, 50)

    def unsoft(value):  # softplus(raw + c) = value, softplus(c) = 1
        return value + np.log(-np.expm1(-value)) - np.log(np.expm1(1.0))

    mixed = ls / ll
    raw = (
        unsoft(x * (plus + minus + 2.0 * ll)),
        np.log(plus / (2.0 * ll)),
        np.log(minus / (2.0 * ll)),
        mixed,
        unsoft(np.sqrt(ss / ll - mixed**2)),
    )
    for one, other in zip(psd_tensor(np.stack(raw, -1), x), (plus, minus, ll, ls, ss), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8)


@pytest.mark.parametrize("lepton", LEPTONS, ids=str)
def test_a_lepton_sees_the_contraction_of_the_networks_tensor(lepton: Lepton) -> None:
    network = create_network(NUCLEAR, jax.random.key(4), lepton)
    rng = np.random.default_rng(1)
    energy = rng.uniform(5.0, 10.0, 400)
    x = rng.uniform(0.3, 2.0, 400)
    low, high = y_range(energy, x, lepton.mass)
    y = low + (high - low) * rng.uniform(0.01, 0.99, 400)
    kept = high > low
    energy, x, y = energy[kept], x[kept], y[kept]
    q2 = 2.0 * NUCLEON_MASS * energy * x * y
    t = y / y_max(x, q2, lepton.mass)
    found = (np.asarray(network(x, q2)) * np.asarray(bernstein_basis(t))).sum(axis=-1)
    expected = contracted(network.tensor(x, q2), energy, x, y, lepton)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    assert np.all(found > 0.0)


def test_nuclei_do_not_vanish_with_q2_and_partons_do() -> None:
    nu, q2 = 0.5, np.array([1e-5, 1e-4])
    x = q2 / (2.0 * NUCLEON_MASS * nu)
    nuclear, partons = (
        np.asarray(create_network(Architecture(2, 8).suited(end), jax.random.key(0))(x, q2))[:, 0]
        for end in (3.0, 1.0)
    )
    np.testing.assert_allclose(nuclear[0], nuclear[1], rtol=0.05)
    np.testing.assert_allclose(partons[1] / partons[0], 10.0, rtol=0.05)


def test_what_is_left_open_follows_the_phase_space() -> None:
    given = Architecture(width=7, inputs="plain", head="positive")
    assert given.suited(3.0) == given.suited(1.0) == given
    assert (NUCLEAR.inputs, NUCLEAR.head) == ("ridge", "psd")
    partons = Architecture().suited(1.0)
    assert (partons.inputs, partons.head) == ("multi", "helicity")
    with pytest.raises(ValueError, match="three functions"):
        create_network(partons, jax.random.key(0)).tensor(0.1, 1.0)


def test_the_quasi_elastic_ridge_lies_at_one_input() -> None:
    """W = M is a line of constant input at every Q^2, and so is a Fermi motion's width in |q|."""
    q2 = np.geomspace(0.01, 10.0, 30)
    elastic = np.asarray(ridge_inputs(np.ones_like(q2), q2))
    np.testing.assert_allclose(elastic[:, :3], 0.0, atol=1e-12)
    nu = q2 / (2.0 * NUCLEON_MASS)
    for _ in range(50):  # nu = Q^2/2M + 0.1 |q|
        nu = q2 / (2.0 * NUCLEON_MASS) + 0.1 * np.sqrt(nu**2 + q2)
    beside = np.asarray(ridge_inputs(q2 / (2.0 * NUCLEON_MASS * nu), q2))
    np.testing.assert_allclose(beside[:, 2], np.arcsinh(0.4), rtol=1e-6)
    assert np.abs(beside).max() < 3.0
