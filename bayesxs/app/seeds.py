"""Random keys: one per stage, so that a seed never depends on which stages ran before."""

from __future__ import annotations

from typing import Final

import jax

TRAINING_KEY: Final = 0
SIMULATION_KEY: Final = 1
SAMPLER_KEY: Final = 2
OCTANT_KEY: Final = 3
BOOTSTRAP_KEY: Final = 4
PREDICTIVE_KEY: Final = 5
NEAR_KEY: Final = 6
SMEARING_KEY: Final = 7
BUDGET_KEY: Final = 8
PRIOR_KEY: Final = 9


def stage_key(seed: int, *numbers: int) -> jax.Array:
    """Fold the number of a stage, and the numbers of its parts, into the card's seed."""
    key = jax.random.key(seed)
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key
