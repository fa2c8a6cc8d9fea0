"""The near data as a term of a joint model: a likelihood of the flux, and what w does with it.

Near data are bilinear in the structure functions w and in the nuisances xi of the flux. With the
flux phi (1 + xi_j f_j), whitened as in `linear_model`,

    y = A(xi) w + N(0, 1),    A(xi) = (A_0 + sum_j xi_j A_j)/(1 + c xi),

A_j being the near detector with the flux phi f_j. The denominator keeps the meaning of w, structure
functions of unit near-detector rate: data and far detector are blind to the size of flux and cross
section, and so is the prior then. With w ~ N(m, C) the joint density of near data is exact,

    p(y | xi) = N(y; A(xi) m, A(xi) C A(xi)^T + 1),
    E[w | xi, y] = m + C A(xi)^T (A(xi) C A(xi)^T + 1)^-1 (y - A(xi) m)

(Rasmussen and Williams, Eqs. 2.25 and 2.30): w is integrated out, whatever its directions are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations_with_replacement
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.typing import ArrayLike
from scipy.optimize import minimize

from bayesxs.learning.linear_model import Conditioned, Covariance, LinearData, condition
from bayesxs.types import Floats

# Variance of a direction of the data, over that of its noise, below which it is left out
LEAST: Final = 1e-2

# Smallest rate of the near detector over the nominal one that a flux may make
LEAST_RATE: Final = 0.05


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["outer", "images", "observed", "rate"],
    meta_fields=["first"],
)
@dataclass(frozen=True)
class NearTerm:
    """The likelihood of near data in the nuisances of the flux, without the cross section.

    Attributes:
        outer: A_a C A_b^T plus its transpose where a < b, for 0 <= a <= b <= J, shape (pairs, p,
            p); the data are projected on p directions in which more than noise is expected.
        images: A_a m, shape (1 + J, p).
        observed: y, shape (p,).
        rate: c, shape (J,).
        first: place of the flux nuisances in the vector of all.
    """

    outer: Array
    images: Array
    observed: Array
    rate: Array
    first: int = 0

    def own(self, nuisances: Array) -> Array:
        """Return the nuisances of the flux among all, shape (J,)."""
        return jax.lax.slice_in_dim(nuisances, self.first, self.first + len(self.rate))

    def log_prob(self, nuisances: ArrayLike) -> Array:
        """Return log p(y | xi) up to a constant, shape ().

        Args:
            nuisances: all of the model, in units of their prior widths, shape (q,).
        """
        return _log_prob(self, self.own(jnp.asarray(nuisances, dtype=float)))


def near_log_prob(terms: Iterable[NearTerm], nuisances: Array) -> Array:
    """Return the sum of `NearTerm.log_prob`: near data of several targets share the flux."""
    return sum((term.log_prob(nuisances) for term in terms), jnp.zeros(()))


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


def near_constraint(terms: Sequence[NearTerm], count: int) -> Constraint:
    """Return near data and standard normal priors as one Gaussian, at their maximum.

    Args:
        terms: near data of each target, of the same nuisances.
        count: number of all nuisances q.
    """
    place = slice(terms[0].first, terms[0].first + len(terms[0].rate))

    def cost(xi: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _cost_and_slope(tuple(terms), jnp.asarray(xi))
        return float(value), np.asarray(slope)

    best = minimize(cost, np.zeros(len(terms[0].rate)), jac=True, method="BFGS").x
    own = np.asarray(_curvature(tuple(terms), jnp.asarray(best)))
    mean, precision = np.zeros(count), np.eye(count)
    mean[place], precision[place, place] = best, 0.5 * (own + own.T)
    covariance = np.linalg.inv(precision)
    root = np.linalg.cholesky(0.5 * (covariance + covariance.T))
    return Constraint(*(jnp.asarray(part) for part in (mean, precision, root)))


def _cost(terms: tuple[NearTerm, ...], xi: Array) -> Array:
    return 0.5 * xi @ xi - sum((_log_prob(term, xi) for term in terms), jnp.zeros(()))


_cost_and_slope = jax.jit(jax.value_and_grad(_cost, argnums=1))


@jax.jit
def _curvature(terms: tuple[NearTerm, ...], xi: Array) -> Array:
    # Column by column: Hessians of a batch have given garbage on the CPU (jaxlib 0.12.0)
    slope = jax.grad(partial(_cost, terms))
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
    known = near_constraint(own, len(own[0].rate))
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


def _shares(xi: Array, rate: Array) -> Array:
    """Return (1, xi)/(1 + c xi), shape (1 + J,)."""
    return jnp.append(1.0, xi) / jnp.maximum(1.0 + rate @ xi, LEAST_RATE)


def _moments(term: NearTerm, xi: Array) -> tuple[Array, Array, Array]:
    """Return (1, xi)/(1 + c xi), y - A m and the Cholesky factor of A C A^T + 1."""
    shares = _shares(xi, term.rate)
    first, second = np.triu_indices(len(shares))
    matrix = jnp.tensordot(shares[first] * shares[second], term.outer, axes=1)
    root = jnp.linalg.cholesky(matrix + jnp.eye(len(matrix)))
    return shares, term.observed - shares @ term.images, root


@jax.jit
def _log_prob(term: NearTerm, xi: Array) -> Array:
    _, residual, root = _moments(term, xi)
    z = solve_triangular(root, residual, lower=True)
    return -0.5 * z @ z - jnp.log(jnp.diag(root)).sum()


class Follow(NamedTuple):
    """E[w | xi, y] to second order: mean + sum_j xi_j single_j + sum_{a <= b} xi_a xi_b double_ab.

    It is expanded where near data and priors of the flux together are largest.

    Attributes:
        mean: shape (3 n_nodes,).
        single: shape (J, 3 n_nodes).
        double: of the pairs (0, 0), (0, 1), ..., (1, 1), ..., shape (J (J + 1)/2, 3 n_nodes).
        conditioned: the distribution of w about it, at that flux.
    """

    mean: Floats
    single: Floats
    double: Floats
    conditioned: Conditioned


def join_flux(
    data: LinearData,
    prior: Covariance,
    mean: ArrayLike,
    changes: Sequence[ArrayLike],
    rate: ArrayLike,
) -> tuple[NearTerm, Follow]:
    """Return near data as a likelihood of the flux, and how the cross section follows it.

    Args:
        data: whitened near data at the nominal flux.
        prior: applies C.
        mean: m, shape (3 n_nodes,).
        changes: A_j of each flux nuisance, shape (r, 3 n_nodes).
        rate: c, relative change of the near rate per unit of each, shape (J,).
    """
    designs = [data.design, *(jnp.asarray(change) for change in changes)]
    variance = np.asarray(sum(a @ prior(a.T) for a in designs))
    sizes, directions = np.linalg.eigh(0.5 * (variance + variance.T))
    kept = jnp.asarray(directions[:, sizes > LEAST])
    designs = [kept.T @ a for a in designs]
    gains = [prior(a.T) for a in designs]
    outer = []
    for a, b in combinations_with_replacement(range(len(designs)), 2):
        block = designs[a] @ gains[b]
        outer.append(0.5 * (block + block.T) if a == b else block + block.T)
    term = NearTerm(
        jnp.stack(outer),
        jnp.stack([a @ jnp.asarray(mean) for a in designs]),
        kept.T @ data.observed,
        jnp.asarray(rate, dtype=float),
    )
    center = near_constraint([term], len(term.rate)).mean
    at_center = jnp.tensordot(_shares(center, term.rate), jnp.stack(designs), axes=1)
    constant, single, double = _expansion(term, gains, center)
    conditioned = condition(prior, at_center)
    return term, Follow(np.asarray(mean) + constant, single, double, conditioned)


def _expansion(
    term: NearTerm, gains: Sequence[Array], center: Array
) -> tuple[Floats, Floats, Floats]:
    """Expand the posterior mean of w - m about a flux; return the polynomial's coefficients."""
    value, slopes, bends = _derivatives(term, center)
    # About zero: v + (xi - c) s + (xi - c) b (xi - c)/2
    value = value - slopes @ center + 0.5 * (bends @ center) @ center
    slopes = slopes - bends @ center
    columns = jnp.concatenate(gains, axis=1)
    first, second = np.triu_indices(len(center))
    # Off the diagonal each product stands twice in the Taylor series
    factor = jnp.where(first == second, 0.5, 1.0)
    flat = (a.reshape(columns.shape[1], *a.shape[2:]) for a in (value, slopes, bends))
    constant, single, double = flat
    double = factor * double[:, first, second]
    return (
        np.asarray(columns @ constant),
        np.asarray(columns @ single).T,
        np.asarray(columns @ double).T,
    )


@jax.jit
def _derivatives(term: NearTerm, xi: Array) -> tuple[Array, Array, Array]:
    """Return what gains C A_a^T are multiplied with, and its first and second derivatives.

    Shapes (1 + J, p), (1 + J, p, J) and (1 + J, p, J, J).
    """

    def weights(xi: Array) -> Array:
        shares, residual, root = _moments(term, xi)
        return shares[:, None] * cho_solve((root, True), residual)

    slope = jax.jacfwd(weights)
    return weights(xi), slope(xi), jax.jacfwd(slope)(xi)
