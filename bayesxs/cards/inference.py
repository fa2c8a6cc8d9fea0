"""The sections `[sampler]`, `[bootstrap]` and `[report]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bayesxs.cards.section import Count, Section


class SamplerCard(Section):
    """The No-U-Turn sampler."""

    chains: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Number of chains."""
    first_chain: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Number of the first chain.

    A chain's random numbers depend on its number, not on how many chains there are: other runs can
    make further ones, for `bayesxs merge`.
    """
    warmup: Count = 1000
    """Steps in which a chain adapts, before its draws count."""
    draws: Annotated[int, Field(ge=4, le=10_000_000)] = 1000
    """Draws of each chain."""
    checkpoint_every: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    """Steps after which all chains are written to the disk.

    Memory holds the draws of one such piece.
    """
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Acceptance probability to which the step size adapts."""
    octant: Literal["marginalized", "crossed"] = "marginalized"
    """Octant of θ₂₃. `marginalized`: summed over exactly, then drawn; `crossed`: sampled."""


class BootstrapCard(Section):
    """The bootstrap of the maximum-likelihood estimate."""

    replicas: Annotated[int, Field(ge=2, le=10_000_000)] = 1000
    """Bootstrap samples of the far-detector events."""


class ReportCard(Section):
    """Figures and tables."""

    predictive_draws: Count = 200
    """Posterior draws whose simulated spectra the report shows."""
