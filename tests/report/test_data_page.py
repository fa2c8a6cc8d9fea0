"""Pages of data from files call nothing true, and say how well the data are fitted."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr

from bayesxs.report.captions import FIGURES, GENERATED, MEASURED, caption
from bayesxs.report.html import render_report
from bayesxs.report.plots_data import learned_cross_section_figure, near_fit_figure
from bayesxs.report.plots_generated import far_spectrum_figure, generated_cross_section_figure
from bayesxs.report.style import to_png
from support.pages import png

# Figures of a run that knows no truth
STEMS = (
    *("posterior", "octant", "comparison", "predictive", "budget", "pulls", "sources"),
    *("cancellation", "near_fit", "total_cross_section", "training"),
    *("trace_learned", "rank_learned"),
)
TRUTH = re.compile(r"\btrue\b|\btruth\b|made with|made the events", re.IGNORECASE)


@pytest.mark.parametrize("stem", STEMS)
def test_captions_call_nothing_true(stem):
    found = caption(stem, origin="measured")
    assert found.title
    assert not TRUTH.search(found.title + found.text)
    assert set(MEASURED) <= set(STEMS)


@pytest.mark.parametrize("stem", sorted({*STEMS, "asimov", "far_spectrum"}))
def test_captions_of_a_generator_s_events_know_its_template_only(stem):
    found = caption(stem, origin="generated")
    assert found.title
    text = found.title + found.text
    assert not re.search(r"\btrue cross|\btruth\b|cross section that made", text)
    assert set(GENERATED) <= {*STEMS, "asimov", "far_spectrum"}


def test_captions_name_the_target():
    assert caption("near_fit__anti_mu", origin="measured").title.endswith("(anti mu)")
    assert caption("posterior") == FIGURES["posterior"]


def without_truth(summary: dict[str, Any]) -> dict[str, Any]:
    kept = {k: v for k, v in summary.items() if k in ("learned", "assumed", "seconds")}
    near = {"chi2": 612.34, "bins": 640, "p_value": 0.48, "parameters": 31.2, "dropped": 3}
    far = {"p_value": 0.37, "p_value_z": 0.81, "events": 400, "read": 407, "impossible": 7}
    return kept | {"near": near, "far": far, "resolution_warning": "too few energies"}


def test_the_page_says_how_well_data_are_fitted(summary, manifest):
    figures = {stem: png() for stem in STEMS}
    page = render_report(without_truth(summary), manifest, "", figures, origin="measured")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    body = text.split("Oscillation parameters with a cross section learned")[-1]
    assert not TRUTH.search(body)
    for part in (
        "Data and goodness of fit",
        "Warning too few energies",
        "χ² = 612.3 in 640 bins less 31 effective parameters, p = 0.480",
        "lepton energy: posterior predictive p-value 0.37",
        "no neutrino of the beam makes, dropped 7",
        "no neutrino of the beam makes, dropped 3",
    ):
        assert part in body, part


def test_several_targets_have_a_line_each(summary, manifest):
    whole = without_truth(summary)
    own = {"chi2": 5.0, "bins": 7, "p_value": 0.5, "dropped": 0}
    whole["near"] |= {"mu": own, "anti_mu": own}
    page = render_report(whole, manifest, "", {"near_fit__mu": png()}, origin="measured")
    assert "Near-detector counts, anti mu" in page
    assert "(mu)" in page


@pytest.fixture
def fit() -> xr.Dataset:
    """Bins with a gap, some of them empty."""
    rng = np.random.default_rng(0)
    energy = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 5.0], [7.0, 9.0]]).repeat(3, axis=0)
    second = np.tile([[-1.0, 0.0], [0.0, 0.9], [0.9, 1.0]], (4, 1))
    expected = np.array([50.0, 80.0, 20.0, 0.0, 90.0, 70.0, 0.0, 10.0, 60.0, 0.0, 0.0, 4.0])
    counts = rng.poisson(expected).astype(float)
    pull = np.full(12, np.nan)
    pull[expected > 0] = ((counts - expected) / np.sqrt(np.maximum(expected, 1.0)))[expected > 0]
    variables = {
        "energy": (("bin", "side"), energy),
        "second": (("bin", "side"), second),
        "counts": ("bin", counts),
        "expected": ("bin", expected),
        "pull": ("bin", pull),
    }
    attrs = {"axis": "cos_theta", "chi2": 9.6, "bins": 9, "p_value": 0.3}
    return xr.Dataset(variables, attrs=attrs)


def test_the_fit_shows_every_bin_and_its_pull(fit):
    figure = near_fit_figure(fit)
    counts, pulls, spread = figure.axes[:3]
    (shown,) = counts.collections
    assert len(shown.get_paths()) == 12
    areas = np.prod([np.diff(fit[n].values, axis=1)[:, 0] for n in ("energy", "second")], axis=0)
    drawn = np.ma.filled(shown.get_array(), np.nan)
    filled = fit["counts"].values > 0
    np.testing.assert_allclose(drawn[filled] * areas[filled], fit["counts"].values[filled])
    found = np.ma.filled(pulls.collections[0].get_array(), np.nan)
    np.testing.assert_array_equal(np.isnan(found), fit["expected"].values == 0.0)
    assert "9.6" in spread.get_title()
    assert to_png(figure)


def test_the_learned_cross_section_is_drawn_over_energy():
    energy = np.linspace(0.5, 10.0, 60)
    flux = np.exp(-((energy - 2.5) ** 2))
    total = xr.Dataset(
        {"model": ("energy", 0.4 * energy), "flux": ("energy", flux)}, {"energy": energy}
    )
    figure = learned_cross_section_figure(total)
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), 0.4)
    texts = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert texts == ["learned cross section"]


def generated_total() -> xr.Dataset:
    edges = np.linspace(0.5, 3.0, 11)
    names = ("generated", "error", "learned", "sd", "flux")
    values = (edges[1:].copy(), 0.05 * edges[1:], 1.02 * edges[1:], 0.03 * edges[1:], np.ones(10))
    columns = {n: ("energy", v) for n, v in zip(names, values, strict=True)}
    columns |= {"low": ("energy", edges[:-1]), "high": ("energy", edges[1:])}
    return xr.Dataset(columns, {"energy": 0.5 * (edges[1:] + edges[:-1])})


def test_the_generator_s_cross_section_stands_beside_the_learned_one():
    total = generated_total()
    top, bottom, _ = generated_cross_section_figure(total).axes
    (ratio,) = [line for line in bottom.lines if len(line.get_ydata()) == 10][-1:]
    np.testing.assert_allclose(ratio.get_ydata(), 1.02)
    assert {t.get_text() for t in top.get_legend().get_texts()} == {
        "learned",
        "generator's template",
    }
    # A panel without events has no ratio
    total["generated"][0] = 0.0
    assert len(to_png(generated_cross_section_figure(total))) > 1000


def test_the_far_spectrum_is_drawn_over_the_template():
    edges = np.linspace(0.1, 2.1, 11)
    share = np.full(10, 0.1)
    columns = {
        n: ("lepton_energy", share * f)
        for n, f in (("generated", 1.0), ("learned", 1.1), ("error", 0.02), ("statistical", 0.1))
    }
    columns |= {"low": ("lepton_energy", edges[:-1]), "high": ("lepton_energy", edges[1:])}
    far = xr.Dataset(columns, {"lepton_energy": 0.5 * (edges[1:] + edges[:-1])})
    _, bottom = far_spectrum_figure(far).axes
    ratio = bottom.patches[-1].get_data().values
    np.testing.assert_allclose(ratio, 1.1)
