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
from bayesxs.experiment.cross_section import LearnedCrossSection, LearnedTarget
from bayesxs.experiment.geometry import Target
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
    """Few modes on coarse grids: nothing of them is left out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesxs.experiment.lepton_modes.LOST_COUNTS", 1e-4)
        patch.setattr("bayesxs.experiment.lepton_modes.LOST_ERROR", 1e-4)
        patch.setattr("bayesxs.experiment.lepton_modes.TOLERANCE", 1e-6)
        patch.setattr("bayesxs.detector.count_modes.TOLERANCE", 1e-6)
        yield


@pytest.fixture(scope="module")
def beams() -> list[bayesxs.Experiment]:
    return [bayesxs.dune_experiment(mode, Quarks(), grid=GRID) for mode in MODES]


def made_up(beam: bayesxs.Experiment, target: Target) -> LearnedTarget:
    """Return nature, whose functions may all be a few per cent larger; the last mode is electrons'.

    Modes are smooth in x and Q^2, and the same in both beams.
    """
    nodes, antineutrino = beam.nodes[target.name], target.sample.antineutrino
    mean = np.asarray(target.truth(nodes.x, nodes.q2))
    waves = [np.cos((1 + k) * nodes.x + 0.7 * k * np.log(nodes.q2 + 0.1)) for k in range(3)]
    if antineutrino:
        waves = waves[1:]
    sizes = 0.05 * np.ones(len(waves))
    sizes[-1] *= target.sample.flavor_out == "e"
    modes = (sizes[:, None] * waves)[:, :, None] * mean
    family = "antineutrinos" if antineutrino else "neutrinos"
    rates = "near" if target.sample.flavor_out == "mu" else "family"
    return LearnedTarget(nodes, mean, modes, family=family, ratio_modes=1, rates=rates)


@pytest.fixture(scope="module")
def learned(beams) -> Learned:
    return [
        LearnedCrossSection(
            {t.name: made_up(beam, t) for t in beam.unique_targets},
            beam.flux_modes,
            beam.energies.points,
        )
        for beam in beams
    ]


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


def test_a_mode_is_a_moved_cross_section(beams, learned, samples) -> None:
    """Modes are turned, the covariance of counts is not: against cross sections folded anew.

    Structure functions that are moved by one of the modes are brought to the near rates, as any
    mean is.
    """
    chosen = {"neutrinos": 3, "antineutrinos": 2}

    def moved_by(own: LearnedCrossSection, family: str, k: int) -> LearnedCrossSection:
        targets = {}
        for name, target in own.targets.items():
            changed = (
                target.mean + 1e-2 * target.modes[k] if target.family == family else target.mean
            )
            targets[name] = replace(target, mean=changed, modes=target.modes[:0], ratio_modes=0)
        return replace(own, targets=targets)

    def expected(family: str, k: int) -> np.ndarray:
        own = [moved_by(one, family, k) for one in learned]
        return np.asarray(bayesxs.lepton_samples(beams, own, **YEARS).expected(NUFIT_6_0))

    centre = np.asarray(samples.expected(NUFIT_6_0))
    error = np.sqrt(np.maximum(centre, 1.0))
    moves = [expected(family, k) for family, number in chosen.items() for k in range(number)]
    wanted = (np.array(moves) - centre) / 1e-2 / error
    found = slopes(samples) / error
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


class Right:
    """A network that learned everything: it stands for the fluctuations of bins only."""

    def __init__(self, target: Target) -> None:
        self.networks = [target.truth]


def test_near_counts_say_how_much_is_open() -> None:
    """Of the far counts of both leptons a hundred times the muons leave less."""
    beam = bayesxs.dune_experiment("neutrino", Quarks(), grid=bayesxs.Grid(1, 10, 10, 8, 8, (5, 4)))
    beam = replace(beam, samples=tuple(s for s in beam.samples if not s.antineutrino))
    networks = {target.name: Right(target) for target in beam.unique_targets}
    spread = []
    for events in (1e4, 1e6):
        near = [beam.near_data(events=events, key=0, samples=("mu",)).expected()]
        process = GaussianProcess()
        [found] = learned_cross_sections(near, networks, process, shared=True, rates=True)
        mu, e = found.targets["mu"], found.targets["e"]
        assert (mu.rates, e.rates) == ("near", "family")
        assert len(mu.modes) == len(e.modes) > mu.ratio_modes == e.ratio_modes > 0
        spread.append([np.linalg.norm(own.sizes) for own in (mu, e)])
    few, many = np.array(spread)
    assert np.all(few > 1.5 * many)


def test_modes_of_shapes_alone_are_refused(beams, learned) -> None:
    shapes = [
        replace(one, targets={n: replace(t, rates="") for n, t in one.targets.items()})
        for one in learned
    ]
    with pytest.raises(bayesxs.InputError, match=r"modes = \d+.*learn_together"):
        bayesxs.lepton_samples(beams, shapes, **YEARS)
