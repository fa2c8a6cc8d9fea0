"""Laplace's approximation against derivatives and the formula in the space of the weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

from bayesxs.constants import MUON_MASS
from bayesxs.detector.grid import NodeGrid, node_grid
from bayesxs.learning.laplace import fit_laplace, node_jacobian
from bayesxs.learning.linear_model import LinearData
from bayesxs.learning.network import Architecture, Network, create_network


@pytest.fixture(scope="module")
def small() -> NodeGrid:
    """Nodes, 8 x 8."""
    return node_grid(5.0, 8, 8, MUON_MASS)


@pytest.fixture(scope="module")
def network() -> Network:
    return create_network(Architecture(layers=2, width=5), jax.random.key(0))


@pytest.fixture(scope="module")
def data(small) -> LinearData:
    rng = np.random.default_rng(0)
    design = rng.standard_normal((30, 3 * small.size))
    return LinearData(jnp.asarray(design), jnp.asarray(rng.standard_normal(30)), np.eye(30))


def test_the_jacobian_agrees_with_finite_differences(network, small):
    values, slopes, weights = node_jacobian(network, small)
    graph, params, rest = nnx.split(network, nnx.Param, ...)
    flat, unravel = ravel_pytree(params)
    np.testing.assert_array_equal(flat, weights)
    np.testing.assert_array_equal(values, network(small.x, small.q2).ravel())

    @jax.jit
    def moved(flat):
        return nnx.merge(graph, unravel(flat), rest, copy=True)(small.x, small.q2).ravel()

    assert slopes.shape == (3 * small.size, len(weights))
    step = 1e-5
    for axis in range(0, len(weights), 7):
        shift = step * jnp.eye(len(weights))[axis]
        expected = (moved(flat + shift) - moved(flat - shift)) / (2.0 * step)
        np.testing.assert_allclose(slopes[:, axis], expected, rtol=0.0, atol=1e-8)


def test_the_posterior_is_that_of_the_weights(network, small, data):
    # MacKay: Cov(theta) = (J^T A^T A J + 1/sigma^2)^-1, pushed to the nodes by J
    scale = 1.7
    laplace = fit_laplace(network, data, small, scale)
    values, slopes, weights = node_jacobian(network, small)
    slopes = scale * np.asarray(slopes)
    features = np.asarray(data.design) @ slopes
    precision = features.T @ features + np.eye(len(weights)) / laplace.prior_sd**2
    expected = slopes @ np.linalg.solve(precision, slopes.T)
    found = laplace.posterior.covariance(jnp.eye(3 * small.size))
    prior = laplace.prior_sd**2 * np.abs(slopes @ slopes.T).max()
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9 * prior)
    np.testing.assert_allclose(laplace.mean, scale * values, rtol=1e-12)


def test_the_width_of_the_prior_maximises_the_evidence(network, small, data):
    laplace = fit_laplace(network, data, small, 1.0)
    _, slopes, weights = node_jacobian(network, small)
    features = np.asarray(data.design @ slopes)

    def evidence(sd: float) -> float:
        # Log evidence but for what does not depend on sd
        spread = np.linalg.slogdet(np.eye(len(features)) + sd**2 * features @ features.T)[1]
        return -0.5 * float(weights @ weights) / sd**2 - 0.5 * spread

    best = evidence(laplace.prior_sd)
    for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0):
        assert evidence(factor * laplace.prior_sd) < best
