"""Figures of systematics: right numbers at the right places, nothing that overlaps."""

import math

import numpy as np
import pytest
import xarray as xr
from matplotlib.contour import ContourSet

from bayesxs.report.plots_posterior import asimov_figure, comparison_figure
from bayesxs.report.plots_systematics import (
    STAGES,
    budget_figure,
    cancellation_figure,
    pulls_figure,
    sources_figure,
)
from bayesxs.report.style import ASSUMED, LEARNED, TRUTH, quantity
from support.looks import assert_readable


def ticks(ax):
    """Labels along the vertical axis, from the top."""
    labels = [t.get_text() for t in ax.get_yticklabels()]
    return labels if ax.yaxis_inverted() else labels[::-1]


def widths(ax):
    """Lengths of the bars, from the top."""
    bars = sorted(ax.patches, key=lambda p: p.get_y())
    return [p.get_width() for p in bars]


def legend(figure):
    """Texts of the figure's legend."""
    return [t.get_text() for entry in figure.legends for t in entry.get_texts()]


def percent(text):
    """The number in front of a percent sign in brackets."""
    return float(text.rpartition("(")[2].removesuffix(" %)"))


def test_budget_bars_are_the_contributions_in_the_order_of_the_rows(budget):
    figure = budget_figure(budget)
    left, right = figure.axes
    assert ticks(left) == [
        "statistics",
        "learned cross section",
        "flux shape",
        "detector response",
        "systematics together",
        "total",
    ]
    np.testing.assert_allclose(
        widths(left), [1.83, 0.62, 0.41, 1.10, 1.33, math.hypot(1.83, 1.33)], rtol=1e-12
    )
    np.testing.assert_allclose(
        widths(right), [3.1, 0.9, 0.3, 0.7, 1.19, math.hypot(3.1, 1.19)], rtol=1e-12
    )
    assert [t.get_text() for t in left.texts] == ["1.83", "0.62", "0.41", "1.10", "1.33", "2.26"]
    assert quantity("dm31").label in left.get_xlabel()
    assert left.get_xlabel().endswith(r"[$10^{-5}\,\mathrm{eV}^2$]")
    assert quantity("sin2_2theta23").label in right.get_xlabel()
    assert right.get_xlabel().endswith("[$10^{-3}$]")


def test_total_is_an_outline_that_everything_fits_in(budget):
    for ax in budget_figure(budget).axes:
        *filled, total = sorted(ax.patches, key=lambda p: p.get_y())
        assert not total.get_facecolor()[3]
        assert all(p.get_facecolor()[3] == 1.0 for p in filled)
        assert total.get_width() == max(widths(ax)) < ax.get_xlim()[1]


def test_total_comes_last_wherever_its_row_stands(budget):
    budget["rows"].reverse()
    labels = ticks(budget_figure(budget).axes[0])
    assert labels[:2] == ["detector response", "flux shape"]
    assert labels[-2:] == ["systematics together", "total"]


def test_budget_without_a_number_has_a_dash_and_without_a_parameter_one_panel(budget):
    budget["rows"][1]["dm31"]["contribution"] = float("nan")
    del budget["rows"][2]["dm31"]
    notes = [t.get_text() for t in budget_figure(budget).axes[0].texts]
    assert notes[:3] == ["1.83", "–", "–"]
    for row in budget["rows"]:
        row.pop("dm31", None)
    (ax,) = budget_figure(budget).axes
    assert quantity("sin2_2theta23").label in ax.get_xlabel()
    with pytest.raises(ValueError, match="without contributions"):
        budget_figure({"rows": [{"name": "statistics", "label": "statistics"}]})


def test_pulls_show_each_nuisance_under_its_group(budget):
    figure = pulls_figure(budget)
    left, *right = figure.axes
    by_group = sorted(
        budget["nuisances"], key=lambda n: ["cross_section", "flux", "response"].index(n["group"])
    )
    assert ticks(left) == [n["label"] for n in by_group]
    points = [c for c in left.containers if c.has_xerr]
    np.testing.assert_allclose([c[0].get_xdata()[0] for c in points], [n["mean"] for n in by_group])
    ends = np.array([c[2][0].get_segments()[0][:, 0] for c in points])
    np.testing.assert_allclose(np.diff(ends)[:, 0] / 2.0, [n["sd"] for n in by_group])
    places = dict(zip(ticks(left), left.get_yticks(), strict=True))
    assert [c[0].get_ydata()[0] for c in points] == [places[n["label"]] for n in by_group]
    headings = {t.get_text(): t.xy[1] for t in left.texts}
    assert list(headings) == ["cross section", "flux shape", "detector response"]
    assert places["cross-section mode 3"] < headings["flux shape"] < places["flux mode 1"]
    for ax, name in zip(right, ("dm31", "sin2_2theta23"), strict=True):
        assert ax.get_xlabel() == f"correlation with {quantity(name).label}"
        np.testing.assert_allclose(widths(ax), [n["correlation"][name] for n in by_group])


def test_prior_band_is_one_standard_deviation_and_all_points_are_inside(budget):
    budget["nuisances"][0] |= {"mean": -3.0, "sd": 0.9}
    left = pulls_figure(budget).axes[0]
    (band,) = left.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (-1.0, 1.0)
    low, high = left.get_xlim()
    assert low < -3.9
    assert high == -low


def test_forty_nuisances_make_a_taller_figure_with_rows_as_high(budget, long_budget):
    short, tall = pulls_figure(budget), pulls_figure(long_budget)
    assert len(long_budget["nuisances"]) == 40
    more = 40 - len(budget["nuisances"])
    height = tall.get_figheight() - short.get_figheight()
    assert height / more == pytest.approx(0.235, abs=0.01)
    assert_readable(tall)


def test_nuisances_may_lack_numbers_but_not_be_absent(budget):
    first, second, *_ = budget["nuisances"]
    del first["mean"], second["correlation"]
    first["group"], first["label"] = "something_else", ""
    figure = pulls_figure(budget)
    assert ticks(figure.axes[0])[-1] == first["name"]
    assert "something else" in [t.get_text() for t in figure.axes[0].texts]
    assert len(figure.axes[1].patches) == len(budget["nuisances"]) - 1
    with pytest.raises(ValueError, match="without nuisances"):
        pulls_figure({"rows": budget["rows"]})


def test_sources_are_lines_and_bands_on_the_scale_of_the_bands(sources):
    figure = sources_figure(sources)
    top, bottom = (ax for ax in figure.axes if ax.get_ylabel())
    assert legend(figure)[:3] == ["ensemble", "Gaussian process", "Laplace"]
    assert "statistical error" in legend(figure)
    lines = {line.get_label(): line for line in top.lines}
    for label, name in (("ensemble", "ensemble"), ("Gaussian process", "gaussian_process")):
        expected = sources["mean"].sel(source=name)
        np.testing.assert_allclose(lines[label].get_ydata(), expected)
    low, high = top.get_ylim()
    assert low < float(sources["low"].min()) < float(sources["high"].max()) < high
    assert high - 1.0 < 0.02
    assert top.get_ylabel() == "learned / true"
    assert bottom.get_ylabel().endswith("[%]")
    assert bottom.get_xlabel().endswith("[GeV]")
    drawn = [line.get_ydata()[0] for line in bottom.lines]
    np.testing.assert_allclose(drawn, [0.4, 0.5, 0.6, 5.1], rtol=1e-12)


def test_statistical_band_is_drawn_where_it_can_be_seen(sources):
    before = len(sources_figure(sources).axes[0].collections)
    sources["statistical"] = 0.0 * sources["statistical"] + 0.006
    assert len(sources_figure(sources).axes[0].collections) == before + 1


def test_axes_over_lepton_energy_end_where_events_do(sources, cancellation):
    density = sources["weight"].values
    for figure in (sources_figure(sources), cancellation_figure(cancellation)):
        low, high = figure.axes[0].get_xlim()
        energy = sources["lepton_energy"].values
        inside = density[(energy >= low) & (energy <= high)].sum()
        assert 0.985 < inside < 1.0
        assert high < 12.0


def test_source_order_and_unknown_names_and_missing_weights(sources):
    bare = sources.drop_vars(["weight", "statistical"]).isel(source=[2, 0])
    bare = bare.assign_coords(source=["laplace", "my_source"]).transpose()
    figure = sources_figure(bare)
    assert legend(figure) == ["Laplace", "my source"]
    assert figure.axes[0].get_xlim() == pytest.approx((0.1, 20.0))
    with pytest.raises(ValueError, match="no sources"):
        sources_figure(sources.isel(source=[]))


def test_cancellation_states_the_mean_over_the_far_events(cancellation):
    figure = cancellation_figure(cancellation)
    entries = legend(figure)
    assert [e.partition(" (")[0] for e in entries[:2]] == [words for words, *_ in STAGES.values()]
    weight = cancellation["weight"]
    for stage, entry in zip(STAGES, entries, strict=False):
        square = (cancellation["sd"].sel(stage=stage) ** 2 * weight).sum() / weight.sum()
        assert percent(entry) == pytest.approx(100.0 * math.sqrt(square), rel=0.05)
    lines = figure.axes[0].lines
    for line, stage in zip(lines, STAGES, strict=True):
        np.testing.assert_allclose(line.get_ydata(), 100.0 * cancellation["sd"].sel(stage=stage))
    assert figure.axes[0].get_ylabel().endswith("[%]")
    assert figure.axes[0].get_ylim()[0] == 0.0


def test_stages_may_be_fewer_and_in_any_order(cancellation):
    figure = cancellation_figure(cancellation.isel(stage=[1, 0]).drop_vars("weight"))
    words = [entry.partition(" (")[0] for entry in legend(figure)]
    assert words == [STAGES["prior"][0], STAGES["response"][0]]
    with pytest.raises(ValueError, match="any of prior"):
        cancellation_figure(cancellation.isel(stage=[0]).assign_coords(stage=["else"]))


def test_comparison_draws_three_kinds_and_a_star(truth, learned, assumed, true_values):
    trees = {"assumed": assumed, "truth": truth, "learned": learned}
    figure = comparison_figure(trees, true_values)
    (main,) = [ax for ax in figure.axes if ax.get_legend()]
    words = [t.get_text() for t in main.get_legend().get_texts()]
    kinds = [f"{kind} cross section" for kind in ("true", "learned", "assumed")]
    assert words == [*kinds, "true value"]
    assert main.get_xlabel() == quantity("sin2_2theta23").axis
    assert main.get_ylabel() == quantity("dm31").axis
    (star,) = [c for c in main.collections if not isinstance(c, ContourSet)]
    expected = [true_values["sin2_2theta23"], true_values["dm31"] * 1e3]
    np.testing.assert_allclose(star.get_offsets(), [expected])
    for ax in figure.axes:
        colors = [line.get_color() for line in ax.lines if len(line.get_xdata()) > 2]
        assert colors in ([], [TRUTH, LEARNED, ASSUMED])
    assert_readable(figure)


def test_star_is_inside_although_the_draws_are_far(assumed, true_values):
    figure = comparison_figure({"assumed": assumed}, true_values | {"dm31": 2.2e-3})
    (main,) = [ax for ax in figure.axes if ax.get_legend()]
    assert main.get_ylim()[0] < 2.2


def test_comparison_needs_known_kinds_and_both_parameters(truth):
    words = [
        t.get_text()
        for ax in comparison_figure({"truth": truth}).axes
        if ax.get_legend()
        for t in ax.get_legend().get_texts()
    ]
    assert words == ["true cross section"]
    with pytest.raises(ValueError, match="any of truth"):
        comparison_figure({})
    with pytest.raises(ValueError, match="guessed"):
        comparison_figure({"guessed": truth})
    alone = xr.DataTree.from_dict({"posterior": truth["posterior"].to_dataset()[["dm31"]]})
    with pytest.raises(ValueError, match="learned"):
        comparison_figure({"truth": truth, "learned": alone})


def test_expected_data_may_have_an_assumed_cross_section(truth, learned, assumed):
    trees = {"truth": truth, "learned": learned, "assumed": assumed}
    groups = {k: t["posterior"].to_dataset() for k, t in trees.items()}
    figure = asimov_figure(xr.DataTree.from_dict(groups))
    assert legend(figure) == [f"{k} cross section" for k in ("true", "learned", "assumed")]


def test_no_text_overlaps(budget, sources, cancellation):
    for figure in (
        budget_figure(budget),
        pulls_figure(budget),
        sources_figure(sources),
        cancellation_figure(cancellation),
    ):
        assert_readable(figure)
