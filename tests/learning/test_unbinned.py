"""The loss of events taken one by one: the mean of -2 log p, by whatever way it is computed."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree
from scipy import sparse

from bayesxs.learning.near_problem import joint_problem, near_loss, near_problem, unbinned_problem
from bayesxs.learning.network import Architecture, create_network

ARCHITECTURE = Architecture(layers=2, width=8)


@pytest.fixture(scope="module")
def matrix(operator, near_flux) -> sparse.csr_array:
    return operator.near_matrix(near_flux)


@pytest.fixture(scope="module")
def counts(observed) -> np.ndarray:
    """Counts of 200 000 events, with one event in some bins."""
    rng = np.random.default_rng(0)
    return rng.poisson(2e5 * observed / observed.sum()).astype(float)


@pytest.fixture(scope="module")
def networks():
    return [create_network(ARCHITECTURE, jax.random.key(seed)) for seed in (1, 2)]


def loss(network, problem) -> float:
    return float(near_loss(network, problem))


def density(network, matrix, total, nodes) -> np.ndarray:
    w = np.asarray(network(nodes.x, nodes.q2)).ravel()
    return matrix @ w / (total @ w)


def test_events_at_the_centers_of_tiny_bins_give_the_loss_of_the_bins(
    matrix, counts, nodes, networks
) -> None:
    """Where the bins' sum is the integral, a constant is all that differs."""
    binned = near_problem(matrix, counts, nodes, loss="multinomial", rank=None)
    total = matrix.sum(axis=0)
    unbinned = unbinned_problem(matrix, total, counts, counts + 1.0, nodes, rank=None)
    one, other = (loss(n, unbinned) - loss(n, binned) for n in networks)
    assert one == pytest.approx(other, abs=1e-10)
    away = [loss(n, unbinned) for n in networks]
    assert abs(away[0] - away[1]) > 1e-2


def test_the_loss_is_twice_the_negative_mean_of_log_densities(
    matrix, counts, nodes, networks
) -> None:
    """Weights below zero included, and an integral that the points do not sum to."""
    rng = np.random.default_rng(1)
    weights = np.where(counts == 0.0, -0.3, counts + rng.normal(0.0, 0.3, len(counts)))
    total = matrix.sum(axis=0) * rng.uniform(0.9, 1.1, matrix.shape[1])
    problem = unbinned_problem(matrix, total, weights, counts + 1.0, nodes, rank=None)
    expected, found = [], []
    filled = np.diff(matrix.indptr) > 0
    for network in networks:
        p = density(network, matrix, total, nodes)[filled]
        own = weights[filled]
        high = p > 0.5 / own.sum()  # below, the logarithm is continued by its tangent
        continued = np.where(high, np.log(p), np.log(0.5 / own.sum()) + p * own.sum() / 0.5 - 1.0)
        expected.append(-2.0 * own @ continued / own.sum())
        found.append(loss(network, problem))
    assert np.any(own < 0.0)
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-9)


def test_gradients_are_those_of_finite_differences(matrix, counts, nodes, networks) -> None:
    total = 1.3 * matrix.sum(axis=0)
    problem = unbinned_problem(matrix, total, counts - 0.2, counts + 1.0, nodes, rank=60)
    graph, weights, rest = nnx.split(networks[0], nnx.Param, ...)
    start, unravel = ravel_pytree(weights)

    @jax.jit
    def of_weights(flat):
        return near_loss(nnx.merge(graph, unravel(flat), rest), problem)

    along = np.random.default_rng(2).normal(size=len(start))
    slope = float(jax.grad(of_weights)(start) @ along)
    step = 1e-5
    difference = (of_weights(start + step * along) - of_weights(start - step * along)) / (
        2.0 * step
    )
    assert slope == pytest.approx(float(difference), rel=1e-6)


def test_projected_rows_give_the_loss_of_all_rows(matrix, counts, nodes, networks) -> None:
    total = matrix.sum(axis=0)
    full, projected = (
        unbinned_problem(matrix, total, counts, counts + 1.0, nodes, rank=rank)
        for rank in (None, 150)
    )
    assert projected.matrix.shape[0] < full.matrix.shape[0]
    for network in networks:
        assert loss(network, projected) == pytest.approx(loss(network, full), rel=1e-4)


def test_samples_of_events_are_summed_with_their_shares(matrix, counts, nodes) -> None:
    total, rng = matrix.sum(axis=0), np.random.default_rng(3)
    one, other = (
        unbinned_problem(matrix, total, own, counts + 1.0, nodes, rank=None)
        for own in (counts, counts * rng.uniform(0.5, 1.5, len(counts)))
    )
    psd = create_network(Architecture(layers=2, width=8, head="psd"), jax.random.key(1))
    both = joint_problem([one, other], [float(psd.lepton.mass)] * 2, [0.25, 0.75])
    expected = 0.25 * loss(psd, one) + 0.75 * loss(psd, other)
    assert loss(psd, both) == pytest.approx(expected, rel=1e-9)
