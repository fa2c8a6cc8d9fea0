"""Figures of Asimov data: sensitivities and biases over the true phase or mixing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayesxs.report.style import GUIDE, SHADE, SOURCES, Plate, quantity, style

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
            deviations, resolution in rad; converged; attributes true_ordering and, over s2_23,
            true_dcp (rad).

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
            words = f"true ordering: {scan.attrs['true_ordering']}"
            if "true_dcp" in scan.attrs:
                degrees = np.degrees((scan.attrs["true_dcp"] + np.pi) % (2.0 * np.pi) - np.pi)
                words += rf", true $\delta_\mathrm{{CP}}$: {degrees:.0f} deg"
            figure.suptitle(words, fontsize=11)
    return figure


# Dashes of the cases of a figure of biases, beside their colors
_DASHES: Final = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))


def bias_figure(cases: Mapping[str, xr.Dataset]) -> Figure:
    """Draw the shifts of parameters over their errors, of several cross sections.

    Fits that are no minimum (`converged` is false) are left out.

    Args:
        cases: by name, each over dcp (rad): delta_cp, sin2_theta23 and dm31, shifts of the best fit
            in standard deviations; converged.
    """
    names = ("delta_cp", "sin2_theta23", "dm31")
    with style():
        figure = Plate(figsize=(12.6, 4.1))
        axes = figure.subplots(1, 3, squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            ax.axhspan(-1.0, 1.0, color=SHADE, alpha=0.35, lw=0)
            ax.axhline(0.0, color=GUIDE, lw=0.9)
            for (title, case), color, dashes in zip(cases.items(), SOURCES, _DASHES, strict=False):
                x = np.asarray(case["dcp"] / np.pi, float)
                y = np.where(case["converged"], case[name], np.nan)
                ax.plot(x, y, color=color, ls=dashes, label=title)
            ax.set_title(quantity(name.replace("delta_cp", "dcp")).label)
            ax.set_xlabel(r"true $\delta_\mathrm{CP}/\pi$")
            ax.set_xlim(x[0], x[-1])
        axes[0].set_ylabel(r"shift of the best fit [$\sigma$]")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
