"""Sample every ordering and octant with NUTS, and weigh them by their evidences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy.special import logsumexp

from bayesxs.inference.evidence import Evidence, bridge, normalised
from bayesxs.inference.mode_starts import curvature_near, mode_starts
from bayesxs.inference.modes import (
    MODES,
    Mode,
    ModePosterior,
    mirrored,
    mode_model,
    stacked,
    wrapped,
)
from bayesxs.inference.sampling import Draws, NutsSampler, Own, Piece, SamplerSettings, joined
from bayesxs.types import Floats as Float

_BATCH: Final = 64
# Draws per number, below which a bridge's proposal needs the curvature; how many it then draws
_FEW: Final = 20
_PROPOSALS: Final = 1000


@dataclass(frozen=True)
class ModeDraws:
    """Posteriors of the modes, and how probable each is.

    Attributes:
        modes: in their order.
        z: standard normal numbers, (modes, chains, draws, d).
        dcp: phases in [-pi, pi), (modes, chains, draws).
        statistics: of the sampler by ArviZ's names, each (modes, chains, draws).
        evidences: of each mode, given the mode.
        log_priors: log prior probability of each mode.
    """

    modes: tuple[Mode, ...]
    z: Float
    dcp: Float
    statistics: dict[str, NDArray[np.generic]]
    evidences: tuple[Evidence, ...]
    log_priors: Float

    @property
    def log_weights(self) -> Float:
        """Log of evidence times prior of each mode."""
        return np.array([e.log for e in self.evidences]) + self.log_priors

    @property
    def probabilities(self) -> Float:
        """Posterior probability of each mode."""
        return self._normalised[0]

    @property
    def errors(self) -> Float:
        """Monte Carlo error of each probability."""
        return self._normalised[1]

    @property
    def _normalised(self) -> tuple[Float, Float]:
        return normalised(self.log_weights, np.array([e.error for e in self.evidences]))

    def log_bayes_factor(self, chosen: Callable[[Mode], bool]) -> Evidence:
        """Return log of the Bayes factor of some modes over the others, and its error."""
        inside = np.array([chosen(mode) for mode in self.modes])
        sd = np.array([e.error for e in self.evidences])
        value, variance = 0.0, 0.0
        for sign, part in ((1.0, inside), (-1.0, ~inside)):
            weights = self.log_weights[part]
            value += sign * (logsumexp(weights) - logsumexp(self.log_priors[part]))
            share = np.exp(weights - logsumexp(weights))
            variance += float(np.sum((share * sd[part]) ** 2))
        return Evidence(float(value), float(np.sqrt(variance)))


def sample_modes(posterior: ModePosterior, settings: SamplerSettings, key: Array) -> ModeDraws:
    """Sample every mode with NUTS and find its evidence by bridge sampling.

    Args:
        posterior: from `mode_posterior`.
        settings: chains, and their lengths, of each mode.
        key: random key.
    """
    pieces = (piece.draws for piece in mode_pieces(posterior, settings, key))
    return weighed(posterior, joined(draws for draws in pieces if draws is not None), key)


def mode_pieces(
    posterior: ModePosterior,
    settings: SamplerSettings,
    key: Array,
    resume: Mapping[str, np.ndarray] | None = None,
) -> Iterator[Piece]:
    """Sample every mode with NUTS, `record_every` steps at a time; `weighed` takes all draws.

    Args:
        posterior: from `mode_posterior`.
        settings: chains, and their lengths, of each mode.
        key: random key.
        resume: state of a piece of an interrupted run, after which the others follow.
    """
    modes = modes_of(posterior)
    found = mode_starts(posterior, modes)
    each = settings.chains
    starts = {
        "z": jnp.repeat(jnp.asarray(found.z[0]), each, axis=0),
        "dcp_unwrapped": jnp.repeat(jnp.asarray(found.dcp[0]), each),
    }
    every = replace(settings, chains=each * len(modes))
    sampler = NutsSampler(mode_model, every, own=Own(1, starts=True), jump=mirrored)
    return sampler.pieces((stacked(modes, each), posterior), key, starts, resume=resume)


def modes_of(posterior: ModePosterior) -> tuple[Mode, ...]:
    """Return the modes that are sampled: without a free s2_23 one stands for both octants."""
    return MODES if "s2_23" in posterior.names else tuple(m for m in MODES if not m.upper)


def weighed(posterior: ModePosterior, draws: Draws, key: Array) -> ModeDraws:
    """Return draws of all modes' chains, one mode after the other, with the modes' evidences.

    Of few draws the bridge takes the curvature at the highest density in place of a covariance.
    """
    modes = modes_of(posterior)
    shape = len(modes), -1, draws.sites["z"].shape[1]
    z = draws.sites["z"].reshape(*shape, posterior.size)
    dcp = wrapped(draws.sites["dcp_unwrapped"]).reshape(shape)
    evidences = []
    for number, mode in enumerate(modes):
        seed = np.asarray(jax.random.key_data(jax.random.fold_in(key, number))).tolist()

        def density(z: Float, dcp: Float, mode: Mode = mode) -> Float:
            arrays = jnp.asarray(z), jnp.asarray(dcp)
            return np.asarray(log_densities(posterior, Mode(*map(jnp.asarray, mode)), *arrays))

        own, rng = (z[number], dcp[number]), np.random.default_rng(seed)
        curvature = None
        if dcp[number].size < _FEW * posterior.size:
            lines = z[number].reshape(-1, posterior.size), dcp[number].ravel()
            best = int(np.argmax(density(*lines)))
            curvature = curvature_near(posterior, mode, lines[0][best], lines[1][best])
        proposals = None if curvature is None else max(_PROPOSALS, dcp[number].size // 2)
        evidences.append(bridge(density, *own, rng, curvature, proposals))
    statistics = {name: v.reshape(shape) for name, v in draws.statistics.items()}
    log_priors = np.array([float(posterior.log_prior(mode)) for mode in modes])
    return ModeDraws(modes, z, dcp, statistics, tuple(evidences), log_priors)


@jax.jit
def log_densities(posterior: ModePosterior, mode: Mode, z: Array, dcp: Array) -> Array:
    """Return log of likelihood times prior density of points of a mode, (n, d) and (n,)."""

    def one(pair: tuple[Array, Array]) -> Array:
        return posterior.log_density(mode, *pair)

    return jax.lax.map(one, (z, dcp), batch_size=_BATCH)
