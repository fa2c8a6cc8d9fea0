"""The Delta(1232): transition form factors, helicity amplitudes, and a Breit-Wigner mass.

The current (Llewellyn Smith, Phys. Rept. 3 (1972) 261; Lalakulich and Paschos, hep-ph/0501109)
is

    J^mu = ubar_alpha [ (C3V/M (g^{alpha mu} qslash - q^alpha gamma^mu)
                       + C4V/M^2 (g^{alpha mu} q.p' - q^alpha p'^mu)
                       + C5V/M^2 (g^{alpha mu} q.p - q^alpha p^mu)) gamma5
                       + C4A/M^2 (g^{alpha mu} q.p' - q^alpha p'^mu)
                       + C5A g^{alpha mu} + C6A/M^2 q^alpha q^mu ] u.

Its amplitudes are taken in the rest frame of a Delta of mass W, with q0, k the energy and momentum
of the boson and E the nucleon's energy there. Squares of amplitudes make the tensor positive
semi-definite at every W; expressions in W1..W5 with a fixed mass do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import CABIBBO, DELTA_MASS, DELTA_WIDTH, NUCLEON_MASS, PION_MASS
from bayesxs.physics.helicity import Helicity
from bayesxs.physics.nucleon_form_factors import pion_pole

VECTOR_MASS = 0.84  # GeV
THRESHOLD = NUCLEON_MASS + PION_MASS


class TransitionFormFactors(NamedTuple):
    """Hold the form factors of n -> Delta+; those of p -> Delta++ are sqrt(3) times larger."""

    c3v: Array
    c4v: Array
    c5v: Array
    c5a: Array  # C3A = 0, C4A = -C5A/4 (Adler), C6A from the pion's pole


class Amplitudes(NamedTuple):
    """Hold amplitudes in GeV, vector and axial apart."""

    vector_3: Array  # transverse, to helicity 3/2 of the Delta
    vector_1: Array  # transverse, to 1/2
    axial_3: Array
    axial_1: Array
    vector_l: Array  # along e_L
    axial_l: Array
    axial_s: Array  # along e_S


def breit_wigner(w2: ArrayLike) -> Array:
    """Return the density of W^2 in 1/GeV^2, zero below the pion's threshold.

    (1/pi) M_D G/((W^2 - M_D^2)^2 + M_D^2 G^2) with the width of a p wave, G = G_D (k/k_D)^3, k the
    momentum of the pion (Lalakulich and Paschos, hep-ph/0501109).
    """
    w2 = jnp.maximum(jnp.asarray(w2), THRESHOLD**2)

    def momentum2(mass2: Array) -> Array:
        low = (NUCLEON_MASS - PION_MASS) ** 2
        return (mass2 - THRESHOLD**2) * (mass2 - low) / (4.0 * mass2)

    ratio = momentum2(w2) / momentum2(jnp.asarray(DELTA_MASS**2))
    root = jnp.sqrt(jnp.where(ratio > 0.0, ratio, 1.0))  # whose slope is infinite at zero
    strength = DELTA_MASS * DELTA_WIDTH * ratio * root
    return strength / (jnp.pi * ((w2 - DELTA_MASS**2) ** 2 + strength**2))


@dataclass(frozen=True)
class Delta:
    """The tensor of n -> Delta+ (antineutrinos: p -> Delta0); p -> Delta++ is three times larger.

    Vector form factors of Lalakulich, Paschos and Piranishvili (hep-ph/0602210), from
    electroproduction; C5A = C5A(0)/(1 + Q^2/M_A^2)^2 with C5A(0) = 1.19 and M_A = 0.94 GeV
    (Graczyk, Kielczewska, Przewlocki and Sobczyk, arXiv:0908.2175, fit to both bubble chambers).
    """

    c5a: float = 1.19
    axial_mass: float = 0.94  # GeV
    pseudoscalar: float = 1.0  # factor on C6A

    def form_factors(self, q2: ArrayLike) -> TransitionFormFactors:
        """Return the transition form factors at Q^2 in GeV^2."""
        q2 = jnp.asarray(q2)
        dipole = (1.0 + q2 / VECTOR_MASS**2) ** -2
        steep = dipole / (1.0 + q2 / (4.0 * VECTOR_MASS**2))
        return TransitionFormFactors(
            2.13 * steep,
            -1.51 * steep,
            0.48 * dipole / (1.0 + q2 / (0.776 * VECTOR_MASS**2)),
            self.c5a * (1.0 + q2 / self.axial_mass**2) ** -2,
        )

    def amplitudes(self, w2: ArrayLike, q2: ArrayLike) -> Amplitudes:
        """Return the helicity amplitudes at W^2 and Q^2, in GeV^2.

        With N^2 = 2W (E + M), b = k/(E + M), the polarization vectors of `helicity`, and the
        Clebsch-Gordan coefficients of a spin 3/2 from 1 and 1/2,

            G   = C3V (W+M)/M + (C4V q.p' + C5V q.p)/M^2       A = C5A + C4A q.p'/M^2
            V3  = N b G                                        A3 = N A
            V1  = N (2 k C3V/M - b G)/sqrt(3)                  A1 = N A/sqrt(3)
            V_L = sqrt(2/3) N b Q (C3V/M + (C4V W + C5V E)/M^2)
            A_L = sqrt(2/3) N (C5A q0 - C4A W Q^2/M^2)/Q
            A_S = sqrt(2/3) N k C5A m_pi^2/(Q^2 + m_pi^2)/Q

        and V_S = 0.
        """
        w2, q2 = jnp.broadcast_arrays(jnp.asarray(w2), jnp.asarray(q2))
        c3v, c4v, c5v, c5a = self.form_factors(q2)
        c4a, mass, w = -0.25 * c5a, NUCLEON_MASS, jnp.sqrt(w2)
        q0 = (w2 - mass**2 - q2) / (2.0 * w)
        k, energy, q = jnp.sqrt(q0**2 + q2), w - q0, jnp.sqrt(q2)
        norm, ratio = jnp.sqrt(2.0 * w * (energy + mass)), k / (energy + mass)
        magnetic = c3v * (w + mass) / mass + (c4v * w * q0 + c5v * (w * q0 + q2)) / mass**2
        axial = c5a + c4a * w * q0 / mass**2
        third, two_thirds = jnp.sqrt(1.0 / 3.0), jnp.sqrt(2.0 / 3.0)
        return Amplitudes(
            norm * ratio * magnetic,
            third * norm * (2.0 * k * c3v / mass - ratio * magnetic),
            norm * axial,
            third * norm * axial,
            two_thirds * norm * ratio * q * (c3v / mass + (c4v * w + c5v * energy) / mass**2),
            two_thirds * norm * (c5a * q0 - c4a * w * q2 / mass**2) / q,
            two_thirds * norm * k * c5a * pion_pole(q2, self.pseudoscalar) / q,
        )

    def __call__(self, w2: ArrayLike, q2: ArrayLike) -> Helicity:
        """Return the components in the nucleon's rest frame at W^2 and Q^2, in GeV^2.

        In the normalization of F1 a tensor of single states is half the mean square amplitude times
        delta(W^2 - M_X^2), here a Breit-Wigner; vector and axial interfere in T+- and not in LL.
        """
        w2 = jnp.asarray(w2)
        v3, v1, a3, a1, vl, al, s = self.amplitudes(jnp.maximum(w2, THRESHOLD**2), q2)
        scale = 0.5 * CABIBBO**2 * breit_wigner(w2)
        return Helicity(
            0.5 * scale * ((v3 + a3) ** 2 + (v1 + a1) ** 2),
            0.5 * scale * ((v3 - a3) ** 2 + (v1 - a1) ** 2),
            scale * (vl**2 + al**2),
            scale * al * s,
            scale * s**2,
        )
