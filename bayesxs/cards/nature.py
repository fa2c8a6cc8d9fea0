"""The sections `[nature]` and `[assumed]`: cross sections."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from bayesxs.cards.section import TYPED, Section, conflict

TransitionMass = Annotated[float, Field(ge=1.08, le=4)]


class EmbeddedPDF(Section):
    """The package's own tables: CT18NNLO, or the Les Houches benchmark, which differs from it."""

    type: Literal["embedded"] = "embedded"
    """Tables that come with the package."""
    table: Literal["ct18nnlo", "les_houches"] = "ct18nnlo"
    """Which of them: CT18NNLO, or the Les Houches benchmark."""


class LhapdfPDF(Section):
    """A set in the LHAPDF6 format: a name found on ``$LHAPDF_DATA_PATH``, or its folder's path."""

    type: Literal["lhapdf"] = "lhapdf"
    """A set in the LHAPDF6 format."""
    name: Annotated[str, Field(min_length=1)]
    """Name of a set on `$LHAPDF_DATA_PATH`, or the path of its folder."""
    member: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Member of the set; 0 is the central one."""
    reader: Literal["builtin", "official"] = "builtin"
    """The package's own reader, or the official `lhapdf` module."""


class _Nucleons(Section):
    """The keys of every cross section that is computed from nucleons."""

    type: str
    """The constituents of the cross section."""
    pdf: Annotated[EmbeddedPDF | LhapdfPDF, Field(discriminator="type"), TYPED] = EmbeddedPDF()
    """Parton distributions."""
    protons: Annotated[int, Field(ge=0, le=150)] = 18
    """Protons of the nucleus."""
    neutrons: Annotated[int, Field(ge=0, le=250)] = 22
    """Neutrons of the nucleus."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.protons + self.neutrons == 0:
            raise conflict("protons", 0, "protons + neutrons must be at least 1")
        return self


class QuarkPartonCard(_Nucleons):
    """The leading-order quark-parton model of a nucleus: no quasi-elastic peak, no resonance."""

    type: Literal["quark_parton"] = "quark_parton"
    """The leading-order quark-parton model."""
    form: Literal["helicity", "collinear"] = "helicity"
    """Form of the parton model where M²x²/Q² counts: "helicity", quarks T+ and antiquarks T-,
    positive by itself; "collinear", 2xF₁ = F₂ as in arXiv:2412.16303, its negative part
    projected out. In `[assumed]` that of `[nature]` unless written."""
    q2_suppression_GeV2: Annotated[float, Field(ge=0, le=10)] = 0.0
    """s of a factor Q²/(Q² + s) on all structure functions; 0 for none [GeV²]."""
    xf3_scale: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Factor on the structure function xF₃."""
    f4_shift: Annotated[float, Field(ge=0, le=2)] = 0.0
    """Shift of the structure function F₄ in units of F₁/2; 0 for none. Electrons do not see it."""
    emc: bool = False
    """Whether the nuclear ratio of SLAC E139 multiplies structure functions (EMC effect)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.emc and self.protons + self.neutrons < 4:
            raise conflict("emc", "true", "needs a nucleus of at least 4 nucleons")
        return self


class NucleusCard(_Nucleons):
    """The built-in nucleus: quasi-elastic scattering, the Delta(1232), and partons beyond."""

    type: Literal["nucleus"] = "nucleus"
    """The built-in nucleus."""
    fermi_momentum_GeV: Annotated[float, Field(ge=0.05, le=0.4)] = 0.241
    """Fermi momentum k_F; of (e,e') data for a mass number about 40 by default [GeV]."""
    energy_shift_GeV: Annotated[float, Field(ge=0, le=0.1)] = 0.028
    """Energy that the nucleus keeps of each energy transfer, from the same data [GeV]."""
    quasi_elastic: Literal["superscaling", "fermi_gas"] = "superscaling"
    """Quasi-elastic scattering: the scaling function of (e,e') data, or a relativistic Fermi gas
    with Pauli blocking."""
    axial_mass_GeV: Annotated[float, Field(ge=0.5, le=2)] = 1.03
    """Mass M_A in the dipole of the quasi-elastic axial form factor [GeV]."""
    vector: Literal["bbba05", "dipole"] = "bbba05"
    """Vector form factors of the nucleon: Bradford, Bodek, Budd and Arrington, or dipoles."""
    delta_c5a: Annotated[float, Field(ge=0, le=3)] = 1.19
    """Axial coupling C₅ᴬ(0) of the Delta."""
    delta_axial_mass_GeV: Annotated[float, Field(ge=0.5, le=2)] = 0.94
    """Mass in the dipole of the Delta's axial form factor [GeV]."""
    pseudoscalar: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Factor on the pseudoscalar form factors F_P and C₆ᴬ; 1 where the axial current is partially
    conserved. Electrons do not see them."""
    transition_GeV: Annotated[
        tuple[TransitionMass, ...], Field(strict=False, min_length=2, max_length=2)
    ] = (1.3, 1.6)
    """Range of the hadronic mass W in which the Delta hands over to partons [GeV]."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.transition_GeV
        if not low < high:
            raise conflict("transition_GeV", [low, high], "the first must be below the second")
        return self


class EventsCard(Section):
    """Events of a generator: near data, far data and cross section at once.

    They were made in the near-detector flux of `[beam]`. Of `[assumed]` all events count.
    """

    type: Literal["events"] = "events"
    """Events of a generator."""
    path: Annotated[str, Field(min_length=1)]
    """File of events: GENIE gst or NUISANCE flat tree (.root), NuHepMC (.hepmc3), or a table
    (.parquet, .csv, .npz) with the columns E_nu_GeV, E_l_GeV, cos_theta and, where there are any,
    weight, pdg_nu, pdg_l, channel, target."""
    near_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Part of the events that the near detector counts, chosen by the seed; the rest makes the far
    data and the template."""
    same_events: bool = False
    """Whether both detectors, or `[nature]` and `[assumed]`, may take the same events."""
    channels: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Names of the channels that are taken, such as `qe`; all if empty."""
    target: Annotated[int, Field(gt=0)] | None = None
    """PDG id of the nucleus whose events are taken; needed where a file has several."""
    unwanted: Literal["drop", "refuse"] = "drop"
    """Treatment of neutral-current events, and of those of other neutrinos or nuclei: left out and
    counted, or refused."""


def typed(nature: object) -> object:
    """Write the type of a table that has none: quark-partons, which needed no name once."""
    return {"type": "quark_parton", **nature} if isinstance(nature, dict) else nature


# The cross section that makes the data, or one that an analyst assumes
NatureCard = Annotated[
    QuarkPartonCard | NucleusCard | EventsCard, Field(discriminator="type"), BeforeValidator(typed)
]
