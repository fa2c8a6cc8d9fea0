"""Points that stand for events: polynomials are summed exactly, and the phase space is covered."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from bayesxs.constants import MUON_MASS, NUCLEON_MASS
from bayesxs.detector.event_points import CELLS, ORDER, EventPoints, points_of_events
from bayesxs.physics.kinematics import (
    PhaseSpace,
    cosine_from_z,
    is_physical,
    lepton_momentum,
    z_from_cosine,
)

HIGH = 8.0


@pytest.fixture(scope="module")
def events() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lepton energies, cosines and weights, mostly forward, some where few others are."""
    rng = np.random.default_rng(0)
    energy = MUON_MASS + np.append(rng.gamma(3.0, 0.7, 30_000), rng.uniform(0.1, 7.5, 500))
    cosine = 1.0 - 2.0 * np.append(rng.beta(1.0, 12.0, 30_000), rng.uniform(size=500))
    z = z_from_cosine(energy, cosine, MUON_MASS)
    kept = is_physical(HIGH, energy, z, MUON_MASS, PhaseSpace(3.0))
    return energy[kept], cosine[kept], rng.uniform(0.5, 1.5, kept.sum())


@pytest.fixture(scope="module")
def points(events) -> EventPoints:
    return points_of_events(*events, MUON_MASS, HIGH, PhaseSpace(3.0))


def test_sums_of_polynomials_over_events_are_exact(events, points) -> None:
    energy, cosine, weight = events
    u = np.sqrt(0.5 * (1.0 - cosine))
    own_u = np.sqrt(
        np.maximum(0.5 * (1.0 - cosine_from_z(points.lepton_energy, points.z, MUON_MASS)), 0.0)
    )
    weights = points.weights(weight)
    for i in range(ORDER):
        for j in range(ORDER):
            over_events = weight @ (energy**i * u**j)
            over_points = weights @ (points.lepton_energy**i * own_u**j)
            assert over_points == pytest.approx(over_events, rel=1e-9)
    assert len(points.z) < len(energy) / 3


def test_the_log_density_is_interpolated_between_the_points(events, points) -> None:
    """Of a density that varies over the size of the cells: more than straight lines are needed."""

    def log_density(energy, z):
        return -energy + 2.0 * np.log(energy) - 20.0 * z + np.cos(3.0 * energy * z)

    energy, cosine, _ = events
    exact = log_density(energy, z_from_cosine(energy, cosine, MUON_MASS))
    found = points.shares @ log_density(points.lepton_energy, points.z)
    assert abs(np.mean(found - exact)) < 3e-4
    assert np.std(found - exact) < 3e-2 < 0.02 * np.std(exact)


def test_lone_events_and_cells_cover_the_phase_space(events, points) -> None:
    """All cells together have the volume int 2 p_l/M dE_l, and the dense ones are part of them."""
    area, _ = quad(lambda e: 2.0 * lepton_momentum(e, MUON_MASS) / NUCLEON_MASS, MUON_MASS, HIGH)
    total = points.volume[: points.dense].sum() + points.grid[2].sum()
    assert total == pytest.approx(area, rel=1e-4)
    assert points.dense + points.grid.shape[1] == CELLS**2 * ORDER**2
    alone = len(points.z) - points.dense
    assert 100 < alone < 3000
    np.testing.assert_allclose(points.shares.sum(axis=1), 1.0, rtol=1e-9)
    assert points.expected.sum() == pytest.approx(1.0, rel=1e-9)
    kept = points.shares.tocsc()[:, points.dense :]
    np.testing.assert_array_equal(kept.data, 1.0)
    assert kept.nnz == alone
