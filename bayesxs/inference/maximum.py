"""Maximum likelihood of many data sets at once, by damped Newton steps in the box of the priors.

The estimate maximises sum_e w_e log p_FD(e | theta, xi) - |xi - xi_0|^2/2. Nuisances xi are fitted
along with the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy import linalg
from jax.typing import ArrayLike

from bayesxs.detector.count_modes import POSITIVE_FLOOR
from bayesxs.inference.channel import FarChannel, channel_probabilities, features
from bayesxs.inference.priors import (
    Gaussian,
    Prior,
    constraint,
    crosses_octants,
    is_circular,
    prior_box,
)
from bayesxs.physics.oscillation import OscillationParameters

# Newton steps at most; about six suffice from the original estimate
ITERATIONS = 50

# A fit has converged when a Newton step promises less than half this in log-likelihood: 1 % of a
# sigma
TOLERANCE = 1e-4

# Bound of a nuisance in units of its prior width
NUISANCE_RANGE = 8.0


class Estimates(NamedTuple):
    """Maximum-likelihood estimates of many data sets.

    Attributes:
        values: of the free parameters in their order, then of the nuisances, (data sets, k).
        heights: log-likelihood there, with penalties, up to a constant.
        converged: whether each fit ended at a stationary point or a bound.
    """

    values: np.ndarray
    heights: np.ndarray
    converged: np.ndarray


class Constraints(NamedTuple):
    """Gaussian constraints of the nuisances.

    Attributes:
        centers: xi_0, (data sets, q).
        precision: shape (q, q).
    """

    centers: ArrayLike
    precision: ArrayLike


def fit(
    channels: Sequence[FarChannel],
    weights: Sequence[ArrayLike],
    centers: ArrayLike | Constraints,
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    start: Mapping[str, float],
    pinned: Mapping[str, ArrayLike] | None = None,
    means: Mapping[str, ArrayLike] | None = None,
) -> Estimates:
    """Maximise sum_e w_e log p_FD(e | theta, xi) - |xi - xi_0|^2/2 for many data sets at once.

    Args:
        channels: rows and responses, one entry per sample; their own weights do not count.
        weights: w of each sample's rows, (data sets, rows).
        centers: xi_0, (data sets, q), or with the precision of their constraints beside it.
        priors: free parameters; flat priors are bounds, Gaussian ones enter as penalty terms.
        fixed: values of the others.
        start: where to begin, one value per free parameter.
        pinned: values at which parameters are held, (data sets,), for a profile likelihood.
        means: where the Gaussian priors of the data sets are centered, (data sets,) by name; where
            the priors say if None.
    """
    names, precision = tuple(priors), None
    if isinstance(centers, Constraints):
        precision = jnp.asarray(centers.precision)
    centers = np.asarray(centers.centers if isinstance(centers, Constraints) else centers)
    count = centers.shape[1]
    box = [*prior_box(priors).values(), *[(-NUISANCE_RANGE, NUISANCE_RANGE)] * count]
    low, high = (np.tile(edge, (len(centers), 1)) for edge in zip(*box, strict=True))
    for name, values in (pinned or {}).items():  # within bounds of no width nothing moves
        low[:, names.index(name)] = high[:, names.index(name)] = values
    starts = [start]
    if crosses_octants(priors):
        starts.append(dict(start) | {"s2_23": 1.0 - start["s2_23"]})
    begin = np.array([[*(point[name] for name in names), *[0.0] * count] for point in starts])
    measured = [
        np.broadcast_to((means or {}).get(name, prior.mean), len(centers))
        for name, prior in priors.items()
        if isinstance(prior, Gaussian)
    ]
    data = _Data(
        tuple(jnp.asarray(w) for w in weights),
        *map(jnp.asarray, (centers, np.reshape(measured, (-1, len(centers))).T, low, high)),
    )
    found = _climb_all(
        tuple(channels), data, jnp.asarray(begin), fixed, tuple(priors.items()), precision
    )
    return Estimates(*(np.asarray(part) for part in found))


def _edges(priors: Mapping[str, Prior], nuisances: int) -> tuple[Array, Array]:
    """Return the bounds of the unit box; a phase that is free on its whole circle has none."""
    free = [is_circular(name, prior) for name, prior in priors.items()]
    circle = jnp.array(free + [False] * nuisances)
    return jnp.where(circle, -jnp.inf, 0.0), jnp.where(circle, jnp.inf, 1.0)


class _Data(NamedTuple):
    """One data set, or several along leading axes.

    Attributes:
        weights: of each sample's rows.
        centers: of the nuisances' constraints.
        means: of the Gaussian priors.
        low: lower edges of the box within which the estimate is looked for.
        high: upper edges.
    """

    weights: tuple[Array, ...]
    centers: Array
    means: Array
    low: Array
    high: Array


class _Point(NamedTuple):
    """A place on the likelihood surface, in the unit box."""

    unit: Array
    height: Array
    gradient: Array
    hessian: Array


@partial(jax.jit, static_argnums=4)
def _climb_all(
    channels: tuple[FarChannel, ...],
    data_sets: _Data,
    begin: Array,
    fixed: OscillationParameters,
    priors: tuple[tuple[str, Prior], ...],
    precision: Array | None,
) -> tuple[Array, Array, Array]:
    """Run damped Newton in the unit box, vectorised over data sets and starting points.

    Returns values, heights, and whether each has converged.
    """
    bare = [replace(c, weights=jnp.zeros(())) for c in channels]
    edges = _edges(dict(priors), begin.shape[1] - len(priors))

    def best(data: _Data) -> tuple[Array, Array, Array]:
        surface = _Surface(bare, data, fixed, priors, precision)
        width = data.high - data.low
        units = jnp.clip((begin - data.low) / jnp.where(width > 0.0, width, jnp.inf), *edges)
        ends, converged = jax.vmap(partial(_climb, surface, edges))(units)
        winner = jnp.argmax(ends.height)
        unit = ends.unit[winner]
        unit = jnp.where(jnp.isinf(edges[1]), unit % 1.0, unit)
        return data.low + unit * width, ends.height[winner], converged[winner]

    return jax.vmap(best)(data_sets)


@dataclass(frozen=True)
class _Surface:
    """The log-likelihood of one data set, with its penalties, over the unit box.

    Attributes:
        channels: responses of each sample, without weights.
        data: one data set.
        fixed: values of the parameters that are not free.
        priors: of the free parameters.
        precision: of the nuisances' constraints; one if None.
    """

    channels: Sequence[FarChannel]
    data: _Data
    fixed: OscillationParameters
    priors: tuple[tuple[str, Prior], ...]
    precision: Array | None = None

    def values(self, unit: Array) -> tuple[OscillationParameters, Array]:
        """Return parameters and nuisances at a place in the box."""
        names = [name for name, _ in self.priors]
        scaled = self.data.low + unit * (self.data.high - self.data.low)
        parameters = self.fixed._replace(**{name: scaled[i] for i, name in enumerate(names)})
        return parameters, scaled[len(names) :]

    @property
    def normal(self) -> list[tuple[str, Gaussian]]:
        """Gaussian priors by name."""
        return [(name, prior) for name, prior in self.priors if isinstance(prior, Gaussian)]

    def penalty(self, unit: Array) -> Array:
        """Return the log-likelihood of the constraints."""
        parameters, nuisances = self.values(unit)
        away = nuisances - self.data.centers
        if self.precision is None:
            height = -0.5 * jnp.sum(away**2)
        else:
            height = -0.5 * away @ self.precision @ away
        for place, (name, prior) in enumerate(self.normal):
            value = getattr(parameters, name)
            height += constraint(name, prior, value, self.data.means[place])
        return height

    def look(self, unit: Array) -> _Point:
        """Evaluate height, gradient and Hessian at a place in the box."""
        terms = [_derivatives(self.channels, self.data.weights, self.values, unit)]
        if self.normal or len(self.data.centers):
            penalty = self.penalty
            terms.append((penalty(unit), jax.grad(penalty)(unit), jax.hessian(penalty)(unit)))
        return _Point(unit, *(sum(parts) for parts in zip(*terms, strict=True)))


def _climb(surface: _Surface, edges: tuple[Array, Array], unit: Array) -> tuple[_Point, Array]:
    """Climb from one place in the box; return where it ends and whether that is a maximum."""
    parameters = len(surface.priors)

    def unfinished(carry: tuple[_Point, Array, Array]) -> Array:
        point, length, count = carry
        climbing = (
            (_gain(point, edges, parameters) > TOLERANCE) & (length > 1e-6) & (count < ITERATIONS)
        )
        return climbing | (count == 0)

    def step(carry: tuple[_Point, Array, Array]) -> tuple[_Point, Array, Array]:
        point, length, count = carry
        trial = surface.look(
            jnp.clip(point.unit + length * _ascent(point, edges, parameters), *edges)
        )
        higher = trial.height > point.height
        point = jax.tree.map(partial(jnp.where, higher), trial, point)
        longer = jnp.where(higher, jnp.minimum(1.0, 2.0 * length), 0.25 * length)
        return point, longer, count + 1

    # The first step stays where it is and looks: a second place that looks would double the
    # compilation
    blind = _Point(unit, jnp.array(-jnp.inf), jnp.zeros(len(unit)), -jnp.eye(len(unit)))
    start = (blind, jnp.array(1.0), jnp.array(0))
    point, _, _ = jax.lax.while_loop(unfinished, step, start)
    return point, jnp.isfinite(point.height) & (_gain(point, edges, parameters) <= TOLERANCE)


def _derivatives(
    channels: Sequence[FarChannel],
    weights: Sequence[Array],
    values: Callable[[Array], tuple[OscillationParameters, Array]],
    unit: Array,
) -> tuple[Array, Array, Array]:
    """Value, gradient and Hessian of sum_e w_e log p_e, from one product with each response.

    With p = left @ g(u) / exp(h(u)), f = left @ g and lambda = left^T (w/f):
    d log L = lambda . dg - N dh, and
    d2 log L = lambda . d2g - (df)^T diag(w/f^2) df - N d2h.
    By two nuisances it is -sum_e w_e (df/f - dh)(df/f - dh)^T instead, which is its mean over data
    from the model (Fisher scoring), never positive, and spares differentiating twice by dozens of
    them. By a parameter it is exact: of the phase, which few events know, scoring overshoots.
    The g and h of all channels are differentiated together.
    """
    nuisances = channels[0].nuisances

    def all_features(u: Array) -> Array:
        parameters, xi = values(u)
        return _all_features(channels, channel_probabilities(channels, parameters), xi)

    def sloped(u: Array) -> tuple[Array, tuple[Array, Array]]:
        slopes, here = jax.jacfwd(lambda v: (all_features(v),) * 2, has_aux=True)(u)
        return slopes, (slopes, here)

    # Value and both derivatives from one pass: apart, each would compile the probabilities anew
    if nuisances:
        near = _expanded_features(channels, values, unit)
        slopes, here = jax.jacfwd(lambda v: (near(v),) * 2, has_aux=True)(unit)
    else:
        seconds, (slopes, here) = jax.jacfwd(sloped, has_aux=True)(unit)
    ends = np.cumsum([c.left.shape[1] + 1 for c in channels])[:-1]
    heights, multipliers, bends, scored = [], [], [], []
    parts = zip(channels, weights, jnp.split(here, ends), jnp.split(slopes, ends), strict=True)
    for channel, own, g, dg in parts:
        f = jnp.maximum(channel.left @ g[:-1], jnp.finfo(g.dtype).tiny)
        counts = own.sum()
        multipliers.append(jnp.append((own / f) @ channel.left, -counts))
        relative = (channel.left @ dg[:-1]) / f[:, None]
        heights.append(own @ jnp.log(f) - counts * g[-1])
        bends.append(-(relative.T * own) @ relative)
        if nuisances:
            mixed = jnp.outer(own @ relative, dg[-1])
            scored.append(mixed + mixed.T - counts * jnp.outer(dg[-1], dg[-1]))
    multiplier, nothing = jnp.concatenate(multipliers), jnp.zeros(())
    if nuisances:
        free = len(unit) - nuisances
        gradient = jax.grad(lambda u: multiplier @ near(u))
        ways = jnp.eye(free, len(unit))
        exact = jax.vmap(lambda way: jax.jvp(gradient, (unit,), (way,))[1])(ways)
        bends.append(sum(scored, nothing).at[:free].set(exact).at[:, :free].set(exact.T))
    else:
        bends.append(jnp.tensordot(multiplier, seconds, axes=1))
    return sum(heights, nothing), multiplier @ slopes, sum(bends, nothing)


def _all_features(
    channels: Sequence[FarChannel], probabilities: Sequence[Array], nuisances: Array
) -> Array:
    """Return g and h = log norm of each channel, one after the other."""
    parts = []
    for channel, p in zip(channels, probabilities, strict=True):
        g, norm, _, plain = features(channel, p, nuisances)
        # Steps that lose the norm are refused: nothing is gained by losing it
        kept = jnp.where(norm > POSITIVE_FLOOR * plain, norm, jnp.inf)
        parts.append(jnp.append(g, jnp.log(kept)))
    return jnp.concatenate(parts)


def _expanded_features(
    channels: Sequence[FarChannel],
    values: Callable[[Array], tuple[OscillationParameters, Array]],
    unit: Array,
) -> Callable[[Array], Array]:
    """Return the g and h of all channels as a function of the place, about one place.

    The probabilities are those of their expansion to second order: value and first two derivatives
    are the same, and neither the slopes by many nuisances nor a gradient pass through them.
    """
    free = len(unit) - channels[0].nuisances

    def probabilities(t: Array) -> tuple[Array, ...]:
        return tuple(channel_probabilities(channels, values(unit.at[:free].add(t))[0]))

    def sloped(t: Array) -> tuple[tuple[Array, ...], tuple[tuple[Array, ...], tuple[Array, ...]]]:
        slopes, here = jax.jacfwd(lambda v: (probabilities(v),) * 2, has_aux=True)(t)
        return slopes, (slopes, here)

    seconds, (slopes, here) = jax.jacfwd(sloped, has_aux=True)(jnp.zeros(free))

    def near(u: Array) -> Array:
        t = (u - unit)[:free]
        parts = zip(here, slopes, seconds, strict=True)
        expanded = [p + dp @ t + 0.5 * (ddp @ t) @ t for p, dp, ddp in parts]
        return _all_features(channels, expanded, values(u)[1])

    return near


def _ascent(point: _Point, edges: tuple[Array, Array], parameters: int) -> Array:
    """Newton direction, all curvatures made negative and bounds held where they bind."""
    free = _free(point, edges)
    gradient = point.gradient * free
    hessian = point.hessian * free[:, None] * free - jnp.diag(1.0 - free)
    if len(gradient) == parameters:
        return _uphill(hessian, gradient) * free
    # The nuisances' block is negative definite, by their constraints: they are eliminated, as the
    # eigenvectors of dozens would cost more than the likelihood
    block, mixed = hessian[parameters:, parameters:], hessian[parameters:, :parameters]
    sides = jnp.column_stack([mixed, gradient[parameters:]])
    solved = linalg.cho_solve(linalg.cho_factor(-block), sides)
    reduced = hessian[:parameters, :parameters] + mixed.T @ solved[:, :-1]
    step = _uphill(reduced, gradient[:parameters] + mixed.T @ solved[:, -1])
    return jnp.append(step, solved[:, -1] + solved[:, :-1] @ step) * free


def _uphill(hessian: Array, gradient: Array) -> Array:
    """Newton step with all curvatures made negative."""
    curvature, vectors = jnp.linalg.eigh(hessian)
    size = jnp.maximum(jnp.abs(curvature), 1e-6 * jnp.max(jnp.abs(curvature)))
    return vectors @ ((vectors.T @ gradient) / size)


def _free(point: _Point, edges: tuple[Array, Array]) -> Array:
    """Zero for coordinates whose bound binds, one for the others."""
    below = (point.unit <= edges[0]) & (point.gradient < 0.0)
    above = (point.unit >= edges[1]) & (point.gradient > 0.0)
    return jnp.where(below | above, 0.0, 1.0)


def _gain(point: _Point, edges: tuple[Array, Array], parameters: int) -> Array:
    """Twice the log-likelihood that a Newton step still promises."""
    return point.gradient @ _ascent(point, edges, parameters)
