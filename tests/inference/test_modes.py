"""Ordering and octant exactly: against a grid of brute force, a nested sampler, and limits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import dynesty
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from bayesxs.inference.evidence import Curvature, Proposal, bridge
from bayesxs.inference.fixed_phase import evidence_at, phase_factor
from bayesxs.inference.mode_sampling import ModeDraws, sample_modes
from bayesxs.inference.mode_starts import mode_starts, with_counts
from bayesxs.inference.mode_summaries import phase_density
from bayesxs.inference.mode_trees import mixed_tree, mode_tree
from bayesxs.inference.modes import MODES, Mode, ModePosterior, mode_posterior
from bayesxs.inference.priors import Flat, Gaussian
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.physics.oscillation import OscillationParameters
from support.mode_grid import TRUTH, alive, grid

SHORT = SamplerSettings(chains=2, warmup=100, draws=300, target_accept=0.8, record_every=100)


@pytest.fixture(scope="module")
def posterior() -> ModePosterior:
    return alive()


@pytest.fixture(scope="module")
def draws(posterior: ModePosterior) -> ModeDraws:
    return sample_modes(posterior, SHORT, jax.random.key(3))


def test_probabilities_are_those_of_a_grid(posterior: ModePosterior, draws: ModeDraws) -> None:
    logs = grid(posterior)
    wanted = np.array([logs[float(m.ordering), bool(m.upper)] for m in draws.modes])
    wanted = np.exp(wanted - logsumexp(wanted))
    assert np.all(wanted > 0.01)  # every mode is alive
    np.testing.assert_allclose(draws.probabilities, wanted, atol=0.02)
    assert np.all(draws.errors < 0.02)
    assert not np.any(draws.statistics["diverging"])
    found = draws.log_bayes_factor(lambda mode: mode.ordering > 0)
    normal = logsumexp([logs[1.0, False], logs[1.0, True]])
    inverted = logsumexp([logs[-1.0, False], logs[-1.0, True]])
    # Four standard errors and what the grid's step costs
    assert found.log == pytest.approx(normal - inverted, abs=4.0 * found.error + 0.02)


def test_bayes_factor_is_that_of_a_nested_sampler(
    posterior: ModePosterior, draws: ModeDraws
) -> None:
    center, likelihood = float(posterior.center), posterior.likelihood

    @jax.jit
    def log_l(sign: jax.Array, p: jax.Array) -> jax.Array:
        theta = OscillationParameters(
            TRUTH.s2_12, p[0], p[1], p[3], TRUTH.dm21, center + sign * p[2]
        )
        return likelihood.log_prob(theta)

    def prior(cube: np.ndarray) -> np.ndarray:
        reactor = 0.02215 + 0.002 * norm.ppf(cube[0])
        return np.array(
            [reactor, 0.36 + 0.28 * cube[1], 2.3e-3 + 4e-4 * cube[2], 2.0 * np.pi * cube[3]]
        )

    found = []
    for sign in (1.0, -1.0):
        sampler = dynesty.NestedSampler(
            lambda p, sign=sign: float(log_l(sign, p)),
            prior,
            4,
            nlive=200,
            periodic=[3],
            rstate=np.random.default_rng(7),
        )
        sampler.run_nested(dlogz=0.1, print_progress=False)
        found.append((sampler.results.logz[-1], sampler.results.logzerr[-1]))
    ours = draws.log_bayes_factor(lambda mode: bool(mode.ordering > 0))
    error = np.sqrt(ours.error**2 + sum(sd**2 for _, sd in found))
    assert ours.error < 0.1
    # Fixed seeds; four standard errors: false alarm 6e-5
    assert ours.log == pytest.approx(found[0][0] - found[1][0], abs=4.0 * error)


def quadrature(posterior: ModePosterior, mode: Mode, dcp: float) -> float:
    """Return log of the integral of likelihood times prior over z, by Gauss and Legendre."""

    def height(z: jax.Array) -> jax.Array:
        prior = -0.5 * jnp.sum(z**2) - 0.5 * len(z) * jnp.log(2.0 * jnp.pi)
        return posterior.log_likelihood(mode, z, jnp.asarray(dcp)) + prior

    top = jnp.asarray(mode_starts(posterior, (mode,), phases=(dcp,), fixed=True).z[0, 0])
    # A box about it in which the density is round, as the prior is where that is narrower
    sizes, axes = np.linalg.eigh(-np.asarray(jax.jit(jax.hessian(height))(top)))
    root = axes / np.sqrt(np.maximum(sizes, 1.0))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    at = np.array(list(product(6.5 * nodes, repeat=3))) @ root.T + np.asarray(top)
    logs = jax.jit(lambda z: jax.lax.map(height, z, batch_size=500))(jnp.asarray(at))
    volume = np.log([np.prod(w) for w in product(6.5 * weights, repeat=3)])
    return float(logsumexp(np.asarray(logs) + volume) + np.linalg.slogdet(root)[1])


@pytest.mark.parametrize(("exposure", "mode"), [(1.0, 0), (1.0, 3), (20.0, 0)])
def test_the_evidence_of_a_phase_is_that_of_a_quadrature(
    posterior: ModePosterior, exposure: float, mode: int
) -> None:
    own = posterior.likelihood
    rates = replace(own.rates, events=exposure * own.rates.events)
    rates = replace(rates, folded=tuple(exposure * t for t in own.rates.folded))
    counts = exposure * own.counts
    far = replace(posterior, likelihood=replace(own, rates=rates).with_counts(counts))
    found = evidence_at(far, MODES[mode], np.pi, np.random.default_rng(4))
    assert found.error < 0.05 and found.tail < 0.7
    # Fixed seed; four standard errors
    wanted = quadrature(far, MODES[mode], np.pi)
    assert found.log == pytest.approx(wanted, abs=4.0 * found.error + 0.002)


def test_factors_of_phases_are_those_of_the_draws(
    posterior: ModePosterior, draws: ModeDraws
) -> None:
    phases = phase_density(posterior, draws)
    for dcp in (0.0, -np.pi):
        found = phase_factor(posterior, draws, dcp, np.random.default_rng(5))
        assert found is not None
        there = phases.sel(dcp=dcp, method="nearest")
        density, error = float(there["total"]), float(there["total_error"])
        away = found.log - np.log(2.0 * np.pi * density)
        # Four standard errors; neighbors in a chain are alike, and count for half
        assert abs(away) < 4.0 * np.hypot(found.error, np.sqrt(2.0) * error / density)
        assert found.error < 0.1


def test_draws_mix_with_the_probabilities(posterior: ModePosterior, draws: ModeDraws) -> None:
    modes = mode_tree(posterior, draws)
    chosen = mixed_tree(modes, np.random.default_rng(1))["posterior"]
    assert chosen["sin2_theta23"].dims == ("chain", "draw")
    upper = (chosen["sin2_theta23"] > 0.5).values
    normal = (chosen["dm31"] > 0.0).values
    size = upper.size
    for mode, probability in zip(draws.modes, draws.probabilities, strict=True):
        share = np.mean((normal == (mode.ordering > 0)) & (upper == bool(mode.upper)))
        # Binomial, five standard deviations: one false alarm in a million
        assert (
            abs(share - probability) < 5.0 * np.sqrt(probability * (1 - probability) / size) + 1e-9
        )
    inverted = mixed_tree(modes, np.random.default_rng(1), "inverted")["posterior"]
    assert np.all(inverted["dm31"] < 0.0)
    for mode in draws.modes:
        own = modes["posterior"].to_dataset().sel(mode=mode.name)
        assert np.all((own["sin2_theta23"] > 0.5) == bool(mode.upper))
        assert np.all(np.sign(own["dm31"]) == mode.ordering)
    assert float(np.abs(chosen["jarlskog"]).max()) < 0.05  # 0.033 at most in nature


@pytest.mark.parametrize("prior", [Flat(0.3, 0.7), Gaussian(0.55, 0.04)])
def test_octants_of_a_prior_are_parts_of_it(
    posterior: ModePosterior, prior: Flat | Gaussian
) -> None:
    own = mode_posterior(posterior.likelihood, {"s2_23": prior})
    parts = np.exp([float(own.log_prior(mode)) for mode in MODES])
    assert parts.sum() == pytest.approx(1.0)
    if isinstance(prior, Gaussian):
        assert parts[1] == pytest.approx(0.5 * norm.cdf(0.05 / 0.04), rel=1e-9)
    z = jnp.linspace(-3.0, 3.0, 7)
    s2_23 = jax.jit(lambda mode, z: jax.vmap(lambda u: own.values(mode, u[None])[0]["s2_23"])(z))
    for mode in MODES:
        values = np.asarray(s2_23(mode, z))
        assert np.all(np.diff(values) > 0.0)
        low, high = (0.5, 1.0) if mode.upper else (0.0, 0.5)
        assert np.all((values > low) & (values < high))
        # The prior's probability below each value is that of z, within the octant
        cdf = (
            (lambda s: (s - 0.3) / 0.4)
            if isinstance(prior, Flat)
            else (lambda s: norm.cdf((s - 0.55) / 0.04))
        )
        ends = [cdf(max(low, 0.3)), cdf(min(high, 0.7))] if isinstance(prior, Flat) else None
        ends = ends or [cdf(low), cdf(high)]
        part = (cdf(values) - ends[0]) / (ends[1] - ends[0])
        np.testing.assert_allclose(part, norm.cdf(np.asarray(z)), atol=1e-9)
        place = own.place(mode, {"s2_23": values[2], "dm31": 0.0})
        assert place[0] == pytest.approx(float(z[2]), abs=1e-6)


def test_orderings_are_mirrored(posterior: ModePosterior) -> None:
    z = jnp.zeros(posterior.size)
    normal, inverted = (float(posterior.values(Mode(s, 0.0), z)[0]["dm31"]) for s in (1.0, -1.0))
    assert normal + inverted == pytest.approx(2.0 * float(TRUTH.s2_12) * float(TRUTH.dm21))


def test_few_draws_make_a_proposal_of_unit_norm() -> None:
    # Ten draws do not span fifteen dimensions
    rng = np.random.default_rng(8)
    proposal = Proposal.fitted(rng.standard_normal((10, 15)), rng.uniform(-0.1, 0.1, 10))
    z, angle = proposal.draw(rng, 1000)
    # The mean of q'/q over draws of q is one, for q' a normal within q: false alarm 1e-6
    log = proposal.log_density(z, angle)
    narrow = proposal._replace(factor=0.9 * proposal.factor)
    ratio = np.exp(narrow.log_density(z, angle) - log)
    assert abs(ratio.mean() - 1.0) < 5.0 * ratio.std() / np.sqrt(len(ratio))


def test_bridge_finds_an_evidence_that_is_known() -> None:
    # A normal with a mean that follows a von Mises angle: Z = prod sqrt(2 pi) sd * 2 pi I0(kappa)
    rng = np.random.default_rng(5)
    angle = rng.vonmises(2.5, 3.0, (4, 1000))
    mean = np.stack([np.cos(angle), 2.0 * np.sin(angle)], axis=-1)
    z = mean + np.array([0.5, 2.0]) * rng.standard_normal(mean.shape)

    def log_density(z: np.ndarray, a: np.ndarray) -> np.ndarray:
        rest = (z - np.stack([np.cos(a), 2.0 * np.sin(a)], axis=-1)) / np.array([0.5, 2.0])
        return 3.0 * np.cos(a - 2.5) - 0.5 * np.sum(rest**2, axis=-1)

    found = bridge(log_density, z, angle, rng)
    wanted = np.log(2.0 * np.pi * 0.5 * 2.0) + np.log(2.0 * np.pi * np.i0(3.0))
    assert found.error < 0.03
    assert abs(found.log - wanted) < 4.0 * found.error


def test_few_draws_find_an_evidence_in_many_dimensions_with_the_curvature() -> None:
    # Sixty numbers, correlated; the first is half as wide as the curvature says, and follows the
    # angle. A hundred draws of one chain
    rng = np.random.default_rng(11)
    covariance = np.eye(60) + 0.5
    factor = np.linalg.cholesky(covariance)
    angle = rng.vonmises(0.3, 2.0, (1, 100))
    units = rng.standard_normal((1, 100, 60))
    units[..., 0] = 0.5 * units[..., 0] + np.cos(angle)
    z = 3.0 + units @ factor.T
    inverse = np.linalg.inv(factor)

    def log_density(z: np.ndarray, a: np.ndarray) -> np.ndarray:
        rest = (z - 3.0) @ inverse.T
        rest[..., 0] = 2.0 * (rest[..., 0] - np.cos(a))
        return 2.0 * np.cos(a - 0.3) - 0.5 * np.sum(rest**2, axis=-1)

    found = bridge(log_density, z, angle, rng, Curvature(np.full(60, 3.0), covariance, 2), 1000)
    wanted = np.log(0.5) + np.log(np.diag(factor)).sum()
    wanted += 30.0 * np.log(2.0 * np.pi) + np.log(2.0 * np.pi * np.i0(2.0))
    assert found.error < 0.15
    assert abs(found.log - wanted) < 4.0 * found.error
    alone = bridge(log_density, z, angle, np.random.default_rng(1))
    assert abs(alone.log - wanted) > 1.0  # without it: fifty draws have no covariance of sixty


def test_chains_start_where_the_density_is_highest(posterior: ModePosterior) -> None:
    counts = np.random.default_rng(2).poisson(np.asarray(posterior.likelihood.counts), (2, 264))
    found = mode_starts(posterior, MODES, counts)

    @jax.jit
    def height(mode: Mode, data: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = with_counts(posterior, data)
        return jax.value_and_grad(lambda v: own.log_density(mode, v[:-1], v[-1]))(v)

    for data, zs, dcps, heights in zip(counts, *found, strict=True):
        for mode, z, dcp, wanted in zip(MODES, zs, dcps, heights, strict=True):
            at = jnp.append(jnp.asarray(z), dcp)
            value, slope = height(Mode(*map(jnp.asarray, mode)), jnp.asarray(data, float), at)
            assert float(value) == pytest.approx(wanted, rel=1e-10)
            assert np.max(np.abs(slope)) < 0.011
