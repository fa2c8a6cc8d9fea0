"""A tensor as a table: millions of points ask for what costs an integral over nucleons each.

x times a component of the tensor is a smooth function of (nu, Q^2) down to Q^2 = 0, and all that
cross sections are made of. It is tabulated along

    s = asinh((nu - Q^2/2M)/S),   v = asinh(Q/V),

which resolve the Delta at every Q^2, and interpolated by cubic B-splines. Towards small s the
tensor vanishes, at v = 0 it is even in Q: reflection at both ends is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import ndimage

from bayesxs.constants import NUCLEON_MASS
from bayesxs.physics.helicity import Helicity
from bayesxs.types import Floats

# S and V in GeV, spacing of the nodes
RIDGE_SCALE, Q_SCALE, SPACING = 0.3, 0.15, 0.025
# The range: nu - Q^2/2M from where no channel is left, and Q, in GeV. It holds all of x < 3 up to
# 10 GeV: a single point beyond makes all points of a call as dear as those of no table
RIDGE_LOW, RIDGE_HIGH, Q_HIGH = -6.0, 20.0, 7.1
# Nodes beyond the range at its upper ends, where reflection is wrong
MARGIN = 8
# Q of the first node in GeV: the components themselves diverge at zero
Q_LOW = 1e-3
# Points evaluated at once
CHUNK = 4096


@dataclass(frozen=True)
class Tabulated:
    """A tensor that is interpolated within the range of a table, and exact beyond.

    Attributes:
        exact: gives the components at nu in GeV and Q^2 in GeV^2; zero where nu - Q^2/2M is below
            `RIDGE_LOW` and Q below `Q_HIGH`.
    """

    exact: Callable[[Array, Array], Helicity]

    def __call__(self, nu: Array, q2: Array) -> Helicity:
        """Return the components at energy transfer nu in GeV and Q^2 in GeV^2, positive."""
        ridge = nu - q2 / (2.0 * NUCLEON_MASS)
        inside = (ridge <= RIDGE_HIGH) & (q2 <= Q_HIGH**2)
        s = (jnp.arcsinh(ridge / RIDGE_SCALE) - self._start) / SPACING
        v = jnp.arcsinh(jnp.sqrt(q2) / Q_SCALE) / SPACING
        near = _splined(jnp.asarray(self._table), s, v)
        near = near * (2.0 * NUCLEON_MASS * nu / q2)[..., None]

        def beyond(nu: Array, q2: Array) -> Array:
            return _stacked(self.exact(nu, q2))

        def nowhere(nu: Array, q2: Array) -> Array:
            return jnp.zeros_like(near)

        rest = jax.lax.cond(jnp.all(inside), nowhere, beyond, nu, q2)
        return Helicity(*jnp.moveaxis(jnp.where(inside[..., None], near, rest), -1, 0))

    @property
    def _start(self) -> float:
        return float(np.arcsinh(RIDGE_LOW / RIDGE_SCALE))

    @cached_property
    def _table(self) -> Floats:
        """Spline coefficients of x times the components, shape (s, v, 5)."""
        length = np.arcsinh(RIDGE_HIGH / RIDGE_SCALE) - self._start
        sizes = [
            int(np.ceil(end / SPACING)) + MARGIN for end in (length, np.arcsinh(Q_HIGH / Q_SCALE))
        ]
        s, v = (SPACING * np.arange(size) for size in sizes)
        q2 = np.maximum(Q_SCALE * np.sinh(v), Q_LOW) ** 2
        nu = RIDGE_SCALE * np.sinh(s + self._start)[:, None] + q2 / (2.0 * NUCLEON_MASS)
        rows, columns = np.nonzero(nu > 0.0)
        values = np.zeros((*nu.shape, 5))
        values[rows, columns] = self._values(nu[rows, columns], q2[columns])
        return np.asarray(ndimage.spline_filter1d(ndimage.spline_filter1d(values, axis=0), axis=1))

    def _values(self, nu: Floats, q2: Floats) -> Floats:
        """Return x times the components, shape (n, 5)."""
        values = np.empty((len(nu), 5))
        # Traced code may ask for the table first; it is made of numbers all the same
        with jax.ensure_compile_time_eval():
            exact = jax.jit(lambda nu, q2: _stacked(self.exact(nu, q2)))
            for start in range(0, len(nu), CHUNK):
                part = slice(start, start + CHUNK)
                short = CHUNK - len(nu[part])
                found = exact(*(np.pad(a[part], (0, short), mode="edge") for a in (nu, q2)))
                values[part] = np.asarray(found)[: CHUNK - short]
        return values * (q2 / (2.0 * NUCLEON_MASS * nu))[:, None]


def _stacked(tensor: Helicity) -> Array:
    return jnp.stack(jnp.broadcast_arrays(*tensor), axis=-1)


def _splined(table: Array, s: Array, v: Array) -> Array:
    """Sum the cubic B-splines of a table at positions in units of nodes, shape (..., k)."""
    rows, row_weights = _basis(s, table.shape[0])
    columns, column_weights = _basis(v, table.shape[1])
    total = jnp.zeros((*s.shape, table.shape[2]))
    for row, one in zip(rows, row_weights, strict=True):
        for column, other in zip(columns, column_weights, strict=True):
            part = table.at[row, column].get(mode="promise_in_bounds")
            total += (one * other)[..., None] * part
    return total


def _basis(position: Array, size: int) -> tuple[list[Array], list[Array]]:
    """Return the four nodes around a position, reflected at the ends, and the splines there."""
    position = jnp.clip(position, 0.0, size - 2.0)
    cell = jnp.minimum(jnp.floor(position), size - 3.0)
    t = position - cell
    r = 1.0 - t
    index = cell.astype(jnp.int32)
    nodes = [jnp.abs(index - 1), index, index + 1, index + 2]
    weights = [r**3, 4.0 - 3.0 * t**2 * (1.0 + r), 4.0 - 3.0 * r**2 * (1.0 + t), t**3]
    return nodes, [w / 6.0 for w in weights]
