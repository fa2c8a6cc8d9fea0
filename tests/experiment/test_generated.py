"""Nature from events: what made the events is found in their template, and in what is learned."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesxs
from bayesxs.constants import MUON_MASS
from bayesxs.detector.density import simulate_events
from bayesxs.detector.template import Template
from bayesxs.errors import InputError
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.generated import EventNature, Window
from bayesxs.experiment.target import structure_functions
from bayesxs.inference.goodness import chi_square
from bayesxs.inputs.generators.arrays import events_from_arrays
from bayesxs.inputs.generators.events import GeneratorEvents
from bayesxs.physics.kinematics import cosine_from_z

GRID = bayesxs.Grid(3, 24, 24, 16, 16, (10, 8))
RANGE = (0.5, 8.0)
NUMBER = 60_000


def nature(x, q2):
    """Return a bracket (1 - x)^3 (1 + t) times sqrt(x) Q^2/(Q^2 + 1), positive everywhere."""
    size = jnp.sqrt(x) * (1.0 - x) ** 3 * q2 / (q2 + 1.0)
    return size[..., None] * jnp.array([1.0, 1.5, 2.0])


@pytest.fixture(scope="module")
def flux() -> bayesxs.Flux:
    energy = np.linspace(0.25, 12.0, 48)
    shape = np.exp(-((energy - 2.5) ** 2) / 2.0) + 0.05
    return bayesxs.flux(energy, {"nu_mu": shape, "anti_nu_mu": 0.1 * shape})


@pytest.fixture(scope="module")
def exact(flux) -> bayesxs.Experiment:
    """The experiment whose nature made the events."""
    return bayesxs.Experiment(flux, nature, grid=GRID, energy_range=RANGE)


@pytest.fixture(scope="module")
def events(flux) -> GeneratorEvents:
    sample = bayesxs.Sample()
    drawn = simulate_events(
        jax.random.key(0),
        structure_functions(nature, sample),
        lambda energy: flux(14, energy),
        (0.4, 9.0),
        MUON_MASS,
        NUMBER,
    )
    cosine = cosine_from_z(drawn.lepton_energy, drawn.z, MUON_MASS)
    return events_from_arrays(
        drawn.energy, drawn.lepton_energy, cosine, channels=("a", "b"), channel=drawn.energy > 2.0
    )


@pytest.fixture(scope="module")
def generated(flux, events) -> bayesxs.Experiment:
    return bayesxs.Experiment(flux, EventNature(events, 0.4, key=7), grid=GRID, energy_range=RANGE)


def changed(events: GeneratorEvents, **columns) -> GeneratorEvents:
    return dataclasses.replace(events, **columns)


def test_every_event_is_near_far_or_counted_as_dropped(events, generated) -> None:
    split = generated.generated["mu"]
    counts = split.counts
    assert counts.pop("read") == sum(counts.values()) == NUMBER
    inside = (events.energy >= 0.5) & (events.energy <= 8.0)
    assert counts["outside_energy_range"] == np.count_nonzero(~inside)
    assert counts["near"] / inside.sum() == pytest.approx(0.4, abs=0.01)
    near = set(split.near.lepton_energy.tolist())
    far = set(split.far.lepton_energy.tolist())
    assert not near & far
    assert near | far == set(events.lepton_energy[inside].tolist())
    other = EventNature(events, 0.4, key=8).split(
        bayesxs.Sample(detector="near"), lambda e: np.ones_like(e), Window(RANGE, generated.space)
    )
    assert set(other.near.lepton_energy.tolist()) != near


def test_what_made_the_events_fits_the_near_counts(exact, generated) -> None:
    # p-values of two seeds below 1 %: they are fixed
    near = generated.near_data().detectors["mu"]
    values = near.geometry.node_values(exact.geometries["mu"].true_functions)
    fit = chi_square(near.observed, near.matrix @ values.ravel())
    assert near.observed.sum() == generated.generated["mu"].counts["near"]
    assert near.dropped == 0
    assert fit.bins > 150
    assert fit.p_value > 0.01


def test_the_template_is_the_cross_section_that_made_the_events(exact, generated) -> None:
    (target,) = generated.unique_targets
    geometry, (sample,) = generated.geometry(target), generated.samples
    oscillated = generated.source_flux(sample) * generated.oscillation(
        sample, generated.energies.points
    )
    own = geometry.of_template(target.truth)
    wanted = geometry.seen.of_function(exact.geometries["mu"].true_functions)
    found, expected = (r.rows @ oscillated / (r.total @ oscillated) for r in (own, wanted))
    places = geometry.places(target.truth)
    error = target.truth.relative_error(places, geometry.grid.size, generated.energies, oscillated)
    filled = np.bincount(places, minlength=len(found)) >= 10
    pulls = (found - expected)[filled] / (error * found)[filled]
    assert filled.sum() > 50
    # Mean square of so many pulls: one seed in 500 is farther from one
    assert np.mean(pulls**2) == pytest.approx(1.0, abs=3.1 * np.sqrt(2.0 / filled.sum()))


def test_its_likelihood_is_that_of_what_made_the_events(flux, events) -> None:
    # Of n events, the template's noise moves the maximum by sqrt(n/n_eff) of the data's error
    both = bayesxs.Experiment(
        flux, EventNature(events, 0.1, key=7), grid=GRID, energy_range=RANGE, assumed=nature
    )
    (sample,), number = both.samples, 600
    counts = both.simulate(key=3, events=number, binned=True)
    flux_far = both.source_flux(sample) * both.oscillation(sample, both.energies.points)
    weights = both.unique_targets[0].truth.weights(both.energies, flux_far)
    effective = weights.sum() ** 2 / (weights**2).sum()
    dm31 = np.linspace(2.2e-3, 2.8e-3, 61)
    peaks, widths = [], []
    for kind in ("truth", "assumed"):
        likelihood = both.likelihood(counts, kind)
        heights = jax.vmap(lambda v, own=likelihood: own.log_prob({"dm31": v}))(jnp.asarray(dm31))
        share = np.exp(np.asarray(heights) - float(heights.max()))
        mean = np.average(dm31, weights=share)
        peaks.append(mean)
        widths.append(np.sqrt(np.average((dm31 - mean) ** 2, weights=share)))
    shift = (peaks[0] - peaks[1]) / widths[1]
    assert abs(shift) < 3.0 * np.sqrt(number / effective) < 1.0
    assert widths[0] == pytest.approx(widths[1], rel=0.2)


def test_expected_data_are_the_template_s(generated) -> None:
    events = bayesxs.experiment.far.simulated_events(generated, 500, 3)
    channels = Channels(generated, None, events)
    (channel,) = channels.of_asimov("truth")
    assert float(channel.weights.sum()) == pytest.approx(500.0)
    likelihood = generated.likelihood(generated.simulate(key=3, events=500), "truth")
    assert likelihood.data.counts is None
    assert sum(np.asarray(likelihood.channels[0].weights)) == pytest.approx(500.0)


def test_far_events_are_other_events_of_the_generator(events, generated) -> None:
    drawn = bayesxs.experiment.far.simulated_events(generated, 500, 3)
    far = set(generated.generated["mu"].far.lepton_energy.tolist())
    own = drawn["lepton_energy"].values.tolist()
    assert len(set(own)) == 500
    assert set(own) <= far


def test_weighted_events_count_effectively(flux, events) -> None:
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 2.0, len(events))
    made = {}
    for name, w in (("plain", np.ones_like(weight)), ("scaled", 3.0 + 0 * weight), ("own", weight)):
        own = EventNature(changed(events, weight=w), 0.4, key=7)
        near = bayesxs.Experiment(flux, own, grid=GRID, energy_range=RANGE).near_data()
        made[name] = near.detectors["mu"]
    plain, scaled, own = (made[name] for name in ("plain", "scaled", "own"))
    np.testing.assert_allclose(scaled.observed, plain.observed, rtol=1e-12)
    used = own.source.leptons.weight
    assert own.observed.sum() == pytest.approx(used.sum() ** 2 / (used**2).sum(), rel=1e-12)
    assert own.observed.sum() < plain.observed.sum()


def test_a_part_of_the_near_events_is_taken_if_asked_for(generated) -> None:
    near = generated.near_data(events=2000, key=1).detectors["mu"]
    assert near.observed.sum() == 2000
    with pytest.raises(InputError, match="at most"):
        generated.near_data(events=1e6, key=1)
    with pytest.raises(InputError, match="seed or key"):
        generated.near_data(events=2000)


def test_both_detectors_take_the_same_events_only_if_told_so(flux, events) -> None:
    with pytest.raises(InputError, match="different events"):
        EventNature(events, near_share=1.0)
    own = EventNature(events, same_events=True)
    split = bayesxs.Experiment(flux, own, grid=GRID, energy_range=RANGE).generated["mu"]
    assert split.counts["near"] == split.counts["far"] > 50_000
    shuffled = events.part(np.random.default_rng(0).permutation(len(events)))
    with pytest.raises(InputError, match="other events than those of nature"):
        bayesxs.Experiment(flux, EventNature(events), assumed=EventNature(shuffled))
    bayesxs.Experiment(
        flux, EventNature(events), assumed=EventNature(shuffled, same_events=True), grid=GRID
    )


def refusal(flux, nature: EventNature, **options) -> str:
    with pytest.raises(InputError) as found:
        bayesxs.Experiment(flux, nature, grid=GRID, **options).unique_targets  # noqa: B018
    return str(found.value)


def test_bad_events_are_refused_in_one_line(flux, events) -> None:
    few = EventNature(events.part(np.arange(3000)), 0.3)
    assert refusal(flux, few).startswith("events: near-detector events = 900: at least 1000")
    anti = EventNature(changed(events, pdg_nu=np.full(len(events), -14)))
    assert "none (60000 other flavor): some of mu_to_mu" in refusal(flux, anti)
    high = EventNature(events)
    assert "outside the energies" in refusal(flux, high, energy_range=(9.5, 11.0))
    empty = bayesxs.flux([0.25, 3.0, 3.1, 12.0], {"nu_mu": [1.0, 1.0, 0.0, 0.0]})
    assert "at which the near flux has such neutrinos (and" in refusal(empty, high)
    with pytest.raises(InputError, match="channels = c: one of a, b"):
        EventNature(events, channels=("c",))
    with pytest.raises(InputError, match="at most"):
        bayesxs.Experiment(flux, EventNature(events), grid=GRID).simulate(key=1, events=50_000)


def test_channels_are_chosen_by_name(flux, events) -> None:
    own = EventNature(events, channels=("b",))
    split = bayesxs.Experiment(flux, own, grid=GRID, energy_range=RANGE).generated["mu"]
    assert split.far.energy.min() > 2.0
    assert split.counts["other_channel"] == np.count_nonzero(events.energy <= 2.0)
    assert isinstance(split.far, Template)


def test_near_events_of_a_file_are_counted_in_the_same_fine_bins(
    exact, generated, tmp_path
) -> None:
    leptons = generated.generated["mu"].near
    rows = np.column_stack([leptons.lepton_energy, leptons.cos_theta])
    header = "lepton_energy_GeV,cos_theta"
    np.savetxt(tmp_path / "near.csv", rows, "%.17g", ",", header=header, comments="")
    own = generated.near_data().detectors["mu"]
    read = generated.near_data(file=tmp_path / "near.csv").detectors["mu"]
    np.testing.assert_allclose(read.bins.second, own.bins.second, rtol=1e-12)
    np.testing.assert_array_equal(read.observed, own.observed)
    # They need no generator: partons read them too
    assert exact.near_data(file=tmp_path / "near.csv").detectors["mu"].observed.sum() == len(rows)
