"""The second-order expansion in the response parameters: exact where it can be, else close."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.constants import MUON_MASS
from bayesxs.detector.expansion import free_parameters, taylor_terms
from bayesxs.detector.reco import reco_grid, true_cells
from bayesxs.detector.smearing import (
    DUNE_ENERGY_SCALE_SD,
    DUNE_RESOLUTION_SD,
    Acceptance,
    ResponseParameters,
    smear,
)
from bayesxs.errors import InputError

NOMINAL = ResponseParameters()
SDS = ResponseParameters(
    DUNE_ENERGY_SCALE_SD,
    DUNE_RESOLUTION_SD * NOMINAL.energy_resolution,
    DUNE_RESOLUTION_SD * NOMINAL.angle_resolution,
)


def taylor_weights(deltas):
    """Return [1, delta_i, delta_i delta_j with i <= j], the factors of the terms."""
    deltas = jnp.asarray(deltas)
    i, j = np.triu_indices(len(deltas))
    return jnp.concatenate([jnp.ones(1, deltas.dtype), deltas, deltas[i] * deltas[j]])


def test_taylor_terms_of_a_quadratic_are_exact():
    def quadratic(p):
        a, b, c = p
        return jnp.array([1.0 + 2.0 * a + 3.0 * a * b - b**2, a * c + 5.0 * c**2])

    center, sds = ResponseParameters(0.3, -0.7, 0.2), ResponseParameters(0.5, 0.1, 2.0)
    terms = taylor_terms(quadratic, center, sds)
    assert terms.shape == (10, 2)
    deltas = np.array([0.4, -1.3, 0.8])
    shifted = ResponseParameters(*(p + d * s for p, d, s in zip(center, deltas, sds, strict=True)))
    np.testing.assert_allclose(taylor_weights(deltas) @ terms, quadratic(shifted), rtol=1e-12)


def test_a_parameter_without_prior_width_is_left_out():
    def function(p):
        return jnp.stack([p.energy_scale, p.energy_resolution**2, p.angle_resolution])

    sds = ResponseParameters(0.5, 0.0, 0.1)
    terms = taylor_terms(function, NOMINAL, sds)
    assert free_parameters(sds) == ("energy_scale", "angle_resolution")
    assert terms.shape == (6, 3)
    np.testing.assert_allclose(terms[1:3], [[0.5, 0.0, 0.0], [0.0, 0.0, 0.1]], atol=1e-15)
    fixed = taylor_terms(function, NOMINAL, ResponseParameters(0.0, 0.0, 0.0))
    np.testing.assert_array_equal(fixed, function(NOMINAL)[None])
    np.testing.assert_array_equal(taylor_weights(np.zeros(0)), [1.0])


def test_expansion_of_the_response_is_close_at_one_sd_and_converges():
    energy, theta, z, areas = true_cells(8.0, 60, 50, MUON_MASS)
    events = areas * energy * np.exp(-energy / 0.9 - 5.0 * z)
    events *= 6200.0 / events.sum()
    grid = reco_grid(energy, theta, events, 10, 6, MUON_MASS, 8.0)

    def function(p):
        return smear(p, events[:, None], energy, theta, grid, Acceptance(), MUON_MASS)[:, 0]

    terms = np.asarray(taylor_terms(function, NOMINAL, SDS))

    def error(deltas):
        moved = (p + d * s for p, d, s in zip(NOMINAL, deltas, SDS, strict=True))
        exact = np.asarray(function(ResponseParameters(*moved)))
        return np.abs(np.asarray(taylor_weights(np.array(deltas))) @ terms - exact).sum()

    # A thousandth of the 6200 events, where the statistical error of all bins is near 600
    assert max(error([s, t, u]) for s in (-1.0, 1.0) for t in (-1.0, 1.0) for u in (-1.0, 1.0)) < 6
    # What a second-order expansion leaves out falls with the third power
    assert error([0.25, 0.25, 0.25]) < 1.2 * error([0.5, 0.5, 0.5]) / 8.0
    # The sampler differentiates the weights
    slope = jax.jacfwd(taylor_weights)(jnp.zeros(3)).T @ terms
    np.testing.assert_allclose(slope, terms[1:4])


def test_a_negative_prior_width_is_refused_by_name():
    with pytest.raises(InputError, match="energy_scale"):
        free_parameters(ResponseParameters(-0.1, 0.0, 0.0))
