"""The section `[uncertainty]`: sources of the modes of the learned cross section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bayesxs.cards.section import Section


class CertainCard(Section):
    """The learned cross section is taken as it is."""

    type: Literal["none"] = "none"
    """The learned cross section is taken as certain."""


class _UncertainCard(Section):
    """The keys of every source of cross-section modes."""

    share: Annotated[float, Field(gt=0.5, lt=1)] = 0.999
    """Share of the far-detector variance that the modes keep."""
    modes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Largest number of modes."""
    discretization: Annotated[float, Field(gt=0, le=0.1)] = 2e-4
    """Relative error of a near bin from quadrature, interpolation and projection."""


class EnsembleCard(_UncertainCard):
    """The spread of network.members networks: other initial weights, other near-data replicas."""

    type: Literal["ensemble"] = "ensemble"
    """Spread of the `network.members` networks."""


class GaussianProcessCard(_UncertainCard):
    """A Gaussian process conditioned on the near data, in closed form."""

    type: Literal["gaussian_process"] = "gaussian_process"
    """Gaussian process conditioned on the near-detector data."""
    kernel: Literal["matern32", "matern52", "squared_exponential"] = "matern32"
    """Kernel of the process, roughest first."""
    divergence: Annotated[float, Field(ge=0, le=10)] = 0.5
    """Prior standard deviation of the helicity function SS, the divergence of the current, over
    half of T₊ + T₋ + 2LL, where leptons share networks (`network.share`); 0 takes the current as
    conserved."""
    joint: bool = False
    """Whether near and far data are one model, in which near data inform on the flux, too.

    The near data's likelihood of the flux shape is exact, the cross section being integrated out.
    Otherwise near data inform on the cross section at any given flux, and the flux keeps its prior.
    """


class LaplaceCard(_UncertainCard):
    """Laplace's approximation around the trained network."""

    type: Literal["laplace"] = "laplace"
    """Laplace's approximation around the trained network."""


class ModesFileCard(Section):
    """Mean and modes that another run left in its cross_section.nc."""

    type: Literal["file"] = "file"
    """Mean and modes of another run."""
    path: Annotated[str, Field(min_length=1)]
    """Path of that run's `cross_section.nc`."""
