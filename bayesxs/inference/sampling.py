"""Draw from any NumPyro model with NUTS: several chains at once, in pieces that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro import infer
from numpyro.infer.hmc import HMCState
from numpyro.infer.util import initialize_model

from bayesxs.checkpoint import flatten, restore

STATISTICS = ("diverging", "accept_prob", "num_steps", "potential_energy", "energy")

# ArviZ's names of the same quantities
ARVIZ_NAMES = {
    "diverging": "diverging",
    "accept_prob": "acceptance_rate",
    "num_steps": "n_steps",
    "potential_energy": "lp",
    "energy": "energy",
}


@dataclass(frozen=True)
class SamplerSettings:
    """How long to sample, and how.

    Attributes:
        chains: independent chains.
        warmup: adaptation steps of each chain.
        draws: draws kept of each chain.
        target_accept: acceptance that the step size aims at.
        record_every: steps between records (and checkpoints).
        tree_depth: largest depth of NUTS's trees in warm-up, and after it. Chains of one batch all
            wait for the deepest tree.
    """

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.9
    record_every: int = 500
    tree_depth: tuple[int, int] = (10, 10)


class Draws(NamedTuple):
    """Draws of a model, each array of shape (chains, draws, ...).

    Attributes:
        sites: samples and deterministic sites by name.
        statistics: sampler statistics by ArviZ's names.
    """

    sites: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


def chain_mesh(chains: int) -> Mesh:
    """Return the mesh that spreads chains over the largest number of devices dividing them."""
    devices = jax.local_devices()
    used = max(n for n in range(1, len(devices) + 1) if chains % n == 0)
    return Mesh(np.array(devices[:used]), ("chain",))


class NutsSampler:
    """NUTS (Hoffman and Gelman, arXiv:1111.4246) for one model, compiled once for one data shape.

    Chains that share a device advance together as one batch; with several devices the batch is
    split over them.
    """

    def __init__(
        self,
        model: Callable[..., None],
        settings: SamplerSettings,
        start: Mapping[str, Any] | None = None,
        covariance: np.ndarray | None = None,
        own_arguments: int = 0,
    ) -> None:
        """Hold a model and how to sample it.

        Args:
            model: NumPyro model of array arguments.
            settings: chains, lengths, target acceptance.
            start: initial values of sites in constrained space; others start at random.
            covariance: of the unconstrained sites, as `curvature_covariance` returns it, in place
                of one adapted during warm-up: with dozens of sites the first windows of adaptation
                are too short to estimate one.
            own_arguments: how many of the model's arguments, the first ones, each chain has for
                itself, one entry per chain along their leading axis: chains of different data.
        """
        self.settings = settings
        self._kernel = kernel = infer.NUTS(
            model,
            dense_mass=True,
            inverse_mass_matrix=None if covariance is None else jnp.asarray(covariance),
            adapt_mass_matrix=covariance is None,
            target_accept_prob=settings.target_accept,
            max_tree_depth=settings.tree_depth,
            init_strategy=infer.init_to_uniform
            if start is None
            else infer.init_to_value(values=dict(start)),
        )
        mesh = chain_mesh(settings.chains)
        chain, shared = PartitionSpec("chain"), PartitionSpec()
        self._placed = NamedSharding(mesh, chain)

        self._own = own = own_arguments

        def steps(state: HMCState, arguments: tuple[Any, ...], count: int) -> tuple[HMCState, Any]:
            def one(state: HMCState, mine: tuple[Any, ...]) -> HMCState:
                return kernel.sample(state, (*mine, *arguments[own:]), {})

            def body(state: HMCState, _: None) -> tuple[HMCState, Any]:
                state = jax.vmap(one)(state, arguments[:own])
                return state, (state.z, {name: getattr(state, name) for name in STATISTICS})

            state, trace = jax.lax.scan(body, state, None, length=count)
            return state, jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), trace)

        @partial(jax.jit, static_argnums=2)
        def advance(
            state: HMCState, arguments: tuple[Any, ...], count: int
        ) -> tuple[HMCState, Any]:
            return jax.shard_map(
                lambda s, a: steps(s, a, count),
                mesh=mesh,
                in_specs=(chain, (*[chain] * own, *[shared] * (len(arguments) - own))),
                out_specs=chain,
                check_vma=False,
            )(state, arguments)

        @jax.jit
        def constrain(z: dict[str, Array], arguments: tuple[Any, ...]) -> dict[str, Array]:
            def one(z: dict[str, Array], mine: tuple[Any, ...]) -> dict[str, Array]:
                return jax.vmap(kernel.postprocess_fn((*mine, *arguments[own:]), {}))(z)

            return jax.vmap(one)(z, arguments[:own])

        self._advance, self._constrain = advance, constrain

    def run(
        self,
        arguments: tuple[Any, ...],
        key: Array,
        *,
        resume: Mapping[str, np.ndarray] | None = None,
        record: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    ) -> Draws:
        """Sample the model given its arguments.

        A run that was interrupted and resumed from a checkpoint ends with the same numbers.

        Args:
            arguments: positional arguments of the model, pytrees of arrays.
            key: random key, or one for each chain.
            resume: checkpoint of an interrupted run of the same model, arguments and key.
            record: called as record(steps done, checkpoint) every `record_every` steps.
        """
        settings = self.settings
        keys = key if key.ndim else jax.random.split(key, settings.chains)

        def begin(key: Array, mine: tuple[Any, ...]) -> HMCState:
            own = (*mine, *arguments[self._own :])
            return self._kernel.init(key, settings.warmup, None, own, {})

        # One key at a time: NumPyro's kernels given a batch of keys cannot be initialised twice
        state = jax.vmap(begin)(jax.vmap(jax.random.key_data)(keys), arguments[: self._own])
        pieces: list[dict[str, np.ndarray]] = []
        done = 0
        if resume is not None:
            done = int(resume["done"])
            state = restore(state, _below("state/", resume))
            pieces = [_below("trace/", resume)]
        # Placed and typed as `advance` returns it, so that it compiles once
        state = jax.device_put(restore(state, flatten(state)), self._placed)
        total = settings.warmup + settings.draws
        while done < total:
            edge = settings.warmup if done < settings.warmup else total
            count = min(settings.record_every, edge - done)
            state, trace = self._advance(state, arguments, count)
            done += count
            if done > settings.warmup:
                pieces.append(flatten(trace))
            if record is not None:
                saved = {f"state/{k}": v for k, v in flatten(state).items()}
                saved |= {f"trace/{k}": v for k, v in _joined(pieces).items()}
                record(done, saved | {"done": np.array(done)})
        collected = _joined(pieces)
        sites = self._constrain(
            {k: jnp.asarray(v) for k, v in _below("0/", collected).items()}, arguments
        )
        statistics = {ARVIZ_NAMES[k]: v for k, v in _below("1/", collected).items()}
        statistics["lp"] = -statistics["lp"]
        return Draws({name: np.asarray(value) for name, value in sites.items()}, statistics)


def curvature_covariance(
    model: Callable[..., None], start: Mapping[str, Any], arguments: tuple[Any, ...]
) -> np.ndarray:
    """Return |H|^-1 with H the Hessian of the potential at the start, in unconstrained space.

    Absolute eigenvalues (Betancourt, arXiv:1212.4693) keep directions usable that are not convex
    there; none is taken to be wider than the prior of unit width that standard sites have.
    """
    info = initialize_model(
        jax.random.key(0),
        model,
        init_strategy=infer.init_to_value(values=dict(start)),
        model_args=arguments,
        dynamic_args=True,
    )
    potential = info.potential_fn(*arguments)
    point, unravel = ravel_pytree(info.param_info.z)

    @jax.jit
    def hessian(point: Array) -> Array:
        slope = jax.grad(lambda z: potential(unravel(z)))
        # Column by column: all of them as one batch has given garbage on the CPU (jaxlib 0.12.0)
        return jax.lax.map(lambda axis: jax.jvp(slope, (point,), (axis,))[1], jnp.eye(len(point)))

    matrix = np.asarray(hessian(point))
    curvature, directions = np.linalg.eigh(0.5 * (matrix + matrix.T))
    return (directions / np.maximum(np.abs(curvature), 1.0)) @ directions.T


def _below(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose names start with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _joined(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join pieces along the draws."""
    filled = [piece for piece in pieces if piece]
    if not filled:
        return {}
    return {name: np.concatenate([piece[name] for piece in filled], axis=1) for name in filled[0]}
