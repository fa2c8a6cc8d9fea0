"""Calibration of probabilities: statistics that are standard normal, and what they notice."""

from __future__ import annotations

import numpy as np
import pytest

from bayesxs.inference.calibration import uniformity
from bayesxs.inference.probability_calibration import probabilities


def claims(stretch: float, number: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities whose log odds are stretched, and what happened with the right ones."""
    rng = np.random.default_rng(4)
    odds = rng.normal(0.0, 3.0, number)
    return 1.0 / (1.0 + np.exp(-stretch * odds)), rng.random(number) < 1.0 / (1.0 + np.exp(-odds))


def test_right_probabilities_are_called_right() -> None:
    found = probabilities(*claims(1.0))
    judged = found.judged()
    # A fixed seed; each beyond 3 in one of 370
    assert abs(judged["bias"]) < 3.0 and abs(judged["sharpness"]) < 3.0
    assert sum(b["number"] for b in judged["bins"]) == 4000
    for b in judged["bins"]:
        assert b["low"] <= b["mean"] <= b["high"]
        assert abs(b["fraction"] - b["mean"]) < 4.0 * b["error"]
    assert uniformity(found.pit(np.random.default_rng(1))).inside


def test_probabilities_that_claim_too_much_or_too_little_are_noticed() -> None:
    assert probabilities(*claims(1.3)).judged()["sharpness"] > 5.0
    assert probabilities(*claims(0.7)).judged()["sharpness"] < -5.0
    p, happened = claims(1.0)
    assert probabilities(0.9 * p, happened).judged()["bias"] > 5.0


def test_only_probabilities_are_taken() -> None:
    with pytest.raises(ValueError, match="0 to 1"):
        probabilities([0.5, 1.2], [True, False])
    with pytest.raises(ValueError, match="equally many"):
        probabilities([0.5], [True, False])
