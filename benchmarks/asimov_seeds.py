"""Train with several network seeds; print how far each moves the posterior of expected data.

One process, one geometry, one compiled sampler. The chain of the true cross section does not depend
on the network's seed and is drawn once, with the random keys of the preset's own seed; so are those
of the learned cross sections. Finished seeds are kept in a CSV file, and an interrupted run goes on
from there, a training from its last checkpoint. Results of another card or other code are not used.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shared import machine, markdown, say

from bayesxs.cards.card import Card, load_card, to_toml
from bayesxs.cards.overrides import parse_overrides
from bayesxs.errors import InputError
from bayesxs.storage.atomic import write_csv
from bayesxs.storage.run_folder import RunFolder

if TYPE_CHECKING:
    import xarray as xr

    from bayesxs.inference.sampling import NutsSampler
    from bayesxs.runs.settings import RunSettings

MEASURED = (
    "near_rel_l2",
    "far_rel_l2",
    "cross_section_3d_rel_l2",
    "dm31_shift",
    "sin2_2theta23_shift",
    "training_seconds",
)
HEADINGS = (
    "near rel-L2",
    "far rel-L2",
    "3-D rel-L2",
    "dm31 shift, sigma",
    "sin2_2theta23 shift, sigma",
    "training, s",
)
COLUMNS = ("inputs", "seed", *MEASURED, "failure")

# The code that a result depends on
ROOMS = ("inputs", "physics", "detector", "learning", "inference", "experiment", "cards", "runs")


class Study:
    """What all seeds share."""

    def __init__(self, card: Card, folder: RunFolder, inputs: str) -> None:
        """Build the geometry; `inputs` marks what results depend on besides the seed."""
        from bayesxs.experiment.judge import Judge
        from bayesxs.keys import Purpose, derive
        from bayesxs.progress import Reporter
        from bayesxs.runs.pipeline import Analysis

        self.card, self.folder, self.inputs = card, folder, inputs
        self.reporter = Reporter(True)
        self.analysis = Analysis(card, folder, self.reporter)
        self.experiment = self.analysis.experiment
        self.settings = self.analysis.settings
        sample = self.experiment.samples[0]
        self.target = self.experiment.targets[sample]
        oscillation = self.experiment.oscillation(sample, self.experiment.energies.points)
        fluxes = {
            "near": self.target.near_flux,
            "far": self.experiment.source_flux(sample) * oscillation,
        }
        self.judge = Judge(self.experiment.geometry(self.target), fluxes)
        # Those of the stage `sample` on Asimov data, true and learned cross section
        self.sampling_key = derive(card.seed, Purpose.SAMPLER, 1)
        self.octant_keys = [derive(card.seed, Purpose.OCTANT, 1, kind) for kind in (0, 1)]
        self._sampler: NutsSampler | None = None
        self._truth: xr.Dataset | None = None

    def measure(self, seed: int, found: dict[str, Any]) -> None:
        """Train with a seed and note how the learned cross section compares with the true one.

        Raises:
            FloatingPointError: the training diverged.
            InputError: the learned density vanishes where events are expected.
        """
        from bayesxs.inference.posterior import pool, shift_sigma
        from bayesxs.runs.stages import read_channels

        experiment, settings = self.experiment, replace(self.settings, seed=seed)
        found["training_seconds"] = self._train(settings)
        channels = read_channels(experiment, settings, self.folder)
        errors = self.judge.errors(channels.values[self.target.name])
        found.update({name: errors[name] for name in MEASURED if name in errors})
        data = (channels.of_asimov("truth"), channels.of_asimov("learned"))
        if self._truth is None:
            self._truth = self._sample(data[0], 0)
        truth, learned = self._truth, self._sample(data[1], 1)
        thin = max(1, truth.sizes["draw"] * truth.sizes["chain"] // 4000)
        comparison = pool(truth, learned, data, experiment.parameters, thin)
        names = ("dm31", "sin2_2theta23")
        shifts = shift_sigma(comparison, names)
        found.update({f"{name}_shift": shifts[name] for name in names})

    def _train(self, settings: RunSettings) -> float:
        """Train, unless the folder holds these weights; return the seconds that it took."""
        from bayesxs.runs.stages import simulate_stage, uncertainty_stage
        from bayesxs.runs.training import TRAINING, train_stage

        near, key = self.analysis.near, _hash(f"{self.inputs}-{settings.seed}".encode())
        if not self.folder.stage_is_current("simulate", self.inputs):
            with self.folder.stage("simulate", self.inputs) as stage:
                simulate_stage(self.experiment, None, self.settings, stage, self.reporter)
        if not self.folder.stage_is_current("train", key):
            with self.folder.stage("train", key) as stage:
                train_stage((near,), settings.training, settings.seed, stage, self.reporter)
        with self.folder.stage("uncertainty", key) as stage:
            uncertainty_stage(near, settings, self.folder, stage, self.reporter)
        with (self.folder.path / TRAINING).open(newline="", encoding="utf-8") as file:
            # A later record of a member replaces the earlier ones
            last = {(r["target"], r["member"]): float(r["seconds"]) for r in csv.DictReader(file)}
        return sum(last.values())

    def _sample(self, channels: list[Any], kind: int) -> xr.Dataset:
        from bayesxs.inference.posterior import posterior_tree
        from bayesxs.inference.thinning import thinned_channels
        from bayesxs.runs.stages import far_sampler

        few = thinned_channels(channels, self.experiment.priors, self.experiment.parameters)
        if self._sampler is None:  # all channels have one shape
            self._sampler = far_sampler(self.experiment, self.settings, few)
        draws = self._sampler.run((few,), self.sampling_key)
        return posterior_tree(draws, self.octant_keys[kind])["posterior"].dataset


def digest(card: Card) -> str:
    """Mark the card, without its seed, and the code by which results are found again."""
    import bayesxs

    parts = [to_toml(card.model_copy(update={"seed": 0})).encode()]
    package = Path(bayesxs.__file__).parent
    for room in ROOMS:
        parts += [path.read_bytes() for path in sorted((package / room).glob("*.py"))]
    return _hash(b"\0".join(parts))


def _hash(content: bytes) -> str:
    """Return a key of a stage: the manifest of a run knows no other kind."""
    return hashlib.sha256(content).hexdigest()


def read_results(path: Path, inputs: str) -> dict[int, dict[str, Any]]:
    """Return what a file holds for these inputs, by seed; seeds that failed are tried again."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["inputs"] == inputs and not r["failure"]]
    return {
        int(row["seed"]): {name: float(row[name]) for name in MEASURED} | {"failure": ""}
        for row in rows
    }


def write_results(path: Path, inputs: str, results: dict[int, dict[str, Any]]) -> None:
    """Replace the file by all results so far."""
    rows = [{"inputs": inputs, "seed": seed, **results[seed]} for seed in sorted(results)]
    write_csv(path, {name: [row[name] for row in rows] for name in COLUMNS})


def seeds_of(text: str) -> list[int]:
    """Return the seeds of "0-9", "3" or "0,2,5-7"."""
    seeds: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        seeds |= set(range(int(first), int(last or first) + 1))
    return sorted(seeds)


def table(results: dict[int, dict[str, Any]]) -> str:
    """Return the results as Markdown, with median and worst; a failed seed counts where it can."""

    def line(label: str, values: Iterable[float]) -> list[str]:
        *errors, dm31, mixing, seconds = values
        return [
            label,
            *(f"{e:.1e}" for e in errors),
            f"{dm31:.3f}",
            f"{mixing:.3f}",
            f"{seconds:.1f}",
        ]

    rows = [line(str(seed), (r[name] for name in MEASURED)) for seed, r in results.items()]
    columns = np.array([[r[name] for name in MEASURED] for r in results.values()]).T
    finite = [column[np.isfinite(column)] for column in columns]
    for label, summary in (("median", np.median), ("worst", np.max)):
        rows.append(line(label, (summary(c) if len(c) else math.nan for c in finite)))
    return markdown(("seed", *HEADINGS), rows)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--preset", default="default", help="quick, default or paper")
    parser.add_argument("--seeds", type=seeds_of, default="0-9", help='as in "0-9" or "0,2,5"')
    parser.add_argument("--out", type=Path, help="folder; bayesxs-runs/asimov-seeds-PRESET if none")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the card"
    )
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    options = parser.parse_args()
    about = machine()
    out = options.out or Path("bayesxs-runs") / f"asimov-seeds-{options.preset}"
    path = out / "seeds.csv"
    try:
        card = load_card(preset=options.preset, overrides=parse_overrides(options.set))
        inputs = digest(card)
        kept = {} if options.fresh else read_results(path, inputs)
        results = run(card, options.seeds, out / "run", path, inputs, kept)
    except InputError as error:
        parser.error(str(error))
    print(f"Preset {options.preset}, {len(results)} seeds, on {about}.\n")
    print(table(results))
    failures = {seed: r["failure"] for seed, r in results.items() if r["failure"]}
    for seed, failure in failures.items():
        print(f"\nSeed {seed} failed: {failure}")
    return int(bool(failures))


def run(
    card: Card,
    seeds: list[int],
    folder: Path,
    path: Path,
    inputs: str,
    results: dict[int, dict[str, Any]],
) -> dict[int, dict[str, Any]]:
    """Measure the seeds that are not among the results; return those asked for."""
    wanted = [seed for seed in seeds if seed not in results]
    if wanted:
        from bayesxs.session import prepare_jax

        prepare_jax(card.sampler.chains)
        with RunFolder.create(folder, resume=True) as opened:
            study = Study(card, opened, inputs)
            for seed in wanted:
                start = time.perf_counter()
                found: dict[str, Any] = dict.fromkeys(MEASURED, math.nan) | {"failure": ""}
                try:
                    study.measure(seed, found)
                except (FloatingPointError, InputError) as error:
                    found["failure"] = str(error)
                results[seed] = found
                write_results(path, inputs, results)
                shown = ", ".join(f"{name} {found[name]:.3g}" for name in MEASURED)
                say(
                    f"seed {seed}: {found['failure'] or shown}; {time.perf_counter() - start:.1f} s"
                )
    return {seed: results[seed] for seed in seeds}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("interrupted: the same command goes on from here")
        sys.exit(130)
