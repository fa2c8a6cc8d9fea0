"""Partons of a nucleon down to Q^2 = 0: effective structure functions after Bodek and Yang.

At a few GeV half of the inelastic cross section lies below the Q^2 at which parton distributions
begin. Bodek and Yang (arXiv:1011.6592 and, with an axial current of its own, arXiv:2108.09240)
freeze the distributions there, read them at

    xi_w = 2 x (Q^2 + B)/(Q^2 (1 + sqrt(1 + 4 M^2 x^2/Q^2)) + 2 A x)

(target mass, masses of final quarks, higher twists) and multiply valence and sea by K factors. The
vector current is conserved, and its K vanish with Q^2; the axial current is not (Adler), and its K
do not. Their constants were fitted with GRV98, so that with other sets they are an estimate.

Here the transverse components take the K of the vector current, quarks T+ and antiquarks T-, with
the measured R = 2 LL/(T+ + T-) of electrons; what the axial current has beyond it is longitudinal,
as it must be at Q^2 = 0. So all components are non-negative, and F2 is that of the reference.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import NUCLEON_MASS
from bayesxs.inputs.pdf import PDF
from bayesxs.physics.helicity import Helicity
from bayesxs.physics.structure_functions import PARTONS, struck_partons

# arXiv:2108.09240 (the axial current: section 11.2), in GeV^2
SCALING_A, SCALING_B = 0.621, 0.380
SEA_DOWN, SEA_UP = 0.561, 0.369  # strange and charm as down
VALENCE_DOWN = (0.323, 0.341)  # (Q^2 + first)/(Q^2 + second)
VALENCE_UP = (0.264, 0.417)
VECTOR_MASS_SQUARED = 0.71  # of the dipole in 1 - G_D^2
AXIAL_SEA, AXIAL_VALENCE = (0.55, 0.75), (0.30, 0.18)  # (Q^2 + P C)/(Q^2 + C)
LOW_NU_VECTOR, LOW_NU_AXIAL, LOW_NU_AXIAL_ANTI = 0.218, 0.436, 0.654  # 1 + C/nu^2, valence
R_Q2_MIN = 0.3  # GeV^2
SMOOTH = 0.02  # rounds the positive part of a difference of K factors


def scaling_variable(x: ArrayLike, q2: ArrayLike) -> Array:
    """Return xi_w (equation at the head of this module), below 1 wherever x is."""
    x, q2 = jnp.asarray(x), jnp.asarray(q2)
    r = jnp.sqrt(1.0 + 4.0 * NUCLEON_MASS**2 * x**2 / q2)
    return 2.0 * x * (q2 + SCALING_B) / (q2 * (1.0 + r) + 2.0 * SCALING_A * x)


def longitudinal_ratio(x: ArrayLike, q2: ArrayLike) -> Array:
    """Return R1998 = 2 LL/(T+ + T-), the average of three forms (E143, hep-ex/9808028).

    Below 0.3 GeV^2, where the fit ends, it is frozen and falls as Q^2/(1 + Q^4) (arXiv:2108.09240,
    section 7).
    """
    x, q2 = jnp.asarray(x), jnp.asarray(q2)
    low = jnp.minimum(q2 / R_Q2_MIN, 1.0) * (1.0 + R_Q2_MIN**2)
    low = low / (1.0 + jnp.minimum(q2, R_Q2_MIN) ** 2)
    q2 = jnp.maximum(q2, R_Q2_MIN)
    return low * jnp.maximum(sum(longitudinal_fits(x, q2)) / 3.0, 0.0)


def longitudinal_fits(x: ArrayLike, q2: ArrayLike) -> tuple[Array, Array, Array]:
    """Return the three fits of R, each of which describes the data (hep-ex/9808028)."""
    x, q2 = jnp.asarray(x), jnp.asarray(q2)
    theta = 1.0 + 12.0 * q2 / (q2 + 1.0) * 0.125**2 / (0.125**2 + x**2)
    leading = theta / jnp.log(q2 / 0.04)
    threshold = x * (12.3708 + x * (-43.1043 + 41.7415 * x))
    a = 0.5470 / (q2**4 + 2.0621**4) ** 0.25 * (1.0 - 0.3804 * x + 0.5090 * x**2) * x**-0.0285
    b = (0.6114 / q2 - 0.3509 / (q2**2 + 0.09)) * (1.0 - 0.4611 * x + 0.7172 * x**2) * x**-0.0317
    c = 0.4644 / jnp.hypot(q2 - threshold, 1.8288)
    return 0.0485 * leading + a, 0.0481 * leading + b, 0.0577 * leading + c


def low_q2_factors(q2: ArrayLike, nu: ArrayLike, antineutrino: bool) -> tuple[Array, Array]:
    """Return K of the vector current and of the axial one, for valence and sea of `PARTONS`.

    Args:
        q2: Q^2 in GeV^2.
        nu: energy of the boson in the nucleon's rest frame, in GeV.
        antineutrino: whether the boson is a W-.

    Returns:
        Two arrays of shape (..., 2, 4): valence and sea of down, up, strange and charm.
    """
    q2, nu = jnp.broadcast_arrays(jnp.asarray(q2, float), jnp.asarray(nu, float))
    elastic = 1.0 - (1.0 + q2 / VECTOR_MASS_SQUARED) ** -4
    low = 1.0 + LOW_NU_VECTOR / nu**2
    down, up = (
        low * elastic * (q2 + top) / (q2 + bottom) for top, bottom in (VALENCE_DOWN, VALENCE_UP)
    )
    sea_down, sea_up = q2 / (q2 + SEA_DOWN), q2 / (q2 + SEA_UP)
    zero = jnp.zeros_like(q2)
    vector = [[down, up, zero, zero], [sea_down, sea_up, sea_down, sea_down]]
    constant = LOW_NU_AXIAL_ANTI if antineutrino else LOW_NU_AXIAL
    sea, valence = ((q2 + p * c) / (q2 + c) for p, c in (AXIAL_SEA, AXIAL_VALENCE))
    valence = valence * (1.0 + constant / nu**2)
    axial = [[valence, valence, zero, zero], [sea, sea, sea, sea]]
    return _table(vector), _table(axial)


def _table(rows: list[list[Array]]) -> Array:
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def parton_tensor(
    pdf: PDF, protons: float, neutrons: float, antineutrino: bool, w2: ArrayLike, q2: ArrayLike
) -> Helicity:
    """Return the tensor of Z p + N n at rest, with x = Q^2/(W^2 - M^2 + Q^2).

    T+ = 2 r^2 xi q K_V/((1+R) x), T- the same of antiquarks, LL = R (T+ + T-)/2 + r^2 xi (q + qbar)
    (K_A - K_V)/(2x), with r^2 = 1 + 4 M^2 x^2/Q^2, so that F2 = xi (q + qbar) (K_V + K_A).

    Args:
        pdf: distributions of the proton; frozen below their lowest Q^2.
        protons: Z.
        neutrons: N.
        antineutrino: whether the boson is a W-.
        w2: W^2 in GeV^2, above M^2.
        q2: Q^2 in GeV^2, positive.
    """
    w2, q2 = jnp.broadcast_arrays(jnp.asarray(w2, float), jnp.asarray(q2, float))
    product = w2 - NUCLEON_MASS**2 + q2  # 2 p.q
    x = q2 / product
    frozen = jnp.maximum(q2, pdf.q2_min)
    partons = jnp.maximum(pdf.xf(scaling_variable(x, q2), frozen, PARTONS), 0.0)
    quarks, antiquarks = partons[..., :4], partons[..., 4:]
    sea = jnp.minimum(quarks, antiquarks)
    vector, axial = low_q2_factors(q2, product / (2.0 * NUCLEON_MASS), antineutrino)

    def struck(factors: Array) -> tuple[Array, Array]:
        """Sum the struck partons, valence and sea each with its factor."""
        weighted = (quarks - sea) * factors[..., 0, :] + sea * factors[..., 1, :]
        rest = antiquarks * factors[..., 1, :]
        everything = jnp.concatenate([weighted, rest], axis=-1)
        return struck_partons(everything, protons, neutrons, antineutrino)

    difference = axial - vector
    beyond = 0.5 * (difference + jnp.hypot(difference, SMOOTH * (1.0 - vector)))
    scale = (1.0 + 4.0 * NUCLEON_MASS**2 * x**2 / q2) / x
    ratio = longitudinal_ratio(x, q2)
    plus, minus = (2.0 * scale / (1.0 + ratio) * part for part in struck(vector))
    longitudinal = 0.5 * (ratio * (plus + minus) + scale * sum(struck(beyond)))
    zero = jnp.zeros_like(x)
    return Helicity(plus, minus, longitudinal, zero, zero)
