"""CT18NNLO from its published input: the parametrisation, its sum rules, and the embedded table.

The input at Q0 = 1.295 GeV is that of arXiv:1912.10053, Appendix C. `regenerate` evolves it with
HOPPET (arXiv:0804.3755, 2510.09310; extra `hoppet`) and writes the package's own table;
`python -m bayesxs.inputs.ct18 OUT` does the same.
"""

from __future__ import annotations

import functools
import importlib
import io
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bayesxs.errors import InputError
from bayesxs.types import Floats

Vector = Floats
Distribution = Callable[[Vector], Vector]

DATA_VERSION = 1
SOURCE = "CT18NNLO input (arXiv:1912.10053, App. C) evolved with HOPPET at NNLO"
Q0 = 1.295  # GeV
ALPHA_S_MZ = 0.118
MZ = 91.187  # GeV, the Z mass of the CT18 fit
CHARM_MASS = 1.3  # GeV
BOTTOM_MASS = 4.75  # GeV
NO_TOP = 1e10  # GeV, above every scale of the table
Q_MAX = 1e5  # GeV
# The table holds these; s, c and b equal their antiquarks, as in the official set (NNLO evolution
# makes x(s - sbar) up to 8e-4, which that set drops).
STORED_FLAVORS = (-5, -4, -3, -2, -1, 1, 2, 21)
# Beside a threshold, where the distributions jump, the table takes the limit from one side.
BESIDE = 1e-9

# Rows a0, a1, a2, ... of arXiv:1912.10053, Appendix C.
UV = (3.385, 0.763, 3.036, 1.502, -0.147, 1.671)
DV = (0.490, 0.763, 3.036, 2.615, 1.828, 2.721)
GLUON = (2.690, 0.531, 3.148, 3.032, -1.705)
UBAR = (0.414, -0.022, 7.737, 0.618, 0.195, 0.871, 0.267, 0.733)
DBAR = (0.414, -0.022, 7.737, 0.292, 0.647, 0.474, 0.741, 1.0)
STRANGE = (0.288, -0.022, 10.31, 0.466, 0.466, 0.225, 0.225, 1.0)


def bernstein(y: Vector, coefficients: tuple[float, ...]) -> Vector:
    """Return sum_k c_k binom(n, k) y^k (1 - y)^(n - k), n = len(coefficients) - 1."""
    n = len(coefficients) - 1
    return sum(
        (c * math.comb(n, k) * y**k * (1 - y) ** (n - k) for k, c in enumerate(coefficients)),
        start=np.zeros_like(y),
    )


def valence(x: Vector, a: tuple[float, ...]) -> Vector:
    """Return x f(x) of a valence quark: a0 x^a1 (1-x)^a2 P(sqrt x), P of degree 4."""
    coefficients = (*np.sinh(a[3:6]), 1 + a[1] / 2, 1.0)
    return a[0] * x ** a[1] * (1 - x) ** a[2] * bernstein(np.sqrt(x), coefficients)


def gluon(x: Vector, a: tuple[float, ...]) -> Vector:
    """Return x g(x): a0 x^a1 (1-x)^a2 P(sqrt x), P of degree 3."""
    coefficients = (*np.sinh(a[3:5]), (3 + 2 * a[1]) / 3, 1.0)
    return a[0] * x ** a[1] * (1 - x) ** a[2] * bernstein(np.sqrt(x), coefficients)


def sea(x: Vector, a: tuple[float, ...]) -> Vector:
    """Return x f(x) of a sea quark: a0 x^a1 (1-x)^a2 P(1 - (1 - sqrt x)^4), P of degree 5."""
    y = 1 - (1 - np.sqrt(x)) ** 4
    return a[0] * x ** a[1] * (1 - x) ** a[2] * bernstein(y, (1.0, *a[3:]))


@functools.cache
def _unit_quadrature() -> tuple[Vector, Vector]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return (nodes + 1) / 2, weights / 2


def moment(xf: Distribution, power: int) -> float:
    """Return the integral over 0 < x < 1 of x^power f(x)."""
    # x = w^4 tames the x^(a1 - 1) of the input at x = 0, so that Gauss-Legendre converges.
    w, weights = _unit_quadrature()
    return float(np.sum(weights * 4 * w**3 * xf(w**4) * w ** (4 * (power - 1))))


class Input(NamedTuple):
    """The input distributions x f(x) at Q0, scaled to the sum rules."""

    uv: Distribution
    dv: Distribution
    gluon: Distribution
    ubar: Distribution
    dbar: Distribution
    strange: Distribution  # s = sbar


def ct18_input() -> Input:
    """Return the input at Q0 with uv, dv and g rescaled to the sum rules.

    The published coefficients have three or four digits; the rescaling (by 3e-4, 2e-3 and 4e-4)
    makes the integrals of uv and dv exactly 2 and 1, and that of all momenta exactly 1.
    """
    u_scale = 2 / moment(lambda x: valence(x, UV), 0)
    d_scale = 1 / moment(lambda x: valence(x, DV), 0)

    def uv(x: Vector) -> Vector:
        return u_scale * valence(x, UV)

    def dv(x: Vector) -> Vector:
        return d_scale * valence(x, DV)

    def ubar(x: Vector) -> Vector:
        return sea(x, UBAR)

    def dbar(x: Vector) -> Vector:
        return sea(x, DBAR)

    def strange(x: Vector) -> Vector:
        return sea(x, STRANGE)

    both_seas = 2 * (moment(ubar, 1) + moment(dbar, 1) + moment(strange, 1))
    quarks = moment(uv, 1) + moment(dv, 1) + both_seas
    g_scale = (1 - quarks) / moment(lambda x: gluon(x, GLUON), 1)
    return Input(uv, dv, lambda x: g_scale * gluon(x, GLUON), ubar, dbar, strange)


def x_knots() -> Vector:
    """Return the x knots: HOPPET's nested grid in y = ln 1/x, finer towards x = 1.

    Steps of 0.2 up to y = 20.8, of a third below 2, a ninth below 0.6, a twenty-seventh below 0.2.
    The official set has the same knots.
    """
    edges = (0.0, 0.2, 0.6, 2.0)
    parts = [
        np.arange(round((stop - start) * divisor / 0.2)) * 0.2 / divisor + start
        for start, stop, divisor in zip(edges[:-1], edges[1:], (27, 9, 3), strict=True)
    ]
    return np.exp(-np.concatenate([*parts, 2.0 + 0.2 * np.arange(95)]))[::-1]


def q_knots() -> tuple[Vector, Vector]:
    """Return the Q knots in GeV below and above the bottom threshold, even in ln ln(Q/0.1 GeV).

    The first two lie below the charm threshold and the third above it: there, as in the official
    set, the table runs smoothly through the threshold, which fixes the slope at Q0 that the
    continuation to low Q^2 starts from.
    """

    below = even_steps(CHARM_MASS, BOTTOM_MASS, 9)
    return np.array([Q0, 1.29875, *below[1:]]), even_steps(BOTTOM_MASS, Q_MAX, 26)


def even_steps(start: float, stop: float, count: int) -> Vector:
    """Return count + 1 values of Q in GeV from start to stop, even in ln ln(Q/0.1 GeV)."""
    first, last = math.log(math.log(start / 0.1)), math.log(math.log(stop / 0.1))
    q = 0.1 * np.exp(np.exp(np.linspace(first, last, count + 1)))
    q[0], q[-1] = start, stop
    return q


class Evolution(NamedTuple):
    """The input that HOPPET evolves at NNLO in the MSbar scheme, pole masses, no top."""

    name: str
    start: Input
    q0: float  # GeV, where the input is given
    alpha_s: float
    alpha_s_scale: float  # GeV
    charm_mass: float  # GeV
    bottom_mass: float  # GeV
    q_min: float  # GeV, lower end of HOPPET's own table


class Table(NamedTuple):
    """A table of x f(x, Q), with the bottom threshold as a knot twice."""

    x: Vector  # (nx,)
    q: Vector  # (nq,), GeV
    values: Vector  # (nx, nq, len(STORED_FLAVORS))


def evolve(dy: float = 0.05) -> Table:
    """Evolve the input with HOPPET at NNLO: alpha_s(91.187 GeV) = 0.118, pole masses, no top.

    Args:
        dy: step of HOPPET's grid in ln 1/x.

    Raises:
        InputError: if HOPPET is not installed.
    """
    setup = Evolution(
        name="CT18NNLO",
        start=ct18_input(),
        q0=Q0,
        alpha_s=ALPHA_S_MZ,
        alpha_s_scale=MZ,
        charm_mass=CHARM_MASS,
        bottom_mass=BOTTOM_MASS,
        q_min=Q0,
    )
    return tabulate(setup, *q_knots(), dy)


def tabulate(setup: Evolution, q_below: Vector, q_above: Vector, dy: float = 0.05) -> Table:
    """Evolve any input with HOPPET and tabulate it at `x_knots`.

    Args:
        setup: the input and its constants.
        q_below: Q knots in GeV up to the bottom threshold.
        q_above: Q knots in GeV from the bottom threshold on.
        dy: step of HOPPET's grid in ln 1/x.

    Raises:
        InputError: if HOPPET is not installed.
    """
    try:
        hoppet = importlib.import_module("hoppet")
    except ImportError:
        raise InputError(
            f"{setup.name}: the module hoppet is not installed: "
            "install bayesxs with the extra hoppet"
        ) from None
    x = x_knots()
    q = np.concatenate([q_below, q_above])
    at = q.copy()
    at[len(q_below) - 1] *= 1 - BESIDE
    at[len(q_below)] *= 1 + BESIDE

    hoppet.SetPoleMassVFN(setup.charm_mass, setup.bottom_mass, NO_TOP)
    nnlo = 3
    y_max = -np.log(x[0]) + 0.2
    scheme = hoppet.factscheme_MSbar
    hoppet.StartExtended(y_max, dy, setup.q_min, q[-1], dy / 4, nnlo, -6, scheme)
    try:
        callback = _hoppet_input(setup.start)
        hoppet.Evolve(setup.alpha_s, setup.alpha_s_scale, nnlo, 1.0, callback, setup.q0)
        columns = [_hoppet_index(pid) for pid in STORED_FLAVORS]
        values = np.zeros((len(x), len(q), len(columns)))
        for i, point in enumerate(x[:-1]):  # x f(1) = 0
            for j, scale in enumerate(at):
                values[i, j] = np.asarray(hoppet.Eval(point, scale))[columns]
    finally:
        hoppet.DeleteAll()
    return Table(x, q, values)


def _hoppet_index(pid: int) -> int:
    """Place of a flavor in HOPPET's list, tbar to t with the gluon in the middle."""
    return 6 if pid == 21 else 6 + pid


def _hoppet_input(start: Input) -> Callable[[float, float], Floats]:
    def callback(x: float, _q: float) -> Floats:
        point = np.array(x)
        ubar, dbar, strange = start.ubar(point), start.dbar(point), start.strange(point)
        quarks = {
            21: start.gluon(point),
            1: start.dv(point) + dbar,
            2: start.uv(point) + ubar,
            3: strange,
            -1: dbar,
            -2: ubar,
            -3: strange,
        }
        values = np.zeros(13)
        for pid, value in quarks.items():
            values[_hoppet_index(pid)] = value
        return values

    return callback


def regenerate(path: str | Path) -> None:
    """Evolve the input and write the table that `bayesxs.inputs.pdf.embedded_ct18nnlo` reads.

    Values are kept in single precision (6e-8, far below the 1e-3 of the parametrisation).

    Raises:
        InputError: if HOPPET is not installed.
    """
    write_table(path, evolve(), DATA_VERSION, SOURCE)


def write_table(path: str | Path, table: Table, data_version: int, source: str) -> None:
    """Write a table in the format of the package's own."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        x=table.x,
        q2=table.q * table.q,
        flavors=np.array(STORED_FLAVORS),
        xf=table.values.astype(np.float32),
        data_version=np.array(data_version),
        source=np.array(source),
    )
    Path(path).write_bytes(buffer.getvalue())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bayesxs.inputs.ct18 OUT.npz")
    regenerate(sys.argv[1])
