"""Identities that oscillation probabilities obey, their limits, and their derivatives."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.constants
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import PHASE
from bayesxs.errors import InputError
from bayesxs.physics.joint import Request, joint_probabilities
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import (
    DUNE,
    FLAVORS,
    Baseline,
    OscillationParameters,
    probabilities,
    probability,
)

CHANNELS = tuple((a, b) for a in FLAVORS for b in FLAVORS)
ENERGY = np.geomspace(0.3, 20.0, 60)
BEST_FITS = [nufit_6_0(v, o) for v in ("ic24", "ic19") for o in ("normal", "inverted")]

parameters = st.builds(
    OscillationParameters,
    s2_12=st.floats(0.05, 0.95),
    s2_13=st.floats(0.002, 0.1),
    s2_23=st.floats(0.05, 0.95),
    dcp=st.floats(-7.0, 7.0),
    dm21=st.floats(3e-5, 2e-4),
    dm31=st.one_of(st.floats(1.5e-3, 4e-3), st.floats(-4e-3, -1.5e-3)),
)

# Negative: what antineutrinos see
densities = st.floats(-6.0, 6.0)


@partial(jax.jit, static_argnums=(3, 4))
def _all_nine(params, energy, baseline, antineutrino, newton_steps):
    options = {"antineutrino": antineutrino, "newton_steps": newton_steps}
    rows = probabilities(CHANNELS, params, energy, baseline, **options)
    return jnp.stack(rows).reshape(3, 3, -1)


def all_nine(params, baseline=DUNE, *, antineutrino=False, newton_steps=1):
    """All probabilities at the energies above, index [in, out, energy]."""
    return np.asarray(_all_nine(params, ENERGY, baseline, antineutrino, newton_steps))


def test_phase_is_one_over_four_hbar_c():
    hbar_c = scipy.constants.hbar * scipy.constants.c / scipy.constants.e  # eV m
    assert pytest.approx(1e3 / (4.0 * hbar_c * 1e9), rel=1e-9) == PHASE


@settings(max_examples=40, deadline=None)
@given(params=parameters, density=densities, steps=st.sampled_from([0, 1, "exact"]))
def test_probabilities_sum_to_one(params, density, steps):
    p = all_nine(params, Baseline(density=density), newton_steps=steps)
    np.testing.assert_allclose(p.sum(axis=0), 1.0, rtol=0, atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(params=parameters, density=densities)
def test_exact_probabilities_lie_between_zero_and_one(params, density):
    # not trivial for the tau channels, which are one minus others
    p = all_nine(params, Baseline(density=density), newton_steps="exact")
    assert p.min() > -1e-12
    assert p.max() < 1.0 + 1e-12


@pytest.mark.parametrize("params", BEST_FITS)
def test_nothing_oscillates_at_zero_distance(params):
    p = all_nine(params, Baseline(length=0.0))
    np.testing.assert_allclose(p, np.eye(3)[:, :, None] + 0 * ENERGY, rtol=0, atol=1e-15)


def vacuum_formula(params, energy, length):
    """PDG review of neutrino mixing: P_ab = delta_ab - 4 Re sum + 2 Im sum over pairs of states."""
    t12, t13, t23 = (np.arcsin(np.sqrt(s)) for s in params[:3])
    rotation12 = np.array(
        [[np.cos(t12), np.sin(t12), 0], [-np.sin(t12), np.cos(t12), 0], [0, 0, 1]]
    )
    phase = np.exp(-1j * params.dcp)
    rotation13 = np.array(
        [
            [np.cos(t13), 0, np.sin(t13) * phase],
            [0, 1, 0],
            [-np.sin(t13) / phase, 0, np.cos(t13)],
        ]
    )
    rotation23 = np.array(
        [[1, 0, 0], [0, np.cos(t23), np.sin(t23)], [0, -np.sin(t23), np.cos(t23)]]
    )
    u = rotation23 @ rotation13 @ rotation12
    m2 = np.array([0.0, params.dm21, params.dm31])
    p = np.eye(3)[:, :, None] + 0 * energy
    for i in range(3):
        for j in range(i):
            pair = np.einsum("a,b,a,b->ab", u[:, i].conj(), u[:, i], u[:, j], u[:, j].conj())
            x = PHASE * (m2[i] - m2[j]) * length / energy
            p = p - 4 * pair.real[:, :, None] * np.sin(x) ** 2
            p = p + 2 * pair.imag[:, :, None] * np.sin(2 * x)
    return p


@settings(max_examples=30, deadline=None)
@given(params=parameters, steps=st.sampled_from([0, 1, "exact"]))
def test_vacuum_limit_is_the_textbook_formula(params, steps):
    p = all_nine(params, Baseline(density=0.0), newton_steps=steps)
    np.testing.assert_allclose(p, vacuum_formula(params, ENERGY, 1300.0), rtol=0, atol=1e-12)


def test_vacuum_with_degenerate_states_is_two_flavor_oscillation():
    params = nufit_6_0()._replace(dm21=0.0)
    p = all_nine(params, Baseline(density=0.0))[0, 0]
    s2_2theta = 4 * params.s2_13 * (1 - params.s2_13)
    expected = 1 - s2_2theta * np.sin(PHASE * params.dm31 * 1300.0 / ENERGY) ** 2
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-13)


@settings(max_examples=20, deadline=None)
@given(params=parameters, steps=st.sampled_from([1, "exact"]))
def test_antineutrinos_are_the_cp_conjugates(params, steps):
    anti = all_nine(params, antineutrino=True, newton_steps=steps)
    conjugate = params._replace(dcp=-params.dcp)
    p = all_nine(conjugate, Baseline(density=-DUNE.density), newton_steps=steps)
    np.testing.assert_allclose(anti, p, rtol=0, atol=1e-13)


@settings(max_examples=20, deadline=None)
@given(params=parameters, density=densities)
def test_exchanging_flavors_reverses_the_phase(params, density):
    # T symmetry holds because the matter profile is symmetric
    forward = all_nine(params, Baseline(density=density))
    backward = all_nine(params._replace(dcp=-params.dcp), Baseline(density=density))
    np.testing.assert_allclose(forward, backward.transpose(1, 0, 2), rtol=0, atol=1e-13)


def test_cp_violation_in_vacuum_is_the_jarlskog_term():
    params = nufit_6_0()
    s12, s13, s23, dcp, dm21, dm31 = params
    j = np.sqrt(s12 * (1 - s12) * s23 * (1 - s23) * s13) * (1 - s13) * np.sin(dcp)
    x = PHASE * 1300.0 / ENERGY
    expected = -16 * j * np.sin(dm21 * x) * np.sin(dm31 * x) * np.sin((dm31 - dm21) * x)
    p = all_nine(params, Baseline(density=0.0))
    anti = all_nine(params, Baseline(density=0.0), antineutrino=True)
    np.testing.assert_allclose((p - anti)[1, 0], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("density", [-2.848, 2.848])
@pytest.mark.parametrize("params", BEST_FITS)
def test_each_newton_step_improves(params, density):
    error = [
        np.abs(
            all_nine(params, Baseline(density=density), newton_steps=steps)
            - all_nine(params, Baseline(density=density), newton_steps="exact")
        ).max()
        for steps in (0, 1, 2)
    ]
    assert error[0] < 3e-5
    assert error[1] < 1e-3 * error[0]
    assert error[2] < 1e-3 * error[1] + 1e-13


DIRECT = (("e", "e"), ("mu", "mu"), ("mu", "e"), ("e", "mu"))  # the others are sums of these


def of_vector(v):
    """The directly computed channels of six parameters, three of the baseline, and an energy."""
    params, baseline = OscillationParameters(*v[:6]), Baseline(*v[6:9])
    return jnp.stack(probabilities(DIRECT, params, v[9], baseline, newton_steps="exact"))


VALUE = jax.jit(jax.vmap(of_vector))
FORWARD = jax.jit(jax.vmap(jax.jacfwd(of_vector)))
REVERSE = jax.jit(jax.vmap(jax.jacrev(of_vector)))


def points(params, baseline=DUNE, energies=(0.35, 0.8, 2.5, 6.0, 11.0, 18.0)):
    return np.array([[*params, *baseline, energy] for energy in energies])


@pytest.mark.parametrize("density", [-2.848, 2.848])
@pytest.mark.parametrize("params", BEST_FITS)
def test_gradients_against_finite_differences(params, density):
    at = points(params, Baseline(density=density))
    forward, reverse = FORWARD(at), REVERSE(at)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-9 * np.abs(reverse).max())
    for i in range(10):
        step = np.zeros_like(at)
        step[:, i] = 1e-6 * np.abs(at[:, i])
        expected = (VALUE(at + step) - VALUE(at - step)) / (2 * step[:, i : i + 1])
        scale = np.abs(expected).max()
        np.testing.assert_allclose(forward[..., i], expected, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("length", [0.0, 1300.0])
@pytest.mark.parametrize("density", [0.0, 2.848])
@pytest.mark.parametrize("dm21", [0.0, 7.49e-5])
def test_gradients_are_finite_at_the_limits(length, density, dm21):
    at = points(nufit_6_0()._replace(dm21=dm21), Baseline(length, density))
    assert np.isfinite(FORWARD(at)).all()
    assert np.isfinite(REVERSE(at)).all()


def muon_survival(v, steps):
    return probability("mu", "mu", OscillationParameters(*v), ENERGY, newton_steps=steps).sum()


GRADIENT = jax.jit(jax.grad(muon_survival), static_argnums=1)


@pytest.mark.parametrize(("steps", "tolerance"), [(0, 1e-3), (1, 1e-6)])
def test_gradient_hardly_depends_on_the_newton_steps(steps, tolerance):
    point = jnp.array(nufit_6_0())
    np.testing.assert_allclose(GRADIENT(point, steps), GRADIENT(point, "exact"), rtol=tolerance)


def test_second_derivatives_against_finite_differences():
    point = jnp.array(nufit_6_0())
    directions = jnp.diag(jnp.abs(point))
    hessian = jax.vmap(lambda d: jax.jvp(lambda v: GRADIENT(v, "exact"), (point,), (d,))[1])
    for direction, along in zip(directions, hessian(directions), strict=True):
        up, down = (GRADIENT(point + h * direction, "exact") for h in (1e-6, -1e-6))
        expected = (up - down) / 2e-6
        np.testing.assert_allclose(along, expected, rtol=1e-5, atol=1e-7 * np.abs(expected).max())


def test_broadcasts_like_numpy_and_maps():
    params = nufit_6_0()
    dm31 = jnp.linspace(2.4e-3, 2.6e-3, 5)
    function = jax.jit(lambda d, e: probability("mu", "e", params._replace(dm31=d), e))
    broadcast = function(dm31[:, None], ENERGY)
    mapped = jax.vmap(function, in_axes=(0, None))(dm31, ENERGY)
    one_by_one = [[function(d, e) for e in ENERGY] for d in dm31]
    assert broadcast.shape == mapped.shape == (5, 60)
    np.testing.assert_allclose(broadcast, mapped, rtol=0, atol=1e-14)
    np.testing.assert_allclose(broadcast, one_by_one, rtol=0, atol=1e-14)


def test_several_channels_agree_with_single_ones():
    together = all_nine(nufit_6_0())
    for flavor_in, flavor_out in (("mu", "tau"), ("tau", "tau")):
        alone = jax.jit(partial(probability, flavor_in, flavor_out))(nufit_6_0(), ENERGY)
        i, o = FLAVORS.index(flavor_in), FLAVORS.index(flavor_out)
        np.testing.assert_allclose(alone, together[i, o], rtol=0, atol=1e-14)


def test_single_precision_works():
    params, baseline, energy = jax.tree.map(jnp.float32, (nufit_6_0(), DUNE, ENERGY))
    single = _all_nine(params, energy, baseline, False, 1)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, all_nine(nufit_6_0()), rtol=0, atol=2e-4)


def test_very_long_baselines_keep_their_phase():
    # Phases of 1e5 rad: the argument reduction of the sine is still exact
    baseline = Baseline(length=1e7, density=0.0)
    p = all_nine(nufit_6_0(), baseline)
    expected = vacuum_formula(nufit_6_0(), ENERGY, 1e7)
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probability("nu_mu", "mu", nufit_6_0(), 1.0), "flavor = nu_mu: one of e, mu, tau"),
        (
            lambda: probability("mu", "mu", nufit_6_0(), 1.0, newton_steps=3),
            "newton_steps = 3: one of 0, 1, 2, exact",
        ),
        (lambda: nufit_6_0("ic86"), "variant = ic86: one of ic24, ic19"),
        (lambda: nufit_6_0("ic24", "NO"), "ordering = NO: one of normal, inverted"),
    ],
)
def test_unknown_names_are_told_what_is_allowed(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("newton_steps", [1, "exact"])
def test_several_at_once_are_each_alone(newton_steps):
    """Every channel of both kinds, at energies and in matter of its own, with its derivative."""
    requests = [
        Request(a, b, anti, jnp.asarray(ENERGY[i : 20 + 2 * i]), Baseline(1300.0, 0.3 * i, 0.5))
        for i, (a, b, anti) in enumerate((a, b, s) for a, b in CHANNELS for s in (False, True))
    ]

    def alone(dcp):
        point = BEST_FITS[0]._replace(dcp=dcp)
        return [
            probability(a, b, point, e, m, antineutrino=anti, newton_steps=newton_steps)
            for a, b, anti, e, m in requests
        ]

    def together(dcp):
        return joint_probabilities(requests, BEST_FITS[0]._replace(dcp=dcp), newton_steps)

    found, expected = (
        jax.jit(lambda x, f=f: jax.jvp(f, (x,), (1.0,)))(3.7) for f in (together, alone)
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-13)
