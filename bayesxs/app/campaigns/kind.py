"""What a kind of campaign is: tasks, what they share, and what is made of their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import xarray as xr

from bayesxs.app.channels import Channels
from bayesxs.app.experiment import Experiment
from bayesxs.app.stages import sample_shares
from bayesxs.detector.grid import Float
from bayesxs.engine.results import Task
from bayesxs.inference.pseudo_experiments import BinnedExperiment
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.sections import SampledCampaign
from bayesxs.store import Stage, content_key

type Arrays = Mapping[str, np.ndarray]
type Stored = Sequence[tuple[Task, Arrays]]

# What the pseudo-experiments of a card's point are numbered from: a multiple of this, so that
# their random keys do not depend on how many there are at each
POINT_STRIDE: Final = 10_000_000


class Kind(Protocol):
    """One campaign of a kind."""

    @property
    def function(self) -> Callable[..., Arrays]:
        """Importable function of the shared object and a task's arguments."""

    def tasks(self, key: str) -> list[Task]:
        """Cut the campaign into tasks, each with a content key of its own."""

    def shared(self) -> Any:
        """Return what all tasks need; built only where one is to be computed."""

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect the results of the tasks that have one, at least one.

        What does not fit into a dataset is left as an output of the stage.
        """

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Return the numbers of campaign.json, a verdict in words among them."""

    def figures(self, data: xr.Dataset) -> Mapping[str, bytes]:
        """Draw the figures, PNG by the stem of the file."""


def task(kind: str, key: str, *arguments: int) -> Task:
    """Return the task of a campaign that takes some arguments."""
    name = "-".join([kind, *(f"{a:07d}" for a in arguments)])
    sections = {"arguments": list(arguments)}
    return Task(
        name, content_key("batch", sections=sections, upstream={"campaign": key}), arguments
    )


def wanted(first: int, experiments: int, batch: int) -> int:
    """Return how many of a batch belong to the campaign: the last one may be fuller."""
    return min(batch, experiments - first)


def sampled(
    experiment: Experiment, channels: Channels, plan: SampledCampaign, thin: int = 1
) -> BinnedExperiment:
    """Return the far detector of which a card's pseudo-experiments are made."""
    sizes = np.round(experiment.card.far.events * sample_shares(experiment))
    return BinnedExperiment(
        tuple(channels.of_bins(plan.cross_section)),
        tuple(int(n) for n in sizes),
        experiment.priors,
        experiment.parameters,
        SamplerSettings(
            plan.batch,
            plan.warmup,
            plan.draws,
            plan.target_accept,
            record_every=plan.warmup + plan.draws,
            tree_depth=(plan.tree_depth + 2, plan.tree_depth),
        ),
        thin,
        experiment.card.seed,
    )


def joined(stored: Stored, counts: Sequence[int]) -> dict[str, Float]:
    """Join the results of batches, of each its first so many pseudo-experiments."""
    pieces = [
        {name: values[:count] for name, values in arrays.items()}
        for (_, arrays), count in zip(stored, counts, strict=True)
    ]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
