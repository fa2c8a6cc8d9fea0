"""Maximum likelihood against another optimiser, its bootstrap against Fisher's information."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from bayesxs.detector.density import FoldedRows, Sample
from bayesxs.inference import bootstrap as boot
from bayesxs.inference.bootstrap import Bootstrap, bootstrap, bootstrap_weights
from bayesxs.inference.channel import log_likelihood, pointwise_log_density
from bayesxs.inference.priors import Flat, Gaussian, Prior, prior_box
from bayesxs.physics.oscillation import OscillationParameters

KEY = jax.random.key(5)


def objective(
    channel: Any, names: tuple[str, ...], fixed: OscillationParameters
) -> Callable[[Any], Any]:
    """Return the log likelihood as a jitted function of the named parameters."""
    return jax.jit(
        lambda values: log_likelihood(
            [channel], fixed._replace(**{n: values[i] for i, n in enumerate(names)})
        )
    )


def maximum(height: Callable[[Any], float], box: dict[str, tuple[float, float]]) -> np.ndarray:
    """Maximise by SciPy from the best point of a grid, in the units of the box."""
    low, high = np.transpose(list(box.values()))
    grid = np.meshgrid(*[np.linspace(0.0, 1.0, 41)] * len(box), indexing="ij")
    points = np.stack([g.ravel() for g in grid], axis=1)
    heights = jax.vmap(height)(jnp.asarray(low + points * (high - low)))
    found = minimize(
        lambda u: -float(height(jnp.asarray(low + u * (high - low)))),
        points[int(np.argmax(heights))],
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * len(box),
        options={"ftol": 1e-14, "gtol": 1e-9, "eps": 1e-6},
    )
    return low + found.x * (high - low)


# --- both octants open -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def start(nature) -> dict[str, float]:
    return {"dm31": float(nature.dm31), "s2_23": float(nature.s2_23)}


@pytest.fixture(scope="module")
def both(channel, priors, nature, start) -> Bootstrap:
    return bootstrap(KEY, [channel], priors, nature, start, 150)


def test_the_estimate_is_the_highest_of_both_octants(both, channel, priors, nature):
    height = objective(channel, ("dm31", "s2_23"), nature)
    best = maximum(height, prior_box(priors))
    estimate = np.array([both.mle["dm31"], both.mle["s2_23"]])
    # A hundredth of the statistical errors, 5e-5 eV^2 and 0.1
    assert np.all(np.abs(estimate - best) < [5e-7, 1e-3])
    assert height(estimate) > height(best) - 1e-4
    # The other octant is lower
    assert height(estimate) >= height(np.array([estimate[0], 1.0 - estimate[1]]))


def test_replicas_have_shapes_and_stay_within_bounds(both, priors):
    assert both.converged.shape == (151,)
    assert both.converged.all()
    for name, prior in priors.items():
        assert both.replicas[name].shape == (150,)
        assert np.all((both.replicas[name] >= prior.low) & (both.replicas[name] <= prior.high))
    s2_23 = both.replicas["s2_23"]
    assert np.any(s2_23 < 0.5)  # replicas choose their octants
    assert np.any(s2_23 > 0.5)


def test_replicas_do_not_depend_on_how_many_follow(both, channel, priors, nature, start):
    done: list[int] = []
    few = bootstrap(KEY, [channel], priors, nature, start, 20, done.append)
    assert done == sorted(done)
    assert done[-1] == 20
    assert few.mle == both.mle
    for name, values in few.replicas.items():
        np.testing.assert_array_equal(values, both.replicas[name][:20])
    none = bootstrap(KEY, [channel], priors, nature, start, 0)
    assert none.mle == both.mle
    assert none.replicas["dm31"].shape == (0,)


def test_the_key_decides_the_replicas(both, channel, priors, nature, start):
    other = bootstrap(jax.random.key(6), [channel], priors, nature, start, 20)
    assert other.mle == both.mle
    assert np.all(other.replicas["dm31"] != both.replicas["dm31"][:20])


# --- one parameter: spread ---------------------------------------------------------------------

DM31 = {"dm31": Flat(2.2e-3, 2.9e-3)}


@pytest.fixture(scope="module")
def single(channel, nature) -> Bootstrap:
    return bootstrap(KEY, [channel], DM31, nature, {"dm31": 2.4e-3}, 600)


def test_the_spread_is_fishers(single, channel, nature):
    @jax.jit
    def log_densities(dm31):
        return jax.vmap(lambda d: pointwise_log_density(channel, nature._replace(dm31=d)))(dm31)

    best, step = single.mle["dm31"], 1e-6  # a fiftieth of the error
    behind, there, ahead = np.asarray(log_densities(best + step * jnp.array([-1.0, 0.0, 1.0])))
    scores = (ahead - behind) / (2.0 * step)
    curvature = -np.sum(ahead - 2.0 * there + behind) / step**2
    assert abs(scores.sum()) < 0.02 * np.sqrt(curvature)
    spread = single.replicas["dm31"].std(ddof=1)
    replicas = len(single.replicas["dm31"])
    # The bootstrap estimates the variance of the estimate as sum(scores^2) / curvature^2 (Huber);
    # four errors of a standard deviation from 600 draws, 12 %: false alarm 6e-5 if the estimates
    # were normal, and some per cent are allowed for their being slightly not
    sandwich = np.sqrt(np.sum(scores**2)) / curvature
    np.testing.assert_allclose(spread, sandwich, rtol=4.0 / np.sqrt(2.0 * replicas) + 0.05)
    # sum(scores^2) is the curvature too, on average over data
    squared = scores**2
    fluctuation = 0.5 * squared.std() / squared.mean() / np.sqrt(len(squared))
    rtol = 4.0 * np.hypot(1.0 / np.sqrt(2.0 * replicas), fluctuation) + 0.05
    np.testing.assert_allclose(spread, 1.0 / np.sqrt(curvature), rtol=rtol)
    # Replicas scatter around the estimate: bias below a third of the spread
    assert abs(single.replicas["dm31"].mean() - best) < spread / 3.0


# --- bounds and penalties ----------------------------------------------------------------------


def test_a_bound_binds_below_the_maximum_and_batches_do_not_matter(
    monkeypatch, single, channel, nature
):
    for name in ("BATCH", "ACCELERATOR_BATCH"):
        monkeypatch.setattr(boot, name, 51)
    bound = 2.48e-3
    assert single.mle["dm31"] > bound + 1e-5
    fit = bootstrap(KEY, [channel], {"dm31": Flat(2.2e-3, bound)}, nature, {"dm31": 2.3e-3}, 50)
    assert fit.converged.shape == (51,)
    assert fit.converged.all()
    assert fit.mle["dm31"] == pytest.approx(bound, rel=1e-12)
    # Every replica ends where it did in smaller batches, or at the bound if that lay beyond
    free = single.replicas["dm31"][:50]
    assert 5 < np.sum(free < bound) < 45
    expected = np.minimum(free, bound)
    # A hundredth of the error is what the fits converge to
    np.testing.assert_allclose(fit.replicas["dm31"], expected, rtol=0.0, atol=5e-7)


def test_a_gaussian_prior_is_a_penalty(channel, nature):
    prior = Gaussian(2.4e-3, 3e-5)
    fit = bootstrap(KEY, [channel], {"dm31": prior}, nature, {"dm31": 2.4e-3}, 0)
    likelihood = objective(channel, ("dm31",), nature)

    def height(values):
        return likelihood(values) - 0.5 * ((values[0] - prior.mean) / prior.sd) ** 2

    best = maximum(height, {"dm31": (2.2e-3, 2.6e-3)})
    np.testing.assert_allclose(fit.mle["dm31"], best[0], atol=3e-7)
    assert 2.42e-3 < fit.mle["dm31"] < 2.48e-3  # between prior and data


# --- the phase ---------------------------------------------------------------------------------


def test_the_phase_has_no_edge(response, channel_of, nature):
    rng = np.random.default_rng(3)
    electrons = Sample("mu", "e")
    folded = response(electrons, rng.uniform(0.5, 4.0, 300), rng.uniform(0.02, 0.6, 300))
    alive = folded.rows.sum(axis=1) > 0.0
    folded = FoldedRows(folded.rows[alive], folded.total)
    channel = channel_of(electrons, folded, {"dcp": Flat(-np.pi, np.pi)})
    angles = np.linspace(-np.pi, np.pi, 721)
    heights = jax.vmap(objective(channel, ("dcp",), nature))(angles[:, None])
    best = float(angles[int(np.argmax(heights))])
    # A circle that opens just below the maximum: the way there leads through the seam
    low = best - 0.1
    priors: dict[str, Prior] = {"dcp": Flat(low, low + 2.0 * np.pi)}
    for begin in (best + 0.6, best - 0.6 + 2.0 * np.pi, best - 0.6, best - 4.0 * np.pi):
        fit = bootstrap(KEY, [channel], priors, nature, {"dcp": begin}, 0)
        assert fit.converged.all()
        np.testing.assert_allclose(fit.mle["dcp"], best, atol=0.01)


# --- weights -----------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), first=st.integers(0, 10_000))
def test_weights_count_draws(seed, first):
    data = jnp.ones(50)
    key = jax.random.key(seed)
    weights = np.asarray(bootstrap_weights(key, first, 8, data))
    assert weights.shape == (8, 50)
    np.testing.assert_array_equal(weights.sum(axis=1), 50.0)
    assert np.all((weights >= 0.0) & (weights == np.round(weights)))
    if first == 0:
        np.testing.assert_array_equal(weights[0], data)
    # Replica 5 + first is the same one wherever it comes in a batch
    np.testing.assert_array_equal(bootstrap_weights(key, first + 5, 8, data)[0], weights[5])


COUNTS = np.array([1.0, 2.0, 5.0, 40.0, 0.0, 300.0, 652.0])  # a thousand events in seven bins


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), first=st.integers(0, 10_000))
def test_weights_of_bins_count_events(seed, first):
    key = jax.random.key(seed)
    weights = np.asarray(bootstrap_weights(key, first, 8, COUNTS))
    np.testing.assert_array_equal(weights.sum(axis=1), 1000.0)
    assert np.all((weights >= 0.0) & (weights == np.round(weights)))
    assert np.all(weights[:, COUNTS == 0.0] == 0.0)
    if first == 0:
        np.testing.assert_array_equal(weights[0], COUNTS)
    np.testing.assert_array_equal(bootstrap_weights(key, first + 5, 8, COUNTS)[0], weights[5])


def test_weights_of_bins_are_multinomial():
    """Mean N p_i and covariance N (p_i d_ij - p_i p_j), each to five of its Monte Carlo errors.

    Thirty-five numbers: false alarm 2e-5 where these are normal.
    """
    number = 20_000
    weights = np.asarray(bootstrap_weights(KEY, 1, number, COUNTS))
    share = COUNTS / 1000.0
    covariance = 1000.0 * (np.diag(share) - np.outer(share, share))
    apart = weights - COUNTS
    error = np.sqrt(np.diag(covariance) / number)
    assert np.all(np.abs(apart.mean(axis=0)) <= 5.0 * error)
    products = apart[:, :, None] * apart[:, None, :]
    error = products.std(axis=0) / np.sqrt(number)
    assert np.all(np.abs(products.mean(axis=0) - covariance) <= 5.0 * error)


@pytest.mark.parametrize("wrong", [[1.0, 0.5], [2.0, -1.0], [1.0, np.nan]])
def test_weights_that_are_no_counts_are_refused(wrong):
    with pytest.raises(ValueError, match="whole numbers of events"):
        bootstrap_weights(KEY, 0, 8, np.array(wrong))


def test_a_sample_without_events_has_replicas_without():
    assert bootstrap_weights(KEY, 0, 8, np.zeros(0)).shape == (8, 0)
    np.testing.assert_array_equal(bootstrap_weights(KEY, 0, 8, np.zeros(3)), np.zeros((8, 3)))


def test_events_in_bins_vary_as_the_same_events_one_by_one(channel, nature):
    """Rows of which each stands for several equal events, and the same events as rows of their own.

    Two standard deviations from 600 replicas: their ratio has an error of 4 %; 12 % are three.
    """
    events = np.arange(len(channel.weights)) % 20 == 0  # thirty events, twenty times each
    times = 20.0
    kept = {name: getattr(channel, name)[events] for name in ("left", "log_reference", "weights")}
    bins = replace(channel, **kept | {"weights": times * kept["weights"]})
    rows = {name: jnp.repeat(value, int(times), axis=0) for name, value in kept.items()}
    apart = replace(channel, **rows)
    spread = [
        bootstrap(KEY, [data], DM31, nature, {"dm31": 2.5e-3}, 600).replicas["dm31"].std(ddof=1)
        for data in (bins, apart)
    ]
    assert 0.88 < spread[0] / spread[1] < 1.12


def test_gaussian_priors_vary_as_the_measurements_that_they_are(channel, nature):
    """An estimate that is all prior has the prior's width: error 3 % from 600 replicas.

    Muon disappearance knows little of s2_13 (to 0.02), and nothing of dm21 within 3e-8.
    """
    priors = {"s2_13": Gaussian(0.022, 5e-4), "dm21": Gaussian(7.5e-5, 3e-8)}
    start = {"s2_13": 0.022, "dm21": 7.5e-5}
    fit = bootstrap(KEY, [channel], priors, nature, start, 600)
    for name, prior in priors.items():
        assert fit.replicas[name].std(ddof=1) == pytest.approx(prior.sd, rel=0.12)
        assert fit.replicas[name].mean() == pytest.approx(prior.mean, abs=5.0 * prior.sd / 24.0)
        # The data themselves have the prior's own center
        assert fit.mle[name] == pytest.approx(prior.mean, abs=0.2 * prior.sd)
    assert abs(np.corrcoef(fit.replicas["s2_13"], fit.replicas["dm21"])[0, 1]) < 0.2


def test_the_phase_varies_as_the_measurement_behind_its_prior(channel, nature):
    """Over the seam: a wrapped normal about 170 degrees; disappearance knows nothing of dcp."""
    prior = Gaussian(np.deg2rad(170.0), np.deg2rad(40.0))
    fit = bootstrap(KEY, [channel], {"dcp": prior}, nature, {"dcp": 3.0}, 600)
    offset = np.angle(np.exp(1j * (fit.replicas["dcp"] - prior.mean)))
    assert offset.std() == pytest.approx(prior.sd, rel=0.12)
    assert np.all(np.abs(fit.replicas["dcp"] - prior.mean) <= np.pi)
    assert fit.mle["dcp"] == pytest.approx(prior.mean, abs=0.05)


def test_events_are_drawn_evenly():
    # Chi-square of 50 counts: mean 49, sd 10; false alarm below 1e-6 above seven of them
    counts = sum(
        np.asarray(bootstrap_weights(KEY, first, 8, jnp.ones(50))).sum(axis=0)
        for first in range(1, 801, 8)
    )
    assert np.sum((counts - 800.0) ** 2 / 800.0) < 49.0 + 7.0 * np.sqrt(2.0 * 49.0)
