"""Expected counts as arrays: against sums written out, and slopes against automatic ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.detector.count_modes import (
    POSITIVE_FLOOR,
    TOLERANCE,
    CountModes,
    compressed,
    positive,
)
from bayesxs.detector.rates import Part, Rates, make_rates
from bayesxs.inference.asimov import DENSITY, coordinates, parameters
from bayesxs.physics.nufit import NUFIT_6_0
from bayesxs.physics.oscillation import Baseline, OscillationParameters, probability

ENERGY = np.linspace(0.6, 6.0, 7)
PARTS = (
    Part(0, ("mu", "e", False), 1),
    Part(1, ("mu", "mu", True), 0),
    Part(0, None, 0),
    Part(1, ("e", "tau", False), 1),
)


@pytest.fixture(scope="module")
def rates() -> Rates:
    rng = np.random.default_rng(3)
    events = list(rng.random((4, 5, 7)))
    inside = np.ones((2, 5), bool)
    inside[1, 3:] = False
    modes = rng.normal(0.0, 0.1, (2, 3, 7))
    widths = rng.random((4, 2)) / 10.0
    return make_rates(ENERGY, events, PARTS, widths, inside, Baseline(), modes)


ETA = np.random.default_rng(4).normal(size=8)


def test_counts_are_the_sum_over_components_and_energies(rates: Rates) -> None:
    baseline = Baseline(density=3.1)
    wanted = np.zeros((2, 5))
    for c, part in enumerate(PARTS):
        p = np.ones(7)
        if part.fate:
            out = probability(
                *part.fate[:2], NUFIT_6_0, ENERGY, baseline, antineutrino=part.fate[2]
            )
            p = np.asarray(out)
        shape = 1.0 + sum(
            ETA[2 + 3 * part.flux + m] * np.asarray(rates.modes)[part.flux, m] for m in range(3)
        )
        scale = 1.0 + np.asarray(rates.widths)[c] @ ETA[:2]
        wanted[part.sample] += scale * (np.asarray(rates.events)[c] @ (p * shape))
    np.testing.assert_allclose(rates.counts(NUFIT_6_0, 3.1, ETA), wanted, rtol=1e-12)
    analysed = np.concatenate([wanted[0], wanted[1, :3]])
    np.testing.assert_allclose(rates(NUFIT_6_0, 3.1, ETA), analysed, rtol=1e-12)
    parts = np.asarray(rates.by_component(NUFIT_6_0))
    np.testing.assert_allclose(rates.counts(NUFIT_6_0)[1], parts[1] + parts[3], rtol=1e-12)


MOVES = np.random.default_rng(5).normal(0.0, 0.05, (4, 3, 5, 7))
XI = np.array([0.6, -1.1, 0.4, 0.9])


@pytest.fixture(scope="module")
def uncertain(rates: Rates) -> Rates:
    """Two components share three modes, one has a single mode of its own, one has none."""
    events = np.asarray(rates.events)
    own = [MOVES[0], MOVES[1], None, MOVES[3, :1]]
    firsts = (0, 0, 0, 3)

    def modes(c: int) -> CountModes | None:
        if own[c] is None:
            return None
        errors = np.sqrt(events[c].sum(axis=1))
        return compressed(own[c] * events[c], errors, np.eye(7), firsts[c])

    with pytest.MonkeyPatch.context() as patch:  # nothing is left out
        patch.setattr("bayesxs.detector.count_modes.TOLERANCE", 1e-12)
        return rates.with_modes([modes(c) for c in range(4)])


def test_modes_add_to_the_events(rates: Rates, uncertain: Rates) -> None:
    """As components whose events are changed, written out; without modes nothing changes."""
    assert uncertain.nuisances == len(ETA) + 4
    zero = np.append(ETA, np.zeros(4))
    np.testing.assert_array_equal(uncertain(NUFIT_6_0, 3.1, zero), rates(NUFIT_6_0, 3.1, ETA))
    events = np.asarray(rates.events).copy()
    events[0] *= 1.0 + np.einsum("kbe,k->be", MOVES[0], XI[:3])
    events[1] *= 1.0 + np.einsum("kbe,k->be", MOVES[1], XI[:3])
    events[3] *= 1.0 + XI[3] * MOVES[3, 0]
    inside = np.ones((2, 5), bool)
    inside[1, 3:] = False
    args = (np.asarray(rates.widths), inside, Baseline(), np.asarray(rates.modes))
    moved = make_rates(ENERGY, list(events), PARTS, *args)(NUFIT_6_0, 3.1, ETA)
    found = uncertain(NUFIT_6_0, 3.1, np.append(ETA, XI))
    np.testing.assert_allclose(found, moved, rtol=1e-9)


def test_few_numbers_stand_for_modes() -> None:
    """What smooth modes lose is below the tolerance, of spectra like those that were given."""
    rng = np.random.default_rng(6)
    bins, energies = np.linspace(0.0, 1.0, 40)[:, None], np.linspace(0.0, 1.0, 60)
    shapes = [np.sin((1 + k) * bins + 2.0 * energies) * np.exp(-energies * bins) for k in range(6)]
    modes, errors = np.array(shapes), 10.0 + 90.0 * bins.ravel()

    def spectra(number: int) -> np.ndarray:
        frequency, phase = rng.uniform(2.0, 4.0, number), rng.uniform(0.0, np.pi, number)
        return np.sin(np.outer(frequency, energies) + phase[:, None]) ** 2

    small = compressed(modes, errors, spectra(100))
    assert small.core.size + small.right.size < 0.05 * modes.size
    fresh = spectra(50)
    for xi in rng.normal(size=(10, 6)):
        wanted = np.einsum("kbe,k,ne->nb", modes, xi, fresh)
        lost = (np.asarray(small.added(jnp.asarray(fresh), jnp.asarray(xi))) - wanted) / errors
        assert np.linalg.norm(lost) / np.sqrt(len(fresh)) < TOLERANCE * np.linalg.norm(xi)


def test_counts_stay_above_zero() -> None:
    counts, added = jnp.array([4.0, 4.0, 4.0, 0.0]), jnp.array([-3.0, -3.9, -40.0, -1.0])
    found = np.asarray(positive(counts, added))
    assert found[0] == 1.0 and np.all(found[:3] > 0.0) and found[3] == 0.0
    # Value and slope go on where it bends
    edge = (POSITIVE_FLOOR - 1.0) * 4.0
    log_slope = jax.grad(lambda a: jnp.log(positive(jnp.array(4.0), a)))
    below, above = (float(log_slope(edge + step)) for step in (-1e-9, 1e-9))
    assert below == pytest.approx(above, rel=1e-6)


@pytest.mark.parametrize("size", [1.0, 30.0])  # the latter where counts are continued
def test_slopes_are_the_automatic_ones(rates: Rates, uncertain: Rates, size: float) -> None:
    compare_slopes(rates, ETA)
    compare_slopes(uncertain, np.append(ETA, size * XI))


def compare_slopes(rates: Rates, eta: np.ndarray) -> None:
    x = jnp.asarray(coordinates(NUFIT_6_0, 2.9))

    def point(x: jax.Array) -> tuple[OscillationParameters, jax.Array]:
        return parameters(x), x[DENSITY]

    def counts(x: jax.Array, eta: jax.Array) -> jax.Array:
        return rates(*point(x), eta)

    found = rates.linearised(point, x, jnp.asarray(eta))
    slopes = jax.jacfwd(counts, argnums=(0, 1))(x, jnp.asarray(eta))
    np.testing.assert_allclose(found[0], counts(x, jnp.asarray(eta)), rtol=1e-12)
    for ours, automatic in zip(found[1:], slopes, strict=True):
        np.testing.assert_allclose(ours, automatic, rtol=1e-9, atol=1e-12)


def test_transformations_go_through(rates: Rates) -> None:
    # A pytree whose arrays are arguments: one program serves other exposures
    double = jax.tree.map(lambda leaf: leaf, rates)
    many = jax.vmap(lambda dcp: rates(NUFIT_6_0._replace(dcp=dcp)))(jnp.array([0.0, 1.0]))
    traced = jax.jit(lambda r, p: r(p))(double, NUFIT_6_0._replace(dcp=1.0))
    np.testing.assert_allclose(many[1], traced, rtol=1e-12)
