"""Near-detector counts from a CSV file, in bins of its own or in those of the analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.inputs.tables import column_names, read_columns
from bayesxs.types import Floats

# Largest number of events of a file
MOST_EVENTS: Final = 10**12

# Most cells that the edges of a file's bins may span, if every edge ran through: bounds memory
MOST_CELLS: Final = 10_000_000

ENERGY: Final = "lepton_energy_GeV"

# Second axes that bins may have, each with the range of its edges
SECOND: Final[dict[str, tuple[float, float]]] = {
    "z": (0.0, np.inf),
    "cos_theta": (-1.0, 1.0),
    "angle_rad": (0.0, np.pi),
}


@dataclass(frozen=True)
class CountTable:
    """Counts in bins of lepton energy and a second variable, in the order of the file.

    Attributes:
        energy: lower and upper edge of each bin in GeV, shape (n, 2).
        second: the same in the second variable, shape (n, 2).
        axis: name of the second variable, one of `SECOND`.
        counts: shape (n,).
    """

    energy: Floats
    second: Floats
    axis: str
    counts: Floats


def has_edges(path: str | Path) -> bool:
    """Tell whether a file brings the edges of its bins.

    Raises:
        InputError: unreadable file.
    """
    return any(name.endswith(("_low", "_high")) for name in column_names(Path(path)))


def has_events(path: str | Path) -> bool:
    """Tell whether a file holds events one by one: lepton energies and angles, and no counts.

    Raises:
        InputError: unreadable file.
    """
    names = column_names(Path(path))
    return "counts" not in names and "cos_theta" in names and not has_edges(path)


def load_table(path: str | Path) -> CountTable:
    """Read counts with the edges of their bins, one row per bin.

    Columns are lepton_energy_GeV_low, lepton_energy_GeV_high, the same for z, cos_theta or
    angle_rad, and counts. Bins may be uneven and need not touch: events outside of them were not
    measured.

    Args:
        path: the file; other columns are ignored.

    Raises:
        InputError: unreadable file, a missing column, edges that do not increase or leave the
            range of the variable, bins that overlap, a count that is negative or no integer.
    """
    path = Path(path)
    present = column_names(path)
    axes = [name for name in SECOND if f"{name}_low" in present or f"{name}_high" in present]
    if len(axes) != 1:
        allowed = f"lower and upper edges of one of {', '.join(SECOND)} are needed, as in z_low"
        raise InputError.at(path, "columns", ",".join(present), allowed)
    (axis,) = axes
    columns = [f"{name}_{side}" for name in (ENERGY, axis) for side in ("low", "high")]
    rows = _read(path, [*columns, "counts"])
    for number, values in enumerate(rows):
        for place, (lowest, highest) in ((0, (0.0, np.inf)), (2, SECOND[axis])):
            low, high = values[place : place + 2]
            if not lowest - 1e-6 <= low < high <= highest + 1e-6:
                allowed = f"must be below the upper edge {high:g}"
                if low < high:
                    allowed = f"edges must lie between {lowest:g} and {highest:.7g}"
                where, value = f"row {number}: {columns[place]}", low
                if lowest - 1e-6 <= low < high:
                    where, value = f"row {number}: {columns[place + 1]}", high
                raise InputError.at(path, where, f"{value:g}", allowed)
    table = np.array(rows).reshape(-1, 5)
    energy, second, counts = table[:, :2], np.clip(table[:, 2:4], *SECOND[axis]), table[:, 4]
    _check_sum(path, counts)
    _refuse_overlap(path, energy, second)
    return CountTable(energy, second, axis, counts)


def near_counts(
    counts: ArrayLike,
    lepton_energy: ArrayLike,
    *,
    z: ArrayLike | None = None,
    cos_theta: ArrayLike | None = None,
    angle: ArrayLike | None = None,
) -> CountTable:
    """Return near-detector counts in arrays, in bins of lepton energy and one other variable.

    Args:
        counts: shape (n, m).
        lepton_energy: edges in GeV, increasing, shape (n + 1,).
        z: edges in z = (E_l - p_l cos theta)/M, shape (m + 1,).
        cos_theta: edges in the cosine of the angle to the beam, shape (m + 1,).
        angle: edges in the angle in rad, shape (m + 1,).

    Raises:
        InputError: not one of z, cos_theta and angle; edges that do not increase or leave their
            range; counts of another shape, negative or no integers.

    Example:
        >>> table = bayesxs.near_counts(
        ...     [[30, 40], [25, 60]], lepton_energy=[1.0, 2.0, 3.0], cos_theta=[0.8, 0.9, 1.0]
        ... )
        >>> int(exp.near_data(counts=table).detectors["mu"].observed.sum())
        155
    """
    seconds = {"z": z, "cos_theta": cos_theta, "angle_rad": angle}
    given = {name: np.asarray(v, float) for name, v in seconds.items() if v is not None}
    if len(given) != 1:
        raise InputError.at(
            "near_counts", "edges", ", ".join(given) or None, "z, cos_theta or angle"
        )
    ((axis, second),) = given.items()
    energy, table = np.asarray(lepton_energy, float), np.asarray(counts, float)
    for name, edges, (low, high) in (
        ("lepton_energy", energy, (0.0, np.inf)),
        (axis, second, SECOND[axis]),
    ):
        good = edges.ndim == 1 and len(edges) > 1 and np.isfinite(edges).all()
        if not (good and np.all(np.diff(edges) > 0.0) and edges[0] >= low and edges[-1] <= high):
            allowed = f"at least two increasing edges between {low:g} and {high:.7g}"
            raise InputError.at("near_counts", name, edges, allowed)
    shape = (len(energy) - 1, len(second) - 1)
    _check_counts(table, shape)
    first, last = (np.repeat(e, shape[1]) for e in (energy[:-1], energy[1:]))
    left, right = (np.tile(e, shape[0]) for e in (second[:-1], second[1:]))
    _check_sum("near_counts", table.ravel())
    return CountTable(
        np.stack([first, last], axis=1), np.stack([left, right], axis=1), axis, table.ravel()
    )


def _check_counts(table: Floats, shape: tuple[int, int]) -> None:
    """Refuse counts of another shape, negative or no integers.

    Raises:
        InputError: naming the shape or the first such count.
    """
    if table.shape != shape:
        allowed = f"{shape}, one less than the edges"
        raise InputError.at("near_counts", "shape of counts", table.shape, allowed)
    bad = ~(np.isfinite(table) & (table >= 0.0) & (table == np.round(table)))
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        value = table[where]
        raise InputError.at(
            "near_counts", f"counts[{where[0]}, {where[1]}]", value, "integers >= 0"
        )


def load_counts(path: str | Path, axes: Mapping[str, Floats]) -> Floats:
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
    shape = [len(edges) - 1 for edges in axes.values()]
    table = np.zeros(shape)
    seen = np.zeros(shape, dtype=bool)
    for number, values in enumerate(_read(path, [*axes, "counts"])):
        place = []
        for value, (name, edges) in zip(values, axes.items(), strict=False):
            if not edges[0] <= value <= edges[-1]:
                allowed = f"between {edges[0]:g} and {edges[-1]:g}, the edges of the bins"
                raise InputError.at(path, f"row {number}: {name}", f"{value:g}", allowed)
            bin_number = int(np.searchsorted(edges, value, side="right")) - 1
            place.append(min(bin_number, len(edges) - 2))
        if seen[tuple(place)]:
            raise InputError(f"{path}: row {number}: its bin stands in an earlier row already")
        table[tuple(place)], seen[tuple(place)] = values[-1], True
    _check_sum(path, table)
    return table.ravel()


def _read(path: Path, columns: Sequence[str]) -> list[list[float]]:
    """Read the rows of a file whose last wanted column holds counts."""

    def refuse(row: int, column: str, text: str | None, fault: str) -> InputError:
        return InputError.at(path, f"row {row}: {column}", repr(text or ""), "a finite number")

    rows = []
    for number, values in enumerate(read_columns(path, columns, refuse)):
        count = values[-1]
        if count < 0.0 or count != np.floor(count):
            raise InputError.at(path, f"row {number}: counts", f"{count:g}", "an integer >= 0")
        rows.append(values)
    return rows


def _check_sum(path: Path | str, counts: Floats) -> None:
    total = float(counts.sum())
    if not total > 0.0:
        raise InputError(f"{path}: no events: at least one count above 0 is needed")
    if total > MOST_EVENTS:
        raise InputError.at(path, "sum of counts", f"{total:g}", f"at most {MOST_EVENTS:g}")


def _refuse_overlap(path: Path, energy: Floats, second: Floats) -> None:
    """Refuse bins that share more than an edge.

    All edges together span cells; the corners of a bin enter a table of second differences, whose
    sums are how many bins cover each cell.

    Raises:
        InputError: naming a row whose bin overlaps with another one.
    """
    places, sizes = [], []
    for edges in (energy, second):
        edges = _rounded(edges)
        distinct = np.unique(edges)
        places.append(np.searchsorted(distinct, edges))
        sizes.append(len(distinct))
    if sizes[0] * sizes[1] > MOST_CELLS:
        allowed = f"distinct edges must span at most {MOST_CELLS:g} cells"
        raise InputError.at(path, "bins", f"{sizes[0]} x {sizes[1]} edges", allowed)
    (left, right), (bottom, top) = places[0].T, places[1].T
    steps = np.zeros(sizes, dtype=np.int64)
    for i, j, sign in ((left, bottom, 1), (right, top, 1), (left, top, -1), (right, bottom, -1)):
        np.add.at(steps, (i, j), sign)
    cover = np.cumsum(np.cumsum(steps, axis=0), axis=1)
    if cover.max() > 1:
        doubled = np.argwhere(cover > 1)[0]
        inside = (left <= doubled[0]) & (doubled[0] < right)
        inside &= (bottom <= doubled[1]) & (doubled[1] < top)
        first, other = np.flatnonzero(inside)[:2]
        raise InputError(f"{path}: row {other}: its bin overlaps with that of row {first}")


def _rounded(edges: Floats) -> Floats:
    """Round to nine decimals, so that rounding parts no edges; large numbers have none."""
    large = np.abs(edges) > 1e6
    return np.where(large, edges, np.round(np.where(large, 0.0, edges), 9))
