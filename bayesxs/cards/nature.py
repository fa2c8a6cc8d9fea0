"""The sections `[nature]` and `[assumed]`: cross sections."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bayesxs.cards.section import TYPED, Section, conflict


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


class NatureCard(Section):
    """A cross section: the one that makes the data, or one that an analyst assumes."""

    pdf: Annotated[EmbeddedPDF | LhapdfPDF, Field(discriminator="type"), TYPED] = EmbeddedPDF()
    """Parton distributions."""
    protons: Annotated[int, Field(ge=0, le=150)] = 18
    """Protons of the nucleus."""
    neutrons: Annotated[int, Field(ge=0, le=250)] = 22
    """Neutrons of the nucleus."""
    form: Literal["helicity", "collinear"] = "helicity"
    """Form of the parton model where M²x²/Q² counts: "helicity", quarks T+ and antiquarks T-,
    positive by itself; "collinear", 2xF₁ = F₂ as in arXiv:2412.16303, its negative part
    projected out. In `[assumed]` that of `[nature]` unless written."""
    q2_suppression_GeV2: Annotated[float, Field(ge=0, le=10)] = 0.0
    """s of a factor Q²/(Q² + s) on all structure functions; 0 for none [GeV²]."""
    xf3_scale: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Factor on the structure function xF₃."""
    emc: bool = False
    """Whether the nuclear ratio of SLAC E139 multiplies structure functions (EMC effect)."""

    @model_validator(mode="after")
    def _check(self) -> NatureCard:
        nucleons = self.protons + self.neutrons
        if nucleons == 0:
            raise conflict("protons", 0, "protons + neutrons must be at least 1")
        if self.emc and nucleons < 4:
            raise conflict("emc", "true", "needs a nucleus of at least 4 nucleons")
        return self
