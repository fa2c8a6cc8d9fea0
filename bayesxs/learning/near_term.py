"""The near data as a term of a joint model: a likelihood of the flux, as a polynomial.

The likelihood log p(y | xi) of near data in the nuisances xi of the flux (`flux_evidence`) takes a
Cholesky factor of hundreds of data for each flux. It is a smooth function of few numbers, and far
from normal only by a little: a polynomial of z = L (xi - center), in which near data and priors
together have unit widths, is fitted once to exact values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import count
from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import chi

from bayesxs.types import Floats

# Degrees of the polynomial are tried upwards until its root mean square error, in log likelihood,
# is as small as this, or its terms are too many
ENOUGH, MOST_TERMS, MOST_DEGREE = 0.02, 2000, 8

# Widths of the normal distribution of fluxes to which it is fitted, over those of near data and
# priors; exact values for each of its terms; other fluxes that say how good it is
WIDENING, POINTS_PER_TERM, CHECKS = 1.3, 3, 100

# Probability that such a flux lies beyond the radius where the polynomial ends
BEYOND: Final = 1e-4


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["center", "whiten", "coefficients", "error"],
    meta_fields=["first"],
)
@dataclass(frozen=True)
class NearTerm:
    """The likelihood of near data in the nuisances of the flux, without the cross section.

    log p(y | xi) is a polynomial of z = whiten (xi - center). Beyond a radius in z it keeps its
    value along the ray: a polynomial could lead chains to infinity, where the priors then do not.

    Attributes:
        center: flux that near data and priors make most likely, shape (J,).
        whiten: L, with L^T L the curvature of both there, shape (J, J).
        coefficients: of the monomials of z, by degree, shape (terms,).
        error: root mean square of what the polynomial is wrong by, over fluxes that near data and
            priors allow, shape ().
        first: place of the flux nuisances in the vector of all.
    """

    center: Array
    whiten: Array
    coefficients: Array
    error: Array
    first: int = 0

    def own(self, nuisances: Array) -> Array:
        """Return the nuisances of the flux among all, shape (J,)."""
        return jax.lax.slice_in_dim(nuisances, self.first, self.first + len(self.center))

    def log_prob(self, nuisances: ArrayLike) -> Array:
        """Return log p(y | xi) up to a constant, shape ().

        Args:
            nuisances: all of the model, in units of their prior widths, shape (q,).
        """
        return _log_prob(self, self.own(jnp.asarray(nuisances, dtype=float)))

    def blind(self) -> NearTerm:
        """Return a term of the same shape that tells nothing of the flux."""
        return replace(self, coefficients=jnp.zeros_like(self.coefficients))


def near_log_prob(terms: Iterable[NearTerm], nuisances: Array) -> Array:
    """Return the sum of `NearTerm.log_prob`: near data of several targets share the flux."""
    return sum((term.log_prob(nuisances) for term in terms), jnp.zeros(()))


class _Monomials(NamedTuple):
    """How monomials of each degree come from those of the degree below."""

    parents: tuple[NDArray[np.intp], ...]
    factors: tuple[NDArray[np.intp], ...]


@lru_cache
def _monomials(variables: int, degree: int) -> _Monomials:
    parents, factors = [], []
    last = np.zeros(1, dtype=np.intp)  # the highest variable of each monomial of a degree
    for _ in range(degree):
        pairs = [(i, v) for i, low in enumerate(last) for v in range(low, variables)]
        parent, factor = (np.array(column, dtype=np.intp) for column in zip(*pairs, strict=True))
        parents.append(parent)
        factors.append(factor)
        last = factor
    return _Monomials(tuple(parents), tuple(factors))


def _degree(variables: int, terms: int) -> int:
    """Return the degree of a polynomial with so many terms."""
    return next(d for d in count(1) if math.comb(variables + d, d) >= terms)


def _powers[Numbers: (Array, Floats)](z: Numbers, degree: int) -> list[Numbers]:
    """Return all monomials of z up to a degree, shape (..., terms) for each degree."""
    table = _monomials(z.shape[-1], degree)
    parts = [0.0 * z[..., :1] + 1.0]
    for parent, factor in zip(table.parents, table.factors, strict=True):
        parts.append(parts[-1][..., parent] * z[..., factor])
    return parts


def _radius(variables: int) -> float:
    return WIDENING * float(chi.isf(BEYOND, variables))


def _log_prob(term: NearTerm, xi: Array) -> Array:
    z = term.whiten @ (xi - term.center)
    square, radius = z @ z, _radius(len(z))
    z = z * jnp.where(square > radius**2, radius / jnp.sqrt(jnp.maximum(square, radius**2)), 1.0)
    powers = _powers(z, _degree(len(z), len(term.coefficients)))
    return term.coefficients @ jnp.concatenate(powers)


def fit_term(
    heights: Callable[[Floats], Floats], center: Floats, curvature: Floats, seed: int = 0
) -> NearTerm:
    """Return a polynomial of log p(y | xi), fitted to exact values by least squares.

    Args:
        heights: log p(y | xi) of points, shape (points, J), up to a constant.
        center: where it and the log priors together are largest, shape (J,).
        curvature: of both there, shape (J, J).
        seed: of the points, which are fixed: an interpolation, not a sample.
    """
    whiten = np.linalg.cholesky(curvature).T
    size, rng = len(center), np.random.default_rng(seed)

    def values(z: Floats) -> Floats:
        return heights(center + np.linalg.solve(whiten, z.T).T) - start

    start = 0.0
    start = float(values(np.zeros((1, size)))[0])
    checked = rng.standard_normal((CHECKS, size))
    known = values(checked)
    z, targets = np.zeros((0, size)), np.zeros(0)
    for degree in range(2, MOST_DEGREE + 1):
        terms = math.comb(size + degree, degree)
        if degree > 2 and terms > MOST_TERMS:
            break
        more = WIDENING * rng.standard_normal((POINTS_PER_TERM * terms - len(z), size))
        more *= np.minimum(1.0, _radius(size) / np.linalg.norm(more, axis=1))[:, None]
        z, targets = np.concatenate([z, more]), np.concatenate([targets, values(more)])
        table = np.concatenate(_powers(z, degree), axis=1)
        coefficients = np.linalg.lstsq(table, targets, rcond=None)[0]
        missed = np.concatenate(_powers(checked, degree), axis=1) @ coefficients - known
        if missed.std() < ENOUGH:
            break
    arrays = [jnp.asarray(a, dtype=float) for a in (center, whiten, coefficients, missed.std())]
    return NearTerm(arrays[0], arrays[1], arrays[2], arrays[3])


class Constraint(NamedTuple):
    """A Gaussian constraint of all nuisances of a model.

    Attributes:
        mean: shape (q,).
        precision: shape (q, q).
        root: of its inverse, root @ root.T, shape (q, q).
    """

    mean: Array
    precision: Array
    root: Array


def near_constraint(terms: Sequence[NearTerm], size: int) -> Constraint:
    """Return near data and standard normal priors as one Gaussian, at their maximum.

    Args:
        terms: near data of each target, of the same nuisances.
        size: number of all nuisances q.
    """
    place = slice(terms[0].first, terms[0].first + len(terms[0].center))
    mean, precision = np.zeros(size), np.eye(size)
    mean[place], precision[place, place] = lowest(_cost, tuple(terms), len(terms[0].center))
    covariance = np.linalg.inv(precision)
    root = np.linalg.cholesky(0.5 * (covariance + covariance.T))
    return Constraint(*(jnp.asarray(part) for part in (mean, precision, root)))


def _cost(terms: tuple[NearTerm, ...], xi: Array) -> Array:
    return 0.5 * xi @ xi - sum((_log_prob(term, xi) for term in terms), jnp.zeros(()))


def lowest[Data](
    cost: Callable[[Data, Array], Array], data: Data, size: int
) -> tuple[Floats, Floats]:
    """Return where a function of the flux's nuisances is least, and its curvature there.

    Args:
        cost: of the data, a PyTree, and of the nuisances, shape (J,).
        data: that it takes.
        size: number of the nuisances J.

    Returns:
        The place, shape (J,), and the Hessian, shape (J, J).
    """

    def value_and_slope(xi: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _value_and_slope(cost, data, jnp.asarray(xi))
        return float(value), np.asarray(slope)

    best = minimize(value_and_slope, np.zeros(size), jac=True, method="BFGS").x
    curvature = np.asarray(_curvature(cost, data, jnp.asarray(best)))
    return best, 0.5 * (curvature + curvature.T)


@partial(jax.jit, static_argnums=0)
def _value_and_slope(
    cost: Callable[[Any, Array], Array], data: object, xi: Array
) -> tuple[Array, Array]:
    return jax.value_and_grad(cost, argnums=1)(data, xi)


@partial(jax.jit, static_argnums=0)
def _curvature(cost: Callable[[Any, Array], Array], data: object, xi: Array) -> Array:
    # Column by column: Hessians of a batch have given garbage on the CPU (jaxlib 0.12.0)
    slope = jax.grad(partial(cost, data))
    return jax.lax.map(lambda axis: jax.jvp(slope, (xi,), (axis,))[1], jnp.eye(len(xi)))


def near_moments(
    terms: Sequence[NearTerm], draws: int = 1000, widening: float = 1.2
) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the flux nuisances given the near data, (J,) each.

    By importance sampling from a Gaussian somewhat wider than that at the maximum; a few percent of
    a standard deviation are its Monte Carlo error.

    Args:
        terms: near data of each target, of the same nuisances.
        draws: of the Gaussian.
        widening: of its standard deviations.
    """
    own = [replace(term, first=0) for term in terms]
    known = near_constraint(own, len(own[0].center))
    rng = np.random.default_rng(0)  # a fixed set of points: an integral, not a sample
    standard = rng.standard_normal((draws, len(known.mean)))
    points = np.asarray(known.mean) + widening * standard @ np.asarray(known.root).T
    heights = -np.asarray(_costs(tuple(own), jnp.asarray(points)))
    logs = heights + 0.5 * np.sum(standard**2, axis=1)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    mean = weights @ points
    return mean, np.sqrt(weights @ (points - mean) ** 2)


@jax.jit
def _costs(terms: tuple[NearTerm, ...], points: Array) -> Array:
    return jax.lax.map(partial(_cost, terms), points)
