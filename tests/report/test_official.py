"""Posteriors as ROOT files, read by uproot and by the official tool."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import uproot
import xarray as xr
from scipy.stats import beta, gamma, vonmises

from bayesxs.errors import InputError
from bayesxs.inference.priors import Flat, Gaussian, Prior
from bayesxs.inference.summaries import summary_of
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.report.official import posterior_root

PRIORS: dict[str, Prior] = {
    "s2_13": Gaussian(0.0222, 0.0006),
    "s2_23": Flat(0.0, 1.0),
    "dcp": Flat(-np.pi, np.pi),
    "dm31": Flat(-3e-3, 3e-3),
}
CITATION = "A posterior for tests"


@pytest.fixture(scope="module")
def tree() -> xr.DataTree:
    rng = np.random.default_rng(3)
    shape = (4, 5000)
    sign = np.where(rng.random(shape) < 0.3, -1.0, 1.0)
    draws = {
        "sin2_theta13": rng.normal(0.0222, 0.0006, shape),
        "sin2_theta23": rng.beta(40.0, 36.0, shape),
        "dcp": rng.normal(3.4, 0.4, shape),
        "dm31": sign * rng.normal(2.5e-3, 2e-5, shape),
    }
    data = {name: (("chain", "draw"), values) for name, values in draws.items()}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(data)})


@pytest.fixture(scope="module")
def path(tree: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("official") / "posterior.root"
    file.write_bytes(posterior_root(tree, PRIORS, nufit_6_0(), CITATION))
    return file


def test_branches_are_the_draws(path: Path, tree: xr.DataTree) -> None:
    drawn = tree["posterior"]
    with uproot.open(path) as file:
        held = file["mcmc"].arrays(library="np")
        assert str(file["citation"]) == CITATION
        priors = {p.member("fName"): p.member("fTitle") for p in file["priors"]}
    s2_13 = np.sin(held["Theta13"]) ** 2
    np.testing.assert_allclose(s2_13, drawn["sin2_theta13"].values.ravel(), rtol=1e-12)
    np.testing.assert_allclose(
        np.sin(held["Theta23"]) ** 2, drawn["sin2_theta23"].values.ravel(), rtol=1e-12
    )
    dm21 = nufit_6_0().dm21
    np.testing.assert_allclose(held["Deltam2_21"], dm21)
    np.testing.assert_allclose(held["Deltam2_32"], drawn["dm31"].values.ravel() - dm21)
    np.testing.assert_allclose(
        np.exp(1j * held["DeltaCP"]), np.exp(1j * drawn["dcp"].values.ravel())
    )
    assert np.all((held["DeltaCP"] >= -np.pi) & (held["DeltaCP"] < np.pi))
    assert priors == {
        "DeltaCP": "Uniform:DeltaCP",
        "Theta13": "Gaussian(0.0222, 0.0006):sin^2(Theta13)",
        "Theta23": "Uniform:sin^2(Theta23)",
        "Theta12": "Uniform:sin^2(Theta12)",
        "Deltam2_32": "Uniform:Deltam2_32",
        "Deltam2_21": "Uniform:Deltam2_21",
    }


def test_the_official_tool_loads_and_re_weights(path: Path, tree: xr.DataTree) -> None:
    numcmctools = pytest.importorskip("numcmctools")
    samples = numcmctools.MCMCSamples(str(path), "mcmc")
    samples.add_variable("SinSqTheta23", lambda Theta23: np.sin(Theta23) ** 2)
    edges = np.linspace(0.2, 0.8, 61)
    drawn = tree["posterior"]["sin2_theta23"].values.ravel()
    for prior, weight in (
        ("Uniform:sin^2(Theta23)", np.ones_like(drawn)),
        # d theta / d sin^2 theta = 1 / sin 2 theta
        ("Uniform:Theta23", 0.5 / np.sqrt(drawn * (1.0 - drawn))),
    ):
        stack = numcmctools.PlotStack(samples)
        stack.add_plot(["SinSqTheta23"], [prior], [], 60, [0.2, 0.8], False)
        stack.fill_plots()
        stack.make_intervals([0.68])
        plot = stack.plots[0]
        wanted, _ = np.histogram(drawn, edges, weights=weight, density=True)
        found = np.asarray(plot.hist) / np.sum(np.asarray(plot.hist) * np.diff(edges))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)


def test_the_official_tool_finds_the_intervals_of_the_summary(tmp_path: Path) -> None:
    # Quantiles in place of draws: no noise, so that bins and sorted draws see one density
    numcmctools = pytest.importorskip("numcmctools")
    rng, shape = np.random.default_rng(2), (4, 25_000)
    part = (np.arange(shape[0] * shape[1]) + 0.5) / (shape[0] * shape[1])
    laws = {
        "sin2_theta13": gamma(60.0, scale=0.0222 / 60.0),
        "sin2_theta23": beta(40.0, 26.0),
        "dcp": vonmises(4.0, loc=3.4),  # across the seam of [-pi, pi)
        "dm31": gamma(100.0, loc=2.4e-3, scale=1e-6),
    }
    draws = {}
    for name, law in laws.items():
        grid = np.linspace(*law.ppf([1e-7, 1.0 - 1e-7]), 10_001)
        quantiles = np.interp(part, law.cdf(grid), grid)
        draws[name] = ("chain", "draw"), rng.permutation(quantiles).reshape(shape)
    drawn = xr.Dataset(draws)
    drawn["dcp"].attrs["valid_range"] = np.array([-np.pi, np.pi])
    path, truth = tmp_path / "posterior.root", nufit_6_0()
    path.write_bytes(
        posterior_root(xr.DataTree.from_dict({"posterior": drawn}), PRIORS, truth, CITATION)
    )
    samples = numcmctools.MCMCSamples(str(path), "mcmc")
    samples.add_variable("SinSqTheta23", lambda Theta23: np.sin(Theta23) ** 2)
    samples.add_variable("SinSqTheta13", lambda Theta13: np.sin(Theta13) ** 2)
    for name, variable, shift in (
        ("sin2_theta13", "SinSqTheta13", 0.0),
        ("sin2_theta23", "SinSqTheta23", 0.0),
        ("dcp", "DeltaCP", 2.0 * np.pi),  # its branch is [0, 2 pi)
        ("dm31", "Deltam2_32", -float(truth.dm21)),
    ):
        low, high = np.asarray(summary_of(name, drawn[name], (68,))["hdi68"])
        low, high = (low, high) if name != "dcp" else (np.mod(low, shift), np.mod(high, shift))
        ends = np.array([low, high]) + (shift if name == "dm31" else 0.0)
        width = high - low
        # Bins of 1/200 of a width: an end is found to half of one
        axis = [ends[0] - 2.5 * width, ends[1] + 2.5 * width]
        stack = numcmctools.PlotStack(samples)
        stack.add_plot([variable], [], [], 1200, axis, False)
        stack.fill_plots()
        stack.make_intervals([0.68])
        plot = stack.plots[0]
        inside = np.flatnonzero(plot.hist >= plot.prob_levels[0])
        found = plot.edges[0][[inside[0], inside[-1] + 1]]
        np.testing.assert_allclose(found, ends, rtol=0.0, atol=0.01 * width)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"dm31": Gaussian(2.5e-3, 2e-5), "dm21": Flat(7e-5, 8e-5)},
            "dm21 = prior: both or neither",
        ),
        ({"s2_12": Flat(0.0, 1.0)}, "sin2_theta12 = prior: both or neither"),
    ],
)
def test_priors_without_draws_are_refused(
    tree: xr.DataTree, change: dict[str, Prior], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        posterior_root(tree, {**PRIORS, **change}, nufit_6_0(), CITATION)


def test_a_gaussian_splitting_keeps_its_marginal(tree: xr.DataTree, tmp_path: Path) -> None:
    both = (
        tree["posterior"].to_dataset().assign(dm21=(("chain", "draw"), np.full((4, 5000), 7.5e-5)))
    )
    held = xr.DataTree.from_dict({"posterior": both})
    priors = {**PRIORS, "dm31": Gaussian(2.5e-3, 3e-5), "dm21": Gaussian(7.5e-5, 4e-5)}
    file = tmp_path / "posterior.root"
    file.write_bytes(posterior_root(held, priors, nufit_6_0(), CITATION))
    with uproot.open(file) as opened:
        titles = {p.member("fName"): p.member("fTitle") for p in opened["priors"]}
    mean, sd = (float(x) for x in titles["Deltam2_32"].split(":")[0][9:-1].split(","))
    assert (mean, sd) == (pytest.approx(2.425e-3), pytest.approx(5e-5))
    with pytest.raises(InputError, match="prior of dm21 = flat"):
        posterior_root(held, {**priors, "dm21": Flat(7e-5, 8e-5)}, nufit_6_0(), CITATION)


def test_draws_beyond_the_range_are_refused(tree: xr.DataTree) -> None:
    wrong = tree["posterior"].to_dataset() * 100.0
    with pytest.raises(InputError, match="sin2_theta13 = a draw beyond: from 0 to 1"):
        posterior_root(xr.DataTree.from_dict({"posterior": wrong}), PRIORS, nufit_6_0(), CITATION)
    with pytest.raises(InputError, match="ASCII"):
        posterior_root(tree, PRIORS, nufit_6_0(), "Müller")
