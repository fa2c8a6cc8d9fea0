"""Statistics of calibration: ranks and their uniformity, and the coverage of intervals.

Conventions: many pseudo-experiments at once, the axis of draws or replicas last. Probabilities and
levels lie between 0 and 1. Draws, truths and intervals share the parameter's unit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bayesxs.types import Floats, Ints

LEVEL: Final = 0.95  # of simultaneous bands
MOST_POINTS: Final = 500  # at which an ECDF is compared by default: a finer grid shows no more

UNIFORM: Final = "uniform"
UNEVEN: Final = "uneven"

_NOTABLE: Final = 2.576  # sigmas, 1 % two-sided, from which offset or spread describes the shape
_MINOR: Final = 0.2  # of the more significant, below which the other goes unmentioned


class Band(NamedTuple):
    """Simultaneous confidence band of an ECDF.

    Attributes:
        points: where the ECDF is evaluated, (points,).
        lower: least value of the ECDF that is inside, (points,).
        upper: largest value that is inside, (points,).
        coverage: probability that uniform numbers stay inside at every point, exact.
    """

    points: Floats
    lower: Floats
    upper: Floats
    coverage: float


class Uniformity(NamedTuple):
    """How uniform the PIT values of one parameter are.

    Attributes:
        inside: whether their ECDF stays in the simultaneous band.
        worst: largest difference of ECDF and diagonal, in units of the band's half-width on that
            side and at that point: above 1 it is outside.
        p_band: probability that uniform numbers leave a band that just holds these, exact.
        p_value: of Pearson's chi-square in bins of equal probability.
        bins: their number.
        number: of pseudo-experiments.
        level: of the band.
        offset: median of Phi^-1(PIT), 0 where calibrated: where the truths lie in the posteriors,
            in their widths if these are Gaussian; negative where posteriors lie too high.
        spread: half the range of its central 68.3 %, 1 where calibrated; above 1 where posteriors
            are too narrow.
        shape: UNIFORM where inside; else "too narrow", "too wide", "shifted up", "shifted down",
            two of them, or UNEVEN.
    """

    inside: bool
    worst: float
    p_band: float
    p_value: float
    bins: int
    number: int
    level: float
    offset: float
    spread: float
    shape: str


class Coverage(NamedTuple):
    """How often intervals held the truth.

    Attributes:
        fraction: of the intervals that did.
        error: binomial standard error of a fraction at the nominal level.
        low: lower end of the confidence interval of the true coverage.
        high: its upper end.
        pull: fraction less nominal over error.
        p_value: exact two-sided binomial probability of a fraction as unlikely.
        number: of intervals.
        nominal: level that the intervals claim.
    """

    fraction: float
    error: float
    low: float
    high: float
    pull: float
    p_value: float
    number: int
    nominal: float


def draws_kept(draws: int, thin: int) -> int:
    """Return how many of some draws thinning by `thin` keeps: the largest rank L."""
    return len(range(0, draws, thin))


def rank_statistics(
    draws: ArrayLike, truth: ArrayLike, thin: int, rng: np.random.Generator
) -> Ints:
    """Return the rank of each truth among its posterior draws.

    r = sum_l 1[theta_l < theta_0] (Talts et al., arXiv:1804.06788, Theorem 1, Algorithm 1), over
    every `thin`-th draw (Algorithm 2: ranks are uniform for independent draws, so thin by the
    autocorrelation time). With `t` draws equal to the truth, as discrete quantities have, r goes up
    by a uniform choice from 0 ... t, which keeps it exactly uniform.

    Args:
        draws: (experiments, draws).
        truth: true value of each experiment, (experiments,).
        thin: one draw in `thin` is kept, from the first on.
        rng: breaks ties.

    Returns:
        Ranks in 0 ... L with L = `draws_kept(draws, thin)`, (experiments,).

    Raises:
        ValueError: shapes that do not match, a number that is not finite, or thin below 1.
    """
    sample, true = np.asarray(draws), np.asarray(truth)
    if sample.ndim != 2 or true.shape != sample.shape[:1] or sample.shape[1] == 0:
        raise ValueError(f"draws {sample.shape} and truth {true.shape}: one row each, not empty")
    if thin < 1:
        raise ValueError(f"thin = {thin}: at least 1")
    if not (np.isfinite(sample).all() and np.isfinite(true).all()):
        raise ValueError("draws and truth: finite")
    sample = sample[:, ::thin]
    below = np.sum(sample < true[:, None], axis=1)
    return below + rng.integers(0, np.sum(sample == true[:, None], axis=1), endpoint=True)


def pit(ranks: ArrayLike, kept: int, rng: np.random.Generator) -> Floats:
    """Return uniform numbers for ranks: (r + u)/(L + 1), u uniform in [0, 1).

    A calibrated rank takes each of its L + 1 values with the same probability, and u spreads each
    over its own share of [0, 1): the result is exactly uniform and continuous, so bands need not
    know L. Without u, r/L or (r + 1/2)/(L + 1) are uniform on a lattice only.

    Args:
        ranks: integers in 0 ... kept.
        kept: L, the number of draws that ranks were taken among.
        rng: draws u.

    Raises:
        ValueError: a rank outside 0 ... kept.
    """
    r = np.asarray(ranks)
    if r.size and not (r.min() >= 0 and r.max() <= kept):
        raise ValueError(f"ranks {r.min()} to {r.max()}: within 0 to {kept}")
    return (r + rng.uniform(size=r.shape)) / (kept + 1.0)


@lru_cache(maxsize=64)
def ecdf_band(number: int, level: float = LEVEL, points: int | None = None) -> Band:
    """Return the simultaneous confidence band of the ECDF of uniform numbers.

    At each point z_i = i/K the band holds the counts whose binomial tails, P(k or fewer) and
    P(k or more), both exceed one tail probability gamma/2; gamma is the largest for which all
    points hold together with at least the level (Säilynoja, Bürkner, Vehtari, arXiv:2103.10522,
    Sec. 2). The joint probability is computed, not simulated: counts of `number` uniforms are
    those of a Poisson process given its total, whose increments are independent. ArviZ simulates
    the same gamma; its 1000 simulations leave about 1 % between the band's coverage and the level.

    Args:
        number: of uniform numbers.
        level: joint probability.
        points: K, of which the K - 1 inner ones are used; as many as there are numbers by
            default, at most MOST_POINTS.

    Raises:
        ValueError: fewer than two numbers or points, or a level outside (0, 1).
    """
    steps = min(number, MOST_POINTS) if points is None else points
    if number < 2 or steps < 2 or not 0.0 < level < 1.0:
        raise ValueError(f"band of {number} at {steps} points, level {level}: >= 2, >= 2, (0, 1)")
    z = np.arange(1, steps) / steps
    safe, wide = 0.5 * (1.0 - level) / steps, 0.5 * (1.0 - level)  # Bonferroni, and one point alone
    for _ in range(24):
        middle = math.sqrt(safe * wide)
        if _joint(number, z, *_counts(number, z, middle)) >= level:
            safe = middle
        else:
            wide = middle
    lower, upper = _counts(number, z, safe)
    return Band(z, lower / number, upper / number, _joint(number, z, lower, upper))


def uniformity(pits: ArrayLike, level: float = LEVEL) -> Uniformity:
    """Judge whether PIT values are uniform, and describe the way in which they are not.

    The ECDF is compared with `ecdf_band`. Its shape is read from z = Phi^-1(u), standard normal
    where calibrated (Cook, Gelman, Rubin, J. Comput. Graph. Stat. 15 (2006) 675): Gaussian
    posteriors d of their widths too high give median -d, ones r as wide as they should be give
    spread 1/r. Both are quantiles, since finitely many draws cut the tails of z off.

    Args:
        pits: of independent pseudo-experiments, in [0, 1], (experiments,).
        level: of the band.

    Raises:
        ValueError: fewer than two values, or one outside [0, 1].
    """
    u = np.sort(np.asarray(pits, dtype=float))
    if u.ndim != 1 or u.size < 2 or not (u[0] >= 0.0 and u[-1] <= 1.0):
        raise ValueError(f"PIT values {u.shape}: at least two, one axis, within 0 to 1")
    number, band = u.size, ecdf_band(u.size, level)
    counts = np.searchsorted(u, band.points, side="right")
    lower, upper = (np.rint(number * edge) for edge in (band.lower, band.upper))
    inside = bool(np.all((lower <= counts) & (counts <= upper)))
    bins = int(np.clip(number // 25, 2, 20))
    filled = np.histogram(u, bins, (0.0, 1.0))[0]
    # Quantiles of u lie well inside 0 and 1, unless nearly all of it is at an end
    marks = np.quantile(u, stats.norm.cdf([-1.0, 0.0, 1.0]))
    left, middle, right = stats.norm.ppf(np.clip(marks, 0.1 / number, 1.0 - 0.1 / number))
    offset, spread = float(middle), 0.5 * float(right - left)
    return Uniformity(
        inside=inside,
        worst=_worst(counts / number, band),
        p_band=_band_probability(number, band.points, counts),
        p_value=float(stats.chisquare(filled).pvalue),
        bins=bins,
        number=number,
        level=level,
        offset=offset,
        spread=spread,
        shape=UNIFORM if inside else _shape(offset, spread, number),
    )


def coverage(
    inside: ArrayLike,
    nominal: float,
    confidence: float = 0.68,
    method: Literal["wilson", "exact"] = "wilson",
) -> Coverage:
    """Return the fraction of intervals that hold the truth, against the level that they claim.

    The error is sqrt(p (1 - p)/N) at the nominal p, so that a pull is the score statistic; low and
    high are Wilson's interval, the p whose score is within the confidence, or that of Clopper
    and Pearson (`exact`), which never undercovers (Brown, Cai, DasGupta, Stat. Sci. 16 (2001)
    101, Secs. 3.1.1 and 4.2.1).

    Args:
        inside: whether each interval holds its truth, (experiments,).
        nominal: level of the intervals.
        confidence: level of the interval of the coverage.
        method: how that interval is made.

    Raises:
        ValueError: no interval, or a level outside (0, 1).
    """
    held = np.asarray(inside, dtype=bool)
    if held.size == 0 or not 0.0 < nominal < 1.0:
        raise ValueError(f"coverage of {held.size} intervals at {nominal}: >= 1, within (0, 1)")
    number, hits = held.size, int(np.count_nonzero(held))
    fraction, error = hits / number, math.sqrt(nominal * (1.0 - nominal) / number)
    test = stats.binomtest(hits, number, nominal)
    ends = test.proportion_ci(confidence, method=method)
    return Coverage(
        fraction=fraction,
        error=error,
        low=float(ends.low),
        high=float(ends.high),
        pull=(fraction - nominal) / error,
        p_value=float(test.pvalue),
        number=number,
        nominal=nominal,
    )


def _counts(number: int, z: Floats, tail: float) -> tuple[Ints, Ints]:
    """Least and largest count at each point whose binomial tails exceed a probability."""
    low = stats.binom.ppf(tail, number, z)
    high = number - stats.binom.ppf(tail, number, 1.0 - z)
    return low.astype(np.int64), high.astype(np.int64)


def _joint(number: int, z: Floats, low: Ints, high: Ints) -> float:
    """Probability that the counts of uniform numbers lie within bounds at all points."""
    if np.any(low > high):
        return 0.0
    means = number * np.diff(np.concatenate([[0.0], z, [1.0]]))
    first, chance = 0, np.ones(1)  # of first, first + 1, ... events so far, and of none outside
    for mean, bottom, top in zip(means, [*low, number], [*high, number], strict=True):
        steps = stats.poisson.pmf(np.arange(top - first + 1), mean)
        chance = np.convolve(chance, steps)[bottom - first : top - first + 1]
        first = bottom
    return float(chance[0] / stats.poisson.pmf(number, number))


def _band_probability(number: int, z: Floats, counts: Ints) -> float:
    """Probability that uniform numbers have a point with tails as small as the smallest here."""
    tails = np.minimum(stats.binom.cdf(counts, number, z), stats.binom.sf(counts - 1, number, z))
    smallest = float(tails.min()) * (1.0 + 1e-9)  # these counts themselves are to be outside
    return min(1.0, max(0.0, 1.0 - _joint(number, z, *_counts(number, z, smallest))))


def _worst(ecdf: Floats, band: Band) -> float:
    """Largest difference from the diagonal in units of the band's; edges 0 and 1 bind nothing."""
    above = np.where(band.upper < 1.0, (ecdf - band.points) / (band.upper - band.points), 0.0)
    below = np.where(band.lower > 0.0, (band.points - ecdf) / (band.points - band.lower), 0.0)
    return float(max(above.max(), below.max()))


def _shape(offset: float, spread: float, number: int) -> str:
    """Name the faults of posteriors that show in offset and spread, the stronger first."""
    # Standard errors of quantiles p of N Gaussians: covariance p (1 - q)/(N phi(z_p) phi(z_q))
    location = math.sqrt(number) * offset / (1.253 * max(spread, 0.1))
    scale = math.sqrt(number) * (spread - 1.0) / 0.962
    found = [
        (abs(location), "shifted up" if location < 0.0 else "shifted down"),
        (abs(scale), "too narrow" if scale > 0.0 else "too wide"),
    ]
    found.sort(reverse=True)
    strongest = found[0][0]
    words = [word for size, word in found if size > max(_NOTABLE, _MINOR * strongest)]
    return " and ".join(words) or UNEVEN
