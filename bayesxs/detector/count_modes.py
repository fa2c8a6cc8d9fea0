"""Counts that modes of a cross section add to a component, few numbers in place of many.

A mode k changes the events of true energies E_j seen in bin i by M_kij, without oscillation. Of a
spectrum of probabilities P and nuisances xi of the modes, the counts change by

    dn_i = sum_kj xi_k M_kij P_j.

Near data leave little open, and spectra of probabilities are smooth and few: M is the product of
three small arrays (Tucker's form; De Lathauwer et al. 2000, SIAM J. Matrix Anal. Appl. 21, 1253),
M_kij = sum_sr left_is core_skr right_rj, to a part of the statistical errors, of spectra such as
given ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesxs.types import Floats as Float

# What is dropped changes the counts of a component by this part of their errors, over all bins, per
# unit of all modes: root mean square over given spectra of probabilities
TOLERANCE: Final = 1e-2

# Counts or densities with modes over those without, below which their logarithm is continued by its
# tangent: linear modes may reach zero and below, and a sampler needs a slope that leads back
POSITIVE_FLOOR: Final = 0.05


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["left", "core", "right"],
    meta_fields=["first"],
)
@dataclass(frozen=True)
class CountModes:
    """What a unit of each of some modes adds to a component.

    Attributes:
        left: of the bins, (bins, s).
        core: of the modes, (s, k, r).
        right: of the true energies, (r, e).
        first: place of the first of the modes among all.
    """

    left: Array
    core: Array
    right: Array
    first: int

    @property
    def places(self) -> slice:
        """Places of the modes among all."""
        return slice(self.first, self.first + self.core.shape[1])

    def added(self, spectra: Array, xi: Array) -> Array:
        """Return the counts that are added, (..., bins).

        Args:
            spectra: probabilities at the true energies, (..., e).
            xi: nuisances of all modes.
        """
        changed = jnp.einsum("skr,k->sr", self.core, xi[self.places])
        return (spectra @ self.right.T) @ changed.T @ self.left.T

    def slopes(self, spectrum: Array) -> Array:
        """Return the counts that a unit of each mode adds to a spectrum (e,), (k, bins)."""
        return jnp.einsum("skr,r->ks", self.core, self.right @ spectrum) @ self.left.T

    def of_bins(self, bins: slice) -> CountModes:
        """Return those of some bins."""
        return CountModes(self.left[bins], self.core, self.right, self.first)


def compressed(events: Float, errors: Float, spectra: Float, first: int = 0) -> CountModes:
    """Return modes of counts in few numbers.

    Args:
        events: M of each mode, (k, bins, e).
        errors: statistical ones of the counts, (bins,).
        spectra: probabilities at the true energies that stand for all, (n, e).
        first: place of the first mode among all.
    """
    number, bins, energies = events.shape
    allowed = TOLERANCE / np.sqrt(2.0)
    scaled = events / errors[:, None]
    moved = scaled.reshape(-1, energies) @ (spectra.T / np.sqrt(len(spectra)))
    # Of all that spectra make of the modes, few combinations: u, (modes x bins, r). Modes are
    # projected on them, not spectra: others than these lose what lies outside, and no more
    directions = _directions(moved, allowed)
    combined = moved @ directions.T
    u = np.linalg.qr(combined)[0]
    right = u.T @ scaled.reshape(-1, energies)
    weighed = combined.reshape(number, bins, -1)
    left = _directions(weighed.transpose(0, 2, 1).reshape(-1, bins), allowed)
    core = np.einsum("sb,kbr->skr", left, u.reshape(number, bins, -1))
    return CountModes(
        jnp.asarray(left.T * errors[:, None]), jnp.asarray(core), jnp.asarray(right), first
    )


def _directions(rows: Float, allowed: float) -> Float:
    """Return orthonormal directions that rows (n, m) span, but for a part of that norm, (r, m)."""
    sizes, vectors = np.linalg.eigh(rows.T @ rows)
    left_out = np.cumsum(np.maximum(sizes, 0.0))
    # One direction at least, so that no array is empty
    dropped = min(int(np.searchsorted(left_out, allowed**2, side="right")), len(sizes) - 1)
    return np.ascontiguousarray(vectors[:, dropped:].T[::-1])


def positive(counts: Array, added: Array) -> Array:
    """Return counts and what modes add to them, above zero wherever counts are.

    n f(1 + a/n), with f(r) = r down to `POSITIVE_FLOOR`, and below the exponential that continues
    it: the logarithm of the counts goes on along its tangent.
    """
    return counts * _continued(_ratio(counts, added))


def positive_slopes(
    counts: Array, added: Array, in_counts: Array, in_added: Array
) -> tuple[Array, Array]:
    """Return what `positive` does, and its slopes.

    Args:
        counts: without modes, (...).
        added: by modes.
        in_counts: slopes of the counts, (d, ...).
        in_added: slopes of what is added.
    """
    ratio = _ratio(counts, added)
    value = _continued(ratio)
    bend = jnp.where(ratio > POSITIVE_FLOOR, 1.0, value / POSITIVE_FLOOR)
    return counts * value, value * in_counts + bend * (in_added - (ratio - 1.0) * in_counts)


def _ratio(counts: Array, added: Array) -> Array:
    filled = counts > 0.0
    return 1.0 + jnp.where(filled, added, 0.0) / jnp.where(filled, counts, 1.0)


def _continued(ratio: Array) -> Array:
    below = POSITIVE_FLOOR * jnp.exp(jnp.minimum(ratio, POSITIVE_FLOOR) / POSITIVE_FLOOR - 1.0)
    return jnp.where(ratio > POSITIVE_FLOOR, ratio, below)
