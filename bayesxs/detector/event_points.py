"""Few points that stand for many events wherever log densities are summed over these.

Within a cell of lepton energy and angle the log density is a polynomial, to an accuracy that the
size of the cell sets. A sum of it over the events is then one over a few points of the cell,

    sum_e w_e log p(e) = sum_i W_i log p(i),    W_i = sum_e w_e L_i(e),

with L_i Lagrange's polynomials of the Gauss-Legendre points. The weights keep the moments of the
events in the cell; nothing is averaged over it. Events of sparse cells stay as they are. The points
of all cells integrate the density that normalises: another quadrature would differ from the sums
over events by its error, times their number, and a fit would find that.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bayesxs.constants import NUCLEON_MASS
from bayesxs.detector.reco import EVEN, blended_edges
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    is_physical,
    lepton_momentum,
    z_from_cosine,
)
from bayesxs.types import Floats

# Cells along each axis, and points along each side of a cell
CELLS: Final = 32
ORDER: Final = 3

# Events per point below which a cell is sparse
SPARSE: Final = 2


class EventPoints(NamedTuple):
    """Points that stand for events.

    Attributes:
        lepton_energy: E_l in GeV, shape (p,).
        z: (E_l - p_l cos theta)/M, shape (p,).
        volume: part of dE_l dz that belongs to each point in GeV, shape (p,).
        expected: share of all events that falls to each point where these are even in its cell,
            shape (p,).
        shares: what each event gives to the points, shape (n, p); rows add up to one.
        grid: Gauss-Legendre points of the other cells, rows of E_l, z and volume, shape (3, g).
        dense: number of points, the first ones, that are such points too.
    """

    lepton_energy: Floats
    z: Floats
    volume: Floats
    expected: Floats
    shares: sparse.csr_array
    grid: Floats
    dense: int

    def weights(self, events: Floats) -> Floats:
        """Return the weights of the points from those of the events, shape (p,)."""
        weights: Floats = self.shares.T @ events
        return weights


def points_of_events(
    lepton_energy: Floats,
    cos_theta: Floats,
    weight: Floats,
    lepton_mass: float,
    energy_max: float,
    space: PhaseSpace = NUCLEON,
    cells: int = CELLS,
    order: int = ORDER,
) -> EventPoints:
    """Lay cells over events, finer where more of them are, and points into the cells.

    The cells are even in E_l and u = sin(theta/2) otherwise; dE_l dz = 4 p_l u/M dE_l du.

    Args:
        lepton_energy: E_l in GeV, shape (n,).
        cos_theta: to the beam, shape (n,).
        weight: of each event, shape (n,).
        lepton_mass: m in GeV.
        energy_max: largest neutrino energy in GeV.
        space: how far x reaches.
        cells: along each axis.
        order: points along each side of a cell.
    """
    u = np.sqrt(0.5 * (1.0 - cos_theta))
    edges_e = blended_edges(lepton_energy, weight, cells, lepton_mass, energy_max, EVEN)
    edges_u = blended_edges(u, weight, cells, 0.0, 1.0, EVEN)
    place_e, basis_e = _lagrange(lepton_energy, edges_e, order)
    place_u, basis_u = _lagrange(u, edges_u, order)
    # Axes: cells in energy, cells in u, points in energy, points in u
    (e, width_e), (v, width_u) = (_gauss(edges, order) for edges in (edges_e, edges_u))
    e, v = np.broadcast_arrays(e[:, None, :, None], v[None, :, None, :])
    volume = width_e[:, None, :, None] * width_u[None, :, None, :]
    volume = volume * 4.0 * lepton_momentum(e, lepton_mass) * v / NUCLEON_MASS
    z = z_from_cosine(e, 1.0 - 2.0 * v**2, lepton_mass)
    e, z, volume = (a.reshape(cells**2, order**2) for a in (e, z, volume))
    cell = place_e * cells + place_u
    events = np.bincount(cell, minlength=cells**2)
    inside = np.asarray(is_physical(energy_max, e, z, lepton_mass, space)).all(axis=1)
    dense = inside & (events >= SPARSE * order**2)
    alone = ~dense[cell]
    share = np.bincount(cell, weight, cells**2) / weight.sum()
    part = volume / volume.sum(axis=1, keepdims=True)
    own_z = z_from_cosine(lepton_energy[alone], cos_theta[alone], lepton_mass)
    own = cell[alone]
    return EventPoints(
        np.concatenate([e[dense].ravel(), lepton_energy[alone]]),
        np.concatenate([z[dense].ravel(), own_z]),
        np.concatenate([volume[dense].ravel(), volume.sum(axis=1)[own] / events[own]]),
        np.concatenate([(share[:, None] * part)[dense].ravel(), share[own] / events[own]]),
        _shares(cell, dense, basis_e, basis_u),
        np.stack([a[~dense].ravel() for a in (e, z, volume)]),
        int(dense.sum()) * order**2,
    )


def _gauss(edges: Floats, order: int) -> tuple[Floats, Floats]:
    """Return Gauss-Legendre points and weights between edges, shape (cells, order) each."""
    point, weight = np.polynomial.legendre.leggauss(order)
    half = 0.5 * np.diff(edges)[:, None]
    return edges[:-1, None] + half * (1.0 + point), half * weight


def _lagrange(values: Floats, edges: Floats, order: int) -> tuple[NDArray[np.intp], Floats]:
    """Return the cell of each value, and Lagrange's polynomials of the cell's points there."""
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    local = 2.0 * (values - edges[place]) / np.diff(edges)[place] - 1.0
    point, _ = np.polynomial.legendre.leggauss(order)
    basis = np.ones((len(values), order))
    for i in range(order):
        for j in range(order):
            if i != j:
                basis[:, i] *= (local - point[j]) / (point[i] - point[j])
    return place, basis


def _shares(
    cell: NDArray[np.intp], dense: NDArray[np.bool_], basis_e: Floats, basis_u: Floats
) -> sparse.csr_array:
    """Return what events give to points: those of dense cells, then the events of the others."""
    order = basis_e.shape[1] ** 2
    full = dense[cell]
    start = order * (np.cumsum(dense) - 1)
    lengths = np.where(full, order, 1)
    pointer = np.concatenate([[0], np.cumsum(lengths)])
    columns, values = np.empty(pointer[-1], dtype=np.int64), np.ones(pointer[-1])
    many = pointer[:-1][full][:, None] + np.arange(order)
    columns[many] = start[cell[full]][:, None] + np.arange(order)
    values[many] = (basis_e[full][:, :, None] * basis_u[full][:, None, :]).reshape(-1, order)
    first = order * int(dense.sum())
    number = int(np.count_nonzero(~full))
    columns[pointer[:-1][~full]] = first + np.arange(number)
    return sparse.csr_array((values, columns, pointer), (len(cell), first + number))
