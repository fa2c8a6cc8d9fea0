"""An experiment in which both orderings and octants are alive, and their posterior on a grid."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from bayesxs.experiment.counted import counted_likelihood, dune_samples
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.modes import ModePosterior, mode_posterior
from bayesxs.inference.priors import Flat, Gaussian
from bayesxs.physics.nufit import NUFIT_6_0
from bayesxs.physics.oscillation import OscillationParameters

# Four parameters, statistics only
PRIORS = {
    "s2_13": Gaussian(0.02215, 0.002),
    "s2_23": Flat(0.36, 0.64),
    "dm31": Flat(2.3e-3, 2.7e-3),
}
EXPOSURE = 6.5 / 20.0
# Where all four modes are alive at that exposure: dCP for which the orderings look alike
TRUTH = NUFIT_6_0._replace(dcp=0.5 * np.pi, s2_23=0.48)


@cache
def alive() -> ModePosterior:
    """Return the posterior of the expected counts."""
    full = counted_likelihood(dune_samples(EXPOSURE), parameters=TRUTH)
    rates = replace(full.rates, widths=full.rates.widths[:, :0])
    return mode_posterior(replace(full, rates=rates, nuisances=()), PRIORS)


@jax.jit
def _log_likelihoods(likelihood: CountedLikelihood, points: jax.Array) -> jax.Array:
    def one(p: jax.Array) -> jax.Array:
        theta = OscillationParameters(TRUTH.s2_12, p[0], p[1], p[3], TRUTH.dm21, p[2])
        return likelihood.log_prob(theta)

    return jax.lax.map(one, points, batch_size=512)


def grid(posterior: ModePosterior) -> dict[tuple[float, bool], float]:
    """Return log of the sum of prior times likelihood over each mode, by brute force."""
    dcp = np.linspace(-np.pi, np.pi, 12, endpoint=False)
    s2_23 = 0.36 + 0.28 * (np.arange(12) + 0.5) / 12
    split = 2.3e-3 + 0.4e-3 * (np.arange(16) + 0.5) / 16
    away = np.linspace(-3.0, 3.0, 5)
    weight = norm.logpdf(away)
    found = {}
    for sign in (1.0, -1.0):
        dm31 = float(posterior.center) + sign * split
        points = np.array(list(product(0.02215 + 0.002 * away, s2_23, dm31, dcp)))
        values = np.asarray(_log_likelihoods(posterior.likelihood, jnp.asarray(points)))
        values = values.reshape(5, 12, -1) + weight[:, None, None]
        for upper in (False, True):
            found[sign, upper] = float(logsumexp(values[:, 6:] if upper else values[:, :6]))
    return found
