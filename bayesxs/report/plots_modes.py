"""Figures of a posterior over orderings and octants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bayesxs.report.hdr import Support, smooth
from bayesxs.report.style import (
    ASSUMED,
    GUIDE,
    LEARNED,
    SHADE,
    STAR,
    TRUTH,
    Plate,
    quantity,
    style,
)
from bayesxs.types import Floats

type Point = Mapping[str, float]

ORDERINGS: Final = {"normal": LEARNED, "inverted": ASSUMED}
_SIGNS: Final = {"normal": 1.0, "inverted": -1.0}
_TRIANGLE: Final = ("dcp", "sin2_theta23", "sin2_theta13", "abs_dm31")
_PAIRS: Final = (("dcp", "sin2_theta13"), ("sin2_theta23", "abs_dm31"))
_MASSES: Final = (0.95, 0.68)


def _values(draws: xr.Dataset, name: str) -> Floats:
    """Return draws in the shown unit; |dm31| lays both orderings over one another."""
    stored = "dm31" if name == "abs_dm31" else name
    values = np.asarray(draws[stored], float).ravel() * quantity(stored).scale
    return np.abs(values) if name == "abs_dm31" else values


def _support(name: str) -> Support:
    return Support(-180.0, 180.0, True) if name == "dcp" else Support()


def _label(name: str) -> str:
    if name != "abs_dm31":
        return quantity(name).axis
    shown = quantity("dm31")
    return rf"$|\Delta m^2_{{31}}|$ [{shown.unit}]"


def _shown(trees: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Return the orderings whose chains moved: others have no density."""
    return {k: d for k, d in trees.items() if all(np.ptp(_values(d, n)) > 0.0 for n in _TRIANGLE)}


def triangle_figure(trees: Mapping[str, xr.Dataset], true: Point) -> Figure:
    """Draw marginals and pairs of the main parameters, one color for each ordering.

    Args:
        trees: posterior draws by ordering, "normal" or "inverted".
        true: true values in stored units, by name; empty where there are none.
    """
    found, n = _shown(trees), len(_TRIANGLE)
    with style():
        figure = Plate(figsize=(9.0, 9.0))
        axes = figure.subplots(n, n, sharex="col", squeeze=False)
        for row, vertical in enumerate(_TRIANGLE):
            for column, horizontal in enumerate(_TRIANGLE):
                ax = axes[row, column]
                if column > row:
                    ax.set_axis_off()
                elif column == row:
                    for ordering, draws in found.items():
                        density = smooth(_values(draws, horizontal), [_support(horizontal)])
                        ax.plot(density.axes[0], density.density, color=ORDERINGS[ordering])
                    ax.set_yticks([])
                    ax.set_ylim(bottom=0.0)
                else:
                    _plane(ax, found, horizontal, vertical, true)
                if row == n - 1:
                    ax.set_xlabel(_label(horizontal))
                if column == 0 and row > 0:
                    ax.set_ylabel(_label(vertical))
                ax.locator_params(axis="x", nbins=4)
                ax.label_outer(remove_inner_ticks=False)
        figure.legend(handles=_handles(found), loc="outside upper right")
    return figure


def contour_figure(trees: Mapping[str, xr.Dataset], true: Point) -> Figure:
    """Draw dcp against sin^2 theta13, and sin^2 theta23 against |dm31|, by ordering.

    Takes what `triangle_figure` takes.
    """
    found = _shown(trees)
    with style():
        figure = Plate(figsize=(9.6, 4.4))
        for ax, (horizontal, vertical) in zip(figure.subplots(1, 2), _PAIRS, strict=True):
            _plane(ax, found, horizontal, vertical, true)
            ax.set_xlabel(_label(horizontal))
            ax.set_ylabel(_label(vertical))
        figure.legend(handles=_handles(found), loc="outside upper center", ncols=2)
    return figure


def _plane(
    ax: Axes, trees: Mapping[str, xr.Dataset], horizontal: str, vertical: str, true: Point
) -> None:
    for ordering, draws in trees.items():
        pair = np.column_stack([_values(draws, horizontal), _values(draws, vertical)])
        density = smooth(pair, [_support(horizontal), _support(vertical)])
        ax.contour(
            *density.axes,
            density.density.T,
            levels=[density.level(mass) for mass in _MASSES],
            colors=ORDERINGS[ordering],
            linestyles=[(0, (4, 2)), "solid"],
        )
    names = ["dm31" if name == "abs_dm31" else name for name in (horizontal, vertical)]
    if all(name in true for name in names):
        x, y = (true[name] * quantity(name).scale for name in names)
        y = abs(y) if names[1] == "dm31" else y
        ax.scatter(x, y, marker="*", s=70, c=STAR, ec=TRUTH, lw=0.8, zorder=5)
    if horizontal == "dcp":
        ax.set_xlim(-180.0, 180.0)
    if vertical == "dcp":
        ax.set_ylim(-180.0, 180.0)


def _handles(found: Mapping[str, xr.Dataset]) -> list[Patch]:
    return [Patch(color=ORDERINGS[name], label=f"{name} ordering") for name in found]


def phase_figure(phases: xr.Dataset, probabilities: Sequence[float], true: Point) -> Figure:
    """Draw the posterior density of dcp, the parts of the modes stacked.

    Args:
        phases: over mode and dcp: density; over dcp: total.
        probabilities: of the modes.
        true: true values, such as dcp in rad.
    """
    dcp = np.degrees(np.append(phases["dcp"].values, np.pi))
    with style():
        figure = Plate(figsize=(7.0, 4.0))
        ax = figure.subplots()
        below = np.zeros(len(dcp))
        for number, name in enumerate(phases["mode"].values.tolist()):
            part = probabilities[number] * np.radians(phases["density"].values[number])
            top = below + np.append(part, part[0])
            color = ORDERINGS[str(name).split(",", maxsplit=1)[0]]
            alpha = 0.75 if "upper" in str(name) else 0.4
            ax.fill_between(dcp, below, top, color=color, alpha=alpha, lw=0, label=str(name))
            below = top
        ax.axhline(1.0 / 360.0, color=GUIDE, lw=0.9, ls=(0, (4, 2)))
        if "dcp" in true:
            at = (np.degrees(true["dcp"]) + 180.0) % 360.0 - 180.0
            ax.axvline(at, color=TRUTH, lw=0.9, ls=(0, (1, 2)))
        ax.set_xlim(-180.0, 180.0)
        ax.set_ylim(bottom=0.0)
        ax.set_xlabel(quantity("dcp").axis)
        ax.set_ylabel("density per degree")
        ax.legend()
    return figure


def biprobability_figure(curves: xr.Dataset, data: tuple[float, float]) -> Figure:
    """Draw electron-like counts of both beam modes around the circle of dcp.

    Args:
        curves: over mode and dcp: neutrino and antineutrino, counts.
        data: counts of both.
    """
    with style():
        figure = Plate(figsize=(6.0, 5.4))
        ax = figure.subplots()
        for number, name in enumerate(curves["mode"].values.tolist()):
            x, y = (curves[kind].values[number] for kind in ("neutrino", "antineutrino"))
            ordering, _, octant = str(name).partition(", ")
            dashes = "solid" if octant == "upper" else (0, (4, 2))
            ax.plot(
                np.append(x, x[0]),
                np.append(y, y[0]),
                color=ORDERINGS[ordering],
                ls=dashes,
                label=str(name),
            )
        ax.errorbar(
            *data,
            xerr=np.sqrt(data[0]),
            yerr=np.sqrt(data[1]),
            color=TRUTH,
            marker="o",
            label="data",
        )
        ax.set_xlabel(r"$\nu_e$-like events, neutrino mode")
        ax.set_ylabel(r"$\nu_e$-like events, antineutrino mode")
        ax.legend()
    return figure


def spectra_figure(
    spectra: Mapping[str, tuple[Floats, Floats, Floats]], p_values: Mapping[str, float]
) -> Figure:
    """Draw data over what the posterior predicts, sample by sample.

    Args:
        spectra: by sample: edges of the bins in GeV, (bins + 1,); data, (bins,); replicated counts,
            (draws, bins).
        p_values: by sample.
    """
    with style():
        rows = -(-len(spectra) // 2)
        figure = Plate(figsize=(9.6, 3.3 * rows))
        axes = figure.subplots(rows, 2, squeeze=False).ravel()
        for ax, (name, (edges, data, many)) in zip(axes, spectra.items(), strict=False):
            width = np.diff(edges)
            low, high = np.quantile(many, [0.16, 0.84], axis=0) / width
            ax.stairs(high, edges, baseline=low, fill=True, color=SHADE, label="predicted, 68 %")
            ax.stairs(many.mean(axis=0) / width, edges, color=LEARNED, label="predicted, mean")
            ax.errorbar(
                0.5 * (edges[1:] + edges[:-1]),
                data / width,
                np.sqrt(data) / width,
                color=TRUTH,
                ls="",
                marker=".",
                lw=0.8,
                label="data",
            )
            ax.set_xlim(edges[0], min(edges[-1], 10.0))
            ax.set_ylim(bottom=0.0)
            ax.set_title(f"{name.replace('_', ' ')}, p = {p_values[name]:.2f}")
            ax.set_xlabel("reconstructed energy [GeV]")
            ax.set_ylabel("events per GeV")
        for ax in axes[len(spectra) :]:
            ax.set_axis_off()
        axes[0].legend()
    return figure


def nuisance_figure(nuisances: Sequence[Mapping[str, object]]) -> Figure:
    """Draw mean and standard deviation of every nuisance, in units of its prior's width.

    Args:
        nuisances: each with name, mean and sd.
    """
    with style():
        figure = Plate(figsize=(7.0, 1.2 + 0.22 * max(len(nuisances), 1)))
        ax = figure.subplots()
        places = np.arange(len(nuisances))[::-1]
        means, sds = (np.array([float(str(n[key])) for n in nuisances]) for key in ("mean", "sd"))
        ax.axvspan(-1.0, 1.0, color=SHADE, alpha=0.35, lw=0)
        ax.axvline(0.0, color=GUIDE, lw=0.9)
        ax.errorbar(means, places, xerr=sds, color=LEARNED, ls="", marker="o", ms=3.5)
        ax.set_yticks(places, [str(n["name"]).replace("_", " ") for n in nuisances], fontsize=8)
        ax.set_xlabel("nuisance [prior standard deviations]")
        ax.set_xlim(-2.0, 2.0)
    return figure
