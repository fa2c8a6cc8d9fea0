"""Fit a network's near-detector density to the observed one: Adam, then a quasi-Newton finish.

For expected data the loss is the squared error of the normalised density,
||D (K w / sum(K w) - p)||^2, with w the network on the nodes; for a finite number of events it is
the multinomial deviance, or chi-square. K is dense and projected on the row combinations that
structure functions can reach, which is exact for the gradient to the accuracy of the projection
(see `near_problem`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.scipy.special import xlogy
from numpy.typing import ArrayLike
from scipy import sparse

from bayesxs.checkpoint import flatten, restore
from bayesxs.detector.grid import Float, NodeGrid
from bayesxs.learning.network import Network

type Loss = Literal["relative", "uniform", "multinomial", "chi_square"]

# Smallest density of a bin, over the sum of all, that the multinomial loss takes the logarithm of
DENSITY_FLOOR = 1e-12


class NearProblem(NamedTuple):
    """Everything a training step reads.

    Attributes:
        x: Bjorken x of the active nodes, shape (n,).
        q2: Q^2 of the active nodes in GeV^2, shape (n,).
        matrix: projected, weighted near-detector operator, shape (r, 3 n).
        total: column sums of the unweighted operator, shape (3 n,).
        target: projected, weighted observed density, shape (r,).
        lift: takes a projected density back to the bins, shape (rows, r); None but for counts.
        counts: observed events in the bins over their sum, shape (rows,); None but for counts.
    """

    x: Array
    q2: Array
    matrix: Array
    total: Array
    target: Array
    lift: Array | None = None
    counts: Array | None = None


@dataclass(frozen=True)
class Schedule:
    """How long to train, and how.

    Attributes:
        adam_steps: full-batch Adam steps.
        learning_rate: of Adam.
        lbfgs_steps: quasi-Newton steps that follow.
        anchor: what the loss adds per squared change of a weight since its initial value.
        memory: past steps that L-BFGS remembers.
        record_every: steps between records (and checkpoints).
    """

    adam_steps: int = 500
    learning_rate: float = 1e-3
    lbfgs_steps: int = 5000
    anchor: float = 0.0
    memory: int = 50
    record_every: int = 250


class Progress(NamedTuple):
    """State between two records: enough to go on exactly as if nothing had happened."""

    step: Array
    params: Any
    optimizer: Any
    best_loss: Array
    best: Any


def near_problem(
    matrix: sparse.csr_array,
    observed: ArrayLike,
    nodes: NodeGrid,
    *,
    loss: Loss = "relative",
    floor: float = 0.02,
    rank: int | None = 700,
    smoothing: float = 2.0,
) -> NearProblem:
    """Weight, project and densify the near-detector operator.

    Rows are weighted by 1/(p + floor p_max), so that the loss also sees small densities, not at all
    ("uniform"), or by 1/sqrt(max(n, 1)) for counts n ("chi_square"). Projection: the weighted K is
    applied to `rank` random functions on the nodes, Gaussian-smooth over `smoothing` node spacings,
    and the rows are projected on the space that these images and the observed density span.
    Functions that the nodes resolve lie in it to about 1e-5; the part of the data outside is a
    constant of a quadratic loss.

    Args:
        matrix: K of `Operator.near_matrix`, shape (rows, 3 n_nodes).
        observed: near density, any normalisation, or counts, shape (rows,).
        nodes: the nodes.
        loss: "relative" and "uniform" for expected data, the others for counts.
        floor: relative floor of the weights.
        rank: random functions; None keeps every row.
        smoothing: correlation length of the random functions in node spacings.
    """
    observed = np.asarray(observed, dtype=float)
    seen = np.nonzero(np.diff(matrix.indptr))[0]
    active = np.unique(matrix.indices // 3)
    columns = (3 * active[:, None] + np.arange(3)).ravel()
    dense = matrix[seen][:, columns].toarray()
    p = observed[seen] / observed[seen].sum()
    total = dense.sum(axis=0)
    scale = np.abs(total).max()  # keeps the numbers near one, for float32's sake
    dense, total = dense / scale, total / scale
    if loss == "uniform":
        weights = np.ones_like(p)
    elif loss == "chi_square":
        weights = 1.0 / np.sqrt(np.maximum(observed[seen], 1.0))
    else:
        weights = 1.0 / (p + floor * p.max())
    weights /= np.linalg.norm(weights * p)
    dense *= weights[:, None]
    target = weights * p
    basis = None
    if rank is not None and rank < len(seen):
        images = dense @ smooth_functions(nodes, active, rank, smoothing)
        basis, _ = np.linalg.qr(np.column_stack([target, images]))
        dense, target = basis.T @ dense, basis.T @ target
    lift = counts = None
    if loss == "multinomial":
        lift = jnp.asarray((np.eye(len(seen)) if basis is None else basis) / weights[:, None])
        counts = jnp.asarray(p)
    arrays = (nodes.x[active], nodes.q2[active], dense, total, target)
    x, q2, operator, sums, goal = (jnp.asarray(a) for a in arrays)
    return NearProblem(x, q2, operator, sums, goal, lift, counts)


def smooth_functions(nodes: NodeGrid, active: np.ndarray, number: int, smoothing: float) -> Float:
    """Return random smooth structure functions on the active nodes, shape (3 n_active, number)."""

    def kernel(n: int) -> Float:
        distance = np.subtract.outer(np.arange(n), np.arange(n)) / smoothing
        return np.exp(-0.5 * distance**2)

    rng = np.random.default_rng(0)  # a fixed basis: it defines the loss, not a sample
    noise = rng.standard_normal((number * 3, len(nodes.u), len(nodes.v)))
    smooth = kernel(len(nodes.u)) @ noise @ kernel(len(nodes.v))
    smooth = smooth.reshape(number, 3, -1)[:, :, active]
    x, q2 = nodes.x[active], nodes.q2[active]
    smooth *= ((1.0 - x) ** 2 + 3e-3) * q2 / (q2 + 0.7)  # the size that cross sections have
    return np.ascontiguousarray(smooth.transpose(2, 1, 0).reshape(3 * len(active), number))


def near_loss(network: Network, problem: NearProblem) -> Array:
    """Return the distance of a network's near density p from the observed one p_obs.

    ||D (p - p_obs)||^2 / ||D p_obs||^2, or for counts 2 sum p_obs log(p_obs/p), the multinomial
    deviance per event.
    """
    w = network(problem.x, problem.q2).ravel()
    density = problem.matrix @ w / (problem.total @ w)
    if problem.lift is None or problem.counts is None:
        residual = density - problem.target
        return residual @ residual
    observed = problem.counts
    # The projection's error may reach below zero beside bins that hold next to nothing
    p = jnp.maximum(problem.lift @ density, DENSITY_FLOOR)
    return 2.0 * jnp.sum(xlogy(observed, observed) - observed * jnp.log(p))


class _Task(NamedTuple):
    """The constants of a training: data, initial weights, the rest of it."""

    problem: NearProblem
    initial: Any
    rest: Any


def train(
    network: Network,
    problem: NearProblem,
    schedule: Schedule,
    *,
    resume: dict[str, Float] | None = None,
    record: Callable[[int, float, Network, dict[str, Float]], None] | None = None,
) -> Network:
    """Minimise the near-detector loss and return the best network seen, its scale and sign fixed.

    Deterministic: the same network, problem and schedule give the same weights, also when the run
    was interrupted and resumed from a checkpoint.

    Args:
        network: initial network (left unchanged).
        problem: from `near_problem`.
        schedule: steps and optimisers.
        resume: checkpoint of an interrupted run of the same problem.
        record: called as record(step, loss, best network, checkpoint) every `record_every` steps.

    Raises:
        FloatingPointError: the loss became NaN or infinite.
    """
    graph, task = _task(network, problem)

    def told(progress: Progress, losses: Array) -> None:
        if record is not None:
            best = _network(graph, task, progress.best)
            record(int(progress.step), float(losses), best, flatten(progress))

    progress = _descend(task, graph, schedule, _advance, _initial, resume, told)
    return _network(graph, task, progress.best)


def train_together(
    networks: Sequence[Network],
    problems: Sequence[NearProblem],
    schedule: Schedule,
    *,
    resume: dict[str, Float] | None = None,
    record: Callable[[int, Float, list[Network], dict[str, Float]], None] | None = None,
) -> list[Network]:
    """Train networks of one architecture side by side, as one vectorised computation.

    Each is trained as `train` does it, to rounding. Every step lasts as long as the longest line
    search among them: of use where an accelerator would idle with a single network.

    Args:
        networks: initial networks.
        problems: one for each network, of the same shapes.
        schedule: steps and optimisers.
        resume: checkpoint of an interrupted run of the same problems.
        record: called as record(step, losses, best networks, checkpoint).

    Raises:
        FloatingPointError: a loss became NaN or infinite.
    """
    pairs = [_task(n, p) for n, p in zip(networks, problems, strict=True)]
    graph, tasks = pairs[0][0], [task for _, task in pairs]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *tasks)

    def apart(progress: Progress) -> list[Network]:
        return [
            _network(graph, task, jax.tree.map(lambda leaf, i=i: leaf[i], progress.best))
            for i, task in enumerate(tasks)
        ]

    def told(progress: Progress, losses: Array) -> None:
        if record is not None:
            step = int(progress.step[0])
            record(step, np.asarray(losses), apart(progress), flatten(progress))

    progress = _descend(
        stacked, graph, schedule, _advance_together, _initial_together, resume, told
    )
    return apart(progress)


def _task(network: Network, problem: NearProblem) -> tuple[Any, _Task]:
    dtype = network.architecture.precision
    problem = jax.tree.map(lambda a: a.astype(dtype), problem)
    # The stub of split counts its results only where no filter is given
    graph, params, rest = nnx.split(network, nnx.Param, ...)  # type: ignore[misc]
    return graph, _Task(problem, params, rest)


def _network(graph: Any, task: _Task, weights: Any) -> Network:
    return normalized(nnx.merge(graph, weights, task.rest), task.problem)


def _descend(
    task: _Task,
    graph: Any,
    schedule: Schedule,
    advance: Callable[..., tuple[Progress, Array]],
    initial: Callable[..., Progress],
    resume: dict[str, Float] | None,
    told: Callable[[Progress, Array], None],
) -> Progress:
    """Go through the phases of a schedule, from a checkpoint if there is one."""
    reached = 0 if resume is None else int(np.max(resume["step"]))
    weights, lowest = task.initial, None
    end = 0
    progress: Progress | None = None
    for phase, steps in (("adam", schedule.adam_steps), ("lbfgs", schedule.lbfgs_steps)):
        begin, end = end, end + steps
        if reached > end:  # a later phase holds the checkpoint
            continue
        progress = initial(task, weights, begin, lowest, schedule, phase)
        if resume is not None and begin < reached:
            progress = restore(progress, resume)
        while (step := int(np.max(progress.step))) < end:
            count = min(schedule.record_every, end - step)
            progress, losses = advance(task, progress, graph, schedule, phase, count)
            if not (jnp.isfinite(progress.best_loss).all() and jnp.isfinite(losses).all()):
                step = int(np.max(progress.step))
                raise FloatingPointError(f"training loss is not finite after step {step}")
            told(progress, losses)
        weights, lowest = progress.best, progress.best_loss
    assert progress is not None
    return progress


def _optimizer(schedule: Schedule, phase: str) -> optax.GradientTransformationExtraArgs:
    if phase == "adam":
        return optax.with_extra_args_support(optax.adam(schedule.learning_rate))
    linesearch = optax.scale_by_zoom_linesearch(
        max_linesearch_steps=20, initial_guess_strategy="one"
    )
    return optax.lbfgs(memory_size=schedule.memory, linesearch=linesearch)


def _initial(
    task: _Task, weights: Any, step: int, lowest: Array | None, schedule: Schedule, phase: str
) -> Progress:
    """Start a phase from the best weights of the one before."""
    if lowest is None:
        lowest = jnp.array(jnp.inf, task.problem.target.dtype)
    state = _optimizer(schedule, phase).init(weights)
    return Progress(jnp.array(step), weights, state, lowest, weights)


def _initial_together(
    task: _Task, weights: Any, step: int, lowest: Array | None, schedule: Schedule, phase: str
) -> Progress:
    def one(task: _Task, weights: Any, lowest: Array | None) -> Progress:
        return _initial(task, weights, step, lowest, schedule, phase)

    return jax.vmap(one)(task, weights, lowest)


def _steps(
    task: _Task, progress: Progress, graph: Any, schedule: Schedule, phase: str, count: int
) -> tuple[Progress, Array]:
    """Take `count` steps, keep the weights with the lowest loss seen; return the last loss too."""
    optimizer = _optimizer(schedule, phase)

    def loss(weights: Any) -> Array:
        value = near_loss(nnx.merge(graph, weights, task.rest), task.problem)
        if schedule.anchor:
            changes = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), weights, task.initial)
            value += schedule.anchor * jax.tree.reduce(jnp.add, changes)
        return value

    # The line search leaves value and gradient of its last point in the state
    value_and_grad = optax.value_and_grad_from_state(loss)

    def step(now: Progress, _: None) -> tuple[Progress, Array]:
        if phase == "adam":
            value, gradient = jax.value_and_grad(loss)(now.params)
            updates, state = optimizer.update(gradient, now.optimizer)
        else:
            value, gradient = value_and_grad(now.params, state=now.optimizer)
            updates, state = optimizer.update(
                gradient, now.optimizer, now.params, value=value, grad=gradient, value_fn=loss
            )
        better = value < now.best_loss
        best = jax.tree.map(partial(jnp.where, better), now.params, now.best)
        lowest = jnp.where(better, value, now.best_loss)
        params = optax.apply_updates(now.params, updates)
        return Progress(now.step + 1, params, state, lowest, best), value

    progress, values = jax.lax.scan(step, progress, None, length=count)
    return progress, values[-1]


# What is compiled serves every network of an architecture
_STATIC = ("graph", "schedule", "phase", "count")
_advance = jax.jit(_steps, static_argnames=_STATIC)


@partial(jax.jit, static_argnames=_STATIC)
def _advance_together(
    task: _Task, progress: Progress, graph: Any, schedule: Schedule, phase: str, count: int
) -> tuple[Progress, Array]:
    return jax.vmap(lambda t, p: _steps(t, p, graph, schedule, phase, count))(task, progress)


def normalized(network: Network, problem: NearProblem) -> Network:
    """Return the network with unit near-detector rate, which fixes its size and its sign."""
    network = nnx.clone(network)  # split and merge would share its variables with the caller's
    rate = problem.total @ network(problem.x, problem.q2).ravel().astype(problem.total.dtype)
    network.scale[...] = network.scale[...] / rate.astype(network.scale[...].dtype)
    return network
