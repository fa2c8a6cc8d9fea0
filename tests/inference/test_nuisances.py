"""Nuisances in the far-detector likelihood: what they do, and what they must not do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy.optimize import minimize

from bayesxs.constants import MUON_MASS
from bayesxs.detector.density import FoldedRows, Sample
from bayesxs.inference import bootstrap as replicas
from bayesxs.inference import maximum
from bayesxs.inference.bootstrap import bootstrap
from bayesxs.inference.channel import FarChannel, far_channel, log_likelihood, pointwise_log_density
from bayesxs.inference.compression import probability_span
from bayesxs.inference.folded import Folded, Oscillation
from bayesxs.inference.model import far_detector_model
from bayesxs.inference.priors import Flat, Prior
from bayesxs.inference.sampling import NutsSampler, SamplerSettings, curvature_covariance
from bayesxs.physics.kinematics import lepton_from_invariants, y_range
from bayesxs.physics.oscillation import OscillationParameters, probability

SAMPLE = Sample()
DM31: dict[str, Prior] = {"dm31": Flat(2.2e-3, 2.9e-3)}


@pytest.fixture(scope="module")
def few(response) -> FoldedRows:
    """Forty physical events: too few to be compressed."""
    rng = np.random.default_rng(0)
    energy, x = rng.uniform(1.0, 4.5, 40), rng.uniform(0.05, 0.7, 40)
    low, high = y_range(energy, x, MUON_MASS)
    y = low + (high - low) * rng.uniform(0.1, 0.7, 40)
    return response(SAMPLE, *lepton_from_invariants(energy, x, y, MUON_MASS))


@pytest.fixture(scope="module")
def many(response, events) -> FoldedRows:
    """Six hundred events."""
    return response(SAMPLE, events.lepton_energy, events.z)


@pytest.fixture(scope="module")
def build(flux, energies, nature, priors):
    """Fold a response with modes."""

    def fold(
        folded: FoldedRows,
        flux_modes: np.ndarray,
        modes: Sequence[FoldedRows | None] = (),
        pairs: tuple[tuple[int, int], ...] = (),
    ) -> FarChannel:
        points, oscillation = energies.points, Oscillation(SAMPLE)
        span = probability_span(oscillation, points, priors, nature, flux_modes)
        parts = Folded(folded, modes, flux(14, points), flux_modes, pairs)
        return far_channel(parts, points, np.ones(len(folded.rows)), oscillation, span)

    return fold


@pytest.fixture(scope="module")
def tilt(energies) -> np.ndarray:
    """Relative changes of the flux that differ in shape, shape (2, E)."""
    slope = np.log(energies.points / 2.5)
    return 0.08 * np.stack([slope, slope**2])


def bent(folded: FoldedRows, energies: np.ndarray, size: float, turn: float) -> FoldedRows:
    """Change a response by a smooth function of energy."""
    shape = size * np.cos(turn * np.log(energies))
    return FoldedRows(folded.rows * shape, folded.total * shape)


# --- the density -------------------------------------------------------------------------------


def test_nuisances_without_effect_have_none(few, build, energies, nature):
    none = np.zeros((3, len(energies.points)))
    nominal = build(few, none[:0])
    zero = FoldedRows(0.0 * few.rows, 0.0 * few.total)
    channel = build(few, none, modes=[None, zero, None, zero], pairs=((0, 2),))
    assert (nominal.nuisances, channel.nuisances) == (0, 3)
    expected = log_likelihood([nominal], nature)
    for xi in ((0.0, 0.0, 0.0), (1.0, -2.0, 0.5), (7.0, 7.0, -7.0)):
        found = log_likelihood([channel], nature, jnp.array(xi))
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_overall_size_of_the_flux_does_not_matter(few, build, energies, nature):
    constant = np.full((1, len(energies.points)), 0.1)
    expected = log_likelihood([build(few, constant[:0])], nature)
    channel = build(few, constant, modes=[None])
    for xi in (-2.0, 0.3, 3.0):
        found = log_likelihood([channel], nature, jnp.array([xi]))
        np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("number", ["few", "many"])
def test_the_density_equals_its_definition(number, request, build, tilt, flux, energies, nature):
    # p = [T_0 + sum_k c_k T_k] phi (1 + xi f) P / norm, without compression and logarithms
    folded = request.getfixturevalue(number)
    points = energies.points
    pairs = ((0, 0), (0, 1))
    shapes = ((0.1, 1.0), (0.05, 2.0), (0.03, 0.5), (0.02, 1.5))
    modes = [bent(folded, points, *shape) for shape in shapes]
    channel = build(folded, tilt, modes=modes, pairs=pairs)
    evaluate = jax.jit(pointwise_log_density)
    rng = np.random.default_rng(1)
    for xi in (np.zeros(2), *rng.standard_normal((4, 2))):
        point = nature._replace(dm31=rng.uniform(2.2e-3, 2.9e-3), s2_23=rng.uniform(0.3, 0.7))
        p = np.asarray(probability("mu", "mu", point, points, newton_steps=1))
        source = flux(14, points) * (1.0 + xi @ tilt) * p
        c = [*xi, *(xi[i] * xi[j] for i, j in pairs)]
        rows = folded.rows + sum(a * m.rows for a, m in zip(c, modes, strict=True))
        total = folded.total + sum(a * m.total for a, m in zip(c, modes, strict=True))
        expected = (rows @ source) / (total @ source)
        found = np.exp(np.asarray(evaluate(channel, point, jnp.asarray(xi))))
        # Compression is accurate to 1e-5 of the density without oscillation
        scale = expected + 0.1 * (folded.rows @ flux(14, points)) / (total @ source)
        assert np.max(np.abs(found - expected) / scale) < 1e-4


def test_modes_and_nuisances_must_agree_in_number(few, build, tilt):
    with pytest.raises(ValueError, match="1 modes for 2 nuisances and 0 products"):
        build(few, tilt, modes=[None])


def test_slopes_stay_finite_where_the_density_would_be_negative(few, build, tilt, nature, energies):
    channel = build(few, tilt, modes=[bent(few, energies.points, 0.5, 3.0), None])
    height = jax.jit(jax.value_and_grad(lambda xi: log_likelihood([channel], nature, xi)))
    for size in (2.0, 5.0, 50.0):
        for sign in (1.0, -1.0):
            value, slope = height(jnp.array([sign * size, 0.0]))
            assert np.isfinite(value)
            assert np.all(np.isfinite(slope))


# --- fits and draws ----------------------------------------------------------------------------


def test_the_fit_maximises_the_penalised_likelihood(many, build, tilt, nature):
    channel = build(many, tilt[:1], modes=[None])
    start = {"dm31": float(nature.dm31)}
    found = bootstrap(jax.random.key(0), [channel], DM31, nature, start, 0)
    assert found.converged.tolist() == [True]

    @jax.jit
    def cost(values):
        point = nature._replace(dm31=1e-3 * values[0])
        return 0.5 * values[1] ** 2 - log_likelihood([channel], point, values[1:])

    best = minimize(
        lambda v: tuple(np.asarray(a) for a in jax.value_and_grad(cost)(jnp.asarray(v))),
        [1e3 * start["dm31"], 0.0],
        jac=True,
        method="BFGS",
        options={"gtol": 1e-6},
    )
    # Two hundredths of the statistical error, 5e-5 eV^2
    np.testing.assert_allclose(found.mle["dm31"], 1e-3 * best.x[0], rtol=0.0, atol=1e-6)


def test_a_nuisance_that_the_data_do_not_see_keeps_its_prior(few, build, energies, nature):
    channel = build(few, np.zeros((1, len(energies.points))), modes=[None])

    def model(channels: list[FarChannel], fixed: OscillationParameters) -> None:
        far_detector_model(channels, DM31, fixed)

    settings = SamplerSettings(chains=4, warmup=150, draws=500, record_every=50)
    start = {"dm31": jnp.asarray(nature.dm31), "nuisance": jnp.zeros(1)}
    draws = NutsSampler(model, settings, start).run(([channel], nature), jax.random.key(2))
    drawn = draws.sites["nuisance"].ravel()
    # With 400 effective draws of 2000 the mean has sd 0.05 and the sd 0.035; false alarm below
    # 1e-6 beyond five of them
    assert abs(drawn.mean()) < 0.25
    assert abs(drawn.std() - 1.0) < 0.18


def test_curvature_gives_the_covariance_of_a_gaussian():
    rng = np.random.default_rng(3)
    turn, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    covariance = (turn * [0.01, 0.1, 0.5, 0.9]) @ turn.T

    def model(covariance: Any) -> None:
        numpyro.sample("w", dist.MultivariateNormal(jnp.ones(4), covariance))

    start = {"w": jnp.zeros(4)}
    found = curvature_covariance(model, start, (jnp.asarray(covariance),))
    np.testing.assert_allclose(found, covariance, rtol=0.0, atol=1e-10)
    # No direction is taken to be wider than a standard normal
    wide = curvature_covariance(model, start, (jnp.asarray(100.0 * covariance),))
    np.testing.assert_allclose(wide, np.eye(4), rtol=0.0, atol=1e-9)


# --- many nuisances ----------------------------------------------------------------------------


def test_curvature_by_a_parameter_is_exact_and_the_rest_is_not_positive(
    many, build, tilt, nature, energies
):
    """Against JAX's own second derivatives of the height; modes and flux shapes at once."""
    priors: dict[str, Prior] = DM31 | {"s2_23": Flat(0.3, 0.7)}
    channel = build(many, tilt, modes=[bent(many, energies.points, 0.1, 1.0), None])
    low, high = jnp.array([2.2e-3, 0.3, -8.0, -8.0]), jnp.array([2.9e-3, 0.7, 8.0, 8.0])
    weights = jnp.asarray(np.random.default_rng(1).poisson(1.0, len(channel.left)), dtype=float)
    data = maximum._Data((weights,), jnp.array([0.3, -0.4]), jnp.zeros(0), low, high)
    surface = maximum._Surface([channel], data, nature, tuple(priors.items()))
    unit = jnp.array([0.4, 0.6, 0.53, 0.48])

    def height(u):
        parameters, xi = surface.values(u)
        return weights @ pointwise_log_density(channel, parameters, xi) + surface.penalty(u)

    point, exact = jax.jit(surface.look)(unit), jax.jit(jax.hessian(height))(unit)
    np.testing.assert_allclose(point.gradient, jax.jit(jax.grad(height))(unit), rtol=1e-7)
    scale = np.sqrt(np.outer(*(np.abs(np.diag(exact)),) * 2))
    np.testing.assert_allclose(point.hessian[:2] / scale[:2], exact[:2] / scale[:2], atol=1e-7)
    assert np.linalg.eigvalsh(point.hessian[2:, 2:]).max() < 0.0


def test_the_step_without_the_nuisances_is_newtons():
    """Of a Hessian that is negative definite, against the solution of the whole system."""
    rng = np.random.default_rng(2)
    root = rng.standard_normal((12, 9))
    hessian, gradient = jnp.asarray(-root.T @ root), jnp.asarray(rng.standard_normal(9))
    point = maximum._Point(jnp.full(9, 0.5), jnp.zeros(()), gradient, hessian)
    step = maximum._ascent(point, (jnp.zeros(9), jnp.ones(9)), 3)
    np.testing.assert_allclose(step, np.linalg.solve(-hessian, gradient), rtol=1e-8)


def test_with_dozens_of_nuisances_few_replicas_are_fitted_at_once(few, build, tilt, monkeypatch):
    """The bar moves, and Ctrl-C is heard, between batches."""
    channel = build(few, tilt, modes=[None, None])
    assert replicas._batch([channel]) == replicas.BATCH
    monkeypatch.setattr(replicas, "SLOPES", 3 * 2 * len(channel.weights))
    assert replicas._batch([channel]) == 3
    monkeypatch.setattr(replicas, "SLOPES", 1)
    assert replicas._batch([channel]) == 1
