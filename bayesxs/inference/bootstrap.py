"""Maximum likelihood, and its bootstrap over events: the frequentist comparison, vectorised.

Each replica draws as many events as there are, with replacement (arXiv:2412.16303, after Efron),
which is the same as multinomial weights: of events taken one by one each is equally likely, of bins
each in proportion to its count. The estimate maximises
sum_e w_e log p_FD(e | theta, xi) - |xi - xi_0|^2/2, nuisances xi fitted along with the parameters.
Their constraints xi_0 and the means of Gaussian priors stand for measurements, and fluctuate as
these would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from bayesxs.inference.channel import (
    FarChannel,
)
from bayesxs.inference.maximum import Constraints, Estimates, fit
from bayesxs.inference.priors import (
    Gaussian,
    Prior,
)
from bayesxs.inference.thinning import thinned
from bayesxs.keys import generator
from bayesxs.learning.near_term import NearTerm, near_constraint
from bayesxs.physics.oscillation import OscillationParameters

# Replicas fitted at once: few on a CPU, where all wait for the last; many to fill an accelerator
BATCH = 32
ACCELERATOR_BATCH = 250

# Slopes of rows by nuisances that a batch on a CPU holds at most: with dozens of nuisances it takes
# seconds, not minutes without a sign, and few fits wait for a slow one
SLOPES = 2_000_000


class Bootstrap(NamedTuple):
    """Maximum-likelihood estimates of the data and of their bootstrap replicas.

    Attributes:
        mle: estimate from the data themselves, by parameter name.
        replicas: estimates from the bootstrap samples by parameter name, each of shape (replicas,).
        converged: whether each fit, the data's first, ended at a stationary point or a bound.
    """

    mle: dict[str, float]
    replicas: dict[str, np.ndarray]
    converged: np.ndarray


def bootstrap(
    key: Array,
    channels: Sequence[FarChannel],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    start: Mapping[str, float],
    replicas: int,
    record: Callable[[int], None] | None = None,
    near: Sequence[NearTerm] = (),
) -> Bootstrap:
    """Maximise the likelihood of the data and of `replicas` bootstrap samples of the events.

    Args:
        key: random key.
        channels: data, events or counts in bins, one entry per sample.
        priors: free parameters; flat priors are bounds, Gaussian ones enter as penalty terms.
        fixed: values of the others.
        start: where to begin, one value per free parameter.
        replicas: number of bootstrap samples; zero fits the data alone.
        record: called as record(replicas done) from time to time.
        near: likelihoods of the nuisances that near data leave, in a joint model.

    Raises:
        ValueError: weights that are no counts.
    """
    found = fit_replicas(key, channels, priors, fixed, start, range(replicas + 1), record, near)
    return Bootstrap(
        {name: float(found.values[0, i]) for i, name in enumerate(priors)},
        {name: found.values[1:, i] for i, name in enumerate(priors)},
        found.converged,
    )


def fit_replicas(
    key: Array,
    channels: Sequence[FarChannel],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    start: Mapping[str, float],
    numbers: range,
    record: Callable[[int], None] | None = None,
    near: Sequence[NearTerm] = (),
) -> Estimates:
    """Fit bootstrap replicas of given numbers; number 0 is the data themselves.

    Args:
        key: random key.
        channels: data, events or counts in bins, one entry per sample.
        priors: free parameters.
        fixed: values of the others.
        start: where to begin.
        numbers: those of the replicas, one after the other.
        record: called as record(number of the last replica done) from time to time.
        near: likelihoods of the nuisances that near data leave, in a joint model; with the priors
            they are taken as one Gaussian constraint.

    Raises:
        ValueError: weights that are no counts.
    """
    count = max((c.nuisances for c in channels), default=0)
    batch = _batch(channels)
    known = near_constraint(near, count) if near else None
    few = [thinned(channel, priors, fixed) for channel in channels]
    kept = [own.channel for own in few]
    pieces: list[Estimates] = []
    for begin in range(numbers.start, numbers.stop, batch):
        weights = [
            own.weights(
                bootstrap_weights(jax.random.fold_in(key, index), begin, batch, channel.weights)
            )
            for index, (channel, own) in enumerate(zip(channels, few, strict=True))
        ]
        centers = constraint_centers(jax.random.fold_in(key, len(channels)), begin, batch, count)
        means = prior_means(jax.random.fold_in(key, len(channels) + 1), begin, batch, priors)
        constraints: ArrayLike | Constraints = centers
        if known is not None:
            constraints = Constraints(known.mean + centers @ known.root.T, known.precision)
        pieces.append(fit(kept, weights, constraints, priors, fixed, start, means=means))
        if record is not None:
            record(min(begin + batch, numbers.stop) - 1)
    return Estimates(*(np.concatenate(part)[: len(numbers)] for part in zip(*pieces, strict=True)))


def _batch(channels: Sequence[FarChannel]) -> int:
    """Return how many replicas are fitted at once."""
    if jax.default_backend() != "cpu":
        return ACCELERATOR_BATCH
    count = max((c.nuisances for c in channels), default=0)
    slopes = sum(len(c.weights) for c in channels) * count
    return max(1, min(BATCH, SLOPES // max(slopes, 1)))


def bootstrap_weights(key: Array, first: int, number: int, weights: ArrayLike) -> Array:
    """Count how often each row is drawn, shape (number, rows).

    As many events as there are, N = sum w, are drawn with replacement from them: the counts are
    multinomial, of N and w/N. Replica 0 is the data themselves. Replica i depends on `key` and
    first + i only, whatever the batch.

    Args:
        key: random key.
        first: index of the first replica.
        number: how many.
        weights: how many events each row stands for: one, or the count of a bin.

    Raises:
        ValueError: weights that are no counts: of expected or of weighted events it is not known
            how much they fluctuate.
    """
    counts = np.asarray(weights, dtype=float)
    if np.all(counts == 1.0):
        return _even_weights(key, first, number, len(counts))
    if np.any(counts < 0.0) or np.any(counts != np.rint(counts)):
        raise ValueError("bootstrap: weights must be counts, whole numbers of events")
    total = counts.sum()
    shares = counts / max(total, 1.0)
    keys = jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(number))
    drawn = [
        counts if first + i == 0 else generator(own).multinomial(int(total), shares)
        for i, own in enumerate(keys)
    ]
    return jnp.asarray(np.array(drawn, dtype=float))


@partial(jax.jit, static_argnames=("number", "events"))
def _even_weights(key: Array, first: int, number: int, events: int) -> Array:
    """Count how often each of some events is drawn, all of them being equally likely."""

    def one(index: Array) -> Array:
        drawn = jax.random.randint(jax.random.fold_in(key, index), (events,), 0, events)
        resampled = jnp.zeros(events).at[drawn].add(1.0)
        return jnp.where(index == 0, jnp.ones(events), resampled)

    return jax.vmap(one)(first + jnp.arange(number))


@partial(jax.jit, static_argnames=("number", "count"))
def constraint_centers(key: Array, first: int, number: int, count: int) -> Array:
    """Return where each replica's nuisances are constrained to, shape (number, count).

    A nuisance's prior stands for a measurement, which another experiment would have found
    elsewhere: standard normal, but zero for replica 0, the data themselves.
    """

    def one(index: Array) -> Array:
        drawn = jax.random.normal(jax.random.fold_in(key, index), (count,))
        return jnp.where(index == 0, 0.0, drawn)

    return jax.vmap(one)(first + jnp.arange(number))


def prior_means(
    key: Array, first: int, number: int, priors: Mapping[str, Prior]
) -> dict[str, Array]:
    """Return where each replica's Gaussian priors are centered, (number,) by name.

    Normal about the prior's mean with its width; the mean itself for replica 0, the data
    themselves.
    """
    normal = {name: prior for name, prior in priors.items() if isinstance(prior, Gaussian)}
    steps = constraint_centers(key, first, number, len(normal))
    return {n: p.mean + p.sd * steps[:, i] for i, (n, p) in enumerate(normal.items())}
