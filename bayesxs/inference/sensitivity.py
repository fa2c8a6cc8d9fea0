"""Sensitivity from Asimov data: the values that an experiment would exclude on its expectation.

Data are the expected counts of the true parameters, of which chi2 is zero (arXiv:1007.1727). The
smallest chi2 of a hypothesis, over all parameters that it leaves free and every pull, is that by
which it is excluded; its root is the significance in standard deviations. Each hypothesis is tried
from several starts: both orderings, both octants, and phases around the circle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from math import pi
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.tree_util import Partial
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.inference.asimov import (
    DCP,
    DENSITY,
    DM21,
    DM31,
    THETA12,
    THETA23,
    Expected,
    Fits,
    Problems,
    coordinates,
    minimise,
    parameters,
)
from bayesxs.inference.constraints import published_constraints, without_theta23
from bayesxs.physics.oscillation import DUNE, OscillationParameters
from bayesxs.types import Floats as Float

# Counts of all bins from parameters and matter density in g/cm^3, such as `Rates`: a pytree
Counts = Callable[[OscillationParameters, ArrayLike], jax.Array]

_MAXIMAL: Final = 0.25 * pi
_PHASES: Final = (-0.5 * pi, 0.0, 0.5 * pi, pi)
_BOTH: Final = (False, True)
_BATCH: Final = 64
# Steps that bring chi2 to one, and how near it must come in its root
_RESOLUTION_STEPS: Final = 8
_NEAR_ONE: Final = 0.01


class Asimov(NamedTuple):
    """An experiment that sees its expectation.

    Attributes:
        expected: counts of all bins from parameters, density in g/cm^3 and pulls.
        n_pulls: number of pulls, each of unit width.
        constraints: standard deviations of the coordinates, at their true values, from these.
        nature: counts from parameters and density where others make the data than are fitted to
            them; the same if not given.
    """

    expected: Expected
    n_pulls: int
    constraints: Callable[[Float], Float] = published_constraints
    nature: Counts | None = None

    def counts(self, truth: Float) -> Float:
        """Return the data of each truth, (truths, bins)."""
        nature: Counts = Partial(_without_pulls, self.expected, jnp.zeros(self.n_pulls))
        return np.asarray(_counts(self.nature or nature, jnp.asarray(truth)))


def _without_pulls(
    expected: Expected, pulls: jax.Array, params: OscillationParameters, density: ArrayLike
) -> jax.Array:
    return expected(params, density, pulls)


@jax.jit
def _counts(nature: Counts, truth: jax.Array) -> jax.Array:
    def of_one(x: jax.Array) -> jax.Array:
        return nature(parameters(x), x[DENSITY])

    return jax.lax.map(of_one, truth, batch_size=_BATCH)


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


def best_fit(asimov: Asimov, truth: Float) -> Exclusion:
    """Return the smallest chi2 of all, from the true phase in either ordering and octant.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).
    """
    return _exclusion(asimov, truth, _Hypothesis(_starts((None,), _BOTH, _BOTH)))


def cp_violation(asimov: Asimov, truth: Float) -> Exclusion:
    """Return how much CP conservation, dcp = 0 or pi, is excluded.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).
    """
    return _exclusion(asimov, truth, _Hypothesis(_starts((0.0, pi), _BOTH, _BOTH), fixed=(DCP,)))


def wrong_ordering(asimov: Asimov, truth: Float) -> Exclusion:
    """Return how much the ordering that is not the true one is excluded.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).
    """
    starts = _starts(_PHASES, (True,), _BOTH)
    return _exclusion(asimov, truth, _Hypothesis(starts, holds=_other_ordering))


def wrong_octant(asimov: Asimov, truth: Float) -> Exclusion:
    """Return how much the octant of theta23 that is not the true one is excluded.

    The smallest chi2 in the other octant lies at a minimum, or where theta23 is maximal; at a truth
    that is maximal nothing is excluded. theta23 has no constraint of its own here, which would know
    the octant.

    Args:
        asimov: the experiment.
        truth: coordinates, (truths, 7).
    """
    asimov = asimov._replace(constraints=partial(without_theta23, asimov.constraints))
    starts = _starts((None, *_PHASES[::2]), _BOTH, (True,))
    maximal = tuple(start._replace(theta23=_MAXIMAL) for start in starts)
    return _exclusion(
        asimov,
        truth,
        _Hypothesis(starts, holds=_other_octant),
        _Hypothesis(maximal, fixed=(THETA23,)),
    )


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
    quantities: Sequence[str] = ("cp_violation", "ordering", "resolution"),
    update: Callable[[str], None] = lambda done: None,
) -> xr.Dataset:
    """Scan the true phase: CP violation, ordering, and resolution.

    Args:
        asimov: the experiment.
        params: true values of the others, scalars.
        dcp: true phases, rad, (n,).
        density: g/cm^3.
        quantities: which of them.
        update: told each that is done.

    Returns:
        Over dcp (rad): cp_violation and ordering in standard deviations, resolution in rad, and
        converged, whether each is a minimum.
    """
    phases = np.asarray(dcp, float)
    truth = true_coordinates(params._replace(dcp=phases), density)
    found = _scan("dcp", phases, asimov, truth, quantities, update)
    return found.assign_attrs(true_ordering=_ordering(truth))


def _ordering(truth: Float) -> str:
    return "normal" if truth[0, DM31] > 0.0 else "inverted"


def octant_scan(
    asimov: Asimov,
    params: OscillationParameters,
    s2_23: Sequence[float] | Float,
    density: ArrayLike = DUNE.density,
    update: Callable[[str], None] = lambda done: None,
) -> xr.Dataset:
    """Scan the true mixing of the octant.

    Args:
        asimov: the experiment.
        params: true values of the others, scalars.
        s2_23: true sin^2 theta23, (n,).
        density: g/cm^3.
        update: told when it is done.

    Returns:
        Over s2_23: octant in standard deviations, and converged; attributes true_ordering and
        true_dcp (rad).
    """
    mixing = np.asarray(s2_23, float)
    truth = true_coordinates(params._replace(s2_23=mixing), density)
    found = _scan("s2_23", mixing, asimov, truth, ("octant",), update)
    return found.assign_attrs(true_ordering=_ordering(truth), true_dcp=float(truth[0, DCP]))


def _scan(
    axis: str,
    values: Float,
    asimov: Asimov,
    truth: Float,
    quantities: Sequence[str],
    update: Callable[[str], None],
) -> xr.Dataset:
    scan = xr.Dataset({}, {axis: values})
    converged = np.ones(len(values), bool)
    for name in quantities:
        if name == "resolution":
            numbers, good = dcp_resolution(asimov, truth)
        else:
            exclusion = _EXCLUSIONS[name](asimov, truth)
            numbers, good = exclusion.sigma, exclusion.converged
        scan[name] = axis, numbers
        converged &= good
        update(name)
    scan["converged"] = axis, converged
    return scan


_EXCLUSIONS: Final = {
    "cp_violation": cp_violation,
    "ordering": wrong_ordering,
    "octant": wrong_octant,
}


class _Start(NamedTuple):
    """Where a fit starts: the truth, but for these.

    Attributes:
        dcp: the phase, if another.
        ordering: whether in the other ordering.
        octant: whether in the other octant.
        theta23: the angle, if another.
    """

    dcp: float | None
    ordering: bool
    octant: bool
    theta23: float | None = None

    def of(self, truth: Float) -> Float:
        """Return the start of each truth, (truths, 7)."""
        start = truth.copy()
        if self.dcp is not None:
            start[:, DCP] = self.dcp
        if self.ordering:  # as far from zero in the splitting that survival of e and mu sees
            shift = 2.0 * np.sin(truth[:, THETA12]) ** 2 * truth[:, DM21]
            start[:, DM31] = shift - truth[:, DM31]
        if self.octant:
            start[:, THETA23] = 2.0 * _MAXIMAL - truth[:, THETA23]
        if self.theta23 is not None:
            start[:, THETA23] = self.theta23
        return start


class _Hypothesis(NamedTuple):
    """A hypothesis to be excluded.

    Attributes:
        starts: of its fits.
        fixed: coordinates that stay where they start.
        holds: where it holds, from coordinates (starts, truths, 7) and the truth; everywhere if
            not given.
    """

    starts: tuple[_Start, ...]
    fixed: tuple[int, ...] = ()
    holds: Callable[[Float, Float], NDArray[np.bool_]] | None = None


def _starts(
    phases: Iterable[float | None], orderings: Iterable[bool], octants: Iterable[bool]
) -> tuple[_Start, ...]:
    return tuple(_Start(*choice) for choice in product(phases, orderings, octants))


def _other_ordering(x: Float, truth: Float) -> NDArray[np.bool_]:
    return np.sign(x[..., DM31]) != np.sign(truth[:, DM31])


def _other_octant(x: Float, truth: Float) -> NDArray[np.bool_]:
    return (np.sin(x[..., THETA23]) ** 2 > 0.5) != (np.sin(truth[:, THETA23]) ** 2 > 0.5)


def _exclusion(asimov: Asimov, truth: Float, *hypotheses: _Hypothesis) -> Exclusion:
    """Return the smallest chi2 of all starts; one that is no minimum bounds it."""
    fits, allowed = [], []
    for hypothesis in hypotheses:
        starts = [start.of(truth) for start in hypothesis.starts]
        found = _fits(asimov, truth, starts, hypothesis.fixed)
        fits.append(found)
        every = np.ones_like(found.converged)
        allowed.append(hypothesis.holds(found.x, truth) if hypothesis.holds else every)
    every_fit = Fits(*(np.concatenate(fields) for fields in zip(*fits, strict=True)))
    best = np.argmin(np.where(np.concatenate(allowed), every_fit.chi2, np.inf), axis=0)
    places = (best, np.arange(len(best)))
    return Exclusion(every_fit.chi2[places], every_fit.x[places], every_fit.converged[places])


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
