"""The first stage: learn every target's structure functions from its near-detector density."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bayesxs.errors import InputError, words
from bayesxs.experiment.judge import FitJudge, Judge
from bayesxs.experiment.learn import (
    Family,
    Training,
    families_of_beams,
    groups,
    in_beam,
    train_family,
)
from bayesxs.experiment.near import NearData, NearDetector
from bayesxs.experiment.weights import conditions, read_networks, write_networks
from bayesxs.learning.network import Average, Network
from bayesxs.progress import Reporter
from bayesxs.runs.files import TRAINING
from bayesxs.storage.atomic import read_bytes, write_bytes, write_csv
from bayesxs.storage.checkpoint import starting_with
from bayesxs.storage.inner import remove
from bayesxs.storage.run_folder import Stage
from bayesxs.types import Floats as Float

NETWORK = "network.safetensors"


def train_stage(
    near: Sequence[NearData], training: Training, seed: int, stage: Stage, reporter: Reporter
) -> None:
    """Learn every target's structure functions from the near data of one beam or several."""
    detectors = near_detectors(near)
    networks: dict[str, list[Network]] = {name: [] for name in detectors}
    rows: list[dict[str, Any]] = []
    clock = time.perf_counter()
    for family in families_of_beams(near, training):
        judges = {name: judge_of(detectors[name]) for name in family.targets}
        stage.notes["operator_seconds"] = time.perf_counter() - clock
        for group in groups(training.members):
            log = TrainingLog(stage, family, judges, group)
            steps = training.schedule_for(family.data).steps
            with reporter.bar(f"training {log.label}", steps) as update:

                def record(
                    step: int,
                    losses: Float,
                    best: list[Network],
                    state: dict[str, Float],
                    log: TrainingLog = log,
                    update: Any = update,
                ) -> None:
                    update(step, log.remark(log.add(step, losses, best, state)))

                found = train_family(training, family, seed, group, log.resume(), record)
            for name, own in found.items():
                networks[name].extend(own)
            rows += log.rows
        clock = time.perf_counter()
    write_networks(stage.output(NETWORK), networks, conditions(*(own.experiment for own in near)))
    write_csv(stage.output(TRAINING), {name: [row[name] for row in rows] for name in rows[0]})


def pinned_stage(near: Sequence[NearData], source: Path, stage: Stage) -> None:
    """Take over the weights of a file in place of training.

    Raises:
        InputError: they are not those of these targets and conditions.
    """
    path = stage.output(NETWORK)
    trained_networks(near, source)
    remove(path.with_name(TRAINING))  # of an earlier training, now replaced
    write_bytes(path, read_bytes(source))


def trained_networks(near: Sequence[NearData], path: Path) -> dict[str, Average]:
    """Read the networks of every target from a file of weights, by the names of `in_beam`.

    Raises:
        InputError: they are not those of these targets and conditions.
    """
    return read_networks(
        path, list(near_detectors(near)), conditions(*(n.experiment for n in near))
    )


def near_detectors(near: Sequence[NearData]) -> dict[str, NearDetector]:
    """Return the near detectors of every target of one beam or several."""
    return {
        in_beam(name, beam, len(near) > 1): detector
        for beam, own in enumerate(near)
        for name, detector in own.detectors.items()
    }


def judge_of(detector: NearDetector) -> Judge | FitJudge:
    """Return what tells how well a network does, by the truth where near data are made with one."""
    if detector.source.measured:
        return FitJudge(detector)
    return Judge(detector.geometry, {"near": detector.geometry.target.near_flux})


class TrainingLog:
    """The rows of training.csv of networks trained together, kept with their checkpoint."""

    def __init__(
        self,
        stage: Stage,
        family: Family,
        judges: Mapping[str, Judge | FitJudge],
        members: range,
    ) -> None:
        """Start an empty log.

        Args:
            stage: that holds the checkpoint.
            family: targets that the networks are of.
            judges: by target.
            members: numbers of the networks.
        """
        self.stage = stage
        self.family = family
        self.judges = judges
        self.members = members
        last = f"-{members[-1]}" if len(members) > 1 else ""
        targets = "-".join(family.targets).replace(", beam ", "-beam-")
        self.label = f"{targets}-{members[0]}{last}"
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
                f"a training: delete it, {words().again} makes it anew"
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
        rows = []
        for member, loss, network in zip(self.members, losses, best, strict=True):
            for name, own in self.family.apart(network).items():
                judge = self.judges[name]
                place = {"target": self.family.numbers[name], "member": member, "step": step}
                errors = judge.errors(judge.geometry.node_values(own))
                rows.append(place | {"loss": float(loss)} | errors | {"seconds": seconds})
        self.rows += rows
        arrays = {f"state/{name}": value for name, value in state.items()}
        arrays |= {f"log/{name}": np.array([r[name] for r in self.rows]) for name in rows[0]}
        self.stage.save_checkpoint(arrays, label=self.label)
        return rows
