"""Biases of parameters, ordering and octant from expected counts that are wrong.

Data are what nature expects (Asimov data); what is fitted to them are other counts, of another
cross section say. Where both are the same no parameter moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.inference.asimov import DCP, DENSITY, DM31, NAMES, THETA23, Expected, parameters
from bayesxs.inference.circle import TURN
from bayesxs.inference.constraints import without_theta23
from bayesxs.inference.sensitivity import (
    Asimov,
    best_fit,
    true_coordinates,
    wrong_octant,
    wrong_ordering,
)
from bayesxs.physics.oscillation import DUNE, OscillationParameters
from bayesxs.types import Floats as Float

_KNOWN: Final = 1e-6  # prior width of a pull that is not free


class Biases(NamedTuple):
    """Best fits of data that another nature made.

    Attributes:
        shift: of the best fit from the truth, (truths, 7), in the order of `asimov.NAMES`; that of
            dcp is the shorter way around the circle.
        sigma: standard errors at the truth, (truths, 7).
        chi2: of the best fit, (truths,).
        ordering: by how much chi2 is larger in the other ordering than at the best fit, (truths,).
        octant: the same in the other octant, theta23 having no constraint of its own, (truths,).
        converged: whether best fits are minima, (truths,).
        certain: whether those of the other ordering and octant are, (truths,).
    """

    shift: Float
    sigma: Float
    chi2: Float
    ordering: Float
    octant: Float
    converged: NDArray[np.bool_]
    certain: NDArray[np.bool_]

    @property
    def pulls(self) -> Float:
        """Shifts over standard errors, (truths, 7)."""
        return self.shift / self.sigma


def biases(asimov: Asimov, truth: Float) -> Biases:
    """Return what the expected counts of an experiment make of the data of its nature.

    Args:
        asimov: the experiment, with its nature.
        truth: coordinates, (truths, 7).
    """
    best, other = best_fit(asimov, truth), wrong_ordering(asimov, truth)
    octant, free = wrong_octant(asimov, truth), best
    if np.isfinite(asimov.constraints(truth)[:, THETA23]).any():
        unknown = asimov._replace(constraints=partial(without_theta23, asimov.constraints))
        free = best_fit(unknown, truth)
    shift = best.x - truth
    shift[:, DCP] = (shift[:, DCP] + 0.5 * TURN) % TURN - 0.5 * TURN
    return Biases(
        shift,
        standard_errors(asimov, truth),
        best.chi2,
        other.chi2 - best.chi2,
        octant.chi2 - free.chi2,
        best.converged,
        other.converged & free.converged & octant.converged,
    )


def bias_scan(
    asimov: Asimov,
    params: OscillationParameters,
    dcp: Sequence[float] | Float,
    density: ArrayLike = DUNE.density,
) -> xr.Dataset:
    """Scan the true phase for biases.

    Args:
        asimov: the experiment, with its nature.
        params: true values of the others, scalars.
        dcp: true phases, rad, (n,).
        density: g/cm^3.

    Returns:
        Over dcp (rad): delta_cp, sin2_theta23 and dm31, shifts in standard errors, and these as
        delta_cp_error (rad), sin2_theta23_error and dm31_error (eV^2); chi2, ordering and octant as
        in `Biases`; converged, certain.
    """
    phases = np.asarray(dcp, float)
    truth = true_coordinates(params._replace(dcp=phases), density)
    found = biases(asimov, truth)
    angle, turn = truth[:, THETA23], found.shift[:, THETA23]
    # d sin^2 theta = sin(2 theta) d theta; the shift as it is, the error to first order
    mixing = np.sin(angle + turn) ** 2 - np.sin(angle) ** 2
    mixing_error = np.abs(np.sin(2.0 * angle)) * found.sigma[:, THETA23]
    columns = {
        "delta_cp": found.pulls[:, DCP],
        "sin2_theta23": mixing / mixing_error,
        "dm31": found.pulls[:, DM31],
        "delta_cp_error": found.sigma[:, DCP],
        "sin2_theta23_error": mixing_error,
        "dm31_error": found.sigma[:, DM31],
        "chi2": found.chi2,
        "ordering": found.ordering,
        "octant": found.octant,
        "converged": found.converged,
        "certain": found.certain,
    }
    return xr.Dataset({name: ("dcp", values) for name, values in columns.items()}, {"dcp": phases})


def standard_errors(asimov: Asimov, truth: Float, free: NDArray[np.bool_] | None = None) -> Float:
    """Return standard errors of the coordinates, (truths, 7), from the curvature at the truth.

    Those of the inverse of J^T diag(1/mu) J + diag(1/s^2), with constraints s and pulls.

    Args:
        asimov: the experiment; its own expectation, not that of its nature.
        truth: coordinates, (truths, 7).
        free: which pulls are, (pulls,); all if None.
    """
    widths = np.ones(asimov.n_pulls) if free is None else np.where(free, 1.0, _KNOWN)
    pulls = np.tile(widths, (len(truth), 1))
    sd = np.concatenate([asimov.constraints(truth), pulls], axis=1)
    return np.asarray(_errors(asimov.expected, jnp.asarray(truth), jnp.asarray(sd)))


@jax.jit
def _errors(expected: Expected, truth: jax.Array, sd: jax.Array) -> jax.Array:
    n_x = len(NAMES)

    def counts(v: jax.Array) -> jax.Array:
        return expected(parameters(v[:n_x]), v[DENSITY], v[n_x:])

    def of_one(given: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, own = given
        v = jnp.concatenate([x, jnp.zeros(len(own) - n_x)])
        mu, slope = counts(v), jax.jacfwd(counts)(v)
        weight = jnp.where(mu > 0.0, 1.0 / jnp.where(mu > 0.0, mu, 1.0), 0.0)
        # In units of constraints, or of what the data tell, the matrix has numbers near one
        curvature = (slope.T * weight) @ slope + jnp.diag(1.0 / own**2)
        size = jnp.sqrt(jnp.diag(curvature))
        inverse = jnp.linalg.inv(curvature / jnp.outer(size, size))
        return (jnp.sqrt(jnp.diag(inverse)) / size)[:n_x]

    return jax.lax.map(of_one, (truth, sd))
