"""Figures of orderings and octants: every nuisance has a row, expected data have no p-value."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayesxs.report.plots_modes import (
    biprobability_figure,
    nuisance_figure,
    one_row_a_group,
    spectra_figure,
)


@pytest.mark.parametrize(("many", "columns"), [(1, 1), (30, 1), (31, 2), (63, 2)])
def test_every_nuisance_has_a_row(many: int, columns: int) -> None:
    nuisances = [{"name": f"own_{n}", "mean": 0.1 * n, "sd": 0.5} for n in range(many)]
    axes = nuisance_figure(nuisances).axes
    assert len(axes) == columns
    labels = [label.get_text() for ax in axes for label in ax.get_yticklabels()]
    assert labels == [f"own {n}" for n in range(many)]
    points = [ax.containers[0].lines[0] for ax in axes]
    drawn = np.concatenate([line.get_xdata() for line in points])
    np.testing.assert_allclose(drawn, 0.1 * np.arange(many))
    for ax, line in zip(axes, points, strict=True):  # the first row stands at the top
        assert ax.get_ylim()[0] < min(line.get_ydata()) <= max(line.get_ydata()) < ax.get_ylim()[1]
        assert np.all(np.diff(line.get_ydata()) == -1)


def test_nuisances_of_dune_are_said_in_words() -> None:
    names = ["nue_bgbar", "flux_RHC_anti_nu_mu_2", "scale_e_1"]
    rows = [{"name": name, "mean": 0.0, "sd": 1.0} for name in names]
    (ax,) = nuisance_figure(rows).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        r"beam $\nu_e$, antineutrino mode",
        r"$\bar\nu_\mu$ flux, antineutrino mode, 2",
        r"energy scale of $e$, $\propto\sqrt{E}$",
    ]


def test_modes_of_a_group_are_said_in_symbols() -> None:
    modes = [{"name": f"m_{n}", "group": "lepton_ratio", "mean": 0.0, "sd": 1.0} for n in (0, 1)]
    (ax,) = nuisance_figure(one_row_a_group(modes, ("lepton_ratio",))).axes
    (label,) = ax.get_yticklabels()
    assert label.get_text() == r"$\nu_e/\nu_\mu$ cross section, 2 modes"


@pytest.mark.parametrize(("p", "words"), [(None, "expected data"), (0.25, "data")])
def test_expected_data_have_no_p_value(p: float | None, words: str) -> None:
    sample = np.array([0.5, 1.0, 2.0]), np.array([4.0, 9.0]), np.ones((10, 2))
    figure = spectra_figure({"nue_app": sample}, {"nue_app": p})
    assert ("$p$ = 0.25" in figure.axes[0].get_title()) == (p is not None)
    assert words in [text.get_text() for text in figure.legends[0].get_texts()]


def test_what_the_legend_calls_data_are_the_data() -> None:
    dcp = np.linspace(-np.pi, np.pi, 4, endpoint=False)
    circle = {"neutrino": np.cos(dcp), "antineutrino": np.sin(dcp)}
    curves = xr.Dataset(
        {kind: (("mode", "dcp"), row[None]) for kind, row in circle.items()},
        {"mode": ["normal, upper"], "dcp": dcp},
    )
    figure = biprobability_figure(curves, (4.0, 9.0), "expected data")
    assert figure.legends[0].get_texts()[-1].get_text() == "expected data"
