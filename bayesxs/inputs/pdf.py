"""Parton distributions x f(x, Q^2): LHAPDF6 grids inside JAX, or the official library.

Interpolation and the continuation outside a grid follow LHAPDF 6.5 (arXiv:1412.7420).
"""

from __future__ import annotations

import importlib
import importlib.resources
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.lhagrid import KnotGrid, find_pdf_set, list_pdf_sets, read_lhagrid, set_name

__all__ = [
    "PDF",
    "GridPDF",
    "LHAPDFSet",
    "embedded_ct18nnlo",
    "embedded_les_houches",
    "find_pdf_set",
    "list_pdf_sets",
    "load_lhapdf_grid",
    "load_official",
    "require_flavors",
    "with_heavy_flavors",
]

HEAVY = (4, -4, 5, -5, 6, -6)  # charm, bottom, top

# LHAPDF's continuation towards low Q^2 reads the logarithmic slope off Q_min^2 and 1.01 Q_min^2.
LOW_Q2_STEP = 0.01
LOW_Q2_TINY = 1e-5
LOW_Q2_MIN_SLOPE = -2.5
# Above this, LHAPDF continues the logarithm of a value; below it, the value itself.
LOG_CONTINUATION_MIN = 1e-3


class PDF(Protocol):
    """Anything that gives x f(x, Q^2)."""

    @property
    def name(self) -> str:
        """Name of the set."""

    @property
    def q2_min(self) -> float:
        """Lowest tabulated Q^2 in GeV^2; below it the distribution is a continuation."""

    @property
    def flavors(self) -> tuple[int, ...]:
        """PDG ids that the set holds; the gluon is 21."""

    def xf(self, x: ArrayLike, q2: ArrayLike, flavors: tuple[int, ...]) -> Float[Array, "... f"]:
        """Return x f(x, Q^2), Q^2 in GeV^2, of shape broadcast(x, q2) + (len(flavors),)."""


def require_flavors(pdf: PDF, flavors: tuple[int, ...]) -> None:
    """Check that a set holds the flavors (PDG ids).

    Raises:
        InputError: naming the set and the flavors it lacks.
    """
    missing = [pid for pid in flavors if pid not in pdf.flavors]
    if missing:
        held = ", ".join(map(str, pdf.flavors))
        lacking = ", ".join(map(str, missing))
        raise InputError.at(f"PDF set {pdf.name}", "flavor", lacking, f"the set holds {held}")


def with_heavy_flavors(pdf: PDF) -> PDF:
    """Return a set in which charm, bottom and top are 0 where it lacks them, as in LHAPDF."""
    absent = tuple(pid for pid in HEAVY if pid not in pdf.flavors)
    if not absent or not isinstance(pdf, GridPDF | LHAPDFSet):
        return pdf
    flavors = (*pdf.flavors, *absent)
    if isinstance(pdf, LHAPDFSet):  # gives 0 by itself
        return replace(pdf, flavors=flavors)

    def padded(table: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([table, np.zeros((*table.shape[:-1], len(absent)))], axis=-1)

    return replace(pdf, flavors=flavors, values=padded(pdf.values), beyond=padded(pdf.beyond))


class _Axis(NamedTuple):
    """One logarithmic axis: knots, and for each cell the constants of the cubic weights."""

    knots: NDArray[np.float64]  # (n,)
    # (n - 1, 6): ln of the left knot, 1/width, and the four slope coefficients of `_weights`
    cells: NDArray[np.float64]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["x_axis", "q2_axis", "values", "beyond"],
    meta_fields=["name", "flavors", "q2_min", "force_positive", "linear_cells"],
)
@dataclass(frozen=True, eq=False)
class GridPDF:
    """Interpolate a table of x f(x, Q^2) as LHAPDF 6.5 does, in pure JAX.

    Inside the table: cubic Hermite in ln x and ln Q^2 with finite-difference slopes, one-sided at
    the edges of each subgrid. Outside: LHAPDF's "continuation". Build one with
    `load_lhapdf_grid`, `embedded_ct18nnlo`, `embedded_les_houches` or `GridPDF.from_knots`. It is a
    JAX pytree, so that it may be an argument of a jitted function or be closed over.
    """

    x_axis: _Axis
    q2_axis: _Axis
    values: NDArray[np.float64]  # (nx, nq, nf)
    beyond: NDArray[np.float64]  # (2, nx, nf): at 1.01 Q_min^2, and at the last Q^2 knot but one
    name: str
    flavors: tuple[int, ...]
    q2_min: float
    force_positive: int
    linear_cells: bool

    @classmethod
    def from_knots(cls, name: str, grid: KnotGrid) -> GridPDF:
        """Precompute the constants of the interpolation of a table."""
        x_axis, q2_axis = _axis(grid.x), _axis(grid.q2)
        q2_min = float(grid.q2[0])
        step, weights = _knot_weights(q2_axis, (1 + LOW_Q2_STEP) * q2_min)
        stepped = np.einsum("j,xjf->xf", weights, grid.values[:, step])
        return cls(
            x_axis=x_axis,
            q2_axis=q2_axis,
            values=grid.values,
            beyond=np.stack([stepped, grid.values[:, -2]]),
            name=name,
            flavors=grid.flavors,
            q2_min=q2_min,
            force_positive=grid.force_positive,
            linear_cells=bool(np.any(_is_linear(q2_axis.cells))),
        )

    def xf(self, x: ArrayLike, q2: ArrayLike, flavors: tuple[int, ...]) -> Float[Array, "... f"]:
        """Return x f(x, Q^2).

        Outside the table LHAPDF 6.5's continuation holds. Below Q_min^2, with r = Q^2/Q_min^2,
        x f(x, Q^2) = x f(x, Q_min^2) r^(an r + 1 - r), where an is the logarithmic slope at
        Q_min^2, at least -2.5, or 1 where |x f(x, Q_min^2)| < 1e-5. Below the first x knot and
        above the last Q^2 knot: a straight line in the logarithms through the two outermost knots
        (in the value itself unless both values exceed 1e-3).

        Args:
            x: momentum fraction; nan is returned unless 0 < x <= last x knot.
            q2: Q^2 in GeV^2; nan is returned where it is negative.
            flavors: PDG ids, gluon 21; static under `jax.jit`.

        Returns:
            Array of shape broadcast(x, q2) + (len(flavors),).

        Raises:
            InputError: if the set lacks a flavor.
        """
        require_flavors(self, flavors)
        columns = tuple(self.flavors.index(pid) for pid in flavors)
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x, float), jnp.asarray(q2, float))
        result = _continued(self, jnp.ravel(x), jnp.ravel(q2), columns)
        if self.force_positive:
            result = jnp.maximum(result, 0.0 if self.force_positive == 1 else 1e-10)
        return result.reshape(*x.shape, len(flavors))


def _axis(knots: NDArray[np.float64]) -> _Axis:
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
    return _Axis(knots, np.stack([u[:-1], inverse, left, own_left, own_right, right], axis=1))


def _is_linear(cells: Any) -> Any:
    """Tell the cells of subgrids with two knots only, where LHAPDF falls back to bilinear."""
    return (cells[..., 3] == 1.0) & (cells[..., 4] == 1.0)


def _weights(cell: Any, log_value: Any) -> tuple[tuple[Any, ...], Any]:
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


def _knot_weights(axis: _Axis, value: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return indices and weights of the four knots that interpolate at one fixed value."""
    last = len(axis.knots) - 1
    cell = int(np.clip(np.searchsorted(axis.knots, value, side="right") - 1, 0, last - 1))
    weights, t = _weights(axis.cells[cell], np.log(value))
    if _is_linear(axis.cells[cell]):
        weights = (0.0, 1 - t, t, 0.0)
    return np.clip(cell + np.arange(-1, 3), 0, last), np.array(weights)


def _locate(axis: _Axis, value: Array) -> tuple[list[Array], tuple[Array, ...], Array, Array]:
    """Return knot indices, cubic weights, t, and the bilinear flag of each value's cell."""
    last = len(axis.knots) - 1
    cell = jnp.clip(jnp.searchsorted(axis.knots, value, side="right") - 1, 0, last - 1)
    rows = _rows(jnp.asarray(axis.cells), cell)
    weights, t = _weights(rows, jnp.log(value))
    # A weight beyond an edge is zero: any valid index does there.
    indices = [jnp.clip(cell + shift, 0, last) for shift in (-1, 0, 1, 2)]
    return indices, weights, t, _is_linear(rows)


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
def _continued(pdf: GridPDF, x: Array, q2: Array, columns: tuple[int, ...]) -> Float[Array, "n f"]:
    """Evaluate at points in or outside the table: x and q2 of shape (n,)."""
    x_knots, q2_knots = pdf.x_axis.knots, pdf.q2_axis.knots
    nq = len(q2_knots)
    x_in = jnp.clip(x, x_knots[0], x_knots[-1])
    q2_in = jnp.clip(q2, q2_knots[0], q2_knots[-1])
    x_index, x_weight, tx, _ = _locate(pdf.x_axis, x_in)
    q_index, q_weight, tq, linear = _locate(pdf.q2_axis, q2_in)
    if pdf.linear_cells:
        zero = jnp.zeros_like(tx)
        x_linear, q_linear = (zero, 1 - tx, tx, zero), (zero, 1 - tq, tq, zero)
        x_weight = tuple(jnp.where(linear, a, b) for a, b in zip(x_linear, x_weight, strict=True))
        q_weight = tuple(jnp.where(linear, a, b) for a, b in zip(q_linear, q_weight, strict=True))

    values = jnp.asarray(pdf.values)[:, :, np.array(columns)]
    flat = values.reshape(-1, len(columns))
    beyond = jnp.asarray(pdf.beyond)[:, :, np.array(columns)].reshape(-1, len(columns))
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

    ratio = jnp.where(low & (q2[:, None] > 0), q2[:, None] / pdf.q2_min, 1.0)
    result = jnp.where(low, _towards_zero(inside, second, ratio), inside)
    result = jnp.where(q2[:, None] == 0, 0.0, result)
    allowed = (x > 0) & (x <= x_knots[-1]) & (q2 >= 0)
    return jnp.where(allowed[:, None], result, jnp.nan)


def _fraction(value: Array, first: Any, second: Any) -> Array:
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


def load_lhapdf_grid(folder: str | Path, member: int = 0) -> GridPDF:
    """Load one member of an LHAPDF6 set from its folder.

    Raises:
        InputError: if a file is missing, truncated, of another format or not finite.
    """
    folder = Path(folder)
    grid = read_lhagrid(folder, member)
    name = set_name(folder)
    return GridPDF.from_knots(name if member == 0 else f"{name}/{member}", grid)


def embedded_ct18nnlo() -> GridPDF:
    """Load the package's own CT18NNLO table (arXiv:1912.10053), made by `bayesxs.inputs.ct18`."""
    return _embedded("ct18nnlo.npz", "CT18NNLO (embedded)")


def embedded_les_houches() -> GridPDF:
    """Load the Les Houches benchmark (hep-ph/0204316), made by `bayesxs.inputs.les_houches`.

    A benchmark, not a fit: it serves as a nature that differs from CT18NNLO.
    """
    return _embedded("les_houches.npz", "Les Houches benchmark (embedded)")


def _embedded(file: str, name: str) -> GridPDF:
    resource = importlib.resources.files("bayesxs.data") / file
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        stored = table["flavors"].tolist()
        # s, c and b equal their antiquarks: the table holds them once.
        mirrored = [-pid for pid in stored if pid < 0 and -pid not in stored]
        columns = [*range(len(stored)), *(stored.index(-pid) for pid in mirrored)]
        grid = KnotGrid(
            x=table["x"],
            q2=table["q2"],
            flavors=(*stored, *mirrored),
            values=table["xf"].astype(np.float64)[:, :, columns],
            force_positive=0,
        )
    return GridPDF.from_knots(name, grid)


@dataclass(frozen=True, eq=False)
class LHAPDFSet:
    """Call the official `lhapdf` library from JAX through a host callback.

    Slower than `GridPDF` and without derivatives; any set and any interpolator that LHAPDF knows.
    """

    member: Any  # lhapdf.PDF
    name: str
    flavors: tuple[int, ...]
    q2_min: float

    def xf(self, x: ArrayLike, q2: ArrayLike, flavors: tuple[int, ...]) -> Float[Array, "... f"]:
        """Return x f(x, Q^2), Q^2 in GeV^2, of shape broadcast(x, q2) + (len(flavors),).

        Unphysical points (x outside (0, 1], Q^2 < 0) give nan.

        Raises:
            InputError: if the set lacks a flavor.
        """
        require_flavors(self, flavors)
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x, float), jnp.asarray(q2, float))
        shape = jax.ShapeDtypeStruct((*x.shape, len(flavors)), x.dtype)
        host = partial(self._on_host, flavors)
        return jax.pure_callback(host, shape, x, q2, vmap_method="broadcast_all")

    def _on_host(self, flavors: tuple[int, ...], x: ArrayLike, q2: ArrayLike) -> NDArray[Any]:
        points, scales = np.asarray(x), np.asarray(q2)
        result = np.full((points.size, len(flavors)), np.nan, dtype=points.dtype)
        for i, (point, scale) in enumerate(zip(points.flat, scales.flat, strict=True)):
            if 0 < point <= 1 and scale >= 0:
                result[i] = [self.member.xfxQ2(pid, float(point), float(scale)) for pid in flavors]
        return result.reshape(*points.shape, len(flavors))


def load_official(name: str, member: int = 0) -> LHAPDFSet:
    """Load a set through the official `lhapdf` module.

    Raises:
        InputError: if the module is not installed or does not find the set.
    """
    try:
        lhapdf = importlib.import_module("lhapdf")
    except ImportError:
        raise InputError(
            f"PDF set {name}: the module lhapdf is not installed: install it from conda-forge, "
            "or let bayesxs read the grid itself"
        ) from None
    try:
        pdf = lhapdf.mkPDF(name, member)
    except Exception as error:  # lhapdf's own exceptions share no base class across versions
        reason = " ".join(str(error).split())
        raise InputError(f"PDF set {name}: lhapdf cannot load member {member}: {reason}") from None
    return LHAPDFSet(pdf, name, tuple(int(pid) for pid in pdf.flavors()), float(pdf.q2Min))
