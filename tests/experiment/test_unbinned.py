"""Near-detector events one by one: from arrays to the loss, and what is refused."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import bayesxs
from bayesxs.cards.card import load_card
from bayesxs.errors import InputError
from bayesxs.experiment.learn import Training, training_data
from bayesxs.experiment.near import NearDetector
from bayesxs.experiment.unbinned import unbinned_data
from bayesxs.physics.kinematics import z_from_cosine

GRID = bayesxs.Grid(3, 24, 24, 16, 16, (10, 8))
UNBINNED = Training(loss="unbinned")


def nature(x, q2):
    """Return a bracket (1 - x)^3 (1 + t) times sqrt(x) Q^2/(Q^2 + 1), positive everywhere."""
    size = jnp.sqrt(x) * (1.0 - x) ** 3 * q2 / (q2 + 1.0)
    return size[..., None] * jnp.array([1.0, 1.5, 2.0])


@pytest.fixture(scope="module")
def exp() -> bayesxs.Experiment:
    energy = np.linspace(0.25, 12.0, 48)
    shape = np.exp(-((energy - 2.5) ** 2) / 2.0) + 0.05
    flux = bayesxs.flux(energy, {"nu_mu": shape})
    return bayesxs.Experiment(flux, nature, grid=GRID, energy_range=(0.5, 8.0))


@pytest.fixture(scope="module")
def drawn(exp) -> NearDetector:
    return exp.near_data(events=30_000, key=3, one_by_one=True).detectors["mu"]


def arrays(drawn: NearDetector, **changes):
    return bayesxs.near_events(**drawn.leptons._asdict() | changes)


def test_arrays_give_what_the_drawn_events_give(exp, drawn) -> None:
    own = exp.near_data(events=arrays(drawn)).detectors["mu"]
    assert own.events == drawn.events == 30_000
    np.testing.assert_array_equal(own.observed, drawn.observed)
    assert not drawn.source.measured
    assert own.source.measured
    heavier = arrays(drawn, weight=np.full(30_000, 4.0))
    np.testing.assert_allclose(
        exp.near_data(events={"mu": heavier}).detectors["mu"].observed, drawn.observed
    )


def test_the_density_of_the_truth_is_normalised(exp, drawn) -> None:
    """By the integral over fine bins, another quadrature."""
    data = unbinned_data(drawn)
    values = exp.geometries["mu"].true_node_values.ravel()
    assert data.total @ values == pytest.approx((drawn.matrix @ values).sum(), rel=2e-4)
    # Of the events, with all of their density at the points: the sum over volumes is one
    density = data.matrix @ values / (data.total @ values)
    assert density[: data.points.dense].sum() < 1.0 < 1.05 * density.sum()


def test_points_give_the_log_likelihood_of_all_events(exp, drawn) -> None:
    """Differences between two cross sections, with rows of the operator at each of 4000 events."""
    geometry, some = exp.geometries["mu"], slice(4000)
    energy, cosine = drawn.leptons.lepton_energy[some], drawn.leptons.cos_theta[some]
    data = unbinned_data(drawn)
    z = z_from_cosine(energy, cosine, geometry.lepton_mass)
    flux = geometry.target.near_flux
    matrix = geometry.events(energy, z).operator.near_matrix(flux)
    x, q2 = geometry.nodes.x[:, None], geometry.nodes.q2[:, None]
    # Positive up to x = 1, so that logarithms exist wherever interpolation leads
    one = (1.1 - x) * q2 / (q2 + 1.0) * np.array([1.0, 1.5, 2.0])
    other = one * (1.0 + 0.2 * np.sin(3.0 * x) + 0.1 * np.log1p(q2))
    exact, found = [], []
    for values in (one.ravel(), other.ravel()):
        rate = data.total @ values
        exact.append(np.mean(np.log(matrix @ values / rate)))
        density = data.matrix @ values / rate / data.points.volume
        found.append(np.mean(data.points.shares[some] @ np.log(density)))
    assert found[0] == pytest.approx(exact[0], abs=2e-3)
    assert found[1] - found[0] == pytest.approx(exact[1] - exact[0], abs=5e-5)
    assert abs(exact[1] - exact[0]) > 1e-3


def test_replicas_are_events_drawn_with_replacement(drawn) -> None:
    data = unbinned_data(drawn)
    one, other = (data.replica(jax.random.key(seed)).weight for seed in (1, 2))
    assert not np.array_equal(one, other)
    for weight in (one, other):
        assert weight.sum() == len(data.weight)
        # Poisson's share of events that are left out
        assert np.mean(weight == 0.0) == pytest.approx(np.exp(-1.0), abs=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lepton_energy": [1.0, -2.0]}, ["lepton_energy[1]", "-2.0", "above 0"]),
        ({"cos_theta": [0.5, 1.5]}, ["cos_theta[1]", "between -1 and 1"]),
        ({"cos_theta": [0.5]}, ["shape of cos_theta", "(2,)"]),
        ({"weight": [1.0, np.nan]}, ["weight[1]", "nan"]),
        ({"weight": [0.0, 0.0]}, ["weight", "some above zero"]),
        ({"lepton_energy": []}, ["shape of lepton_energy"]),
    ],
)
def test_bad_arrays_are_refused(changes, words) -> None:
    good = {"lepton_energy": [1.0, 2.0], "cos_theta": [0.9, 0.95]}
    with pytest.raises(InputError) as error:
        bayesxs.near_events(**good | changes)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("lepton", "cosine"), [(0.6, -1.0), (9.0, 1.0)])
def test_an_impossible_event_is_named_or_dropped(exp, drawn, lepton, cosine) -> None:
    """Straight back with more than any neutrino leaves, in a bin that others fill; or too much."""
    energy, cosines, _ = drawn.leptons
    own = bayesxs.near_events([*energy, lepton], [*cosines, cosine])
    with pytest.raises(InputError, match=f"event 30000: {lepton:g} GeV.*no neutrino of the beam"):
        _ = exp.near_data(events=own).detectors["mu"].observed
    near = exp.near_data(events=own, impossible="drop").detectors["mu"]
    assert (near.observed.sum(), near.dropped) == (len(energy), 1)
    assert len(unbinned_data(near).weight) == len(energy)


@pytest.mark.parametrize(
    "near",
    [
        lambda e: e.near_data(),
        lambda e: e.near_data(events=1e5, key=1),
        lambda e: dataclasses.replace(e, detector=bayesxs.GaussianDetector()).near_data(
            events=bayesxs.near_events([1.0, 2.0], [0.9, 0.95])
        ),
    ],
)
def test_only_events_as_they_were_made_can_be_taken_one_by_one(exp, near) -> None:
    with pytest.raises(InputError, match="unbinned") as error:
        training_data(near(exp).detectors["mu"], UNBINNED)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["near.events", "infinite"]),
        ({"near.events": 10**9}, ["near.events", "10000000"]),
        ({"near.events": 10**5, "network.head": "unconstrained"}, ["network.head"]),
        ({"near.events": 10**5, "response.type": "gaussian"}, ["response.type"]),
    ],
)
def test_cards_are_refused_before_anything_is_computed(changes, words) -> None:
    with pytest.raises(InputError) as error:
        load_card(overrides={"training.loss": "unbinned"} | changes)
    assert all(word in str(error.value) for word in words)
