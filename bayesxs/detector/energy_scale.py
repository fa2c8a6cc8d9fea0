"""Uncertain scale of reconstructed energy: events that move between the bins of their sample.

An event at E is reconstructed at E + v(E), v = sum over k of eta_k v_k(E). Of a sample's events
below E, C(E), a bin then holds those that lay between its ends less v,

    n_i = C(E_i+1 - v_i+1) - C(E_i - v_i),    C(E - v) = C(E) - v n(E) + v^2 n'(E) / 2,

n being linear between the centers of bins: exact for it up to a half of a bin. At the outermost
ends n is that of the bin beside them.
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


@partial(
    jax.tree_util.register_dataclass, data_fields=["shifts", "density", "slope"], meta_fields=[]
)
@dataclass(frozen=True)
class EnergyScale:
    """How counts of samples follow their energy scales, made by `energy_scale`.

    Attributes:
        shifts: v_k at the ends of bins in GeV, (k, samples, bins + 1).
        density: n at the ends from counts, (bins + 1, bins).
        slope: n' there, (bins + 1, bins).
    """

    shifts: Array
    density: Array
    slope: Array

    def moved(self, counts: Array, eta: Array) -> Array:
        """Return the counts of samples, (..., samples, bins), with nuisances, (k,)."""
        v = jnp.einsum("k,kse->se", eta, self.shifts)
        across = v * (counts @ self.density.T) - 0.5 * v**2 * (counts @ self.slope.T)
        return counts - jnp.diff(across, axis=-1)


def energy_scale(shifts: Float, edges: Float) -> EnergyScale:
    """Return how counts follow energy scales.

    Args:
        shifts: v_k at the ends of bins in GeV, (k, samples, bins + 1).
        edges: ends of the bins in GeV, (bins + 1,).
    """
    widths = np.diff(edges)
    bins = len(widths)
    density, slope = np.zeros((2, bins + 1, bins))
    density[0, 0], density[-1, -1] = 1.0 / widths[0], 1.0 / widths[-1]
    for end in range(1, bins):
        left, right = widths[end - 1], widths[end]
        density[end, end - 1 : end + 1] = right / left, left / right
        slope[end, end - 1 : end + 1] = -2.0 / left, 2.0 / right
        density[end] /= left + right
        slope[end] /= left + right
    return EnergyScale(jnp.asarray(shifts), jnp.asarray(density), jnp.asarray(slope))


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
