"""Figures of densities and cross sections draw the numbers they are given, with units."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import QuadMesh
from PIL import Image

from bayesxs.report.plots_density import (
    density_figure,
    slices_figure,
    structure_functions_figure,
    total_cross_section_figure,
    training_figure,
)
from bayesxs.report.style import style, to_png


def drawn(ax):
    """Values of the mesh in a panel, first index along the horizontal axis, NaN where blank."""
    (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
    return np.ma.filled(mesh.get_array(), np.nan).T, mesh.norm


def panels(figure):
    """Panels with a mesh that are not color bars."""
    meshed = [ax for ax in figure.axes if any(isinstance(c, QuadMesh) for c in ax.collections)]
    return [ax for ax in meshed if ax.get_label() != "<colorbar>"]


def texts(figure):
    """Every word in a figure's panels."""
    parts = []
    for ax in figure.axes:
        parts += [
            ax.get_xlabel(),
            ax.get_ylabel(),
            ax.get_title(),
            *(t.get_text() for t in ax.texts),
        ]
    return "\n".join(parts)


@pytest.mark.parametrize("detector", ["near", "far"])
def test_density_panels_hold_truth_model_and_percent_difference(density, detector):
    figure = density_figure(density, detector)
    truth, model = (density[f"{detector}_{k}"].values for k in ("truth", "model"))
    true, learned, difference = panels(figure)
    seen = truth > 0.0
    np.testing.assert_array_equal(drawn(true)[0][seen], truth[seen])
    np.testing.assert_array_equal(drawn(learned)[0][seen], model[seen])
    assert np.isnan(drawn(true)[0][~seen]).all()
    percent, norm = drawn(difference)
    expected = 100.0 * (model - truth)[seen] / truth.max()
    np.testing.assert_allclose(percent[seen], expected, rtol=1e-12)
    assert norm.vmin == -norm.vmax
    assert norm.vmax >= np.abs(expected).max()
    words = texts(figure)
    assert f"{detector} detector" in words
    assert r"$E_\ell$ [GeV]" in words
    assert "[GeV$^{-1}$]" in words
    assert "[%]" in words


def test_density_bins_stand_where_the_edges_say(density):
    ax = panels(density_figure(density, "near"))[0]
    (mesh,) = ax.collections
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], density["lepton_energy_edges"])
    np.testing.assert_allclose(corners[:, 0, 1], density["z_edges"])


def test_relative_distance_is_that_of_the_densities(density):
    truth, model = density["near_truth"].values, density["near_model"].values
    relative = np.sqrt(((model - truth) ** 2).sum() / (truth**2).sum())
    mantissa = f"{relative:.1e}".split("e")[0]
    assert rf"{mantissa}\times" in texts(density_figure(density, "near"))


def test_slices_are_four_energies_on_common_rows(slices):
    figure = slices_figure(slices)
    grid = panels(figure)
    assert len(grid) == 12
    for column, energy in enumerate([0, 1, 3, 4]):
        truth = slices["truth"].values[energy]
        model = slices["model"].values[energy]
        seen = truth > 0.0
        np.testing.assert_array_equal(drawn(grid[column])[0][seen], truth[seen])
        np.testing.assert_array_equal(drawn(grid[4 + column])[0][seen], model[seen])
        percent, norm = drawn(grid[8 + column])
        np.testing.assert_allclose(
            percent[seen], 100.0 * (model - truth)[seen] / truth.max(), rtol=1e-12
        )
        assert norm.vmin == -norm.vmax
        assert f"{slices['slice_energy'].values[energy]:.3g}" in grid[column].get_title()
    assert "cm$^2$/GeV" in texts(figure)


def test_total_cross_section_draws_both_and_their_ratio(total):
    figure = total_cross_section_figure(total)
    lines = {line.get_label(): line for ax in figure.axes for line in ax.lines}
    energy = total["energy"].values
    np.testing.assert_allclose(lines["true cross section"].get_ydata(), total["truth"] / energy)
    np.testing.assert_allclose(lines["learned"].get_ydata(), total["model"] / energy)
    bottom = next(ax for ax in figure.axes if ax.get_ylabel() == "learned / true")
    np.testing.assert_allclose(bottom.lines[-1].get_ydata(), total["model"] / total["truth"])
    words = texts(figure)
    assert r"$10^{-38}$ cm$^2$/GeV" in words
    assert "GeV$^{-1}$ m$^{-2}$ POT$^{-1}$" in words
    assert r"$E_\nu$ [GeV]" in words


def test_total_cross_section_needs_no_flux(total):
    figure = total_cross_section_figure(total.drop_vars(["flux", "probability"]))
    assert len(figure.axes) == 2


def test_structure_functions_are_drawn_plain_and_weighted(functions):
    for weighted in (False, True):
        figure = structure_functions_figure(functions, weighted)
        grid = panels(figure)
        weight = functions["weight"].values if weighted else 1.0
        truth, model = functions["truth"].values * weight, functions["model"].values * weight
        top = np.full(3, np.nanmax(truth)) if weighted else np.nanmax(truth, axis=(1, 2))
        for i in range(3):
            np.testing.assert_array_equal(drawn(grid[3 * i])[0], truth[i])
            np.testing.assert_array_equal(drawn(grid[3 * i + 1])[0], model[i])
            percent, norm = drawn(grid[3 * i + 2])
            np.testing.assert_allclose(percent, 100.0 * (model[i] - truth[i]) / top[i], rtol=1e-9)
            assert norm.vmin == -norm.vmax
        assert grid[0].get_yscale() == "log"
        assert "[GeV$^2$]" in texts(figure)


def test_weighted_functions_share_one_scale(functions):
    norms = [drawn(ax)[1] for ax in panels(structure_functions_figure(functions, weighted=True))]
    assert len({(n.vmin, n.vmax) for n in norms[0::3]}) == 1


def test_training_curves_are_the_columns_on_logarithmic_axes(training):
    figure = training_figure(training)
    left, right = figure.axes
    np.testing.assert_array_equal(left.lines[0].get_ydata(), training["loss"])
    best = left.lines[1].get_ydata()
    np.testing.assert_array_equal(best, np.minimum.accumulate(training["loss"]))
    names = ("near_rel_l2", "far_rel_l2", "cross_section_3d_rel_l2")
    for line, name in zip(right.lines, names, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), training[name])
    assert {ax.get_xscale() for ax in figure.axes} == {"log"}
    assert {ax.get_yscale() for ax in figure.axes} == {"log"}
    assert left.lines[0].get_xdata().min() > 0.0


@pytest.mark.filterwarnings("error")
def test_training_figure_takes_a_loss_alone(training):
    figure = training_figure({"step": training["step"], "loss": training["loss"]})
    assert len(figure.axes[1].lines) == 0


def test_figures_leave_nothing_behind(density):
    before, open_figures = dict(mpl.rcParams), plt.get_fignums()
    to_png(density_figure(density, "near"))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == open_figures


def test_notebooks_show_a_figure_that_pyplot_does_not_know(training):
    assert training_figure(training)._repr_png_().startswith(b"\x89PNG")


def test_png_is_small_and_true_to_the_figure(density):
    figure = density_figure(density, "near")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # which moves things a little at each drawing
    small = to_png(figure)
    full = io.BytesIO()
    with style():
        figure.savefig(full, format="png", dpi=130)
    pixels = [
        np.asarray(Image.open(b).convert("RGB"), dtype=int) for b in (io.BytesIO(small), full)
    ]
    assert len(small) < 250_000
    assert np.abs(pixels[0] - pixels[1]).max() <= 16
