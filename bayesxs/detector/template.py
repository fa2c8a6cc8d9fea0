"""A generator's own cross section: its events, counted in rows at every neutrino energy.

Events of a generator come with the density phi(E) d sigma. Divided by the flux that made them they
are a Monte Carlo quadrature of the cross section: for any f(E),

    sum over events i in a row of (w_i / phi(E_i)) f(E_i)  ->  int dE f(E) sigma_row(E),

with the variance sum of (w_i f(E_i) / phi(E_i))^2. f is a flux times an oscillation probability,
known at the shared energies and a polynomial between them (`EnergyGrid`), as for every cross
section, so that the sum is linear in its values there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesxs.detector.density import FoldedRows
from bayesxs.detector.grid import EnergyGrid
from bayesxs.detector.operator import Quadrature, fold
from bayesxs.types import Floats


@dataclass(frozen=True, eq=False)
class Template:
    """Events of a generator that stand for its cross section; columns of shape (n,).

    Attributes:
        energy: of the neutrino, GeV.
        lepton_energy: GeV.
        z: (E_l - p_l cos theta)/M.
        theta: of the lepton, rad.
        rate: weights of the events, summing to one.
        flux: that made them, at their energies.
        lepton_mass: m in GeV.
    """

    energy: Floats
    lepton_energy: Floats
    z: Floats
    theta: Floats
    rate: Floats
    flux: Floats
    lepton_mass: float

    def folded(self, row: NDArray[np.intp], n_rows: int, energies: EnergyGrid) -> FoldedRows:
        """Count the events in rows, at the shared energies.

        The cross section is in units in which its near rate is one.

        Args:
            row: of each event; below zero for none.
            n_rows: number of rows.
            energies: shared energies.
        """
        inside = row >= 0
        points = Quadrature(
            row[inside].astype(np.int32),
            self.energy[inside],
            self.lepton_energy[inside],
            self.z[inside],
            (self.rate / self.flux)[inside],
            n_rows,
            self.lepton_mass,
        )
        rows = fold(points, energies, np.ones(len(points.row)))
        return FoldedRows(rows, rows.sum(axis=0))

    def total(self, energies: EnergyGrid) -> Floats:
        """Return v[E], with which sum of v f is the rate of all events in a flux f."""
        return self.folded(np.zeros(len(self.energy), np.intp), 1, energies).total

    def weights(self, energies: EnergyGrid, flux: ArrayLike) -> Floats:
        """Return the weight of each event in another flux, f(E_i)/phi(E_i) w_i, not below zero.

        Args:
            energies: shared energies.
            flux: at those, oscillation included.
        """
        start, lagrange = energies.stencil(self.energy)
        between = np.sum(lagrange * np.asarray(flux)[start[:, None] + np.arange(energies.order)], 1)
        return np.maximum(between, 0.0) * self.rate / self.flux

    def relative_error(
        self, row: NDArray[np.intp], n_rows: int, energies: EnergyGrid, flux: ArrayLike
    ) -> Floats:
        """Return the Monte Carlo error of each row over its content; zero where it is empty.

        Args:
            row: of each event; below zero for none.
            n_rows: number of rows.
            energies: shared energies.
            flux: at those, oscillation included.
        """
        inside = row >= 0
        w = self.weights(energies, flux)[inside]
        sums, squares = (np.bincount(row[inside], v, n_rows) for v in (w, w**2))
        return np.divide(np.sqrt(squares), sums, out=np.zeros(n_rows), where=sums > 0.0)


def draw(weights: Floats, number: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw events without replacement, each with a probability in proportion to its weight.

    Systematic sampling in random order: event i is drawn with probability number w_i / sum w
    exactly (Madow 1949), which must not exceed one.

    Args:
        weights: >= 0, shape (n,).
        number: of events to be drawn.
        rng: generator.

    Raises:
        ValueError: the largest weight is above the sum over the number: too few events.
    """
    share = number * weights / weights.sum()
    if share.max() > 1.0:
        raise ValueError(f"{number} of {len(weights)} events: the largest weight is drawn twice")
    order = rng.permutation(len(weights))
    ends = np.cumsum(share[order])
    places = np.searchsorted(ends, rng.uniform() + np.arange(number), side="right")
    return np.sort(order[np.minimum(places, len(order) - 1)])
