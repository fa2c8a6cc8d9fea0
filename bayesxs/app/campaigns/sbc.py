"""Simulation-based calibration: from stored batches to ranks, their verdict and their figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesxs.app.campaigns.kind import Stored, joined, sampled, task, wanted
from bayesxs.app.channels import Channels
from bayesxs.app.experiment import Experiment
from bayesxs.detector.grid import Float
from bayesxs.engine.results import Task
from bayesxs.inference.calibration import (
    Uniformity,
    coverage,
    pit,
    rank_statistics,
    uniformity,
)
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.pseudo_experiments import BinnedExperiment
from bayesxs.report.calibration import verdict
from bayesxs.report.plots_calibration import ecdf_figure, rank_histogram_figure
from bayesxs.report.style import to_png
from bayesxs.sections import SbcCampaign
from bayesxs.store import Stage

# Levels of the central intervals whose coverage is tabulated
LEVELS = (0.5, 0.68, 0.9, 0.95)


class Sbc:
    """Simulation-based calibration of a card."""

    function = staticmethod(BinnedExperiment.run)

    def __init__(self, experiment: Experiment, channels: Channels, plan: SbcCampaign) -> None:
        """Hold the analysis; nothing is computed yet."""
        self.experiment = experiment
        self.channels = channels
        self.plan = plan

    def tasks(self, key: str) -> list[Task]:
        """Cut the campaign into batches."""
        firsts = range(0, self.plan.experiments, self.plan.batch)
        return [task(self.plan.kind, key, first) for first in firsts]

    def shared(self) -> BinnedExperiment:
        """Return the far detector of the pseudo-experiments."""
        return sampled(self.experiment, self.channels, self.plan, self.plan.thin)

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect truths, ranks, and what summarises each posterior.

        Variables by experiment: truth_NAME, rank_NAME, mean_NAME, sd_NAME, and diverging, n_steps;
        the nuisances have a second dimension.
        """
        plan = self.plan
        firsts = [t.arguments[0] for t, _ in stored]
        counts = [wanted(first, plan.experiments, plan.batch) for first in firsts]
        arrays = joined(stored, counts)
        rng = np.random.default_rng(self.experiment.seed)
        out: dict[str, Any] = {}
        for what in (*PUBLIC_NAMES.values(), "sin2_2theta23", "log_likelihood"):
            if f"truth/{what}" not in arrays:
                continue
            truth, draws = arrays[f"truth/{what}"], arrays[f"draws/{what}"]
            columns = {
                "truth": truth,
                "rank": rank_statistics(draws, truth, 1, rng),
                "mean": draws.mean(axis=1),
                "sd": draws.std(axis=1, ddof=1),
            }
            out |= {f"{column}_{what}": ("experiment", v) for column, v in columns.items()}
        numbers = [f + np.arange(c) for f, c in zip(firsts, counts, strict=True)]
        coordinates: dict[str, Any] = {"experiment": np.concatenate(numbers)}
        if "truth/nuisance" in arrays:
            axes = ("experiment", "nuisance")
            out["truth_nuisance"] = (axes, arrays["truth/nuisance"])
            out["rank_nuisance"] = (axes, arrays["below/nuisance"].astype(int))
            coordinates["nuisance"] = [n.name for n in self.channels.nuisances]
        out |= {n: ("experiment", arrays[n]) for n in ("diverging", "n_steps")}
        kept = plan.draws // plan.thin
        return xr.Dataset(out, coordinates, {"kind": plan.kind, "draws_kept": kept})

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Judge the ranks of every parameter."""
        judged: dict[str, Uniformity] = {}
        parameters: dict[str, dict[str, Any]] = {}
        for name, values in pits_of(data, self.experiment.seed).items():
            judged[name] = found = uniformity(values)
            parameters[name] = {
                "inside": found.inside,
                "worst": found.worst,
                "p_value": found.p_value,
                "shape": found.shape,
                "coverage": {},
            }
            for level in LEVELS:
                held = coverage(np.abs(values - 0.5) < 0.5 * level, level)
                parameters[name]["coverage"][str(level)] = [held.fraction, held.error]
        return {
            "experiments": int(data.sizes["experiment"]),
            "draws": self.plan.draws,
            "thin": self.plan.thin,
            "divergences": int(data["diverging"].sum()),
            "parameters": parameters,
            "verdict": verdict(judged),
        }

    def figures(self, data: xr.Dataset) -> Mapping[str, bytes]:
        """Draw the ranks against uniform ones, nuisances by group, and histograms of the others."""
        kept = int(data.attrs["draws_kept"])
        groups = {}
        if "nuisance" in data.coords:
            groups = {n.name: n.group for n in self.channels.nuisances}
        alone = {n: ranks for n, ranks in ranks_of(data).items() if n not in groups}
        pits = pits_of(data, self.experiment.seed)
        return {
            "campaign_ecdf": to_png(ecdf_figure(pits, groups=groups)),
            "campaign_ranks": to_png(rank_histogram_figure(alone, kept)),
        }


def ranks_of(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the ranks by parameter; nuisances one by one."""
    ranks = {
        str(name).removeprefix("rank_"): data[name].values
        for name in data.data_vars
        if str(name).startswith("rank_") and data[name].ndim == 1
    }
    if "rank_nuisance" in data:
        for number, name in enumerate(data["nuisance"].values):
            ranks[str(name)] = data["rank_nuisance"].values[:, number]
    return ranks


def pits_of(data: xr.Dataset, seed: int) -> dict[str, Float]:
    """Return numbers that are uniform where the posteriors are calibrated, by parameter."""
    rng = np.random.default_rng(seed)
    kept = int(data.attrs["draws_kept"])
    return {name: pit(ranks, kept, rng) for name, ranks in ranks_of(data).items()}
