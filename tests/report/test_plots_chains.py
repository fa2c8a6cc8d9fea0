"""Figures of chains and predictions draw every chain and the predictive quantiles."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from bayesxs.report.plots_chains import predictive_figure, rank_figure, trace_figure
from bayesxs.report.style import quantity, style


def test_traces_show_every_draw_in_shown_units(learned):
    open_figures = plt.get_fignums()
    figure = trace_figure(learned)
    assert isinstance(figure, Figure)
    assert plt.get_fignums() == open_figures
    draws = learned["posterior"]["dm31"].values * 1e3
    ax = next(ax for ax in figure.axes if ax.get_ylabel() == quantity("dm31").axis)
    lines = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == draws.shape[1]]
    np.testing.assert_allclose(lines[:4], draws)
    assert figure.axes[-1].get_xlabel() == "draw"


def test_ranks_have_a_panel_for_each_parameter(several):
    figure = rank_figure(several[1])
    titles = {ax.get_title() for ax in figure.axes if ax.get_title()}
    names = ("dm31", "sin2_2theta23", "sin2_theta13", "dm21", "dcp")
    assert titles == {quantity(name).axis for name in names}


def test_chains_without_sampler_statistics_are_drawn(learned):
    del learned["sample_stats"]
    assert len(trace_figure(learned).axes) == 4


def test_predictive_bands_are_quantiles_and_pulls_are_standard_deviations(learned):
    figure = predictive_figure(learned)
    top, _, bottom, _ = figure.axes
    counts = learned["observed_data"]["lepton_energy_counts"].values
    drawn = learned["posterior_predictive"]["lepton_energy_counts"].values.reshape(-1, len(counts))
    np.testing.assert_array_equal(top.lines[0].get_ydata(), counts)
    outer = top.patches[0].get_data()
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(outer.values, high)
    np.testing.assert_allclose(outer.baseline, low)
    edges = learned["constant_data"]["lepton_energy_edges"].values
    np.testing.assert_array_equal(outer.edges, edges)
    spread = drawn.std(axis=0)
    sure = spread > 0.0
    pulls = (counts - drawn.mean(axis=0))[sure] / spread[sure]
    np.testing.assert_allclose(bottom.lines[-1].get_ydata()[sure], pulls)
    assert np.isnan(bottom.lines[-1].get_ydata()[~sure]).all()
    assert "[GeV]" in bottom.get_xlabel()


@pytest.mark.parametrize("kind", ["truth", "learned"])
def test_predictive_figure_names_its_cross_section(learned, kind):
    figure = predictive_figure(learned, kind)
    title = figure.axes[1].get_legend().get_title().get_text()
    assert {"truth": "true", "learned": "learned"}[kind] in title


def test_a_backend_that_starts_inside_of_a_figure_stays_interactive() -> None:
    # As that of notebooks does when the first figure of pyplot is one of this package
    before = mpl.is_interactive()
    try:
        for interactive in (True, False):
            mpl.interactive(not interactive)
            with style():
                mpl.interactive(interactive)
            assert mpl.is_interactive() == interactive
    finally:
        mpl.interactive(before)
