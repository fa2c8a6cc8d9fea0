"""A model of near and far data in words: what either of them tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from bayesxs.report.numbers import plus_minus, with_unit
from bayesxs.report.style import quantity
from bayesxs.types import Json

# Pairs of columns of the table of nuisances, by the prefix of their keys
SOURCES: Final = {
    "near_": "near data alone",
    "two_steps_": "far data alone",
    "": "near and far",
}


def joint_sentences(nuisances: Sequence[Json], parameters: Mapping[str, Json]) -> list[str]:
    """Return what far and near data tell of flux and parameters.

    Args:
        nuisances: rows with sd, near_sd and two_steps_sd, in units of the prior's.
        parameters: mean, sd, two_steps_mean and two_steps_sd, by name.
    """
    out = []
    for name, own in parameters.items():
        shown = quantity(name)
        two_steps = {"mean": own["two_steps_mean"], "sd": own["two_steps_sd"]}
        jointly, apart = (
            with_unit(plus_minus(entry, shown.scale), shown.plain_unit)
            for entry in (own, two_steps)
        )
        out.append(
            f"With near and far data as one model {shown.plain} is {jointly}; in two "
            f"steps, in which near data tell nothing of the flux, it is {apart}."
        )
    flux = [n for n in nuisances if n.get("group") == "flux" and "near_sd" in n]
    widths = {
        words: _root_mean_square([float(n[f"{prefix}sd"]) for n in flux])
        for prefix, words in SOURCES.items()
        if flux and all(f"{prefix}sd" in n for n in flux)
    }
    if widths:
        parts = ", ".join(f"{width:.2f} given {words}" for words, width in widths.items())
        out.append(f"Root mean square width of the {len(flux)} flux nuisances: {parts} (prior 1).")
    return out


def _root_mean_square(values: Sequence[float]) -> float:
    return math.sqrt(sum(v**2 for v in values) / len(values))
