"""Figures of a generator's events: whether they decompose into structure functions."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bayesxs.inference.decomposition import Cell, Decomposition
from bayesxs.report.style import CHAINS, DIFFERENCE_MAP, GUIDE, LEARNED, Plate, style

_SHOWN = 4  # cells whose spectra are drawn
_RANGE = 4.0  # standard deviations that share the last color
_BINS = 20


def decomposition_figure(result: Decomposition) -> Figure:
    """Draw the test of one sample: some cells' spectra, all cells, and their probabilities.

    Args:
        result: with one cell or more.
    """
    cells = result.cells
    freedom = np.array([cell.freedom for cell in cells])
    far = (np.array([cell.chi2 for cell in cells]) - freedom) / np.sqrt(2.0 * freedom)
    with style():
        figure = Plate(figsize=(12.0, 3.8))
        left, middle, right = figure.subplots(1, 3)
        for color, cell in zip(CHAINS, _examples(cells), strict=False):
            _draw_cell(left, cell, color)
        left.set_xlabel(r"$1/E$ [1/GeV]")
        left.set_ylabel("events / flux, over the fit's mean")
        left.set_title(r"quadratics in $1/E$")
        left.legend(loc="best", fontsize=8.5)
        points = middle.scatter(
            [cell.nu for cell in cells],
            [cell.q2 for cell in cells],
            c=far,
            cmap=DIFFERENCE_MAP,
            norm=Normalize(-_RANGE, _RANGE),
            edgecolors=GUIDE,
            linewidths=0.4,
        )
        figure.colorbar(points, ax=middle, pad=0.02).set_label(r"$(\chi^2-n)/\sqrt{2n}$")
        middle.set(xscale="log", yscale="log")
        middle.set_xlabel(r"$\nu$ [GeV]")
        middle.set_ylabel(r"$Q^2$ [GeV$^2$]")
        middle.set_title(f"{len(cells)} cells, {100.0 * result.used:.0f} % of the events")
        right.hist(
            [cell.p_value for cell in cells], np.linspace(0.0, 1.0, _BINS + 1), color=LEARNED
        )
        right.axhline(len(cells) / _BINS, color=GUIDE, lw=1.2, ls="--")
        right.set_xlabel("probability of a cell")
        right.set_ylabel("cells")
        words = rf"$\chi^2$ = {result.chi2:.0f}/{result.freedom}, p = {result.p_value:.2g}"
        right.set_title(f"{result.name}: {words}")
    return figure


def _examples(cells: tuple[Cell, ...]) -> list[Cell]:
    """Return cells that are spread evenly over nu."""
    ordered = sorted(cells, key=lambda cell: cell.nu)
    places = np.linspace(0, len(ordered) - 1, min(_SHOWN, len(ordered)))
    return [ordered[round(place)] for place in places]


def _draw_cell(ax: Axes, cell: Cell, color: str) -> None:
    middle = 2.0 / (cell.edges[1:] + cell.edges[:-1])
    level = float(np.mean(cell.expected / cell.flux))
    error = np.sqrt(cell.scale * np.maximum(cell.expected, 0.0)) / cell.flux / level
    name = rf"$\nu$ = {cell.nu:.2f}, $Q^2$ = {cell.q2:.2f}"
    ax.errorbar(middle, cell.counts / cell.flux / level, error, fmt=".", ms=4, lw=0.8, color=color)
    ax.plot(middle, cell.expected / cell.flux / level, color=color, lw=1.2, label=name)
