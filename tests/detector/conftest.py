"""The default grids, the truth and its operator, built once for the whole room."""

from __future__ import annotations

import numpy as np
import pytest

from bayesxs.constants import MUON_MASS
from bayesxs.detector.grid import (
    EnergyGrid,
    LeptonGrid,
    NodeGrid,
    energy_grid,
    lepton_grid,
    node_grid,
)
from bayesxs.detector.operator import Operator, Quadrature, build_operator, row_quadrature
from bayesxs.inputs.flux import Flux, embedded_dune_flux
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import probability
from bayesxs.physics.structure_functions import PartonFunctions
from support.structure_functions import Smooth


@pytest.fixture(scope="session")
def flux() -> Flux:
    """DUNE near-detector flux, neutrino mode."""
    return embedded_dune_flux("neutrino")


@pytest.fixture(scope="session")
def energies(flux: Flux) -> EnergyGrid:
    """Default shared energies, 0.5 to 10 GeV."""
    return energy_grid(flux.energy, 0.5, 10.0)


@pytest.fixture(scope="session")
def leptons() -> LeptonGrid:
    """Default 80 x 80 bins."""
    return lepton_grid(10.0, 80, 80, MUON_MASS)


@pytest.fixture(scope="session")
def nodes() -> NodeGrid:
    """Default 48 x 48 nodes."""
    return node_grid(10.0, 48, 48, MUON_MASS)


@pytest.fixture(scope="session")
def near_flux(flux: Flux, energies: EnergyGrid) -> np.ndarray:
    """Near-detector nu_mu at the shared energies."""
    return flux(14, energies.points)


@pytest.fixture(scope="session")
def far_flux(near_flux: np.ndarray, energies: EnergyGrid) -> np.ndarray:
    """Oscillated nu_mu at the shared energies (NuFit-6.0, 1300 km)."""
    return near_flux * np.asarray(probability("mu", "mu", nufit_6_0(), energies.points))


@pytest.fixture(scope="session")
def truth() -> PartonFunctions:
    """Quark-parton argon with the embedded CT18NNLO."""
    return PartonFunctions(embedded_ct18nnlo(), 18.0, 22.0, MUON_MASS)


@pytest.fixture(scope="session")
def smooth() -> Smooth:
    """Structure functions in closed form."""
    return Smooth()


@pytest.fixture(scope="session")
def bins(leptons: LeptonGrid, energies: EnergyGrid) -> Quadrature:
    """Quadrature with the bin centers as rows."""
    return row_quadrature(*leptons.rows, energies, MUON_MASS)


@pytest.fixture(scope="session")
def operator(bins: Quadrature, energies: EnergyGrid, nodes: NodeGrid) -> Operator:
    """Operator with the bin centers as rows."""
    return build_operator(bins, energies, nodes)
