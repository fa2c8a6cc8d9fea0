"""Draws of orderings and octants as ArviZ takes them: each mode's own, and mixed as probable."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array
from scipy.special import logsumexp

from bayesxs.inference.evidence import normalised
from bayesxs.inference.mode_sampling import ModeDraws
from bayesxs.inference.modes import Mode, ModePosterior
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.priors import Flat, Gaussian, Prior
from bayesxs.inference.summaries import described
from bayesxs.types import Floats as Float

PER_DRAW: Final = ("chain", "draw")
_BRANCH: Final = (-np.pi, np.pi)


def mode_tree(posterior: ModePosterior, draws: ModeDraws) -> xr.DataTree:
    """Return the draws of every mode on its own, however improbable it is.

    The root holds, over mode, log_weight (log of evidence times prior) and log_weight_error; its
    attributes are the priors, for `mode_priors`. Groups: posterior and sample_stats, over mode,
    chain and draw. `given` selects modes by their names, such as "normal, upper".

    Args:
        posterior: what was sampled.
        draws: of the modes.
    """
    found = [_public(posterior, *one) for one in zip(draws.modes, draws.z, draws.dcp, strict=True)]
    coords: dict[str, object] = {"mode": [mode.name for mode in draws.modes]}
    coords |= {d: np.arange(n) for d, n in zip(PER_DRAW, draws.dcp.shape[1:], strict=True)}
    axes = ("mode", *PER_DRAW)
    values = {name: (axes, np.stack([own[name] for own in found])) for name in found[0]}
    eta = np.asarray(draws.z)[..., len(posterior.names) :]
    own = {"nuisance_name": [n.name for n in posterior.likelihood.nuisances]}
    chosen = xr.Dataset(values | {"nuisance": ((*axes, "nuisance_name"), eta)}, coords | own)
    for name, array in chosen.data_vars.items():
        described(str(name), array, _BRANCH)
    statistics = {name: (axes, array) for name, array in draws.statistics.items()}
    errors = np.array([evidence.error for evidence in draws.evidences])
    weights = {"log_weight": ("mode", draws.log_weights), "log_weight_error": ("mode", errors)}
    root = xr.Dataset(weights, {"mode": coords["mode"]}, _as_attributes(posterior))
    stats = xr.Dataset(statistics, coords)
    return xr.DataTree.from_dict({"/": root, "posterior": chosen, "sample_stats": stats})


def _public(posterior: ModePosterior, mode: Mode, z: Float, dcp: Float) -> dict[str, Float]:
    """Return values of a mode's draws by their public names, (chains, draws)."""
    values = _values(posterior, Mode(*map(jnp.asarray, mode)), jnp.asarray(z))
    found = {PUBLIC_NAMES.get(n, n): np.asarray(v) for n, v in values.items()}
    found = {n: np.broadcast_to(v, dcp.shape) for n, v in found.items()} | {"dcp": dcp}
    found["jarlskog"] = jarlskog(found)
    return found | {"ordering": np.full(dcp.shape, float(mode.ordering))}


@jax.jit
def _values(posterior: ModePosterior, mode: Mode, z: Array) -> dict[str, Array]:
    return jax.vmap(jax.vmap(lambda z: posterior.values(mode, z)[0]))(z)


def jarlskog(values: Mapping[str, Float]) -> Float:
    """Return J = s12 c12 s23 c23 s13 c13^2 sin(dcp) (Jarlskog 1985, Phys. Rev. Lett. 55, 1039)."""
    s12, s13, s23 = (values[f"sin2_theta{pair}"] for pair in ("12", "13", "23"))
    product_of = s12 * (1.0 - s12) * s23 * (1.0 - s23) * s13
    return np.sqrt(product_of) * (1.0 - s13) * np.sin(values["dcp"])


def mode_probabilities(tree: xr.DataTree) -> tuple[Float, Float]:
    """Return the posterior probabilities of the modes of a `mode_tree`, and Monte Carlo errors."""
    own = tree.dataset
    return normalised(own["log_weight"].values, own["log_weight_error"].values)


def mixed_tree(
    tree: xr.DataTree, rng: np.random.Generator, ordering: str | None = None
) -> xr.DataTree:
    """Return the posterior over all modes, or given an ordering, as ArviZ takes it.

    Of each chain and draw, the mode is drawn with its probability; what is taken is that mode's
    draw of the same chain and number. Groups: posterior, and sample_stats with the statistics of
    what was taken.

    Args:
        tree: from `mode_tree`.
        rng: for the modes.
        ordering: "normal" or "inverted", the one that is given, however improbable; both if None.
    """
    names = tree.dataset["mode"].values.tolist()
    log = tree.dataset["log_weight"].values
    if ordering is not None:
        log = np.where([name.startswith(ordering) for name in names], log, -np.inf)
    shape = tuple(tree["posterior"].sizes[d] for d in PER_DRAW)
    chosen = rng.choice(len(names), size=shape, p=np.exp(log - logsumexp(log)))
    place = xr.DataArray(chosen, dims=PER_DRAW)
    groups = ("posterior", "sample_stats")
    mixed = {group: tree[group].to_dataset().isel(mode=place).drop_vars("mode") for group in groups}
    return xr.DataTree.from_dict(mixed)


def given(tree: xr.DataTree, name: str) -> xr.DataTree:
    """Return the draws of one mode of a `mode_tree`, by its name, as ArviZ takes them."""
    groups = {n: tree[n].to_dataset() for n in ("posterior", "sample_stats")}
    return xr.DataTree.from_dict({n: d.sel(mode=name, drop=True) for n, d in groups.items()})


def _as_attributes(posterior: ModePosterior) -> dict[str, object]:
    """Return the priors as text, by the names of posteriors, and the center of the orderings."""
    found = {PUBLIC_NAMES.get(n, n): [type(p).__name__, *p] for n, p in posterior.priors.items()}
    return {"priors": json.dumps(found), "ordering_center": float(posterior.center)}


def mode_priors(tree: xr.DataTree) -> dict[str, Prior]:
    """Return the priors of the parameters of a `mode_tree`; that of dm31 is of the size.

    The size is |dm31 - c|, with c the attribute ordering_center.
    """
    kinds: dict[str, type[Prior]] = {"Flat": Flat, "Gaussian": Gaussian}
    written = json.loads(tree.attrs["priors"])
    return {name: kinds[kind](*map(float, ends)) for name, (kind, *ends) in written.items()}
