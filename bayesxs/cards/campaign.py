"""The section `[campaign]`: pseudo-experiments of every kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bayesxs.cards.oscillation import Dm31, Sin2
from bayesxs.cards.section import Positive, Section, conflict


class _CampaignCard(Section):
    """The keys of every campaign."""

    batch: Annotated[int, Field(ge=1, le=100_000)] = 50
    """Pseudo-experiments, replicas or networks of one task, computed together."""

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ()


class SampledCampaign(_CampaignCard):
    """The keys of campaigns that sample the posteriors of pseudo-experiments."""

    cross_section: Literal["truth", "learned"] = "truth"
    """Cross section of data and model. `learned` comes with its nuisances."""
    information_loss: Annotated[float, Field(ge=0, le=0.5)] = 0.005
    """Share of the Fisher information that merging of bins may lose; 0 keeps every bin."""
    warmup: Annotated[int, Field(ge=50, le=1_000_000)] = 250
    """Steps in which a chain adapts, before its draws count."""
    draws: Annotated[int, Field(ge=20, le=1_000_000)] = 500
    """Draws of each pseudo-experiment."""
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Acceptance probability to which the step size adapts."""
    tree_depth: Annotated[int, Field(ge=1, le=15)] = 3
    """Largest depth of the trees of NUTS.

    Every fit of a batch waits for the deepest tree. Three suffice for two parameters, four for
    dozens of nuisances.
    """

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ("train",) if self.cross_section == "learned" else ()


class SbcCampaign(SampledCampaign):
    """Simulation-based calibration: truths from the prior, ranks of the truth among the draws."""

    kind: Literal["sbc"] = "sbc"
    """Simulation-based calibration."""
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 1000
    """Pseudo-experiments."""
    thin: Annotated[int, Field(ge=1, le=10_000)] = 5
    """One draw in this many enters the ranks, which take draws for independent."""

    @model_validator(mode="after")
    def _check(self) -> SbcCampaign:
        if self.draws // self.thin < 10:
            raise conflict("thin", self.thin, f"must leave at least 10 of {self.draws} draws")
        return self


class CoverageCampaign(SampledCampaign):
    """Coverage and length of intervals of every kind, at chosen true values."""

    kind: Literal["coverage"] = "coverage"
    """Coverage and length of intervals."""
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 400
    """Pseudo-experiments at each point of the grid of true values."""
    # TOML has lists, not tuples: only the container is taken leniently
    s2_23: Annotated[tuple[Sin2, ...], Field(strict=False, min_length=1, max_length=20)] = (
        0.42,
        0.46,
        0.58,
    )
    """True values of sin²θ₂₃ of the grid."""
    dm31: Annotated[
        tuple[Dm31, ...],
        Field(strict=False, min_length=1, max_length=10),
    ] = (2.45e-3, 2.53e-3, 2.6e-3)
    """True values of Δm²₃₁ of the grid [eV²]."""
    replicas: Annotated[int, Field(ge=50, le=100_000)] = 400
    """Bootstrap samples of each pseudo-experiment."""


class BootstrapCampaign(_CampaignCard):
    """Bootstrap of the far events, with the true and the learned cross section, at any size."""

    kind: Literal["bootstrap"] = "bootstrap"
    """Bootstrap of the far-detector events."""
    replicas: Annotated[int, Field(ge=20, le=9_000_000)] = 10_000
    """Bootstrap samples."""
    batch: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Bootstrap samples of one task."""

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ("train", "simulate")


class EnsembleCampaign(_CampaignCard):
    """Many networks, each trained from its own start on its own replica of the near data."""

    kind: Literal["ensemble"] = "ensemble"
    """Networks on replicas of the near-detector data."""
    members: Annotated[int, Field(ge=2, le=100_000)] = 32
    """Networks."""
    batch: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Networks of one task."""


class SensitivityCampaign(SampledCampaign):
    """Posterior width against exposure."""

    kind: Literal["sensitivity"] = "sensitivity"
    """Posterior width against exposure."""
    experiments: Annotated[int, Field(ge=2, le=10_000_000)] = 50
    """Pseudo-experiments at each exposure."""
    exposures: Annotated[tuple[Positive, ...], Field(strict=False, min_length=2, max_length=50)] = (
        1.0,
        3.0,
        10.0,
        30.0,
        100.0,
    )
    """Products of detector mass, beam power and time [kt MW yr]."""
    # 6200 in 3.5 years (arXiv:2412.16303), half of the 336 kt MW yr that DUNE collects in seven
    # (arXiv:2002.03005)
    events_per_kt_MW_yr: Annotated[float, Field(gt=0, le=1e6)] = 36.9
    """Far-detector events of an exposure of 1 [1/(kt MW yr)]."""


Campaign = (
    SbcCampaign | CoverageCampaign | BootstrapCampaign | EnsembleCampaign | SensitivityCampaign
)
