"""Heads: from the outputs of a network to Bernstein coefficients (b0, b1, b2).

The unconstrained head is the network's output itself, as in arXiv:2412.16303. The others obey
b0 >= 0, b2 >= 0, b1 >= -sqrt(b0 b2) for every output, hence a cross section that cannot be
negative. Those of three outputs reach every such coefficient and differ in their coordinates: those
of the helicity head are smooth and of order one where nature is near what spin-1/2 partons make.
The head of five outputs makes a positive semi-definite tensor, whatever the lepton, and shows what
one lepton sees of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from bayesxs.constants import MUON_MASS
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity, momentum_over_energy

type Head = Literal["helicity", "psd", "positive", "unconstrained"]


@dataclass(frozen=True)
class Lepton:
    """A lepton as a tensor sees it: its mass in GeV, and +1 for neutrinos or -1 for antineutrinos.

    The mass may be an array, of another lepton at every point.
    """

    mass: float | Array = MUON_MASS
    sign: int = 1


MUON = Lepton()


class HeadKind(NamedTuple):
    """How many outputs a head takes, and what makes coefficients of them at (x, Q^2)."""

    outputs: int
    coefficients: Callable[[Array, Array, Array, Lepton], Array]


# softplus(SOFTPLUS_ONE) = 1
SOFTPLUS_ONE = 0.5413248546129181


def unconstrained_head(raw: Array) -> Array:
    """Return the outputs as they are."""
    return raw


def positive_head(raw: Array) -> Array:
    """Map three real numbers onto the cone of non-negative quadratics on 0 <= t <= 1.

    b0 = s, b1 = s (p - sqrt(c)), b2 = s c with s, p, c > 0 by softplus. One common size s carries
    what the three functions share, steep falls in x and kinks in Q^2; p and c are ratios of order
    one, and zero outputs mean a cross section flat in y.
    """
    size = jax.nn.softplus(raw[..., 0] + SOFTPLUS_ONE)
    # Never zero, where the slope of the root is infinite
    ratio = jax.nn.softplus(raw[..., 2] + SOFTPLUS_ONE) + jnp.finfo(raw.dtype).tiny
    middle = jax.nn.softplus(raw[..., 1] + 1.8545865) - jnp.sqrt(ratio)  # softplus(1.85..) = 2
    return size[..., None] * jnp.stack([jnp.ones_like(size), middle, ratio], axis=-1)


def helicity_head(raw: Array, x: Array, q2: Array) -> Array:
    """Map three real numbers onto the same cone, in the coordinates of helicity.

    With r = |q|/nu, w = Q^2/(Q^2 + m^2), LS = SS = 0, T the transverse function that the lepton's
    helicity prefers and T' the other one (`bayesxs.physics.helicity.bernstein_coefficients`),

        b0 = B0/r^2,  b1 = 2 B1/(r (1+r)),  b2 = 4 B2/(1+r)^2,   over x:
        B0 = T + T' + 2 LL,  B1 = (1+w)/2 T + (1-w)/2 T' + LL,  B2 = w T + (1-w)/2 LL,

    so that b is in the cone where B is, and B1 = B2 + (1-w)/2 B0 where LL = 0. The outputs are
    softplus functions s, a, p > 0 in

        B0 = s,  B2 = s e^2,  B1 = s [p (e + e^2 + (1-w)/2) - e],  e = a sqrt(w).

    Every B of the cone's interior is reached, of tensors with LS and SS and of ones that are not
    positive for all leptons too. The target's mass stands in r, the lepton's in w, and constant
    outputs in p mean that Callan and Gross's relation holds. m is the muon's, whatever the lepton:
    a choice of coordinates.

    Args:
        raw: three outputs, shape (..., 3).
        x: Bjorken x, shape (...).
        q2: Q^2 in GeV^2, shape (...).
    """
    size, amplitude, middle = jnp.moveaxis(jax.nn.softplus(raw + SOFTPLUS_ONE), -1, 0)
    r = momentum_over_energy(x, q2).astype(raw.dtype)
    massless = q2 / (q2 + MUON_MASS**2)
    e = amplitude * jnp.sqrt(massless)
    b0 = 1.0 / r**2
    b1 = (middle * (e + e * e + 0.5 * (1.0 - massless)) - e) * 2.0 / (r * (1.0 + r))
    b2 = (2.0 * e / (1.0 + r)) ** 2
    return size[..., None] * jnp.stack([b0, b1, b2], axis=-1)


def psd_tensor(raw: Array, x: Array) -> Helicity:
    """Map five real numbers onto the positive semi-definite tensors.

    One size s > 0 carries what the components share, the fall beside a ridge above all:
    x (T+, T-, 2 LL) = s (f+, f-, fL), with the fractions a softmax function, and

        (LL LS; LS SS) = LL C C^T,   C = (1 0; m d),   d > 0.

    So T+, T-, LL, SS >= 0 and LS^2 <= LL SS for any outputs (s and d by softplus, m as it is), and
    every tensor of the interior is reached.

    Args:
        raw: five outputs, shape (..., 5).
        x: Bjorken x, shape (...).
    """
    size = jax.nn.softplus(raw[..., 0] + SOFTPLUS_ONE) / x
    logits = jnp.concatenate([raw[..., 1:3], jnp.zeros_like(raw[..., :1])], axis=-1)
    plus, minus, longitudinal = jnp.moveaxis(jax.nn.softmax(logits), -1, 0)
    mixed, rest = raw[..., 3], jax.nn.softplus(raw[..., 4] + SOFTPLUS_ONE)
    ll = 0.5 * size * longitudinal
    return Helicity(size * plus, size * minus, ll, ll * mixed, ll * (mixed**2 + rest**2))


def psd_head(raw: Array, x: Array, q2: Array, lepton: Lepton) -> Array:
    """Return what a lepton sees of `psd_tensor`."""
    return bernstein_from_helicity(psd_tensor(raw, x), x, q2, lepton.mass, lepton.sign)


HEADS: dict[str, HeadKind] = {
    "helicity": HeadKind(3, lambda raw, x, q2, lepton: helicity_head(raw, x, q2)),
    "psd": HeadKind(5, psd_head),
    "positive": HeadKind(3, lambda raw, x, q2, lepton: positive_head(raw)),
    "unconstrained": HeadKind(3, lambda raw, x, q2, lepton: unconstrained_head(raw)),
}
