"""The figure of a decomposition shows every cell, and spectra as they were fitted."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from bayesxs.inference.decomposition import Cell, Decomposition
from bayesxs.report.plots_events import decomposition_figure


def cell(nu: float, chi2: float) -> Cell:
    edges = np.array([0.5, 1.0, 2.0, 4.0, 5.0, 10.0])
    flux, expected = np.full(5, 2.0), np.array([40.0, 60.0, 50.0, 30.0, 20.0])
    found = expected + np.array([3.0, -4.0, 2.0, 0.0, 1.0])
    return Cell(nu, nu**2, edges, found, expected, flux, 1.0, np.ones(3), chi2, chi2 + 1.0)


@pytest.mark.parametrize("number", [1, 7])
def test_every_cell_is_drawn(number: int) -> None:
    cells = tuple(cell(0.1 * (i + 1), float(i)) for i in range(number))
    result = Decomposition("qe", 1000, 0.9, 3.0, 2 * number, 0.4, 0.5, cells)
    left, middle, right, _ = decomposition_figure(result).axes
    (points,) = middle.collections
    np.testing.assert_allclose(points.get_offsets()[:, 0], [c.nu for c in cells])
    np.testing.assert_allclose(points.get_array(), (np.arange(number) - 2.0) / 2.0)
    assert sum(bar.get_height() for bar in right.patches) == number
    assert "qe" in right.get_title()
    spectra = [c for c in left.containers if isinstance(c, ErrorbarContainer)]
    assert len(spectra) == min(number, 4)
    # Counts lie about their own fit, both over the fit's mean, 20
    points_line = spectra[0].lines[0]
    np.testing.assert_allclose(points_line.get_ydata(), cells[0].counts / 2.0 / 20.0)
    np.testing.assert_allclose(points_line.get_xdata()[0], 1.0 / 0.75)
