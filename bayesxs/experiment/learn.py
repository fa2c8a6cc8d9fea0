"""Networks that learn the structure functions of a target from its near-detector data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import jax
import numpy as np
from scipy import sparse

from bayesxs.detector.grid import NodeGrid
from bayesxs.experiment.near import NearDetector
from bayesxs.experiment.weights import lepton_of
from bayesxs.keys import Purpose, derive, generator
from bayesxs.learning.heads import Lepton
from bayesxs.learning.near_problem import Loss, NearProblem, near_problem
from bayesxs.learning.network import Architecture, Network, create_network
from bayesxs.learning.training import Schedule, train, train_together
from bayesxs.types import Floats as Float

# Random functions that span the projected rows; with the larger number 1e-5 of what the nodes
# resolve is lost. Gauss-Newton, whose cost grows with the rows, ends as near to the truth with the
# smaller one, and the fluctuations of counts hide what more functions would add.
PROJECTION_RANK, SMALL_RANK = 700, 350

# The same where nature has ridges, which take more functions to tell apart
NUCLEAR_RANK = 500

GAUSS_NEWTON = Schedule(adam_steps=0, lbfgs_steps=0, gauss_newton_steps=40)

type Record = Callable[[int, Float, list[Network], dict[str, Float]], None]


@dataclass(frozen=True)
class Training:
    """How networks are fitted to near-detector data.

    Attributes:
        architecture: of the networks; what it leaves open follows the phase space.
        schedule: steps and optimisers.
        members: networks, each from its own initial weights; their mean is used.
        weighting: of a bin of the expected density: one over the density, or 1.
        floor: smallest density in the relative weights, over the largest.
        weight_sd: prior standard deviation of weights about their initial values, where near data
            are counts.
        counted_steps: Gauss-Newton steps at most where near data are counts.

    Example:
        >>> bayesxs.Training(members=8, weighting="uniform").members
        8
    """

    architecture: Architecture = field(default_factory=Architecture)
    schedule: Schedule = GAUSS_NEWTON
    members: int = 1
    weighting: Literal["relative", "uniform"] = "relative"
    floor: float = 0.02
    weight_sd: float = 0.5
    counted_steps: int = 14

    def schedule_for(self, data: TrainingData) -> Schedule:
        """Return the schedule for what is learned from.

        The loss is twice -log L per event, and so is the anchor of the weights. Gauss-Newton is
        soon at the minimum of counts, and then learns their fluctuations; ridges take twice as
        many steps.
        """
        steps = self.schedule.gauss_newton_steps
        if data.x_max > 1.0:
            steps *= 2
        if np.isfinite(data.events):
            steps = min(steps, self.counted_steps)
        return replace(
            self.schedule,
            anchor=1.0 / (self.weight_sd**2 * data.events),
            gauss_newton_steps=steps,
        )


@dataclass(frozen=True)
class TrainingData:
    """Data that the networks of one target learn from; plain arrays, for other processes too.

    Attributes:
        matrix: near-detector bins from values on the nodes, shape (bins, 3 n_nodes).
        observed: in the bins, shape (bins,).
        nodes: the nodes.
        loss: what is minimised.
        floor: smallest density in relative weights, over the largest.
        rank: functions that rows are projected on; None for rows as they are.
        events: counted events, which fluctuate; infinite for the expected density.
        architecture: of the networks, with nothing left open.
        lepton: of the target.
        x_max: upper end of Bjorken x.
    """

    matrix: sparse.csr_array
    observed: Float
    nodes: NodeGrid
    loss: Loss
    floor: float
    rank: int | None
    events: float = field(default=np.inf)
    architecture: Architecture = field(default_factory=Architecture)
    lepton: Lepton = field(default_factory=Lepton)
    x_max: float = 1.0

    @cached_property
    def nominal(self) -> NearProblem:
        """The loss against the data as observed."""
        return self._against(self.observed)

    def problem(self, key: jax.Array, member: int) -> NearProblem:
        """Return what the training of a network of an ensemble minimises.

        Networks after the first one each see a replica of the data, if these are counts.

        Args:
            key: of the replica.
            member: its number.
        """
        if member == 0 or not np.isfinite(self.events):
            return self.nominal
        return self._against(bootstrap_counts(key, self.observed))

    def _against(self, observed: Float) -> NearProblem:
        return near_problem(
            self.matrix, observed, self.nodes, loss=self.loss, floor=self.floor, rank=self.rank
        )


def training_data(near: NearDetector, training: Training) -> TrainingData:
    """Return what the networks of a target learn from."""
    geometry = near.geometry
    kind = training.architecture.suited(geometry.space.x_max)
    # The paper's recipe, in single precision, sees every row as it is
    small = near.source.counted or training.schedule.gauss_newton_steps > 0
    rank = None
    if kind.precision == "float64":
        rank = SMALL_RANK if small else PROJECTION_RANK
        if geometry.space.x_max > 1.0:
            rank = max(rank, NUCLEAR_RANK)
    loss: Loss = training.weighting
    if near.source.counted:
        loss = "chi_square" if kind.head == "unconstrained" else "multinomial"
    return TrainingData(
        near.matrix,
        near.observed,
        geometry.nodes,
        loss,
        training.floor,
        rank,
        near.events,
        kind,
        lepton_of(geometry.target.name),
        geometry.space.x_max,
    )


def bootstrap_counts(key: jax.Array, counts: Float) -> Float:
    """Draw as many events as there are, with replacement."""
    total = counts.sum()  # no integer, of weighted events
    return generator(key).multinomial(round(total), counts / total).astype(float)


def groups(members: int) -> list[range]:
    """Return which networks are trained together: all on an accelerator, each alone on a CPU.

    Side by side, every network waits for the longest line search: a CPU, busy with one already, is
    four times slower per network.
    """
    if jax.default_backend() == "cpu":
        return [range(m, m + 1) for m in range(members)]
    return [range(members)]


def train_group(
    training: Training,
    data: TrainingData,
    seed: int | jax.Array,
    target: int,
    members: Sequence[int],
    resume: dict[str, Float] | None = None,
    record: Record | None = None,
) -> list[Network]:
    """Train some networks of one target, side by side if there are several.

    Args:
        training: how.
        data: of the target.
        seed: or a random key, of all networks.
        target: number of the target.
        members: numbers of the networks. One is the same alone and beside others.
        resume: state of an interrupted training of the same networks.
        record: called with step, losses, best networks and state from time to time.
    """
    plan = training.schedule_for(data)
    networks = [
        create_network(
            data.architecture, derive(seed, Purpose.TRAINING, target, member), data.lepton
        )
        for member in members
    ]
    problems = [
        data.problem(derive(seed, Purpose.REPLICA, target, member), member) for member in members
    ]
    if len(networks) > 1:
        return train_together(networks, problems, plan, resume=resume, record=record)

    def record_one(step: int, loss: float, best: Network, state: dict[str, Float]) -> None:
        if record is not None:
            record(step, np.array([loss]), [best], state)

    return [train(networks[0], problems[0], plan, resume=resume, record=record_one)]
