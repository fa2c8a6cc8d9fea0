"""The stages that turn computations into results: densities, posterior files, summary."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesxs.app.experiment import Experiment, Geometry
from bayesxs.app.learn import Judge
from bayesxs.app.netcdf import read_tree, write_netcdf
from bayesxs.app.progress import Reporter
from bayesxs.app.seeds import PREDICTIVE_KEY, stage_key
from bayesxs.app.stages import CHAINS, ESTIMATES, KINDS, Channels
from bayesxs.atomic import write_csv, write_json
from bayesxs.detector.density import density
from bayesxs.detector.grid import Float
from bayesxs.detector.operator import exact_cross_section
from bayesxs.inference.channel import channel_probability
from bayesxs.inference.posterior import (
    add_log_likelihood,
    batched,
    parameters_of,
    pool,
    shift_sigma,
    summarize,
    truth_values,
)
from bayesxs.physics.cross_section import differential_cross_section
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.store import RunFolder, Stage

NEAR, ASIMOV = "near_detector.nc", "asimov.nc"
SUMMARY = "summary.json"
SLICE_ENERGIES = (1.0, 2.0, 3.0, 5.0)

# Bins of the predictive spectra: few enough that 6200 events fill them
PREDICTIVE_BINS = 40


def density_stage(experiment: Experiment, channels: Channels, stage: Stage) -> None:
    """Compare true and learned cross section wherever a figure or the summary needs it."""
    sample = experiment.samples[0]
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
    tree = {
        "density": xr.Dataset(densities | edges, coords),
        "total": xr.Dataset(total, {"energy": energies.points}),
        "slices": _slices(experiment, geometry, channels, scale),
        "structure_functions": _structure_functions(experiment, geometry, values, scale),
    }
    write_netcdf(stage.output(NEAR), xr.DataTree.from_dict(tree))
    network = channels.networks[target.name]
    stage.notes |= Judge(geometry, fluxes).errors(network)
    # Of the network itself, without interpolation: zero by construction with the positive head
    own = exact_cross_section(network, geometry.quadrature)
    stage.notes["negative_fraction"] = float(np.mean(own < 0.0))


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
    e_l, z = grid.rows
    learned = channels.networks[geometry.target.name]
    dims = ("slice_energy", "lepton_energy", "z")

    def evaluate(sf: Any) -> Float:
        slices = [
            differential_cross_section(sf, energy, e_l, z, geometry.lepton_mass)
            for energy in energies
        ]
        return np.stack(slices).reshape(len(energies), *grid.shape)

    data = {
        "truth": (dims, evaluate(geometry.target.truth)),
        "model": (dims, scale * evaluate(learned)),
    }
    axes = {"lepton_energy": grid.energy_centers, "z": grid.z_centers}
    return xr.Dataset(data, axes | {"slice_energy": np.array(energies)})


def _structure_functions(
    experiment: Experiment, geometry: Geometry, values: Float, scale: float
) -> xr.Dataset:
    """Tabulate both sets of structure functions and the near detector's weights on the nodes.

    The weights are those of arXiv:2412.16303, Eqs. 9-12: sum_i weight_i b_i is the density of
    near-detector events in x and Q^2, up to the normalisation. They are the columns of the operator
    of the total cross section, summed over energies with the flux, over the area of a node's cell.
    """
    nodes = geometry.nodes
    shape = (len(nodes.u), len(nodes.v), 3)
    flux = geometry.target.near_flux * experiment.energies.weights
    columns = geometry.total_operator.near_matrix(flux).sum(axis=0).reshape(shape)
    x, q2 = nodes.u**3, np.exp(nodes.v) - nodes.q2_scale
    area = np.outer(np.gradient(x), np.gradient(q2))
    weight = (
        np.asarray(columns) / area[..., None] / (geometry.true_total @ geometry.target.near_flux)
    )
    seen = np.any(np.abs(columns) > 0.0, axis=-1, keepdims=True)
    truth = np.nan_to_num(geometry.node_values(geometry.target.truth)).reshape(shape)
    tables = {"truth": truth, "model": scale * values.reshape(shape), "weight": weight}
    dims = ("function", "x", "q2")
    data = {n: (dims, np.where(seen, t, np.nan).transpose(2, 0, 1)) for n, t in tables.items()}
    return xr.Dataset(data, {"function": ["b0", "b1", "b2"], "x": x, "q2": q2})


def posterior_stage(
    experiment: Experiment, folder: RunFolder, channels: Channels, stage: Stage, reporter: Reporter
) -> None:
    """Assemble posterior files and summary from the chains and, where they exist, bootstraps."""
    chains = read_tree(folder.path / CHAINS)
    estimates = read_tree(folder.path / ESTIMATES) if "bootstrap" in folder.stages else None
    summary: dict[str, Any] = _learning_summary(folder)
    seconds = folder.stages["sample"]["notes"]["sampling_seconds"]
    truth = truth_values(experiment.parameters)
    for number, kind in enumerate(KINDS):
        tree = chains.children[f"events_{kind}"].copy()
        tree.orphan()
        data = channels.of_events(kind)
        add_log_likelihood(tree, data, experiment.parameters)
        _add_predictive(
            tree,
            experiment,
            channels,
            kind,
            stage_key(experiment.seed, PREDICTIVE_KEY, number),
        )
        if estimates is not None:
            tree["bootstrap"] = xr.DataTree(estimates[kind].dataset)
        tree["constant_data"] = xr.DataTree(
            tree["constant_data"].dataset.assign({f"true_{n}": v for n, v in truth.items()})
        )
        tree.attrs = {"cross_section": kind, "source": str(channels.events.attrs["source"])}
        write_netcdf(stage.output(f"posterior_{kind}.nc"), tree)
        summary[kind] = summarize(tree) | {"seconds": round(seconds[f"events-{kind}"], 3)}
    summary["asimov"] = {"shift_sigma": _asimov_shift(experiment, channels, chains)}
    groups = {f"{kind}/posterior": chains[f"asimov_{kind}/posterior"].dataset for kind in KINDS}
    write_netcdf(stage.output(ASIMOV), xr.DataTree.from_dict(groups))
    stage.notes["summary"] = summary


def _learning_summary(folder: RunFolder) -> dict[str, Any]:
    errors = folder.stages["density"]["notes"]
    return {
        "near": {"rel_l2": errors["near_rel_l2"]},
        "far": {"rel_l2": errors["far_rel_l2"]},
        "cross_section_3d": {
            "rel_l2": errors["cross_section_3d_rel_l2"],
            "negative_fraction": errors["negative_fraction"],
        },
    }


def _asimov_shift(
    experiment: Experiment, channels: Channels, chains: xr.DataTree
) -> dict[str, float]:
    """Measure how far the learned cross section moves the posterior of expected data."""
    first, second = (chains[f"asimov_{kind}/posterior"].dataset for kind in KINDS)
    thin = max(1, first.sizes["draw"] * first.sizes["chain"] // 4000)
    data = (channels.of_asimov("truth"), channels.of_asimov("learned"))
    comparison = pool(first, second, data, experiment.parameters, thin)
    names = [str(n) for n in first.data_vars if n not in ("octant_upper_probability", "dcp")]
    return shift_sigma(comparison, names)


def _add_predictive(
    tree: xr.DataTree, experiment: Experiment, channels: Channels, kind: str, key: jax.Array
) -> None:
    """Attach observed spectra and spectra simulated from posterior draws, summed over samples.

    Each replicated spectrum has the observed number of events, spread multinomially.
    """
    posterior = tree["posterior"].dataset
    draws = posterior.sizes["draw"]
    wanted = experiment.card.report.predictive_draws
    thin = max(1, draws * posterior.sizes["chain"] // wanted)
    points = parameters_of(posterior, experiment.parameters, thin)
    kept = posterior.draw[::thin]
    observed, replicated, edges = {}, {}, {}
    bins = experiment.geometry(experiment.targets[experiment.samples[0]]).bins
    responses = [
        channels.of_rows(kind, s, *experiment.geometry(experiment.targets[s]).fine_bins.rows).rows
        for s in experiment.samples
    ]
    axes = (("lepton_energy", bins.energy_edges), ("z", bins.z_edges))
    asimov = channels.of_asimov(kind)
    for axis, (name, fine) in enumerate(axes):
        coarse = fine[:: max(1, (len(fine) - 1) // PREDICTIVE_BINS)]
        coarse = np.append(coarse, fine[-1]) if coarse[-1] < fine[-1] else coarse
        edges[f"{name}_edges"] = (f"{name}_edge", coarse)
        counts = np.histogram(channels.events[name].values, coarse)[0]
        observed[f"{name}_counts"] = (f"{name}_bin", counts)
        shape = (posterior.sizes["chain"], len(kept), len(coarse) - 1)
        spectra = np.zeros((shape[0] * shape[1], shape[2]))
        for number, sample in enumerate(experiment.samples):
            geometry = experiment.geometry(experiment.targets[sample])
            fine_bins, rows = geometry.fine_bins, responses[number]
            where = np.clip(np.digitize(fine_bins.rows[axis], coarse) - 1, 0, len(coarse) - 2)
            folded = np.zeros((len(coarse) - 1, rows.shape[1]))
            np.add.at(folded, where, fine_bins.areas[:, None] * rows)
            folded *= experiment.source_flux(sample)
            size = int((channels.events["sample"].values == number).sum())
            spectra = spectra + _replicate(
                jax.random.fold_in(key, 2 * number + axis), asimov[number], points, folded, size
            )
        replicated[f"{name}_counts"] = (("chain", "draw", f"{name}_bin"), spectra.reshape(shape))
    tree["observed_data"] = xr.DataTree(xr.Dataset(observed))
    tree["constant_data"] = xr.DataTree(xr.Dataset(edges))
    coords = {"chain": posterior.chain, "draw": kept}
    tree["posterior_predictive"] = xr.DataTree(xr.Dataset(replicated, coords))


def _replicate(
    key: jax.Array, channel: Any, points: OscillationParameters, folded: Float, size: int
) -> NDArray[np.int64]:
    """Draw a spectrum of `size` events for each set of parameters, shape (points, bins)."""
    probabilities = np.asarray(batched(lambda p: channel_probability(channel, p), points))
    expected = probabilities @ folded.T
    expected /= expected.sum(axis=1, keepdims=True)
    seed = np.asarray(jax.random.key_data(key)).tolist()
    return np.random.default_rng(seed).multinomial(size, expected)


def write_summary(folder: RunFolder, stage: Stage) -> dict[str, Any]:
    """Write summary.json and summary.csv from what the stages noted; return the summary."""
    stages = folder.stages
    summary: dict[str, Any] = dict(stages["posterior"]["notes"]["summary"])
    operator = stages["train"]["notes"].get("operator_seconds", 0.0)
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
    rows = list(_flat(summary))
    write_csv(
        stage.output("summary.csv"), {"key": [k for k, _ in rows], "value": [v for _, v in rows]}
    )
    return summary


def _flat(table: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """List (dotted key, value) of a nested table; intervals become two rows."""
    rows: list[tuple[str, Any]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            rows += [
                (f"{prefix}{key}.{side}", v) for side, v in zip(("low", "high"), value, strict=True)
            ]
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
