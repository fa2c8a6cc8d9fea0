"""Posteriors under other priors, by new weights of the draws of every ordering and octant.

With r = new prior / old prior, a draw of mode m has the weight w = p_m r / (draws of m), where p_m
is the mode's probability under the old priors; the weights are then normalised. Their effective
number, 1 / sum w^2 (Kish 1965), says what is left of the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import arviz as az
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayesxs.errors import InputError
from bayesxs.inference.circle import TURN
from bayesxs.inference.evidence import normalised
from bayesxs.inference.mode_trees import PER_DRAW, mode_priors
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.priors import Flat, Gaussian, Prior, check_prior, log_density
from bayesxs.types import Floats as Float

# A prior, or the log of another one's density, up to a constant, of an array of values
type OtherPrior = Prior | Callable[[Float], Float]

_OWN_NAMES: Final = {public: name for name, public in PUBLIC_NAMES.items()}
_DCP: Final = Flat(-np.pi, np.pi)


@dataclass(frozen=True)
class Reweighted:
    """A posterior under other priors.

    Attributes:
        posterior: group posterior, as many draws as each chain had, chosen with their weights: one
            of a large weight is there several times, so that diagnostics of chains mean nothing.
        probabilities: of each ordering and octant, over mode, and their Monte Carlo error.
        ess: effective number of draws.
    """

    posterior: xr.DataTree
    probabilities: xr.Dataset
    ess: float


def reweighted(
    tree: xr.DataTree, priors: Mapping[str, OtherPrior], rng: np.random.Generator
) -> Reweighted:
    """Return the posterior with other priors in place of those that were sampled.

    Args:
        tree: from `mode_trees.mode_tree`.
        priors: by the names of the posterior; others stay. That of dm31 is one of the size
            |dm31 - c|, c being the tree's attribute ordering_center.
        rng: chooses draws.

    Raises:
        InputError: a parameter that was not free, a flat prior beyond the sampled range, one that
            cannot be normalised, a density that is not a number, or one that leaves no draw.
    """
    drawn = tree["posterior"].to_dataset()
    old = mode_priors(tree) | {"dcp": _DCP}
    log = np.zeros(tuple(drawn["dcp"].sizes[d] for d in ("mode", *PER_DRAW)))
    for name, prior in priors.items():
        if name not in old:
            raise InputError.at("reweighting", "prior", name, f"one of {', '.join(old)}")
        if isinstance(prior, Flat | Gaussian):
            check_prior("reweighting", f"prior of {name}", _OWN_NAMES.get(name, name), prior)
        _check_range(name, prior, old[name])
        values = np.asarray(drawn[name].transpose("mode", *PER_DRAW), float)
        if name == "dm31":
            values = np.abs(values - float(tree.attrs["ordering_center"]))
        log += _log(name, prior, values) - _log(name, old[name], values)
    if not np.any(log > -np.inf):
        raise InputError.at("reweighting", "priors", ", ".join(priors), "must leave some draws")
    per_mode = log[0].size
    sums = logsumexp(log, axis=(1, 2))
    own = tree.dataset
    log_weights = own["log_weight"].values + sums - np.log(per_mode)
    errors = np.hypot(own["log_weight_error"].values, _errors(log))
    share, error = normalised(log_weights, errors)
    within = np.where(np.isfinite(sums), sums, 0.0)[:, None, None]
    weights = share[:, None, None] * np.exp(log - within)
    shape = log.shape[1:]
    chosen = rng.permutation(_resampled(weights.ravel(), shape[0] * shape[1], rng))
    places = (i.reshape(shape) for i in np.unravel_index(chosen, log.shape))
    axes = ("mode", *PER_DRAW)
    at = {axis: xr.DataArray(i, dims=PER_DRAW) for axis, i in zip(axes, places, strict=True)}
    picked = drawn.drop_vars(axes).isel(at)
    numbers = {d: np.arange(n) for d, n in zip(PER_DRAW, shape, strict=True)}
    table = {"probability": ("mode", share), "probability_error": ("mode", error)}
    return Reweighted(
        xr.DataTree.from_dict({"posterior": picked.assign_coords(numbers)}),
        xr.Dataset(table, {"mode": own["mode"].values}),
        kish(weights),
    )


def flat_in_sine(dcp: Float) -> Float:
    """Return log of a density of dcp that is flat in sin(dcp), up to a constant."""
    with np.errstate(divide="ignore"):
        return np.log(np.abs(np.cos(dcp)))


def kish(weights: Float) -> float:
    """Return the effective number of weighted draws, (sum w)^2 / sum w^2 (Kish 1965)."""
    return float(weights.sum() ** 2 / np.sum(weights**2))


def _check_range(name: str, prior: OtherPrior, old: Prior) -> None:
    """Refuse a flat prior where nothing was sampled."""
    if not isinstance(prior, Flat) or not isinstance(old, Flat):
        return
    if prior.low < old.low or prior.high > old.high or prior.low >= prior.high:
        allowed = f"a range within that of the draws, {old.low:g} to {old.high:g}"
        raise InputError.at("reweighting", f"prior of {name}", tuple(prior), allowed)


def _log(name: str, prior: OtherPrior, values: Float) -> Float:
    """Return the log density of a prior at values."""
    if isinstance(prior, Flat):
        inside = (values >= prior.low) & (values <= prior.high)
        return np.where(inside, -np.log(prior.high - prior.low), -np.inf)
    if isinstance(prior, Gaussian):
        if name == "dcp":
            return np.asarray(log_density("dcp", prior, jnp.asarray(values)))
        return -0.5 * ((values - prior.mean) / prior.sd) ** 2 - np.log(prior.sd * np.sqrt(TURN))
    found = np.asarray(prior(values), float)
    if found.shape != values.shape or np.any(np.isnan(found) | (found == np.inf)):
        allowed = f"a function that returns the log density, shape {values.shape}, finite or -inf"
        raise InputError.at("reweighting", "prior", name, allowed)
    return found


def _errors(log: Float) -> Float:
    """Return the Monte Carlo error of each mode's log mean weight, (modes,)."""
    found = []
    for own in log:
        ratio = np.exp(own - own.max()) if np.any(own > -np.inf) else np.zeros_like(own)
        if np.ptp(ratio) == 0.0:
            found.append(0.0)
            continue
        effective = float(az.ess(ratio, method="mean"))
        found.append(float(ratio.std() / ratio.mean() / np.sqrt(effective)))
    return np.array(found)


def _resampled(weights: Float, number: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return places chosen with weights, evenly (Kitagawa 1996): each n w times, up to one."""
    held = np.cumsum(weights) / weights.sum()
    steps = (rng.random() + np.arange(number)) / number
    return np.minimum(np.searchsorted(held, steps), len(weights) - 1)
