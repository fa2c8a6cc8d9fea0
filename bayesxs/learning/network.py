"""Neural structure functions: multilayer perceptrons with the same call as the truth.

They give Bernstein coefficients (b0, b1, b2) of the cross section at fixed (x, Q^2), whichever head
(`heads`) makes them of the last layer's outputs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from bayesxs.constants import NUCLEON_MASS
from bayesxs.errors import shown
from bayesxs.learning.heads import HEADS, MUON, Head, Lepton, psd_tensor
from bayesxs.physics.helicity import Helicity
from bayesxs.storage.checkpoint import flatten, restore


def algebraic(x: Array) -> Array:
    """Return x/2 (1 + x/sqrt(1 + x^2)): shaped like SiLU, smooth, and without exponentials."""
    return 0.5 * x * (1.0 + x * jax.lax.rsqrt(1.0 + x * x))


ACTIVATIONS = {
    "algebraic": algebraic,
    "silu": jax.nn.silu,
    "leaky_relu": jax.nn.leaky_relu,
    "tanh": jnp.tanh,
}

# Q^2 in GeV^2 over which the multi-input network lets current conservation act:
# F(x, Q^2) -> 0 as Q^2 -> 0. About the squared mass of the rho meson, as in vector dominance.
Q2_CONSERVED = 0.7


@dataclass(frozen=True)
class Architecture:
    """Shape of a network; a weight file states it besides the numbers.

    Attributes:
        layers: hidden ones.
        width: of each.
        activation: in `ACTIVATIONS`.
        inputs: functions of x and Q^2 (`INPUTS`); "auto" for those that suit the phase space.
        head: makes coefficients of the outputs (`bayesxs.learning.heads`); "auto" likewise.
        precision: of weights and training.

    Example:
        >>> bayesxs.Training(architecture=bayesxs.Architecture(width=32)).architecture.layers
        3
    """

    layers: int = 3
    width: int = 48
    activation: Literal["algebraic", "silu", "leaky_relu", "tanh"] = "algebraic"
    inputs: Literal["auto", "plain", "multi", "ridge"] = "auto"
    head: Literal["auto"] | Head = "auto"
    precision: Literal["float32", "float64"] = "float64"

    def suited(self, x_max: float = 1.0) -> Self:
        """Choose what is left to choose, for cross sections that end at x_max.

        Args:
            x_max: upper end of Bjorken x; beyond 1 there are ridges, and no factor makes
                cross sections vanish with Q^2.
        """
        nuclear = x_max > 1.0
        found = self
        if found.inputs == "auto":
            found = replace(found, inputs="ridge" if nuclear else "multi")
        if found.head == "auto":
            found = replace(found, head="psd" if nuclear else "helicity")
        return found

    def as_metadata(self) -> dict[str, str]:
        """Return every field as text, for the header of a weight file."""
        return {name: str(value) for name, value in asdict(self.suited()).items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Read every field from the header of a weight file.

        Raises:
            ValueError: a field is missing, or has a value that is unknown.
        """
        values: dict[str, Any] = {field.name: metadata.get(field.name) for field in fields(cls)}
        for name in ("layers", "width"):
            text = values[name]
            if text is not None and re.fullmatch(r"[1-9][0-9]{0,4}", text):
                values[name] = int(text)
        known: dict[str, Collection[object]] = {
            "layers": range(1, 1000),
            "width": range(1, 100_000),
            "activation": ACTIVATIONS,
            "inputs": INPUTS,
            "head": HEADS,
            "precision": ("float32", "float64"),
        }
        for name, choices in known.items():
            if values[name] not in choices:
                raise ValueError(f"{name} = {shown(values[name])}")
        return cls(**values)


def plain_inputs(x: Array, q2: Array) -> Array:
    """Return (x, Q^2): the two inputs of arXiv:2412.16303."""
    return jnp.stack([x, q2], axis=-1)


def multi_inputs(x: Array, q2: Array) -> Array:
    """Return x and Q^2 on several scales, each between about -1 and 1.

    Square-root, linear and logarithmic in x; logarithmic and saturating in Q^2. None of them knows
    a special point of any parton distribution.
    """
    columns = (
        2.0 * jnp.sqrt(x) - 1.0,
        2.0 * x - 1.0,
        jnp.log(x) / 3.5 + 1.0,
        jnp.log(q2 + 0.05) / 2.5,
        2.0 * q2 / (q2 + 1.0) - 1.0,
    )
    return jnp.stack(columns, axis=-1)


def ridge_inputs(x: Array, q2: Array) -> Array:
    """Return coordinates in which the ridges of a nucleus run straight, each of order one.

    The energy beyond elastic scattering on a nucleon at rest, d = nu - Q^2/2M = (W^2 - M^2)/2M: in
    units of 50 MeV, over which the quasi-elastic peak rises at low Q^2; of 0.3 GeV, as wide as
    resonances; and over |q|, in which the width that Fermi motion gives is the same at every Q^2
    (y scaling). Besides, nu, x and Q^2 on logarithmic scales, and Q^2 on a saturating one.
    """
    nu = q2 / (2.0 * NUCLEON_MASS * x)
    beyond = nu - q2 / (2.0 * NUCLEON_MASS)
    q = jnp.sqrt(nu**2 + q2)
    columns = (
        jnp.arcsinh(beyond / 0.05) / 3.0,
        jnp.arcsinh(beyond / 0.3) / 2.0,
        jnp.arcsinh(4.0 * beyond / q),
        jnp.log(nu + 0.05) / 2.0,
        jnp.log(x) / 3.5 + 1.0,
        jnp.log(q2 + 0.05) / 2.5,
        2.0 * q2 / (q2 + 1.0) - 1.0,
    )
    return jnp.stack(columns, axis=-1)


INPUTS = {"plain": (plain_inputs, 2), "multi": (multi_inputs, 5), "ridge": (ridge_inputs, 7)}


class Network(nnx.Module):
    """A multilayer perceptron (x, Q^2) -> (b0, b1, b2), for one lepton."""

    def __init__(
        self, architecture: Architecture, *, rngs: nnx.Rngs, lepton: Lepton = MUON
    ) -> None:
        """Draw initial weights.

        Args:
            architecture: layers, width, activation, inputs, head, precision; what it leaves open
                is as for partons.
            rngs: random streams; "params" is used.
            lepton: what sees the tensor of five functions.
        """
        architecture = architecture.suited()
        self.architecture = architecture
        self.lepton = lepton
        dtype = jnp.dtype(architecture.precision)
        sizes = layer_sizes(architecture)
        self.layers = nnx.List(
            [
                nnx.Linear(a, b, rngs=rngs, dtype=dtype, param_dtype=dtype)
                for a, b in pairwise(sizes)
            ]
        )
        # Shape-only data leave the overall size and sign open; training fixes them here at its end
        self.scale = nnx.Variable(jnp.ones((), dtype))

    def __call__(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return Bernstein coefficients, shape (..., 3).

        Args:
            x: Bjorken x.
            q2: Q^2 in GeV^2.
        """
        return self._coefficients(x, q2, self.lepton)

    def seen(self, x: ArrayLike, q2: ArrayLike, mass: Array | float) -> Array:
        """Return what a lepton of another mass sees of the same five functions, shape (..., 3).

        Args:
            x: Bjorken x.
            q2: Q^2 in GeV^2.
            mass: of the charged lepton in GeV; one for each point, or for all.

        Raises:
            ValueError: the head is not that of five functions.
        """
        self._require_tensor()
        return self._coefficients(x, q2, Lepton(mass, self.lepton.sign))

    def _coefficients(self, x: ArrayLike, q2: ArrayLike, lepton: Lepton) -> Array:
        kind = self.architecture
        x, q2, raw = self._outputs(x, q2)
        out = HEADS[kind.head].coefficients(raw, x, q2, lepton)
        if kind.inputs == "multi":  # the paper's plain network carries no factor, nor do nuclei
            out = out * (q2 / (q2 + Q2_CONSERVED)).astype(out.dtype)[..., None]
        return self.scale[...] * out

    def tensor(self, x: ArrayLike, q2: ArrayLike) -> Helicity:
        """Return the five components of the hadronic tensor, which all leptons share.

        Args:
            x: Bjorken x.
            q2: Q^2 in GeV^2.

        Raises:
            ValueError: the head is not that of five functions.
        """
        self._require_tensor()
        x, q2, raw = self._outputs(x, q2)
        size = self.scale[...]
        if self.architecture.inputs == "multi":
            size = size * (q2 / (q2 + Q2_CONSERVED)).astype(raw.dtype)
        return Helicity(*(size * part for part in psd_tensor(raw, x)))

    def _require_tensor(self) -> None:
        if self.architecture.head != "psd":
            raise ValueError(f"head {self.architecture.head} makes three functions, not a tensor")

    def _outputs(self, x: ArrayLike, q2: ArrayLike) -> tuple[Array, Array, Array]:
        """Return x and Q^2, broadcast, and the outputs of the last layer."""
        kind = self.architecture
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
        inputs, _ = INPUTS[kind.inputs]
        hidden = inputs(x, q2).astype(kind.precision)
        for layer in self.layers[:-1]:
            hidden = ACTIVATIONS[kind.activation](layer(hidden))
        raw = self.layers[-1](hidden)
        return x.astype(raw.dtype), q2.astype(raw.dtype), raw


def layer_sizes(architecture: Architecture) -> list[int]:
    """Return the widths of inputs, hidden layers and outputs."""
    architecture = architecture.suited()
    _, inputs = INPUTS[architecture.inputs]
    hidden = [architecture.width] * architecture.layers
    return [inputs, *hidden, HEADS[architecture.head].outputs]


def create_network(architecture: Architecture, key: Array, lepton: Lepton = MUON) -> Network:
    """Build a network with weights drawn from `key`."""
    return Network(architecture, rngs=nnx.Rngs(params=key), lepton=lepton)


@jax.tree_util.register_pytree_node_class
class Average:
    """The mean of several networks, itself a valid cross section: the positive cone is convex."""

    def __init__(self, networks: Sequence[Network]) -> None:
        """Hold the networks, each of unit near-detector rate."""
        self.networks = tuple(networks)

    def tree_flatten(self) -> tuple[tuple[Network, ...], None]:
        """Give the networks, pytrees themselves."""
        return self.networks, None

    @classmethod
    def tree_unflatten(cls, _: None, networks: Sequence[Network]) -> Self:
        """Hold what stands for the networks."""
        return cls(networks)

    def __call__(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return Bernstein coefficients, shape (..., 3)."""
        return sum((n(x, q2) for n in self.networks[1:]), self.networks[0](x, q2)) / len(
            self.networks
        )


def network_arrays(network: Network) -> dict[str, np.ndarray]:
    """Return the numbers of a network under their names."""
    _, state = nnx.split(network)
    return flatten(nnx.to_pure_dict(state))


def array_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of a network's arrays under its name."""
    sizes = layer_sizes(architecture)
    shapes: dict[str, tuple[int, ...]] = {"scale": ()}
    for number, (a, b) in enumerate(pairwise(sizes)):
        shapes |= {f"layers/{number}/kernel": (a, b), f"layers/{number}/bias": (b,)}
    return shapes


def network_from_arrays(
    architecture: Architecture, arrays: Mapping[str, np.ndarray], lepton: Lepton = MUON
) -> Network:
    """Rebuild a network from its architecture and numbers, and the lepton that sees it.

    Raises:
        ValueError: an array is missing, or has another shape or type; a number is not finite.
    """
    # Before anything of the size that is claimed is made
    for name, shape in array_shapes(architecture).items():
        array = arrays.get(name)
        if array is None:
            raise ValueError(f"{name} is missing")
        if array.shape != shape or array.dtype != architecture.precision:
            found, needed = f"{array.dtype} {array.shape}", f"{architecture.precision} {shape}"
            raise ValueError(f"{name} is {found}, must be {needed}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
    # Only its form counts: weights that are replaced need not be drawn
    abstract = nnx.eval_shape(lambda: create_network(architecture, jax.random.key(0), lepton))
    graph, state = nnx.split(abstract)
    nnx.replace_by_pure_dict(state, restore(nnx.to_pure_dict(state), arrays))
    return nnx.merge(graph, state)
