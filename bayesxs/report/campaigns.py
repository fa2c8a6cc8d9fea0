"""Results of campaigns other than simulation-based calibration, in words and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from scipy.stats import norm

from bayesxs.report.modes_calibration import probability_table, statistic_table
from bayesxs.report.numbers import MISSING, Row, Table, listed, number, power, signed, with_unit
from bayesxs.report.style import CROSS_SECTIONS, error_of, ordered, quantity
from bayesxs.types import Json

# Coverage within so many binomial standard errors of its level is called right
PULL_LIMIT: Final = 2.5

# Kinds of interval in words, in the order of the tables
INTERVAL_WORDS: Final = {
    "hdi": "HDI",
    "percentile": "percentile bootstrap",
    "basic": "basic bootstrap",
    "bca": "BCa bootstrap",
    "profile": "profile likelihood",
}
_DISTANCES: Final = {
    "near_rel_l2": "near-detector density",
    "far_rel_l2": "far-detector density",
    "cross_section_3d_rel_l2": "cross section in (Eν, Eℓ, z)",
}

type _Rows = Sequence[Json]


def found_tables(summary: Json) -> tuple[list[Table], list[str]]:
    """Return the tables of a campaign, and sentences on the entries that need a look.

    Args:
        summary: results of its kind. Coverage: intervals, by parameter a list of
            point (true values), level, interval, fraction, error, pull, length. Sensitivity:
            exposures, events and widths, by parameter width and power. Bootstrap: estimates, by
            kind of cross section and parameter mle, mean, sd, interval68, interval90. Ensemble:
            distances, by name median, low and high, and far_spread. Orderings and octants:
            probabilities, by name, and statistic, by true phase (`modes_calibration`).
    """
    tables: list[Table] = []
    reasons: list[str] = []
    if summary.get("intervals"):
        tables += [_coverage_table(n, rows) for n, rows in _ordered(summary["intervals"])]
        reasons += _off(summary["intervals"])
    if summary.get("widths"):
        tables.append(_width_table(summary))
    if summary.get("estimates"):
        tables.append(_estimate_table(summary["estimates"]))
    for name, entry in dict(summary.get("probabilities") or {}).items():
        tables.append(probability_table(name, entry))
    if summary.get("statistic"):
        tables.append(statistic_table(summary["statistic"]))
    if summary.get("distances"):
        tables.append(_distance_table(summary["distances"]))
    return tables, reasons


def coverage_verdict(intervals: Mapping[str, _Rows]) -> str:
    """Say whether the highest-density intervals hold the truth as often as they claim."""
    text = []
    for name, rows in _ordered(intervals):
        own = [row for row in rows if row["interval"] == "hdi"]
        levels = listed([f"{100.0 * level:g} %" for level in sorted({r["level"] for r in own})])
        worst = max(own, key=lambda row: abs(row["pull"]))
        points = len({tuple(row["point"].values()) for row in own})
        off = [row for row in own if abs(row["pull"]) > PULL_LIMIT]
        subject = f"{levels} HDIs of {quantity(name).plain}"
        if not off:
            text.append(
                f"{subject} cover within {PULL_LIMIT:g} binomial σ at all {points} points (worst "
                f"{signed(worst['pull'], '{:.1f}')} σ)."
            )
        else:
            text.append(
                f"{subject} are off by more than {PULL_LIMIT:g} binomial σ in {len(off)} of "
                f"{len(own)} cases (worst {signed(worst['pull'], '{:.1f}')} σ, "
                f"{100.0 * worst['fraction']:.1f} % of {100.0 * worst['level']:g} % at "
                f"{_place(worst['point'])})."
            )
    return " ".join(text)


def sensitivity_verdict(exposures: Sequence[float], widths: Mapping[str, Json]) -> str:
    """Say how far posteriors narrow from the smallest exposure to the largest."""
    text = []
    for name, entry in _ordered(widths):
        shown = error_of(name)
        first, last = (
            with_unit(f"{shown.scale * entry['width'][i]:.3g}", shown.plain_unit) for i in (0, -1)
        )
        text.append(
            f"σ({quantity(name).plain}) falls from {first} at {exposures[0]:g} kt·MW·yr to "
            f"{last} at {exposures[-1]:g}, on average as the power "
            f"{signed(entry['power'], '{:.2f}')} of the exposure; counting alone gives −0.50."
        )
    return " ".join(text)


def bootstrap_verdict(estimates: Mapping[str, Mapping[str, Json]]) -> str:
    """Give the estimates from the data and from their bootstrap samples, in words."""
    text = []
    for name in ("dm31", "sin2_2theta23"):
        parts = []
        for kind, entries in estimates.items():
            if name in entries:
                shown = quantity(name)
                value = entries[name].get("mle", entries[name]["mean"]) * shown.scale
                sd = entries[name]["sd"] * shown.scale
                measured = with_unit(f"{value:.4f} ± {sd:.4f}", shown.plain_unit)
                parts.append(f"{measured} with the {CROSS_SECTIONS.get(kind, kind)}")
        if parts:
            text.append(f"{quantity(name).plain} is {listed(parts, ', and ')}.")
    return " ".join(text) or "No parameter was estimated."


def ensemble_verdict(
    members: int, distances: Mapping[str, Mapping[str, float]], far_spread: float
) -> str:
    """Say how far networks are from the truth, and from each other at the far detector."""
    near = distances["near_rel_l2"]
    return (
        f"{members} networks: relative distance of the near density from the true one "
        f"{power(near['median'])} in the median, {power(near['high'])} at worst; their far spectra "
        f"differ by {100.0 * far_spread:.2g} % (standard deviation, mean over the far events)."
    )


def _coverage_table(name: str, rows: _Rows) -> Table:
    """Coverage of one parameter: a line per point and level, a column per kind of interval."""
    kinds = [k for k in INTERVAL_WORDS if any(row["interval"] == k for row in rows)]
    lines: dict[tuple[str, float], dict[str, Json]] = {}
    for row in rows:
        lines.setdefault((_place(row["point"]), row["level"]), {})[row["interval"]] = row
    error = {row["level"]: row["error"] for row in rows}
    claimed = [f"{100.0 * e:.1f} at {100.0 * level:g} %" for level, e in sorted(error.items())]
    return Table(
        (f"{quantity(name).plain}, true values", "level", *(INTERVAL_WORDS[k] for k in kinds)),
        [
            Row(place, (f"{100.0 * level:g} %", *(_covered(cells.get(k)) for k in kinds)))
            for (place, level), cells in lines.items()
        ],
        f"Coverage of intervals of {quantity(name).plain} in percent, in brackets its distance "
        f"from the level in binomial standard errors ({listed(claimed)}).",
    )


def _covered(row: Json | None) -> str:
    if row is None:
        return MISSING
    return f"{100.0 * row['fraction']:.1f} ({signed(row['pull'], '{:.1f}')})"


def _off(intervals: Mapping[str, _Rows]) -> list[str]:
    """Kinds of interval whose coverage is off by more than chance gives in one of 100 campaigns."""
    total = sum(len(rows) for rows in intervals.values())
    limit = float(norm.isf(0.005 / max(total, 1)))
    words = []
    for name, rows in _ordered(intervals):
        for kind, called in INTERVAL_WORDS.items():
            own = [row for row in rows if row["interval"] == kind]
            off = [row for row in own if abs(row["pull"]) > limit]
            if off:
                low, high = (100.0 * f(row["fraction"] for row in off) for f in (min, max))
                words.append(
                    f"{quantity(name).plain}, {called}: off in {len(off)} of {len(own)} cases, "
                    f"coverage there {low:.0f} % to {high:.0f} %"
                )
    return words


def _width_table(summary: Json) -> Table:
    """Median widths by exposure."""
    widths = dict(_ordered(summary["widths"]))
    shown = {name: error_of(name) for name in widths}
    headings = [
        f"σ({q.plain})" + (f" [{q.plain_unit}]" if q.plain_unit else "") for q in shown.values()
    ]
    rows = [
        Row(
            f"{exposure:g} kt·MW·yr",
            (
                f"{events:.0f}",
                *(f"{shown[n].scale * widths[n]['width'][i]:.3g}" for n in widths),
            ),
        )
        for i, (exposure, events) in enumerate(
            zip(summary["exposures"], summary["events"], strict=True)
        )
    ]
    rows.append(
        Row("power of exposure", ("", *(signed(w["power"], "{:.2f}") for w in widths.values())))
    )
    return Table(
        ("exposure", "events", *headings),
        rows,
        "Medians over the pseudo-experiments of each exposure; the power is a fit to all of them.",
    )


def _estimate_table(estimates: Mapping[str, Mapping[str, Json]]) -> Table:
    """Estimates, spread and intervals by parameter and cross section."""
    rows = []
    names = list(dict.fromkeys(n for entries in estimates.values() for n in entries))
    for name in ordered(names):
        shown = quantity(name)
        unit = f" [{shown.plain_unit}]" if shown.plain_unit else ""
        for kind, entries in estimates.items():
            if name in entries:
                entry = entries[name]
                ends = [
                    " to ".join(f"{shown.scale * v:.4f}" for v in entry[f"interval{level}"])
                    for level in (68, 90)
                ]
                mle = entry.get("mle")
                cells = (
                    number(None if mle is None else shown.scale * mle, "{:.4f}"),
                    f"{shown.scale * entry['mean']:.4f}",
                    f"{shown.scale * entry['sd']:.4f}",
                    *ends,
                )
                rows.append(
                    Row(f"{quantity(name).plain}{unit}, {CROSS_SECTIONS.get(kind, kind)}", cells)
                )
    return Table(
        ("", "estimate", "mean of samples", "sd of samples", "68 % interval", "90 % interval"),
        rows,
        "Intervals are central ones of the samples' estimates.",
    )


def _distance_table(distances: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the table of distances of networks from the truth."""
    return Table(
        ("relative distance (L₂) from the true", "median", "least", "largest"),
        [
            Row(words, tuple(power(distances[name][key]) for key in ("median", "low", "high")))
            for name, words in _DISTANCES.items()
            if name in distances
        ],
    )


def _place(point: Mapping[str, float]) -> str:
    """True values in words."""
    parts = []
    for name, value in point.items():
        shown = quantity(name)
        parts.append(f"{shown.plain} = {shown.scale * value:.4g}")
    return ", ".join(parts)


def _ordered[T](entries: Mapping[str, T]) -> list[tuple[str, T]]:
    """Entries by parameter, known ones first."""
    return [(name, entries[name]) for name in ordered(entries)]
