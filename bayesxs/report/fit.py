"""Data without a true cross section in numbers: goodness of their fits, and oddities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from bayesxs.report.captions import Origin, sample_words
from bayesxs.report.numbers import Row, number, power
from bayesxs.report.style import quantity
from bayesxs.types import Json

# Summary numbers in plain words: path, words, unit of the number
_WORDS: Final = (
    ("near.rel_l2", "Near-detector density: distance of learned from true, relative (L₂)"),
    ("far.rel_l2", "Far-detector density: the same, not used in training"),
    ("cross_section_3d.rel_l2", "Cross section in (Eν, Eℓ, z): the same, not used in training"),
    (
        "cross_section_3d.negative_fraction",
        "Fraction of the phase space where the learned cross section is negative",
    ),
)


# Cross sections that are projected onto those that are nowhere negative
_MODELS: Final = {"truth": "true", "assumed": "assumed"}

# Numbers of data from files, in plain words
_FIT_WORDS: Final = (
    ("far", "events", "Far-detector events"),
    ("far", "read", "Rows of the file of far-detector events"),
    ("far", "impossible", "Far-detector events that no neutrino of the beam makes, dropped"),
    ("far", "below_threshold", "Far-detector events below the detector's threshold, dropped"),
    ("far", "repeated", "Far-detector events that repeat an earlier row"),
    ("far", "on_bin_edges", "Coordinates of far-detector events on the edge of a bin"),
    ("near", "dropped", "Near-detector events that no neutrino of the beam makes, dropped"),
)


def fit_numbers(summary: Json) -> list[Row]:
    """Return goodness of fit near and far, and oddities of the data, as rows of a table.

    Args:
        summary: content of summary.json.
    """
    rows = []
    near, far = (summary.get(side) or {} for side in ("near", "far"))
    fits = {"": near} | {
        f", {name.replace('_', ' ')}": own for name, own in near.items() if isinstance(own, Mapping)
    }
    for words, fit in fits.items():
        if "chi2" in fit:
            text = f"χ² = {number(fit['chi2'], '{:.1f}')} in {fit['bins']} bins"
            if fit.get("parameters"):
                taken = number(fit["parameters"], "{:.0f}")
                text += f" less {taken} effective parameters"
            text += f", p = {number(fit['p_value'], '{:.3f}')}"
            rows.append(Row(f"Near-detector counts{words}", (text,)))
    for key, words in (
        ("p_value", "lepton energy"),
        ("p_value_z", "z"),
        ("p_value_angle", "angle"),
    ):
        if (value := far.get(key)) is not None:
            head = f"Far-detector spectrum in {words}: posterior predictive p-value"
            rows.append(Row(head, (number(value, "{:.2f}"),)))
    if warning := summary.get("resolution_warning"):
        rows.append(Row("Warning", (str(warning),)))
    sides = {"near": near, "far": far}
    return rows + [
        Row(words, (str(sides[side][key]),))
        for side, key, words in _FIT_WORDS
        if key in sides[side]
    ]


# Distances of the learned cross section from the generator's, in plain words
_DISTANCES: Final = (
    ("near", "Near-detector counts: distance of learned from counted, relative (L₂)"),
    ("far", "Far spectrum: distance of learned from the generator's template, relative (L₂)"),
    ("cross_section_3d", "The same in bins of neutrino energy, too"),
)

# Events by what became of them
_EVENTS: Final = {
    "read": "in the file",
    "near": "seen by the near detector",
    "far": "in the template, of which far data are drawn",
    "not_charged_current": "dropped, as not of the charged current",
    "other_flavor": "dropped, as of another flavor",
    "other_target": "dropped, as on another nucleus",
    "other_channel": "dropped, as of a channel that is not wanted",
    "outside_energy_range": "dropped, as outside of the energies of the analysis",
    "outside_phase_space": "dropped, as beyond the largest x",
}


def event_numbers(summary: Json) -> list[Row]:
    """Return what a generator's events are compared in, and what became of them.

    Args:
        summary: content of summary.json.
    """
    rows = [
        Row(words, (power(float(summary[name]["rel_l2"])),))
        for name, words in _DISTANCES
        if "rel_l2" in (summary.get(name) or {})
    ]
    shifts = summary.get("asimov") or {}
    for key, kind in (("shift_sigma", "learned"), ("assumed_shift_sigma", "assumed")):
        for name, value in (shifts.get(key) or {}).items():
            words = f"{quantity(name).plain} on expected data: {kind} against the template"
            rows.append(Row(words, (f"{number(value, '{:.3f}')} σ of the total error",)))
    effective = (summary.get("far") or {}).get("template_events")
    if effective:
        events = (summary.get("far") or {}).get("events")
        text = f"{effective}"
        if events:
            share = number(100.0 * (math.sqrt(1.0 + events / effective) - 1.0), "{:.1f}")
            text += f"; its statistics would widen the errors by {share} %"
        rows.append(Row("Effective events of the generator's template", (text,)))
    for name, counts in (summary.get("events") or {}).items():
        rows += [
            Row(f"Generator's events ({name}) {words}", (str(counts[key]),))
            for key, words in _EVENTS.items()
            if counts.get(key)
        ]
    return rows


def page_numbers(summary: Json, origin: Origin) -> list[Row]:
    """Numbers of data that have no true cross section, or else of the learned and the true one."""
    if origin == "simulated":
        return _numbers(summary)
    return fit_numbers(summary) + (event_numbers(summary) if origin == "generated" else [])


# Whether there are data of which no true cross section is known
TITLES: Final = {True: "Data and goodness of fit", False: "Learned against true"}


def _numbers(summary: Json) -> list[Row]:
    """Summary numbers in plain words."""
    samples = lookup(summary, "samples") or {}
    rows = []
    for path, words in _WORDS:
        found = {words + (" (the largest)" if samples else ""): lookup(summary, path)}
        found |= {f"{sample_words(n)}: {words}": lookup(own, path) for n, own in samples.items()}
        rows += [Row(w, (power(float(v)),)) for w, v in found.items() if v is not None]
    if warning := lookup(summary, "resolution_warning"):
        rows.append(Row("Warning", (str(warning),)))
    for kind, shares in (lookup(summary, "projected_share") or {}).items():
        words = f"Near rate added where the {_MODELS[kind]} cross section would be negative"
        rows += [
            Row(f"{words} ({name})", (f"{number(100.0 * share, '{:.2g}')} %",))
            for name, share in shares.items()
        ]
    shifts = lookup(summary, "asimov.shift_sigma")
    for name, value in (shifts or {}).items():
        words = f"Shift of {quantity(name).plain} on expected data, learned against true"
        rows.append(Row(words, (f"{number(value, '{:.3f}')} σ",)))
    return rows


def lookup(summary: Json, path: str) -> Any:
    """Return the value under a dotted path, None where there is none."""
    value: Any = summary
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value
