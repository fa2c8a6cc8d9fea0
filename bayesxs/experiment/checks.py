"""Checks of own structure functions before they are used."""

from __future__ import annotations

from typing import Final

import jax.numpy as jnp
import numpy as np

from bayesxs.errors import InputError
from bayesxs.physics.structure_functions import StructureFunctions

# Where structure functions are looked at
CHECKED_X: Final = (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)
CHECKED_Q2: Final = (0.1, 0.5, 1.0, 3.0, 8.0)


def check_structure_functions(found: StructureFunctions, source: str) -> None:
    """Refuse structure functions of the wrong shape, not finite, or of a negative cross section.

    They are looked at where near-detector data are.

    Raises:
        InputError: naming x and Q^2.
    """
    x, q2 = (a.ravel() for a in np.meshgrid(CHECKED_X, CHECKED_Q2))
    values = np.asarray(found(jnp.asarray(x), jnp.asarray(q2)), dtype=float)
    if values.shape != (len(x), 3):
        allowed = f"({len(x)}, 3) for x and Q^2 of shape ({len(x)},): coefficients b0, b1, b2"
        raise InputError.at(source, "shape of structure functions", values.shape, allowed)
    finite = np.isfinite(values).all(axis=1)
    b0, b1, b2 = values.T
    size = 1e-9 * np.abs(values).max(axis=1, initial=0.0)
    root = np.sqrt(np.maximum(b0 * b2, 0.0))
    good = finite & (b0 >= -size) & (b2 >= -size) & (b1 >= -root - size)
    if not good.all():
        i = int(np.argmin(good))
        allowed = "b0 >= 0, b2 >= 0 and b1 >= -sqrt(b0 b2): the cross section must not be negative"
        where = f"structure functions at x = {x[i]:g}, Q^2 = {q2[i]:g} GeV^2"
        raise InputError.at(source, where, tuple(values[i]), allowed if finite[i] else "finite")
