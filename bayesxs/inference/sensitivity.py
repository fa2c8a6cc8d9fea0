"""Sensitivity from Asimov data: the values that an experiment would exclude on its expectation.

Data are the expected counts of the true parameters, of which chi2 is zero (arXiv:1007.1727). The
smallest chi2 of a hypothesis, over all parameters that it leaves free and every pull, is that by
which it is excluded; its root is the significance in standard deviations. Each hypothesis is tried
from several starts: both orderings, both octants, and phases around the circle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from math import pi
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.inference.asimov import (
    DCP,
    DENSITY,
    DM21,
    DM31,
    NAMES,
    THETA12,
    THETA13,
    THETA23,
    Expected,
    Fits,
    Problems,
    coordinates,
    minimise,
    parameters,
)
from bayesxs.physics.oscillation import DUNE, OscillationParameters

Float = NDArray[np.float64]

_NUFIT_4_0: Final = {
    **{THETA12: 0.023, THETA13: 0.015, THETA23: 0.041},
    **{DM21: 0.028, DM31: 0.013, DENSITY: 0.02},
}
_MAXIMAL: Final = 0.25 * pi
_PHASES: Final = (-0.5 * pi, 0.0, 0.5 * pi, pi)
_BATCH: Final = 64
# Steps that bring chi2 to one, and how near it must come in its root
_RESOLUTION_STEPS: Final = 8
_NEAR_ONE: Final = 0.01


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


class Asimov(NamedTuple):
    """An experiment that sees its expectation.

    Attributes:
        expected: counts of all bins from parameters, density in g/cm^3 and pulls.
        n_pulls: number of pulls, each of unit width.
        constraints: standard deviations of the coordinates, at their true values, from these.
    """

    expected: Expected
    n_pulls: int
    constraints: Callable[[Float], Float] = published_constraints

    def counts(self, truth: Float) -> Float:
        """Return the data of each truth, (truths, bins)."""

        def of_one(x: jax.Array) -> jax.Array:
            return self.expected(parameters(x), x[DENSITY], jnp.zeros(self.n_pulls))

        return np.asarray(jax.lax.map(of_one, jnp.asarray(truth), batch_size=_BATCH))


class Exclusion(NamedTuple):
    """How much a hypothesis is excluded at each truth.

    Attributes:
        chi2: the smallest, (truths,).
        x: coordinates at which it is found, (truths, 7).
        converged: whether that is a minimum.
    """

    chi2: Float
    x: Float
    converged: NDArray[np.bool_]

    @property
    def sigma(self) -> Float:
        """Significance in standard deviations."""
        return np.sqrt(np.maximum(self.chi2, 0.0))


def true_coordinates(params: OscillationParameters, density: ArrayLike = DUNE.density) -> Float:
    """Return the coordinates of truths, (truths, 7), from parameters whose fields broadcast."""
    return np.atleast_2d(coordinates(params, density))


def cp_violation(asimov: Asimov, truth: Float) -> Exclusion:
    """Return how much CP conservation, dcp = 0 or pi, is excluded.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).
    """
    starts = [
        _moved(truth, dcp=dcp, ordering=ordering, octant=octant)
        for dcp, ordering, octant in product((0.0, pi), (False, True), (False, True))
    ]
    return _best(_fits(asimov, truth, starts, fixed=(DCP,)))


def wrong_ordering(asimov: Asimov, truth: Float) -> Exclusion:
    """Return how much the ordering that is not the true one is excluded.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).
    """
    starts = [
        _moved(truth, dcp=dcp, ordering=True, octant=octant)
        for dcp, octant in product(_PHASES, (False, True))
    ]
    fits = _fits(asimov, truth, starts)
    return _best(fits, np.sign(fits.x[..., DM31]) != np.sign(truth[:, DM31]))


def wrong_octant(asimov: Asimov, truth: Float) -> Exclusion:
    """Return how much the octant of theta23 that is not the true one is excluded.

    The smallest chi2 in the other octant lies at a minimum, or where theta23 is maximal; at a truth
    that is maximal nothing is excluded. theta23 has no constraint of its own here, which would know
    the octant.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).
    """
    asimov = asimov._replace(constraints=partial(_without_theta23, asimov.constraints))
    starts = [
        _moved(truth, dcp=dcp, ordering=ordering, octant=True)
        for dcp, ordering in product((None, *_PHASES[::2]), (False, True))
    ]
    inside = _fits(asimov, truth, starts)
    edge = [np.where(np.arange(len(NAMES)) == THETA23, _MAXIMAL, start) for start in starts]
    at_edge = _fits(asimov, truth, edge, fixed=(THETA23,))
    upper = _square(truth) > 0.5
    elsewhere = (_square(inside.x) > 0.5) != upper
    fits = Fits(*(np.concatenate(pair) for pair in zip(inside, at_edge, strict=True)))
    return _best(fits, np.concatenate([elsewhere, np.ones_like(elsewhere)]))


def dcp_resolution(asimov: Asimov, truth: Float) -> tuple[Float, NDArray[np.bool_]]:
    """Return half the width of the interval of dcp in which chi2 is below one, in rad.

    Ordering and octant are the true ones. Where chi2 does not reach one around the circle the
    width is NaN.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).

    Returns:
        Half widths, (truths,), and whether they were found.
    """
    sides = np.repeat([-1.0, 1.0], len(truth))
    both = np.concatenate([truth, truth])
    width = np.full(len(both), 0.25)
    root = np.ones_like(width)
    for _ in range(_RESOLUTION_STEPS):
        start = both.copy()
        start[:, DCP] += sides * width
        root = np.sqrt(np.maximum(_fits(asimov, both, [start], fixed=(DCP,)).chi2[0], 1e-12))
        if np.all(np.abs(root - 1.0) < _NEAR_ONE):
            break
        width = np.clip(width / np.clip(root, 0.3, 3.0), 0.01, pi)
    found = (np.abs(root - 1.0) < _NEAR_ONE).reshape(2, -1).all(axis=0)
    width = (width / root).reshape(2, -1).mean(axis=0)
    return np.where(found, width, np.nan), found


def dcp_scan(
    asimov: Asimov,
    params: OscillationParameters,
    dcp: Sequence[float] | Float,
    density: ArrayLike = DUNE.density,
) -> xr.Dataset:
    """Scan the true phase: CP violation, ordering, and resolution.

    Args:
        asimov: the experiment.
        params: true values of the others, scalars.
        dcp: true phases, rad, (n,).
        density: g/cm^3.

    Returns:
        Over dcp (rad): cp_violation and ordering in standard deviations, resolution in rad, and
        converged, whether each is a minimum.
    """
    phases = np.asarray(dcp, float)
    truth = true_coordinates(params._replace(dcp=phases), density)
    violation, ordering = cp_violation(asimov, truth), wrong_ordering(asimov, truth)
    resolution, found = dcp_resolution(asimov, truth)
    return xr.Dataset(
        {
            "cp_violation": ("dcp", violation.sigma),
            "ordering": ("dcp", ordering.sigma),
            "resolution": ("dcp", resolution),
            "converged": ("dcp", violation.converged & ordering.converged & found),
        },
        {"dcp": phases},
        {"true_ordering": "normal" if truth[0, DM31] > 0.0 else "inverted"},
    )


def octant_scan(
    asimov: Asimov,
    params: OscillationParameters,
    s2_23: Sequence[float] | Float,
    density: ArrayLike = DUNE.density,
) -> xr.Dataset:
    """Scan the true mixing of the octant.

    Args:
        asimov: the experiment.
        params: true values of the others, scalars.
        s2_23: true sin^2 theta23, (n,).
        density: g/cm^3.

    Returns:
        Over s2_23: octant in standard deviations, and converged.
    """
    mixing = np.asarray(s2_23, float)
    found = wrong_octant(asimov, true_coordinates(params._replace(s2_23=mixing), density))
    return xr.Dataset(
        {"octant": ("s2_23", found.sigma), "converged": ("s2_23", found.converged)},
        {"s2_23": mixing},
    )


def _without_theta23(constraints: Callable[[Float], Float], truth: Float) -> Float:
    sd = np.array(constraints(truth), float)
    sd[..., THETA23] = np.inf
    return sd


def _square(x: Float) -> Float:
    return np.sin(x[..., THETA23]) ** 2


def _moved(truth: Float, dcp: float | None, ordering: bool, octant: bool) -> Float:
    """Return where a fit starts: with another phase, in the other ordering, the other octant."""
    start = truth.copy()
    if dcp is not None:
        start[:, DCP] = dcp
    if ordering:  # as far from zero in the splitting that survival of muons and electrons sees
        start[:, DM31] = -truth[:, DM31] + 2.0 * np.sin(truth[:, THETA12]) ** 2 * truth[:, DM21]
    if octant:
        start[:, THETA23] = 2.0 * _MAXIMAL - truth[:, THETA23]
    return start


def _fits(asimov: Asimov, truth: Float, starts: Sequence[Float], fixed: Iterable[int] = ()) -> Fits:
    """Fit the data of every truth from every start; fields are (starts, truths, ...)."""
    many = len(starts)
    start = np.stack(starts)
    center = np.broadcast_to(truth, start.shape).copy()
    # A constraint of the splitting is one of its size: in the other ordering it is around the start
    other = np.sign(start[..., DM31]) != np.sign(center[..., DM31])
    center[..., DM31] = np.where(other, start[..., DM31], center[..., DM31])
    sd = np.broadcast_to(asimov.constraints(truth), start.shape)
    free = np.ones(start.shape, bool)
    free[..., list(fixed)] = False
    data = asimov.counts(truth)
    counts = np.broadcast_to(data, (many, *data.shape))
    arrays = (counts, center, sd, start, free)
    flat = Problems(*(a.reshape(many * len(truth), -1) for a in arrays))
    fits = minimise(asimov.expected, asimov.n_pulls, flat)
    chi2, x, pulls = (a.reshape(many, len(truth), *a.shape[1:]) for a in fits[:3])
    return Fits(chi2, x, pulls, fits.converged.reshape(many, len(truth)))


def _best(fits: Fits, allowed: NDArray[np.bool_] | None = None) -> Exclusion:
    """Return the smallest chi2 of all starts, (truths,); one that is no minimum bounds it."""
    chi2 = fits.chi2 if allowed is None else np.where(allowed, fits.chi2, np.inf)
    best = np.argmin(chi2, axis=0)
    places = (best, np.arange(len(best)))
    return Exclusion(chi2[places], fits.x[places], fits.converged[places])
