"""The far-detector likelihood in own models: NumPyro, blackjax and a nested sampler."""

from __future__ import annotations

from functools import partial

import arviz as az
import blackjax
import dynesty
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.infer import MCMC, NUTS, SVI, Predictive, Trace_ELBO
from numpyro.infer.autoguide import AutoNormal
from numpyro.infer.util import log_density
from scipy import stats

from bayesxs.inference.likelihood import Likelihood
from bayesxs.inference.model import predictive_model
from bayesxs.inference.priors import Flat, Gaussian
from bayesxs.physics.nufit import NUFIT_6_0

# What NumPyro or JAX will refuse one day is refused today
pytestmark = pytest.mark.filterwarnings("error::DeprecationWarning")

DM31, WIDTH, RHO, ERROR = 2.5e-3, 1e-4, 2.848, 0.3


@pytest.fixture(scope="module")
def far(toy_likelihood) -> Likelihood:
    """One sample, compressed for dm31 at one density."""
    return toy_likelihood({"dm31": (2.4e-3, 2.6e-3)}, number=1)


def model(far, data=None):
    """Sample dm31, the density of matter and all nuisances."""
    dm31 = numpyro.sample("dm31", dist.Normal(DM31, WIDTH))
    rho = numpyro.sample("rho", dist.Normal(RHO, ERROR))
    eta = far.sample_nuisances()
    theta = far.parameters._replace(dm31=dm31)
    numpyro.sample("far", far.distribution(theta, eta, density=rho), obs=data)


def log_posterior(far, units):
    """Return prior times likelihood of dm31 and the density, in units of their prior widths."""
    a, b = units
    value = far.log_prob({"dm31": DM31 + WIDTH * a}, density=RHO + ERROR * b)
    return value - 0.5 * (a**2 + b**2) - np.log(2.0 * np.pi)


@pytest.fixture(scope="module")
def grid(far) -> tuple[float, np.ndarray, np.ndarray]:
    """Log evidence, means and standard deviations of dm31 and density by quadrature."""
    axis = np.linspace(-6.0, 6.0, 61)
    a, b = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    log = np.asarray(jax.jit(jax.vmap(lambda u: log_posterior(far, u)))(np.stack([a, b], axis=1)))
    weight = np.exp(log - log.max())
    points = np.stack([a, b])
    mean = points @ weight / weight.sum()
    sd = np.sqrt(((points - mean[:, None]) ** 2) @ weight / weight.sum())
    return float(np.log(weight.sum()) + log.max() + 2.0 * np.log(axis[1] - axis[0])), mean, sd


def test_the_model_has_prior_times_likelihood(far):
    values = {"dm31": 2.55e-3, "rho": 2.9, "cross_section_0": 0.3, "flux_0": -0.2}
    trace = handlers.trace(handlers.substitute(model, values)).get_trace(far, far.data)
    found = trace["far"]["fn"].log_prob(trace["far"]["value"])
    expected = far.log_prob({"dm31": 2.55e-3}, [0.3, -0.2], density=2.9)
    assert found == pytest.approx(float(expected), rel=1e-12)
    groups = {n: s["infer"].get("group") for n, s in trace.items() if n in values}
    assert groups["flux_0"] == "flux"
    assert groups["cross_section_0"] == "cross_section"


def test_nuts_and_predictions(far):
    mcmc = MCMC(NUTS(model), num_warmup=100, num_samples=100, progress_bar=False)
    mcmc.run(jax.random.key(0), far, far.data)
    draws = mcmc.get_samples()
    assert set(draws) == {"dm31", "rho", "cross_section_0", "flux_0"}
    assert all(np.std(values) > 0.0 for values in draws.values())
    size = far.bins[0].size
    after = Predictive(model, draws)(jax.random.key(1), far)["far"]
    before = Predictive(model, num_samples=50)(jax.random.key(1), far)["far"]
    assert after.shape == (100, size)
    assert before.shape == (50, size)
    for counts in (before, after):
        assert np.all(counts.sum(axis=1) == far.sizes[0])
        assert np.all(counts >= 0)
    tree = az.from_numpyro(mcmc, posterior_predictive={"far": after}, log_likelihood=False)
    assert tree["posterior_predictive"]["far"].shape == (1, 100, size)
    assert tree["observed_data"]["far"] == far.sizes[0]


def test_the_packages_own_model_predicts(far):
    """Draws of the model that is sampled have all sites of the one that predicts."""
    priors = {"dm31": Gaussian(DM31, WIDTH), "s2_23": Flat(0.3, 0.7)}
    sites = handlers.trace(handlers.seed(far.model(priors), 0)).get_trace()
    drawn = {
        name: jnp.repeat(jnp.asarray(site["value"])[None], 4, axis=0)
        for name, site in sites.items()
        if not site.get("is_observed", False)
    }
    found = Predictive(far.model(priors, observed=False), drawn)(jax.random.key(1))
    np.testing.assert_array_equal(found["far"].sum(axis=1), far.sizes[0])
    away = np.abs(found["s2_23"] - 0.5)
    np.testing.assert_allclose(away, np.abs(drawn["s2_23_offset"]), rtol=1e-12)
    assert len(np.unique(found["far"], axis=0)) == 4


def test_octants_of_predictions_follow_odds_or_prior():
    """False alarm 1e-4 of the first, 6e-7 of the second; the seeds are fixed."""
    prior = Gaussian(0.48, 0.03)
    priors = {"dm31": Flat(2.4e-3, 2.6e-3), "s2_23": prior}

    def mixing(parameters, eta):
        return dist.Delta(jnp.asarray(parameters.s2_23))

    unobserved = partial(predictive_model, mixing, priors, NUFIT_6_0)
    alone = Predictive(unobserved, num_samples=4000)(jax.random.key(2))
    assert stats.kstest(alone["far"], stats.norm(*prior).cdf).pvalue > 1e-4
    many = jnp.ones(4000)
    draws = {"dm31": 2.5e-3 * many, "s2_23_offset": -0.04 * many, "octant_log_odds": 1.2 * many}
    found = np.asarray(Predictive(unobserved, draws)(jax.random.key(3))["far"])
    np.testing.assert_allclose(np.unique(found), [0.46, 0.54], rtol=1e-12)
    share, wanted = np.mean(found < 0.5), 1.0 / (1.0 + np.exp(-1.2))
    assert abs(share - wanted) < 5.0 * np.sqrt(wanted * (1.0 - wanted) / 4000)


def test_counts_can_be_observed(far):
    counts = far.distribution({}).sample(jax.random.key(4))

    def potential(dm31):
        values = {"dm31": dm31, "rho": 2.9, "cross_section_0": 0.3, "flux_0": -0.2}
        return log_density(model, (far, counts), {}, values)[0]

    value, slope = jax.jit(jax.value_and_grad(potential))(2.55e-3)
    expected = far.distribution({"dm31": 2.55e-3}, [0.3, -0.2], density=2.9).log_prob(counts)
    prior = stats.norm([DM31, RHO, 0.0, 0.0], [WIDTH, ERROR, 1.0, 1.0])
    expected += prior.logpdf([2.55e-3, 2.9, 0.3, -0.2]).sum()
    assert value == pytest.approx(float(expected), rel=1e-12)
    step = 1e-7
    quotient = (potential(2.55e-3 + step) - potential(2.55e-3 - step)) / (2.0 * step)
    assert slope == pytest.approx(float(quotient), rel=1e-4)


def test_variational_inference(far, grid):
    def two(far, data):
        a = numpyro.sample("a", dist.Normal())
        b = numpyro.sample("b", dist.Normal())
        theta = far.parameters._replace(dm31=DM31 + WIDTH * a)
        numpyro.sample("far", far.distribution(theta, density=RHO + ERROR * b), obs=data)

    guide = AutoNormal(two)
    svi = SVI(two, guide, numpyro.optim.Adam(0.03), Trace_ELBO(num_particles=4))
    result = svi.run(jax.random.key(2), 400, far, far.data, progress_bar=False)
    evidence, mean, sd = grid
    median = guide.median(result.params)
    # Adam's noise at this step is a fifth of a standard deviation
    assert median["a"] == pytest.approx(mean[0], abs=0.5 * sd[0])
    assert median["b"] == pytest.approx(mean[1], abs=0.5 * sd[1])
    # The bound is below the evidence, by little as the posterior is nearly normal
    bound = -np.mean(result.losses[-200:])
    assert evidence - 1.0 < bound < evidence + 0.1


def test_blackjax(far, grid):
    def log_density(units):
        return log_posterior(far, units)

    warm_key, key = jax.random.split(jax.random.key(3))
    adaptation = blackjax.window_adaptation(blackjax.nuts, log_density)
    (state, tuned), _ = adaptation.run(warm_key, jnp.zeros(2), num_steps=200)
    step = blackjax.nuts(log_density, **tuned).step
    keys = jax.random.split(key, 600)
    _, states = jax.lax.scan(lambda s, k: (step(k, s)[0],) * 2, state, keys)
    draws = np.asarray(states.position)
    _, mean, sd = grid
    # Fixed seed; with 150 effective draws of 600, five standard errors: false alarm 1e-6
    assert np.all(np.abs(draws.mean(axis=0) - mean) < 5.0 * sd / np.sqrt(150.0))
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.3)


def test_nested_sampling(far, grid):
    log_likelihood = jax.jit(
        lambda units: far.log_prob(
            {"dm31": DM31 + WIDTH * units[0]}, density=RHO + ERROR * units[1]
        )
    )
    normal = jax.jit(jax.scipy.special.ndtri)
    sampler = dynesty.NestedSampler(
        lambda units: float(log_likelihood(units)),
        lambda cube: np.asarray(normal(cube)),
        2,
        nlive=100,
        rstate=np.random.default_rng(5),
    )
    sampler.run_nested(dlogz=0.1, print_progress=False)
    found = sampler.results
    evidence, mean, sd = grid
    # Fixed seed; five of the sampler's own standard errors: false alarm 1e-6
    assert found.logz[-1] == pytest.approx(evidence, abs=5.0 * found.logzerr[-1])
    weights = found.importance_weights()
    assert np.all(np.abs(weights @ found.samples - mean) < 0.5 * sd)
