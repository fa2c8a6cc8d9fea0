"""The grids of the analysis: neutrino energies, lepton bins, and the (x, Q^2) nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesxs.constants import NUCLEON_MASS
from bayesxs.detector.charts import Chart, CubeRoot, Ridge
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    most_transfer,
    q2_range,
    x_min,
    z_max,
)
from bayesxs.types import Floats


@dataclass(frozen=True)
class EnergyGrid:
    """Shared neutrino energies: Gauss-Legendre points on panels, and the quadrature they carry.

    Inside a panel, flux times oscillation probability is the polynomial through its points. Spectra
    integrate the cross section against that polynomial with as many points as the row needs, so few
    shared energies suffice although the cross section varies fast near its threshold in E.

    Attributes:
        edges: panel edges in GeV, shape (panels + 1,).
        order: points per panel.
    """

    edges: Floats
    order: int = 3

    @property
    def points(self) -> Floats:
        """Shared energies in GeV, shape (panels * order,)."""
        abscissae, _ = np.polynomial.legendre.leggauss(self.order)
        middle = 0.5 * (self.edges[1:] + self.edges[:-1])
        return (middle[:, None] + 0.5 * np.diff(self.edges)[:, None] * abscissae).ravel()

    @property
    def weights(self) -> Floats:
        """Quadrature weights of the points in GeV."""
        _, weights = np.polynomial.legendre.leggauss(self.order)
        return (0.5 * np.diff(self.edges)[:, None] * weights).ravel()

    def stencil(self, energy: ArrayLike) -> tuple[NDArray[np.int32], Floats]:
        """Return first point and Lagrange weights of each energy, shapes (n,) and (n, order)."""
        energy = np.asarray(energy, dtype=float)
        last = len(self.edges) - 2
        panel = np.clip(np.searchsorted(self.edges, energy, side="right") - 1, 0, last)
        width = self.edges[panel + 1] - self.edges[panel]
        local = 2.0 * (energy - self.edges[panel]) / width - 1.0
        abscissae, _ = np.polynomial.legendre.leggauss(self.order)
        return (panel * self.order).astype(np.int32), lagrange_weights(abscissae, local)


# Longest panel in 1/E, GeV^-1, and the largest |dm2| L, eV^2 km, that it is made for: DUNE's, with
# dm31 up to 3e-3 eV^2
PANEL = 0.12
PANEL_PHASE = 3.1e-3 * 1300.0

# Panels beyond which operators no longer fit into memory
MAX_PANELS = 3000


def longest_panel(length: float, splitting: float) -> float:
    """Return the longest panel in 1/E, GeV^-1, that keeps the turn of the phase within a panel.

    Args:
        length: of the baseline, km.
        splitting: largest difference of squared masses, eV^2.
    """
    return PANEL * min(1.0, PANEL_PHASE / max(length * splitting, PANEL_PHASE))


def unresolved(grid: EnergyGrid, values: ArrayLike, fine: EnergyGrid, exact: ArrayLike) -> float:
    """Return how far a function is from the polynomial through its points, relative L2.

    Args:
        grid: the shared energies.
        values: the function there.
        fine: energies that resolve it.
        exact: the function at those.
    """
    start, weights = grid.stencil(fine.points)
    index = start[:, None] + np.arange(grid.order)
    error = np.sum(weights * np.asarray(values)[index], axis=1) - np.asarray(exact)
    return float(np.sqrt(fine.weights @ error**2 / (fine.weights @ np.asarray(exact) ** 2)))


def energy_grid(
    knots: ArrayLike, low: float, high: float, order: int = 3, turn: float = PANEL
) -> EnergyGrid:
    """Cut [low, high] at the flux's knots and wherever the oscillation phase turns fast.

    Args:
        knots: energies in GeV at which the flux has kinks.
        low: lower end of the range in GeV.
        high: upper end of the range in GeV.
        order: points per panel.
        turn: longest panel in 1/E, GeV^-1; 0.12 is one radian of the atmospheric phase 2 Delta_31
            at 1300 km (see `longest_panel`).

    Raises:
        ValueError: more than MAX_PANELS panels are needed.
    """
    knots = np.asarray(knots, dtype=float)
    breaks = np.concatenate([[low], knots[(knots > low) & (knots < high)], [high]])
    pieces = np.ceil((1.0 / breaks[:-1] - 1.0 / breaks[1:]) / turn).astype(int)
    if pieces.sum() > MAX_PANELS:
        raise ValueError(f"{pieces.sum()} panels in energy, at most {MAX_PANELS}")
    inverse = [
        np.linspace(1.0 / a, 1.0 / b, n, endpoint=False)
        for a, b, n in zip(breaks[:-1], breaks[1:], pieces, strict=True)
    ]
    return EnergyGrid(np.append(1.0 / np.concatenate(inverse), high), order)


def lagrange_weights(nodes: ArrayLike, points: ArrayLike) -> Floats:
    """Return the Lagrange basis on `nodes` (k,) at `points` (n,), shape (n, k)."""
    nodes, points = np.asarray(nodes, dtype=float), np.asarray(points, dtype=float)
    weights = np.ones((len(points), len(nodes)))
    for j, node in enumerate(nodes):
        for other in np.delete(nodes, j):
            weights[:, j] *= (points - other) / (node - other)
    return weights


@dataclass(frozen=True)
class LeptonGrid:
    """Regular bins in lepton energy (GeV) and z; flattened bins run over z fastest."""

    energy_edges: Floats
    z_edges: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins in (E_l, z)."""
        return len(self.energy_edges) - 1, len(self.z_edges) - 1

    @property
    def energy_centers(self) -> Floats:
        """Bin centers in E_l, GeV."""
        return 0.5 * (self.energy_edges[1:] + self.energy_edges[:-1])

    @property
    def z_centers(self) -> Floats:
        """Bin centers in z."""
        return 0.5 * (self.z_edges[1:] + self.z_edges[:-1])

    @property
    def rows(self) -> tuple[Floats, Floats]:
        """Coordinates (E_l, z) of every bin center, flattened."""
        energy, z = np.meshgrid(self.energy_centers, self.z_centers, indexing="ij")
        return energy.ravel(), z.ravel()

    @property
    def areas(self) -> Floats:
        """Area dE_l dz of every bin in GeV, flattened."""
        return np.outer(np.diff(self.energy_edges), np.diff(self.z_edges)).ravel()

    @property
    def sizes(self) -> Floats:
        """Area of every bin over the largest, flattened; exactly one where bins are even."""
        relative = self.areas / self.areas.max()
        return np.where(relative > 1.0 - 1e-9, 1.0, relative)


def lepton_grid(
    energy_max: float, n_energy: int, n_z: int, lepton_mass: float, space: PhaseSpace = NUCLEON
) -> LeptonGrid:
    """Cover everything that neutrinos up to `energy_max` can do with n_energy x n_z bins.

    They are even where x ends at 1. Beyond it nature has ridges, which lie closest at low Q^2 and
    do not vanish there: bins are even in sqrt(z) and in (E_l - m)^(2/3).
    """
    top = z_max(energy_max, lepton_mass, space)
    if space.x_max <= 1.0:
        return LeptonGrid(
            np.linspace(lepton_mass, energy_max, n_energy + 1), np.linspace(0.0, top, n_z + 1)
        )
    energies = np.linspace(0.0, 1.0, n_energy + 1) ** 1.5
    return LeptonGrid(
        lepton_mass + (energy_max - lepton_mass) * energies,
        top * np.linspace(0.0, 1.0, n_z + 1) ** 2,
    )


@dataclass(frozen=True)
class NodeGrid:
    """Tensor grid of nodes, even in the coordinates u and v of a chart.

    Attributes:
        u: first coordinate, of x and Q^2, shape (n_u,).
        v: second coordinate, of Q^2, shape (n_v,).
        chart: the coordinates.
        order: of the polynomials between nodes.
    """

    u: Floats
    v: Floats
    chart: Chart = field(default_factory=CubeRoot)
    order: int = 3

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.u) * len(self.v)

    @cached_property
    def _table(self) -> tuple[Floats, Floats]:
        x, q2 = self.chart.inverse(self.u[:, None], self.v)
        shape = (len(self.u), len(self.v))
        return np.broadcast_to(x, shape).ravel(), np.broadcast_to(q2, shape).ravel()

    @property
    def x(self) -> Floats:
        """Bjorken x of every node, flattened, Q^2 fastest."""
        return self._table[0]

    @property
    def q2(self) -> Floats:
        """Q^2 in GeV^2 of every node, flattened, Q^2 fastest."""
        return self._table[1]

    def stencil(
        self, x: ArrayLike, q2: ArrayLike
    ) -> tuple[NDArray[np.int32], Floats, NDArray[np.int32], Floats]:
        """Return first node and weights along u, then along v.

        Shapes (n,), (n, order + 1), (n,), (n, order + 1).
        """
        u, v = self.chart.forward(np.asarray(x, dtype=float), np.asarray(q2, dtype=float))
        return (*_even_stencil(self.u, u, self.order), *_even_stencil(self.v, v, self.order))

    def interpolate(self, values: ArrayLike, x: ArrayLike, q2: ArrayLike) -> Floats:
        """Interpolate functions given on the nodes.

        Args:
            values: on the nodes, shape (n_nodes, k).
            x: Bjorken x.
            q2: Q^2 in GeV^2.

        Returns:
            Shape broadcast(x, q2) + (k,).
        """
        x, q2 = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(q2, dtype=float))
        start_u, weights_u, start_v, weights_v = self.stencil(x.ravel(), q2.ravel())
        table = np.asarray(values).reshape(len(self.u), len(self.v), -1)
        out = np.zeros((x.size, table.shape[-1]))
        for i in range(self.order + 1):
            for j in range(self.order + 1):
                weight = (weights_u[:, i] * weights_v[:, j])[:, None]
                out += weight * table[start_u + i, start_v + j]
        return out.reshape(*x.shape, -1)

    def axes(self, x_max: float) -> Axes:
        """Return axes in x and Q^2, and what takes tables of the nodes to them.

        Those of the nodes where x is the same at every Q^2; else half as many in x, up to x_max.
        """
        q2 = self.q2[: len(self.v)]
        if isinstance(self.chart, CubeRoot):
            x = self.u**3
            area = np.outer(np.gradient(x), np.gradient(q2))[..., None]
            return Axes(x, q2, lambda table: table, lambda sums: sums / area)
        x = np.linspace(0.05, np.cbrt(x_max), len(self.u) // 2) ** 3

        def on_axes(table: Floats) -> Floats:
            return self.interpolate(table.reshape(self.size, -1), x[:, None], q2)

        step = 1e-5
        (low, _), (high, _) = (self.chart.forward(x[:, None] * f, q2) for f in (1 - step, 1 + step))
        (_, below), (_, above) = (self.chart.forward(x[:1], q2 * f) for f in (1 - step, 1 + step))
        per_cell = np.abs(high - low) * (above - below) / (4.0 * step**2 * x[:, None] * q2)
        per_cell /= (self.u[1] - self.u[0]) * (self.v[1] - self.v[0])
        return Axes(x, q2, on_axes, lambda sums: on_axes(sums) * per_cell[..., None])


class Axes(NamedTuple):
    """Axes in x and Q^2 (GeV^2), and functions that take tables of shape (u, v, k) to them.

    Attributes:
        x: shape (n_x,).
        q2: shape (n_q2,).
        values: of functions on the nodes, to (n_x, n_q2, k).
        densities: of sums that belong to nodes, to what there is per x and Q^2.
    """

    x: Floats
    q2: Floats
    values: Callable[[Floats], Floats]
    densities: Callable[[Floats], Floats]


def _even_stencil(nodes: Floats, points: ArrayLike, order: int) -> tuple[NDArray[np.int32], Floats]:
    """First node and weights of local Lagrange interpolation on evenly spaced nodes."""
    position = (np.asarray(points, dtype=float) - nodes[0]) / (nodes[1] - nodes[0])
    start = np.clip(
        np.floor(position).astype(np.int32) - (order - 1) // 2, 0, len(nodes) - order - 1
    )
    return start, lagrange_weights(np.arange(order + 1), position - start)


def node_grid(
    energy_max: float,
    n_x: int,
    n_q2: int,
    lepton_mass: float,
    order: int = 3,
    space: PhaseSpace = NUCLEON,
) -> NodeGrid:
    """Cover the physical (x, Q^2) of neutrinos up to `energy_max` with nodes.

    Where x ends at 1 they are even in x^(1/3), n_x by n_q2. Q^2 runs from near zero, its kinematic
    minimum, to 2 M E; x to one, where cross sections vanish, from x_min(E) or 1.25e-4 (u = 0.05),
    whichever is smaller. Where x exceeds 1 they are even in the coordinates of `Ridge`, half
    as many again as n_x by n_q2, over all that is physical.
    """
    if space.x_max > 1.0:
        return _ridge_grid(energy_max, n_x + n_x // 2, n_q2, lepton_mass, order, space)
    chart = CubeRoot()
    q2_top = 2.0 * NUCLEON_MASS * energy_max
    u = np.linspace(min(0.05, np.cbrt(x_min(energy_max, lepton_mass))), 1.0, n_x)
    v = np.linspace(np.log(chart.q2_scale + 1e-3), np.log(chart.q2_scale + q2_top), n_q2)
    return NodeGrid(u, v, chart, order)


# Q^2 of the first nodes of `Ridge` in GeV^2: zero has no x
LEAST_Q2 = 1e-4


def _ridge_grid(
    energy_max: float, n_u: int, n_v: int, lepton_mass: float, order: int, space: PhaseSpace
) -> NodeGrid:
    chart = Ridge(space.x_max)
    lowest, highest = q2_range(energy_max, lepton_mass, space)
    q2 = np.geomspace(max(float(lowest), LEAST_Q2), float(highest), 400)
    least = q2 / (2.0 * NUCLEON_MASS * most_transfer(energy_max, q2, lepton_mass))
    bottom, v = chart.forward(np.full(len(q2), space.x_max), q2)
    top, _ = chart.forward(np.asarray(least), q2)
    return NodeGrid(
        np.linspace(bottom.min(), top.max(), n_u), np.linspace(v[0], v[-1], n_v), chart, order
    )
