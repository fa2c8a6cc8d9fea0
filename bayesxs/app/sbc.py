"""Simulation-based calibration: from stored batches to ranks, their verdict and their figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from bayesxs.detector.grid import Float
from bayesxs.engine.results import Results, Task
from bayesxs.inference.calibration import Uniformity, coverage, pit, uniformity
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.report.calibration import verdict
from bayesxs.report.plots_calibration import ecdf_figure, rank_histogram_figure
from bayesxs.report.style import to_png
from bayesxs.sections import SbcCampaign

# Levels of the central intervals whose coverage is tabulated
LEVELS = (0.5, 0.68, 0.9, 0.95)


def assemble(
    tasks: list[Task], results: Results, plan: SbcCampaign, nuisances: list[str]
) -> xr.Dataset:
    """Collect the stored results: truths, ranks, and what summarises each posterior.

    Variables by experiment: truth_NAME, rank_NAME, mean_NAME, sd_NAME, and diverging, n_steps; the
    nuisances have a second dimension.
    """
    pieces: list[dict[str, np.ndarray]] = []
    numbers = []
    for task in tasks:
        if not results.has(task):
            continue
        (first,) = task.arguments
        wanted = min(plan.batch, plan.experiments - first)  # the last batch may be fuller
        pieces.append({k: v[:wanted] for k, v in results.load(task).items()})
        numbers.append(first + np.arange(wanted))
    joined = {name: np.concatenate([p[name] for p in pieces]) for name in (pieces or [{}])[0]}
    out: dict[str, Any] = {}
    for what in (*PUBLIC_NAMES.values(), "sin2_2theta23", "log_likelihood"):
        if f"truth/{what}" not in joined:
            continue
        truth, draws = joined[f"truth/{what}"], joined[f"draws/{what}"]
        columns = {
            "truth": truth,
            "rank": (draws < truth[:, None]).sum(axis=1),
            "mean": draws.mean(axis=1),
            "sd": draws.std(axis=1, ddof=1),
        }
        out |= {f"{column}_{what}": ("experiment", v) for column, v in columns.items()}
    if nuisances and "truth/nuisance" in joined:
        axes = ("experiment", "nuisance")
        out["truth_nuisance"] = (axes, joined["truth/nuisance"])
        out["rank_nuisance"] = (axes, joined["below/nuisance"].astype(int))
    out |= {n: ("experiment", joined[n]) for n in ("diverging", "n_steps") if n in joined}
    coordinates: dict[str, Any] = {
        "experiment": np.concatenate(numbers) if numbers else np.zeros(0, dtype=int)
    }
    if "truth_nuisance" in out:
        coordinates["nuisance"] = nuisances
    kept = plan.draws // plan.thin
    return xr.Dataset(out, coordinates, {"kind": plan.kind, "draws_kept": kept})


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


def pits_of(data: xr.Dataset, rng: np.random.Generator) -> dict[str, Float]:
    """Return numbers that are uniform where the posteriors are calibrated, by parameter."""
    kept = int(data.attrs["draws_kept"])
    return {name: pit(ranks, kept, rng) for name, ranks in ranks_of(data).items()}


def tabulate(data: xr.Dataset, plan: SbcCampaign, rng: np.random.Generator) -> dict[str, Any]:
    """Judge the ranks of every parameter."""
    judged: dict[str, Uniformity] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for name, values in pits_of(data, rng).items():
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
        "kind": plan.kind,
        "experiments": int(data.sizes["experiment"]),
        "draws": plan.draws,
        "thin": plan.thin,
        "divergences": int(data["diverging"].sum()),
        "parameters": parameters,
        "verdict": verdict(judged),
    }


def figures(data: xr.Dataset, plan: SbcCampaign, seed: int) -> Mapping[str, bytes]:
    """Draw the figures of a campaign."""
    pits = pits_of(data, np.random.default_rng(seed))
    kept = int(data.attrs["draws_kept"])
    return {
        "campaign_ecdf": to_png(ecdf_figure(pits)),
        "campaign_ranks": to_png(rank_histogram_figure(ranks_of(data), kept)),
    }
