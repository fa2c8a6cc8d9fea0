"""The helicity head: in the cone for every output, and able to be every cross section in it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesxs.constants import MUON_MASS
from bayesxs.learning.heads import SOFTPLUS_ONE, helicity_head
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity, momentum_over_energy

X = st.floats(1e-3, 1.0)
Q2 = st.floats(1e-3, 20.0)
SIZE = st.floats(1e-3, 1e3)
HEAD = jax.jit(helicity_head)


def inverse_softplus(value: float) -> float:
    return value + float(np.log(-np.expm1(-value)))


def outputs(b: np.ndarray, x: float, q2: float) -> np.ndarray:
    """Invert the head's formula for coefficients in the interior of the cone."""
    r = float(momentum_over_energy(x, q2))
    w = q2 / (q2 + MUON_MASS**2)
    size, middle, end = b * (r**2, 0.5 * r * (1.0 + r), 0.25 * (1.0 + r) ** 2)
    e = np.sqrt(end / size)
    parts = size, e / np.sqrt(w), (middle / size + e) / (e + e**2 + 0.5 * (1.0 - w))
    return np.array([inverse_softplus(float(part)) for part in parts]) - SOFTPLUS_ONE


@pytest.mark.parametrize(("dtype", "largest"), [(np.float64, 1e60), (np.float32, 1e8)])
def test_every_output_ends_in_the_cone(dtype, largest):
    edge = float(dtype(largest))
    huge = st.floats(-edge, edge, width=8 * dtype().itemsize)
    raw = hnp.arrays(dtype, (3,), elements=huge | st.floats(-100.0, 100.0, width=32))
    kind = np.finfo(dtype)

    @settings(max_examples=200, deadline=None)
    @given(raw, X, Q2)
    def check(raw, x, q2):
        b = np.asarray(HEAD(raw, dtype(x), dtype(q2)))
        assert b.dtype == dtype
        assert np.all(np.isfinite(b))
        assert b[0] >= 0.0
        assert b[2] >= 0.0
        bound = (np.sqrt(b[0]) + np.sqrt(kind.tiny)) * (np.sqrt(b[2]) + np.sqrt(kind.tiny))
        assert b[1] >= -bound * (1.0 + 32.0 * kind.eps)

    check()


@settings(max_examples=100, deadline=None)
@given(SIZE, SIZE, st.floats(1e-4, 1e3), X, Q2)
def test_every_coefficient_inside_the_cone_is_reached(b0, b2, above, x, q2):
    b = np.array([b0, (above - 1.0) * np.sqrt(b0 * b2), b2])
    found = np.asarray(HEAD(outputs(b, x, q2), x, q2))
    np.testing.assert_allclose(found, b, rtol=1e-7, atol=1e-11 * np.sqrt(b0 * b2))


@settings(max_examples=100, deadline=None)
@given(SIZE, SIZE, SIZE, X, Q2, st.sampled_from([1, -1]))
def test_tensors_of_positive_helicity_functions_are_reached(plus, minus, ll, x, q2, sign):
    b = bernstein_from_helicity(Helicity(plus, minus, ll, 0.0, 0.0), x, q2, MUON_MASS, sign)
    np.testing.assert_allclose(HEAD(outputs(np.asarray(b), x, q2), x, q2), b, rtol=1e-7)


@settings(max_examples=100, deadline=None)
@given(SIZE, SIZE, X, Q2, st.sampled_from([1, -1]))
def test_a_third_output_of_zero_means_no_longitudinal_function(plus, minus, x, q2, sign):
    preferred = plus if sign > 0 else minus
    size, share = x * (plus + minus), preferred / (plus + minus)
    raw = [inverse_softplus(v) - SOFTPLUS_ONE for v in (size, float(np.sqrt(share)))]
    b = bernstein_from_helicity(Helicity(plus, minus, 0.0, 0.0, 0.0), x, q2, MUON_MASS, sign)
    np.testing.assert_allclose(HEAD(jnp.array([*raw, 0.0]), x, q2), b, rtol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_slopes_are_finite(dtype):
    range_ = jnp.array([-1e6, -800.0, -110.0, -90.0, 0.0, 90.0, 1e6], dtype)
    raw = jnp.stack(jnp.meshgrid(range_, range_, range_), axis=-1).reshape(-1, 3)
    slopes = jax.vmap(jax.jacrev(helicity_head), in_axes=(0, None, None))
    for x, q2 in ((1e-3, 1e-3), (0.3, 2.0), (1.0, 20.0), (1.0, 1e-3)):
        assert np.all(np.isfinite(slopes(raw, jnp.array(x, dtype), jnp.array(q2, dtype))))
