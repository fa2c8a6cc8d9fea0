"""Pseudo-experiments over orderings and octants, and the statistic of CP violation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from bayesxs.inference.asimov import DCP, THETA23, minimise
from bayesxs.inference.cp_statistic import CONSERVED, StatisticExperiment, cp_statistics
from bayesxs.inference.mode_experiments import CalibrationExperiment, ModeExperiment
from bayesxs.inference.mode_starts import fit_problems, with_counts
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


def test_minima_on_both_sides_of_maximal_violation_are_found(experiment: ModeExperiment) -> None:
    """The statistic is that of a scan over dcp, from other angles, in all orderings and octants."""
    own = experiment.posterior.likelihood
    folded = tuple(5.0 * t for t in own.rates.folded)
    rates = replace(own.rates, events=5.0 * own.rates.events, folded=folded)
    posterior = replace(experiment.posterior, likelihood=replace(own, rates=rates))
    many = replace(experiment, posterior=posterior, batch=4)
    counts = many.data(0, many.truths_at(0, np.pi))
    q, phases = cp_statistics(posterior, counts)
    scan = np.linspace(-np.pi, np.pi, 24, endpoint=False)
    rows = fit_problems(posterior, counts, tuple(scan))
    start, free = np.array(rows.start), np.array(rows.free)
    start[:, THETA23] = 0.25 * np.pi + 0.05 * np.sign(start[:, THETA23] - 0.25 * np.pi)
    free[:, DCP] = False
    fits = minimise(posterior.likelihood.fitted, 0, rows._replace(start=start, free=free), steps=30)
    chi2 = fits.chi2.reshape(len(counts), -1, len(scan)).min(axis=1)
    # The lowest phase of the scan, and the parabola through it and its neighbors
    best = np.argmin(chi2, axis=1)
    left, low, right = (chi2[np.arange(len(counts)), (best + n) % len(scan)] for n in (-1, 0, 1))
    bend = left + right - 2.0 * low
    lowest = low - (left - right) ** 2 / (8.0 * bend)
    place = scan[best] + 0.5 * (left - right) / bend * (scan[1] - scan[0])
    np.testing.assert_allclose(q, chi2[:, [0, 12]].min(axis=1) - lowest, atol=0.15)
    away = np.abs((phases - place + np.pi) % (2.0 * np.pi) - np.pi)
    assert np.all(away < 0.1)
