"""The charged-current cross section: kinematic coefficients times structure functions."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import (
    CROSS_SECTION_UNIT,
    FERMI_CONSTANT,
    HBARC_SQUARED,
    NUCLEON_MASS,
    W_MASS,
)
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    invariants,
    is_physical,
    lepton_momentum,
    y_max,
)
from bayesxs.physics.structure_functions import StructureFunctions, bernstein_basis

# G_F^2 M / pi, from natural units to 1e-38 cm^2 / GeV
SCALE = FERMI_CONSTANT**2 * NUCLEON_MASS / math.pi * HBARC_SQUARED / CROSS_SECTION_UNIT


def five_function_bracket(
    five: Array, energy: ArrayLike, x: ArrayLike, y: ArrayLike, lepton_mass: float, sign: int
) -> Array:
    """Return the curly bracket of d2s/dxdy from F1..F5 (Kretzer-Reno, hep-ph/0208187, Eq. 2).

    (y^2 x + m^2 y/(2EM)) F1 + [(1 - m^2/(4E^2)) - (1 + Mx/(2E)) y] F2
    +- [x y (1 - y/2) - m^2 y/(4EM)] F3 + m^2 (m^2+Q^2)/(4 E^2 M^2 x) F4 - m^2/(EM) F5.

    Args:
        five: F1..F5, shape (..., 5).
        energy: neutrino energy in GeV.
        x: Bjorken x.
        y: inelasticity.
        lepton_mass: m in GeV.
        sign: +1 for neutrinos, -1 for antineutrinos.
    """
    energy, x, y = jnp.asarray(energy), jnp.asarray(x), jnp.asarray(y)
    f1, f2, f3, f4, f5 = (five[..., i] for i in range(5))
    m2, mass = lepton_mass**2, NUCLEON_MASS
    q2 = 2.0 * mass * energy * x * y
    return (
        (y**2 * x + m2 * y / (2.0 * energy * mass)) * f1
        + ((1.0 - m2 / (4.0 * energy**2)) - (1.0 + mass * x / (2.0 * energy)) * y) * f2
        + sign * (x * y * (1.0 - 0.5 * y) - m2 * y / (4.0 * energy * mass)) * f3
        + m2 * (m2 + q2) / (4.0 * energy**2 * mass**2 * x) * f4
        - m2 / (energy * mass) * f5
    )


def propagator(energy: ArrayLike, q2: ArrayLike) -> Array:
    """Return G_F^2 M E / (pi (1 + Q^2/M_W^2)^2) in 1e-38 cm^2."""
    return SCALE * jnp.asarray(energy) / (1.0 + jnp.asarray(q2) / W_MASS**2) ** 2


def coefficients(
    energy: ArrayLike, lepton_energy: ArrayLike, z: ArrayLike, lepton_mass: float
) -> Array:
    """Return c with d2s/dE_l dz = sum_i c_i b_i(x, Q^2), in 1e-38 cm^2/GeV, shape (..., 3).

    d2s/dE_l dz = d2s/dxdy / nu, and the bracket in Bernstein form (see structure_functions).
    Only meaningful inside the physical region.
    """
    x, q2, y = invariants(energy, lepton_energy, z, lepton_mass)
    basis = bernstein_basis(y / y_max(x, q2, lepton_mass))
    return (propagator(energy, q2) / (y * energy))[..., None] * basis


def differential_cross_section(
    sf: StructureFunctions,
    energy: ArrayLike,
    lepton_energy: ArrayLike,
    z: ArrayLike,
    lepton_mass: float,
    space: PhaseSpace = NUCLEON,
) -> Array:
    """Return d2s/dE_l dz in 1e-38 cm^2/GeV, zero outside the physical region.

    Args:
        sf: structure functions.
        energy: neutrino energy E in GeV.
        lepton_energy: E_l in GeV.
        z: (E_l - p_l cos theta)/M.
        lepton_mass: m in GeV.
        space: how far x reaches.
    """
    energy, lepton_energy, z = jnp.broadcast_arrays(*map(jnp.asarray, (energy, lepton_energy, z)))
    inside = is_physical(energy, lepton_energy, z, lepton_mass, space)
    # A harmless physical point stands in where the real one is not, so that gradients stay finite
    safe_energy = jnp.where(inside, energy, 2.0)
    safe_lepton = jnp.where(inside, lepton_energy, 1.0)
    safe_z = jnp.where(inside, z, 0.3)
    x, q2, _ = invariants(safe_energy, safe_lepton, safe_z, lepton_mass)
    value = jnp.sum(
        coefficients(safe_energy, safe_lepton, safe_z, lepton_mass) * sf(x, q2), axis=-1
    )
    return jnp.where(inside, value, 0.0)


def density_of_transfer(
    sf: StructureFunctions, energy: ArrayLike, nu: ArrayLike, q2: ArrayLike, lepton_mass: float
) -> Array:
    """Return d2s/dnu dQ^2 = d2s/dxdy / (2 M E nu) in 1e-38 cm^2/GeV^3, at any x.

    Args:
        sf: structure functions.
        energy: neutrino energy E in GeV.
        nu: energy transfer in GeV.
        q2: Q^2 in GeV^2, in the physical region.
        lepton_mass: m in GeV.
    """
    energy, nu, q2 = map(jnp.asarray, (energy, nu, q2))
    x = q2 / (2.0 * NUCLEON_MASS * nu)
    basis = bernstein_basis(nu / energy / y_max(x, q2, lepton_mass))
    bracket = jnp.sum(basis * sf(x, q2), axis=-1)
    return propagator(energy, q2) * bracket / (2.0 * NUCLEON_MASS * energy * nu)


def transfer_points(
    energy: ArrayLike, lepton_mass: float, points: int = 96
) -> tuple[Array, Array, Array]:
    """Return Gauss-Legendre points (nu, Q^2) of all leptons, whatever x, and their weights.

    nu = (E - m) u^(3/2), and ln(Q^2 + 0.02 GeV^2) runs between cos theta = 1 and -1. Each has the
    shape of `energy`, in GeV, and two more axes of `points`.
    """
    energy = jnp.asarray(energy, float)[..., None]
    t, share = np.polynomial.legendre.leggauss(points)
    u = 0.5 * (t + 1.0)
    nu = (energy - lepton_mass) * u**1.5
    lepton = energy - nu
    momentum = lepton_momentum(lepton, lepton_mass)
    # 2E(E_l - p_l) - m^2 without its difference
    low = lepton_mass**2 * (2.0 * energy / (lepton + momentum) - 1.0)
    high = 2.0 * energy * (lepton + momentum) - lepton_mass**2
    start, length = jnp.log(low + 0.02), jnp.log((high + 0.02) / (low + 0.02))
    shifted = jnp.exp(start[..., None] + length[..., None] * u)
    outer = 0.75 * jnp.asarray(share) * (energy - lepton_mass) * np.sqrt(u)
    weight = (outer * length)[..., None] * 0.5 * share * shifted
    return jnp.broadcast_to(nu[..., None], shifted.shape), shifted - 0.02, weight


def total_cross_section(
    sf: StructureFunctions, energy: ArrayLike, lepton_mass: float, points: int = 96
) -> Array:
    """Return the cross section in 1e-38 cm^2 over all leptons, whatever x.

    Args:
        sf: structure functions that hold at any x > 0.
        energy: neutrino energies above the threshold, in GeV.
        lepton_mass: m in GeV.
        points: Gauss-Legendre points along each of two axes.
    """
    energy = jnp.asarray(energy, float)
    nu, q2, weight = transfer_points(energy, lepton_mass, points)
    density = density_of_transfer(sf, energy[..., None, None], nu, q2, lepton_mass)
    return jnp.sum(weight * density, axis=(-2, -1))
