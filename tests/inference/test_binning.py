"""Merged bins: sums of bins, which tell nearly as much about the parameters."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.inference.binning import bin_groups, merged
from bayesxs.inference.channel import FarChannel, pointwise_log_density, scores_and_densities
from bayesxs.inference.pseudo_experiments import BinnedExperiment

LOSS = 0.02


@pytest.fixture(scope="module")
def groups(experiment) -> np.ndarray:
    """Groups of the bins of one channel."""
    return grouped(experiment, LOSS)


@pytest.fixture(scope="module")
def points(experiment) -> np.ndarray:
    """Forty draws of dm31, s2_23 and two nuisances from the prior, other ones than those merged."""
    rng = np.random.default_rng(5)
    drawn = [rng.uniform(prior.low, prior.high, 40) for prior in experiment.priors.values()]
    return np.concatenate([np.stack(drawn, axis=1), rng.standard_normal((40, 2))], axis=1)


def grouped(experiment: BinnedExperiment, loss: float) -> np.ndarray:
    e = experiment
    (found,) = bin_groups(e.channels, e.sizes, e.priors, e.fixed, loss)
    return found


def shares(channel: FarChannel, experiment: BinnedExperiment, points: np.ndarray) -> np.ndarray:
    """What falls into each bin, shape (points, bins)."""
    density = jax.jit(pointwise_log_density)
    rows = []
    for point in points:
        at = experiment.fixed._replace(**dict(zip(experiment.priors, point, strict=False)))
        rows.append(np.exp(np.asarray(density(channel, at, jnp.asarray(point[2:])))))
    return np.array(rows)


def test_a_merged_bin_holds_what_its_bins_hold(experiment, groups, points):
    few = merged(experiment.channels[0], groups)
    fine, coarse = (shares(c, experiment, points) for c in (experiment.channels[0], few))
    sums = np.stack([fine[:, groups == g].sum(axis=1) for g in range(groups.max() + 1)], axis=1)
    np.testing.assert_allclose(coarse, sums, rtol=1e-6)
    assert few.nuisances == 2
    assert len(few.right[0]) == len(few.knots) < len(experiment.channels[0].right[0])


def test_many_bins_become_few(groups):
    assert set(groups) == set(range(groups.max() + 1))
    assert 4 <= groups.max() + 1 <= 40  # of sixty


def test_merging_nothing_changes_nothing(experiment, points):
    # Sums, knots and core take another way through the same numbers
    alone = merged(experiment.channels[0], np.arange(60))
    expected = shares(experiment.channels[0], experiment, points)
    np.testing.assert_allclose(shares(alone, experiment, points), expected, rtol=1e-6)


def test_the_information_lost_is_what_was_allowed(experiment, groups, points):
    """Merging never adds information (data processing), and loses on average what it may."""
    matrices = []
    for channel in (experiment.channels[0], merged(experiment.channels[0], groups)):
        scores, densities = scores_and_densities(
            (channel,), points, experiment.fixed, tuple(experiment.priors)
        )
        p = np.exp(densities)
        scores = scores - np.einsum("mn,mnk->mk", p, scores)[:, None] / p.sum(axis=1)[:, None, None]
        matrices.append(2000 * np.einsum("mn,mnk,mnl->mkl", p, scores, scores))
    full, kept = matrices
    prior = np.diag([12.0 / (p.high - p.low) ** 2 for p in experiment.priors.values()] + [1.0, 1.0])
    lost, total = (np.linalg.solve(full + prior, m) for m in (full - kept, full))
    part = np.trace(lost, axis1=1, axis2=2).mean() / np.trace(total, axis1=1, axis2=2).mean()
    assert 0.2 * LOSS < part < 1.5 * LOSS
    assert np.all(np.linalg.eigvalsh(full - kept) > -1e-6 * np.linalg.eigvalsh(full)[:, -1:])


def test_data_far_apart_stay_distinct(experiment, groups, points):
    """Relative entropy between any two of forty points, not only between neighbours."""
    fine = shares(experiment.channels[0], experiment, points)
    coarse = np.stack([fine[:, groups == g].sum(axis=1) for g in range(groups.max() + 1)], axis=1)

    def entropies(p: np.ndarray) -> np.ndarray:
        p = p / p.sum(axis=1, keepdims=True)
        return np.sum(p[:, None] * np.log(p[:, None] / p[None]), axis=2)

    different = 2000 * entropies(fine) > 1.0  # pairs that the data tell apart
    ratio = (entropies(coarse) / np.where(different, entropies(fine), 1.0))[different]
    assert different.sum() > 500
    assert np.all(ratio < 1.0 + 1e-9)
    assert np.mean(ratio) > 1.0 - 2.0 * LOSS
    assert np.min(ratio) > 0.7


def test_less_loss_takes_more_bins(experiment):
    numbers = [grouped(experiment, loss).max() + 1 for loss in (1.0, 0.2, 0.02, 0.001, 0.0)]
    assert numbers[0] == 1
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 60


def test_bins_that_say_the_same_are_merged_without_loss(experiment):
    """Two bins that are the same but for their size."""
    channel = experiment.channels[0]
    halves = np.repeat(np.arange(60), 2)
    twice = replace(
        channel,
        left=channel.left[halves],
        log_reference=channel.log_reference[halves] + jnp.log(jnp.tile(jnp.array([0.3, 0.7]), 60)),
        weights=channel.weights[halves],
    )
    pairs = grouped(replace(experiment, channels=(twice,)), 1e-9).reshape(60, 2)
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])
