"""The isolated eigenvalue of the Hamiltonian in matter, a root of its characteristic cubic.

p(lambda) = lambda^3 - trace lambda^2 + minors lambda - determinant, after NuFast (Denton and Parke,
arXiv:2405.02400): an approximation, improved by Newton steps.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
from jax import Array

# Newton's next step, over the spread of the eigenvalues, above which the root is another one than
# NuFast's guess was made for, by number of steps; near nature's values it stays far below
_TOLERANCE: Final = {0: 1e-3, 1: 1e-5, 2: 1e-8, 4: 1e-12}

# Smallest p'(lambda3), over the square of that spread, at which lambda3 counts as isolated
_ISOLATED: Final = 0.1


def inverse_or_zero(x: Array) -> Array:
    """Return 1/x, and zero at zero: where all eigenvalues are one there is nothing to project."""
    return jnp.where(x == 0.0, 0.0, 1.0 / jnp.where(x == 0.0, 1.0, x))


def cubic_slope(x: Array, trace: Array, minors: Array) -> Array:
    """Return p'(x)."""
    return x * (3.0 * x - 2.0 * trace) + minors


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def isolated_eigenvalue(
    steps: int,
    trace: Array,
    minors: Array,
    determinant: Array,
    guess: tuple[Array, Array, Array, Array],
) -> Array:
    """Return the largest (normal ordering) or smallest (inverted) root of p, by Newton steps.

    Where these do not find it, or it is not isolated, as for dm21 near dm31 or near a resonance
    without mixing, another root is returned that is: the farthest from the mean.
    """
    potential, dm31, dmee, s2_13 = guess
    # Eigenvalue of the 1-3 block after the 2-3 rotation (Denton, Minakata, Parke, arXiv:1604.08167)
    x = potential / dmee
    root = dm31 + 0.5 * dmee * (x - 1.0 + jnp.sqrt((1.0 - x) ** 2 + 4.0 * s2_13 * x))
    for _ in range(steps):
        numerator = root * root * (2.0 * root - trace) + determinant
        root = numerator / cubic_slope(root, trace, minors)
    # With lambda = trace/3 + t: t^3 - 3 width^2 t - 2 half = 0
    squared = jnp.maximum((trace * trace - 3.0 * minors) / 9.0, 0.0)
    width, slope = jnp.sqrt(squared), cubic_slope(root, trace, minors)
    value = ((root - trace) * root + minors) * root - determinant
    # "<" also refuses the result of a step from a double root: infinity, or no number
    found = jnp.abs(value) < _TOLERANCE[steps] * width * jnp.abs(slope)
    found &= jnp.abs(slope) >= _ISOLATED * squared
    return jnp.where(found, root, _farthest_eigenvalue(trace, minors, determinant, width))


def _farthest_eigenvalue(trace: Array, minors: Array, determinant: Array, width: Array) -> Array:
    """Return the root of p that is farthest from the mean of all three, exactly.

    t = +-2 width cos(phi/3) with cos(phi) = |half|/width^3 (Viete); y = cos(phi/3) solves
    4 y^3 - 3 y = cos(phi), for which Newton's steps from y = 1 converge from above.
    """
    half = (trace * (2.0 * trace * trace - 9.0 * minors) + 27.0 * determinant) / 54.0
    cubed = width**3
    cosine = jnp.minimum(jnp.abs(half) * inverse_or_zero(cubed), 1.0)
    y = jnp.ones_like(cosine)
    for _ in range(5):
        y = (8.0 * y**3 + cosine) / (12.0 * y * y - 3.0)
    return trace / 3.0 + jnp.where(half < 0.0, -2.0, 2.0) * width * y


@isolated_eigenvalue.defjvp
def _isolated_eigenvalue_jvp(
    steps: int, primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, Array]:
    # Implicit function theorem: a third off the gradient's time against differentiating the steps
    trace, minors, determinant, guess = primals
    d_trace, d_minors, d_determinant, _ = tangents
    root = isolated_eigenvalue(steps, trace, minors, determinant, guess)
    change = root * (root * d_trace - d_minors) + d_determinant
    return root, change * inverse_or_zero(cubic_slope(root, trace, minors))
