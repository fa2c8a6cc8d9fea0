"""Expected counts as arrays: against sums written out, and slopes against automatic ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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


def test_slopes_are_the_automatic_ones(rates: Rates) -> None:
    x = jnp.asarray(coordinates(NUFIT_6_0, 2.9))

    def point(x: jax.Array) -> tuple[OscillationParameters, jax.Array]:
        return parameters(x), x[DENSITY]

    def counts(x: jax.Array, eta: jax.Array) -> jax.Array:
        return rates(*point(x), eta)

    found = rates.linearised(point, x, jnp.asarray(ETA))
    slopes = jax.jacfwd(counts, argnums=(0, 1))(x, jnp.asarray(ETA))
    np.testing.assert_allclose(found[0], counts(x, jnp.asarray(ETA)), rtol=1e-12)
    for ours, automatic in zip(found[1:], slopes, strict=True):
        np.testing.assert_allclose(ours, automatic, rtol=1e-9, atol=1e-12)


def test_transformations_go_through(rates: Rates) -> None:
    # A pytree whose arrays are arguments: one program serves other exposures
    double = jax.tree.map(lambda leaf: leaf, rates)
    many = jax.vmap(lambda dcp: rates(NUFIT_6_0._replace(dcp=dcp)))(jnp.array([0.0, 1.0]))
    traced = jax.jit(lambda r, p: r(p))(double, NUFIT_6_0._replace(dcp=1.0))
    np.testing.assert_allclose(many[1], traced, rtol=1e-12)
