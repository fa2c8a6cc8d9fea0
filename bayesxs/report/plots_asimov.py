"""Figures of sensitivities: significance over the true phase or mixing."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayesxs.report.style import GUIDE, SOURCES, Plate, quantity, style

_LEVELS: Final = (3.0, 5.0)


class _Panel(NamedTuple):
    """A quantity of a scan, and how it is shown."""

    name: str
    title: str
    label: str
    scale: float = 1.0


_PANELS: Final = (
    _Panel("cp_violation", "CP violation", r"significance [$\sigma$]"),
    _Panel("ordering", "mass ordering", r"significance [$\sigma$]"),
    _Panel("octant", r"octant of $\theta_{23}$", r"significance [$\sigma$]"),
    _Panel("resolution", "resolution", r"half width of $\delta_\mathrm{CP}$ [deg]", 180.0 / np.pi),
)


def scan_figure(scan: xr.Dataset) -> Figure:
    """Draw the significance of exclusion over the true value.

    Values that are no minimum of chi2 (`converged` is false) are left out.

    Args:
        scan: over dcp (rad) or s2_23: any of cp_violation, ordering and octant in standard
            deviations, resolution in rad; converged; attribute true_ordering.

    Raises:
        ValueError: the scan holds none of these.
    """
    panels = [panel for panel in _PANELS if panel.name in scan]
    if not panels:
        raise ValueError("a scan without a sensitivity")
    phase = "dcp" in scan.dims
    x = np.asarray(scan["dcp"] / np.pi if phase else scan["s2_23"], float)
    label = r"true $\delta_\mathrm{CP}/\pi$" if phase else f"true {quantity('sin2_theta23').label}"
    converged = np.asarray(scan["converged"], bool)
    with style():
        figure = Plate(figsize=(0.8 + 3.9 * len(panels), 3.7))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, panel, color in zip(axes, panels, SOURCES, strict=False):
            y = panel.scale * np.asarray(scan[panel.name], float)
            ax.plot(x, np.where(converged, y, np.nan), color=color)
            if panel.name != "resolution":
                for level in _LEVELS:
                    ax.axhline(level, color=GUIDE, lw=0.9, ls=(0, (4, 2)))
                    ax.annotate(
                        rf"{level:g}$\sigma$",
                        (x[0], level),
                        (4, 2),
                        textcoords="offset points",
                        color=GUIDE,
                        fontsize=9.5,
                    )
            ax.set_title(panel.title)
            ax.set_xlabel(label)
            ax.set_ylabel(panel.label)
            ax.set_xlim(x[0], x[-1])
            ax.locator_params(axis="x", nbins=5)
            ax.set_ylim(0.0, 1.1 * max(float(np.nanmax(y)), 1.0))
        if "true_ordering" in scan.attrs:
            axes[-1].annotate(
                f"true ordering: {scan.attrs['true_ordering']}",
                (0.97, 0.96),
                (0, 0),
                "axes fraction",
                "offset points",
                ha="right",
                va="top",
                fontsize=9.5,
            )
    return figure
