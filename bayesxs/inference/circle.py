"""Angles: one branch, and the statistics of a circle (Mardia and Jupp, Directional Statistics)."""

from __future__ import annotations

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike
from numpyro import distributions as dist
from numpyro.distributions import constraints

from bayesxs.types import Floats

TURN: Final = 2.0 * np.pi

# A wrapped normal of this standard deviation or more is flat to 1e-14
_WIDEST: Final = 8.0
_IMAGES: Final = np.arange(-11, 12)  # to eight of the largest standard deviations


class WrappedNormal(dist.Distribution):
    """A normal distribution wrapped onto the circle: p(x) = sum_k N(x + 2 pi k; loc, scale).

    Its circular standard deviation sqrt(-2 log R) is `scale`, which that of a von Mises
    distribution with kappa = 1/scale^2 is not (Mardia and Jupp (2000), Secs. 3.5.4 and 3.5.7).
    Values lie on the branch [loc - pi, loc + pi).
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012
    support = constraints.circular
    pytree_data_fields = ("loc", "scale")

    def __init__(
        self, loc: ArrayLike, scale: ArrayLike, *, validate_args: bool | None = None
    ) -> None:
        """Hold mean direction and standard deviation in radians."""
        self.loc, self.scale = jnp.broadcast_arrays(jnp.asarray(loc), jnp.asarray(scale))
        super().__init__(jnp.shape(self.loc), validate_args=validate_args)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw angles of shape `sample_shape` plus that of the parameters."""
        step = self.scale * jax.random.normal(key, sample_shape + self.batch_shape)
        return self.loc + on_branch(step, -np.pi)

    def log_prob(self, value: ArrayLike) -> Array:
        """Return the log density per radian, the same on every branch."""
        scale = jnp.minimum(self.scale, _WIDEST)
        offset = on_branch(jnp.asarray(value) - self.loc, -np.pi)
        pull = (offset[..., None] + TURN * _IMAGES) / scale[..., None]
        return logsumexp(-0.5 * pull**2, axis=-1) - jnp.log(scale * np.sqrt(TURN))


def on_branch[T: (Array, Floats)](angle: T, low: float) -> T:
    """Return the same direction within [low, low + 2 pi), to the bit where it lies there already.

    Differentiable, of slope one.
    """
    library = jnp if isinstance(angle, jax.Array) else np
    return angle - TURN * library.floor((angle - low) / TURN)


def mean_direction(angles: ArrayLike, axis: int | None = None) -> Floats:
    """Return the direction of the mean of exp(i angle), in (-pi, pi]."""
    return np.asarray(np.angle(np.exp(1j * np.asarray(angles)).mean(axis=axis)))


def circular_sd(angles: ArrayLike, axis: int | None = None) -> Floats:
    """Return sqrt(-2 log R), R the length of the mean of exp(i angle) (Mardia and Jupp, 2.3.14)."""
    length = np.abs(np.exp(1j * np.asarray(angles)).mean(axis=axis))
    return np.asarray(np.sqrt(-2.0 * np.log(np.clip(length, np.finfo(float).tiny, 1.0))))


def about(angles: ArrayLike, center: ArrayLike) -> Floats:
    """Return angles on the branch [center - pi, center + pi), so that lines can be drawn on it.

    Args:
        angles: in radians.
        center: broadcasts against them.
    """
    center = np.asarray(center, dtype=float)
    return center + on_branch(np.asarray(angles, dtype=float) - center, -np.pi)
