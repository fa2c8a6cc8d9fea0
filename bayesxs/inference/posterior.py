"""Posteriors as ArviZ DataTrees: assembly, summaries, diagnostics, and the comparison of two."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from scipy.special import logsumexp
from scipy.stats import wasserstein_distance

from bayesxs.inference.bootstrap import Bootstrap
from bayesxs.inference.channel import FarChannel, log_likelihood, pointwise_log_densities
from bayesxs.inference.model import resolve_octant
from bayesxs.inference.priors import Prior, log_density, prior_box, prior_distribution
from bayesxs.inference.sampling import Draws
from bayesxs.inference.summaries import described, sd_of, summary_of
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Ints, Numbers

# Names of the parameters in results, by their names in the model
PUBLIC_NAMES = {
    "s2_12": "sin2_theta12",
    "s2_13": "sin2_theta13",
    "s2_23": "sin2_theta23",
    "dcp": "dcp",
    "dm21": "dm21",
    "dm31": "dm31",
}


def public_values(values: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Name parameters of the model as in results, and add sin2_2theta23 = 4 s (1 - s)."""
    out = {PUBLIC_NAMES[name]: value for name, value in values.items()}
    if "sin2_theta23" in out:
        s = out["sin2_theta23"]
        out["sin2_2theta23"] = 4.0 * s * (1.0 - s)
    return out


def posterior_tree(
    draws: Draws,
    key: Array,
    nuisances: Sequence[str] = (),
    *,
    first_chain: int = 0,
    first_draw: int = 0,
    priors: Mapping[str, Prior] | None = None,
) -> xr.DataTree:
    """Assemble draws of the far-detector model, the octant drawn where it was marginalised.

    Adds sin2_2theta23 = 4 s (1 - s), and octant_upper_probability, the exact conditional
    probability of s2_23 > 1/2 given the rest of each draw (or its indicator where the octant was
    sampled).

    Args:
        draws: of `far_detector_model`.
        key: random key for the octant, folded with the numbers of chain and draw.
        nuisances: names of the nuisances, in units of whose prior widths the variable "nuisance"
            is.
        first_chain: number of the first chain.
        first_draw: number of the first draw.
        priors: on whose branch a phase is.
    """
    sites = {PUBLIC_NAMES[k]: v for k, v in draws.sites.items() if k in PUBLIC_NAMES}
    chains, length = next(iter(draws.statistics.values())).shape[:2]
    chain, draw = first_chain + np.arange(chains), first_draw + np.arange(length)
    coords: dict[str, object] = {"chain": chain, "draw": draw}
    dims: dict[str, list[str]] = {}
    if "nuisance" in draws.sites:
        sites["nuisance"] = draws.sites["nuisance"]
        coords["nuisance_name"] = list(nuisances)
        dims["nuisance"] = ["nuisance_name"]
    if "s2_23_offset" in draws.sites:
        offset, log_odds = draws.sites["s2_23_offset"], draws.sites["octant_log_odds"]
        s2_23, upper = _resolve_octants(key, chain, draw, offset, log_odds)
        sites |= {"sin2_theta23": np.asarray(s2_23), "octant_upper_probability": np.asarray(upper)}
    elif "sin2_theta23" in sites:
        sites["octant_upper_probability"] = (sites["sin2_theta23"] > 0.5).astype(float)
    if "sin2_theta23" in sites:
        sites["sin2_2theta23"] = 4.0 * sites["sin2_theta23"] * (1.0 - sites["sin2_theta23"])
    tree = az.from_dict(
        {"posterior": sites, "sample_stats": draws.statistics}, coords=coords, dims=dims
    )
    branch = prior_box(priors or {}).get("dcp")
    for name, array in tree["posterior"].data_vars.items():
        described(str(name), array, branch)
    return tree


@jax.jit
def _resolve_octants(
    key: Array, chains: Array, draws: Array, offset: Array, log_odds: Array
) -> tuple[Array, Array]:
    """Draw the octant of each draw with a key of its own."""

    def of_chain(chain: Array, offset: Array, log_odds: Array) -> tuple[Array, Array]:
        keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(key, chain)))(draws)
        return jax.vmap(resolve_octant)(keys, offset, log_odds)

    return jax.vmap(of_chain)(chains, offset, log_odds)


def parameters_of(
    posterior: xr.Dataset, fixed: OscillationParameters, thin: int = 1
) -> OscillationParameters:
    """Return the drawn oscillation parameters, flattened over chains and thinned, others fixed."""
    drawn = {
        name: jnp.asarray(posterior[public].values[:, ::thin].ravel())
        for name, public in PUBLIC_NAMES.items()
        if public in posterior
    }
    return fixed._replace(**drawn)


def nuisances_of(posterior: xr.Dataset, thin: int = 1) -> Array:
    """Return the drawn nuisances, flattened over chains and thinned, shape (draws, q)."""
    if "nuisance" not in posterior:
        return jnp.zeros((posterior.sizes["chain"] * len(posterior.draw[::thin]), 0))
    kept = posterior["nuisance"].isel(draw=slice(None, None, thin))
    values = kept.transpose("chain", "draw", ...).values
    return jnp.asarray(values.reshape(-1, values.shape[-1]))


def batched(
    function: Callable[..., Array],
    parameters: OscillationParameters,
    nuisances: Array | None = None,
    batch: int = 64,
) -> Array:
    """Map a function over arrays of parameters and nuisances, a batch at a time.

    Args:
        function: of `OscillationParameters` with scalar fields and, if there are any, of nuisances
            of shape (q,).
        parameters: fields are scalars or arrays of one length.
        nuisances: shape (length, q).
        batch: evaluations at once.
    """
    arrays = {n: v for n, v in parameters._asdict().items() if np.ndim(v)}
    scalars = {n: v for n, v in parameters._asdict().items() if not np.ndim(v)}

    def one(item: tuple[dict[str, Array], Array | None]) -> Array:
        point = OscillationParameters(**item[0], **scalars)
        return function(point) if nuisances is None else function(point, item[1])

    return jax.lax.map(one, (arrays, nuisances), batch_size=batch)


def add_log_likelihood(
    tree: xr.DataTree, channels: Sequence[FarChannel], fixed: OscillationParameters, places: Ints
) -> None:
    """Attach the log likelihood of every event at some draws of each chain (for LOO, psense).

    Of data in bins it is that of every bin with events: their number times the log density.

    Args:
        tree: with the group posterior.
        channels: data and responses.
        fixed: values of parameters that were not sampled.
        places: of the draws in a chain.
    """
    posterior = tree["posterior"].dataset.isel(draw=places)
    points, nuisances = parameters_of(posterior, fixed), nuisances_of(posterior)
    values = np.asarray(_pointwise(list(channels), points, nuisances))
    values = values * np.concatenate([c.weights for c in channels])
    dims = ("chain", "draw", "event")
    values = values.reshape(*(posterior.sizes[d] for d in dims[:2]), -1)
    coords = {d: posterior[d] for d in dims[:2]}
    data = xr.Dataset({"events": (dims, values.astype(np.float32))}, coords)
    tree["log_likelihood"] = xr.DataTree(data)


# The data are arguments: those of another seed find the same program
@jax.jit
def _pointwise(
    channels: Sequence[FarChannel], points: OscillationParameters, nuisances: Array
) -> Array:
    """Return the log density of every event at some points, shape (points, events)."""
    return batched(
        lambda p, xi: jnp.concatenate(pointwise_log_densities(channels, p, xi)), points, nuisances
    )


@jax.jit
def _log_likelihoods(channels: Sequence[FarChannel], points: OscillationParameters) -> Array:
    return batched(partial(log_likelihood, channels), points)


def add_priors(
    tree: xr.DataTree, priors: Mapping[str, Prior], key: Array, draws: int = 2000
) -> None:
    """Attach draws from the prior as `prior`, and its log density at those of the posterior.

    `log_prior` has a variable for each sampled oscillation parameter, by its public name, and
    nuisance: with them ArviZ's psense and plot_prior_posterior work.

    Args:
        tree: with the group posterior.
        priors: of the free parameters.
        key: random key.
        draws: from the prior.
    """
    posterior = tree["posterior"].dataset
    keys = jax.random.split(key, len(priors) + 1)
    drawn = {
        name: np.asarray(prior_distribution(name, prior).sample(own, (1, draws)))
        for (name, prior), own in zip(priors.items(), keys[1:], strict=True)
    }
    dims = ("chain", "draw")
    own_draws = {n: (dims, v) for n, v in public_values(drawn).items()}
    prior = xr.Dataset(own_draws, {"chain": [0], "draw": np.arange(draws)})
    heights = xr.Dataset(coords={d: posterior[d] for d in dims})
    for name, its in priors.items():
        values = posterior[PUBLIC_NAMES[name]].transpose(*dims).values
        heights[PUBLIC_NAMES[name]] = (dims, np.asarray(_log_density(name, its, values)))
    if "nuisance" in posterior:
        names = posterior["nuisance_name"]
        standard = jax.random.normal(keys[0], (1, draws, len(names)))
        prior["nuisance"] = ((*dims, "nuisance_name"), np.asarray(standard))
        prior = prior.assign_coords(nuisance_name=names.values)
        # One by one: of long chains all of them do not fit into memory
        squares = (posterior["nuisance"].isel(nuisance_name=i) ** 2 for i in range(len(names)))
        length = sum(s.drop_vars("nuisance_name") for s in squares)
        heights["nuisance"] = -0.5 * length - 0.5 * len(names) * np.log(2.0 * np.pi)
    branch = prior_box(priors).get("dcp")
    for public, array in prior.data_vars.items():
        described(str(public), array, branch)
    tree["prior"], tree["log_prior"] = xr.DataTree(prior), xr.DataTree(heights)


_log_density = jax.jit(log_density, static_argnums=(0, 1))


def add_bootstrap(
    tree: xr.DataTree, result: Bootstrap, priors: Mapping[str, Prior] | None = None
) -> None:
    """Attach the estimates of the data and of the replicas as the group `bootstrap`.

    Args:
        tree: of the posterior, or an empty one.
        result: estimates.
        priors: on whose branch a phase is.
    """
    replicas = public_values({n: np.asarray(v) for n, v in result.replicas.items()})
    mle = public_values(result.mle)
    data = xr.Dataset({n: ("replica", v) for n, v in replicas.items()})
    branch = prior_box(priors or {}).get("dcp")
    for name in replicas:
        described(name, data[name], branch)
    data["converged"] = ("replica", result.converged[1:])
    data.attrs = {f"mle_{n}": v for n, v in mle.items()}
    tree["bootstrap"] = xr.DataTree(data)


def summarize(tree: xr.DataTree) -> dict[str, Any]:
    """Return the summary of a posterior by the stable keys of summary.json.

    Per parameter: unit, mean, sd, median, hdi68, hdi90, the Monte Carlo errors of their ends
    hdi68_mcse, hdi90_mcse, the intervals hdi68_parts, hdi90_parts of a region of several, ess_bulk,
    ess_tail, r_hat, and mle and bootstrap_sd where the tree holds a bootstrap;
    octant_upper_probability and divergences of the whole. dcp is summarised on its circle, and
    given on the branch of its prior.
    """
    posterior = tree["posterior"].dataset
    out: dict[str, Any] = {}
    for name in [*PUBLIC_NAMES.values(), "sin2_2theta23"]:
        if name not in posterior:
            continue
        row = summary_of(name, posterior[name])
        if "bootstrap" in tree.children and name in tree["bootstrap"].dataset:
            estimates = tree["bootstrap"].dataset
            row["mle"] = float(estimates.attrs[f"mle_{name}"])
            row["bootstrap_sd"] = float(sd_of(name, estimates[name].values))
        out[name] = row
    if "octant_upper_probability" in posterior:
        out["octant_upper_probability"] = float(posterior["octant_upper_probability"].mean())
    out["divergences"] = int(tree["sample_stats"]["diverging"].sum())
    return out


class Comparison(NamedTuple):
    """Two posteriors on the pooled draws of both: shared draws, one set of weights each."""

    posterior: dict[str, np.ndarray]
    weights: tuple[np.ndarray, np.ndarray]


def pool(
    first: xr.Dataset,
    second: xr.Dataset,
    channels: tuple[Sequence[FarChannel], Sequence[FarChannel]],
    fixed: OscillationParameters,
    thin: int = 1,
) -> Comparison:
    """Weight the union of two posteriors' draws for each of them (balance heuristic).

    A draw of either posterior stands for posterior a with weight L_a/(L_1/Z_1 + L_2/Z_2), the ratio
    of evidences found self-consistently (two-state MBAR, Shirts and Chodera, arXiv:0801.1426).
    Where the posteriors overlap, the Monte Carlo error of their difference cancels; where they do
    not, each keeps its own draws.

    Args:
        first: draws of the first posterior.
        second: draws of the second posterior, same priors.
        channels: data and responses behind each.
        fixed: values of parameters that were not sampled.
        thin: one draw in `thin` is kept.
    """
    points = [parameters_of(posterior, fixed, thin) for posterior in (first, second)]
    heights = np.array(
        [np.concatenate([_log_likelihoods(list(c), p) for p in points]) for c in channels]
    )
    heights -= heights.max(axis=1, keepdims=True)
    counts = np.log([p.chain.size * len(p.draw[::thin]) for p in (first, second)])
    evidence = np.zeros(2)
    for _ in range(200):
        mixture = logsumexp(heights - evidence[:, None] + counts[:, None], axis=0)
        updated = logsumexp(heights - mixture, axis=1)
        if np.allclose(updated, evidence, atol=1e-10):
            break
        evidence = updated
    weights = np.exp(heights - mixture - evidence[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    draws = {
        str(name): np.concatenate([p[name].values[:, ::thin].ravel() for p in (first, second)])
        for name in first.data_vars
    }
    return Comparison(draws, (weights[0], weights[1]))


def side_by_side(first: xr.Dataset, second: xr.Dataset) -> Comparison:
    """Put two posteriors beside each other, each on its own draws."""
    sizes = [p.sizes["chain"] * p.sizes["draw"] for p in (first, second)]
    shared = [str(n) for n in first.data_vars if n in second and first[n].ndim == 2]
    draws = {
        n: np.concatenate([p[n].transpose("chain", "draw").values.ravel() for p in (first, second)])
        for n in shared
    }
    own = np.repeat([1.0 / sizes[0], 0.0], sizes), np.repeat([0.0, 1.0 / sizes[1]], sizes)
    return Comparison(draws, own)


def shift_sigma(comparison: Comparison, names: Sequence[str]) -> dict[str, float]:
    """Return the 1-Wasserstein distance of each marginal over the first posterior's sd."""
    first, second = comparison.weights
    out = {}
    for name in names:
        values = comparison.posterior[name]
        mean = first @ values
        sd = np.sqrt(first @ (values - mean) ** 2)
        out[name] = float(wasserstein_distance(values, values, first, second) / sd)
    return out


def truth_values(fixed: OscillationParameters) -> Mapping[str, float]:
    """Return the parameters under their public names, sin2_2theta23 included."""
    return public_values({name: float(value) for name, value in fixed._asdict().items()})
