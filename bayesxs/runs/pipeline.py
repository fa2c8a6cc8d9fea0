"""A run: which stages there are, what each depends on, and which of them must be done again."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import jax

from bayesxs.cards.build import build_experiment, input_files, near_sources
from bayesxs.cards.card import Card, load_card, to_toml
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.far import check_number_of_events
from bayesxs.experiment.near import NearData
from bayesxs.experiment.observed import Observed, read_observed
from bayesxs.progress import Reporter
from bayesxs.runs import results, stages
from bayesxs.runs.budget import budget_stage, require_systematics
from bayesxs.runs.drawing import MOST_DRAWERS, Drawers
from bayesxs.runs.report import report_stage
from bayesxs.runs.settings import run_settings
from bayesxs.runs.training import pinned_stage, train_stage
from bayesxs.storage.atomic import write_text
from bayesxs.storage.manifest import package_version
from bayesxs.storage.run_folder import CONFIG, RunFolder, Stage, content_key

# Version of the embedded tables, apart from that of the code
DATA_VERSION: Final = "1"

_PHYSICS: Final = ("seed", "nature", "beam", "sample", "grid")

# Each stage: the card's sections that it reads, and the stages before it
STAGES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "train": ((*_PHYSICS, "network", "training", "near", "response"), ()),
    "uncertainty": (
        (*_PHYSICS, "oscillation", "near", "far", "response", "uncertainty", "flux_shape"),
        ("train",),
    ),
    "simulate": (("seed", "nature", "beam", "sample", "oscillation", "far", "response"), ()),
    "density": ((*_PHYSICS, "oscillation"), ("uncertainty", "simulate")),
    "sample": (
        (*_PHYSICS, "oscillation", "assumed", "priors", "sampler"),
        ("uncertainty", "simulate"),
    ),
    "bootstrap": (
        (*_PHYSICS, "oscillation", "assumed", "priors", "bootstrap"),
        ("uncertainty", "simulate"),
    ),
    "budget": (
        (*_PHYSICS, "oscillation", "priors", "sampler"),
        ("uncertainty", "simulate"),
    ),
    "campaign": (
        (
            *_PHYSICS,
            "oscillation",
            "assumed",
            "network",
            "training",
            "near",
            "far",
            "response",
            "priors",
            "campaign",
        ),
        (),
    ),
    "posterior": (("report",), ("density", "sample", "bootstrap")),
    "report": ((), ("posterior",)),
}

# What a command of the same name brings up to date
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "train": ("train", "uncertainty"),
    "simulate": ("simulate",),
    "sample": ("density", "sample", "posterior"),
    "bootstrap": ("bootstrap", "posterior"),
    "budget": ("budget",),
    "report": ("density", "posterior", "report"),
}


def run(
    card: Card,
    folder: Path,
    *,
    resume: bool = False,
    stages: tuple[str, ...] | None = None,
    progress: bool = True,
    source: str = "card",
) -> Path:
    """Run an analysis into a folder and return the path of its report.

    Args:
        card: the analysis.
        folder: run folder, new or, with `resume`, one that holds a run.
        resume: continue; stages whose inputs are unchanged are not run again.
        stages: commands to carry out in place of all of them.
        progress: show what goes on.
        source: where the card was read from, named in messages.

    Raises:
        InputError: bad input; nothing half-written is left.
    """
    if stages and "budget" in stages:
        require_systematics(card, source)
    wanted = stages or ("train", "simulate", "bootstrap", "sample", "report")
    with (
        RunFolder.create(folder, resume=resume) as opened,
        Drawers(MOST_DRAWERS if "report" in wanted else 0) as drawers,
    ):
        analysis = Analysis(card, opened, Reporter(progress), source, drawers)
        write_text(opened.path / CONFIG, to_toml(card))
        opened.record(device=device(), seeds={"seed": card.seed})
        analysis.say_whose()
        for name in wanted:
            analysis.bring_up_to_date(name)
        return opened.path / "report.html"


def continue_run(folder: Path, *, stages: tuple[str, ...], progress: bool = True) -> None:
    """Carry out commands in an existing run folder, with its own card.

    Raises:
        InputError: bad input, or an earlier stage is missing.
    """
    with (
        RunFolder.reopen(folder) as opened,
        Drawers(MOST_DRAWERS if "report" in stages else 0) as drawers,
    ):
        path = opened.path / CONFIG
        analysis = Analysis(load_card(path), opened, Reporter(progress), str(path), drawers)
        opened.record(device=device())
        analysis.say_whose()
        for name in stages:
            analysis.bring_up_to_date(name)


def device() -> dict[str, Any]:
    """Describe what the run computes on."""
    first = jax.local_devices()[0]
    return {
        "platform": first.platform,
        "kind": first.device_kind,
        "count": jax.local_device_count(),
        "host": platform.machine(),
    }


class Analysis:
    """A card, its folder, and what has been built in memory so far."""

    def __init__(
        self,
        card: Card,
        folder: RunFolder,
        reporter: Reporter,
        source: str = "card",
        drawers: Drawers | None = None,
    ) -> None:
        """Read the card's inputs.

        Args:
            card: the analysis.
            folder: of the run.
            reporter: says what goes on.
            source: where the card was read from, named in messages.
            drawers: processes that draw figures; None for none.
        """
        self.card = card
        self.folder = folder
        self.reporter = reporter
        self.drawers = drawers or Drawers(0)
        self.experiment = build_experiment(card, source)
        self.near = NearData(
            self.experiment, near_sources(card, self.experiment), card.near.samples
        )
        self.settings = run_settings(card)
        self.observed = self._read_observed()
        if not card.far.file:
            check_number_of_events(self.experiment, card.far.events)
        self._sections = card.model_dump(mode="json")
        self._files = input_files(card)
        self._channels: Channels | None = None
        self._keys: dict[str, str] = {}
        self._seen: set[str] = set()  # stages that were spoken of

    def key(self, stage: str, *, before: tuple[str, ...] | None = None) -> str:
        """Return a stage's content key: its card sections, files and versions, and those before.

        Args:
            stage: its name.
            before: stages whose results it uses, where they are not always the same.
        """
        if stage not in self._keys:
            sections, always = STAGES[stage]
            before = always if before is None else before
            files = list(self._files)
            chosen = {name: self._sections.get(name) for name in sections}
            if "network" in chosen and self.card.network.weights:
                files.append(Path(self.card.network.weights))
            if "near" in chosen:
                files += self.near.files
            if "far" in chosen and self.card.far.file:
                files.append(Path(self.card.far.file))
            self._keys[stage] = content_key(
                stage,
                sections=_without_paths(chosen),
                upstream={name: self.key(name) for name in before},
                files=files,
                versions={"bayesxs": package_version(), "data": DATA_VERSION},
            )
        return self._keys[stage]

    def say_whose(self) -> None:
        """Say so where another user has written the folder."""
        if self.folder.notice:
            self.reporter.line(f"notice: {self.folder.notice}")

    def bring_up_to_date(self, command: str) -> None:
        """Carry out what a command asks for, leaving out what is current."""
        for name in COMMANDS[command]:
            if name == "posterior" and not self._current("sample"):
                continue  # nothing to assemble yet
            if self._current(name):
                if name not in self._seen:
                    self.reporter.line(f"{name}: up to date")
                self._seen.add(name)
                continue
            for needed in STAGES[name][1]:
                if not (needed == "bootstrap" and name == "posterior"):
                    self.folder.check_outputs(needed)
            with self.folder.stage(name, self._recorded_key(name)) as stage:
                self._run(name, stage)
            self._seen.add(name)
            self.reporter.line(f"{name}: {self.folder.stages[name]['seconds']:.1f} s")

    def _current(self, name: str) -> bool:
        return self.folder.stage_is_current(name, self._recorded_key(name))

    def _recorded_key(self, name: str) -> str:
        """Return a stage's key; results also depend on what else there is to include."""
        if name in ("posterior", "report"):
            without = "" if "bootstrap" in self.folder.stages else "-without-bootstrap"
            budget = name == "report" and "budget" in self.folder.stages
            return self.key(name) + without + ("-with-budget" if budget else "")
        return self.key(name)

    @property
    def channels(self) -> Channels:
        """Data and learned cross section, read once the stages before have left them."""
        if self._channels is None:
            self._channels = stages.read_channels(self.experiment, self.settings, self.folder)
        return self._channels

    def _read_observed(self) -> Observed | None:
        """Read the far-detector events, if the card names a file of them."""
        far = self.settings.far
        if not far.file:
            return None
        return read_observed(self.experiment, far.file, far.impossible, "far.")

    def _train(self, stage: Stage) -> None:
        if self.settings.weights is not None:
            pinned_stage((self.near,), self.settings.weights, stage)
        else:
            s = self.settings
            train_stage((self.near,), s.training, s.seed, stage, self.reporter)

    def _run(self, name: str, stage: Stage) -> None:
        if name == "posterior":
            self.drawers.start()  # ready when the report begins
        e, n, s, r, f = self.experiment, self.near, self.settings, self.reporter, self.folder
        run: dict[str, Callable[[], Any]] = {
            "train": lambda: self._train(stage),
            "uncertainty": lambda: stages.uncertainty_stage(n, s, f, stage, r),
            "simulate": lambda: stages.simulate_stage(e, self.observed, s, stage, r),
            "density": lambda: results.density_stage(n, self.channels, stage),
            "sample": lambda: stages.sample_stage(self.channels, s, stage, r),
            "bootstrap": lambda: stages.bootstrap_stage(self.channels, s, stage, r),
            "budget": lambda: budget_stage(self.channels, s, stage, r),
            "posterior": lambda: results.posterior_stage(self.channels, s, f, stage),
            "report": lambda: report_stage(f, stage, r, self.drawers),
        }
        run[name]()
        if name in ("train", "uncertainty", "simulate"):
            self._channels = None  # they have changed


def _without_paths(sections: dict[str, Any]) -> dict[str, Any]:
    """Drop the paths of input files: their content counts, not where they lie."""
    out: dict[str, Any] = {}
    for name, section in sections.items():
        if isinstance(section, dict):
            section = {
                key: _without_paths({"": value})[""] if isinstance(value, dict) else value
                for key, value in section.items()
                if key not in ("path", "file", "weights")
                and not (key == "name" and "/" in str(value))
            }
        out[name] = section
    return out
