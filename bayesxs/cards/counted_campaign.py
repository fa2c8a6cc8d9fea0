"""The section `[campaign]` of a card of samples: pseudo-experiments over orderings and octants."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bayesxs.cards.section import Section, conflict

Degrees = Annotated[float, Field(ge=-360, le=360)]


class _CountedCampaign(Section):
    """The keys of every campaign of samples."""

    batch: Annotated[int, Field(ge=1, le=100_000)] = 20
    """Pseudo-experiments of one task."""


class _SampledCampaign(_CountedCampaign):
    """The keys of campaigns that sample posteriors, one chain for each ordering and octant."""

    warmup: Annotated[int, Field(ge=50, le=1_000_000)] = 100
    """Steps in which a chain adapts, before its draws count."""
    draws: Annotated[int, Field(ge=40, le=1_000_000)] = 400
    """Draws of each chain."""
    thin: Annotated[int, Field(ge=1, le=10_000)] = 4
    """One draw in this many is kept."""
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Acceptance probability to which the step size adapts."""
    tree_depth: Annotated[int, Field(ge=1, le=15)] = 4
    """Largest depth of the trees of NUTS."""
    together: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Chains that are sampled together, of any pseudo-experiments of a task."""

    @model_validator(mode="after")
    def _check(self) -> _SampledCampaign:
        if self.draws // self.thin < 20:
            raise conflict("thin", self.thin, f"must leave at least 20 of {self.draws} draws")
        return self


class ModeSbcCampaign(_SampledCampaign):
    """Simulation-based calibration, truths over both orderings: ranks, and probabilities."""

    kind: Literal["sbc"] = "sbc"
    """Simulation-based calibration."""
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 500
    """Pseudo-experiments."""


class PhaseCoverageCampaign(_SampledCampaign):
    """Coverage of highest-density intervals of dCP at true values."""

    kind: Literal["coverage"] = "coverage"
    """Coverage and length of intervals."""
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 100
    """Pseudo-experiments at each true value."""
    # TOML has lists, not tuples: only the container is taken leniently
    dcp_deg: Annotated[tuple[Degrees, ...], Field(strict=False, min_length=1, max_length=100)] = (
        *(-160.0, -120.0, -80.0, -40.0),
        *(0.0, 40.0, 80.0, 120.0, 160.0),
    )
    """True values of dCP [degrees]."""


class StatisticCampaign(_CountedCampaign):
    """Distribution of the statistic of CP violation where CP is conserved (Feldman-Cousins)."""

    kind: Literal["cp_statistic"] = "cp_statistic"
    """Distribution of the statistic of CP violation."""
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 500
    """Pseudo-experiments at each of dCP = 0 and 180 degrees."""


CountedCampaign = ModeSbcCampaign | PhaseCoverageCampaign | StatisticCampaign
