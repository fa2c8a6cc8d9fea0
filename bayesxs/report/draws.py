"""Draws and spectra of a posterior for its figures, in the units that are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from bayesxs.report.hdr import Support
from bayesxs.report.style import ASSUMED, LEARNED, QUANTITIES, TRUTH, quantity
from bayesxs.types import Floats

type Trees = Mapping[str, xr.DataTree]

COLORS: Final = {"truth": TRUTH, "learned": LEARNED, "assumed": ASSUMED}


def parameters(*trees: xr.DataTree | None) -> list[str]:
    """Return the sampled parameters, in the order of `QUANTITIES`.

    The octant-blind sin2_2theta23 stands for sin2_theta23, which is nearly two-valued; parameters
    held fixed are left out.
    """
    posteriors = [posterior(tree) for tree in trees if tree is not None]
    names = [n for n in QUANTITIES if all(n in p and np.ptp(p[n].values) > 0.0 for p in posteriors)]
    if "sin2_2theta23" in names and "sin2_theta23" in names:
        names.remove("sin2_theta23")
    return names if posteriors else []


def posterior(tree: xr.DataTree) -> xr.Dataset:
    """Return the group posterior, or the node itself where it holds the draws."""
    node = tree.children.get("posterior", tree)
    return node.to_dataset()


def values(tree: xr.DataTree, name: str) -> Floats:
    """Return the draws of all chains in the shown unit, shape (n,)."""
    return np.asarray(posterior(tree)[name], dtype=float).ravel() * quantity(name).scale


def upper_octant(tree: xr.DataTree) -> Floats:
    """Return the probability of the upper octant, draw by draw where it is known."""
    draws = posterior(tree)
    if "octant_upper_probability" in draws:
        return np.asarray(draws["octant_upper_probability"], dtype=float)
    return np.asarray(draws["sin2_theta23"] > 0.5, dtype=float)


def bootstrap(tree: xr.DataTree, name: str) -> Floats | None:
    """Return the bootstrap estimates in the shown unit, None where there are none."""
    if "bootstrap" not in tree.children or name not in tree["bootstrap"]:
        return None
    return np.asarray(tree["bootstrap"][name], dtype=float).ravel() * quantity(name).scale


def simulated_with(trees: Trees) -> dict[str, float]:
    """Return the values that the events were simulated with, in the shown unit.

    They are the constants true_NAME of trees whose attribute `source` begins with "simulated";
    real events have none.
    """
    found: dict[str, float] = {}
    for tree in trees.values():
        simulated = str(tree.attrs.get("source", "")).startswith("simulated")
        if simulated and "constant_data" in tree.children:
            constants = tree["constant_data"]
            for name in (n for n in QUANTITIES if f"true_{n}" in constants and n not in found):
                found[name] = float(constants[f"true_{name}"]) * quantity(name).scale
    return found


def support(tree: xr.DataTree, name: str) -> Support:
    """Return the physical range in the shown unit; of a phase the branch that its draws lie on."""
    shown = quantity(name)
    low = None if shown.low is None else shown.low * shown.scale
    high = None if shown.high is None else shown.high * shown.scale
    ends = posterior(tree)[name].attrs.get("valid_range")
    if not shown.periodic or ends is None:
        return Support(low, high, shown.periodic)
    low, high = (float(end) * shown.scale for end in ends)
    return Support(low, high, high - low > 359.999)
