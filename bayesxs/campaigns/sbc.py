"""Simulation-based calibration: from stored batches to ranks, their verdict and their figures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from bayesxs.campaigns.kind import Figures, Kind, Stored, batches, joined, sampled, variables_of
from bayesxs.cards.campaign import SbcCampaign
from bayesxs.cards.counted_campaign import ModeSbcCampaign
from bayesxs.engine.results import Task
from bayesxs.inference.calibration import Uniformity, coverage, pit, rank_statistics, uniformity
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.pseudo_experiments import BinnedExperiment
from bayesxs.inference.summaries import mean_of, sd_of
from bayesxs.keys import Purpose, derive, generator
from bayesxs.report.calibration import verdict
from bayesxs.report.plots_calibration import ecdf_figure, rank_histogram_figure
from bayesxs.storage.run_folder import Stage
from bayesxs.types import Floats as Float

# Levels of the central intervals whose coverage is tabulated
LEVELS = (0.5, 0.68, 0.9, 0.95)


class Sbc(Kind[SbcCampaign]):
    """Simulation-based calibration of a card."""

    function = staticmethod(BinnedExperiment.run)

    def tasks(self, key: str) -> list[Task]:
        """Cut the campaign into batches."""
        return batches(self.plan, key, self.plan.experiments)

    def shared(self) -> BinnedExperiment:
        """Return the far detector of the pseudo-experiments."""
        return sampled(self.channels, self.plan, self.settings.seed, self.plan.thin)

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect truths, ranks, and a summary of each posterior.

        Variables by experiment: truth_NAME, rank_NAME, mean_NAME, sd_NAME, and diverging, n_steps;
        the nuisances have a second dimension.
        """
        plan = self.plan
        arrays, numbers = joined(stored, plan.experiments, plan.batch)
        rng = generator(derive(self.settings.seed, Purpose.RANKS, 0))
        out: dict[str, Any] = {}
        for what in (*PUBLIC_NAMES.values(), "sin2_2theta23", "log_likelihood"):
            if f"truth/{what}" not in arrays:
                continue
            truth, draws = arrays[f"truth/{what}"], arrays[f"draws/{what}"]
            columns = {
                "truth": truth,
                "rank": rank_statistics(draws, truth, 1, rng),
                "mean": mean_of(what, draws),
                "sd": sd_of(what, draws),
            }
            out |= {f"{column}_{what}": ("experiment", v) for column, v in columns.items()}
        coordinates: dict[str, Any] = {"experiment": numbers}
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
        table, judged = rank_table(data, self.plan, pits_of(data, self.settings.seed))
        return table | {"verdict": verdict(judged)}

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw the ranks against uniform ones, nuisances by group, and histograms of the others."""
        kept = int(data.attrs["draws_kept"])
        groups = {}
        if "nuisance" in data.coords:
            groups = {n.name: n.group for n in self.channels.nuisances}
        alone = {n: ranks for n, ranks in ranks_of(data).items() if n not in groups}
        pits = pits_of(data, self.settings.seed)
        return {
            "ecdf": partial(ecdf_figure, pits, groups=groups),
            "ranks": partial(rank_histogram_figure, alone, kept),
        }


def rank_table(
    data: xr.Dataset, plan: SbcCampaign | ModeSbcCampaign, pits: Mapping[str, Float]
) -> tuple[dict[str, Any], dict[str, Uniformity]]:
    """Return a summary of ranks, those of each parameter judged, and their uniformity.

    Args:
        data: what was collected, over experiment.
        plan: of the campaign.
        pits: of each parameter, uniform where posteriors are calibrated.
    """
    judged = {name: uniformity(values) for name, values in pits.items()}
    parameters: dict[str, dict[str, Any]] = {}
    for name, found in judged.items():
        parameters[name] = {
            "inside": found.inside,
            "worst": found.worst,
            "p_value": found.p_value,
            "shape": found.shape,
            "coverage": {},
        }
        for level in LEVELS:
            held = coverage(np.abs(pits[name] - 0.5) < 0.5 * level, level)
            parameters[name]["coverage"][str(level)] = [held.fraction, held.error]
    table = {
        "experiments": int(data.sizes["experiment"]),
        "draws": plan.draws,
        "thin": plan.thin,
        "divergences": int(data["diverging"].sum()),
        "parameters": parameters,
    }
    return table, judged


def ranks_of(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the ranks by parameter; nuisances one by one."""
    ranks = {
        name: data[f"rank_{name}"].values
        for name in variables_of(data, "rank_")
        if data[f"rank_{name}"].ndim == 1
    }
    if "rank_nuisance" in data:
        for number, name in enumerate(data["nuisance"].values):
            ranks[str(name)] = data["rank_nuisance"].values[:, number]
    return ranks


def pits_of(data: xr.Dataset, seed: int) -> dict[str, Float]:
    """Return numbers that are uniform where the posteriors are calibrated, by parameter."""
    rng = generator(derive(seed, Purpose.RANKS, 1))
    kept = int(data.attrs["draws_kept"])
    return {name: pit(ranks, kept, rng) for name, ranks in ranks_of(data).items()}
