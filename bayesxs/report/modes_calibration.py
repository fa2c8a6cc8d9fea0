"""Calibration of probabilities of orderings and of the statistic of CP violation, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bayesxs.report.numbers import Row, Table, listed, number, signed
from bayesxs.types import Json

# Beyond which a standard normal number is called out: one of 370
_LIMIT: Final = 3.0
_WHOLE: Final = 1e-6  # difference of numbers of standard deviations that are the same
_EVENTS: Final = {"ordering": "normal ordering", "octant": "upper octant"}


def probability_verdict(chances: Mapping[str, Json]) -> str:
    """Say whether what has a probability happens as often as that."""
    off = [name for name, entry in chances.items() if _worst(entry) > _LIMIT]
    if not off:
        names = listed([_EVENTS.get(name, name) for name in chances])
        worst = max(_worst(entry) for entry in chances.values())
        return f"Probabilities of the {names} are right (worst {worst:.1f} σ)."
    return " ".join(
        f"Probabilities of the {_EVENTS.get(name, name)} are off: "
        f"{'too sure' if chances[name]['sharpness'] > _LIMIT else 'look at the table'} "
        f"({_worst(chances[name]):.1f} σ)."
        for name in off
    )


def _worst(entry: Json) -> float:
    return max(abs(float(entry["bias"])), abs(float(entry["sharpness"])))


def probability_table(name: str, entry: Json) -> Table:
    """Return claimed probabilities and what happened, bin by bin."""
    rows = [
        Row(
            f"{b['low']:g} to {b['high']:g}",
            (
                str(b["number"]),
                number(b["mean"], "{:.3f}"),
                f"{b['fraction']:.3f} ± {b['error']:.3f}",
            ),
        )
        for b in entry["bins"]
    ]
    words = (
        f"Of the pseudo-experiments with a probability of the {_EVENTS.get(name, name)} within "
        "each range, the part where it was true. Over all of them the difference is "
        f"{signed(entry['bias'], '{:.1f}')} σ, and probabilities are too sure by "
        f"{signed(entry['sharpness'], '{:.1f}')} σ."
    )
    heading = f"probability of the {_EVENTS.get(name, name)}"
    return Table((heading, "pseudo-experiments", "mean", "part that was true"), rows, words)


def statistic_verdict(found: Mapping[str, Json]) -> str:
    """Say which values of the statistic are those of one, two and three sigma."""
    text = []
    for phase, entry in found.items():
        parts = [
            f"{row['critical']:.2f} for {row['sigma']:.0f} σ (Wilks {row['wilks']:.0f})"
            for row in entry["critical"]
            if abs(row["sigma"] - round(row["sigma"])) < _WHOLE
        ]
        text.append(
            f"At dCP = {_phase(phase)} the critical value of Δχ² is {listed(parts)}; "
            f"p = {entry['p_value']:.2g} that Δχ² follows χ² of one degree of freedom."
        )
    return " ".join(text)


def statistic_table(found: Mapping[str, Json]) -> Table:
    """Return critical values, and how often the statistic is above Wilks' ones."""
    rows = [
        Row(
            f"{_phase(phase)}, {100.0 * row['level']:.4g} %",
            (
                f"{row['critical']:.2f} ({row['low']:.2f} to {row['high']:.2f})",
                number(row["wilks"], "{:.2f}"),
                f"{100.0 * row['above_wilks']:.1f} ± {100.0 * row['above_error']:.1f}",
                f"{100.0 * (1.0 - row['level']):.2f}",
            ),
        )
        for phase, entry in found.items()
        for row in entry["critical"]
    ]
    words = (
        "Critical values of Δχ² = χ²(dCP = 0 or π) − χ² from pseudo-experiments that conserve CP, "
        "with their 68 % interval, and the part of these above Wilks' value, in percent."
    )
    return Table(("true dCP", "critical value", "Wilks", "above", "expected"), rows, words)


def _phase(name: str) -> str:
    return "π" if name == "pi" else name
