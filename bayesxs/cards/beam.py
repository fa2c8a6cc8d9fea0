"""The sections `[beam]` and `[flux_shape]`: fluxes and their uncertainty."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from bayesxs.cards.section import TYPED, Positive, Section, conflict


class NearFlux(Section):
    """The far flux is the near one, but for oscillation."""

    type: Literal["near"] = "near"
    """The near-detector flux, as in the toy of arXiv:2412.16303."""


class DuneFlux(Section):
    """The package's own DUNE fluxes."""

    type: Literal["dune"] = "dune"
    """The embedded DUNE fluxes (arXiv:2103.04797)."""


class GlobesFlux(Section):
    """A flux file in the GLoBES format."""

    type: Literal["globes"] = "globes"
    """A file in the GLoBES format."""
    path: Annotated[str, Field(min_length=1)]
    """Path of the file."""
    energies: Literal["centers", "low_edges"] | None = None
    """Whether one energy per row is the center of a bin or its low edge, where unclear."""


class CsvFlux(Section):
    """A flux table with a header line."""

    type: Literal["csv"] = "csv"
    """A CSV file with a header line."""
    path: Annotated[str, Field(min_length=1)]
    """Path of the file."""
    energies: Literal["centers", "low_edges"] | None = None
    """Whether one energy per row is the center of a bin or its low edge, where unclear."""


class RootFlux(Section):
    """Histograms of a ROOT file; the flux is constant in their bins."""

    type: Literal["root"] = "root"
    """One-dimensional histograms of a ROOT file."""
    path: Annotated[str, Field(min_length=1)]
    """FILE.root:HISTOGRAM; more names follow after commas, each a species or SPECIES=HISTOGRAM."""
    contents: Literal["per_GeV", "per_bin"] = "per_GeV"
    """Whether a bin holds the flux per GeV, or integrated over the bin."""


class BeamCard(Section):
    """The beam and the energy range of the analysis."""

    mode: Literal["neutrino", "antineutrino"] = "neutrino"
    """Polarity of the horns; chooses the embedded flux."""
    flux: Annotated[
        DuneFlux | GlobesFlux | CsvFlux | RootFlux, Field(discriminator="type"), TYPED
    ] = DuneFlux()
    """Flux at the near detector."""
    far_flux: Annotated[
        NearFlux | DuneFlux | GlobesFlux | CsvFlux | RootFlux, Field(discriminator="type"), TYPED
    ] = NearFlux()
    """Flux at the far detector before oscillation; "near" and "dune" may stand for their tables."""
    energy_min_GeV: Positive = 0.5
    """Lowest neutrino energy of the analysis [GeV]."""
    energy_max_GeV: Positive = 10.0
    """Highest neutrino energy of the analysis [GeV]."""

    @field_validator("far_flux", mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in ("near", "dune"):
            raise conflict(
                "", f'"{value}"', 'allowed: "near", "dune", or a table with type and path'
            )
        return {"type": value}

    @model_validator(mode="after")
    def _check(self) -> BeamCard:
        if not self.energy_min_GeV < self.energy_max_GeV:
            allowed = f"must be below energy_max_GeV = {self.energy_max_GeV}"
            raise conflict("energy_min_GeV", self.energy_min_GeV, allowed)
        return self


class NoFluxShape(Section):
    """The flux is known."""

    type: Literal["none"] = "none"
    """The flux is known."""


class FluxShape(Section):
    """The keys of every uncertain flux."""

    share: Annotated[float, Field(gt=0.5, lt=1)] = 0.999
    """Share of the flux variance that the modes keep."""
    near_far: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Error of the far flux over the near flux, over the error that they share; 0 for none."""

    @model_validator(mode="before")
    @classmethod
    def _no_near_constraint(cls, data: object) -> object:
        if isinstance(data, dict) and "near_constraint" in data:
            allowed = (
                "removed: uncertainty.joint = true lets near data bound the flux shape; "
                "external constraints belong into the covariance of the flux"
            )
            raise conflict("near_constraint", str(data["near_constraint"]).lower()[:20], allowed)
        return data


class ParametricFluxShape(FluxShape):
    """Relative covariance amplitude^2 exp(-(ln E - ln E')^2 / (2 correlation_length^2))."""

    type: Literal["parametric"] = "parametric"
    """A covariance by formula."""
    amplitude: Annotated[float, Field(gt=0, le=1)] = 0.08
    """Relative standard deviation of the flux at every energy."""
    correlation_length: Annotated[float, Field(ge=0.05, le=10)] = 0.7
    """Correlation length in ln E."""


class FluxShapeFile(FluxShape):
    """Relative covariance in bins of energy, from a CSV or NPZ file."""

    type: Literal["file"] = "file"
    """A covariance in bins of energy."""
    path: Annotated[str, Field(min_length=1)]
    """Path of a CSV or NPZ file."""
