"""Summaries of orderings and octants: densities of the phase of any size."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from scipy.special import ive

from bayesxs.inference import mode_summaries
from bayesxs.inference.modes import MODES

SHARP = 400.0  # of a von Mises density, 3 degrees wide: narrower than the steps of the likelihood


def test_savage_dickey_has_no_least_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """log BF = log(2 pi p(dcp)) with p = exp(k cos dcp)/(2 pi I0(k)): e^-797 at pi."""

    def around(posterior: object, mode: object, z: np.ndarray, dcp: np.ndarray) -> np.ndarray:
        # Another size at every draw, which a conditional density does not know of
        return 10.0 * np.arange(len(z))[:, None] + SHARP * np.cos(dcp)

    monkeypatch.setattr(mode_summaries, "_around", around)
    log_weights = np.array([0.0, -3.0, -2000.0, -2001.0])
    draws = SimpleNamespace(
        modes=MODES,
        z=np.zeros((4, 2, 50, 3)),
        log_weights=log_weights,
        probabilities=np.exp(log_weights - np.logaddexp(0.0, -3.0)),
    )
    phases = mode_summaries.phase_density(None, draws)
    log_i0 = SHARP + np.log(ive(0, SHARP))
    for dcp, cosine in ((0.0, 1.0), (np.pi, -1.0)):
        found = mode_summaries.savage_dickey(phases, dcp)
        assert found is not None
        assert found.log == pytest.approx(SHARP * cosine - log_i0, abs=0.01)
        assert found.error == pytest.approx(0.0, abs=1e-9)  # all draws agree
    # Between the phases of the likelihood, too, on the whole of a density 3 degrees wide
    exact = np.exp(SHARP * (np.cos(phases["dcp"]) - 1.0)) / (2.0 * np.pi * ive(0, SHARP))
    assert float(phases["dcp"][1] - phases["dcp"][0]) == pytest.approx(np.radians(1.0))
    np.testing.assert_allclose(phases["total"], exact, rtol=1e-9, atol=1e-9)
    inside = phases["total"] > 1e-300
    np.testing.assert_allclose(np.exp(phases["log_total"])[inside], phases["total"][inside])


def test_a_density_that_few_draws_make_up_gives_no_factor() -> None:
    phases = xr.Dataset(
        {
            "log_total": ("dcp", [-np.log(2.0 * np.pi), -26.5]),
            "log_total_error": ("dcp", [0.05, 0.5]),
        },
        {"dcp": [-np.pi, 0.0]},
    )
    assert mode_summaries.savage_dickey(phases, 0.0) is None
    found = mode_summaries.savage_dickey(phases, np.pi)
    assert found is not None
    assert found.log == pytest.approx(0.0, abs=1e-12)  # of a density that is the prior's
