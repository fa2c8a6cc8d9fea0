"""Goodness of fit of counts: known distributions where the model holds, alarm where it does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bayesxs.inference.goodness import chi_square, merged, predictive_p_value, pulls

SHAPE = np.array([400.0, 90.0, 30.0, 12.0, 1.5, 0.7, 0.2, 0.0])


def test_chi_square_is_that_of_scipy_with_small_bins_taken_together():
    rng = np.random.default_rng(0)
    counts = rng.poisson(SHAPE)
    mean = SHAPE * counts.sum() / SHAPE.sum()
    observed, expected = (np.append(a[:3], a[3:].sum()) for a in (counts, mean))
    reference = stats.chisquare(observed, expected)
    found = chi_square(counts, 7.0 * SHAPE)
    assert found.chi2 == pytest.approx(reference.statistic)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.bins == len(observed)


def test_fitted_parameters_take_degrees_of_freedom():
    """A straight line through 30 points takes two; p-values are even. False alarms: 1 in 1000."""
    rng = np.random.default_rng(1)
    x = np.linspace(-1.0, 1.0, 30)
    mean = 4000.0 * (1.0 + 0.3 * x)
    design = np.stack([np.ones(30), x], axis=1) / np.sqrt(mean)[:, None]
    values = []
    for _ in range(300):
        counts = rng.poisson(mean)
        fit, *_ = np.linalg.lstsq(design, counts / np.sqrt(mean), rcond=None)
        fitted = fit[0] + fit[1] * x
        # The size is one of the two already
        values.append(chi_square(counts, fitted, 1.0).p_value)
    assert stats.kstest(values, "uniform").pvalue > 1e-3


def test_pulls_of_counts_have_unit_width():
    """For 2000 bins; false alarms: 1 in 10 000."""
    rng = np.random.default_rng(2)
    mean = rng.uniform(50.0, 500.0, 2000)
    found = pulls(rng.poisson(mean), mean)
    assert abs(found.std() - 1.0) < 4.0 / np.sqrt(2.0 * 2000)
    assert np.isnan(pulls([1.0, 2.0, 0.0], [1.0, 2.0, -1.0])[2])


@given(
    st.lists(st.floats(0.0, 50.0), min_size=1, max_size=12).filter(lambda v: sum(v) > 0.0),
    st.integers(0, 2**32 - 1),
)
def test_merging_loses_no_events(expected, seed):
    mu = np.array(expected)
    counts = np.random.default_rng(seed).poisson(3.0, (2, len(mu))).astype(float)
    rows, kept = merged(counts, mu)
    np.testing.assert_allclose(kept.sum(), mu.sum())
    np.testing.assert_array_equal(rows.sum(axis=1), counts.sum(axis=1))
    assert np.all(kept > 0.0)
    assert np.all(kept >= 5.0) or len(kept) == 1


def test_predictive_p_values_know_data_of_the_model_from_others():
    """With predictions independent of the data p is even; false alarms: 1 in 1000."""
    rng = np.random.default_rng(3)
    share = SHAPE / SHAPE.sum()
    values = [
        predictive_p_value(rng.multinomial(500, share), rng.multinomial(500, share, 199))
        for _ in range(300)
    ]
    assert stats.kstest(values, "uniform").pvalue > 1e-3
    other = rng.multinomial(500, np.roll(share, 1))
    assert predictive_p_value(other, rng.multinomial(500, share, 199)) == 0.0
    assert predictive_p_value(np.zeros(8), np.zeros((5, 8))) == 1.0
