"""Event by event: replicated values belong to the density that log_likelihood is of."""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy.special import logsumexp
from scipy.stats import kstest, multinomial

from bayesxs.inference.pointwise import (
    REPORTED,
    evenly_spaced,
    replicated_counts,
    replicated_energies,
    reported,
    thinned,
)

DIMS = ("chain", "draw")

# P(a KS test of uniform values is below it): how often each test of uniformity fails for no reason
FALSE_ALARM = 1e-3


def on_draws(values: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Put rows onto two chains."""
    return (*DIMS, "event"), values.reshape(2, -1, values.shape[1])


def pits(observed: np.ndarray, drawn: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Return ArviZ's probability integral transforms, leaving one out."""
    groups = {
        "posterior": xr.Dataset({"slope": (DIMS, np.arange(len(logs)).reshape(2, -1) * 1.0)}),
        "log_likelihood": xr.Dataset({"events": on_draws(logs)}),
        "posterior_predictive": xr.Dataset({"events": on_draws(drawn)}),
        "observed_data": xr.Dataset({"events": ("event", observed)}),
    }
    coords = {"chain": [0, 1], "draw": np.arange(len(logs) // 2)}
    tree = xr.DataTree.from_dict(
        {n: d.assign_coords(coords) if "chain" in d.dims else d for n, d in groups.items()}
    )
    return az.loo_pit(tree, var_names="events")["events"].values


def posterior_of_slope(
    rng: np.random.Generator, counts: np.ndarray, flat: np.ndarray, tilt: np.ndarray
) -> np.ndarray:
    """Draw 400 spectra flat + slope tilt from the exact posterior of the slope, flat prior."""
    slopes = np.linspace(-0.6, 0.6, 2001)
    heights = np.log(flat + slopes[:, None] * tilt) @ counts
    chosen = rng.choice(slopes, 400, p=np.exp(heights - logsumexp(heights)))
    return flat + chosen[:, None] * tilt


@pytest.mark.parametrize("wrong", [False, True])
def test_pits_of_energies_are_uniform_where_the_posterior_is_right(wrong: bool) -> None:
    rng = np.random.default_rng(3)
    edges = np.array([0.1, 0.5, 0.7, 1.5, 2.0, 4.0])
    flat = np.array([0.1, 0.3, 0.3, 0.2, 0.1])
    tilt = flat * np.array([1.0, 0.3, 0.2, -0.5, -1.5])
    truth = flat + 0.3 * tilt
    bins = rng.choice(5, 3000, p=truth / truth.sum())
    energies = edges[bins] + rng.random(3000) * np.diff(edges)[bins]
    spectra = posterior_of_slope(rng, np.bincount(bins, minlength=5), flat, tilt)
    shares = spectra / spectra.sum(axis=1, keepdims=True)
    logs = np.log(shares / np.diff(edges))[:, bins]
    if wrong:
        spectra = spectra * [1.0, 1.0, 1.2, 1.0, 1.0]
    # Seven times the shares: only ratios count
    drawn = replicated_energies(rng, 7.0 * spectra, edges, 3000)
    assert drawn.dtype == np.float32
    p_value = kstest(pits(energies, drawn, logs), "uniform").pvalue
    assert (p_value < FALSE_ALARM) == wrong


def test_energies_of_events_are_independent_draws() -> None:
    drawn = replicated_energies(np.random.default_rng(0), np.ones((50, 4)), np.arange(5.0), 40)
    assert len(np.unique(drawn)) == drawn.size
    # Of 780 pairs of events: |correlation| of 50 draws above 0.65 has probability 3e-7 each
    assert np.abs(np.corrcoef(drawn.T) - np.eye(40)).max() < 0.65


@pytest.mark.parametrize("wrong", [False, True])
def test_pits_of_counts_are_uniform_though_empty_bins_are_left_out(wrong: bool) -> None:
    rng = np.random.default_rng(5)
    # Expected counts from 0.05 to 20: of the low ones most bins are empty
    shares = np.geomspace(0.05, 20.0, 4000)
    shares /= shares.sum()
    events = round(4000 * 3.0)
    counts = multinomial.rvs(events, shares, random_state=rng)
    filled = counts > 0
    inside = np.tile(shares[filled], (400, 1))
    drawn = rng.binomial(events, inside) if wrong else replicated_counts(rng, inside, events)
    # The shares are known: no draw weighs more than another
    below, ties = ((compare(drawn, counts[filled])).sum(axis=0) for compare in (np.less, np.equal))
    ranks = (below + rng.random(len(below)) * (1 + ties)) / 401
    p_value = kstest(ranks, "uniform").pvalue
    assert (p_value < FALSE_ALARM) == wrong


def test_counts_are_binomial_without_zero() -> None:
    rng = np.random.default_rng(1)
    p = np.array([1e-9, 1e-3, 0.02, 0.5, 1.0])
    events, draws = 50, 20_000
    drawn = replicated_counts(rng, np.tile(p, (draws, 1)), events)
    assert drawn.min() == 1
    none = (1.0 - p) ** events
    mean = events * p / -np.expm1(events * np.log1p(-np.minimum(p, 1.0 - 1e-16)))
    square = mean * (1.0 - p + events * p)
    error = np.sqrt(np.maximum(square - mean**2, 0.0) / draws)
    # Five standard errors, five numbers: false alarm 3e-6
    assert np.all(np.abs(drawn.mean(axis=0) - mean) <= 5.0 * error + 1e-7)
    assert np.all(none < 1.0)


# --- draws -------------------------------------------------------------------------------------


def test_draws_are_evenly_spaced() -> None:
    np.testing.assert_array_equal(evenly_spaced(300, 100), np.arange(0, 300, 3))
    np.testing.assert_array_equal(evenly_spaced(300, 50, chains=4), np.arange(0, 300, 24))
    np.testing.assert_array_equal(evenly_spaced(7, 100), np.arange(7))
    np.testing.assert_array_equal(evenly_spaced(7, 2, chains=1000), [0])


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    """A Gaussian mean of 20 values, of which each third draw has log likelihoods."""
    rng = np.random.default_rng(2)
    data = rng.standard_normal(20)
    mean = 0.8 * data.mean() + rng.standard_normal((2, 300)) * 20**-0.5
    whole = {"chain": [0, 1], "draw": np.arange(10, 310)}
    kept = whole | {"draw": whole["draw"][::3]}
    logs = -0.5 * (data - mean[:, ::3, None]) ** 2
    groups = {
        "posterior": xr.Dataset({"mean": (DIMS, mean)}, whole),
        "sample_stats": xr.Dataset({"lp": (DIMS, mean)}, whole),
        "log_prior": xr.Dataset({"mean": (DIMS, -0.5 * mean**2)}, whole),
        "prior": xr.Dataset({"mean": (DIMS, rng.standard_normal((1, 70)))}),
        "log_likelihood": xr.Dataset({"events": ((*DIMS, "event"), logs)}, kept),
    }
    out = xr.DataTree.from_dict(groups)
    out.attrs["source"] = "a test"
    return out


def test_a_thinned_tree_has_the_draws_of_the_likelihood(tree: xr.DataTree) -> None:
    cut = thinned(tree)
    for group in ("posterior", "sample_stats", "log_prior", "log_likelihood"):
        own = cut[group].to_dataset()
        np.testing.assert_array_equal(own["draw"], np.arange(10, 310, 3))
        whole = tree[group].to_dataset()
        xr.testing.assert_equal(own, whole.sel(draw=own["draw"].values))
    xr.testing.assert_equal(cut["prior"].to_dataset(), tree["prior"].to_dataset())
    assert cut.attrs == tree.attrs
    assert tree["posterior"].sizes["draw"] == 300


@pytest.mark.filterwarnings("ignore:Number of tail draws")
def test_psense_takes_a_thinned_tree(tree: xr.DataTree) -> None:
    assert np.isnan(az.psense_summary(tree).loc["mean", "likelihood"])  # draws do not match
    found = az.psense_summary(thinned(tree))
    # 20 values against a prior of unit width: the likelihood speaks
    assert found.loc["mean", "likelihood"] > found.loc["mean", "prior"] > 0.0


def test_the_report_shows_its_own_draws() -> None:
    data = xr.Dataset({"z_counts": ("draw", np.arange(4))}, {"draw": [0, 3, 6, 9]})
    xr.testing.assert_identical(reported(data), data)
    for shown in ([0, 6], [6]):
        data.attrs[REPORTED] = np.array(shown)
        np.testing.assert_array_equal(reported(data)["draw"], shown)
    data.attrs[REPORTED] = 6  # how netCDF gives one number back
    np.testing.assert_array_equal(reported(data)["draw"], [6])
