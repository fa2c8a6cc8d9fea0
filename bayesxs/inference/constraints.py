"""Constraints that other experiments put on oscillation parameters: standard deviations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from bayesxs.inference.asimov import DENSITY, DM21, DM31, THETA12, THETA13, THETA23
from bayesxs.types import Floats as Float

_NUFIT_4_0: Final = {
    **{THETA12: 0.023, THETA13: 0.015, THETA23: 0.041},
    **{DM21: 0.028, DM31: 0.013, DENSITY: 0.02},
}


def published_constraints(truth: Float) -> Float:
    """Return the constraints of DUNE's published configuration as standard deviations.

    NuFit 4.0: theta12 2.3 %, theta13 1.5 %, theta23 4.1 %, dm21 2.8 %, dm31 1.3 %; 2 % of the
    density; dcp is free (arXiv:2103.04797, arXiv:2002.03005, table 5.1).

    Args:
        truth: coordinates, (..., 7).
    """
    return relative_constraints(truth, _NUFIT_4_0)


def reactor_constraints(truth: Float) -> Float:
    """Return those of `published_constraints` but theta23 and dm31, which are free.

    Args:
        truth: coordinates, (..., 7).
    """
    free = {THETA23: np.inf, DM31: np.inf}
    return relative_constraints(truth, {**_NUFIT_4_0, **free})


def solar_constraints(truth: Float) -> Float:
    """Return those of `reactor_constraints` but theta13, which is free: theta12, dm21, density.

    Args:
        truth: coordinates, (..., 7).
    """
    return relative_constraints(truth, {k: _NUFIT_4_0[k] for k in (THETA12, DM21, DENSITY)})


def density_constraint(truth: Float) -> Float:
    """Return that of the density alone, 2 %.

    Args:
        truth: coordinates, (..., 7).
    """
    return relative_constraints(truth, {DENSITY: _NUFIT_4_0[DENSITY]})


def relative_constraints(truth: Float, parts: Mapping[int, float]) -> Float:
    """Return standard deviations that are parts of the true values; infinite for the others.

    Args:
        truth: coordinates, (..., 7).
        parts: by place among the coordinates.
    """
    sd = np.full(np.shape(truth), np.inf)
    for place, part in parts.items():
        value = np.abs(truth[..., place])
        sd[..., place] = np.where(value > 0.0, value, 1.0) * part if np.isfinite(part) else np.inf
    return sd


def without_theta23(constraints: Callable[[Float], Float], truth: Float) -> Float:
    """Return other constraints with theta23 free.

    Args:
        constraints: standard deviations from true coordinates.
        truth: coordinates, (..., 7).
    """
    sd = np.array(constraints(truth), float)
    sd[..., THETA23] = np.inf
    return sd
