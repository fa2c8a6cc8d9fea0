"""States become named arrays and come back the same."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesxs.storage.checkpoint import flatten, restore


class State(NamedTuple):
    step: Any
    inner: Any


NAMES = st.text("abcxyz_", min_size=1, max_size=4)
LEAVES = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.uint32, np.bool_]),
    hnp.array_shapes(min_dims=0, max_dims=3, max_side=3),
)
TREES = st.recursive(
    LEAVES,
    lambda t: (
        st.dictionaries(NAMES, t, max_size=3)
        | st.lists(t, max_size=3).map(tuple)
        | st.lists(t, max_size=3)
        | st.builds(State, t, t)
    ),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(TREES)
def test_a_state_comes_back_the_same(tree):
    arrays = flatten(tree)
    assert all(isinstance(a, np.ndarray) for a in arrays.values())
    blank = jax.tree.map(jnp.zeros_like, tree)
    again = restore(blank, arrays)
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    leaves, expected = jax.tree.leaves(again), jax.tree.leaves(tree)
    assert len(arrays) == len(expected)  # no two leaves share a name
    for leaf, original in zip(leaves, expected, strict=True):
        assert leaf.dtype == original.dtype
        np.testing.assert_array_equal(leaf, original)


def test_names_follow_the_paths():
    tree = {"a": (1.0, [2.0]), "b": State(3, {"c": 4})}
    assert set(flatten(tree)) == {"a/0", "a/1/0", "b/step", "b/inner/c"}


def test_the_state_of_an_optimizer_comes_back():
    params = {"w": jnp.arange(3.0), "b": jnp.array(1.0)}
    optimizer = optax.lbfgs(memory_size=3)
    state = optimizer.init(params)
    moved = jax.tree.map(lambda a: a + 1 if a.dtype != bool else ~a, state)
    again = restore(state, flatten(moved))
    assert jax.tree.structure(again) == jax.tree.structure(moved)
    for leaf, original in zip(jax.tree.leaves(again), jax.tree.leaves(moved), strict=True):
        np.testing.assert_array_equal(leaf, original)


def test_what_does_not_fit_is_refused_by_name():
    tree = {"w": np.zeros((2, 3)), "b": np.zeros(3)}
    arrays = flatten(tree)
    with pytest.raises(ValueError, match="does not fit: w"):
        restore(tree, {"b": arrays["b"]})
    with pytest.raises(ValueError, match="does not fit: b"):
        restore(tree, arrays | {"b": np.zeros(4)})
    # What else a file holds does not matter
    restore(tree, arrays | {"log/loss": np.zeros(7)})
