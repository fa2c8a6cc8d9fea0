"""The figure of sigma(nu_e)/sigma(nu_mu): what near data of muons leave open of electrons."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayesxs.report.captions import sample_words
from bayesxs.report.plots_density import NEUTRINO_ENERGY, logarithmic
from bayesxs.report.style import LEARNED, TRUTH, Plate, style


def ratio_figure(*ratios: xr.Dataset) -> Figure:
    """Draw a ratio of total cross sections against energy; below, its band over the true ratio.

    Args:
        ratios: over energy (GeV): ratio, sd and, where it is known, truth; attributes numerator,
            denominator and near_data, of which it is learned. Several are of the same leptons, from
            other near data, widest band first.
    """
    first = ratios[0]
    names = [sample_words(str(first.attrs[side])) for side in ("numerator", "denominator")]
    energy = np.asarray(first["energy"], dtype=float)
    shades = np.linspace(0.25, 0.6, len(ratios))
    with style():
        figure = Plate(figsize=(7.2, 5.4))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 2))
        if "truth" in first:
            top.plot(energy, first["truth"], color=TRUTH, lw=2.2, label="true ratio", zorder=3)
        half = 0.0
        for own, shade in zip(ratios, shades, strict=True):
            own_energy, ratio, sd = (
                np.asarray(own[n], dtype=float) for n in ("energy", "ratio", "sd")
            )
            seen = own.attrs["near_data"].replace(";", ",").split(", ")
            words = f"near data of {', '.join(sample_words(name) for name in seen)}"
            reference = np.asarray(own["truth"], dtype=float) if "truth" in own else ratio
            top.plot(own_energy, ratio, color=LEARNED, lw=1.6, ls=(0, (4, 1.6)), zorder=4)
            bottom.plot(own_energy, ratio / reference, color=LEARNED, lw=1.6, alpha=shade + 0.4)
            band = ((ratio - sd) / reference, (ratio + sd) / reference)
            bottom.fill_between(
                own_energy, *band, color=LEARNED, alpha=shade, lw=0, label=f"68 %, {words}"
            )
            some = own_energy > 1.2 * own_energy[0]
            reach = np.abs(np.array(band)[:, some] - 1.0)
            half = max(half, float(reach.max(initial=0.0)))
        top.set_ylabel(f"σ({names[0]}) / σ({names[1]})")
        bottom.axhline(1.0, color=TRUTH, lw=1.2)
        bottom.set_ylim(1.0 - 1.6 * half, 1.0 + 1.6 * half)
        bottom.set_ylabel("learned / true" if "truth" in first else "over the mean")
        bottom.set_xlabel(NEUTRINO_ENERGY)
        bottom.legend(loc="upper right")
        if "truth" in first:
            top.legend(loc="upper right")
        logarithmic(bottom)
        bottom.set_xlim(energy[0], energy[-1])
    return figure
