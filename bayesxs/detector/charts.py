"""Coordinates of the nodes: u and v, in which structure functions are smooth and nodes are even."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from bayesxs.constants import NUCLEON_MASS
from bayesxs.types import Floats

# Scales of the ridges in GeV and GeV^2, chosen by the interpolation error of the built-in nucleus:
# the quasi-elastic ridge is about as wide as k_F |q|/M, the Delta's center and width are those of
# (W^2 - M^2)/2M, and energy transfers below a few tens of MeV are what a nucleus keeps
ELASTIC_WIDTH, ELASTIC_Q2 = 0.15, 0.02
DELTA, DELTA_WIDTH, DELTA_WEIGHT = 0.4, 0.25, 1.5
LEAST, LEAST_WIDTH, LEAST_WEIGHT = 0.03, 0.02, 0.5

# Nodes beyond the largest x by more than this factor stand at it: past nu = 0 there is no x
BEYOND: Final = 4.0

# Bisections of (-SPAN, SPAN) GeV that find s
STEPS, SPAN = 60, 1e4


class Chart(Protocol):
    """A map from (x, Q^2 in GeV^2) to coordinates (u, v), v a function of Q^2 alone."""

    @property
    def q2_scale(self) -> float:
        """Q^2 in GeV^2 below which v is linear in Q^2."""

    def forward(self, x: Floats, q2: Floats) -> tuple[Floats, Floats]:
        """Return (u, v) at (x, Q^2)."""

    def inverse(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return (x, Q^2) at (u, v)."""


@dataclass(frozen=True)
class CubeRoot:
    """u = x^(1/3) and v = ln(Q^2 + q2_scale), for partons.

    Structure functions vary on a logarithmic scale in Q^2 above the scale of the strong interaction
    and linearly below it; in x the cube root resolves both the sea and the valence peak.
    """

    q2_scale: float = 0.1

    def forward(self, x: Floats, q2: Floats) -> tuple[Floats, Floats]:
        """Return (u, v) at (x, Q^2)."""
        return np.cbrt(x), np.log(q2 + self.q2_scale)

    def inverse(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return (x, Q^2) at (u, v)."""
        return u**3, np.exp(v) - self.q2_scale


@dataclass(frozen=True)
class Ridge:
    """Coordinates in which the ridges of a nucleus run straight, at any x.

    With s = nu - Q^2/2M = (W^2 - M^2)/2M and a = 0.15 sqrt(Q^2 + 0.02 GeV^2), in GeV,

        u = asinh(s/a) + 1.5 arctan((s - 0.4)/0.25) + 0.5 arctan((nu - 0.03)/0.02),
        v = ln((Q^2 + q2_scale)/(1 + Q^2/q2_high)).

    The first term of u follows the quasi-elastic ridge, whose width grows with |q|, and the
    continuum on a logarithmic scale; the others put more nodes where the Delta is and at the
    smallest energy transfers. At fixed Q^2, u increases with s. Few events lie above q2_high, and
    few nodes.

    Attributes:
        x_max: upper end of x; nodes beyond four times it, or of nu < 0, stand there.
        q2_scale: in GeV^2.
        q2_high: in GeV^2.
    """

    x_max: float
    q2_scale: float = 0.006
    q2_high: float = 5.0

    def forward(self, x: Floats, q2: Floats) -> tuple[Floats, Floats]:
        """Return (u, v) at (x, Q^2)."""
        ridge = q2 / (2.0 * NUCLEON_MASS) * (1.0 / x - 1.0)
        v = np.log((q2 + self.q2_scale) / (1.0 + q2 / self.q2_high))
        return ridge_coordinate(ridge, q2), v

    def inverse(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return (x, Q^2) at (u, v), s by bisection."""
        ratio = np.exp(v)
        q2 = (ratio - self.q2_scale) / (1.0 - ratio / self.q2_high)
        u, q2 = np.broadcast_arrays(u, q2)
        low, high = np.full(u.shape, -SPAN), np.full(u.shape, SPAN)
        for _ in range(STEPS):
            middle = 0.5 * (low + high)
            below = ridge_coordinate(middle, q2) < u
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        rest = q2 / (2.0 * NUCLEON_MASS)
        return rest / np.maximum(0.5 * (low + high) + rest, rest / (BEYOND * self.x_max)), q2


def elastic_width(q2: Floats) -> Floats:
    """Return the scale of s in GeV over which the quasi-elastic ridge varies."""
    return ELASTIC_WIDTH * np.sqrt(q2 + ELASTIC_Q2)


def ridge_coordinate(ridge: Floats, q2: Floats) -> Floats:
    """Return u of `Ridge` at s in GeV and Q^2 in GeV^2."""
    nu = ridge + q2 / (2.0 * NUCLEON_MASS)
    delta = DELTA_WEIGHT * np.arctan((ridge - DELTA) / DELTA_WIDTH)
    least = LEAST_WEIGHT * np.arctan((nu - LEAST) / LEAST_WIDTH)
    return np.arcsinh(ridge / elastic_width(q2)) + delta + least
