"""Shared by tests of experiments; a file may have a flux of its own."""

from __future__ import annotations

import numpy as np
import pytest

import bayesxs


@pytest.fixture(scope="module")
def flux() -> bayesxs.Flux:
    """Muon neutrinos about 2.5 GeV."""
    energy = np.linspace(0.25, 12.0, 48)
    return bayesxs.flux(energy, {"nu_mu": np.exp(-((energy - 2.5) ** 2) / 2.0)})
