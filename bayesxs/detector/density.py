"""Samples, their near- and far-detector densities, and events drawn from them.

p(E_l, z | phi, s) = int dE phi(E) s(E, E_l, z) / norm, in 1/GeV: shape only, blind to the overall
scale of the cross section. Near: phi = phi_ND. Far: phi_ND(E) P(E; theta).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.errors import InputError
from bayesxs.physics.cross_section import differential_cross_section
from bayesxs.physics.kinematics import (
    NUCLEON,
    PhaseSpace,
    lepton_from_invariants,
    most_transfer,
    q2_range,
    x_min,
    y_range,
)
from bayesxs.physics.structure_functions import StructureFunctions
from bayesxs.types import Floats

type Flavor = Literal["e", "mu", "tau"]

LEPTON_MASS = {"e": ELECTRON_MASS, "mu": MUON_MASS, "tau": TAU_MASS}
NEUTRINO_ID = {"e": 12, "mu": 14, "tau": 16}


@dataclass(frozen=True)
class Sample:
    """A kind of counted events: leptons of one flavor and charge, from one flavor of one beam mode.

    Example:
        >>> bayesxs.Sample(flavor_out="e", antineutrino=True).name
        'anti_mu_to_e'
    """

    flavor_in: Flavor = "mu"
    flavor_out: Flavor = "mu"
    antineutrino: bool = False
    beam: Literal["neutrino", "antineutrino"] = "neutrino"
    detector: Literal["near", "far"] = "far"

    @property
    def name(self) -> str:
        """Name in files, such as "mu_to_e" or "anti_mu_to_mu"."""
        return f"{'anti_' if self.antineutrino else ''}{self.flavor_in}_to_{self.flavor_out}"

    @property
    def near(self) -> Sample:
        """The near-detector sample of the same lepton, from which its cross section is learned."""
        return Sample(self.flavor_out, self.flavor_out, self.antineutrino, self.beam, "near")

    @property
    def lepton_mass(self) -> float:
        """Mass of the charged lepton in GeV."""
        return LEPTON_MASS[self.flavor_out]

    @property
    def flux_id(self) -> int:
        """PDG id of the neutrino that leaves the beam."""
        sign = -1 if self.antineutrino else 1
        return sign * NEUTRINO_ID[self.flavor_in]


# Scales of proposals where x exceeds 1, in GeV^(1/2) and GeV^2
RIDGE, SHIFT = 0.3, 0.3

# Proposals made at once
BATCH = 1 << 15


class FoldedRows(NamedTuple):
    """A cross section folded with everything but the flux.

    Attributes:
        rows: T[row, E], differential in (E_l, z), in 1e-38 cm^2; quadrature weights included.
        total: v[E], integrated over all lepton kinematics and times the quadrature weights of the
            shared energies, in 1e-38 cm^2 GeV.
    """

    rows: Floats
    total: Floats


def density(response: FoldedRows, flux: ArrayLike) -> Floats:
    """Return p(E_l, z) = T phi / (v phi) in 1/GeV, shape (rows,).

    Args:
        response: the folded cross section.
        flux: flux at the shared energies; for the far detector times the oscillation probability.
    """
    flux = np.asarray(flux)
    return (response.rows @ flux) / (response.total @ flux)


class Events(NamedTuple):
    """Unbinned events: neutrino energy (known in simulation only), E_l in GeV, and z."""

    energy: Floats
    lepton_energy: Floats
    z: Floats


class _Envelope(NamedTuple):
    edges: Floats  # of the energy cells, GeV
    bound: Floats  # of the density in each cell


def simulate_events(
    key: jax.Array,
    sf: StructureFunctions,
    flux: Callable[[Floats], Floats],
    energy_range: tuple[float, float],
    lepton_mass: float,
    number: int,
    space: PhaseSpace = NUCLEON,
) -> Events:
    """Draw events from the continuous density flux(E) d2s/dE_l dz by rejection.

    Proposals are even in (E, x^(1/3), y) within cells of E, or along the ridges of a nucleus where
    x exceeds 1. Each cell has a bound of its own; one that is found too low is raised and the draw
    starts over, so that accepted events follow the density.

    Args:
        key: random key.
        sf: structure functions of the target.
        flux: flux per GeV at an array of energies, oscillated for the far detector.
        energy_range: neutrino energies in GeV.
        lepton_mass: m in GeV.
        number: events wanted.
        space: how far x reaches.

    Raises:
        InputError: the density vanishes everywhere.
    """
    if number == 0:
        return Events(*np.zeros((3, 0)))
    proposal = _proposal(sf, lepton_mass, space)
    envelope = _envelope(_target(proposal, flux), energy_range)
    if not np.any(envelope.bound > 0.0):
        low, high = energy_range
        raise InputError.at(
            "events",
            "energy_range",
            f"{low:g} to {high:g} GeV",
            "flux times cross section > 0 there",
        )
    accepted: list[Events] = []
    missing, draw = number, 0
    while missing > 0:
        draw_key = jax.random.fold_in(key, draw)
        uniform = np.asarray(jax.random.uniform(draw_key, (5, BATCH), dtype=jnp.float64))
        cell, energy = _cells(envelope, uniform)
        weight, lepton_energy, z = (np.asarray(a) for a in proposal(energy, uniform[2], uniform[3]))
        height = flux(energy) * weight / envelope.bound[cell]
        if height.max() > 1.0:
            raised = envelope.bound.copy()
            np.maximum.at(raised, cell, 1.2 * height * envelope.bound[cell])
            envelope = envelope._replace(bound=raised)
            accepted, missing = [], number
        else:
            keep = np.nonzero(uniform[4] < height)[0][:missing]
            accepted.append(Events(energy[keep], lepton_energy[keep], z[keep]))
            missing -= len(keep)
        draw += 1
    return Events(*(np.concatenate(parts) for parts in zip(*accepted, strict=True)))


def _proposal(
    sf: StructureFunctions, lepton_mass: float, space: PhaseSpace
) -> Callable[..., tuple[Array, ...]]:
    """Return a function of E and two numbers in [0, 1]: the density's weight there, E_l and z."""
    if space.x_max > 1.0:
        return _ridge_proposal(sf, lepton_mass, space)

    @jax.jit
    def proposal(energy: Array, u: Array, v: Array) -> tuple[Array, ...]:
        bottom = jnp.cbrt(x_min(energy, lepton_mass))
        root = bottom + (1.0 - bottom) * u
        x = root**3
        low, high = y_range(energy, x, lepton_mass)
        y = low + (high - low) * v
        lepton_energy, z = lepton_from_invariants(energy, x, y, lepton_mass)
        jacobian = (1.0 - bottom) * 3.0 * root**2 * (high - low) * y * energy
        value = differential_cross_section(sf, energy, lepton_energy, z, lepton_mass, space)
        return value * jacobian, lepton_energy, z

    return proposal


def _ridge_proposal(
    sf: StructureFunctions, lepton_mass: float, space: PhaseSpace
) -> Callable[..., tuple[Array, ...]]:
    """Return the same for nuclei, even in t and ln(Q^2 + SHIFT) with s = t |t| + RIDGE t.

    Ridges are wide in these, and the continuum is flat, so that one of five proposals is taken.
    """

    def root(ridge: Array) -> Array:
        return 0.5 * jnp.sign(ridge) * (jnp.sqrt(RIDGE**2 + 4.0 * jnp.abs(ridge)) - RIDGE)

    @jax.jit
    def proposal(energy: Array, u: Array, v: Array) -> tuple[Array, ...]:
        ends = q2_range(energy, lepton_mass, space)
        start, end = (jnp.log(jnp.maximum(q2, 0.0) + SHIFT) for q2 in ends)
        shifted = jnp.exp(start + (end - start) * v)
        q2 = shifted - SHIFT
        elastic = q2 / (2.0 * NUCLEON_MASS)  # nu where s = 0
        most = most_transfer(energy, q2, lepton_mass)
        low, high = (root(nu - elastic) for nu in (elastic / space.x_max, most))
        t = low + (high - low) * u
        lepton_energy = energy - elastic - t * (jnp.abs(t) + RIDGE)
        z = (q2 + lepton_mass**2) / (2.0 * NUCLEON_MASS * energy)
        # dE_l dz = dnu dQ^2/(2 M E)
        area = (high - low) * (2.0 * jnp.abs(t) + RIDGE) * (end - start) * shifted
        jacobian = jnp.maximum(area, 0.0) / (2.0 * NUCLEON_MASS * energy)
        value = differential_cross_section(sf, energy, lepton_energy, z, lepton_mass, space)
        return value * jacobian, lepton_energy, z

    return proposal


def _target(
    proposal: Callable[..., tuple[Array, ...]], flux: Callable[[Floats], Floats]
) -> Callable[[Floats, Floats, Floats], Floats]:
    """Return the density of a proposal's variables at any number of points."""

    def target(energy: Floats, u: Floats, v: Floats) -> Floats:
        values = np.empty(len(energy))
        for start in range(0, len(energy), BATCH):  # one shape, one compilation
            part = slice(start, start + BATCH)
            padded = (np.resize(a[part], BATCH) for a in (energy, u, v))
            values[part] = np.asarray(proposal(*padded)[0])[: len(values[part])]
        return flux(energy) * values

    return target


def _cells(envelope: _Envelope, uniform: Floats) -> tuple[NDArray[np.intp], Floats]:
    """Choose cells in proportion to their bounds, and energies within; shapes (batch,)."""
    cells = np.diff(envelope.edges) * envelope.bound
    cell = np.searchsorted(np.cumsum(cells) / cells.sum(), uniform[0], side="right")
    cell = np.minimum(cell, len(cells) - 1)
    return cell, envelope.edges[cell] + np.diff(envelope.edges)[cell] * uniform[1]


def _envelope(
    target: Callable[[Floats, Floats, Floats], Floats], energy_range: tuple[float, float]
) -> _Envelope:
    """Bound the density in cells of energy by 1.3 times its largest value on a grid."""
    edges = np.linspace(*energy_range, 201)
    fraction = np.linspace(0.0, 1.0, 3)
    unit = np.linspace(0.02, 0.98, 16)
    energy = (edges[:-1, None] + np.diff(edges)[:, None] * fraction)[:, :, None, None]
    e, u, v = (a.ravel() for a in np.broadcast_arrays(energy, unit[:, None], unit))
    height = target(e, u, v).reshape(len(edges) - 1, -1).max(axis=1)
    # A cell with vanishing grid values may still hold a sliver of density beside a kink of the flux
    return _Envelope(edges, 1.3 * np.maximum(height, 1e-6 * height.max()))
