"""Nucleons in motion: the tensor of a nucleon at rest, averaged over Fermi motion.

A nucleon of momentum p contributes n(p) (M/E) W(p, q) to the tensor of the nucleus. With W the mass
of what it turns into, P = p.q and R = sqrt(M^2 Q^2 + P^2), its tensor in the nucleus' rest frame is
that of its own rest frame up to one number, the hyperbolic cosine c between the two longitudinal
directions e_L: both lie across q, and c = (Q^2 E + nu P)/(|q| R), 1 where p is parallel to q. On
the average over the azimuth

    T+- -> T+- + (c^2-1) (T+ + T- + 2 LL)/4 +- (c-1) (T+ - T-)/2
    LL  -> c^2 LL + (c^2-1) (T+ + T-)/2,     LS -> c LS,     SS -> SS,

which maps positive semi-definite tensors onto such. At a given W all momenta with the same P
contribute, c is linear in E, and d^3p M/E = 2 pi M dE dP/|q|: the integral over E is elementary.
It starts at the energy E_0 of the nucleon that moves along q (the relativistic Fermi gas: Alberico
et al., Phys. Rev. C 38 (1988) 1801; any W: Barbaro et al., nucl-th/0311088).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import NUCLEON_MASS
from bayesxs.physics.helicity import Helicity


class Struck(NamedTuple):
    """Describe the nucleons that a boson of (nu, |q|) turns into a mass W; shapes broadcast."""

    energy: Array  # E_0, least energy in GeV
    momentum: Array  # p_0 of that nucleon along q, in GeV
    slope: Array  # dc/dE in 1/GeV; c = 1 at E_0


def struck(energy_transfer: ArrayLike, momentum_transfer: ArrayLike, product: ArrayLike) -> Struck:
    """Return the nucleon of least energy that has p.q = P, and the slope of c beyond it.

    E_0 = (|q| R - nu P)/Q^2 and p_0 = (nu R - |q| P)/Q^2, written without the differences.

    Args:
        energy_transfer: nu > 0 in GeV.
        momentum_transfer: |q| > nu in GeV.
        product: P in GeV^2, positive.
    """
    nu, q, product = map(jnp.asarray, (energy_transfer, momentum_transfer, product))
    q2, mass2 = (q - nu) * (q + nu), NUCLEON_MASS**2
    root = jnp.sqrt(mass2 * q2 + product**2)
    return Struck(
        (q**2 * mass2 + product**2) / (q * root + nu * product),
        (nu**2 * mass2 - product**2) / (nu * root + q * product),
        q2 / (q * root),
    )


def in_motion(helicity: Helicity, mean: ArrayLike, square: ArrayLike) -> Helicity:
    """Return the tensor of nucleons in motion (equations at the head of this module).

    Args:
        helicity: components in the rest frame of the nucleon.
        mean: average of c, at least 1.
        square: average of c^2, at least the square of the mean.
    """
    plus, minus, ll, ls, ss = map(jnp.asarray, helicity)
    mean, square = jnp.asarray(mean), jnp.asarray(square)
    transverse, difference = 0.5 * (plus + minus), 0.5 * (plus - minus)
    tilt = square - 1.0
    even = transverse + 0.5 * tilt * (transverse + ll)
    odd = mean * difference
    return Helicity(even + odd, even - odd, square * ll + tilt * transverse, mean * ls, ss)


@dataclass(frozen=True)
class FermiSphere:
    """Fold the tensor of a nucleon over a sphere of momenta, |p| < k_F.

    The integral over P is one over p_0, by Gauss-Legendre points; `energy_shift` is energy that the
    nucleus keeps, so that the boson gives nu - E_shift to the nucleon and W^2 = (p + q)^2 with it
    (as in the scaling variable psi' of superscaling). The nucleon's functions are taken at this W
    and at the Q^2 of the lepton.
    """

    fermi_momentum: float  # GeV
    energy_shift: float  # GeV
    points: int

    def __call__(
        self, nucleon: Callable[[Array, Array], Helicity], nu: ArrayLike, q2: ArrayLike
    ) -> Helicity:
        """Return the folded components at energy transfer nu in GeV and Q^2 in GeV^2.

        Args:
            nucleon: gives the components at W^2 in GeV^2, which may lie below any threshold, and
                Q^2, in the normalization of F1.
            nu: energy transfer in GeV.
            q2: Q^2 in GeV^2.
        """
        nu, q2 = (jnp.asarray(a, float)[..., None] for a in jnp.broadcast_arrays(nu, q2))
        q = jnp.sqrt(nu**2 + q2)
        given = nu - self.energy_shift
        allowed = given > 0.0
        given = jnp.where(allowed, given, nu)
        t, share = np.polynomial.legendre.leggauss(self.points)
        momentum = self.fermi_momentum * t
        energy = jnp.hypot(momentum, NUCLEON_MASS)
        width = jnp.hypot(self.fermi_momentum, NUCLEON_MASS) - energy  # E_F - E_0
        share = 1.5 * NUCLEON_MASS / self.fermi_momentum**2 * share * width
        product = given * energy - q * momentum
        w2 = NUCLEON_MASS**2 + 2.0 * product - (q - given) * (q + given)
        weight = jnp.where(
            allowed & (product > 0.0), share * (1.0 - given / q * momentum / energy), 0.0
        )
        slope = struck(given, q, jnp.where(product > 0.0, product, 1.0)).slope
        rise = slope * width
        parts = in_motion(nucleon(w2, q2), 1.0 + 0.5 * rise, 1.0 + rise + rise**2 / 3.0)
        return Helicity(*(jnp.sum(weight * part, axis=-1) for part in parts))
