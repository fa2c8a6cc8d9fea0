"""The response conserves what it should, and is the law that events follow."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import MUON_MASS, NUCLEON_MASS
from bayesxs.detector.reco import RecoGrid, reco_grid, true_cells
from bayesxs.detector.smearing import (
    Acceptance,
    ResponseParameters,
    response_factors,
    response_matrix,
    smear,
    smear_events,
)
from bayesxs.errors import InputError
from bayesxs.physics.kinematics import cosine_from_z

# Statistical tests run with fixed seeds and reject good code with this probability
FALSE_ALARM = 1e-4
NOMINAL = ResponseParameters()
SHARP = ResponseParameters(0.0, 0.0, 0.0)
EVERYTHING = Acceptance(threshold=0.0)


def grid_of(n_energy=12, n_angle=7):
    """Uneven bins up to 8 GeV."""
    return RecoGrid(
        MUON_MASS + (8.0 - MUON_MASS) * np.linspace(0.0, 1.0, n_energy + 1) ** 1.5,
        np.pi * np.linspace(0.0, 1.0, n_angle + 1) ** 2,
    )


@pytest.fixture(scope="module")
def cells():
    """A smooth forward-peaked spectrum on 60 x 50 cells: E_l, theta, expected events."""
    energy, theta = np.meshgrid(
        MUON_MASS + 0.12 * (np.arange(60) + 0.5), np.pi * ((np.arange(50) + 0.5) / 50) ** 2
    )
    energy, theta = energy.ravel(), theta.ravel()
    events = energy**2 * np.exp(-energy / 0.9) * theta * np.exp(-energy * theta / 0.4)
    return energy, theta, 6200.0 * events / events.sum()


def test_no_smearing_is_a_histogram(cells):
    energy, theta, events = cells
    energy = np.append(energy, [30.0, 2.0, 2.0])  # overflow, and both ends of the angle
    theta = np.append(theta, [0.3, 0.0, np.pi])
    events = np.append(events, [5.0, 6.0, 7.0])
    grid = grid_of()
    expected, *_ = np.histogram2d(
        np.minimum(energy, 7.9), theta, bins=(grid.energy_edges, grid.angle_edges), weights=events
    )
    found = smear(SHARP, events[:, None], energy, theta, grid, EVERYTHING, MUON_MASS)
    np.testing.assert_allclose(np.reshape(found, grid.shape), expected, rtol=1e-12)
    counted = grid.count(np.repeat(energy[-3:], 2), np.repeat(theta[-3:], 2))
    over = smear(SHARP, 2.0 * np.ones((3, 1)), energy[-3:], theta[-3:], grid, EVERYTHING, MUON_MASS)
    np.testing.assert_array_equal(counted, over[:, 0])


def test_values_on_an_edge_belong_to_the_bin_above():
    grid = grid_of()
    energy, theta = grid.energy_edges[:-1], np.full(grid.shape[0], grid.angle_edges[3])
    by_energy, by_angle = response_factors(SHARP, energy, theta, grid, EVERYTHING, MUON_MASS)
    np.testing.assert_array_equal(by_energy, np.eye(grid.shape[0]))
    np.testing.assert_array_equal(np.argmax(by_angle, axis=0), 3)


@pytest.mark.parametrize("turn_on", [0.0, 0.2])
def test_what_is_well_above_threshold_is_seen_with_the_efficiency(turn_on):
    acceptance = Acceptance(efficiency=0.8, turn_on=turn_on)
    energy, theta = np.linspace(1.0, 30.0, 40), np.linspace(0.0, np.pi, 40)
    matrix = response_matrix(NOMINAL, energy, theta, grid_of(), acceptance, MUON_MASS)
    kinetic = energy - MUON_MASS
    expected = 0.8 * (1.0 - np.exp(-kinetic / turn_on)) if turn_on else np.full(40, 0.8)
    np.testing.assert_allclose(matrix.sum(axis=0), expected, rtol=1e-12)


def test_threshold_cuts_the_reconstructed_kinetic_energy():
    # True energy at the threshold: half of the events fluctuate below; a shift up rescues more
    at_threshold = np.array([MUON_MASS + 0.3])
    grid, acceptance = grid_of(), Acceptance(threshold=0.3)

    def seen(parameters):
        return response_matrix(parameters, at_threshold, [0.4], grid, acceptance, MUON_MASS).sum()

    assert seen(NOMINAL) == pytest.approx(0.5, abs=1e-12)
    # E_rec > E_l where n > -scale/((1 + scale) resolution)
    up = NOMINAL._replace(energy_scale=0.05)
    assert seen(up) == pytest.approx(scipy.stats.norm.cdf(0.05 / 1.05 / 0.05), abs=1e-12)


def test_scale_moves_mean_and_width_of_the_energy():
    fine = RecoGrid(np.linspace(MUON_MASS, 8.0, 4001), np.array([0.0, 1.0, np.pi]))
    parameters = ResponseParameters(0.04, 0.1, 0.02)
    by_energy, _ = response_factors(parameters, [2.5], [0.5], fine, EVERYTHING, MUON_MASS)
    weights = np.asarray(by_energy)[:, 0]
    mean = weights @ fine.energy_centers
    sd = np.sqrt(weights @ (fine.energy_centers - mean) ** 2)
    assert mean == pytest.approx(1.04 * 2.5, rel=1e-6)
    assert sd == pytest.approx(0.1 * 1.04 * 2.5, rel=1e-4)


@pytest.mark.parametrize("theta", [0.0, 0.01, 0.5, np.pi - 0.02, np.pi])
def test_angles_reflect_at_both_ends(theta):
    grid = RecoGrid(np.array([MUON_MASS, 1.0]), np.linspace(0.0, np.pi, 60))
    parameters = ResponseParameters(0.0, 0.0, 0.3)
    _, by_angle = response_factors(parameters, [0.5], [theta], grid, EVERYTHING, MUON_MASS)
    t = 0.5 * (grid.angle_edges[1:] + grid.angle_edges[:-1])
    law = sum(scipy.stats.norm.pdf(image, theta, 0.3) for image in (t, -t, 2.0 * np.pi - t))
    np.testing.assert_allclose(
        np.asarray(by_angle)[:, 0] / np.diff(grid.angle_edges), law, rtol=0.02, atol=1e-6
    )


def test_smear_is_the_matrix_times_rows(cells):
    energy, theta, events = cells
    rows = events[:, None] * np.stack([np.ones_like(energy), energy, np.cos(theta)], axis=1)
    grid, acceptance = grid_of(), Acceptance(efficiency=0.9, turn_on=0.1)
    arguments = (energy, theta, grid, acceptance, MUON_MASS)
    matrix = response_matrix(NOMINAL, *arguments)
    assert matrix.shape == (grid.size, len(energy))
    np.testing.assert_allclose(smear(NOMINAL, rows, *arguments), matrix @ rows, rtol=1e-10)


@pytest.mark.parametrize(
    ("parameters", "acceptance"),
    [
        (NOMINAL, Acceptance()),
        (ResponseParameters(0.1, 0.25, 0.4), Acceptance(0.2, 0.7, 0.3)),
        (ResponseParameters(-0.05, 0.0, 0.1), Acceptance(0.5, 0.9)),
    ],
)
def test_drawn_events_follow_the_response(cells, parameters, acceptance):
    energy, theta, events = cells
    rng = np.random.default_rng(7)
    number = 200_000
    which = rng.choice(len(energy), size=number, p=events / events.sum())
    smeared, turned, kept = smear_events(
        jax.random.key(3), energy[which], theta[which], parameters, acceptance, MUON_MASS
    )
    drawn = smeared[kept], turned[kept]
    grid = grid_of()
    true = np.bincount(which, minlength=len(energy)).astype(float)
    matrix = response_matrix(parameters, energy, theta, grid, acceptance, MUON_MASS)
    expected = np.append(matrix @ true, number - (matrix @ true).sum())
    counts = np.append(grid.count(*drawn), number - len(drawn[0]))
    # True cells are given, so counts vary less than Poisson: variance of a sum of Bernoullis
    variance = np.append(
        (matrix * (1.0 - matrix)) @ true,
        (matrix.sum(axis=0) * (1.0 - matrix.sum(axis=0))) @ true,
    )
    assert np.all(counts[expected < 1e-9] == 0)
    large = variance > 10.0
    pulls = (counts - expected)[large] / np.sqrt(variance[large])
    # Bins of few true cells are anticorrelated, which makes the sum narrower than chi2, if at all
    assert (pulls**2).sum() < scipy.stats.chi2.isf(FALSE_ALARM, large.sum())
    assert np.abs(pulls).max() < scipy.stats.norm.isf(0.5 * FALSE_ALARM / large.sum())


@pytest.mark.parametrize("name", ResponseParameters._fields)
def test_derivatives_agree_with_finite_differences(cells, name):
    energy, theta, events = cells
    arguments = (events[:, None], energy, theta, grid_of(), Acceptance(), MUON_MASS)
    slope = getattr(jax.jacfwd(smear)(NOMINAL, *arguments), name)
    step = 1e-5 if name == "energy_scale" else 1e-4 * getattr(NOMINAL, name)

    def shifted(sign):
        moved = {name: getattr(NOMINAL, name) + sign * step}
        return np.asarray(smear(NOMINAL._replace(**moved), *arguments))

    difference = (shifted(1.0) - shifted(-1.0)) / (2.0 * step)
    scale = np.abs(difference).max()
    assert scale > 0.0
    np.testing.assert_allclose(slope, difference, rtol=1e-4, atol=1e-6 * scale)


@pytest.mark.parametrize("parameters", [SHARP, ResponseParameters(0.0, 1e-8, 1e-8), NOMINAL])
def test_derivatives_are_finite_however_narrow_the_response(parameters):
    energy, theta = np.linspace(MUON_MASS, 9.0, 30), np.linspace(0.0, np.pi, 30)

    def function(p):
        return response_factors(p, energy, theta, grid_of(), EVERYTHING, MUON_MASS)

    for derivative in (jax.jacfwd(function), jax.jacfwd(jax.jacfwd(function))):
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(derivative(parameters)))


def test_reco_grid_bins_hold_events(cells):
    energy, theta, events = cells
    grid = reco_grid(energy, theta, events, 20, 10, MUON_MASS, 8.0, even=0.25)
    assert grid.shape == (20, 10)
    assert grid.energy_edges[0] == MUON_MASS
    assert grid.energy_edges[-1] == 8.0
    np.testing.assert_array_equal(grid.angle_edges[[0, -1]], [0.0, np.pi])
    # No bin spans more than 1/even of an equal share, up to rounding
    assert np.diff(grid.energy_edges).max() <= (8.0 - MUON_MASS) / 20 / 0.25 + 1e-9
    assert np.diff(grid.angle_edges).max() <= np.pi / 10 / 0.25 + 1e-9
    # Nor holds more than 1/(1 - even) of it, once cells of finite size are smeared over the edges
    spectrum = smear(NOMINAL, events[:, None], energy, theta, grid, Acceptance(), MUON_MASS)
    table = np.reshape(spectrum, grid.shape) / events.sum()
    assert table.sum(axis=1).max() < 1.1 / 20 / 0.75
    assert table.sum(axis=0).max() < 1.1 / 10 / 0.75
    even = reco_grid(energy, theta, events, 4, 3, MUON_MASS, 8.0, even=1.0)
    np.testing.assert_allclose(even.energy_edges, np.linspace(MUON_MASS, 8.0, 5))
    np.testing.assert_allclose(even.energy_centers[0], MUON_MASS + (8.0 - MUON_MASS) / 8.0)
    np.testing.assert_allclose(even.angle_centers, np.pi * np.array([1.0, 3.0, 5.0]) / 6.0)


def test_true_cells_cover_the_angles_and_are_fine_enough():
    # Area of |cos theta| <= 1 in (E_l, z): the integral of 2 p_l/M, in closed form
    cells = true_cells(10.0, 120, 80, MUON_MASS)
    momentum = np.sqrt(10.0**2 - MUON_MASS**2)
    area = 10.0 * momentum - MUON_MASS**2 * np.log((10.0 + momentum) / MUON_MASS)
    assert cells.areas.sum() == pytest.approx(area / NUCLEON_MASS, rel=1e-3)
    cosine = cosine_from_z(cells.lepton_energy, cells.z, MUON_MASS)
    np.testing.assert_allclose(np.cos(cells.theta), cosine, atol=1e-9)

    grid = grid_of()

    def spectrum(n_energy, n_angle):
        energy, theta, z, areas = true_cells(10.0, n_energy, n_angle, MUON_MASS)
        events = areas * energy * np.exp(-energy / 0.9 - 5.0 * z)
        out = smear(NOMINAL, events[:, None], energy, theta, grid, Acceptance(), MUON_MASS)
        return np.asarray(out)[:, 0]

    coarse, fine = spectrum(120, 80), spectrum(300, 200)
    # A thousandth, where the statistical error of 6200 events is over a hundredth
    assert np.abs(coarse - fine).sum() < 1e-3 * fine.sum()


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(-0.3, 0.3),
    energy_resolution=st.floats(0.0, 0.6),
    angle_resolution=st.floats(0.0, 1.0),
    acceptance=st.sampled_from([EVERYTHING, Acceptance(0.03, 0.9), Acceptance(1.0, 0.01, 0.5)]),
    seed=st.integers(0, 2**16),
)
def test_probabilities_are_probabilities(
    scale, energy_resolution, angle_resolution, acceptance, seed
):
    rng = np.random.default_rng(seed)
    energy, theta = rng.uniform(MUON_MASS, 12.0, 25), rng.uniform(0.0, np.pi, 25)
    parameters = ResponseParameters(scale, energy_resolution, angle_resolution)
    by_energy, by_angle = response_factors(
        parameters, energy, theta, grid_of(), acceptance, MUON_MASS
    )
    assert np.all(by_energy >= 0.0)
    assert np.all(by_angle >= 0.0)
    assert np.all(np.sum(by_energy, axis=0) <= acceptance.efficiency * (1.0 + 1e-12))
    np.testing.assert_allclose(np.sum(by_angle, axis=0), 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: Acceptance(threshold=-0.1), "threshold"),
        (lambda: Acceptance(efficiency=0.0), "efficiency"),
        (lambda: Acceptance(efficiency=1.1), "efficiency"),
        (lambda: Acceptance(turn_on=-1.0), "turn_on"),
        (lambda: RecoGrid(np.array([1.0, 1.0]), np.array([0.0, np.pi])), "energy_edges"),
        (lambda: RecoGrid(np.array([1.0]), np.array([0.0, np.pi])), "energy_edges"),
        (lambda: RecoGrid(np.array([1.0, 2.0]), np.array([0.0, 3.0])), "angle_edges"),
        (lambda: RecoGrid(np.array([1.0, 2.0]), np.array([0.0, 2.0, 1.0])), "angle_edges"),
        (lambda: reco_grid([1.0], [0.1], [0.0], 2, 2, MUON_MASS, 8.0), "weights"),
        (lambda: reco_grid([1.0], [0.1], [1.0], 0, 2, MUON_MASS, 8.0), "bins"),
        (lambda: reco_grid([1.0], [0.1], [1.0], 2, 2, MUON_MASS, 8.0, even=0.0), "even"),
        (lambda: factors(NOMINAL._replace(energy_resolution=-0.1)), "energy_resolution"),
        (lambda: factors(NOMINAL._replace(angle_resolution=-0.1)), "angle_resolution"),
        (lambda: factors(NOMINAL._replace(energy_scale=-1.5)), "energy_scale"),
        (lambda: factors(NOMINAL._replace(energy_resolution=np.nan)), "energy_resolution"),
        (lambda: factors(NOMINAL, theta=3.5), "theta"),
        (lambda: factors(NOMINAL, energy=np.nan), "lepton_energy"),
    ],
)
def test_impossible_values_are_refused_by_name(build, name):
    with pytest.raises(InputError, match=name) as caught:
        build()
    assert isinstance(caught.value, ValueError)


def factors(parameters, energy=1.0, theta=0.1):
    """Response to one lepton."""
    return response_factors(parameters, [energy], [theta], grid_of(), Acceptance(), MUON_MASS)
