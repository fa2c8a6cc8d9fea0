"""Figures of systematics: their cost, their pulls, and their cancellation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from bayesxs.report.budget import PARAMETERS, TOTAL, decimals, entry_of, finite, label
from bayesxs.report.style import (
    ASSUMED,
    GUIDE,
    SHADE,
    SOURCES,
    TRUTH,
    Dashes,
    Plate,
    error_of,
    group,
    grouped,
    quantity,
    style,
)
from bayesxs.types import Floats, Json

LEPTON_ENERGY: Final = r"lepton energy $E_\ell$ [GeV]"
STAGES: Final = {
    "prior": ("cross section held fixed", TRUTH, "-"),
    "response": ("cross section relearned", ASSUMED, (0, (5, 1.5))),
}
SOURCE_NAMES: Final = {
    "ensemble": "ensemble",
    "gaussian_process": "Gaussian process",
    "laplace": "Laplace",
}

_DASHES: Final[tuple[Dashes, ...]] = ("-", (0, (6, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.5, 1.4, 1.5)))
# How two steps look beside a joint model of near and far data: grey is for what was known before
_APART: Final[dict[str, Any]] = {
    "color": TRUTH,
    "marker": "o",
    "ms": 3.4,
    "lw": 1.1,
    "mfc": "white",
}
_SEEN: Final = 0.995  # share of the events that the axes over lepton energy show


class _Bar(NamedTuple):
    """A bar of the budget: its label, its row, the number that is its length, and its look."""

    label: str
    row: Json
    key: str
    look: dict[str, Any]


def budget_figure(budget: Json) -> Figure:
    """Draw the contribution of each systematic to the uncertainties of the parameters, as bars.

    A contribution is the part of the standard deviation that adds in quadrature to that of
    statistics alone. The row "all" is drawn twice: the contribution of the systematics together,
    and as an outline the standard deviation with everything on.

    Args:
        budget: entry rows, each with name, label and, by parameter (dm31 in eV^2,
            sin2_2theta23), the numbers sd and contribution.

    Raises:
        ValueError: no row has a number to draw.
    """
    rows = budget.get("rows") or ()
    names = [n for n in PARAMETERS if any(entry_of(r, n, "contribution") is not None for r in rows)]
    if not names:
        raise ValueError("a budget without contributions")
    bars = list(_bars(rows))
    with style():
        figure = Plate(figsize=(1.9 + 3.9 * len(names), 1.15 + 0.36 * len(bars)))
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            _contributions(ax, bars, name)
        axes[0].set_yticks(range(len(bars)), [bar.label for bar in bars])
        axes[0].set_ylim(len(bars) - 0.4, -0.6)
    return figure


def pulls_figure(budget: Json) -> Figure:
    """Draw every nuisance after the fit over its prior, beside its correlations.

    Args:
        budget: entry nuisances, each with name, group, label, mean and sd after the fit in units
            of the prior's sd, and correlation by parameter. In a joint model of near and far data
            near_mean and near_sd, two_steps_mean and two_steps_sd are those given either alone.

    Raises:
        ValueError: there are no nuisances.
    """
    nuisances = list(budget.get("nuisances") or ())
    if not nuisances:
        raise ValueError("a budget without nuisances")
    groups = grouped(nuisances)
    names = [n for n in PARAMETERS if any(_correlation(m, n) is not None for m in nuisances)]
    places = len(nuisances) + len(groups)
    with style():
        figure = Plate(figsize=(4.6 + 2.2 * len(names), 1.3 + 0.235 * places))
        ratios = (2.0, *(1.0 for _ in names))
        left, *right = figure.subplots(
            1, 1 + len(names), sharey=True, squeeze=False, width_ratios=ratios
        )[0]
        labels = _pull_rows(left, dict(zip(names, right, strict=True)), groups)
        reach = [abs(m) + s for m, s in map(_mean_and_sd, nuisances) if m is not None]
        limit = 1.12 * max([1.25, *reach])
        left.set_xlim(-limit, limit)
        left.axvspan(-1.0, 1.0, color=GUIDE, alpha=0.2, lw=0, zorder=0)
        left.set_xlabel("after the fit [prior sd]")
        for ax, parameter in zip(right, names, strict=True):
            ax.set_xlim(-1.0, 1.0)
            ax.set_xticks([-0.5, 0.0, 0.5])
            ax.set_xlabel(f"correlation with {quantity(parameter).label}")
        for ax in (left, *right):
            ax.axvline(0.0, color=GUIDE, lw=0.9, zorder=0.5)
            ax.tick_params(axis="y", length=0)
        left.set_yticks(list(labels), list(labels.values()))
        left.set_ylim(places - 0.3, -0.7)
        shown: list[Artist] = [Patch(facecolor=GUIDE, alpha=0.3, label="prior")]
        if any("near_sd" in n for n in nuisances):
            shown.append(Patch(facecolor=GUIDE, alpha=0.6, label="near data alone"))
        words = "after the fit"
        if any("two_steps_sd" in n for n in nuisances):
            words = "near and far data"
            shown.append(Line2D([], [], **_APART, label="far data alone"))
        color = group(groups[0][0]).color if len(groups) == 1 else TRUTH  # as drawn
        shown.append(Line2D([], [], color=color, marker="o", ms=4, lw=1.5, label=words))
        # Four do not fit beside one another where there is no parameter
        figure.legend(handles=shown, loc="outside upper center", ncols=min(len(shown), 3))
    return figure


def _pull_rows(
    left: Axes, right: Mapping[str, Axes], groups: Sequence[tuple[str, Sequence[Json]]]
) -> dict[int, str]:
    """Draw a row for each nuisance under the name of its group; return labels by row.

    Args:
        left: for the nuisances after the fit.
        right: for their correlations, by parameter.
        groups: nuisances by the name of their group.
    """
    labels: dict[int, str] = {}
    place = 0
    for name, members in groups:
        shown = group(name)
        left.annotate(
            shown.words,
            (0.0, place + 0.18),
            xytext=(5.0, 0.0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            weight="bold",
            size=10.5,
            color=shown.color,
        )
        for nuisance in members:
            place += 1
            labels[place] = label(nuisance)
            near = finite(nuisance.get("near_mean")), finite(nuisance.get("near_sd"))
            if near[0] is not None and near[1] is not None:  # a joint model of near and far
                left.barh(
                    place,
                    2.0 * near[1],
                    left=near[0] - near[1],
                    height=0.62,
                    color=GUIDE,
                    alpha=0.5,
                    zorder=0.3,
                )
            other = finite(nuisance.get("two_steps_mean"))
            if other is not None:
                sd = finite(nuisance.get("two_steps_sd")) or 0.0
                left.errorbar(other, place + 0.24, xerr=sd, **_APART)
            _pull(left, place, nuisance, shown.color)
            for parameter, ax in right.items():
                value = _correlation(nuisance, parameter)
                if value is not None:
                    ax.barh(place, value, height=0.62, color=shown.color)
        place += 1
    return labels


def sources_figure(dataset: xr.Dataset) -> Figure:
    """Draw the learned far spectrum over the true one for each source, and its uncertainty below.

    Args:
        dataset: over (source, lepton_energy in GeV): mean, low and high (68 %), as ratios to the
            truth. Over lepton_energy, where known: weight, the far density (shaded behind), and
            statistical, the relative error of the events in a bin (grey).

    Raises:
        ValueError: there are no sources.
    """
    names = [str(name) for name in np.atleast_1d(dataset["source"].values)]
    if not names:
        raise ValueError("no sources to compare")
    energy, seen = _seen_energies(dataset)
    mean, low, high = (
        np.asarray(dataset[key].transpose("source", "lepton_energy"), dtype=float)
        for key in ("mean", "low", "high")
    )
    statistical = _optional(dataset, "statistical")
    with style():
        figure = Plate(figsize=(7.4, 6.0))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.1, 1.0))
        handles: list[Artist] = []
        top.axhline(1.0, color=TRUTH, lw=1.0)
        for i, name in enumerate(names):
            color, dashes = SOURCES[i % len(SOURCES)], _DASHES[i % len(_DASHES)]
            top.fill_between(energy, low[i], high[i], color=color, alpha=0.18, lw=0)
            words = SOURCE_NAMES.get(name, name.replace("_", " "))
            handles += top.plot(energy, mean[i], color=color, ls=dashes, label=words)
            half = 50.0 * (high[i] - low[i])
            bottom.plot(energy, half, color=color, ls=dashes, lw=1.4)
        largest = max(float(np.nanmax(np.abs(edge[:, seen] - 1.0))) for edge in (low, high))
        half_range = 1.35 * max(largest, 1e-4)
        top.set_ylim(1.0 - half_range, 1.0 + half_range)
        if statistical is not None:
            if float(np.nanmin(statistical[seen])) < half_range:  # else all would be grey
                edges = 1.0 - statistical, 1.0 + statistical
                top.fill_between(energy, *edges, color=GUIDE, alpha=0.22, lw=0, zorder=0)
            bottom.plot(energy, 100.0 * statistical, color=GUIDE, lw=4.0, alpha=0.5, zorder=0)
            handles.append(Patch(facecolor=GUIDE, alpha=0.5, label="statistical error"))
        nominal = dataset.attrs.get("reference") == "learned"  # where no truth is known
        top.set_ylabel("learned / its mean" if nominal else "learned / true")
        bottom.set_yscale("log")
        shown = np.concatenate([np.asarray(line.get_ydata())[seen] for line in bottom.lines])
        shown = shown[np.isfinite(shown) & (shown > 0.0)]
        if shown.size:
            bottom.set_ylim(0.6 * shown.min(), 1.7 * shown.max())
        bottom.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        bottom.yaxis.set_minor_formatter(NullFormatter())
        bottom.set_ylabel("68 % error [%]")
        handles += _weight(top, energy, dataset)
        _lepton_axis(bottom, energy, seen)
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
        figure.align_ylabels([top, bottom])
    return figure


def cancellation_figure(dataset: xr.Dataset) -> Figure:
    """Draw how much of the flux uncertainty is left in the far spectrum, stage by stage.

    The legend states the root mean square over the far events.

    Args:
        dataset: sd, relative, over (stage, lepton_energy in GeV) for any of the stages prior
            (cross section held fixed) and response (it follows the flux); weight, the far density
            over lepton_energy, where known.

    Raises:
        ValueError: none of the stages is there.
    """
    given = [str(name) for name in np.atleast_1d(dataset["stage"].values)]
    names = [name for name in STAGES if name in given]
    if not names:
        raise ValueError(f"stages {', '.join(given) or 'none'}: any of {', '.join(STAGES)}")
    energy, seen = _seen_energies(dataset)
    events = _optional(dataset, "weight")
    with style():
        figure = Plate(figsize=(7.4, 4.6))
        ax = figure.subplots()
        handles: list[Artist] = []
        largest = 0.0
        for name in names:
            words, color, dashes = STAGES[name]
            percent = 100.0 * np.asarray(dataset["sd"].sel(stage=name), dtype=float)
            mean = math.sqrt(float(np.average(percent[seen] ** 2, weights=_at(events, seen))))
            entry = f"{words} ({mean:.2g} %)"
            handles += ax.plot(energy, percent, color=color, ls=dashes, lw=1.9, label=entry)
            largest = max(largest, float(np.nanmax(percent[seen])))
        ax.set_ylim(0.0, 1.12 * largest if largest > 0.0 else 1.0)
        ax.set_ylabel("flux-shape error of the far spectrum [%]")
        handles += _weight(ax, energy, dataset)
        _lepton_axis(ax, energy, seen)
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure


def _bars(rows: Sequence[Json]) -> list[_Bar]:
    """Bars of the rows in their order, all together last."""
    bars = []
    for row in rows:
        if row["name"] != TOTAL:
            look = {"color": group(str(row["name"])).color}
            bars.append(_Bar(label(row), row, "contribution", look))
    for row in rows:
        if row["name"] == TOTAL:
            bars.append(_Bar("systematics together", row, "contribution", {"color": "#5b6570"}))
            outline = {"facecolor": "none", "edgecolor": TRUTH, "lw": 1.6}
            bars.append(_Bar("total", row, "sd", outline))
    return bars


def _contributions(ax: Axes, bars: Sequence[_Bar], name: str) -> None:
    """Draw the bars of one parameter, their lengths printed at their ends."""
    shown = error_of(name)
    lengths = [entry_of(bar.row, name, bar.key) for bar in bars]
    longest = max([length for length in lengths if length is not None], default=0.0)
    form = f"{{:.{decimals(longest * shown.scale)}f}}"
    for place, (bar, length) in enumerate(zip(bars, lengths, strict=True)):
        value = (length or 0.0) * shown.scale
        ax.barh(place, value, height=0.62, **bar.look)
        text = "–" if length is None else form.format(value)
        end = (value, place)
        ax.annotate(text, end, xytext=(4, 0), textcoords="offset points", va="center", size=10.5)
    ax.set_xlim(0.0, 1.22 * longest * shown.scale if longest > 0.0 else 1.0)
    ax.set_xlabel(f"contribution to $\\sigma$({shown.label})" + _bracketed(shown.unit))
    ax.tick_params(axis="y", length=0)


def _pull(ax: Axes, place: int, nuisance: Json, color: str) -> None:
    """Draw mean and standard deviation of a nuisance."""
    mean, sd = _mean_and_sd(nuisance)
    if mean is not None:
        ax.errorbar(mean, place, xerr=sd, fmt="o", ms=3.8, lw=1.5, color=color)


def _mean_and_sd(nuisance: Json) -> tuple[float | None, float]:
    """Mean, None where it is not known, and standard deviation."""
    sd = finite(nuisance.get("sd"))
    return finite(nuisance.get("mean")), sd if sd is not None else 0.0


def _correlation(nuisance: Json, parameter: str) -> float | None:
    return finite((nuisance.get("correlation") or {}).get(parameter))


def _bracketed(unit: str) -> str:
    return f" [{unit}]" if unit else ""


def _optional(dataset: xr.Dataset, name: str) -> Floats | None:
    """Return a variable over lepton energy, None where there is none."""
    return np.asarray(dataset[name], dtype=float) if name in dataset else None


def _at(values: Floats | None, seen: NDArray[np.bool_]) -> Floats | None:
    return None if values is None else values[seen]


def _seen_energies(dataset: xr.Dataset) -> tuple[Floats, NDArray[np.bool_]]:
    """Lepton energies, and which of them hold nearly all events."""
    energy = np.asarray(dataset["lepton_energy"], dtype=float)
    weight = _optional(dataset, "weight")
    if weight is None or not weight.sum() > 0.0:
        return energy, np.ones(energy.shape, dtype=bool)
    below = np.cumsum(weight * np.gradient(energy)) / np.sum(weight * np.gradient(energy))
    tail = 0.5 * (1.0 - _SEEN)
    return energy, (below > tail) & (below < 1.0 - tail)


def _weight(ax: Axes, energy: Floats, dataset: xr.Dataset) -> list[Artist]:
    """Shade the far density behind the curves; return its legend entry."""
    weight = _optional(dataset, "weight")
    if weight is None:
        return []
    behind = ax.twinx()
    behind.fill_between(energy, weight, color=SHADE, alpha=0.35, lw=0)
    behind.set_ylim(0.0, 1.35 * float(weight.max()))
    behind.set_yticks([])
    ax.set_zorder(behind.get_zorder() + 1)
    ax.patch.set_visible(False)
    return [Patch(facecolor=SHADE, alpha=0.5, label="far events (shape)")]


def _lepton_axis(ax: Axes, energy: Floats, seen: NDArray[np.bool_]) -> None:
    """Lepton energies that hold events."""
    ax.set_xlim(float(energy[seen][0]), float(energy[seen][-1]))
    ax.set_xlabel(LEPTON_ENERGY)
