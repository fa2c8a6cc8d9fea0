"""Networks that learn structure functions from near-detector data: of a target, or of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from bayesxs.detector.grid import NodeGrid
from bayesxs.errors import InputError
from bayesxs.experiment.near import NearData, NearDetector
from bayesxs.experiment.unbinned import UnbinnedData, unbinned_data
from bayesxs.experiment.weights import lepton_of
from bayesxs.keys import Purpose, derive, generator
from bayesxs.learning.heads import Lepton
from bayesxs.learning.near_problem import Loss, NearProblem, joint_problem, near_problem
from bayesxs.learning.network import (
    Architecture,
    Network,
    create_network,
    network_arrays,
    network_from_arrays,
)
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
    """Settings with which networks are fitted to near-detector data.

    Attributes:
        architecture: of the networks; what it leaves open follows the phase space.
        schedule: steps and optimisers.
        members: networks, each from its own initial weights; their mean is used.
        weighting: of a bin of the expected density: one over the density, or 1.
        floor: smallest density in the relative weights, over the largest.
        weight_sd: prior standard deviation of weights about their initial values, where near data
            are counts.
        counted_steps: Gauss-Newton steps at most where near data are counts.
        share: "helicity" for one network of five functions for all leptons of neutrinos, and one
            for antineutrinos, each fitted to its near samples together; "none" for a network of
            each target.
        loss: of near data that count events: "binned", or "unbinned" for the sum of log densities
            over events that are given one by one.

    Raises:
        InputError: a head of three functions that is to be shared, or one that is not positive
            with unbinned events.

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
    share: Literal["none", "helicity"] = "none"
    loss: Literal["binned", "unbinned"] = "binned"

    def __post_init__(self) -> None:
        """Check what no training could do."""
        if self.share != "none" and self.architecture.head not in ("auto", "psd"):
            allowed = f'"psd" with share = "{self.share}": only five functions serve every lepton'
            raise InputError.at("Training", "architecture.head", self.architecture.head, allowed)
        if self.loss == "unbinned" and self.architecture.head == "unconstrained":
            allowed = 'a positive one with loss = "unbinned", which takes logarithms'
            raise InputError.at("Training", "architecture.head", self.architecture.head, allowed)

    def suited(self, x_max: float) -> Architecture:
        """Return the architecture, with nothing left open, for cross sections that end at x_max."""
        kind = self.architecture
        if self.share != "none":
            kind = replace(kind, head="psd")
        return kind.suited(x_max)

    def schedule_for(self, data: TrainingData | SharedData) -> Schedule:
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
        unbinned: events that the loss takes one by one; None for bins.
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
    unbinned: UnbinnedData | None = None

    @cached_property
    def nominal(self) -> NearProblem:
        """The loss against the data as observed."""
        if self.unbinned is not None:
            return self.unbinned.problem(self.nodes, self.floor, self.rank)
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
        if self.unbinned is not None:
            return self.unbinned.replica(key).problem(self.nodes, self.floor, self.rank)
        return self._against(bootstrap_counts(key, self.observed))

    def _against(self, observed: Float) -> NearProblem:
        return near_problem(
            self.matrix, observed, self.nodes, loss=self.loss, floor=self.floor, rank=self.rank
        )


@dataclass(frozen=True)
class SharedData:
    """Near samples that one network of five functions learns from (`joint_problem`).

    Attributes:
        samples: data of each; the size of the five functions is that of the first one's rate.
    """

    samples: tuple[TrainingData, ...]

    @property
    def events(self) -> float:
        """Counted events of all samples; infinite for expected densities."""
        return float(sum(own.events for own in self.samples))

    @property
    def architecture(self) -> Architecture:
        """Architecture of the networks."""
        return self.samples[0].architecture

    @property
    def lepton(self) -> Lepton:
        """Lepton of the first sample."""
        return self.samples[0].lepton

    @property
    def x_max(self) -> float:
        """Upper end of Bjorken x."""
        return self.samples[0].x_max

    def problem(self, key: jax.Array, member: int) -> NearProblem:
        """Return what the training of a network of an ensemble minimises.

        Args:
            key: of replicas of the data.
            member: number of the network.
        """
        problems = [
            own.problem(derive(key, Purpose.REPLICA, place), member)
            for place, own in enumerate(self.samples)
        ]
        counted = np.isfinite(self.events)
        shares = [own.events / self.events if counted else 1.0 for own in self.samples]
        masses = [float(own.lepton.mass) for own in self.samples]
        return joint_problem(problems, masses, [share / sum(shares) for share in shares])


@dataclass(frozen=True)
class Family:
    """Targets whose cross sections one network gives.

    Attributes:
        data: that the network is fitted to.
        targets: data of each target, by name, fitted or not.
        numbers: of the targets among all.
    """

    data: TrainingData | SharedData
    targets: Mapping[str, TrainingData]
    numbers: Mapping[str, int]

    @property
    def number(self) -> int:
        """Number that random keys are derived from: that of the first target."""
        return min(self.numbers.values())

    def apart(self, network: Network) -> dict[str, Network]:
        """Return the network as the lepton of each target sees it, of unit rate near."""
        if isinstance(self.data, TrainingData):
            return dict.fromkeys(self.targets, network)
        return {name: _seen(network, own) for name, own in self.targets.items()}


def _seen(network: Network, data: TrainingData) -> Network:
    arrays = network_arrays(network)
    found = network_from_arrays(network.architecture, arrays, data.lepton)
    total = data.matrix.sum(axis=0)
    values = found(jnp.asarray(data.nodes.x), jnp.asarray(data.nodes.q2))
    rate = (total / np.abs(total).max()) @ np.asarray(values, float).ravel()
    found.scale[...] = found.scale[...] / rate
    return found


def families(near: NearData, training: Training) -> list[Family]:
    """Return which targets share networks, and what these learn from.

    Raises:
        InputError: near samples are left out of which cross sections are learned.
    """
    return families_of_beams((near,), training)


def families_of_beams(near: Sequence[NearData], training: Training) -> list[Family]:
    """Return the same of the near data of several beams, whose targets have names of `in_beam`.

    Raises:
        InputError: near samples are left out of which cross sections are learned.
    """
    several = len(near) > 1
    data, kept = {}, set()
    for beam, own in enumerate(near):
        for name, detector in own.detectors.items():
            data[in_beam(name, beam, several)] = training_data(detector, training)
        kept |= {in_beam(name, beam, several) for name in own.fitted}
    numbers = {name: number for number, name in enumerate(data)}
    if training.share == "none":
        for own in near:
            own.require_all_samples()
        return [Family(own, {name: own}, {name: numbers[name]}) for name, own in data.items()]
    found = []
    for sign in sorted({own.lepton.sign for own in data.values()}, reverse=True):
        targets = {name: own for name, own in data.items() if own.lepton.sign == sign}
        fitted = tuple(own for name, own in targets.items() if name in kept)
        if not fitted:
            raise near[0].at_fault(f"one of {', '.join(targets)} too: they share a network")
        own_numbers = {name: numbers[name] for name in targets}
        found.append(Family(SharedData(fitted), targets, own_numbers))
    return found


def in_beam(name: str, beam: int, several: bool) -> str:
    """Return the name of a target among those of several beams, such as "mu, beam 1"."""
    return f"{name}, beam {beam + 1}" if several else name


def training_data(near: NearDetector, training: Training) -> TrainingData:
    """Return what the networks of a target learn from."""
    geometry = near.geometry
    kind = training.suited(geometry.space.x_max)
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
    unbinned = unbinned_data(near) if training.loss == "unbinned" else None
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
        unbinned,
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
    data: TrainingData | SharedData,
    seed: int | jax.Array,
    target: int,
    members: Sequence[int],
    resume: dict[str, Float] | None = None,
    record: Record | None = None,
) -> list[Network]:
    """Train some networks of one target or family, side by side if there are several.

    Args:
        training: how.
        data: that they learn from.
        seed: or a random key, of all networks.
        target: number of the target, or of the family.
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


def train_family(
    training: Training,
    family: Family,
    seed: int | jax.Array,
    members: Sequence[int],
    resume: dict[str, Float] | None = None,
    record: Record | None = None,
) -> dict[str, list[Network]]:
    """Train some networks of a family as `train_group` does; return what each lepton sees."""
    found = train_group(training, family.data, seed, family.number, members, resume, record)
    seen = [family.apart(network) for network in found]
    return {name: [own[name] for own in seen] for name in family.targets}
