"""Figures of calibration: ranks, coverage, and the gain of more exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike
from scipy import stats

from bayesxs.inference.calibration import LEVEL, Band, ecdf_band, uniformity
from bayesxs.report.style import GUIDE, LEARNED, TRUTH, Plate, error_of, group, quantity, style
from bayesxs.types import Floats, Ints

# Kinds of intervals: words, color, marker
INTERVALS: Final = {
    "hdi": ("highest density", LEARNED, "o"),
    "percentile": ("bootstrap, percentile", "#1f6f9f", "s"),
    "basic": ("bootstrap, basic", "#9a5a94", "^"),
    "bca": ("bootstrap, BCa", "#3c8a5a", "D"),
    "profile": ("profile likelihood", TRUTH, "v"),
}

_BAND: Final = "#d9e2ec"
_ROW: Final = 4  # panels side by side


def ecdf_figure(
    pits: Mapping[str, ArrayLike],
    level: float = LEVEL,
    groups: Mapping[str, str] | None = None,
) -> Figure:
    """Draw the ECDF of the PIT values less the diagonal, in its simultaneous band.

    Each parameter has a panel of its own; nuisances of one group share one. What leaves the band is
    drawn orange and bold. The band is that of `bayesxs.inference.calibration.ecdf_band`.

    Args:
        pits: by parameter, in [0, 1], equally many of each.
        level: of the band.
        groups: group by name of nuisance, as `bayesxs.inference.nuisances` has them.

    Raises:
        ValueError: nothing to draw, or not equally many.
    """
    values = {name: np.asarray(v, dtype=float) for name, v in pits.items()}
    sizes = {v.size for v in values.values()}
    if len(sizes) != 1:
        raise ValueError(f"PIT values of {len(values)} parameters: some, equally many of each")
    number = sizes.pop()
    band = ecdf_band(number, level)
    panels: dict[tuple[str, bool], list[str]] = {}
    for name in values:
        shared = (groups or {}).get(name)
        panels.setdefault((name, False) if shared is None else (shared, True), []).append(name)
    with style():
        figure, axes = _panels(len(panels), 2.75)
        for ax, ((key, together), names) in zip(axes, panels.items(), strict=True):
            _differences(ax, {n: values[n] for n in names}, band, level)
            if together:
                ax.set_title(group(key).words, color=group(key).color)
            else:
                ax.set_title(quantity(key).label)
        _outer(axes, "rank of the true value [fraction]", "ECDF − uniform")
        reach = 1.12 * max(float(np.abs(ax.get_ylim()).max()) for ax in axes)
        for ax in axes:
            ax.set_ylim(-reach, reach)
        handles = [Patch(facecolor=_BAND, label=f"{100.0 * level:g} % band, simultaneous")]
        figure.legend(handles=[*handles, *_inside_and_outside(axes)], **_above(3))
    return figure


def rank_histogram_figure(
    ranks: Mapping[str, ArrayLike], kept: int, bins: int | None = None, prob: float = 0.99
) -> Figure:
    """Draw histograms of ranks over a uniform one, with its binomial band bin by bin.

    Args:
        ranks: by parameter, integers in 0 ... kept.
        kept: draws that each rank was taken among.
        bins: at most; by default such that 25 ranks fall into each, and no more than 20. Where
            they do not divide kept + 1, bins differ by one rank and the band follows.
        prob: of the band, for each bin alone.

    Raises:
        ValueError: nothing to draw.
    """
    values = {name: np.asarray(r) for name, r in ranks.items()}
    if not values or not all(v.size for v in values.values()):
        raise ValueError("ranks of no parameter")
    with style():
        figure, axes = _panels(len(values), 2.75)
        highest = 1.0
        for ax, (name, rank) in zip(axes, values.items(), strict=True):
            wanted = bins or int(np.clip(rank.size // 25, 2, 20))
            edges = _edges(kept + 1, wanted)
            shares = np.diff(edges) / (kept + 1.0)
            mean = rank.size * shares
            counts = np.histogram(rank, edges - 0.5)[0]
            low, high = (
                stats.binom.ppf(p, rank.size, shares) for p in (0.5 - 0.5 * prob, 0.5 + 0.5 * prob)
            )
            ax.stairs(high / mean, edges, baseline=low / mean, fill=True, color=_BAND, zorder=0)
            ax.axhline(1.0, color=GUIDE, lw=1.2, zorder=1)
            ax.stairs(counts / mean, edges, baseline=None, color=TRUTH, lw=1.6)
            for i in np.flatnonzero((counts < low) | (counts > high)):
                place = counts[i] / mean[i]
                ax.hlines(place, edges[i], edges[i + 1], color=LEARNED, lw=3.0, zorder=4)
            highest = max(highest, float(np.max(np.maximum(counts, high) / mean)))
            ax.set_xlim(0.0, kept + 1.0)
            ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.set_title(quantity(name).label)
        for ax in axes:
            ax.set_ylim(0.0, 1.15 * highest)
        _outer(axes, f"rank among {kept} draws", "ranks / uniform")
        handles: list[Artist] = [
            Line2D([], [], color=TRUTH, label="ranks"),
            Line2D([], [], color=GUIDE, lw=1.2, label="uniform"),
            Patch(facecolor=_BAND, label=f"{100.0 * prob:g} % of each bin"),
        ]
        if any(collection for ax in axes for collection in ax.collections):
            handles.append(Line2D([], [], color=LEARNED, lw=3.0, label="outside"))
        figure.legend(handles=handles, **_above(4))
    return figure


def coverage_figure(table: xr.Dataset) -> Figure:
    """Draw how often intervals of each kind held the truth, point by point, and their lengths.

    Args:
        table: over (interval, level, point) the variables fraction, low and high (its confidence
            interval) and length (mean, in the parameter's stored unit); error, the binomial
            standard error at the nominal level, over (level, point) or as fraction, where known:
            twice that is shaded. Coordinates: interval, any of `INTERVALS` or other names; level;
            over point, the true values by parameter. Attribute parameter: whose intervals.

    Raises:
        ValueError: no intervals, or no true values.
    """
    kinds = [str(kind) for kind in np.atleast_1d(table["interval"].values)]
    levels = [float(level) for level in np.atleast_1d(table["level"].values)]
    truths = [str(n) for n, c in table.coords.items() if c.dims == ("point",) and n != "point"]
    if not kinds or not levels or not truths or table.sizes["point"] == 0:
        raise ValueError("coverage of no interval, or at no true value")
    shown = error_of(str(table.attrs.get("parameter", "")))
    with style():
        width = max(4.4 * len(levels), 5.6)
        figure = Plate(figsize=(width + 0.4, 5.9))
        grid = figure.subplots(2, len(levels), squeeze=False, sharex=True, height_ratios=(1.7, 1.0))
        places, labels, axis = _points(table, truths)
        gaps = np.diff(np.unique(places))
        spread = 0.62 * float(gaps.min() if gaps.size else 1.0)
        offsets = spread * (np.arange(len(kinds)) - 0.5 * (len(kinds) - 1)) / max(len(kinds), 2)
        for level, (top, bottom) in zip(levels, grid.T, strict=True):
            at = table.sel(level=level).transpose("interval", "point", missing_dims="ignore")
            _nominal(top, at, level, places, spread)
            for i, kind in enumerate(kinds):
                _, color, marker = _kind(kind, i)
                look: dict[str, Any] = {"fmt": marker, "ms": 4.2, "lw": 1.3, "color": color}
                one = at.sel(interval=kind)
                value, low, high = (
                    100.0 * np.asarray(one[key], dtype=float) for key in ("fraction", "low", "high")
                )
                ends = np.maximum([value - low, high - value], 0.0)
                top.errorbar(places + offsets[i], value, yerr=ends, **look)
                length = shown.scale * np.asarray(one["length"], dtype=float)
                bottom.plot(places + offsets[i], length, marker, ms=4.2, color=color)
            top.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
            top.set_title(f"{100.0 * level:g} % intervals of {shown.label}")
            bottom.set_xlabel(axis)
            if labels:
                bottom.set_xticks(places, labels)
            bottom.set_ylim(0.0, 1.18 * float(np.nanmax(shown.scale * at["length"].values)))
        grid[0, 0].set_ylabel("coverage [%]")
        grid[1, 0].set_ylabel("mean length" + (f" [{shown.unit}]" if shown.unit else ""))
        handles = [
            Line2D([], [], ls="", marker=marker, ms=5, color=color, label=words)
            for words, color, marker in (_kind(kind, i) for i, kind in enumerate(kinds))
        ]
        handles.append(Line2D([], [], color=GUIDE, lw=1.2, label="nominal"))
        figure.legend(handles=handles, **_above(min(len(handles), 2 if len(levels) == 1 else 3)))
        figure.align_ylabels(grid[:, 0])
    return figure


def sensitivity_figure(dataset: xr.Dataset) -> Figure:
    """Draw posterior widths against exposure, beside those of counting alone.

    The guide falls as 1/sqrt(events) from the smallest exposure: a posterior that bends upwards
    from it is limited by systematics, one below it at the left by its prior.

    Args:
        dataset: over events, the coordinate of how many there are, by parameter (stored units): sd,
            the median over pseudo-experiments, under the parameter's name, and its spread under
            NAME_low and NAME_high, where known; kt_mw_yr, the exposure, where known.

    Raises:
        ValueError: no parameter.
    """
    reserved = {"kt_mw_yr"}
    names = [
        str(name)
        for name in dataset.data_vars
        if name not in reserved and not str(name).endswith(("_low", "_high"))
    ]
    if not names or dataset.sizes["events"] == 0:
        raise ValueError("sensitivity to no parameter")
    data = dataset.sortby("events")
    events = np.asarray(data["events"], dtype=float)
    with style():
        figure = Plate(figsize=(max(4.3 * len(names), 5.4), 4.6))
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            shown = error_of(name)
            width = shown.scale * np.asarray(data[name], dtype=float)
            if f"{name}_low" in data and f"{name}_high" in data:
                edges = (shown.scale * data[f"{name}_{side}"].values for side in ("low", "high"))
                ax.fill_between(events, *edges, color=LEARNED, alpha=0.18, lw=0)
            ax.plot(events, width[0] * np.sqrt(events[0] / events), color=GUIDE, ls=(0, (5, 2)))
            ax.plot(events, width, "o-", ms=4.5, color=LEARNED)
            ax.set_xscale("log")
            ax.set_yscale("log")
            _plain_logarithms(ax)
            unit = f" [{shown.unit}]" if shown.unit else ""
            ax.set_ylabel(f"$\\sigma$({shown.label}){unit}")
            ax.set_xlabel("events")
            _exposure_axis(ax, data, events)
        handles: list[Artist] = [
            Line2D([], [], color=LEARNED, marker="o", ms=4.5, label="posterior")
        ]
        if any(f"{name}_low" in data for name in names):
            handles.append(Patch(facecolor=LEARNED, alpha=0.3, label="68 % of pseudo-experiments"))
        guide = r"$\propto 1/\sqrt{\mathrm{events}}$"
        handles.append(Line2D([], [], color=GUIDE, ls=(0, (5, 2)), label=guide))
        figure.legend(handles=handles, **_above(len(handles)))
    return figure


def _panels(count: int, size: float) -> tuple[Figure, list[Axes]]:
    """Return a figure of panels on one scale, those of a row side by side."""
    columns = min(count, _ROW)
    if count > _ROW and count % _ROW:
        columns = min(range(3, _ROW + 1), key=lambda c: (-count % c, -c))
    rows = -(-count // columns)
    figure = Plate(figsize=(max(size * columns + 0.6, 6.2), size * rows + 0.7))
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for ax in axes[count:]:
        ax.set_axis_off()
    return figure, axes[:count]


def _outer(axes: Sequence[Axes], across: str, up: str) -> None:
    """Label the axes along the left and below the last panel of each column."""
    for i, ax in enumerate(axes):
        place = ax.get_subplotspec()
        columns = place.get_gridspec().ncols if place is not None else 1
        left, lowest = i % columns == 0, i + columns >= len(axes)
        ax.tick_params(labelleft=left, labelbottom=lowest)
        ax.set_ylabel(up if left else "")
        ax.set_xlabel(across if lowest else "")


def _above(columns: int) -> dict[str, Any]:
    """Return the place of a figure's legend."""
    return {"loc": "outside upper center", "ncols": columns}


def _differences(ax: Axes, values: Mapping[str, Floats], band: Band, level: float) -> None:
    """Draw the band and the curves that belong in it; say how many leave it."""
    z = np.concatenate([[0.0], band.points, [1.0]])
    low, high = (
        np.concatenate([[0.0], edge - band.points, [0.0]]) for edge in (band.lower, band.upper)
    )
    ax.fill_between(z, low, high, color=_BAND, lw=0, zorder=0)
    ax.axhline(0.0, color=GUIDE, lw=1.0, zorder=1)
    outside = []
    for pits in values.values():
        result = uniformity(pits, level)
        ecdf = np.searchsorted(np.sort(pits), band.points, side="right") / pits.size
        difference = np.concatenate([[0.0], ecdf - band.points, [0.0]])
        if not result.inside:
            outside.append(result.shape)
        many = len(values) > 1
        look: dict[str, Any] = {"color": LEARNED, "lw": 2.0, "zorder": 3, "gid": "outside"}
        if result.inside:
            alpha, width = (0.55, 0.9) if many else (1.0, 1.5)
            look = {"color": TRUTH, "lw": width, "alpha": alpha, "zorder": 2, "gid": "inside"}
        ax.step(z, difference, where="post", **look)
    if len(values) > 1:
        note = f"{len(values) - len(outside)} of {len(values)} inside"
    else:
        note = outside[0] if outside else "inside"
    warn = LEARNED if outside else TRUTH
    ax.text(0.04, 0.96, note, va="top", size=10.5, color=warn, transform=ax.transAxes)
    ax.set_xlim(0.0, 1.0)
    ax.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])


def _inside_and_outside(axes: Sequence[Axes]) -> list[Line2D]:
    """Legend entries of the lines that are there."""
    drawn = {line.get_gid() for ax in axes for line in ax.lines}
    entries = (("inside", TRUTH, 1.5), ("outside", LEARNED, 2.0))
    return [
        Line2D([], [], color=color, lw=width, label=f"ranks, {name}")
        for name, color, width in entries
        if name in drawn
    ]


def _edges(values: int, bins: int) -> Ints:
    """Edges of bins of equally many values, or of numbers that differ by one."""
    bins = min(bins, values)
    fitting = [b for b in range(bins, 0, -1) if values % b == 0 and 2 * b > bins]
    return np.rint(np.linspace(0, values, (fitting[0] if fitting else bins) + 1)).astype(np.int64)


def _kind(name: str, place: int) -> tuple[str, str, str]:
    """Words, color and marker of a kind of interval; of an unknown one, its name."""
    looks = list(INTERVALS.values())
    _, color, marker = looks[place % len(looks)]
    return INTERVALS.get(name, (name.replace("_", " "), color, marker))


def _points(table: xr.Dataset, truths: Sequence[str]) -> tuple[Floats, list[str], str]:
    """Places of the true values along the axis, their labels if they are not numbers on it."""
    columns = {n: quantity(n).scale * np.asarray(table[n], dtype=float) for n in truths}
    varying = [n for n in truths if np.unique(columns[n]).size > 1] or list(truths[:1])
    if len(varying) == 1:
        return columns[varying[0]], [], f"true {quantity(varying[0]).axis}"
    rows = zip(*(columns[n] for n in varying), strict=True)
    labels = ["\n".join(f"{value:.4g}" for value in row) for row in rows]
    axis = " over ".join(quantity(n).axis for n in varying)
    return np.arange(len(labels), dtype=float), labels, f"true {axis}"


def _nominal(ax: Axes, at: xr.Dataset, level: float, places: Floats, spread: float) -> None:
    """Draw the nominal level, and twice its binomial error where that is known."""
    ax.axhline(100.0 * level, color=GUIDE, lw=1.2, zorder=1)
    if "error" not in at:
        return
    error = at["error"]
    error = error.max("interval") if "interval" in error.dims else error
    double = 200.0 * np.broadcast_to(np.asarray(error, dtype=float), places.shape)
    order = np.argsort(places)
    x = np.concatenate([[places.min() - spread], places[order], [places.max() + spread]])
    half = np.concatenate([double[order][:1], double[order], double[order][-1:]])
    band = np.clip([100.0 * level - half, 100.0 * level + half], 0.0, 100.0)
    ax.fill_between(x, *band, color=_BAND, lw=0, zorder=0)
    ax.set_xlim(float(x[0]), float(x[-1]))


def _plain_logarithms(ax: Axes) -> None:
    """Write numbers along logarithmic axes as they are, a few where decades are few."""
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        few = high < 100.0 * low
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
        axis.set_major_formatter(FuncFormatter(_plain))
        axis.set_minor_formatter(NullFormatter())


def _plain(value: float, _: object = None) -> str:
    """Return a number as it is, a power of ten where that would be long."""
    if 1e-4 < value < 99999.0:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    factor = value / 10.0**power
    head = "" if np.isclose(factor, 1.0) else f"{factor:g}\\cdot "
    return f"${head}10^{{{power}}}$"


def _exposure_axis(ax: Axes, data: xr.Dataset, events: Floats) -> None:
    """Add exposure along the top, to which events are proportional."""
    if "kt_mw_yr" not in data:
        return
    rate = float(np.median(events / np.asarray(data["kt_mw_yr"], dtype=float)))

    def exposure(counted: ArrayLike) -> Floats:
        return np.asarray(counted) / rate

    def counted(exposure: ArrayLike) -> Floats:
        return np.asarray(exposure) * rate

    top = ax.secondary_xaxis("top", functions=(exposure, counted))
    top.set_xlabel(r"exposure [kt$\cdot$MW$\cdot$yr]")
    top.xaxis.set_major_formatter(FuncFormatter(_plain))
    top.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="x", which="both", top=False)
