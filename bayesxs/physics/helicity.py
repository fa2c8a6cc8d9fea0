"""Helicity structure functions: the form in which positivity is a condition on each target.

In the target's rest frame with q along z the hadronic tensor W^{mu nu} is a sum over final states
of J^mu J^nu*, a positive semi-definite Hermitian matrix. In the basis (Aivazis, Collins, Olness and
Tung, hep-ph/9312318; metric (+,-,-,-))

    e_+- = (0, 1, +-i, 0)/sqrt(2),   e_L = (|q|, 0, 0, nu)/Q,   e_S = (nu, 0, 0, |q|)/Q = q/Q,

|q|^2 = nu^2 + Q^2, r = |q|/nu = sqrt(1 + 4 M^2 x^2/Q^2), five components do not vanish:

    T+- = F1 +- (r/2) F3                 transverse
    LL  = r^2 F2/(2x) - F1               longitudinal, F_L/(2x)
    LS  = r (F2/(2x) - F5)
    SS  = F1 + F2/(2x) + 2 F4 - 2 F5     divergence of the current

Positive semi-definite means T+ >= 0, T- >= 0, LL >= 0, SS >= 0 and LS^2 <= LL SS. Then the cross
section of every lepton mass is non-negative: the contraction of two such matrices is.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import NUCLEON_MASS


class Helicity(NamedTuple):
    """Hold the components of the hadronic tensor, or their coefficients; shapes broadcast."""

    plus: ArrayLike  # T+, quarks at leading order
    minus: ArrayLike  # T-, antiquarks at leading order
    ll: ArrayLike
    ls: ArrayLike  # real part; the coefficient counts both off-diagonal elements
    ss: ArrayLike


def momentum_over_energy(x: ArrayLike, q2: ArrayLike) -> Array:
    """Return r = |q|/nu = sqrt(1 + 4 M^2 x^2/Q^2) of the exchanged boson, Q^2 in GeV^2."""
    return jnp.sqrt(1.0 + 4.0 * NUCLEON_MASS**2 * jnp.asarray(x) ** 2 / jnp.asarray(q2))


def helicity_from_five(five: ArrayLike, x: ArrayLike, q2: ArrayLike) -> Helicity:
    """Return the helicity components of F1..F5 (equations at the head of this module).

    Args:
        five: F1..F5, shape (..., 5).
        x: Bjorken x.
        q2: Q^2 in GeV^2.
    """
    five = jnp.asarray(five)
    f1, f2, f3, f4, f5 = (five[..., i] for i in range(5))
    r, g2 = momentum_over_energy(x, q2), f2 / (2.0 * jnp.asarray(x))
    return Helicity(
        f1 + 0.5 * r * f3,
        f1 - 0.5 * r * f3,
        r**2 * g2 - f1,
        r * (g2 - f5),
        f1 + g2 + 2.0 * (f4 - f5),
    )


def five_from_helicity(helicity: Helicity, x: ArrayLike, q2: ArrayLike) -> Array:
    """Invert `helicity_from_five`; shape (..., 5)."""
    plus, minus, ll, ls, ss = (jnp.asarray(part) for part in helicity)
    r = momentum_over_energy(x, q2)
    f1 = 0.5 * (plus + minus)
    g2 = (f1 + ll) / r**2
    f5 = g2 - ls / r
    f4 = 0.5 * (ss - f1 - g2) + f5
    parts = (f1, 2.0 * jnp.asarray(x) * g2, (plus - minus) / r, f4, f5)
    return jnp.stack(jnp.broadcast_arrays(*parts), axis=-1)


def lepton_coefficients(
    energy: ArrayLike, x: ArrayLike, y: ArrayLike, lepton_mass: float, sign: int
) -> Helicity:
    """Return c with {...} = c_+ T+ + c_- T- + c_L LL + c_LS LS + c_SS SS.

    The lepton tensor L = k k' + k' k - g k.k' +- i eps(k, k') contracted with the basis, times
    y/(2EM). With K = k.e_L = k'.e_L and k.e_S = -(Q^2+m^2)/(2Q), k'.e_S = (Q^2-m^2)/(2Q):

        c_+-: (K +- Q/2)^2 - m^4/(4Q^2)    c_L: 2 K^2 - (Q^2+m^2)/2
        c_LS: 2 K m^2/Q                    c_SS: m^2 (Q^2+m^2)/(2 Q^2)

    All are non-negative in the physical region, where K >= (Q^2+m^2)/(2Q).

    Args:
        energy: neutrino energy in GeV.
        x: Bjorken x.
        y: inelasticity.
        lepton_mass: m in GeV.
        sign: +1 for neutrinos; -1 for antineutrinos, which exchange c_+ and c_-.
    """
    energy, x, y = jnp.asarray(energy), jnp.asarray(x), jnp.asarray(y)
    m2 = lepton_mass**2
    q2 = 2.0 * NUCLEON_MASS * energy * x * y
    scale = y / (2.0 * energy * NUCLEON_MASS)
    # K/Q; a difference of squares keeps c_- accurate where it vanishes
    k = (1.0 / y - 0.5 * (1.0 + m2 / q2)) / momentum_over_energy(x, q2)
    half = 0.5 * m2 / q2
    large = (k + 0.5 + half) * (k + 0.5 - half) * q2
    small = (k - 0.5 + half) * (k - 0.5 - half) * q2
    plus, minus = (large, small) if sign > 0 else (small, large)
    parts = (
        plus,
        minus,
        2.0 * k**2 * q2 - 0.5 * (q2 + m2),
        2.0 * k * m2,
        0.5 * m2 * (1.0 + m2 / q2),
    )
    return Helicity(*(scale * part for part in parts))


def bernstein_coefficients(
    x: ArrayLike, q2: ArrayLike, lepton_mass: float | Array, sign: int
) -> Helicity:
    """Return the Bernstein coefficients (b0, b1, b2) of the five `lepton_coefficients`.

    At fixed (x, Q^2) these are quadratics in t = y/y_max. With w = Q^2/(Q^2 + m^2), over x:

        c_+ : (1/r^2, (1+w)/(r(1+r)), 4w/(1+r)^2)
        c_- : (1/r^2, (1-w)/(r(1+r)), 0)
        c_L : (2/r^2, 2/(r(1+r)), 2(1-w)/(1+r)^2)
        c_LS: (0, 2(1-w)/(r(1+r)), 4(1-w)/(1+r)^2)
        c_SS: (0, 0, 2(1-w)/(1+r)^2)

    for neutrinos; antineutrinos exchange the first two. Each entry has shape (..., 3).

    Args:
        x: Bjorken x.
        q2: Q^2 in GeV^2.
        lepton_mass: m in GeV.
        sign: +1 for neutrinos, -1 for antineutrinos.
    """
    x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
    r = momentum_over_energy(x, q2)
    w, massive = q2 / (q2 + lepton_mass**2), lepton_mass**2 / (q2 + lepton_mass**2)
    start, middle, end = x / r**2, x / (r * (1.0 + r)), x / (1.0 + r) ** 2
    zero = jnp.zeros_like(start)
    large = jnp.stack([start, (1.0 + w) * middle, 4.0 * w * end], axis=-1)
    small = jnp.stack([start, massive * middle, zero], axis=-1)
    plus, minus = (large, small) if sign > 0 else (small, large)
    return Helicity(
        plus,
        minus,
        2.0 * jnp.stack([start, middle, massive * end], axis=-1),
        2.0 * massive[..., None] * jnp.stack([zero, middle, 2.0 * end], axis=-1),
        2.0 * massive[..., None] * jnp.stack([zero, zero, end], axis=-1),
    )


def bernstein_from_helicity(
    helicity: Helicity, x: ArrayLike, q2: ArrayLike, lepton_mass: float | Array, sign: int
) -> Array:
    """Return the Bernstein coefficients (b0, b1, b2) of the bracket, shape (..., 3).

    Args:
        helicity: components of the hadronic tensor.
        x: Bjorken x.
        q2: Q^2 in GeV^2.
        lepton_mass: m in GeV.
        sign: +1 for neutrinos, -1 for antineutrinos.
    """
    coefficients = bernstein_coefficients(x, q2, lepton_mass, sign)
    terms = [
        c * jnp.asarray(part)[..., None] for c, part in zip(coefficients, helicity, strict=True)
    ]
    return jnp.sum(jnp.stack(jnp.broadcast_arrays(*terms)), axis=0)
