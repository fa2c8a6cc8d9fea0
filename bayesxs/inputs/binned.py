"""Counts of samples in bins of reconstructed energy, from a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.tables import read_lines
from bayesxs.types import Floats as Float

COLUMNS: Final = ("sample", "energy_low_GeV", "energy_high_GeV", "counts")
_TOLERANCE: Final = 1e-6  # of edges, relative and in GeV


def read_counts(
    path: str | Path, names: Sequence[str], edges: Float, inside: NDArray[np.bool_]
) -> Float:
    """Read the counts of all analysed bins, one sample after the other.

    The file has the columns sample, energy_low_GeV, energy_high_GeV and counts, and a row for every
    analysed bin, in any order; rows of bins that are not analysed are passed over.

    Args:
        path: of the CSV file.
        names: of the samples.
        edges: of the bins, GeV, (bins + 1,).
        inside: which bins are analysed, (samples, bins).

    Raises:
        InputError: naming file, row and value of what is wrong, or the bin that is missing.
    """
    rows = [line for line in read_lines(path, "a table of counts") if line.strip()]
    table = list(csv.reader(rows))
    if not table or tuple(cell.strip() for cell in table[0]) != COLUMNS:
        raise InputError.at(path, "header", rows[0] if rows else "(empty)", ",".join(COLUMNS))
    found = np.full(inside.shape, np.nan)
    for number, cells in enumerate(table[1:], start=2):
        if len(cells) != len(COLUMNS):
            raise InputError.at(path, f"row {number}: columns", len(cells), f"{len(COLUMNS)}")
        name = cells[0].strip()
        if name not in names:
            allowed = f"one of {', '.join(names)}"
            raise InputError.at(path, f"row {number}: sample", name, allowed)
        low, high, count = (
            _number(path, number, *pair) for pair in zip(COLUMNS[1:], cells[1:], strict=True)
        )
        place = int(np.argmin(np.abs(edges[:-1] - low)))
        if not np.allclose(edges[place : place + 2], (low, high), _TOLERANCE, _TOLERANCE):
            allowed = f"a bin of the detector, such as {edges[place]:g} to {edges[place + 1]:g}"
            raise InputError.at(path, f"row {number}: bin", f"{low:g} to {high:g}", allowed)
        if not 0.0 <= count < 1e15:
            raise InputError.at(path, f"row {number}: counts", count, "0 or above")
        row = names.index(name)
        if np.isfinite(found[row, place]):
            raise InputError.at(path, f"row {number}: bin", f"{low:g} to {high:g}", "each bin once")
        found[row, place] = count
    for row, place in np.argwhere(inside & ~np.isfinite(found))[:1]:
        bin_of = f"{names[row]}, {edges[place]:g} to {edges[place + 1]:g} GeV"
        raise InputError(f"{path}: no row for the bin {bin_of}")
    return np.asarray(found[inside])


def _number(path: str | Path, row: int, name: str, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise InputError.at(path, f"row {row}: {name}", cell or "(empty)", "a number") from None
