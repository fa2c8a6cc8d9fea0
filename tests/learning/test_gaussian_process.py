"""The Gaussian process against dense regression with its covariance written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2, multivariate_normal

from bayesxs.constants import MUON_MASS
from bayesxs.detector.grid import NodeGrid, node_grid
from bayesxs.learning.gaussian_process import (
    MEDIANS,
    Scales,
    fit_process,
    kernel_matrix,
    log_evidence,
    prior_covariance,
    prior_mean,
)
from bayesxs.learning.linear_model import LinearData

KERNELS = ("matern32", "matern52", "squared_exponential")


@pytest.fixture(scope="module")
def small() -> NodeGrid:
    """Nodes, 8 x 8: 192 values."""
    return node_grid(5.0, 8, 8, MUON_MASS)


@pytest.fixture(scope="module")
def data(truth, small) -> LinearData:
    """Forty sums over the truth's node values, each with unit noise."""
    rng = np.random.default_rng(0)
    design = 20.0 * rng.standard_normal((40, 3 * small.size))
    observed = design @ np.asarray(truth(small.x, small.q2)).ravel() + rng.standard_normal(40)
    return LinearData(jnp.asarray(design), jnp.asarray(observed), np.eye(40))


def moments(nodes: NodeGrid, scales: Scales, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and dense covariance of the prior on the nodes."""
    covariance = prior_covariance(nodes, scales, kernel)(jnp.eye(3 * nodes.size))
    return np.repeat(prior_mean(nodes, scales), 3), np.asarray(covariance)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_correlations(kernel):
    matrix = np.asarray(kernel_matrix(jnp.linspace(0.0, 2.0, 9), 0.7, kernel))
    np.testing.assert_array_equal(np.diag(matrix), 1.0)
    assert np.all(np.diff(matrix[0]) < 0.0)
    assert np.linalg.eigvalsh(matrix).min() > 0.0


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_prior_covariance_is_that_of_its_definition(kernel, small):
    # b_i = m (1 + g + h_i): Cov = m m' (k_g + delta_ij k_h), kernels products over u and v
    mean, found = moments(small, MEDIANS, kernel)
    u, v = np.repeat(small.u, len(small.v)), np.tile(small.v, len(small.u))

    def product(sd: float, length_u: float, length_v: float) -> np.ndarray:
        along_u, along_v = (
            np.asarray(kernel_matrix(jnp.asarray(p), np.exp(length), kernel))
            for p, length in ((u, length_u), (v, length_v))
        )
        return np.exp(2.0 * sd) * along_u * along_v

    common = product(MEDIANS.common, MEDIANS.common_u, MEDIANS.common_v)
    own = product(MEDIANS.own, MEDIANS.own_u, MEDIANS.own_v)
    expected = np.kron(common, np.ones((3, 3))) + np.kron(own, np.eye(3))
    np.testing.assert_allclose(found, np.outer(mean, mean) * expected, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_posterior_is_that_of_dense_regression(kernel, small, data):
    # Rasmussen and Williams, Eqs. 2.25 and 2.26
    process = fit_process(data, small, kernel, MEDIANS)
    mean, prior = moments(small, MEDIANS, kernel)
    design = np.asarray(data.design)
    gain = prior @ design.T @ np.linalg.inv(design @ prior @ design.T + np.eye(40))
    expected = mean + gain @ (data.observed - design @ mean)
    size = np.abs(expected).max()
    np.testing.assert_allclose(process.mean, expected, rtol=0.0, atol=1e-8 * size)
    covariance = process.posterior.covariance(jnp.eye(3 * small.size))
    scale = np.abs(prior).max()
    np.testing.assert_allclose(
        covariance, prior - gain @ design @ prior, rtol=0.0, atol=1e-9 * scale
    )
    assert process.scales == MEDIANS


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_evidence_is_the_density_of_the_data(kernel, small, data):
    mean, prior = moments(small, MEDIANS, kernel)
    design = np.asarray(data.design)
    expected = multivariate_normal(design @ mean, design @ prior @ design.T + np.eye(40)).logpdf(
        np.asarray(data.observed)
    )
    np.testing.assert_allclose(log_evidence(data, small, MEDIANS, kernel), expected, rtol=1e-9)
    np.testing.assert_allclose(fit_process(data, small, kernel, MEDIANS).evidence, expected)


def test_the_slope_of_the_evidence_agrees_with_finite_differences(small, data):
    height = jax.jit(lambda values: log_evidence(data, small, Scales(*values), "matern32"))
    center, step = jnp.array(MEDIANS), 1e-4
    slope = jax.jit(jax.grad(height))(center)
    assert np.all(np.isfinite(slope))
    for axis, value in enumerate(slope):
        shift = step * jnp.eye(len(center))[axis]
        expected = (height(center + shift) - height(center - shift)) / (2.0 * step)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_fitting_finds_scales_of_higher_evidence(small, data):
    calls: list[int] = []
    process = fit_process(data, small, record=calls.append)
    assert process.evidence > float(log_evidence(data, small, MEDIANS, "matern32")) + 1.0
    assert calls == list(range(1, len(calls) + 1))
    np.testing.assert_allclose(
        process.evidence, log_evidence(data, small, process.scales, "matern32")
    )


def test_precise_data_are_interpolated(truth, small):
    # Every seventh node seen, with noise of 1e-6
    values = np.asarray(truth(small.x, small.q2)).ravel()
    seen = np.arange(0, 3 * small.size, 7)
    design = 1e6 * np.eye(3 * small.size)[seen]
    data = LinearData(jnp.asarray(design), jnp.asarray(design @ values), np.eye(len(seen)))
    process = fit_process(data, small, scales=MEDIANS)
    np.testing.assert_allclose(process.mean[seen], values[seen], rtol=0.0, atol=1e-5)
    variance = np.diag(process.posterior.covariance(jnp.eye(3 * small.size)))
    assert np.all(np.abs(variance[seen]) < 1e-10)


def test_errors_of_truths_drawn_from_the_prior_are_those_that_are_claimed(small, data):
    # (e - w) S^-1 (e - w) over five functionals is chi-square with 5 degrees of freedom for each of
    # 200 draws; false-alarm rate 1e-4, two-sided
    rng = np.random.default_rng(3)
    mean, prior = moments(small, MEDIANS, "matern32")
    size = len(mean)
    root = np.linalg.cholesky(prior + 1e-10 * np.trace(prior) / size * np.eye(size))
    truths = mean[:, None] + root @ rng.standard_normal((size, 200))
    design = np.asarray(data.design)
    observed = design @ truths + rng.standard_normal((len(design), 200))
    posterior = fit_process(data, small, scales=MEDIANS).posterior
    found = mean[:, None] + posterior.regress(jnp.asarray(observed - (design @ mean)[:, None]))
    functionals = rng.standard_normal((5, size))
    covariance = functionals @ np.asarray(posterior.covariance(jnp.asarray(functionals.T)))
    away = functionals @ (np.asarray(found) - truths)
    total = float(np.sum(away * np.linalg.solve(covariance, away)))
    assert chi2.ppf(5e-5, 1000) < total < chi2.ppf(1.0 - 5e-5, 1000)
