"""Laplace's approximation around a trained network, pushed to the nodes.

Near the trained weights the node values are linear in the weights, w = w_0 + J (theta - theta_0).
With theta ~ N(0, sigma^2) and the curvature of the loss taken as J^T A^T A J (generalised
Gauss-Newton, exact for near data that are linear in w), the weights' posterior is Gaussian
(MacKay 1992; Immer et al., arXiv:2008.08400), and so is that of w. It is worked out in the space of
the data, of which there are fewer than weights.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize_scalar

from bayesxs.detector.grid import NodeGrid
from bayesxs.learning.linear_model import Conditioned, LinearData, condition
from bayesxs.learning.network import Network

# Nodes whose derivatives are taken at once
BATCH = 64


class Laplace(NamedTuple):
    """Laplace's approximation on the nodes.

    Attributes:
        mean: node values of the network, shape (3 n_nodes,).
        posterior: the linearised network conditioned on the data.
        prior_sd: sigma, from the evidence.
    """

    mean: Array
    posterior: Conditioned
    prior_sd: float


def node_jacobian(network: Network, nodes: NodeGrid) -> tuple[Array, Array, Array]:
    """Return node values (3 n,), their derivatives by the weights (3 n, weights), the weights."""
    # The stub of split counts its results only where no filter is given
    graph, params, rest = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]
    weights, unravel = ravel_pytree(nnx.to_pure_dict(params))

    def values(weights: Array, point: tuple[Array, Array]) -> Array:
        state = jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(unravel(weights)))
        return nnx.merge(graph, state, rest)(*point)

    points = (jnp.asarray(nodes.x), jnp.asarray(nodes.q2))
    slopes = jax.jit(
        lambda w: jax.lax.map(lambda p: jax.jacrev(values)(w, p), points, batch_size=BATCH)
    )(weights)
    return values(weights, points).ravel(), slopes.reshape(3 * nodes.size, -1), weights


def fit_laplace(network: Network, data: LinearData, nodes: NodeGrid, scale: float) -> Laplace:
    """Approximate the posterior of a network's node values by a Gaussian.

    sigma maximises the evidence -|theta_0|^2/(2 sigma^2) - log det(1 + sigma^2 A J J^T A^T)/2,
    with |theta_0|^2 that of the trained weights.

    Args:
        network: trained on the data.
        data: whitened near-detector data.
        nodes: the nodes.
        scale: factor that gives the network's node values unit near-detector rate.
    """
    mean, slopes, weights = node_jacobian(network, nodes)
    mean, slopes = scale * mean, scale * slopes
    features = data.design @ slopes
    sizes = np.maximum(np.linalg.eigvalsh(np.asarray(features @ features.T)), 0.0)
    norm = float(weights @ weights)

    def cost(log_sd: float) -> float:
        variance = np.exp(2.0 * log_sd)
        return float(norm / variance + np.log1p(variance * sizes).sum())

    log_sd = minimize_scalar(cost, bounds=(-7.0, 4.0), method="bounded").x
    variance = float(np.exp(2.0 * log_sd))

    def prior(columns: Array) -> Array:
        return variance * (slopes @ (slopes.T @ columns))

    return Laplace(mean, condition(prior, data.design), float(np.exp(log_sd)))
