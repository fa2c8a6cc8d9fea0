"""Expected counts in lepton kinematics: samples in bins of lepton energy and angle.

Of a component, the events of true energies E_j whose lepton is seen in bin i, without oscillation,

    T_ij = exposure dE_j flux(E_j) R_ij

with R the cross section, folded with the detector's response. What a sample counts is the sum over
its components, as in reconstructed energy (`bayesxs.detector.reconstructed`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bayesxs.detector.bins import points_of_bins, sum_of_points
from bayesxs.detector.reco import RecoGrid, TrueCells
from bayesxs.detector.samples import CountedSamples
from bayesxs.detector.smearing import Acceptance, ResponseParameters, smear
from bayesxs.types import Floats as Float


@dataclass(frozen=True, eq=False)
class LeptonSamples(CountedSamples):
    """Samples in bins of lepton energy and angle.

    Attributes:
        grids: bins of each sample, all of one shape; flattened, the angle runs fastest.
    """

    grids: tuple[RecoGrid, ...] = field(kw_only=True)
    shown_energy: ClassVar[str] = "lepton energy"

    def shown(self, place: int) -> tuple[Float, NDArray[np.intp]]:
        """Return edges in lepton energy, GeV, and the one of each analysed bin."""
        grid = self.grids[place]
        energy = np.flatnonzero(self.inside[place]) // grid.shape[1]
        return grid.energy_edges[energy[0] : energy[-1] + 2], energy - energy[0]


@dataclass(frozen=True, eq=False)
class LeptonResponse:
    """The way from a cross section at points to the bins of a sample.

    Attributes:
        points: lepton energies, angles, z, and areas dE_l dz.
        grid: the bins.
        parameters: of the detector's response; None where it sees what is true.
        acceptance: threshold and efficiency.
        lepton_mass: m in GeV.
        stochastic: s of (sigma(E)/E)^2 = resolution^2 + s^2/E, GeV^(1/2).
    """

    points: TrueCells
    grid: RecoGrid
    parameters: ResponseParameters | None
    acceptance: Acceptance
    lepton_mass: float
    stochastic: float = 0.0

    def __call__(self, rows: Float) -> Float:
        """Return the bins of rows of the points, differential in (E_l, z), (bins, energies)."""
        weighted = np.asarray(self.points.areas)[:, None] * rows
        if self.parameters is None:
            return np.asarray(sparse.csr_array(sum_of_points(self.grid)) @ weighted)
        p = self.points
        where = (p.lepton_energy, p.theta, self.grid, self.acceptance, self.lepton_mass)
        parameters = self.parameters
        if self.stochastic != 0.0:
            constant, energy = np.asarray(parameters.energy_resolution), np.asarray(p.lepton_energy)
            own = np.sqrt(constant**2 + self.stochastic**2 / energy)
            parameters = parameters._replace(energy_resolution=own)
        return np.asarray(smear(parameters, weighted, *where))


def exact_response(grid: RecoGrid, lepton_mass: float) -> LeptonResponse:
    """Return the response of a detector that sees every lepton as it is."""
    points = points_of_bins(grid, lepton_mass)
    return LeptonResponse(points, grid, None, Acceptance(threshold=0.0), lepton_mass)
