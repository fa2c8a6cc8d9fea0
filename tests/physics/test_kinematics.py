"""Maps, Jacobians and the physical region, against four-vectors and against bisection."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.errors import InputError
from bayesxs.physics.kinematics import (
    HIGHEST_Z,
    NUCLEON,
    PhaseSpace,
    cosine_from_z,
    invariants,
    is_physical,
    least_transfer,
    lepton_from_invariants,
    lepton_momentum,
    most_transfer,
    q2_range,
    x_min,
    y_max,
    y_range,
    z_from_cosine,
    z_max,
    z_reach,
)

M = NUCLEON_MASS
ELECTRON, MUON, TAU = ELECTRON_MASS, MUON_MASS, TAU_MASS

masses = st.sampled_from([ELECTRON, MUON, TAU])
fractions = st.floats(1e-3, 1.0 - 1e-3)
spaces = st.sampled_from([NUCLEON, PhaseSpace(1.7), PhaseSpace(3.0)])


@st.composite
def physical_points(draw, choices=spaces):
    """(E, E_l, z, m, space) in the physical region, by fractions of the ranges of x and y."""
    mass, space = draw(masses), draw(choices)
    energy = draw(st.floats(4.0 if mass == TAU else 0.4, 60.0))
    lowest = x_min(energy, mass)
    x = lowest + draw(fractions) * (space.x_max - lowest)
    low, high = y_range(energy, x, mass)
    y = low + draw(fractions) * (high - low)
    return energy, *lepton_from_invariants(energy, x, y, mass), mass, space


points = settings(max_examples=100, deadline=None)


@points
@given(point=physical_points())
def test_points_between_the_limits_are_physical(point):
    assert is_physical(*point)


@points
@given(point=physical_points())
def test_q2_is_2_m_e_x_y(point):
    x, q2, y = invariants(*point[:4])
    assert q2 == pytest.approx(2.0 * M * point[0] * x * y, rel=1e-12)
    assert 0.0 < x < point[4].x_max
    assert 0.0 < y < 1.0


@points
@given(point=physical_points(), azimuth=st.floats(0.0, 6.3))
def test_invariants_are_those_of_the_four_vectors(point, azimuth):
    energy, lepton_energy, z, mass, _ = point
    cosine = cosine_from_z(lepton_energy, z, mass)
    momentum = np.sqrt(lepton_energy**2 - mass**2)
    sine = np.sqrt(max(1.0 - cosine**2, 0.0))
    k = np.array([energy, 0.0, 0.0, energy])
    direction = np.array([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine])
    k_out = np.array([lepton_energy, *(momentum * direction)])
    p = np.array([M, 0.0, 0.0, 0.0])
    q = k - k_out

    def dot(a, b):
        return a[0] * b[0] - a[1:] @ b[1:]

    x, q2, y = invariants(*point[:4])
    # The squares of q cancel to Q^2: an absolute error of a few 1e-16 E^2
    rounding = 1e-14 * energy**2
    assert q2 == pytest.approx(-dot(q, q), rel=1e-9, abs=rounding)
    assert y == pytest.approx(dot(p, q) / dot(p, k), rel=1e-9)
    assert 2.0 * x * dot(p, q) == pytest.approx(-dot(q, q), rel=1e-9, abs=rounding)


@points
@given(point=physical_points())
def test_lepton_from_invariants_inverts_invariants(point):
    energy, lepton_energy, z, mass, _ = point
    x, _, y = invariants(*point[:4])
    back = lepton_from_invariants(energy, x, y, mass)
    np.testing.assert_allclose(back, (lepton_energy, z), rtol=1e-12)


@points
@given(mass=masses, ratio=st.floats(1.001, 50.0), cosine=st.floats(-1.0, 1.0))
def test_angle_maps_invert_each_other(mass, ratio, cosine):
    lepton_energy = ratio * mass
    z = z_from_cosine(lepton_energy, cosine, mass)
    assert cosine_from_z(lepton_energy, z, mass) == pytest.approx(cosine, abs=1e-11)


@points
@given(point=physical_points())
def test_jacobian_of_the_angle(point):
    # d cos theta = M/p_l dz
    _, lepton_energy, z, mass, _ = point
    derivative = jax.jacfwd(lambda z: cosine_from_z(lepton_energy, z, mass))(z)
    assert abs(derivative) == pytest.approx(M / lepton_momentum(lepton_energy, mass), rel=1e-12)


@points
@given(point=physical_points())
def test_jacobian_of_the_invariants(point):
    # dE_l dz = nu dx dy
    energy, lepton_energy, _, mass, _ = point
    x, _, y = invariants(*point[:4])
    forward = jax.jacfwd(lambda v: jnp.stack(lepton_from_invariants(energy, v[0], v[1], mass)))
    determinant = jnp.linalg.det(forward(jnp.array([x, y])))
    assert abs(determinant) == pytest.approx(energy - lepton_energy, rel=1e-10)


@points
@given(
    mass=masses,
    energy=st.floats(0.3, 20.0),
    lepton_fraction=st.floats(-0.1, 1.1),
    z=st.floats(-0.2, 2.8),
    space=spaces,
)
def test_physical_region_is_its_definition(mass, energy, lepton_fraction, z, space):
    lepton_energy = lepton_fraction * energy
    nu = energy - lepton_energy
    conditions = [nu > 0.0, lepton_energy > mass]
    if all(conditions):
        q2 = 2.0 * M * energy * z - mass**2
        x = q2 / (2.0 * M * nu)
        cosine = (lepton_energy - M * z) / np.sqrt(lepton_energy**2 - mass**2)
        # Points within rounding of a limit may fall on either side
        assume(min(abs(x), abs(space.x_max - x), abs(1.0 - abs(cosine))) > 1e-9)
        conditions += [0.0 < x < space.x_max, abs(cosine) < 1.0]
    assert bool(is_physical(energy, lepton_energy, z, mass, space)) == all(conditions)


def at_fixed_x_and_q2(x, q2, y, mass):
    """(E, E_l, z, m) of the point (x, Q^2, y): E = Q^2/(2 M x y)."""
    energy = q2 / (2.0 * M * x * y)
    return energy, energy * (1.0 - y), (q2 + mass**2) / (2.0 * M * energy), mass


@points
@given(mass=masses, x=st.floats(2e-3, 0.99), log_q2=st.floats(np.log(1e-3), np.log(50.0)))
def test_y_max_is_the_largest_physical_y(mass, x, log_q2):
    q2 = np.exp(log_q2)
    below, above = 1e-5, 1.0
    assume(is_physical(*at_fixed_x_and_q2(x, q2, below, mass)))
    for _ in range(60):
        middle = 0.5 * (below + above)
        if is_physical(*at_fixed_x_and_q2(x, q2, middle, mass)):
            below = middle
        else:
            above = middle
    # |cos theta| <= 1 compares numbers of size E_l^2 that differ by S (y_max - y)
    rounding = 1e-15 * (q2 / (2.0 * M * x * below)) ** 2 / (q2 + mass**2)
    assert y_max(x, q2, mass) == pytest.approx(below, rel=1e-9, abs=rounding)


@points
@given(mass=masses, x=st.floats(2e-3, 0.99), log_q2=st.floats(np.log(1e-3), np.log(50.0)))
def test_y_max_solves_its_quadratic_with_the_lepton_on_the_axis(mass, x, log_q2):
    q2 = np.exp(log_q2)
    y = y_max(x, q2, mass)
    s, a = q2 + mass**2, q2 / (2.0 * M * x)
    assert (s * y / (2.0 * a)) ** 2 + s * y == pytest.approx(q2, rel=1e-12)
    assert 0.0 < y < 1.0
    # p_l^2 = (E_l - M z)^2, without dividing by a p_l that may vanish; E_l = E(1 - y) is rounded
    energy, lepton_energy, z, _ = at_fixed_x_and_q2(x, q2, y, mass)
    momentum2 = lepton_energy**2 - mass**2
    rounding = 1e-14 * energy * (lepton_energy + M * z)
    assert (lepton_energy - M * z) ** 2 == pytest.approx(momentum2, abs=rounding)


@points
@given(
    mass=st.sampled_from([MUON, TAU]),
    energy=st.floats(4.0, 20.0),
    fraction=st.floats(0.01, 0.99),
)
def test_y_range_ends_where_the_region_ends(mass, energy, fraction):
    lowest = x_min(energy, mass)
    x = lowest + fraction * (1.0 - lowest)
    low, high = y_range(energy, x, mass)
    step = 1e-6 * (high - low)

    def physical(y):
        return bool(is_physical(energy, *lepton_from_invariants(energy, x, y, mass), mass))

    assert physical(low + step)
    assert physical(high - step)
    assert not physical(high + step)
    assert not physical(low - step)


@points
@given(mass=masses, energy=st.floats(4.0, 60.0), fraction=fractions, space=spaces)
def test_the_region_ends_at_the_largest_x(mass, energy, fraction, space):
    top = space.x_max
    low, high = y_range(energy, top, mass)
    y = low + fraction * (high - low)
    inside, outside = (lepton_from_invariants(energy, x, y, mass) for x in (top - 1e-6, top + 1e-6))
    assert is_physical(energy, *inside, mass, space)
    assert not is_physical(energy, *outside, mass, space)


@points
@given(point=physical_points())
def test_limits_at_fixed_q2_hold_every_point(point):
    energy, lepton_energy, z, mass, space = point
    _, q2, _ = invariants(energy, lepton_energy, z, mass)
    low, high = q2_range(energy, mass, space)
    assert low * (1.0 - 1e-9) - 1e-9 <= q2 <= high * (1.0 + 1e-9)
    assert energy - lepton_energy <= most_transfer(energy, q2, mass) * (1.0 + 1e-9)


@points
@given(mass=masses, energy=st.floats(4.0, 60.0), fraction=fractions, space=spaces)
def test_limits_at_fixed_q2_are_on_the_axis_and_at_the_largest_x(mass, energy, fraction, space):
    low, high = q2_range(energy, mass, space)
    q2 = low + fraction * (high - low)
    nu, z = most_transfer(energy, q2, mass), (q2 + mass**2) / (2.0 * M * energy)
    momentum = lepton_momentum(energy - nu, mass)
    assert abs(energy - nu - M * z) == pytest.approx(momentum, abs=1e-7 * energy)
    for end in (low, high):  # the smaller is a difference of numbers of size m^2
        least = end / (2.0 * M * space.x_max)
        rounding = 1e-12 * energy if end == high else 1e-7
        assert most_transfer(energy, end, mass) == pytest.approx(least, rel=1e-9, abs=rounding)


@points
@given(mass=masses, energy=st.floats(4.0, 60.0), fraction=fractions, space=spaces)
def test_limits_of_a_row_are_where_x_is_largest(mass, energy, fraction, space):
    low, high = y_range(energy, space.x_max, mass)
    y = low + fraction * (high - low)
    lepton_energy, z = lepton_from_invariants(energy, space.x_max, y, mass)
    # At given (E_l, z) the least nu, at given (E, E_l) the largest z
    nu = least_transfer(lepton_energy, z, mass, space)
    assert nu == pytest.approx(energy - lepton_energy, rel=1e-9)
    assert z_reach(energy, lepton_energy, mass, space) == pytest.approx(z, rel=1e-9)
    lower = nu * (1.0 - 1e-6) + lepton_energy
    assert invariants(lower, lepton_energy, z, mass).x > space.x_max


@pytest.mark.parametrize("x_max", [0.99, -1.0, np.nan, np.inf])
def test_x_reaches_one_at_least(x_max):
    with pytest.raises(InputError, match="x_max"):
        PhaseSpace(x_max)


@points
@given(mass=masses, energy=st.floats(4.0, 60.0), fraction=st.floats(0.0, 0.999))
def test_nothing_is_physical_below_x_min(mass, energy, fraction):
    x = x_min(energy, mass) * fraction
    y = np.linspace(0.0, 1.0, 2001)
    assert not np.any(is_physical(energy, *lepton_from_invariants(energy, x, y, mass), mass))


@points
@given(mass=masses, energy=st.floats(4.0, 60.0))
def test_y_range_closes_at_x_min(mass, energy):
    low, high = y_range(energy, x_min(energy, mass), mass)
    # The square root turns rounding of 1e-16 into 1e-8
    assert high - low == pytest.approx(0.0, abs=1e-7)


@points
@given(energy=st.floats(0.4, 60.0), x=st.floats(0.01, 0.99))
def test_y_max_and_y_range_agree(energy, x):
    # The upper end at fixed (E, x) is y_max at its own Q^2
    assume(x > 1.05 * x_min(energy, MUON))
    _, high = y_range(energy, x, MUON)
    assert y_max(x, 2.0 * M * energy * x * high, MUON) == pytest.approx(high, rel=1e-9)


@points
@given(point=physical_points(), factor=st.floats(1.0, 3.0))
def test_z_max_covers_the_region(point, factor):
    energy, _, z, mass, space = point
    assume(space == NUCLEON or z < HIGHEST_Z)
    assert 0.0 < z < z_max(factor * energy, mass, space)


def test_momentum_vanishes_below_threshold():
    np.testing.assert_array_equal(lepton_momentum(np.array([0.0, 0.05, MUON]), MUON), 0.0)


def test_numpy_in_numpy_out_jax_in_jax_out():
    arguments = (2.0, 1.0, 0.3)
    for wrap, kind in ((np.asarray, np.generic), (jnp.asarray, jax.Array)):
        x, q2, y = invariants(*map(wrap, arguments), MUON)
        assert all(isinstance(value, kind) for value in (x, q2, y, y_max(x, q2, MUON)))
