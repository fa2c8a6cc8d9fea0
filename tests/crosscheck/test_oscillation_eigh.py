"""Probabilities against numpy's diagonalization of the same Hamiltonian, same constants."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import MATTER_POTENTIAL, PHASE
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import (
    DUNE,
    FLAVORS,
    Baseline,
    OscillationParameters,
    probabilities,
)

ENERGY = np.geomspace(0.3, 20.0, 300)


def by_diagonalization(params, energy, baseline, antineutrino):
    """P[in, out, energy] from the eigenvectors of U diag(m2) U^dagger + 2 E V."""
    s12, s13, s23 = np.sqrt(np.array(params[:3]))
    c12, c13, c23 = np.sqrt(1.0 - np.array(params[:3]))
    sign = -1.0 if antineutrino else 1.0
    e = np.exp(1j * sign * params.dcp)
    u = np.array(
        [
            [c12 * c13, s12 * c13, s13 / e],
            [-s12 * c23 - c12 * s23 * s13 * e, c12 * c23 - s12 * s23 * s13 * e, s23 * c13],
            [s12 * s23 - c12 * c23 * s13 * e, -c12 * s23 - s12 * c23 * s13 * e, c23 * c13],
        ]
    )
    hamiltonian = np.tile(u @ np.diag([0.0, *params[4:]]) @ u.conj().T, (energy.size, 1, 1))
    electrons = baseline.electron_fraction * baseline.density
    hamiltonian[:, 0, 0] += sign * MATTER_POTENTIAL * electrons * energy
    values, vectors = np.linalg.eigh(hamiltonian)
    phases = np.exp(-2j * PHASE * baseline.length / energy[:, None] * values)
    amplitude = np.einsum("nbk,nk,nak->abn", vectors, phases, vectors.conj())
    return np.abs(amplitude) ** 2


@partial(jax.jit, static_argnums=(3, 4))
def nine(params, energy, baseline, antineutrino, newton_steps):
    channels = tuple((a, b) for a in FLAVORS for b in FLAVORS)
    options = {"antineutrino": antineutrino, "newton_steps": newton_steps}
    rows = probabilities(channels, params, energy, baseline, **options)
    return jnp.stack(rows).reshape(3, 3, -1)


def assert_agrees(newton_steps, params, energy, baseline, tolerance):
    for antineutrino in (False, True):
        p = nine(params, energy, baseline, antineutrino, newton_steps)
        expected = by_diagonalization(params, energy, baseline, antineutrino)
        np.testing.assert_allclose(p, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("variant", ["ic24", "ic19"])
@pytest.mark.parametrize("ordering", ["normal", "inverted"])
def test_best_fits(variant, ordering):
    params = nufit_6_0(variant, ordering)
    assert_agrees(1, params, ENERGY, DUNE, 1e-8)
    assert_agrees("exact", params, ENERGY, DUNE, 1e-13)


# The three-sigma ranges of NuFit-6.0 (arXiv:2410.05380, table 1), both variants and orderings
@settings(max_examples=60, deadline=None)
@given(
    s2_12=st.floats(0.275, 0.345),
    s2_13=st.floats(0.0202, 0.0240),
    s2_23=st.floats(0.43, 0.60),
    dcp=st.floats(0.0, 2.0 * np.pi),
    dm21=st.floats(6.92e-5, 8.05e-5),
    dm31=st.floats(2.38e-3, 2.61e-3),
    ordering=st.sampled_from([-1.0, 1.0]),
)
def test_one_newton_step_within_known_ranges(s2_12, s2_13, s2_23, dcp, dm21, dm31, ordering):
    params = OscillationParameters(s2_12, s2_13, s2_23, dcp, dm21, ordering * dm31)
    assert_agrees(1, params, ENERGY, DUNE, 1e-8)


@settings(max_examples=60, deadline=None)
@given(
    s2_12=st.floats(0.01, 0.99),
    s2_13=st.floats(0.001, 0.2),
    s2_23=st.floats(0.01, 0.99),
    dcp=st.floats(0.0, 2.0 * np.pi),
    dm21=st.floats(1e-5, 3e-4),
    dm31=st.floats(1e-3, 5e-3),
    ordering=st.sampled_from([-1.0, 1.0]),
    length=st.floats(0.0, 5000.0),
    density=st.floats(0.0, 12.0),
)
def test_exact_far_outside_known_ranges(
    s2_12, s2_13, s2_23, dcp, dm21, dm31, ordering, length, density
):
    params = OscillationParameters(s2_12, s2_13, s2_23, dcp, dm21, ordering * dm31)
    energy = np.geomspace(0.1, 200.0, 300)
    assert_agrees("exact", params, energy, Baseline(length, density), 1e-11)
