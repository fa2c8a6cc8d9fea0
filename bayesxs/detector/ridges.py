"""Quadratures for nuclei: panels in the energy transfer that break about the ridges."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesxs.constants import NUCLEON_MASS
from bayesxs.detector.charts import elastic_width
from bayesxs.physics.kinematics import PhaseSpace, is_physical, most_transfer, q2_range
from bayesxs.types import Floats

# Where panels break: in widths of the quasi-elastic ridge about it, in GeV of s = nu - Q^2/2M (the
# Delta), and in GeV of nu (what a nucleus keeps)
ELASTIC_CUTS: Final = np.array([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0, 8.0])
DELTA_CUTS: Final = np.array([0.2, 0.3, 0.4, 0.5, 0.7])
LEAST_CUTS: Final = np.array([0.02, 0.025, 0.03, 0.035, 0.04, 0.08])

# Midpoints of totals along ln(Q^2 + SHIFT), SHIFT in GeV^2, for functions may have kinks; points of
# panels in nu; and their breaks in s beyond the Delta, in GeV
STEPS, SHIFT = 64, 0.01
ORDER = 3
CONTINUUM_CUTS: Final = DELTA_CUTS[-1] * 1.5 ** np.arange(1, 14)


class Points(NamedTuple):
    """Quadrature points of totals: row, E, E_l (GeV), z, and weights dE_l dz in GeV; shape (p,)."""

    row: NDArray[np.int32]
    energy: Floats
    lepton_energy: Floats
    z: Floats
    weights: Floats


def ridge_cuts(q2: Floats) -> Floats:
    """Return s in GeV about which structure functions have ridges, for Q^2 of shape (n, 1)."""
    delta = np.broadcast_to(DELTA_CUTS, (len(q2), len(DELTA_CUTS)))
    return np.concatenate([elastic_width(q2) * ELASTIC_CUTS, delta], axis=1)


def row_cuts(lepton_energy: Floats, z: Floats, lepton_mass: float) -> list[Floats]:
    """Return neutrino energies in GeV at which rows, shape (n, 1), cross the ridges.

    At fixed (E_l, z), s = (1-z) E - E_l + m^2/(2M).
    """
    rest = lepton_mass**2 / (2.0 * NUCLEON_MASS)
    slope = np.where(np.abs(1.0 - z) > 1e-6, 1.0 - z, 1e-6)
    elastic = (lepton_energy * z - rest) / np.maximum(slope, 0.05)  # nu where s = 0
    cuts = ridge_cuts(2.0 * NUCLEON_MASS * np.maximum(elastic, 0.0))
    return [(cuts + lepton_energy - rest) / slope, lepton_energy + LEAST_CUTS]


def total_points(energies: Floats, lepton_mass: float, space: PhaseSpace) -> Points:
    """Integrate over all lepton kinematics at given neutrino energies, one row per energy.

    STEPS midpoints along ln(Q^2 + SHIFT), and at each of them panels in nu of ORDER Gauss-Legendre
    points. No points for an energy below threshold.

    Args:
        energies: in GeV, shape (rows,).
        lepton_mass: m in GeV.
        space: how far x reaches.
    """
    ends = q2_range(energies, lepton_mass, space)
    start, end = (np.log(np.maximum(q2, 0.0) + SHIFT) for q2 in ends)
    step = ((end - start) / STEPS)[:, None]
    v = start[:, None] + step * (np.arange(STEPS) + 0.5)
    outer = (step * np.exp(v)).ravel()
    energy = np.broadcast_to(energies[:, None], v.shape).ravel()
    q2 = (np.exp(v) - SHIFT).ravel()
    elastic = q2[:, None] / (2.0 * NUCLEON_MASS)  # nu where s = 0
    low, high = elastic / space.x_max, most_transfer(energy, q2, lepton_mass)[:, None]
    least = np.broadcast_to(LEAST_CUTS, (len(q2), len(LEAST_CUTS)))
    parts = [low, elastic + ridge_cuts(q2[:, None]), elastic + CONTINUUM_CUTS, least, high]
    cuts = np.sort(np.clip(np.concatenate(parts, axis=1), low, np.maximum(low, high)), axis=1)
    place, column = np.nonzero(np.diff(cuts, axis=1) > 1e-12)
    left, right = cuts[place, column], cuts[place, column + 1]
    half = 0.5 * (right - left)[:, None]
    point, weight = np.polynomial.legendre.leggauss(ORDER)
    nu = (0.5 * (left + right)[:, None] + half * point).ravel()
    place = np.repeat(place, ORDER)
    energy, q2 = energy[place], q2[place]
    # dE_l dz = dnu dQ^2/(2 M E)
    weights = outer[place] * (half * weight).ravel() / (2.0 * NUCLEON_MASS * energy)
    z = (q2 + lepton_mass**2) / (2.0 * NUCLEON_MASS * energy)
    row = (place // STEPS).astype(np.int32)
    inside = is_physical(energy, energy - nu, z, lepton_mass, space)
    lepton_energy = (energy - nu)[inside]
    return Points(row[inside], energy[inside], lepton_energy, z[inside], weights[inside])
