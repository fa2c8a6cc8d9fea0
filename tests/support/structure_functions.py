"""Structure functions that tests know in closed form."""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


class Smooth:
    """Structure functions in closed form, inside the cone of positivity."""

    def __call__(self, x: ArrayLike, q2: ArrayLike) -> Array:
        """Return (b0, b1, b2), shape (..., 3)."""
        x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
        shape = jnp.sqrt(x) * (1.0 - x) ** 3 * q2 / (q2 + 0.7)
        return shape[..., None] * jnp.stack([1.0 + x, 0.8 + 0.0 * x, 0.6 - 0.3 * x], axis=-1)
