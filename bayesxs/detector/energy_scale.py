"""Uncertain scale of reconstructed energy: events that move between the bins of their sample.

An event at E is reconstructed at E + v(E), v = sum over k of eta_k v_k(E). Of a sample's events
below E, C(E), a bin then holds those that lay between its ends less v,

    m_i = C(E_i+1 - v_i+1) - C(E_i - v_i),

C being the monotone cubic through the ends of the bins (Fritsch and Butland 1984, SIAM J. Sci.
Stat. Comput. 5, 300): its slope at an end is a harmonic mean of the densities of both bins. However
far ends move, no bin expects less than nothing. Beyond the outermost ends the density is that of
the bin beside them.

Tables of few simulated events make counts n uneven from bin to bin. Such noise is of the tables,
and does not move with energy: what moves is a smooth spectrum s, of which counts take the ratio,

    n_i(eta) = n_i m_i(s, eta) / s_i,

s being the exponential of a local quadratic fit of the logarithm of the density (Loader 1999,
"Local Regression and Likelihood"), in Gaussian weights of 1.5 bins. Structures of few bins stay
where they are: what a shift changes about a dip of 3.2 bins (a standard deviation) is wrong by 5 %
if the dip takes a half, and by 16 % if it takes nine tenths. Bins that expect nothing still do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesxs.types import Floats as Float

# GeV, at which all terms have the same size: about the first maximum of appearance at 1300 km
PIVOT: Final = 2.5
# Powers of the energy of the relative shift: a constant, a root and an inverse root
_POWERS: Final = (0.0, 0.5, -0.5)
# Bins: standard deviation of the weights of a smooth spectrum, and how far they reach
_WIDTH: Final = 1.5
_REACH: Final = 4
# Of the mean density: what counts as none where logarithms are taken
_NONE: Final = 1e-3


@partial(
    jax.tree_util.register_dataclass, data_fields=["shifts", "edges", "smoothing"], meta_fields=[]
)
@dataclass(frozen=True)
class EnergyScale:
    """How counts of samples follow their energy scales, made by `energy_scale`.

    Attributes:
        shifts: v_k at the ends of bins in GeV, (k, samples, bins + 1).
        edges: ends of the bins in GeV, (bins + 1,).
        smoothing: of the logarithm of the density, (bins, bins).
    """

    shifts: Array
    edges: Array
    smoothing: Array

    def moved(self, counts: Array, eta: Array) -> Array:
        """Return the counts of samples, (samples, bins), with nuisances, (k,)."""
        smooth = self.smooth(counts)
        return counts * (self._between(smooth, eta) / smooth)

    def smooth(self, counts: Array) -> Array:
        """Return the smooth spectra of counts, (samples, bins), above zero."""
        widths = jnp.diff(self.edges)
        density = counts / widths
        none = _NONE * jnp.mean(density, axis=-1, keepdims=True) + 1e-30
        return widths * jnp.exp(0.5 * jnp.log(density**2 + none**2) @ self.smoothing.T)

    def _between(self, counts: Array, eta: Array) -> Array:
        """Return the events between ends that have moved, (samples, bins)."""
        widths = jnp.diff(self.edges)
        ends = self.edges - jnp.einsum("k,kse->se", eta, self.shifts)
        last = len(widths) - 1
        own = jnp.clip(jnp.searchsorted(self.edges, ends, side="right") - 1, 0, last)
        place = (ends - self.edges[own]) / widths[own]
        t = jnp.clip(place, 0.0, 1.0)
        slopes = self._slopes(counts)

        def at(values: Array, index: Array = own) -> Array:
            return jnp.take_along_axis(values, index, axis=-1)

        below = jnp.pad(jnp.cumsum(counts, axis=-1), ((0, 0), (1, 0)))
        inside = at(counts)
        bend = (1.0 - t) * at(slopes) - t * at(slopes, own + 1)
        found = at(below) + inside * (t**2 * (3.0 - 2.0 * t) + place - t)
        return jnp.diff(found + widths[own] * t * (1.0 - t) * bend, axis=-1)

    def _slopes(self, counts: Array) -> Array:
        """Return the densities at the ends of bins, (samples, bins + 1)."""
        widths = jnp.diff(self.edges)
        density = jnp.maximum(counts, 0.0) / widths
        left, right = density[:, :-1], density[:, 1:]
        of_left, of_right = widths[:-1] + 2.0 * widths[1:], 2.0 * widths[:-1] + widths[1:]
        mean = of_left * right + of_right * left
        some = mean > 0.0
        inner = jnp.where(
            some, (of_left + of_right) * left * right / jnp.where(some, mean, 1.0), 0.0
        )
        return jnp.concatenate([density[:, :1], inner, density[:, -1:]], axis=-1)


def energy_scale(shifts: Float, edges: Float) -> EnergyScale:
    """Return how counts follow energy scales.

    Args:
        shifts: v_k at the ends of bins in GeV, (k, samples, bins + 1).
        edges: ends of the bins in GeV, (bins + 1,).
    """
    smoothing = _smoothing(len(edges) - 1)
    return EnergyScale(jnp.asarray(shifts), jnp.asarray(edges, dtype=float), jnp.asarray(smoothing))


def _smoothing(bins: int) -> Float:
    """Return the values of local quadratic fits at their own bins, (bins, bins)."""
    away = np.subtract.outer(np.arange(bins), np.arange(bins)) / -_WIDTH
    weights = np.exp(-0.5 * away**2) * (np.abs(away) * _WIDTH <= _REACH)
    powers = away[..., None] ** np.arange(min(3, bins))
    normal = np.einsum("bip,bi,biq->bpq", powers, weights, powers)
    first = np.linalg.inv(normal)[:, 0]
    return np.einsum("bp,bip,bi->bi", first, powers, weights)


def scale_shifts(edges: Float, leptons: Sequence[str], error: float) -> Mapping[str, Float]:
    """Return v_k of three terms for the samples of each kind of lepton, by the nuisance's name.

    v_k = error E (E / 2.5 GeV)^p of p = 0, 1/2 and -1/2, the same for all samples of a lepton.

    Args:
        edges: ends of the bins in GeV, (bins + 1,).
        leptons: kind that each sample selects.
        error: relative, of each term at 2.5 GeV.

    Returns:
        Shifts, (samples, bins + 1), by names such as "scale_e_0".
    """
    found = {}
    for lepton in dict.fromkeys(leptons):
        own = np.equal(leptons, lepton)[:, None]
        for k, power in enumerate(_POWERS):
            found[f"scale_{lepton}_{k}"] = own * error * PIVOT * (edges / PIVOT) ** (1.0 + power)
    return found
