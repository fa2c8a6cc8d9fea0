"""Pseudo-experiments over orderings and octants, and the statistic of CP violation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from bayesxs.inference.cp_statistic import CONSERVED, StatisticExperiment, cp_statistics
from bayesxs.inference.mode_experiments import CalibrationExperiment, ModeExperiment
from bayesxs.inference.mode_starts import with_counts
from bayesxs.inference.modes import MODES
from bayesxs.inference.sampling import SamplerSettings
from support.mode_grid import TRUTH, alive, grid

LANES = SamplerSettings(chains=8, warmup=100, draws=100, target_accept=0.8, record_every=100)


@pytest.fixture(scope="module")
def experiment() -> ModeExperiment:
    """Three parameters and the phase, statistics only, where all modes are alive."""
    return ModeExperiment(alive(), LANES, batch=2, thin=2, seed=1)


def test_truths_are_of_the_prior_and_data_of_the_truths(experiment: ModeExperiment) -> None:
    many = replace(experiment, batch=4000)
    truths = many.truths(0)
    values = many.values(truths.mode, truths.z, truths.dcp)
    share = np.bincount(truths.mode, minlength=4) / 4000
    np.testing.assert_allclose(share, 0.25, atol=0.035)  # five standard deviations
    normal = np.array([MODES[m].ordering > 0 for m in truths.mode])
    np.testing.assert_array_equal(values["dm31"] > 0.0, normal)
    inside = (values["sin2_theta23"] - 0.36) / 0.28
    assert abs(inside.mean() - 0.5) < 5.0 / np.sqrt(12 * 4000)
    counts = many.data(0, truths)
    mu = np.array(
        [
            many.posterior.likelihood.rates(
                TRUTH._replace(
                    s2_13=values["sin2_theta13"][n],
                    s2_23=values["sin2_theta23"][n],
                    dm31=values["dm31"][n],
                    dcp=truths.dcp[n],
                )
            ).sum()
            for n in range(3)
        ]
    )
    assert np.all(np.abs(counts[:3].sum(axis=1) - mu) < 5.0 * np.sqrt(mu))
    # Keys are of the number of a pseudo-experiment, not of its batch
    np.testing.assert_array_equal(experiment.truths(2).z, truths.z[2:4])
    np.testing.assert_array_equal(experiment.data(2, experiment.truths(2)), counts[2:4])


def test_probabilities_are_those_of_a_grid(experiment: ModeExperiment) -> None:
    out = CalibrationExperiment(experiment).run(0)
    counts = experiment.data(0, experiment.truths(0))
    assert out["draws/dcp"].shape == (2, 50) and np.all(np.abs(out["draws/dcp"]) <= np.pi)
    for number in range(2):
        logs = grid(with_counts(experiment.posterior, counts[number]))
        total = logsumexp(list(logs.values()))
        normal = logsumexp([logs[1.0, False], logs[1.0, True]])
        upper = logsumexp([logs[1.0, True], logs[-1.0, True]])
        assert out["normal"][number] == pytest.approx(np.exp(normal - total), abs=0.05)
        assert out["upper"][number] == pytest.approx(np.exp(upper - total), abs=0.05)
    assert np.all(out["error"] < 0.1)


def test_the_statistic_is_the_fall_of_chi2_of_a_free_phase(experiment: ModeExperiment) -> None:
    found = StatisticExperiment(experiment).run(1, 0)
    assert np.all(found["q"] >= 0.0)
    truths = experiment.truths_at(0, CONSERVED[1])
    np.testing.assert_array_equal(truths.dcp, np.pi)
    # On its expectation nothing is excluded; at maximal violation CP is
    expected = experiment.posterior.likelihood.rates
    calm = np.asarray(expected(TRUTH._replace(dcp=0.0)))
    loud = np.asarray(expected(TRUTH._replace(dcp=-0.5 * np.pi)))
    q, phases = cp_statistics(experiment.posterior, np.stack([calm, 20.0 * loud]))
    assert q[0] < 0.01
    assert q[1] > 1.0 and abs(phases[0]) < 0.1
