"""Ratios of total cross sections of leptons that share five functions, as files of a run."""

from __future__ import annotations

import xarray as xr

from bayesxs.experiment.channels import Channels
from bayesxs.experiment.shared import with_truth
from bayesxs.storage.atomic import write_csv
from bayesxs.storage.run_folder import Stage


def ratio_groups(channels: Channels, stage: Stage) -> dict[str, xr.Dataset]:
    """Return the ratios by group of near_detector.nc, with the true ones where these are known.

    Each is a CSV file too, `cross_section_ratio.csv`, or with the names of both leptons where there
    are several.
    """
    experiment, ratios = channels.experiment, channels.cross_section.ratios
    known = channels.simulated and not experiment.generated
    groups = {}
    for name, own in ratios.items():
        found = with_truth(own, experiment) if known else own
        groups[f"ratio/{name}"] = found
        columns = {"energy_GeV": found["energy"].values.tolist()}
        columns |= {str(key): value.values.tolist() for key, value in found.data_vars.items()}
        ending = f"_{name}" if len(ratios) > 1 else ""
        write_csv(stage.output(f"cross_section_ratio{ending}.csv"), columns)
    return groups
