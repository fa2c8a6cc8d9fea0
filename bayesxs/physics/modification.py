"""How nature may differ from the cross section that an analyst assumes.

Each function takes the five structure functions F1..F5, shape (..., 5), and returns them modified.
All five share a factor where the quarks do, so that the relations between them (Callan-Gross,
Albright-Jarlskog) stay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.errors import InputError

# SLAC E139, Gomez et al., Phys. Rev. D 49, 4348 (1994): alpha(x), constant term first, and ln C
# as a polynomial in ln x
EMC_ALPHA: Final = (
    -0.070,
    2.189,
    -24.667,
    145.291,
    -497.237,
    1013.129,
    -1208.393,
    775.767,
    -205.872,
)
EMC_LOG_C: Final = (0.017, 0.018, 0.005)
EMC_RANGE: Final = (0.01, 0.88)
# The lightest nucleus that E139 measured against the deuteron
EMC_LIGHTEST: Final = 4


def suppress_low_q2(five: ArrayLike, q2: ArrayLike, scale: float) -> Array:
    """Multiply F1..F5 by Q^2/(Q^2 + s).

    The form is Bodek and Yang's K factor of the sea quarks (hep-ph/0508007), whose s is 0.363 GeV^2
    for u and 0.621 GeV^2 for d; here it holds for all quarks.

    Args:
        five: F1..F5, shape (..., 5).
        q2: Q^2 in GeV^2, shape (...).
        scale: s in GeV^2; nothing happens at 0.
    """
    five, q2 = jnp.asarray(five), jnp.asarray(q2)
    if scale == 0.0:
        return five
    return five * (q2 / (q2 + scale))[..., None]


def scale_f3(five: ArrayLike, factor: float) -> Array:
    """Multiply F3 alone, the difference of quarks and antiquarks, by a factor.

    Args:
        five: F1..F5, shape (..., 5).
        factor: dimensionless. From 0 to 1 positivity stays, since T+ and T- are averaged with each
            other; above 1 the cross section may become negative somewhere, and has to be projected
            (`structure_functions.Positive`).
    """
    return jnp.asarray(five) * jnp.array([1.0, 1.0, factor, 1.0, 1.0])


def shift_f4(five: ArrayLike, shift: float) -> Array:
    """Add a multiple of F1/2 to F4, so that SS of `helicity` grows by the same multiple of F1.

    F4 = 0 and 2x F5 = F2 (Albright and Jarlskog, Nucl. Phys. B 84 (1975) 467) hold for massless
    quarks. Only leptons with mass see F4.

    Args:
        five: F1..F5, shape (..., 5).
        shift: dimensionless, not negative, so that positivity stays.
    """
    five = jnp.asarray(five)
    return five.at[..., 3].add(0.5 * shift * five[..., 0])


def emc_ratio(x: ArrayLike, nucleons: int) -> Array:
    """Return the ratio of an isoscalar nucleus to the deuteron, per nucleon.

    R = C(x) A^alpha(x), the fit of SLAC E139 (Gomez et al., Phys. Rev. D 49, 4348 (1994)), alpha a
    polynomial of degree 8 in x and ln C one of degree 2 in ln x, for 0.01 < x < 0.88; outside, the
    value at the nearer end holds.

    Args:
        x: Bjorken x.
        nucleons: A.
    """
    x = jnp.clip(jnp.asarray(x), *EMC_RANGE)
    alpha = jnp.polyval(jnp.array(EMC_ALPHA[::-1]), x)
    log_c = jnp.polyval(jnp.array(EMC_LOG_C[::-1]), jnp.log(x))
    return jnp.exp(log_c + alpha * math.log(nucleons))


def modify_nucleus(five: ArrayLike, x: ArrayLike, nucleons: int) -> Array:
    """Multiply F1..F5 by `emc_ratio`.

    Args:
        five: F1..F5, shape (..., 5).
        x: Bjorken x, shape (...).
        nucleons: A; nothing happens at 0.
    """
    five = jnp.asarray(five)
    return five if nucleons == 0 else five * emc_ratio(x, nucleons)[..., None]


@dataclass(frozen=True)
class Modification:
    """Combine the ways in which nature differs; each default changes nothing.

    Args:
        q2_scale: s of `suppress_low_q2` in GeV^2, at least 0.
        f3_scale: factor of `scale_f3`.
        emc_nucleons: A of `emc_ratio`: 0 switches it off, otherwise at least 4.
        f4_shift: that of `shift_f4`, at least 0.

    Raises:
        InputError: a value out of range or not finite.

    Example:
        >>> suppressed = bayesxs.Modification(q2_scale=0.2)
        >>> nature = bayesxs.QuarkParton(bayesxs.ct18nnlo(), modification=suppressed)
    """

    q2_scale: float = 0.0
    f3_scale: float = 1.0
    emc_nucleons: int = 0
    f4_shift: float = 0.0

    def __post_init__(self) -> None:
        source = "modification"
        if not (math.isfinite(self.q2_scale) and self.q2_scale >= 0):
            raise InputError.at(source, "q2_scale", self.q2_scale, "finite and >= 0, in GeV^2")
        if not math.isfinite(self.f3_scale):
            raise InputError.at(source, "f3_scale", self.f3_scale, "finite")
        if not (math.isfinite(self.f4_shift) and self.f4_shift >= 0):
            raise InputError.at(source, "f4_shift", self.f4_shift, "finite and >= 0")
        if self.emc_nucleons != 0 and self.emc_nucleons < EMC_LIGHTEST:
            allowed = f"0 (off) or at least {EMC_LIGHTEST}, the lightest nucleus of the fit"
            raise InputError.at(source, "emc_nucleons", self.emc_nucleons, allowed)

    def apply(self, five: ArrayLike, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return the modified F1..F5.

        Args:
            five: F1..F5, shape (..., 5).
            x: Bjorken x, shape (...).
            q2: Q^2 in GeV^2, shape (...).
        """
        five = suppress_low_q2(five, q2, self.q2_scale)
        five = modify_nucleus(five, x, self.emc_nucleons)
        if self.f4_shift != 0.0:
            five = shift_f4(five, self.f4_shift)
        return five if self.f3_scale == 1.0 else scale_f3(five, self.f3_scale)
