"""The first stage: learn every target's structure functions from its near-detector density."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from scipy import sparse

from bayesxs.detector.grid import Float, NodeGrid
from bayesxs.detector.operator import fold
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import Experiment, architecture, schedule
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.near import FitJudge
from bayesxs.experiment.weights import conditions, read_networks, write_networks
from bayesxs.keys import Purpose, derive, generator
from bayesxs.learning.near_problem import Loss, NearProblem, near_problem
from bayesxs.learning.network import Network, create_network
from bayesxs.learning.training import Schedule, train, train_together
from bayesxs.progress import Reporter
from bayesxs.storage.atomic import read_bytes, write_bytes, write_csv
from bayesxs.storage.checkpoint import starting_with
from bayesxs.storage.inner import remove
from bayesxs.storage.run_folder import Stage

NETWORK, TRAINING = "network.safetensors", "training.csv"

# Random functions that span the projected rows; 1e-5 of what the nodes resolve is lost
PROJECTION_RANK = 700

# The same for counts, whose fluctuations hide what more functions would add
FINITE_RANK = 350


def train_stage(experiment: Experiment, stage: Stage, reporter: Reporter) -> None:
    """Learn every target's structure functions, or take over pinned weights."""
    card = experiment.card
    path = stage.output(NETWORK)
    if card.network.weights:
        source = Path(card.network.weights)
        names = [t.name for t in experiment.unique_targets]
        read_networks(source, names, conditions(card))  # refuse what does not fit
        remove(path.with_name(TRAINING))  # of an earlier training, now replaced
        write_bytes(path, read_bytes(source))
        return
    networks: dict[str, list[Network]] = {}
    rows: list[dict[str, Any]] = []
    for number, target in enumerate(experiment.unique_targets):
        clock = time.perf_counter()
        near = near_data(experiment, target)
        judge = _judge(experiment, target)
        stage.notes["operator_seconds"] = time.perf_counter() - clock
        networks[target.name] = []
        for group in _groups(card.network.members):
            keys = [derive(card.seed, Purpose.TRAINING, number, member) for member in group]
            replicas = [derive(card.seed, Purpose.REPLICA, number, member) for member in group]
            problems = [near.problem(k, m) for k, m in zip(replicas, group, strict=True)]
            log = TrainingLog(stage, judge, target.name, group)
            plan = schedule(card, near.events)
            networks[target.name] += _train_group(experiment, plan, problems, keys, log, reporter)
            rows += [{"target": number} | row for row in log.rows]
    write_networks(path, networks, architecture(card), conditions(card))
    write_csv(stage.output(TRAINING), {name: [row[name] for row in rows] for name in rows[0]})


def _judge(experiment: Experiment, target: Target) -> Judge | FitJudge:
    """Return what tells how well a network does, by the truth where near data are made with one."""
    if experiment.card.near.file:
        return FitJudge(experiment.near(target))
    return Judge(experiment.geometry(target), {"near": target.near_flux})


def _groups(members: int) -> list[range]:
    """Return which networks are trained together: all on an accelerator, each alone on a CPU.

    Side by side, every network waits for the longest line search: a CPU, busy with one already, is
    four times slower per network.
    """
    if jax.default_backend() == "cpu":
        return [range(m, m + 1) for m in range(members)]
    return [range(members)]


@dataclass(frozen=True)
class NearData:
    """What the networks of one target learn from.

    Attributes:
        matrix: near-detector bins from values on the nodes, shape (bins, 3 n_nodes).
        observed: in the bins, shape (bins,).
        nodes: the nodes.
        settings: loss, floor and rank.
        events: counted events, which fluctuate; infinite for the expected density.
    """

    matrix: sparse.csr_array
    observed: Float
    nodes: NodeGrid
    settings: Mapping[str, Any]
    events: float

    @cached_property
    def nominal(self) -> NearProblem:
        """What training minimises against the data as observed."""
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
        return near_problem(self.matrix, observed, self.nodes, **self.settings)


def near_data(experiment: Experiment, target: Target) -> NearData:
    """Return what the networks of a target learn from."""
    near = experiment.near(target)
    return NearData(
        near.matrix,
        near.observed,
        experiment.geometry(target).nodes,
        problem_settings(experiment),
        near.events,
    )


def bootstrap_counts(key: jax.Array, counts: Float) -> Float:
    """Draw as many events as there are, with replacement."""
    number = int(counts.sum())
    return generator(key).multinomial(number, counts / number).astype(float)


def problem_settings(experiment: Experiment) -> dict[str, Any]:
    """Return loss, floor and rank of a card's training, as `near_problem` takes them."""
    card = experiment.card
    # The paper's recipe, in single precision, sees every row as it is
    rank = PROJECTION_RANK if card.network.precision == "float64" else None
    loss: Loss = card.training.weighting
    if card.near.counted:
        loss = "multinomial" if card.network.head == "positive" else "chi_square"
        rank = FINITE_RANK if rank else None
    return {"loss": loss, "floor": card.training.floor, "rank": rank}


def _train_group(
    experiment: Experiment,
    plan: Schedule,
    problems: Sequence[NearProblem],
    keys: Sequence[jax.Array],
    log: TrainingLog,
    reporter: Reporter,
) -> list[Network]:
    """Train networks of one target, from their checkpoint if there is one."""
    networks = [create_network(architecture(experiment.card), key) for key in keys]
    with reporter.bar(f"training {log.label}", plan.steps) as update:

        def record(step: int, losses: Float, best: list[Network], state: dict[str, Float]) -> None:
            rows = log.add(step, losses, best, state)
            update(step, log.remark(rows))

        if len(networks) > 1:
            return train_together(networks, problems, plan, resume=log.resume(), record=record)

        def record_one(step: int, loss: float, best: Network, state: dict[str, Float]) -> None:
            record(step, np.array([loss]), [best], state)

        (network,), (problem,) = networks, problems
        return [train(network, problem, plan, resume=log.resume(), record=record_one)]


class TrainingLog:
    """The rows of training.csv of networks trained together, kept with their checkpoint."""

    def __init__(self, stage: Stage, judge: Judge | FitJudge, target: str, members: range) -> None:
        """Start an empty log."""
        self.stage = stage
        self.judge = judge
        self.members = members
        last = f"-{members[-1]}" if len(members) > 1 else ""
        self.label = f"{target}-{members[0]}{last}"
        self.rows: list[dict[str, Any]] = []
        self._clock = time.perf_counter()

    @staticmethod
    def remark(rows: Sequence[Mapping[str, Any]]) -> str:
        """Return in a few words how near the networks are to the near-detector data."""
        if "near_rel_l2" in rows[0]:
            return f"near rel-L2 {max(row['near_rel_l2'] for row in rows):.1e}"
        return f"near chi2 per bin {max(row['near_chi2_per_bin'] for row in rows):.2f}"

    def resume(self) -> dict[str, Float] | None:
        """Return the state that an interrupted training left, and take up its rows."""
        kept = self.stage.load_checkpoint(self.label)
        if kept is None:
            return None
        log = starting_with("log/", kept[0])
        lengths = {len(column) if column.ndim == 1 else 0 for column in log.values()}
        if not {"step", "seconds"} <= set(log) or len(lengths) != 1 or 0 in lengths:
            raise InputError(
                f"{self.stage.folder.checkpoint_path(self.stage.name, self.label)}: no state of "
                "a training: delete it, then --resume"
            )
        length = lengths.pop()
        self.rows = [
            {name: column[i].item() for name, column in log.items()} for i in range(length)
        ]
        self._clock -= self.rows[-1]["seconds"]
        return starting_with("state/", kept[0])

    def add(
        self,
        step: int,
        losses: Float,
        best: Sequence[Network],
        state: Mapping[str, Float],
    ) -> list[dict[str, Any]]:
        """Judge the best networks so far, write a checkpoint, return the new rows."""
        seconds = time.perf_counter() - self._clock
        rows = [
            {"member": member, "step": step, "loss": float(loss)}
            | self.judge.errors(self.judge.geometry.node_values(network))
            | {"seconds": seconds}
            for member, loss, network in zip(self.members, losses, best, strict=True)
        ]
        self.rows += rows
        arrays = {f"state/{name}": value for name, value in state.items()}
        arrays |= {f"log/{name}": np.array([r[name] for r in self.rows]) for name in rows[0]}
        self.stage.save_checkpoint(arrays, label=self.label)
        return rows


class Judge:
    """Compare a learned cross section with the true one, near, far and in three dimensions."""

    def __init__(self, geometry: Geometry, fluxes: Mapping[str, Float]) -> None:
        """Fold the truth once.

        Args:
            geometry: of the target.
            fluxes: what to compare densities under, at the shared energies, by name.
        """
        self.geometry = geometry
        self.fluxes = fluxes
        self.true_spectra = {k: _unit(self.geometry.true_bins.rows @ f) for k, f in fluxes.items()}
        quadrature = self.geometry.quadrature
        self.weights = quadrature.weights
        self.true_3d = self._normalized(self.geometry.true_cross_section)

    def _normalized(self, cross_section: Float) -> Float:
        return cross_section / (self.weights @ cross_section)

    def errors(self, values: Float) -> dict[str, float]:
        """Return relative L2 errors of the normalised densities, in two and three dimensions.

        Structure functions are given on the nodes, shape (n_nodes, 3).

        The latter is the test loss of arXiv:2412.16303, Eqs. 7-8, as a norm relative to the
        truth's.
        """
        cross_section = self.geometry.operator.cross_section(values)
        model_3d = self._normalized(cross_section)
        response = fold(self.geometry.quadrature, self.geometry.energies, cross_section)
        errors = {}
        for name, flux in self.fluxes.items():
            true = self.true_spectra[name]
            difference = _unit(response @ flux) - true
            errors[f"{name}_rel_l2"] = float(np.linalg.norm(difference) / np.linalg.norm(true))
        squared = self.weights @ (model_3d - self.true_3d) ** 2
        return errors | {
            "cross_section_3d_rel_l2": float(np.sqrt(squared / (self.weights @ self.true_3d**2))),
            "negative_fraction": float(np.mean(model_3d < 0.0)),
        }


def _unit(spectrum: Float) -> Float:
    return spectrum / spectrum.sum()
