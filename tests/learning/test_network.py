"""Networks: positive by construction, called like the truth, and the same after a round trip."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesxs.constants import MUON_MASS
from bayesxs.learning.heads import positive_head
from bayesxs.learning.network import (
    ACTIVATIONS,
    Architecture,
    Average,
    Network,
    algebraic,
    create_network,
    network_arrays,
    network_from_arrays,
)
from bayesxs.physics.cross_section import differential_cross_section
from bayesxs.physics.kinematics import is_physical, lepton_from_invariants, x_min, y_range
from bayesxs.physics.structure_functions import bernstein_basis

POSITIVE = Architecture(layers=2, width=8, head="positive")
HELICITY = Architecture(layers=2, width=8, head="helicity")
UNCONSTRAINED = Architecture(2, 8, "leaky_relu", "plain", "unconstrained", "float32")
SEEDS = st.integers(0, 2**32 - 1)

X, Q2 = (a.ravel() for a in np.meshgrid(np.geomspace(1e-3, 0.999, 12), np.geomspace(1e-3, 18, 12)))


@pytest.fixture(scope="module")
def evaluate():
    """Evaluate a positive network, given as its state, at fixed points; compiled once."""
    graph, _ = nnx.split(create_network(POSITIVE, jax.random.key(0)))
    return jax.jit(lambda state, x, q2: nnx.merge(graph, state)(x, q2))


def state_of(network: Network):
    return nnx.split(network)[1]


def assert_in_cone(b: np.ndarray) -> None:
    """Check b0, b2 >= 0 and b1 >= -sqrt(b0 b2), to rounding and underflow."""
    assert np.all(np.isfinite(b))
    assert np.all(b[..., 0] >= 0.0)
    assert np.all(b[..., 2] >= 0.0)
    kind = np.finfo(b.dtype)
    bound = np.prod(np.sqrt(b[..., [0, 2]]) + np.sqrt(kind.tiny), axis=-1)
    assert np.all(b[..., 1] >= -bound * (1.0 + 8.0 * kind.eps))


# --- the positive head -------------------------------------------------------------------------


# Products of two outputs must stay below the largest number of the type
@pytest.mark.parametrize(("dtype", "largest"), [(np.float64, 1e120), (np.float32, 1e15)])
def test_the_positive_head_ends_in_the_cone(dtype, largest):
    edge = float(dtype(largest))
    huge = st.floats(-edge, edge, width=8 * dtype().itemsize)
    outputs = hnp.arrays(dtype, (4, 3), elements=huge | st.floats(-120.0, 120.0, width=32))
    head = jax.jit(positive_head)
    t = np.linspace(0.0, 1.0, 41)
    kind = np.finfo(dtype)

    @settings(max_examples=200, deadline=None)
    @given(outputs)
    def check(raw):
        b = np.asarray(head(raw))
        assert b.dtype == dtype
        assert_in_cone(b)
        # The quadratic itself, relative to the largest of its coefficients
        size = np.abs(b).max(axis=-1, keepdims=True)
        unit = np.divide(b, size, out=np.zeros_like(b), where=size > 0.0)
        underflow = np.sqrt(kind.tiny / np.maximum(size, kind.tiny))
        assert np.all(unit @ np.asarray(bernstein_basis(t)).T >= -8.0 * kind.eps - underflow)

    check()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_positive_head_has_finite_slopes(dtype):
    # Softplus underflows on the way, where the root of the third output is steepest
    range_ = jnp.array([-1e6, -800.0, -720.0, -110.0, -90.0, 0.0, 90.0, 1e6], dtype)
    raw = jnp.stack(jnp.meshgrid(range_, range_, range_), axis=-1).reshape(-1, 3)
    assert np.all(np.isfinite(jax.jit(jax.vmap(jax.jacrev(positive_head)))(raw)))


def test_zero_outputs_mean_a_cross_section_flat_in_y():
    np.testing.assert_allclose(positive_head(jnp.zeros(3)), 1.0, rtol=1e-7)


# --- networks are in the cone, and cross sections positive -------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, size=st.floats(1e-3, 300.0))
def test_networks_of_any_weights_are_in_the_cone(evaluate, seed, size):
    network = create_network(POSITIVE, jax.random.key(0))
    rng = np.random.default_rng(seed)
    arrays = {
        name: array if name.startswith("scale") else size * rng.standard_cauchy(array.shape)
        for name, array in network_arrays(network).items()
    }
    state = state_of(network_from_arrays(POSITIVE, arrays))
    assert_in_cone(np.asarray(evaluate(state, X, Q2)))


@pytest.fixture(scope="module")
def cross_section():
    """Cross section of a positive network, given as its state; compiled once."""
    graph, _ = nnx.split(create_network(POSITIVE, jax.random.key(0)))
    return jax.jit(
        lambda state, energy, e_l, z: differential_cross_section(
            nnx.merge(graph, state), energy, e_l, z, MUON_MASS
        )
    )


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_the_cross_section_of_a_random_network_is_not_negative(cross_section, seed):
    rng = np.random.default_rng(seed)
    energy = rng.uniform(0.3, 10.0, 500)
    bottom = x_min(energy, MUON_MASS)
    x = bottom + (1.0 - bottom) * rng.uniform(0.01, 0.99, 500) ** 2
    low, high = y_range(energy, x, MUON_MASS)
    e_l, z = lepton_from_invariants(
        energy, x, low + (high - low) * rng.uniform(0.01, 0.99, 500), MUON_MASS
    )
    inside = is_physical(energy, e_l, z, MUON_MASS)
    assert inside.mean() > 0.9
    state = state_of(create_network(POSITIVE, jax.random.key(seed)))
    values = np.asarray(cross_section(state, energy, e_l, z))
    assert np.all(values[inside] > 0.0)
    assert np.all(values[~inside] == 0.0)


def test_the_mean_of_networks_is_in_the_cone_and_is_the_mean():
    members = [create_network(POSITIVE, jax.random.key(i)) for i in range(3)]
    values = np.asarray(Average(members)(X, Q2))
    assert_in_cone(values)
    np.testing.assert_allclose(values, np.mean([n(X, Q2) for n in members], axis=0), rtol=1e-14)
    np.testing.assert_array_equal(Average(members[:1])(X, Q2), members[0](X, Q2))


# --- what a network is -------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [HELICITY, POSITIVE, UNCONSTRAINED])
def test_networks_broadcast_like_the_truth(architecture, truth):
    network = create_network(architecture, jax.random.key(1))
    for x, q2 in ((0.3, 1.7), (X, Q2), (X[:5, None], Q2[:3]), (X[:4], 2.0)):
        assert jax.eval_shape(network, x, q2).shape == jax.eval_shape(truth, x, q2).shape
    table = network(X[:5, None], Q2[::40])
    np.testing.assert_allclose(table[3, 2], network(X[3], Q2[80]), rtol=1e-5)


def test_numbers_have_the_precision_of_the_architecture():
    for architecture in (HELICITY, POSITIVE, UNCONSTRAINED):
        network = create_network(architecture, jax.random.key(1))
        assert network(X, Q2).dtype == architecture.precision
        dtypes = {array.dtype for array in network_arrays(network).values()}
        assert dtypes == {np.dtype(architecture.precision)}


def test_current_conservation_empties_the_limit_of_small_q2():
    # F_i / Q^2 has a limit as Q^2 -> 0
    network = create_network(POSITIVE, jax.random.key(1))
    small, smaller = (np.asarray(network(X, q2)) / q2 for q2 in (1e-6, 1e-8))
    np.testing.assert_allclose(small, smaller, rtol=1e-4)


def test_keys_decide_the_weights():
    first, again, other = (create_network(POSITIVE, jax.random.key(k))(X, Q2) for k in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.all(np.asarray(first) != np.asarray(other))


def test_the_algebraic_activation_looks_like_silu():
    x = jnp.linspace(-30.0, 30.0, 601)
    assert np.abs(algebraic(x) - jax.nn.silu(x)).max() < 0.2
    assert algebraic(jnp.array(0.0)) == 0.0
    assert jax.grad(algebraic)(0.0) == 0.5


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_makes_a_finite_network(activation):
    network = create_network(Architecture(1, 4, activation), jax.random.key(0))
    assert np.all(np.isfinite(network(X, Q2)))


def test_the_published_network_has_its_number_of_parameters():
    # arXiv:2412.16303: 2 inputs, 4 hidden layers of 64, 3 outputs; weights and biases
    sizes = [2, 64, 64, 64, 64, 3]
    expected = sum(a * b + b for a, b in pairwise(sizes))
    paper = Architecture(4, 64, "leaky_relu", "plain", "unconstrained", "float32")
    network = create_network(paper, jax.random.key(0))
    parameters = jax.tree.leaves(nnx.state(network, nnx.Param))
    assert sum(p.size for p in parameters) == expected
    # No output bends twice: leaky units make the network linear in pieces
    x = np.linspace(0.3, 0.3 + 1e-4, 3)
    first, middle, last = np.asarray(network(x, 1.0), dtype=float)
    np.testing.assert_allclose(first + last, 2.0 * middle, atol=1e-5 * np.abs(middle).max())


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [HELICITY, POSITIVE, UNCONSTRAINED])
def test_a_network_survives_its_arrays(architecture):
    network = create_network(architecture, jax.random.key(5))
    network.scale[...] = network.scale[...] * -2.5
    arrays = network_arrays(network)
    assert all(isinstance(a, np.ndarray) for a in arrays.values())
    again = network_from_arrays(architecture, arrays)
    np.testing.assert_array_equal(again(X, Q2), network(X, Q2))
    assert again.architecture == architecture.suited()


def test_arrays_that_do_not_fit_are_refused():
    arrays = network_arrays(create_network(POSITIVE, jax.random.key(5)))
    name = next(n for n in arrays if arrays[n].ndim == 2)
    with pytest.raises(ValueError, match=name):
        network_from_arrays(POSITIVE, {k: v for k, v in arrays.items() if k != name})
    with pytest.raises(ValueError, match=name):
        network_from_arrays(POSITIVE, arrays | {name: arrays[name][:, 1:]})


@given(
    st.builds(
        Architecture,
        st.integers(1, 9),
        st.integers(1, 512),
        st.sampled_from(sorted(ACTIVATIONS)),
        st.sampled_from(["plain", "multi", "ridge"]),
        st.sampled_from(["helicity", "psd", "positive", "unconstrained"]),
        st.sampled_from(["float32", "float64"]),
    )
)
def test_an_architecture_survives_its_metadata(architecture):
    metadata = architecture.as_metadata()
    assert all(isinstance(v, str) for v in metadata.values())
    assert Architecture.from_metadata(metadata | {"more": "is ignored"}) == architecture


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers", "three"),
        ("layers", "0"),
        ("width", "-4"),
        ("activation", "relu6"),
        ("inputs", "all"),
        ("head", "negative"),
        ("precision", "float16"),
    ],
)
def test_metadata_with_unknown_values_are_refused(name, value):
    with pytest.raises(ValueError, match=value):
        Architecture.from_metadata(POSITIVE.as_metadata() | {name: value})


def test_metadata_must_be_complete():
    for name in POSITIVE.as_metadata():
        with pytest.raises(ValueError, match=name):
            Architecture.from_metadata(
                {k: v for k, v in POSITIVE.as_metadata().items() if k != name}
            )
