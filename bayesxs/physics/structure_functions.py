"""Structure functions of a nucleus: from quarks to the three combinations that data determine.

One lepton mass sees only three combinations of the five charged-current structure functions
(arXiv:2412.16303, Eq. 2): at fixed (x, Q^2) the bracket of the cross section is a quadratic in y.
Everything downstream uses that quadratic in Bernstein form over t = y/y_max(x, Q^2),

    {...} = b0 (1-t)^2 + 2 b1 t (1-t) + b2 t^2,

non-negative on the whole physical range if and only if b0 >= 0, b2 >= 0 and b1 >= -sqrt(b0 b2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import NUCLEON_MASS
from bayesxs.inputs.pdf import PDF
from bayesxs.physics.helicity import Helicity, five_from_helicity
from bayesxs.physics.kinematics import y_max
from bayesxs.physics.modification import Modification

# PDG ids of the partons that the leading-order formula reads
PARTONS = (1, 2, 3, 4, -1, -2, -3, -4)

# How quarks make structure functions where the target's mass is not negligible
type Form = Literal["collinear", "helicity"]


class StructureFunctions(Protocol):
    """Anything that gives the Bernstein coefficients (b0, b1, b2) at (x, Q^2)."""

    def __call__(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return (b0, b1, b2), Q^2 in GeV^2, shape broadcast(x, q2) + (3,)."""


def reduce_five_to_three(
    five: Array, x: ArrayLike, q2: ArrayLike, lepton_mass: float, sign: int
) -> Array:
    """Reduce F1..F5 to the polynomial coefficients (g0, g1, g2) of the bracket in y.

    With a = Q^2/(2 M x) = E y,
    g0 = F2,
    g1 = -F2 +- x F3 - (2 x m^2/Q^2) F5,
    g2 = (x + m^2/(2Ma)) F1 - (m^2/(4a^2) + M x/(2a)) F2 -+ (x/2 + m^2/(4Ma)) F3
         + m^2 (m^2 + Q^2)/(4 a^2 M^2 x) F4.
    The reduction is exact (arXiv:2412.16303, Eq. 2; from Kretzer-Reno, hep-ph/0208187, Eq. 2).

    Args:
        five: F1..F5, shape (..., 5).
        x: Bjorken x.
        q2: Q^2 in GeV^2.
        lepton_mass: m in GeV.
        sign: +1 for neutrinos, -1 for antineutrinos.
    """
    x, q2 = jnp.asarray(x), jnp.asarray(q2)
    f1, f2, f3, f4, f5 = (five[..., i] for i in range(5))
    m2 = lepton_mass**2
    a = q2 / (2.0 * NUCLEON_MASS * x)
    xf3 = sign * x * f3
    g1 = -f2 + xf3 - 2.0 * x * m2 / q2 * f5
    g2 = (
        (x + m2 / (2.0 * NUCLEON_MASS * a)) * f1
        - (m2 / (4.0 * a**2) + NUCLEON_MASS * x / (2.0 * a)) * f2
        - (0.5 + m2 / (4.0 * NUCLEON_MASS * a * x)) * xf3
        + m2 * (m2 + q2) / (4.0 * a**2 * NUCLEON_MASS**2 * x) * f4
    )
    return jnp.stack([f2, g1, g2], axis=-1)


def bernstein_from_polynomial(g: Array, top: Array) -> Array:
    """Rewrite g0 + g1 y + g2 y^2 on 0 <= y <= top as Bernstein coefficients (b0, b1, b2)."""
    g0, g1, g2 = g[..., 0], g[..., 1] * top, g[..., 2] * top**2
    return jnp.stack([g0, g0 + 0.5 * g1, g0 + g1 + g2], axis=-1)


def polynomial_from_bernstein(b: Array, top: Array) -> Array:
    """Invert `bernstein_from_polynomial`."""
    b0, b1, b2 = b[..., 0], b[..., 1], b[..., 2]
    return jnp.stack([b0, 2.0 * (b1 - b0) / top, (b0 - 2.0 * b1 + b2) / top**2], axis=-1)


def bernstein_basis(t: ArrayLike) -> Array:
    """Return ((1-t)^2, 2t(1-t), t^2), shape (..., 3)."""
    t = jnp.asarray(t)
    return jnp.stack([(1.0 - t) ** 2, 2.0 * t * (1.0 - t), t**2], axis=-1)


def project_onto_cone(b: ArrayLike) -> Array:
    """Raise Bernstein coefficients until the bracket is nowhere negative, shape (..., 3).

    b0 -> max(b0, 0), b2 -> max(b2, 0), then b1 -> max(b1, -sqrt(b0 b2)); what lies in the cone
    stays as it is, to the last bit.
    """
    b = jnp.asarray(b)
    b0, b2 = jnp.maximum(b[..., 0], 0.0), jnp.maximum(b[..., 2], 0.0)
    product = b0 * b2
    inside = product > 0.0  # the root's slope is infinite at zero
    root = jnp.where(inside, jnp.sqrt(jnp.where(inside, product, 1.0)), 0.0)
    return jnp.stack([b0, jnp.maximum(b[..., 1], -root), b2], axis=-1)


@dataclass(frozen=True)
class Positive:
    """Structure functions projected onto the cone of non-negative cross sections.

    A negative cross section makes no events. Cutting it off point by point would leave the family
    of quadratics, which the bracket of one-boson exchange is; projected coefficients stay in it.
    """

    original: StructureFunctions

    def __call__(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return the projected Bernstein coefficients, shape (..., 3)."""
        return project_onto_cone(self.original(x, q2))


def struck_partons(
    partons: Array, protons: float, neutrons: float, antineutrino: bool
) -> tuple[Array, Array]:
    """Sum x f of the quarks and of the antiquarks that a W can strike in Z p + N n.

    Args:
        partons: x f of the proton's `PARTONS`, shape (..., 8); the neutron's by isospin.
        protons: Z.
        neutrons: N.
        antineutrino: whether the boson is a W-.
    """
    d, u, s, c, dbar, ubar, sbar, cbar = (partons[..., i] for i in range(8))
    nucleons = protons + neutrons
    if antineutrino:  # u, c and the antiquarks of the other isospin carry the W-
        quarks = protons * u + neutrons * d + nucleons * c
        antiquarks = protons * dbar + neutrons * ubar + nucleons * sbar
    else:
        quarks = protons * d + neutrons * u + nucleons * s
        antiquarks = protons * ubar + neutrons * dbar + nucleons * cbar
    return quarks, antiquarks


@dataclass(frozen=True)
class PartonFunctions:
    """Leading-order quark-parton structure functions of a nucleus, Z p + N n.

    F2^p = 2x (d + s + ubar + cbar), x F3^p = 2x (d + s - ubar - cbar) for neutrinos, the neutron by
    isospin, antineutrinos by charge conjugation (Bjorken-Paschos 1969). Variables are per nucleon
    (Ruiz et al., arXiv:2301.07715): A nucleons share the momentum evenly, and x runs to 1. A
    `modification` says how nature departs from all this.

    Two forms differ in terms of M^2 x^2/Q^2:

    - "collinear" (arXiv:2412.16303): the relations 2x F1 = F2 (Callan-Gross), F4 = 0 and
      2x F5 = F2 (Albright-Jarlskog) hold as they stand. Then T- = F1 - (r/2) F3 is negative at
      large x, and with it the cross section of antineutrinos near y_max.
    - "helicity": quarks are T+ = 2q/x and antiquarks T- = 2 qbar/x. Massless quarks conserve
      helicity and the current, so that LL = LS = SS = 0 at leading order whatever the target's mass
      (Aivazis, Collins, Olness and Tung, hep-ph/9312318 and hep-ph/9312319: helicity functions of
      partons and of the target are related without mixing, so that parton-model results hold for
      them). The tensor is positive semi-definite for any non-negative partons. The relations above
      become 2x F1 = r^2 F2, 4 F4 = F2/x - 2 F1 and 2x F5 = F2.
    """

    pdf: PDF
    protons: float
    neutrons: float
    lepton_mass: float
    antineutrino: bool = False
    modification: Modification | None = None
    form: Form = "collinear"

    def five(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return F1..F5 per nucleus, zero above x = 1, shape (..., 5)."""
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
        # A parton has no more than all of its nucleon's momentum; tables end there
        partons = self.pdf.xf(jnp.minimum(x, 1.0), q2, PARTONS)
        partons = jnp.where((x > 1.0)[..., None], 0.0, partons)
        quarks, antiquarks = struck_partons(partons, self.protons, self.neutrons, self.antineutrino)
        if self.form == "helicity":
            zero = jnp.zeros_like(quarks)
            tensor = Helicity(2.0 * quarks / x, 2.0 * antiquarks / x, zero, zero, zero)
            five = five_from_helicity(tensor, x, q2)
        else:
            f2 = 2.0 * (quarks + antiquarks)
            f1 = f5 = f2 / (2.0 * x)
            f3 = 2.0 * (quarks - antiquarks) / x
            five = jnp.stack([f1, f2, f3, jnp.zeros_like(f2), f5], axis=-1)
        return five if self.modification is None else self.modification.apply(five, x, q2)

    def __call__(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return the Bernstein coefficients (b0, b1, b2) per nucleus, shape (..., 3)."""
        x, q2 = jnp.asarray(x), jnp.asarray(q2)
        sign = -1 if self.antineutrino else 1
        g = reduce_five_to_three(self.five(x, q2), x, q2, self.lepton_mass, sign)
        return bernstein_from_polynomial(g, y_max(x, q2, self.lepton_mass))
