"""Near and far data as one model: what each of them tells of nuisances and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesxs.experiment.channels import Channels
from bayesxs.inference.nuisances import GROUPS
from bayesxs.inference.posterior import nuisances_of
from bayesxs.learning.near_term import near_moments
from bayesxs.report.budget import PARAMETERS, TWO_STEPS


def fitted_nuisances(
    posterior: xr.Dataset,
    channels: Channels,
    groups: tuple[str, ...] = tuple(GROUPS),
    two_steps: xr.Dataset | None = None,
) -> list[dict[str, Any]]:
    """Return pull, constraint and correlations of every nuisance after the fit.

    In a joint model near_mean and near_sd are those given the near data alone; two_steps_mean and
    two_steps_sd those where far data alone inform on the flux.

    Args:
        posterior: of all data.
        channels: of the far detector.
        groups: of the nuisances.
        two_steps: posterior without the near data's likelihood of the flux.
    """
    near = near_alone(channels, groups)
    parameters = {p: _about_mean(p, posterior[p].values) for p in PARAMETERS if p in posterior}
    draws = np.asarray(nuisances_of(posterior))
    others = None if two_steps is None else np.asarray(nuisances_of(two_steps))
    out = []
    for i, nuisance in enumerate(channels.chosen(groups)):
        correlation = {
            p: float(np.corrcoef(draws[:, i], values)[0, 1]) for p, values in parameters.items()
        }
        row = {
            "name": nuisance.name,
            "group": nuisance.group,
            "label": nuisance.label,
            **_moments(draws[:, i]),
            "correlation": correlation,
            **near.get(nuisance.name, {}),
        }
        out.append(row if others is None else row | _moments(others[:, i], f"{TWO_STEPS}_"))
    return out


def near_alone(
    channels: Channels, groups: tuple[str, ...] = tuple(GROUPS)
) -> dict[str, dict[str, float]]:
    """Return near_mean and near_sd of the nuisances that near data inform on, in a joint model.

    Modes of the cross section are standard normal given the near data.
    """
    terms = channels.near_terms("learned", groups)
    if not terms:
        return {}
    out = {n.name: {"near_mean": 0.0, "near_sd": 1.0} for n in channels.chosen(("cross_section",))}
    for j, (mean, sd) in enumerate(zip(*near_moments(terms), strict=True)):
        out[f"flux_{j}"] = {"near_mean": float(mean), "near_sd": float(sd)}
    return out


def joint_summary(
    posterior: xr.Dataset, two_steps: xr.Dataset, channels: Channels
) -> dict[str, Any]:
    """Return nuisances and parameters of a joint model beside those of two steps.

    Args:
        posterior: of all data.
        two_steps: without the near data's likelihood of the flux.
        channels: of the far detector.
    """
    rows = fitted_nuisances(posterior, channels, two_steps=two_steps)
    parameters = {
        p: _moments(posterior[p].values) | _moments(two_steps[p].values, f"{TWO_STEPS}_")
        for p in PARAMETERS
        if p in posterior and p != "dcp"
    }
    return {"nuisances": {str(row["name"]): row for row in rows}, "parameters": parameters}


def _moments(values: np.ndarray, prefix: str = "") -> dict[str, float]:
    return {f"{prefix}mean": float(values.mean()), f"{prefix}sd": float(values.std(ddof=1))}


def _about_mean(parameter: str, values: np.ndarray) -> np.ndarray:
    """Return draws less their mean; of an angle the shorter way around."""
    draws = values.ravel()
    if parameter == "dcp":
        return np.angle(np.exp(1j * draws) / np.mean(np.exp(1j * draws)))
    return draws - draws.mean()
