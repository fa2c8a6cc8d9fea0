"""Fit a network's near-detector density to the observed one (the loss of `near_problem`).

By Gauss-Newton, or as arXiv:2412.16303 does it by Adam, with or without a quasi-Newton finish.
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

from bayesxs.learning.gauss_newton import gauss_newton_step, initial_damping
from bayesxs.learning.near_problem import NearProblem, near_loss, node_values
from bayesxs.learning.network import Network
from bayesxs.storage.checkpoint import flatten, restore
from bayesxs.types import Floats

# Gauss-Newton steps, but half of all at most, that fit counts by least squares before the others
# maximise their likelihood: far from the minimum the likelihood's weights of bins that hold next to
# nothing change from step to step, and lead some initial weights into a poor minimum
ROUGH_STEPS = 7

type Phase = Literal["gauss_newton", "adam", "lbfgs"]


@dataclass(frozen=True)
class Schedule:
    """Settings of a training: steps and optimisers.

    Attributes:
        adam_steps: full-batch Adam steps.
        learning_rate: of Adam.
        lbfgs_steps: quasi-Newton steps that follow.
        anchor: what the loss adds per squared change of a weight since its initial value.
        memory: past steps that L-BFGS remembers.
        record_every: Adam or quasi-Newton steps between records (and checkpoints).
        gauss_newton_steps: Gauss-Newton steps, which precede the others.
        record_often: Gauss-Newton steps between records.

    Example:
        >>> bayesxs.Schedule(adam_steps=100, lbfgs_steps=400).steps
        500
    """

    adam_steps: int = 500
    learning_rate: float = 1e-3
    lbfgs_steps: int = 5000
    anchor: float = 0.0
    memory: int = 50
    record_every: int = 250
    gauss_newton_steps: int = 0
    record_often: int = 10

    @property
    def phases(self) -> tuple[tuple[Phase, int], ...]:
        """Methods with their numbers of steps, in order."""
        return (
            ("gauss_newton", self.gauss_newton_steps),
            ("adam", self.adam_steps),
            ("lbfgs", self.lbfgs_steps),
        )

    @property
    def steps(self) -> int:
        """Number of steps of all methods."""
        return sum(steps for _, steps in self.phases)


class Progress(NamedTuple):
    """State between two records: enough to go on exactly as if nothing had happened."""

    step: Array
    params: Any
    optimizer: Any
    best_loss: Array
    best: Any


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
    resume: dict[str, Floats] | None = None,
    record: Callable[[int, float, Network, dict[str, Floats]], None] | None = None,
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
    resume: dict[str, Floats] | None = None,
    record: Callable[[int, Floats, list[Network], dict[str, Floats]], None] | None = None,
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
    resume: dict[str, Floats] | None,
    told: Callable[[Progress, Array], None],
) -> Progress:
    """Go through the phases of a schedule, from a checkpoint if there is one."""
    reached = 0 if resume is None else int(np.max(resume["step"]))
    weights, lowest = task.initial, None
    end = 0
    progress: Progress | None = None
    for phase, steps in schedule.phases:
        begin, end = end, end + steps
        every = schedule.record_often if phase == "gauss_newton" else schedule.record_every
        if reached > end:  # a later phase holds the checkpoint
            continue
        if steps:  # pieces alike, where they can be: each length is a program of its own
            every = -(-steps // -(-steps // every))
        progress = initial(task, weights, begin, lowest, schedule, phase)
        if resume is not None and begin < reached:
            progress = restore(progress, resume)
        while (step := int(np.max(progress.step))) < end:
            count = min(every, end - step)
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
    if phase == "gauss_newton":
        state = initial_damping(task.problem.target.dtype)
    else:
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
    if phase == "gauss_newton":
        return _gauss_newton_steps(task, progress, graph, schedule, count)
    optimizer = _optimizer(schedule, phase)

    def loss(weights: Any) -> Array:
        return _objective(weights, task, graph, schedule)

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


def _objective(weights: Any, task: _Task, graph: Any, schedule: Schedule) -> Array:
    """Return the loss with the anchor's part."""
    value = near_loss(nnx.merge(graph, weights, task.rest), task.problem)
    if schedule.anchor:
        changes = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), weights, task.initial)
        value += schedule.anchor * jax.tree.reduce(jnp.add, changes)
    return value


def _gauss_newton_steps(
    task: _Task, progress: Progress, graph: Any, schedule: Schedule, count: int
) -> tuple[Progress, Array]:
    rough_steps = min(ROUGH_STEPS, schedule.gauss_newton_steps // 2)
    counted = task.problem.counts is not None
    fresh = initial_damping(task.problem.target.dtype)

    def step(now: Progress, _: None) -> tuple[Progress, Array]:
        damping = now.optimizer
        if counted:  # a new loss, a new start
            damping = jax.tree.map(partial(jnp.where, now.step == rough_steps), fresh, damping)
        weights, damping, value = gauss_newton_step(
            now.params,
            damping,
            task.problem,
            graph,
            task.rest,
            task.initial,
            schedule.anchor,
            now.step < rough_steps if counted else None,
        )
        if counted:  # while the steps are rough they lower another one
            value = _objective(weights, task, graph, schedule)
        return Progress(now.step + 1, weights, damping, value, weights), value

    # Accelerators would round single precision to ten bits
    with jax.default_matmul_precision("highest"):
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
    """Return the network with unit near-detector rate, which fixes its size and its sign.

    Of several samples it is that of the first one.
    """
    network = nnx.clone(network)  # split and merge would share its variables with the caller's
    total = jnp.atleast_2d(problem.total)[0]
    rate = total @ node_values(network, problem).astype(total.dtype)
    network.scale[...] = network.scale[...] / rate.astype(network.scale[...].dtype)
    return network
