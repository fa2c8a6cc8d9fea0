"""Tables of a posterior over orderings and octants: columns of contours, and HEPData's archive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import xarray as xr

from bayesxs.report.contours import SPLITTING, Contour
from bayesxs.report.hepdata import Column, HepDataTable, submission
from bayesxs.types import Floats, Json

# Name of a column, symbol, unit, and the shown unit in it
_AXES: Final = {
    "dcp": ("dcp_deg", "$\\delta_{CP}$", "deg", 1.0),
    "sin2_theta13": ("sin2_theta13", "$\\sin^2\\theta_{13}$", "", 1.0),
    "sin2_theta23": ("sin2_theta23", "$\\sin^2\\theta_{23}$", "", 1.0),
    SPLITTING: ("dm32_eV2", "$\\Delta m^2_{32}$", "eV$^2$", 1e-3),
}
_SHORT: Final = {"normal": "NO", "inverted": "IO"}
_COMMENT: Final = (
    "Posterior of neutrino oscillation parameters: contours around highest-density regions given "
    "each mass ordering, probabilities of the mass orderings and octants of theta_23, and the "
    "density of the CP phase. Made by bayesxs."
)


def _points(line: Contour, axis: int) -> Floats:
    """Return points of a line in the unit of files; the splitting has the sign of its ordering."""
    name = line.names[axis]
    sign = -1.0 if name == SPLITTING and line.ordering == "inverted" else 1.0
    return sign * _AXES[name][3] * (line.y if axis else line.x)


def contour_columns(lines: Sequence[Contour]) -> dict[str, Any]:
    """Return the lines of one plane as columns: ordering, level, line, and both coordinates."""
    columns: dict[str, list[Any]] = {"ordering": [], "level_percent": [], "line": []}
    x, y = (_AXES[name][0] for name in lines[0].names)
    columns |= {x: [], y: []}
    for _, own in groupby(lines, lambda c: (c.ordering, c.percent)):
        for number, line in enumerate(own, start=1):
            many = len(line.x)
            columns["ordering"] += [line.ordering] * many
            columns["level_percent"] += [line.percent] * many
            columns["line"] += [number] * many
            columns[x] += _points(line, 0).tolist()
            columns[y] += _points(line, 1).tolist()
    return columns


def release(lines: Sequence[Contour], summary: Json, phases: xr.Dataset) -> bytes:
    """Return HEPData's archive of contours, probabilities of modes, and the density of dcp.

    Args:
        lines: from `contours.contours`, those of one plane, ordering and level together.
        summary: from `inference.mode_summaries.summarise_modes`.
        phases: density of dcp: total and total_error, over dcp.
    """
    key = lambda c: (c.names, c.ordering, c.percent)  # noqa: E731
    tables = [_contour_table(list(own)) for _, own in groupby(lines, key)]
    return submission([_mode_table(summary), _phase_table(phases), *tables], _COMMENT)


def _contour_table(lines: list[Contour]) -> HepDataTable:
    first = lines[0]
    x, y = (_AXES[name] for name in first.names)
    numbers = [n for n, line in enumerate(lines, start=1) for _ in line.x]
    across, up = (np.concatenate([_points(line, axis) for line in lines]) for axis in (0, 1))
    plane = f"{first.names[0]}-{first.names[1]}"
    short = _SHORT[first.ordering]
    return HepDataTable(
        f"contour_{'_'.join(first.names)}_{short}_{first.percent}",
        f"Contour {plane}, {short}, {first.percent} %",
        f"Points of the contour around {first.percent} % of the posterior of {x[1]} and {y[1]}, "
        f"given {first.ordering} mass ordering. Points of one line follow one another.",
        first.names,
        (Column(x[1], across, x[2]),),
        (Column(y[1], up, y[2]), Column("line", [float(n) for n in numbers])),
        (("Mass ordering", first.ordering, ""), ("Credible level", float(first.percent), "%")),
    )


def _mode_table(summary: Json) -> HepDataTable:
    modes = summary["modes"]

    def column(name: str, key: str) -> Column:
        errors = np.array([float(m[f"{key}_error"]) for m in modes])
        return Column(name, [float(m[key]) for m in modes], errors=errors)

    return HepDataTable(
        "modes",
        "Mass ordering and octant",
        "Posterior probability and log evidence of each mass ordering and octant of theta_23, "
        "with Monte Carlo errors.",
        ("probability", "evidence"),
        (
            Column("Mass ordering", [str(m["ordering"]) for m in modes]),
            Column("Octant", [str(m["octant"]) for m in modes]),
        ),
        (column("Posterior probability", "probability"), column("Log evidence", "log_evidence")),
    )


def _phase_table(phases: xr.Dataset) -> HepDataTable:
    per_degree = np.radians(1.0)
    return HepDataTable(
        "dcp",
        "Posterior density of dCP",
        "Density of the CP phase over both mass orderings and octants, with Monte Carlo errors.",
        ("dcp",),
        (Column("$\\delta_{CP}$", np.degrees(phases["dcp"].values), "deg"),),
        (
            Column(
                "Posterior density",
                per_degree * phases["total"].values,
                "1/deg",
                per_degree * phases["total_error"].values,
            ),
        ),
    )
