"""Choice of modes: what is left out moves neither errors of parameters nor counts."""

from __future__ import annotations

import numpy as np
import pytest

from bayesxs.inference.mode_choice import (
    LOST_COUNTS,
    LOST_ERROR,
    directions_that_matter,
    shared_with_modes,
)

WANTED = [0, 2]
BLOCKS = (slice(0, 25), slice(25, 40), slice(40, 40))
PRECISION = np.array([0.0, 4.0, 0.0, 1.0])


def errors(slopes: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Return standard errors with modes in the covariance of the counts, without their slopes."""
    covariance = np.eye(len(slopes)) + moves @ moves.T
    information = slopes.T @ np.linalg.solve(covariance, slopes) + np.diag(PRECISION)
    return np.sqrt(np.diag(np.linalg.inv(information)))[WANTED]


@pytest.mark.parametrize("size", [0.05, 0.5, 20.0])
def test_errors_and_counts_stay(size: float) -> None:
    """Of modes that the data say little of, and of such as they measure."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(3, 60, 4)) * [8.0, 1.0, 5.0, 2.0]
    falling = size * 0.65 ** np.concatenate([np.arange(25), np.arange(15)])
    moved = falling[:, None, None] * rng.normal(size=(40, 3, 60)) / np.sqrt(60)
    rows = [shared_with_modes(s, moved[:, n].T, PRECISION, WANTED) for n, s in enumerate(points)]
    lost = LOST_ERROR, LOST_COUNTS
    mean = moved / np.sqrt(3)
    kept = directions_that_matter(np.concatenate(rows), mean, BLOCKS, lost)
    assert [own.shape[1] for own in kept] == [25, 15, 0] and kept[2].shape == (0, 0)
    assert sum(map(len, kept)) < 35
    turned = np.zeros((sum(map(len, kept)), 40))
    turned[: len(kept[0]), :25], turned[len(kept[0]) :, 25:] = kept[0], kept[1]
    np.testing.assert_allclose(turned @ turned.T, np.eye(len(turned)), atol=1e-12)
    left_out = np.eye(40) - turned.T @ turned
    assert np.linalg.norm(np.einsum("kl,lpb->kpb", left_out, mean)) < LOST_COUNTS
    # C_dd of what is left out is at least 1/(1 + m^2), at a point whose squares are thrice the mean
    allowed = LOST_ERROR * np.sqrt(1.0 + 3.0 * LOST_COUNTS**2)
    for n, slopes in enumerate(points):
        everything, few = errors(slopes, moved[:, n].T), errors(slopes, moved[:, n].T @ turned.T)
        assert np.all(np.sqrt(np.maximum(everything**2 - few**2, 0.0)) < allowed * everything)


def test_nothing_is_kept_of_what_moves_nothing() -> None:
    shared, moved = np.zeros((2, 5)), np.zeros((5, 7))
    found = directions_that_matter(shared, moved, [slice(0, 5)], (LOST_ERROR, LOST_COUNTS))
    assert found[0].shape == (0, 5)
