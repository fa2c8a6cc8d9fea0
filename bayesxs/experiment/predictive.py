"""Posterior predictive spectra: what the far detector would see, draw by draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from numpy.typing import NDArray

from bayesxs.experiment.channels import Channels
from bayesxs.experiment.far import seen_values
from bayesxs.inference.channel import (
    FarChannel,
    channel_probability,
    mode_weights,
    pointwise_log_density,
)
from bayesxs.inference.folded import Folded
from bayesxs.inference.pointwise import REPORTED, replicated_counts, replicated_energies
from bayesxs.inference.posterior import batched, nuisances_of, parameters_of
from bayesxs.keys import generator
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float
from bayesxs.types import Ints

# Bins of the predictive spectra: few enough that 6200 events fill them
PREDICTIVE_BINS = 40


def add_predictive(
    tree: xr.DataTree, channels: Channels, kind: str, key: Array, shown: Ints
) -> None:
    """Attach observed spectra and events, and such that are simulated from posterior draws.

    The draws are those of log_likelihood. Each replicated spectrum has the observed number of
    events, spread multinomially. The axes are lepton energy and z, or what is reconstructed: lepton
    energy and angle. Several samples stand along a dimension of that name.

    The variable events belongs to that of log_likelihood, element by element. Of single events it
    is the lepton energy, each with draws of its own from the spectrum of its sample; where data are
    counted in bins it is the count of each bin with events.

    Args:
        tree: with the groups posterior and log_likelihood.
        channels: data and cross sections.
        kind: of the posterior's cross section.
        key: random key.
        shown: places in a chain of the draws that the report shows, all in log_likelihood.
    """
    draws, whole = tree["log_likelihood"].dataset["draw"], tree["posterior"].dataset
    posterior = whole.sel(draw=draws.values)
    numbers = whole["draw"].values[shown]
    first = np.isin(draws.values, numbers)
    before = (posterior.sizes["chain"], posterior.sizes["draw"])
    points = parameters_of(posterior, channels.experiment.parameters), nuisances_of(posterior)
    observed, replicated, edges, events = [], [], [], []
    samples = channels.experiment.samples
    for number in range(len(samples)):
        own = channels.events.isel(event=channels.events["sample"].values == number)
        spectra = _Spectra(channels, kind, number, *points)
        axes = {name: _coarse(fine) for name, fine in spectra.axes.items()}
        drawn = {}
        for axis, (name, coarse) in enumerate(axes.items()):
            values = spectra.along(axis, coarse)
            share = values / values.sum(axis=1, keepdims=True)
            rng = generator(jax.random.fold_in(key, 2 * number + axis))
            drawn[f"{name}_counts"] = _spread(
                rng, own.sizes["event"], share.reshape(*before, -1), first
            )
        replicated.append(drawn)
        observed.append(
            {f"{n}_counts": np.histogram(seen_values(own, n), e)[0] for n, e in axes.items()}
        )
        edges.append({f"{name}_edges": coarse for name, coarse in axes.items()})
        rng = generator(jax.random.fold_in(key, 2 * len(samples) + number))
        events.append(_events(rng, channels, kind, number, own, spectra))
    names = [sample.name for sample in samples]
    seen, copies = (np.concatenate(parts, axis=-1) for parts in zip(*events, strict=True))
    tree["observed_data"] = xr.DataTree(_joined(observed, names).assign(events=("event", seen)))
    tree["constant_data"] = xr.DataTree(_joined(edges, names))
    predicted = _joined(replicated, names, ("chain", "draw"))
    predicted["events"] = (("chain", "draw", "event"), copies.reshape(*before, -1))
    predicted.attrs[REPORTED] = numbers
    coords = {"chain": posterior.chain, "draw": draws}
    tree["posterior_predictive"] = xr.DataTree(predicted.assign_coords(coords))


def _spread(
    rng: np.random.Generator, events: int, share: Float, first: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Spread events over bins, of some draws before the others: so theirs need no others.

    Args:
        rng: generator.
        events: number in each spectrum.
        share: of each bin, shape (chains, draws, bins).
        first: which draws come first.
    """
    out = np.zeros(share.shape, dtype=np.int64)
    for chosen in (first, ~first):
        if chosen.any():
            out[:, chosen] = rng.multinomial(events, share[:, chosen])
    return out


def _events(
    rng: np.random.Generator,
    channels: Channels,
    kind: str,
    number: int,
    own: xr.Dataset,
    spectra: _Spectra,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return what was observed of each row of a sample's likelihood, and draws of it."""
    if not channels.in_bins(number):
        edges, values = spectra.fine_energies()
        drawn = replicated_energies(rng, values, edges, own.sizes["event"])
        return own["lepton_energy"].values.astype(np.float32), drawn
    channel = channels.of_events(kind)[number]
    logs = _log_densities(channel, spectra.points, spectra.nuisances)
    counts = np.asarray(channel.weights)
    drawn = replicated_counts(rng, np.exp(np.asarray(logs)), round(counts.sum()))
    return counts.astype(np.float32), drawn.astype(np.float32)


@jax.jit
def _probabilities(channel: FarChannel, points: OscillationParameters) -> Array:
    return batched(partial(channel_probability, channel), points)


@jax.jit
def _log_densities(channel: FarChannel, points: OscillationParameters, nuisances: Array) -> Array:
    return batched(partial(pointwise_log_density, channel), points, nuisances)


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


def _coarse(fine: Float) -> Float:
    coarse = fine[:: max(1, (len(fine) - 1) // PREDICTIVE_BINS)]
    return np.append(coarse, fine[-1]) if coarse[-1] < fine[-1] else coarse


class _Spectra:
    """Expected spectra of a sample for each draw.

    Bins as seen that are points are summed from finer ones, with the nominal cross section; what
    nuisances do is taken from the points, relative to the nominal spectrum.
    """

    def __init__(
        self,
        channels: Channels,
        kind: str,
        number: int,
        points: OscillationParameters,
        nuisances: Array,
    ) -> None:
        """Fold the cross section of a sample.

        Args:
            channels: data and cross sections.
            kind: of the cross section.
            number: of the sample.
            points: oscillation parameters of the draws.
            nuisances: of the draws, shape (draws, q).
        """
        experiment = channels.experiment
        sample = experiment.samples[number]
        self.points, self.nuisances = points, nuisances
        self._geometry = geometry = experiment.geometry(experiment.targets[sample])
        self._channel = channel = channels.of_asimov(kind)[number]
        self._folded = channels.rows_as_seen(kind, sample)
        self._integrated = geometry.integrated
        if not self._integrated:
            response = channels.of_rows(kind, sample, *geometry.fine_bins.rows)
            self._whole = self._folded._replace(response=response, modes=[])
            self._probabilities = np.asarray(_probabilities(channel, points))

    @property
    def axes(self) -> dict[str, Float]:
        """Edges of the bins as seen, by the name of the axis among the events."""
        if not self._integrated:
            bins = self._geometry.bins
            return {"lepton_energy": bins.energy_edges, "z": bins.z_edges}
        grid = self._geometry.grid
        if self._geometry.response is None:
            return {"lepton_energy": grid.energy_edges, "angle": grid.angle_edges}
        return {"reco_lepton_energy": grid.energy_edges, "reco_angle": grid.angle_edges}

    def along(self, axis: int, edges: Float) -> Float:
        """Return the spectra along an axis, in some of the bins as seen, shape (draws, bins)."""
        if self._integrated:
            return np.maximum(self._seen(self._parts(axis, edges)), 0.0)
        out = self._nominal(axis, edges)
        return out * self._change(axis, edges) if self._channel.nuisances else out

    def fine_energies(self) -> tuple[Float, Float]:
        """Return edges of fine bins in true lepton energy and the spectra, shape (draws, bins)."""
        edges = self._geometry.fine_bins.energy_edges
        out = self._nominal(0, edges)
        if self._channel.nuisances:
            coarse = self._geometry.bins.energy_edges
            centers = 0.5 * (edges[1:] + edges[:-1])
            out = out * self._change(0, coarse)[:, np.searchsorted(coarse, centers) - 1]
        return edges, out

    def _nominal(self, axis: int, edges: Float) -> Float:
        fine = self._geometry.fine_bins
        bins = along(self._whole, fine.rows[axis], fine.areas, edges)[0]
        return np.asarray(self._probabilities @ bins.T)

    def _change(self, axis: int, edges: Float) -> Float:
        """Return the factor by which nuisances change the spectra."""
        parts = self._parts(axis, edges)
        spectra, nominal = self._seen(parts), self._probabilities @ parts[0].T
        change = np.divide(spectra, nominal, out=np.ones_like(spectra), where=nominal > 0.0)
        return np.maximum(change, 0.0)

    def _parts(self, axis: int, edges: Float) -> Float:
        _, centers, areas = self._geometry.seen_rows(axis)
        return along(self._folded, centers, areas, edges)

    def _seen(self, parts: Float) -> Float:
        channel = self._channel

        def seen(point: OscillationParameters, xi: Array) -> Array:
            flux = (1.0 + xi @ channel.flux_modes) * channel_probability(channel, point)
            return jnp.einsum("m,mbE,E->b", mode_weights(channel, xi), parts, flux)

        return np.asarray(batched(seen, self.points, self.nuisances))


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
