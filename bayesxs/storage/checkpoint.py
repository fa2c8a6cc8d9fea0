"""Turn the state of a computation into named arrays and back, so that files need no pickles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayesxs.errors import InputError, shown, words


def flatten(state: Any) -> dict[str, np.ndarray]:
    """Return every leaf of a pytree under the name of its path."""
    return {name: np.asarray(leaf) for name, leaf in _named_leaves(state)}


def restore[T](like: T, arrays: Mapping[str, np.ndarray]) -> T:
    """Fill a pytree of the same structure from named arrays.

    Args:
        like: a state of the same shapes and types.
        arrays: result of `flatten`.

    Raises:
        InputError: an array is missing or has another shape.
    """
    leaves = []
    for name, leaf in _named_leaves(like):
        if name not in arrays or arrays[name].shape != np.shape(leaf):
            mend = f"delete the checkpoints of the run, {words().again} makes them anew"
            raise InputError(f"checkpoint does not fit: {shown(name)}: {mend}")
        leaves.append(jnp.asarray(arrays[name], dtype=jnp.result_type(leaf)))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def starting_with[T](prefix: str, entries: Mapping[str, T]) -> dict[str, T]:
    """Return the entries whose names start with a prefix, under the rest of their names."""
    return {n.removeprefix(prefix): v for n, v in entries.items() if n.startswith(prefix)}


def _named_leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), leaf
