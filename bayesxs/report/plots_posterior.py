"""Figures of posteriors: regions, marginals, octants."""

from __future__ import annotations

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

from bayesxs.report.draws import (
    COLORS,
    Trees,
    bootstrap,
    parameters,
    posterior,
    simulated_with,
    support,
    upper_octant,
    values,
)
from bayesxs.report.hdr import smooth
from bayesxs.report.style import CROSS_SECTIONS, GUIDE, STAR, TRUTH, Dashes, Plate, quantity, style

type Point = Mapping[str, float]  # true values, in the shown unit

MASSES: Final = (0.68, 0.95)

# Per kind: line widths of the 95 % and the 68 % outline, and dashes of the outer one
_OUTLINES: Final[dict[str, tuple[tuple[float, float], Dashes]]] = {
    "truth": ((1.0, 1.7), "solid"),
    "learned": ((1.3, 2.1), (0, (5, 1.5))),
    "assumed": ((1.3, 2.1), (0, (1.5, 1.2))),
}


def posterior_figure(
    truth: xr.DataTree | None,
    learned: xr.DataTree | None,
    words: Mapping[str, str] = CROSS_SECTIONS,
) -> Figure:
    """Draw the posterior with the learned cross section over that with the true one.

    Regions are the 68 % and 95 % highest-density regions, points the bootstrap maximum-likelihood
    estimates, dotted lines the true values. Two parameters share a panel with marginals along its
    sides; more make a corner plot.

    Args:
        truth: posterior with the true cross section, None where there is none.
        learned: the same with the learned one. Of each the groups posterior and, where they are
            known, bootstrap and constant_data (true values) are read.
        words: what the legend calls them.

    Raises:
        ValueError: neither is given, or no parameter varies.
    """
    trees = {k: t for k, t in (("truth", truth), ("learned", learned)) if t is not None}
    names = parameters(*trees.values())
    if not names:
        raise ValueError("no posterior with a free parameter")
    true = simulated_with(trees)
    with style():
        if len(names) == 2:
            return _joint(trees, names[0], names[1], true, words)
        return _corner(trees, names, true, words)


def comparison_figure(
    trees: Mapping[str, xr.DataTree],
    true_values: Mapping[str, float] | None = None,
    names: tuple[str, str] = ("sin2_2theta23", "dm31"),
    words: Mapping[str, str] = CROSS_SECTIONS,
) -> Figure:
    """Draw the regions of two parameters for a true, a learned and an assumed cross section.

    Args:
        trees: posteriors by kind, any of truth, learned and assumed.
        true_values: parameters that the events were made with (eV^2), where known.
        names: of the parameters, across and up.
        words: what the legend calls the kinds.

    Raises:
        ValueError: no posterior, a kind that is not known, or one without the two parameters.
    """
    unknown = [kind for kind in trees if kind not in COLORS]
    if unknown or not trees:
        raise ValueError(f"posteriors of {unknown or 'nothing'}: any of {', '.join(COLORS)}")
    draws = {kind: posterior(trees[kind]) for kind in COLORS if kind in trees}
    lacking = [kind for kind, d in draws.items() if not all(name in d for name in names)]
    if lacking:
        raise ValueError(f"posterior of {lacking[0]}: has no {' and '.join(names)}")
    alone = {kind: xr.DataTree(d[list(names)]) for kind, d in draws.items()}
    known = true_values or {}
    true = {name: known[name] * quantity(name).scale for name in names if name in known}
    with style():
        return _joint(alone, names[0], names[1], true, words)


def asimov_figure(
    asimov: xr.DataTree,
    shifts: Mapping[str, float] | None = None,
    words: Mapping[str, str] = CROSS_SECTIONS,
) -> Figure:
    """Draw the marginal posteriors on expected data, learned over true.

    Args:
        asimov: groups truth and learned, each a posterior or holding one.
        shifts: shift of each parameter in standard deviations, to be printed.
        words: what the legend calls the groups.
    """
    trees = {name: asimov.children[name] for name in COLORS if name in asimov.children}
    names = parameters(*trees.values())
    true = simulated_with(trees)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    with style():
        figure = Plate(figsize=(max(4.1 * columns, 5.0), 3.1 * rows + 0.4))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, name in zip(axes, names, strict=False):
            _marginals(ax, trees, name, true)
            ax.set_xlabel(quantity(name).axis)
            _window(ax, trees, name, "x", central=0.998)
            if shifts and name in shifts:
                note = rf"shift {shifts[name]:.2f}$\,\sigma$"
                ax.text(0.03, 0.95, note, va="top", transform=ax.transAxes)
        for ax in axes[len(names) :]:
            ax.set_axis_off()
        for ax in axes[::columns]:
            ax.set_ylabel("posterior density")
        figure.legend(handles=_legend(trees, true, words), loc="outside upper center", ncols=3)
    return figure


def octant_figure(
    truth: xr.DataTree | None,
    learned: xr.DataTree | None,
    words: Mapping[str, str] = CROSS_SECTIONS,
) -> Figure:
    """Draw the marginal of sin2_theta23 with its two octants and the probability of the upper one.

    Args:
        truth: posterior with the true cross section, None where there is none.
        learned: the same with the learned one.
        words: what the legend calls them.

    Raises:
        ValueError: no posterior has sin2_theta23.
    """
    name = "sin2_theta23"
    given = (("truth", truth), ("learned", learned))
    trees = {k: t for k, t in given if t is not None and name in posterior(t)}
    if not trees:
        raise ValueError(f"no posterior of {name}")
    with style():
        figure = Plate(figsize=(7.2, 3.6))
        ax = figure.subplots()
        true = simulated_with(trees)
        _marginals(ax, trees, name, true)
        ax.axvline(0.5, color=GUIDE, lw=0.9)
        ax.set_xlabel(quantity(name).axis)
        ax.set_ylabel("posterior density")
        ax.set_ylim(0.0, 1.18 * ax.get_ylim()[1])
        for (key, tree), height in zip(trees.items(), (0.95, 0.87), strict=False):
            upper = float(np.mean(upper_octant(tree)))
            for share, x, side in ((1.0 - upper, 0.03, "left"), (upper, 0.97, "right")):
                octant = "lower" if side == "left" else "upper"
                ax.text(
                    x,
                    height,
                    f"{octant} octant {100.0 * share:.0f} %",
                    color=COLORS[key],
                    ha=side,
                    va="top",
                    transform=ax.transAxes,
                )
        figure.legend(handles=_legend(trees, true, words), loc="outside upper center", ncols=3)
    return figure


def _joint(
    trees: Trees, horizontal: str, vertical: str, true: Point, words: Mapping[str, str]
) -> Figure:
    """Two parameters: regions and points, marginals along the sides."""
    figure = Plate(figsize=(7.2, 6.4))
    figure.set_layout_engine("none")
    sides = {"left": 0.105, "right": 0.985, "bottom": 0.085, "top": 0.985}
    (top, blank), (main, side) = figure.subplots(
        2,
        2,
        width_ratios=(4.6, 1),
        height_ratios=(1, 4.6),
        gridspec_kw={**sides, "wspace": 0.0, "hspace": 0.0},
    )
    blank.set_axis_off()
    _plane(main, trees, horizontal, vertical, true)
    for key, tree in trees.items():
        _curve(top, tree, horizontal, COLORS[key])
        _curve(side, tree, vertical, COLORS[key], along="y")
    _guide(top, horizontal, true)
    _guide(side, vertical, true, along="y")
    for ax, along in ((main, "x"), (top, "x")):
        _window(ax, trees, horizontal, along, true)
    for ax, along in ((main, "y"), (side, "y")):
        _window(ax, trees, vertical, along, true)
    top.set_ylim(0.0, 1.05 * float(top.dataLim.ymax))
    side.set_xlim(0.0, 1.05 * float(side.dataLim.xmax))
    for ax in (top, side):
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    main.xaxis.set_major_locator(MaxNLocator(6, prune="both"))
    main.set_xlabel(quantity(horizontal).axis)
    main.set_ylabel(quantity(vertical).axis)
    where = _emptiest(main, trees, horizontal, vertical)
    main.legend(handles=_legend(trees, true, words, regions=True), loc=where)
    return figure


def _emptiest(ax: Axes, trees: Trees, horizontal: str, vertical: str) -> str:
    """Return the corner with the least draws: matplotlib's own choice does not see contours."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    inside = dict.fromkeys(_CORNERS, 0.0)
    for tree in trees.values():
        x = (values(tree, horizontal) - left) / (right - left)
        y = (values(tree, vertical) - bottom) / (top - bottom)
        for corner, (right_side, upper) in _CORNERS.items():
            across = (1.0 - x if right_side else x) < _LEGEND[0]
            up = (1.0 - y if upper else y) < _LEGEND[1]
            inside[corner] += float(np.mean(across & up))
    return min(inside, key=lambda corner: inside[corner])


# Corners: whether at the right, and whether above; a legend's part of a panel across and up
_CORNERS: Final = {
    "lower left": (False, False),
    "upper left": (False, True),
    "lower right": (True, False),
    "upper right": (True, True),
}
_LEGEND: Final = (0.4, 0.25)


def _corner(trees: Trees, names: Sequence[str], true: Point, words: Mapping[str, str]) -> Figure:
    """Any number of parameters: marginals on the diagonal, pairs below."""
    n = len(names)
    size = max(5.0, min(1.9 * n + 1.6, 12.5))
    figure = Plate(figsize=(size, size * (0.8 if n == 1 else 1.0)))
    axes = figure.subplots(n, n, sharex="col", squeeze=False)
    for row, vertical in enumerate(names):
        for column, horizontal in enumerate(names):
            ax = axes[row, column]
            if column > row:
                ax.set_axis_off()
                continue
            if column == row:
                _marginals(ax, trees, horizontal, true)
            else:
                _plane(ax, trees, horizontal, vertical, true, small=True)
                _window(ax, trees, vertical, "y")
            _window(ax, trees, horizontal, "x")
            ax.xaxis.set_major_locator(MaxNLocator(3, prune="both"))
            if column != row:
                ax.yaxis.set_major_locator(MaxNLocator(3, prune="both"))
            ax.tick_params(axis="x", labelrotation=35 if n > 2 else 0)
            ax.label_outer(remove_inner_ticks=False)
            if row == n - 1:
                ax.set_xlabel(quantity(horizontal).axis)
            if column == 0 and row > 0:
                ax.set_ylabel(quantity(vertical).axis)
    figure.align_labels()
    figure.legend(handles=_legend(trees, true, words, regions=True), loc="outside upper right")
    return figure


def _plane(
    ax: Axes, trees: Trees, horizontal: str, vertical: str, true: Point, small: bool = False
) -> None:
    """Draw regions, bootstrap points and the true value of two parameters."""
    for layer, (key, tree) in enumerate(trees.items()):
        color = COLORS[key]
        across, up = bootstrap(tree, horizontal), bootstrap(tree, vertical)
        if across is not None and up is not None:
            area = 1.5 if small else 5.0
            ax.scatter(across, up, s=area, color=color, alpha=0.3, lw=0, zorder=2, rasterized=True)
        pair = np.column_stack([values(tree, horizontal), values(tree, vertical)])
        density = smooth(pair, [support(tree, horizontal), support(tree, vertical)])
        levels = [density.level(mass) for mass in sorted(MASSES, reverse=True)]
        grid = (*density.axes, density.density.T)
        widths, dashes = _OUTLINES[key]
        if key == "truth":
            ceiling = max(float(density.density.max()), levels[-1]) * 1.01
            fills = ("#e3e6ea", "#c3c9d0")
            ax.contourf(*grid, levels=[*levels, ceiling], colors=fills, zorder=1)
        ax.contour(
            *grid,
            levels=levels,
            colors=color,
            linewidths=widths,
            linestyles=[dashes, "solid"],
            zorder=3 + layer,
        )
    _guide(ax, horizontal, true)
    _guide(ax, vertical, true, along="y")
    if horizontal in true and vertical in true:
        x, y, size = true[horizontal], true[vertical], 40 if small else 130
        ax.scatter(x, y, marker="*", s=size, c=STAR, ec=TRUTH, lw=0.8, zorder=6)


def _marginals(ax: Axes, trees: Trees, name: str, true: Point) -> None:
    """Draw the marginals of one parameter and its true value."""
    for key, tree in trees.items():
        _curve(ax, tree, name, COLORS[key])
    _guide(ax, name, true)
    ax.set_yticks([])
    ax.set_ylim(0.0, 1.08 * float(ax.dataLim.ymax))
    ax.xaxis.set_major_locator(MaxNLocator(5))


def _curve(ax: Axes, tree: xr.DataTree, name: str, color: str, along: str = "x") -> None:
    """Draw a smoothed marginal, its 68 % and 95 % regions shaded."""
    density = smooth(values(tree, name), [support(tree, name)])
    grid, height = density.axes[0], density.density
    if along == "x":
        ax.plot(grid, height, color=color, lw=1.7)
    else:
        ax.plot(height, grid, color=color, lw=1.7)
    fill = ax.fill_between if along == "x" else ax.fill_betweenx
    for mass in MASSES:
        inside = height >= density.level(mass)
        fill(grid, height, where=inside.tolist(), color=color, alpha=0.16, lw=0)


def _guide(ax: Axes, name: str, true: Point, along: str = "x") -> None:
    """Draw a dotted line at the true value."""
    if name in true:
        line = ax.axvline if along == "x" else ax.axhline
        line(true[name], color=TRUTH, lw=0.9, ls=(0, (1, 2)), zorder=1.5)


def _window(
    ax: Axes, trees: Trees, name: str, along: str, true: Point | None = None, central: float = 0.996
) -> None:
    """Show the central part of the draws, the true value and a margin, never beyond a bound."""
    bounds = support(next(iter(trees.values())), name)
    drawn = np.concatenate([values(tree, name) for tree in trees.values()])
    low, high = np.quantile(drawn, [0.5 - 0.5 * central, 0.5 + 0.5 * central])
    if true and name in true:
        low, high = min(low, true[name]), max(high, true[name])
    margin = 0.08 * (high - low)
    low = low - margin if bounds.low is None else max(low - margin, bounds.low)
    high = high + margin if bounds.high is None else min(high + margin, bounds.high)
    (ax.set_xlim if along == "x" else ax.set_ylim)(low, high)


def _legend(
    trees: Trees, true: Point, words: Mapping[str, str], regions: bool = False
) -> list[Artist]:
    """Entries for posteriors, points and the true value."""
    handles: list[Artist] = [
        Patch(facecolor=COLORS[k], edgecolor=COLORS[k], alpha=0.55, label=words[k]) for k in trees
    ]
    if regions and any("bootstrap" in tree.children for tree in trees.values()):
        handles.append(
            Line2D([], [], ls="", marker="o", ms=3, color=GUIDE, label="bootstrap estimates")
        )
    if any(name in true for name in parameters(*trees.values())):
        handles.append(_true_handle(regions))
    return handles


def _true_handle(star: bool) -> Line2D:
    """Legend entry of the true value, a star or a dotted line."""
    if star:
        return Line2D([], [], marker="*", ms=11, mfc=STAR, mec=TRUTH, ls="", label="true value")
    return Line2D([], [], color=TRUTH, lw=0.9, ls=(0, (1, 2)), label="true value")
