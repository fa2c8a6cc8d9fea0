"""Every derivation of a random key: one table of purposes, so that no two draws share a key.

A key is the card's seed, folded with a purpose and then with the numbers of its parts. It does not
depend on which stages ran before, nor on the batch in which a pseudo-experiment stands.
"""

from __future__ import annotations

from enum import IntEnum

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


class Purpose(IntEnum):
    """State what a key is for; its numbers stand behind it."""

    TRAINING = 0  # target, network: initial weights
    SIMULATION = 1  # sample: far events
    SAMPLER = 2  # data set: chains
    OCTANT = 3  # data set, cross section: octants of draws
    BOOTSTRAP = 4  # resamplings
    PREDICTIVE = 5  # cross section: replicated spectra
    NEAR = 6  # target: near-detector counts
    SMEARING = 7  # sample: reconstruction of far events
    BUDGET = 8  # chains of every row
    PRIOR = 9  # draws of the prior
    REPLICA = 10  # target, network, and again sample: resampled near-detector counts
    TRUTH = 11  # pseudo-experiment: parameters
    DATA = 12  # pseudo-experiment: counts
    CHAIN = 13  # pseudo-experiment: its chain
    PSEUDO_OCTANT = 14  # pseudo-experiment: octants of draws
    RESAMPLING = 15  # pseudo-experiment: bootstrap
    RANKS = 16  # ties of ranks
    SPLIT = 17  # division of a generator's events between the detectors
    EVIDENCE = 18  # proposals of evidences at fixed phases


def derive(seed: int | Array, purpose: Purpose, *numbers: int) -> Array:
    """Return the key of a purpose: the seed folded with it, then with each number.

    Args:
        seed: of the card, or a key in its place.
        purpose: what the key is for.
        numbers: of the part that it is for, as the table of purposes says.
    """
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    for number in (purpose, *numbers):
        key = jax.random.fold_in(key, number)
    return key


def derive_all(seed: int, purpose: Purpose, first: int, count: int) -> Array:
    """Return the keys of a purpose with the numbers first, first + 1, ..., shape (count,)."""
    base = derive(seed, purpose)
    return jax.vmap(lambda n: jax.random.fold_in(base, n))(first + jnp.arange(count))


def generator(key: Array) -> np.random.Generator:
    """Return a NumPy generator for draws that JAX does not offer, seeded with a key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
