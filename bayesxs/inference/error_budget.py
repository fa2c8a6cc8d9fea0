"""What each group of nuisances costs the parameters of counted samples, from the curvature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from bayesxs.inference.asimov import DCP, DM31, THETA23
from bayesxs.inference.bias import standard_errors
from bayesxs.inference.nuisances import GROUPS
from bayesxs.inference.sensitivity import Asimov
from bayesxs.types import Floats as Float

STATISTICS: Final = "statistics"
TOTAL: Final = "all"


def error_budget(asimov: Asimov, truth: Float, groups: Sequence[str]) -> list[dict[str, Any]]:
    """Return standard errors with no nuisances, each group alone, and all.

    Args:
        asimov: the experiment.
        truth: coordinates, (7,).
        groups: of each pull.

    Returns:
        Rows with a name and, for dcp (rad), sin2_theta23 and dm31 (eV^2), sd and contribution: the
        part of sd that the group adds to that of statistics, in quadrature.
    """
    present = [g for g in dict.fromkeys((*GROUPS, *groups)) if g in groups]
    sets = {STATISTICS: ()} | {g: (g,) for g in present} | {TOTAL: tuple(present)}
    rows: list[dict[str, Any]] = []
    for name, free in sets.items():
        free_pulls = np.array([g in free for g in groups], bool)
        found = standard_errors(asimov, truth[None], free_pulls)[0]
        slope = abs(np.sin(2.0 * truth[THETA23]))  # d sin^2 theta = sin(2 theta) d theta
        sds = {"dcp": found[DCP], "sin2_theta23": slope * found[THETA23], "dm31": found[DM31]}
        plain = rows[0] if rows else {}
        rows.append(
            {"name": name}
            | {
                key: {
                    "sd": float(sd),
                    "contribution": float(
                        np.sqrt(max(sd**2 - plain[key]["sd"] ** 2, 0.0)) if plain else sd
                    ),
                }
                for key, sd in sds.items()
            }
        )
    return rows
