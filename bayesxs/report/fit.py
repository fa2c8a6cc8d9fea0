"""Data from files in numbers: goodness of their fits, and oddities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bayesxs.report.numbers import Row, number
from bayesxs.types import Json

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
