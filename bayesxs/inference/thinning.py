"""Few rows that stand for all: interpolation of log densities between events or bins.

Over the box of the priors the log densities f_e(theta) = log p(e | theta) of thousands of rows span
few directions. A few of the rows, i, then give all others,

    f_e(theta) = sum_i f_i(theta) M_ie,    so that    sum_e w_e f_e = sum_i (M w)_i f_i

for whatever weights w there are: data, or bootstrap replicas. The rows come from a QR factorisation
with pivoting, M from least squares, both over a cover of the box (an interpolative decomposition;
Halko, Martinsson and Tropp, arXiv:0909.4061, Sec. 3.2.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy import linalg

from bayesxs.inference.channel import FarChannel, channel_probability, features
from bayesxs.inference.priors import Prior, prior_box
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats

# Rows that stand for all. One number, so that programs are compiled for one shape, whatever the
# data: events or expected bins, with the true or with the learned cross section
KEPT: Final = 160

# Points of the box that the interpolation is fitted to, and others that it is judged by
COVER: Final = 512
PROBES: Final = 128

# Rows among which those that are kept are chosen: all of them are dear, and hardly better
CANDIDATES: Final = 1500

# Largest error of a log-likelihood in the box
TOLERANCE: Final = 1e-5


class Thinned(NamedTuple):
    """A channel of few rows, and what each of the original rows gives to their weights.

    Attributes:
        channel: whose weights are those of the data; they may be negative.
        shares: M^T, shape (rows, kept), with which weights (..., rows) are multiplied; None where
            the rows are the original ones.
    """

    channel: FarChannel
    shares: Array | None = None

    def weights(self, original: Array) -> Array:
        """Return weights of the kept rows from those of the original ones, (..., rows)."""
        return original if self.shares is None else original @ self.shares


def thinned_channels(
    channels: Sequence[FarChannel], priors: Mapping[str, Prior], fixed: OscillationParameters
) -> list[FarChannel]:
    """Return the channels, of few rows where these give the same log-likelihood."""
    return [thinned(channel, priors, fixed).channel for channel in channels]


def thinned(
    channel: FarChannel, priors: Mapping[str, Prior], fixed: OscillationParameters
) -> Thinned:
    """Return a channel of `KEPT` rows whose log-likelihood is the same in the box of the priors.

    It is the channel itself if that has few rows or has nuisances, of which log densities span too
    much, or where the error would exceed `TOLERANCE`: with many free parameters.

    Args:
        channel: data and response.
        priors: of the free parameters.
        fixed: values of the others.
    """
    if channel.nuisances or len(channel.left) <= 2 * KEPT:
        return Thinned(channel)
    rng = np.random.default_rng(0)  # a fixed cover of the box, not a sample
    uniform = rng.uniform(size=(len(priors), COVER + PROBES))
    # Denser towards the edges, as interpolation needs it; the probes are even
    uniform[:, :COVER] = 0.5 - 0.5 * np.cos(np.pi * uniform[:, :COVER])
    logs = _log_densities(channel, priors, fixed, uniform)
    cover, probes = logs[:COVER], logs[COVER:]
    candidates = np.sort(rng.permutation(logs.shape[1])[:CANDIDATES])
    sketch = rng.standard_normal((KEPT + 64, COVER)) @ cover[:, candidates]
    _, _, pivots = linalg.qr(sketch, mode="economic", pivoting=True)
    rows = candidates[pivots[:KEPT]]
    # By QR: the product with a pseudoinverse would lose what is left of the accuracy
    basis, triangle = np.linalg.qr(cover[:, rows])
    shares = linalg.solve_triangular(triangle, basis.T @ cover).T
    weights = np.asarray(channel.weights)
    errors = probes - probes[:, rows] @ shares.T
    # Of the data, and of replicas of them, whose weights fluctuate
    worst = np.abs(errors @ weights).max() + np.sqrt(errors**2 @ weights).max()
    if not worst < TOLERANCE:
        return Thinned(channel)
    kept = weights @ shares
    # One reference for all: it adds to the log-likelihood what those of the rows have added
    reference = weights @ np.asarray(channel.log_reference) / kept.sum()
    few = replace(
        channel,
        left=channel.left[rows],
        weights=jnp.asarray(kept),
        log_reference=jnp.full(KEPT, reference),
    )
    return Thinned(few, jnp.asarray(shares))


def _log_densities(
    channel: FarChannel,
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    uniform: Floats,
) -> Floats:
    """Return log densities over the ones without oscillation, (points, rows)."""
    box = prior_box(priors).items()
    points = {
        name: jnp.asarray(low + (high - low) * own)
        for (name, (low, high)), own in zip(box, uniform, strict=True)
    }
    bare = replace(
        channel,
        left=channel.left[:0],
        weights=channel.weights[:0],
        log_reference=channel.log_reference[:0],
    )
    g, norm = (np.asarray(part) for part in _features(bare, points, fixed))
    densities = np.maximum(g @ np.asarray(channel.left).T, np.finfo(float).tiny)
    return np.log(densities) - np.log(norm)[:, None]


@jax.jit
def _features(
    channel: FarChannel, points: dict[str, Array], fixed: OscillationParameters
) -> tuple[Array, Array]:
    """Return g and its norm at some points, (points, R) and (points,)."""

    def one(point: dict[str, Array]) -> tuple[Array, Array]:
        parameters = fixed._replace(**point)
        g, norm, _, _ = features(channel, channel_probability(channel, parameters), jnp.zeros(0))
        return g, norm

    return jax.vmap(one)(points)
