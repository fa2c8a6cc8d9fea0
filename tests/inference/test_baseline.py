"""Density and the like as parameters: gradients, chains, and parameters that are none."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro.infer import MCMC, NUTS, init_to_value

from bayesxs.detector.density import Sample
from bayesxs.inference.channel import log_likelihood
from bayesxs.inference.model import far_detector_model, initial_values
from bayesxs.inference.priors import Flat, Gaussian, log_density, prior_distribution
from bayesxs.physics.oscillation import DUNE


@pytest.fixture(scope="module")
def whole(events, priors, response, channel_of):
    """The events with every shared energy: no compression to the priors of one density."""
    folded = response(Sample(), events.lepton_energy, events.z)
    return channel_of(Sample(), folded, priors, compress=False)


def at(channel, **fields):
    return replace(channel, baseline=channel.baseline._replace(**fields))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", DUNE._fields)
def test_gradient_by_the_baseline_is_a_difference_quotient(
    whole, channel, nature, name, compressed
):
    chosen = channel if compressed else whole
    value = getattr(DUNE, name)

    def f(x):
        return log_likelihood([at(chosen, **{name: x})], nature)

    f(value)  # what was compiled for a number must not be taken for the traced one
    found = jax.grad(f)(jnp.asarray(value))
    step = 1e-4 * value
    quotient = (f(value + step) - f(value - step)) / (2.0 * step)
    assert found == pytest.approx(float(quotient), rel=1e-4)
    assert found != 0.0
    assert f(1.1 * value) != f(value)


def test_compression_hardly_changes_the_slope(whole, channel, nature):
    one, other = (
        jax.grad(lambda rho, c=c: log_likelihood([at(c, density=rho)], nature))(2.848)
        for c in (whole, channel)
    )
    assert one == pytest.approx(float(other), abs=0.02 * abs(float(one)) + 1e-3)


UNPHYSICAL = [
    {"s2_13": 4.0},
    {"s2_13": -1e-6},
    {"s2_12": 1.1},
    {"s2_23": -0.2},
    {"dm21": -7e-5},
]


@pytest.mark.parametrize("changes", UNPHYSICAL)
def test_parameters_that_are_no_mixing_have_no_likelihood(channel, nature, changes):
    names = ("s2_12", "s2_13", "s2_23", "dcp", "dm21", "dm31")

    def f(values):
        return log_likelihood([channel], nature._replace(**dict(zip(names, values, strict=True))))

    point = jnp.array([float(getattr(nature._replace(**changes), n)) for n in names])
    value, slope = jax.value_and_grad(f)(point)
    assert value == -jnp.inf
    assert np.all(np.isfinite(slope))


def test_a_negative_density_has_no_likelihood(channel, nature):
    f = jax.value_and_grad(lambda rho: log_likelihood([at(channel, density=rho)], nature))
    value, slope = f(-0.1)
    assert value == -jnp.inf
    assert np.isfinite(slope)


def test_edges_of_the_range_have_a_likelihood_with_slopes(channel, nature):
    for changes in ({"s2_13": 0.0}, {"dm21": 0.0}, {"s2_12": 1.0}):
        value, slope = jax.value_and_grad(lambda p: log_likelihood([channel], p))(
            type(nature)(*map(jnp.asarray, nature._replace(**changes)))
        )
        assert np.isfinite(value)
        assert all(np.isfinite(part) for part in slope)


def test_density_is_sampled_with_the_rest(whole, nature):
    """Its posterior is its prior, which the events hardly narrow; dm31 is what it is without."""

    def model():
        dm31 = numpyro.sample("dm31", dist.Uniform(2.2e-3, 2.9e-3))
        rho = numpyro.sample("rho", dist.Normal(2.848, 0.06))
        parameters = nature._replace(dm31=dm31)
        numpyro.factor("far", log_likelihood([at(whole, density=rho)], parameters))

    mcmc = MCMC(NUTS(model), num_warmup=200, num_samples=400, progress_bar=False)
    mcmc.run(jax.random.key(5))
    draws = mcmc.get_samples()
    # 400 draws of little correlation: false alarm below 1e-4 at five standard errors
    assert np.mean(draws["rho"]) == pytest.approx(2.848, abs=5 * 0.06 / 15.0)
    assert np.std(draws["rho"]) == pytest.approx(0.06, rel=0.25)
    assert np.std(draws["dm31"]) > 0.0


def test_chains_of_a_parameter_on_its_edge_start_inside(channel, nature):
    priors = {"s2_13": Flat(0.0, 0.1), "dm21": Gaussian(0.0, 2e-6)}
    start = initial_values(priors, nature._replace(s2_13=0.0, dm21=0.0))
    for name, prior in priors.items():
        assert np.isfinite(log_density(name, prior, start[name]))
        assert prior_distribution(name, prior).support(start[name])
        assert start[name] > 0.0
    model = NUTS(
        lambda: far_detector_model([channel], priors, nature),
        init_strategy=init_to_value(values=start),
    )
    mcmc = MCMC(model, num_warmup=20, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.key(2))
    draws = mcmc.get_samples()
    assert np.std(draws["s2_13"]) > 0.0
    assert np.min(draws["dm21"]) > 0.0
