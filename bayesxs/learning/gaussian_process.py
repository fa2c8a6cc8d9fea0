"""A Gaussian process for the structure functions, conditioned on near-detector data.

b_i(x, Q^2) = m(x, Q^2) [1 + g(x, Q^2) + h_i(x, Q^2)], i = 0, 1, 2. The mean m carries current
conservation and the fall towards x = 1. The relative deviation g, common to the three functions,
takes steep falls and kinks, which parton distributions share out among all three; the own parts h_i
are smaller and smoother. Kernels are products over the node coordinates u = x^(1/3) and
v = ln(Q^2 + q2_scale), so that the covariance of 3 n_nodes values is applied as small matrices.
All scales are found by maximising the evidence times weak priors of theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular
from scipy.optimize import minimize

from bayesxs.detector.grid import NodeGrid
from bayesxs.learning.linear_model import Conditioned, Covariance, LinearData, condition

type Kernel = Literal["matern32", "matern52", "squared_exponential"]

# Steps of the evidence's optimiser
STEPS = 80


class Scales(NamedTuple):
    """Logarithms of what the prior leaves open.

    Attributes:
        size: overall size of the mean.
        fall: power of (1 - x).
        q2: scale in GeV^2 below which current conservation acts.
        common: standard deviation of g.
        common_u: its correlation length in u.
        common_v: its correlation length in v.
        own: standard deviation of the h_i.
        own_u: their correlation length in u.
        own_v: their correlation length in v.
    """

    size: Array | float
    fall: Array | float
    q2: Array | float
    common: Array | float
    common_u: Array | float
    common_v: Array | float
    own: Array | float
    own_u: Array | float
    own_v: Array | float


# Medians of the log-normal priors of the scales, and widths of their logarithms. The evidence alone
# is nearly flat towards long lengths and small own parts, and its maximum there claims to know what
# the data never saw: intervals of far-detector functionals then hold the truth half as often as
# they should. Lengths, and own over common parts, are therefore held near values that were chosen
# over an ensemble of natures: tables, nuclei, modifications and both forms of the parton model
# (benchmarks/natures.py). No one nature's intervals are exact: on smooth ones they are wide.
MEDIANS = Scales(0.0, *(float(np.log(v)) for v in (3.0, 0.7, 1.8, 0.33, 0.65, 1.2, 0.27, 0.81)))
WIDTHS = Scales(10.0, 1.0, 1.0, *[0.03] * 6)


class Process(NamedTuple):
    """A fitted Gaussian process.

    Attributes:
        mean: posterior mean of w on the nodes, shape (3 n_nodes,).
        posterior: the prior conditioned on the data.
        scales: the maximum of evidence times prior.
        evidence: log evidence there.
    """

    mean: Array
    posterior: Conditioned
    scales: Scales
    evidence: float


def kernel_matrix(points: Array, length: Array | float, kernel: Kernel) -> Array:
    """Return the correlations of points on a line (Rasmussen and Williams, Eqs. 4.9 and 4.17)."""
    r = jnp.abs(points[:, None] - points) / length
    if kernel == "matern32":
        return (1.0 + np.sqrt(3.0) * r) * jnp.exp(-np.sqrt(3.0) * r)
    if kernel == "matern52":
        return (1.0 + np.sqrt(5.0) * r + 5.0 / 3.0 * r**2) * jnp.exp(-np.sqrt(5.0) * r)
    return jnp.exp(-0.5 * r**2)


def prior_mean(nodes: NodeGrid, scales: Scales) -> Array:
    """Return m = size [(1-x)^fall + 0.003] Q^2/(Q^2 + q2) on the nodes, shape (n_nodes,).

    The small constant keeps deviations near x = 1 possible, where relative ones would vanish.
    """
    x, q2 = jnp.asarray(nodes.x), jnp.asarray(nodes.q2)
    shape = jnp.maximum(1.0 - x, 1e-12) ** jnp.exp(scales.fall) + 3e-3
    return jnp.exp(scales.size) * shape * q2 / (q2 + jnp.exp(scales.q2))


def prior_covariance(nodes: NodeGrid, scales: Scales, kernel: Kernel) -> Covariance:
    """Return the map that applies the prior covariance of w to columns, shape (3 n_nodes, k)."""
    u, v = jnp.asarray(nodes.u), jnp.asarray(nodes.v)
    mean = prior_mean(nodes, scales).reshape(len(u), len(v), 1, 1)

    def pair(size: Array | float, length_u: Array | float, length_v: Array | float) -> Covariance:
        along_u = jnp.exp(2.0 * size) * kernel_matrix(u, jnp.exp(length_u), kernel)
        along_v = kernel_matrix(v, jnp.exp(length_v), kernel)
        return lambda t: jnp.einsum("ab,cd,bdik->acik", along_u, along_v, t, optimize="optimal")

    common = pair(scales.common, scales.common_u, scales.common_v)
    own = pair(scales.own, scales.own_u, scales.own_v)

    def apply(columns: Array) -> Array:
        table = mean * columns.reshape(len(u), len(v), 3, -1)
        shared = common(table.sum(axis=2, keepdims=True))
        return (mean * (shared + own(table))).reshape(columns.shape)

    return apply


def log_evidence(data: LinearData, nodes: NodeGrid, scales: Scales, kernel: Kernel) -> Array:
    """Return log N(y; A m, A C A^T + 1) (Rasmussen and Williams, Eq. 2.30)."""
    design = data.design
    outer = design @ prior_covariance(nodes, scales, kernel)(design.T)
    root = jnp.linalg.cholesky(outer + jnp.eye(len(outer)))
    z = solve_triangular(root, data.observed - design @ _spread(nodes, scales), lower=True)
    constant = 0.5 * len(design) * np.log(2.0 * np.pi)
    return -0.5 * z @ z - jnp.log(jnp.diag(root)).sum() - constant


def _spread(nodes: NodeGrid, scales: Scales) -> Array:
    """Return the prior mean of w: the same for the three functions."""
    return jnp.repeat(prior_mean(nodes, scales), 3)


def fit_process(
    data: LinearData,
    nodes: NodeGrid,
    kernel: Kernel = "matern32",
    scales: Scales | None = None,
    record: Callable[[int], None] | None = None,
) -> Process:
    """Condition the process on near-detector data, its scales at the evidence's maximum.

    Args:
        data: whitened near-detector data.
        nodes: the nodes.
        kernel: Matern 3/2 allows the kinks that parton distributions have; the others are smoother.
        scales: use these instead of maximising.
        record: called as record(evaluations) after each evaluation of the evidence.
    """
    if scales is None:
        scales = _maximize(data, nodes, kernel, record)
    posterior = condition(prior_covariance(nodes, scales, kernel), data.design)
    start = _spread(nodes, scales)
    mean = start + posterior.regress(data.observed - data.design @ start)
    return Process(mean, posterior, scales, float(log_evidence(data, nodes, scales, kernel)))


def _maximize(
    data: LinearData, nodes: NodeGrid, kernel: Kernel, record: Callable[[int], None] | None
) -> Scales:
    """Maximise evidence times prior over the scales by L-BFGS."""
    image = np.asarray(data.design @ _spread(nodes, MEDIANS))
    size = np.log(abs(image @ np.asarray(data.observed)) / (image @ image))
    start = np.array(MEDIANS._replace(size=float(size)))

    @jax.jit
    def objective(values: Array, data: LinearData) -> tuple[Array, Array]:
        def cost(values: Array) -> Array:
            away = (values - start) / jnp.array(WIDTHS)
            return 0.5 * away @ away - log_evidence(data, nodes, Scales(*values), kernel)

        return jax.value_and_grad(cost)(values)

    count = 0

    def evaluate(values: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal count
        count += 1
        value, gradient = objective(jnp.asarray(values), data)
        if record is not None:
            record(count)
        if not np.isfinite(value):  # the covariance was singular to rounding: step back
            return 1e300, np.zeros_like(values)
        return float(value), np.asarray(gradient)

    bounds = [(v - 4.0, v + 4.0) for v in start]
    options = {"maxiter": STEPS, "ftol": 1e-7}
    best = minimize(evaluate, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return Scales(*(float(v) for v in best))
