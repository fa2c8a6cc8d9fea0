"""Detector response: from the true (E_l, theta) of the lepton to reconstructed bins.

    E_rec = (1 + scale) E_l (1 + resolution n1),    theta_rec = theta + sigma n2,

with standard normal n1 and n2, and theta_rec folded back into [0, pi]. A lepton is seen with
probability efficiency (1 - exp(-T/turn_on)), T = E_l - m its true kinetic energy, and lost where
the reconstructed one is below threshold. Energy and angle smear independently, so the response is a
product of two small factors. It is smooth in its parameters: a sampler works with the second-order
Taylor expansion of whatever it is folded with (`detector.expansion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.detector.reco import RecoGrid
from bayesxs.errors import InputError
from bayesxs.types import Floats

# Muons in DUNE's far detector. Response: CDR vol. 2, arXiv:1512.06148, thresholds and resolutions
# of single particles in the Fast Monte Carlo
DUNE_THRESHOLD: Final = 0.030  # kinetic energy, GeV
DUNE_ENERGY_RESOLUTION: Final = 0.05  # contained tracks, by range; exiting tracks have 0.30
DUNE_ANGLE_RESOLUTION: Final = float(np.deg2rad(1.0))
# Uncertainties, both relative: TDR vol. II, arXiv:2002.03005, chapter 5, as DUNE's CAFAna has them
# (RecoEnergyFDSysts.h: ERecoScaleMuLArFD, MuonRecoResFD)
DUNE_ENERGY_SCALE_SD: Final = 0.02  # of muons in liquid argon
DUNE_RESOLUTION_SD: Final = 0.02  # relative change of the width

# Widths below this, in GeV or rad, count as zero: derivatives of sharper steps would overflow
SHARP = 1e-9


class ResponseParameters(NamedTuple):
    """Parameters of a detector's response, known to some precision; a pytree, so `jacfwd` applies.

    Attributes:
        energy_scale: relative shift of the reconstructed energy, 0 nominal.
        energy_resolution: standard deviation of E_rec over its mean; the scale moves both. One for
            each lepton where it follows the energy.
        angle_resolution: standard deviation of the angle in rad, before folding.

    Example:
        >>> bayesxs.ResponseParameters(energy_resolution=0.1).energy_scale
        0.0
    """

    energy_scale: ArrayLike = 0.0
    energy_resolution: ArrayLike = DUNE_ENERGY_RESOLUTION
    angle_resolution: ArrayLike = DUNE_ANGLE_RESOLUTION


@dataclass(frozen=True)
class Acceptance:
    """Which leptons are seen.

    Attributes:
        threshold: reconstructed kinetic energy in GeV below which events are lost.
        efficiency: plateau of the efficiency, in (0, 1].
        turn_on: GeV; the efficiency is efficiency (1 - exp(-T/turn_on)) in the true kinetic energy
            T, and flat where turn_on is 0.

    Raises:
        InputError: a value outside its range.

    Example:
        >>> bayesxs.Acceptance(threshold=0.1, efficiency=0.9).efficiency
        0.9
    """

    threshold: float = DUNE_THRESHOLD
    efficiency: float = 1.0
    turn_on: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold < np.inf:
            raise InputError.at("acceptance", "threshold", self.threshold, "finite and >= 0 GeV")
        if not 0.0 < self.efficiency <= 1.0:
            raise InputError.at("acceptance", "efficiency", self.efficiency, "in (0, 1]")
        if not 0.0 <= self.turn_on < np.inf:
            raise InputError.at("acceptance", "turn_on", self.turn_on, "finite and >= 0 GeV")

    def probability(self, kinetic_energy: jax.Array) -> jax.Array:
        """Return the probability to see a lepton of true kinetic energy T, GeV."""
        if self.turn_on == 0.0:
            return jnp.full_like(kinetic_energy, self.efficiency)
        return -self.efficiency * jnp.expm1(-jnp.maximum(kinetic_energy, 0.0) / self.turn_on)


def response_factors(
    parameters: ResponseParameters,
    lepton_energy: ArrayLike,
    theta: ArrayLike,
    grid: RecoGrid,
    acceptance: Acceptance,
    lepton_mass: float,
) -> tuple[jax.Array, jax.Array]:
    """Return the probabilities of energy bins, efficiency included, and of angle bins.

    S_E[i, t] = eff(T_t) P(E_rec in bin i and above threshold), with E_rec normal of mean
    (1 + scale) E_t and standard deviation `energy_resolution` times that mean; the last bin has no
    upper end. S_theta[j, t] = P(theta_rec in bin j) with the normal law of mean theta_t reflected
    at 0 and at pi (images of one turn either way: widths up to about a radian); columns sum to one.
    The response of bin (i, j) is S_E[i, t] S_theta[j, t]. Zero widths give the indicator of the
    bin; derivatives along them are zero.

    Args:
        parameters: scale and widths.
        lepton_energy: true E_l in GeV, shape (n_true,).
        theta: true angle in rad, in [0, pi], shape (n_true,).
        grid: reconstructed bins.
        acceptance: threshold and efficiency.
        lepton_mass: m in GeV.

    Returns:
        S_E, shape (n_energy, n_true), and S_theta, shape (n_angle, n_true).

    Raises:
        InputError: a negative width, a scale below -1, or an angle outside [0, pi].
    """
    arrays = _checked(parameters, lepton_energy, theta, grid)
    return _factors(parameters, *arrays, acceptance, lepton_mass)


def smear(
    parameters: ResponseParameters,
    rows: ArrayLike,
    lepton_energy: ArrayLike,
    theta: ArrayLike,
    grid: RecoGrid,
    acceptance: Acceptance,
    lepton_mass: float,
) -> jax.Array:
    """Return sum_t S_E[i, t] S_theta[j, t] rows[t, k], shape (grid.size, k).

    One energy bin at a time: memory stays at n_angle x n_true beyond input and output. `rows`, of
    shape (n_true, k), hold a spectrum times the areas of the true cells; the other arguments and
    the errors are those of `response_factors`.
    """
    arrays = _checked(parameters, lepton_energy, theta, grid)
    return _smear(parameters, jnp.asarray(rows), *arrays, acceptance, lepton_mass)


def response_matrix(
    parameters: ResponseParameters,
    lepton_energy: ArrayLike,
    theta: ArrayLike,
    grid: RecoGrid,
    acceptance: Acceptance,
    lepton_mass: float,
) -> Floats:
    """Return the dense response, shape (grid.size, n_true), for sparse operators on its right.

    Arguments and errors are those of `response_factors`.
    """
    by_energy, by_angle = response_factors(
        parameters, lepton_energy, theta, grid, acceptance, lepton_mass
    )
    product = np.asarray(by_energy)[:, None, :] * np.asarray(by_angle)
    return product.reshape(grid.size, -1)


def smear_events(
    key: jax.Array,
    lepton_energy: ArrayLike,
    theta: ArrayLike,
    parameters: ResponseParameters,
    acceptance: Acceptance,
    lepton_mass: float,
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Draw reconstructed quantities of each event; return E_rec, theta_rec and whether it is seen.

    The law, the arguments and the errors are those of `response_factors`.
    """
    energy, angle = _checked(parameters, lepton_energy, theta)
    scale, energy_resolution, angle_resolution = parameters
    energy_key, angle_key, seen_key = jax.random.split(key, 3)
    shape = energy.shape
    shift = energy_resolution * jax.random.normal(energy_key, shape, energy.dtype)
    smeared = (1.0 + scale) * energy * (1.0 + shift)
    turned = angle + angle_resolution * jax.random.normal(angle_key, shape, energy.dtype)
    # The distance to the nearest even multiple of pi folds at 0 and at pi
    folded = jnp.abs(turned - 2.0 * jnp.pi * jnp.round(turned / (2.0 * jnp.pi)))
    seen = jax.random.uniform(seen_key, shape, energy.dtype) < acceptance.probability(
        energy - lepton_mass
    )
    kept = seen & (smeared >= lepton_mass + acceptance.threshold)
    return np.asarray(smeared), np.asarray(folded), np.asarray(kept)


def _checked(
    parameters: ResponseParameters,
    lepton_energy: ArrayLike,
    theta: ArrayLike,
    grid: RecoGrid | None = None,
) -> tuple[jax.Array, ...]:
    """Return true coordinates and edges as JAX arrays; refuse impossible values.

    Parameters that a JAX transformation traces have no value yet.
    """
    for name, value in zip(parameters._fields, parameters, strict=True):
        low = -1.0 if name == "energy_scale" else 0.0
        if isinstance(value, jax.core.Tracer):
            continue
        if not np.all((np.asarray(value) >= low) & (np.asarray(value) < np.inf)):
            raise InputError.at("response", name, value, f"finite and >= {low:g}")
    tops = (("lepton_energy", lepton_energy, np.finfo(float).max), ("theta", theta, np.pi))
    for name, value, top in tops:
        if not np.all((np.asarray(value) >= 0.0) & (np.asarray(value) <= top)):
            raise InputError.at("response", name, value, f"in [0, {top:.3g}]")
    edges = (grid.energy_edges, grid.angle_edges) if grid else ()
    return tuple(jnp.asarray(a, dtype=float) for a in (lepton_energy, theta, *edges))


def _below(edge: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Probability of a normal variable below an edge; a step where the width vanishes."""
    wide = sd > SHARP
    standard = (edge - mean) / jnp.where(wide, sd, 1.0)
    return jnp.where(wide, ndtr(standard), edge > mean)


def _between(cumulative: jax.Array) -> jax.Array:
    """Probability between edges, cut at 0: rounding may leave -1e-17 in the tails."""
    return jnp.maximum(jnp.diff(cumulative, axis=0), 0.0)


@partial(jax.jit, static_argnames=("acceptance", "lepton_mass"))
def _factors(
    parameters: ResponseParameters,
    lepton_energy: jax.Array,
    theta: jax.Array,
    energy_edges: jax.Array,
    angle_edges: jax.Array,
    acceptance: Acceptance,
    lepton_mass: float,
) -> tuple[jax.Array, jax.Array]:
    """Return S_E and S_theta."""
    scale, energy_resolution, angle_resolution = (jnp.asarray(p) for p in parameters)
    mean = (1.0 + scale) * lepton_energy
    lower = jnp.maximum(energy_edges[:-1], lepton_mass + acceptance.threshold)[:, None]
    one = jnp.ones((1, len(theta)))
    by_energy = _between(
        jnp.concatenate([_below(lower, mean, energy_resolution * mean), one])
    ) * acceptance.probability(lepton_energy - lepton_mass)
    # The inner edges and their images; all that lies between 0 and pi makes one
    edge = angle_edges[1:-1, None]
    folded = jnp.zeros((len(angle_edges) - 2, len(theta)))
    for turn in (-2.0 * jnp.pi, 0.0, 2.0 * jnp.pi):
        folded += _below(turn + edge, theta, angle_resolution)
        folded -= _below(turn - edge, theta, angle_resolution)
    by_angle = _between(jnp.concatenate([0.0 * one, folded, one]))
    return by_energy, by_angle


@partial(jax.jit, static_argnames=("acceptance", "lepton_mass"))
def _smear(
    parameters: ResponseParameters,
    rows: jax.Array,
    lepton_energy: jax.Array,
    theta: jax.Array,
    energy_edges: jax.Array,
    angle_edges: jax.Array,
    acceptance: Acceptance,
    lepton_mass: float,
) -> jax.Array:
    """Contract the response with rows, one energy bin at a time."""
    by_energy, by_angle = _factors(
        parameters, lepton_energy, theta, energy_edges, angle_edges, acceptance, lepton_mass
    )
    blocks = jax.lax.map(lambda probability: (by_angle * probability) @ rows, by_energy)
    return blocks.reshape(-1, rows.shape[1])
