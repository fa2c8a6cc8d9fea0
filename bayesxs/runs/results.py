"""The stages that turn computations into results: densities, posterior files, summary."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayesxs.cards.card import dotted
from bayesxs.detector.charts import CubeRoot
from bayesxs.detector.density import Sample, density
from bayesxs.detector.exact import exact_cross_section
from bayesxs.detector.operator import Quadrature, build_operator
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.closure import compare_with_template
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry
from bayesxs.experiment.judge import Judge
from bayesxs.experiment.measured import density_of_data, far_summary, near_summary
from bayesxs.experiment.near import NearData
from bayesxs.experiment.predictive import add_predictive
from bayesxs.inference.pointwise import POINTWISE_DRAWS, evenly_spaced
from bayesxs.inference.posterior import (
    add_log_likelihood,
    add_priors,
    pool,
    shift_sigma,
    side_by_side,
    summarize,
    truth_values,
)
from bayesxs.inference.summaries import UNITS
from bayesxs.keys import Purpose, derive
from bayesxs.physics.kinematics import is_physical
from bayesxs.physics.structure_functions import Positive
from bayesxs.report.budget import TWO_STEPS
from bayesxs.runs.chains import CHAINS
from bayesxs.runs.files import ASIMOV, NEAR
from bayesxs.runs.joint import joint_summary
from bayesxs.runs.ratios import ratio_groups
from bayesxs.runs.settings import RunSettings
from bayesxs.runs.stages import ESTIMATES
from bayesxs.storage.atomic import write_csv, write_json
from bayesxs.storage.netcdf import open_group, read_tree, tree_writer, write_netcdf
from bayesxs.storage.run_folder import RunFolder, Stage
from bayesxs.types import Floats as Float

SUMMARY = "summary.json"
# Share of the near rate that is none: CT18's antiquarks dip below zero where x is nearly one
NO_SHARE = 1e-6
# Smallest weight of a node of a nucleus that is shown, over the largest
SEEN = 1e-4
SLICE_ENERGIES = (1.0, 2.0, 3.0, 5.0)
_SIDES = ("low", "high")


def density_stage(near: NearData, channels: Channels, stage: Stage) -> None:
    """Compare the learned cross section with the true one, or, if none is known, with the data.

    A generator's events are data, and a template to compare with.
    The file has the groups of one sample at its root; of several, each sample's below its name.
    Errors are the largest of all, with those of each sample beside them.
    """
    experiment = channels.experiment
    if not channels.simulated or experiment.generated:
        compare = density_of_data if not channels.simulated else compare_with_template
        groups, notes = compare(near, channels)
        groups |= ratio_groups(channels, stage)
        write_netcdf(stage.output(NEAR), xr.DataTree.from_dict(groups))
        stage.notes |= notes | {"resolution_warning": experiment.resolution_warning}
        return
    trees, errors = {}, {}
    for sample in experiment.samples:
        trees[sample.name], errors[sample.name] = _compare(experiment, channels, sample)
    (tree, worst), *others = zip(trees.values(), errors.values(), strict=True)
    if others:
        tree = {f"{name}/{group}": d for name, own in trees.items() for group, d in own.items()}
        worst = {key: max(found[key] for found in errors.values()) for key in worst}
        targets = {sample.name: experiment.targets[sample].name for sample in experiment.samples}
        stage.notes["samples"] = {n: {"target": targets[n]} | found for n, found in errors.items()}
    found = xr.DataTree.from_dict(tree | ratio_groups(channels, stage))
    shares = projected_shares(experiment)
    found.attrs |= {
        f"projected_share_{kind}_{name}": share
        for kind, own in shares.items()
        for name, share in own.items()
    }
    write_netcdf(stage.output(NEAR), found)
    stage.notes["projected_share"] = shares
    stage.notes["resolution_warning"] = experiment.resolution_warning
    stage.notes |= worst


def _compare(
    experiment: Experiment, channels: Channels, sample: Sample
) -> tuple[dict[str, xr.Dataset], dict[str, float]]:
    """Return densities and cross sections of a sample, true and learned, and their distances."""
    target = experiment.targets[sample]
    geometry = experiment.geometry(target)
    values = channels.values[target.name]
    energies = experiment.energies
    oscillation = experiment.oscillation(sample, energies.points)
    fluxes = {"near": target.near_flux, "far": experiment.source_flux(sample) * oscillation}
    truth = geometry.true_bins
    learned = geometry.learned_bins(values)
    scale = float((truth.total @ target.near_flux) / (learned.total @ target.near_flux))
    bins, shape = geometry.bins, geometry.bins.shape
    plane = ("lepton_energy", "z")
    coords = {"lepton_energy": bins.energy_centers, "z": bins.z_centers}
    densities = {
        f"{place}_{kind}": (plane, density(response, flux).reshape(shape))
        for place, flux in fluxes.items()
        for kind, response in (("truth", truth), ("model", learned))
    }
    edges = {
        "lepton_energy_edges": ("lepton_energy_edge", bins.energy_edges),
        "z_edges": ("z_edge", bins.z_edges),
    }
    weights = energies.weights
    total = {
        "truth": ("energy", truth.total / weights),
        "model": ("energy", scale * learned.total / weights),
        "flux": ("energy", target.near_flux),
        "probability": ("energy", oscillation),
    }
    if experiment.far_flux is not None:
        total["far_flux"] = ("energy", experiment.source_flux(sample))
    tree = {
        "density": xr.Dataset(densities | edges, coords),
        "total": xr.Dataset(total, {"energy": energies.points}),
        "slices": _slices(experiment, geometry, channels, scale),
        "structure_functions": _structure_functions(experiment, geometry, values, scale),
    }
    errors = Judge(geometry, fluxes).errors(values)
    if channels.cross_section.source != "gaussian_process":
        # Of the network itself, without interpolation: zero by construction with all heads but
        # the unconstrained one
        own = exact_cross_section(channels.cross_section.networks[target.name], geometry.quadrature)
        errors["negative_fraction"] = float(np.mean(own < 0.0))
    return tree, errors


def projected_shares(experiment: Experiment) -> dict[str, dict[str, float]]:
    """Return the part of the near rate that projecting on non-negative cross sections adds.

    By kind of cross section, then by target; shares up to NO_SHARE are left out.
    """
    shares: dict[str, dict[str, float]] = {}
    for target in experiment.unique_targets:
        for kind, sf in (("truth", target.truth), ("assumed", target.assumed)):
            share = 0.0
            if isinstance(sf, Positive):
                share = experiment.geometry(target).projected_share(sf)
            if share > NO_SHARE:
                shares.setdefault(kind, {})[target.name] = share
    return shares


def _slices(
    experiment: Experiment,
    geometry: Geometry,
    channels: Channels,
    scale: float,
) -> xr.Dataset:
    """Evaluate both cross sections at a few neutrino energies."""
    low, high = experiment.energies.edges[[0, -1]]
    energies = [e for e in SLICE_ENERGIES if low < e < high] or [0.5 * (low + high)]
    grid = geometry.fine_bins
    points = _points_at(energies, geometry)
    operator = build_operator(points, experiment.energies, geometry.nodes)
    values = {
        "truth": exact_cross_section(geometry.true_functions, points),
        "model": scale * operator.cross_section(channels.values[geometry.target.name]),
    }
    data = {}
    for name, own in values.items():
        slices = np.zeros(points.n_rows)
        slices[points.row] = own
        shape = (len(energies), *grid.shape)
        data[name] = (("slice_energy", "lepton_energy", "z"), slices.reshape(shape))
    axes = {"lepton_energy": grid.energy_centers, "z": grid.z_centers}
    return xr.Dataset(data, axes | {"slice_energy": np.array(energies)})


def _points_at(energies: list[float], geometry: Geometry) -> Quadrature:
    """Return centers of the fine bins at some neutrino energies in GeV, where they are physical."""
    mass, space = geometry.lepton_mass, geometry.space
    energy = np.repeat(energies, len(geometry.fine_bins.areas))
    e_l, z = (np.tile(own, len(energies)) for own in geometry.fine_bins.rows)
    rows = np.nonzero(np.asarray(is_physical(energy, e_l, z, mass, space)))[0].astype(np.int32)
    weights = np.ones(len(rows))
    return Quadrature(rows, energy[rows], e_l[rows], z[rows], weights, len(energy), mass, space)


def _structure_functions(
    experiment: Experiment, geometry: Geometry, values: Float, scale: float
) -> xr.Dataset:
    """Tabulate both sets of structure functions and the near detector's weights on the nodes.

    The weights are those of arXiv:2412.16303, Eqs. 9-12: sum_i weight_i b_i is the density of
    near-detector events in x and Q^2, up to the normalisation. They are the columns of the operator
    of the total cross section, summed over energies with the flux, over the area of a node's cell.
    Nodes that do not lie on axes in x and Q^2 are interpolated to such.
    """
    nodes = geometry.nodes
    shape = (len(nodes.u), len(nodes.v), 3)
    flux = geometry.target.near_flux * experiment.energies.weights
    columns = np.asarray(geometry.total_operator.near_matrix(flux).sum(axis=0)).reshape(shape)
    least = 0.0 if isinstance(nodes.chart, CubeRoot) else SEEN * np.abs(columns).max()
    seen = np.any(np.abs(columns) > least, axis=-1, keepdims=True)
    rate = geometry.true_total @ geometry.target.near_flux
    axes = nodes.axes(geometry.space.x_max)
    truth = np.nan_to_num(geometry.node_values(geometry.true_functions)).reshape(shape)
    tables = {"truth": truth, "model": scale * values.reshape(shape)}
    tables = {name: axes.values(table) for name, table in tables.items()}
    tables["weight"] = axes.densities(columns) / rate
    kept = axes.values(seen.astype(float)) > 0.5
    dims = ("function", "x", "q2")
    data = {n: (dims, np.where(kept, t, np.nan).transpose(2, 0, 1)) for n, t in tables.items()}
    return xr.Dataset(data, {"function": ["b0", "b1", "b2"], "x": axes.x, "q2": axes.q2})


def posterior_stage(
    channels: Channels, settings: RunSettings, folder: RunFolder, stage: Stage
) -> None:
    """Assemble posterior files and summary from the chains and, where they exist, bootstraps.

    The chains stay on the disk: they are read a variable, and copied a block of draws, at a time.
    """
    experiment, chains = channels.experiment, folder.path / CHAINS
    estimates = read_tree(folder.path / ESTIMATES) if "bootstrap" in folder.stages else None
    summary: dict[str, Any] = _learning_summary(channels, folder)
    seconds = folder.note("sample", "sampling_seconds")
    truth = truth_values(experiment.parameters)
    for number, kind in enumerate(channels.kinds):
        with (
            open_group(chains, f"events_{kind}/posterior") as posterior,
            open_group(chains, f"events_{kind}/sample_stats") as statistics,
        ):
            tree = xr.DataTree.from_dict({"posterior": posterior, "sample_stats": statistics})
            data = channels.of_events(kind)
            each, count = posterior.sizes["draw"], posterior.sizes["chain"]
            shown = evenly_spaced(each, settings.predictive_draws, count)
            places = np.union1d(evenly_spaced(each, POINTWISE_DRAWS), shown)
            add_log_likelihood(tree, data, experiment.parameters, places)
            key = derive(settings.seed, Purpose.PREDICTIVE, number)
            add_predictive(tree, channels, kind, key, shown)
            add_priors(tree, experiment.priors, derive(settings.seed, Purpose.PRIOR))
            if estimates is not None:
                tree["bootstrap"] = xr.DataTree(estimates[kind].dataset)
            if not settings.far.file:
                constants = {
                    f"true_{n}": ((), v, {"units": UNITS.get(n, "1")}) for n, v in truth.items()
                }
                tree["constant_data"] = xr.DataTree(tree["constant_data"].dataset.assign(constants))
            tree.attrs = {"cross_section": kind, "source": str(channels.events.attrs["source"])}
            if channels.near_terms(kind):
                with open_group(chains, f"events_{TWO_STEPS}/posterior") as other:
                    summary["joint"] = joint_summary(posterior, other, channels)
            if kind == "learned" and (experiment.generated or not channels.simulated):
                summary["far"] = summary.get("far", {}) | far_summary(tree, channels.events)
            with tree_writer(stage.output(f"posterior_{kind}.nc")) as writer:
                writer.write_tree(tree)
            summary[kind] = summarize(tree) | {"seconds": round(seconds[f"events-{kind}"], 3)}
    if channels.simulated:
        summary["asimov"] = _asimov(experiment, channels, chains, stage)
    stage.notes["summary"] = summary


def _asimov(
    experiment: Experiment, channels: Channels, chains: Path, stage: Stage
) -> dict[str, dict[str, float]]:
    """Write the posteriors of expected data; return how far they are shifted."""
    with ExitStack() as stack:
        asimov = {
            kind: stack.enter_context(open_group(chains, f"asimov_{kind}/posterior"))
            for kind in channels.kinds
        }
        shifts = {"shift_sigma": _asimov_shift(experiment, channels, asimov, "learned")}
        if "assumed" in channels.kinds:
            shifts["assumed_shift_sigma"] = _asimov_shift(experiment, channels, asimov, "assumed")
        with tree_writer(stage.output(ASIMOV)) as writer:
            for kind, posterior in asimov.items():
                writer.write(f"{kind}/posterior", posterior)
    return shifts


def _learning_summary(channels: Channels, folder: RunFolder) -> dict[str, Any]:
    notes = folder.note("density")
    if not channels.simulated:
        near, warning = near_summary(notes), folder.note("density", "resolution_warning")
        found = {"near": near, "resolution_warning": warning}
        return {name: value for name, value in found.items() if value}
    samples = {
        name: {"target": folder.note("density", "samples", name, "target")}
        | _distances(folder, "samples", name)
        for name in notes.get("samples", {})
    }
    kept = ("projected_share", "resolution_warning", "events")
    found = {name: notes[name] for name in kept if notes.get(name)}
    found |= _distances(folder) | ({"samples": samples} if samples else {})
    if "template_events" in notes:
        found["near"] |= near_summary(notes)
        found["far"] |= {"template_events": notes["template_events"]}
    return found


def _distances(folder: RunFolder, *place: str) -> dict[str, Any]:
    """Return distances of a learned from a true cross section, as the summary names them."""

    def noted(name: str) -> Any:
        return folder.note("density", *place, name)

    return {
        "near": {"rel_l2": noted("near_rel_l2")},
        "far": {"rel_l2": noted("far_rel_l2")},
        "cross_section_3d": {
            "rel_l2": noted("cross_section_3d_rel_l2"),
            "negative_fraction": noted("negative_fraction"),
        },
    }


def _asimov_shift(
    experiment: Experiment,
    channels: Channels,
    posteriors: Mapping[str, xr.Dataset],
    kind: str,
) -> dict[str, float]:
    """Measure how far a cross section moves the posterior of expected data, in sd of the truth's.

    Nuisances that one posterior has and the other has not leave no draws in common; each then
    stands for itself, one parameter at a time.
    """
    if experiment.generated:
        return _shift_from_template(posteriors, kind)
    first, second = posteriors["truth"], posteriors[kind]
    names = _compared(first)
    if "nuisance" in second:
        shifts: dict[str, float] = {}
        for name in names:
            shifts |= shift_sigma(side_by_side(first[[name]], second[[name]]), [name])
        return shifts
    thin = max(1, first.sizes["draw"] * first.sizes["chain"] // 4000)
    data = (channels.of_asimov("truth"), channels.of_asimov(kind))
    comparison = pool(first, second, data, experiment.parameters, thin)
    return shift_sigma(comparison, names)


def _shift_from_template(posteriors: Mapping[str, xr.Dataset], kind: str) -> dict[str, float]:
    """Measure how far a cross section moves the posterior from that of a generator's template.

    In standard deviations of the posterior with the learned cross section: those of data and
    nuisances together.
    """
    template, other, total = (posteriors[name] for name in ("truth", kind, "learned"))
    shifts = {}
    for name in _compared(template):
        moved = shift_sigma(side_by_side(template, other), [name])[name]
        shifts[name] = moved * float(template[name].std() / total[name].std())
    return shifts


def _compared(posterior: xr.Dataset) -> list[str]:
    """Return the parameters whose shifts are measured."""
    left_out = ("octant_upper_probability", "dcp", "nuisance")
    return [str(n) for n in posterior.data_vars if n not in left_out]


def write_summary(folder: RunFolder, stage: Stage) -> dict[str, Any]:
    """Write summary.json and summary.csv from what the stages noted; return the summary."""
    stages = folder.stages
    summary: dict[str, Any] = dict(folder.note("posterior", "summary"))
    operator = folder.note("train").get("operator_seconds", 0.0)
    seconds = {
        "operator": operator,
        "train": stages["train"]["seconds"] - operator,
        "simulate": stages["simulate"]["seconds"],
        "sample": stages["sample"]["seconds"],
        "bootstrap": stages.get("bootstrap", {}).get("seconds", 0.0),
        "report": stages["density"]["seconds"] + stages["posterior"]["seconds"] + stage.seconds,
    }
    seconds = {name: round(value, 3) for name, value in seconds.items()}
    summary["seconds"] = seconds | {"total": round(sum(seconds.values()), 3)}
    write_json(stage.output(SUMMARY), summary)
    rows: dict[str, Any] = {}
    for key, value in dotted(summary).items():
        if not isinstance(value, list):
            rows[key] = value
        elif value and isinstance(value[0], list):  # intervals
            for part, ends in enumerate(value):
                rows |= {f"{key}.{part}.{n}": v for n, v in zip(_SIDES, ends, strict=True)}
        else:  # an interval
            rows |= {f"{key}.{side}": v for side, v in zip(_SIDES, value, strict=True)}
    write_csv(stage.output("summary.csv"), {"key": list(rows), "value": list(rows.values())})
    return summary
