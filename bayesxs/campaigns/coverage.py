"""Coverage of intervals: pseudo-experiments on a grid of true values, intervals of every kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesxs.campaigns.kind import (
    POINT_STRIDE,
    Figures,
    Kind,
    Stored,
    batches,
    joined,
    sampled,
    variables_of,
)
from bayesxs.cards.campaign import CoverageCampaign
from bayesxs.engine.results import Task
from bayesxs.inference.calibration import coverage
from bayesxs.inference.circle import on_branch
from bayesxs.inference.fixed_truth import INTERVALS, IntervalExperiment
from bayesxs.inference.intervals import contains
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.report.campaigns import coverage_verdict
from bayesxs.report.plots_calibration import coverage_figure
from bayesxs.storage.run_folder import Stage

LEVELS: Final = (0.68, 0.9)


class IntervalCoverage(Kind[CoverageCampaign]):
    """How often the intervals of a card hold the truth."""

    function = staticmethod(IntervalExperiment.run)

    @property
    def points(self) -> tuple[Mapping[str, float], ...]:
        """True values, by the names of the model."""
        grid = product(self.plan.s2_23, self.plan.dm31)
        return tuple({"s2_23": s2_23, "dm31": dm31} for s2_23, dm31 in grid)

    def tasks(self, key: str) -> list[Task]:
        """Cut every point into batches."""
        return batches(self.plan, key, self.plan.experiments, len(self.points))

    def shared(self) -> IntervalExperiment:
        """Return the far detector and what is made of its data."""
        detector = sampled(self.channels, self.plan, self.settings.seed)
        return IntervalExperiment(detector, self.points, LEVELS, self.plan.replicas)

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect the intervals.

        Variables by parameter: ends_NAME over (interval, trial, level, side), estimate_NAME,
        sd_NAME and truth_NAME over trial, the pseudo-experiments of all points in a row; point says
        which.
        """
        plan = self.plan
        arrays, numbers = joined(stored, plan.experiments, plan.batch)
        point = numbers // POINT_STRIDE
        names = [n for n in (*PUBLIC_NAMES.values(), "sin2_2theta23") if f"estimate/{n}" in arrays]
        out: dict[str, Any] = {"point": ("trial", point)}
        for name in names:
            ends = np.stack([arrays[f"interval/{kind}/{name}"] for kind in INTERVALS])
            out[f"ends_{name}"] = (("interval", "trial", "level", "side"), ends)
            for what in ("truth", "estimate", "sd"):
                out[f"{what}_{name}"] = ("trial", arrays[f"{what}/{name}"])
        out |= {n: ("trial", arrays[n]) for n in ("converged", "diverging", "n_steps")}
        coordinates = {"interval": list(INTERVALS), "level": list(LEVELS), "side": ["low", "high"]}
        return xr.Dataset(out, coordinates, {"kind": plan.kind})

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Count how often intervals hold the truth, and how long they are."""
        parameters = coverage_rows(data, INTERVALS, LEVELS, _varied(data))
        counts = np.bincount(data["point"].values)
        return {
            "experiments": int(counts[counts > 0].min()),
            "points": len(points_of(data)),
            "draws": self.plan.draws,
            "replicas": self.plan.replicas,
            "divergences": int(data["diverging"].sum()),
            "converged": float(data["converged"].mean()),
            "intervals": parameters,
            "verdict": coverage_verdict(parameters),
        }

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw coverage and lengths of each parameter's intervals."""
        return {
            f"coverage_{name}": partial(coverage_figure, coverage_table(name, rows, INTERVALS))
            for name, rows in summary["intervals"].items()
        }


def _varied(data: xr.Dataset) -> list[str]:
    """Parameters by whose true values points are named."""
    return [n for n in ("sin2_theta23", "dm31") if f"truth_{n}" in data]


def points_of(data: xr.Dataset) -> list[int]:
    """Return the points of which there are pseudo-experiments."""
    return [int(point) for point in np.unique(data["point"].values)]


def coverage_rows(
    data: xr.Dataset, intervals: Sequence[str], levels: Sequence[float], varied: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return, by parameter, coverage and length at each point, level and kind of interval.

    Args:
        data: over (interval, trial, level, side) ends_NAME, over trial truth_NAME and point.
        intervals: their kinds.
        levels: of the intervals.
        varied: parameters by whose true values points are named.
    """
    parameters: dict[str, list[dict[str, Any]]] = {}
    for name in variables_of(data, "ends_"):
        rows = parameters.setdefault(name, [])
        for point, level, kind in product(points_of(data), levels, intervals):
            chosen = data.isel(trial=np.flatnonzero(data["point"].values == point))
            ends = chosen[f"ends_{name}"].sel(interval=kind, level=level).values
            truth = chosen[f"truth_{name}"].values
            found = coverage(contains(ends, truth), level)
            rows.append(
                {
                    "point": {n: _value(n, chosen) for n in varied},
                    "level": level,
                    "interval": kind,
                    "fraction": found.fraction,
                    "error": found.error,
                    "low": found.low,
                    "high": found.high,
                    "pull": found.pull,
                    "length": float(np.mean(ends[:, 1] - ends[:, 0])),
                }
            )
    return parameters


def _value(name: str, chosen: xr.Dataset) -> float:
    """Return the true value of a point; a phase on one turn for all."""
    value = float(chosen[f"truth_{name}"].values[0])
    return float(on_branch(np.array(value), -np.pi)) if name == "dcp" else value


def coverage_table(
    name: str, rows: Sequence[Mapping[str, Any]], intervals: Sequence[str]
) -> xr.Dataset:
    """Lay rows out over (interval, level, point), as the figure takes them."""
    points = list({tuple(row["point"].items()): row["point"] for row in rows}.values())
    levels = list(dict.fromkeys(row["level"] for row in rows))
    shape = (len(points), len(levels), len(intervals))
    axes = ("point", "level", "interval")
    values = {
        key: (axes, np.array([row[key] for row in rows]).reshape(shape))
        for key in ("fraction", "low", "high", "length", "error")
    }
    truths = {n: ("point", [p[n] for p in points]) for n in points[0]}
    table = xr.Dataset(
        values, {"interval": list(intervals), "level": levels, **truths}, {"parameter": name}
    )
    return table.assign(error=table["error"].isel(interval=0, drop=True))
