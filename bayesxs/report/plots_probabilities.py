"""Figures of claimed probabilities, and of the statistic of CP violation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from bayesxs.report.style import GUIDE, LEARNED, TRUTH, Plate, style
from bayesxs.types import Floats

_EVENTS: Final = {"ordering": "normal ordering", "octant": "upper octant"}
_COLORS: Final = (TRUTH, LEARNED)


def probability_figure(chances: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the part of the pseudo-experiments in which something was true over its probability.

    Args:
        chances: by name `bins`, each of mean, fraction, error and number.
    """
    with style():
        figure = Plate(figsize=(4.2 * len(chances), 4.2))
        axes = figure.subplots(1, len(chances), squeeze=False, sharey=True)[0]
        for ax, (name, entry) in zip(axes, chances.items(), strict=True):
            ax.plot([0.0, 1.0], [0.0, 1.0], color=GUIDE, lw=1.2)
            bins = entry["bins"]
            at, part, error = (
                np.array([b[key] for b in bins]) for key in ("mean", "fraction", "error")
            )
            ax.errorbar(at, part, yerr=error, fmt="o", ms=4.2, lw=1.3, color=LEARNED)
            for b in bins:
                ax.annotate(
                    str(b["number"]),
                    (b["mean"], b["fraction"]),
                    xytext=(5, -9),
                    textcoords="offset points",
                    fontsize="small",
                )
            ax.set_title(_EVENTS.get(name, name.replace("_", " ")))
            ax.set_xlabel("posterior probability")
            ax.set_xlim(-0.04, 1.1)
            ax.set_ylim(-0.04, 1.1)
        axes[0].set_ylabel("part in which it was true")
    return figure


def statistic_figure(by_phase: Mapping[str, Floats]) -> Figure:
    """Draw the part of the statistics above each value, beside that of chi2 of one degree.

    Args:
        by_phase: values of the statistic by the name of the true phase, "0" or "pi".
    """
    with style():
        figure = Plate(figsize=(5.6, 4.2))
        ax = figure.subplots()
        most = max(float(np.max(q)) for q in by_phase.values())
        line = np.linspace(0.0, max(10.0, 1.05 * most), 300)
        ax.plot(line, stats.chi2.sf(line, 1), color=GUIDE, lw=1.2, label=r"$\chi^2_1$ (Wilks)")
        for color, (phase, q) in zip(_COLORS, by_phase.items(), strict=False):
            ordered = np.sort(np.asarray(q, float))
            above = 1.0 - np.arange(len(ordered)) / len(ordered)
            label = r"true $\delta_{CP}=\pi$" if phase == "pi" else r"true $\delta_{CP}=0$"
            ax.step(ordered, above, where="pre", color=color, label=label)
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.5 / max(np.size(q) for q in by_phase.values()), top=1.2)
        ax.set_xlim(0.0, float(line[-1]))
        ax.set_xlabel(r"$\Delta\chi^2$ of CP violation")
        ax.set_ylabel("part above")
        ax.legend()
    return figure
