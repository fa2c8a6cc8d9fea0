"""Posteriors: NUTS against brute force, summaries against NumPy, shifts against known ones."""

from __future__ import annotations

from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from bayesxs.inference.bootstrap import Bootstrap
from bayesxs.inference.channel import log_likelihood, pointwise_log_density
from bayesxs.inference.circle import on_branch
from bayesxs.inference.posterior import (
    Comparison,
    add_bootstrap,
    add_log_likelihood,
    add_priors,
    batched,
    parameters_of,
    pool,
    posterior_tree,
    shift_sigma,
    summarize,
    truth_values,
)
from bayesxs.inference.priors import Flat, Gaussian
from bayesxs.inference.sampling import Draws
from bayesxs.physics.oscillation import OscillationParameters

# --- NUTS against a grid -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tree(far_draws) -> xr.DataTree:
    return posterior_tree(far_draws, jax.random.key(4))


def test_nuts_agrees_with_the_posterior_on_a_grid(tree, channel, priors, nature):
    axes = [np.linspace(*priors[name], n) for name, n in (("dm31", 281), ("s2_23", 161))]
    dm31, s2_23 = (a.ravel() for a in np.meshgrid(*axes, indexing="ij"))
    points = nature._replace(dm31=jnp.asarray(dm31), s2_23=jnp.asarray(s2_23))
    heights = np.asarray(
        jax.jit(lambda p: batched(lambda one: log_likelihood([channel], one), p))(points)
    )
    # Trapezoid rule: half weight on the edges
    edges = [(v == a[0]) | (v == a[-1]) for v, a in ((dm31, axes[0]), (s2_23, axes[1]))]
    density = (
        np.exp(heights - heights.max()) * np.where(edges[0], 0.5, 1) * np.where(edges[1], 0.5, 1)
    )
    density /= density.sum()
    grid = {"dm31": dm31, "sin2_theta23": s2_23, "sin2_2theta23": 4.0 * s2_23 * (1.0 - s2_23)}
    posterior = tree["posterior"].dataset
    checks: dict[str, tuple[np.ndarray, float]] = {}
    for name, values in grid.items():
        mean = float(density @ values)
        offset = posterior[name].values - mean
        checks[f"mean of {name}"] = (offset, 0.0)
        checks[f"variance of {name}"] = (offset**2, float(density @ (values - mean) ** 2))
    upper = float(density @ np.where(s2_23 > 0.5 + 1e-9, 1.0, np.where(s2_23 < 0.5 - 1e-9, 0, 0.5)))
    checks["octant, drawn"] = ((posterior["sin2_theta23"].values > 0.5).astype(float), upper)
    checks["octant, exact"] = (posterior["octant_upper_probability"].values, upper)
    for name, (values, expected) in checks.items():
        error = values.std() / np.sqrt(float(az.ess(values, method="mean")))
        # Five Monte Carlo errors, eight numbers: false alarm 5e-6
        assert abs(values.mean() - expected) < 5.0 * error, name
    # The errors are small enough to mean something: 5 % of the sd, and 0.03 in probability
    assert float(az.ess(posterior["dm31"].values)) > 400
    assert float(az.ess(posterior["octant_upper_probability"].values, method="mean")) > 400
    assert 0.2 < upper < 0.8
    assert int(tree["sample_stats"]["diverging"].sum()) == 0


def test_a_posterior_in_parts_is_the_same(tree, far_draws):
    """The octant of a draw depends on the numbers of its chain and itself, on nothing beside it."""

    def part(chains: slice, draws: slice) -> xr.DataTree:
        cut = [{n: v[chains, draws] for n, v in values.items()} for values in far_draws]
        first = {"first_chain": chains.start, "first_draw": draws.start}
        return posterior_tree(Draws(*cut), jax.random.key(4), **first)

    for chains, draws in (
        (slice(0, 2), slice(0, 1500)),
        (slice(3, 4), slice(100, 333)),
        (slice(0, 4), slice(1499, 1500)),
    ):
        for group, node in part(chains, draws).children.items():
            whole = tree[group].dataset.isel(chain=chains, draw=draws)
            xr.testing.assert_equal(node.to_dataset(), whole)


def test_every_chain_visits_both_octants(tree):
    s2_23 = tree["posterior"]["sin2_theta23"].values
    share = (s2_23 > 0.5).mean(axis=1)
    assert np.all((share > 0.2) & (share < 0.8))


def test_the_tree_holds_what_was_drawn(tree, far_draws):
    posterior = tree["posterior"].dataset
    np.testing.assert_array_equal(posterior["dm31"], far_draws.sites["dm31"])
    offset = np.abs(far_draws.sites["s2_23_offset"])
    np.testing.assert_allclose(np.abs(posterior["sin2_theta23"] - 0.5), offset, atol=1e-12)
    np.testing.assert_allclose(posterior["sin2_2theta23"], 1.0 - 4.0 * offset**2, atol=1e-12)
    assert set(tree["sample_stats"].dataset) == set(far_draws.statistics)


def test_a_sampled_octant_gives_its_indicator():
    s2_23 = np.array([[0.4, 0.45, 0.55], [0.6, 0.48, 0.52]])
    statistics = {"diverging": np.zeros((2, 3), bool)}
    tree = posterior_tree(Draws({"s2_23": s2_23}, statistics), jax.random.key(0))
    np.testing.assert_array_equal(
        tree["posterior"]["octant_upper_probability"], [[0, 0, 1], [1, 0, 1]]
    )
    np.testing.assert_array_equal(tree["posterior"]["sin2_theta23"], s2_23)


def test_log_likelihoods_belong_to_their_draws(tree, channel, nature):
    own = tree.copy()
    places = np.arange(0, own["posterior"].sizes["draw"], 30)
    add_log_likelihood(own, [channel], nature, places)
    values = own["log_likelihood"]["events"]
    assert values.sizes == {"chain": 4, "draw": len(places), "event": 600}
    chain, draw = 2, int(values.draw[17])
    point = own["posterior"].dataset.sel(chain=chain, draw=draw)
    there = nature._replace(dm31=float(point["dm31"]), s2_23=float(point["sin2_theta23"]))
    expected = jax.jit(pointwise_log_density)(channel, there)
    np.testing.assert_allclose(values.sel(chain=chain, draw=draw), expected, atol=1e-5)


# --- summaries ---------------------------------------------------------------------------------


def tree_of(posterior: dict[str, np.ndarray], diverging: int = 0) -> xr.DataTree:
    shape = next(iter(posterior.values())).shape
    flags = np.arange(np.prod(shape)).reshape(shape) < diverging
    return az.from_dict({"posterior": posterior, "sample_stats": {"diverging": flags}})


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    s2_23 = rng.uniform(0.4, 0.6, (4, 1000))
    return {
        "dm31": 2.5e-3 + 2e-5 * rng.standard_normal((4, 1000)),
        "sin2_theta23": s2_23,
        "sin2_2theta23": 4.0 * s2_23 * (1.0 - s2_23),
        "octant_upper_probability": rng.uniform(0.3, 0.5, (4, 1000)),
        # 200 degrees, give or take 20: across the seam
        "dcp": np.angle(np.exp(1j * np.deg2rad(200.0 + 20.0 * rng.standard_normal((4, 1000))))),
    }


KEYS = {
    *("unit", "mean", "sd", "median", "hdi68", "hdi90", "hdi68_mcse", "hdi90_mcse"),
    *("ess_bulk", "ess_tail", "r_hat"),
}
PARTS = {"hdi68_parts", "hdi90_parts"}


def test_the_summary_has_its_keys_and_numpys_values(drawn):
    summary = summarize(tree_of(drawn, diverging=3))
    names = {"dm31", "sin2_theta23", "sin2_2theta23", "dcp"}
    assert set(summary) == names | {"octant_upper_probability", "divergences"}
    assert all(set(summary[name]) - PARTS == KEYS for name in names)
    assert [summary[name]["unit"] for name in ("dm31", "dcp", "sin2_theta23")] == [
        "eV2",
        "rad",
        "1",
    ]
    assert summary["divergences"] == 3
    np.testing.assert_allclose(
        summary["octant_upper_probability"], drawn["octant_upper_probability"].mean()
    )
    for name in names - {"dcp"}:
        row, values = summary[name], drawn[name]
        expected = [values.mean(), values.std(ddof=1), np.median(values)]
        np.testing.assert_allclose([row["mean"], row["sd"], row["median"]], expected, rtol=1e-12)
        for key, mass in (("hdi68", 0.68), ("hdi90", 0.90)):
            low, high = row[key]
            inside = np.mean((values >= low) & (values <= high))
            np.testing.assert_allclose(inside, mass, atol=0.002)
        assert 3000 < row["ess_bulk"] < 5500
        assert 3000 < row["ess_tail"] < 5500
        assert row["r_hat"] == pytest.approx(1.0, abs=0.005)


def test_intervals_are_the_shortest(drawn):
    low, high = summarize(tree_of(drawn))["dm31"]["hdi68"]
    ordered = np.sort(drawn["dm31"].ravel())
    number = int(0.68 * len(ordered))
    widths = ordered[number:] - ordered[:-number]
    np.testing.assert_allclose(high - low, widths.min(), rtol=1e-3)
    # A normal distribution's: one standard deviation either side, 68.27 % (flat minimum: 10 %)
    half = norm.ppf(0.84) * 2e-5
    np.testing.assert_allclose([low, high], [2.5e-3 - half, 2.5e-3 + half], atol=0.2e-5)


def test_the_phase_is_summarized_on_its_circle(drawn):
    row = summarize(tree_of(drawn))["dcp"]
    mean = np.deg2rad(200.0) - 2.0 * np.pi
    # 4000 draws of sd 20 degrees: five errors of the mean are 1.6 degrees
    for key in ("mean", "median"):
        np.testing.assert_allclose(row[key], mean, atol=np.deg2rad(2.0))
    np.testing.assert_allclose(row["sd"], np.deg2rad(20.0), rtol=0.05)
    for key, mass in (("hdi68", 0.68), ("hdi90", 0.90)):
        low, high = row[key]
        assert -np.pi <= high < low <= np.pi  # through the seam
        inside = (drawn["dcp"] >= low) | (drawn["dcp"] <= high)
        np.testing.assert_allclose(inside.mean(), mass, atol=0.005)
    half = norm.ppf(0.84) * 20.0
    np.testing.assert_allclose(np.rad2deg(row["hdi68"]), [200 - half, 200 + half - 360], atol=4.0)
    # Turned by half a circle the same numbers come out, turned
    turned = summarize(tree_of({"dcp": np.angle(-np.exp(1j * drawn["dcp"]))}))["dcp"]
    np.testing.assert_allclose(turned["mean"], row["mean"] + np.pi, atol=1e-9)
    np.testing.assert_allclose(turned["sd"], row["sd"], rtol=1e-9)
    np.testing.assert_allclose(
        turned["hdi90"][1] - turned["hdi90"][0],
        row["hdi90"][1] - row["hdi90"][0] + 2.0 * np.pi,
        atol=np.deg2rad(2.0),
    )


@pytest.mark.parametrize("low", [0.0, np.deg2rad(-90.0), -2.0 * np.pi])
def test_the_phase_is_given_on_the_branch_of_its_prior(drawn, low):
    tree, same = tree_of({"dcp": on_branch(drawn["dcp"], low)}), summarize(tree_of(drawn))["dcp"]
    tree["posterior"]["dcp"].attrs["valid_range"] = np.array([low, low + 2.0 * np.pi])
    row = summarize(tree)["dcp"]
    for key in ("mean", "median", "hdi68", "hdi90"):
        found, expected = np.array(row[key]), np.array(same[key])
        assert np.all((low <= found) & (found <= low + 2.0 * np.pi))
        np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * expected), atol=1e-9)
    for key in ("sd", "hdi68_mcse", "ess_bulk", "r_hat"):
        np.testing.assert_allclose(row[key], same[key], rtol=1e-6)


def test_chains_that_disagree_on_a_phase_show():
    """Two of four chains half a turn away: sine alone has R-hat 1."""
    rng = np.random.default_rng(0)
    apart = 0.1 * rng.standard_normal((4, 500)) + np.array([[0.0], [0.0], [np.pi], [np.pi]])
    assert summarize(tree_of({"dcp": apart}))["dcp"]["r_hat"] > 1.5


def test_the_bootstrap_of_a_phase_is_circular(drawn):
    rng = np.random.default_rng(1)
    line = rng.normal(np.pi, 0.3, 500)
    tree, result = tree_of({"dcp": drawn["dcp"]}), {"dcp": on_branch(line, -np.pi)}
    priors = {"dcp": Flat(-np.pi, np.pi)}
    add_bootstrap(tree, Bootstrap({"dcp": 3.1}, result, np.ones(501, bool)), priors)
    assert summarize(tree)["dcp"]["bootstrap_sd"] == pytest.approx(line.std(ddof=1), rel=0.05)
    attributes = tree["bootstrap"]["dcp"].attrs
    assert attributes["units"] == "rad"
    np.testing.assert_allclose(attributes["valid_range"], [-np.pi, np.pi])


def test_errors_of_interval_ends_are_their_scatter():
    """Of 120 posteriors: error of a scatter 7 %; three of them, and 20 % of the method's own."""
    rng = np.random.default_rng(2)
    rows = [summarize(tree_of({"dm31": rng.standard_normal((4, 500))}))["dm31"] for _ in range(120)]
    for key in ("hdi68", "hdi90"):
        scatter = np.std([row[key] for row in rows], axis=0)
        claimed = np.mean([row[f"{key}_mcse"] for row in rows], axis=0)
        np.testing.assert_allclose(claimed / scatter, 1.0, atol=0.4)


def test_a_posterior_of_two_modes_has_two_intervals():
    rng = np.random.default_rng(3)
    side = np.where(rng.uniform(size=(4, 1000)) < 0.4, 0.45, 0.57)
    row = summarize(tree_of({"sin2_theta23": side + 0.01 * rng.standard_normal((4, 1000))}))
    parts = np.array(row["sin2_theta23"]["hdi68_parts"])
    # Each a little over one sd either side of its mode
    np.testing.assert_allclose(parts.mean(axis=1), [0.45, 0.57], atol=0.004)
    assert np.all((np.diff(parts) > 0.006) & (np.diff(parts) < 0.035))
    single = tree_of({"dm31": rng.standard_normal((4, 1000))})
    assert "hdi68_parts" not in summarize(single)["dm31"]
    flat = tree_of({"dm31": rng.uniform(size=(4, 1000))})  # bumps of its density are noise
    assert "hdi68_parts" not in summarize(flat)["dm31"]


@pytest.mark.parametrize("seam", [-180.0, -160.0, 20.0, 0.0])
def test_a_phase_of_two_modes_has_two_intervals_wherever_its_circle_opens(seam):
    """Modes at 200 and 20 degrees, both 12 wide: some branches open inside of one of them."""
    rng = np.random.default_rng(5)
    modes = np.where(rng.uniform(size=(4, 1000)) < 0.4, 200.0, 20.0)
    drawn = np.deg2rad(modes + 12.0 * rng.standard_normal((4, 1000)))
    low = np.deg2rad(seam)
    tree = tree_of({"dcp": on_branch(drawn, low)})
    tree["posterior"]["dcp"].attrs["valid_range"] = np.array([low, low + 2.0 * np.pi])
    row = summarize(tree)["dcp"]
    for key, mass in (("hdi68", 0.68), ("hdi90", 0.90)):
        parts = np.rad2deg(np.array(row[f"{key}_parts"]))
        assert np.all((seam <= parts) & (parts <= seam + 360.0))
        # In the order of the circle, whichever comes first
        first = parts[:, 0] % 360.0
        parts = parts[np.argsort(np.where(first > 300.0, first - 360.0, first))]
        width = (parts[:, 1] - parts[:, 0]) % 360.0
        middle = (parts[:, 0] + 0.5 * width) % 360.0
        # Errors of the ends are one degree with 1600 draws
        np.testing.assert_allclose(middle, [20.0, 200.0], atol=4.0)
        # Together they hold the mass; the smooth density widens them by a few percent
        offsets = (np.rad2deg(drawn).reshape(-1, 1) - parts[:, 0]) % 360.0
        assert mass - 0.01 < np.mean(offsets < width, axis=0).sum() < mass + 0.04


@pytest.mark.parametrize("chains", [1, 2, 3, 200])
def test_any_number_of_chains_is_summarized(chains):
    rng = np.random.default_rng(4)
    values = {"dm31": rng.standard_normal((chains, 60)), "dcp": rng.uniform(-3, 3, (chains, 60))}
    summary = summarize(tree_of(values))
    for name in values:
        assert np.isfinite([summary[name][k] for k in ("r_hat", "ess_bulk", "ess_tail")]).all()
        assert summary[name]["r_hat"] < 1.2
    drift = np.linspace(0.0, 3.0, 60) + rng.standard_normal((chains, 60))
    if chains == 1:  # halves of a chain that drifts disagree
        assert summarize(tree_of({"dm31": drift}))["dm31"]["r_hat"] > 1.2


def test_priors_are_groups_that_arviz_knows(drawn):
    """psense needs log_prior, plot_prior_posterior prior; draws of the phase lie on its branch."""
    priors: dict[str, Any] = {
        "dm31": Gaussian(2.5e-3, 4e-5),
        "s2_23": Flat(0.0, 1.0),
        "dcp": Gaussian(np.deg2rad(200.0), 0.5),
    }
    posterior = drawn | {"nuisance": np.ones((*drawn["dm31"].shape, 3))}
    names = {"nuisance_name": ["a", "b", "c"]}
    dims = {"nuisance": ["nuisance_name"]}
    tree = az.from_dict({"posterior": posterior}, coords=names, dims=dims)
    add_priors(tree, priors, jax.random.key(0), 500)
    assert tree["log_prior"]["dm31"].dims == ("chain", "draw")
    normal = norm.logpdf(drawn["dm31"], 2.5e-3, 4e-5)
    np.testing.assert_allclose(tree["log_prior"]["dm31"], normal, rtol=1e-9)
    np.testing.assert_allclose(tree["log_prior"]["sin2_theta23"], 0.0, atol=1e-12)
    np.testing.assert_allclose(tree["log_prior"]["nuisance"], 3.0 * norm.logpdf(1.0), rtol=1e-12)
    prior = tree["prior"].to_dataset()
    assert prior["nuisance"].sizes["nuisance_name"] == 3
    assert np.all(np.abs(prior["dcp"] - np.deg2rad(200.0)) <= np.pi)
    assert prior["dm31"].std() == pytest.approx(4e-5, rel=0.2)
    assert az.psense(tree, var_names=["dm31"], group="prior")["dm31"] > 0.01
    both = az.plot_prior_posterior(tree, var_names=["dm31"], backend="none")
    assert both is not None


def test_stuck_chains_show(drawn):
    stuck = drawn["dm31"] + np.array([[0.0], [0.0], [5e-5], [5e-5]])
    row = summarize(tree_of({"dm31": stuck}))["dm31"]
    assert row["r_hat"] > 1.5
    assert row["ess_bulk"] < 20


def test_a_bootstrap_joins_the_summary(drawn):
    tree = tree_of(drawn)
    rng = np.random.default_rng(1)
    replicas = {"dm31": rng.normal(2.5e-3, 2e-5, 200), "s2_23": rng.uniform(0.4, 0.6, 200)}
    mle = {"dm31": 2.51e-3, "s2_23": 0.45}
    add_bootstrap(tree, Bootstrap(mle, replicas, np.arange(201) > 2))
    summary = summarize(tree)
    assert summary["dm31"]["mle"] == 2.51e-3
    assert summary["sin2_theta23"]["mle"] == 0.45
    assert summary["sin2_2theta23"]["mle"] == pytest.approx(4.0 * 0.45 * 0.55)
    double = 4.0 * replicas["s2_23"] * (1.0 - replicas["s2_23"])
    for name, values in (("dm31", replicas["dm31"]), ("sin2_2theta23", double)):
        assert summary[name]["bootstrap_sd"] == pytest.approx(values.std(ddof=1))
    assert set(summary["dcp"]) - PARTS == KEYS
    # The first flag belongs to the data
    assert tree["bootstrap"]["converged"].values.sum() == 198


# --- the comparison of two posteriors ----------------------------------------------------------

FIXED = OscillationParameters(0.3, 0.02, 0.5, 0.0, 7.5e-5, 2.5e-3)
SD = 2e-5


@pytest.fixture
def gaussian(monkeypatch):
    """Let a channel be the mean of a Gaussian likelihood in dm31, and draw from its posterior."""

    def height(channels: Any, parameters: OscillationParameters) -> Any:
        (mean,) = channels
        return -0.5 * ((parameters.dm31 - mean) / SD) ** 2

    monkeypatch.setattr("bayesxs.inference.posterior.log_likelihood", height)

    def draw(shift: float, seed: int, number: int = 1000) -> tuple[xr.Dataset, Any]:
        mean = 2.5e-3 + shift * SD
        noise = np.random.default_rng(seed).standard_normal((4, number))
        return tree_of({"dm31": mean + SD * noise})["posterior"].dataset, jnp.array(mean)

    return draw


def compared(first: tuple[xr.Dataset, Any], second: tuple[xr.Dataset, Any], thin: int = 1) -> Any:
    return pool(first[0], second[0], ([first[1]], [second[1]]), FIXED, thin)


@pytest.mark.parametrize("shift", [0.03, 0.3, 1.0, -2.0])
def test_a_known_shift_is_found(gaussian, shift):
    # W1 of two normals of one width is the distance of their means. The draws are common, so the
    # Monte Carlo error of the shift is far below that of either mean, 0.016 sd
    comparison = compared(gaussian(0.0, 1), gaussian(shift, 2))
    found = shift_sigma(comparison, ["dm31"])["dm31"]
    np.testing.assert_allclose(found, abs(shift), rtol=0.1, atol=0.003)


def test_unequal_numbers_of_draws_are_weighed(gaussian):
    comparison = compared(gaussian(0.0, 1, 300), gaussian(0.5, 2, 1500), thin=3)
    assert len(comparison.posterior["dm31"]) == 4 * (100 + 500)
    np.testing.assert_allclose(shift_sigma(comparison, ["dm31"])["dm31"], 0.5, rtol=0.15)


def test_weights_restore_each_posterior(gaussian):
    comparison = compared(gaussian(0.0, 1), gaussian(1.0, 2))
    for weights, shift in zip(comparison.weights, (0.0, 1.0), strict=True):
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-12)
        assert np.all(weights >= 0.0)
        pull = (comparison.posterior["dm31"] - 2.5e-3) / SD - shift
        # 8000 draws that overlap well: five errors of mean and variance
        assert abs(weights @ pull) < 0.08
        assert abs(weights @ pull**2 - 1.0) < 0.12


def test_identical_posteriors_have_no_shift(gaussian):
    assert shift_sigma(compared(gaussian(0.0, 1), gaussian(0.0, 2)), ["dm31"])["dm31"] < 1e-9


@pytest.mark.parametrize("shift", [8.0, 60.0, 3000.0])
def test_disjoint_posteriors_stay_finite(gaussian, shift):
    comparison = compared(gaussian(0.0, 1), gaussian(shift, 2))
    found = shift_sigma(comparison, ["dm31"])["dm31"]
    # No common draws: the errors of both means remain, 0.016 sd each
    np.testing.assert_allclose(found, shift, rtol=0.03, atol=0.2)


def test_shifts_are_in_units_of_the_first_posterior():
    values = np.linspace(-4.0, 4.0, 2001)
    weights = [norm.pdf(values, 0.0, 0.5), norm.pdf(values, 0.4, 0.5)]
    first, second = (w / w.sum() for w in weights)
    both = Comparison({"a": values, "b": 7.0 * values}, (first, second))
    shifts = shift_sigma(both, ["a", "b"])
    np.testing.assert_allclose([shifts["a"], shifts["b"]], 0.8, rtol=1e-4)


def test_shifts_of_real_posteriors(tree, channel, nature):
    posterior = tree["posterior"].dataset
    same = pool(posterior, posterior, ([channel], [channel]), nature, thin=20)
    shifts = shift_sigma(same, ["dm31", "sin2_2theta23"])
    assert max(shifts.values()) < 1e-9


# --- small things ------------------------------------------------------------------------------


def test_parameters_come_thinned_and_flat_beside_the_fixed(drawn):
    points = parameters_of(tree_of(drawn)["posterior"].dataset, FIXED, thin=10)
    np.testing.assert_array_equal(points.dm31, drawn["dm31"][:, ::10].ravel())
    np.testing.assert_array_equal(points.s2_23, drawn["sin2_theta23"][:, ::10].ravel())
    np.testing.assert_array_equal(points.dcp, drawn["dcp"][:, ::10].ravel())
    assert points.s2_13 == FIXED.s2_13


def test_batches_equal_single_evaluations():
    points = FIXED._replace(dm31=jnp.linspace(2e-3, 3e-3, 150), dcp=jnp.linspace(-1.0, 1.0, 150))
    values = batched(lambda p: p.dm31 * jnp.cos(p.dcp) + p.s2_12, points, batch=64)
    np.testing.assert_allclose(values, points.dm31 * np.cos(points.dcp) + 0.3, rtol=1e-15)


def test_truth_carries_the_public_names():
    values = truth_values(FIXED)
    assert values["sin2_theta13"] == 0.02
    assert values["sin2_2theta23"] == 1.0
    assert set(values) == {
        "sin2_theta12",
        "sin2_theta13",
        "sin2_theta23",
        "sin2_2theta23",
        "dcp",
        "dm21",
        "dm31",
    }
