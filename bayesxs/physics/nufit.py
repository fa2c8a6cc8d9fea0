"""Global-fit values of the oscillation parameters."""

from __future__ import annotations

from math import pi, sin
from typing import Final, Literal

from bayesxs.errors import InputError
from bayesxs.physics.oscillation import OscillationParameters

# NuFit-6.0, arXiv:2410.05380, table 1. For the inverted ordering it quotes dm32 = dm31 - dm21.
_NUFIT_6_0: Final = {
    ("ic24", "normal"): (0.308, 0.02215, 0.470, 212.0, 7.49e-5, 2.513e-3),
    ("ic19", "normal"): (0.307, 0.02195, 0.561, 177.0, 7.49e-5, 2.534e-3),
    ("ic24", "inverted"): (0.308, 0.02231, 0.550, 274.0, 7.49e-5, -2.484e-3 + 7.49e-5),
    ("ic19", "inverted"): (0.308, 0.02224, 0.562, 285.0, 7.49e-5, -2.510e-3 + 7.49e-5),
}

# The same table: half the sum of upper and lower one-sigma errors.
_NUFIT_6_0_ERRORS: Final = {
    ("ic24", "normal"): (0.0115, 0.00057, 0.015, 33.5, 0.19e-5, 0.020e-3),
    ("ic19", "normal"): (0.0115, 0.00056, 0.0135, 19.5, 0.19e-5, 0.024e-3),
    ("ic24", "inverted"): (0.0115, 0.00056, 0.0135, 23.5, 0.19e-5, 0.020e-3),
    ("ic19", "inverted"): (0.0115, 0.000565, 0.0135, 26.5, 0.19e-5, 0.0245e-3),
}

# theta_12, theta_13, theta_23 in rad, and dm32
_DUNE_TDR: Final = {
    "normal": ((0.5903, 0.150, 0.866), 2.451e-3),
    "inverted": ((0.5903, 0.151, 0.869), -2.512e-3),
}


def nufit_6_0(
    variant: Literal["ic24", "ic19"] = "ic24",
    ordering: Literal["normal", "inverted"] = "normal",
) -> OscillationParameters:
    """Return the best fit of NuFit-6.0 (arXiv:2410.05380, table 1).

    Args:
        variant: "ic24", with the IceCube-24 and Super-Kamiokande data, or "ic19", without.
        ordering: of the neutrino masses.

    Raises:
        InputError: there is no such variant or ordering.

    Example:
        >>> bayesxs.nufit_6_0(ordering="inverted").dm31 < 0.0
        True
    """
    if variant not in ("ic24", "ic19"):
        raise InputError.at("nufit_6_0", "variant", variant, "one of ic24, ic19")
    if ordering not in ("normal", "inverted"):
        raise InputError.at("nufit_6_0", "ordering", ordering, "one of normal, inverted")
    s2_12, s2_13, s2_23, dcp_degrees, dm21, dm31 = _NUFIT_6_0[variant, ordering]
    return OscillationParameters(s2_12, s2_13, s2_23, dcp_degrees * pi / 180.0, dm21, dm31)


def dune_tdr(ordering: Literal["normal", "inverted"] = "normal") -> OscillationParameters:
    """Return the true values of DUNE's published configuration (arXiv:2103.04797): NuFIT 4.0.

    dcp, which the configuration scans, is zero.

    Args:
        ordering: of the neutrino masses.
    """
    (theta12, theta13, theta23), dm32 = _DUNE_TDR[ordering]
    dm21 = 7.39e-5
    squares = sin(theta12) ** 2, sin(theta13) ** 2, sin(theta23) ** 2
    return OscillationParameters(*squares, 0.0, dm21, dm32 + dm21)


# Best fit of the normal ordering with the IceCube-24 data
NUFIT_6_0: Final = nufit_6_0()


def nufit_6_0_errors(
    variant: Literal["ic24", "ic19"] = "ic24",
    ordering: Literal["normal", "inverted"] = "normal",
) -> OscillationParameters:
    """Return the one-sigma errors of NuFit-6.0 (arXiv:2410.05380, table 1), symmetrised.

    Upper and lower errors are averaged.

    Args:
        variant: "ic24", with the IceCube-24 and Super-Kamiokande data, or "ic19", without.
        ordering: of the neutrino masses.
    """
    s2_12, s2_13, s2_23, dcp_degrees, dm21, dm31 = _NUFIT_6_0_ERRORS[variant, ordering]
    return OscillationParameters(s2_12, s2_13, s2_23, dcp_degrees * pi / 180.0, dm21, dm31)
