"""Random keys of JAX for code that is not written in it."""

from __future__ import annotations

import jax
import numpy as np


def generator(key: jax.Array) -> np.random.Generator:
    """Return a NumPy generator for draws that JAX does not offer, seeded with a key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
