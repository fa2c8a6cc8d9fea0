"""Training by Gauss-Newton in data space: the Levenberg-Marquardt method for few data.

A network has thousands of weights, its projected near density a few hundred components. Where the
density is d + J delta for a change delta of the weights, and the loss is l + 2 r.(J delta) +
|J delta|^2 with J and r whitened by the loss's curvature in d, a step minimises

    |r + J delta|^2 + a |theta - theta_0 + delta|^2 + lambda |delta|^2,

    delta = -J^T (J J^T + mu)^-1 (r - J v/mu) - v/mu,   mu = a + lambda,   v = a (theta - theta_0),

which asks for the solution of a system as large as the data only. lambda follows the agreement of
the loss with that quadratic (Nielsen, IMM-REP-1999-05). The second derivative along delta bends the
step (geodesic acceleration; Transtrum and Sethna, arXiv:1201.5885): it halves the number of steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.linalg import cho_factor, cho_solve, solve_triangular

from bayesxs.learning.near_problem import (
    NearProblem,
    density_floor,
    density_loss,
    near_density,
    node_values,
    squared_error,
)
from bayesxs.learning.network import create_network

# lambda at the start, over the mean of the diagonal of J J^T
START = 1e-2

# Trials of lambda in one step, at most
TRIALS = 12

# Part of the promised fall of the loss that a step must bring
ENOUGH = 1e-3

# Largest acceleration over the step that it bends
BEND = 0.75

# Rows of the Jacobian made at once: few, so that they stay in the processor's caches
ROWS = 8

# Smallest curvature of the loss in any direction of the density, over the mean
JITTER = 1e-10


class Damping(NamedTuple):
    """lambda over the mean of the diagonal of J J^T, and its factor after a refusal."""

    size: Array
    growth: Array


def initial_damping(dtype: Any) -> Damping:
    """Return the damping of the first step."""
    return Damping(jnp.array(START, dtype), jnp.array(2.0, dtype))


class _Local(NamedTuple):
    """The loss around the weights: l + 2 r.(J delta) + |J delta|^2.

    Attributes:
        residual: r, whitened, shape (r,).
        jacobian: J, whitened, in single precision, shape (r, weights).
        gram: J J^T, shape (r, r).
        factor: L with L L^T half the loss's second derivative in the density; None for the unit
            matrix.
    """

    residual: Array
    jacobian: Array
    gram: Array
    factor: Array | None


class _Trial(NamedTuple):
    """A step that was tried."""

    weights: Array
    loss: Array
    damping: Damping
    accepted: Array
    trials: Array


def gauss_newton_step(
    weights: Any,
    damping: Damping,
    problem: NearProblem,
    graph: Any,
    rest: Any,
    initial: Any,
    anchor: float,
    rough: Array | None = None,
) -> tuple[Any, Damping, Array]:
    """Take one step, by the first lambda of at most TRIALS that lowers the loss.

    Args:
        weights: of the network.
        damping: from the step before, or `initial_damping`.
        problem: data.
        graph: structure of the network, as `nnx.split` gives it.
        rest: variables that are no weights.
        initial: weights that the anchor holds to.
        anchor: what the loss adds per squared change of a weight since its initial value.
        rough: whether, for counts, the squared error of the density is the loss in place of the
            deviance, shape (); no if None.

    Returns:
        Weights, damping, and the loss at the weights. Where no trial lowers the loss the weights
        are those given.
    """
    start, unravel = ravel_pytree(weights)
    origin, _ = ravel_pytree(initial)

    def density(theta: Array) -> Array:
        return near_density(nnx.merge(graph, unravel(theta), rest), problem)

    def loss(theta: Array) -> Array:
        value = _density_loss(density(theta), problem, rough)
        return value + anchor * jnp.sum((theta - origin) ** 2)

    local = _linearized(start, density(start), problem, nnx.merge(graph, weights, rest), rough)
    here = loss(start)
    mean = jnp.trace(local.gram) / len(local.gram)
    pull = anchor * (start - origin)

    def trial(last: _Trial) -> _Trial:
        damped = last.damping.size * mean
        mu = anchor + damped
        system = cho_factor(local.gram + mu * jnp.eye(len(local.gram)), lower=True)

        def back(residual: Array) -> Array:  # -J^T (J J^T + mu)^-1 residual
            return -(cho_solve(system, residual) @ local.jacobian)

        delta = back(local.residual - local.jacobian @ pull / mu) - pull / mu
        bend = 0.5 * back(_whitened(local, _second_derivative(density, start, delta)))
        short = jnp.linalg.norm(bend) < BEND * jnp.linalg.norm(delta)
        theta = start + delta + jnp.where(short, bend, 0.0)
        change = local.jacobian @ delta
        promised = -(
            2.0 * local.residual @ change
            + change @ change
            + 2.0 * pull @ delta
            + anchor * delta @ delta
        )
        value = loss(theta)
        gain = (here - value) / promised
        accepted = (gain > ENOUGH) & (promised > 0.0)
        smaller = jnp.maximum(0.1, 1.0 - (2.0 * gain - 1.0) ** 3)
        size, growth = last.damping
        damping = Damping(
            jnp.where(accepted, size * jnp.minimum(smaller, 2.0), size * growth),
            jnp.where(accepted, 2.0, 2.0 * growth),
        )
        return _Trial(
            jnp.where(accepted, theta, start),
            jnp.where(accepted, value, here),
            damping,
            accepted,
            last.trials + 1,
        )

    def refused(last: _Trial) -> Array:
        return ~last.accepted & (last.trials < TRIALS)

    damping = damping._replace(growth=jnp.full_like(damping.growth, 2.0))
    begin = _Trial(start, here, damping, jnp.array(False), jnp.array(0))
    end = jax.lax.while_loop(refused, trial, begin)
    return unravel(end.weights), end.damping, end.loss


def _density_loss(density: Array, problem: NearProblem, rough: Array | None) -> Array:
    """Return the loss, or the squared error of the density where `rough` says so."""
    value = density_loss(density, problem)
    if rough is None or problem.counts is None:
        return value
    return jnp.where(rough, squared_error(density, problem), value)


def _linearized(
    theta: Array, density: Array, problem: NearProblem, network: Any, rough: Array | None
) -> _Local:
    """Expand density and loss around the weights."""
    slope = jax.grad(_density_loss)(density, problem, rough) / 2.0
    rows = _density_by_nodes(network, density, problem)
    factor = None
    if problem.lift is None or problem.counts is None:
        residual = slope
    else:
        p = problem.lift @ density
        smallest = density_floor(problem.counts, problem.least)
        weight = 1.0 / jnp.maximum(jnp.maximum(p, problem.counts), smallest)
        curvature = (problem.lift.T * weight) @ problem.lift
        jitter = JITTER * jnp.trace(curvature) / len(curvature)
        unit = jnp.eye(len(curvature))
        factor = jnp.linalg.cholesky(curvature + jitter * unit)
        if rough is not None:
            factor = jnp.where(rough, unit, factor)
        residual = solve_triangular(factor, slope, lower=True)
        rows = factor.T @ rows
    jacobian = _by_weights(theta, rows, problem, network).astype(theta.dtype)
    gram = jacobian @ jacobian.T
    return _Local(residual, jacobian, gram, factor)


def _density_by_nodes(network: Any, density: Array, problem: NearProblem) -> Array:
    """Differentiate the density by the structure functions on the nodes, shape (r, 3 n)."""
    rate = problem.total @ node_values(network, problem)
    return (problem.matrix - density[:, None] * problem.total) / rate[..., None]


def _by_weights(theta: Array, rows: Array, problem: NearProblem, network: Any) -> Array:
    """Pull derivatives by the nodes back to the weights, in single precision, (r, weights).

    Single precision suffices: an error of J turns a step, and the loss judges it.
    """
    single = replace(network.architecture, precision="float32")
    graph, like, rest = nnx.split(
        create_network(single, jax.random.key(0), network.lepton), nnx.Param, ...
    )  # type: ignore[misc]
    _, unravel = ravel_pytree(like)
    points = jax.tree.map(lambda a: a.astype(jnp.float32), (problem.x, problem.q2, problem.mass))
    where = problem._replace(x=points[0], q2=points[1], mass=points[2])

    def nodes(flat: Array) -> Array:
        scale = network.scale[...].astype(jnp.float32)
        return scale * node_values(nnx.merge(graph, unravel(flat), rest), where)

    _, back = jax.vjp(nodes, theta.astype(jnp.float32))
    return jax.lax.map(lambda row: back(row)[0], rows.astype(jnp.float32), batch_size=ROWS)


def _second_derivative(function: Callable[[Array], Array], at: Array, along: Array) -> Array:
    """Return d^2 function(at + t along) / dt^2 at t = 0."""

    def first(theta: Array) -> Array:
        return jax.jvp(function, (theta,), (along,))[1]

    return jax.jvp(first, (at,), (along,))[1]


def _whitened(local: _Local, density: Array) -> Array:
    return density if local.factor is None else local.factor.T @ density
