"""A nucleus in closed form: quasi-elastic scattering, the Delta, and partons beyond.

The tensor of the nucleus is a sum of tensors of nucleons in motion, each a square of amplitudes or
of non-negative partons. So it is positive semi-definite at every (x, Q^2), and the cross section
non-negative for every lepton (`helicity`). Not in it: two-nucleon knock-out, coherent pions, other
resonances than the Delta (partons stand for them on average), final-state potentials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, reduce
from typing import Literal, get_args

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import NUCLEON_MASS
from bayesxs.inputs.pdf import PDF
from bayesxs.physics.delta_resonance import Delta
from bayesxs.physics.fermi_motion import FermiSphere
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity
from bayesxs.physics.inelastic import parton_tensor
from bayesxs.physics.kinematics import HIGHEST_X
from bayesxs.physics.nature import XF, as_pdf
from bayesxs.physics.nucleon_form_factors import Vector
from bayesxs.physics.quasielastic import QuasiElastic, Scaling
from bayesxs.physics.tabulated import Tabulated

type ChannelName = Literal["quasi_elastic", "delta", "inelastic"]
CHANNELS: tuple[ChannelName, ...] = get_args(ChannelName.__value__)


def add(first: Helicity, second: Helicity) -> Helicity:
    """Add two tensors component by component."""
    return Helicity(*(jnp.asarray(a) + b for a, b in zip(first, second, strict=True)))


def scaled(helicity: Helicity, factor: ArrayLike) -> Helicity:
    """Multiply a tensor by a number."""
    return Helicity(*(jnp.asarray(factor) * part for part in helicity))


def smooth_step(value: ArrayLike, low: float, high: float) -> Array:
    """Return 0 below `low`, 1 above `high`, and u^3 (10 - 15u + 6u^2) between."""
    u = jnp.clip((jnp.asarray(value) - low) / (high - low), 0.0, 1.0)
    return u**3 * (10.0 + u * (6.0 * u - 15.0))


@dataclass(frozen=True)
class Nucleus:
    """Structure functions of a nucleus, normalized to the nucleus as those of the parton model.

    Three channels:

    - "quasi_elastic": superscaling or the relativistic Fermi gas (`quasielastic`), on neutrons for
      neutrinos and on protons for antineutrinos.
    - "delta": the Delta(1232), folded over the Fermi sphere (`delta_resonance`, `fermi_motion`).
    - "inelastic": quarks as T+ = 2q and antiquarks as T- = 2 qbar of a nucleon in motion, at the
      nucleon's own x = Q^2/(W^2 - M^2 + Q^2).

    The last two share W: with s rising smoothly from 0 to 1 over `transition_GeV`, the Delta counts
    1 - s and the partons s, as in NuWro (Juszczak, Nowak and Sobczyk, nucl-th/0512365).

    k_F and E_shift default to the superscaling fit to (e,e') data for A about 40 (Maieron, Donnelly
    and Sick, nucl-th/0109032: 241 and 28 MeV).

    Attributes:
        pdf: parton distributions, as in `QuarkParton`.
        protons: Z.
        neutrons: N.
        fermi_momentum_GeV: radius of the sphere of momenta.
        energy_shift_GeV: energy that the nucleus keeps.
        axial_mass_GeV: of the quasi-elastic axial form factor.
        quasi_elastic: "superscaling" or "fermi_gas".
        vector: vector form factors, "bbba05" or "dipole".
        delta: transition form factors of the Delta.
        transition_GeV: range of W in which the Delta hands over to partons.
        pseudoscalar: factor on the pseudoscalar form factor F_P of quasi-elastic scattering, 1 for
            a partially conserved axial current; `Delta` has its own, on C6A. Of what a lepton sees
            it changes a part proportional to m^2.

    Example:
        >>> carbon = bayesxs.Nucleus(bayesxs.ct18nnlo(), 6, 6, fermi_momentum_GeV=0.228)
        >>> carbon.structure_functions(0.1057)(1.2, [0.3, 1.0]).shape
        (2, 3)
    """

    pdf: PDF | XF
    protons: float = 18.0
    neutrons: float = 22.0
    fermi_momentum_GeV: float = 0.241
    energy_shift_GeV: float = 0.028
    axial_mass_GeV: float = 1.03
    quasi_elastic: Scaling = "superscaling"
    vector: Vector = "bbba05"
    delta: Delta = field(default_factory=Delta)
    transition_GeV: tuple[float, float] = (1.3, 1.6)
    pseudoscalar: float = 1.0

    @property
    def x_max(self) -> float:
        """Return where the cross section is taken to end: at 3, or with all of a lighter nucleus.

        In argon one event in a thousand has x > 2.2.
        """
        return float(min(max(self.protons + self.neutrons, 1.0), HIGHEST_X))

    def channels(
        self, x: ArrayLike, q2: ArrayLike, antineutrino: bool = False
    ) -> dict[ChannelName, Helicity]:
        """Return the tensor of each channel per nucleus at x > 0 and Q^2 > 0, in GeV^2."""
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x, float), jnp.asarray(q2, float))
        nu = q2 / (2.0 * NUCLEON_MASS * x)
        return {name: self._channel(name, antineutrino)(nu, q2) for name in CHANNELS}

    def helicity(
        self,
        x: ArrayLike,
        q2: ArrayLike,
        antineutrino: bool = False,
        channels: tuple[ChannelName, ...] = CHANNELS,
    ) -> Helicity:
        """Return the sum of the tensors of the named channels per nucleus.

        Args:
            x: Bjorken x of a nucleon at rest, positive; it may exceed 1.
            q2: Q^2 in GeV^2, positive.
            antineutrino: whether the boson is a W-.
            channels: those that are summed.
        """
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x, float), jnp.asarray(q2, float))
        nu = q2 / (2.0 * NUCLEON_MASS * x)
        return reduce(add, (self._channel(name, antineutrino)(nu, q2) for name in channels))

    def structure_functions(
        self,
        lepton_mass: float,
        antineutrino: bool = False,
        channels: tuple[ChannelName, ...] = CHANNELS,
    ) -> NuclearStructureFunctions:
        """Return the structure functions that a lepton of this mass in GeV sees.

        Channels that are averages over nucleons are read off a table (`tabulated`).
        """
        return NuclearStructureFunctions(self, lepton_mass, antineutrino, channels)

    @cached_property
    def _tables(self) -> dict[tuple[tuple[ChannelName, ...], bool], Tabulated]:
        return {}

    def tabulated(
        self, nu: Array, q2: Array, antineutrino: bool, channels: tuple[ChannelName, ...]
    ) -> Helicity:
        """Return the sum of channels, those that are averages over nucleons from a table."""
        averages = tuple(name for name in channels if name != "quasi_elastic")
        key = averages, antineutrino
        if averages and key not in self._tables:
            parts = [self._channel(name, antineutrino) for name in averages]
            self._tables[key] = Tabulated(
                lambda nu, q2: reduce(add, (part(nu, q2) for part in parts))
            )
        found = [self._tables[key](nu, q2)] if averages else []
        if "quasi_elastic" in channels:
            found.append(self._channel("quasi_elastic", antineutrino)(nu, q2))
        return reduce(add, found)

    def _channel(self, name: ChannelName, antineutrino: bool) -> Callable[[Array, Array], Helicity]:
        active, idle = self.protons, self.neutrons
        if not antineutrino:
            active, idle = idle, active
        if name == "quasi_elastic":
            nucleon = QuasiElastic(
                self.fermi_momentum_GeV,
                self.energy_shift_GeV,
                self.axial_mass_GeV,
                self.vector,
                self.quasi_elastic,
                self.pseudoscalar,
            )
            return lambda nu, q2: scaled(nucleon(nu, q2), active)
        if name == "delta":
            # a Breit-Wigner is narrower than what partons vary over
            fold = FermiSphere(self.fermi_momentum_GeV, self.energy_shift_GeV, points=64)
            states = active + 3.0 * idle  # isospin 3/2
            return lambda nu, q2: fold(
                lambda w2, scale: scaled(self.delta(w2, scale), states * (1.0 - self._rise(w2))),
                nu,
                q2,
            )
        fold = FermiSphere(self.fermi_momentum_GeV, self.energy_shift_GeV, points=32)
        return lambda nu, q2: fold(lambda w2, scale: self._partons(w2, scale, antineutrino), nu, q2)

    def _rise(self, w2: Array) -> Array:
        return smooth_step(jnp.sqrt(jnp.maximum(w2, 0.25)), *self.transition_GeV)

    def _partons(self, w2: Array, q2: Array, antineutrino: bool) -> Helicity:
        w2 = jnp.maximum(w2, self.transition_GeV[0] ** 2)  # where partons begin
        tensor = parton_tensor(as_pdf(self.pdf), self.protons, self.neutrons, antineutrino, w2, q2)
        return scaled(tensor, self._rise(w2))


@dataclass(frozen=True)
class NuclearStructureFunctions:
    """Bernstein coefficients of a nucleus for one lepton (`StructureFunctions`)."""

    nucleus: Nucleus
    lepton_mass: float
    antineutrino: bool = False
    channels: tuple[ChannelName, ...] = CHANNELS

    def __call__(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return the Bernstein coefficients (b0, b1, b2) per nucleus, shape (..., 3)."""
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x, float), jnp.asarray(q2, float))
        nu = q2 / (2.0 * NUCLEON_MASS * x)
        tensor = self.nucleus.tabulated(nu, q2, self.antineutrino, self.channels)
        sign = -1 if self.antineutrino else 1
        return bernstein_from_helicity(tensor, x, q2, self.lepton_mass, sign)
