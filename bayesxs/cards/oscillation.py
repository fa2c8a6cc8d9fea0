"""The section `[oscillation]`: true parameters and baseline."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field, field_validator, model_validator

from bayesxs.cards.section import Section, conflict
from bayesxs.constants import LARGEST_SPLITTING, PHYSICAL_RANGE

Parameter = Literal["s2_12", "s2_13", "s2_23", "dcp", "dm21", "dm31"]
PARAMETERS: Final[tuple[Parameter, ...]] = get_args(Parameter)


def card_range(name: Parameter) -> tuple[float, float]:
    """Return the bounds of a parameter in a card: eV^2, degrees."""
    if name == "dcp":  # any turn
        return -360.0, 360.0
    low, high = PHYSICAL_RANGE[name]
    largest = LARGEST_SPLITTING.get(name, inf)
    return max(low, -largest), min(high, largest)


def _within(name: Parameter) -> Any:  # as pydantic types Field
    low, high = card_range(name)
    return Field(ge=low, le=high)


Sin2 = Annotated[float, _within("s2_23")]
Phase = Annotated[float, _within("dcp")]
Dm21 = Annotated[float, _within("dm21")]
Dm31 = Annotated[float, _within("dm31")]


class MixingCard(Section):
    """True oscillation parameters; one given here overrides the named set's."""

    parameters: str
    """Values of what is not written here."""
    s2_12: Sin2 | None = None
    """True sin²θ₁₂."""
    s2_13: Sin2 | None = None
    """True sin²θ₁₃."""
    s2_23: Sin2 | None = None
    """True sin²θ₂₃."""
    dcp_deg: Phase | None = None
    """True CP phase [degrees]."""
    dm21: Dm21 | None = None
    """True Δm²₂₁ [eV²]."""
    dm31: Dm31 | None = None
    """True Δm²₃₁, negative for the inverted ordering [eV²]."""

    def given(self) -> dict[Parameter, float]:
        """Return the parameters written in the card, in card units (dcp in degrees)."""
        values: dict[Parameter, float | None] = {
            "s2_12": self.s2_12,
            "s2_13": self.s2_13,
            "s2_23": self.s2_23,
            "dcp": self.dcp_deg,
            "dm21": self.dm21,
            "dm31": self.dm31,
        }
        return {name: value for name, value in values.items() if value is not None}


class OscillationCard(MixingCard):
    """True oscillation parameters, and the baseline; one given here overrides the named set's."""

    parameters: Literal["nufit-6.0-ic24", "nufit-6.0-ic19"] = "nufit-6.0-ic24"
    """Global fit for what is not written here. NuFit-6.0 with the IceCube-24 data, or without."""
    baseline_km: Annotated[float, Field(gt=0, le=20_000)] = 1300.0
    """Distance from the source to the far detector [km]."""
    density_g_cm3: Annotated[float, Field(ge=0, le=20)] = 2.848
    """Density of the matter on the way [g/cm³]."""
    electron_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Electrons per nucleon of that matter."""
    newton_steps: Literal[0, 1, 2, "exact"] = 1
    """Newton steps of the oscillation probability (NuFast)."""

    @field_validator("newton_steps", mode="before")
    @classmethod
    def _no_bool(cls, value: object) -> object:
        # Python holds true equal to 1, and so would the literal.
        if isinstance(value, bool):
            raise conflict("", str(value).lower(), 'allowed: 0, 1, 2 or "exact"')
        return value

    @model_validator(mode="after")
    def _check(self) -> OscillationCard:
        if self.dm31 == 0.0:
            raise conflict("dm31", self.dm31, "must not be zero")
        return self
