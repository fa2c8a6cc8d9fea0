"""Gauss-Newton: its step solves the damped normal equations, and training by it can be trusted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree
from scipy.special import xlogy

from bayesxs.learning.gauss_newton import BEND, Damping, gauss_newton_step, initial_damping
from bayesxs.learning.near_problem import NearProblem, density_loss, near_density, near_problem
from bayesxs.learning.network import Architecture, Network, create_network, network_arrays
from bayesxs.learning.training import ROUGH_STEPS, Schedule, train, train_together

# Fewer weights (171) than the data have components, or more (435)
FEW, MANY = Architecture(layers=2, width=8), Architecture(layers=2, width=16)
SCHEDULE = Schedule(0, 1e-3, 0, gauss_newton_steps=24, record_often=8)


@pytest.fixture(scope="module")
def matrix(operator, near_flux):
    return operator.near_matrix(near_flux)


@pytest.fixture(scope="module")
def expected_data(matrix, observed, nodes) -> NearProblem:
    return near_problem(matrix, observed, nodes, rank=60)


@pytest.fixture(scope="module")
def counted(matrix, observed, nodes) -> NearProblem:
    """Counts of 200 000 events."""
    mean = 200_000 * observed / observed.sum()
    counts = np.random.default_rng(0).poisson(mean).astype(float)
    return near_problem(matrix, counts, nodes, loss="multinomial", rank=60)


@pytest.fixture(params=["expected_data", "counted"])
def problem(request: pytest.FixtureRequest) -> NearProblem:
    return request.getfixturevalue(request.param)


def normal_equations(
    function: Any, theta: jax.Array, problem: NearProblem, origin: jax.Array, a: float, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Solve (J^T H J + mu) delta = -J^T g/2 - v in the space of the weights, and bend the step."""
    jacobian = np.asarray(jax.jacfwd(function)(theta))
    density = function(theta)
    slope = np.asarray(jax.grad(density_loss)(density, problem)) / 2.0
    if problem.lift is None:
        metric = np.eye(len(slope))
    else:  # Fisher's information of a multinomial, n/p^2 where p exceeds n; half an event at least
        lift, counts = np.asarray(problem.lift), np.asarray(problem.counts)
        least = np.maximum(counts, 0.5 * counts[counts > 0].min())
        weight = 1.0 / np.maximum(lift @ np.asarray(density), least)
        metric = lift.T @ (weight[:, None] * lift)
    mean = np.trace(metric @ jacobian @ jacobian.T) / len(slope)
    damped = jacobian.T @ metric @ jacobian + (a + size * mean) * np.eye(len(theta))
    pull = a * np.asarray(theta - origin)
    delta = -np.linalg.solve(damped, jacobian.T @ slope + pull)

    def along(t: jax.Array) -> jax.Array:
        return function(theta + t * delta)

    curvature = np.asarray(jax.jacfwd(jax.jacfwd(along))(0.0))
    bend = -0.5 * np.linalg.solve(damped, jacobian.T @ metric @ curvature)
    return delta, bend


# Each architecture, and each loss with and without an anchor
@pytest.mark.parametrize(
    ("name", "architecture", "anchor"),
    [
        ("expected_data", FEW, 0.0),
        ("expected_data", MANY, 0.3),
        ("counted", MANY, 0.3),
        ("counted", replace(FEW, head="positive"), 0.0),
    ],
    ids=["expected, few, free", "expected, many", "counted, many", "counted, other head"],
)
def test_a_step_solves_the_damped_normal_equations(request, name, architecture, anchor):
    problem: NearProblem = request.getfixturevalue(name)
    graph, weights, rest = nnx.split(
        create_network(architecture, jax.random.key(3)), nnx.Param, ...
    )
    _, initial, _ = nnx.split(create_network(architecture, jax.random.key(4)), nnx.Param, ...)
    theta, unravel = ravel_pytree(weights)
    origin, _ = ravel_pytree(initial)

    def density(flat: jax.Array) -> jax.Array:
        return near_density(nnx.merge(graph, unravel(flat), rest), problem)

    size = 30.0  # damped enough for the first trial to be accepted
    damping = Damping(jnp.array(size), jnp.array(2.0))
    step = jax.jit(gauss_newton_step, static_argnums=(3, 6))
    moved, _, loss = step(weights, damping, problem, graph, rest, initial, anchor)
    found = ravel_pytree(moved)[0] - theta
    # One program in place of one for each operation of each derivative
    delta, bend = normal_equations(jax.jit(density), theta, problem, origin, anchor, size)
    assert np.linalg.norm(bend) < BEND * np.linalg.norm(delta)
    # The Jacobian is of single precision
    error = np.linalg.norm(found - (delta + bend))
    assert error < 1e-4 * np.linalg.norm(delta)
    assert np.linalg.norm(bend) > 10.0 * error
    away = anchor * np.sum((theta + found - origin) ** 2)
    np.testing.assert_allclose(loss, density_loss(density(theta + found), problem) + away)


def test_small_singular_values_are_kept(expected_data):
    """Long training needs J J^T in double precision: single loses what is below 1e-7 of all.

    With almost no damping a step reaches every direction of the data, so that a loss that is
    quadratic in the weights so near its minimum is gone after one step.
    """
    network = create_network(MANY, jax.random.key(5))
    own = expected_data._replace(target=near_density(network, expected_data))
    graph, weights, rest = nnx.split(network, nnx.Param, ...)
    flat, unravel = ravel_pytree(weights)
    near = unravel(flat + 1e-5 * jax.random.normal(jax.random.key(6), flat.shape))
    start = density_loss(near_density(nnx.merge(graph, near, rest), own), own)
    damping = Damping(jnp.array(1e-10), jnp.array(2.0))
    step = jax.jit(gauss_newton_step, static_argnums=(3, 6))
    _, _, loss = step(near, damping, own, graph, rest, near, 0.0)
    assert loss < 1e-6 * start


def test_steps_never_raise_the_loss(problem):
    losses: list[float] = []
    often = Schedule(0, 1e-3, 0, gauss_newton_steps=24, record_often=1)
    start = create_network(MANY, jax.random.key(0))
    train(start, problem, often, record=lambda step, loss, *_: losses.append(loss))
    assert len(losses) == 24
    begin = 0 if problem.counts is None else ROUGH_STEPS  # which lower the squared error
    assert losses[begin:] == sorted(losses[begin:], reverse=True)


def test_gauss_newton_ends_below_many_more_quasi_newton_steps(expected_data):
    def end(schedule: Schedule) -> float:
        network = train(create_network(MANY, jax.random.key(0)), expected_data, schedule)
        return float(density_loss(near_density(network, expected_data), expected_data))

    assert end(SCHEDULE) < end(Schedule(40, 3e-3, 200, record_every=100))


def test_a_network_at_the_minimum_stays(expected_data):
    # Data that the network itself made: no step can lower a loss of zero
    network = create_network(FEW, jax.random.key(5))
    own = expected_data._replace(target=near_density(network, expected_data))
    graph, weights, rest = nnx.split(network, nnx.Param, ...)
    damping = initial_damping(own.target.dtype)
    step = jax.jit(gauss_newton_step, static_argnums=(3, 6))
    moved, grown, loss = step(weights, damping, own, graph, rest, weights, 0.0)
    assert loss == pytest.approx(0.0, abs=1e-28)
    for before, after in zip(jax.tree.leaves(weights), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-12)
    assert grown.size > damping.size


def bits(network: Network) -> list[bytes]:
    return [array.tobytes() for array in network_arrays(network).values()]


def test_a_resumed_run_ends_with_the_same_bits(counted):
    kept: list[dict[str, np.ndarray]] = []
    start = create_network(MANY, jax.random.key(0))
    whole = train(start, counted, SCHEDULE, record=lambda *arguments: kept.append(arguments[3]))
    for checkpoint in kept[:2]:
        assert bits(train(start, counted, SCHEDULE, resume=checkpoint)) == bits(whole)


def test_networks_trained_together_are_those_trained_alone(expected_data):
    """To the rounding of single precision, which many steps would amplify: hence few."""
    short = Schedule(0, 1e-3, 0, anchor=1e-4, gauss_newton_steps=4)
    starts = [create_network(FEW, jax.random.key(seed)) for seed in range(3)]
    together = train_together(starts, [expected_data] * 3, short)
    for start, end in zip(starts, together, strict=True):
        alone = network_arrays(train(start, expected_data, short))
        for name, value in network_arrays(end).items():
            np.testing.assert_allclose(value, alone[name], rtol=2e-2, atol=2e-3)


def test_counts_are_learned_from_every_start(matrix, observed, nodes):
    """The deviance of 1e7 events is below chi-square's far tail (seven sigma), whatever the start.

    Without steps of least squares before, or with a logarithm that is cut, some starts end far off.
    """
    mean = 1e7 * observed / observed.sum()
    counts = np.random.default_rng(0).poisson(mean).astype(float)
    many = near_problem(matrix, counts, nodes, loss="multinomial", rank=120)
    wide = Architecture(layers=2, width=24)
    schedule = Schedule(0, 1e-3, 0, anchor=4e-7, gauss_newton_steps=14, record_often=7)
    seen = np.diff(matrix.indptr) > 0
    share = counts[seen] / counts.sum()
    for seed in range(4):
        network = train(create_network(wide, jax.random.key(seed)), many, schedule)
        model = matrix[seen] @ np.asarray(network(nodes.x, nodes.q2)).ravel()
        deviance = 2.0 * np.sum(xlogy(counts[seen], share / (model / model.sum())))
        assert deviance < seen.sum() + 7.0 * np.sqrt(2.0 * seen.sum())


def test_pieces_are_alike(counted):
    """Every length of a piece is a program of its own."""
    done: list[int] = []
    uneven = Schedule(0, 1e-3, 0, gauss_newton_steps=14, record_often=10)
    start = create_network(FEW, jax.random.key(0))
    train(start, counted, uneven, record=lambda step, *_: done.append(step))
    assert done == [7, 14]
