"""Fewer bins for pseudo-experiments: those that say the same about the parameters are merged.

The multinomial likelihood of merged bins is exact; only information is lost. Of a score
s = d log p / d(theta, xi) merged bins keep the mean, so that

    lost = N sum over merged bins c, sum over bins i of c: p_i (s_i - s_c)(s_i - s_c)^T,

the part of the expected (Fisher) information N sum_i p_i s_i s_i^T between bins that become one.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import eigh

from bayesxs.inference.channel import FarChannel, scores_and_densities
from bayesxs.inference.compression import interpolation
from bayesxs.inference.priors import Prior, prior_distribution, prior_information
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats, Ints

# Draws from the prior at which information is asked for
POINTS: Final = 64


def bin_groups(
    channels: Sequence[FarChannel],
    sizes: Sequence[int],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    loss: float,
) -> tuple[Ints, ...]:
    """Group the bins of each channel so that merging them loses little information.

    Groups are split at the best place along the main direction of their scores, those that lose
    most first. Information is relative to that of data and prior together, and its loss the average
    over draws from the prior.

    Args:
        channels: bins of each sample.
        sizes: events of each sample.
        priors: of the free parameters; nuisances are standard normal.
        fixed: values of the other parameters.
        loss: part of the information that may be lost.

    Returns:
        The number of its group for each bin, counted within each channel.
    """
    counts, scores = _information(channels, sizes, priors, fixed)
    ends = np.cumsum([len(c.weights) for c in channels])
    whole = [np.arange(end - len(c.weights), end) for c, end in zip(channels, ends, strict=True)]
    groups = [(-_lost(counts[:, g], scores[:, g]), int(g[0]), g) for g in whole]
    heapq.heapify(groups)
    lost = total = -sum(group[0] for group in groups)
    while lost > loss * total and groups[0][0] < 0.0:
        before, _, members = heapq.heappop(groups)
        lost += before
        for half in _halves(counts[:, members], scores[:, members]):
            part = members[half]
            own = _lost(counts[:, part], scores[:, part])
            lost += own
            heapq.heappush(groups, (-own, int(part[0]), part))
    labels = np.empty(ends[-1], dtype=np.int64)
    for number, (_, _, members) in enumerate(sorted(groups, key=lambda group: group[1])):
        labels[members] = number
    return tuple(np.unique(labels[members], return_inverse=True)[1] for members in whole)


def merged(channel: FarChannel, groups: Ints) -> FarChannel:
    """Return a channel of merged bins, which sees its energies at the knots only.

    Args:
        channel: bins of one sample.
        groups: number of its group for each bin, from 0 without gaps.
    """
    reference, left = np.exp(np.asarray(channel.log_reference)), np.asarray(channel.left)
    core, weights = np.asarray(channel.core), np.asarray(channel.weights)
    together = np.eye(groups.max() + 1)[:, groups]
    sums = together @ reference
    left = (together @ (reference[:, None] * left)) / sums[:, None]
    if len(left) < left.shape[1]:
        left, core = np.eye(len(left)), np.einsum("gR,mRr->mgr", left, core)
    # Probabilities, also times flux modes, follow everywhere from their values at the knots
    knots, lift = interpolation(channel.right)
    return replace(
        channel,
        left=jnp.asarray(left),
        core=jnp.asarray(core),
        right=channel.right @ lift,
        total=channel.total @ lift,
        flux_modes=channel.flux_modes[:, knots],
        log_reference=jnp.log(sums),
        weights=jnp.asarray(together @ weights),
        lift=jnp.eye(len(knots)),
    )


def _information(
    channels: Sequence[FarChannel],
    sizes: Sequence[int],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
) -> tuple[Floats, Floats]:
    """Return expected counts (points, bins) and scores in units of their errors (..., k)."""
    keys = jax.random.split(jax.random.key(0), len(priors) + 1)  # a fixed cover of the prior
    drawn = [
        np.asarray(prior_distribution(name, prior).sample(key, (POINTS,)))
        for (name, prior), key in zip(priors.items(), keys[1:], strict=True)
    ]
    xi = np.asarray(jax.random.normal(keys[0], (POINTS, channels[0].nuisances)))
    points = np.concatenate([np.stack(drawn, axis=1), xi], axis=1)
    all_counts, all_scores = [], []
    for channel, size in zip(channels, sizes, strict=True):
        slopes, densities = scores_and_densities((channel,), points, fixed, tuple(priors))
        shares = np.exp(densities)
        shares /= shares.sum(axis=1, keepdims=True)
        all_counts.append(size * shares)
        all_scores.append(_about_mean(shares, slopes))
    counts, scores = (np.concatenate(part, axis=1) for part in (all_counts, all_scores))
    prior = np.diag(prior_information(priors, xi.shape[1]))
    information = np.einsum("mn,mnk,mnl->mkl", counts, scores, scores) + prior
    unit = np.linalg.inv(np.linalg.cholesky(information))
    return counts, np.einsum("mlk,mnk->mnl", unit, scores)


def _about_mean(counts: Floats, scores: Floats) -> Floats:
    mean = np.einsum("mn,mnk->mk", counts, scores) / counts.sum(axis=1)[:, None]
    return scores - mean[:, None]


def _lost(counts: Floats, scores: Floats) -> float:
    """Return the information between bins, summed over points and directions."""
    if counts.shape[1] == 1:
        return 0.0
    apart = _about_mean(counts, scores)
    return float(np.einsum("mn,mnk,mnk->", counts, apart, apart))


def _halves(counts: Floats, scores: Floats) -> tuple[Ints, Ints]:
    """Split bins in two, so that scores along their main direction vary least in each."""
    weight = counts.mean(axis=0)
    apart = _about_mean(counts, scores).transpose(1, 0, 2).reshape(len(weight), -1)
    scaled = np.sqrt(weight)[:, None] * apart
    last = len(weight) - 1
    _, main = eigh(scaled @ scaled.T, subset_by_index=(last, last))
    along = main[:, 0] / np.sqrt(weight)
    order = np.argsort(along, kind="stable")
    mass, moment = np.cumsum(weight[order]), np.cumsum((weight * along)[order])
    between = moment[:-1] ** 2 / mass[:-1] + (moment[-1] - moment[:-1]) ** 2 / (
        mass[-1] - mass[:-1]
    )
    first = int(np.argmax(between)) + 1
    return np.sort(order[:first]), np.sort(order[first:])
