"""Posteriors as ArviZ DataTrees: assembly, summaries, diagnostics, and the comparison of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from jax.scipy.special import logsumexp
from scipy.stats import wasserstein_distance

from bayesxs.inference.bootstrap import Bootstrap
from bayesxs.inference.channel import FarChannel, log_likelihood, pointwise_log_density
from bayesxs.inference.model import resolve_octant
from bayesxs.inference.sampling import Draws
from bayesxs.physics.oscillation import OscillationParameters

# Names of the parameters in results, by their names in the model
PUBLIC_NAMES = {
    "s2_12": "sin2_theta12",
    "s2_13": "sin2_theta13",
    "s2_23": "sin2_theta23",
    "dcp": "dcp",
    "dm21": "dm21",
    "dm31": "dm31",
}


def public_values(values: Mapping[str, Any]) -> dict[str, Any]:
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
    """
    sites = {PUBLIC_NAMES[k]: v for k, v in draws.sites.items() if k in PUBLIC_NAMES}
    chains, length = next(iter(draws.statistics.values())).shape[:2]
    chain, draw = first_chain + np.arange(chains), first_draw + np.arange(length)
    coords: dict[str, Any] = {"chain": chain, "draw": draw}
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
    return az.from_dict(
        {"posterior": sites, "sample_stats": draws.statistics}, coords=coords, dims=dims
    )


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
    function: Any,
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

    def one(item: Any) -> Array:
        point = OscillationParameters(**item[0], **scalars)
        return function(point) if nuisances is None else function(point, item[1])

    return jax.lax.map(one, (arrays, nuisances), batch_size=batch)


def add_log_likelihood(
    tree: xr.DataTree, channels: Sequence[FarChannel], fixed: OscillationParameters, keep: int = 100
) -> None:
    """Attach the log density of every event at about `keep` draws of each chain (for LOO, WAIC).

    The draws are evenly spaced.
    """
    posterior = tree["posterior"].dataset
    chains, draws = posterior.sizes["chain"], posterior.sizes["draw"]
    thin = max(1, draws // keep)
    points, nuisances = parameters_of(posterior, fixed, thin), nuisances_of(posterior, thin)

    @jax.jit
    def evaluate(points: OscillationParameters, nuisances: Array) -> Array:
        return batched(
            lambda p, xi: jnp.concatenate([pointwise_log_density(c, p, xi) for c in channels]),
            points,
            nuisances,
        )

    values = np.asarray(evaluate(points, nuisances))
    values = values.reshape(chains, -1, sum(len(c.weights) for c in channels))
    dims = ("chain", "draw", "event")
    coords = {"chain": posterior.chain, "draw": posterior.draw[::thin]}
    data = xr.Dataset({"events": (dims, values.astype(np.float32))}, coords)
    data.attrs["note"] = f"every {thin}th draw"
    tree["log_likelihood"] = xr.DataTree(data)


def add_bootstrap(tree: xr.DataTree, result: Bootstrap) -> None:
    """Attach the estimates of the data and of the replicas as the group `bootstrap`."""
    replicas = public_values({n: np.asarray(v) for n, v in result.replicas.items()})
    mle = public_values(result.mle)
    data = xr.Dataset({n: ("replica", v) for n, v in replicas.items()})
    data["converged"] = ("replica", result.converged[1:])
    data.attrs = {f"mle_{n}": v for n, v in mle.items()}
    tree["bootstrap"] = xr.DataTree(data)


def summarize(tree: xr.DataTree) -> dict[str, Any]:
    """Return the summary of a posterior by the stable keys of summary.json.

    Per parameter: mean, sd, median, hdi68, hdi90, ess_bulk, ess_tail, r_hat, and mle and
    bootstrap_sd where the tree holds a bootstrap; octant_upper_probability and divergences of the
    whole. dcp is summarised on its circle.
    """
    posterior = tree["posterior"].dataset
    out: dict[str, Any] = {}
    for name in [*PUBLIC_NAMES.values(), "sin2_2theta23"]:
        if name not in posterior:
            continue
        values = posterior[name].values
        circular = name == "dcp"
        flat = values.ravel()
        mean, sd, median = _circular_moments(flat) if circular else _moments(flat)
        out[name] = {"mean": mean, "sd": sd, "median": median}
        for percent in (68, 90):
            out[name][f"hdi{percent}"] = _interval(flat, percent / 100, circular)
        # On a circle mixing shows in the sine, which has no seam
        mixing = np.sin(values) if circular else values
        out[name] |= {
            "ess_bulk": float(az.ess(mixing, method="bulk")),
            "ess_tail": float(az.ess(mixing, method="tail", prob=(0.05, 0.95))),
            "r_hat": float(az.rhat(mixing)),
        }
        if "bootstrap" in tree.children and name in tree["bootstrap"].dataset:
            estimates = tree["bootstrap"].dataset
            out[name]["mle"] = float(estimates.attrs[f"mle_{name}"])
            out[name]["bootstrap_sd"] = float(estimates[name].std(ddof=1))
    if "octant_upper_probability" in posterior:
        out["octant_upper_probability"] = float(posterior["octant_upper_probability"].mean())
    out["divergences"] = int(tree["sample_stats"]["diverging"].sum())
    return out


def _moments(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.mean()), float(values.std(ddof=1)), float(np.median(values))


def _circular_moments(values: np.ndarray) -> tuple[float, float, float]:
    """Mean direction, circular standard deviation, and median about the mean direction, rad."""
    resultant = np.exp(1j * values).mean()
    mean = np.angle(resultant)
    offset = np.angle(np.exp(1j * (values - mean)))
    median = np.angle(np.exp(1j * (mean + np.median(offset))))
    return float(mean), float(np.sqrt(-2.0 * np.log(np.abs(resultant)))), float(median)


def _interval(values: np.ndarray, mass: float, circular: bool) -> list[float]:
    """Shortest interval of the given mass; on a circle it may run through +-pi (low > high)."""
    return [float(v) for v in az.hdi(values, prob=mass, circular=circular)]


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
        thin: keep every so-many-th draw.
    """
    likelihood = jax.jit(lambda c, p: batched(lambda one: log_likelihood(c, one), p))
    points = [parameters_of(posterior, fixed, thin) for posterior in (first, second)]
    heights = np.array([np.concatenate([likelihood(list(c), p) for p in points]) for c in channels])
    heights -= heights.max(axis=1, keepdims=True)
    counts = np.log([p.chain.size * len(p.draw[::thin]) for p in (first, second)])
    evidence = np.zeros(2)
    for _ in range(200):
        mixture = logsumexp(heights - evidence[:, None] + counts[:, None], axis=0)
        updated = np.asarray(logsumexp(heights - mixture, axis=1))
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
