"""Samples in lepton kinematics on a card of samples: `[configuration]` and `[nature]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from bayesxs.cards.nature import NucleusCard, QuarkPartonCard, typed
from bayesxs.cards.samples import near_events
from bayesxs.cards.section import Section, conflict

Years = Annotated[float, Field(ge=0, le=1e6)]


def _rated(data: object) -> object:
    """Refuse events of a generator, and say where they may stand."""
    if isinstance(data, dict) and data.get("type") == "events":
        allowed = (
            '"quark_parton" or "nucleus", which have absolute rates; a card without '
            "[configuration] takes events, and bayesxs.dune_samples total cross sections"
        )
        raise conflict("type", '"events"', allowed)
    return typed(data)


# A cross section of which rates are known
RatedNature = Annotated[
    QuarkPartonCard | NucleusCard, Field(discriminator="type"), BeforeValidator(_rated)
]


class MuonResponse(Section):
    """How the far detector sees muons; defaults are DUNE's."""

    energy_resolution: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Relative resolution of the energy that does not follow it."""
    stochastic_resolution: Annotated[float, Field(ge=0, le=2)] = 0.0
    """The part s/√E of the relative resolution, in quadrature: s [GeV^½]."""
    angle_resolution_deg: Annotated[float, Field(gt=0, le=90)] = 1.0
    """Resolution of the angle [degrees]."""
    threshold_GeV: Annotated[float, Field(ge=0, le=5)] = 0.03
    """Smallest kinetic energy that is seen [GeV]."""
    efficiency: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Efficiency far above the threshold."""
    turn_on_GeV: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Kinetic energy over which the efficiency rises; 0 for a step [GeV]."""


class ElectronResponse(MuonResponse):
    """How the far detector sees electrons; defaults are DUNE's."""

    energy_resolution: Annotated[float, Field(ge=0, le=1)] = 0.02
    """Relative resolution of the energy that does not follow it."""
    stochastic_resolution: Annotated[float, Field(ge=0, le=2)] = 0.15
    """The part s/√E of the relative resolution, in quadrature: s [GeV^½]."""
    efficiency: Annotated[float, Field(gt=0, le=1)] = 0.90
    """Efficiency far above the threshold."""


class LeptonConfiguration(Section):
    """Muons and electrons of DUNE's two beams in bins of energy and angle, of any cross section."""

    type: Literal["lepton"] = "lepton"
    """Lepton energy and angle, without neutral currents and tau leptons."""
    cross_section: Literal["learned", "truth", "assumed"] = "learned"
    """With which cross section the data are fitted: that learned from the near data of both beams,
    that of `[nature]`, or that of `[assumed]`; all have the near rates of nature."""
    neutrino_years: Years = 6.5
    """Years in neutrino mode, of 56 % up-time."""
    antineutrino_years: Years = 6.5
    """Years in antineutrino mode."""
    mass_kt: Annotated[float, Field(gt=0, le=1e6)] = 40.0
    """Fiducial mass [kt]."""
    power_MW: Annotated[float, Field(gt=0, le=1e3)] = 1.2
    """Power of the beam [MW]."""
    weights: str = ""
    """File of networks trained for this card or a like one, `network.safetensors` of a folder, with
    which training is skipped; empty for none."""
    near: Literal["muons", "all"] = "muons"
    """Near data that are learned from: of muons, from which electrons follow, or of both."""
    near_events: int | Literal["infinite"] = "infinite"
    """Near events of the most frequent lepton of each beam, to which the others are in proportion.

    They fluctuate if `data.type = "simulated"`; `infinite` stands for the expected density.
    """
    lepton_energies: Annotated[int, Field(ge=4, le=200)] = 16
    """Far-detector bins in lepton energy."""
    angles: Annotated[int, Field(ge=2, le=200)] = 10
    """Far-detector bins in angle."""
    muons: MuonResponse = MuonResponse()
    """How the far detector sees muons."""
    electrons: ElectronResponse = ElectronResponse()
    """How the far detector sees electrons."""
    gauss_newton_steps: Annotated[int, Field(ge=1, le=100_000)] = 40
    """Gauss-Newton steps of the networks; twice as many where x exceeds 1."""

    @field_validator("near_events", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        return near_events(value)

    @property
    def years(self) -> float:
        """Years in both modes."""
        return self.neutrino_years + self.antineutrino_years
