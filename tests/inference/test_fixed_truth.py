"""Intervals at a fixed truth: against other optimisers, each other's limits, and other batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from bayesxs.inference import fixed_truth
from bayesxs.inference.channel import log_likelihood
from bayesxs.inference.fixed_truth import (
    INTERVALS,
    BatchFits,
    IntervalExperiment,
    WidthExperiment,
    truths_at,
)
from bayesxs.inference.intervals import influence_acceleration, profile_interval
from bayesxs.inference.priors import Flat

POINT = {"s2_23": 0.42, "dm31": 2.5e-3}


@pytest.fixture(scope="module")
def batch(many):
    """Truths, counts and fits of four pseudo-experiments."""
    truths, xi = truths_at(many, 0, POINT)
    counts = many.data(0, truths, xi)
    return truths, counts, BatchFits(many, truths, counts)


def test_all_have_the_same_truth_and_nuisances_of_their_own(experiment):
    truths, xi = truths_at(experiment, 0, {"s2_23": 0.42})
    assert np.all(np.asarray(truths.s2_23) == 0.42)
    np.testing.assert_array_equal(truths.dm31, np.full(4, experiment.fixed.dm31))
    assert len({tuple(row) for row in np.asarray(xi)}) == 4


def minus_profile(experiment, counts, dm31=None):
    """Minimise -log L of one pseudo-experiment over everything but dm31, by another method."""
    channel = replace(experiment.channels[0], weights=counts)

    def height(point):
        s2_23, *rest = point
        split = rest.pop(0) * 1e-3 if dm31 is None else dm31
        xi = np.array(rest)
        parameters = experiment.fixed._replace(s2_23=s2_23, dm31=split)
        value = log_likelihood((channel,), parameters, xi)
        return -float(value) + 0.5 * float(xi @ xi)

    options = {"xatol": 1e-6, "fatol": 1e-6, "maxiter": 4000}
    third = [] if dm31 else [2.5]
    octants = [
        optimize.minimize(height, [s2_23, *third, 0.0, 0.0], method="Nelder-Mead", options=options)
        for s2_23 in (0.42, 0.6)
    ]
    return min((found.fun, tuple(found.x)) for found in octants)


def test_estimates_are_maxima(many, batch):
    _, counts, fits = batch
    for number in range(2):
        _, at = minus_profile(many, counts[0][number])
        # Fits stop within a hundredth of a standard error, 7e-6 of dm31 and 5e-3 of s2_23
        assert fits.estimate["dm31"][number] == pytest.approx(1e-3 * at[1], abs=1e-7)
        assert fits.estimate["s2_23"][number] == pytest.approx(at[0], abs=2e-4)


def test_profile_intervals_end_where_the_likelihood_has_fallen(many, batch):
    _, counts, fits = batch
    best, _ = minus_profile(many, counts[0][0])
    for level in (0.68, 0.9):
        for end in profile_interval(*fits.profile("dm31"), level)[0]:
            fallen, _ = minus_profile(many, counts[0][0], end)
            expected = 0.5 * stats.chi2.ppf(level, 1)
            assert fallen - best == pytest.approx(expected, rel=0.05)


def test_with_many_events_in_one_octant_all_kinds_agree(many):
    """Lengths of 90 % intervals from 100 replicas or 300 draws: 14 % each, means of four."""
    lower = replace(many, priors=dict(many.priors) | {"s2_23": Flat(0.3, 0.5)})
    intervals = IntervalExperiment(lower, (POINT,), (0.68, 0.9), 100).run(0, 0)
    lengths = {
        kind: np.diff(intervals[f"interval/{kind}/dm31"][:, 1], axis=1).mean() for kind in INTERVALS
    }
    for kind, length in lengths.items():
        assert length == pytest.approx(lengths["profile"], rel=0.25), kind
    assert np.all(intervals["converged"] == 1.0)


def test_sin2_2theta23_is_the_better_octant(batch):
    *_, fits = batch
    s, height = fits.profile("sin2_theta23")
    value, folded = fits.profile("sin2_2theta23")
    np.testing.assert_allclose(value, 4.0 * s[: len(value)] * (1.0 - s[: len(value)]))
    assert np.all(np.diff(value) > 0.0) and value[-1] == 1.0
    np.testing.assert_array_equal(folded.max(axis=1), height.max(axis=1))


def test_accelerations_are_those_of_leaving_events_out(many, batch):
    """Of the estimates without one event of each bin in turn (Efron's infinitesimal jackknife)."""
    truths, counts, fits = batch
    own = counts[0][0]
    # Steps of 1/100 000 are below the tolerance of fits: a hundred events at a time
    hundred = np.maximum(own - 100.0 * np.eye(len(own)), 0.0)
    moved = fits.estimate["dm31"][0] - BatchFits(many, truths, (hundred,)).estimate["dm31"]
    jackknife = influence_acceleration(moved, own)
    assert fits.accelerations()["dm31"][0] == pytest.approx(float(jackknife), abs=3e-4)


def test_a_result_does_not_depend_on_its_batch(experiment, monkeypatch):
    """The last two of a batch are the first two of another, but for rounding.

    A chain amplifies rounding step by step: hence short ones. Profiles are as good with few points.
    """
    monkeypatch.setattr(fixed_truth, "PROFILE_POINTS", 12)
    intervals = IntervalExperiment(experiment, (POINT,), (0.68,), 12)
    early, late = (intervals.run(0, first) for first in (40, 42))
    for name, value in early.items():
        np.testing.assert_allclose(value[2:], late[name][:2], rtol=1e-4, atol=1e-9, err_msg=name)
    assert not np.allclose(early["estimate/dm31"][:2], late["estimate/dm31"][:2], rtol=1e-6)


def test_more_events_narrow_the_posterior(many):
    """By four for sixteen times as many, statistics alone; nuisances hold the last one up."""
    widths = WidthExperiment(many, ((1000,), (16_000,)))
    few, more = (np.median(widths.run(number, 0)["sd/dm31"]) for number in (0, 1))
    assert 2.5 < few / more < 4.8
