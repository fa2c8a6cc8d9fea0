"""The library: an experiment from objects and arrays, without cards or folders."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesxs
from bayesxs.errors import InputError
from bayesxs.learning.training import Schedule

GRID = bayesxs.Grid(2, 24, 24, 16, 16, (16, 10))
TRAINING = bayesxs.Training(schedule=Schedule(20, 1e-3, 10, record_every=30))


def nature(x, q2):
    """Return a bracket (1 - x)^3 (1 + t) times sqrt(x) Q^2/(Q^2 + 1), positive everywhere."""
    size = jnp.sqrt(x) * (1.0 - x) ** 3 * q2 / (q2 + 1.0)
    return size[..., None] * jnp.array([1.0, 1.5, 2.0])


def broken(x, q2):
    """Return no numbers at x = 0.1."""
    return nature(x, q2) * jnp.where(x == 0.1, jnp.nan, 1.0)[..., None]


@pytest.fixture(scope="module")
def experiment(flux) -> bayesxs.Experiment:
    return bayesxs.Experiment(flux, nature, grid=GRID)


@pytest.fixture(scope="module")
def learned(experiment) -> bayesxs.LearnedCrossSection:
    near = experiment.near_data(events=1e6, key=3)
    return bayesxs.learn(
        near, training=TRAINING, uncertainty=bayesxs.GaussianProcess(modes=3), progress=False
    )


@pytest.fixture(scope="module")
def data(experiment) -> bayesxs.FarData:
    return experiment.simulate(key=5, events=300)


@pytest.fixture(scope="module")
def truth(experiment, data) -> bayesxs.Likelihood:
    return experiment.likelihood(data, "truth")


def test_an_own_flux_is_linear_between_its_energies(flux):
    middle = 0.5 * (flux.energy[10] + flux.energy[11])
    between = 0.5 * (flux.values[10, 1] + flux.values[11, 1])
    assert flux(14, middle) == pytest.approx(between, rel=1e-12)
    assert flux(12, middle) == 0.0


def test_the_log_density_of_an_event_is_that_of_its_definition(experiment, data, truth):
    """p(E_l, z) = integral of flux, probability and cross section, against a plain quadrature."""
    from bayesxs.physics.cross_section import differential_cross_section

    point = bayesxs.NUFIT_6_0._replace(dm31=2.6e-3, s2_23=0.52)
    other = bayesxs.NUFIT_6_0._replace(dm31=2.4e-3, s2_23=0.45)
    sample = experiment.samples[0]
    fine, width = np.linspace(0.5, 10.0, 4001), 9.5 / 4000
    geometry = experiment.geometry(experiment.targets[sample])
    found = np.zeros(2)
    for place, theta in enumerate((point, other)):
        probability = np.asarray(bayesxs.probability("mu", "mu", theta, fine))
        weight = experiment.flux(14, fine) * probability * width
        total = np.interp(
            fine, experiment.energies.points, geometry.true_total / experiment.energies.weights
        )
        from bayesxs.physics.kinematics import z_from_cosine

        energy = np.asarray(data.lepton_energy)
        z = z_from_cosine(energy, np.asarray(data.cos_theta), sample.lepton_mass)
        with np.errstate(all="ignore"):
            density = [
                np.nansum(
                    weight
                    * np.asarray(
                        differential_cross_section(nature, fine, e, zz, sample.lepton_mass)
                    )
                )
                for e, zz in zip(energy[:40], np.asarray(z)[:40], strict=True)
            ]
        found[place] = np.sum(np.log(density)) - 40 * np.log(total @ weight)
    few = bayesxs.FarData(data.lepton_energy[:40], data.cos_theta[:40], data.sample[:40])
    far = experiment.likelihood(few, "truth")
    ours = float(far.log_prob(point) - far.log_prob(other))
    assert ours == pytest.approx(found[0] - found[1], abs=0.02)


@pytest.mark.parametrize("change", [{"dm31": 4e-3}, {"s2_13": 0.2}, {"dm31": -2.5e-3}])
def test_outside_of_its_range_a_likelihood_is_exact(experiment, data, truth, change):
    point = bayesxs.NUFIT_6_0._replace(**change)
    ranges = {name: (value, value) for name, value in change.items()}
    wide = experiment.likelihood(data, "truth", ranges=ranges)
    assert float(truth.log_prob(point)) == pytest.approx(float(wide.log_prob(point)), abs=1e-5)


def test_counts_and_events_of_one_simulation_agree(experiment, data, truth):
    """Bins lose little: differences of log L within their scatter over 300 events."""
    counted = experiment.simulate(key=5, events=300, binned=True)
    assert np.sum(counted.counts) == 300
    binned = experiment.likelihood(counted, "truth")
    a = bayesxs.NUFIT_6_0
    b = a._replace(dm31=2.6e-3)
    events = float(truth.log_prob(a) - truth.log_prob(b))
    bins = float(binned.log_prob(a) - binned.log_prob(b))
    assert bins == pytest.approx(events, abs=1.0)


def test_predicted_counts_add_up_to_the_events(truth):
    (counts,) = truth.predict(bayesxs.NUFIT_6_0).values()
    assert counts.shape == (16, 10)
    assert float(counts.sum()) == pytest.approx(300.0, rel=1e-9)


def test_nuisances_move_what_was_learned(experiment, data, learned):
    far = experiment.likelihood(data, learned)
    assert len(far.nuisances) == len(learned.targets["mu"].modes) > 0
    name = far.nuisances[0].name
    zero = float(far.log_prob(bayesxs.NUFIT_6_0))
    assert float(far.log_prob(bayesxs.NUFIT_6_0, {})) == zero
    assert float(far.log_prob(bayesxs.NUFIT_6_0, {name: 1.0})) != zero


def test_what_was_learned_is_saved_and_read(experiment, data, learned, tmp_path):
    learned.save(tmp_path / "xsec.nc")
    again = bayesxs.read_cross_section(tmp_path / "xsec.nc", experiment)
    eta = {"cross_section_0": 0.7}
    one, other = (experiment.likelihood(data, own) for own in (learned, again))
    theta = bayesxs.NUFIT_6_0
    assert float(one.log_prob(theta, eta)) == float(other.log_prob(theta, eta))
    coarse = dataclasses.replace(experiment, grid=bayesxs.Grid(2, 24, 24, 12, 12, (16, 10)))
    with pytest.raises(InputError, match="nodes"):
        bayesxs.read_cross_section(tmp_path / "xsec.nc", coarse)


def test_sampling_and_bootstrap_give_trees(truth):
    priors = {"dm31": bayesxs.Flat(2e-3, 3e-3)}
    settings = bayesxs.SamplerSettings(2, 50, 50)
    tree = bayesxs.sample(truth, priors, settings=settings, progress=False)
    assert tree["posterior"]["dm31"].shape == (2, 50)
    found = bayesxs.bootstrap(truth, priors, replicas=10, progress=False)
    assert found["bootstrap"]["dm31"].shape == (10,)
    assert 2e-3 <= found["bootstrap"].attrs["mle_dm31"] <= 3e-3


def test_near_counts_in_arrays_are_those_of_the_bins(experiment):
    near = experiment.near_data(events=1e6, key=3).detectors["mu"]
    geometry = near.geometry
    shape = geometry.bins.shape
    table = bayesxs.near_counts(
        near.observed.reshape(shape), geometry.bins.energy_edges, z=geometry.bins.z_edges
    )
    same = experiment.near_data(counts=table).detectors["mu"]
    np.testing.assert_array_equal(same.observed, near.observed)
    assert same.events == near.observed.sum()


def bad_flux(**change):
    energy = np.array([1.0, 2.0, 3.0, 11.0])
    return bayesxs.flux(
        change.get("energy", energy), {change.get("name", "nu_mu"): change.get("values", energy)}
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda e: bad_flux(values=np.array([1.0, -2.0, 3.0, 1.0])), ["row 2", "-2.0", ">= 0"]),
        (lambda e: bad_flux(values=np.array([1.0, np.nan, 3.0, 1.0])), ["row 2", "nan"]),
        (lambda e: bad_flux(values=np.ones(3)), ["shape of nu_mu", "(3,)", "(4,)"]),
        (lambda e: bad_flux(energy=np.array([1.0, 3.0, 2.0, 11.0])), ["energy", "2.0"]),
        (lambda e: bad_flux(name="numu_bar"), ["species", "numu_bar", "nu_mu"]),
        (
            lambda e: dataclasses.replace(e, energy_range=(0.5, 20.0)).energies,
            ["energy_range[1]", "20.0"],
        ),
        (
            lambda e: dataclasses.replace(e, nature=lambda x, q2: x * q2).near_data().detectors,
            ["shape of structure functions", "(30, 3)"],
        ),
        (
            lambda e: (
                dataclasses.replace(e, nature=lambda x, q2: -nature(x, q2)).near_data().detectors
            ),
            ["x = ", "Q^2 = ", "b0 >= 0"],
        ),
        (
            lambda e: (
                dataclasses.replace(
                    e,
                    nature=lambda x, q2: (
                        nature(x, q2) * jnp.where(x == 0.1, jnp.nan, 1.0)[..., None]
                    ),
                )
                .near_data()
                .detectors
            ),
            ["x = 0.1", "finite"],
        ),
        (
            lambda e: e.likelihood(bayesxs.FarData([2.0, 9.0], [0.9, -0.9], [0, 0]), "truth"),
            ["event 1", "9 GeV"],
        ),
        (
            lambda e: e.likelihood(bayesxs.FarData([2.0, np.nan], [0.9, 0.9], [0, 0]), "truth"),
            ["event 1", "nan"],
        ),
        (
            lambda e: e.likelihood(bayesxs.FarData([2.0, 3.0], [0.9], [0, 0]), "truth"),
            ["(2,), (1,), (2,)"],
        ),
        (lambda e: e.likelihood(bayesxs.FarData(counts=np.ones(7)), "truth"), ["(7,)", "(160,)"]),
        (
            lambda e: e.likelihood(e.simulate(key=1, events=9), "learnt"),
            ["cross_section", "learnt"],
        ),
        (
            lambda e: e.likelihood(e.simulate(key=1, events=9), "truth", ranges={"dm32": (0, 1)}),
            ["ranges", "dm32", "dm31"],
        ),
        (
            lambda e: dataclasses.replace(e, priors={"dm31": bayesxs.Flat(0.0, np.inf)}),
            ["priors.dm31", "cannot be normalised"],
        ),
        (
            lambda e: dataclasses.replace(e, priors={"dm31": bayesxs.Flat(1e-3, 2e-3)}),
            ["parameters.dm31", "0.001 to 0.002"],
        ),
        (lambda e: e.near_data(events=1e6), ["key"]),
        (lambda e: e.near_data(events=1e6, key=1, file="near.csv"), ["file", "without events"]),
        (
            lambda e: bayesxs.learn(e.near_data(), uncertainty="gp"),
            ["uncertainty", "gp", "laplace"],
        ),
        (lambda e: bayesxs.near_counts(np.ones((2, 2)), [0, 1, 2], z=[0, 1]), ["(2, 2)", "(2, 1)"]),
        (lambda e: bayesxs.near_counts(-np.ones((1, 1)), [0, 1], z=[0, 1]), ["counts[0, 0]", "-1"]),
    ],
)
def test_bad_input_is_one_line_that_names_the_argument(experiment, call, words):
    with pytest.raises(InputError) as caught:
        call(experiment)
    message = str(caught.value)
    assert "\n" not in message
    assert "--" not in message
    for word in words:
        assert word in message


def test_single_precision_is_refused_by_name():
    code = (
        "import bayesxs, numpy as np\n"
        "e = np.linspace(0.5, 10, 20)\n"
        "exp = bayesxs.Experiment(bayesxs.flux(e, {'nu_mu': e}), "
        "bayesxs.QuarkParton(bayesxs.ct18nnlo()))\n"
        "try:\n    bayesxs.learn(exp.near_data())\n"
        "except bayesxs.InputError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "bayesxs.enable_x64()" in done.stdout


def test_public_names_and_nothing_else():
    assert dir(bayesxs) == sorted(bayesxs.__all__)
    assert all(hasattr(bayesxs, name) for name in bayesxs.__all__)
    assert bayesxs.__version__.split(".")[0].isdigit()


def test_a_pytree_passes_through_transformations(truth):
    points = jnp.linspace(2.4e-3, 2.6e-3, 3)

    def at(far: bayesxs.Likelihood, dm31: jax.Array) -> jax.Array:
        return far.log_prob(bayesxs.NUFIT_6_0._replace(dm31=dm31))

    together = jax.jit(jax.vmap(at, in_axes=(None, 0)))(truth, points)
    alone = [float(at(truth, p)) for p in points]
    np.testing.assert_allclose(together, alone, rtol=1e-10)
    assert np.isfinite(jax.grad(at, argnums=1)(truth, points[0]))
