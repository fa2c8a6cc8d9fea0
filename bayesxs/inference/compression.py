"""Compression of the far likelihood: the few directions that responses and probabilities span."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float
from scipy import linalg

from bayesxs.inference.folded import Oscillation
from bayesxs.inference.priors import Prior, prior_box
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats

# Singular values of the probability family, over the largest, below which directions are dropped.
# Probabilities and densities then agree with the full ones to about 1e-8.
SPAN_TOLERANCE = 1e-9

# Largest error of a density, over the density without oscillation, that compressing the modes makes
MODE_TOLERANCE = 1e-5


def compress(blocks: Floats) -> tuple[Floats, Floats]:
    """Factor rows (n, m, r) into left (n, R) and core (R, m, r) by a randomised range finder.

    The rows of a response are smooth functions of lepton energy and angle, so that a few hundred
    directions carry all modes (Halko, Martinsson and Tropp, arXiv:0909.4061, Algorithm 4.1).
    """
    n = len(blocks)
    matrix = blocks.reshape(n, -1)
    rng = np.random.default_rng(0)  # a fixed sketch: it decides the accuracy, not the result
    rank = 64
    while rank < min(matrix.shape):
        basis, _ = np.linalg.qr(matrix @ rng.standard_normal((matrix.shape[1], rank)))
        core = basis.T @ matrix
        probe = rng.standard_normal((matrix.shape[1], 8)) / np.sqrt(matrix.shape[1])
        if np.abs(matrix @ probe - basis @ (core @ probe)).max() < MODE_TOLERANCE:
            # Drop the directions that the sketch took beyond need
            u, size, rows = np.linalg.svd(core, full_matrices=False)
            kept = size > 0.1 * MODE_TOLERANCE * np.sqrt(n)
            core = size[kept, None] * rows[kept]
            return basis @ u[:, kept], core.reshape(-1, *blocks.shape[1:])
        rank *= 2
    return np.eye(n), blocks


def probability_span(
    oscillation: Oscillation,
    energies: Float[ArrayLike, " energy"],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    flux_modes: Float[ArrayLike, "nuisance energy"] | None = None,
) -> Float[Array, "direction energy"]:
    """Return orthonormal rows spanning P(E; theta) for all theta in the prior's box.

    Oscillation probabilities of one channel form a family of few dimensions (about 20 of 144
    energies), found from the singular values of 4000 of them. With flux modes the products f_k P
    are spanned too.

    Args:
        oscillation: of the sample that is counted.
        energies: shared energies in GeV.
        priors: of the free parameters.
        fixed: values of the others.
        flux_modes: relative change of the flux per unit of each nuisance.
    """
    return box_span(oscillation, energies, prior_box(priors), fixed, flux_modes)


def box_span(
    oscillation: Oscillation,
    energies: Float[ArrayLike, " energy"],
    box: Mapping[str, tuple[float, float]],
    fixed: OscillationParameters,
    flux_modes: Float[ArrayLike, "nuisance energy"] | None = None,
) -> Float[Array, "direction energy"]:
    """Span the probabilities in a box of parameters and of the baseline's fields.

    The rows are those of `probability_span`.

    Args:
        oscillation: of the sample; its baseline holds where the box does not name a field.
        energies: shared energies in GeV.
        box: lowest and highest value of each parameter, and of each field of the baseline.
        fixed: values of the parameters that are not in the box.
        flux_modes: relative change of the flux per unit of each nuisance.
    """
    rng = np.random.default_rng(0)  # a fixed cover of the box, not a sample
    drawn = {name: rng.uniform(low, high, (4000, 1)) for name, (low, high) in box.items()}
    points = fixed._replace(**{n: v for n, v in drawn.items() if n in fixed._fields})
    own = {n: v for n, v in drawn.items() if n in oscillation.baseline._fields}

    @jax.jit
    def family(points: OscillationParameters, own: dict[str, np.ndarray]) -> Array:
        # Fields that are not in the box are constants of the program
        moved = oscillation._replace(baseline=oscillation.baseline._replace(**own))
        return moved.probability(points, jnp.asarray(energies))

    rows = np.atleast_2d(family(points, own))
    tolerance = SPAN_TOLERANCE
    if flux_modes is not None and np.any(flux_modes):
        shapes = [f for f in np.asarray(flux_modes) if np.any(f)]
        rows = np.concatenate([rows, *(rows[:1000] * f for f in shapes)])
        tolerance = 1e-3 * MODE_TOLERANCE
    _, size, directions = np.linalg.svd(rows, full_matrices=False)
    return jnp.asarray(directions[size > tolerance * size[0]])


def interpolation(span: ArrayLike) -> tuple[np.ndarray, Floats]:
    """Choose as many energies as there are directions, from which all others follow.

    P(E) = sum_r c_r V_r(E) is known everywhere from its values at r energies; pivoted QR chooses
    those that amplify errors little (Drmac and Gugercin, arXiv:1505.00370).

    Args:
        span: orthonormal rows V, shape (r, E).

    Returns:
        Indices of the energies, increasing, shape (r,), and the matrix V^T V_chosen^-T, (E, r).
    """
    span = np.asarray(span)
    _, _, pivots = linalg.qr(span, mode="economic", pivoting=True)
    chosen = np.sort(pivots[: len(span)])
    return chosen, np.linalg.solve(span[:, chosen], span).T
