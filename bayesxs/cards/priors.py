"""The section `[priors]`: the sampled oscillation parameters."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from bayesxs.cards.oscillation import PARAMETERS, Parameter, card_range
from bayesxs.cards.section import TYPED, Positive, Section, conflict

# Narrower priors are lost in rounding: a parameter that is known is left out of them
_LEAST_WIDTH: Final[dict[Parameter, float]] = {
    "s2_12": 1e-8,
    "s2_13": 1e-8,
    "s2_23": 1e-8,
    "dcp": 1e-5,
    "dm21": 1e-11,
    "dm31": 1e-10,
}


class FlatPrior(Section):
    """Uniform between low and high (dcp in degrees)."""

    type: Literal["flat"] = "flat"
    """Uniform between two bounds."""
    low: float
    """Lower bound [unit of the parameter]."""
    high: float
    """Upper bound [unit of the parameter]."""


class NormalPrior(Section):
    """Gaussian (dcp in degrees)."""

    type: Literal["normal"] = "normal"
    """Gaussian, cut at the physical range."""
    mean: float
    """Mean [unit of the parameter]."""
    sd: Positive
    """Standard deviation [unit of the parameter]."""


class NufitPrior(Section):
    """Gaussian of NuFit-6.0 for the parameter."""

    type: Literal["nufit"] = "nufit"
    """Gaussian with the mean and the symmetrised error of NuFit-6.0."""


Prior = Annotated[FlatPrior | NormalPrior | NufitPrior, Field(discriminator="type"), TYPED]


class PriorsCard(Section):
    """The sampled parameters; those left out stay at the truth."""

    s2_12: Prior | None = None
    """Prior of sin²θ₁₂; none keeps it at the truth."""
    s2_13: Prior | None = None
    """Prior of sin²θ₁₃; none keeps it at the truth."""
    s2_23: Prior | None = None
    """Prior of sin²θ₂₃; none keeps it at the truth."""
    dcp: Prior | None = None
    """Prior of the CP phase; none keeps it at the truth."""
    dm21: Prior | None = None
    """Prior of Δm²₂₁; none keeps it at the truth."""
    dm31: Prior | None = None
    """Prior of Δm²₃₁; none keeps it at the truth."""

    @model_validator(mode="after")
    def _check(self) -> PriorsCard:
        for name, prior in self.free().items():
            _check_prior(name, prior)
        return self

    def free(self) -> dict[Parameter, FlatPrior | NormalPrior | NufitPrior]:
        """Return the prior of each sampled parameter, in the order of the fields."""
        pairs = ((name, getattr(self, name)) for name in PARAMETERS)
        return {name: prior for name, prior in pairs if prior is not None}


def _check_prior(name: Parameter, prior: FlatPrior | NormalPrior | NufitPrior) -> None:
    lowest, highest = card_range(name)
    bounds = f"between {lowest:g} and {highest:g}"
    if isinstance(prior, FlatPrior):
        for side, value in (("low", prior.low), ("high", prior.high)):
            if not lowest <= value <= highest:
                raise conflict(f"{name}.{side}", value, f"must lie {bounds}")
        if not prior.low < prior.high:
            raise conflict(f"{name}.low", prior.low, f"must be below high = {prior.high:g}")
        if prior.high - prior.low < _LEAST_WIDTH[name]:
            allowed = f"must be at least {_LEAST_WIDTH[name]:g} below high; to fix it, leave it out"
            raise conflict(f"{name}.low", prior.low, allowed)
        if name == "dm31" and prior.low * prior.high <= 0.0:
            allowed = (
                f"must have the sign of high = {prior.high:g} (one mass ordering), and not be 0"
            )
            raise conflict("dm31.low", prior.low, allowed)
        if name == "dcp" and prior.high - prior.low > 360.0:
            raise conflict("dcp.high", prior.high, f"must be within 360 of low = {prior.low:g}")
    elif isinstance(prior, NormalPrior):
        widest = highest - lowest
        if not _LEAST_WIDTH[name] <= prior.sd <= widest:
            allowed = f"must lie between {_LEAST_WIDTH[name]:g} and {widest:g}"
            raise conflict(f"{name}.sd", prior.sd, allowed)
        if not lowest <= prior.mean <= highest or (name == "dm31" and prior.mean == 0.0):
            raise conflict(f"{name}.mean", prior.mean, f"must lie {bounds}")
        if name == "dm31" and abs(prior.mean) < 5.0 * prior.sd:
            allowed = f"must be at least 5 sd (sd = {prior.sd:g}) from zero (one mass ordering)"
            raise conflict("dm31.mean", prior.mean, allowed)
