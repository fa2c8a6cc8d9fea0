"""Gaussian linear inference of structure functions from near-detector data.

Near data are linear in the structure functions w on the nodes. Whitened and projected, they read
y = A w + N(0, 1); with w ~ N(m, C) everything is in closed form (Rasmussen and Williams, Gaussian
Processes for Machine Learning, Eqs. 2.11 and 2.30 to 2.38), and what is large, C over all nodes,
is only ever applied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular
from numpy.typing import ArrayLike
from scipy import sparse

from bayesxs.detector.grid import NodeGrid
from bayesxs.learning.near_problem import smooth_functions
from bayesxs.types import Floats

# Applies the prior covariance of w to columns, shape (3 n_nodes, k)
type Covariance = Callable[[Array], Array]


class LinearData(NamedTuple):
    """Near-detector data with unit noise, y = A w + N(0, 1).

    Attributes:
        design: A on all nodes, for w of unit near-detector rate, shape (r, 3 n_nodes).
        observed: y, shape (r,).
        whiten: takes changes of the near density, rows as in the operator, to changes of y, shape
            (r, rows).
    """

    design: Array
    observed: Array
    whiten: Floats


def near_data(
    matrix: sparse.csr_array,
    observed: ArrayLike,
    expected: ArrayLike,
    nodes: NodeGrid,
    *,
    events: float,
    discretization: float,
    floor: float = 0.02,
    rank: int = 500,
    directions: ArrayLike | None = None,
) -> LinearData:
    """Whiten near-detector data and project them on what smooth structure functions reach.

    The variance of a bin's density is Poisson's, p/N, plus a small term for what quadrature,
    interpolation and projection cannot represent, [discretization (p + floor p_max)]^2.

    Args:
        matrix: K of `Operator.near_matrix`, shape (rows, 3 n_nodes).
        observed: near density or counts, any normalisation, shape (rows,).
        expected: a smooth estimate of it for the variance, any normalisation, shape (rows,).
        nodes: the nodes.
        events: number of near-detector events N; infinite for expected data.
        discretization: relative error of a bin that statistics does not explain.
        floor: relative floor of that error.
        rank: random smooth functions whose images span the projection.
        directions: further changes of the near density to keep, shape (rows, k).
    """
    observed, expected = np.asarray(observed, dtype=float), np.asarray(expected, dtype=float)
    seen = np.nonzero(np.diff(matrix.indptr))[0]
    p = expected[seen] / expected[seen].sum()
    variance = (discretization * (p + floor * p.max())) ** 2 + np.maximum(p, 0.0) / events
    precision = 1.0 / np.sqrt(variance)
    scaled = sparse.csr_array(sparse.diags_array(precision) @ matrix[seen])
    every = np.arange(nodes.size)
    images = scaled @ smooth_functions(nodes, every, rank, 2.0)
    if directions is not None:
        images = np.column_stack([images, precision[:, None] * np.asarray(directions)[seen]])
    images /= np.linalg.norm(images, axis=0)
    basis, _ = np.linalg.qr(images)
    whiten = np.zeros((basis.shape[1], len(observed)))
    whiten[:, seen] = basis.T * precision
    y = whiten @ (observed / observed[seen].sum())
    return LinearData(jnp.asarray((scaled.T @ basis).T), jnp.asarray(y), whiten)


@dataclass(frozen=True)
class Conditioned:
    """w ~ N(m, C), conditioned on y = A w + N(0, 1).

    Attributes:
        prior: applies C.
        gain: C A^T, shape (3 n_nodes, r).
        root: lower Cholesky factor of A C A^T + 1, shape (r, r).
    """

    prior: Covariance
    gain: Array
    root: Array

    @property
    def effective_parameters(self) -> float:
        """Return tr H = tr A C A^T (A C A^T + 1)^-1, what the fit takes from the data."""
        inverse = solve_triangular(self.root, jnp.eye(len(self.root)), lower=True)
        return float(len(self.root) - jnp.sum(inverse**2))

    def regress(self, data: Array) -> Array:
        """Return C A^T (A C A^T + 1)^-1 data: the change of w that follows a change of y."""
        return self.gain @ cho_solve((self.root, True), data)

    def covariance(self, columns: Array) -> Array:
        """Apply the posterior covariance C - C A^T (A C A^T + 1)^-1 A C to columns."""
        return self.prior(columns) - self.regress(self.gain.T @ columns)


@dataclass(frozen=True)
class Spread:
    """The sample covariance of several w.

    Attributes:
        deviations: from their mean, over the root of their number less one, shape (3 n_nodes, M).
    """

    deviations: Array

    @classmethod
    def of(cls, values: ArrayLike) -> Spread:
        """Take the spread of the rows of `values`, shape (M, 3 n_nodes), M >= 2."""
        values = jnp.asarray(values)
        return cls((values - values.mean(axis=0)).T / jnp.sqrt(len(values) - 1.0))

    def covariance(self, columns: Array) -> Array:
        """Apply the sample covariance to columns."""
        return self.deviations @ (self.deviations.T @ columns)


def condition(prior: Covariance, design: Array) -> Conditioned:
    """Condition a Gaussian prior of w on data with unit noise."""
    gain = prior(design.T)
    outer = design @ gain
    return Conditioned(prior, gain, jnp.linalg.cholesky(outer + jnp.eye(len(outer))))


class Modes(NamedTuple):
    """Directions of the uncertainty of w, w(eta) = mean + eta @ modes with eta ~ N(0, 1).

    Attributes:
        modes: shape (K, 3 n_nodes).
        sizes: standard deviation of each in the far density, over its statistical error, largest
            first, for all directions.
        kept: fraction of the far variance that the K modes hold.
    """

    modes: Floats
    sizes: Floats
    kept: float


def select_modes(
    cross: ArrayLike, far: ArrayLike, share: float = 0.999, most: int | None = None
) -> Modes:
    """Return the directions of w that matter to the far density, most important first.

    With B the far density per statistical error and S the covariance of w: B S B^T = U diag(l) U^T,
    mode k is S B^T u_k / sqrt(l_k), the part of w that moves with the k-th far direction. Modes are
    kept until they hold `share` of the trace of l. No parameter of the far detector shifts by more
    than the square root of what is left, in its standard deviations (Cauchy-Schwarz).

    Args:
        cross: S B^T, shape (3 n_nodes, f).
        far: B, shape (f, 3 n_nodes).
        share: fraction of the far variance to keep.
        most: largest number of modes; None for as many as it takes.
    """
    cross, far = np.asarray(cross), np.asarray(far)
    covariance = far @ cross
    sizes, directions = np.linalg.eigh(0.5 * (covariance + covariance.T))
    sizes, directions = np.maximum(sizes[::-1], 0.0), directions[:, ::-1]
    total = sizes.sum()
    if total == 0.0:
        return Modes(np.zeros((0, len(cross))), np.sqrt(sizes), 1.0)
    held = np.cumsum(sizes) / total
    count = min(int(np.searchsorted(held, share)) + 1, len(sizes))
    count = count if most is None else min(count, most)
    modes = (cross @ directions[:, :count] / np.sqrt(sizes[:count])).T
    # The sign of an eigenvector is arbitrary: the largest element is made positive
    largest = np.argmax(np.abs(modes), axis=1)
    modes = modes * np.sign(modes[np.arange(count), largest])[:, None]
    return Modes(modes, np.sqrt(sizes), float(held[count - 1]))
