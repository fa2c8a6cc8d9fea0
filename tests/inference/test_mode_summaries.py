"""Summaries of orderings and octants: densities of the phase."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ive

from bayesxs.inference import mode_summaries
from bayesxs.inference.modes import MODES

SHARP = 400.0  # of a von Mises density, 3 degrees wide: narrower than the steps of the likelihood


def test_densities_of_the_phase_are_exact_between_steps_of_the_likelihood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """p = exp(k cos dcp)/(2 pi I0(k)), on the whole of a density 3 degrees wide."""

    def around(posterior: object, mode: object, z: np.ndarray, dcp: np.ndarray) -> np.ndarray:
        # Another size at every draw, which a conditional density does not know of
        return 10.0 * np.arange(len(z))[:, None] + SHARP * np.cos(dcp)

    monkeypatch.setattr(mode_summaries, "_around", around)
    log_weights = np.array([0.0, -3.0, -2000.0, -2001.0])
    draws = SimpleNamespace(
        modes=MODES,
        z=np.zeros((4, 2, 50, 3)),
        probabilities=np.exp(log_weights - np.logaddexp(0.0, -3.0)),
    )
    phases = mode_summaries.phase_density(None, draws)
    exact = np.exp(SHARP * (np.cos(phases["dcp"]) - 1.0)) / (2.0 * np.pi * ive(0, SHARP))
    assert float(phases["dcp"][1] - phases["dcp"][0]) == pytest.approx(np.radians(1.0))
    np.testing.assert_allclose(phases["total"], exact, rtol=1e-9, atol=1e-9)
    # All draws agree
    np.testing.assert_allclose(phases["total_error"], 0.0, atol=1e-9)
