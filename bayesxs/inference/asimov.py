"""Smallest chi2 of counted spectra over oscillation parameters and pulls, of many problems at once.

With counts n_i and expected counts mu_i of coordinates x and pulls eta, it is the minimum of

    chi2 = 2 sum_i [mu_i - n_i + n_i ln(n_i / mu_i)] + sum_k ((x_k - c_k) / s_k)^2 + sum_j eta_j^2

(Poisson likelihood ratio: Baker and Cousins 1984, eq. 4; constraints at c with widths s) by
Gauss-Newton steps with Levenberg's damping. Of the Hessian the second derivatives of mu are left
out; they stand beside 1 - n/mu, small where a hypothesis fits, and change steps, not minima. Where
it fits so badly that these steps do not arrive, Newton's, with all of the Hessian, go on.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.detector.rates import Rates
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.session import available_cores
from bayesxs.types import Floats as Float

# Expected counts of all bins from parameters, matter density in g/cm^3, and pulls: `Rates`, or
# another callable that is a pytree, such as `jax.tree_util.Partial` of a function
Expected = Callable[[OscillationParameters, ArrayLike, ArrayLike], Array]


@partial(jax.tree_util.register_dataclass, data_fields=["expected", "of_sample"], meta_fields=[])
@dataclass(frozen=True)
class Shapes:
    """Expected counts of which only the shapes are compared with data, sample by sample.

    Attributes:
        expected: counts of all bins.
        of_sample: one where a bin is of a sample, else zero, (samples, bins).
    """

    expected: Any
    of_sample: Array

    def __call__(
        self, params: OscillationParameters, density: ArrayLike, pulls: ArrayLike
    ) -> Array:
        """Return the expected counts, as rates have them."""
        counts: Array = self.expected(params, density, pulls)
        return counts

    def scaled(self, mu: Array, slope: Array, counts: Array) -> tuple[Array, Array]:
        """Return counts and slopes, (bins, n), of spectra that have the totals of data."""
        own = self.of_sample
        totals = own @ mu
        factor = (own @ counts / totals) @ own
        of_totals = own.T @ ((own @ slope) / totals[:, None])
        return factor * mu, factor[:, None] * (slope - mu[:, None] * of_totals)


# Coordinates: angles in rad, whose sines squared are in range whatever they are; eV^2; g/cm^3
NAMES: Final = ("theta12", "theta13", "theta23", "dcp", "dm21", "dm31", "density")
THETA12, THETA13, THETA23, DCP, DM21, DM31, DENSITY = range(len(NAMES))

# Problems that are solved together, until the last of them is: few, so that few wait
_TOGETHER: Final = 16
_STEPS: Final = 200
_DAMPING: Final = 1e-3
_TINY: Final = 1e-30  # counts below which a bin expects nothing
# Fall of chi2 that a step predicts, over chi2 + 0.01, below which a minimum is reached; the damping
# above which steps say nothing of minima, and that above which none will help
_CONVERGED: Final = 1e-5
_DAMPED: Final = 1.0
_STUCK: Final = 1e10


class Fits(NamedTuple):
    """Minima of chi2.

    Attributes:
        chi2: their values, (problems,).
        x: coordinates, (problems, 7), in the order of NAMES.
        pulls: in standard deviations, (problems, pulls).
        converged: whether no step lowers it by more than 1e-5 of chi2 + 0.01, (problems,).
    """

    chi2: Float
    x: Float
    pulls: Float
    converged: NDArray[np.bool_]


class Problems(NamedTuple):
    """Fits to be made, all with the same leading axis.

    Attributes:
        counts: data, (problems, bins).
        center: of the constraints, (problems, 7), in the order of NAMES.
        sd: their standard deviations, infinite where there is none, (problems, 7).
        start: coordinates to start from, (problems, 7).
        free: which of them are fitted, (problems, 7).
        pulls: to start from, (problems, pulls); zero if not given.
    """

    counts: ArrayLike
    center: ArrayLike
    sd: ArrayLike
    start: ArrayLike
    free: ArrayLike
    pulls: ArrayLike | None = None


def coordinates(params: OscillationParameters, density: ArrayLike) -> Float:
    """Return the coordinates of parameters and a density in g/cm^3, (..., 7)."""
    angles = (np.arcsin(np.sqrt(np.asarray(square, float))) for square in params[:3])
    return np.stack(np.broadcast_arrays(*angles, *params[3:], density), axis=-1).astype(float)


def parameters(x: Array) -> OscillationParameters:
    """Return the oscillation parameters of coordinates, (7,)."""
    s2_12, s2_13, s2_23 = (jnp.sin(x[place]) ** 2 for place in (THETA12, THETA13, THETA23))
    return OscillationParameters(s2_12, s2_13, s2_23, x[DCP], x[DM21], x[DM31])


def minimise(
    expected: Expected, n_pulls: int, problems: Problems, steps: int | None = None
) -> Fits:
    """Return the minimum of chi2 that each problem leads to from its start.

    Problems that lie side by side are solved together: let those be alike.

    Args:
        expected: counts of the bins; one object is compiled once.
        n_pulls: number of pulls.
        problems: what is fitted; a coordinate that is not, stays at its start.
        steps: after which a fit ends wherever it is; as many as it needs if not given.
    """
    total = len(np.asarray(problems.start))
    if problems.pulls is None:
        problems = problems._replace(pulls=np.zeros((total, n_pulls)))
    padded = -total % _TOGETHER
    arrays = [np.asarray(field) for field in problems]
    arrays = [np.concatenate([a, np.repeat(a[-1:], padded, axis=0)]) for a in arrays]
    problems_of = [
        Problems(*(a[i : i + _TOGETHER] for a in arrays)) for i in range(0, total, _TOGETHER)
    ]

    def solve(own: Problems) -> Fits:
        found = _found(_solve(expected, False, own, _STEPS if steps is None else steps))
        if steps is not None or found.converged.all():
            return found
        ended = own._replace(start=found.x, pulls=found.pulls)
        further = _found(_solve(expected, True, ended, _STEPS))
        return Fits(*(_where(~found.converged, b, a) for a, b in zip(found, further, strict=True)))

    with ThreadPoolExecutor(available_cores()) as threads:
        parts = list(threads.map(solve, problems_of))
    return Fits(*(np.concatenate(fields)[:total] for fields in zip(*parts, strict=True)))


def _found(fields: tuple[Array, ...]) -> Fits:
    return Fits(*(np.asarray(field) for field in fields))


def _where(chosen: NDArray[np.bool_], one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return rows of one array where they are chosen, else those of the other."""
    return np.where(chosen.reshape(-1, *[1] * (one.ndim - 1)), one, other)


class _State(NamedTuple):
    v: Array  # coordinates and pulls
    chi2: Array
    gradient: Array  # half of it
    hessian: Array  # half of it
    scale: Array  # of the steps: the diagonal of Gauss-Newton's Hessian
    damping: Array
    predicted: Array  # by how much the last step should have lowered chi2
    steps: Array


@partial(jax.jit, static_argnums=1)
def _solve(
    expected: Expected, newton: bool, problems: Problems, steps: ArrayLike
) -> tuple[Any, ...]:
    return jax.vmap(partial(_minimum, expected, newton, steps))(problems)


def _minimum(
    expected: Expected, newton: bool, steps: ArrayLike, problem: Problems
) -> tuple[Array, ...]:
    """Return a minimum by Gauss and Newton's steps, or by Newton's."""
    n_x = len(NAMES)
    pulls = jnp.asarray(problem.pulls, float)
    none = jnp.zeros_like(pulls)
    free = jnp.concatenate([jnp.asarray(problem.free, float), none + 1.0])
    weight = free * jnp.concatenate([1.0 / jnp.asarray(problem.sd) ** 2, none + 1.0])
    center = jnp.concatenate([jnp.asarray(problem.center), none])
    counts = jnp.asarray(problem.counts)
    # n ln n, and its limit at zero
    constant = jnp.where(counts > 0.0, counts * jnp.log(jnp.where(counts > 0.0, counts, 1.0)), 0.0)

    def terms(v: Array) -> tuple[Array, Array, Array, Array]:
        mu, *slopes = _linearised(expected, v[:n_x], v[n_x:])
        mu = jnp.maximum(mu, _TINY)
        slope = jnp.concatenate(slopes, axis=1) * free
        if isinstance(expected, Shapes):
            mu, slope = expected.scaled(mu, slope, counts)
        ratio = counts / mu
        away = v - center
        chi2 = 2.0 * jnp.sum(mu - counts + constant - counts * jnp.log(mu))
        gradient = slope.T @ (1.0 - ratio) + weight * away
        hessian = (slope.T * (ratio / mu)) @ slope + jnp.diag(weight)
        scale = jnp.diag(hessian)
        if newton:
            hessian += free[:, None] * free * _bent(expected, counts, v, 1.0 - ratio)
        return chi2 + jnp.sum(weight * away**2), gradient, hessian, scale

    def step(state: _State) -> tuple[Array, Array]:
        """Return a damped step, and by how much chi2 falls if it is quadratic."""
        moves = state.scale > 0.0
        root = jnp.where(moves, 1.0 / jnp.sqrt(jnp.where(moves, state.scale, 1.0)), 0.0)
        damping = jnp.where(moves, state.damping, 1.0)
        matrix = root[:, None] * state.hessian * root + jnp.diag(damping)
        factor = jax.scipy.linalg.cho_factor(matrix)
        move = -root * jax.scipy.linalg.cho_solve(factor, root * state.gradient)
        return move, -(2.0 * state.gradient @ move + move @ state.hessian @ move)

    def advance(state: _State) -> _State:
        move, predicted = step(state)
        found = terms(state.v + move)
        better = found[0] < state.chi2
        kept = jax.tree.map(
            partial(jnp.where, better),
            (state.v + move, *found),
            (state.v, state.chi2, state.gradient, state.hessian, state.scale),
        )
        damping = jnp.clip(jnp.where(better, 0.1, 10.0) * state.damping, 1e-12, 1e12)
        v, chi2, gradient, hessian, scale = kept
        steps = state.steps + 1
        return _State(v, chi2, gradient, hessian, scale, damping, predicted, steps)

    def unfinished(state: _State) -> Array:
        return (state.steps < steps) & (state.damping < _STUCK) & ~arrived(state)

    def arrived(state: _State) -> Array:
        # A step that is damped away predicts a small fall wherever it is
        small = state.predicted <= _CONVERGED * (state.chi2 + 0.01)
        return small & (state.damping < _DAMPED)

    v = jnp.concatenate([jnp.asarray(problem.start), pulls])
    begin = _State(
        v, *terms(v), jnp.asarray(_DAMPING), jnp.asarray(jnp.inf), jnp.asarray(0, jnp.int32)
    )
    end = jax.lax.while_loop(unfinished, advance, begin)
    return end.chi2, end.v[:n_x], end.v[n_x:], arrived(end)


def _bent(expected: Expected, counts: Array, v: Array, weights: Array) -> Array:
    """Return the second derivatives of weighted counts in coordinates and pulls, (n, n).

    Those in two pulls are left out: counts are all but linear in these.
    """
    n_x = len(NAMES)

    def weighted(v: Array) -> Array:
        mu = expected(*_point(v[:n_x]), v[n_x:])
        if isinstance(expected, Shapes):
            mu, _ = expected.scaled(mu, jnp.zeros((len(mu), 1)), counts)
        return weights @ mu

    def slope(x: Array) -> Array:
        return jax.grad(weighted)(jnp.concatenate([x, v[n_x:]]))

    columns = jax.jacfwd(slope)(v[:n_x])
    across = columns[n_x:]
    none = jnp.zeros((len(across), len(across)))
    return jnp.block([[columns[:n_x], across.T], [across, none]])


def _linearised(expected: Expected, x: Array, pulls: Array) -> tuple[Array, Array, Array]:
    """Return expected counts and their slopes in x and pulls, (bins, each)."""
    if isinstance(expected, Shapes):
        return _linearised(expected.expected, x, pulls)
    if isinstance(expected, Rates):
        return expected.linearised(_point, x, pulls)

    def of(x: Array, pulls: Array) -> Array:
        return expected(*_point(x), pulls)

    # One after the other: what pulls change is little
    return of(x, pulls), jax.jacfwd(of)(x, pulls), jax.jacfwd(of, argnums=1)(x, pulls)


def _point(x: Array) -> tuple[OscillationParameters, Array]:
    return parameters(x), x[DENSITY]
