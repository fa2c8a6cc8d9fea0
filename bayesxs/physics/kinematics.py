"""Kinematics of charged-current scattering, nu(E) + A -> l(E_l, theta) + X, per nucleon.

Plain arithmetic on arrays that broadcast: NumPy in, NumPy out; JAX in, JAX out. Energies and
masses in GeV, Q^2 in GeV^2. The detector-side angle variable is z = (E_l - p_l cos theta)/M.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from bayesxs.constants import NUCLEON_MASS
from bayesxs.errors import InputError
from bayesxs.types import Numbers


class Invariants(NamedTuple):
    """Bjorken x, Q^2 in GeV^2 and inelasticity y."""

    x: Numbers
    q2: Numbers
    y: Numbers


@dataclass(frozen=True)
class PhaseSpace:
    """Range of Bjorken x, of which all other limits of the kinematics follow.

    A nucleon at rest gives x < 1. Nucleons in a nucleus move and share momentum, so that x reaches
    A in principle.

    Attributes:
        x_max: upper end of Bjorken x = Q^2/(2 M nu), at least 1.

    Raises:
        InputError: x_max is below 1 or not finite.
    """

    x_max: float = 1.0

    def __post_init__(self) -> None:
        """Check the upper end of x."""
        if not 1.0 <= self.x_max < math.inf:
            raise InputError.at("phase space", "x_max", self.x_max, "finite and at least 1")


# That of a nucleon at rest, and of the parton model
NUCLEON: Final = PhaseSpace()

# That of nuclei that are heavier: of generators' events one in a thousand has x > 2.2
HIGHEST_X: Final = 3.0

# Largest z that bins cover where x exceeds 1: the lepton of no event of two generators reaches it
HIGHEST_Z: Final = 1.3


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


def is_physical(
    energy: Numbers,
    lepton_energy: Numbers,
    z: Numbers,
    lepton_mass: float,
    space: PhaseSpace = NUCLEON,
) -> Numbers:
    """Tell where nu > 0, 0 < x < x_max, |cos theta| <= 1 and E_l > m hold together.

    x < x_max is written as Q^2 < 2 M nu x_max, so that no division happens where nu <= 0.
    """
    nu = energy - lepton_energy
    q2 = 2.0 * NUCLEON_MASS * energy * z - lepton_mass**2
    momentum = lepton_momentum(lepton_energy, lepton_mass)
    angle = abs(lepton_energy - NUCLEON_MASS * z) <= momentum
    return (
        (nu > 0.0)
        & (q2 > 0.0)
        & (q2 < 2.0 * NUCLEON_MASS * nu * space.x_max)
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


def least_transfer(
    lepton_energy: Numbers, z: Numbers, lepton_mass: float, space: PhaseSpace = NUCLEON
) -> Numbers:
    """Return the energy transfer of a row at x = x_max, the least that it can have, in GeV.

    2 M E z - m^2 < 2 M nu x_max asks nu > (E_l z - m^2/(2M))/(x_max - z), where z < x_max.
    """
    return (lepton_energy * z - lepton_mass**2 / (2.0 * NUCLEON_MASS)) / (space.x_max - z)


def most_transfer(energy: Numbers, q2: Numbers, lepton_mass: float) -> Numbers:
    """Return the largest energy transfer at (E, Q^2), where the lepton goes along the beam axis.

    nu = E - (k + m^2/k)/2 with k = (Q^2 + m^2)/(2E), which is E_l - p_l or E_l + p_l there.
    """
    k = (q2 + lepton_mass**2) / (2.0 * energy)
    return energy - 0.5 * (k + lepton_mass**2 / k)


def q2_range(
    energy: Numbers, lepton_mass: float, space: PhaseSpace = NUCLEON
) -> tuple[Numbers, Numbers]:
    """Return the range of Q^2 in GeV^2 at E, which has no meaning below threshold.

    At the ends nu = Q^2/(2 M x_max) is all of `most_transfer`: k of the latter solves
    (1 + 2E/(M x_max)) k^2 - (2E + m^2/(M x_max)) k + m^2 = 0.
    """
    mass2, top = lepton_mass**2, NUCLEON_MASS * space.x_max
    a, b = 1.0 + 2.0 * energy / top, 2.0 * energy + mass2 / top
    squared = b**2 - 4.0 * a * mass2
    root = (squared * (squared > 0.0)) ** 0.5
    low, high = 2.0 * mass2 / (b + root), 0.5 * (b + root) / a
    return 2.0 * energy * low - mass2, 2.0 * energy * high - mass2


def z_reach(
    energy: Numbers, lepton_energy: Numbers, lepton_mass: float, space: PhaseSpace = NUCLEON
) -> Numbers:
    """Return z at x = x_max, (nu x_max + m^2/(2M))/E: an upper end at fixed E and E_l."""
    transfer = (energy - lepton_energy) * space.x_max
    return (transfer + lepton_mass**2 / (2.0 * NUCLEON_MASS)) / energy


def z_max(energy_max: float, lepton_mass: float, space: PhaseSpace = NUCLEON) -> float:
    """Return the largest z that bins need to cover for neutrino energies up to E_max.

    At fixed E_l, x < x_max asks z < (nu x_max + m^2/(2M))/E, largest as E_l -> m; there z >= m/M
    too. Where x exceeds 1 this end lies far above the last events, and bins stop at 1.3.
    """
    rest = lepton_mass**2 / (2.0 * NUCLEON_MASS * energy_max)
    return min(space.x_max * (1.0 - lepton_mass / energy_max) + rest, HIGHEST_Z)
