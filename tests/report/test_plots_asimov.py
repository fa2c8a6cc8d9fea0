"""Figures of sensitivities."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayesxs.report.plots_asimov import bias_figure, scan_figure
from bayesxs.report.style import to_png


def test_panels_are_what_the_scan_holds() -> None:
    dcp = np.linspace(-np.pi, np.pi, 5)
    scan = xr.Dataset(
        {
            "cp_violation": ("dcp", np.abs(np.sin(dcp)) * 7.0),
            "resolution": ("dcp", np.full(5, 0.2)),
            "converged": ("dcp", [True, True, False, True, True]),
        },
        {"dcp": dcp},
        {"true_ordering": "normal"},
    )
    figure = scan_figure(scan)
    violation, resolution = figure.axes
    line = violation.lines[0]
    np.testing.assert_allclose(line.get_xdata(), dcp / np.pi)
    assert np.isnan(line.get_ydata()).tolist() == [False, False, True, False, False]
    np.testing.assert_allclose(resolution.lines[0].get_ydata()[0], np.degrees(0.2))
    assert to_png(figure).startswith(b"\x89PNG")


def test_octants_are_drawn_over_the_mixing() -> None:
    scan = xr.Dataset(
        {"octant": ("s2_23", [3.0, 0.0, 4.0]), "converged": ("s2_23", [True] * 3)},
        {"s2_23": [0.4, 0.5, 0.6]},
        {"true_ordering": "inverted", "true_dcp": 1.5 * np.pi},
    )
    figure = scan_figure(scan)
    (ax,) = figure.axes
    assert figure.get_suptitle().startswith("true ordering: inverted")
    assert "-90 deg" in figure.get_suptitle()
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0.4, 0.5, 0.6])


def test_biases_are_drawn_case_by_case() -> None:
    dcp = np.array([-1.0, 0.0, 1.0])
    values = {
        "delta_cp": [0.1, 0.2, 0.3],
        "sin2_theta23": [1.0, 2.0, 3.0],
        "dm31": [-1.0, 0.0, 1.0],
    }
    columns = {name: ("dcp", row) for name, row in values.items()}
    case = xr.Dataset(columns | {"converged": ("dcp", [True, False, True])}, {"dcp": dcp})
    figure = bias_figure({"learned": case, "assumed": 2.0 * case})
    for ax, row in zip(figure.axes, values.values(), strict=True):
        one, other = ax.lines[1:]
        np.testing.assert_array_equal(one.get_ydata(), [row[0], np.nan, row[2]])
        np.testing.assert_array_equal(other.get_ydata(), [2.0 * row[0], np.nan, 2.0 * row[2]])
    assert to_png(figure).startswith(b"\x89PNG")


def test_a_scan_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="without a sensitivity"):
        scan_figure(xr.Dataset({}, {"dcp": [0.0]}))
