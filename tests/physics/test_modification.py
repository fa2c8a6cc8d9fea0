"""Ways in which nature may differ from the assumed cross section."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import MUON_MASS
from bayesxs.errors import InputError
from bayesxs.physics.helicity import helicity_from_five
from bayesxs.physics.modification import (
    Modification,
    emc_ratio,
    modify_nucleus,
    scale_f3,
    shift_f4,
    suppress_low_q2,
)
from bayesxs.physics.structure_functions import PartonFunctions

X = np.array([[0.003, 0.1], [0.3, 0.85]])
Q2 = np.array([[0.05, 0.7], [2.0, 30.0]])
FIVE = np.random.default_rng(3).normal(size=(2, 2, 5))
EVERYTHING = Modification(q2_scale=0.3, f3_scale=0.7, emc_nucleons=40)


def published_ratio(x: float, a: float) -> float:
    """Write the fit out as Phys. Rev. D 49, 4348 prints it."""
    alpha = (
        -0.070
        + 2.189 * x
        - 24.667 * x**2
        + 145.291 * x**3
        - 497.237 * x**4
        + 1013.129 * x**5
        - 1208.393 * x**6
        + 775.767 * x**7
        - 205.872 * x**8
    )
    log_c = 0.017 + 0.018 * math.log(x) + 0.005 * math.log(x) ** 2
    return math.exp(log_c) * a**alpha


def test_neutral_values_change_nothing_at_all() -> None:
    np.testing.assert_array_equal(Modification().apply(FIVE, X, Q2), FIVE)
    np.testing.assert_array_equal(suppress_low_q2(FIVE, Q2, 0.0), FIVE)
    np.testing.assert_array_equal(modify_nucleus(FIVE, X, 0), FIVE)
    np.testing.assert_array_equal(scale_f3(FIVE, 1.0), FIVE)


def test_suppression_is_a_half_at_its_scale_and_goes_away_above() -> None:
    five = jnp.ones((4, 5))
    found = suppress_low_q2(five, jnp.array([0.0, 0.188, 18.8, 1e12]), 0.188)
    np.testing.assert_allclose(found[:, 1], [0.0, 0.5, 100 / 101, 1.0], rtol=1e-12)
    np.testing.assert_array_equal(found, found[:, :1] * np.ones(5))


@given(q2=st.floats(1e-6, 1e4), scale=st.floats(0, 10), more=st.floats(1e-3, 10))
@settings(max_examples=30, deadline=None)
def test_suppression_grows_with_the_scale(q2: float, scale: float, more: float) -> None:
    weak, strong = (suppress_low_q2(jnp.ones(5), q2, s)[0] for s in (scale, scale + more))
    assert 0 < strong < weak <= 1


def test_f3_scales_alone() -> None:
    found = scale_f3(FIVE, -0.4)
    np.testing.assert_allclose(found[..., 2], -0.4 * FIVE[..., 2], rtol=1e-15)
    others = [0, 1, 3, 4]
    np.testing.assert_array_equal(found[..., others], FIVE[..., others])


def test_f4_moves_ss_alone() -> None:
    x, q2 = jnp.asarray(0.3), jnp.asarray(2.0)
    five = jnp.asarray(FIVE[0, 0])
    before, after = (np.array(helicity_from_five(f, x, q2)) for f in (five, shift_f4(five, 0.7)))
    np.testing.assert_allclose(after[:4], before[:4], rtol=1e-14)
    assert after[4] - before[4] == pytest.approx(0.7 * float(five[0]), rel=1e-12)


@given(x=st.floats(0.01, 0.88), nucleons=st.integers(4, 208))
@settings(max_examples=50, deadline=None)
def test_nuclear_ratio_is_the_published_fit(x: float, nucleons: int) -> None:
    assert emc_ratio(x, nucleons) == pytest.approx(published_ratio(x, nucleons), rel=1e-10)


def test_nuclear_ratio_has_the_shape_of_the_emc_effect() -> None:
    # Shadowing, antishadowing of a few percent, the dip, and the rise of Fermi motion; the effect
    # grows with A.
    shadowing, antishadowing, dip, fermi = emc_ratio(jnp.array([0.01, 0.15, 0.6, 0.88]), 40)
    assert shadowing < 0.95
    assert 1.0 < antishadowing < 1.05
    assert 0.84 < dip < 0.91
    assert fermi > dip + 0.1
    heavier = emc_ratio(0.6, 197)
    assert heavier < dip < emc_ratio(0.6, 4) < 1


def test_nuclear_ratio_is_constant_outside_its_range() -> None:
    ends = emc_ratio(jnp.array([0.01, 0.88]), 40)
    np.testing.assert_array_equal(emc_ratio(jnp.array([1e-6, 1.0]), 40), ends)


def test_parts_combine_by_multiplication() -> None:
    expected = FIVE * (Q2 / (Q2 + 0.3) * emc_ratio(X, 40))[..., None]
    expected = expected.at[..., 2].multiply(0.7)
    np.testing.assert_allclose(EVERYTHING.apply(FIVE, X, Q2), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"q2_scale": -0.1}, r"modification: q2_scale = -0\.1: finite and >= 0"),
        ({"q2_scale": math.inf}, "q2_scale = inf"),
        ({"f3_scale": math.nan}, "f3_scale = nan"),
        ({"f4_shift": -0.1}, r"f4_shift = -0\.1: finite and >= 0"),
        ({"emc_nucleons": 2}, r"emc_nucleons = 2: 0 \(off\) or at least 4"),
        ({"emc_nucleons": -40}, "emc_nucleons = -40"),
    ],
)
def test_values_out_of_range(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Modification(**values)


@pytest.mark.parametrize("antineutrino", [False, True])
def test_structure_functions_of_modified_nature(nucleon_pdf, antineutrino: bool) -> None:
    plain = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS, antineutrino)
    neutral = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS, antineutrino, Modification())
    other = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS, antineutrino, EVERYTHING)
    np.testing.assert_array_equal(neutral(X, Q2), plain(X, Q2))
    five = other.five(X, Q2)
    np.testing.assert_allclose(five, EVERYTHING.apply(plain.five(X, Q2), X, Q2), rtol=1e-12)
    # Callan-Gross and Albright-Jarlskog survive
    np.testing.assert_allclose(2 * X * five[..., 0], five[..., 1], rtol=1e-12)
    np.testing.assert_allclose(2 * X * five[..., 4], five[..., 1], rtol=1e-12)
    np.testing.assert_allclose(jax.jit(other)(X, Q2), other(X, Q2), rtol=1e-12)


def test_one_q2_for_many_x(nucleon_pdf) -> None:
    other = PartonFunctions(nucleon_pdf, 18.0, 22.0, MUON_MASS, modification=EVERYTHING)
    x = np.array([0.1, 0.3, 0.5])
    np.testing.assert_allclose(other.five(x, 2.0), other.five(x, np.full(3, 2.0)), rtol=1e-14)
