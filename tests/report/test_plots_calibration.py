"""Figures of calibration: the right numbers at the right places, nothing that overlaps."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from scipy import stats

from bayesxs.inference.calibration import ecdf_band
from bayesxs.report.plots_calibration import (
    INTERVALS,
    coverage_figure,
    ecdf_figure,
    rank_histogram_figure,
    sensitivity_figure,
)
from bayesxs.report.style import LEARNED, QUANTITIES, TRUTH, group, to_png
from support.looks import assert_readable

NUMBER, KEPT = 300, 99


def legend(figure):
    """Texts of the figure's legend."""
    return [t.get_text() for entry in figure.legends for t in entry.get_texts()]


def line(ax, gid):
    """Lines of an ECDF that are inside, or outside."""
    return [entry for entry in ax.lines if entry.get_gid() == gid]


@pytest.fixture
def pits():
    """PIT values: evenly spread, of posteriors too narrow, and of ones that lie too high."""
    even = (np.arange(NUMBER) + 0.5) / NUMBER
    narrow = stats.norm.cdf(stats.norm.ppf(even) / 0.6)
    high = stats.norm.cdf(stats.norm.ppf(even) - 0.4)
    return {"dm31": even, "sin2_theta23": narrow, "sin2_2theta23": high}


@pytest.fixture
def table():
    """Coverage of every kind of interval at nine points, the basic one undercovering."""
    rng = np.random.default_rng(1)
    levels, kinds = np.array([0.68, 0.9]), list(INTERVALS)
    shape = ("interval", "level", "point")
    fraction = levels[:, None] + 0.02 * rng.standard_normal((len(kinds), 2, 9))
    fraction[2] -= 0.1
    return xr.Dataset(
        {
            "fraction": (shape, fraction),
            "low": (shape, fraction - 0.025),
            "high": (shape, fraction + 0.02),
            "length": (shape, 3e-5 * (1.0 + levels[:, None] + 0.0 * fraction)),
            "error": ("level", np.sqrt(levels * (1.0 - levels) / 400)),
        },
        coords={
            "interval": kinds,
            "level": levels,
            "sin2_theta23": ("point", np.linspace(0.4, 0.6, 9)),
        },
        attrs={"parameter": "dm31"},
    )


@pytest.fixture
def widths():
    """Widths that fall as 1/sqrt(N) down to a floor."""
    events = np.array([60.0, 600.0, 6000.0, 60000.0, 6000000.0])
    sd = np.hypot(1.8e-5 * np.sqrt(6200.0 / events), 2e-6)
    data = {"dm31": sd, "dm31_low": 0.9 * sd, "dm31_high": 1.2 * sd, "sin2_2theta23": 150.0 * sd}
    return xr.Dataset(
        {name: ("events", v) for name, v in data.items()} | {"kt_mw_yr": ("events", events / 62)},
        coords={"events": events},
    )


def test_ecdf_is_less_the_diagonal_and_names_what_leaves_the_band(pits):
    figure = ecdf_figure(pits)
    notes = [ax.texts[0].get_text() for ax in figure.axes]
    assert notes == ["inside", "too narrow", "shifted up"]
    assert [ax.get_title() for ax in figure.axes] == [QUANTITIES[name].label for name in pits]
    for ax, (name, values) in zip(figure.axes, pits.items(), strict=True):
        (drawn,) = line(ax, "inside" if name == "dm31" else "outside")
        assert to_hex(drawn.get_color()) == (TRUTH if name == "dm31" else LEARNED)
        x, y = drawn.get_data()
        expected = [np.mean(values <= at) - at for at in x]
        assert y[1:-1] == pytest.approx(expected[1:-1])
        assert (x[0], y[0], x[-1], y[-1]) == (0.0, 0.0, 1.0, 0.0)
    assert legend(figure) == ["95 % band, simultaneous", "ranks, inside", "ranks, outside"]
    assert_readable(figure)


def test_ecdf_band_is_the_simultaneous_one(pits):
    figure = ecdf_figure(pits, level=0.9)
    band = ecdf_band(NUMBER, 0.9)
    path = figure.axes[0].collections[0].get_paths()[0].vertices
    assert path[:, 1].max() == pytest.approx(np.max(band.upper - band.points))
    assert path[:, 1].min() == pytest.approx(np.min(band.lower - band.points))
    assert legend(figure)[0].startswith("90 %")


def test_nuisances_of_a_group_share_a_panel(pits):
    rng = np.random.default_rng(2)
    groups = {f"flux_{i}": "flux" for i in range(4)} | {"energy_scale": "response"}
    more = {name: rng.uniform(size=NUMBER) for name in groups}
    more["flux_2"] = pits["sin2_theta23"]
    figure = ecdf_figure({"dm31": pits["dm31"], **more}, groups=groups)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[1:] == [group("flux").words, group("response").words]
    flux = figure.axes[1]
    assert len(line(flux, "inside")) == 3 and len(line(flux, "outside")) == 1
    assert flux.texts[0].get_text() == "3 of 4 inside"
    assert_readable(figure)


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_any_number_of_parameters_is_readable(count):
    rng = np.random.default_rng(3)
    names = [*QUANTITIES, "energy_scale", "flux_0"][:count]
    assert_readable(ecdf_figure({name: rng.uniform(size=NUMBER) for name in names}))
    ranks = {name: rng.integers(0, KEPT + 1, NUMBER) for name in names}
    assert_readable(rank_histogram_figure(ranks, KEPT))


def test_histogram_counts_over_uniform_with_a_binomial_band():
    ranks = np.concatenate([np.zeros(200, dtype=int), np.arange(100)])
    figure = rank_histogram_figure({"dm31": ranks}, KEPT, bins=10)
    (ax,) = figure.axes
    band, counts = ax.patches
    assert counts.get_data().values == pytest.approx(np.array([210, *[10] * 9]) / 30.0)
    assert counts.get_data().edges == pytest.approx(np.arange(0, 101, 10))
    # 300 ranks in 10 bins: each binomial(300, 1/10)
    low, high = stats.binom.ppf([0.005, 0.995], 300, 0.1) / 30.0
    assert band.get_data().values == pytest.approx([high] * 10)
    assert band.get_data().baseline == pytest.approx([low] * 10)
    marked = [c for c in ax.collections if isinstance(c, LineCollection)]
    assert len(marked) == 10  # the first bin too full, all others too empty
    assert "outside" in legend(figure)


@pytest.mark.parametrize("kept", [3, 96, 250])
def test_histogram_of_uniform_ranks_is_flat_where_bins_do_not_divide(kept):
    ranks = np.tile(np.arange(kept + 1), 50)
    (ax,) = rank_histogram_figure({"dm31": ranks}, kept).axes
    drawn = ax.patches[1].get_data()
    assert drawn.values == pytest.approx(1.0)
    assert (drawn.edges[0], drawn.edges[-1]) == (0, kept + 1)
    assert not [c for c in ax.collections if isinstance(c, LineCollection)]


def test_coverage_stands_at_its_truth_with_its_interval(table):
    figure = coverage_figure(table)
    upper, _, lower, _ = figure.axes
    assert len(upper.containers) == len(INTERVALS)
    for kind, bars in zip(INTERVALS, upper.containers, strict=True):
        one = table.sel(interval=kind, level=0.68)
        marks, _, (errors,) = bars
        x, y = marks.get_data()
        assert y == pytest.approx(100.0 * one["fraction"].values)
        assert np.abs(x - one["sin2_theta23"].values).max() < 0.0125  # nearer than to the next
        ends = np.array(errors.get_segments())[:, :, 1]
        assert ends[:, 0] == pytest.approx(100.0 * one["low"].values)
        assert ends[:, 1] == pytest.approx(100.0 * one["high"].values)
    # Lengths in 1e-5 eV^2
    assert lower.lines[0].get_ydata() == pytest.approx([3.0 * 1.68] * 9)
    shaded = upper.collections[0].get_paths()[0].vertices[:, 1]
    assert shaded.max() == pytest.approx(68.0 + 200.0 * np.sqrt(0.68 * 0.32 / 400))
    assert legend(figure) == [words for words, _, _ in INTERVALS.values()] + ["nominal"]
    assert_readable(figure)


def test_coverage_on_a_grid_of_two_parameters_names_both(table):
    truths = {
        "sin2_theta23": ("point", np.repeat([0.4, 0.5, 0.6], 3)),
        "dm31": ("point", np.tile([2.4e-3, 2.5e-3, 2.6e-3], 3)),
    }
    figure = coverage_figure(table.assign_coords(truths))
    labels = [t.get_text() for t in figure.axes[2].get_xticklabels()]
    assert labels[:4] == ["0.4\n2.4", "0.4\n2.5", "0.4\n2.6", "0.5\n2.4"]
    assert_readable(figure)


def test_coverage_of_one_interval_at_one_point_is_drawn(table):
    one = table.isel(interval=[0], level=[1], point=[4]).drop_vars("error")
    figure = coverage_figure(one)
    assert figure.axes[0].get_title().startswith("90 %")
    assert_readable(figure)


def test_coverage_over_phases_has_room_at_both_ends_and_none_above_all(table):
    phases = np.deg2rad(np.linspace(-160.0, 160.0, 9))
    one = table.isel(interval=[0]).drop_vars("sin2_theta23").assign_coords(dcp=("point", phases))
    one["error"] = one["error"] * 20.0
    figure = coverage_figure(one.assign_attrs(parameter="dcp"))
    low, high = figure.axes[0].get_xlim()
    assert low < -170.0 and high > 170.0  # steps of 40 degrees
    for ax in figure.axes[:2]:
        shaded = ax.collections[0].get_paths()[0].vertices[:, 1]
        assert shaded.min() >= 0.0 and shaded.max() <= 100.0
    assert_readable(figure)


def test_unknown_kinds_of_intervals_keep_their_name(table):
    figure = coverage_figure(table.isel(interval=[0]).assign_coords(interval=["my_own"]))
    assert legend(figure)[0] == "my own"


def test_sensitivity_is_drawn_in_events_and_exposure(widths):
    figure = sensitivity_figure(widths)
    left, right = figure.axes
    guide, drawn = left.lines
    assert drawn.get_xdata() == pytest.approx(widths["events"].values)
    assert drawn.get_ydata() == pytest.approx(1e5 * widths["dm31"].values)
    x, y = guide.get_data()
    assert y * np.sqrt(x) == pytest.approx(np.full(5, y[0] * np.sqrt(x[0])))
    assert y[0] == pytest.approx(drawn.get_ydata()[0])
    assert (left.get_xscale(), left.get_yscale()) == ("log", "log")
    assert_readable(figure)
    (top,) = left.child_axes
    assert top.get_xlim() == pytest.approx(np.array(left.get_xlim()) / 62.0)
    assert right.get_ylabel().startswith(r"$\sigma$(")
    assert "68 % of pseudo-experiments" in legend(figure)


def test_sensitivity_needs_neither_spread_nor_exposure(widths):
    figure = sensitivity_figure(widths[["sin2_2theta23"]].isel(events=[2, 1]))
    (ax,) = figure.axes
    assert ax.lines[1].get_xdata().tolist() == [600.0, 6000.0]
    assert not ax.child_axes
    assert_readable(figure)


def test_figures_are_the_same_bytes_each_time(pits):
    assert to_png(ecdf_figure(pits)) == to_png(ecdf_figure(pits))


@pytest.mark.parametrize(
    "call",
    [
        lambda table, widths: ecdf_figure({}),
        lambda table, widths: ecdf_figure({"a": np.zeros(3), "b": np.zeros(4)}),
        lambda table, widths: rank_histogram_figure({}, 9),
        lambda table, widths: rank_histogram_figure({"dm31": []}, 9),
        lambda table, widths: coverage_figure(table.isel(point=[])),
        lambda table, widths: coverage_figure(table.drop_vars("sin2_theta23")),
        lambda table, widths: sensitivity_figure(widths[["kt_mw_yr"]]),
    ],
)
def test_nothing_to_draw_is_an_error(call, table, widths):
    with pytest.raises(ValueError, match=r"."):
        call(table, widths)
