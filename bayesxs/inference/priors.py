"""Priors of the oscillation parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from numpyro import distributions as dist

from bayesxs.physics.oscillation import OscillationParameters


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


def log_prior(priors: Mapping[str, Prior], parameters: OscillationParameters) -> Array:
    """Return the log prior density of the free parameters, -inf outside their ranges."""
    terms = [log_density(n, p, jnp.asarray(getattr(parameters, n))) for n, p in priors.items()]
    return sum(terms, jnp.zeros(()))


def log_density(name: str, prior: Prior, value: Array) -> Array:
    """Return the log prior density of one parameter, its gradient finite outside its range too."""
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


def prior_information(priors: Mapping[str, Prior], nuisances: int) -> NDArray[np.float64]:
    """Return what priors tell of each parameter, then of each nuisance: one over the variance.

    That of a parameter is 12/width^2 of its box, of a standard normal nuisance 1.
    """
    widths = [high - low for low, high in prior_box(priors).values()]
    return np.concatenate([12.0 / np.square(widths), np.ones(nuisances)])
