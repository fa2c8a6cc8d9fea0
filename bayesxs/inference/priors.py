"""Priors of the oscillation parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpyro import distributions as dist

from bayesxs.constants import PHYSICAL_RANGE
from bayesxs.errors import InputError
from bayesxs.inference.circle import TURN, WrappedNormal, on_branch
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats


class Flat(NamedTuple):
    """Flat prior between two bounds.

    Example:
        >>> bayesxs.Flat(2.0e-3, 3.0e-3)
        Flat(low=0.002, high=0.003)
    """

    low: float
    high: float


class Gaussian(NamedTuple):
    """Normal prior, cut at the parameter's physical range; that of the CP phase is wrapped.

    It stands for a measurement, which another experiment would have found elsewhere.

    Example:
        >>> bayesxs.Gaussian(mean=2.5e-3, sd=5e-5)
        Gaussian(mean=0.0025, sd=5e-05)
    """

    mean: float
    sd: float


type Prior = Flat | Gaussian


def check_priors(source: object, priors: Mapping[str, Prior]) -> None:
    """Refuse priors that cannot be normalised or reach beyond what a parameter can be.

    Args:
        source: named in messages.
        priors: by the names of `OscillationParameters`; others, such as density, are above zero.

    Raises:
        InputError: naming the first of them.
    """
    for name, prior in priors.items():
        check_prior(source, f"priors.{name}", name, prior)


def check_prior(source: object, key: str, name: str, prior: object) -> None:
    """Refuse a prior that cannot be normalised or reaches beyond what its parameter can be.

    Args:
        source: named in messages.
        key: what messages call the prior.
        name: of the parameter, as for `check_priors`.
        prior: to be checked.

    Raises:
        InputError: it is one.
    """
    ends = PHYSICAL_RANGE.get(name, (0.0, np.inf))
    if isinstance(prior, Gaussian):
        if not (np.isfinite(prior.mean) and 0.0 < prior.sd < np.inf):
            allowed = "a finite mean, and a standard deviation above 0 and finite"
            raise InputError.at(source, key, tuple(prior), allowed)
    elif not isinstance(prior, Flat):
        raise InputError.at(source, key, prior, "Flat(low, high) or Gaussian(mean, sd)")
    elif not -np.inf < prior.low < prior.high < np.inf:
        allowed = "finite ends, low < high: another prior cannot be normalised"
        raise InputError.at(source, key, tuple(prior), allowed)
    elif name == "dcp":
        if prior.high - prior.low > TURN + 1e-9:
            raise InputError.at(source, key, tuple(prior), "one turn at most")
    elif not ends[0] <= prior.low < prior.high <= ends[1]:
        allowed = f"ends from {ends[0]:g} to {ends[1]:g}"
        raise InputError.at(source, key, tuple(prior), allowed)


def check_truth(
    source: object, priors: Mapping[str, Prior], parameters: OscillationParameters
) -> None:
    """Refuse true values that their flat priors exclude, a phase being on its prior's branch.

    Raises:
        InputError: naming the first of them.
    """
    for name, prior in priors.items():
        value = float(np.asarray(getattr(parameters, name)))
        if isinstance(prior, Flat) and not prior.low <= value <= prior.high:
            allowed = f"within its prior, {prior.low:g} to {prior.high:g}"
            raise InputError.at(source, f"parameters.{name}", value, allowed)


def check_ordering(source: object, priors: Mapping[str, Prior]) -> None:
    """Refuse a prior of dm31 that holds both orderings, between which no chain moves.

    Raises:
        InputError: it does.
    """
    prior = priors.get("dm31")
    if prior is None:
        return
    if isinstance(prior, Flat):
        low, high = prior
    else:
        low, high = prior.mean - 5.0 * prior.sd, prior.mean + 5.0 * prior.sd
    if low < 0.0 < high:
        allowed = "values of one sign: chains do not move between mass orderings; sample each alone"
        raise InputError.at(source, "priors.dm31", tuple(prior), allowed)


def is_circular(name: str, prior: Prior) -> bool:
    """Tell whether a parameter goes round a whole circle: the CP phase, unless it is cut."""
    return name == "dcp" and (isinstance(prior, Gaussian) or prior.high - prior.low >= TURN - 1e-9)


def prior_box(priors: Mapping[str, Prior]) -> dict[str, tuple[float, float]]:
    """Return the interval of each free parameter: flat bounds, or eight standard deviations.

    That of a phase with a Gaussian prior is half a turn to either side of the mean. Draws,
    estimates and true values of a phase are given on this branch.
    """
    box = {}
    for name, prior in priors.items():
        low, high = PHYSICAL_RANGE[name]
        if isinstance(prior, Flat):
            box[name] = (prior.low, prior.high)
        elif is_circular(name, prior):  # a circle has no tails
            box[name] = (prior.mean - np.pi, prior.mean + np.pi)
        else:
            box[name] = (
                max(low, prior.mean - 8.0 * prior.sd),
                min(high, prior.mean + 8.0 * prior.sd),
            )
    return box


def on_prior_branch(
    priors: Mapping[str, Prior], parameters: OscillationParameters
) -> OscillationParameters:
    """Return the same parameters, the phase in the turn that begins where its prior does."""
    if "dcp" not in priors:
        return parameters
    low, _ = prior_box({"dcp": priors["dcp"]})["dcp"]
    return parameters._replace(dcp=on_branch(np.asarray(parameters.dcp, dtype=float), low))


def log_prior(priors: Mapping[str, Prior], parameters: OscillationParameters) -> Array:
    """Return the log prior density of the free parameters, -inf outside their ranges."""
    terms = [log_density(n, p, jnp.asarray(getattr(parameters, n))) for n, p in priors.items()]
    return sum(terms, jnp.zeros(()))


def log_density(name: str, prior: Prior, value: Array) -> Array:
    """Return the log prior density of one parameter, its gradient finite outside its range too."""
    distribution = prior_distribution(name, prior)
    if is_circular(name, prior):  # a circle has no outside
        if isinstance(prior, Flat):
            return jnp.full(jnp.shape(value), -np.log(TURN))
        return distribution.log_prob(value)
    valid = distribution.support(value)
    inside = jnp.where(valid, value, jnp.clip(value, *prior_box({name: prior})[name]))
    return jnp.where(valid, distribution.log_prob(inside), -jnp.inf)


def constraint(name: str, prior: Gaussian, value: Array, measured: ArrayLike) -> Array:
    """Return the log likelihood of the measurement behind a Gaussian prior, up to a constant.

    Args:
        name: of the parameter.
        prior: whose width is the error of the measurement.
        value: of the parameter.
        measured: its result; for the data themselves the mean of the prior.
    """
    if is_circular(name, prior):
        return WrappedNormal(measured, prior.sd).log_prob(value)
    return -0.5 * ((value - measured) / prior.sd) ** 2


def prior_distribution(name: str, prior: Prior) -> dist.Distribution:
    """Return the NumPyro distribution of a prior, whose draws lie in `prior_box`."""
    if isinstance(prior, Flat):
        return dist.Uniform(prior.low, prior.high, validate_args=False)
    if is_circular(name, prior):
        return WrappedNormal(prior.mean, prior.sd, validate_args=False)
    low, high = PHYSICAL_RANGE[name]
    bounds = {
        "low": low if np.isfinite(low) else None,
        "high": high if np.isfinite(high) else None,
    }
    return dist.TruncatedNormal(prior.mean, prior.sd, validate_args=False, **bounds)


def crosses_octants(priors: Mapping[str, Prior]) -> bool:
    """Tell whether s2_23 is free on both sides of 1/2."""
    prior = priors.get("s2_23")
    if prior is None:
        return False
    return isinstance(prior, Gaussian) or prior.low < 0.5 < prior.high


def prior_information(priors: Mapping[str, Prior], nuisances: int) -> Floats:
    """Return the prior information on each parameter, then on each nuisance: 1/variance.

    That of a flat prior is 12/width^2, of a Gaussian one 1/sd^2, of a standard normal nuisance 1.
    """
    variances = [
        (p.high - p.low) ** 2 / 12.0 if isinstance(p, Flat) else p.sd**2 for p in priors.values()
    ]
    return np.concatenate([1.0 / np.array(variances), np.ones(nuisances)])
