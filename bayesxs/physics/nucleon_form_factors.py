"""Form factors of the nucleon, and the tensor of a charged current that scatters on it elastically.

tau = Q^2/(4 M^2). The vector current is the isovector part of the electromagnetic one (conserved
vector current): G_E = G_E^p - G_E^n and G_M = G_M^p - G_M^n. The axial current is a dipole, the
pseudoscalar one follows from the pion's pole (partially conserved axial current).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import (
    AXIAL_COUPLING,
    CABIBBO,
    NEUTRON_MOMENT,
    NUCLEON_MASS,
    PION_MASS,
    PROTON_MOMENT,
)
from bayesxs.physics.helicity import Helicity

# Vector form factors
type Vector = Literal["bbba05", "dipole"]

VECTOR_MASS_SQUARED = 0.71  # GeV^2, of the dipole

# Numerator and denominator in powers of tau, from the zeroth (Bradford, Bodek, Budd and Arrington,
# hep-ex/0602017)
BBBA05_ELECTRIC_PROTON = ((1.0, -0.0578), (1.0, 11.1, 13.6, 33.0))
BBBA05_MAGNETIC_PROTON = ((1.0, 0.150), (1.0, 11.1, 19.6, 7.54))
BBBA05_ELECTRIC_NEUTRON = ((0.0, 1.25, 1.30), (1.0, -9.86, 305.0, -758.0, 802.0))
BBBA05_MAGNETIC_NEUTRON = ((1.0, 1.81), (1.0, 14.1, 20.7, 68.7))

type Rational = tuple[tuple[float, ...], tuple[float, ...]]


class SachsIsovector(NamedTuple):
    """Hold the isovector Sachs form factors; shapes broadcast."""

    electric: Array
    magnetic: Array


def _rational(coefficients: Rational, tau: Array) -> Array:
    top, bottom = (jnp.polyval(jnp.array(part[::-1]), tau) for part in coefficients)
    return top / bottom


def vector_form_factors(q2: ArrayLike, vector: Vector = "bbba05") -> SachsIsovector:
    """Return G_E^p - G_E^n and G_M^p - G_M^n.

    "bbba05": ratios of polynomials in tau (hep-ex/0602017). "dipole":
    (1 + Q^2/0.71)^-2 times 1 and the magnetic moments, G_E^n = 0.

    Args:
        q2: Q^2 in GeV^2.
        vector: which form.
    """
    q2 = jnp.asarray(q2, float)
    if vector == "dipole":
        dipole = (1.0 + q2 / VECTOR_MASS_SQUARED) ** -2
        return SachsIsovector(dipole, (PROTON_MOMENT - NEUTRON_MOMENT) * dipole)
    tau = q2 / (4.0 * NUCLEON_MASS**2)
    electric = _rational(BBBA05_ELECTRIC_PROTON, tau) - _rational(BBBA05_ELECTRIC_NEUTRON, tau)
    proton = PROTON_MOMENT * _rational(BBBA05_MAGNETIC_PROTON, tau)
    neutron = NEUTRON_MOMENT * _rational(BBBA05_MAGNETIC_NEUTRON, tau)
    return SachsIsovector(electric, proton - neutron)


def axial_form_factor(q2: ArrayLike, axial_mass: float) -> Array:
    """Return G_A = g_A (1 + Q^2/M_A^2)^-2, Q^2 in GeV^2 and M_A in GeV."""
    return AXIAL_COUPLING * (1.0 + jnp.asarray(q2) / axial_mass**2) ** -2


def pion_pole(q2: ArrayLike, pseudoscalar: float = 1.0) -> Array:
    """Return m_pi^2/(Q^2 + m_pi^2), by which the divergence of the axial current is reduced.

    With the pseudoscalar form factor F_P = 2 M^2 G_A/(Q^2 + m_pi^2) (Llewellyn Smith, Phys. Rept. 3
    (1972) 261) the divergence is G_A - 2 tau F_P = G_A m_pi^2/(Q^2 + m_pi^2). With p F_P in its
    place it is (m_pi^2 + (1 - p) Q^2)/(Q^2 + m_pi^2).

    Args:
        q2: Q^2 in GeV^2.
        pseudoscalar: p.
    """
    q2 = jnp.asarray(q2)
    return (PION_MASS**2 + (1.0 - pseudoscalar) * q2) / (q2 + PION_MASS**2)


def elastic_tensor(
    q2: ArrayLike, axial_mass: float, vector: Vector = "bbba05", pseudoscalar: float = 1.0
) -> Helicity:
    """Return the helicity components of nu n -> l p, or of its mirror, on a nucleon at rest.

    They multiply M delta(nu - Q^2/(2M)), with nu the energy of the boson in the nucleon's rest
    frame. In the Breit frame the vector current is (2M G_E, i 2M sqrt(tau) G_M sigma x z) and the
    axial one (0, 2E sigma_T G_A, 2M (G_A - 2 tau F_P) sigma_z), E = M sqrt(1 + tau), so that

        T+- = (sqrt(tau) G_M +- sqrt(1+tau) G_A)^2     LL = G_E^2     LS = 0
        SS  = G_A^2 (m_pi^2/(Q^2 + m_pi^2))^2

    times |V_ud|^2. These are A, B and C of Llewellyn Smith (Phys. Rept. 3 (1972) 261, equation
    3.18) in another basis.

    Args:
        q2: Q^2 in GeV^2.
        axial_mass: M_A in GeV.
        vector: form of the vector form factors.
        pseudoscalar: factor on F_P.
    """
    q2 = jnp.asarray(q2, float)
    tau = q2 / (4.0 * NUCLEON_MASS**2)
    electric, magnetic = vector_form_factors(q2, vector)
    axial = axial_form_factor(q2, axial_mass)
    along, across = jnp.sqrt(tau) * magnetic, jnp.sqrt(1.0 + tau) * axial
    return Helicity(
        CABIBBO**2 * (along + across) ** 2,
        CABIBBO**2 * (along - across) ** 2,
        CABIBBO**2 * electric**2,
        jnp.zeros_like(q2),
        CABIBBO**2 * (axial * pion_pole(q2, pseudoscalar)) ** 2,
    )
