"""The Les Houches benchmark distributions: another proton, for nature to be made of.

This is a benchmark, not a fit: a simple input on which evolution codes are compared (Giele et al.,
hep-ph/0204316, Eqs. 30 to 34). Its valence and light sea lie within some ten to thirty percent of
CT18NNLO's. Its NNLO evolution is published in tables (Dittmar et al., hep-ph/0511119, Tables 14
and 15). `regenerate` evolves it with HOPPET as `bayesxs.inputs.ct18` does CT18NNLO, and writes the
package's own table; `python -m bayesxs.inputs.les_houches OUT` does the same.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

from bayesxs.inputs.ct18 import (
    Evolution,
    Input,
    Table,
    Vector,
    even_steps,
    tabulate,
    write_table,
)

DATA_VERSION = 1
SOURCE = "Les Houches benchmark input (hep-ph/0204316) evolved with HOPPET at NNLO"
Q0 = math.sqrt(2.0)  # GeV
ALPHA_S_Q0 = 0.35
# The charm threshold is Q0 itself; a hair above, so that the input with three flavors lies below
CHARM_MASS = Q0 * (1 + 1e-9)  # GeV
BOTTOM_MASS = 4.5  # GeV
Q_MAX = 1e4  # GeV
# HOPPET's own table starts lower: it needs room below the charm threshold
Q_MIN_HOPPET = 1.0  # GeV


def uv(x: Vector) -> Vector:
    """Return x uv(x) = 5.1072 x^0.8 (1-x)^3."""
    return 5.107200 * x**0.8 * (1 - x) ** 3


def dv(x: Vector) -> Vector:
    """Return x dv(x) = 3.06432 x^0.8 (1-x)^4."""
    return 3.064320 * x**0.8 * (1 - x) ** 4


def gluon(x: Vector) -> Vector:
    """Return x g(x) = 1.7 x^-0.1 (1-x)^5."""
    return 1.7 * x**-0.1 * (1 - x) ** 5


def dbar(x: Vector) -> Vector:
    """Return x dbar(x) = 0.1939875 x^-0.1 (1-x)^6."""
    return 0.1939875 * x**-0.1 * (1 - x) ** 6


def ubar(x: Vector) -> Vector:
    """Return x ubar(x) = (1-x) x dbar(x)."""
    return (1 - x) * dbar(x)


def strange(x: Vector) -> Vector:
    """Return x s(x) = x sbar(x) = 0.2 x (ubar(x) + dbar(x))."""
    return 0.2 * (ubar(x) + dbar(x))


def les_houches_input() -> Input:
    """Return the input at Q0, as published: its digits obey the sum rules to 3e-8."""
    return Input(uv, dv, gluon, ubar, dbar, strange)


def q_knots() -> tuple[Vector, Vector]:
    """Return the Q knots in GeV below and above the bottom threshold.

    The first is Q0, where the table holds the input, without charm; the second lies above the charm
    threshold, and between them the table runs smoothly.
    """
    return even_steps(Q0, BOTTOM_MASS, 9), even_steps(BOTTOM_MASS, Q_MAX, 21)


def evolve(dy: float = 0.05) -> Table:
    """Evolve the input with HOPPET at NNLO: alpha_s(2 GeV^2) = 0.35, pole masses, no top.

    Args:
        dy: step of HOPPET's grid in ln 1/x.

    Raises:
        InputError: if HOPPET is not installed.
    """
    setup = Evolution(
        name="Les Houches",
        start=les_houches_input(),
        q0=Q0,
        alpha_s=ALPHA_S_Q0,
        alpha_s_scale=Q0,
        charm_mass=CHARM_MASS,
        bottom_mass=BOTTOM_MASS,
        q_min=Q_MIN_HOPPET,
    )
    return tabulate(setup, *q_knots(), dy)


def regenerate(path: str | Path) -> None:
    """Evolve the input and write the table that `embedded_les_houches` of `inputs.pdf` reads.

    Raises:
        InputError: if HOPPET is not installed.
    """
    write_table(path, evolve(), DATA_VERSION, SOURCE)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m bayesxs.inputs.les_houches OUT.npz")
    regenerate(sys.argv[1])
