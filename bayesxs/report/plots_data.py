"""Figures of data that no true cross section is known of: how well they are fitted."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from bayesxs.report.plots_density import LEPTON_ENERGY, NEUTRINO_ENERGY, Z, flux_behind, logarithmic
from bayesxs.report.style import DENSITY_MAP, DIFFERENCE_MAP, GUIDE, LEARNED, OUTSIDE, Plate, style
from bayesxs.types import Floats

_SECOND = {"z": Z, "cos_theta": r"$\cos\theta$", "angle_rad": r"$\theta$ [rad]"}

# Pulls beyond these share the last color
_PULL_RANGE = 4.0

# Axes show the bins that hold this share of the events
_SHARE = 0.9999


def near_fit_figure(fit: xr.Dataset) -> Figure:
    """Draw near-detector counts, their pulls from the learned cross section, and how these spread.

    Args:
        fit: over bin: energy and second, lower and upper edges (bin, side), energies in GeV;
            counts; expected; pull, NaN where nothing is expected. Attributes axis, chi2, bins and
            p_value.
    """
    energy, second = (np.asarray(fit[n].transpose("bin", "side"), float) for n in _EDGES)
    counts, expected, pull = (np.asarray(fit[n], float) for n in ("counts", "expected", "pull"))
    areas = np.prod([np.diff(edges, axis=1)[:, 0] for edges in (energy, second)], axis=0)
    with style():
        figure = Plate(figsize=(11.0, 3.6))
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.25, 1.25, 1.0))
        filled = expected > 0.0
        density = np.where(counts > 0.0, counts / areas, np.nan)
        top = float(np.nanmax(density))
        spread = Normalize(-_PULL_RANGE, _PULL_RANGE)
        words = "events per GeV" + (" rad" if fit.attrs["axis"] == "angle_rad" else "")
        for ax, values, norm, colors, label in (
            (left, density, PowerNorm(0.5, 0.0, top), DENSITY_MAP, words),
            (middle, np.where(filled, pull, np.nan), spread, DIFFERENCE_MAP, "pull"),
        ):
            ax.set_facecolor(OUTSIDE)
            boxes = PolyCollection(_corners(energy, second), array=values, norm=norm, cmap=colors)
            boxes.set(edgecolor="face", linewidth=0.2, rasterized=True)
            ax.add_collection(boxes)
            figure.colorbar(boxes, ax=ax, pad=0.02, aspect=22).set_label(label)
            ax.set_xlim(*_window(energy, expected))
            ax.set_ylim(*_window(second, expected))
            ax.set_xlabel(LEPTON_ENERGY)
        left.set_ylabel(_SECOND[str(fit.attrs["axis"])])
        left.set_title("near-detector counts")
        middle.set_title(r"pulls, $(n-\mu)/\sqrt{\mu}$")
        several = pull[expected >= 5.0]
        edges = np.linspace(-5.0, 5.0, 41)
        right.hist(np.clip(several, -5.0, 5.0), edges, color=LEARNED, alpha=0.75, label="bins")
        x = np.linspace(-5.0, 5.0, 201)
        normal = np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi) * several.size * np.diff(edges)[0]
        right.plot(x, normal, color=GUIDE, lw=1.5, label="standard normal")
        right.set_title(rf"$\chi^2$ = {fit.attrs['chi2']:.1f} in {fit.attrs['bins']} bins")
        right.set_xlabel("pull")
        right.set_ylabel("bins with 5 expected events or more")
        right.set_ylim(0.0, 1.3 * right.get_ylim()[1])
        right.legend(loc="upper right")
    return figure


_EDGES = ("energy", "second")


def learned_cross_section_figure(total: xr.Dataset) -> Figure:
    """Draw sigma/E as it was learned, over the flux.

    Args:
        total: over energy (GeV): model, over its average in the flux, and flux in 1/GeV/m^2/POT.
    """
    energy, model = (np.asarray(total[name], dtype=float) for name in ("energy", "model"))
    with style():
        figure = Plate(figsize=(7.2, 3.9))
        ax = figure.subplots()
        flux_behind(ax, energy, total)
        ax.plot(energy, model / energy, color=LEARNED, label="learned cross section", zorder=4)
        ax.set_ylabel(r"$\sigma/E_\nu$ over flux average of $\sigma$ [GeV$^{-1}$]")
        flux = np.asarray(total["flux"], dtype=float)
        seen = flux * model > 1e-3 * np.max(flux * model)
        ax.set_ylim(0.0, 1.4 * float(np.max(model[seen] / energy[seen])))
        ax.set_xlabel(NEUTRINO_ENERGY)
        logarithmic(ax)
        ax.set_xlim(energy[0], energy[-1])
        ax.legend(loc="upper left")
    return figure


def _corners(energy: Floats, second: Floats) -> list[Floats]:
    """Return the corners of rectangles, each of shape (4, 2)."""
    e, s = energy[:, [0, 1, 1, 0]], second[:, [0, 0, 1, 1]]
    return list(np.stack([e, s], axis=2))


def _window(edges: Floats, weight: Floats) -> tuple[float, float]:
    """Return the range along one axis of the bins that hold nearly all events."""
    order = np.argsort(weight)[::-1]
    kept = order[: int(np.searchsorted(np.cumsum(weight[order]), _SHARE * weight.sum())) + 1]
    return float(edges[kept, 0].min()), float(edges[kept, 1].max())
