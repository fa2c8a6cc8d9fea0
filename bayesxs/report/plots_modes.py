"""Figures of a posterior over orderings and octants."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bayesxs.inference.nuisances import group_label
from bayesxs.report.contours import PLANES, SPLITTING, contours, shown, support, values
from bayesxs.report.hdr import smooth
from bayesxs.report.style import (
    ASSUMED,
    GUIDE,
    LEARNED,
    SHADE,
    STAR,
    TRUTH,
    Dashes,
    Plate,
    quantity,
    style,
)
from bayesxs.types import Floats

type Point = Mapping[str, float]

ORDERINGS: Final = {"normal": LEARNED, "inverted": ASSUMED}
_TRIANGLE: Final = ("dcp", "sin2_theta23", "sin2_theta13", SPLITTING)
_COLUMN: Final = 30  # nuisances in one column
# Part of a panel's width in which a label of an axis would run into the neighbor's
_EDGE: Final = 0.08
_DASHES: Final[dict[int, Dashes]] = {68: "solid", 95: (0, (4, 2))}


def _moved(trees: Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Return the orderings whose chains moved: others have no density."""
    return {k: d for k, d in trees.items() if all(np.ptp(values(d, n)) > 0.0 for n in _TRIANGLE)}


def triangle_figure(trees: Mapping[str, xr.Dataset], true: Point) -> Figure:
    """Draw marginals and pairs of the main parameters, one color for each ordering.

    Args:
        trees: posterior draws by ordering, "normal" or "inverted".
        true: true values in stored units, by name; empty where there are none.
    """
    found, n = _moved(trees), len(_TRIANGLE)
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
                        density = smooth(values(draws, horizontal), [support(horizontal)])
                        ax.plot(density.axes[0], density.density, color=ORDERINGS[ordering])
                    ax.set_yticks([])
                    ax.set_ylim(bottom=0.0)
                else:
                    _plane(ax, found, horizontal, vertical, true)
                if row == n - 1:
                    ax.set_xlabel(shown(horizontal).axis)
                if column == 0 and row > 0:
                    ax.set_ylabel(shown(vertical).axis)
                ax.label_outer(remove_inner_ticks=False)
        for ax in axes[-1]:
            low, high = ax.get_xlim()
            margin = _EDGE * (high - low)
            ticks = MaxNLocator(4).tick_values(low, high)
            ax.set_xticks([t for t in ticks if low + margin < t < high - margin])
        figure.legend(handles=_handles(found, true), loc="upper right", fontsize=12)
    return figure


def contour_figure(trees: Mapping[str, xr.Dataset], true: Point) -> Figure:
    """Draw dcp against sin^2 theta13, and sin^2 theta23 against |dm31|, by ordering.

    Takes what `triangle_figure` takes.
    """
    found = _moved(trees)
    with style():
        figure = Plate(figsize=(9.6, 4.4))
        for ax, (horizontal, vertical) in zip(figure.subplots(1, 2), PLANES, strict=True):
            _plane(ax, found, horizontal, vertical, true)
            ax.set_xlabel(shown(horizontal).axis)
            ax.set_ylabel(shown(vertical).axis)
        figure.legend(handles=_handles(found, true), loc="outside upper center", ncols=5)
    return figure


def _plane(
    ax: Axes, trees: Mapping[str, xr.Dataset], horizontal: str, vertical: str, true: Point
) -> None:
    for ordering, draws in trees.items():
        for line in contours(draws, (horizontal, vertical), ordering):
            ax.plot(line.x, line.y, color=ORDERINGS[ordering], ls=_DASHES[line.percent], lw=1.4)
    if true:
        x, y = (values(true, name) for name in (horizontal, vertical))
        ax.scatter(x, y, marker="*", s=70, c=STAR, ec=TRUTH, lw=0.8, zorder=5)
    if horizontal == "dcp":
        ax.set_xlim(-180.0, 180.0)
    if vertical == "dcp":
        ax.set_ylim(-180.0, 180.0)


def _handles(found: Mapping[str, xr.Dataset], true: Point) -> list[Artist]:
    """Return entries of a legend: orderings, masses, and the truth if it is known."""
    handles: list[Artist] = [
        Patch(color=ORDERINGS[name], label=f"{name} ordering") for name in found
    ]
    handles += [Line2D([], [], color=GUIDE, ls=d, label=f"{p} %") for p, d in _DASHES.items()]
    if true:
        star = {"marker": "*", "ms": 10, "mfc": STAR, "mec": TRUTH, "mew": 0.8, "ls": ""}
        handles.append(Line2D([], [], label="true", **star))  # type: ignore[arg-type]
    return handles


def phase_figure(phases: xr.Dataset, probabilities: Sequence[float], true: Point) -> Figure:
    """Draw the posterior density of dcp, the parts of the modes stacked.

    Args:
        phases: over mode and dcp: density; over dcp: total.
        probabilities: of the modes.
        true: true values, such as dcp in rad.
    """
    dcp = np.degrees(np.append(phases["dcp"].values, np.pi))
    with style():
        figure = Plate(figsize=(7.6, 4.0))
        ax = figure.subplots()
        below = np.zeros(len(dcp))
        for number, name in enumerate(phases["mode"].values.tolist()):
            part = probabilities[number] * np.radians(phases["density"].values[number])
            top = below + np.append(part, part[0])
            color = ORDERINGS[str(name).split(",", maxsplit=1)[0]]
            alpha = 0.75 if "upper" in str(name) else 0.4
            words = f"{name}: {_percent(probabilities[number])}"
            ax.fill_between(dcp, below, top, color=color, alpha=alpha, lw=0, label=words)
            below = top
        ax.axhline(1.0 / 360.0, color=GUIDE, lw=0.9, ls=(0, (4, 2)), label="prior")
        if "dcp" in true:
            at = float(values(true, "dcp")[0])
            ax.axvline(at, color=TRUTH, lw=0.9, ls=(0, (1, 2)), label="true")
        ax.set_xlim(-180.0, 180.0)
        ax.set_xticks(np.arange(-180, 181, 60))
        ax.set_ylim(bottom=0.0)
        ax.set_xlabel(quantity("dcp").axis)
        ax.set_ylabel("density per degree")
        figure.legend(loc="outside right upper")
    return figure


def _percent(probability: float) -> str:
    return f"{100.0 * probability:.1f} %" if probability > 5e-4 else "< 0.1 %"


def biprobability_figure(
    curves: xr.Dataset, data: tuple[float, float], called: str = "data"
) -> Figure:
    """Draw electron-like counts in both beam modes: data, and ellipses of dcp.

    Args:
        curves: over mode and dcp (rad, around the circle): neutrino and antineutrino, counts.
        data: counts of both.
        called: what they are called.
    """
    with style():
        figure = Plate(figsize=(7.6, 5.4))
        ax = figure.subplots()
        for number, name in enumerate(curves["mode"].values.tolist()):
            x, y = (curves[kind].values[number] for kind in ("neutrino", "antineutrino"))
            ordering, _, octant = str(name).partition(", ")
            dashes = "solid" if octant == "upper" else (0, (4, 2))
            color = ORDERINGS[ordering]
            ax.plot(np.append(x, x[0]), np.append(y, y[0]), color=color, ls=dashes, label=str(name))
            for marker, (_, phase) in _MARKED.items():
                at = int(np.argmin(np.abs(np.exp(1j * curves["dcp"].values) - np.exp(1j * phase))))
                ax.plot(x[at], y[at], marker, color=color, mfc="white", ms=6)
        for marker, (words, _) in _MARKED.items():
            ax.plot([], [], marker, color=GUIDE, mfc="white", ms=6, label=words)
        errors = np.sqrt(data)
        ax.errorbar(*data, errors[1], errors[0], color=TRUTH, marker="o", ls="", label=called)
        ax.set_xlabel(r"$\nu_e$-like events, neutrino mode")
        ax.set_ylabel(r"$\bar\nu_e$-like events, antineutrino mode")
        figure.legend(loc="outside right upper")
    return figure


_MARKED: Final = {
    "o": (r"$\delta_\mathrm{CP} = 0$", 0.0),
    "s": (r"$\delta_\mathrm{CP} = \pi$", np.pi),
    "^": (r"$\delta_\mathrm{CP} = +\pi/2$", 0.5 * np.pi),
    "v": (r"$\delta_\mathrm{CP} = -\pi/2$", -0.5 * np.pi),
}

# Samples of DUNE's configuration; others are called by their names
_SAMPLES: Final = {
    "nue_app": r"$\nu_e$-like, neutrino mode",
    "nuebar_app": r"$\bar\nu_e$-like, antineutrino mode",
    "numu_dis": r"$\nu_\mu$-like, neutrino mode",
    "numubar_dis": r"$\bar\nu_\mu$-like, antineutrino mode",
}


def spectra_figure(
    spectra: Mapping[str, tuple[Floats, Floats, Floats]],
    p_values: Mapping[str, float | None],
    axis: str = "reconstructed energy",
) -> Figure:
    """Draw data over what the posterior predicts, sample by sample.

    Args:
        spectra: by sample: edges of the bins in GeV, (bins + 1,); data, (bins,); replicated counts,
            (draws, bins).
        p_values: by sample; none for expected data, which are no test.
        axis: which energy it is.
    """
    with style():
        columns = min(len(spectra), 2)
        words = "expected data" if None in p_values.values() else "data"
        rows = -(-len(spectra) // columns)
        figure = Plate(figsize=(4.9 * columns, 3.3 * rows + 0.3))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (name, (edges, data, many)) in zip(axes, spectra.items(), strict=False):
            width = np.diff(edges)
            low, high = np.quantile(many, [0.16, 0.84], axis=0) / width
            ax.stairs(high, edges, baseline=low, fill=True, color=SHADE, label="predicted, 68 %")
            ax.stairs(many.mean(axis=0) / width, edges, color=LEARNED, label="predicted, mean")
            middles, errors = 0.5 * (edges[1:] + edges[:-1]), np.sqrt(data) / width
            ax.errorbar(middles, data / width, errors, color=TRUTH, fmt=".", lw=0.8, label=words)
            ax.set_xlim(edges[0], min(edges[-1], 10.0))
            ax.set_ylim(bottom=0.0)
            title = _SAMPLES.get(name, name.replace("_", " "))
            p = p_values[name]
            ax.set_title(title if p is None else f"{title}: $p$ = {p:.2f}")
            ax.set_xlabel(f"{axis} [GeV]")
            ax.set_ylabel("events per GeV")
        for ax in axes[len(spectra) :]:
            ax.set_axis_off()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def one_row_a_group(
    nuisances: Sequence[Mapping[str, object]], groups: Sequence[str]
) -> list[Mapping[str, object]]:
    """Return nuisances, those of some groups as one: root mean squares of means and deviations.

    Args:
        nuisances: each with name, group, mean and sd.
        groups: whose nuisances have no meaning one by one.
    """
    out = [n for n in nuisances if n.get("group") not in groups]
    for group in groups:
        own = [n for n in nuisances if n.get("group") == group]
        if own:
            values = np.array([[float(str(n[key])) for key in ("mean", "sd")] for n in own])
            mean, sd = np.sqrt(np.mean(values**2, axis=0))
            out.append({"name": f"{group_label(group)}, {len(own)} modes", "mean": mean, "sd": sd})
    return out


# What nuisances of DUNE's configuration are; others are called by their names
_NORMALISATIONS: Final = {
    "nue_sig": r"$\nu_e$ signal, neutrino mode",
    "nue_sigbar": r"$\nu_e$ signal, antineutrino mode",
    "numu_sig": r"$\nu_\mu$ signal, neutrino mode",
    "numu_sigbar": r"$\nu_\mu$ signal, antineutrino mode",
    "nue_bg": r"beam $\nu_e$, neutrino mode",
    "nue_bgbar": r"beam $\nu_e$, antineutrino mode",
    "numu_bg": r"$\nu_\mu$ and NC as $\nu_e$",
    "nutau_bg": r"$\nu_\tau$",
    "nc_bgdis": r"NC as $\nu_\mu$",
}
_FLUX: Final = re.compile(r"flux_(FHC|RHC)_(anti_)?nu_(e|mu|tau)_(\d+)")
_SCALE: Final = re.compile(r"scale_(e|mu)_([0-2])")
_RATIO, _RATIO_SYMBOLS = "nu_e/nu_mu", r"$\nu_e/\nu_\mu$"  # in the name of a group
_BEAMS: Final = {"FHC": "neutrino mode", "RHC": "antineutrino mode"}
_LEPTONS: Final = {"e": "e", "mu": r"\mu", "tau": r"\tau"}
_TERMS: Final = ("constant", r"$\propto\sqrt{E}$", r"$\propto 1/\sqrt{E}$")


def nuisance_words(name: str) -> str:
    """Return what a nuisance is, in words and symbols; one that is not known keeps its name."""
    if name in _NORMALISATIONS:
        return _NORMALISATIONS[name]
    if found := _FLUX.fullmatch(name):
        beam, anti, lepton, number = found.groups()
        nu = rf"\bar\nu_{_LEPTONS[lepton]}" if anti else rf"\nu_{_LEPTONS[lepton]}"
        return f"${nu}$ flux, {_BEAMS[beam]}, {number}"
    if found := _SCALE.fullmatch(name):
        return f"energy scale of ${_LEPTONS[found[1]]}$, {_TERMS[int(found[2])]}"
    return _RATIO_SYMBOLS.join(part.replace("_", " ") for part in name.split(_RATIO))


def nuisance_figure(nuisances: Sequence[Mapping[str, object]]) -> Figure:
    """Draw mean and standard deviation of every nuisance, in units of its prior's width.

    Many of them stand in two columns.

    Args:
        nuisances: each with name, mean and sd.
    """
    many = len(nuisances)
    columns = 1 if many <= _COLUMN else 2
    rows = -(-many // columns)
    with style():
        figure = Plate(figsize=(7.0 if columns == 1 else 10.4, 1.5 + 0.24 * max(rows, 1)))
        means, sds = (np.array([float(str(n[key])) for n in nuisances]) for key in ("mean", "sd"))
        reach = max(2.0, 1.1 * float(np.max(np.abs(means) + sds, initial=0.0)))
        axes = figure.subplots(1, columns, squeeze=False)[0]
        for number, ax in enumerate(axes):
            own = slice(number * rows, (number + 1) * rows)
            places = rows - 1 - np.arange(len(means[own]))
            ax.axvspan(-1.0, 1.0, color=SHADE, alpha=0.35, lw=0, label="prior, 68 %")
            ax.axvline(0.0, color=GUIDE, lw=0.9)
            drawn = {"color": LEARNED, "fmt": "o", "ms": 3.5, "label": "posterior"}
            ax.errorbar(means[own], places, xerr=sds[own], **drawn)
            names = [nuisance_words(str(n["name"])) for n in nuisances[own]]
            ax.set_yticks(places, names, fontsize=8.5)
            ax.set_xlabel("nuisance [prior standard deviations]")
            ax.set_xlim(-reach, reach)
            ax.set_ylim(-0.7, rows - 0.3)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure
