"""The page of a posterior over orderings and octants: numbers with their units, of any size."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from bayesxs.inference.summaries import summary_of
from bayesxs.report.modes import render_modes
from bayesxs.report.numbers import deviation, exponential, probability
from bayesxs.types import Json


def drawn(name: str, mean: float, sd: float) -> Json:
    values = np.random.default_rng(3).normal(mean, sd, (4, 500))
    return summary_of(name, xr.DataArray(values, dims=("chain", "draw")), (68, 95))


@pytest.fixture(scope="module")
def page() -> str:
    return render_modes(results(), {}, "seed = 1", {}, "four")


def results() -> Json:
    invariant = {"mean": 2.8e-5, "interval68": [-5e-3, 4.8e-3], "interval95": [-9.8e-3, 9.8e-3]}
    summary: Json = {
        "modes": [
            {
                "ordering": ordering,
                "octant": "upper",
                "probability": probability,
                "probability_error": 0.01 * probability,
                "log_probability": np.log(2e-75) if ordering == "inverted" else 0.0,
                "log_evidence": -781.75,
                "log_evidence_error": 0.01,
                "divergences": 0,
                "ess_bulk_least": 1500.0,
                "r_hat_largest": 1.001,
            }
            for ordering, probability in (("normal", 1.0), ("inverted", 2e-75))
        ],
        "log_bayes_factor": {"normal_over_inverted": {"value": 2000.0, "error": 0.01}},
        "jarlskog": {"flat_in_dcp": invariant | {"ess": 4000.0}},
        "parameters": {
            "density": drawn("density", 2.848, 0.057),
            "dm21": drawn("dm21", 7.386e-5, 0.21e-5),
            "dm31": drawn("dm31", 2.525e-3, 7e-6),
            "dcp": drawn("dcp", np.pi - 0.05, 0.15),
        },
        "nuisances": [],
        "divergences": 0,
        "ess_bulk_least": 1500.0,
        "r_hat_largest": 1.001,
    }
    return summary


def test_chains_that_did_not_move_are_named() -> None:
    summary = results()
    summary["modes"][1] |= {"r_hat_largest": None, "ess_bulk_least": None}
    page = render_modes(summary | {"ess_bulk_least": None}, {}, "seed = 1", {}, "four")
    assert "inverted ordering, upper octant: a chain did not move" in page


def test_what_the_data_exclude_is_a_sentence(page: str) -> None:
    # e^2000 = 10^868.59
    assert "Excluded: the inverted ordering by a Bayes factor of 3.88 × 10⁸⁶⁸." in page
    summary = results()
    summary["log_bayes_factor"]["normal_over_inverted"]["value"] = -3.0
    assert "Excluded" not in render_modes(summary, {}, "seed = 1", {}, "four")
    summary["log_bayes_factor"]["normal_over_inverted"]["value"] = -30.0
    assert "Excluded: the normal ordering" in render_modes(summary, {}, "seed = 1", {}, "four")
    # A probability below the least number is none that vanishes
    summary["modes"][1] |= {"probability": 0.0, "log_probability": -2000.0}
    shown = render_modes(summary, {}, "seed = 1", {}, "four")
    assert row(shown, "inverted ordering, upper octant")[0] == "2.58 × 10⁻⁸⁶⁹"


def test_factors_whose_error_is_unknown_are_not_shown() -> None:
    summary = results()
    summary["log_bayes_factor"]["dcp_0"] = {"value": None, "error": None}
    page = render_modes(summary, {}, "seed = 1", {}, "four")
    assert row(page, "δ_CP = 0 over a free phase")[0].startswith("not found")


def row(page: str, head: str) -> list[str]:
    found = re.search(rf"<tr><th>{re.escape(head)}</th>(.*?)</tr>", page)
    assert found, head
    return re.findall(r"<td[^>]*>(.*?)</td>", found[1].replace("\u00a0", " "))


@pytest.mark.parametrize(
    ("head", "mean"),
    [
        ("matter density [g/cm³]", 2.848),
        ("Δm²₂₁ [10⁻⁵ eV²]", 7.386),
        ("Δm²₃₁ [10⁻³ eV²]", 2.525),
        ("δ_CP [degrees]", np.degrees(np.pi - 0.05)),
    ],
)
def test_parameters_have_their_units(page: str, head: str, mean: float) -> None:
    # 2000 draws: a mean is off by a fifteenth of a standard deviation in one of 400 cases
    shown, sd, *_ = row(page, head)
    assert abs(float(shown) - mean) < 0.1 * float(sd)


def test_a_phase_at_the_seam_has_an_interval_through_it(page: str) -> None:
    # About 177 degrees, 8.6 wide
    *_, one, two = row(page, "δ_CP [degrees]")
    for text in (one, two):
        low, high = re.match(r"(\S+) to (\S+) \(through the seam\)", text).groups()
        assert 0.0 < float(low) < 180.0 and -180.0 <= float(high) < 0.0


def test_small_numbers_are_shown(page: str) -> None:
    assert row(page, "inverted ordering, upper octant")[0] == "(2.00 ± 0.02) × 10⁻⁷⁵"
    assert row(page, "normal ordering, upper octant")[0].startswith("1.0000 ± ")
    # Of 2.8e-5, in units of 1e-2
    assert row(page, "prior flat in δ_CP")[:2] == ["0.0028", "-0.50 to 0.48"]


@pytest.mark.parametrize(
    ("value", "error", "shown"),
    [
        (0.99964, 2.2e-5, "0.999640 ± 0.000022"),
        (0.96, 0.0123, "0.9600 ± 0.0123"),
        (1.0, 5.7e-87, "1.0000"),  # no error is shown as one of zero
        (1.0, 0.0, "1.0000"),
        (3.61e-4, 2.2e-5, "(3.61 ± 0.22) × 10⁻⁴"),
    ],
)
def test_probabilities_have_errors_that_show(value: float, error: float, shown: str) -> None:
    assert probability(value, error, np.log(value)) == shown


def test_deviations_keep_both_digits() -> None:
    shown = [deviation({"sd": sd}, "sd", 1.0) for sd in (0.00898, 27.3, 0.0996, 273.0)]
    assert shown == ["0.0090", "27", "0.10", "273"]


def test_expected_data_are_said_to_be_no_test() -> None:
    images = {"spectra": b""}
    real, asimov = (
        render_modes(results() | {"p_values": {"nue_app": p}}, {}, "seed = 1", images, "four")
        for p in (0.4, None)
    )
    assert "p is the share" in real and "Asimov" not in real
    assert "Asimov" in asimov and "p is the share" not in asimov


def test_several_regions_of_a_phase_break_between_them() -> None:
    """So that the last column stays on the page: within a region no line ends."""
    summary = results()
    parts = [[-2.4, -2.0], [-1.4, -0.8]]
    dcp = {"mean": 0.0, "sd": 0.5, "hdi68": [-2.4, -0.8], "hdi95": [-2.4, -0.8]}
    dcp |= {"hdi68_parts": parts, "hdi95_parts": parts}
    summary["other_priors"] = {
        "with_reactor": {"normal": 1.0, "upper": 0.5, "dcp": dcp, "ess": 900.0}
    }
    page = render_modes(summary, {}, "seed = 1", {}, "four")
    cell = "-138\u00a0to\u00a0-115 and -80\u00a0to\u00a0-46"
    assert page.count(f'<td class="parts">{cell}</td>') == 2


@given(st.floats(-5000.0, 5000.0))
def test_exponentials_of_any_size_are_three_digits(log: float) -> None:
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    mantissa, _, exponent = exponential(log).partition(" × 10")
    shown = Decimal(mantissa) * Decimal(10) ** int((exponent or "⁰").translate(digits))
    assert float(shown.ln()) == pytest.approx(log, abs=0.0051)


def test_the_budget_says_what_groups_add_to_statistics() -> None:
    def row(name: str, sd: float, contribution: float) -> dict:
        own = {"sd": sd, "contribution": contribution}
        return {"name": name, "dcp": own, "sin2_theta23": own, "dm31": own}

    rows = [row("statistics", 0.3, 0.3), row("cross_section", 0.5, 0.4)]
    page = render_modes(results() | {"budget": rows}, {}, "seed = 1", {}, "four")
    assert ">17.19<" in page and ">28.65 (23)<" in page and "0.5000 (0.40)" in page
