"""Every value that a card accepts, and its limits, against numpy.linalg.eigh and closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bayesxs.constants import MATTER_POTENTIAL, PHASE
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import (
    FLAVORS,
    Baseline,
    OscillationParameters,
    probabilities,
    probability,
)

PAIRS = (("e", "e"), ("mu", "mu"), ("mu", "e"), ("mu", "tau"))
ENERGY = np.geomspace(0.3, 20.0, 40)

angles = st.one_of(st.sampled_from([0.0, 1e-12, 0.5, 1.0]), st.floats(0.0, 1.0))
splittings = st.one_of(
    st.floats(1e-6, 0.1), st.floats(-0.1, -1e-6), st.sampled_from([2.5e-3, -2.4e-3])
)
mixings = st.builds(
    OscillationParameters,
    s2_12=angles,
    s2_13=angles,
    s2_23=angles,
    dcp=st.floats(-2.0 * np.pi, 2.0 * np.pi),
    dm21=st.one_of(st.sampled_from([0.0, 7.49e-5, 2e-3, 0.01]), st.floats(0.0, 0.01)),
    dm31=splittings,
)
baselines = st.builds(
    Baseline,
    length=st.floats(1.0, 20_000.0),
    density=st.floats(0.0, 20.0),
    electron_fraction=st.floats(0.0, 1.0),
)


def diagonalised(params, energy, baseline, sign):
    """Return P[energy, out, in] from eigenvectors of the Hamiltonian, PDG's mixing matrix."""
    s12, s13, s23 = np.sqrt(np.array(params[:3]))
    c12, c13, c23 = np.sqrt(1.0 - np.array(params[:3]))
    phase = np.exp(1j * sign * params.dcp)
    rotation = [
        np.array([[1, 0, 0], [0, c23, s23], [0, -s23, c23]]),
        np.array([[c13, 0, s13 / phase], [0, 1, 0], [-s13 * phase, 0, c13]]),
        np.array([[c12, s12, 0], [-s12, c12, 0], [0, 0, 1]]),
    ]
    u = rotation[0] @ rotation[1] @ rotation[2]
    h = np.tile((u * np.array([0.0, params.dm21, params.dm31])) @ u.conj().T, (len(energy), 1, 1))
    h[:, 0, 0] += sign * MATTER_POTENTIAL * baseline.electron_fraction * baseline.density * energy
    value, vector = np.linalg.eigh(h)
    turn = np.exp(-2j * PHASE * baseline.length * value / energy[:, None])
    s = (vector * turn[:, None, :]) @ vector.conj().swapaxes(1, 2)
    return np.abs(s) ** 2


@jax.jit
def every(params, energy, baseline):
    return [
        [
            probabilities(PAIRS, params, energy, baseline, antineutrino=a, newton_steps=s)
            for a in (0, 1)
        ]
        for s in (0, 1, 2, "exact")
    ]


@settings(max_examples=150, deadline=None)
@given(params=mixings, baseline=baselines)
@example(  # a double eigenvalue, at which Newton's step divides by zero
    params=OscillationParameters(0.0, 0.0, 0.0, 0.0, 0.0078125, 0.0078125),
    baseline=Baseline(1.0, 1.0, 1.0),
)
def test_probabilities_of_all_that_a_card_accepts(params, baseline):
    found = np.array(every(params, ENERGY, baseline))
    assert np.all(np.isfinite(found))
    assert found.min() >= 0.0
    assert found.max() <= 1.0
    # An eigenvalue's rounding, or the error that Newton steps leave, times the phase. The first
    # terms are for corners far from nature, where |dm31| is far below dm21
    size = abs(params.dm31) + params.dm21
    turns = PHASE * baseline.length / ENERGY * (size + MATTER_POTENTIAL * 20.0 * ENERGY)
    for a, sign in enumerate((1, -1)):
        expected = diagonalised(params, ENERGY, baseline, sign)
        expected = np.array([expected[:, FLAVORS.index(o), FLAVORS.index(i)] for i, o in PAIRS])
        error = np.abs(found[:, a] - expected)
        assert np.all(error[3] <= 1e-9 + 1e-13 * turns)
        assert np.all(error[2] <= 1e-5 + 1e-9 * turns)
        assert np.all(error[1] <= 1e-2 + 1e-5 * turns)


def two_flavors(s2_2theta, splitting, energy, length):
    return s2_2theta * np.sin(PHASE * splitting * length / energy) ** 2


@pytest.mark.parametrize("antineutrino", [False, True])
@pytest.mark.parametrize("dm31", [2.5e-3, -2.4e-3])
def test_muons_and_taus_alone(dm31, antineutrino):
    # Without theta_13 and dm21 electrons stand apart, and matter does nothing
    params = nufit_6_0()._replace(s2_13=0.0, dm21=0.0, dm31=dm31)
    p = {
        (a, b): np.asarray(probability(a, b, params, ENERGY, antineutrino=antineutrino))
        for a, b in PAIRS
    }
    lost = two_flavors(4.0 * params.s2_23 * (1.0 - params.s2_23), dm31, ENERGY, 1300.0)
    np.testing.assert_allclose(p["mu", "mu"], 1.0 - lost, rtol=0, atol=1e-12)
    np.testing.assert_allclose(p["mu", "tau"], lost, rtol=0, atol=1e-12)
    np.testing.assert_allclose(p["e", "e"], 1.0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(p["mu", "e"], 0.0, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dm31", [2.5e-3, -2.4e-3])
def test_theta_13_in_matter_without_dm21(dm31, sign):
    # Two flavors in matter (Wolfenstein 1978): 1-3 mixing, of which muons see the part s2_23
    params = nufit_6_0()._replace(dm21=0.0, dm31=dm31)
    a = sign * MATTER_POTENTIAL * 0.5 * 2.848 * ENERGY
    s2_2theta = 4.0 * params.s2_13 * (1.0 - params.s2_13)
    cos_2theta = 1.0 - 2.0 * params.s2_13
    splitting = np.sqrt((dm31 * cos_2theta - a) ** 2 + dm31**2 * s2_2theta)
    lost = two_flavors(s2_2theta * (dm31 / splitting) ** 2, splitting, ENERGY, 1300.0)
    for flavor, share in (("e", None), ("mu", params.s2_23)):
        found = probability(
            flavor, "e", params, ENERGY, antineutrino=sign < 0, newton_steps="exact"
        )
        expected = 1.0 - lost if share is None else share * lost
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
def test_dm21_in_matter_without_theta_13(sign):
    # The 1-2 mixing in matter, of which muons see the part 1 - s2_23, crosses the third state
    params = nufit_6_0()._replace(s2_13=0.0)
    energy = np.geomspace(0.3, 60.0, 200)
    a = sign * MATTER_POTENTIAL * 0.5 * 2.848 * energy
    s2_2theta = 4.0 * params.s2_12 * (1.0 - params.s2_12)
    splitting = np.sqrt(
        (params.dm21 * (1.0 - 2.0 * params.s2_12) - a) ** 2 + params.dm21**2 * s2_2theta
    )
    lost = two_flavors(s2_2theta * (params.dm21 / splitting) ** 2, splitting, energy, 1300.0)
    for steps, tolerance in ((1, 1e-6), ("exact", 1e-12)):
        found = probability("e", "e", params, energy, antineutrino=sign < 0, newton_steps=steps)
        np.testing.assert_allclose(found, 1.0 - lost, rtol=0, atol=tolerance)


LIMITS = {
    "s2_13": {"s2_13": 0.0},
    "dm21": {"dm21": 0.0},
    "both": {"s2_13": 0.0, "dm21": 0.0},
    "s2_12": {"s2_12": 0.0},
    "maximal": {"s2_12": 1.0, "s2_13": 1.0, "s2_23": 1.0},
    "nothing": {"s2_12": 0.0, "s2_13": 0.0, "s2_23": 0.0, "dm21": 0.0},
    "equal": {"dm21": 2.513e-3},
}


@jax.jit
def slopes(params, baseline):
    def sums(params, baseline):
        return jnp.stack([jnp.sum(p) for p in probabilities(PAIRS, params, ENERGY, baseline)])

    return jax.jacrev(sums, (0, 1))(params, baseline)


@pytest.mark.parametrize("changes", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("density", [0.0, 2.848])
def test_slopes_at_the_limits_are_finite(changes, density):
    params = OscillationParameters(*map(jnp.asarray, nufit_6_0()._replace(**changes)))
    found = slopes(params, Baseline(*map(jnp.asarray, (1300.0, density, 0.5))))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


def test_slopes_of_what_stays_free_at_the_limit_are_right():
    params = nufit_6_0()._replace(s2_13=0.0, dm21=0.0)

    def survival(dm31, s2_23):
        return probability("mu", "mu", params._replace(dm31=dm31, s2_23=s2_23), ENERGY)

    found = jax.jacfwd(survival, (0, 1))(params.dm31, params.s2_23)
    phase = PHASE * params.dm31 * 1300.0 / ENERGY
    s2_2theta = 4.0 * params.s2_23 * (1.0 - params.s2_23)
    by_dm31 = -s2_2theta * np.sin(2.0 * phase) * PHASE * 1300.0 / ENERGY
    by_s2_23 = -4.0 * (1.0 - 2.0 * params.s2_23) * np.sin(phase) ** 2
    np.testing.assert_allclose(found[0], by_dm31, rtol=1e-9, atol=1e-9 * np.abs(by_dm31).max())
    np.testing.assert_allclose(found[1], by_s2_23, rtol=1e-9, atol=1e-9)
