"""One network for all leptons of a helicity: which targets share it, and what it predicts."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import bayesxs
from bayesxs.errors import InputError
from bayesxs.experiment.judge import Judge
from bayesxs.experiment.learn import families
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity

GRID = bayesxs.Grid(2, 24, 24, 16, 16, (16, 10))
SCHEDULE = bayesxs.Schedule(0, 1e-3, 0, gauss_newton_steps=24)
SHARED = bayesxs.Training(bayesxs.Architecture(2, 12), SCHEDULE, share="helicity")


class Quarks:
    """Massless quarks and antiquarks: no lepton sees more than T+ and T-."""

    def structure_functions(self, lepton_mass: float, antineutrino: bool):
        sign = -1 if antineutrino else 1

        def functions(x, q2):
            x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
            size = (1.0 - x) ** 3 * q2 / (q2 + 0.7) / jnp.sqrt(x)
            zero = jnp.zeros_like(x)
            tensor = Helicity(size, size * (0.3 - 0.2 * x), zero, zero, zero)
            return bernstein_from_helicity(tensor, x, q2, lepton_mass, sign)

        return functions


@pytest.fixture(scope="module")
def flux() -> bayesxs.Flux:
    energy = np.linspace(0.25, 12.0, 48)
    peak = np.exp(-((energy - 2.5) ** 2) / 2.0)
    wide = np.exp(-((energy - 3.0) ** 2) / 8.0)
    names = ("nu_mu", "anti_nu_mu", "nu_e")
    return bayesxs.flux(energy, dict(zip(names, (peak, 0.1 * wide, 0.01 * wide), strict=True)))


@pytest.fixture(scope="module")
def experiment(flux) -> bayesxs.Experiment:
    samples = (bayesxs.Sample(), bayesxs.Sample(flavor_out="e"))
    return bayesxs.Experiment(flux, Quarks(), samples, grid=GRID)


@pytest.fixture(scope="module")
def from_muons(experiment) -> bayesxs.LearnedCrossSection:
    near = experiment.near_data(samples=("mu",))
    return bayesxs.learn(near, training=SHARED, progress=False)


def errors(experiment, learned, name: str) -> dict[str, float]:
    geometry = experiment.geometries[name]
    flux = geometry.target.near_flux
    return Judge(geometry, {"near": flux}).errors(learned.targets[name].mean)


def test_muons_alone_give_the_electrons(experiment, from_muons) -> None:
    """Nature has LS = SS = 0: then what muons leave open of electrons is nothing."""
    assert errors(experiment, from_muons, "mu")["near_rel_l2"] < 0.01
    assert errors(experiment, from_muons, "e")["near_rel_l2"] < 0.02


def test_both_targets_see_one_tensor(from_muons) -> None:
    x, q2 = np.array([0.1, 0.3, 0.6]), np.array([0.5, 2.0, 1.0])
    mu, e = (from_muons.networks[name].networks[0] for name in ("mu", "e"))
    ratios = np.array(e.tensor(x, q2)) / np.array(mu.tensor(x, q2))
    np.testing.assert_allclose(ratios, ratios[0, 0], rtol=1e-10)
    mass = from_muons.networks["e"].networks[0].lepton.mass
    np.testing.assert_allclose(e(x, q2), ratios[0, 0] * mu.seen(x, q2, mass), rtol=1e-10)


def test_held_out_data_do_not_matter(experiment, from_muons) -> None:
    """Other electron counts, the same network."""
    networks = []
    for electrons in (10_000, 70_000):
        tables = {}
        for name, events in (("mu", 100_000), ("e", electrons)):
            detector = experiment.near_data(events=events, key=1).detectors[name]
            edges = detector.geometry.bins
            counts = detector.observed.reshape(edges.shape)
            tables[name] = bayesxs.near_counts(counts, edges.energy_edges, z=edges.z_edges)
        near = experiment.near_data(counts=tables, samples=("mu",))
        short = dataclasses.replace(SHARED, counted_steps=2)
        networks.append(bayesxs.learn(near, training=short, progress=False).networks["e"])
    x, q2 = np.array([0.1, 0.5]), np.array([0.5, 2.0])
    np.testing.assert_array_equal(networks[0](x, q2), networks[1](x, q2))


def test_neutrinos_and_antineutrinos_have_networks_of_their_own(flux) -> None:
    samples = (
        bayesxs.Sample(antineutrino=True),
        bayesxs.Sample(),
        bayesxs.Sample(flavor_out="e"),
    )
    near = bayesxs.Experiment(flux, Quarks(), samples, grid=GRID).near_data()
    found = families(near, SHARED)
    assert [list(family.targets) for family in found] == [["mu", "e"], ["anti_mu"]]
    assert [family.number for family in found] == [1, 0]
    assert [family.data.lepton.sign for family in found] == [1, -1]
    apart = families(near, bayesxs.Training())
    assert [list(family.targets) for family in apart] == [["anti_mu"], ["mu"], ["e"]]


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda e: e.near_data(samples=("tau",)), ["samples = tau", "among mu, e"]),
        (
            lambda e: bayesxs.learn(e.near_data(samples=("mu",)), progress=False),
            ["samples = mu", "do not share"],
        ),
        (
            lambda e: bayesxs.learn(e.near_data(), training=SHARED, uncertainty="laplace"),
            ["laplace", "share"],
        ),
        (
            lambda e: bayesxs.learn(
                e.near_data(samples=("mu",)), training=SHARED, uncertainty="ensemble"
            ),
            ["training.members"],
        ),
        (
            lambda _: bayesxs.Training(bayesxs.Architecture(head="helicity"), share="helicity"),
            ["architecture.head = helicity", "five functions"],
        ),
    ],
)
def test_what_cannot_be_shared_is_said(experiment, call, parts) -> None:
    with pytest.raises(InputError) as caught:
        call(experiment)
    line = str(caught.value)
    assert all(part in line for part in parts), line
