"""Points at which a user asks for a likelihood: parameters and nuisances, by name or as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.physics.oscillation import OscillationParameters

type Theta = OscillationParameters | Mapping[str, ArrayLike]
type Eta = Mapping[str, ArrayLike] | ArrayLike | None


def theta_of(theta: object, default: OscillationParameters) -> OscillationParameters:
    """Return oscillation parameters, those not named as in the default.

    Raises:
        InputError: an unknown name, or neither parameters nor a mapping.
    """
    if isinstance(theta, Mapping):
        check_names("theta", theta)
        return default._replace(**theta)
    if not isinstance(theta, OscillationParameters):
        allowed = "OscillationParameters, or values by name"
        raise InputError.at("likelihood", "theta", type(theta).__name__, allowed)
    return theta


def eta_of(eta: Eta, names: Sequence[str]) -> Array:
    """Return the vector of nuisances, those not named zero, shape (q,).

    Raises:
        InputError: an unknown name, or another shape.
    """
    if eta is None:
        return jnp.zeros(len(names))
    if isinstance(eta, Mapping):
        for name in eta:
            if name not in names:
                allowed = f"one of {', '.join(names)}" if names else "there are no nuisances"
                raise InputError.at("likelihood", "eta", name, allowed)
        values = [scalar(name, eta.get(name, 0.0)) for name in names]
        return jnp.stack(values) if values else jnp.zeros(0)
    vector = jnp.asarray(eta, dtype=float)
    if vector.shape != (len(names),):
        allowed = f"shape ({len(names)},), one value for each nuisance"
        raise InputError.at("likelihood", "eta", f"shape {vector.shape}", allowed)
    return vector


def check_names(argument: str, given: Mapping[str, object]) -> None:
    """Refuse names that are no oscillation parameters.

    Raises:
        InputError: naming the first.
    """
    for name in given:
        if name not in OscillationParameters._fields:
            allowed = f"one of {', '.join(OscillationParameters._fields)}"
            raise InputError.at("likelihood", argument, name, allowed)


def scalar(name: str, value: ArrayLike) -> Array:
    """Return a number as an array of shape ().

    Raises:
        InputError: it has another shape.
    """
    array = jnp.asarray(value, dtype=float)
    if array.shape != ():
        allowed = "a scalar; use jax.vmap for several"
        raise InputError.at("likelihood", name, f"shape {array.shape}", allowed)
    return array
