"""Contours of two parameters given each mass ordering: lines for figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import contourpy
import numpy as np
import xarray as xr

from bayesxs.report.hdr import Support, smooth
from bayesxs.report.style import Quantity, quantity
from bayesxs.types import Floats

MASSES: Final = (0.68, 0.95)
# Name by which the size of m3^2 - m2^2 is shown: it lays both orderings over one another
SPLITTING: Final = "dm32"
PLANES: Final = (("dcp", "sin2_theta13"), ("sin2_theta23", SPLITTING))


class Contour(NamedTuple):
    """One line around a highest-density region, in shown units.

    Attributes:
        names: of the parameters, across and up; of dm32 the size is meant.
        ordering: "normal" or "inverted", which is given.
        percent: of the posterior inside all lines of this percentage.
        x: points across, (n,); the first is the last one too, unless the line ends at the seam.
        y: points up, (n,).
    """

    names: tuple[str, str]
    ordering: str
    percent: int
    x: Floats
    y: Floats


def shown(name: str) -> Quantity:
    """Return how a parameter of these figures is shown."""
    if name != SPLITTING:
        return quantity(name)
    own = quantity("dm31")
    return own._replace(label=r"$|\Delta m^2_{32}|$", plain="|Δm²₃₂|", words="mass splitting")


def values(draws: xr.Dataset | Mapping[str, float], name: str) -> Floats:
    """Return draws, or true values, in the shown unit; m3^2 - m2^2 as its size."""
    stored = np.abs(draws["dm31"] - draws["dm21"]) if name == SPLITTING else draws[name]
    scaled = np.asarray(stored, float).ravel() * shown(name).scale
    return (scaled + 180.0) % 360.0 - 180.0 if name == "dcp" else scaled


def support(name: str) -> Support:
    """Return where a parameter may lie, in the shown unit."""
    return Support(-180.0, 180.0, True) if name == "dcp" else Support()


def contours(
    draws: xr.Dataset, names: tuple[str, str], ordering: str, masses: Sequence[float] = MASSES
) -> list[Contour]:
    """Return the lines around the highest-density regions of two parameters.

    Args:
        draws: posterior given the ordering.
        names: of the parameters, across and up; the former may be dcp, latter dm32.
        ordering: its name.
        masses: parts of the posterior that the regions hold.
    """
    pair = np.column_stack([values(draws, name) for name in names])
    density = smooth(pair, [support(name) for name in names])
    lines = contourpy.contour_generator(x=density.axes[0], y=density.axes[1], z=density.density.T)
    return [
        Contour(names, ordering, round(100 * mass), line[:, 0], line[:, 1])
        for mass in masses
        for line in map(np.asarray, lines.lines(density.level(mass)))
    ]
