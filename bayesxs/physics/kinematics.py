"""Kinematics of charged-current scattering, nu(E) + A -> l(E_l, theta) + X, per nucleon.

Plain arithmetic on arrays that broadcast: NumPy in, NumPy out; JAX in, JAX out. Energies and
masses in GeV, Q^2 in GeV^2. The detector-side angle variable is z = (E_l - p_l cos theta)/M.
"""

from __future__ import annotations

from typing import NamedTuple

from bayesxs.constants import NUCLEON_MASS
from bayesxs.types import Numbers


class Invariants(NamedTuple):
    """Bjorken x, Q^2 in GeV^2 and inelasticity y."""

    x: Numbers
    q2: Numbers
    y: Numbers


def lepton_momentum(lepton_energy: Numbers, lepton_mass: float) -> Numbers:
    """Return p_l = sqrt(E_l^2 - m^2), zero below threshold."""
    squared = lepton_energy**2 - lepton_mass**2
    return (squared * (squared > 0.0)) ** 0.5


def z_from_cosine(lepton_energy: Numbers, cosine: Numbers, lepton_mass: float) -> Numbers:
    """Return z = (E_l - p_l cos theta)/M, the angle variable in which densities are even."""
    return (lepton_energy - lepton_momentum(lepton_energy, lepton_mass) * cosine) / NUCLEON_MASS


def cosine_from_z(lepton_energy: Numbers, z: Numbers, lepton_mass: float) -> Numbers:
    """Return cos theta = (E_l - M z)/p_l; outside [-1, 1] where (E_l, z) is unphysical."""
    return (lepton_energy - NUCLEON_MASS * z) / lepton_momentum(lepton_energy, lepton_mass)


def invariants(
    energy: Numbers, lepton_energy: Numbers, z: Numbers, lepton_mass: float
) -> Invariants:
    """Map (E, E_l, z) to Q^2 = 2 M E z - m^2, x = Q^2/(2 M nu) and y = nu/E with nu = E - E_l."""
    nu = energy - lepton_energy
    q2 = 2.0 * NUCLEON_MASS * energy * z - lepton_mass**2
    return Invariants(q2 / (2.0 * NUCLEON_MASS * nu), q2, nu / energy)


def lepton_from_invariants(
    energy: Numbers, x: Numbers, y: Numbers, lepton_mass: float
) -> tuple[Numbers, Numbers]:
    """Map (E, x, y) to (E_l, z), the inverse of `invariants` at fixed E."""
    q2 = 2.0 * NUCLEON_MASS * energy * x * y
    return energy * (1.0 - y), (q2 + lepton_mass**2) / (2.0 * NUCLEON_MASS * energy)


def is_physical(energy: Numbers, lepton_energy: Numbers, z: Numbers, lepton_mass: float) -> Numbers:
    """Tell where nu > 0, 0 < x < 1, |cos theta| <= 1 and E_l > m hold together.

    x < 1 is written as Q^2 < 2 M nu, so that no division happens where nu <= 0.
    """
    nu = energy - lepton_energy
    q2 = 2.0 * NUCLEON_MASS * energy * z - lepton_mass**2
    momentum = lepton_momentum(lepton_energy, lepton_mass)
    angle = abs(lepton_energy - NUCLEON_MASS * z) <= momentum
    return (
        (nu > 0.0)
        & (q2 > 0.0)
        & (q2 < 2.0 * NUCLEON_MASS * nu)
        & angle
        & (lepton_energy > lepton_mass)
    )


def y_max(x: Numbers, q2: Numbers, lepton_mass: float) -> Numbers:
    """Return the largest inelasticity at (x, Q^2), where the lepton goes along the beam axis.

    |cos theta| <= 1 asks (S/2a)^2 y^2 + S y - Q^2 <= 0 with S = Q^2 + m^2 and a = Q^2/(2 M x); the
    positive root is y_max = 2 Q^2 / (S (1 + sqrt(1 + 4 M^2 x^2/Q^2))). There the lepton goes
    straight back, or, where S y_max < 2 a m (at small Q^2), straight forward.
    """
    target_mass = 4.0 * NUCLEON_MASS**2 * x**2 / q2
    return 2.0 * q2 / ((q2 + lepton_mass**2) * (1.0 + (1.0 + target_mass) ** 0.5))


def x_min(energy: Numbers, lepton_mass: float) -> Numbers:
    """Return the smallest Bjorken x at E: m^2/(2M(E - m)) (Kretzer-Reno, hep-ph/0208187, Eq. 4)."""
    return lepton_mass**2 / (2.0 * NUCLEON_MASS * (energy - lepton_mass))


def y_range(energy: Numbers, x: Numbers, lepton_mass: float) -> tuple[Numbers, Numbers]:
    """Return the range of y at (E, x) where |cos theta| <= 1 (Kretzer-Reno, hep-ph/0208187, Eq. 5).

    y = (A -+ B) / (1 + M x/(2E)) with A = 1/2 (1 - m^2/(2MEx) - m^2/(2E^2)) and
    B = 1/2 sqrt((1 - m^2/(2MEx))^2 - m^2/E^2).
    """
    ratio = lepton_mass**2 / (2.0 * NUCLEON_MASS * energy * x)
    middle = 0.5 * (1.0 - ratio - lepton_mass**2 / (2.0 * energy**2))
    squared = (1.0 - ratio) ** 2 - (lepton_mass / energy) ** 2
    half = 0.5 * (squared * (squared > 0.0)) ** 0.5
    scale = 1.0 + NUCLEON_MASS * x / (2.0 * energy)
    return (middle - half) / scale, (middle + half) / scale


def z_max(energy_max: Numbers, lepton_mass: float) -> Numbers:
    """Return the largest z reached at any lepton energy for neutrino energies up to E_max.

    At fixed E_l, x < 1 asks z < (nu + m^2/(2M))/E, largest as E_l -> m; there z >= m/M too.
    """
    return 1.0 - lepton_mass / energy_max + lepton_mass**2 / (2.0 * NUCLEON_MASS * energy_max)
