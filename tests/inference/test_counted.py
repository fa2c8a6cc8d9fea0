"""The likelihood of counted samples: against SciPy, in transformations and in NumPyro."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro.infer.util import log_density
from scipy.stats import poisson

import bayesxs
from bayesxs.inference.counted import CountedLikelihood


@pytest.fixture(scope="module")
def likelihood() -> CountedLikelihood:
    return bayesxs.counted_likelihood(bayesxs.dune_samples(1.0), key=jax.random.key(5))


ETA = {"nue_sig": 0.7, "nc_bgdis": -1.1}


def test_it_is_a_product_of_poissons(likelihood: CountedLikelihood) -> None:
    theta = {"dcp": 0.4, "dm31": -2.45e-3}
    samples = bayesxs.dune_samples(1.0)
    pulls = [ETA.get(name, 0.0) for name in samples.nuisances]
    expected = samples.expected(bayesxs.NUFIT_6_0._replace(**theta), 2.7, np.array(pulls))
    wanted = poisson.logpmf(np.asarray(likelihood.counts), np.asarray(expected)).sum()
    assert likelihood.log_prob(theta, ETA, density=2.7) == pytest.approx(wanted, rel=1e-12)
    own = likelihood.distribution(theta, ETA, density=2.7)
    assert own.log_prob(likelihood.counts) == pytest.approx(wanted, rel=1e-12)
    assert own.sample(jax.random.key(1), (3,)).shape == (3, len(likelihood.counts))
    parts = likelihood.predict(theta, ETA, density=2.7)
    np.testing.assert_allclose(np.concatenate(list(parts.values())), expected, rtol=1e-12)


def test_transformations_go_through(likelihood: CountedLikelihood) -> None:
    def of(own: CountedLikelihood, dm31: jax.Array) -> jax.Array:
        return own.log_prob({"dm31": dm31}, density=2.8)

    at = jnp.array([2.45e-3, 2.5e-3, -2.5e-3])
    many = jax.jit(jax.vmap(of, (None, 0)))(likelihood, at)
    np.testing.assert_allclose(many[1], of(likelihood, at[1]), rtol=1e-12)
    step = 1e-8
    slope = jax.grad(of, argnums=1)(likelihood, at[1])
    wanted = (of(likelihood, at[1] + step) - of(likelihood, at[1] - step)) / (2.0 * step)
    assert slope == pytest.approx(float(wanted), rel=1e-4)


def test_parameters_that_are_no_mixing_have_no_likelihood(likelihood: CountedLikelihood) -> None:
    assert likelihood.log_prob({"s2_23": 1.2}) == -np.inf
    assert np.isfinite(jax.grad(lambda s: likelihood.log_prob({"s2_23": s}))(1.2))


def test_it_stands_in_an_own_model(likelihood: CountedLikelihood) -> None:
    def model() -> None:
        theta = {"dcp": numpyro.sample("dcp", dist.Uniform(-np.pi, np.pi))}
        eta = likelihood.sample_nuisances()
        numpyro.sample("counts", likelihood.distribution(theta, eta), obs=likelihood.counts)

    values = {"dcp": 0.3} | {n.name: 0.1 for n in likelihood.nuisances}
    total, trace = log_density(model, (), {}, values)
    prior = -np.log(2.0 * np.pi) + dist.Normal().log_prob(0.1) * len(likelihood.nuisances)
    eta = {n.name: 0.1 for n in likelihood.nuisances}
    assert total == pytest.approx(float(likelihood.log_prob({"dcp": 0.3}, eta) + prior), rel=1e-9)
    assert trace["nue_sig"]["infer"]["group"] == "normalisation"


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones(5), r"counts = shape \(5,\): shape \(264,\)"),
        (np.full(264, -1.0), "bin 0 = -1.0: a count"),
        (np.full(264, np.nan), "bin 0 = nan: a count"),
    ],
)
def test_counts_that_cannot_be(counts: np.ndarray, message: str) -> None:
    with pytest.raises(bayesxs.InputError, match=message):
        bayesxs.counted_likelihood(bayesxs.dune_samples(1.0), counts)


def test_other_counts_are_of_the_same_bins(likelihood: CountedLikelihood) -> None:
    for counts in (np.ones(263), np.ones((1, 264)), 1.0):
        with pytest.raises(bayesxs.InputError, match=r"counts = shape \(.*\): shape \(264,\)"):
            likelihood.with_counts(counts)
    many = jnp.stack([likelihood.counts, likelihood.counts + 1.0])
    found = jax.vmap(lambda n: likelihood.with_counts(n).log_prob({}))(many)
    assert found[0] == pytest.approx(float(likelihood.log_prob({})), rel=1e-12)


def test_unknown_names_are_refused(likelihood: CountedLikelihood) -> None:
    with pytest.raises(bayesxs.InputError, match="eta = nue: one of nue_sig"):
        likelihood.log_prob({}, {"nue": 1.0})
    with pytest.raises(bayesxs.InputError, match="theta = delta: one of s2_12"):
        likelihood.log_prob({"delta": 1.0})
