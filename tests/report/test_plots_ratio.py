"""The figure of a ratio of cross sections draws the band it is given."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from bayesxs.report.plots_ratio import ratio_figure
from bayesxs.report.style import to_png

ENERGY = np.linspace(0.5, 10.0, 20)


def ratio(known: bool = True) -> xr.Dataset:
    value = 1.0 + 0.1 / ENERGY
    data = {"ratio": ("energy", 1.01 * value), "sd": ("energy", 0.02 * value)}
    if known:
        data["truth"] = ("energy", value)
    names = {"numerator": "e", "denominator": "mu", "near_data": "mu; e"}
    return xr.Dataset(data, {"energy": ENERGY}, names)


@pytest.mark.parametrize("known", [True, False])
def test_band_is_over_the_truth_or_the_mean(known) -> None:
    figure = ratio_figure(ratio(known))
    top, bottom = figure.axes
    (band,) = bottom.collections
    heights = band.get_paths()[0].vertices[:, 1]
    middle, half = (1.01, 0.02) if known else (1.0, 0.02 / 1.01)
    assert heights.min() == pytest.approx(middle - half, rel=1e-9)
    assert heights.max() == pytest.approx(middle + half, rel=1e-9)
    assert bottom.get_ylabel() == ("learned / true" if known else "over the mean")
    assert "νe" in top.get_ylabel()
    assert "νμ" in top.get_ylabel()
    assert "GeV" in bottom.get_xlabel()
    words = [text.get_text() for text in bottom.get_legend().get_texts()]
    assert words == ["68 %, near data of νμ, νe"]
    assert to_png(figure).startswith(b"\x89PNG")


def test_other_near_data_are_another_band() -> None:
    wide, narrow = ratio(), ratio().assign(sd=("energy", 0.01 * np.ones(20)))
    assert len(ratio_figure(wide, narrow).axes[1].collections) == 2
