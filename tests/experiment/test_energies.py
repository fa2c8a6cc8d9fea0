"""The shared energies resolve the oscillation, whatever the baseline."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from bayesxs.cards.build import build_experiment
from bayesxs.cards.card import load_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.detector.grid import EnergyGrid, energy_grid, unresolved
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import UNRESOLVED


def experiment(*changes, preset="default"):
    return build_experiment(load_card(None, preset, parse_overrides(changes)))


def oscillated(built, energy):
    (sample,) = built.samples
    return built.flux_at_far(sample.flux_id, energy) * built.oscillation(sample, energy)


def integrals(built, grid, power):
    """Integrate flux times probability times E^power in five windows of whole panels."""
    edges = np.linspace(0, len(built.energies.edges) - 1, 6).astype(int)
    panel = np.searchsorted(built.energies.edges, grid.points) - 1
    terms = grid.weights * oscillated(built, grid.points) * grid.points**power
    pairs = pairwise(edges)
    return np.array([terms[(panel >= a) & (panel < b)].sum() for a, b in pairs])


@pytest.mark.parametrize("length", [295.0, 1300.0, 12_000.0])
def test_integrals_against_a_fine_quadrature(length):
    built = experiment(f"oscillation.baseline_km={length}")
    fine = EnergyGrid(built.energies.edges, 24)
    for power in (0, 1):
        found, expected = (integrals(built, g, power) for g in (built.energies, fine))
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4 * expected.max())
    assert built.unresolved < 3e-3
    assert built.resolution_warning is None


def test_panels_made_for_dune_do_not_resolve_a_long_baseline():
    built = experiment("oscillation.baseline_km=12000.0")
    short = experiment().energies  # what was taken for any baseline before
    fine = EnergyGrid(built.energies.edges, 12)
    values, exact = (oscillated(built, grid.points) for grid in (short, fine))
    assert unresolved(short, values, fine, exact) > UNRESOLVED


@pytest.mark.parametrize(
    "changes",
    [
        ["oscillation.baseline_km=295.0"],
        ['priors.dm31={type="nufit"}'],
        ["oscillation.dm31=-2.4e-3", 'priors.dm31={type="nufit"}'],
    ],
)
def test_up_to_dunes_phase_energies_are_the_same(changes):
    np.testing.assert_array_equal(
        experiment(*changes).energies.points, experiment().energies.points
    )


def test_wide_priors_take_more_energies():
    wide = experiment('priors.dm31={type="flat", low=2e-3, high=9e-3}').energies
    assert len(wide.points) > 1.5 * len(experiment().energies.points)


def test_too_low_an_order_is_said():
    warning = experiment("grid.energy_order=1").resolution_warning
    assert warning is not None
    assert "grid.energy_order = 1" in warning


def test_a_phase_that_turns_too_often_is_refused():
    changes = ["oscillation.baseline_km=20000.0", 'priors.dm31={type="flat", low=1e-3, high=0.1}']
    with pytest.raises(InputError, match=r"oscillation\.baseline_km = 20000.*at most"):
        experiment(*changes)
    with pytest.raises(ValueError, match="at most"):
        energy_grid([1.0], 0.001, 10.0, turn=1e-3)
