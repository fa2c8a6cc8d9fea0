"""Posteriors under other priors: against closed forms of normal distributions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from bayesxs.errors import InputError
from bayesxs.inference.priors import Flat, Gaussian
from bayesxs.inference.reweighting import OtherPrior, Reweighted, flat_in_sine, reweighted

# The likelihood of each mode is a normal of s2_13 times its evidence, under a flat prior
MEANS = np.array([0.020, 0.024])
WIDTH = 0.002
PRIOR = Flat(0.005, 0.050)
LOG_WEIGHTS = np.log(np.array([0.3, 0.7]))
SHAPE = (2, 4, 10_000)


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    rng = np.random.default_rng(4)
    axes = ("mode", "chain", "draw")
    coords = {
        "mode": ["normal, upper", "inverted, upper"],
        "chain": range(4),
        "draw": range(10_000),
    }
    drawn = {
        "sin2_theta13": (axes, rng.normal(MEANS[:, None, None], WIDTH, SHAPE)),
        "dcp": (axes, rng.uniform(-np.pi, np.pi, SHAPE)),
        "dm31": (axes, np.array([1.0, -1.0])[:, None, None] * rng.normal(2.5e-3, 1e-5, SHAPE)),
    }
    priors = {"sin2_theta13": ["Flat", *PRIOR], "dm31": ["Flat", 2e-3, 3e-3]}
    root = xr.Dataset(
        {"log_weight": ("mode", LOG_WEIGHTS), "log_weight_error": ("mode", np.zeros(2))},
        {"mode": coords["mode"]},
        {"priors": json.dumps(priors), "ordering_center": 0.0},
    )
    return xr.DataTree.from_dict({"/": root, "posterior": xr.Dataset(drawn, coords)})


def under(tree: xr.DataTree, priors: dict[str, OtherPrior]) -> Reweighted:
    return reweighted(tree, priors, np.random.default_rng(1))


def test_a_gaussian_prior_is_a_product_of_normals(tree: xr.DataTree) -> None:
    prior = Gaussian(0.0222, 0.001)
    found = under(tree, {"sin2_theta13": prior})
    # Of normals: evidence N(prior mean; mean, both widths), mean weighted by 1/variance
    overlap = norm.pdf(prior.mean, MEANS, np.hypot(WIDTH, prior.sd))
    wanted = np.exp(LOG_WEIGHTS) * overlap / np.sum(np.exp(LOG_WEIGHTS) * overlap)
    error = found.probabilities["probability_error"].values
    # Five standard errors: a false alarm in a million
    share = found.probabilities["probability"].values
    assert np.all(np.abs(share - wanted) < 5.0 * error)
    assert np.all(error < 0.01)
    parts = 1.0 / np.array([WIDTH, prior.sd]) ** 2
    mean = (parts[0] * MEANS + parts[1] * prior.mean) / parts.sum()
    values = found.posterior["posterior"]["sin2_theta13"].values.ravel()
    sd = np.sqrt(1.0 / parts.sum())
    assert abs(values.mean() - wanted @ mean) < 5.0 * sd / np.sqrt(found.ess) + 1e-5
    # Kish: (mean r)^2 / mean r^2 of each mode, whose closed form is a ratio of normals
    square = norm.pdf(prior.mean, MEANS, np.hypot(WIDTH, prior.sd / np.sqrt(2.0)))
    second = square / (2.0 * prior.sd * np.sqrt(np.pi))
    kept = 40_000.0 / np.sum(wanted**2 * second / overlap**2)
    assert found.ess == pytest.approx(kept, rel=0.05)


def test_the_same_prior_changes_nothing(tree: xr.DataTree) -> None:
    found = under(tree, {"dcp": Flat(-np.pi, np.pi)})
    np.testing.assert_allclose(found.probabilities["probability"], [0.3, 0.7])
    assert found.ess == pytest.approx(40_000.0 / (0.3**2 + 0.7**2))
    inverted = np.mean(found.posterior["posterior"]["dm31"].values < 0.0)
    assert inverted == pytest.approx(0.7, abs=1e-4)  # chosen evenly


def test_a_prior_flat_in_the_sine_is_flat_in_it(tree: xr.DataTree) -> None:
    found = under(tree, {"dcp": flat_in_sine})
    sine = np.sin(found.posterior["posterior"]["dcp"].values.ravel())
    held = np.histogram(sine, 8, (-1.0, 1.0))[0] / sine.size
    # Binomial with the effective draws, five standard deviations
    assert np.all(np.abs(held - 0.125) < 5.0 * np.sqrt(0.11 / found.ess))
    # Of |cos| over the circle: (2/pi)^2 / (1/2)
    effective = (2.0 / np.pi) ** 2 / 0.5 * 40_000.0 / (0.3**2 + 0.7**2)
    assert found.ess == pytest.approx(effective, rel=0.02)


def test_a_prior_of_the_splitting_is_of_its_size(tree: xr.DataTree) -> None:
    found = under(tree, {"dm31": Flat(2.5e-3, 2.6e-3)})
    values = np.abs(found.posterior["posterior"]["dm31"].values)
    assert values.min() >= 2.5e-3
    np.testing.assert_allclose(found.probabilities["probability"], [0.3, 0.7], atol=0.01)


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ({"sin2_theta23": Flat(0.4, 0.6)}, "sin2_theta23: one of sin2_theta13, dm31, dcp"),
        ({"sin2_theta13": Flat(0.001, 0.03)}, "within that of the draws, 0.005 to 0.05"),
        ({"sin2_theta13": Flat(0.045, 0.046)}, "must leave some draws"),
        ({"sin2_theta13": Gaussian(0.02, 0.0)}, "a standard deviation above 0 and finite"),
        ({"dm31": Flat(2.4e-3, np.inf)}, "another prior cannot be normalised"),
        ({"dcp": lambda dcp: dcp[0]}, "returns the log density"),
        ({"dcp": np.sqrt}, "returns the log density"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_priors_that_no_draws_serve_are_refused(
    tree: xr.DataTree, priors: dict[str, OtherPrior], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        under(tree, priors)
