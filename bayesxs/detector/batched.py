"""Many sets of structure functions folded at once: modes, what follows them, draws.

The stencil of each quadrature point is laid out once and multiplied with all sets together, which
one by one would gather from it, and from the points' rows and energies, as many times.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from bayesxs.detector.operator import Operator
from bayesxs.types import Floats

# Points times sets, and rows times energies times sets, at once: they bound memory
_SIZE, _ROWS = 1 << 22, 1 << 24


def responses(
    operator: Operator, values: ArrayLike, summed: sparse.csr_array | None = None
) -> Floats:
    """Return T[set, row, E] of many sets, each as `Operator.response` gives it.

    Args:
        operator: of the rows.
        values: Bernstein coefficients on the nodes, shape (sets, n_nodes, 3).
        summed: sums rows, shape (sums, rows), with at most one entry in each column.
    """
    table = np.asarray(values, dtype=float)
    n = len(operator.energies.points)
    row, factor, count = _targets(operator, summed)
    result = np.empty((len(table), count, n))
    at_once = max(1, _ROWS // max(count * n, 1))
    for start in range(0, len(table), at_once):
        chosen = slice(start, start + at_once)
        folded = _folded(operator, table[chosen], row, factor, count)
        result[chosen] = folded.T.reshape(-1, count, n)
    return result


def _folded(
    operator: Operator, table: Floats, row: NDArray[np.intp], factor: Floats, count: int
) -> Floats:
    """Sum the points' cross sections onto rows and energies, shape (count * E, sets)."""
    n = len(operator.energies.points)
    out = np.zeros((count * n, len(table)))
    for part, found in _cross_sections(operator, table):
        first, last = int(row[part].min()), int(row[part].max()) + 1
        place = (row[part].astype(np.int64) - first) * n + operator.start_e[part]
        places = place[:, None] + np.arange(operator.energies.order)
        points = np.broadcast_to(np.arange(len(place))[:, None], places.shape)
        weights = operator.weights_e[part] * factor[part, None]
        shape = ((last - first) * n, len(place))
        folding = sparse.coo_array((weights.ravel(), (places.ravel(), points.ravel())), shape)
        out[first * n : last * n] += folding.tocsr() @ found
    return out


def negative_shares(operator: Operator, values: ArrayLike, weights: Floats) -> Floats:
    """Return the negative part of sum_p weights_p sigma_p over that of |.|, for many sets, (sets,).

    Args:
        operator: of the points.
        values: Bernstein coefficients on the nodes, shape (sets, n_nodes, 3).
        weights: of the points, shape (p,).
    """
    table = np.asarray(values, dtype=float)
    negative, all_of_it = np.zeros(len(table)), np.zeros(len(table))
    for part, found in _cross_sections(operator, table):
        rate = weights[part, None] * found
        negative -= np.minimum(rate, 0.0).sum(axis=0)
        all_of_it += np.abs(rate).sum(axis=0)
    return negative / all_of_it


def _targets(
    operator: Operator, summed: sparse.csr_array | None
) -> tuple[NDArray[np.intp], Floats, int]:
    """Return for each point the row that it counts in and its factor, and the number of rows."""
    if summed is None:
        return operator.row.astype(np.intp), np.ones(len(operator.row)), operator.n_rows
    columns = summed.tocsc()
    entries = np.diff(columns.indptr)
    target, factor = np.zeros(summed.shape[1], np.intp), np.zeros(summed.shape[1])
    target[entries > 0], factor[entries > 0] = columns.indices, columns.data
    return target[operator.row], factor[operator.row], summed.shape[0]


def _cross_sections(operator: Operator, table: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield points and the cross sections of all sets there, shape (points, sets)."""
    flat = np.ascontiguousarray(table.reshape(len(table), -1).T)
    offsets = np.arange(operator.weights_u.shape[1])
    size = max(1, _SIZE // max(len(table), 3 * offsets.size**2))
    for start in range(0, len(operator.row), size):
        part = slice(start, min(start + size, len(operator.row)))
        weights = operator.weights_u[part, :, None] * operator.weights_v[part, None, :]
        node = (operator.start_u[part, None] + offsets)[:, :, None] * len(operator.nodes.v)
        node = node + (operator.start_v[part, None] + offsets)[:, None, :]
        data = weights[..., None] * operator.coefficients[part, None, None, :]
        columns = 3 * node[..., None] + np.arange(3)
        count, stencil = len(data), 3 * offsets.size**2
        pointer = np.arange(0, count * stencil + 1, stencil)
        stencils = sparse.csr_array((data.ravel(), columns.ravel(), pointer), (count, len(flat)))
        yield part, stencils @ flat
