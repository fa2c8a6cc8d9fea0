"""Parton distributions x f(x, Q^2): LHAPDF6 grids inside JAX, or the official library.

Interpolation and the continuation outside a grid follow LHAPDF 6.5 (`inputs.interpolation`).
"""

from __future__ import annotations

import importlib
import importlib.resources
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from bayesxs.errors import InputError
from bayesxs.inputs.interpolation import Axis, Table, interpolated
from bayesxs.inputs.lhagrid import KnotGrid, find_pdf_set, list_pdf_sets, read_lhagrid, set_name
from bayesxs.types import Floats

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

    def padded(values: Floats) -> Floats:
        return np.concatenate([values, np.zeros((*values.shape[:-1], len(absent)))], axis=-1)

    table = pdf.table
    table = replace(table, values=padded(table.values), beyond=padded(table.beyond))
    return replace(pdf, flavors=flavors, table=table)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["table"],
    meta_fields=["name", "flavors", "force_positive"],
)
@dataclass(frozen=True, eq=False)
class GridPDF:
    """Interpolate a table of x f(x, Q^2) as LHAPDF 6.5 does, in pure JAX.

    Inside the table: cubic Hermite in ln x and ln Q^2 with finite-difference slopes, one-sided at
    the edges of each subgrid. Outside: LHAPDF's "continuation". Build one with
    `load_lhapdf_grid`, `embedded_ct18nnlo`, `embedded_les_houches` or `GridPDF.from_knots`. It is a
    JAX pytree, so that it may be an argument of a jitted function or be closed over.
    """

    table: Table
    name: str
    flavors: tuple[int, ...]
    force_positive: int

    @classmethod
    def from_knots(cls, name: str, grid: KnotGrid) -> GridPDF:
        """Precompute the constants of the interpolation of a table."""
        table = Table.of_knots(grid.x, grid.q2, grid.values)
        return cls(table, name, grid.flavors, grid.force_positive)

    @property
    def x_axis(self) -> Axis:
        """Axis of the table in x."""
        return self.table.x_axis

    @property
    def q2_axis(self) -> Axis:
        """Axis of the table in Q^2, GeV^2."""
        return self.table.q2_axis

    @property
    def q2_min(self) -> float:
        """Lowest tabulated Q^2 in GeV^2."""
        return self.table.q2_min

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
        result = interpolated(self.table, jnp.ravel(x), jnp.ravel(q2), columns)
        if self.force_positive:
            result = jnp.maximum(result, 0.0 if self.force_positive == 1 else 1e-10)
        return result.reshape(*x.shape, len(flavors))


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

    def _on_host(self, flavors: tuple[int, ...], x: ArrayLike, q2: ArrayLike) -> np.ndarray:
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
