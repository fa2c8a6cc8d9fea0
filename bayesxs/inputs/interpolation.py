"""Interpolation of a table of x f(x, Q^2) inside JAX, and its continuation outside the table.

The formulas are those of LHAPDF 6.5 (arXiv:1412.7420).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from bayesxs.types import Floats, Numbers

# LHAPDF's continuation towards low Q^2 reads the logarithmic slope off Q_min^2 and 1.01 Q_min^2.
LOW_Q2_STEP = 0.01
LOW_Q2_TINY = 1e-5
LOW_Q2_MIN_SLOPE = -2.5
# Above this, LHAPDF continues the logarithm of a value; below it, the value itself.
LOG_CONTINUATION_MIN = 1e-3


class Axis(NamedTuple):
    """One logarithmic axis: knots, and for each cell the constants of the cubic weights."""

    knots: Floats  # (n,)
    # (n - 1, 6): ln of the left knot, 1/width, and the four slope coefficients of `_weights`
    cells: Floats


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["x_axis", "q2_axis", "values", "beyond"],
    meta_fields=["q2_min", "linear_cells"],
)
@dataclass(frozen=True, eq=False)
class Table:
    """A table of x f(x, Q^2) and the constants of its interpolation; a JAX pytree.

    Attributes:
        x_axis: axis in x.
        q2_axis: axis in Q^2, GeV^2.
        values: on the knots, shape (nx, nq, nf).
        beyond: at 1.01 Q_min^2, and at the last Q^2 knot but one, shape (2, nx, nf).
        q2_min: lowest tabulated Q^2 in GeV^2.
        linear_cells: whether a subgrid has two knots only.
    """

    x_axis: Axis
    q2_axis: Axis
    values: Floats
    beyond: Floats
    q2_min: float
    linear_cells: bool

    @classmethod
    def of_knots(cls, x: Floats, q2: Floats, values: Floats) -> Table:
        """Precompute the constants of the interpolation.

        Args:
            x: knots in x, shape (nx,); a repeated knot is the edge of a subgrid.
            q2: knots in Q^2, GeV^2, shape (nq,).
            values: shape (nx, nq, nf).
        """
        x_axis, q2_axis = axis_of(x), axis_of(q2)
        q2_min = float(q2[0])
        step, weights = knot_weights(q2_axis, (1 + LOW_Q2_STEP) * q2_min)
        stepped = np.einsum("j,xjf->xf", weights, values[:, step])
        return cls(
            x_axis=x_axis,
            q2_axis=q2_axis,
            values=values,
            beyond=np.stack([stepped, values[:, -2]]),
            q2_min=q2_min,
            linear_cells=bool(np.any(is_linear(q2_axis.cells))),
        )


def axis_of(knots: Floats) -> Axis:
    """Tabulate ln knot, 1/width and slope coefficients per cell.

    A repeated knot is the edge of a subgrid.
    """
    u = np.log(knots)
    h = np.diff(u)
    before = np.append(0.0, h[:-1])
    after = np.append(h[1:], 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(h > 0, 1 / h, 0.0)
        left = np.where(before > 0, 0.5 * h / before, 0.0)
        right = np.where(after > 0, 0.5 * h / after, 0.0)
    # The cell's own slope counts half in a central difference and wholly in a one-sided one.
    own_left = np.where(before > 0, 0.5, 1.0)
    own_right = np.where(after > 0, 0.5, 1.0)
    return Axis(knots, np.stack([u[:-1], inverse, left, own_left, own_right, right], axis=1))


def is_linear(cells: Numbers) -> Numbers:
    """Tell the cells of subgrids with two knots only, where LHAPDF falls back to bilinear."""
    return (cells[..., 3] == 1.0) & (cells[..., 4] == 1.0)


def _weights(cell: Numbers, log_value: Numbers) -> tuple[tuple[Numbers, ...], Numbers]:
    """Return the weights of the four knots around a cell, and the fraction t across the cell.

    Cubic Hermite through knots 1 and 2, with slopes m1 = left (v1 - v0) + own_left (v2 - v1) and
    m2 = own_right (v2 - v1) + right (v3 - v2) in units of the cell: linear in the four values.
    """
    left, own_left, own_right, right = (cell[..., i] for i in range(2, 6))
    t = (log_value - cell[..., 0]) * cell[..., 1]
    s = 1 - t
    h01 = t * t * (3 - 2 * t)
    h10 = t * s * s
    h11 = -t * t * s
    weights = (
        -left * h10,
        (1 - h01) + (left - own_left) * h10 - own_right * h11,
        h01 + own_left * h10 + (own_right - right) * h11,
        right * h11,
    )
    return weights, t


def knot_weights(axis: Axis, value: float) -> tuple[NDArray[np.intp], Floats]:
    """Return indices and weights of the four knots that interpolate at one fixed value."""
    last = len(axis.knots) - 1
    cell = int(np.clip(np.searchsorted(axis.knots, value, side="right") - 1, 0, last - 1))
    weights, t = _weights(axis.cells[cell], np.log(value))
    if is_linear(axis.cells[cell]):
        weights = (0.0, 1 - t, t, 0.0)
    return np.clip(cell + np.arange(-1, 3), 0, last), np.array(weights)


def _locate(axis: Axis, value: Array) -> tuple[list[Array], tuple[Array, ...], Array, Array]:
    """Return knot indices, cubic weights, t, and the bilinear flag of each value's cell."""
    last = len(axis.knots) - 1
    cell = jnp.clip(jnp.searchsorted(axis.knots, value, side="right") - 1, 0, last - 1)
    rows = _rows(jnp.asarray(axis.cells), cell)
    weights, t = _weights(rows, jnp.log(value))
    # A weight beyond an edge is zero: any valid index does there.
    indices = [jnp.clip(cell + shift, 0, last) for shift in (-1, 0, 1, 2)]
    return indices, weights, t, is_linear(rows)


def _weighted(table: Array, indices: list[Array], weights: list[Array]) -> Float[Array, "n f"]:
    """Sum rows of a table; unrolled so that XLA fuses the gathers into one loop."""
    terms = (
        weight[:, None] * _rows(table, index)
        for index, weight in zip(indices, weights, strict=True)
    )
    return reduce(jnp.add, terms)


def _rows(table: Array, index: Array) -> Array:
    return table.at[index].get(mode="promise_in_bounds")


@partial(jax.jit, static_argnames="columns", inline=True)
def interpolated(
    table: Table, x: Array, q2: Array, columns: tuple[int, ...]
) -> Float[Array, "n f"]:
    """Evaluate at points in or outside the table: x and q2 of shape (n,)."""
    x_knots, q2_knots = table.x_axis.knots, table.q2_axis.knots
    nq = len(q2_knots)
    x_in = jnp.clip(x, x_knots[0], x_knots[-1])
    q2_in = jnp.clip(q2, q2_knots[0], q2_knots[-1])
    x_index, x_weight, tx, _ = _locate(table.x_axis, x_in)
    q_index, q_weight, tq, linear = _locate(table.q2_axis, q2_in)
    if table.linear_cells:
        zero = jnp.zeros_like(tx)
        x_linear, q_linear = (zero, 1 - tx, tx, zero), (zero, 1 - tq, tq, zero)
        x_weight = tuple(jnp.where(linear, a, b) for a, b in zip(x_linear, x_weight, strict=True))
        q_weight = tuple(jnp.where(linear, a, b) for a, b in zip(q_linear, q_weight, strict=True))

    values = jnp.asarray(table.values)[:, :, np.array(columns)]
    flat = values.reshape(-1, len(columns))
    beyond = jnp.asarray(table.beyond)[:, :, np.array(columns)].reshape(-1, len(columns))
    low, high, small = q2 < q2_knots[0], q2 > q2_knots[-1], x < x_knots[0]
    row = jnp.where(low, 0, len(x_knots))

    # At (x, Q^2) moved into the table, and at the second Q^2 that a continuation in Q^2 needs;
    # then both again at the second x knot, which a continuation in x needs.
    inside = _weighted(
        flat,
        [i * nq + j for i in x_index for j in q_index],
        [a * b for a in x_weight for b in q_weight],
    )
    second = _weighted(beyond, [row + i for i in x_index], list(x_weight))
    inside_1 = _weighted(values[1], q_index, list(q_weight))
    second_1 = _rows(beyond, row + 1)

    fraction_q = _fraction(jnp.maximum(q2, q2_knots[-1]), q2_knots[-1], q2_knots[-2])[:, None]
    x_below = jnp.where(small & (x > 0), x, x_knots[0])
    fraction_x = _fraction(x_below, x_knots[0], x_knots[1])[:, None]
    high, low, small = high[:, None], low[:, None], small[:, None]
    inside = jnp.where(high, _straight(inside, second, fraction_q), inside)
    inside_1 = jnp.where(high, _straight(inside_1, second_1, fraction_q), inside_1)
    inside = jnp.where(small, _straight(inside, inside_1, fraction_x), inside)
    second = jnp.where(small, _straight(second, second_1, fraction_x), second)

    ratio = jnp.where(low & (q2[:, None] > 0), q2[:, None] / table.q2_min, 1.0)
    result = jnp.where(low, _towards_zero(inside, second, ratio), inside)
    result = jnp.where(q2[:, None] == 0, 0.0, result)
    allowed = (x > 0) & (x <= x_knots[-1]) & (q2 >= 0)
    return jnp.where(allowed[:, None], result, jnp.nan)


def _fraction(value: Array, first: Numbers, second: Numbers) -> Array:
    return jnp.log(value / first) / jnp.log(second / first)


def _straight(first: Array, second: Array, fraction: Array) -> Array:
    """Continue a straight line through two values, or their logarithms where both are large."""
    both = (first > LOG_CONTINUATION_MIN) & (second > LOG_CONTINUATION_MIN)
    log_first = jnp.log(jnp.where(both, first, 1.0))
    log_second = jnp.log(jnp.where(both, second, 1.0))
    in_log = jnp.exp(log_first + fraction * (log_second - log_first))
    return jnp.where(both, in_log, first + fraction * (second - first))


def _towards_zero(first: Array, second: Array, ratio: Array) -> Array:
    """Continue below Q_min^2 from the values at Q_min^2 and 1.01 Q_min^2."""
    tiny = jnp.abs(first) < LOW_Q2_TINY
    slope = (second - first) / jnp.where(tiny, 1.0, first) / LOW_Q2_STEP
    slope = jnp.where(tiny, 1.0, jnp.maximum(slope, LOW_Q2_MIN_SLOPE))
    return first * ratio ** (slope * ratio + 1 - ratio)
