"""Events of a generator as a cross section: sums over them are integrals over what made them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesxs.constants import MUON_MASS
from bayesxs.detector.grid import energy_grid
from bayesxs.detector.template import Template, draw

ENERGIES = energy_grid(np.array([0.5, 1.0, 2.0, 4.0]), 0.5, 4.0, order=3)


def template(seed: int, number: int = 500) -> Template:
    """Return events at random."""
    rng = np.random.default_rng(seed)
    energy = rng.uniform(0.5, 4.0, number)
    rate = rng.uniform(0.0, 2.0, number)
    return Template(
        energy,
        energy * rng.uniform(0.2, 1.0, number),
        rng.uniform(0.0, 0.5, number),
        rng.uniform(0.0, 1.0, number),
        rate / rate.sum(),
        1.0 + energy,
        MUON_MASS,
    )


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.floats(-1.0, 1.0)] * 3))
def test_folding_is_a_sum_over_events_for_every_flux_that_the_energies_hold(seed, powers) -> None:
    events = template(seed)
    row = np.random.default_rng(seed + 1).integers(-1, 7, len(events.energy))

    def flux(energy):
        return 9.0 + powers[0] + powers[1] * energy + 0.2 * powers[2] * energy**2

    found = events.folded(row, 7, ENERGIES).rows @ flux(ENERGIES.points)
    each = events.rate / events.flux * flux(events.energy)
    wanted = [each[row == number].sum() for number in range(7)]
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    np.testing.assert_allclose(events.weights(ENERGIES, flux(ENERGIES.points)), each, rtol=1e-10)
    np.testing.assert_allclose(
        events.total(ENERGIES) @ flux(ENERGIES.points), each.sum(), rtol=1e-10
    )


def test_the_error_of_a_row_is_that_of_its_weights() -> None:
    events, row = template(1), np.repeat([0, 1], 250)
    flux = np.ones(len(ENERGIES.points))
    each = (events.rate / events.flux)[:250]
    found = events.relative_error(row, 3, ENERGIES, flux)
    assert found[0] == pytest.approx(np.sqrt((each**2).sum()) / each.sum(), rel=1e-12)
    assert found[2] == 0.0


def test_draws_are_without_replacement_and_in_proportion_to_weights() -> None:
    weights = np.random.default_rng(2).uniform(0.1, 1.0, 60)
    rng, number, times = np.random.default_rng(3), 12, 4000
    drawn = np.zeros(60)
    for _ in range(times):
        chosen = draw(weights, number, rng)
        assert len(np.unique(chosen)) == number
        drawn[chosen] += 1
    share = number * weights / weights.sum()
    # Sixty binomial pulls beyond four: 0.4 % of seeds
    pulls = (drawn - times * share) / np.sqrt(times * share * (1.0 - share))
    assert np.abs(pulls).max() < 4.0


def test_an_event_that_would_be_drawn_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="drawn twice"):
        draw(np.array([1.0, 1.0, 8.0]), 2, np.random.default_rng(0))
