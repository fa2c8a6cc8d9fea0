"""A learned cross section beside that of the generator whose events it was learned from."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import xarray as xr

from bayesxs.detector.batched import responses
from bayesxs.detector.density import Sample
from bayesxs.detector.grid import EnergyGrid
from bayesxs.detector.template import Template
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.measured import near_fits
from bayesxs.experiment.near import NearData
from bayesxs.experiment.predictive import along
from bayesxs.types import Floats as Float

# Part of the data's variance that the template's Monte Carlo error may add unnoticed
SMALL: Final = 0.1


def compare_with_template(
    near_data: NearData, channels: Channels
) -> tuple[dict[str, xr.Dataset], dict[str, Any]]:
    """Return near and far spectra and total cross sections, learned and generated.

    Groups: near/TARGET as of `near_fits`; total/TARGET, over panels of neutrino energy, from the
    generator with its Monte Carlo error and as learned with the 68 % band of its modes, over the
    generator's flux average; far/SAMPLE, shares of the expected far events over lepton energy.

    Notes: goodness of the near fit; relative L2 distances in the near bins (of the counts), the far
    bins and bins of neutrino energy too, which hold the generator's own statistical error; numbers
    of events by what became of them.
    """
    experiment = near_data.experiment
    tree, notes = near_fits(near_data, channels)
    distances: list[dict[str, float]] = []
    for target in experiment.unique_targets:
        tree[f"total/{target.name}"] = total_of_panels(experiment, channels, target)
    for sample in experiment.samples:
        tree[f"far/{sample.name}"] = _far(experiment, channels, sample)
        distances.append(_distances(near_data, channels, sample))
    worst = {key: max(own[key] for own in distances) for key in distances[0]}
    if len(distances) > 1:
        notes["samples"] = {
            s.name: {"target": experiment.targets[s].name} | own
            for s, own in zip(experiment.samples, distances, strict=True)
        }
    effective = [int(own.attrs["effective_events"]) for n, own in tree.items() if n[:4] == "far/"]
    notes["events"] = {name: split.counts for name, split in experiment.generated.items()}
    return tree, notes | worst | {"template_events": min(effective)}


def _template(target: Target) -> Template:
    assert isinstance(target.truth, Template)
    return target.truth


def _of_panels(values: Float, energies: EnergyGrid) -> Float:
    """Sum over the shared energies of each panel, along the last axis."""
    return values.reshape(*values.shape[:-1], -1, energies.order).sum(axis=-1)


def total_of_panels(experiment: Experiment, channels: Channels, target: Target) -> xr.Dataset:
    """Return total cross sections in panels of neutrino energy, over the generator's flux average.

    Variables over energy (panel centers, GeV): generated and its error, learned and its sd, and the
    near flux; low and high, the panels' edges. Both have the same rate in the near flux.
    """
    geometry, energies = experiment.geometry(target), experiment.energies
    learned, template, flux = channels.learned[target.name], _template(target), target.near_flux
    edges = energies.edges
    generated = template.total(energies)

    mean = geometry.total_operator.response(learned.mean, clamp=True).sum(axis=1)
    mean *= energies.weights
    scale = (generated @ flux) / (mean @ flux)
    mean *= scale
    nominal = _of_panels(mean, energies)
    modes = responses(geometry.total_operator, learned.modes).sum(axis=2) * energies.weights
    changes = []
    for change in scale * modes:
        # Of unit rate: a mode that changes the rate changes nothing that is seen
        changes.append(_of_panels(change - mean * (change @ flux) / (mean @ flux), energies))
    sd = np.sqrt(np.sum(np.square(changes), axis=0)) if changes else np.zeros(len(nominal))
    panel = np.clip(np.searchsorted(edges, template.energy, side="right") - 1, 0, len(edges) - 2)
    error = template.relative_error(panel, len(edges) - 1, energies, np.ones(len(flux)))
    own = _of_panels(generated, energies)
    average = (generated @ flux) / (energies.weights @ flux)
    per = np.diff(edges) * average
    return xr.Dataset(
        {
            "generated": ("energy", own / per),
            "error": ("energy", error * own / per),
            "learned": ("energy", nominal / per),
            "sd": ("energy", sd / per),
            "flux": ("energy", _of_panels(energies.weights * flux, energies) / np.diff(edges)),
            "low": ("energy", edges[:-1]),
            "high": ("energy", edges[1:]),
        },
        {"energy": 0.5 * (edges[1:] + edges[:-1])},
    )


def _far(experiment: Experiment, channels: Channels, sample: Sample) -> xr.Dataset:
    """Return shares of the far events in bins of lepton energy, generated and learned."""
    geometry, template = _geometry(experiment, sample), _template(experiment.targets[sample])
    edges, centers, areas = geometry.seen_rows(0)
    oscillation = experiment.oscillation(sample, experiment.energies.points)
    shares = {}
    for name, kind in (("generated", "truth"), ("learned", "learned")):
        folded = channels.rows_as_seen(kind, sample)._replace(modes=[])
        spectrum = along(folded, centers, areas, edges)[0] @ oscillation
        shares[name] = spectrum / spectrum.sum()
    weights = template.weights(experiment.energies, experiment.source_flux(sample) * oscillation)
    effective = float(weights.sum() ** 2 / np.sum(weights**2))
    return xr.Dataset(
        {name: ("lepton_energy", values) for name, values in shares.items()}
        | {
            "error": ("lepton_energy", np.sqrt(shares["generated"] / effective)),
            "statistical": ("lepton_energy", np.sqrt(shares["generated"] / experiment.far_events)),
            "low": ("lepton_energy", edges[:-1]),
            "high": ("lepton_energy", edges[1:]),
        },
        {"lepton_energy": 0.5 * (edges[1:] + edges[:-1])},
        {"effective_events": effective},
    )


def _geometry(experiment: Experiment, sample: Sample) -> Geometry:
    return experiment.geometry(experiment.targets[sample])


def _distances(near_data: NearData, channels: Channels, sample: Sample) -> dict[str, float]:
    """Return relative L2 distances of normalised spectra, learned from generated."""
    experiment = near_data.experiment
    target, energies = experiment.targets[sample], experiment.energies
    geometry, values = experiment.geometry(target), channels.values[target.name]
    near = near_data.detectors[target.name]
    oscillation = experiment.oscillation(sample, energies.points)
    far = experiment.source_flux(sample) * oscillation
    learned = geometry.seen.of_values(values, clamp=True).rows
    generated = geometry.seen_truth.rows
    cube = [_of_panels(rows * target.near_flux, energies) for rows in (learned, generated)]
    cross_section = geometry.operator.cross_section(values)
    return {
        "near_rel_l2": _distance(near.matrix @ values.ravel(), near.observed),
        "far_rel_l2": _distance(learned @ far, generated @ far),
        "cross_section_3d_rel_l2": _distance(*cube),
        "negative_fraction": float(np.mean(cross_section < 0.0)),
    }


def _distance(found: Float, wanted: Float) -> float:
    one, other = found / found.sum(), wanted / wanted.sum()
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))
