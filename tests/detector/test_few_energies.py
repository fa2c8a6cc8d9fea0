"""Probabilities at few energies: against all energies, and their bound."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import PHASE
from bayesxs.detector.few_energies import (
    TOLERANCE,
    error_bound,
    few_energies,
    lagrange,
    with_few_energies,
)
from bayesxs.detector.samples import Component, CountedSamples
from bayesxs.physics.oscillation import Baseline, OscillationParameters, probabilities

LENGTH = 1284.9
ENERGY = np.linspace(0.5, 10.0, 120)
PAIRS = (("mu", "mu"), ("mu", "e"), ("e", "e"))
PARAMETERS = st.builds(
    OscillationParameters,
    s2_12=st.floats(0.1, 0.5),
    s2_13=st.floats(0.0, 0.2),
    s2_23=st.floats(0.2, 0.8),
    dcp=st.floats(-3.2, 3.2),
    dm21=st.floats(5e-5, 1e-4),
    dm31=st.floats(1e-3, 4.8e-3).flatmap(lambda size: st.sampled_from([size, -size])),
)


@jax.jit
def exact(params: OscillationParameters, density: float, energy: np.ndarray) -> jax.Array:
    """Probabilities of all pairs, neutrinos and antineutrinos, with exact eigenvalues."""
    baseline = Baseline(LENGTH, density)
    both = (
        probabilities(PAIRS, params, energy, baseline, antineutrino=anti, newton_steps="exact")
        for anti in (False, True)
    )
    return jnp.stack([jnp.stack(own) for own in both])


@settings(max_examples=25)
@given(PARAMETERS, st.floats(0.0, 8.0))
def test_probabilities_follow_from_few_energies(
    params: OscillationParameters, density: float
) -> None:
    """Of every pair of flavors and both signs, within the bound.

    It is one of exact probabilities: near resonances of unlikely parameters one Newton step leaves
    an error of 1e-6, which is no polynomial.
    """
    points = few_energies(ENERGY, LENGTH, 5e-3)
    assert len(points) < len(ENERGY) / 3
    few, all_of_them = (exact(params, density, e) for e in (points, ENERGY))
    found = few @ lagrange(points, ENERGY).T
    assert np.abs(found - all_of_them).max() < 2.0 * TOLERANCE


@pytest.mark.parametrize("number", [8, 12, 16])
def test_the_bound_holds_and_is_no_excuse(number: int) -> None:
    """In vacuum a probability is a constant and cos(2 t h x): the error is below, not far."""
    splitting, high, low = 4e-3, 1.0 / 0.5, 1.0 / 10.0
    reach = PHASE * splitting * LENGTH * (high - low)
    u = 0.5 * (high + low) + 0.5 * (high - low) * np.cos(np.pi * np.arange(number) / (number - 1))

    def probability(u: np.ndarray) -> np.ndarray:
        return np.sin(PHASE * splitting * LENGTH * u) ** 2

    fine = np.linspace(low, high, 4001)
    off = np.abs(lagrange(1.0 / u, 1.0 / fine) @ probability(u) - probability(fine)).max()
    assert error_bound(reach, number) / 1e4 < off < error_bound(reach, number)


def test_samples_expect_the_same_counts() -> None:
    rng = np.random.default_rng(0)
    components = tuple(
        Component(place, *pair, False, oscillates, (), (), rng.random((3, len(ENERGY))))
        for place, (pair, oscillates) in enumerate([(PAIRS[0], True), (PAIRS[1], False)])
    )
    inside = np.ones((2, 3), bool)
    baseline = Baseline(LENGTH, 2.8)
    samples = CountedSamples(("a", "b"), inside, ENERGY, components, {}, baseline)
    fewer = with_few_energies(samples)
    assert len(fewer.energy) < len(ENERGY) / 3
    params = OscillationParameters(0.3, 0.02, 0.55, 1.0, 7.5e-5, 2.5e-3)
    np.testing.assert_allclose(fewer.expected(params), samples.expected(params), rtol=1e-8)
    assert with_few_energies(samples, splitting=0.5) is samples
