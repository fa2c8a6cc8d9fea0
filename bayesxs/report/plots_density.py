"""Figures of cross sections and event densities: learned beside true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from bayesxs.report.style import (
    DENSITY_MAP,
    DIFFERENCE_MAP,
    GUIDE,
    LEARNED,
    OUTSIDE,
    SHADE,
    TRUTH,
    Plate,
    style,
)
from bayesxs.types import Floats

LEPTON_ENERGY = r"lepton energy $E_\ell$ [GeV]"
Z = r"$z = (E_\ell - p_\ell\cos\theta)/M$"
NEUTRINO_ENERGY = r"neutrino energy $E_\nu$ [GeV]"
Q2 = r"$Q^2$ [GeV$^2$]"
DIFFERENCE = "(learned $-$ true) / max(true) [%]"


def density_figure(density: xr.Dataset, detector: Literal["near", "far"]) -> Figure:
    """Draw the true and the learned event density in (E_l, z), and their difference.

    Args:
        density: variables {near,far}_{truth,model} in 1/GeV over (lepton_energy, z), with the bin
            edges lepton_energy_edges (GeV) and z_edges where there are any.
        detector: which of the two.
    """
    truth, model = _plane(density[f"{detector}_truth"]), _plane(density[f"{detector}_model"])
    edges = _axis_edges(density, "lepton_energy"), _axis_edges(density, "z")
    with style():
        figure = Plate(figsize=(10.4, 3.5))
        axes = figure.subplots(1, 3, sharex=True, sharey=True)
        norm = PowerNorm(0.5, 0.0, float(np.nanmax(truth)))
        for ax, values, title in zip(axes, (truth, model), ("true", "learned"), strict=False):
            image = _mesh(ax, edges, np.where(values > 0.0, values, np.nan), norm, DENSITY_MAP)
            ax.set_title(f"{detector} detector, {title}")
        bar = figure.colorbar(image, ax=axes[:2], pad=0.015, aspect=22)
        bar.set_label(r"$p(E_\ell, z)$ [GeV$^{-1}$]")
        inside = (truth > 0.0) | (model > 0.0)
        _difference(figure, axes[2], edges, truth, model, inside)
        axes[2].set_title("difference")
        areas = np.outer(np.diff(edges[0]), np.diff(edges[1]))
        relative = np.sqrt(np.sum(areas * (model - truth) ** 2) / np.sum(areas * truth**2))
        axes[2].text(
            0.96,
            0.95,
            f"relative $L_2$ = {_power(relative)}",
            ha="right",
            va="top",
            transform=axes[2].transAxes,
        )
        for ax in axes:
            ax.set_xlabel(LEPTON_ENERGY)
        axes[0].set_ylabel(Z)
        _zoom(axes[0], edges, np.maximum(truth, model) * areas)
    return figure


def slices_figure(slices: xr.Dataset, number: int = 4) -> Figure:
    """Draw d2sigma/dE_l dz at fixed neutrino energies: true, learned, and their difference.

    Colors run to the maximum of each energy's true slice, which the titles state.

    Args:
        slices: truth and model in 1e-38 cm^2/GeV over (slice_energy, lepton_energy, z); energies
            in GeV.
        number: how many energies to show, spread over those given.
    """
    energies = np.asarray(slices["slice_energy"], dtype=float)
    chosen = np.linspace(0, len(energies) - 1, min(number, len(energies))).round().astype(int)
    edges = _axis_edges(slices, "lepton_energy"), _axis_edges(slices, "z")
    areas = np.outer(np.diff(edges[0]), np.diff(edges[1]))
    pairs = [
        (
            _plane(slices["truth"].isel(slice_energy=int(i))),
            _plane(slices["model"].isel(slice_energy=int(i))),
        )
        for i in chosen
    ]
    maxima = [max(float(np.nanmax(truth)), 1e-300) for truth, _ in pairs]
    percent = [
        100.0 * (model - truth) / top for (truth, model), top in zip(pairs, maxima, strict=True)
    ]
    apart = [np.abs(p[(t != 0.0) | (m != 0.0)]) for p, (t, m) in zip(percent, pairs, strict=True)]
    difference = _symmetric(max(float(np.quantile(a, 0.99)) for a in apart if a.size))
    with style():
        figure = Plate(figsize=(1.2 + 2.3 * len(chosen), 6.6))
        axes = figure.subplots(3, len(chosen), sharex="col", sharey=True, squeeze=False)
        for column, (truth, model), relative, top, energy in zip(
            axes.T, pairs, percent, maxima, energies[chosen], strict=True
        ):
            inside = (truth != 0.0) | (model != 0.0)
            norm = PowerNorm(0.5, 0.0, top)
            _mesh(column[0], edges, np.where(inside, truth, np.nan), norm, DENSITY_MAP)
            _mesh(column[1], edges, np.where(inside, model, np.nan), norm, DENSITY_MAP)
            _mesh(column[2], edges, np.where(inside, relative, np.nan), difference, DIFFERENCE_MAP)
            shown = f"{top:.0f}" if top >= 100.0 else f"{top:.3g}"
            largest = rf"max ${shown}\times 10^{{-38}}$ cm$^2$/GeV"
            column[0].set_title(rf"$E_\nu = {energy:.3g}$ GeV" + f"\n{largest}", linespacing=1.3)
            column[2].set_xlabel(r"$E_\ell$ [GeV]")
            _zoom(column[0], edges, np.abs(truth) * areas, share=0.9999)
        for row, title in zip(axes, ("true", "learned", "difference"), strict=True):
            row[0].set_ylabel(f"{title}\n$z$", linespacing=1.4)
        shared = ScalarMappable(PowerNorm(0.5, 0.0, 1.0), DENSITY_MAP)
        bar = figure.colorbar(shared, ax=axes[:2], pad=0.015, aspect=32)
        bar.set_label(r"$d^2\sigma/dE_\ell\,dz$ over max(true)")
        mappable = ScalarMappable(difference, DIFFERENCE_MAP)
        bar = figure.colorbar(mappable, ax=axes[2], pad=0.015, aspect=16, extend="both")
        bar.set_label("difference / max(true) [%]")
    return figure


def total_cross_section_figure(total: xr.Dataset) -> Figure:
    """Draw sigma/E, true and learned, over the flux; the ratio of the two below.

    Args:
        total: over energy (GeV): truth and model in 1e-38 cm^2 per nucleus, and, where known, flux
            in 1/GeV/m^2/POT and the survival probability; far_flux, where the far detector has its
            own.
    """
    energy = np.asarray(total["energy"], dtype=float)
    truth, model = (np.asarray(total[name], dtype=float) for name in ("truth", "model"))
    with style():
        figure = Plate(figsize=(7.2, 5.4))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.15))
        if "flux" in total:
            flux_behind(top, energy, total)
        top.plot(energy, truth / energy, color=TRUTH, lw=2.2, label="true cross section", zorder=3)
        top.plot(
            energy,
            model / energy,
            color=LEARNED,
            lw=1.8,
            ls=(0, (4, 1.6)),
            label="learned",
            zorder=4,
        )
        top.set_ylabel(r"$\sigma/E_\nu$ [$10^{-38}$ cm$^2$/GeV per nucleus]")
        top.set_ylim(0.0, 1.25 * float(np.nanmax(truth / energy)))
        top.legend(loc="upper left", ncols=2, handlelength=2.4, columnspacing=1.4)
        ratio = np.divide(model, truth, out=np.full_like(truth, np.nan), where=truth > 0.0)
        bottom.axhline(1.0, color=TRUTH, lw=1.2)
        bottom.plot(energy, ratio, color=LEARNED)
        weight = np.asarray(total["flux"], dtype=float) * truth if "flux" in total else truth
        seen = np.isfinite(ratio) & (weight > 1e-3 * np.nanmax(weight))
        half = 1.25 * max(float(np.abs(ratio[seen] - 1.0).max(initial=0.0)), 4e-3)
        bottom.set_ylim(1.0 - half, 1.0 + half)
        bottom.set_ylabel("learned / true")
        bottom.set_xlabel(NEUTRINO_ENERGY)
        logarithmic(bottom)
        bottom.set_xlim(energy[0], energy[-1])
    return figure


def structure_functions_figure(functions: xr.Dataset, weighted: bool = False) -> Figure:
    """Draw the three Bernstein coefficients b0, b1, b2 in (x, Q^2): true, learned, difference.

    Weighted, each is multiplied by its near-detector weight (arXiv:2412.16303, Eqs. 9-12), so the
    three add up to the near detector's event density in (x, Q^2) and share one scale.

    Args:
        functions: truth, model and weight over (function, x, q2 in GeV^2); NaN where the near
            detector sees nothing.
        weighted: whether to multiply by the weights.
    """
    names = [str(name) for name in functions["function"].values]
    weight = functions["weight"] if weighted else 1.0
    truth, model = (
        np.asarray((functions[n] * weight).transpose("function", "x", "q2"), dtype=float)
        for n in ("truth", "model")
    )
    root = np.cbrt(np.asarray(functions["x"], dtype=float))
    edges = (
        _bin_edges(root).clip(0.0, max(1.0, root[-1])) ** 3,
        np.exp(_bin_edges(np.log(np.asarray(functions["q2"], dtype=float)))),
    )
    top = np.nanmax(np.abs(truth), axis=(1, 2))
    if weighted:
        top = np.full_like(top, top.max())
    percent = 100.0 * (model - truth) / top[:, None, None]
    end = float(edges[0][-1])
    difference = _symmetric(float(np.nanquantile(np.abs(percent), 0.99)))
    with style():
        figure = Plate(figsize=(9.6, 8.2))
        axes = figure.subplots(len(names), 3, sharex=True, sharey=True, squeeze=False)
        for row, name, true, learned, relative, limit in zip(
            axes, names, truth, model, percent, top, strict=True
        ):
            norm, colors = _function_norm(true, float(limit), weighted)
            image = _mesh(row[0], edges, true, norm, colors)
            _mesh(row[1], edges, learned, norm, colors)
            shown = _mesh(row[2], edges, relative, difference, DIFFERENCE_MAP)
            row[0].set_ylabel(Q2)
            if not weighted:
                bar = figure.colorbar(image, ax=row[:2], pad=0.015, aspect=20, extend="both")
                bar.set_label(f"${_subscript(name)}$")
            for ax, title in zip(row, ("true", "learned", "difference"), strict=True):
                words = f"${_subscript(name)}$, {title}"
                ax.text(0.95, 0.05, words, ha="right", va="bottom", transform=ax.transAxes)
        if weighted:
            bar = figure.colorbar(image, ax=axes[:, :2], pad=0.015, aspect=45)
            bar.set_label(r"weight $\times\ b_i$: near-detector events [GeV$^{-2}$]")
        bar = figure.colorbar(shown, ax=axes[:, 2], pad=0.015, aspect=45, extend="both")
        bar.set_label(DIFFERENCE)
        for ax in axes[-1]:
            ax.set_xlabel(r"Bjorken $x$")
            ax.set_xticks(np.linspace(0.0, end, 6)[1:5])
        axes[0, 0].set_yscale("log")
        axes[0, 0].set_xlim(0.0, end)
        # Lower Q^2 is empty: there everything vanishes as Q^2 does
        filled = np.nanmax(np.abs(truth) / top[:, None, None], axis=(0, 1), initial=0.0) > 0.01
        axes[0, 0].set_ylim(edges[1][int(np.argmax(filled))], edges[1][-1])
    return figure


def training_figure(training: Mapping[str, ArrayLike]) -> Figure:
    """Draw the loss, and the distances from the truth, against the training step.

    Args:
        training: columns step, loss and, where known, near_rel_l2, far_rel_l2,
            cross_section_3d_rel_l2; or near_chi2_per_bin, where there is no truth.
    """
    columns = {name: np.asarray(values, dtype=float) for name, values in training.items()}
    step = columns["step"] + (1.0 if columns["step"].min(initial=1.0) < 1.0 else 0.0)
    curves = {
        "near_rel_l2": ("near density (trained on)", TRUTH, "-"),
        "far_rel_l2": ("far density", LEARNED, "-"),
        "cross_section_3d_rel_l2": ("cross section, 3-D", GUIDE, "--"),
    }
    with style():
        figure = Plate(figsize=(9.6, 3.7))
        left, right = figure.subplots(1, 2, sharex=True)
        marks = {"marker": "o", "ms": 3.5} if len(step) < 40 else {}
        best = np.fmin.accumulate(columns["loss"])
        left.plot(step, columns["loss"], color=TRUTH, lw=1.2, label="as it went")
        left.plot(step, best, color=LEARNED, lw=1.8, label="best so far", **marks)
        left.set_ylabel("loss (weighted squared error, near)")
        left.legend(loc="upper right")
        counted = "near_chi2_per_bin" in columns
        if counted:
            curves = {"near_chi2_per_bin": ("near-detector counts", LEARNED, "-")}
        for name, (label, color, dashes) in curves.items():
            if name in columns and np.isfinite(columns[name]).any():
                right.plot(step, columns[name], color=color, ls=dashes, label=label, **marks)
        words = r"$\chi^2$ per bin" if counted else r"relative $L_2$ distance from the truth"
        right.set_ylabel(words)
        if right.lines:
            right.legend(loc="lower left")
        for ax in (left, right):
            ax.set_yscale("log")
            logarithmic(ax)
            ax.set_xlabel("training step")
            ax.grid(which="major", color="#e6e9ed", lw=0.7)
            ax.set_axisbelow(True)
    return figure


def _difference(
    figure: Figure,
    ax: Axes,
    edges: tuple[Floats, Floats],
    truth: Floats,
    model: Floats,
    inside: NDArray[np.bool_],
) -> None:
    """Draw model minus truth in percent of the largest truth, with its color bar."""
    percent = np.where(inside, 100.0 * (model - truth) / np.nanmax(np.abs(truth)), np.nan)
    image = _mesh(ax, edges, percent, _symmetric(float(np.nanmax(np.abs(percent)))), DIFFERENCE_MAP)
    figure.colorbar(image, ax=ax, pad=0.03, aspect=22).set_label(DIFFERENCE)


def _mesh(
    ax: Axes, edges: tuple[Floats, Floats], values: Floats, norm: Normalize, colors: str
) -> QuadMesh:
    """Draw bins, first index along the horizontal axis; NaN stays blank."""
    ax.set_facecolor(OUTSIDE)
    return ax.pcolormesh(*edges, values.T, norm=norm, cmap=colors, rasterized=True)


def _symmetric(limit: float) -> Normalize:
    """Scale with zero in the middle."""
    limit = limit if np.isfinite(limit) and limit > 0.0 else 1.0
    return Normalize(-limit, limit)


def _function_norm(true: Floats, limit: float, weighted: bool) -> tuple[Normalize, str]:
    """Scale and colors of one structure function, from zero unless clearly negative."""
    if np.nanmin(true) < -0.1 * limit:
        return _symmetric(limit), "PuOr_r"
    return (PowerNorm(0.5, 0.0, limit) if weighted else Normalize(0.0, limit)), DENSITY_MAP


def flux_behind(ax: Axes, energy: Floats, total: xr.Dataset) -> None:
    """Shade the flux, and the part that oscillation leaves, behind the curves."""
    flux = np.asarray(total["flux"], dtype=float)
    exponent = int(np.floor(np.log10(flux.max())))
    power = f"$10^{{{exponent}}}$ " if exponent else ""
    flux = flux / 10.0**exponent
    behind = ax.twinx()
    behind.fill_between(energy, flux, color=SHADE, alpha=0.3, lw=0, label="flux, near detector")
    if "probability" in total:
        source, words = flux, "after oscillation"
        if "far_flux" in total:  # in its own units: drawn with the area of the near flux
            far = np.asarray(total["far_flux"], dtype=float)
            source = far * np.trapezoid(flux, energy) / np.trapezoid(far, energy)
            words = "far flux after oscillation, scaled"
        survived = source * np.asarray(total["probability"], dtype=float)
        behind.fill_between(energy, survived, color=SHADE, alpha=0.75, lw=0, label=words)
    behind.set_ylim(0.0, 1.35 * float(flux.max()))
    behind.set_ylabel(f"flux [{power}GeV$^{{-1}}$ m$^{{-2}}$ POT$^{{-1}}$]", color="#5b7690")
    behind.tick_params(axis="y", colors="#5b7690", right=True)
    behind.legend(loc="upper right")
    ax.tick_params(axis="y", right=False)
    ax.set_zorder(behind.get_zorder() + 1)
    ax.patch.set_visible(False)


def logarithmic(ax: Axes) -> None:
    """Logarithmic horizontal axis with plain numbers."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _plane(values: xr.DataArray) -> Floats:
    """Values over (lepton_energy, z)."""
    return np.asarray(values.transpose("lepton_energy", "z"), dtype=float)


def _axis_edges(data: xr.Dataset, name: str) -> Floats:
    """Bin edges, stored or halfway between centers."""
    stored = f"{name}_edges"
    if stored in data:
        return np.asarray(data[stored], dtype=float)
    return _bin_edges(np.asarray(data[name], dtype=float))


def _bin_edges(centers: Floats) -> Floats:
    """Edges halfway between centers, the outer ones as far out as the next are in."""
    middle = 0.5 * (centers[1:] + centers[:-1])
    return np.concatenate(
        [[2.0 * centers[0] - middle[0]], middle, [2.0 * centers[-1] - middle[-1]]]
    )


def _zoom(ax: Axes, edges: tuple[Floats, Floats], content: Floats, share: float = 0.997) -> None:
    """Show the plane from its origin to where, along each axis, the share of the content lies."""
    content = np.nan_to_num(content)
    for axis, setter in ((0, ax.set_xlim), (1, ax.set_ylim)):
        sums = np.cumsum(content.sum(axis=1 - axis))
        last = int(np.searchsorted(sums, share * sums[-1])) + 1 if sums[-1] > 0.0 else len(sums)
        setter(edges[axis][0], edges[axis][min(last + 1, len(sums))])


def _subscript(name: str) -> str:
    """b0 -> b_{0}."""
    return f"{name[0]}_{{{name[1:]}}}" if name[1:].isdigit() else name


def _power(value: float) -> str:
    """Two digits and a power of ten, in mathtext."""
    if value <= 0.0 or not np.isfinite(value):
        return f"{value:g}"
    exponent = int(np.floor(np.log10(value)))
    return rf"${value / 10.0**exponent:.1f}\times 10^{{{exponent}}}$"
