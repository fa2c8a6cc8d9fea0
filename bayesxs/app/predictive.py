"""Posterior predictive spectra: what the far detector would see, draw by draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import NDArray

from bayesxs.app.channels import Channels, Folded
from bayesxs.app.experiment import Experiment
from bayesxs.app.geometry import Geometry
from bayesxs.detector.density import Sample
from bayesxs.detector.grid import Float
from bayesxs.inference.channel import FarChannel, channel_probability, mode_weights
from bayesxs.inference.posterior import batched, nuisances_of, parameters_of
from bayesxs.physics.oscillation import OscillationParameters

# Bins of the predictive spectra: few enough that 6200 events fill them
PREDICTIVE_BINS = 40


def add_predictive(
    tree: xr.DataTree, experiment: Experiment, channels: Channels, kind: str, key: Array
) -> None:
    """Attach observed spectra and spectra simulated from posterior draws, summed over samples.

    Each replicated spectrum has the observed number of events, spread multinomially. The axes are
    lepton energy and z, or what is reconstructed: lepton energy and angle.
    """
    posterior = tree["posterior"].dataset
    draws = posterior.sizes["draw"]
    wanted = experiment.card.report.predictive_draws
    thin = max(1, draws * posterior.sizes["chain"] // wanted)
    points = parameters_of(posterior, experiment.parameters, thin)
    nuisances = nuisances_of(posterior, thin)
    kept = posterior.draw[::thin]
    observed, replicated, edges = {}, {}, {}
    asimov = channels.of_asimov(kind)
    first = experiment.geometry(experiment.targets[experiment.samples[0]])
    for axis, (name, fine) in enumerate(_axes(first).items()):
        coarse = _coarse(fine)
        edges[f"{name}_edges"] = (f"{name}_edge", coarse)
        counts = np.histogram(channels.events[name].values, coarse)[0]
        observed[f"{name}_counts"] = (f"{name}_bin", counts)
        shape = (posterior.sizes["chain"], len(kept), len(coarse) - 1)
        spectra = np.zeros((shape[0] * shape[1], shape[2]))
        for number, sample in enumerate(experiment.samples):
            expected = _expected(
                experiment, channels, kind, sample, asimov[number], axis, coarse, points, nuisances
            )
            size = int((channels.events["sample"].values == number).sum())
            spectra = spectra + _draw(jax.random.fold_in(key, 2 * number + axis), expected, size)
        replicated[f"{name}_counts"] = (("chain", "draw", f"{name}_bin"), spectra.reshape(shape))
    tree["observed_data"] = xr.DataTree(xr.Dataset(observed))
    tree["constant_data"] = xr.DataTree(xr.Dataset(edges))
    coords = {"chain": posterior.chain, "draw": kept}
    tree["posterior_predictive"] = xr.DataTree(xr.Dataset(replicated, coords))


def _axes(geometry: Geometry) -> dict[str, Float]:
    """Return the edges of the bins as seen, by the name of the axis among the events."""
    if geometry.response is None:
        return {"lepton_energy": geometry.bins.energy_edges, "z": geometry.bins.z_edges}
    grid = geometry.response.grid
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
    axis: int,
    edges: Float,
    points: OscillationParameters,
    nuisances: Array,
) -> Float:
    """Return the expected spectrum along one axis for each draw, shape (draws, bins)."""
    geometry = experiment.geometry(experiment.targets[sample])
    folded = channels.rows_as_seen(kind, sample)
    _, centers, areas = geometry.seen_rows(axis)
    parts = along(folded, centers, areas, edges)

    def one(point: OscillationParameters, xi: Array) -> Array:
        flux = (1.0 + xi @ channel.flux_modes) * channel_probability(channel, point)
        return jnp.einsum("m,mbE,E->b", mode_weights(channel, xi), parts, flux)

    spectra = np.asarray(batched(one, points, nuisances))
    if geometry.response is not None:
        return np.maximum(spectra, 0.0)
    # The bins as seen are points; finer ones integrate the nominal spectrum, and the nuisances are
    # taken relative to it
    nominal = np.asarray(batched(lambda p, xi: one(p, 0.0 * xi), points, nuisances))
    fine = geometry.fine_bins
    response = channels.of_rows(kind, sample, *fine.rows)
    whole = along(folded._replace(response=response, modes=[]), fine.rows[axis], fine.areas, edges)[
        0
    ]
    probabilities = np.asarray(batched(lambda p: channel_probability(channel, p), points))
    change = np.divide(spectra, nominal, out=np.ones_like(spectra), where=nominal > 0.0)
    return np.maximum(change, 0.0) * (probabilities @ whole.T)


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


def _draw(key: Array, expected: Float, size: int) -> NDArray[np.int64]:
    """Draw a spectrum of `size` events for each row of expected counts."""
    seed = np.asarray(jax.random.key_data(key)).tolist()
    share = expected / expected.sum(axis=1, keepdims=True)
    return np.random.default_rng(seed).multinomial(size, share)
