"""One network for all leptons of a helicity: which targets share it, and what it predicts."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import bayesxs
from bayesxs.errors import InputError
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.judge import Judge
from bayesxs.experiment.learn import families
from bayesxs.experiment.shared import learned_cross_section, learned_cross_sections
from bayesxs.experiment.uncertainty import GaussianProcess, far_directions
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity

GRID = bayesxs.Grid(2, 24, 24, 16, 16, (16, 10))
SCHEDULE = bayesxs.Schedule(0, 1e-3, 0, gauss_newton_steps=24)
SHARED = bayesxs.Training(bayesxs.Architecture(2, 12), SCHEDULE, share="helicity")


@dataclasses.dataclass(frozen=True)
class Quarks:
    """Massless quarks and antiquarks: no lepton sees more than T+ and T-, unless SS is given."""

    ss: float = 0.0  # over half of T+ + T-

    def structure_functions(self, lepton_mass: float, antineutrino: bool):
        sign = -1 if antineutrino else 1

        def functions(x, q2):
            x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
            size = (1.0 - x) ** 3 * q2 / (q2 + 0.7) / jnp.sqrt(x)
            zero = jnp.zeros_like(x)
            other = 0.3 - 0.2 * x
            ss = self.ss * size * 0.5 * (1.0 + other)
            tensor = Helicity(size, size * other, zero, zero, ss)
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


def with_modes(experiment, networks, *samples: str) -> bayesxs.LearnedCrossSection:
    """Return the joint posterior; networks stand for the fluctuations of bins only."""
    near = experiment.near_data(samples=samples)
    return learned_cross_section(near, networks, GaussianProcess(), shared=True)


@pytest.fixture(scope="module")
def joint(experiment, from_muons) -> dict[str, bayesxs.LearnedCrossSection]:
    """From near data of muons, and of electrons too."""
    return {
        "mu": with_modes(experiment, from_muons.networks, "mu"),
        "both": with_modes(experiment, from_muons.networks),
    }


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


def test_electrons_follow_muons_and_their_counts_shrink_the_band(experiment, joint) -> None:
    ratios = {
        name: bayesxs.cross_section_ratio(own, experiment=experiment) for name, own in joint.items()
    }
    for own in ratios.values():
        assert (abs(own["pull"]) < 2.0).all()
    assert (ratios["both"]["sd"] < ratios["mu"]["sd"]).all()
    # m^2 is what tells the leptons apart
    sd = ratios["mu"]["sd"]
    assert float(sd[0]) > 3.0 * float(sd.sel(energy=4.0, method="nearest"))


def test_band_covers_a_divergence_that_is_not_zero(experiment, from_muons) -> None:
    """Of two standard deviations of the prior; one drawn from it fails in 0.3 % of cases."""
    ss = 1.0
    nature = dataclasses.replace(experiment, nature=Quarks(ss))
    found = bayesxs.cross_section_ratio(
        with_modes(nature, from_muons.networks, "mu"), experiment=nature
    )
    quarks = experiment.geometries
    same = np.array([quarks[name].true_total for name in ("e", "mu")])
    places = np.searchsorted(experiment.energies.points, found["energy"].values - 1e-9)
    moved = found["truth"].values / (same[0] / same[1])[places] - 1.0
    assert moved[0] < -ss * 0.01  # muons see it, electrons do not
    assert (abs(found["pull"]) < 3.0).all()
    assert float(abs(found["pull"]).max()) > ss  # and the band is not wider than it need be


def test_leptons_share_their_modes(experiment, joint, tmp_path) -> None:
    learned = joint["mu"].targets
    count, last = len(learned["mu"].modes), learned["mu"].ratio_modes
    assert len(learned["e"].modes) == count > last > 0
    moves = {
        name: far_directions(experiment, own_target, learned[name].mean)
        @ learned[name].modes.reshape(count, -1).T
        for name, own_target in ((t.name, t) for t in experiment.unique_targets)
    }
    sizes = {name: np.linalg.norm(own, axis=0) for name, own in moves.items()}
    # The last ones change what electrons see, and leave the spectrum of muons to the share kept
    assert np.sum(sizes["mu"][-last:] ** 2) < 2e-3 * np.sum(sizes["mu"] ** 2)
    assert sizes["e"][-last:].max() > 10.0 * sizes["mu"][-last:].max()
    assert sizes["e"][: count - last].max() > 0.1 * sizes["mu"].max()
    groups = [n.group for n in Channels(experiment, joint["mu"], None).nuisances]
    assert groups == ["cross_section"] * (count - last) + ["lepton_ratio"] * last
    path = tmp_path / "cross_section.nc"
    joint["mu"].save(path)
    again = bayesxs.read_cross_section(path, experiment)
    assert again.targets["e"].family == "neutrinos"
    assert again.targets["e"].ratio_modes == last
    assert again.targets["e"].rate == learned["e"].rate
    assert bayesxs.cross_section_ratio(again).equals(bayesxs.cross_section_ratio(joint["mu"]))


def test_sizes_of_leptons_compare(experiment, joint) -> None:
    """Values times the rate are those of one tensor: their totals have the ratio."""
    totals = {}
    for name, own in joint["mu"].targets.items():
        values = own.rate * own.mean
        operator = experiment.geometries[name].total_operator
        totals[name] = operator.response(values).sum(axis=1)
    ratio = bayesxs.cross_section_ratio(joint["mu"])
    places = np.searchsorted(experiment.energies.points, ratio["energy"].values - 1e-9)
    np.testing.assert_allclose((totals["e"] / totals["mu"])[places], ratio["ratio"], rtol=1e-9)


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
            lambda _: bayesxs.cross_section_ratio(
                bayesxs.LearnedCrossSection({}, np.zeros((0, 3)), np.zeros(3))
            ),
            ["e over mu", "helicity"],
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


def test_beams_share_modes(experiment, from_muons, joint) -> None:
    """The same muons seen in two beams: one posterior, from twice as many data."""
    near = [experiment.near_data(samples=("mu",)) for _ in range(2)]
    networks = {
        f"{name}, beam {beam}": own for name, own in from_muons.networks.items() for beam in (1, 2)
    }
    first, second = learned_cross_sections(near, networks, GaussianProcess(), shared=True)
    for name in ("mu", "e"):
        one, other = first.targets[name], second.targets[name]
        size = np.abs(one.mean).max()
        np.testing.assert_allclose(one.mean, other.mean, atol=1e-5 * size)
        np.testing.assert_allclose(one.modes, other.modes, atol=1e-5 * size)
    taken = [own.targets["mu"].effective_parameters for own in (joint["mu"], first)]
    assert taken[1] > taken[0]
    assert list(second.ratios) == ["e_over_mu"]
