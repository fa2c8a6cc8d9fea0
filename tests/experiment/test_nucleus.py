"""The built-in nucleus as nature: what is learned from it follows its phase space."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import bayesxs
from bayesxs.cards.build import build_experiment, build_training
from bayesxs.cards.card import load_card
from bayesxs.detector.grid import lepton_grid
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.judge import Judge
from bayesxs.experiment.learn import train_group, training_data
from bayesxs.experiment.uncertainty import far_matrices
from bayesxs.inference.channel import log_likelihood
from bayesxs.learning.heads import Lepton
from bayesxs.physics.kinematics import PhaseSpace
from bayesxs.physics.structure_functions import StructureFunctions

CHANGES = {
    "grid.energy_order": 1,
    "grid.lepton_energies": 16,
    "grid.z": 16,
    "grid.nodes_x": 16,
    "grid.nodes_q2": 16,
    "network": {"layers": 2, "width": 12},
    "training.gauss_newton_steps": 6,
}


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return build_experiment(load_card("nucleus", overrides=CHANGES))


class Ridge:
    """The quasi-elastic part of a nucleus: other channels are tabulated first, which takes long."""

    x_max = 3.0

    def __init__(self, nucleus: bayesxs.Nucleus) -> None:
        self.nucleus = nucleus

    def structure_functions(self, lepton_mass: float, antineutrino: bool) -> StructureFunctions:
        return self.nucleus.structure_functions(lepton_mass, antineutrino, ("quasi_elastic",))


def test_a_network_of_a_nucleus_follows_its_phase_space(experiment: Experiment) -> None:
    """Choices of the card, and the near density, from 100 % to a few per cent in a dozen steps."""
    training = build_training(load_card("nucleus", overrides=CHANGES))
    ridge = dataclasses.replace(experiment, nature=Ridge(experiment.nature), assumed=None)
    (near,) = ridge.near_data().detectors.values()
    data = training_data(near, training)
    assert (data.architecture.inputs, data.architecture.head) == ("ridge", "psd")
    assert (data.lepton, data.x_max) == (Lepton(), 3.0)
    assert training.schedule_for(data).gauss_newton_steps == 12
    (network,) = train_group(training, data, 0, 0, [0])
    judge = Judge(near.geometry, {"near": near.geometry.target.near_flux})
    values = near.geometry.node_values(network)
    assert judge.errors(values)["near_rel_l2"] < 0.03
    assert judge.errors(np.ones_like(values))["near_rel_l2"] > 0.1


def test_expected_data_of_uneven_bins_are_fitted_best_by_the_truth(experiment: Experiment) -> None:
    """Of expected events the likelihood of their own cross section has no slope at the truth."""
    ridge = dataclasses.replace(experiment, nature=Ridge(experiment.nature), assumed=None)
    events = xr.Dataset({"sample": ("event", np.zeros(6200, int))})
    (channel,) = Channels(ridge, None, events).of_asimov("truth")
    true = ridge.parameters

    @jax.jit
    @jax.value_and_grad
    def height(v: jax.Array) -> jax.Array:
        return log_likelihood([channel], true._replace(dm31=true.dm31 * v[0], s2_23=v[1]))

    slope = height(jnp.array([1.0, true.s2_23]))[1]
    np.testing.assert_allclose(slope * jnp.array([0.005, 0.02]), 0.0, atol=1e-3)  # over the errors


def test_merged_far_bins_hold_all_events(experiment: Experiment) -> None:
    ridge = dataclasses.replace(experiment, nature=Ridge(experiment.nature), assumed=None)
    geometry, (sample,) = ridge.geometries["mu"], ridge.samples
    values = geometry.node_values(geometry.true_functions)
    flux = ridge.source_flux(sample) * ridge.oscillation(sample, ridge.energies.points)
    (matrix,) = far_matrices(ridge, geometry.target)
    events = geometry.bins.areas.max() * (matrix @ values.ravel()).sum()
    assert events == pytest.approx(geometry.spectrum.of_values(values).total @ flux)


def test_the_card_assumes_partons_of_a_nucleus(experiment: Experiment) -> None:
    assert isinstance(experiment.nature, bayesxs.Nucleus)
    assert isinstance(experiment.assumed, bayesxs.QuarkParton)
    assert experiment.nature.protons == experiment.assumed.protons == 18


def test_bins_of_a_nucleus_are_fine_where_q2_is_low() -> None:
    even, graded = (lepton_grid(10.0, 20, 20, 0.1057, PhaseSpace(end)) for end in (1.0, 3.0))
    np.testing.assert_allclose(np.diff(even.z_edges, 2), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.diff(np.sqrt(graded.z_edges), 2), 0.0, atol=1e-12)
    assert np.all(np.diff(graded.energy_edges, 2) > 0.0)
    for grid in (even, graded):
        assert grid.energy_edges[[0, -1]].tolist() == pytest.approx([0.1057, 10.0])
    assert set(even.sizes) == {1.0}
    np.testing.assert_allclose(graded.sizes * graded.areas.max(), graded.areas, rtol=1e-9)
    assert graded.areas.sum() == pytest.approx((10.0 - 0.1057) * graded.z_edges[-1])
