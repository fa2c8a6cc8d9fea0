"""Tables of a GLoBES folder: migration matrices, efficiencies and cross sections."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from bayesxs.errors import InputError
from bayesxs.inputs.flux import NEUTRINOS
from bayesxs.inputs.globes.aedl import Aedl
from bayesxs.inputs.globes.configuration import CrossSections, make_cross_sections
from bayesxs.inputs.globes.values import Value
from bayesxs.inputs.tables import read_lines
from bayesxs.types import Floats as Float

MAX_ROWS: Final = 20_000


def matrix_of(value: Value, rows: int, columns: int) -> Float:
    """Return a migration matrix, {first, last, part, ...}:{...}: one row for each bin.

    First and last number the true bins, from 0, between which the parts of a row lie.

    Args:
        value: of the entry @energy.
        rows: number of reconstructed bins.
        columns: number of true bins.

    Raises:
        InputError: another number of rows, a row beyond the true bins or with another number of
            parts than it says, a part outside of 0 to 1.
    """
    parts = [part for part in value.parts() if part.tokens]
    if len(parts) != rows:
        raise _fault(value, "rows", len(parts), f"{rows}, one for each reconstructed bin")
    matrix = np.zeros((rows, columns))
    for i, part in enumerate(parts):
        numbers = part.numbers()
        where = f"row {i}"
        if len(numbers) < 2:
            raise _fault(part, where, len(numbers), "{first, last, part, ...}")
        first, last = numbers[:2]
        if not (first == int(first) and last == int(last) and 0 <= first <= last < columns):
            shown = f"{{{first:g}, {last:g}}}"
            raise _fault(part, where, shown, f"true bins from 0 to {columns - 1}")
        values = numbers[2:]
        if len(values) != last - first + 1:
            allowed = f"{int(last - first) + 1} parts, for the true bins {first:g} to {last:g}"
            raise _fault(part, where, f"{len(values)} parts", allowed)
        for j in np.flatnonzero(~((values >= 0.0) & (values <= 1.0)))[:1]:
            raise _fault(part, f"{where}, true bin {int(first) + j}", values[j], "from 0 to 1")
        matrix[i, int(first) : int(last) + 1] = values
    return matrix


def efficiency_of(value: Value, bins: int) -> Float:
    """Return efficiencies, one for each bin.

    Raises:
        InputError: another number, or one outside of 0 to 1.
    """
    found = value.numbers()
    if len(found) != bins:
        raise _fault(value, value.key.text, f"{len(found)} numbers", f"{bins}, one for each bin")
    for i in np.flatnonzero(~((found >= 0.0) & (found <= 1.0)))[:1]:
        allowed = "an efficiency, from 0 to 1"
        raise _fault(value, f"{value.key.text}, bin {i}", found[i], allowed)
    return found


def read_matrix(path: str | Path, rows: int, columns: int) -> Float:
    """Read a file with one migration matrix, energy(#name)<@energy = {...}:{...}>.

    Raises:
        InputError: as `matrix_of`, or another number of matrices.
    """
    found = Aedl.read(path, main=False).of_kind("energy")
    if len(found) != 1 or "@energy" not in found[0].entries:
        raise InputError.at(path, "energy", len(found), "one energy(#name)<@energy = ...>")
    return matrix_of(found[0].entries["@energy"], rows, columns)


def read_efficiency(path: str | Path, bins: int) -> Float:
    """Read a file with one list of efficiencies, %name = {...}.

    Raises:
        InputError: as `efficiency_of`, or another number of lists.
    """
    found = list(Aedl.read(path, main=False).lists.values())
    if len(found) != 1:
        raise InputError.at(path, "lists", len(found), "one, %name = {...}")
    return efficiency_of(found[0], bins)


def read_cross_sections(path: str | Path) -> CrossSections:
    """Read log10(E/GeV) and sigma/E of six neutrinos in 1e-38 cm^2/GeV, seven columns.

    Lines that are empty or begin with # are passed over.

    Raises:
        InputError: naming file, line and column of what is wrong.
    """
    table: list[list[float]] = []
    for number, line in enumerate(read_lines(path, "a table of cross sections"), start=1):
        cells = line.split("#", maxsplit=1)[0].split()
        if not cells:
            continue
        if len(cells) != 1 + len(NEUTRINOS) or len(table) == MAX_ROWS:
            allowed = f"{1 + len(NEUTRINOS)} in each line: log10(E/GeV), six of sigma/E"
            raise InputError.at(path, f"line {number}: columns", len(cells), allowed)
        try:
            table.append([float(cell) for cell in cells])
        except ValueError:
            raise InputError.at(path, f"line {number}", line.strip(), "seven numbers") from None
    if not table:
        raise InputError.at(path, "lines", 0, "log10(E/GeV) and six of sigma/E in each")
    array = np.array(table)
    return make_cross_sections(array[:, 0], array[:, 1:], str(path))


def _fault(value: Value, key: str, shown: object, allowed: str) -> InputError:
    place = value.tokens[0].place if value.tokens else value.key.place
    return InputError.at(place, key, shown, allowed)
