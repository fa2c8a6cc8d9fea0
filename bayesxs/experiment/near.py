"""The near detector of one target: what it observes, and the spectrum to compare that with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, cast

import jax
import numpy as np
from scipy import sparse

from bayesxs.cards.card import Card
from bayesxs.detector.counting import Axis, CountedBins, CountedSpectrum
from bayesxs.detector.grid import Float
from bayesxs.detector.smearing import RecoGrid
from bayesxs.detector.spectrum import Spectrum
from bayesxs.errors import InputError
from bayesxs.experiment.geometry import Geometry
from bayesxs.inference.goodness import chi_square
from bayesxs.inputs.counts import CountTable, has_edges, load_counts, load_table
from bayesxs.keys import generator

# Stands for the target in the name of near.file
TARGET: Final = "{target}"


def near_path(card: Card, name: str) -> Path:
    """Return the file of near-detector counts of a target."""
    return Path(card.near.file.replace(TARGET, name))


def require_file_per_target(card: Card, names: Sequence[str], source: str) -> None:
    """Refuse one file of counts for several cross sections.

    Raises:
        InputError: near.file does not say where the target's name stands.
    """
    path = card.near.file
    if path and len(names) > 1 and TARGET not in path:
        allowed = f"{TARGET} must stand in the name, and a file be there for each of "
        raise InputError.at(source, "near.file", path, allowed + ", ".join(names))


class NearDetector:
    """Observed near-detector data of one target, and what a cross section predicts for them.

    Counts are compared with integrals over their bins. The expected density (near.events infinite)
    is compared with the density at the bins' centers. With a response, both are reconstructed.
    """

    def __init__(self, card: Card, geometry: Geometry, key: jax.Array, source: str) -> None:
        """Hold what is needed; files are read when first asked for.

        Args:
            card: the analysis.
            geometry: of the target.
            key: of the counts, if they are simulated.
            source: where the card was read from, named in messages.
        """
        self.geometry = geometry
        self._card = card
        self._key = key
        self._source = source
        self._path = near_path(card, geometry.target.name)

    @cached_property
    def table(self) -> CountTable | None:
        """Counts from a file in bins of its own, if there is one."""
        if not self._card.near.file or not has_edges(self._path):
            return None
        table = load_table(self._path)
        if self.geometry.response is not None and table.axis == "z":
            allowed = "cos_theta or angle_rad, for reconstructed bins (response)"
            raise InputError.at(self._path, "columns", "z_low,z_high", allowed)
        return table

    @cached_property
    def bins(self) -> CountedBins:
        """The bins, in the order of the data."""
        if self.table is not None:
            return CountedBins(self.table.energy, self.table.second, cast(Axis, self.table.axis))
        energy, second = self.geometry.seen_axes.items()
        return CountedBins.of_edges(energy[1], second[1], cast(Axis, second[0]))

    @cached_property
    def _reconstructed(self) -> tuple[RecoGrid | None, sparse.csr_array | None]:
        """Grid that all edges of a file's bins span, and what sums it to the bins."""
        if self.table is None or self.geometry.response is None:
            return None, None
        return grid_of_bins(self.bins)

    @property
    def grid(self) -> RecoGrid | None:
        """Reconstructed bins that are summed to those of a file; None for the geometry's own."""
        return self._reconstructed[0]

    def summed(self, rows: Float) -> Float:
        """Sum reconstructed bins to those of a file, along the last but one axis."""
        matrix = self._reconstructed[1]
        if matrix is None:
            return rows
        return np.stack([matrix @ part for part in rows])

    @cached_property
    def spectrum(self) -> Spectrum | CountedSpectrum:
        """What folds a cross section with the bins."""
        g = self.geometry
        if g.response is None and self._card.near.counted:
            return CountedSpectrum(self.bins, g.energies, g.nodes, g.lepton_mass)
        grid, summed = self._reconstructed
        if g.response is not None and grid is not None:
            return g.response.spectrum_in(grid, summed)
        return g.seen

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """The bins from values on the nodes, shape (bins, 3 n_nodes)."""
        return self.spectrum.matrix(self.geometry.target.near_flux)

    @property
    def events(self) -> float:
        """Number of events; infinite for the expected density."""
        if self._card.near.file:
            return float(self.observed.sum())
        return float(np.inf if self._card.near.events == "infinite" else self._card.near.events)

    @property
    def observed(self) -> Float:
        """What is observed in the bins: counts, or the expected density where events are infinite.

        Counts come from a file, or are drawn from Poisson distributions.

        Raises:
            InputError: the file is at fault, or holds what no neutrino can make.
        """
        return self._observed_and_dropped[0]

    @property
    def dropped(self) -> int:
        """Events in bins that no neutrino of the beam fills, left out."""
        return self._observed_and_dropped[1]

    @cached_property
    def _observed_and_dropped(self) -> tuple[Float, int]:
        near = self._card.near
        if near.file:
            return self._from_file()
        expected = self._truth @ self.geometry.target.near_flux
        if near.events == "infinite":
            return expected, 0
        rng = generator(self._key)
        return rng.poisson(near.events * expected / expected.sum()).astype(float), 0

    @property
    def _truth(self) -> Float:
        """The true cross section in the bins, shape (bins, E)."""
        if isinstance(self.spectrum, CountedSpectrum):
            return self.spectrum.of_function(self.geometry.target.truth).rows
        return self.geometry.seen_truth.rows

    def _from_file(self) -> tuple[Float, int]:
        near, table = self._card.near, self.table
        if table is not None:
            counts = table.counts
        else:
            counts = load_counts(self._path, self.geometry.seen_axes)
        if near.events not in ("infinite", int(counts.sum())):
            allowed = f"{self._path} holds {counts.sum():.0f} events; leave the key out"
            raise InputError.at(self._source, "near.events", near.events, allowed)
        filled = np.asarray(abs(self.matrix).sum(axis=1)).ravel() > 0.0
        impossible = (counts > 0.0) & ~filled
        if impossible.any() and near.impossible == "refuse":
            first = int(np.argmax(impossible))
            (low, high), second = self.bins.energy[first], self.bins.second[first]
            where = f"bin {low:g} to {high:g} GeV, {self.bins.axis} {second[0]:g} to {second[1]:g}"
            allowed = 'no neutrino of the beam makes such a lepton; near.impossible = "drop" leaves'
            raise InputError.at(self._path, where, f"{counts[first]:.0f}", f"{allowed} it out")
        return np.where(impossible, 0.0, counts), int(counts[impossible].sum())


class FitJudge:
    """Compare a learned cross section with the near-detector counts that it is learned from."""

    def __init__(self, near: NearDetector) -> None:
        """Hold the counts."""
        self.near = near

    @property
    def geometry(self) -> Geometry:
        """The geometry of the target."""
        return self.near.geometry

    def errors(self, values: Float) -> dict[str, float]:
        """Return chi^2 per bin.

        Args:
            values: structure functions on the nodes, shape (n_nodes, 3).
        """
        fit = chi_square(self.near.observed, self.near.matrix @ values.ravel())
        return {"near_chi2_per_bin": fit.chi2 / fit.bins}


def grid_of_bins(bins: CountedBins) -> tuple[RecoGrid, sparse.csr_array]:
    """Return the reconstructed bins that all edges span, and what sums them, (bins, grid).

    One more bin collects what lies above the largest energy.

    Args:
        bins: in cos(theta) or angle.
    """
    angles = bins.second
    if bins.axis == "cos_theta":
        angles = np.arccos(bins.second[:, ::-1])
    energy = np.unique(np.round(bins.energy, 9))
    theta = np.unique(np.round(angles, 9))
    theta = theta[(theta > 1e-8) & (theta < np.pi - 1e-8)]
    grid = RecoGrid(np.append(energy, 2.0 * energy[-1]), np.array([0.0, *theta, np.pi]))
    rows, columns = [], []
    for number, (own_e, own_a) in enumerate(zip(bins.energy, angles, strict=True)):
        inside_e = (grid.energy_centers > own_e[0]) & (grid.energy_centers < own_e[1])
        inside_a = (grid.angle_centers > own_a[0]) & (grid.angle_centers < own_a[1])
        inside_e[-1] = False
        found = np.flatnonzero(np.outer(inside_e, inside_a).ravel())
        rows.append(np.full(len(found), number))
        columns.append(found)
    row, column = np.concatenate(rows), np.concatenate(columns)
    return grid, sparse.csr_array((np.ones(len(row)), (row, column)), (bins.size, grid.size))
