"""Figures of a cross section learned from a generator's events, beside the generator's own."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bayesxs.report.plots_density import LEPTON_ENERGY, NEUTRINO_ENERGY, flux_behind, logarithmic
from bayesxs.report.style import LEARNED, TRUTH, Plate, style
from bayesxs.types import Floats

TEMPLATE = "generator's template"

# Energies at which the near rate is below this part of its largest do not set the ratio's range
_SEEN = 1e-3


def generated_cross_section_figure(total: xr.Dataset) -> Figure:
    """Draw sigma/E, generated and learned, over the flux; the ratio of the two below.

    Args:
        total: over energy (GeV): generated and its error, learned and its sd, over the generator's
            flux average; the flux in 1/GeV/m^2/POT; low and high, edges of the panels in GeV.
    """
    energy, generated, error, learned, sd, flux = (
        np.asarray(total[n], float)
        for n in ("energy", "generated", "error", "learned", "sd", "flux")
    )
    with style():
        figure = Plate(figsize=(7.2, 5.4))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
        flux_behind(top, energy, total)
        _points(top, total, generated / energy, error / energy)
        top.plot(energy, learned / energy, color=LEARNED, label="learned", zorder=4)
        _band(top, energy, learned / energy, sd / energy)
        top.set_ylabel(r"$\sigma/E_\nu$ over flux average of $\sigma$ [GeV$^{-1}$]")
        rate = flux * learned
        seen = rate > _SEEN * rate.max()
        top.set_ylim(0.0, 1.4 * float(np.max((learned / energy)[seen])))
        top.legend(loc="upper left")
        filled = generated > 0.0
        ratio = np.where(filled, learned / np.where(filled, generated, 1.0), np.nan)
        relative = np.where(filled, sd / np.where(filled, generated, 1.0), np.nan)
        bottom.axhline(1.0, color=TRUTH, lw=1.2)
        _points(
            bottom, total, np.where(filled, 1.0, np.nan), error / np.where(filled, generated, 1.0)
        )
        bottom.plot(energy, ratio, color=LEARNED)
        _band(bottom, energy, ratio, relative)
        far = np.abs(ratio - 1.0) + relative
        half = 1.25 * max(float(np.nanmax(far[seen & filled])), 0.02)
        bottom.set_ylim(1.0 - half, 1.0 + half)
        bottom.set_ylabel("learned / generated")
        bottom.set_xlabel(NEUTRINO_ENERGY)
        logarithmic(bottom)
        bottom.set_xlim(float(total["low"][0]), float(total["high"][-1]))
    return figure


def far_spectrum_figure(far: xr.Dataset) -> Figure:
    """Draw the expected far spectrum over lepton energy, generated and learned, and the ratio.

    Args:
        far: over lepton_energy (GeV): shares generated and learned; error, of the template;
            statistical, of the far events; low and high, edges of the bins in GeV.
    """
    generated, learned, error, statistical, low, high = (
        np.asarray(far[n], float)
        for n in ("generated", "learned", "error", "statistical", "low", "high")
    )
    edges, width = np.append(low, high[-1]), high - low
    filled = generated > 0.0
    one = np.where(filled, generated, 1.0)
    with style():
        figure = Plate(figsize=(7.2, 5.0))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.4))
        top.stairs(generated / width, edges, color=TRUTH, lw=2.0, label=TEMPLATE)
        top.stairs(learned / width, edges, color=LEARNED, lw=1.5, label="learned cross section")
        top.set_ylabel("share of the far events per GeV")
        top.legend(loc="upper right")
        for part, shade, label in (
            (statistical, 0.18, "statistics of the data"),
            (error, 0.4, "statistics of the template"),
        ):
            spread = np.where(filled, part / one, 0.0)
            bottom.fill_between(
                edges,
                np.append(1.0 - spread, 1.0 - spread[-1]),
                np.append(1.0 + spread, 1.0 + spread[-1]),
                step="post",
                color=TRUTH,
                alpha=shade,
                lw=0,
                label=label,
            )
        bottom.stairs(np.where(filled, learned / one, np.nan), edges, color=LEARNED, lw=1.5)
        bottom.axhline(1.0, color=TRUTH, lw=0.8)
        seen = generated > 2e-3 * generated.max()
        spread = np.maximum(np.abs(learned / one - 1.0), statistical / one)[seen]
        half = 1.25 * max(float(spread.max(initial=0.0)), 0.02)
        bottom.set_ylim(1.0 - half, 1.0 + half)
        bottom.set_ylabel("learned / template")
        bottom.set_xlabel(LEPTON_ENERGY)
        bottom.legend(loc="best", fontsize=8.5)
        bottom.set_xlim(edges[0], edges[1:][seen][-1])
    return figure


def _points(ax: Axes, total: xr.Dataset, values: Floats, errors: Floats) -> None:
    energy, low, high = (np.asarray(total[n], float) for n in ("energy", "low", "high"))
    ax.errorbar(
        energy,
        values,
        errors,
        (energy - low, high - energy),
        fmt=".",
        ms=3,
        lw=0.9,
        color=TRUTH,
        label=TEMPLATE,
        zorder=3,
    )


def _band(ax: Axes, energy: Floats, values: Floats, sd: Floats) -> None:
    ax.fill_between(energy, values - sd, values + sd, color=LEARNED, alpha=0.3, lw=0, zorder=3.5)
