"""Results on data from files, of which no true cross section is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from bayesxs.experiment.channels import Channels
from bayesxs.experiment.near import NearData
from bayesxs.inference.goodness import chi_square, predictive_p_value, pulls
from bayesxs.inference.pointwise import reported


def density_of_data(
    near_data: NearData, channels: Channels
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Return the learned cross section beside the near-detector data, and its goodness of fit.

    Groups: those of `near_fits`; total/TARGET, the learned total cross section over its average in
    the near flux.
    """
    tree, notes = near_fits(near_data, channels)
    experiment = near_data.experiment
    for target in experiment.unique_targets:
        values = channels.values[target.name]
        geometry, weights = experiment.geometry(target), experiment.energies.weights
        total = geometry.total_operator.response(values, clamp=True).sum(axis=1)
        mean = (weights * total) @ target.near_flux / (weights @ target.near_flux)
        tree[f"total/{target.name}"] = xr.Dataset(
            {"model": ("energy", total / mean), "flux": ("energy", target.near_flux)},
            {"energy": experiment.energies.points},
        )
    return tree, notes


def near_fits(
    near_data: NearData, channels: Channels
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Return how the learned cross section fits near-detector counts.

    Groups: near/TARGET, where near data are counts, with edges of the bins, counts, expected and
    pull.
    """
    tree: dict[str, xr.Dataset] = {}
    notes: dict[str, Any] = {}
    observed, expected = [], []
    for target in near_data.experiment.unique_targets:
        near, values = near_data.detectors[target.name], channels.values[target.name]
        if not np.isfinite(near.events):
            continue
        counts, found = near.observed, np.maximum(near.matrix @ values.ravel(), 0.0)
        found *= counts.sum() / found.sum()
        observed.append(counts)
        expected.append(found)
        taken = channels.effective_parameters.get(target.name, 0.0)
        fit = chi_square(counts, found, taken)
        own = fit._asdict() | {"parameters": taken, "dropped": near.dropped}
        notes.setdefault("targets", {})[target.name] = own
        tree[f"near/{target.name}"] = xr.Dataset(
            {
                "energy": (("bin", "side"), near.bins.energy),
                "second": (("bin", "side"), near.bins.second),
                "counts": ("bin", counts),
                "expected": ("bin", found),
                "pull": ("bin", pulls(counts, found)),
            },
            {"side": ["low", "high"]},
            fit._asdict() | {"axis": near.bins.axis, "dropped": near.dropped},
        )
    if observed:
        for key in ("parameters", "dropped"):
            notes[key] = sum(own[key] for own in notes["targets"].values())
        both = np.concatenate(observed), np.concatenate(expected)
        notes |= chi_square(*both, notes["parameters"])._asdict()
    return tree, notes


def near_summary(notes: dict[str, Any]) -> dict[str, Any]:
    """Return the goodness of fit near, by target too where there are several."""
    near = {k: notes[k] for k in ("chi2", "bins", "p_value", "parameters", "dropped") if k in notes}
    targets = notes.get("targets", {})
    return near | (targets if len(targets) > 1 else {})


def far_summary(tree: xr.DataTree, events: xr.Dataset) -> dict[str, Any]:
    """Return posterior predictive p-values of the far spectra, and what is odd about the events.

    The first is that of the spectra in lepton energy, of all samples; the others are those of the
    second variable.

    Args:
        tree: posterior with the groups observed_data and posterior_predictive.
        events: what events.nc holds.
    """
    observed = tree["observed_data"].dataset
    predicted = reported(tree["posterior_predictive"].dataset)
    groups: dict[str, list[str]] = {}
    for name in (str(n) for n in observed.data_vars if str(n).endswith("_counts")):
        key = "p_value" if "lepton_energy" in name else "p_value_" + _axis(name)
        groups.setdefault(key, []).append(name)
    out: dict[str, Any] = {}
    for key, names in groups.items():
        counts = np.concatenate([observed[name].values.ravel() for name in names])
        drawn = [predicted[name].values.reshape(-1, observed[name].values.size) for name in names]
        out[key] = predictive_p_value(counts, np.concatenate(drawn, axis=1))
    odd = ("read", "impossible", "below_threshold", "repeated", "on_bin_edges")
    counted = {name: int(events.attrs[name]) for name in odd if name in events.attrs}
    return out | {"events": int(events.sizes["event"])} | counted


def _axis(name: str) -> str:
    return "angle" if "angle" in name else "z"
