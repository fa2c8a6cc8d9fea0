"""The far-detector likelihood as an object: what it equals, and what samples it."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.detector.density import Response, Sample
from bayesxs.inference.channel import (
    far_channel,
    log_likelihood,
    probability_span,
)
from bayesxs.inference.far_data import FarBins, FarData
from bayesxs.inference.likelihood import Likelihood, far_likelihood
from bayesxs.inference.nuisances import Nuisance
from bayesxs.physics.oscillation import DUNE

SAMPLES = (Sample(), Sample(flavor_out="e"))
EDGES = {"lepton_energy": jnp.linspace(0.4, 4.9, 10), "cos_theta": jnp.linspace(0.6, 1.0, 5)}
NUISANCES = (Nuisance("cross_section_0", "cross_section"), Nuisance("flux_0", "flux"))
EVENTS = 150
SIZES = (EVENTS, 40)


@pytest.fixture(scope="module")
def build(response, events, flux, energies, priors, nature) -> Callable[..., Likelihood]:
    """Make a likelihood of two samples with two nuisances; the parameter is the prior's box."""
    points = energies.points
    shapes = np.zeros((2, len(points)))
    shapes[1] = 0.1 * np.sin(points)
    lepton, z = events.lepton_energy, events.z
    parts = (slice(0, SIZES[0]), slice(SIZES[0], sum(SIZES)))
    rows_of = [response(s, lepton[p], z[p]) for s, p in zip(SAMPLES, parts, strict=True)]
    centers = response(SAMPLES[0], lepton[200:230], z[200:230])

    def fold(sample, folded, span):
        slope = 0.2 * np.log(points / 2.0)
        mode = Response(folded.rows * slope, folded.total * slope)
        rest = (np.ones(len(folded.rows)), sample, DUNE, span)
        return far_channel(
            folded,
            flux(sample.flux_id, points),
            points,
            *rest,
            modes=[mode, None],
            flux_modes=shapes,
        )

    cells = jnp.asarray(np.random.default_rng(0).permutation(36)[:30])
    data = FarData(
        lepton_energy=lepton[: sum(SIZES)],
        cos_theta=np.cos(z[: sum(SIZES)]),
        sample=np.repeat([0, 1], SIZES),
    )

    def make(box=priors):
        spans = [probability_span(s, points, DUNE, box, nature, 1, shapes) for s in SAMPLES]
        whole = np.eye(len(points))
        return far_likelihood(
            [fold(*args) for args in zip(SAMPLES, rows_of, spans, strict=True)],
            [fold(s, r, whole) for s, r in zip(SAMPLES, rows_of, strict=True)],
            [FarBins(fold(s, centers, whole), EDGES, cells) for s in SAMPLES],
            data,
            box=box,
            parameters=nature,
            sizes=SIZES,
            nuisances=NUISANCES,
        )

    return make


@pytest.fixture(scope="module")
def far(build) -> Likelihood:
    """The likelihood."""
    return build()


# --- the log density ---------------------------------------------------------------------------


def test_log_prob_is_that_of_the_channels(far, nature):
    eta = jnp.array([0.3, -0.7])
    expected = log_likelihood(far.exact, nature, eta)
    assert far.log_prob(nature, eta) == pytest.approx(float(expected), rel=1e-7)
