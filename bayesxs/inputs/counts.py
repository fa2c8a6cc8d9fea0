"""Near-detector counts in the analysis's own bins, from a CSV file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.tables import read_columns

type Float = NDArray[np.float64]


def load_counts(path: str | Path, axes: Mapping[str, Float]) -> Float:
    """Read counts with one row per bin that holds events; the others are empty.

    The columns are the axes, any point inside the bin, and counts. A bin may stand only once.

    Args:
        path: the file; other columns are ignored.
        axes: bin edges of the two axes by column name, the second running fastest.

    Raises:
        InputError: unreadable file, a missing column, a point outside the bins, or a count that is
            negative or no integer.
    """
    path = Path(path)

    def refuse(row: int, column: str, text: str | None, fault: str) -> InputError:
        return InputError.at(path, f"row {row}: {column}", repr(text or ""), "a finite number")

    shape = [len(edges) - 1 for edges in axes.values()]
    table = np.zeros(shape)
    seen = np.zeros(shape, dtype=bool)
    for number, values in enumerate(read_columns(path, [*axes, "counts"], refuse)):
        place = []
        for value, (name, edges) in zip(values, axes.items(), strict=False):
            if not edges[0] <= value <= edges[-1]:
                allowed = f"between {edges[0]:g} and {edges[-1]:g}, the edges of the bins"
                raise InputError.at(path, f"row {number}: {name}", f"{value:g}", allowed)
            bin_number = int(np.searchsorted(edges, value, side="right")) - 1
            place.append(min(bin_number, len(edges) - 2))
        count = values[-1]
        if count < 0.0 or count != np.floor(count):
            raise InputError.at(path, f"row {number}: counts", f"{count:g}", "an integer >= 0")
        if seen[tuple(place)]:
            raise InputError(f"{path}: row {number}: its bin stands in an earlier row already")
        table[tuple(place)], seen[tuple(place)] = count, True
    if not table.sum() > 0.0:
        raise InputError(f"{path}: no events: at least one count above 0 is needed")
    return table.ravel()
