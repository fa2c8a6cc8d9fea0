"""Numbers that sum a posterior up: moments, intervals and their errors, diagnostics of chains."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import arviz as az
import numpy as np
import xarray as xr
from jaxtyping import Float

from bayesxs.constants import PHYSICAL_RANGE
from bayesxs.inference.circle import TURN, about, circular_sd, mean_direction, on_branch
from bayesxs.types import Floats

# Units of parameters, by their public names, as files give them
UNITS: Final = {"dcp": "rad", "dm21": "eV2", "dm31": "eV2", "density": "g/cm3"}

# Blocks of draws of which intervals are compared, and the least draws in one
_BLOCKS: Final = 20
_LEAST: Final = 20

# Least width of a kernel on the circle, rad: two steps of the grid on which ArviZ has the density
_FINEST: Final = 2.0 * TURN / 512

# Least part of the draws in an interval of a region of several
_LEAST_PART: Final = 0.02

# Density between two of them over that within, above which they are one
_VALLEY: Final = 0.7


def described(name: str, array: xr.DataArray, branch: tuple[float, float] | None = None) -> None:
    """Say in which unit an array is, and of a phase on which branch, as attributes."""
    array.attrs["units"] = UNITS.get(name, "1")
    if name == "dcp" and branch is not None:
        array.attrs["valid_range"] = np.array(branch)


def branch_of(array: xr.DataArray) -> float:
    """Return where the branch of a phase begins."""
    return float(np.ravel(array.attrs.get("valid_range", PHYSICAL_RANGE["dcp"]))[0])


def mean_of(name: str, values: Floats, axis: int = -1) -> Floats:
    """Return the mean of a parameter's values along an axis, of a phase the mean direction."""
    return mean_direction(values, axis) if name == "dcp" else np.asarray(values.mean(axis))


def sd_of(name: str, values: Floats, axis: int = -1) -> Floats:
    """Return the standard deviation along an axis, of a phase the circular one."""
    return circular_sd(values, axis) if name == "dcp" else np.asarray(values.std(axis, ddof=1))


def summary_of(
    name: str, array: xr.DataArray, percents: Sequence[int] = (68, 90)
) -> dict[str, object]:
    """Sum up the draws of one parameter.

    A phase is summed up on its circle, and shown on the branch of its prior: an interval whose
    first end is larger than its second runs through the seam.

    Args:
        name: of the parameter.
        array: draws, dimensions chain and draw.
        percents: masses of the intervals.
    """
    values = np.asarray(array.transpose("chain", "draw").values, dtype=float)
    low = branch_of(array) if name == "dcp" else None
    flat = values.ravel()
    mean, sd, median = _moments(flat) if low is None else _circular_moments(flat, low)
    out: dict[str, object] = {
        "unit": UNITS.get(name, "1"),
        "mean": mean,
        "sd": sd,
        "median": median,
    }
    for percent in percents:
        key, mass = f"hdi{percent}", percent / 100
        out[key] = _interval(flat, mass, low)
        out[f"{key}_mcse"] = _interval_error(values, mass, low)
        parts = _parts(flat, mass, low)
        if len(parts) > 1:
            out[f"{key}_parts"] = parts
    return out | _diagnostics(values, circular=low is not None)


def _moments(values: Floats) -> tuple[float, float, float]:
    return float(values.mean()), float(values.std(ddof=1)), float(np.median(values))


def _circular_moments(values: Floats, low: float) -> tuple[float, float, float]:
    """Mean direction, circular standard deviation, and median about the mean direction, rad."""
    mean = mean_direction(values)
    median = np.median(about(values, mean))
    first, second = on_branch(np.array([float(mean), float(median)]), low)
    return float(first), float(circular_sd(values)), float(second)


def _interval(values: Floats, mass: float, low: float | None) -> list[float]:
    """Shortest interval of the given mass."""
    ends = np.asarray(az.hdi(values, prob=mass, circular=low is not None), dtype=float)
    return [float(v) for v in (ends if low is None else on_branch(ends, low))]


def _interval_error(values: Floats, mass: float, low: float | None) -> list[float] | None:
    """Monte Carlo errors of the ends of a shortest interval, None where there are too few draws.

    The ends converge with the cube root of the draws (Chernoff (1964) of the mode; Andrews et al.
    (1972) of the shortest half): those of blocks of a part 1/k of the draws, each from one chain,
    scatter k^(1/3) times as much. At a bound they converge faster, and the error is too large.
    """
    chains, draws = values.shape
    pieces = -(-_BLOCKS // chains)
    if draws // pieces < _LEAST:
        return None
    blocks = [block for chain in values for block in np.array_split(chain, pieces)]
    ends = np.array([_interval(block, mass, low) for block in blocks])
    scatter = ends.std(axis=0, ddof=1) if low is None else circular_sd(ends, axis=0)
    return [float(v) for v in scatter * len(blocks) ** (-1.0 / 3.0)]


def _parts(values: Floats, mass: float, low: float | None) -> list[list[float]]:
    """Intervals of the highest-density region: several where the posterior has several modes.

    Of a smooth density (Hyndman, Am. Stat. 50 (1996) 120). A part that holds next to nothing is
    noise, and so is a gap in which there is nearly as much as in the parts beside it. A part of a
    circle whose first end is the larger one runs through the seam of its branch.
    """
    if np.ptp(values) == 0.0:
        return []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "found more modes")  # noise, which is left out below
        found = az.hdi(
            values,
            prob=mass,
            method="multimodal",
            circular=low is not None,
            bw=_bandwidth(values, low),
        )
    ends = np.reshape(np.asarray(found, dtype=float), (-1, 2))
    ends = ends[np.all(np.isfinite(ends), axis=1)]
    if not len(ends):
        return []
    if low is None:
        return _joined(ends, ends, values)
    # On the line that begins in the widest gap, no part runs through the seam
    begin = _widest_gap(ends)
    return _joined(on_branch(ends, low), on_branch(ends, begin), on_branch(values, begin))


def _widest_gap(ends: Float[np.ndarray, "part 2"]) -> float:
    """Return the middle of the widest gap between parts of a circle, rad."""
    first, last = ends[np.argsort(ends[:, 0])].T
    gaps = (np.roll(first, -1) - last) % TURN
    widest = int(np.argmax(gaps))
    return float(last[widest] + 0.5 * gaps[widest])


def _joined(
    shown: Float[np.ndarray, "part 2"], places: Float[np.ndarray, "part 2"], values: Floats
) -> list[list[float]]:
    """Leave out parts that are noise, and join those with no valley between them.

    Args:
        shown: ends of each part as they are given.
        places: the same ends on a line on which each part's first end is the smaller one.
        values: draws on that line.
    """
    ordered = np.sort(values)

    def held(first: float, last: float) -> float:
        return float(np.diff(np.searchsorted(ordered, [first, last]))[0]) / ordered.size

    out: list[list[float]] = []
    line: list[tuple[float, float]] = []
    order = np.argsort(places[:, 0])
    for (start, end), (first, last) in zip(
        shown[order].tolist(), places[order].tolist(), strict=True
    ):
        if held(first, last) < _LEAST_PART:
            continue
        if out:
            before = line[-1]
            gap = held(before[1], first) / max(first - before[1], 1e-300)
            beside = min(held(a, b) / (b - a) for a, b in (before, (first, last)))
            if gap > _VALLEY * beside:
                out[-1][1], line[-1] = end, (before[0], last)
                continue
        out.append([start, end])
        line.append((first, last))
    return out


def _bandwidth(values: Floats, low: float | None) -> str | float:
    """Return ArviZ's name of a smooth bandwidth on the line, the kernel's 1/h^2 on the circle.

    Taylor's rule of the circle takes all draws for one mode, and smooths two opposite ones away.
    Here h is Scott's rule, with half the length on which the densest 68.3 % of the draws lie as the
    standard deviation: for two modes that is too wide by a factor of two, not by the circle.
    """
    if low is None:
        return "silverman"
    ordered = np.sort(on_branch(values, low))
    ends = np.append(ordered[:: max(1, round(np.sqrt(ordered.size)))], ordered[0] + TURN)
    lengths = np.sort(np.diff(ends))
    sd = 0.5 * lengths[: max(1, round(0.6827 * lengths.size))].sum()
    return float(max(1.06 * sd * ordered.size**-0.2, _FINEST) ** -2)


def _diagnostics(values: Floats, circular: bool) -> dict[str, float]:
    """Effective sample sizes and R-hat; on a circle the worst of sine and cosine.

    These have no seam, and both are needed: opposite directions may share one of them. Of a single
    chain the halves are compared.
    """
    shown = [values]
    if circular:
        offset = values - mean_direction(values)
        shown = [np.sin(offset), np.cos(offset)]
    half = values.shape[1] // 2
    halved = [np.concatenate([v[:, :half], v[:, half : 2 * half]]) for v in shown]
    compared = shown if len(values) > 1 else halved
    return {
        "ess_bulk": float(np.min([az.ess(v, method="bulk") for v in shown])),
        "ess_tail": float(np.min([az.ess(v, method="tail", prob=(0.05, 0.95)) for v in shown])),
        "r_hat": float(np.max([az.rhat(v) for v in compared])),
    }
