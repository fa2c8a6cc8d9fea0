"""The Gaussian process against dense regression with its covariance written out."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.stats import binom, chi2, multivariate_normal

from bayesxs.constants import MUON_MASS, NUCLEON_MASS
from bayesxs.detector.grid import NodeGrid, node_grid
from bayesxs.learning.gaussian_process import (
    NUCLEI,
    PARTONS,
    UNSEEN,
    Scales,
    first_scales,
    fit_process,
    kernel_matrix,
    log_evidence,
    prior_basis,
    prior_covariance,
    prior_mean,
    prior_size,
    scale_priors,
)
from bayesxs.learning.heads import MUON, Lepton
from bayesxs.learning.linear_model import LinearData
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity
from bayesxs.physics.kinematics import PhaseSpace

KERNELS = ("matern32", "matern52", "squared_exponential")


@pytest.fixture(scope="module")
def small() -> NodeGrid:
    """Nodes, 8 x 8: 192 values."""
    return node_grid(5.0, 8, 8, MUON_MASS)


@pytest.fixture(scope="module")
def ridges() -> NodeGrid:
    """Nodes of a nucleus, 9 x 6: 162 values."""
    return node_grid(5.0, 6, 6, MUON_MASS, space=PhaseSpace(3.0))


@pytest.fixture(scope="module")
def data(truth, small) -> LinearData:
    """Forty sums over the truth's node values, each with unit noise."""
    rng = np.random.default_rng(0)
    design = 20.0 * rng.standard_normal((40, 3 * small.size))
    observed = design @ np.asarray(truth(small.x, small.q2)).ravel() + rng.standard_normal(40)
    return LinearData(jnp.asarray(design), jnp.asarray(observed), np.eye(40))


def moments(nodes: NodeGrid, scales: Scales, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and dense covariance of the prior on the nodes."""
    covariance = prior_covariance(nodes, scales, kernel, MUON)(jnp.eye(3 * nodes.size))
    return np.asarray(prior_mean(nodes, scales, MUON)), np.asarray(covariance)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_correlations(kernel):
    matrix = np.asarray(kernel_matrix(jnp.linspace(0.0, 2.0, 9), 0.7, kernel))
    np.testing.assert_array_equal(np.diag(matrix), 1.0)
    assert np.all(np.diff(matrix[0]) < 0.0)
    assert np.linalg.eigvalsh(matrix).min() > 0.0


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("grid", ["small", "ridges"])
def test_the_prior_covariance_is_that_of_its_definition(kernel, grid, request):
    # b = B (1 + g + h): Cov = B (k_g + delta_kl o_k^2 k_h) B'^T, kernels products over u and v,
    # which of a nucleus are the coordinates of its ridges, where o of T- is three
    nodes = request.getfixturevalue(grid)
    scales, _ = scale_priors(nodes)
    mean, found = moments(nodes, scales, kernel)
    u, v = nodes.chart.forward(nodes.x, nodes.q2)
    clipped = nodes.x > 3.0  # beyond all that is physical x is not that of u
    u = np.where(clipped, np.repeat(nodes.u, len(nodes.v)), u)

    def product(sd: float, length_u: float, length_v: float) -> np.ndarray:
        along_u, along_v = (
            np.asarray(kernel_matrix(jnp.asarray(p), np.exp(length), kernel))
            for p, length in ((u, length_u), (v, length_v))
        )
        return np.exp(2.0 * sd) * along_u * along_v

    common = product(scales.common, scales.common_u, scales.common_v)
    own = product(scales.common + scales.own, scales.own_u, scales.own_v)
    weights = np.ones(3) if grid == "small" else np.array([1.0, 9.0, 1.0])
    deviations = np.kron(common, np.ones((3, 3))) + np.kron(own, np.diag(weights))
    basis = block_diag(*np.asarray(prior_basis(nodes, scales, MUON)))
    size = np.abs(found).max()
    np.testing.assert_allclose(found, basis @ deviations @ basis.T, rtol=1e-6, atol=1e-12 * size)
    np.testing.assert_allclose(mean, basis.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-13 * size)
    sizes = np.linalg.eigvalsh(found)
    assert sizes.min() > -1e-12 * sizes.max()


def test_the_mean_of_a_nucleus_follows_the_ridge_at_any_q2(ridges):
    # At W = M (s = 0), m is that of a form factor, (1 + Q^2/0.71 GeV^2)^-4 with the dipole's power
    # and scale, at any Q^2; no fall towards Q^2 = 0, none with Q^2 far above the ridge, and next to
    # nothing at x = 3, where |q| exceeds what moving nucleons have
    scales = Scales(*NUCLEI)._replace(fall=np.log(4.0), q2=np.log(0.71))
    q2 = np.repeat([1e-3, 0.1, 1.0, 3.0], 2)
    nu = q2 / (2.0 * NUCLEON_MASS) + np.tile([0.0, 300.0], 4)
    at = SimpleNamespace(x=q2 / (2.0 * NUCLEON_MASS * nu), q2=q2, chart=ridges.chart)
    elastic, far = np.asarray(prior_size(at, scales)).reshape(4, 2).T
    dipole = (1.0 + q2[::2] / 0.71) ** -4
    np.testing.assert_allclose(elastic / elastic[0], dipole / dipole[0], rtol=1e-12)
    np.testing.assert_allclose(far / far[0], 1.0, rtol=0.03)
    below = SimpleNamespace(x=np.full(4, 3.0), q2=q2[::2], chart=ridges.chart)
    assert np.all(np.asarray(prior_size(below, scales))[2:] < 0.05 * elastic[2:])
    # Without continuum a hundredth of it is left far above, and the ridge stays
    bare = np.asarray(prior_size(at, scales._replace(continuum=np.log(0.01)))).reshape(4, 2).T
    np.testing.assert_allclose(bare[0] / elastic, 1.0, rtol=0.01)
    np.testing.assert_allclose(bare[1] / far, 0.01, rtol=0.2)


@pytest.mark.parametrize("lepton", [Lepton(), Lepton(0.0), Lepton(sign=-1)], ids=str)
def test_the_mean_of_a_nucleus_is_the_cross_section_of_a_tensor(ridges, lepton):
    # Any shares of the columns of B are what the lepton sees of T+, T- and LL in these shares, with
    # T-/T+ = 0.03 and 2 LL/T+ = 0.35 where Q^2 is large. Without mass, b2 of T+ is m
    basis = np.asarray(prior_basis(ridges, NUCLEI, lepton))
    size = np.asarray(prior_size(ridges, NUCLEI))
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.5, 2.0, (3, ridges.size))
    found = np.einsum("nik,kn->ni", basis, shares)
    r = np.sqrt(1.0 + (2.0 * NUCLEON_MASS * ridges.x) ** 2 / ridges.q2)
    falling = ridges.q2 / (ridges.q2 + 0.02)
    plus = size / ridges.x * ((1.0 + r) / 2.0) ** 2
    zero = np.zeros(ridges.size)
    tensor = Helicity(
        plus * falling * shares[0],
        0.03 * plus * falling * shares[1],
        0.175 * plus * shares[2],
        zero,
        zero,
    )
    expected = bernstein_from_helicity(tensor, ridges.x, ridges.q2, lepton.mass, lepton.sign)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    if lepton.mass == 0.0:
        np.testing.assert_allclose(basis[:, 2, 0], size * falling, rtol=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_posterior_is_that_of_dense_regression(kernel, small, data):
    # Rasmussen and Williams, Eqs. 2.25 and 2.26
    process = fit_process(data, small, kernel, PARTONS)
    mean, prior = moments(small, PARTONS, kernel)
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
    assert process.scales == PARTONS


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_evidence_is_the_density_of_the_data(kernel, small, data):
    mean, prior = moments(small, PARTONS, kernel)
    design = np.asarray(data.design)
    expected = multivariate_normal(design @ mean, design @ prior @ design.T + np.eye(40)).logpdf(
        np.asarray(data.observed)
    )
    np.testing.assert_allclose(log_evidence(data, small, PARTONS, kernel), expected, rtol=1e-9)
    np.testing.assert_allclose(fit_process(data, small, kernel, PARTONS).evidence, expected)


def test_the_slope_of_the_evidence_agrees_with_finite_differences(small, data):
    height = jax.jit(lambda values: log_evidence(data, small, Scales(*values), "matern32"))
    center, step = jnp.array(PARTONS), 1e-4
    slope = jax.jit(jax.grad(height))(center)
    assert np.all(np.isfinite(slope))
    for axis, value in enumerate(slope):
        shift = step * jnp.eye(len(center))[axis]
        expected = (height(center + shift) - height(center - shift)) / (2.0 * step)
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_fitting_finds_scales_of_higher_evidence(small, data):
    calls: list[int] = []
    process = fit_process(data, small, record=calls.append)
    assert process.evidence > float(log_evidence(data, small, PARTONS, "matern32")) + 1.0
    assert calls == list(range(1, len(calls) + 1))
    np.testing.assert_allclose(
        process.evidence, log_evidence(data, small, process.scales, "matern32")
    )


@pytest.mark.parametrize("size", [1.0, 0.01])
def test_the_evidence_knows_a_nucleus_without_continuum(ridges, size):
    # Positive sums, as near data are, with errors of about a per cent, of a draw of the prior
    scales = NUCLEI._replace(continuum=float(np.log(size)))
    mean, covariance = moments(ridges, scales, "matern32")
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(covariance + 1e-10 * np.trace(covariance) * np.eye(len(mean)))
    truth = mean + root @ rng.standard_normal(len(mean))
    design = rng.uniform(size=(40, len(mean))) ** 8
    design *= 100.0 / np.abs(design @ mean).mean()
    observed = design @ truth + rng.standard_normal(40)
    data = LinearData(jnp.asarray(design), jnp.asarray(observed), np.eye(40))
    assert first_scales(data, ridges).continuum == scales.continuum


def test_precise_data_are_interpolated(truth, small):
    # Every seventh node seen, with noise of 1e-6
    values = np.asarray(truth(small.x, small.q2)).ravel()
    seen = np.arange(0, 3 * small.size, 7)
    design = 1e6 * np.eye(3 * small.size)[seen]
    data = LinearData(jnp.asarray(design), jnp.asarray(design @ values), np.eye(len(seen)))
    process = fit_process(data, small, scales=PARTONS)
    np.testing.assert_allclose(process.mean[seen], values[seen], rtol=0.0, atol=1e-5)
    variance = np.diag(process.posterior.covariance(jnp.eye(3 * small.size)))
    assert np.all(np.abs(variance[seen]) < 1e-10)


@pytest.mark.parametrize("grid", ["small", "ridges"])
def test_errors_of_truths_drawn_from_the_prior_are_those_that_are_claimed(grid, request):
    # (e - w) S^-1 (e - w) over five functionals is chi-square with 5 degrees of freedom for each of
    # 200 draws; false-alarm rate 1e-4, two-sided. Intervals of one functional hold the truth in
    # 68.3 % and 95.4 % of the draws: a binomial, false-alarm rate 1e-4, two-sided
    nodes = request.getfixturevalue(grid)
    scales, _ = scale_priors(nodes)
    rng = np.random.default_rng(3)
    mean, prior = moments(nodes, scales, "matern32")
    size = len(mean)
    root = np.linalg.cholesky(prior + 1e-10 * np.trace(prior) / size * np.eye(size))
    truths = mean[:, None] + root @ rng.standard_normal((size, 200))
    design = 20.0 * rng.standard_normal((40, size))
    data = LinearData(jnp.asarray(design), jnp.zeros(40), np.eye(40))
    observed = design @ truths + rng.standard_normal((len(design), 200))
    posterior = fit_process(data, nodes, scales=scales).posterior
    found = mean[:, None] + posterior.regress(jnp.asarray(observed - (design @ mean)[:, None]))
    functionals = rng.standard_normal((5, size))
    covariance = functionals @ np.asarray(posterior.covariance(jnp.asarray(functionals.T)))
    away = functionals @ (np.asarray(found) - truths)
    total = float(np.sum(away * np.linalg.solve(covariance, away)))
    assert chi2.ppf(5e-5, 1000) < total < chi2.ppf(1.0 - 5e-5, 1000)
    pull = np.abs(away[0]) / np.sqrt(covariance[0, 0])
    for level in (1.0, 2.0):
        inside = binom(200, chi2.cdf(level**2, 1))
        assert inside.ppf(5e-5) <= np.sum(pull < level) <= inside.ppf(1.0 - 5e-5)


def test_the_evidence_finds_how_large_deviations_of_a_nucleus_are(ridges):
    # Truths whose deviations are a third and three times as large as the median of the prior: their
    # logarithm to 0.5, where the error that 40 data leave is about 1/sqrt(80), and the prior pulls
    # by a hundredth
    rng = np.random.default_rng(5)
    design = 200.0 * rng.standard_normal((40, 3 * ridges.size))
    for factor in (1.0 / 3.0, 3.0):
        scales = NUCLEI._replace(common=NUCLEI.common + np.log(factor))
        mean, prior = moments(ridges, scales, "matern32")
        root = np.linalg.cholesky(prior + 1e-10 * np.trace(prior) / len(mean) * np.eye(len(mean)))
        truth = mean + root @ rng.standard_normal(len(mean))
        observed = design @ truth + rng.standard_normal(40)
        data = LinearData(jnp.asarray(design), jnp.asarray(observed), np.eye(40))
        found = fit_process(data, ridges).scales
        assert abs(found.common + found.size - scales.common) < 0.5
        # The rest is held exactly, and the deviations are those of the maximum, widened
        assert found._replace(size=0.0, common=0.0) == NUCLEI._replace(common=0.0)
        best, *beside = (
            float(log_evidence(data, ridges, found._replace(common=common)))
            - 0.5 * (common - NUCLEI.common) ** 2
            for common in found.common - np.log(UNSEEN) + np.array([0.0, -0.03, 0.03])
        )
        assert best > max(beside)
