"""Shapes only: counts given the total of each sample."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import poisson

from bayesxs.experiment.counted import counted_likelihood, dune_samples
from bayesxs.inference.asimov import (
    DCP,
    DENSITY,
    THETA23,
    Problems,
    coordinates,
    minimise,
    parameters,
)
from bayesxs.physics.nufit import NUFIT_6_0

FACTORS = (2.0, 0.5, 3.0, 1.1)


def test_poisson_is_its_totals_times_shapes() -> None:
    samples = dune_samples(0.5)
    both = [counted_likelihood(samples, key=jax.random.key(1), shape_only=s) for s in (False, True)]
    extended, shape = both
    params = NUFIT_6_0._replace(dcp=1.0, s2_23=0.55)
    eta = jnp.linspace(-1.0, 1.0, len(shape.nuisances))
    n = np.array([c.sum() for c in extended.split(extended.counts).values()])
    mu = np.array([c.sum() for c in extended.predict(params, eta).values()])
    totals = poisson.logpmf(n, mu).sum()
    wanted = extended.log_prob(params, eta) - totals
    np.testing.assert_allclose(shape.log_prob(params, eta), wanted, rtol=1e-12)
    distribution = shape.distribution(params, eta)
    np.testing.assert_allclose(distribution.log_prob(shape.counts), wanted, rtol=1e-12)
    for name, part in shape.predict(params, eta).items():
        np.testing.assert_allclose(part.sum(), shape.split(shape.counts)[name].sum(), rtol=1e-12)
    drawn = distribution.sample(jax.random.key(2), (500,))
    np.testing.assert_array_equal([c.sum(-1)[3] for c in shape.split(drawn).values()], n)
    # Means of 500 draws; 264 bins, five standard deviations: one false alarm in 7000
    rate = np.concatenate(list(shape.predict(params, eta).values()))
    assert np.all(np.abs(drawn.mean(axis=0) - rate) < 5.0 * np.sqrt(rate / 500) + 0.01)


def test_a_normalisation_of_each_sample_does_not_change_shapes() -> None:
    shape = counted_likelihood(dune_samples(0.5), shape_only=True)
    eta = {name: 1.5 for name in ("nue_sig", "nue_bg")}
    folded = tuple(factor * t for factor, t in zip(FACTORS, shape.rates.folded, strict=True))
    twice = replace(shape, rates=replace(shape.rates, folded=folded))
    theta = {"dcp": 0.5, "s2_13": 0.03}
    np.testing.assert_allclose(twice.log_prob(theta, eta), shape.log_prob(theta, eta), rtol=1e-12)


def test_shapes_are_fitted_as_a_free_normalisation_of_each_sample() -> None:
    # The smallest chi2 lies where the density does not rise
    shape = counted_likelihood(dune_samples(0.5), key=jax.random.key(3), shape_only=True)
    truth = coordinates(NUFIT_6_0, 2.848)[None]
    sd = np.full(truth.shape, np.inf)
    free = np.zeros(truth.shape, bool)
    free[:, [DCP, THETA23]] = True
    problem = Problems(np.asarray(shape.counts)[None], truth, sd, truth, free)
    found = minimise(shape.fitted, len(shape.nuisances), problem)
    assert found.converged.all()

    def height(v: jax.Array) -> jax.Array:
        x = jnp.asarray(truth[0]).at[jnp.array([DCP, THETA23])].set(v[:2])
        prior = -0.5 * jnp.sum(v[2:] ** 2)
        return shape.log_prob(parameters(x), v[2:], density=x[DENSITY]) + prior

    at = jnp.concatenate([found.x[0, jnp.array([DCP, THETA23])], found.pulls[0]])
    slope = jax.jit(jax.grad(height))
    start = jnp.concatenate([truth[0, jnp.array([DCP, THETA23])], 0.0 * found.pulls[0]])
    assert jnp.abs(slope(at)).max() < 0.01 * jnp.abs(slope(start)).max()
