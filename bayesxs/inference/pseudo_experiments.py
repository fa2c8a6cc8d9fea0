"""Pseudo-experiments: truths from the prior, binned data from the model, posteriors by NUTS.

A batch is one vectorised computation: every pseudo-experiment is a chain of its own data. Random
keys are folded with the number of a pseudo-experiment, so that its result does not depend on the
batch it stands in, but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from bayesxs.inference.channel import FarChannel, log_likelihood, pointwise_log_density
from bayesxs.inference.model import far_detector_model, initial_values, resolve_octant
from bayesxs.inference.posterior import public_values
from bayesxs.inference.priors import Prior, prior_distribution
from bayesxs.inference.sampling import NutsSampler, Own, SamplerSettings
from bayesxs.keys import Purpose, derive_all, generator
from bayesxs.physics.oscillation import OscillationParameters

# Least distance of s2_23 from 1/2 at which chains start: the curvature of the likelihood, which
# their mass matrices come from, vanishes there
OFF_MAXIMAL = 0.03


@dataclass(frozen=True)
class BinnedExperiment:
    """A far detector of which pseudo-experiments are made.

    Attributes:
        channels: bins of each sample, rows being the content of each; their own weights do not
            count.
        sizes: events of each sample.
        priors: of the free parameters.
        fixed: values of the others, and where chains start.
        settings: of the sampler; its chains are the pseudo-experiments of a batch.
        thin: one draw in `thin` is kept.
        seed: of the campaign.
    """

    channels: tuple[FarChannel, ...]
    sizes: tuple[int, ...]
    priors: Mapping[str, Prior]
    fixed: OscillationParameters
    settings: SamplerSettings
    thin: int
    seed: int

    def __getstate__(self) -> dict[str, object]:
        """Leave out compiled functions: they do not travel."""
        state = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return state | {"channels": jax.tree.map(np.asarray, self.channels)}

    @property
    def nuisances(self) -> int:
        """Number of nuisances."""
        return self.channels[0].nuisances

    def keys(self, first: int, purpose: Purpose) -> Array:
        """Return the keys of the pseudo-experiments of a batch for one purpose."""
        return derive_all(self.seed, purpose, first, self.settings.chains)

    def truths(self, first: int) -> tuple[OscillationParameters, Array]:
        """Draw parameters and nuisances of a batch from the prior, fields of shape (batch,)."""

        def one(key: Array) -> tuple[dict[str, Array], Array]:
            keys = jax.random.split(key, len(self.priors) + 1)
            drawn = {
                name: prior_distribution(name, prior).sample(k)
                for (name, prior), k in zip(self.priors.items(), keys[1:], strict=True)
            }
            return drawn, jax.random.normal(keys[0], (self.nuisances,))

        drawn, nuisances = jax.vmap(one)(self.keys(first, Purpose.TRUTH))
        return self.fixed._replace(**drawn), nuisances

    def data(
        self, first: int, truths: OscillationParameters, nuisances: Array
    ) -> tuple[np.ndarray, ...]:
        """Draw the counts of each sample's bins at the truths, shape (batch, bins)."""
        generators = [generator(key) for key in self.keys(first, Purpose.DATA)]
        counts = []
        for channel, size in zip(self.channels, self.sizes, strict=True):
            shares = np.exp(np.asarray(_densities(channel, truths, nuisances)))
            shares /= shares.sum(axis=1, keepdims=True)
            drawn = [g.multinomial(size, s) for g, s in zip(generators, shares, strict=True)]
            counts.append(np.array(drawn, dtype=float))
        return tuple(counts)

    @cached_property
    def sampler(self) -> NutsSampler:
        """Sampler of a batch, compiled once."""

        def model(counts: tuple[Array, ...], channels: tuple[FarChannel, ...]) -> None:
            far_detector_model(_with_counts(channels, counts), self.priors, self.fixed)

        # Dozens of nuisances are too many to estimate a covariance of in a short warm-up
        return NutsSampler(
            model,
            self.settings,
            initial_values(self.priors, self.fixed, self.nuisances),
            own=Own(arguments=1, starts=True),
            adapt_covariance=self.nuisances == 0,
        )

    def _starts(self, truths: OscillationParameters, nuisances: Array) -> dict[str, Array]:
        """Return where chains start: at their truths, but for a little off maximal mixing."""
        start = initial_values(self.priors, truths)
        if self.nuisances:
            start["nuisance"] = nuisances
        if "s2_23_offset" in start:
            offset = start["s2_23_offset"]
            away = jnp.where(offset < 0.0, -OFF_MAXIMAL, OFF_MAXIMAL)
            start["s2_23_offset"] = jnp.where(jnp.abs(offset) < OFF_MAXIMAL, away, offset)
        return start

    def run(self, first: int) -> dict[str, np.ndarray]:
        """Carry out a batch of pseudo-experiments, those numbered from `first`.

        Returns:
            Per pseudo-experiment, by public names: "truth/NAME" (batch,) and "draws/NAME" (batch,
            kept) for the parameters and for log_likelihood; "truth/nuisance", and how many draws of
            each are below it, "below/nuisance", (batch, q); "diverging", "n_steps" (batch,).
        """
        truths, xi = self.truths(first)
        counts = self.data(first, truths, xi)
        free, nuisances, statistics = self.posterior(first, counts, truths, xi)
        true = {name: np.asarray(getattr(truths, name)) for name in self.priors}
        out = {f"truth/{name}": value for name, value in public_values(true).items()}
        out |= {f"draws/{name}": value for name, value in public_values(free).items()}
        heights = self._heights(counts, free | {"nuisance": nuisances})
        single = {name: value[:, None] for name, value in true.items()}
        out["draws/log_likelihood"] = heights
        out["truth/log_likelihood"] = self._heights(
            counts, single | {"nuisance": np.asarray(xi)[:, None]}
        )[:, 0]
        if self.nuisances:
            below = (nuisances < np.asarray(xi)[:, None]).sum(axis=1)
            out |= {"truth/nuisance": np.asarray(xi), "below/nuisance": below.astype(float)}
        return out | statistics

    def posterior(
        self,
        first: int,
        counts: Sequence[ArrayLike],
        truths: OscillationParameters,
        nuisances: Array,
    ) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
        """Sample the posteriors of a batch, those numbered from `first`, given their counts.

        Chains start at the truths (batch,) and the true nuisances (batch, q), which spares them to
        look for the posterior.

        Returns:
            Draws of the free parameters (batch, kept), of the nuisances (batch, kept, q), and the
            sum of "diverging" and the mean of "n_steps" of each, (batch,).
        """
        data = tuple(jnp.asarray(c) for c in counts)
        starts = self._starts(truths, nuisances)
        drawn = self.sampler.run((data, self.channels), self.keys(first, Purpose.CHAIN), starts)
        sites = {k: v[:, self.thin - 1 :: self.thin] for k, v in drawn.sites.items()}
        if "s2_23_offset" in sites:
            resolve = jax.vmap(resolve_octant)
            odds = sites.pop("octant_log_odds")
            octant_keys = self.keys(first, Purpose.PSEUDO_OCTANT)
            sites["s2_23"] = np.asarray(resolve(octant_keys, sites.pop("s2_23_offset"), odds)[0])
        free = {name: sites[name] for name in self.priors}
        empty = np.zeros((*next(iter(free.values())).shape, 0))
        statistics = {
            "diverging": drawn.statistics["diverging"].sum(axis=1).astype(float),
            "n_steps": drawn.statistics["n_steps"].mean(axis=1),
        }
        return free, sites.get("nuisance", empty), statistics

    def _heights(self, counts: Sequence[ArrayLike], sites: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the log-likelihood of each pseudo-experiment's points, shape (batch, points)."""
        return np.asarray(self._log_likelihoods(tuple(counts), dict(sites)))

    @cached_property
    def _log_likelihoods(self) -> Callable[..., Array]:
        def one(counts: tuple[Array, ...], sites: dict[str, Array]) -> Array:
            data = _with_counts(self.channels, counts)

            def at(point: dict[str, Array]) -> Array:
                xi = point.pop("nuisance")
                return log_likelihood(data, self.fixed._replace(**point), xi)

            return jax.lax.map(at, sites)

        return jax.jit(jax.vmap(one))


@jax.jit
def _densities(channel: FarChannel, truths: OscillationParameters, nuisances: Array) -> Array:
    axes = jax.tree.map(lambda value: 0 if jnp.ndim(value) else None, truths)
    return jax.vmap(partial(pointwise_log_density, channel), (axes, 0))(truths, nuisances)


def _with_counts(
    channels: tuple[FarChannel, ...], counts: tuple[Array, ...]
) -> tuple[FarChannel, ...]:
    return tuple(replace(c, weights=n) for c, n in zip(channels, counts, strict=True))
