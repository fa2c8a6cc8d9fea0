"""Quantities that the detector response enters, to second order in the response's parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from bayesxs.detector.smearing import ResponseParameters
from bayesxs.errors import InputError


def free_parameters(sds: ResponseParameters) -> tuple[str, ...]:
    """Name the parameters with a positive prior sd, in the order of `taylor_terms`."""
    for name, sd in zip(sds._fields, sds, strict=True):
        if not 0.0 <= np.asarray(sd) < np.inf:
            raise InputError.at("response prior", name, sd, "finite and >= 0")
    return tuple(name for name, sd in zip(sds._fields, sds, strict=True) if np.asarray(sd) > 0.0)


def taylor_terms(
    function: Callable[[ResponseParameters], jax.Array],
    parameters: ResponseParameters,
    sds: ResponseParameters,
) -> jax.Array:
    """Expand a function of the parameters to second order, in units of their prior sds.

    f(p + sum_i delta_i sd_i e_i) ~ f + sum_i delta_i F_i + sum_{i<=j} delta_i delta_j F_ij, with
    F_i = sd_i d_i f, F_ij = sd_i sd_j d_i d_j f off the diagonal and half that on it. The first
    axis of the result runs over [f, F_i, F_ij], F_ij by rows of the upper triangle. Parameters with
    sd 0 are left out; one whose value is a zero width must be.

    Args:
        function: differentiable, returns an array of any shape S.
        parameters: where to expand.
        sds: prior standard deviations, in the units of the parameters.

    Returns:
        Shape (1 + n + n (n + 1)/2, *S) with n the number of positive sds.

    Raises:
        InputError: a negative sd.
    """
    free = free_parameters(sds)

    def along(deltas: jax.Array) -> jax.Array:
        moved = {
            name: getattr(parameters, name) + delta * getattr(sds, name)
            for name, delta in zip(free, deltas, strict=True)
        }
        return function(parameters._replace(**moved))

    value = function(parameters)
    if not free:
        return value[None]
    origin = jnp.zeros(len(free))
    first = jnp.moveaxis(jax.jacfwd(along)(origin), -1, 0)
    second = jnp.moveaxis(jax.jacfwd(jax.jacfwd(along))(origin), (-2, -1), (0, 1))
    i, j = np.triu_indices(len(free))
    half = np.where(i == j, 0.5, 1.0).reshape(-1, *[1] * value.ndim)
    return jnp.concatenate([value[None], first, half * second[i, j]])
