"""Near data bilinear in structure functions and flux: the cross section integrated out.

Near data are bilinear in the structure functions w and in the nuisances xi of the flux. With the
flux phi (1 + xi_j f_j), whitened as in `linear_model`,

    y = A(xi) w + N(0, 1),    A(xi) = (A_0 + sum_j xi_j A_j)/(1 + c xi),

A_j being the near detector with the flux phi f_j. The denominator keeps the meaning of w, structure
functions of unit near-detector rate: data and far detector are blind to the size of flux and
cross section, and so is the prior then. With w ~ N(m, C) the joint density of near data is exact,

    p(y | xi) = N(y; A(xi) m, A(xi) C A(xi)^T + 1),
    E[w | xi, y] = m + C A(xi)^T (A(xi) C A(xi)^T + 1)^-1 (y - A(xi) m)

(Rasmussen and Williams, Eqs. 2.25 and 2.30): w is integrated out, whatever its directions are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations_with_replacement
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.typing import ArrayLike

from bayesxs.learning.linear_model import Conditioned, Covariance, LinearData, condition
from bayesxs.learning.near_term import NearTerm, fit_term, lowest
from bayesxs.types import Floats

# Variance of a direction of the data, over that of its noise, below which it is left out
LEAST: Final = 1e-2

# Smallest rate of the near detector over the nominal one that a flux may make
LEAST_RATE: Final = 0.05


class Evidence(NamedTuple):
    """The likelihood of near data in the nuisances of the flux, without the cross section.

    Attributes:
        outer: A_a C A_b^T plus its transpose where a < b, for 0 <= a <= b <= J, shape (pairs, p,
            p); the data are projected on p directions in which more than noise is expected.
        images: A_a m, shape (1 + J, p).
        observed: y, shape (p,).
        rate: c, shape (J,).
    """

    outer: Array
    images: Array
    observed: Array
    rate: Array


@jax.jit
def log_evidence(evidence: Evidence, xi: Array) -> Array:
    """Return log p(y | xi) up to a constant, shape ()."""
    _, residual, root = _moments(evidence, xi)
    z = solve_triangular(root, residual, lower=True)
    return -0.5 * z @ z - jnp.log(jnp.diag(root)).sum()


@jax.jit
def _log_evidences(evidence: Evidence, points: Array) -> Array:
    return jax.lax.map(partial(log_evidence, evidence), points)


def _cost(evidence: Evidence, xi: Array) -> Array:
    return 0.5 * xi @ xi - log_evidence(evidence, xi)


def expand_evidence(evidence: Evidence) -> NearTerm:
    """Return near data as a polynomial about the flux that they and the priors make most likely."""
    best, curvature = lowest(_cost, evidence, len(evidence.rate))

    def heights(points: Floats) -> Floats:
        return np.asarray(_log_evidences(evidence, jnp.asarray(points)))

    return fit_term(heights, best, curvature)


def _shares(xi: Array, rate: Array) -> Array:
    """Return (1, xi)/(1 + c xi), shape (1 + J,)."""
    return jnp.append(1.0, xi) / jnp.maximum(1.0 + rate @ xi, LEAST_RATE)


def _moments(evidence: Evidence, xi: Array) -> tuple[Array, Array, Array]:
    """Return (1, xi)/(1 + c xi), y - A m and the Cholesky factor of A C A^T + 1."""
    shares = _shares(xi, evidence.rate)
    first, second = np.triu_indices(len(shares))
    matrix = jnp.tensordot(shares[first] * shares[second], evidence.outer, axes=1)
    root = jnp.linalg.cholesky(matrix + jnp.eye(len(matrix)))
    return shares, evidence.observed - shares @ evidence.images, root


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


class Near(NamedTuple):
    """Near data of an uncertain flux in p directions in which more than noise is expected.

    Attributes:
        evidence: their likelihood of the flux.
        designs: A_0, A_1, ..., shape (p, 3 n_nodes) each.
        gains: C A_a^T, shape (3 n_nodes, p) each.
    """

    evidence: Evidence
    designs: list[Array]
    gains: list[Array]


def bilinear(
    data: LinearData,
    prior: Covariance,
    mean: ArrayLike,
    changes: Sequence[ArrayLike],
    rate: ArrayLike,
) -> Near:
    """Return near data as they depend on cross section and flux.

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
    images = jnp.stack([a @ jnp.asarray(mean) for a in designs])
    observed, slopes = kept.T @ data.observed, jnp.asarray(rate, dtype=float)
    return Near(Evidence(jnp.stack(outer), images, observed, slopes), designs, gains)


def join_flux(near: Near, prior: Covariance, mean: ArrayLike) -> tuple[NearTerm, Follow]:
    """Return near data as a likelihood of the flux, and how the cross section follows it.

    Args:
        near: the data.
        prior: applies C.
        mean: m, shape (3 n_nodes,).
    """
    term = expand_evidence(near.evidence)
    shares = _shares(term.center, near.evidence.rate)
    at_center = jnp.tensordot(shares, jnp.stack(near.designs), axes=1)
    constant, single, double = _expansion(near.evidence, near.gains, term.center)
    conditioned = condition(prior, at_center)
    return term, Follow(np.asarray(mean) + constant, single, double, conditioned)


def _expansion(
    evidence: Evidence, gains: Sequence[Array], center: Array
) -> tuple[Floats, Floats, Floats]:
    """Expand the posterior mean of w - m about a flux; return the polynomial's coefficients."""
    value, slopes, bends = _derivatives(evidence, center)
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
def _derivatives(evidence: Evidence, xi: Array) -> tuple[Array, Array, Array]:
    """Return what gains C A_a^T are multiplied with, and its first and second derivatives.

    Shapes (1 + J, p), (1 + J, p, J) and (1 + J, p, J, J).
    """

    def weights(xi: Array) -> Array:
        shares, residual, root = _moments(evidence, xi)
        return shares[:, None] * cho_solve((root, True), residual)

    slope = jax.jacfwd(weights)
    return weights(xi), slope(xi), jax.jacfwd(slope)(xi)
