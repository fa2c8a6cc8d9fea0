"""Replicated events and spectra: at the true parameters they are as the simulated ones."""

from __future__ import annotations

import jax
import numpy as np
import xarray as xr
from scipy.stats import kstest

from bayesxs.cards.build import build_experiment
from bayesxs.cards.card import load_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.far import simulated_events
from bayesxs.experiment.predictive import add_predictive
from bayesxs.inference.pointwise import REPORTED
from bayesxs.inference.posterior import add_log_likelihood

FEW = [
    "grid.energy_order=1",
    "grid.lepton_energies=20",
    "grid.z=20",
    "grid.nodes_x=16",
    "grid.nodes_q2=16",
]
DRAWS = 60


def truth_tree(changes: list[str], events: int) -> tuple[xr.DataTree, xr.Dataset]:
    """Return the tree of a posterior all of whose draws are the truth, and the events."""
    experiment = build_experiment(load_card(None, "quick", parse_overrides(FEW + changes)))
    data = simulated_events(experiment, events, 1)
    channels = Channels(experiment, None, data)
    shape = ("chain", "draw"), np.full((2, DRAWS), float(experiment.parameters.dm31))
    coords = {"chain": [0, 1], "draw": np.arange(DRAWS)}
    tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"dm31": shape}, coords)})
    shown = np.arange(0, DRAWS, 20)
    places = np.union1d(np.arange(0, DRAWS, 3), shown)
    add_log_likelihood(tree, channels.of_events("truth"), experiment.parameters, places)
    add_predictive(tree, channels, "truth", jax.random.key(2), shown)
    return tree, data


def p_values(tree: xr.DataTree, sample: np.ndarray) -> list[float]:
    """Return KS p-values of the ranks of each sample's rows; ties are broken at random.

    All draws are the truth, so that none weighs more than another.
    """
    observed = tree["observed_data"]["events"].values
    drawn = tree["posterior_predictive"]["events"].values.reshape(-1, len(observed))
    below, ties = (drawn < observed).sum(axis=0), (drawn == observed).sum(axis=0)
    ranks = below + np.random.default_rng(0).random(len(observed)) * (1 + ties)
    ranks /= 1 + len(drawn)
    return [kstest(ranks[sample == n], "uniform").pvalue for n in np.unique(sample)]


def test_events_of_each_sample_are_those_of_its_spectrum() -> None:
    tree, data = truth_tree(['sample=[{}, {flavor_out="e"}]'], 3000)
    predicted = tree["posterior_predictive"].dataset
    assert predicted["events"].dtype == np.float32
    assert predicted["events"].dims == tree["log_likelihood"]["events"].dims
    np.testing.assert_array_equal(predicted["draw"], tree["log_likelihood"]["draw"])
    np.testing.assert_array_equal(predicted.attrs[REPORTED], [0, 20, 40])
    observed = tree["observed_data"].dataset
    np.testing.assert_allclose(observed["events"], data["lepton_energy"], rtol=1e-7)
    # Two samples: false alarm 2e-3
    assert min(p_values(tree, data["sample"].values)) > 1e-3
    # Spectra hold all events of their sample, on every draw
    sizes = np.bincount(data["sample"].values)
    for name in ("lepton_energy", "z"):
        numbers = predicted[f"{name}_counts"].sum(f"{name}_bin").transpose("sample", ...)
        assert (numbers == sizes[:, None, None]).all()


def test_events_in_bins_are_counts_of_the_bins() -> None:
    tree, data = truth_tree(['response={type="gaussian"}'], 3000)
    observed, predicted = (
        tree[g]["events"].values for g in ("observed_data", "posterior_predictive")
    )
    assert observed.sum() == data.sizes["event"]
    assert observed.min() == predicted.min() == 1.0
    assert predicted.shape == tree["log_likelihood"]["events"].shape
    np.testing.assert_array_equal(predicted, np.round(predicted))
    # False alarm 1e-3
    assert min(p_values(tree, np.zeros(len(observed)))) > 1e-3
    # Bins' probabilities: counts times their logarithms are what the likelihood sums
    shares = np.exp(tree["log_likelihood"]["events"].values[0, 0] / observed)
    assert 0.5 < shares.sum() < 1.0
