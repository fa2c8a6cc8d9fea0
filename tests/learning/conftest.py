"""A small near detector, and structure functions in closed form to learn from it."""

from __future__ import annotations

import numpy as np
import pytest

from bayesxs.constants import MUON_MASS
from bayesxs.detector.exact import exact_response
from bayesxs.detector.grid import EnergyGrid, NodeGrid, energy_grid, lepton_grid, node_grid
from bayesxs.detector.operator import Operator, build_operator, row_quadrature
from bayesxs.inputs.flux import embedded_dune_flux
from support.structure_functions import Smooth


@pytest.fixture(scope="session")
def truth() -> Smooth:
    """Structure functions to be learned."""
    return Smooth()


@pytest.fixture(scope="session")
def energies() -> EnergyGrid:
    """Shared energies, 0.5 to 5 GeV."""
    return energy_grid(embedded_dune_flux("neutrino").energy, 0.5, 5.0, order=2)


@pytest.fixture(scope="session")
def near_flux(energies: EnergyGrid) -> np.ndarray:
    """DUNE's muon neutrinos at the shared energies."""
    return embedded_dune_flux("neutrino")(14, energies.points)


@pytest.fixture(scope="session")
def nodes() -> NodeGrid:
    """Nodes, 20 x 20."""
    return node_grid(5.0, 20, 20, MUON_MASS)


@pytest.fixture(scope="session")
def operator(energies: EnergyGrid, nodes: NodeGrid) -> Operator:
    """Operator with the centers of 24 x 24 bins as rows."""
    bins = lepton_grid(5.0, 24, 24, MUON_MASS)
    return build_operator(row_quadrature(*bins.rows, energies, MUON_MASS), energies, nodes)


@pytest.fixture(scope="session")
def observed(truth: Smooth, energies: EnergyGrid, near_flux: np.ndarray) -> np.ndarray:
    """Near spectrum of the truth, without interpolation between nodes."""
    bins = lepton_grid(5.0, 24, 24, MUON_MASS)
    quadrature = row_quadrature(*bins.rows, energies, MUON_MASS)
    return exact_response(truth, quadrature, energies) @ near_flux
