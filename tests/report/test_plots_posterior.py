"""Figures of posteriors: right axes, right points, regions within bounds."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.contour import ContourSet

from bayesxs.report.draws import parameters
from bayesxs.report.plots_posterior import (
    asimov_figure,
    comparison_figure,
    octant_figure,
    posterior_figure,
)
from bayesxs.report.style import quantity


def labels(figure):
    """Axis labels in use."""
    return {t for ax in figure.axes for t in (ax.get_xlabel(), ax.get_ylabel()) if t}


def regions(ax):
    """Contour sets of a panel."""
    return [c for c in ax.collections if isinstance(c, ContourSet)]


def main_panel(figure):
    """The panel with the contours."""
    (ax,) = [ax for ax in figure.axes if regions(ax)]
    return ax


def test_parameters_leave_out_fixed_ones_and_prefer_the_octant_blind(truth, several):
    assert parameters(truth) == ["sin2_2theta23", "dm31"]
    assert parameters(*several) == ["sin2_2theta23", "dm31", "sin2_theta13", "dm21", "dcp"]
    assert parameters(None) == []


def test_joint_posterior_has_units_points_and_the_true_value(truth, learned, true_values):
    figure = posterior_figure(truth, learned)
    ax = main_panel(figure)
    assert labels(figure) == {
        r"$\sin^2 2\theta_{23}$",
        r"$\Delta m^2_{31}$ [$10^{-3}\,\mathrm{eV}^2$]",
    }
    clouds = [c.get_offsets() for c in ax.collections if not isinstance(c, ContourSet)]
    sizes = [len(cloud) for cloud in clouds]
    assert sizes.count(300) == 2
    np.testing.assert_allclose(clouds[0][:, 1], truth["bootstrap"]["dm31"].values * 1e3)
    star = clouds[sizes.index(1)][0]
    expected = [true_values["sin2_2theta23"], true_values["dm31"] * 1e3]
    np.testing.assert_allclose(star, expected)
    legend = {t.get_text() for t in ax.get_legend().get_texts()}
    assert legend >= {"true cross section", "learned cross section", "true value"}


def test_real_events_have_no_true_value(truth):
    truth.attrs["source"] = "events.csv"
    figure = posterior_figure(truth, None)
    legend = {t.get_text() for t in main_panel(figure).get_legend().get_texts()}
    assert "true value" not in legend


def test_regions_end_at_the_physical_bound(truth, learned):
    ax = main_panel(posterior_figure(truth, learned))
    edges = [p.vertices[:, 0].max() for c in regions(ax) for p in c.get_paths() if len(p.vertices)]
    assert max(edges) == pytest.approx(1.0, abs=1e-12)
    assert ax.get_xlim()[1] == 1.0


def test_drawn_regions_hold_68_and_95_percent_of_the_draws(learned):
    ax = main_panel(posterior_figure(None, learned))
    (outlines,) = regions(ax)
    draws = learned["posterior"]
    points = np.column_stack(
        [draws["sin2_2theta23"].values.ravel(), draws["dm31"].values.ravel() * 1e3]
    )
    for path, mass in zip(outlines.get_paths(), (0.95, 0.68), strict=True):
        # An outline that ends at the bound is open there; matplotlib closes it along the bound
        held = path.contains_points(points).mean()
        assert held == pytest.approx(mass, abs=0.02)


def test_one_posterior_is_enough_and_none_is_refused(truth):
    assert main_panel(posterior_figure(truth, None))
    with pytest.raises(ValueError, match="no posterior"):
        posterior_figure(None, None)


def test_corner_names_every_parameter_and_stays_on_the_circle(several):
    figure = posterior_figure(*several)
    names = parameters(*several)
    assert {ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()} == {
        quantity(name).axis for name in names
    }
    assert sum(bool(regions(ax)) for ax in figure.axes) == 10
    phase = next(ax for ax in figure.axes if ax.get_xlabel() == quantity("dcp").axis)
    assert phase.get_xlim() == pytest.approx((-180.0, 180.0))


def test_single_parameter_becomes_a_marginal(truth):
    alone = xr.DataTree.from_dict({"posterior": truth["posterior"].to_dataset()[["dm31"]]})
    figure = posterior_figure(None, alone)
    assert labels(figure) == {quantity("dm31").axis}


def test_asimov_marginals_print_the_shift(truth, learned):
    groups = {
        "truth": truth["posterior"].to_dataset(),
        "learned": learned["posterior"].to_dataset(),
    }
    figure = asimov_figure(xr.DataTree.from_dict(groups), {"dm31": 0.123})
    notes = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert notes == [r"shift 0.12$\,\sigma$"]
    assert quantity("dm31").axis in labels(figure)
    for ax in figure.axes:
        assert len(ax.lines) == 2


def test_octant_figure_states_both_probabilities(truth, learned):
    figure = octant_figure(truth, learned)
    notes = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert notes.count("upper octant 40 %") == 2
    assert notes.count("lower octant 60 %") == 2
    alone = xr.DataTree.from_dict({"posterior": truth["posterior"].to_dataset()[["dm31"]]})
    with pytest.raises(ValueError, match="sin2_theta23"):
        octant_figure(None, alone)


def test_no_contour_runs_through_the_legend() -> None:
    """Nothing but the lower left is free: one region at the upper left, one at the right."""
    rng = np.random.default_rng(5)

    def at(mixing: float, splitting: float, width: float) -> xr.DataTree:
        across = np.clip(rng.normal(mixing, width, (2, 1000)), 0.0, 1.0)
        up = rng.normal(splitting, 2.5e-5, (2, 1000))
        draws = {n: (("chain", "draw"), v) for n, v in (("sin2_2theta23", across), ("dm31", up))}
        return xr.DataTree.from_dict({"posterior": xr.Dataset(draws)})

    figure = comparison_figure({"truth": at(0.99, 2.52e-3, 0.01), "assumed": at(0.9, 2.8e-3, 0.03)})
    ax = main_panel(figure)
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    for region in regions(ax):
        lines = np.concatenate([path.vertices for path in region.get_paths() if len(path.vertices)])
        assert legend.count_contains(ax.transData.transform(lines)) == 0
