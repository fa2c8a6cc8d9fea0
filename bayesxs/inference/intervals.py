"""Intervals of posterior draws, bootstrap replicas and profile likelihoods.

Conventions: many pseudo-experiments at once, the axis of draws or replicas last; draws, truths and
intervals share the parameter's unit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bayesxs.types import Floats

_SMOOTHING: Final = 0.25  # half-width of the window over candidate intervals, as a part of them


def contains(intervals: ArrayLike, truth: ArrayLike) -> NDArray[np.bool_]:
    """Return whether each interval, (..., 2), holds its truth, (...); the ends belong to it."""
    ends = np.asarray(intervals, dtype=float)
    return (ends[..., 0] <= truth) & (truth <= ends[..., 1])


def hdi(draws: ArrayLike, prob: float, smoothing: float = _SMOOTHING) -> Floats:
    """Return the shortest interval that holds a part of the draws.

    Of the intervals [theta_(i), theta_(i+m)] between order statistics, m = prob (n + 1) rounded,
    each of which holds the mass prob on average, the shortest (Chen and Shao, J. Comput. Graph.
    Stat. 8 (1999) 69). To choose the shortest of noisy lengths favors gaps that are short by
    chance, so that the plain estimate undercovers by O(n^-2/3): 68 % from 500 Gaussian draws hold
    66.6 %. Here lengths are averaged over neighboring candidates before one is chosen,
    in a window that shrinks to nothing at either end, where skewed posteriors have their interval:
    the same then hold 67.8 %. One interval always, also where there are two modes; not for
    parameters on a circle.

    Args:
        draws: (..., draws).
        prob: part of the draws.
        smoothing: half-width of the window as a part of the candidates; 0 for the plain estimate.

    Returns:
        Ends, (..., 2).
    """
    ordered = np.sort(np.asarray(draws, dtype=float), axis=-1)
    number = ordered.shape[-1]
    _check_prob(prob, number)
    between = min(max(round(prob * (number + 1)), 1), number - 1)
    lengths = ordered[..., between:] - ordered[..., : number - between]
    candidates = np.arange(lengths.shape[-1])
    reach = np.minimum(candidates, candidates[::-1])
    reach = np.minimum(reach, int(smoothing * candidates.size))
    if np.any(reach):
        total = np.zeros((*lengths.shape[:-1], candidates.size + 1))
        np.cumsum(lengths, axis=-1, out=total[..., 1:])
        lengths = (total[..., candidates + reach + 1] - total[..., candidates - reach]) / (
            2 * reach + 1
        )
    first = np.argmin(lengths, axis=-1)[..., None]
    both = np.concatenate([first, first + between], axis=-1)
    return np.take_along_axis(ordered, both, axis=-1)


def percentile_interval(draws: ArrayLike, prob: float) -> Floats:
    """Return the central interval of draws or of bootstrap replicas.

    [q(alpha), q(1 - alpha)], alpha = (1 - prob)/2 (Efron and Tibshirani, An Introduction to the
    Bootstrap (1993), Ch. 13), the quantile q(p) being order statistic p (n + 1), interpolated,
    whose mass is p on average.

    Args:
        draws: (..., draws).
        prob: level.

    Returns:
        Ends, (..., 2).
    """
    ordered = np.sort(np.asarray(draws, dtype=float), axis=-1)
    _check_prob(prob, ordered.shape[-1])
    return _quantiles(ordered, np.array([0.5 - 0.5 * prob, 0.5 + 0.5 * prob]))


def basic_interval(replicas: ArrayLike, estimate: ArrayLike, prob: float) -> Floats:
    """Return the basic bootstrap interval, the percentile interval mirrored at the estimate.

    [2 t - q(1 - alpha), 2 t - q(alpha)] (Davison and Hinkley, Bootstrap Methods and their
    Application (1997), Eq. 5.6). It may reach beyond physical bounds.

    Args:
        replicas: estimates from bootstrap samples, (..., replicas).
        estimate: t from the data, (...).
        prob: level.

    Returns:
        Ends, (..., 2).
    """
    ends = percentile_interval(replicas, prob)
    return 2.0 * np.asarray(estimate, dtype=float)[..., None] - ends[..., ::-1]


def influence_acceleration(influence: ArrayLike, counts: ArrayLike = 1.0) -> Floats:
    """Return the acceleration from empirical influence values l_i, (..., events).

    a = sum n_i l_i^3 / (6 (sum n_i l_i^2)^(3/2)) (Efron, J. Am. Stat. Assoc. 82 (1987) 171), n_i
    events having the value l_i; zero where all are zero. For a maximum-likelihood estimate l_i is
    the inverse information times the score of event i; their common scale cancels.
    """
    values, times = np.asarray(influence, dtype=float), np.asarray(counts, dtype=float)
    square = np.sum(times * values**2, axis=-1)
    cube = np.sum(times * values**3, axis=-1)
    return np.where(square > 0.0, cube / (6.0 * np.where(square > 0.0, square, 1.0) ** 1.5), 0.0)


def jackknife_acceleration(jackknife: ArrayLike) -> Floats:
    """Return the acceleration from estimates that leave one event out, (..., events).

    That of the influence values l_i = mean - t_(i) (Efron and Tibshirani (1993), Eq. 14.15).
    """
    left_out = np.asarray(jackknife, dtype=float)
    return influence_acceleration(np.mean(left_out, axis=-1, keepdims=True) - left_out)


def bca_interval(
    replicas: ArrayLike, estimate: ArrayLike, acceleration: ArrayLike, prob: float
) -> Floats:
    """Return the bias-corrected and accelerated bootstrap interval.

    [q(Phi(z(alpha))), q(Phi(z(1 - alpha)))] with z(p) = z0 + (z0 + z_p)/(1 - a (z0 + z_p)),
    z0 = Phi^-1(part of the replicas below the estimate) (Efron, J. Am. Stat. Assoc. 82 (1987)
    171; Efron and Tibshirani (1993), Eqs. 14.9, 14.10 and 14.14). Replicas equal to the
    estimate count half; where all lie on one side, as at a physical bound, half a replica is taken
    to lie on the other, so that z0 stays finite. With a = z0 = 0 it is the percentile interval.

    Args:
        replicas: estimates from bootstrap samples, (..., replicas).
        estimate: from the data, (...).
        acceleration: a, from `influence_acceleration` or `jackknife_acceleration`, (...).
        prob: level.

    Returns:
        Ends, (..., 2).
    """
    ordered = np.sort(np.asarray(replicas, dtype=float), axis=-1)
    number = ordered.shape[-1]
    _check_prob(prob, number)
    t = np.asarray(estimate, dtype=float)[..., None]
    below = np.mean(ordered < t, axis=-1) + 0.5 * np.mean(ordered == t, axis=-1)
    z0 = stats.norm.ppf(np.clip(below, 0.5 / number, 1.0 - 0.5 / number))[..., None]
    shifted = z0 + stats.norm.ppf([0.5 - 0.5 * prob, 0.5 + 0.5 * prob])
    stretch = 1.0 - np.asarray(acceleration, dtype=float)[..., None] * shifted
    # Beyond the pole of the transformation all of the replicas lie to one side
    z = np.where(
        stretch > 0.0,
        z0 + shifted / np.where(stretch > 0.0, stretch, 1.0),
        np.copysign(np.inf, shifted),
    )
    return _quantiles(ordered, stats.norm.cdf(z))


def profile_region(grid: ArrayLike, profile_loglike: ArrayLike, prob: float) -> Floats:
    """Return the pieces of the profile-likelihood region of one experiment.

    {theta: 2 (log L_max - log L(theta)) <= q}, q the quantile of chi-square with one degree of
    freedom (Wilks, Ann. Math. Stat. 9 (1938) 60). The maximum is that of the parabola through the
    three highest points; between points the root sqrt(2 (log L_max - log L)) is interpolated
    linearly, exact for a parabola. A region that reaches the end of the grid, which is the
    prior's, ends there.

    Args:
        grid: values of the parameter, increasing, (points,).
        profile_loglike: maximum over all else at each, minus infinity where forbidden, (points,).
        prob: level.

    Returns:
        Ends of each piece in order, (pieces, 2): two where both octants fit.

    Raises:
        ValueError: a grid that does not increase, or a log-likelihood that is nowhere finite.
    """
    theta = np.asarray(grid, dtype=float)
    loglike = np.asarray(profile_loglike, dtype=float)
    if theta.ndim != 1 or loglike.shape != theta.shape or not np.all(np.diff(theta) > 0.0):
        raise ValueError("profile likelihood: on an increasing grid, one value per point")
    if np.any(np.isnan(loglike)) or not np.isfinite(loglike.max()):
        raise ValueError("profile likelihood: a finite maximum, no NaN")
    at, highest = _vertex(theta, loglike)
    if at not in theta:
        place = int(np.searchsorted(theta, at))
        theta, loglike = np.insert(theta, place, at), np.insert(loglike, place, highest)
    root = np.sqrt(2.0 * (highest - loglike))
    edge = np.sqrt(stats.chi2.ppf(prob, 1))
    inside = root <= edge
    change = np.flatnonzero(inside[1:] != inside[:-1])
    rise = np.abs(root[change + 1] - root[change])
    # From the point that is inside; a neighbor at minus infinity takes nothing of the gap
    part = np.abs(edge - np.minimum(root[change], root[change + 1])) / rise
    step = (theta[change + 1] - theta[change]) * part
    ends = np.where(inside[change], theta[change] + step, theta[change + 1] - step)
    starts_inside, ends_inside = theta[:1][inside[:1]], theta[-1:][inside[-1:]]
    return np.concatenate([starts_inside, ends, ends_inside]).reshape(-1, 2)


def profile_interval(grid: ArrayLike, profile_loglike: ArrayLike, prob: float) -> Floats:
    """Return the interval from the lowest to the highest point of each profile-likelihood region.

    Where `profile_region` has two pieces, the gap between them is counted in, so that such an
    interval covers more than its level.

    Args:
        grid: values of the parameter, increasing, (points,).
        profile_loglike: maximum over all else at each, (..., points).
        prob: level.

    Returns:
        Ends, (..., 2).
    """
    loglike = np.asarray(profile_loglike, dtype=float)
    rows = loglike.reshape(-1, loglike.shape[-1])
    ends = [profile_region(grid, row, prob).ravel()[[0, -1]] for row in rows]
    return np.array(ends).reshape(*loglike.shape[:-1], 2)


def _check_prob(prob: float, number: int) -> None:
    if not 0.0 < prob < 1.0 or number < 2:
        raise ValueError(f"interval of {prob} from {number}: level within (0, 1), at least two")


def _quantiles(ordered: Floats, probabilities: ArrayLike) -> Floats:
    """Order statistics p (n + 1), interpolated, within the extremes; p broadcasts over rows."""
    number = ordered.shape[-1]
    p = np.broadcast_to(probabilities, (*ordered.shape[:-1], np.shape(probabilities)[-1]))
    place = np.clip(p * (number + 1) - 1.0, 0.0, number - 1.0)
    left = np.minimum(place.astype(np.int64), number - 2)
    low = np.take_along_axis(ordered, left, axis=-1)
    high = np.take_along_axis(ordered, left + 1, axis=-1)
    return low + (place - left) * (high - low)


def _vertex(theta: Floats, loglike: Floats) -> tuple[float, float]:
    """Maximum of the parabola through the highest point and its neighbors, else that point."""
    best = int(np.argmax(loglike))
    three = slice(best - 1, best + 2)
    if 0 < best < theta.size - 1 and np.all(np.isfinite(loglike[three])):
        x, y = theta[three] - theta[best], loglike[three] - loglike[best]
        curvature = (y[2] / x[2] - y[0] / x[0]) / (x[2] - x[0])
        slope = y[2] / x[2] - curvature * x[2]
        if curvature < 0.0:
            shift = -0.5 * slope / curvature
            return float(theta[best] + shift), float(loglike[best] - 0.25 * slope**2 / curvature)
    return float(theta[best]), float(loglike[best])
