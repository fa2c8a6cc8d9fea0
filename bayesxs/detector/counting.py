"""Bins in which events are counted, and the quadrature that integrates a density over each.

A count is an integral over its bin. The density at the bin's center times its area is not: beside
the kinematic limits, where a bin is partly empty, it can be wrong by more than the whole bin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bayesxs.constants import NUCLEON_MASS
from bayesxs.detector.density import FoldedRows
from bayesxs.detector.exact import exact_response
from bayesxs.detector.grid import EnergyGrid, NodeGrid
from bayesxs.detector.operator import Quadrature, build_operator, row_quadrature
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    lepton_momentum,
    z_from_cosine,
    z_reach,
)
from bayesxs.physics.structure_functions import StructureFunctions
from bayesxs.types import Floats

type Axis = Literal["z", "cos_theta", "angle_rad"]

# No panel of the quadrature is longer than the distance between two of these: lepton energies in
# GeV above the lepton mass, and z. The density varies faster at low energy and at small z
ENERGY_CUTS: Final = np.array(
    [0.0, 0.03, 0.08, *np.arange(0.15, 1.0, 0.1), *np.arange(1.0, 1000.0, 0.15)]
)
Z_CUTS: Final = np.array([0.0, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, *np.arange(0.1, 1.3, 0.05)])

# Points along each side of a panel
ORDER: Final = 2

# Points handled at once: bounds memory
CHUNK: Final = 4096


@dataclass(frozen=True)
class CountedBins:
    """Rectangles in lepton energy and z, cos(theta) or theta; they may leave gaps.

    Attributes:
        energy: lower and upper edge in GeV, shape (bins, 2).
        second: lower and upper edge in the other variable, shape (bins, 2).
        axis: name of the other variable; angles are in rad.
    """

    energy: Floats
    second: Floats
    axis: Axis

    @classmethod
    def of_edges(cls, energy: ArrayLike, second: ArrayLike, axis: Axis) -> CountedBins:
        """Return all bins between two sets of edges, the second variable running fastest."""
        e, s = (np.asarray(edges, dtype=float) for edges in (energy, second))
        e, s = np.stack([e[:-1], e[1:]], axis=1), np.stack([s[:-1], s[1:]], axis=1)
        return cls(np.repeat(e, len(s), axis=0), np.tile(s, (len(e), 1)), axis)

    @property
    def size(self) -> int:
        """Number of bins."""
        return len(self.energy)

    def z_range(self, index: NDArray[np.intp], energy: Floats, lepton_mass: float) -> Floats:
        """Return the range of z of some bins at given lepton energies, shape (n, 2)."""
        edges = self.second[index]
        if self.axis == "z":
            return edges
        cosine = edges if self.axis == "cos_theta" else np.cos(edges)
        return np.sort(z_from_cosine(energy[:, None], cosine, lepton_mass), axis=1)


class BinPoints(NamedTuple):
    """Points of a quadrature over bins; their areas add up to the physical part of a bin.

    Attributes:
        bin: to which each belongs, ascending, shape (p,).
        lepton_energy: E_l in GeV, shape (p,).
        z: shape (p,).
        areas: dE_l dz in GeV, shape (p,).
    """

    bin: NDArray[np.intp]
    lepton_energy: Floats
    z: Floats
    areas: Floats


def points_in_bins(
    bins: CountedBins,
    lepton_mass: float,
    energy_max: float,
    order: int = ORDER,
    space: PhaseSpace = NUCLEON,
) -> BinPoints:
    """Lay Gauss-Legendre points into the part of every bin that neutrinos can reach.

    At fixed E_l, z runs from (E_l - p_l)/M, straight forward, to the smaller of (E_l + p_l)/M,
    straight back, and (nu_max x_max + m^2/(2M))/E_max, at x_max and the largest neutrino energy.
    Panels in energy are cut where the first two cross an edge in z, E_l = (M z + m^2/(M z))/2, so
    that the density is smooth in every panel.

    Args:
        bins: the bins.
        lepton_mass: m in GeV.
        energy_max: largest neutrino energy in GeV.
        order: points along each side of a panel.
        space: how far x reaches.
    """
    low, high = np.clip(bins.energy, lepton_mass, energy_max).T
    cuts = np.broadcast_to(lepton_mass + ENERGY_CUTS, (bins.size, len(ENERGY_CUTS)))
    cuts = cuts[:, lepton_mass + ENERGY_CUTS < energy_max] if bins.size else cuts
    if bins.axis == "z":
        mz = NUCLEON_MASS * np.maximum(bins.second, 1e-9)
        cuts = np.concatenate([cuts, 0.5 * (mz + lepton_mass**2 / mz)], axis=1)
    index, energy, width = _panels(cuts, low, high, order)
    bottom, top = bins.z_range(index, energy, lepton_mass).T
    momentum = lepton_momentum(energy, lepton_mass)
    reach = z_reach(energy_max, energy, lepton_mass, space)
    bottom = np.maximum(bottom, (energy - momentum) / NUCLEON_MASS)
    top = np.minimum(np.minimum(top, (energy + momentum) / NUCLEON_MASS), reach)
    cuts = np.broadcast_to(Z_CUTS, (len(index), len(Z_CUTS)))
    part, z, height = _panels(cuts, bottom, top, order)
    return BinPoints(index[part], energy[part], z, width[part] * height)


def _panels(
    cuts: Floats, low: Floats, high: Floats, order: int
) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Cut intervals into panels of Gauss points; return interval, place and weight of each point.

    Args:
        cuts: where to cut each interval, shape (n, k); those outside it count for nothing.
        low: lower ends, shape (n,).
        high: upper ends, shape (n,); an interval that is not above its lower end has no points.
        order: points of a panel.
    """
    high = np.maximum(high, low)
    ends = np.concatenate([cuts, low[:, None], high[:, None]], axis=1)
    ends = np.sort(np.clip(ends, low[:, None], high[:, None]), axis=1)
    interval, column = np.nonzero(np.diff(ends, axis=1) > 1e-12)
    left, right = ends[interval, column], ends[interval, column + 1]
    abscissae, weights = np.polynomial.legendre.leggauss(order)
    half = 0.5 * (right - left)[:, None]
    place = 0.5 * (left + right)[:, None] + half * abscissae
    return np.repeat(interval, order), place.ravel(), (half * weights).ravel()


@dataclass(frozen=True)
class CountedSpectrum:
    """The spectrum of counted bins: integrals of any cross section over each of them.

    Attributes:
        bins: the bins.
        energies: shared energies.
        nodes: the (x, Q^2) nodes.
        lepton_mass: m in GeV.
        order: Gauss-Legendre points along each side of a panel.
        space: how far x reaches.
    """

    bins: CountedBins
    energies: EnergyGrid
    nodes: NodeGrid
    lepton_mass: float
    order: int = ORDER
    space: PhaseSpace = NUCLEON

    @cached_property
    def _points(self) -> BinPoints:
        high = float(self.energies.edges[-1])
        return points_in_bins(self.bins, self.lepton_mass, high, self.order, self.space)

    def of_function(self, sf: StructureFunctions) -> FoldedRows:
        """Fold structure functions evaluated at every point, without nodes."""
        return self._fold(lambda q: exact_response(sf, q, self.energies))

    def of_values(self, values: ArrayLike, *, clamp: bool = False) -> FoldedRows:
        """Fold structure functions given on the nodes.

        Args:
            values: Bernstein coefficients, shape (n_nodes, 3).
            clamp: replace a negative cross section by zero, as arXiv:2412.16303 does.
        """
        return self._fold(
            lambda q: build_operator(q, self.energies, self.nodes).response(values, clamp=clamp)
        )

    def matrix(self, flux: ArrayLike) -> sparse.csr_array:
        """Contract the energies with a flux: bins from values on the nodes, (bins, 3 n_nodes)."""
        return self.matrices([flux])[0]

    def matrices(self, fluxes: Sequence[ArrayLike]) -> list[sparse.csr_array]:
        """Return `matrix` of each of several fluxes; quadratures are made once for all."""
        shape = (self.bins.size, 3 * self.nodes.size)
        out = [sparse.csr_array(shape) for _ in fluxes]
        for quadrature, summed in self._chunks():
            operator = build_operator(quadrature, self.energies, self.nodes)
            for i, flux in enumerate(fluxes):
                out[i] += operator.summed_matrix(flux, summed)
        return out

    def _fold(self, rows: Callable[[Quadrature], Floats]) -> FoldedRows:
        out = np.zeros((self.bins.size, len(self.energies.points)))
        for quadrature, summed in self._chunks():
            out += summed @ rows(quadrature)
        return FoldedRows(out, out.sum(axis=0))

    def _chunks(self) -> Iterator[tuple[Quadrature, sparse.csr_array]]:
        """Yield quadratures whose rows are points, and matrices that sum these to bins."""
        points = self._points
        for start in range(0, len(points.bin), CHUNK):
            index, lepton_energy, z, areas = (a[start : start + CHUNK] for a in points)
            yield (
                row_quadrature(lepton_energy, z, self.energies, self.lepton_mass, space=self.space),
                sparse.csr_array(
                    (areas, (index, np.arange(len(index)))), (self.bins.size, len(index))
                ),
            )
