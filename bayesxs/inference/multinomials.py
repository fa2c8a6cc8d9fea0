"""Counts of samples given their totals: one multinomial distribution for each sample."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike
from numpyro import distributions as dist
from numpyro.distributions import constraints

from bayesxs.types import Floats


def membership(sizes: Sequence[int]) -> Floats:
    """Return one where a bin is of a sample, else zero, (samples, bins)."""
    of_bin = np.repeat(np.arange(len(sizes)), sizes)
    return np.equal(of_bin, np.arange(len(sizes))[:, None]).astype(float)


def to_totals(expected: Array, totals: Array, of_sample: ArrayLike) -> Array:
    """Return expected counts, (bins,), scaled so that each sample has its total, (samples,)."""
    own = jnp.asarray(of_sample)
    return expected * ((totals / (own @ expected)) @ own)


class Multinomials(dist.Distribution):
    """Counts of several samples, one after the other, given the total of each.

    log p(n) = sum over samples of log N_s! + sum over its bins of n_i log p_i - log n_i!
    """

    arg_constraints = {"rates": constraints.real_vector}  # noqa: RUF012
    support = constraints.real_vector
    pytree_data_fields = ("rates", "totals")
    pytree_aux_fields = ("sizes",)

    def __init__(self, rates: Array, totals: Array, sizes: tuple[int, ...]) -> None:
        """Hold expected counts of any scale, (bins,), totals, (samples,), and sizes of samples."""
        self.rates, self.totals, self.sizes = rates, totals, sizes
        super().__init__((), jnp.shape(rates), validate_args=False)

    def log_prob(self, value: ArrayLike) -> Array:
        """Return the log probability of counts, (..., bins), of these totals."""
        counts, own = jnp.asarray(value), membership(self.sizes)
        mu = to_totals(self.rates, self.totals, own)
        shares = jnp.log(mu) - jnp.log(self.totals @ own)
        return jnp.sum(counts * shares - gammaln(counts + 1.0), axis=-1) + jnp.sum(
            gammaln(self.totals + 1.0)
        )

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw counts; totals are rounded."""
        parts = jnp.split(self.rates, np.cumsum(self.sizes)[:-1])
        keys = jax.random.split(key, len(parts))
        drawn = [
            jax.random.multinomial(k, jnp.round(n), p / p.sum(), shape=sample_shape)
            for k, n, p in zip(keys, self.totals, parts, strict=True)
        ]
        return jnp.concatenate(drawn, axis=-1)
