"""The far-detector likelihood and its NumPyro model.

log L(theta) = sum over samples and events of log p_FD(event | theta) (arXiv:2412.16303, Eq. 6),
with p_FD = T (phi P(theta)) / (v (phi P(theta))). Events and expected (Asimov) bins differ only in
their weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike
from numpyro.infer.reparam import CircularReparam

from bayesxs.detector.density import Response, Sample
from bayesxs.physics.oscillation import Baseline, NewtonSteps, OscillationParameters, probability

# Singular values of the probability family, over the largest, below which directions are dropped.
# Probabilities and densities then agree with the full ones to about 1e-8.
SPAN_TOLERANCE = 1e-9


class Flat(NamedTuple):
    """Flat prior between two bounds."""

    low: float
    high: float


class Gaussian(NamedTuple):
    """Normal prior, cut at the parameter's physical range."""

    mean: float
    sd: float


type Prior = Flat | Gaussian

PHYSICAL_RANGE: dict[str, tuple[float, float]] = {
    "s2_12": (0.0, 1.0),
    "s2_13": (0.0, 1.0),
    "s2_23": (0.0, 1.0),
    "dcp": (-np.pi, np.pi),
    "dm21": (0.0, np.inf),
    "dm31": (-np.inf, np.inf),
}


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["left", "right", "total", "log_reference", "weights", "energies"],
    meta_fields=["sample", "baseline", "newton_steps"],
)
@dataclass(frozen=True)
class FarChannel:
    """Far-detector data of one sample, its response folded for speed: T phi P = left @ right @ P.

    Attributes:
        left: shape (n, r), rows divided by their unoscillated density.
        right: orthonormal directions of the probabilities that the priors allow, shape (r, E).
        total: v phi, shape (E,).
        log_reference: log of the unoscillated density's numerator, shape (n,).
        weights: multiplicity of each row: 1 for an event, expected counts for Asimov bins, shape
            (n,).
        energies: shared energies in GeV, shape (E,).
        sample: what is counted.
        baseline: length, density, electron fraction.
        newton_steps: of the oscillation probability.
    """

    left: Array
    right: Array
    total: Array
    log_reference: Array
    weights: Array
    energies: Array
    sample: Sample
    baseline: Baseline
    newton_steps: NewtonSteps


def far_channel(
    response: Response,
    flux: ArrayLike,
    energies: ArrayLike,
    weights: ArrayLike,
    sample: Sample,
    baseline: Baseline,
    span: ArrayLike,
    newton_steps: NewtonSteps = 1,
) -> FarChannel:
    """Fold response and flux onto the directions that the probabilities span.

    Args:
        response: T[row, E] and v[E] of the events or bins.
        flux: near-detector flux at the shared energies.
        energies: shared energies in GeV.
        weights: multiplicity of each row.
        sample: what is counted.
        baseline: length, density, electron fraction.
        span: orthonormal rows from `probability_span`, or the identity for no compression.
        newton_steps: of the oscillation probability.

    Raises:
        ValueError: a row with weight has no density at any energy.
    """
    folded = np.asarray(response.rows) * np.asarray(flux)
    reference = folded.sum(axis=1)
    weights = np.asarray(weights, dtype=float)
    dead = np.nonzero((reference <= 0.0) & (weights > 0.0))[0]
    if len(dead):
        raise ValueError(
            f"no density at {len(dead)} of {len(weights)} rows, the first is {dead[0]}"
        )
    alive = weights > 0.0
    left = (folded[alive] / reference[alive, None]) @ np.asarray(span).T
    return FarChannel(
        jnp.asarray(left),
        jnp.asarray(span),
        jnp.asarray(np.asarray(response.total) * np.asarray(flux)),
        jnp.asarray(np.log(reference[alive])),
        jnp.asarray(weights[alive]),
        jnp.asarray(energies),
        sample,
        baseline,
        newton_steps,
    )


def prior_box(priors: Mapping[str, Prior]) -> dict[str, tuple[float, float]]:
    """Return the interval of each free parameter: flat bounds, or eight standard deviations."""
    box = {}
    for name, prior in priors.items():
        low, high = PHYSICAL_RANGE[name]
        if isinstance(prior, Flat):
            box[name] = (prior.low, prior.high)
        elif name == "dcp":  # a circle has no tails
            box[name] = (low, high)
        else:
            box[name] = (
                max(low, prior.mean - 8.0 * prior.sd),
                min(high, prior.mean + 8.0 * prior.sd),
            )
    return box


def probability_span(
    sample: Sample,
    energies: ArrayLike,
    baseline: Baseline,
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    newton_steps: NewtonSteps = 1,
) -> Array:
    """Return orthonormal rows spanning P(E; theta) for all theta in the prior's box, shape (r, E).

    Oscillation probabilities of one channel form a family of few dimensions (about 20 of 144
    energies), found from the singular values of 4000 of them.
    """
    rng = np.random.default_rng(0)  # a fixed cover of the box, not a sample
    box = prior_box(priors)
    drawn = {name: rng.uniform(low, high, (4000, 1)) for name, (low, high) in box.items()}
    points = fixed._replace(**drawn)

    @jax.jit
    def family(points: OscillationParameters) -> Array:
        return probability(
            sample.flavor_in,
            sample.flavor_out,
            points,
            jnp.asarray(energies),
            baseline,
            antineutrino=sample.antineutrino,
            newton_steps=newton_steps,
        )

    _, size, rows = np.linalg.svd(np.atleast_2d(family(points)), full_matrices=False)
    return jnp.asarray(rows[size > SPAN_TOLERANCE * size[0]])


def channel_probability(channel: FarChannel, parameters: OscillationParameters) -> Array:
    """Return the oscillation probability of a channel's sample at its energies."""
    return probability(
        channel.sample.flavor_in,
        channel.sample.flavor_out,
        parameters,
        channel.energies,
        channel.baseline,
        antineutrino=channel.sample.antineutrino,
        newton_steps=channel.newton_steps,
    )


def pointwise_log_density(channel: FarChannel, parameters: OscillationParameters) -> Array:
    """Return log p_FD of every event, p in 1/GeV, shape (n,)."""
    p = channel_probability(channel, parameters)
    ratio = channel.left @ (channel.right @ p)
    # Rounding may fall below zero where an event is impossible at these parameters
    ratio = jnp.maximum(ratio, jnp.finfo(ratio.dtype).tiny)
    return jnp.log(ratio) + channel.log_reference - jnp.log(channel.total @ p)


@jax.jit  # the passes that NumPyro makes over a model before sampling would compile op by op
def log_likelihood(channels: Sequence[FarChannel], parameters: OscillationParameters) -> Array:
    """Return the sum over samples and events of weight times log p_FD."""
    return sum((c.weights @ pointwise_log_density(c, parameters) for c in channels), jnp.zeros(()))


def log_prior(priors: Mapping[str, Prior], parameters: OscillationParameters) -> Array:
    """Return the log prior density of the free parameters, -inf outside their ranges."""
    terms = [_log_density(n, p, jnp.asarray(getattr(parameters, n))) for n, p in priors.items()]
    return sum(terms, jnp.zeros(()))


def _log_density(name: str, prior: Prior, value: Array) -> Array:
    """Log prior density of one parameter, with a finite gradient outside its range too."""
    distribution = prior_distribution(name, prior)
    if isinstance(distribution, dist.VonMises):  # a circle has no outside
        return distribution.log_prob(value)
    valid = distribution.support(value)
    inside = jnp.where(valid, value, jnp.clip(value, *prior_box({name: prior})[name]))
    return jnp.where(valid, distribution.log_prob(inside), -jnp.inf)


def prior_distribution(name: str, prior: Prior) -> dist.Distribution:
    """Return the NumPyro distribution of a prior; the CP phase lives on a circle."""
    if name == "dcp":
        if isinstance(prior, Gaussian):
            return dist.VonMises(prior.mean, 1.0 / prior.sd**2, validate_args=False)
        if prior.high - prior.low >= 2.0 * np.pi - 1e-9:
            return dist.VonMises(0.0, 1e-8, validate_args=False)
    if isinstance(prior, Gaussian):
        low, high = PHYSICAL_RANGE[name]
        bounds = {
            "low": low if np.isfinite(low) else None,
            "high": high if np.isfinite(high) else None,
        }
        return dist.TruncatedNormal(prior.mean, prior.sd, validate_args=False, **bounds)
    return dist.Uniform(prior.low, prior.high, validate_args=False)


def crosses_octants(priors: Mapping[str, Prior]) -> bool:
    """Tell whether s2_23 is free on both sides of 1/2."""
    prior = priors.get("s2_23")
    if prior is None:
        return False
    return isinstance(prior, Gaussian) or prior.low < 0.5 < prior.high


def far_detector_model(
    channels: Sequence[FarChannel],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    marginalize_octant: bool = True,
) -> None:
    """NumPyro model of the far detector; parameters without a prior stay fixed.

    With muon-neutrino disappearance alone s2_23 and 1 - s2_23 are nearly degenerate. The octant is
    summed over exactly: the model samples the offset d of s2_23 from 1/2 under
    sum over s = 1/2 +- d of prior(s) L(s), even and smooth in d, and records the log odds of the
    two signs, from which `resolve_octant` draws s2_23.

    Args:
        channels: data, one entry per sample.
        priors: prior of each free parameter.
        fixed: values of the others.
        marginalize_octant: sum over the octant; False samples s2_23 as it is.
    """
    free: dict[str, Array] = {}
    folded = marginalize_octant and crosses_octants(priors)
    for name, prior in priors.items():
        if name == "s2_23" and folded:
            continue
        distribution = prior_distribution(name, prior)
        if isinstance(distribution, dist.VonMises):
            with numpyro.handlers.reparam(config={name: CircularReparam()}):
                free[name] = numpyro.sample(name, distribution)
        else:
            free[name] = numpyro.sample(name, distribution)
    parameters = fixed._replace(**free)
    if not folded:
        numpyro.factor("far_detector", log_likelihood(channels, parameters))
        return
    low, high = prior_box(priors)["s2_23"]
    width = max(0.5 - low, high - 0.5)
    offset = numpyro.sample("s2_23_offset", dist.Uniform(-width, width))
    branches = _octant_branches(channels, parameters, offset, priors["s2_23"])
    numpyro.deterministic("octant_log_odds", branches[0] - branches[1])
    numpyro.factor("far_detector", logsumexp(branches) + np.log(2.0 * width))


@partial(jax.jit, static_argnames="prior")
def _octant_branches(
    channels: Sequence[FarChannel], parameters: OscillationParameters, offset: Array, prior: Prior
) -> Array:
    """Return log of prior times likelihood at s2_23 = 1/2 + offset and 1/2 - offset."""

    def branch(s2_23: Array) -> Array:
        value = log_likelihood(channels, parameters._replace(s2_23=s2_23))
        return value + _log_density("s2_23", prior, s2_23)

    return jax.vmap(branch)(0.5 + jnp.stack([offset, -offset]))


def resolve_octant(key: Array, offset: ArrayLike, log_odds: ArrayLike) -> tuple[Array, Array]:
    """Draw the octant exactly given the offset; return s2_23 and the probability of s2_23 > 1/2.

    Args:
        key: random key.
        offset: draws of s2_23_offset.
        log_odds: draws of octant_log_odds, log of P(1/2 + offset) over P(1/2 - offset).
    """
    offset, log_odds = jnp.asarray(offset), jnp.asarray(log_odds)
    plus = jax.random.uniform(key, offset.shape) < jax.nn.sigmoid(log_odds)
    upper = jax.nn.sigmoid(jnp.where(offset > 0.0, log_odds, -log_odds))
    return 0.5 + jnp.where(plus, offset, -offset), upper
