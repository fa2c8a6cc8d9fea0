"""Neutrino fluxes: the embedded DUNE tables, and loaders for GLoBES files and CSV."""

from __future__ import annotations

import csv
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.tables import read_lines

NEUTRINOS = (12, 14, 16, -12, -14, -16)
COLUMNS = ("nu_e", "nu_mu", "nu_tau", "anti_nu_e", "anti_nu_mu", "anti_nu_tau")
ENERGY_COLUMNS = ("energy", "energy_GeV")
BeamMode = Literal["neutrino", "antineutrino"]
Detector = Literal["near", "far"]
CONTENT = "a table of fluxes"
DUNE_SOURCE = "DUNE TDR {detector}-detector flux, {mode} mode (arXiv:2103.04797, ancillary files)"


@dataclass(frozen=True, eq=False)
class Flux:
    """Hold a flux per GeV, m^2 and proton on target, tabulated at bin centers.

    Build one with `make_flux` or a loader: they check the table.
    """

    energy: NDArray[np.float64]  # (n,), GeV, increasing
    values: NDArray[np.float64]  # (n, 6), columns in the order of NEUTRINOS
    source: str

    @property
    def support(self) -> tuple[float, float]:
        """First and last bin center in GeV; the flux is zero outside."""
        return float(self.energy[0]), float(self.energy[-1])

    def __call__(self, pdg: int, energy: ArrayLike) -> NDArray[np.float64]:
        """Return the flux of one species: linear between bin centers, zero outside.

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
        return np.interp(np.asarray(energy, float), self.energy, column, left=0.0, right=0.0)


def make_flux(
    energy: ArrayLike, values: ArrayLike, source: str, rows: Sequence[int] | None = None
) -> Flux:
    """Check a flux table and return it.

    Args:
        energy: bin centers in GeV, shape (n,), n >= 2.
        values: shape (n, 6), columns in the order of NEUTRINOS, per GeV, m^2 and proton on target.
        source: file name or description, named in messages.
        rows: what messages call each row (line numbers of a file); 1 to n by default.

    Raises:
        InputError: naming source, row and column, unless all is finite, the flux is >= 0 and not
            zero everywhere, and the energies are >= 0 and strictly increasing.
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
    bad = np.argwhere(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        row, column = bad[0]
        where = f"row {numbers[row]}: {COLUMNS[column]}"
        raise InputError.at(source, where, values[row, column], "a flux is finite and >= 0")
    if not np.any(values):
        raise InputError(f"{source}: the flux is zero everywhere: at least one value is > 0")
    return Flux(energy, values, source)


def _check_energy(energy: NDArray[np.float64], rows: Sequence[int], source: str) -> None:
    bad = np.flatnonzero(~(np.isfinite(energy) & (energy >= 0)))
    if bad.size:
        where = f"row {rows[bad[0]]}: energy"
        raise InputError.at(source, where, energy[bad[0]], "an energy in GeV is finite and >= 0")
    unsorted = np.flatnonzero(np.diff(energy) <= 0)
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


def load_globes_flux(path: str | Path) -> Flux:
    """Load a flux file in GLoBES format.

    Seven columns separated by white space: energy in GeV, nu_e, nu_mu, nu_tau, anti-nu_e,
    anti-nu_mu, anti-nu_tau; "#" starts a comment.

    Raises:
        InputError: naming file, line and column of what is wrong.
    """
    names = (ENERGY_COLUMNS[0], *COLUMNS)
    table, rows = [], []
    for number, line in enumerate(read_lines(path, CONTENT), start=1):
        cells = line.split("#")[0].split()
        if not cells:
            continue
        _check_width(path, number, cells, names)
        table.append([_number(path, number, *cell) for cell in zip(names, cells, strict=True)])
        rows.append(number)
    values = np.array(table, float).reshape(-1, len(names))
    return make_flux(values[:, 0], values[:, 1:], str(path), rows)


def load_csv_flux(path: str | Path) -> Flux:
    """Load a flux from a CSV file with a header line.

    Columns: energy (GeV) and any of nu_e, nu_mu, nu_tau, anti_nu_e, anti_nu_mu, anti_nu_tau, in
    any order; a species without a column is zero. Lines that start with "#" are comments.

    Raises:
        InputError: naming file, line and column of what is wrong.
    """
    numbered = [
        (number, [cell.strip() for cell in row])
        for number, row in enumerate(csv.reader(read_lines(path, CONTENT)), start=1)
        if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#")
    ]
    if not numbered:
        raise InputError(f"{path}: empty: a header line and at least two rows are needed")
    names = _check_header(path, numbered[0][1])
    energy, values, rows = [], [], []
    for number, cells in numbered[1:]:
        _check_width(path, number, cells, names)
        found = {
            name: _number(path, number, name, cell) for name, cell in zip(names, cells, strict=True)
        }
        energy.append(next(found[name] for name in ENERGY_COLUMNS if name in found))
        values.append([found.get(name, 0.0) for name in COLUMNS])
        rows.append(number)
    return make_flux(energy, np.reshape(values, (-1, len(COLUMNS))), str(path), rows)


def _check_header(path: str | Path, names: list[str]) -> list[str]:
    allowed = f"energy and any of {', '.join(COLUMNS)}, once each"
    unknown = [name for name in names if name not in (*ENERGY_COLUMNS, *COLUMNS)]
    if unknown:
        raise InputError.at(path, "column", unknown[0], allowed)
    energies = [name for name in names if name in ENERGY_COLUMNS]
    if len(energies) != 1 or len(set(names)) != len(names) or len(names) < 2:
        raise InputError.at(path, "header", ",".join(names), allowed)
    return names


def _check_width(path: str | Path, row: int, cells: Sequence[str], names: Sequence[str]) -> None:
    if len(cells) != len(names):
        needed = f"{len(names)}: {', '.join(names)}"
        raise InputError.at(path, f"row {row}: columns", len(cells), needed)


def _number(path: str | Path, row: int, name: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise InputError.at(path, f"row {row}: {name}", cell or "(empty)", "a number") from None
