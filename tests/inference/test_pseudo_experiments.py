"""Pseudo-experiments: drawn from prior and model, sampled in batches that do not matter."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bayesxs.inference.channel import pointwise_log_density
from bayesxs.inference.priors import Flat, Gaussian


def test_truths_follow_the_prior(experiment, nature):
    """Kolmogorov-Smirnov; false alarms: 4 in 1000."""
    priors = {"dm31": Gaussian(2.5e-3, 1e-5), "s2_23": Flat(0.3, 0.7)}
    many = replace(experiment, priors=priors, settings=replace(experiment.settings, chains=4000))
    truths, xi = many.truths(0)
    expected = [
        (truths.dm31, stats.norm(2.5e-3, 1e-5)),
        (truths.s2_23, stats.uniform(0.3, 0.4)),
        (xi[:, 0], stats.norm()),
        (xi[:, 1], stats.norm()),
    ]
    for drawn, distribution in expected:
        assert stats.kstest(np.asarray(drawn), distribution.cdf).pvalue > 1e-3
    assert truths.s2_13 == nature.s2_13  # fixed


def test_counts_follow_the_density_of_their_own_truth(experiment):
    """Pearson's chi-square of each of 40 pseudo-experiments; false alarms: 4 in 1000."""
    many = replace(experiment, settings=replace(experiment.settings, chains=40), sizes=(200_000,))
    truths, xi = many.truths(0)
    (counts,) = many.data(0, truths, xi)
    assert np.all(counts.sum(axis=1) == 200_000)
    for number in range(40):
        at = truths._replace(dm31=truths.dm31[number], s2_23=truths.s2_23[number])
        share = np.exp(np.asarray(pointwise_log_density(many.channels[0], at, xi[number])))
        assert share.sum() == pytest.approx(1.0, abs=1e-6)  # a density of bins
        found = stats.chisquare(counts[number], 200_000 * share / share.sum())
        assert found.pvalue > 1e-4


@pytest.fixture(scope="module")
def whole(experiment) -> dict[str, np.ndarray]:
    """The first four pseudo-experiments in one batch."""
    return experiment.run(0)


def test_a_batch_tells_of_each_pseudo_experiment(whole, experiment):
    truths, xi = experiment.truths(0)
    np.testing.assert_array_equal(whole["truth/dm31"], truths.dm31)
    np.testing.assert_array_equal(whole["truth/nuisance"], xi)
    s = whole["draws/sin2_theta23"]
    np.testing.assert_allclose(whole["draws/sin2_2theta23"], 4.0 * s * (1.0 - s), rtol=1e-12)
    assert s.shape == whole["draws/dm31"].shape == whole["draws/log_likelihood"].shape == (4, 10)
    below = whole["below/nuisance"]
    assert below.shape == (4, 2)
    assert np.all((below >= 0) & (below <= 10))


def test_a_result_does_not_depend_on_its_batch(whole, experiment):
    """But for rounding, which a chain amplifies step by step: hence short ones."""
    later = experiment.run(2)
    for name, value in whole.items():
        np.testing.assert_allclose(value[2:], later[name][:2], rtol=1e-5, err_msg=name)
    assert not np.allclose(whole["truth/dm31"][:2], later["truth/dm31"][:2], rtol=1e-6)


def test_it_travels_without_what_was_compiled(whole, experiment):
    assert "sampler" in vars(experiment)
    copy = pickle.loads(pickle.dumps(experiment))
    assert "sampler" not in vars(copy)
    truths, xi = copy.truths(0)
    np.testing.assert_array_equal(truths.dm31, whole["truth/dm31"])
    (counts,), (expected,) = copy.data(0, truths, xi), experiment.data(0, truths, xi)
    np.testing.assert_array_equal(counts, expected)


def test_data_of_many_events_give_back_their_truth(many):
    """Pulls of 12 posteriors from 50 000 events: chi-square; false alarms: 2 in 1000."""
    precise = replace(many, sizes=(50_000,), seed=1)
    batches = [precise.run(first) for first in (0, 4, 8)]
    found = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    draws, truth = found["draws/dm31"], found["truth/dm31"]
    pulls = (draws.mean(axis=1) - truth) / draws.std(axis=1)
    assert len(np.unique(truth)) == 12
    assert stats.chi2(12).sf(np.sum(pulls**2)) > 1e-3
    assert stats.chi2(12).cdf(np.sum(pulls**2)) > 1e-3
    assert np.all(draws.std(axis=1) < 0.2 * 7e-4)  # the data, not the prior, tell
    assert not np.isnan(found["n_steps"]).any()
