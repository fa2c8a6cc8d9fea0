"""Linear inference against dense linear algebra, and the cancellation between near and far."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.constants import MUON_MASS
from bayesxs.detector.grid import NodeGrid, lepton_grid, node_grid
from bayesxs.detector.operator import Operator, build_operator, row_quadrature
from bayesxs.learning.linear_model import (
    Conditioned,
    Spread,
    condition,
    near_data,
    select_modes,
)


@pytest.fixture(scope="module")
def dense() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A covariance of 30 numbers, a design with 12 rows, and data."""
    rng = np.random.default_rng(0)
    root = rng.standard_normal((30, 30))
    return root @ root.T, rng.standard_normal((12, 30)), rng.standard_normal(12)


@pytest.fixture(scope="module")
def small() -> NodeGrid:
    """Nodes, 8 x 8: fewer than the near detector's bins can tell apart."""
    return node_grid(5.0, 8, 8, MUON_MASS)


@pytest.fixture(scope="module")
def coarse(energies, small) -> Operator:
    """Operator with the centers of 14 x 14 bins as rows."""
    bins = lepton_grid(5.0, 14, 14, MUON_MASS)
    return build_operator(row_quadrature(*bins.rows, energies, MUON_MASS), energies, small)


@pytest.fixture(scope="module")
def values(truth, small) -> np.ndarray:
    return np.asarray(truth(small.x, small.q2))


@pytest.fixture(scope="module")
def counted(coarse, near_flux, values) -> np.ndarray:
    """Near spectrum with something in every bin that is seen, as Poisson's variance needs."""
    matrix = coarse.near_matrix(near_flux)
    spectrum = matrix @ values.ravel()
    seen = np.diff(matrix.indptr) > 0
    return np.where(seen, np.maximum(spectrum, 1e-3 * spectrum.max()), 0.0)


# --- conditioning ------------------------------------------------------------------------------


def test_conditioning_is_bayesian_linear_regression(dense):
    # Rasmussen and Williams, Eqs. 2.7 and 2.8 with unit noise: precision A^T A + C^-1
    covariance, design, data = dense
    posterior = condition(lambda columns: covariance @ columns, jnp.asarray(design))
    expected = np.linalg.inv(design.T @ design + np.linalg.inv(covariance))
    mean = expected @ design.T @ data
    np.testing.assert_allclose(posterior.regress(jnp.asarray(data)), mean, rtol=1e-8, atol=1e-10)
    found = posterior.covariance(jnp.eye(30))
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9 * np.abs(covariance).max())


def test_effective_parameters_are_the_trace_of_the_hat_matrix():
    """Far larger than noise, a prior lets every row be fitted; far smaller, none."""
    rng = np.random.default_rng(8)
    design = rng.standard_normal((7, 30))
    for size, low, high in ((1e6, 6.99, 7.0), (1.0, 0.1, 6.99), (1e-6, 0.0, 1e-3)):
        covariance = size * np.eye(30)
        image = design @ covariance @ design.T
        root = np.linalg.cholesky(image + np.eye(7))
        found = Conditioned(
            lambda c, s=size: s * c, jnp.asarray(covariance @ design.T), jnp.asarray(root)
        ).effective_parameters
        assert found == pytest.approx(np.trace(np.linalg.solve(image + np.eye(7), image)))
        assert low <= found <= high


def test_the_spread_is_the_sample_covariance():
    members = np.random.default_rng(2).standard_normal((5, 30))
    found = Spread.of(members).covariance(jnp.eye(30))
    np.testing.assert_allclose(found, np.cov(members.T), rtol=0.0, atol=1e-14)


# --- modes -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steep() -> tuple[np.ndarray, np.ndarray]:
    """A covariance whose sizes fall fast, and 20 far directions."""
    rng = np.random.default_rng(3)
    root = rng.standard_normal((30, 30)) * 0.5 ** np.arange(30)
    return root @ root.T, rng.standard_normal((20, 30))


@pytest.mark.parametrize("share", [0.6, 0.9, 0.999, 0.999999])
def test_modes_hold_the_share_that_was_asked_for(steep, share):
    covariance, far = steep
    found = select_modes(covariance @ far.T, far, share)
    whole = far @ covariance @ far.T
    images = far @ found.modes.T
    held = np.trace(images @ images.T) / np.trace(whole)
    assert held >= share
    np.testing.assert_allclose(found.kept, held, rtol=1e-10)
    # One mode fewer would not do
    assert np.trace(images[:, :-1] @ images[:, :-1].T) < share * np.trace(whole)
    # What is left out is a covariance too: nothing is counted twice
    assert np.linalg.eigvalsh(whole - images @ images.T).min() > -1e-9 * np.trace(whole)
    np.testing.assert_allclose(np.linalg.norm(images, axis=0), found.sizes[: len(found.modes)])


def test_all_modes_give_the_far_covariance_back(steep):
    covariance, far = steep
    found = select_modes(covariance @ far.T, far, 1.0 - 1e-13)
    images = far @ found.modes.T
    whole = far @ covariance @ far.T
    np.testing.assert_allclose(images @ images.T, whole, rtol=0.0, atol=1e-9 * np.abs(whole).max())


def test_most_limits_the_modes_and_keeps_the_largest(steep):
    covariance, far = steep
    every = select_modes(covariance @ far.T, far, 0.9999)
    some = select_modes(covariance @ far.T, far, 0.9999, most=2)
    assert len(every.modes) > 2
    np.testing.assert_allclose(some.modes, every.modes[:2], rtol=0.0, atol=1e-12)
    assert some.kept < every.kept
    assert np.all(np.diff(every.sizes) <= 0.0)
    largest = np.argmax(np.abs(every.modes), axis=1)
    assert np.all(every.modes[np.arange(len(largest)), largest] > 0.0)


def test_without_uncertainty_there_are_no_modes():
    found = select_modes(np.zeros((30, 4)), np.ones((4, 30)))
    assert found.modes.shape == (0, 30)
    assert found.kept == 1.0


# --- near-detector data ------------------------------------------------------------------------


def test_whitened_counts_have_unit_noise(coarse, near_flux, counted, small):
    matrix = coarse.near_matrix(near_flux)
    p, events = counted / counted.sum(), 1e6
    data = near_data(matrix, counted, counted, small, events=events, discretization=1e-9)
    # Poisson counts over their number have the variance p/N
    noise = data.whiten @ np.diag(p / events) @ data.whiten.T
    np.testing.assert_allclose(noise, np.eye(len(noise)), rtol=0.0, atol=1e-4)


def test_the_observed_density_is_the_image_of_the_structure_functions(
    coarse, near_flux, values, counted, small
):
    matrix = coarse.near_matrix(near_flux)
    spectrum = matrix @ values.ravel()
    data = near_data(matrix, spectrum, counted, small, events=1e6, discretization=1e-4)
    image = data.design @ (values.ravel() / spectrum.sum())
    np.testing.assert_allclose(image, data.observed, rtol=0.0, atol=1e-8)


def test_information_grows_with_the_number_of_events(coarse, near_flux, counted, small):
    matrix = coarse.near_matrix(near_flux)

    def size(events: float, discretization: float = 1e-9) -> float:
        arguments = {"events": events, "discretization": discretization}
        data = near_data(matrix, counted, counted, small, **arguments)
        return float(data.observed @ data.observed)

    np.testing.assert_allclose(size(4e6), 4.0 * size(1e6), rtol=1e-5)
    # With infinite events only the discretisation is left
    np.testing.assert_allclose(size(np.inf, 1e-4), 4.0 * size(np.inf, 2e-4), rtol=1e-9)


def test_counts_and_densities_are_the_same_data(coarse, near_flux, counted, small):
    matrix = coarse.near_matrix(near_flux)
    choices = {"events": 1e6, "discretization": 1e-4}
    one = near_data(matrix, counted, counted, small, **choices)
    other = near_data(matrix, 1e6 * counted, 3.0 * counted, small, **choices)
    # Scores, A^T y: the basis of y is arbitrary where hardly anything reaches
    expected = np.asarray(one.design.T @ one.observed)
    size = np.abs(expected).max()
    np.testing.assert_allclose(other.design.T @ other.observed, expected, atol=1e-7 * size)


def test_directions_that_structure_functions_lack_are_kept(coarse, near_flux, counted, small):
    matrix = coarse.near_matrix(near_flux)
    rough = np.random.default_rng(4).standard_normal((len(counted), 1)) * counted[:, None]
    p = counted / counted.sum()
    seen = p > 0.0
    whole = np.sqrt(np.sum(rough[seen, 0] ** 2 / (p[seen] / 1e6)))
    lengths = []
    for directions in (None, rough):
        choices = {"events": 1e6, "discretization": 1e-9, "rank": 20}
        data = near_data(matrix, counted, counted, small, directions=directions, **choices)
        lengths.append(float(np.linalg.norm(data.whiten @ rough[:, 0])))
    assert lengths[0] < 0.9 * whole
    np.testing.assert_allclose(lengths[1], whole, rtol=1e-3)


# --- near and far ------------------------------------------------------------------------------


def test_a_flux_error_cancels_between_near_and_far(coarse, near_flux, values, small, energies):
    # Near data fix the product of flux and cross section. Where the far detector has the same flux
    # and nothing oscillates, its spectrum is the near one, whatever the flux is thought to be: the
    # cross section learned with flux phi (1 + f) is w + w'(f), and to first order in f
    # T_0 phi f + T(w') phi = 0.
    bent = near_flux * np.sin(np.log(energies.points))
    matrix, changed = coarse.near_matrix(near_flux), coarse.near_matrix(bent)
    unit = values.ravel() / (matrix @ values.ravel()).sum()
    change = changed @ unit
    p = matrix @ unit

    def left_over(discretization: float) -> float:
        data = near_data(
            matrix, p, p, small, events=np.inf, discretization=discretization, rank=3 * small.size
        )
        # Full rank, and wide against what the data allow
        posterior = condition(lambda columns: 1e2 * columns, data.design)
        # The part of the change that structure functions can follow at all
        design = np.asarray(data.design)
        seen = data.whiten @ change
        reachable = design @ np.linalg.lstsq(design, seen, rcond=1e-8)[0]
        followed = -posterior.regress(jnp.asarray(reachable))
        # Spectra per discretisation error, as a fraction of the uncancelled change
        left = reachable + design @ np.asarray(followed)
        return float(np.linalg.norm(left) / np.linalg.norm(reachable))

    wide, narrow = left_over(1e-3), left_over(1e-5)
    assert wide < 0.3
    assert narrow < 0.1 * wide
    assert narrow < 1e-3


def test_the_far_spectrum_follows_the_flux_error(coarse, near_flux, values, small, energies):
    # The same in bins of the far detector, for a change that another cross section would make
    rng = np.random.default_rng(5)
    matrix = coarse.near_matrix(near_flux)
    w = values.ravel() / (matrix @ values.ravel()).sum()
    other = w * (1.0 + 0.1 * rng.standard_normal(len(w)))
    change = matrix @ (other - w)
    p = matrix @ w
    data = near_data(matrix, p, p, small, events=np.inf, discretization=1e-6, rank=3 * small.size)
    posterior = condition(lambda columns: 1e2 * columns, data.design)
    followed = -np.asarray(posterior.regress(jnp.asarray(data.whiten @ change)))
    far = coarse.response(followed.reshape(-1, 3)) @ near_flux
    np.testing.assert_allclose(far + change, 0.0, atol=1e-4 * np.abs(change).max())
