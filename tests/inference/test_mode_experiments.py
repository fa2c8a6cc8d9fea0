"""Pseudo-experiments over orderings and octants, and the statistic of CP violation."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from bayesxs.experiment.counted import counted_likelihood, dune_samples
from bayesxs.inference.cp_statistic import CONSERVED, StatisticExperiment, cp_statistics
from bayesxs.inference.mode_experiments import CalibrationExperiment, ModeExperiment
from bayesxs.inference.mode_sampling import sample_modes
from bayesxs.inference.mode_starts import with_counts
from bayesxs.inference.modes import MODES, mode_posterior
from bayesxs.inference.priors import Flat, Gaussian
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.physics.nufit import NUFIT_6_0

PRIORS = {
    "s2_13": Gaussian(0.02215, 0.002),
    "s2_23": Flat(0.36, 0.64),
    "dm31": Flat(2.3e-3, 2.7e-3),
}
TRUTH = NUFIT_6_0._replace(dcp=0.5 * np.pi, s2_23=0.48)
LANES = SamplerSettings(chains=8, warmup=100, draws=100, target_accept=0.8, record_every=100)


@pytest.fixture(scope="module")
def experiment() -> ModeExperiment:
    """Three parameters and the phase, statistics only, where all modes are alive."""
    full = counted_likelihood(dune_samples(6.5 / 20.0), parameters=TRUTH)
    rates = replace(full.rates, widths=full.rates.widths[:, :0])
    posterior = mode_posterior(replace(full, rates=rates, nuisances=()), PRIORS)
    return ModeExperiment(posterior, LANES, batch=2, thin=2, seed=1)


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


def test_probabilities_are_those_of_a_run(experiment: ModeExperiment) -> None:
    out = CalibrationExperiment(experiment).run(0)
    counts = experiment.data(0, experiment.truths(0))
    assert out["draws/dcp"].shape == (2, 50) and np.all(np.abs(out["draws/dcp"]) <= np.pi)
    settings = replace(LANES, chains=2, draws=300)
    whole = sample_modes(with_counts(experiment.posterior, counts[0]), settings, jax.random.key(0))
    normal = sum(p for p, m in zip(whole.probabilities, whole.modes, strict=True) if m.ordering > 0)
    upper = sum(p for p, m in zip(whole.probabilities, whole.modes, strict=True) if m.upper)
    assert out["normal"][0] == pytest.approx(normal, abs=0.05)
    assert out["upper"][0] == pytest.approx(upper, abs=0.05)
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
