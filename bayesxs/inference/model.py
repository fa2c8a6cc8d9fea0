"""The NumPyro model of the far detector: oscillation parameters and nuisances, one posterior."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike
from numpyro import distributions as dist
from numpyro.distributions import constraints

from bayesxs.inference.channel import FarChannel, log_likelihood
from bayesxs.inference.circle import on_branch
from bayesxs.inference.priors import (
    Gaussian,
    Prior,
    crosses_octants,
    is_circular,
    log_density,
    prior_box,
    prior_distribution,
)
from bayesxs.inference.sampling import NutsSampler, SamplerSettings, curvature_covariance
from bayesxs.learning.near_term import NearTerm, near_constraint, near_log_prob
from bayesxs.physics.oscillation import OscillationParameters

# Part of a prior's width by which chains that would start on its edge start inside
EDGE = 1e-3


def far_detector_model(
    channels: Sequence[FarChannel],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    marginalize_octant: bool = True,
    near: Sequence[NearTerm] = (),
) -> None:
    """NumPyro model of the far detector; parameters without a prior stay fixed.

    Nuisances, if the channels have any, are the site "nuisance": independent standard normals,
    shared by all channels.

    With muon-neutrino disappearance alone s2_23 and 1 - s2_23 are nearly degenerate. The octant is
    summed over exactly: the model samples the offset d of s2_23 from 1/2 under
    sum over s = 1/2 +- d of prior(s) L(s), even and smooth in d, and records the log odds of the
    two signs, from which `resolve_octant` draws s2_23.

    Args:
        channels: data, one entry per sample.
        priors: prior of each free parameter.
        fixed: values of the others.
        marginalize_octant: sum over the octant; False samples s2_23 as it is.
        near: likelihoods of the nuisances that near data leave, in a joint model of both detectors;
            the factor "near_detector".
    """
    folded = marginalize_octant and crosses_octants(priors)
    parameters = _sampled(priors, fixed, folded)
    nuisances = _sampled_nuisances(max((c.nuisances for c in channels), default=0))
    if nuisances is not None and near:
        numpyro.factor("near_detector", near_log_prob(near, nuisances))
    if not folded:
        numpyro.factor("far_detector", log_likelihood(channels, parameters, nuisances))
        return
    low, high = prior_box(priors)["s2_23"]
    width = max(0.5 - low, high - 0.5)
    offset = numpyro.sample("s2_23_offset", dist.Uniform(-width, width))
    branches = _octant_branches(channels, parameters, nuisances, offset, priors["s2_23"])
    numpyro.deterministic("octant_log_odds", branches[0] - branches[1])
    numpyro.factor("far_detector", logsumexp(branches) + np.log(2.0 * width))


def predictive_model(
    distribution: Callable[[OscillationParameters, Array | None], dist.Distribution],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    nuisances: int = 0,
    marginalize_octant: bool = True,
) -> None:
    """NumPyro model of data that are not observed, for `numpyro.infer.Predictive`.

    It has the sites of `far_detector_model`, and the site "far", which is drawn. Of draws of that
    model's posterior, the octant is that of its log odds; without any, that of the prior: with the
    offset s - 1/2 of a draw s of the prior, both signs are as probable as prior(s) says.

    Args:
        distribution: of the data at parameters and nuisances.
        priors: as for `far_detector_model`, and so are the others.
        fixed: values of parameters without a prior.
        nuisances: their number.
        marginalize_octant: as in the model that was sampled.
    """
    folded = marginalize_octant and crosses_octants(priors)
    parameters = _sampled(priors, fixed, folded)
    eta = _sampled_nuisances(nuisances)
    if folded:
        own = priors["s2_23"]
        shifted = dist.transforms.AffineTransform(-0.5, 1.0)
        offset = numpyro.sample(
            "s2_23_offset",
            dist.TransformedDistribution(prior_distribution("s2_23", own), shifted),
        )
        heights = [log_density("s2_23", own, 0.5 + side * offset) for side in (1.0, -1.0)]
        odds = numpyro.sample("octant_log_odds", dist.Delta(heights[0] - heights[1]))
        plus = numpyro.sample("octant_plus", dist.Bernoulli(logits=odds))
        s2_23 = jnp.where(plus == 1, 0.5 + offset, 0.5 - offset)
        parameters = parameters._replace(s2_23=numpyro.deterministic("s2_23", s2_23))
    numpyro.sample("far", distribution(parameters, eta))


def _sampled(
    priors: Mapping[str, Prior], fixed: OscillationParameters, folded: bool
) -> OscillationParameters:
    """Sample every free parameter, but s2_23 where its octant is summed over."""
    free: dict[str, Array] = {}
    for name, prior in priors.items():
        if name == "s2_23" and folded:
            continue
        if is_circular(name, prior):
            free[name] = _phase(name, prior)
        else:
            free[name] = numpyro.sample(name, prior_distribution(name, prior))
    return fixed._replace(**_within(priors, free))


def _sampled_nuisances(count: int) -> Array | None:
    """Sample nuisances, if there are any."""
    if not count:
        return None
    standard = dist.Normal(jnp.zeros(count), 1.0).to_event(1)
    return jnp.asarray(numpyro.sample("nuisance", standard))


def _within(priors: Mapping[str, Prior], free: Mapping[str, Array]) -> dict[str, Array]:
    """Move parameters to the box of the priors, within which likelihoods are compressed.

    Gaussian priors reach beyond it, where compression may be wrong by any amount: the likelihood
    stays as it is at the edge, and the prior, below by exp(-32) there, leads back.
    """
    box = prior_box({n: p for n, p in priors.items() if isinstance(p, Gaussian)})
    return {
        name: jnp.clip(value, *box[name])
        if name in box and not is_circular(name, priors[name])
        else value
        for name, value in free.items()
    }


def _phase(name: str, prior: Prior) -> Array:
    """Sample an angle as a number on the line, and give it on the branch of its prior.

    NumPyro's CircularReparam does the same, on the branch from -pi always.
    """
    line = numpyro.sample(f"{name}_unwrapped", dist.ImproperUniform(constraints.real, (), ()))
    angle = numpyro.deterministic(name, on_branch(line, prior_box({name: prior})[name][0]))
    numpyro.factor(f"{name}_prior", log_density(name, prior, angle))
    return angle


def initial_values(
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    nuisances: int = 0,
    marginalize_octant: bool = True,
    near: Sequence[NearTerm] = (),
) -> dict[str, Array]:
    """Return where chains of `far_detector_model` start: at `fixed`, all nuisances zero.

    In a joint model they start where near data and the nuisances' priors are largest.

    A value on the edge of its prior, such as an angle that vanishes, starts a thousandth of the
    prior's width inside: the sampler's coordinates have no edges.

    Args:
        priors: prior of each free parameter.
        fixed: values of all parameters.
        nuisances: their number.
        marginalize_octant: as for the model.
        near: as for the model.
    """
    box = prior_box(priors)
    start = {}
    for name, prior in priors.items():
        value = jnp.asarray(getattr(fixed, name))
        if is_circular(name, prior):
            start[f"{name}_unwrapped"] = value
        else:
            low, high = box[name]
            margin = EDGE * (high - low)
            value = jnp.where(value <= low, low + margin, value)
            start[name] = jnp.where(value >= high, high - margin, value)
    if marginalize_octant and crosses_octants(priors):
        start["s2_23_offset"] = start.pop("s2_23") - 0.5
    if nuisances:
        known = near_constraint(near, nuisances).mean if near else None
        start["nuisance"] = jnp.zeros(nuisances) if known is None else known
    return start


@partial(jax.jit, static_argnames="prior")
def _octant_branches(
    channels: Sequence[FarChannel],
    parameters: OscillationParameters,
    nuisances: Array | None,
    offset: Array,
    prior: Prior,
) -> Array:
    """Return log of prior times likelihood at s2_23 = 1/2 + offset and 1/2 - offset."""

    def branch(s2_23: Array) -> Array:
        value = log_likelihood(channels, parameters._replace(s2_23=s2_23), nuisances)
        return value + log_density("s2_23", prior, s2_23)

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


def sampler_of(
    model: Callable[..., None],
    arguments: tuple[object, ...],
    settings: SamplerSettings,
    start: dict[str, Array],
) -> NutsSampler:
    """Return a sampler of a model of the far detector.

    Nuisances are of many sizes in units of what data leave of them: with them, the mass matrix
    starts from the curvature at the start.

    Args:
        model: such as `far_detector_model`.
        arguments: of the model, shaped like those that it will be sampled with.
        settings: chains and their lengths.
        start: from `initial_values`.
    """
    covariance = curvature_covariance(model, start, arguments) if "nuisance" in start else None
    return NutsSampler(model, settings, start, covariance)
