"""A kind of campaign: its tasks, their shared object, and the use of their results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bayesxs.cards.campaign import Campaign, SampledCampaign
from bayesxs.engine.results import Task
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.far import sample_shares
from bayesxs.inference.binning import bin_groups, merged
from bayesxs.inference.pseudo_experiments import BinnedExperiment
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.runs.pipeline import Analysis
from bayesxs.runs.settings import RunSettings
from bayesxs.storage.checkpoint import starting_with
from bayesxs.storage.run_folder import Stage, content_key
from bayesxs.types import Floats as Float

type Arrays = Mapping[str, np.ndarray]
type Int = NDArray[np.int64]
type Figures = Mapping[str, Callable[[], Figure]]
type Stored = Sequence[tuple[Task, Arrays]]

# What the pseudo-experiments of a card's point are numbered from: a multiple of this, so that
# their random keys do not depend on how many there are at each
POINT_STRIDE: Final = 10_000_000


class Planned(ABC):
    """A campaign: its tasks, their shared object, and the use of their results.

    Attributes:
        function: importable function of the shared object and a task's arguments.
    """

    function: ClassVar[Callable[..., Arrays]]

    @abstractmethod
    def tasks(self, key: str) -> list[Task]:
        """Cut the campaign into tasks, each with a content key of its own."""

    @abstractmethod
    def shared(self) -> Any:
        """Return the shared object of all tasks; built only where one is to be computed."""

    @abstractmethod
    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect the results of the tasks that have one, at least one.

        A result that does not fit into a dataset is left as an output of the stage.
        """

    @abstractmethod
    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Return the numbers of campaign.json, a verdict in words among them."""

    @abstractmethod
    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Return functions that draw the figures of the collected results, by name."""


@dataclass(frozen=True)
class Kind[Plan: Campaign](Planned):
    """One campaign of a kind; nothing is computed before it is asked for.

    Attributes:
        analysis: card, experiment and what its run has left so far.
        plan: the section of the card.
    """

    analysis: Analysis
    plan: Plan

    @property
    def experiment(self) -> Experiment:
        """The experiment."""
        return self.analysis.experiment

    @property
    def channels(self) -> Channels:
        """Its data and cross sections."""
        return self.analysis.channels

    @property
    def settings(self) -> RunSettings:
        """Settings of the card besides."""
        return self.analysis.settings


class Batched(Protocol):
    """A section of a card that says how many pseudo-experiments a task has."""

    @property
    def kind(self) -> str:
        """Kind of the campaign."""

    @property
    def batch(self) -> int:
        """Pseudo-experiments of a task."""


def batches(plan: Batched, key: str, experiments: int, points: int | None = None) -> list[Task]:
    """Cut pseudo-experiments into batches, which take the number of their first one.

    Args:
        plan: kind and size of a batch.
        key: of the campaign.
        experiments: how many, at each point if there are several.
        points: true values or exposures, whose number a batch takes first.
    """
    firsts = range(0, experiments, plan.batch)
    if points is None:
        return [_task(plan.kind, key, first) for first in firsts]
    return [
        _task(plan.kind, key, point, POINT_STRIDE * point + first)
        for point in range(points)
        for first in firsts
    ]


def _task(kind: str, key: str, *arguments: int) -> Task:
    name = "-".join([kind, *(f"{a:07d}" for a in arguments)])
    sections = {"arguments": list(arguments)}
    return Task(
        name, content_key("batch", sections=sections, upstream={"campaign": key}), arguments
    )


def piece_of(warmup: int, draws: int) -> int:
    """Return a length that both are made of, if it is not short: one program then does for both."""
    common = gcd(warmup, draws)
    return common if common >= 50 else warmup + draws


def joined(stored: Stored, experiments: int, batch: int) -> tuple[dict[str, Float], Int]:
    """Join the results of batches; return them and the numbers of their pseudo-experiments.

    The last batch of a point may hold more than the campaign wants: they are left out.
    """
    numbers, pieces = [], []
    for done, arrays in stored:
        first = done.arguments[-1]
        count = min(batch, experiments - first % POINT_STRIDE)
        numbers.append(first + np.arange(count))
        pieces.append({name: values[:count] for name, values in arrays.items()})
    arrays = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return arrays, np.concatenate(numbers)


def variables_of(data: xr.Dataset, prefix: str) -> list[str]:
    """Return the rest of the names of the variables that have a prefix."""
    return list(starting_with(prefix, {str(name): name for name in data.data_vars}))


def sampled(
    channels: Channels, plan: SampledCampaign, seed: int, thin: int = 1
) -> BinnedExperiment:
    """Return the far detector of which a card's pseudo-experiments are made."""
    experiment = channels.experiment
    shares = sample_shares(experiment)
    sizes = tuple(round(experiment.far_events * share) for share in shares)
    priors, fixed = experiment.priors, experiment.parameters
    bins = channels.of_bins(plan.cross_section)
    if plan.information_loss > 0.0:
        groups = bin_groups(bins, sizes, priors, fixed, plan.information_loss)
        bins = [merged(c, g) for c, g in zip(bins, groups, strict=True)]
    return BinnedExperiment(
        tuple(bins),
        sizes,
        priors,
        fixed,
        SamplerSettings(
            plan.batch,
            plan.warmup,
            plan.draws,
            plan.target_accept,
            record_every=piece_of(plan.warmup, plan.draws),
            tree_depth=plan.tree_depth,
        ),
        thin,
        seed,
    )
