"""Quasi-elastic scattering on a nucleus: relativistic Fermi gas and superscaling.

Each of the five responses is a nucleon's (`elastic_tensor`, set in motion) times a function of one
variable, in which nuclei and momentum transfers fall onto one curve (Amaro, Barbaro, Caballero,
Donnelly, Molinari and Sick, nucl-th/0409078; Amaro, Barbaro, Caballero, Donnelly and Maieron,
nucl-th/0411032). With the energy shift, nu' = nu - E_shift, lambda' = nu'/(2M), kappa = |q|/(2M),
tau' = kappa^2 - lambda'^2, eta_F = k_F/M and xi_F = sqrt(1 + eta_F^2) - 1,

    psi' = (lambda' - tau')/sqrt(xi_F ((1+lambda') tau' + kappa sqrt(tau' (1+tau')))),
    R    = xi_F/(M eta_F^3 kappa) f(psi') <nucleon>         (nucl-th/0409078).

psi'^2 = (E_0/M - 1)/xi_F in the terms of `fermi_motion`. The response functions of this literature
are R_T = T+ + T-, R_T' = T+ - T-, and R_CC, R_CL, R_LL the products of LL, LS and SS with e_L, e_S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import NUCLEON_MASS
from bayesxs.physics.fermi_motion import in_motion, struck
from bayesxs.physics.helicity import Helicity
from bayesxs.physics.nucleon_form_factors import Vector, elastic_tensor

type Scaling = Literal["superscaling", "fermi_gas"]

# The mean square momentum of the sphere, 3/5 k_F^2, as a temperature of exp(-(E-M)/T)
TEMPERATURE = 0.4  # in units of xi_F M


def superscaling_function(psi: ArrayLike) -> Array:
    """Return f(psi') of quasi-elastic (e,e') data.

    f = 1.5576 / ([1 + 1.7720^2 (psi' + 0.3014)^2] [1 + exp(-2.4291 psi')]) (nucl-th/0409078, in
    numbers of the code of Bosted and Mamyan, arXiv:1203.2262). The area is 1 over -3 < psi' < 4;
    the tail towards large psi', where other channels lie in the data, holds a tenth more.
    """
    psi = jnp.asarray(psi)
    lorentzian = 1.0 + 1.7720**2 * (psi + 0.3014) ** 2
    return 1.5576 / (lorentzian * (1.0 + jnp.exp(-2.4291 * psi)))


@dataclass(frozen=True)
class QuasiElastic:
    """Quasi-elastic tensor of one nucleon in a nucleus.

    "fermi_gas": f = 3/4 (1 - psi'^2) with the final nucleon above the Fermi sea; nothing outside
    |psi'| < 1. "superscaling": f of (e,e') data, Pauli blocking by f(psi'(nu')) - f(psi'(-nu'))
    (Rosenfelder, Ann. Phys. 128 (1980) 188), and averages of c over exp(-(E - E_0)/T), a momentum
    distribution of the sphere's mean square momentum: an average over the sphere would turn
    negative outside |psi'| < 1.
    """

    fermi_momentum: float  # GeV
    energy_shift: float  # GeV
    axial_mass: float = 1.03  # GeV
    vector: Vector = "bbba05"
    scaling: Scaling = "superscaling"
    pseudoscalar: float = 1.0  # factor on the form factor of the pion's pole

    def __call__(self, nu: ArrayLike, q2: ArrayLike) -> Helicity:
        """Return the components at energy transfer nu in GeV and Q^2 in GeV^2."""
        nu, q2 = (jnp.asarray(a, float) for a in jnp.broadcast_arrays(nu, q2))
        q = jnp.sqrt(nu**2 + q2)
        given = nu - self.energy_shift
        allowed = given > 0.0
        given = jnp.where(allowed, given, nu)
        eta = self.fermi_momentum / NUCLEON_MASS
        xi = eta**2 / (jnp.sqrt(1.0 + eta**2) + 1.0)
        curve, mean, square = (
            self._fermi_gas(given, q) if self.scaling == "fermi_gas" else self._data(given, q)
        )
        weight = jnp.where(allowed, 2.0 * xi / (eta**3 * q) * curve * NUCLEON_MASS, 0.0)
        nucleon = elastic_tensor(q2, self.axial_mass, self.vector, self.pseudoscalar)
        return Helicity(*(weight * part for part in in_motion(nucleon, mean, square)))

    def _fermi_gas(self, given: Array, q: Array) -> tuple[Array, Array, Array]:
        energy, _, slope = struck(given, q, 0.5 * (q - given) * (q + given))
        fermi = jnp.hypot(self.fermi_momentum, NUCLEON_MASS)
        low = jnp.maximum(energy, fermi - given)  # the final nucleon lies above the Fermi sea
        length = jnp.maximum(fermi - low, 0.0)
        # c is linear in E, which is uniform between `low` and the Fermi energy
        middle = 1.0 + slope * (jnp.minimum(low, fermi) + 0.5 * length - jnp.minimum(energy, fermi))
        curve = 0.75 * length / (fermi - NUCLEON_MASS)
        return curve, middle, middle**2 + (slope * length) ** 2 / 12.0

    def _data(self, given: Array, q: Array) -> tuple[Array, Array, Array]:
        q2 = (q - given) * (q + given)
        energy, momentum, slope = struck(given, q, 0.5 * q2)
        fermi = jnp.hypot(self.fermi_momentum, NUCLEON_MASS)
        scale = (fermi - NUCLEON_MASS) * (energy + NUCLEON_MASS)
        psi = momentum / jnp.sqrt(scale)
        # at -nu': p_0 = -(nu R + |q| P)/Q^2, E_0 = (|q| R + nu P)/Q^2
        root = jnp.sqrt(q2 * (NUCLEON_MASS**2 + 0.25 * q2))
        blocked = -(given * root / q2 + 0.5 * q)
        energy = q * root / q2 + 0.5 * given
        scale = (fermi - NUCLEON_MASS) * (energy + NUCLEON_MASS)
        curve = superscaling_function(psi) - superscaling_function(blocked / jnp.sqrt(scale))
        spread = slope * TEMPERATURE * (fermi - NUCLEON_MASS)
        mean = 1.0 + spread
        # positive for Fermi momenta of nuclei; certain for any
        return jnp.maximum(curve, 0.0), mean, mean**2 + spread**2
