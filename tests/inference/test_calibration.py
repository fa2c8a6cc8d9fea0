"""Ranks are uniform where posteriors are right, and intervals are what their equations say.

Seeds are fixed. Where a test has a false-alarm rate or a Monte-Carlo tolerance, it is stated.
"""

import numpy as np
import pytest
from arviz_stats.ecdf_utils import ecdf_pit
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayesxs.inference.calibration import (
    UNIFORM,
    coverage,
    draws_kept,
    ecdf_band,
    pit,
    rank_statistics,
    uniformity,
)

PRIOR, ERROR = 1.5, 0.8  # standard deviations of a Gaussian and of one measurement of it


def campaign(rng, experiments=1000, draws=200, width=1.0, shift=0.0):
    """Truths from a Gaussian prior, and draws of their conjugate posteriors, perhaps wrong ones."""
    truth = PRIOR * rng.standard_normal(experiments)
    measured = truth + ERROR * rng.standard_normal(experiments)
    variance = 1.0 / (PRIOR**-2 + ERROR**-2)
    mean, sd = variance * measured / ERROR**2, np.sqrt(variance)
    noise = rng.standard_normal((experiments, draws))
    return truth, (mean + shift * sd)[:, None] + width * sd * noise


def judged(rng, thin=2, **wrong):
    truth, draws = campaign(rng, **wrong)
    kept = draws_kept(draws.shape[1], thin)
    return uniformity(pit(rank_statistics(draws, truth, thin, rng), kept, rng))


def test_conjugate_posteriors_are_uniform():
    # A 95 % band and a p-value: each has a false alarm in 5 % and 1 % of seeds
    result = judged(np.random.default_rng(1))
    assert result.inside and result.shape == UNIFORM
    assert result.worst <= 1.0 and result.p_band > 0.05 and result.p_value > 0.01
    assert result.number == 1000


def test_false_alarms_are_as_rare_as_the_level_says():
    # 200 campaigns of 200: binomial standard error 1.5 %, so that 3 sigma are 4.6 %
    rng = np.random.default_rng(2)
    results = [judged(rng, experiments=200, draws=60) for _ in range(200)]
    alarms = [not r.inside for r in results]
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.046)
    assert alarms == [r.p_band < 0.05 for r in results] == [r.worst > 1.0 for r in results]
    # Standard errors of the median and of (q84 - q16)/2 of 200 Gaussians, from those of quantiles
    low, density = stats.norm.cdf(-1.0), stats.norm.pdf(1.0)
    errors = np.sqrt([np.pi / 2.0, 0.5 * (low - 2.0 * low**2) / density**2]) / np.sqrt(200.0)
    moments = [[r.offset for r in results], [r.spread - 1.0 for r in results]]
    pulls = np.array(moments) / errors[:, None]
    assert np.std(pulls, axis=1) == pytest.approx(1.0, abs=0.15)  # 3 sigma of a sample of 200
    assert np.mean(pulls, axis=1) == pytest.approx(0.0, abs=0.21)


@pytest.mark.parametrize(
    ("wrong", "shape"),
    [
        ({"width": 0.7}, "too narrow"),
        ({"width": 1.4}, "too wide"),
        ({"shift": 0.3}, "shifted up"),
        ({"shift": -0.3}, "shifted down"),
        ({"width": 0.6, "shift": 0.3}, "too narrow and shifted up"),
    ],
)
def test_wrong_posteriors_are_flagged_and_named(wrong, shape):
    rng = np.random.default_rng(3)
    for _ in range(5):
        result = judged(rng, **wrong)
        assert not result.inside and result.worst > 1.0
        assert result.p_band < 1e-4 and result.p_value < 1e-4
        assert result.shape == shape
        # Standard errors are 4 % and 3 % of the spread
        assert result.offset == pytest.approx(
            -wrong.get("shift", 0.0) / wrong.get("width", 1.0), abs=0.15
        )
        assert result.spread == pytest.approx(1.0 / wrong.get("width", 1.0), rel=0.12)


def test_ranks_count_the_kept_draws_below():
    draws = np.array([[3.0, 9.0, 1.0, 9.0, 2.0, 9.0], [5.0, 0.0, 6.0, 0.0, 7.0, 0.0]])
    ranks = rank_statistics(draws, [2.5, 8.0], 2, np.random.default_rng(0))
    assert ranks.tolist() == [2, 3]
    assert draws_kept(6, 2) == 3 and draws_kept(7, 2) == 4 and draws_kept(5, 1) == 5


def test_ties_are_broken_uniformly():
    # Poisson numbers of few events tie often; a chi-square p below 1e-3 in 0.1 % of seeds
    rng = np.random.default_rng(4)
    values = rng.poisson(1.0, (20000, 10))
    ranks = rank_statistics(values[:, 1:], values[:, 0], 1, rng)
    assert stats.chisquare(np.bincount(ranks, minlength=10)).pvalue > 1e-3
    assert set(rank_statistics(np.ones((500, 4)), np.ones(500), 1, rng)) == {0, 1, 2, 3, 4}


@given(kept=st.integers(1, 400), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_pit_spreads_each_rank_over_its_own_share(kept, seed):
    ranks = np.arange(kept + 1)
    u = pit(ranks, kept, np.random.default_rng(seed))
    assert np.all(np.floor(u * (kept + 1) * (1.0 + 1e-15) + 1e-12) == ranks)
    assert np.all((u >= 0.0) & (u < 1.0))


def test_band_holds_the_stated_part_of_uniform_samples():
    # 8000 samples: Monte-Carlo standard error 0.24 %, tolerance 3 sigma
    rng = np.random.default_rng(5)
    for number, level in ((60, 0.95), (150, 0.8)):
        band = ecdf_band(number, level)
        u = np.sort(rng.uniform(size=(8000, number)), axis=1)
        ecdf = np.stack([np.searchsorted(row, band.points, side="right") for row in u]) / number
        slack = 1e-9
        held = np.all((ecdf >= band.lower - slack) & (ecdf <= band.upper + slack), axis=1)
        error = np.sqrt(band.coverage * (1.0 - band.coverage) / 8000)
        assert np.mean(held) == pytest.approx(band.coverage, abs=3.0 * error)
        assert level <= band.coverage < level + 0.01


def test_band_of_two_numbers_by_hand():
    # At 1/2, the only point, counts 0, 1, 2 have probabilities 1/4, 1/2, 1/4: tails are 1/4 at
    # least, so that 95 % needs all of them and 50 % only the middle one
    assert ecdf_band(2, 0.95).coverage == pytest.approx(1.0, abs=1e-12)
    narrow = ecdf_band(2, 0.49)
    assert (narrow.lower[0], narrow.upper[0]) == (0.5, 0.5)
    assert narrow.coverage == pytest.approx(0.5, abs=1e-12)


def test_band_agrees_with_the_simulation_of_arviz():
    # Its 4000 simulations leave some percent in the tail probability: one count at some points
    number = 200
    points, _, lower, upper = ecdf_pit(
        np.linspace(0.0, 1.0, number), 0.95, 4000, rng=np.random.default_rng(6)
    )
    band = ecdf_band(number)
    assert points[1:-1] == pytest.approx(band.points)
    assert np.max(np.abs(lower[1:-1] - band.lower)) < 1.5 / number
    assert np.max(np.abs(upper[1:-1] - band.upper)) < 1.5 / number


def test_larger_bands_hold_smaller_ones():
    small, large = ecdf_band(120, 0.68), ecdf_band(120, 0.95)
    assert np.all(large.lower <= small.lower) and np.all(large.upper >= small.upper)
    assert np.allclose(small.lower + small.upper[::-1], 1.0)  # symmetric


@given(number=st.integers(1, 500), share=st.floats(0.0, 1.0), nominal=st.floats(0.05, 0.99))
@settings(max_examples=40, deadline=None)
def test_coverage_errors_are_binomial(number, share, nominal):
    hits = round(share * number)
    result = coverage(np.arange(number) < hits, nominal)
    assert result.fraction == hits / number
    assert result.error == pytest.approx(stats.binom.std(number, nominal) / number)
    expected = (hits - stats.binom.mean(number, nominal)) / stats.binom.std(number, nominal)
    assert result.pull == pytest.approx(expected, abs=1e-9)
    assert result.p_value == pytest.approx(stats.binomtest(hits, number, nominal).pvalue)
    # Wilson: the score at either end is that of the confidence
    z = stats.norm.ppf(0.84)
    for end in (result.low, result.high):
        if 1e-9 < end < 1.0 - 1e-9:
            score = abs(result.fraction - end) / np.sqrt(end * (1.0 - end) / number)
            assert score == pytest.approx(z, rel=1e-6)
    exact = coverage(np.arange(number) < hits, nominal, 0.9, "exact")
    if 0 < hits < number:
        assert stats.binom.sf(hits - 1, number, exact.low) == pytest.approx(0.05, rel=1e-6)
        assert stats.binom.cdf(hits, number, exact.high) == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: rank_statistics(np.ones((3, 4)), np.ones(2), 1, rng),
        lambda rng: rank_statistics(np.ones((3, 0)), np.ones(3), 1, rng),
        lambda rng: rank_statistics(np.ones((3, 4)), np.ones(3), 0, rng),
        lambda rng: rank_statistics(np.full((3, 4), np.nan), np.ones(3), 1, rng),
        lambda rng: pit([5], 4, rng),
        lambda rng: uniformity([0.5]),
        lambda rng: uniformity([0.5, 1.2]),
        lambda rng: uniformity([0.5, np.nan]),
        lambda rng: ecdf_band(1),
        lambda rng: ecdf_band(10, 1.0),
        lambda rng: coverage([], 0.68),
        lambda rng: coverage([True], 68.0),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(ValueError, match=r"."):
        call(np.random.default_rng(0))
