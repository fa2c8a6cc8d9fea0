"""The first stage: learn every target's structure functions from its near-detector density."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bayesxs.app.experiment import Experiment, Geometry, Target, architecture, schedule
from bayesxs.app.progress import Reporter
from bayesxs.app.seeds import TRAINING_KEY, stage_key
from bayesxs.app.weights import conditions, read_networks, write_networks
from bayesxs.atomic import atomic_path, write_csv
from bayesxs.detector.grid import Float
from bayesxs.detector.operator import fold
from bayesxs.learning.network import Network, create_network
from bayesxs.learning.training import NearProblem, near_problem, train
from bayesxs.store import Stage

NETWORK, TRAINING = "network.safetensors", "training.csv"

# Random functions that span the projected rows; 1e-5 of what the nodes resolve is lost
PROJECTION_RANK = 700


def train_stage(experiment: Experiment, stage: Stage, reporter: Reporter) -> None:
    """Learn every target's structure functions, or take over pinned weights."""
    card = experiment.card
    path = stage.output(NETWORK)
    if card.network.weights:
        source = Path(card.network.weights)
        names = [t.name for t in experiment.unique_targets]
        read_networks(source, names, conditions(card))  # refuse what does not fit
        path.with_name(TRAINING).unlink(missing_ok=True)  # of an earlier training, now replaced
        with atomic_path(path) as temporary:
            temporary.write_bytes(source.read_bytes())
        return
    networks: dict[str, list[Network]] = {}
    rows: list[dict[str, Any]] = []
    for number, target in enumerate(experiment.unique_targets):
        clock = time.perf_counter()
        problem = near_detector_problem(experiment, target)
        judge = Judge(experiment.geometry(target), {"near": target.near_flux})
        stage.notes["operator_seconds"] = time.perf_counter() - clock
        networks[target.name] = []
        for member in range(card.network.members):
            log = TrainingLog(stage, judge, f"{target.name}-{member}")
            key = stage_key(card.seed, TRAINING_KEY, number, member)
            network = _train_member(
                experiment, problem, create_network(architecture(card), key), log, reporter
            )
            networks[target.name].append(network)
            rows += [{"target": number, "member": member} | row for row in log.rows]
    write_networks(path, networks, architecture(card), conditions(card))
    write_csv(stage.output(TRAINING), {name: [row[name] for row in rows] for name in rows[0]})


def near_detector_problem(experiment: Experiment, target: Target) -> NearProblem:
    """Build what a target's training minimises: its operator against the true near density."""
    card = experiment.card
    geometry = experiment.geometry(target)
    return near_problem(
        geometry.operator.near_matrix(target.near_flux),
        geometry.true_bins.rows @ target.near_flux,
        geometry.nodes,
        floor=card.training.floor if card.training.weighting == "relative" else None,
        # The paper's recipe, in single precision, sees every row as it is
        rank=PROJECTION_RANK if card.network.precision == "float64" else None,
    )


def _train_member(
    experiment: Experiment,
    problem: NearProblem,
    network: Network,
    log: TrainingLog,
    reporter: Reporter,
) -> Network:
    """Train one network, from its checkpoint if there is one."""
    plan = schedule(experiment.card)
    with reporter.bar(f"training {log.label}", plan.adam_steps + plan.lbfgs_steps) as update:

        def record(step: int, loss: float, best: Network, state: dict[str, Float]) -> None:
            row = log.add(step, loss, best, state)
            update(step, f"near rel-L2 {row['near_rel_l2']:.1e}")

        return train(network, problem, plan, resume=log.resume(), record=record)


class TrainingLog:
    """The rows of training.csv of one network, kept together with its checkpoint."""

    def __init__(self, stage: Stage, judge: Judge, label: str) -> None:
        """Start an empty log."""
        self.stage = stage
        self.judge = judge
        self.label = label
        self.rows: list[dict[str, Any]] = []
        self._clock = time.perf_counter()

    def resume(self) -> dict[str, Float] | None:
        """Return the state that an interrupted training left, and take up its rows."""
        kept = self.stage.load_checkpoint(self.label)
        if kept is None:
            return None
        log = {k.removeprefix("log/"): v for k, v in kept[0].items() if k.startswith("log/")}
        length = len(log["step"])
        self.rows = [
            {name: column[i].item() for name, column in log.items()} for i in range(length)
        ]
        self._clock -= self.rows[-1]["seconds"]
        prefix = "state/"
        return {k.removeprefix(prefix): v for k, v in kept[0].items() if k.startswith(prefix)}

    def add(
        self, step: int, loss: float, best: Network, state: Mapping[str, Float]
    ) -> dict[str, Any]:
        """Judge the best network so far, write a checkpoint, return the new row."""
        seconds = time.perf_counter() - self._clock
        row = {"step": step, "loss": loss} | self.judge.errors(best) | {"seconds": seconds}
        self.rows.append(row)
        arrays = {f"state/{name}": value for name, value in state.items()}
        arrays |= {f"log/{name}": np.array([r[name] for r in self.rows]) for name in row}
        self.stage.save_checkpoint(arrays, label=self.label)
        return row


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

    def errors(self, network: Any) -> dict[str, float]:
        """Return relative L2 errors of the normalised densities, in two and three dimensions.

        The latter is the test loss of arXiv:2412.16303, Eqs. 7-8, as a norm relative to the
        truth's.
        """
        values = self.geometry.node_values(network)
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
