"""Choices of an experiment, each with a default that is right for DUNE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from bayesxs.detector.grid import EnergyGrid
from bayesxs.detector.smearing import Acceptance, ResponseParameters
from bayesxs.inference.priors import Flat, Prior
from bayesxs.inputs.covariance import flux_modes, load_covariance, parametric_covariance
from bayesxs.types import Floats as Float

# The sampled parameters; others stay at the truth
DEFAULT_PRIORS: Final[Mapping[str, Prior]] = {
    "dm31": Flat(2.0e-3, 3.0e-3),
    "s2_23": Flat(0.0, 1.0),
}


@dataclass(frozen=True)
class Grid:
    """Sizes of quadrature and interpolation grids.

    Attributes:
        energy_order: Gauss points on each panel of neutrino energies.
        lepton_energies: near-detector bins in lepton energy.
        z: near-detector bins in z = (E_l - p_l cos theta)/M.
        nodes_x: nodes in x; where x exceeds 1, half as many again across the ridges of a nucleus.
        nodes_q2: nodes in Q^2.
        far_bins: far-detector bins in lepton energy and angle, where counts are predicted or events
            are too many to be taken one by one: 40 x 30 cost 0.6 % of the errors of dm31 and s2_23.
        x_max: upper end of Bjorken x, in [1, A]; None for what the cross sections say.

    Example:
        >>> bayesxs.Grid(nodes_x=24, nodes_q2=24).nodes_x
        24
    """

    energy_order: int = 3
    lepton_energies: int = 80
    z: int = 80
    nodes_x: int = 48
    nodes_q2: int = 48
    far_bins: tuple[int, int] = (40, 30)
    x_max: float | None = None


@dataclass(frozen=True)
class GaussianDetector:
    """Gaussian resolutions with threshold and efficiency; defaults are DUNE's for muons.

        (sigma(E)/E)^2 = resolutions.energy_resolution^2 + stochastic^2/E

    Attributes:
        resolutions: energy scale, sigma(E)/E and resolution of the angle in rad, nominal.
        sds: prior standard deviations of the three; 0 for what is known.
        acceptance: threshold, efficiency and turn-on.
        correlated: whether the near detector shares the far detector's deviations.
        bins: in reconstructed energy and angle.
        stochastic: part of the energy resolution that falls with the root of the energy,
            GeV^(1/2); of `lepton_samples` alone, in an `Experiment` it must be 0.

    Example:
        >>> detector = bayesxs.GaussianDetector(bayesxs.ResponseParameters(energy_resolution=0.1))
        >>> seen = bayesxs.Experiment(exp.flux, exp.nature, detector=detector)
    """

    resolutions: ResponseParameters = field(default_factory=ResponseParameters)
    sds: ResponseParameters = field(default_factory=lambda: ResponseParameters(0.0, 0.0, 0.0))
    acceptance: Acceptance = field(default_factory=Acceptance)
    correlated: bool = False
    bins: tuple[int, int] = (40, 30)
    stochastic: float = 0.0


class FluxUncertainty(Protocol):
    """Differences of the flux from the one assumed that are possible."""

    @property
    def near_far(self) -> float:
        """Error of the far flux over the near flux, over the error that they share."""

    def modes(self, energies: EnergyGrid) -> Float:
        """Return relative changes of unit prior width at the shared energies, shape (K, E)."""


@dataclass(frozen=True)
class ParametricFluxUncertainty:
    """Relative covariance amplitude^2 exp(-(ln E - ln E')^2 / (2 correlation_length^2)).

    Attributes:
        amplitude: relative standard deviation at every energy.
        correlation_length: in ln E.
        share: of the variance that the modes keep.
        near_far: error of the far flux over the near flux, over the error that they share.

    Example:
        >>> modes = bayesxs.ParametricFluxUncertainty(amplitude=0.05).modes(exp.energies)
        >>> modes.shape[1] == len(exp.energies.points)
        True
    """

    amplitude: float = 0.08
    correlation_length: float = 0.7
    share: float = 0.999
    near_far: float = 0.0

    def modes(self, energies: EnergyGrid) -> Float:
        """Return relative changes of unit prior width at the shared energies, shape (K, E)."""
        points = energies.points
        covariance = parametric_covariance(points, self.amplitude, self.correlation_length)
        return flux_modes(covariance, points, 1.0 - self.share)


@dataclass(frozen=True)
class TabulatedFluxUncertainty:
    """Relative covariance in bins of energy, from a CSV or NPZ file.

    Attributes:
        path: of the file.
        share: of the variance that the modes keep.
        near_far: error of the far flux over the near flux, over the error that they share.

    Example:
        >>> np.savez("covariance.npz", energy_edges_GeV=[0.5, 10.0], covariance=[[0.0025]])
        >>> bayesxs.TabulatedFluxUncertainty("covariance.npz").modes(exp.energies).shape[0]
        1
    """

    path: str | Path
    share: float = 0.999
    near_far: float = 0.0

    def modes(self, energies: EnergyGrid) -> Float:
        """Return relative changes of unit prior width at the shared energies, shape (K, E)."""
        ends = (float(energies.edges[0]), float(energies.edges[-1]))
        return flux_modes(load_covariance(self.path, ends), energies.points, 1.0 - self.share)
