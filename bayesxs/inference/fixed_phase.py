"""Evidence of a value of dcp over a free phase: Bayes factors of nested hypotheses.

    B(dcp) = Z(dcp) / Z,    Z(dcp) = sum over modes m of p(m) integral dz L(z, dcp, m) N(z; 0, 1),

which is the ratio of the posterior's and the prior's density of dcp (Dickey 1971, Ann. Math. Stat.
42, 204). Each integral is a mean over a proposal (importance sampling): Student's t about the
highest density at that phase, with the covariance that the curvature there suggests, and wider ones
in the oscillation parameters, which may be far from normal. So it is found however far the phase is
from the draws of the posterior. Of its error the scatter of the weights knows where their tail is
not too long: the shape k of the Pareto distribution fitted to it is below 0.7 (Vehtari et al. 2024,
JMLR 25, 72).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from arviz_stats.base.array import array_stats
from jax import Array
from numpyro import distributions as dist
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from bayesxs.inference.circle import TURN
from bayesxs.inference.evidence import Evidence
from bayesxs.inference.mode_sampling import ModeDraws, log_densities
from bayesxs.inference.mode_starts import mode_starts
from bayesxs.inference.modes import Mode, ModePosterior
from bayesxs.inference.sampling import curvature_covariance
from bayesxs.types import Floats as Float

_PROPOSALS: Final = 1024  # of a round
_ROUNDS: Final = 8
_PRECISE: Final = 0.03  # error of the logarithm, below which no more are drawn
_FREEDOM: Final = 25.0  # of Student's t
# Widths of the oscillation parameters over those of the curvature, and shares of proposals
_WIDTHS: Final = (1.0, 1.5, 2.5)
_SHARES: Final = (0.6, 0.25, 0.15)
_LONGEST_TAIL: Final = 0.7
# By how much the evidence of a mode may rise at a phase, and fall of a mode's evidence below that
# of all beyond which it is left out
_RISE: Final = 5.0
_NEGLIGIBLE: Final = 8.0
_COUNTS: Final = 0.01  # share of a mode whose error is to be known


class Importance(NamedTuple):
    """An evidence by importance sampling.

    Attributes:
        log: its logarithm.
        error: of that.
        tail: shape k of the tail of the weights.
    """

    log: float
    error: float
    tail: float


def phase_factor(
    posterior: ModePosterior, draws: ModeDraws, dcp: float, rng: np.random.Generator
) -> Evidence | None:
    """Return log of the Bayes factor for a value of dcp over its uniform prior, and its error.

    None where the error is not to be trusted.

    Args:
        posterior: what was sampled.
        draws: of the modes, with their evidences.
        dcp: rad.
        rng: of the proposals.
    """
    found: dict[int, Importance] = {}
    total = -np.inf
    for i in np.argsort(-draws.log_weights).tolist():
        if draws.log_weights[i] + _RISE < total - _NEGLIGIBLE:
            break
        found[i] = evidence_at(posterior, draws.modes[i], dcp, rng)
        total = np.logaddexp(total, found[i].log + draws.log_priors[i])
    share = {i: np.exp(one.log + draws.log_priors[i] - total) for i, one in found.items()}
    if any(one.tail > _LONGEST_TAIL and share[i] > _COUNTS for i, one in found.items()):
        return None
    variance = sum((share[i] * one.error) ** 2 for i, one in found.items())
    variance += np.sum((draws.probabilities * [e.error for e in draws.evidences]) ** 2)
    return Evidence(float(total - logsumexp(draws.log_weights)), float(np.sqrt(variance)))


def evidence_at(
    posterior: ModePosterior, mode: Mode, dcp: float, rng: np.random.Generator
) -> Importance:
    """Return the evidence of a mode at a phase.

    Args:
        posterior: priors and likelihood.
        mode: ordering and octant.
        dcp: rad.
        rng: of the proposals.
    """
    top = mode_starts(posterior, (mode,), phases=(dcp,), fixed=True).z[0, 0]
    arrays = Mode(*map(jnp.asarray, mode)), jnp.asarray(dcp)
    covariance = np.asarray(_covariance(posterior, *arrays, jnp.asarray(top)))
    parts = [
        multivariate_t(top, _widened(covariance, len(posterior.names), width), df=_FREEDOM)
        for width in _WIDTHS
    ]
    log = np.empty(0)
    phases = jnp.full(_PROPOSALS, dcp)
    for _ in range(_ROUNDS):
        numbers = rng.multinomial(_PROPOSALS, _SHARES)
        drawn = [part.rvs(n, random_state=rng) for part, n in zip(parts, numbers, strict=True)]
        z = np.concatenate([own.reshape(-1, len(top)) for own in drawn])
        each = np.stack([part.logpdf(z) for part in parts], axis=1)
        height = np.asarray(log_densities(posterior, arrays[0], jnp.asarray(z), phases))
        height = np.where(np.isfinite(height), height, -np.inf) + np.log(TURN)
        log = np.append(log, height - logsumexp(each, axis=1, b=_SHARES))
        mean = float(logsumexp(log) - np.log(len(log)))
        error = float(np.exp(log - mean).std(ddof=1) / np.sqrt(len(log)))
        if error < _PRECISE:
            break
    return Importance(mean, error, float(array_stats.psislw(-log)[1]))


def _widened(covariance: Float, first: int, width: float) -> Float:
    """Return a covariance in which the first numbers are wider, and the others follow them."""
    across = covariance[:, :first]
    return covariance + (width**2 - 1.0) * across @ np.linalg.solve(across[:first], across.T)


def _model_at(mode: Mode, dcp: Array, posterior: ModePosterior) -> None:
    z = numpyro.sample("z", dist.Normal(jnp.zeros(posterior.size), 1.0).to_event(1))
    numpyro.factor("data", posterior.log_likelihood(mode, z, dcp))


@jax.jit
def _covariance(posterior: ModePosterior, mode: Mode, dcp: Array, z: Array) -> Array:
    return curvature_covariance(_model_at, {"z": z}, (mode, dcp, posterior))
