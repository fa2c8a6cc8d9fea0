"""Modes of the learned cross section as nuisances of four samples in lepton kinematics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesxs
from bayesxs.detector.lepton import LeptonSamples
from bayesxs.experiment.cross_section import LearnedCrossSection
from bayesxs.experiment.shared import learned_cross_sections
from bayesxs.experiment.uncertainty import GaussianProcess
from bayesxs.inference.asimov import Problems, coordinates, minimise
from bayesxs.physics.nufit import NUFIT_6_0

from .test_lepton import MODES, Quarks

GRID = bayesxs.Grid(1, 16, 16, 12, 12, (8, 6))

YEARS = {"years": 2.0, "antineutrino_years": 3.0, "detectors": {}}
Learned = Sequence[LearnedCrossSection]


@pytest.fixture(scope="module", autouse=True)
def exact():
    """Few events and coarse grids leave little open: nothing of it is left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesxs.experiment.lepton_modes.LOST_COUNTS", 1e-4)
        patch.setattr("bayesxs.experiment.lepton_modes.LOST_ERROR", 1e-4)
        patch.setattr("bayesxs.experiment.lepton_modes.TOLERANCE", 1e-6)
        patch.setattr("bayesxs.detector.count_modes.TOLERANCE", 1e-6)
        # Scales of the process that hardly maximise its evidence serve as well
        patch.setattr("bayesxs.learning.gaussian_process.STEPS", 2)
        patch.setattr("bayesxs.experiment.geometry.CELLS", (40, 24))
        patch.setattr("bayesxs.experiment.lepton_fold._CELLS", (40, 24))
        yield


@pytest.fixture(scope="module")
def beams() -> list[bayesxs.Experiment]:
    return [bayesxs.dune_experiment(mode, Quarks(), grid=GRID) for mode in MODES]


def near_of(beams, events: float, electrons: bool = False):
    """Expected counts of so many events of each target."""
    samples = () if electrons else ("mu", "anti_mu")
    return [beam.near_data(events=events, key=0, samples=samples).expected() for beam in beams]


class Right:
    """Networks that learned everything: they stand for the fluctuations of bins only."""

    def __init__(self, target) -> None:
        sample = target.sample
        self.networks = [Quarks().structure_functions(sample.lepton_mass, sample.antineutrino)]


def with_modes(beams, events: float, electrons: bool = False) -> Learned:
    """Return the posterior that near data leave."""
    networks = {
        f"{target.name}, beam {number}": Right(target)
        for number, beam in enumerate(beams, start=1)
        for target in beam.unique_targets
    }
    near, process = near_of(beams, events, electrons), GaussianProcess()
    return learned_cross_sections(near, networks, process, shared=True, rates=True)


@pytest.fixture(scope="module")
def learned(beams) -> Learned:
    return with_modes(beams, 1e4)


@pytest.fixture(scope="module")
def samples(beams, learned) -> LeptonSamples:
    return bayesxs.lepton_samples(beams, learned, **YEARS)


def slopes(samples: LeptonSamples) -> np.ndarray:
    """Return the counts that a unit of each mode adds, (modes, bins)."""
    rates, count = samples.rates(), len(samples.cross_section)
    zero = jnp.zeros(len(samples.nuisances))
    full = jax.jit(jax.jacfwd(lambda eta: rates(NUFIT_6_0, None, eta)))(zero)
    return np.asarray(full)[:, -count:].T


def test_modes_at_zero_change_nothing(samples) -> None:
    plain = replace(samples, cross_section={})
    zero = np.zeros(len(samples.nuisances))
    np.testing.assert_array_equal(
        samples.expected(NUFIT_6_0, pulls=zero), plain.expected(NUFIT_6_0)
    )


def test_modes_are_registered_by_family_and_group(samples) -> None:
    groups = list(samples.cross_section.values())
    names = list(samples.cross_section)
    assert names[0] == "cross_section_neutrinos_0"
    assert {n.rsplit("_", 1)[0] for n in names} == {
        f"{group}_{family}"
        for group in ("cross_section", "lepton_ratio")
        for family in ("neutrinos", "antineutrinos")
    }
    registered = bayesxs.counted_likelihood(samples).nuisances[-len(names) :]
    assert [(n.name, n.group) for n in registered] == list(zip(names, groups, strict=True))


def test_a_mode_is_a_moved_cross_section(beams, learned) -> None:
    """Modes are turned, the covariance of counts is not: against cross sections folded anew.

    That of the structure functions moved by each of three modes is brought to the near rates, as
    any mean is.
    """
    chosen = {"neutrinos": [0, 1, -1], "antineutrinos": [0]}

    def part(own: LearnedCrossSection, moved: tuple[str, int] | None = None):
        targets = {}
        for name, target in own.targets.items():
            modes = target.modes[chosen[target.family]]
            mean = target.mean
            if moved and moved[0] == target.family:
                mean = mean + 1e-2 * modes[moved[1]]
            ratios = 1 if target.family == "neutrinos" else 0
            if moved:
                modes, ratios = modes[:0], 0
            targets[name] = replace(target, mean=mean, modes=modes, ratio_modes=ratios)
        return replace(own, targets=targets)

    def expected(moved: tuple[str, int] | None) -> np.ndarray:
        own = [part(one, moved) for one in learned]
        found = bayesxs.lepton_samples(beams, own, **YEARS)
        return np.asarray(replace(found, cross_section={}).expected(NUFIT_6_0))

    uncertain = bayesxs.lepton_samples(beams, [part(one) for one in learned], **YEARS)
    centre = np.asarray(uncertain.expected(NUFIT_6_0))
    error = np.sqrt(np.maximum(centre, 1.0))
    moves = [(family, k) for family, own in chosen.items() for k in range(len(own))]
    wanted = np.array([(expected(move) - centre) / 1e-2 for move in moves]) / error
    found = slopes(uncertain) / error
    covariance = wanted.T @ wanted
    difference = np.linalg.norm(found.T @ found - covariance) / np.linalg.norm(covariance)
    assert difference < 0.02


def test_data_move_modes_as_in_closed_form(samples) -> None:
    """Linear counts with unit priors: eta = (1 + A)^-1 A eta_true, A = J^T J/mu; all else known."""
    rates, pulls = samples.rates(), len(samples.nuisances)
    zero = np.zeros(pulls)
    jacobian = np.asarray(jax.jit(jax.jacfwd(lambda eta: rates(NUFIT_6_0, None, eta)))(zero))
    mu = np.asarray(rates(NUFIT_6_0, None, zero))
    true = zero.copy()
    true[-len(samples.cross_section) :] = 0.01 * np.random.default_rng(1).normal(
        size=len(samples.cross_section)
    )
    x = coordinates(NUFIT_6_0, np.asarray(samples.baseline.density))[None]
    counts = np.asarray(rates(NUFIT_6_0, None, true))[None]
    known = np.zeros_like(x, bool)
    found = minimise(rates, pulls, Problems(counts, x, np.full_like(x, np.inf), x, known))
    information = (jacobian.T / np.maximum(mu, 1e-30)) @ jacobian
    wanted = np.linalg.solve(np.eye(pulls) + information, information @ true)
    np.testing.assert_allclose(found.pulls[0], wanted, atol=2e-3 * np.abs(true).max())


def test_near_counts_say_how_much_is_open(beams, samples) -> None:
    """A hundred times the events of one beam leave less open, for muons as for electrons."""
    many = bayesxs.lepton_samples(beams[:1], with_modes(beams[:1], 1e6), **YEARS)
    spread = {}
    for own in (samples, many):
        error = np.sqrt(np.maximum(np.asarray(own.expected(NUFIT_6_0)), 0.1))
        sizes = np.linalg.norm(slopes(own) / error, axis=0)
        ends = np.cumsum(own.inside.sum(axis=1))[:-1]
        spread[own] = dict(zip(own.names, np.split(sizes, ends), strict=True))
    for name in many.names:
        few = np.linalg.norm(spread[samples][name])
        assert few > 1.5 * np.linalg.norm(spread[many][name])


def test_modes_of_shapes_alone_are_refused(beams, learned) -> None:
    shapes = [
        replace(one, targets={n: replace(t, rates="") for n, t in one.targets.items()})
        for one in learned
    ]
    with pytest.raises(bayesxs.InputError, match=r"modes = \d+.*learn_together"):
        bayesxs.lepton_samples(beams, shapes, **YEARS)
