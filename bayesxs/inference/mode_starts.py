"""Where chains of orderings and octants start: the highest posterior density of each mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import pi
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from scipy.optimize import minimize

from bayesxs.inference.asimov import (
    DCP,
    DENSITY,
    DM31,
    NAMES,
    THETA23,
    Problems,
    coordinates,
    minimise,
)
from bayesxs.inference.evidence import Curvature
from bayesxs.inference.modes import MODES, Mode, ModePosterior, mode_model, wrapped
from bayesxs.inference.sampling import curvature_covariance
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

PHASES: Final = (-0.5 * pi, 0.0, 0.5 * pi, pi)
# Slope of the log density in units of the prior's widths, at which a climb ends
_SLOPE: Final = 0.01
# Coordinates of `asimov` by parameter; angles of the sines squared
_ANGLES: Final = {"s2_12": 0, "s2_13": 1, "s2_23": THETA23}
_PLACES: Final = {**_ANGLES, "dm21": 4, "dm31": DM31, "density": DENSITY}


class Starts(NamedTuple):
    """Points of each data set and mode.

    Attributes:
        z: standard normal numbers, (data sets, modes, d).
        dcp: phases in [-pi, pi), (data sets, modes).
        log_density: of likelihood times prior there, (data sets, modes).
    """

    z: Float
    dcp: Float
    log_density: Float


def mode_starts(
    posterior: ModePosterior,
    modes: Sequence[Mode] = MODES,
    counts: ArrayLike | None = None,
    phases: Sequence[float] = PHASES,
    fixed: bool = False,
) -> Starts:
    """Return the points of highest posterior density of each mode.

    The smallest chi2 of fits from several phases is taken, in the other octant what is nearest to
    it; from there the density is climbed (BFGS).

    Args:
        posterior: what is sampled.
        modes: orderings and octants.
        counts: data sets in place of the likelihood's own, (data sets, bins).
        phases: of dcp, from which fits start.
        fixed: whether dcp stays where it starts.
    """
    likelihood = posterior.likelihood
    data = np.atleast_2d(np.asarray(likelihood.counts if counts is None else counts, float))
    many = len(data)
    problems = fit_problems(posterior, data, phases, modes)
    if fixed:
        problems = problems._replace(
            free=np.asarray(problems.free) & (np.arange(len(NAMES)) != DCP)
        )
    fits = minimise(likelihood.fitted, len(likelihood.nuisances), problems)
    shape = many, len(modes), len(phases)
    ordering = np.array([mode.ordering for mode in modes])[:, None]
    held = np.sign(fits.x[:, DM31]).reshape(shape) == ordering
    best = np.argmin(np.where(held, fits.chi2.reshape(shape), np.inf), axis=2)[..., None, None]
    x = np.take_along_axis(fits.x.reshape(*shape, -1), best, axis=2)[:, :, 0]
    pulls = np.take_along_axis(fits.pulls.reshape(*shape, -1), best, axis=2)[:, :, 0]
    points = np.empty((many, len(modes), posterior.size + 1))
    heights = np.empty((many, len(modes)))
    for i, m in product(range(many), range(len(modes))):
        values = {
            n: np.sin(x[i, m, p]) ** 2 if n in _ANGLES else x[i, m, p] for n, p in _PLACES.items()
        }
        begin = posterior.place(modes[m], values)
        begin[len(posterior.names) :] = pulls[i, m]
        points[i, m], heights[i, m] = _climbed(
            posterior, modes[m], data[i], np.append(begin, x[i, m, DCP]), fixed
        )
    return Starts(points[..., :-1], wrapped(points[..., -1]), heights)


def fit_problems(
    posterior: ModePosterior,
    counts: Float,
    phases: Sequence[float],
    modes: Sequence[Mode] = MODES,
) -> Problems:
    """Return fits of data sets, (data sets, bins), from each mode and phase, in that order."""
    center, start = _starts(posterior, modes, phases)
    free = np.array([n == "dcp" or _named(n) in posterior.names for n in NAMES])
    sd = np.broadcast_to(_widths(posterior), start.shape)
    constant = (center, sd, start, np.broadcast_to(free, start.shape))
    return Problems(
        np.repeat(counts, len(start), axis=0), *(np.tile(a, (len(counts), 1)) for a in constant)
    )


def with_counts(posterior: ModePosterior, counts: ArrayLike) -> ModePosterior:
    """Return a posterior of other counts, (bins,)."""
    return replace(posterior, likelihood=posterior.likelihood.with_counts(counts))


def counted_mode_model(mode: Mode, counts: Array, posterior: ModePosterior) -> None:
    """NumPyro model of one mode and one data set."""
    mode_model(mode, with_counts(posterior, counts))


@jax.jit
def conditional_covariances(
    posterior: ModePosterior, modes: Mode, counts: Array, starts: dict[str, Array]
) -> Array:
    """Return the covariance of z at given dcp that the curvature at points suggests.

    Args:
        posterior: what is sampled.
        modes: their fields, (n,).
        counts: data sets, (n, bins).
        starts: sites of `mode_model`, (n, ...).
    """

    def one(item: tuple[Mode, Array, dict[str, Array]]) -> Array:
        mode, own, start = item
        whole = curvature_covariance(counted_mode_model, start, (mode, own, posterior))
        # Of a joint normal distribution; dcp comes first in the order of the sites' names
        return whole[1:, 1:] - jnp.outer(whole[1:, 0], whole[0, 1:]) / whole[0, 0]

    return jax.lax.map(one, (modes, counts, starts))


def curvature_near(posterior: ModePosterior, mode: Mode, z: Float, dcp: float) -> Curvature:
    """Return the curvature where the density of a mode is highest, near a point."""
    counts = np.asarray(posterior.likelihood.counts)
    top, _ = _climbed(posterior, mode, counts, np.append(z, dcp))
    sites = {"z": jnp.asarray(top[None, :-1]), "dcp_unwrapped": jnp.asarray(top[None, -1])}
    fields = Mode(*(jnp.asarray([field], float) for field in mode))
    found = conditional_covariances(posterior, fields, jnp.asarray(counts)[None], sites)
    return Curvature(top[:-1], np.asarray(found[0]), len(posterior.names))


def _climbed(
    posterior: ModePosterior, mode: Mode, counts: Float, begin: Float, fixed: bool = False
) -> tuple[Float, float]:
    """Return the point of highest density near another one, with its dcp if fixed, and its log."""
    arrays = Mode(*map(jnp.asarray, mode)), jnp.asarray(counts)

    def descent(v: Float) -> tuple[float, Float]:
        value, slope = _height(posterior, *arrays, jnp.asarray(v))
        downhill = -np.array(slope)
        downhill[-1] *= not fixed
        return -float(value), downhill

    found = minimize(descent, begin, jac=True, method="BFGS", options={"gtol": _SLOPE})
    return (
        (found.x, -float(found.fun))
        if np.all(np.isfinite(found.x))
        else (begin, -descent(begin)[0])
    )


@jax.jit
def _height(posterior: ModePosterior, mode: Mode, counts: Array, v: Array) -> tuple[Array, Array]:
    own = with_counts(posterior, counts)
    return jax.value_and_grad(lambda v: own.log_density(mode, v[:-1], v[-1]))(v)


def _starts(
    posterior: ModePosterior, modes: Sequence[Mode], phases: Sequence[float]
) -> tuple[Float, Float]:
    """Return centers of the constraints and starts of fits, (modes times phases, 7)."""
    truth = _center(posterior)
    center = np.repeat(truth[None], len(modes) * len(phases), axis=0)
    start = center.copy()
    turn = 2.0 * float(posterior.center)
    for row, (mode, phase) in enumerate(product(modes, phases)):
        start[row, DCP] = phase
        for array in (start, center):
            if (array[row, DM31] > 0.0) != (mode.ordering > 0.0):
                array[row, DM31] = turn - array[row, DM31]
        if (start[row, THETA23] > 0.25 * pi) != bool(mode.upper):
            start[row, THETA23] = 0.5 * pi - start[row, THETA23]
    return center, start


def _named(coordinate: str) -> str:
    return coordinate.replace("theta", "s2_")


def _values(posterior: ModePosterior) -> dict[str, float]:
    """Return the priors' centers by name, of the ordering of the parameters; others as they are."""
    params = posterior.likelihood.parameters
    values = {n: float(np.asarray(v)) for n, v in params._asdict().items()}
    values["density"] = float(np.asarray(posterior.likelihood.rates.baseline.density))
    for i, name in enumerate(posterior.names):
        if not posterior.flat[i]:
            mean = float(posterior.mean[i])
            if name == "dm31":
                mean = float(posterior.center) + np.sign(values["dm31"]) * mean
            values[name] = mean
    return values


def _center(posterior: ModePosterior) -> Float:
    """Return coordinates of the priors' centers, (7,)."""
    values = _values(posterior)
    density = values.pop("density")
    return coordinates(OscillationParameters(**values), density)


def _widths(posterior: ModePosterior) -> Float:
    """Return the widths of the priors in coordinates, infinite where flat, (7,)."""
    values, widths = _values(posterior), np.full(len(NAMES), np.inf)
    for i, name in enumerate(posterior.names):
        if not posterior.flat[i]:
            mean = values[name]
            # d sin^2 theta = sin(2 theta) d theta
            slope = 2.0 * np.sqrt(mean * (1.0 - mean)) if name in _ANGLES else 1.0
            widths[_PLACES[name]] = float(posterior.sd[i]) / slope
    return widths
