"""The near data's term of a joint model against dense linear algebra on every w."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from bayesxs.learning.flux_evidence import Follow, Near, bilinear, join_flux, log_evidence
from bayesxs.learning.linear_model import LinearData, condition, select_modes
from bayesxs.learning.near_term import NearTerm, near_constraint, near_log_prob

SIZE, ROWS, FLUX, FAR = 12, 7, 3, 9


class Linear(NamedTuple):
    """A near detector with uncertain flux: every array dense."""

    covariance: np.ndarray
    mean: np.ndarray
    design: np.ndarray
    changes: np.ndarray
    rate: np.ndarray
    observed: np.ndarray

    @classmethod
    def of(cls, seed: int) -> Linear:
        rng = np.random.default_rng(seed)
        root = rng.standard_normal((SIZE, SIZE))
        mean = rng.standard_normal(SIZE)
        design = 3.0 * rng.standard_normal((ROWS, SIZE))
        changes = 0.3 * rng.standard_normal((FLUX, ROWS, SIZE))
        rate = 0.1 * rng.standard_normal(FLUX)
        observed = design @ (mean + root @ rng.standard_normal(SIZE)) + rng.standard_normal(ROWS)
        return cls(root @ root.T + np.eye(SIZE), mean, design, changes, rate, observed)

    def at(self, xi: np.ndarray) -> np.ndarray:
        """Return A(xi)."""
        return (self.design + np.tensordot(xi, self.changes, 1)) / (1.0 + xi @ self.rate)

    def log_prob(self, xi: np.ndarray) -> float:
        """Return log p(y | xi) with all of w integrated out."""
        a = self.at(xi)
        spread = a @ self.covariance @ a.T + np.eye(ROWS)
        return float(multivariate_normal.logpdf(self.observed, a @ self.mean, spread))

    def posterior(self, xi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance of w given y and xi, from precisions."""
        a, known = self.at(xi), np.linalg.inv(self.covariance)
        covariance = np.linalg.inv(a.T @ a + known)
        return covariance @ (a.T @ self.observed + known @ self.mean), covariance

    def near(self) -> Near:
        data = LinearData(
            jnp.asarray(self.design), jnp.asarray(self.observed), np.eye(len(self.design))
        )
        return bilinear(data, self.prior, self.mean, list(self.changes), self.rate)

    def joined(self) -> tuple[NearTerm, Follow]:
        return join_flux(self.near(), self.prior, self.mean)

    def prior(self, columns: jax.Array) -> jax.Array:
        return self.covariance @ columns


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_likelihood_of_the_flux_is_that_with_every_w_integrated_out(seed):
    linear = Linear.of(seed)
    evidence, start = linear.near().evidence, jnp.zeros(FLUX)
    points = np.random.default_rng(seed).standard_normal((4, FLUX))
    found = np.array([log_evidence(evidence, xi) - log_evidence(evidence, start) for xi in points])
    expected = [linear.log_prob(xi) - linear.log_prob(np.zeros(FLUX)) for xi in points]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_the_polynomial_is_the_likelihood_where_near_data_and_priors_are(seed):
    """Within what it says of itself, at fluxes that it was not fitted to; and nowhere infinite."""
    linear = Linear.of(seed)
    term, _ = linear.joined()
    z = np.random.default_rng([seed, 2]).standard_normal((50, FLUX))
    points = np.asarray(term.center) + np.linalg.solve(np.asarray(term.whiten), z.T).T
    found = jax.vmap(term.log_prob)(points)
    missed = np.array([linear.log_prob(xi) for xi in points]) - np.asarray(found)
    assert missed.std() < 2.0 * float(term.error) + 1e-9
    assert float(term.error) < 0.1
    away = points[0] - np.asarray(term.center)
    far, farther = (float(term.log_prob(term.center + s * away)) for s in (1e3, 1e6))
    assert far == pytest.approx(farther, rel=1e-6)
    assert float(term.blind().log_prob(points[0])) == 0.0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_the_cross_section_follows_the_flux_to_second_order(seed):
    """The remainder of E[w | xi, y] falls with the third power of the distance from the best xi."""
    linear = Linear.of(seed)
    term, follow = linear.joined()
    best = np.asarray(term.center)
    direction = np.random.default_rng(seed).standard_normal(FLUX)
    pairs = np.triu_indices(FLUX)
    middle, spread = linear.posterior(best)

    def remainder(length: float) -> float:
        xi = best + length * direction
        products = xi[pairs[0]] * xi[pairs[1]]
        expansion = follow.mean + xi @ follow.single + products @ follow.double
        return float(np.linalg.norm(linear.posterior(xi)[0] - expansion))

    whole = np.linalg.norm(linear.posterior(best + 1e-2 * direction)[0] - middle)
    assert remainder(1e-3) < 1e-3 * whole
    assert remainder(5e-3) < 0.2 * remainder(1e-2)
    found = follow.conditioned.covariance(jnp.eye(SIZE))
    np.testing.assert_allclose(found, spread, rtol=0.0, atol=1e-8 * np.abs(spread).max())


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_near_and_far_together_are_near_then_far(seed):
    """The posterior of a far parameter t with all w beside it, and from modes of the near data.

    Far data d = B w + t b + N(0, 1), t ~ N(0, 1): the joint posterior of (w, t) given y and d, and
    the two steps, w = mean + eta @ modes with eta ~ N(0, 1), then (eta, t) given d.
    """
    linear = Linear.of(seed)
    rng = np.random.default_rng([seed, 1])
    far, slope = rng.standard_normal((FAR, SIZE)), rng.standard_normal(FAR)
    data = rng.standard_normal(FAR)

    design = np.block(
        [[linear.design, np.zeros((ROWS, 1))], [far, slope[:, None]]]
    )  # of (w, t), both detectors
    precision = np.zeros((SIZE + 1, SIZE + 1))
    precision[:SIZE, :SIZE], precision[-1, -1] = np.linalg.inv(linear.covariance), 1.0
    joint = np.linalg.inv(design.T @ design + precision)
    known = precision @ np.append(linear.mean, 0.0)
    mean = joint @ (design.T @ np.concatenate([linear.observed, data]) + known)

    near = condition(linear.prior, jnp.asarray(linear.design))
    residual = linear.observed - linear.design @ linear.mean
    center = linear.mean + np.asarray(near.regress(jnp.asarray(residual)))
    modes = select_modes(near.covariance(jnp.asarray(far.T)), far, 1.0 - 1e-14).modes
    reduced = np.column_stack([far @ modes.T, slope])
    covariance = np.linalg.inv(reduced.T @ reduced + np.eye(reduced.shape[1]))
    found = covariance @ (reduced.T @ (data - far @ center))
    np.testing.assert_allclose(covariance[-1, -1], joint[-1, -1], rtol=1e-6)
    np.testing.assert_allclose(found[-1], mean[-1], rtol=1e-5, atol=1e-6)
    # What far data add to w: the same too, in what the far detector sees
    images = far @ modes.T
    np.testing.assert_allclose(
        images @ covariance[:-1, :-1] @ images.T,
        far @ joint[:-1, :-1] @ far.T,
        rtol=0.0,
        atol=1e-6,
    )


def test_the_maximum_is_that_of_near_data_and_prior():
    linear = Linear.of(11)
    term, _ = linear.joined()
    curvature = np.asarray(term.whiten.T @ term.whiten)

    def height(xi):
        return linear.log_prob(xi) - 0.5 * xi @ xi

    best, step = np.asarray(term.center), 1e-3
    for axis in np.eye(FLUX):
        up, down = (height(best + s * axis) for s in (step, -step))
        assert abs(up - down) / (2.0 * step) < 1e-3
        bend = (up - 2.0 * height(best) + down) / step**2
        assert -bend == pytest.approx(float(axis @ curvature @ axis), rel=1e-3)
    known = near_constraint([term], FLUX)
    away = np.asarray(term.whiten) @ (np.asarray(known.mean) - best)
    assert np.linalg.norm(away) < 0.1
    np.testing.assert_allclose(known.precision, curvature, atol=0.1 * curvature.max())
    whole = np.asarray(known.root @ known.root.T @ known.precision)
    np.testing.assert_allclose(whole, np.eye(FLUX), atol=1e-9)


@pytest.mark.parametrize("size", [0.6, 1.1, 1.4])
def test_the_size_of_the_flux_is_not_seen(size):
    """A flux that is larger everywhere leaves the near data as likely: only its shape counts."""
    linear = Linear.of(3)
    grown = linear._replace(changes=0.1 * linear.design[None], rate=np.array([0.1]))
    term, follow = grown.joined()
    xi = np.array([10.0 * (size - 1.0)])
    assert float(term.log_prob(xi)) == pytest.approx(float(term.log_prob(np.zeros(1))), abs=1e-9)
    np.testing.assert_allclose(follow.single, 0.0, atol=1e-10)
    np.testing.assert_allclose(follow.double, 0.0, atol=1e-10)


def test_directions_without_signal_are_left_out():
    """Rows that hardly anything reaches cost time, and change the likelihood of the flux little."""
    linear = Linear.of(4)
    faint = 1e-3 * np.random.default_rng(5).standard_normal((20, SIZE))
    noise = np.random.default_rng(6).standard_normal(20)
    more = linear._replace(
        design=np.vstack([linear.design, faint]),
        changes=np.concatenate([linear.changes, np.stack([0.1 * faint] * FLUX)], axis=1),
        observed=np.concatenate([linear.observed, noise]),
    )
    both = [own.near().evidence for own in (more, linear)]
    assert [len(own.observed) for own in both] == [ROWS, ROWS]
    xi, start = jnp.array([1.0, -0.5, 0.3]), jnp.zeros(FLUX)
    found, plain = (float(log_evidence(own, xi) - log_evidence(own, start)) for own in both)
    assert found == pytest.approx(plain, abs=1e-2)


def test_terms_take_their_own_nuisances_and_add():
    first, second = (Linear.of(seed).joined()[0] for seed in (7, 8))
    xi = jnp.array([0.3, -0.2, 0.5])
    nuisances = jnp.concatenate([jnp.array([9.0, 9.0]), xi, jnp.array([9.0])])
    moved = [replace(term, first=2) for term in (first, second)]
    together = float(near_log_prob(moved, nuisances))
    assert together == pytest.approx(float(first.log_prob(xi) + second.log_prob(xi)), rel=1e-12)
    assert float(near_log_prob((), nuisances)) == 0.0
