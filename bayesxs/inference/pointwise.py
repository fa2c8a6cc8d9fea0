"""Posteriors event by event: which draws have log densities, and values replicated from them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float, Float32, Int32
from scipy.stats import binom

from bayesxs.types import Floats, Ints

# Draws of each chain, about, of which every event has a log density
POINTWISE_DRAWS = 100

# Attribute of posterior_predictive: its draws that the report shows
REPORTED = "reported_draws"

# Groups with every draw, which `thinned` cuts
_WHOLE = ("posterior", "log_prior", "sample_stats")


def evenly_spaced(draws: int, wanted: int, chains: int = 1) -> Ints:
    """Return the places, in each of some chains, of about `wanted` draws of all together."""
    return np.arange(0, draws, max(1, draws * chains // wanted))


def thinned(tree: xr.DataTree) -> xr.DataTree:
    """Return a tree whose posterior, log_prior and sample_stats have the draws of log_likelihood.

    The other groups stay as they are. Functions that weight draws by their log densities, such as
    ArviZ's psense_summary, need the same draws in all groups.
    """
    draws = tree["log_likelihood"].dataset["draw"].values
    groups = {name: node.to_dataset(inherit=False) for name, node in tree.children.items()}
    cut = {name: groups[name].sel(draw=draws) for name in _WHOLE if name in groups}
    out = xr.DataTree.from_dict(groups | cut)
    out.attrs = dict(tree.attrs)
    return out


def reported(predicted: xr.Dataset) -> xr.Dataset:
    """Return the draws of posterior_predictive that the report shows: all, if it does not say."""
    if REPORTED not in predicted.attrs:
        return predicted
    return predicted.isel(draw=np.isin(predicted["draw"].values, predicted.attrs[REPORTED]))


def replicated_energies(
    rng: np.random.Generator,
    spectra: Float[np.ndarray, "draw bin"],
    edges: Float[np.ndarray, " edge"],
    events: int,
) -> Float32[np.ndarray, "draw event"]:
    """Draw an energy for every event from each draw's spectrum, uniform within bins.

    Args:
        rng: generator.
        spectra: expected in each bin, up to a factor.
        edges: of the bins, GeV.
        events: number.
    """
    below = np.cumsum(spectra, axis=1)
    below = np.pad(below / below[:, -1:], ((0, 0), (1, 0)))
    out = np.empty((len(spectra), events), dtype=np.float32)
    for row, share in zip(out, below, strict=True):
        row[:] = np.interp(rng.random(events), share, edges)
    return out


def replicated_counts(
    rng: np.random.Generator, probabilities: Floats, events: int
) -> Int32[np.ndarray, "draw bin"]:
    """Draw the count of bins that are not empty: binomial, given that it is not zero.

    Only such bins enter a likelihood; with zeros, their counts would seem too large.

    Args:
        rng: generator.
        probabilities: that an event falls into a bin, shape (draws, bins).
        events: number.
    """
    inside = np.clip(probabilities, 1e-300, 1.0)
    # P(more than 0) u is uniform on the upper tail that is left when zero is cut off
    tail = -np.expm1(events * np.log1p(-np.minimum(inside, 1.0 - 1e-16)))
    found = binom.isf(tail * (1.0 - rng.random(inside.shape)), events, inside)
    return np.maximum(found, 1.0).astype(np.int32)
