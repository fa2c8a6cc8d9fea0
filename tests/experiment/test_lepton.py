"""Four samples in lepton kinematics: against integrals over energy alone, and learned."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import bayesxs
from bayesxs.detector.lepton import LeptonResponse, LeptonSamples
from bayesxs.inputs.globes.dune import LENGTH, MASS
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity

GRID = bayesxs.Grid(2, 24, 24, 16, 16, (10, 8))
SCHEDULE = bayesxs.Schedule(0, 1e-3, 0, gauss_newton_steps=12)
SHARED = bayesxs.Training(bayesxs.Architecture(2, 8), SCHEDULE, share="helicity")
MODES = ("neutrino", "antineutrino")
SHARP = bayesxs.GaussianDetector(bayesxs.ResponseParameters(0.0, 0.05, 0.02))


class Quarks:
    """Massless quarks and antiquarks, of any size."""

    def __init__(self, size: float = 1.0, antiquarks: float = 0.3) -> None:
        self.size, self.antiquarks = size, antiquarks

    def structure_functions(self, lepton_mass: float, antineutrino: bool):
        sign = -1 if antineutrino else 1

        def functions(x, q2):
            x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
            size = self.size * (1.0 - x) ** 3 * q2 / (q2 + 0.7) / jnp.sqrt(x)
            zero = jnp.zeros_like(x)
            tensor = Helicity(size, self.antiquarks * size, zero, zero, zero)
            return bernstein_from_helicity(tensor, x, q2, lepton_mass, sign)

        return functions


@pytest.fixture(scope="module")
def beams() -> list[bayesxs.Experiment]:
    options = {"grid": GRID, "assumed": Quarks(7.0)}
    return [bayesxs.dune_experiment(mode, Quarks(), **options) for mode in MODES]


@pytest.fixture(scope="module")
def samples(beams) -> LeptonSamples:
    return bayesxs.lepton_samples(beams, "truth", years=2.0, antineutrino_years=3.0, detectors={})


def test_bins_add_up_to_the_integral_over_energy(beams, samples) -> None:
    """Exposure: nucleons of 40 kt of argon and 1.1e21 protons a year, (1300/1284.9)^2 of GLoBES."""
    nuclei = MASS * 1e9 * 6.02214e23 / 40.0 * (1300.0 / LENGTH) ** 2
    truth, expected = bayesxs.NUFIT_6_0, dict.fromkeys(samples.names, 0.0)
    for beam, years in zip(beams, (2.0, 3.0), strict=True):
        for sample in beam.samples:
            oscillated = beam.source_flux(sample) * beam.oscillation(
                sample, beam.energies.points, truth
            )
            rate = beam.geometry(beam.targets[sample]).true_total @ oscillated
            kind = f"nu{sample.flavor_out}{'bar' if sample.beam == MODES[1] else ''}"
            name = f"{kind}_{'app' if sample.flavor_out == 'e' else 'dis'}"
            expected[name] += nuclei * 1e-42 * 1.1e21 * years * float(rate)
    found = np.asarray(samples.counts(truth)).sum(axis=1)
    assert samples.names == ("nue_app", "nuebar_app", "numu_dis", "numubar_dis")
    np.testing.assert_allclose(found, list(expected.values()), rtol=2e-3)


def test_a_cross_section_has_the_near_rate_of_nature(beams, samples) -> None:
    """One of the same shape and seven times the size gives the same counts."""
    assumed = bayesxs.lepton_samples(
        beams, "assumed", years=2.0, antineutrino_years=3.0, detectors={}
    )
    for one, other in zip(samples.components, assumed.components, strict=True):
        np.testing.assert_allclose(one.events, other.events, rtol=1e-9)


def test_a_detector_loses_what_it_is_said_to_lose(beams, samples) -> None:
    """Bins in energy have no upper end, and angles are folded back: efficiency alone is lost."""
    sharp = bayesxs.ResponseParameters(0.0, 0.05, 0.02)
    acceptance = bayesxs.Acceptance(threshold=0.0, efficiency=0.5)
    seen = {"mu": bayesxs.GaussianDetector(sharp, acceptance=acceptance)}
    found = bayesxs.lepton_samples(
        beams, "truth", years=2.0, antineutrino_years=3.0, detectors=seen
    )
    ratio = np.asarray(found.counts(bayesxs.NUFIT_6_0).sum(axis=1)) / np.asarray(
        samples.counts(bayesxs.NUFIT_6_0).sum(axis=1)
    )
    np.testing.assert_allclose(ratio, [1.0, 1.0, 0.5, 0.5], rtol=5e-3)


def test_resolution_of_electrons_follows_their_energy(beams, samples) -> None:
    """Leptons of one energy are seen as with the constant resolution of that energy."""
    electrons = next(s for s in beams[0].samples if s.flavor_out == "e")
    geometry = beams[0].geometry(beams[0].targets[electrons])
    cells = geometry.cells
    parameters = bayesxs.ResponseParameters(energy_resolution=0.02)
    both = LeptonResponse(
        cells, samples.grids[0], parameters, bayesxs.Acceptance(), geometry.lepton_mass, 0.15
    )
    places = np.linspace(5, len(cells.lepton_energy) - 1, 3).astype(int)
    rows = np.zeros((len(cells.lepton_energy), len(places)))
    rows[places, np.arange(len(places))] = 1.0
    found = both(rows)
    for column, place in enumerate(places):
        width = np.hypot(0.02, 0.15 / np.sqrt(cells.lepton_energy[place]))
        own = parameters._replace(energy_resolution=float(width))
        constant = replace(both, parameters=own, stochastic=0.0)(rows)
        np.testing.assert_allclose(found[:, column], constant[:, column], rtol=1e-9, atol=1e-15)


def test_an_experiment_does_not_take_what_it_would_ignore(beams) -> None:
    seen = bayesxs.GaussianDetector(stochastic=0.1)
    with pytest.raises(bayesxs.InputError, match=r"detector.stochastic = 0.1: must be 0"):
        bayesxs.Experiment(beams[0].flux, Quarks(), detector=seen)


def test_normalisations_are_those_of_the_published_samples(samples) -> None:
    published = bayesxs.dune_samples()
    sizes = {name: published.errors[name] for name in samples.errors}
    assert sizes == samples.errors
    signal = {c.kind: c.errors for c in published.components if c.sample == 1 and c.kind}
    for component in samples.components:
        if component.sample == 1:
            assert component.errors == signal[component.kind]


def test_both_beams_teach_one_network_per_helicity(beams, samples) -> None:
    """Muons of both beams; electrons, and what the far detector counts, follow."""
    near = [beam.near_data(samples=("mu", "anti_mu")) for beam in beams]
    learned = bayesxs.learn_together(near, training=SHARED, progress=False)
    x, q2 = np.array([0.1, 0.3, 0.6]), np.array([0.5, 2.0, 1.0])
    for name in ("mu", "e", "anti_mu", "anti_e"):
        first, second = (np.asarray(own.structure_functions(name)(x, q2)) for own in learned)
        np.testing.assert_allclose(first / second, (first / second)[0, 0], rtol=1e-6)
    found = bayesxs.lepton_samples(beams, learned, years=2.0, antineutrino_years=3.0, detectors={})
    truth = np.asarray(samples.expected(bayesxs.NUFIT_6_0))
    difference = np.asarray(found.expected(bayesxs.NUFIT_6_0)) - truth
    assert np.sum(difference**2 / np.maximum(truth, 1.0)) < 1.0


def test_a_beam_that_does_not_run_has_no_samples(beams, samples) -> None:
    found = bayesxs.lepton_samples(beams, "truth", years=0.0, antineutrino_years=3.0, detectors={})
    assert found.names == ("nuebar_app", "numubar_dis")
    wanted = np.asarray(samples.counts(bayesxs.NUFIT_6_0))[[1, 3]]
    np.testing.assert_allclose(found.counts(bayesxs.NUFIT_6_0), wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda b: bayesxs.lepton_samples(b, "truth", years=0.0), ["years = 0", "above 0"]),
        (lambda b: bayesxs.lepton_samples([], "truth"), ["experiments = ()", "at least one"]),
        (lambda b: bayesxs.lepton_samples([b[0], b[0]], "truth"), ["neutrino, neutrino"]),
        (lambda b: bayesxs.lepton_samples(b, "learned"), ["cross_section = learned", '"truth"']),
        (lambda b: bayesxs.lepton_samples(b, [1]), ["cross_section = 1", "2, one for each beam"]),
        (lambda b: bayesxs.learn_together([]), ["near = ()"]),
        (lambda b: bayesxs.lepton_samples(b, "truth", nucleons=0), ["nucleons = 0", "above 0"]),
        (lambda b: bayesxs.lepton_samples(b, "truth", nucleons=np.nan), ["nucleons = nan"]),
        (lambda b: bayesxs.lepton_samples(b, "truth", splitting=-1.0), ["splitting = -1.0"]),
        (
            lambda b: bayesxs.lepton_samples(b, "truth", detectors={"muon": SHARP}),
            ["detectors = muon", "mu, e"],
        ),
        (
            lambda b: bayesxs.lepton_samples([bayesxs.Experiment(b[0].flux, Quarks())], "truth"),
            ["experiments[0].far_flux", "absolute"],
        ),
        (
            lambda b: bayesxs.lepton_samples(
                [b[0], bayesxs.dune_experiment(MODES[1], Quarks(), grid=bayesxs.Grid(3))], "truth"
            ),
            ["experiments[1].energies"],
        ),
    ],
)
def test_what_does_not_go_together_is_said(beams, call, parts) -> None:
    with pytest.raises(bayesxs.InputError) as caught:
        call(beams)
    line = str(caught.value)
    assert all(part in line for part in parts), line
