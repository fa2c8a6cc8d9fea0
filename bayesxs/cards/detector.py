"""The sections `[grid]` and `[response]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bayesxs.cards.section import Section


class GridCard(Section):
    """Quadrature and interpolation grids."""

    energy_order: Annotated[int, Field(ge=1, le=12)] = 3
    """Gauss points on each panel of neutrino energies."""
    lepton_energies: Annotated[int, Field(ge=8, le=4000)] = 80
    """Near-detector bins in lepton energy."""
    z: Annotated[int, Field(ge=8, le=4000)] = 80
    """Near-detector bins in z = (E_l - p_l cos θ)/M."""
    nodes_x: Annotated[int, Field(ge=8, le=1000)] = 48
    """Nodes in x on which structure functions are evaluated; half as many again where x > 1."""
    nodes_q2: Annotated[int, Field(ge=8, le=1000)] = 48
    """Nodes in Q² on which structure functions are evaluated."""
    x_max: Annotated[float | None, Field(ge=1.0, le=300.0)] = None
    """Upper end of Bjorken x; left out, 1 for partons and 3 for nuclei."""


class NoResponse(Section):
    """The detectors see true lepton energies and angles."""

    type: Literal["none"] = "none"
    """Detectors that see true energies and angles."""


class GaussianResponse(Section):
    """Gaussian resolutions; defaults are DUNE's for muons (see `detector.smearing`)."""

    type: Literal["gaussian"] = "gaussian"
    """Gaussian resolutions with threshold and efficiency."""
    energy_resolution: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Relative resolution of the lepton energy, σ(E)/E."""
    angle_resolution_deg: Annotated[float, Field(gt=0, le=90)] = 1.0
    """Resolution of the lepton angle [degrees]."""
    threshold_GeV: Annotated[float, Field(ge=0, le=5)] = 0.03
    """Smallest kinetic energy that is seen [GeV]."""
    efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Efficiency far above the threshold."""
    turn_on_GeV: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Kinetic energy over which the efficiency rises; 0 for a step [GeV]."""
    energy_scale_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Prior standard deviation of the energy scale, relative; 0 for none."""
    energy_resolution_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Prior standard deviation of the energy resolution, relative; 0 for none."""
    angle_resolution_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Prior standard deviation of the angular resolution, relative; 0 for none."""
    correlated: bool = False
    """Whether the near detector shares the far detector's deviations."""
    energy_bins: Annotated[int, Field(ge=4, le=400)] = 40
    """Bins in reconstructed energy."""
    angle_bins: Annotated[int, Field(ge=2, le=400)] = 30
    """Bins in reconstructed angle."""
