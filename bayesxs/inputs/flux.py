"""Neutrino fluxes: the embedded DUNE tables, and loaders for GLoBES files and CSV."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.inputs.fluxtable import SPECIES, Energies, FluxTable, read_flux_table
from bayesxs.types import Floats

NEUTRINOS = (12, 14, 16, -12, -14, -16)
COLUMNS = SPECIES
MAX_ENERGY = 1000.0  # GeV; beyond it energies are in MeV
MAX_VALUE = 1e100
MIN_SPACING = 1e-9  # GeV
BeamMode = Literal["neutrino", "antineutrino"]
Detector = Literal["near", "far"]
DUNE_SOURCE = "DUNE TDR {detector}-detector flux, {mode} mode (arXiv:2103.04797, ancillary files)"


@dataclass(frozen=True, eq=False)
class Flux:
    """Hold a flux per GeV, m^2 and proton on target, tabulated at bin centers.

    Build one with `bayesxs.flux`, `bayesxs.read_flux` or `bayesxs.dune_flux`: they check the table.

    Attributes:
        energy: in GeV, increasing, shape (n,).
        values: of nu_e, nu_mu, nu_tau and their antineutrinos, per GeV, m^2 and proton on target,
            shape (n, 6).
        source: what messages call it.
        edges: of bins in GeV, shape (n + 1,): the flux is constant in each; None for a flux that
            is linear between energies.

    Example:
        >>> bayesxs.dune_flux("antineutrino")(-14, [2.0, 3.0, 4.0]).shape
        (3,)
    """

    energy: Floats  # (n,), GeV, increasing
    values: Floats  # (n, 6), columns in the order of NEUTRINOS
    source: str
    edges: Floats | None = None  # (n + 1,), GeV: the flux is constant in each bin

    @property
    def knots(self) -> Floats:
        """Energies in GeV at which the flux has a kink or a step."""
        return self.energy if self.edges is None else self.edges

    @property
    def support(self) -> tuple[float, float]:
        """First and last knot in GeV; the flux is zero outside."""
        return float(self.knots[0]), float(self.knots[-1])

    def __call__(self, pdg: int, energy: ArrayLike) -> Floats:
        """Return the flux of one species: linear between bin centers, zero outside.

        With edges it is constant in each bin instead, so that its integral over a bin is that of
        the table; an edge belongs to the bin above, the last one to the last.

        Args:
            pdg: PDG id of the neutrino, one of NEUTRINOS.
            energy: GeV, any shape.

        Returns:
            Array of the shape of energy, per GeV, m^2 and proton on target.

        Raises:
            InputError: if pdg is not a neutrino.
        """
        if pdg not in NEUTRINOS:
            raise InputError.at(self.source, "pdg", pdg, f"one of {NEUTRINOS}")
        column = self.values[:, NEUTRINOS.index(pdg)]
        energy = np.asarray(energy, float)
        if self.edges is None:
            return np.interp(energy, self.energy, column, left=0.0, right=0.0)
        place = np.searchsorted(self.edges, energy, side="right") - 1
        inside = (energy >= self.edges[0]) & (energy <= self.edges[-1])
        return np.where(inside, column[np.clip(place, 0, len(column) - 1)], 0.0)


def make_flux(
    energy: ArrayLike,
    values: ArrayLike,
    source: str,
    rows: Sequence[int] | None = None,
    edges: ArrayLike | None = None,
) -> Flux:
    """Check a flux table and return it.

    Args:
        energy: bin centers in GeV, shape (n,), n >= 2.
        values: shape (n, 6), columns in the order of NEUTRINOS, per GeV, m^2 and proton on target.
        source: file name or description, named in messages.
        rows: names of the rows in messages (line numbers of a file); 1 to n by default.
        edges: bin edges in GeV, shape (n + 1,), where the flux is constant in bins.

    Raises:
        InputError: naming source, row and column, unless all is finite, the flux is >= 0 and not
            zero everywhere, and the energies are >= 0, strictly increasing and below 1000 GeV.
    """
    energy = np.array(energy, float)
    values = np.array(values, float)
    if energy.ndim != 1 or values.shape != (energy.size, len(NEUTRINOS)):
        shapes = f"{energy.shape} and {values.shape}"
        raise InputError.at(
            source, "shape", shapes, f"energy (n,) and values (n, {len(NEUTRINOS)})"
        )
    if energy.size < 2:
        raise InputError.at(source, "rows", energy.size, "a flux table has at least two rows")
    numbers = range(1, energy.size + 1) if rows is None else rows
    _check_energy(energy, numbers, source)
    if edges is not None:
        edges = np.array(edges, float)
        _check_energy(edges, [*numbers, numbers[-1]], source)
    bad = np.argwhere(~(np.isfinite(values) & (values >= 0) & (values <= MAX_VALUE)))
    if bad.size:
        row, column = bad[0]
        where = f"row {numbers[row]}: {COLUMNS[column]}"
        raise InputError.at(
            source, where, values[row, column], "a flux is finite and >= 0, <= 1e100"
        )
    if not np.any(values):
        raise InputError(f"{source}: the flux is zero everywhere: at least one value is > 0")
    return Flux(energy, values, source, edges)


def _check_energy(energy: Floats, rows: Sequence[int], source: str) -> None:
    bad = np.flatnonzero(~(np.isfinite(energy) & (energy >= 0)))
    if bad.size:
        where = f"row {rows[bad[0]]}: energy"
        raise InputError.at(source, where, energy[bad[0]], "an energy in GeV is finite and >= 0")
    if energy[-1] > MAX_ENERGY:
        allowed = f"energies in GeV, up to {MAX_ENERGY:g}; if these are in MeV, divide them by 1000"
        raise InputError.at(source, f"row {rows[-1]}: energy", energy[-1], allowed)
    unsorted = np.flatnonzero(np.diff(energy) < MIN_SPACING)
    if unsorted.size:
        row = unsorted[0] + 1
        raise InputError.at(
            source, f"row {rows[row]}: energy", energy[row], f"above the previous {energy[row - 1]}"
        )


def embedded_dune_flux(mode: BeamMode, detector: Detector = "near") -> Flux:
    """Load the DUNE flux at a detector, all species, in 0.25 GeV bins (arXiv:2103.04797).

    Both are per GeV, m^2 and proton on target at their detector, the far one without oscillation:
    what the distance takes away is in it, 2e-7 of the near flux.

    Args:
        mode: beam mode, "neutrino" (forward horn current) or "antineutrino" (reverse).
        detector: "near" or "far".

    Raises:
        InputError: if the mode is neither.
    """
    resource = importlib.resources.files("bayesxs.data") / f"dune_{detector}_flux.csv"
    with resource.open("r", encoding="utf-8") as stream:
        rows = [row[1:] for row in csv.reader(stream) if row[0] == mode]
    if not rows:
        raise InputError.at("DUNE flux", "mode", mode, "neutrino or antineutrino")
    table = np.array(rows, dtype=np.float64)
    return make_flux(table[:, 0], table[:, 1:], DUNE_SOURCE.format(mode=mode, detector=detector))


def load_globes_flux(path: str | Path, energies: Energies | None = None) -> Flux:
    """Load a flux file in GLoBES format.

    Seven columns: energy in GeV, nu_e, nu_mu, nu_tau, anti-nu_e, anti-nu_mu, anti-nu_tau; or eight,
    of which the first two are the edges of a bin. A line of names may say otherwise. What else is
    understood: see `bayesxs.inputs.fluxtable.read_flux_table`.

    Args:
        path: the file.
        energies: whether energies are "centers" or "low_edges" of bins, where it is not clear.

    Raises:
        InputError: naming file, line and column at fault.
    """
    return _made(path, read_flux_table(path, header=False, energies=energies))


def load_csv_flux(path: str | Path, energies: Energies | None = None) -> Flux:
    """Load a flux from a file with a header line.

    Columns: energy (GeV), or the low and the high edge of each bin, and any of nu_e, nu_mu, nu_tau,
    anti_nu_e, anti_nu_mu, anti_nu_tau, in any order; a species without a column is zero. What else
    is understood: see `bayesxs.inputs.fluxtable.read_flux_table`.

    Args:
        path: the file.
        energies: whether energies are "centers" or "low_edges" of bins, where it is not clear.

    Raises:
        InputError: naming file, line and column at fault.
    """
    return _made(path, read_flux_table(path, header=True, energies=energies))


def _made(path: str | Path, table: FluxTable) -> Flux:
    return make_flux(table.energy, table.values, str(path), table.rows, table.edges)
