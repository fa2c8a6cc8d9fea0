"""Bootstrap of the far events, with every cross section on the same samples, at any size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesxs.campaigns.kind import Figures, Kind, Stored, batches, joined
from bayesxs.cards.campaign import BootstrapCampaign
from bayesxs.engine.results import Task
from bayesxs.inference.bootstrap import fit_replicas
from bayesxs.inference.channel import FarChannel
from bayesxs.inference.circle import about, mean_direction
from bayesxs.inference.intervals import percentile_interval
from bayesxs.inference.posterior import public_values, truth_values
from bayesxs.inference.priors import Prior, prior_box
from bayesxs.inference.summaries import described, sd_of
from bayesxs.keys import Purpose, derive
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.report.campaigns import bootstrap_verdict
from bayesxs.report.plots_posterior import comparison_figure
from bayesxs.storage.run_folder import Stage

# Pairs of parameters whose regions are drawn: Figs. 2 and A5 of arXiv:2412.16303
_PLANES: Final = {
    "sin2_2theta23": ("sin2_2theta23", "dm31"),
    "sin2_theta23": ("sin2_theta23", "dm31"),
}


@dataclass(frozen=True)
class BootstrapExperiment:
    """The observed events, and the model that is fitted to their bootstrap samples.

    Attributes:
        channels: by kind of cross section, one entry per sample.
        priors: of the free parameters.
        fixed: values of the others, and where fits begin.
        replicas: of one task.
        seed: of the card.
    """

    channels: Mapping[str, tuple[FarChannel, ...]]
    priors: Mapping[str, Prior]
    fixed: OscillationParameters
    replicas: int
    seed: int

    def run(self, first: int) -> dict[str, np.ndarray]:
        """Fit the replicas numbered from `first`; number 0 is the data themselves.

        Returns:
            "KIND/NAME" by public names and "KIND/converged", (replicas,).
        """
        key = derive(self.seed, Purpose.BOOTSTRAP)
        start = {name: float(getattr(self.fixed, name)) for name in self.priors}
        out: dict[str, np.ndarray] = {}
        for kind, channels in self.channels.items():
            numbers = range(first, first + self.replicas)
            found = fit_replicas(key, channels, self.priors, self.fixed, start, numbers)
            values = {name: found.values[:, i] for i, name in enumerate(self.priors)}
            out |= {f"{kind}/{name}": v for name, v in public_values(values).items()}
            out[f"{kind}/converged"] = found.converged.astype(float)
        return out


class Resampling(Kind[BootstrapCampaign]):
    """The bootstrap of a card's events."""

    function = staticmethod(BootstrapExperiment.run)

    def tasks(self, key: str) -> list[Task]:
        """Cut the replicas, and the data themselves as number 0, into batches."""
        return batches(self.plan, key, self.plan.replicas + 1)

    def shared(self) -> BootstrapExperiment:
        """Return the events folded with every cross section."""
        channels = {kind: tuple(self.channels.of_events(kind)) for kind in self.channels.kinds}
        e = self.experiment
        return BootstrapExperiment(
            channels, e.priors, e.parameters, self.plan.batch, self.settings.seed
        )

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect estimates: NAME and converged over (cross_section, replica); 0 is of the data."""
        plan = self.plan
        arrays, numbers = joined(stored, plan.replicas + 1, plan.batch)
        kinds = list(dict.fromkeys(name.split("/")[0] for name in arrays))
        names = list(dict.fromkeys(name.split("/")[1] for name in arrays))
        axes = ("cross_section", "replica")
        data = {n: (axes, np.stack([arrays[f"{kind}/{n}"] for kind in kinds])) for n in names}
        coordinates = {"cross_section": kinds, "replica": numbers}
        out = xr.Dataset(data, coordinates, {"kind": plan.kind})
        branch = prior_box(self.experiment.priors).get("dcp")
        for name in _parameters(out):
            described(name, out[name], branch)
        return out

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Return estimates, their spread and their 68 % and 90 % intervals."""
        estimates: dict[str, dict[str, Any]] = {}
        for kind in data["cross_section"].values:
            own = data.sel(cross_section=kind)
            replicas = own.isel(replica=np.flatnonzero(own["replica"].values > 0))
            entries = estimates.setdefault(str(kind), {})
            for name in _parameters(data):
                values, sd = replicas[name].values, float(sd_of(name, replicas[name].values))
                if name == "dcp":  # on the line that its mean direction is the middle of
                    values = about(values, mean_direction(values))
                entries[name] = {"sd": sd, "mean": float(values.mean())}
                for level in (0.68, 0.9):
                    ends = percentile_interval(values, level)
                    entries[name][f"interval{round(100 * level)}"] = [float(end) for end in ends]
                if 0 in own["replica"].values:
                    entries[name]["mle"] = float(own[name].sel(replica=0))
        return {
            "replicas": int(np.count_nonzero(data["replica"].values > 0)),
            "converged": float(data["converged"].mean()),
            "estimates": estimates,
            "verdict": bootstrap_verdict(estimates),
        }

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw the regions of the estimates: Figs. 2 and A5 of arXiv:2412.16303."""
        if any(name not in data for name in ("sin2_theta23", "dm31")):
            return {}
        replicas = data.isel(replica=np.flatnonzero(data["replica"].values > 0))
        trees = {
            str(kind): xr.DataTree(replicas.sel(cross_section=kind, drop=True))
            for kind in data["cross_section"].values
        }
        simulated = not self.settings.far.file
        true = truth_values(self.experiment.parameters) if simulated else None
        return {
            f"bootstrap_{stem}": partial(comparison_figure, trees, true, names)
            for stem, names in _PLANES.items()
        }


def _parameters(data: xr.Dataset) -> list[str]:
    return [str(name) for name in data.data_vars if name != "converged"]
