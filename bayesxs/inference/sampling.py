"""Draw from any NumPyro model with NUTS: several chains at once, in pieces that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import PyTree
from numpyro import infer
from numpyro.infer.hmc import HMCState
from numpyro.infer.util import initialize_model

from bayesxs.storage.checkpoint import flatten, restore

type Arguments = tuple[PyTree[Array], ...]  # of a model
type Jump = Callable[[dict[str, Array]], dict[str, Array]]  # of unconstrained sites

# Axis of a mesh along which chains are split
CHAIN = PartitionSpec("chain")

# Draws whose deterministic sites are computed at once
BATCH = 64

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
    """Settings of the sampler: chains and their lengths.

    Attributes:
        chains: independent chains.
        warmup: adaptation steps of each chain.
        draws: draws kept of each chain.
        target_accept: acceptance that the step size aims at.
        record_every: steps of a piece, after which a run can be resumed.
        tree_depth: largest depth of NUTS's trees. Chains of one batch all wait for the deepest one.
        first_chain: number of the first chain, with which a single key is folded: chain 5 has the
            same random numbers among eight chains as in a run of its own. With a CPU device of its
            own in both, of as many devices and several in use, it is the same to the last bit.

    Example:
        >>> bayesxs.SamplerSettings(chains=2, warmup=500, draws=2000).steps
        2500
    """

    chains: int = 4
    warmup: int = 1000
    draws: int = 1000
    target_accept: float = 0.9
    record_every: int = 500
    tree_depth: int = 10
    first_chain: int = 0

    @property
    def steps(self) -> int:
        """Steps of each chain, warm-up included."""
        return self.warmup + self.draws

    @property
    def ends(self) -> list[int]:
        """Steps done, warm-up included, at the end of each piece; warm-up ends with one."""
        total = self.warmup + self.draws
        inside = (
            *range(self.record_every, self.warmup, self.record_every),
            self.warmup,
            *range(self.warmup + self.record_every, total, self.record_every),
            total,
        )
        return [end for end in inside if end > 0]


class Own(NamedTuple):
    """What each chain has for itself, one entry per chain along a leading axis.

    Attributes:
        arguments: how many of the model's arguments, the first ones: chains of different data.
        starts: whether it starts at values of its own, given with the arguments, its covariance
            being `curvature_covariance` there.
    """

    arguments: int = 0
    starts: bool = False


_SHARED: Final = Own()


class Draws(NamedTuple):
    """Draws of a model, each array of shape (chains, draws, ...).

    Attributes:
        sites: samples and deterministic sites by name.
        statistics: sampler statistics by ArviZ's names.
    """

    sites: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


class Piece(NamedTuple):
    """A piece of the chains, as a sampler hands it out.

    Attributes:
        done: steps done by its end, warm-up included.
        draws: those of its steps; None in warm-up.
        state: named arrays from which `NutsSampler.pieces` goes on; their size does not grow with
            the number of draws.
    """

    done: int
    draws: Draws | None
    state: dict[str, np.ndarray]


def joined(pieces: Iterable[Draws]) -> Draws:
    """Join draws of the same chains, one piece after the other, in memory."""
    sites, statistics = zip(*pieces, strict=True)
    return Draws(_concatenated(sites), _concatenated(statistics))


def chain_mesh(chains: int) -> Mesh:
    """Return the mesh that spreads chains over the largest number of devices dividing them."""
    devices = jax.local_devices()
    used = max(n for n in range(1, len(devices) + 1) if chains % n == 0)
    return Mesh(np.array(devices[:used]), ("chain",))


def _spread(function: Callable[..., PyTree], mesh: Mesh, own: int) -> Callable[..., PyTree]:
    """Split a function of a batch of chains over devices.

    Each device does the same with its chains, however many other devices there are.

    Args:
        function: of arrays by chain, of the model's arguments, and of constants.
        mesh: the devices.
        own: how many of the arguments each chain has for itself.
    """

    def split(first: PyTree, arguments: Arguments, *rest: int) -> PyTree:
        return jax.shard_map(
            lambda f, a: function(f, a, *rest),
            mesh=mesh,
            in_specs=(CHAIN, (*[CHAIN] * own, *[PartitionSpec()] * (len(arguments) - own))),
            out_specs=CHAIN,
            check_vma=False,
        )(first, arguments)

    return split


@dataclass(frozen=True)
class _Kernels:
    """NUTS kernels of one model.

    Attributes:
        model: NumPyro model of array arguments.
        settings: of the sampler.
        adapt_covariance: whether warm-up changes the covariance.
    """

    model: Callable[..., None]
    settings: SamplerSettings
    adapt_covariance: bool

    def of(self, start: Mapping[str, ArrayLike] | None, covariance: ArrayLike | None) -> infer.NUTS:
        """Return the kernel that starts at given values with a given covariance."""
        return infer.NUTS(
            self.model,
            dense_mass=True,
            inverse_mass_matrix=None if covariance is None else jnp.asarray(covariance),
            adapt_mass_matrix=self.adapt_covariance,
            target_accept_prob=self.settings.target_accept,
            max_tree_depth=self.settings.tree_depth,
            init_strategy=infer.init_to_uniform
            if start is None
            else infer.init_to_value(values=dict(start)),
        )


class _Beginning(NamedTuple):
    """Keys of the chains, and where they start if each has a place of its own."""

    keys: Array
    starts: Mapping[str, Array] | None


@dataclass(frozen=True)
class _Batch:
    """Chains that advance together on one device; each function is one program.

    Attributes:
        kernels: makes the kernel of a chain that starts at a place of its own.
        kernel: of all chains.
        own: how many of the model's arguments, the first ones, each chain has for itself.
        jump: offered before each step; None for none.
    """

    kernels: _Kernels
    kernel: infer.NUTS
    own: int
    jump: Jump | None

    def begin(self, given: _Beginning, arguments: Arguments) -> HMCState:
        """Return the first state of each chain."""
        shared, warmup = arguments[self.own :], self.kernels.settings.warmup

        def covariance_of(item: tuple[Mapping[str, Array], Arguments]) -> Array:
            return curvature_covariance(self.kernels.model, item[0], (*item[1], *shared))

        def one(
            key: Array, start: Mapping[str, Array] | None, covariance: Array | None, mine: Arguments
        ) -> HMCState:
            everything = (*mine, *shared)
            state = self.kernel.init(key, warmup, None, everything, {})
            if covariance is None:
                return state
            # The matrix is part of the state, with which the first kernel goes on
            return self.kernels.of(start, covariance).init(key, warmup, None, everything, {})

        keys, starts = given
        covariances = None
        if starts is not None:
            # Chain by chain, as in `curvature_covariance` column by column
            covariances = jax.lax.map(covariance_of, (starts, arguments[: self.own]))
        return _each(one)(keys, starts, covariances, arguments[: self.own])

    def advance(
        self, state: HMCState, arguments: Arguments, count: int
    ) -> tuple[HMCState, PyTree[Array]]:
        """Go on by some steps; return the state, and sites and statistics of each step."""

        def one(state: HMCState, mine: Arguments) -> HMCState:
            everything = (*mine, *arguments[self.own :])
            if self.jump is not None:
                state = _jumped(state, self.jump, self.kernel.get_potential_fn(everything))
            return self.kernel.sample(state, everything, {})

        def body(state: HMCState, _: None) -> tuple[HMCState, PyTree[Array]]:
            state = _each(one)(state, arguments[: self.own])
            return state, (state.z, {name: getattr(state, name) for name in STATISTICS})

        state, trace = jax.lax.scan(body, state, None, length=count)
        return state, jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), trace)

    def constrain(self, z: dict[str, Array], arguments: Arguments) -> dict[str, Array]:
        """Return the sites of the model, deterministic ones too, at unconstrained values."""

        def one(z: dict[str, Array], mine: Arguments) -> dict[str, Array]:
            function = self.kernel.postprocess_fn((*mine, *arguments[self.own :]), {})
            # Some draws at a time: each may need a whole likelihood
            return _in_batches(function, z)

        return _each(one)(z, arguments[: self.own])


def _jumped(
    state: HMCState, jump: Jump, potential: Callable[[dict[str, Array]], Array]
) -> HMCState:
    """Jump, or stay, by Metropolis's rule: the proposal is symmetric, being its own inverse."""
    key, own = jax.random.split(state.rng_key)
    z = jump(state.z)
    energy, slope = jax.value_and_grad(potential)(z)
    accepted = jnp.log(jax.random.uniform(own)) < state.potential_energy - energy
    here = state.z, state.potential_energy, state.z_grad
    z, energy, slope = jax.tree.map(partial(jnp.where, accepted), (z, energy, slope), here)
    return state._replace(z=z, potential_energy=energy, z_grad=slope, rng_key=key)


def _each(function: Callable[..., PyTree]) -> Callable[..., PyTree]:
    """Map a function over the chains of a device, along the leading axes of its arguments.

    One alone is no batch: in a batch both branches of every condition are computed.
    """

    def mapped(*arguments: PyTree) -> PyTree:
        if len(jax.tree.leaves(arguments)[0]) > 1:
            return jax.vmap(function)(*arguments)
        only = function(*jax.tree.map(lambda array: array[0], arguments))
        return jax.tree.map(lambda array: jnp.asarray(array)[None], only)

    return mapped


def _in_batches(function: Callable[..., PyTree], items: PyTree) -> PyTree:
    """Map a function over items, `BATCH` at a time, as one program: the last batch is filled up."""
    count = len(jax.tree.leaves(items)[0])
    filled = -(-count // BATCH) * BATCH

    def split(array: Array) -> Array:
        padded = jnp.concatenate([array, jnp.repeat(array[-1:], filled - count, axis=0)])
        return padded.reshape(-1, BATCH, *array.shape[1:])

    found = jax.lax.map(jax.vmap(function), jax.tree.map(split, items))
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:count], found)


class NutsSampler:
    """NUTS (Hoffman and Gelman, arXiv:1111.4246) for one model, compiled once for one data shape.

    Chains that share a device advance together as one batch; with several devices the batch is
    split over them.
    """

    def __init__(
        self,
        model: Callable[..., None],
        settings: SamplerSettings,
        start: Mapping[str, ArrayLike] | None = None,
        covariance: ArrayLike | None = None,
        own: Own = _SHARED,
        adapt_covariance: bool | None = None,
        jump: Jump | None = None,
    ) -> None:
        """Hold a model and how to sample it.

        Args:
            model: NumPyro model of array arguments.
            settings: chains, lengths, target acceptance.
            start: initial values of sites in constrained space; others start at random.
            covariance: of the unconstrained sites, as `curvature_covariance` returns it, in place
                of one adapted during warm-up: with dozens of sites the first windows of adaptation
                are too short to estimate one.
            own: what each chain has for itself.
            adapt_covariance: whether warm-up goes on from the covariance that chains begin with;
                None: only where none is given.
            jump: proposal that each step begins with, between places that are alike and that
                trajectories do not connect: a map of the unconstrained sites that is its own
                inverse and keeps volumes, e.g. a reflection (Tierney 1998, Ann. Appl. Probab. 8,
                1).
        """
        if adapt_covariance is None:
            adapt_covariance = covariance is None and not own.starts
        self.settings = settings
        self._own_starts = own.starts
        kernels = _Kernels(model, settings, adapt_covariance)
        batch = _Batch(kernels, kernels.of(start, covariance), own.arguments, jump)
        mesh = chain_mesh(settings.chains)
        self._placed = NamedSharding(mesh, CHAIN)
        self._begin = jax.jit(_spread(batch.begin, mesh, own.arguments))
        self._advance = jax.jit(_spread(batch.advance, mesh, own.arguments), static_argnums=2)
        self._constrain = jax.jit(_spread(batch.constrain, mesh, own.arguments))

    def run(
        self,
        arguments: Arguments,
        key: Array,
        starts: Mapping[str, ArrayLike] | None = None,
    ) -> Draws:
        """Sample the model given its arguments, and keep every draw in memory.

        Args:
            arguments: positional arguments of the model, pytrees of arrays.
            key: random key, or one for each chain.
            starts: with `Own.starts`, initial values of the sites in constrained space, one entry
                per chain along their leading axis.
        """
        pieces = self.pieces(arguments, key, starts)
        return joined(piece.draws for piece in pieces if piece.draws is not None)

    def pieces(
        self,
        arguments: Arguments,
        key: Array,
        starts: Mapping[str, ArrayLike] | None = None,
        *,
        resume: Mapping[str, np.ndarray] | None = None,
    ) -> Iterator[Piece]:
        """Sample the model given its arguments, `record_every` steps at a time; keep no draws.

        A run that was interrupted and resumed from the state of a piece goes on with the same
        numbers.

        Args:
            arguments: positional arguments of the model, pytrees of arrays.
            key: random key, or one for each chain.
            starts: with `Own.starts`, initial values of the sites of each chain.
            resume: state of a piece of an interrupted run of the same model, arguments and key;
                the pieces after it follow.

        Raises:
            ValueError: the state is that of another model or other settings; starts without
                `Own.starts`, or the reverse.
        """
        settings = self.settings
        if (starts is not None) != self._own_starts:
            raise ValueError("starts: for every chain with Own.starts, else for none")
        numbers = settings.first_chain + jnp.arange(settings.chains)
        keys = key if key.ndim else jax.vmap(lambda n: jax.random.fold_in(key, n))(numbers)
        # Also when resumed: it sets the kernel up, and its state shows which arrays there are.
        # Key data, for NumPyro's kernels given a batch of keys cannot be initialised twice
        given = _Beginning(jax.vmap(jax.random.key_data)(keys), _arrays(starts))
        state = self._begin(given, arguments)
        done = 0
        if resume is not None:
            done = int(resume["done"])
            state = restore(state, resume)
        # Placed and typed as `advance` returns it, so that it compiles once
        state = jax.device_put(restore(state, flatten(state)), self._placed)
        for end in settings.ends:
            if end <= done:
                continue
            state, trace = self._advance(state, arguments, end - done)
            done = end
            draws = self._draws(trace, arguments) if done > settings.warmup else None
            yield Piece(done, draws, flatten(state) | {"done": np.array(done)})

    def _draws(self, trace: PyTree[Array], arguments: Arguments) -> Draws:
        z, recorded = trace
        sites = self._constrain(z, arguments)
        statistics = {ARVIZ_NAMES[k]: np.asarray(v) for k, v in recorded.items()}
        statistics["lp"] = -statistics["lp"]
        return Draws({name: np.asarray(value) for name, value in sites.items()}, statistics)


def _arrays(starts: Mapping[str, ArrayLike] | None) -> dict[str, Array] | None:
    return None if starts is None else {name: jnp.asarray(v) for name, v in starts.items()}


def curvature_covariance(
    model: Callable[..., None], start: Mapping[str, ArrayLike], arguments: Arguments
) -> Array:
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

    matrix = hessian(point)
    curvature, directions = jnp.linalg.eigh(0.5 * (matrix + matrix.T))
    return (directions / jnp.maximum(jnp.abs(curvature), 1.0)) @ directions.T


def _concatenated(pieces: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join arrays of the same names along the draws."""
    return {name: np.concatenate([piece[name] for piece in pieces], axis=1) for name in pieces[0]}
