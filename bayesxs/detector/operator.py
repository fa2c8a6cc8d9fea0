"""The linear map from structure functions on (x, Q^2) nodes to lepton spectra, energy axis kept.

A spectrum is linear in the structure functions, and these depend on two variables only. For every
row (a bin center or an event) a quadrature over neutrino energy runs from the row's threshold up;
each of its points holds an interpolation stencil on the nodes, one on the shared energies, and
three kinematic coefficients. Nothing else about detector or cross section is needed afterwards:

    near:  contract the energies with the flux once  ->  sparse K,       spectrum = K w
    far:   contract the nodes with w once            ->  dense T[row,E], spectrum = T (phi P(theta))
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bayesxs.detector.grid import EnergyGrid, NodeGrid
from bayesxs.detector.ridges import row_cuts, total_points
from bayesxs.physics.cross_section import coefficients
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    invariants,
    is_physical,
    least_transfer,
    lepton_from_invariants,
    x_min,
    y_range,
)
from bayesxs.types import Floats

# Points handled at once: bounds memory
CHUNK = 1 << 17

# Lengths to which points are padded: events differ in their number of points, and each length that
# JAX meets is compiled anew
_LENGTHS = (1 << 14, CHUNK)


@dataclass(frozen=True)
class Quadrature:
    """Points of an integral over neutrino energy (and more), each belonging to a row of a spectrum.

    Attributes:
        row: row of each point, shape (p,).
        energy: neutrino energy in GeV, shape (p,).
        lepton_energy: E_l in GeV, shape (p,).
        z: (E_l - p_l cos theta)/M, shape (p,).
        weights: quadrature weights, shape (p,).
        n_rows: number of rows.
        lepton_mass: m in GeV.
        space: how far x reaches.
    """

    row: NDArray[np.int32]
    energy: Floats
    lepton_energy: Floats
    z: Floats
    weights: Floats
    n_rows: int
    lepton_mass: float
    space: PhaseSpace = NUCLEON


def row_quadrature(
    lepton_energy: ArrayLike,
    z: ArrayLike,
    energies: EnergyGrid,
    lepton_mass: float,
    order: int = 3,
    softening: float = 0.002,
    space: PhaseSpace = NUCLEON,
) -> Quadrature:
    """Integrate over neutrino energy at fixed (E_l, z), graded towards the row's threshold.

    x < x_max asks for nu > nu_min = (E_l z - m^2/(2M))/(x_max - z). Structure functions vary on the
    scale of nu_min there, so intervals double in nu + softening from the threshold up; they break
    at the panels of the shared energies too, where the flux has its kinks, and where x exceeds 1
    about the ridges of a nucleus. Each carries `order` Gauss points. Rows that no energy in the
    range reaches have none.

    Args:
        lepton_energy: E_l of the rows in GeV, shape (n,).
        z: z of the rows, shape (n,).
        energies: shared energies, which set the range.
        lepton_mass: m in GeV.
        order: Gauss-Legendre points per interval.
        softening: energy in GeV below which the grading stops.
        space: how far x reaches.
    """
    e_l, z_ = np.asarray(lepton_energy, dtype=float), np.asarray(z, dtype=float)
    low, high = energies.edges[0], energies.edges[-1]
    possible = is_physical(high, e_l, z_, lepton_mass, space)
    rows = np.nonzero(possible)[0].astype(np.int32)
    e_l, z_ = e_l[rows, None], z_[rows, None]
    threshold = least_transfer(e_l, z_, lepton_mass, space)
    start = np.maximum(np.maximum(threshold, low - e_l), 0.0)
    doublings = np.arange(int(np.log2(high / softening)) + 1)
    graded = e_l + (start + softening) * 2.0**doublings - softening
    panels = np.broadcast_to(energies.edges, (len(rows), len(energies.edges)))
    parts = [graded, panels]
    if space.x_max > 1.0:
        parts += row_cuts(e_l, z_, lepton_mass)
    cuts = np.sort(np.clip(np.concatenate(parts, axis=1), e_l + start, high), axis=1)
    interval, column = np.nonzero(np.diff(cuts, axis=1) > 1e-12)
    left, right = cuts[interval, column], cuts[interval, column + 1]
    abscissae, weights = np.polynomial.legendre.leggauss(order)
    half = 0.5 * (right - left)[:, None]
    energy = 0.5 * (left + right)[:, None] + half * abscissae
    return Quadrature(
        np.repeat(rows[interval], order),
        energy.ravel(),
        np.repeat(e_l[interval, 0], order),
        np.repeat(z_[interval, 0], order),
        (half * weights).ravel(),
        len(possible),
        lepton_mass,
        space,
    )


def total_quadrature(
    energies: EnergyGrid,
    lepton_mass: float,
    n_x: int = 32,
    n_y: int = 16,
    space: PhaseSpace = NUCLEON,
) -> Quadrature:
    """Integrate over all lepton kinematics at each shared energy: one row per energy.

    Gauss-Legendre in the cube root of x and in y between the limits of `y_range`, or where x
    exceeds 1 as `ridges.total_points`; no points for an energy below threshold.
    """
    if space.x_max > 1.0:
        points = total_points(energies.points, lepton_mass, space)
        return Quadrature(*points, len(energies.points), lepton_mass, space)
    a, weight_a = np.polynomial.legendre.leggauss(n_x)
    b, weight_b = np.polynomial.legendre.leggauss(n_y)
    energy = energies.points[:, None, None]
    bottom = np.cbrt(x_min(energy, lepton_mass))
    u = bottom + (1.0 - bottom) * 0.5 * (a[:, None] + 1.0)
    x = u**3
    low, high = y_range(energy, x, lepton_mass)
    y = low + (high - low) * 0.5 * (b + 1.0)
    area = 0.25 * (1.0 - bottom) * weight_a[:, None] * 3.0 * u**2 * (high - low) * weight_b
    weights = area * y * energy  # dE_l dz = nu dx dy
    energy, x, y, weights = (v.ravel() for v in np.broadcast_arrays(energy, x, y, weights))
    e_l, z = lepton_from_invariants(energy, x, y, lepton_mass)
    row = np.repeat(np.arange(len(energies.points), dtype=np.int32), n_x * n_y)
    # Below threshold the limits of x and y cross, and no point between them is physical
    inside = is_physical(energy, e_l, z, lepton_mass, space)
    energy, e_l, z, weights = (v[inside] for v in (energy, e_l, z, weights))
    n_rows = len(energies.points)
    return Quadrature(row[inside], energy, e_l, z, weights, n_rows, lepton_mass, space)


@dataclass(frozen=True)
class Operator:
    """Stencils and coefficients of every quadrature point.

    Attributes:
        row: row of each point, shape (p,).
        start_e: first shared energy of the stencil, shape (p,).
        weights_e: energy interpolation times quadrature weights, shape (p, order).
        start_u: first node along u, shape (p,).
        weights_u: interpolation weights along u, shape (p, s).
        start_v: first node along v, shape (p,).
        weights_v: interpolation weights along v, shape (p, s).
        coefficients: d2s/dE_l dz = sum_i coefficients_i b_i, 1e-38 cm^2/GeV, shape (p, 3).
        n_rows: number of rows.
        energies: shared energies.
        nodes: the (x, Q^2) nodes.
    """

    row: NDArray[np.int32]
    start_e: NDArray[np.int32]
    weights_e: Floats
    start_u: NDArray[np.int32]
    weights_u: Floats
    start_v: NDArray[np.int32]
    weights_v: Floats
    coefficients: Floats
    n_rows: int
    energies: EnergyGrid
    nodes: NodeGrid

    def near_matrix(self, flux: ArrayLike) -> sparse.csr_array:
        """Contract the energies with the flux: K of shape (n_rows, 3 n_nodes), node-major columns.

        Args:
            flux: flux at the shared energies, per GeV.
        """
        scale = self._scale(flux)
        shape = (self.n_rows, 3 * self.nodes.size)
        matrix = sparse.csr_array(shape)
        for part in _chunks(len(self.row)):
            weights, node = self._stencils(part)
            scaled = scale[part, None] * self.coefficients[part]
            data = weights[..., None] * scaled[:, None, None, :]
            columns = 3 * node[..., None] + np.arange(3)
            rows = np.broadcast_to(self.row[part, None, None, None], data.shape)
            matrix += sparse.coo_array(
                (data.ravel(), (rows.ravel(), columns.ravel())), shape
            ).tocsr()
        return matrix

    def summed_matrix(self, flux: ArrayLike, summed: sparse.csr_array) -> sparse.csr_array:
        """Contract the energies with a flux and sum rows: `summed @ near_matrix(flux)`, but faster.

        Args:
            flux: flux at the shared energies, per GeV.
            summed: sums rows, shape (sums, n_rows), with at most one entry in each column.
        """
        scale = self._scale(flux)
        weights, node = self._stencils(slice(None))
        count, stencil = len(self.row), self.weights_u.shape[1] ** 2
        stencils = sparse.csr_array(
            (weights.ravel(), node.ravel(), np.arange(0, (count + 1) * stencil, stencil)),
            (count, self.nodes.size),
        )
        points = (self.row, np.arange(count))
        columns, parts = [], []
        for k in range(3):
            own = sparse.csr_array((scale * self.coefficients[:, k], points), (self.n_rows, count))
            part = sparse.coo_array((summed @ own) @ stencils)
            columns.append(3 * part.coords[1] + k)
            parts.append(part)
        values = np.concatenate([part.data for part in parts])
        rows = np.concatenate([part.coords[0] for part in parts])
        shape = (summed.shape[0], 3 * self.nodes.size)
        return sparse.csr_array((values, (rows, np.concatenate(columns))), shape)

    def _scale(self, flux: ArrayLike) -> Floats:
        """Return the quadrature weight of each point times the flux, shape (p,)."""
        sampled = np.asarray(flux)[self.start_e[:, None] + np.arange(self.energies.order)]
        return np.asarray(np.sum(self.weights_e * sampled, axis=1))

    def _stencils(self, part: slice) -> tuple[Floats, NDArray[np.int64]]:
        """Return interpolation weights of some points, and nodes that have them, (p, s, s)."""
        offsets = np.arange(self.weights_u.shape[1])
        weights = self.weights_u[part, :, None] * self.weights_v[part, None, :]
        node = (self.start_u[part, None] + offsets)[:, :, None] * len(self.nodes.v)
        return weights, node + (self.start_v[part, None] + offsets)[:, None, :]

    def cross_section(self, values: ArrayLike) -> Floats:
        """Contract the nodes at each quadrature point: d2s/dE_l dz in 1e-38 cm^2/GeV, shape (p,).

        Args:
            values: Bernstein coefficients on the nodes, shape (n_nodes, 3).
        """
        table = np.asarray(values).reshape(len(self.nodes.u), len(self.nodes.v), 3)
        out = np.empty(len(self.row))
        for part in _chunks(len(self.row)):
            interpolated = np.zeros((len(self.row[part]), 3))
            for i in range(self.weights_u.shape[1]):
                for j in range(self.weights_v.shape[1]):
                    weight = self.weights_u[part, i] * self.weights_v[part, j]
                    interpolated += (
                        weight[:, None] * table[self.start_u[part] + i, self.start_v[part] + j]
                    )
            out[part] = np.sum(self.coefficients[part] * interpolated, axis=1)
        return out

    def response(self, values: ArrayLike, *, clamp: bool = False) -> Floats:
        """Contract the nodes: T[row, E], spectrum per 1e-38 cm^2, quadrature weights included.

        Args:
            values: Bernstein coefficients on the nodes, shape (n_nodes, 3).
            clamp: replace a negative cross section by zero, as arXiv:2412.16303 does.
        """
        cross_section = self.cross_section(values)
        if clamp:
            cross_section = np.maximum(cross_section, 0.0)
        return _accumulate(
            self.row, self.start_e, self.weights_e, cross_section, self.n_rows, self.energies
        )


def build_operator(quadrature: Quadrature, energies: EnergyGrid, nodes: NodeGrid) -> Operator:
    """Interpolate every point of a quadrature on the nodes and on the shared energies."""
    q = quadrature
    x, q2, _ = invariants(q.energy, q.lepton_energy, q.z, q.lepton_mass)
    start_u, weights_u, start_v, weights_v = nodes.stencil(x, q2)
    start_e, weights_e = energies.stencil(q.energy)
    coefficient = np.empty((len(q.row), 3))
    for part, points in padded(q):
        coefficient[part] = np.asarray(coefficients(*points, q.lepton_mass))[: len(q.row[part])]
    weights_e = weights_e * q.weights[:, None]
    return Operator(
        q.row,
        start_e,
        weights_e,
        start_u,
        weights_u,
        start_v,
        weights_v,
        coefficient,
        q.n_rows,
        energies,
        nodes,
    )


def padded(quadrature: Quadrature) -> Iterator[tuple[slice, tuple[Floats, Floats, Floats]]]:
    """Cut the points of a quadrature into pieces of few lengths: which points, and E, E_l and z.

    The last point fills a piece up.
    """
    q = quadrature
    size = next((n for n in _LENGTHS if len(q.row) <= n), CHUNK)
    for part in _chunks(len(q.row)):
        arrays = (q.energy[part], q.lepton_energy[part], q.z[part])
        short = size - len(arrays[0])
        energy, lepton_energy, z = (np.pad(a, (0, short), mode="edge") for a in arrays)
        yield part, (energy, lepton_energy, z)


def fold(quadrature: Quadrature, energies: EnergyGrid, cross_section: Floats) -> Floats:
    """Sum a cross section at the quadrature points to T[row, E], quadrature weights included.

    Args:
        quadrature: the points, shape (p,).
        energies: shared energies.
        cross_section: d2s/dE_l dz at the points in 1e-38 cm^2/GeV, shape (p,).
    """
    q = quadrature
    start_e, weights_e = energies.stencil(q.energy)
    return _accumulate(
        q.row, start_e, weights_e * q.weights[:, None], cross_section, q.n_rows, energies
    )


def _accumulate(
    row: NDArray[np.int32],
    start_e: NDArray[np.int32],
    weights_e: Floats,
    cross_section: Floats,
    n_rows: int,
    energies: EnergyGrid,
) -> Floats:
    """Sum the points of each row onto the shared energies."""
    n = len(energies.points)
    flat = row.astype(np.int64) * n + start_e
    out = np.zeros(n_rows * n)
    for j in range(energies.order):
        out += np.bincount(flat + j, weights=weights_e[:, j] * cross_section, minlength=n_rows * n)
    return out.reshape(n_rows, n)


def _chunks(length: int) -> list[slice]:
    """Cut a range into slices of at most CHUNK."""
    return [slice(start, min(start + CHUNK, length)) for start in range(0, length, CHUNK)]
