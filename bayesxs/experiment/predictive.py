"""Posterior predictive spectra: what the far detector would see, draw by draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import NDArray

from bayesxs.detector.density import Sample
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.experiment import Experiment
from bayesxs.inference.channel import FarChannel, channel_probability, mode_weights
from bayesxs.inference.folded import Folded
from bayesxs.inference.posterior import batched, nuisances_of, parameters_of
from bayesxs.keys import generator
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

# Bins of the predictive spectra: few enough that 6200 events fill them
PREDICTIVE_BINS = 40


def add_predictive(
    tree: xr.DataTree, channels: Channels, kind: str, key: Array, wanted: int
) -> None:
    """Attach observed spectra and spectra simulated from posterior draws.

    Each replicated spectrum has the observed number of events, spread multinomially. The axes are
    lepton energy and z, or what is reconstructed: lepton energy and angle. Several samples stand
    along a dimension of that name.

    Args:
        tree: with the group posterior.
        channels: data and cross sections.
        kind: of the posterior's cross section.
        key: random key.
        wanted: draws, about.
    """
    posterior = tree["posterior"].dataset
    draws = posterior.sizes["draw"]
    experiment = channels.experiment
    thin = max(1, draws * posterior.sizes["chain"] // wanted)
    points = parameters_of(posterior, experiment.parameters, thin)
    nuisances = nuisances_of(posterior, thin)
    kept = posterior.draw[::thin]
    asimov = channels.of_asimov(kind)
    observed, replicated, edges = [], [], []
    for number, sample in enumerate(experiment.samples):
        own = channels.events.isel(event=channels.events["sample"].values == number)
        axes = {name: _coarse(fine) for name, fine in _axes(experiment, sample).items()}
        expected = _expected(
            experiment, channels, kind, sample, asimov[number], axes, points, nuisances
        )
        drawn = {}
        for axis, (name, values) in enumerate(expected.items()):
            share = values / values.sum(axis=1, keepdims=True)
            rng = generator(jax.random.fold_in(key, 2 * number + axis))
            spectra = rng.multinomial(own.sizes["event"], share)
            drawn[f"{name}_counts"] = spectra.reshape(posterior.sizes["chain"], len(kept), -1)
        replicated.append(drawn)
        observed.append({f"{n}_counts": np.histogram(own[n].values, e)[0] for n, e in axes.items()})
        edges.append({f"{name}_edges": coarse for name, coarse in axes.items()})
    names = [sample.name for sample in experiment.samples]
    tree["observed_data"] = xr.DataTree(_joined(observed, names))
    tree["constant_data"] = xr.DataTree(_joined(edges, names))
    coords = {"chain": posterior.chain, "draw": kept}
    tree["posterior_predictive"] = xr.DataTree(
        _joined(replicated, names, ("chain", "draw")).assign_coords(coords)
    )


def _joined(
    parts: Sequence[Mapping[str, NDArray[Any]]],
    samples: Sequence[str],
    before: tuple[str, ...] = (),
) -> xr.Dataset:
    """Make a dataset of arrays over bins or edges: of one sample, or along a dimension for several.

    Args:
        parts: arrays of each sample by name, such as "z_counts" or "z_edges".
        samples: their names.
        before: dimensions before that of the bins.
    """
    out = {}
    for name in parts[0]:
        axis = name.removesuffix("_counts") + "_bin"
        axis = name.removesuffix("s") if name.endswith("_edges") else axis
        arrays = [part[name] for part in parts]
        if len(samples) == 1:
            out[name] = ((*before, axis), arrays[0])
        else:
            out[name] = ((*before, "sample", axis), np.stack(arrays, axis=len(before)))
    return xr.Dataset(out, {"sample": list(samples)} if len(samples) > 1 else None)


def _axes(experiment: Experiment, sample: Sample) -> dict[str, Float]:
    """Return the edges of the bins as seen, by the name of the axis among the events."""
    geometry = experiment.geometry(experiment.targets[sample])
    if geometry.response is None:
        return {"lepton_energy": geometry.bins.energy_edges, "z": geometry.bins.z_edges}
    grid = geometry.grid
    return {"reco_lepton_energy": grid.energy_edges, "reco_angle": grid.angle_edges}


def _coarse(fine: Float) -> Float:
    coarse = fine[:: max(1, (len(fine) - 1) // PREDICTIVE_BINS)]
    return np.append(coarse, fine[-1]) if coarse[-1] < fine[-1] else coarse


def _expected(
    experiment: Experiment,
    channels: Channels,
    kind: str,
    sample: Sample,
    channel: FarChannel,
    axes: Mapping[str, Float],
    points: OscillationParameters,
    nuisances: Array,
) -> dict[str, Float]:
    """Return the expected spectrum along each axis for each draw, shape (draws, bins).

    Bins as seen that are points are summed from finer ones, with the nominal cross section; what
    nuisances do is taken from the points, relative to the nominal spectrum.
    """
    geometry = experiment.geometry(experiment.targets[sample])
    integrated = geometry.response is not None
    folded = channels.rows_as_seen(kind, sample)
    fine = geometry.fine_bins
    whole = folded
    if not integrated:
        whole = folded._replace(response=channels.of_rows(kind, sample, *fine.rows), modes=[])
    probabilities = np.asarray(batched(lambda p: channel_probability(channel, p), points))
    out = {}
    for axis, (name, edges) in enumerate(axes.items()):
        _, centers, areas = geometry.seen_rows(axis)
        parts = along(folded, centers, areas, edges)

        def seen(point: OscillationParameters, xi: Array, parts: Float = parts) -> Array:
            flux = (1.0 + xi @ channel.flux_modes) * channel_probability(channel, point)
            return jnp.einsum("m,mbE,E->b", mode_weights(channel, xi), parts, flux)

        if integrated:
            out[name] = np.maximum(np.asarray(batched(seen, points, nuisances)), 0.0)
            continue
        out[name] = probabilities @ along(whole, fine.rows[axis], fine.areas, edges)[0].T
        if channel.nuisances:
            spectra = np.asarray(batched(seen, points, nuisances))
            nominal = probabilities @ parts[0].T
            change = np.divide(spectra, nominal, out=np.ones_like(spectra), where=nominal > 0.0)
            out[name] *= np.maximum(change, 0.0)
    return out


def along(folded: Folded, centers: Float, areas: Float, edges: Float) -> Float:
    """Sum rows to bins of one axis, flux included, shape (1 + modes, bins, E).

    Args:
        folded: cross section and modes of the rows.
        centers: of the rows along the axis.
        areas: by which rows are multiplied.
        edges: of the bins.
    """
    where = np.clip(np.digitize(centers, edges) - 1, 0, len(edges) - 2)
    out = np.zeros((1 + len(folded.modes), len(edges) - 1, len(folded.flux)))
    for number, response in enumerate((folded.response, *folded.modes)):
        if response is not None:
            np.add.at(out[number], where, areas[:, None] * response.rows)
    return out * folded.flux
