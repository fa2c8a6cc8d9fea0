"""Results of a posterior over orderings and octants, with Monte Carlo errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from scipy.signal import resample
from scipy.special import logsumexp

from bayesxs.inference.circle import TURN
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.evidence import Evidence
from bayesxs.inference.fixed_phase import phase_factor
from bayesxs.inference.mode_sampling import ModeDraws
from bayesxs.inference.modes import Mode, ModePosterior
from bayesxs.inference.reweighting import Reweighted, flat_in_sine, kish
from bayesxs.inference.summaries import summary_of
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

GRID: Final = 360  # phases, a multiple of two: 0 and pi are among them
# Phases at which likelihoods are evaluated. Probabilities hold the first and second harmonic of
# dcp alone (Kimura, Takamura and Yokomakura 2002, Phys. Rev. D 66, 073005), and logarithms of
# counts few more: the likelihood elsewhere follows by Fourier interpolation
_EVALUATED: Final = 72
_DRAWS: Final = 200  # of each mode, whose conditional densities are averaged
_PERCENTS: Final = (68, 95)


def phase_density(posterior: ModePosterior, draws: ModeDraws) -> xr.Dataset:
    """Return the posterior density of dcp on the circle, averaged over conditional densities.

    p(dcp | data) is the mean over draws of p(dcp | data, all others) (Gelfand and Smith 1990,
    J. Am. Stat. Assoc. 85, 398, eq. 2.5), each from the likelihood around the circle.

    Returns:
        Over mode and dcp (rad, from -pi): density of each mode and error, its Monte Carlo error;
        total, over dcp, and total_error.
    """
    dcp = np.linspace(-np.pi, np.pi, GRID, endpoint=False)
    evaluated = jnp.linspace(-np.pi, np.pi, _EVALUATED, endpoint=False)
    density, error = [], []
    for mode, z in zip(draws.modes, draws.z, strict=True):
        flat = z.reshape(-1, z.shape[-1])
        step = max(1, len(flat) // _DRAWS)
        own = Mode(*map(jnp.asarray, mode))
        log = np.asarray(_around(posterior, own, jnp.asarray(flat[::step]), evaluated))
        log = resample(log, GRID, axis=1)
        p = np.exp(log - log.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True) * TURN / GRID
        density.append(p.mean(axis=0))
        error.append(p.std(axis=0) / np.sqrt(len(p)))
    weights = draws.probabilities
    total = weights @ np.array(density)
    total_error = np.sqrt(weights**2 @ np.array(error) ** 2)
    return xr.Dataset(
        {
            "density": (("mode", "dcp"), np.array(density)),
            "error": (("mode", "dcp"), np.array(error)),
            "total": ("dcp", total),
            "total_error": ("dcp", total_error),
        },
        {"dcp": dcp, "mode": [mode.name for mode in draws.modes]},
    )


@jax.jit
def _around(posterior: ModePosterior, mode: Mode, z: Array, dcp: Array) -> Array:
    """Return log L of each draw at each phase, (draws, phases)."""

    def one(z: Array) -> Array:
        return jax.vmap(lambda phase: posterior.log_likelihood(mode, z, phase))(dcp)

    return jax.lax.map(one, z)


def weighted_interval(values: Float, weights: Float, mass: float) -> list[float]:
    """Return the shortest interval that holds a part of weighted draws."""
    order = np.argsort(values)
    ordered, held = values[order], np.cumsum(weights[order]) / weights.sum()
    ends = np.searchsorted(held, held + mass)
    inside = np.flatnonzero(ends < len(ordered))
    widths = ordered[ends[inside]] - ordered[inside]
    best = inside[int(np.argmin(widths))]
    return [float(ordered[best]), float(ordered[ends[best]])]


def summarise_modes(
    posterior: ModePosterior, draws: ModeDraws, tree: xr.DataTree, rng: np.random.Generator
) -> dict[str, Any]:
    """Return probabilities, Bayes factors, intervals and diagnostics as plain numbers.

    Args:
        posterior: what was sampled.
        draws: of the modes.
        tree: from `mixed_tree`.
        rng: of the evidences at dcp = 0 and pi.
    """
    chosen = tree["posterior"].to_dataset()
    jarlskog, dcp = chosen["jarlskog"].values.ravel(), chosen["dcp"].values.ravel()
    sine, even = np.exp(flat_in_sine(dcp)), np.ones_like(dcp)
    return {
        "modes": [_mode(draws, i) for i in range(len(draws.modes))],
        "log_bayes_factor": {
            "normal_over_inverted": _pair(draws.log_bayes_factor(lambda m: bool(m.ordering > 0))),
            **(
                {"upper_over_lower": _pair(draws.log_bayes_factor(lambda m: bool(m.upper)))}
                if len({mode.upper for mode in draws.modes}) > 1
                else {}
            ),
            "dcp_0": _pair(phase_factor(posterior, draws, 0.0, rng)),
            "dcp_pi": _pair(phase_factor(posterior, draws, np.pi, rng)),
        },
        "jarlskog": {
            "flat_in_dcp": _intervals(jarlskog, even) | {"ess": float(len(dcp))},
            "flat_in_sin_dcp": _intervals(jarlskog, sine) | {"ess": kish(sine)},
        },
        "parameters": {
            name: summary_of(str(name), chosen[name], _PERCENTS)
            for name in chosen.data_vars
            if name not in ("nuisance", "ordering", "jarlskog") and np.ptp(chosen[name].values) > 0
        },
        "nuisances": [
            {"name": n.name, "group": n.group, "mean": float(v.mean()), "sd": float(v.std())}
            for n, v in zip(
                posterior.likelihood.nuisances,
                np.moveaxis(chosen["nuisance"].values, -1, 0),
                strict=True,
            )
        ],
        "divergences": int(draws.statistics["diverging"].sum()),
        "ess_bulk_least": min(_mode(draws, i)["ess_bulk_least"] for i in range(len(draws.modes))),
        "r_hat_largest": max(_mode(draws, i)["r_hat_largest"] for i in range(len(draws.modes))),
    }


def summarise_reweighted(found: Reweighted) -> dict[str, Any]:
    """Return probabilities, intervals of dcp and the effective number of draws, under a prior."""
    share = found.probabilities["probability"].to_series()
    dcp = found.posterior["posterior"].dataset["dcp"]
    own = summary_of("dcp", dcp, _PERCENTS)
    return {
        "normal": min(1.0, float(share[[n.startswith("normal") for n in share.index]].sum())),
        "upper": min(1.0, float(share[[n.endswith("upper") for n in share.index]].sum())),
        "ess": found.ess,
        "dcp": {
            n: v
            for n, v in own.items()
            if n in ("unit", "mean", "sd", "hdi68", "hdi95", "hdi68_parts", "hdi95_parts")
        },
    }


def _mode(draws: ModeDraws, i: int) -> dict[str, Any]:
    mode, evidence = draws.modes[i], draws.evidences[i]
    weights = draws.log_weights
    dims = ("chain", "draw")
    lines = xr.Dataset(
        {
            "z": ((*dims, "number"), draws.z[i]),
            # Of an angle, what rotates with it: a circle has no mean
            "cosine": (dims, np.cos(draws.dcp[i])),
            "sine": (dims, np.sin(draws.dcp[i])),
        }
    )
    return {
        "ordering": "normal" if mode.ordering > 0 else "inverted",
        "octant": "upper" if mode.upper else "lower",
        "probability": float(draws.probabilities[i]),
        "probability_error": float(draws.errors[i]),
        # Of what is less probable than the least number
        "log_probability": float(weights[i] - logsumexp(weights)),
        "log_evidence": evidence.log,
        "log_evidence_error": evidence.error,
        "divergences": int(draws.statistics["diverging"][i].sum()),
        "ess_bulk_least": _extreme(az.ess(lines, method="bulk"), np.min),
        "r_hat_largest": _extreme(az.rhat(_halved(lines)), np.max),
    }


def _halved(lines: xr.Dataset) -> xr.Dataset:
    """Return chains to be compared: of a single one its halves."""
    if lines.sizes["chain"] > 1:
        return lines
    half = lines.sizes["draw"] // 2
    parts = [lines.isel(draw=slice(i * half, (i + 1) * half)) for i in (0, 1)]
    return xr.concat([part.drop_vars("draw", errors="ignore") for part in parts], dim="chain")


def _extreme(found: Any, choose: Any) -> float:
    return float(choose([choose(np.asarray(found[n])) for n in ("z", "cosine", "sine")]))


def _pair(evidence: Evidence | None) -> dict[str, float | None]:
    if evidence is None:
        return {"value": None, "error": None}
    return {"value": evidence.log, "error": evidence.error}


def _intervals(values: Float, weights: Float) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": float(np.average(values, weights=weights))}
    for percent in _PERCENTS:
        found[f"interval{percent}"] = weighted_interval(values, weights, percent / 100)
    return found


def predictive_counts(
    posterior: ModePosterior, tree: xr.DataTree, rng: np.random.Generator, number: int = 200
) -> xr.DataArray:
    """Return replicated counts of all analysed bins, over chain, draw and bin.

    They are those of about `number` evenly spaced draws of the posterior.
    """
    chosen = tree["posterior"].to_dataset()
    step = max(1, chosen.sizes["chain"] * chosen.sizes["draw"] // number)
    chosen = chosen.isel(draw=slice(None, None, step))
    flat = chosen.stack(sample=("chain", "draw"))
    names = ("sin2_theta12", "sin2_theta13", "sin2_theta23", "dcp", "dm21", "dm31", "density")
    values = jnp.asarray(np.stack([flat[name].values for name in names], axis=1))
    eta = jnp.asarray(flat["nuisance"].transpose("sample", "nuisance_name").values)
    counts = _drawn(posterior.likelihood, np.asarray(_replicated(posterior, values, eta)), rng)
    shape = chosen.sizes["chain"], chosen.sizes["draw"], -1
    places = {"chain": chosen["chain"], "draw": chosen["draw"]}
    return xr.DataArray(counts.reshape(shape), places, ("chain", "draw", "bin"))


def _drawn(likelihood: CountedLikelihood, expected: Float, rng: np.random.Generator) -> Float:
    """Draw counts of all bins, (draws, bins); of shapes only those with the totals of the data."""
    if not likelihood.shape_only:
        return rng.poisson(expected).astype(float)
    parts = np.split(expected, np.cumsum(likelihood.sizes)[:-1], axis=1)
    totals = np.rint(np.asarray(likelihood.totals)).astype(int)
    shares = [part / part.sum(axis=1, keepdims=True) for part in parts]
    drawn = [rng.multinomial(n, p) for n, p in zip(totals, shares, strict=True)]
    return np.concatenate(drawn, axis=1).astype(float)


@jax.jit
def _replicated(posterior: ModePosterior, values: Array, eta: Array) -> Array:
    def one(pair: Sequence[Array]) -> Array:
        v, own = pair
        params = OscillationParameters(*v[:6])
        return jnp.maximum(posterior.likelihood.rates(params, v[6], own), 0.0)

    return jax.lax.map(one, (values, eta), batch_size=50)
