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
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro.infer import NUTS, init_to_uniform, init_to_value
from numpyro.infer.hmc import HMCState

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
    """

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.8
    record_every: int = 500


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


def sample(
    model: Callable[..., None],
    arguments: tuple[Any, ...],
    key: Array,
    settings: SamplerSettings,
    *,
    start: Mapping[str, Any] | None = None,
    resume: Mapping[str, np.ndarray] | None = None,
    record: Callable[[int, dict[str, np.ndarray]], None] | None = None,
) -> Draws:
    """Run NUTS (Hoffman and Gelman, arXiv:1111.4246) with a dense mass matrix.

    Chains that share a device advance together as one batch; with several devices the batch is split
    over them. A run that was interrupted and resumed from a checkpoint ends with the same numbers.

    Args:
        model: NumPyro model.
        arguments: its positional arguments.
        key: random key.
        settings: chains, lengths, target acceptance.
        start: initial values of sites in constrained space; others start at random.
        resume: checkpoint of an interrupted run of the same model, key and settings.
        record: called as record(steps done, checkpoint) every `record_every` steps.
    """
    strategy = init_to_uniform if start is None else init_to_value(values=dict(start))
    kernel = NUTS(
        model, dense_mass=True, target_accept_prob=settings.target_accept, init_strategy=strategy
    )
    keys = jax.random.split(jax.random.wrap_key_data(jax.random.key_data(key)), settings.chains)
    state = kernel.init(jax.random.key_data(keys), settings.warmup, None, arguments, {})
    transform = kernel.postprocess_fn(arguments, {})
    mesh = chain_mesh(settings.chains)
    split = PartitionSpec("chain")
    placed = NamedSharding(mesh, split)

    @partial(jax.jit, static_argnums=1)
    def advance(state: HMCState, count: int) -> tuple[HMCState, Any]:
        def steps(state: HMCState) -> tuple[HMCState, Any]:
            def body(state: HMCState, _: None) -> tuple[HMCState, Any]:
                state = kernel.sample(state, arguments, {})
                return state, (state.z, {name: getattr(state, name) for name in STATISTICS})

            state, trace = jax.lax.scan(body, state, None, length=count)
            return state, jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), trace)

        return jax.shard_map(steps, mesh=mesh, in_specs=split, out_specs=split, check_vma=False)(state)

    pieces: list[dict[str, np.ndarray]] = []
    done = 0
    if resume is not None:
        done = int(resume["done"])
        state = restore(state, {k[6:]: v for k, v in resume.items() if k.startswith("state/")})
        pieces = [{k[6:]: v for k, v in resume.items() if k.startswith("trace/")}]
    state = jax.device_put(state, placed)  # as `advance` returns it: one compilation
    total = settings.warmup + settings.draws
    while done < total:
        edge = settings.warmup if done < settings.warmup else total
        count = min(settings.record_every, edge - done)
        state, trace = advance(state, count)
        done += count
        if done > settings.warmup:
            pieces.append(flatten(trace))
        if record is not None:
            saved = {f"state/{k}": v for k, v in flatten(state).items()}
            saved |= {f"trace/{k}": v for k, v in _joined(pieces).items()}
            record(done, saved | {"done": np.array(done)})
    collected = _joined(pieces)
    unconstrained = {k[2:]: jnp.asarray(v) for k, v in collected.items() if k.startswith("0/")}
    sites = jax.jit(jax.vmap(jax.vmap(transform)))(unconstrained)
    statistics = {ARVIZ_NAMES[k[2:]]: v for k, v in collected.items() if k.startswith("1/")}
    statistics["lp"] = -statistics["lp"]
    return Draws({name: np.asarray(value) for name, value in sites.items()}, statistics)


def _joined(pieces: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join pieces along the draws."""
    filled = [piece for piece in pieces if piece]
    if not filled:
        return {}
    return {name: np.concatenate([piece[name] for piece in filled], axis=1) for name in filled[0]}
