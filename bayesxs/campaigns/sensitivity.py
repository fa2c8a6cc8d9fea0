"""Sensitivity: posterior width against exposure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
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
from bayesxs.cards.campaign import SensitivityCampaign
from bayesxs.engine.results import Task
from bayesxs.experiment.far import sample_shares
from bayesxs.inference.fixed_truth import WidthExperiment
from bayesxs.report.campaigns import sensitivity_verdict
from bayesxs.report.plots_calibration import sensitivity_figure
from bayesxs.storage.run_folder import Stage

# Parts of the pseudo-experiments below the middle one and the edges of the band
_QUANTILES: Final = {"": 0.5, "_low": 0.16, "_high": 0.84}


class Sensitivity(Kind[SensitivityCampaign]):
    """Posterior widths of a card at several exposures."""

    function = staticmethod(WidthExperiment.run)

    @property
    def exposures(self) -> list[float]:
        """Exposures in kt MW yr, in increasing order."""
        return sorted(set(self.plan.exposures))

    def tasks(self, key: str) -> list[Task]:
        """Cut every exposure into batches."""
        return batches(self.plan, key, self.plan.experiments, len(self.exposures))

    def shared(self) -> WidthExperiment:
        """Return the far detector and the sizes of its samples at each exposure."""
        shares = sample_shares(self.experiment)
        events = [e * self.plan.events_per_kt_MW_yr for e in self.exposures]
        sizes = tuple(tuple(max(1, round(n * share)) for share in shares) for n in events)
        return WidthExperiment(sampled(self.channels, self.plan, self.settings.seed), sizes)

    def assemble(self, stored: Stored, stage: Stage) -> xr.Dataset:
        """Collect mean_NAME and sd_NAME of every posterior; exposure and events say of which."""
        plan = self.plan
        arrays, numbers = joined(stored, plan.experiments, plan.batch)
        exposure = np.array(self.exposures)[numbers // POINT_STRIDE]
        columns = {name.replace("/", "_"): values for name, values in arrays.items()}
        columns["exposure"] = exposure
        columns["events"] = np.rint(exposure * plan.events_per_kt_MW_yr).astype(int)
        data = {name: ("trial", values) for name, values in columns.items()}
        return xr.Dataset(data, attrs={"kind": plan.kind})

    def tabulate(self, data: xr.Dataset) -> dict[str, Any]:
        """Return the median width at each exposure, and the power at which it falls."""
        rows = _by_exposure(data)
        names = variables_of(data, "sd_")
        powers = {}
        for name in names:
            slope, _ = np.polyfit(np.log(rows["events"]), np.log(rows[name]), 1)
            powers[name] = float(slope)
        widths = {n: {"width": rows[n].values.tolist(), "power": powers[n]} for n in names}
        return {
            "experiments": self.plan.experiments,
            "draws": self.plan.draws,
            "divergences": int(data["diverging"].sum()),
            "exposures": rows["kt_mw_yr"].values.tolist(),
            "events": rows["events"].values.tolist(),
            "widths": widths,
            "verdict": sensitivity_verdict(rows["kt_mw_yr"].values.tolist(), widths),
        }

    def figures(self, data: xr.Dataset, summary: Mapping[str, Any]) -> Figures:
        """Draw the widths."""
        return {"sensitivity": partial(sensitivity_figure, _by_exposure(data))}


def _by_exposure(data: xr.Dataset) -> xr.Dataset:
    """Return median and spread of the widths over events, as the figure takes them."""
    exposures = np.unique(data["exposure"].values)
    chosen = [np.flatnonzero(data["exposure"].values == e) for e in exposures]
    out: dict[str, Any] = {"kt_mw_yr": ("events", exposures)}
    for name in variables_of(data, "sd_"):
        widths = data[f"sd_{name}"].values
        for suffix, part in _QUANTILES.items():
            out[name + suffix] = ("events", [np.quantile(widths[c], part) for c in chosen])
    return xr.Dataset(out, {"events": [int(data["events"].values[c[0]]) for c in chosen]})
