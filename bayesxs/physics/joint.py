"""Several oscillation probabilities from one evaluation, which compiles once for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from bayesxs.physics.oscillation import (
    DUNE,
    NEWTON_STEPS,
    Baseline,
    NewtonSteps,
    OscillationParameters,
    of_channels,
)


def probabilities_of_both(
    channels: Sequence[tuple[str, str]],
    params: OscillationParameters,
    energy: ArrayLike,
    baseline: Baseline = DUNE,
) -> tuple[Array, ...]:
    """Return `probabilities` of neutrinos and of antineutrinos, each (2, n), in one evaluation.

    Takes energies of shape (n,), and for the rest the arguments of `probabilities`.
    """
    sign = np.array([[1.0], [-1.0]])
    return of_channels(channels, params, energy, baseline, sign, NEWTON_STEPS[1])


class Request(NamedTuple):
    """A probability at energies of its own.

    Attributes:
        flavor_in: flavor that leaves the source.
        flavor_out: flavor that arrives.
        antineutrino: whether of antineutrinos.
        energy: in GeV, shape (n,).
        baseline: length, density, electron fraction.
    """

    flavor_in: str
    flavor_out: str
    antineutrino: bool
    energy: Array
    baseline: Baseline = DUNE


def joint_probabilities(
    requests: Sequence[Request], params: OscillationParameters, newton_steps: NewtonSteps = 1
) -> list[Array]:
    """Return several probabilities, each at energies of its own, from one evaluation at all.

    Its compilation, and that of its derivatives, does not grow with the number of requests.

    Args:
        requests: the probabilities wanted.
        params: scalars.
        newton_steps: as for `probability`.
    """
    sizes = [len(r.energy) for r in requests]
    sign = np.repeat([-1.0 if r.antineutrino else 1.0 for r in requests], sizes)
    fields = zip(*(r.baseline for r in requests), strict=True)
    baseline = Baseline(
        *(jnp.concatenate([jnp.full(n, v) for n, v in zip(sizes, f, strict=True)]) for f in fields)
    )
    energy = jnp.concatenate([r.energy for r in requests])
    kinds = list(dict.fromkeys((r.flavor_in, r.flavor_out) for r in requests))
    steps = NEWTON_STEPS[newton_steps]
    found = dict(zip(kinds, of_channels(kinds, params, energy, baseline, sign, steps), strict=True))
    starts = np.cumsum([0, *sizes])
    return [
        found[r.flavor_in, r.flavor_out][start : start + n]
        for r, start, n in zip(requests, starts, sizes, strict=False)
    ]
