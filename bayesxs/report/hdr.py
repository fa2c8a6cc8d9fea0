"""Highest-density regions of draws: smooth them within their physical bounds, find the levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter

from bayesxs.types import Floats

# Cells per axis: fine enough that the bandwidth, not the grid, sets the resolution.
_CELLS = {1: 512, 2: 256}
_MARGIN = 4.0  # bandwidths of empty space beyond the draws, where no bound cuts


class Support(NamedTuple):
    """Bounds of a parameter (None where there is none), or a circle between them."""

    low: float | None = None
    high: float | None = None
    periodic: bool = False


class Smoothed(NamedTuple):
    """A density on a regular grid.

    Attributes:
        axes: grid points per dimension, ends of the range included.
        density: normalised to one over the range, shape of the axes.
        samples: density at each draw, shape (n,).
    """

    axes: tuple[Floats, ...]
    density: Floats
    samples: Floats

    def level(self, mass: float) -> float:
        """Return the density above which the fraction `mass` of the draws lies.

        The highest-density region of Hyndman, Am. Stat. 50 (1996) 120, Sec. 3.2: the level is a
        quantile of the density at the draws, so the region holds its mass even where smoothing
        has lowered a peak.
        """
        return float(np.quantile(self.samples, 1.0 - mass))


def smooth(draws: ArrayLike, supports: Sequence[Support]) -> Smoothed:
    """Estimate a density in one or two dimensions with a Gaussian kernel, reflected at bounds.

    Reflection keeps the density from leaking over a bound, and from falling to half at it. The
    draws are binned on a fine grid, so that the kernel sum is one filter.

    Args:
        draws: shape (n,) or (n, d), d = 1 or 2.
        supports: of each dimension, in the units of the draws.

    Raises:
        ValueError: fewer than two draws, no spread, or another number of dimensions.
    """
    points = np.asarray(draws, dtype=float)
    points = points[:, None] if points.ndim == 1 else points
    n, dims = points.shape
    if dims not in _CELLS or len(supports) != dims:
        raise ValueError(f"density of {dims} dimensions with {len(supports)} supports")
    width = _bandwidths(points, supports)
    edges = [
        _edges(p, s, w, _CELLS[dims]) for p, s, w in zip(points.T, supports, width, strict=True)
    ]
    counts, _ = np.histogramdd(points, bins=edges)
    cell = np.array([e[1] - e[0] for e in edges])
    modes = ["wrap" if s.periodic else "reflect" for s in supports]
    density = gaussian_filter(counts, width / cell, mode=modes, truncate=6.0) / (n * cell.prod())
    axes = tuple(np.concatenate([e[:1], 0.5 * (e[1:] + e[:-1]), e[-1:]]) for e in edges)
    # To the ends of the range: symmetric about a bound, nothing left beyond the margin
    density = np.pad(density, 1, mode="edge")
    at_draws = RegularGridInterpolator(axes, density)(
        np.clip(points, [a[0] for a in axes], [a[-1] for a in axes])
    )
    return Smoothed(axes, density, at_draws)


def _bandwidths(points: Floats, supports: Sequence[Support]) -> Floats:
    """Normal-reference bandwidth of each dimension, narrower where the two are correlated."""
    n, dims = points.shape
    if n < 2 or not np.all(np.ptp(points, axis=0) > 0.0):
        raise ValueError("a density needs at least two different draws in every dimension")
    spread: Floats = np.array([_spread(p, s) for p, s in zip(points.T, supports, strict=True)])
    if dims == 1:
        return spread * n ** (-1.0 / 5.0)
    centered = (points - points.mean(axis=0)) / points.std(axis=0)
    correlation = float(centered.prod(axis=1).mean())
    return spread * (1.2 * max(1.0 - correlation**2, 0.05) ** 0.5 * n ** (-1.0 / 6.0))


def _spread(values: Floats, support: Support) -> float:
    """Standard deviation, robust against tails and against several modes."""
    if support.periodic:
        period = float((support.high or 0.0) - (support.low or 0.0))
        turn = np.exp(2j * np.pi * values / period)
        length = min(max(abs(turn.mean()), 1e-3), 1.0 - 1e-12)
        return float(period / (2.0 * np.pi) * min(np.sqrt(-2.0 * np.log(length)), 1.8))
    sd = float(values.std())
    for bound in (support.low, support.high):
        if bound is not None and abs(float(values.mean()) - bound) < 2.0 * sd:
            return float(np.sqrt(np.mean((values - bound) ** 2)))  # with the mirror image
    ordered: Floats = np.sort(values)
    quarter = max(len(ordered) // 4, 1)
    # The shortest quarter of a normal distribution is 0.637 standard deviations long
    shortest = float((ordered[quarter:] - ordered[:-quarter]).min()) / 0.637
    return min(sd, shortest) if shortest > 0.0 else sd


def _edges(values: Floats, support: Support, width: float, cells: int) -> Floats:
    """Cell edges over the draws and a margin, ending at a bound where one is near."""
    if support.periodic and support.low is not None and support.high is not None:
        return np.linspace(support.low, support.high, cells + 1)
    low = float(values.min()) - _MARGIN * width
    high = float(values.max()) + _MARGIN * width
    if support.low is not None:
        low = max(low, support.low)
    if support.high is not None:
        high = min(high, support.high)
    return np.linspace(low, high, cells + 1)
