"""The likelihood against its definition, the priors against theirs, and the octant's exact sum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpyro import handlers
from numpyro.infer.util import log_density
from scipy.integrate import simpson
from scipy.stats import binom

from bayesxs.constants import ELECTRON_MASS
from bayesxs.detector.density import FoldedRows, Sample, density
from bayesxs.detector.grid import lepton_grid
from bayesxs.inference.channel import far_channel, log_likelihood, pointwise_log_density
from bayesxs.inference.compression import probability_span
from bayesxs.inference.folded import Folded, Oscillation
from bayesxs.inference.model import far_detector_model, resolve_octant
from bayesxs.inference.priors import (
    Flat,
    Gaussian,
    crosses_octants,
    log_prior,
    prior_box,
    prior_distribution,
)
from bayesxs.physics.kinematics import lepton_from_invariants, y_range
from bayesxs.physics.oscillation import OscillationParameters, probability

SAMPLES = {
    "mu mu": Sample("mu", "mu"),
    "mu e": Sample("mu", "e"),
    "anti mu mu": Sample("mu", "mu", antineutrino=True),
    "anti mu e": Sample("mu", "e", antineutrino=True),
}

# Every parameter free, as widely as a card would
EVERYTHING = {
    "s2_12": Gaussian(0.308, 0.0115),
    "s2_13": Gaussian(0.02215, 0.00057),
    "s2_23": Flat(0.3, 0.7),
    "dcp": Flat(-np.pi, np.pi),
    "dm21": Gaussian(7.49e-5, 0.19e-5),
    "dm31": Flat(2.2e-3, 2.9e-3),
}


def drawn(rng: np.random.Generator, number: int) -> OscillationParameters:
    """Draw points evenly from the box of the priors."""
    box = prior_box(EVERYTHING)
    return OscillationParameters(
        *(rng.uniform(*box[name], number) for name in OscillationParameters._fields)
    )


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    """Forty physical (E_l, z), good for electrons and muons alike."""
    rng = np.random.default_rng(0)
    energy, x = rng.uniform(1.0, 4.5, 40), rng.uniform(0.05, 0.7, 40)
    low, high = y_range(energy, x, ELECTRON_MASS)
    y = low + (high - low) * rng.uniform(0.1, 0.7, 40)
    return lepton_from_invariants(energy, x, y, ELECTRON_MASS)


@pytest.fixture(scope="module")
def responses(response, rows) -> dict[str, FoldedRows]:
    folded = {flavor: response(Sample("mu", flavor), *rows) for flavor in ("mu", "e")}
    return {name: folded[sample.flavor_out] for name, sample in SAMPLES.items()}


@pytest.fixture(scope="module")
def channels(responses, channel_of) -> dict[str, Any]:
    weights = 1.0 + np.arange(40) % 3
    return {
        name: channel_of(sample, responses[name], EVERYTHING, weights)
        for name, sample in SAMPLES.items()
    }


@pytest.fixture(scope="module")
def muons(channels):
    return channels["mu mu"]


@jax.jit
def all_log_densities(channel, points: OscillationParameters):
    """Log density of every row at many points, shape (points, rows)."""
    return jax.vmap(pointwise_log_density, (None, 0))(channel, points)


@jax.jit
def survival(energy, parameters: OscillationParameters):
    return probability("mu", "mu", parameters, energy)


# --- the likelihood ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLES)
def test_the_density_equals_its_definition(name, channels, responses, flux, energies):
    # p_FD = T (phi P) / (v (phi P)), without compression and logarithms
    sample, points = SAMPLES[name], drawn(np.random.default_rng(1), 50)
    columns = OscillationParameters(*(v[:, None] for v in points))

    @jax.jit
    def oscillation(columns):
        flavors = sample.flavor_in, sample.flavor_out
        return probability(*flavors, columns, energies.points, antineutrino=sample.antineutrino)

    p = oscillation(columns)
    source = flux(sample.flux_id, energies.points)
    expected = [np.log(density(responses[name], source * row)) for row in np.asarray(p)]
    compressed = all_log_densities(channels[name], points)
    np.testing.assert_allclose(compressed, expected, rtol=0.0, atol=1e-7)


def test_the_compression_is_worth_it(channels):
    for channel in channels.values():
        assert channel.right.shape[0] < 0.6 * channel.right.shape[1]
        np.testing.assert_allclose(
            channel.right @ channel.right.T, np.eye(len(channel.right)), atol=1e-12
        )


def test_samples_and_events_add_up(channels):
    both = [channels["mu mu"], channels["anti mu e"]]
    points = drawn(np.random.default_rng(1), 50)
    expected = sum(np.asarray(all_log_densities(c, points)) @ c.weights for c in both)
    point = OscillationParameters(*(v[7] for v in points))
    np.testing.assert_allclose(log_likelihood(both, point), expected[7], rtol=1e-12)
    assert log_likelihood([], point) == 0.0


def test_the_scale_of_the_cross_section_does_not_matter(responses, channel_of, muons):
    folded = responses["mu mu"]
    scaled = FoldedRows(3.7 * folded.rows, 3.7 * folded.total)
    points = drawn(np.random.default_rng(2), 50)
    other = channel_of(Sample(), scaled, EVERYTHING)
    np.testing.assert_allclose(
        all_log_densities(other, points), all_log_densities(muons, points), rtol=0.0, atol=1e-12
    )


def test_gradients_agree_with_finite_differences(channels):
    box = prior_box(EVERYTHING)
    low, high = np.transpose([box[name] for name in OscillationParameters._fields])

    @jax.jit
    def height(unit):
        point = OscillationParameters(*(low + (high - low) * unit))
        return log_likelihood([channels["mu e"]], point)

    center, step = jnp.array([0.45, 0.55, 0.6, 0.3, 0.5, 0.4]), 1e-3
    gradient = jax.jit(jax.grad(height))(center)
    for axis in range(6):
        shift = step * jnp.eye(6)[axis]
        ahead, behind = height(center + shift), height(center - shift)
        further, back = height(center + 2 * shift), height(center - 2 * shift)
        slope = (8.0 * (ahead - behind) - (further - back)) / (12.0 * step)
        np.testing.assert_allclose(gradient[axis], slope, rtol=1e-5, atol=1e-5)


def test_asimov_data_are_likeliest_at_the_truth(response, flux, energies, nature, channel_of, rows):
    bins = lepton_grid(5.0, 20, 20, Sample().lepton_mass)
    folded = response(Sample(), *bins.rows)
    folded = FoldedRows(folded.rows, bins.areas @ folded.rows)  # the bins' own normalisation
    source = flux(14, energies.points)
    expected = bins.areas * density(folded, source * np.asarray(survival(energies.points, nature)))
    np.testing.assert_allclose(expected.sum(), 1.0, rtol=1e-12)
    free = {name: EVERYTHING[name] for name in ("s2_23", "dm31")}
    channel = channel_of(Sample(), folded, free, 1000.0 * expected)
    assert len(channel.weights) < bins.areas.size  # bins that nothing reaches are left out

    @jax.jit
    def height(dm31, s2_23):
        return log_likelihood([channel], nature._replace(dm31=dm31, s2_23=s2_23))

    best = float(height(nature.dm31, nature.s2_23))
    # Gibbs' inequality leaves no other maximum as high, save the mirror image in s2_23 (nearly)
    dm31, s2_23 = np.meshgrid(np.linspace(2.3e-3, 2.7e-3, 41), np.linspace(0.35, 0.65, 31))
    others = jax.vmap(height)(dm31.ravel(), s2_23.ravel())
    assert np.all(np.asarray(others) < best)
    slope = jax.grad(height, (0, 1))(nature.dm31, nature.s2_23)
    # In units of the statistical error: 5e-5 eV^2 and 0.03 with as many events
    np.testing.assert_allclose(np.array(slope) * [5e-5, 0.03], 0.0, atol=1e-6)


def test_rows_without_density_are_refused_if_they_hold_events(responses, flux, energies):
    folded = responses["mu mu"]
    dead = folded._replace(rows=np.where(np.arange(40)[:, None] == 7, 0.0, folded.rows))
    arguments = (Folded.plain(dead, flux(14, energies.points)), energies.points)
    rest = (Oscillation(Sample()), np.eye(len(energies.points)))
    with pytest.raises(ValueError, match="no density at 1 of 40 rows, the first is 7"):
        far_channel(*arguments, np.ones(40), *rest)
    # Rows without weight are left out, whatever their density
    kept = far_channel(*arguments, np.where(np.arange(40) % 7 == 0, 0.0, 1.0), *rest)
    assert len(kept.weights) == 34
    assert np.all(np.isfinite(kept.log_reference))


def test_without_free_parameters_one_direction_is_left(energies, nature):
    span = probability_span(Oscillation(Sample()), energies.points, {}, nature)
    assert span.shape == (1, len(energies.points))
    expected = survival(energies.points, nature)
    np.testing.assert_allclose(span.T @ (span @ expected), expected, rtol=1e-12)


# --- priors ------------------------------------------------------------------------------------


def test_flat_priors_are_flat_between_their_bounds(nature):
    priors = {"dm31": Flat(2.2e-3, 2.7e-3), "s2_23": Flat(0.4, 0.6)}
    expected = -np.log(0.5e-3) - np.log(0.2)
    for dm31, s2_23, value in ((2.25e-3, 0.41, expected), (2.65e-3, 0.6, expected)):
        point = nature._replace(dm31=dm31, s2_23=s2_23)
        np.testing.assert_allclose(log_prior(priors, point), value, rtol=1e-12)
    for outside in ({"dm31": 2.8e-3}, {"dm31": -2.5e-3}, {"s2_23": 0.39}, {"s2_23": 0.61}):
        assert log_prior(priors, nature._replace(**outside)) == -np.inf
    assert log_prior({}, nature) == 0.0


@pytest.mark.parametrize(
    ("name", "prior"),
    [
        ("s2_13", Gaussian(0.02215, 0.00057)),
        ("s2_13", Gaussian(0.001, 0.002)),  # cut at zero
        ("s2_23", Gaussian(0.95, 0.1)),  # cut at one
        ("dm21", Gaussian(1e-5, 2e-5)),  # cut at zero
        ("dm31", Gaussian(1e-4, 2e-3)),  # both orderings
    ],
)
def test_gaussian_priors_are_normal_and_end_at_the_physical_range(name, prior, nature):
    low, high = prior_box({name: prior})[name]
    inside = np.linspace(low, high, 4001)
    values = np.asarray(prior_distribution(name, prior).log_prob(inside))
    normal = -0.5 * ((inside - prior.mean) / prior.sd) ** 2
    np.testing.assert_allclose(values - values[0], normal - normal[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(simpson(np.exp(values), inside), 1.0, rtol=1e-6)
    for edge, cut, beyond in (
        (low, low > prior.mean - 8.0 * prior.sd, low - 1e-6),
        (high, high < prior.mean + 8.0 * prior.sd, high + 1e-6),
    ):
        priors = {name: prior}
        assert np.isfinite(log_prior(priors, nature._replace(**{name: edge})))
        assert np.isfinite(log_prior(priors, nature._replace(**{name: beyond}))) != cut


def test_the_phase_lives_on_a_circle(nature):
    angle = np.linspace(-np.pi, np.pi, 9)
    for low in (-np.pi, 0.0):
        flat = prior_distribution("dcp", Flat(low, low + 2.0 * np.pi))
        np.testing.assert_allclose(flat.log_prob(angle), -np.log(2.0 * np.pi), atol=1e-7)
    # 212 degrees lies beyond the seam
    mean, sd = np.deg2rad(212.0), np.deg2rad(10.0)
    gaussian = prior_distribution("dcp", Gaussian(mean, sd))
    np.testing.assert_allclose(
        gaussian.log_prob(mean + angle), gaussian.log_prob(mean - 2.0 * np.pi + angle), atol=1e-9
    )
    drop = gaussian.log_prob(mean) - gaussian.log_prob(mean + sd)
    np.testing.assert_allclose(drop, 0.5, rtol=1e-9)
    # A part of the circle is an interval
    part = {"dcp": Flat(0.0, 1.0)}
    assert log_prior(part, nature._replace(dcp=0.5)) == 0.0
    assert log_prior(part, nature._replace(dcp=1.5)) == -np.inf


def test_the_box_of_the_priors():
    box = prior_box(EVERYTHING | {"s2_13": Gaussian(0.001, 0.002), "dcp": Gaussian(3.0, 0.5)})
    assert box["dm31"] == (2.2e-3, 2.9e-3)
    assert box["s2_13"] == (0.0, pytest.approx(0.017))
    assert box["dm21"] == pytest.approx((7.49e-5 - 8 * 0.19e-5, 7.49e-5 + 8 * 0.19e-5))
    assert box["dcp"] == (3.0 - np.pi, 3.0 + np.pi)


def test_which_priors_cross_octants():
    assert crosses_octants({"s2_23": Flat(0.3, 0.7)})
    assert crosses_octants({"s2_23": Gaussian(0.45, 0.01)})
    assert not crosses_octants({"s2_23": Flat(0.3, 0.5)})
    assert not crosses_octants({"s2_23": Flat(0.5, 0.7)})
    assert not crosses_octants({"dm31": Flat(2e-3, 3e-3)})


# --- the octant --------------------------------------------------------------------------------

OCTANT_PRIORS = [Flat(0.3, 0.7), Flat(0.35, 0.6), Gaussian(0.46, 0.02), Gaussian(0.9, 0.2)]


@pytest.mark.parametrize("prior", OCTANT_PRIORS, ids=str)
def test_the_marginal_is_the_sum_over_both_octants(prior, muons, nature):
    priors = {"dm31": Flat(2.2e-3, 2.9e-3), "s2_23": prior}

    def marginal(offset, dm31):
        sites = {"dm31": dm31, "s2_23_offset": offset}
        value, trace = log_density(far_detector_model, ([muons], priors, nature), {}, sites)
        return value, trace["octant_log_odds"]["value"]

    def joint(dm31, s2_23):
        point = nature._replace(dm31=dm31, s2_23=s2_23)
        return float(log_likelihood([muons], point) + log_prior(priors, point))

    marginal_and_slope = jax.jit(jax.value_and_grad(marginal, has_aux=True))
    low, high = prior_box(priors)["s2_23"]
    width = max(0.5 - low, high - 0.5)
    for dm31, share in ((2.4e-3, 0.1), (2.5e-3, 0.35), (2.6e-3, -0.6), (2.7e-3, 0.95)):
        offset = share * width
        plus, minus = (joint(dm31, 0.5 + s * offset) for s in (1.0, -1.0))
        (value, log_odds), slope = marginal_and_slope(offset, dm31)
        np.testing.assert_allclose(value, np.logaddexp(plus, minus), rtol=1e-12)
        np.testing.assert_allclose(log_odds, plus - minus, rtol=1e-9, atol=1e-9)
        assert np.isfinite(slope)  # also where one octant lies outside the prior


def test_without_marginalization_the_model_is_prior_times_likelihood(muons, nature, priors):
    point = {"dm31": 2.45e-3, "s2_23": 0.57}
    value, _ = log_density(far_detector_model, ([muons], priors, nature, False), {}, point)
    there = nature._replace(**point)
    expected = log_likelihood([muons], there) + log_prior(priors, there)
    np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_one_octant_is_not_marginalized(muons, nature):
    lower = {"s2_23": Flat(0.3, 0.5)}
    sites = handlers.trace(handlers.seed(far_detector_model, 0)).get_trace([muons], lower, nature)
    assert 0.3 < sites["s2_23"]["value"] < 0.5
    assert "s2_23_offset" not in sites


def test_the_model_samples_every_parameter_that_has_a_prior(muons, nature):
    # An angle may be any number on its way through the sampler
    model = handlers.substitute(handlers.seed(far_detector_model, 0), {"dcp_unwrapped": 4.0})
    for low, shown in ((-np.pi, 4.0 - 2.0 * np.pi), (0.0, 4.0)):
        priors = EVERYTHING | {"dcp": Flat(low, low + 2.0 * np.pi)}
        sites = handlers.trace(model).get_trace([muons], priors, nature)
        assert set(EVERYTHING) - {"s2_23"} <= set(sites)
        np.testing.assert_allclose(sites["dcp"]["value"], shown, rtol=1e-12)
    point = nature._replace(
        s2_23=0.5 + sites["s2_23_offset"]["value"],
        **{name: sites[name]["value"] for name in EVERYTHING if name != "s2_23"},
    )
    mirrored = point._replace(s2_23=1.0 - point.s2_23)
    log_odds = log_likelihood([muons], point) - log_likelihood([muons], mirrored)
    np.testing.assert_allclose(sites["octant_log_odds"]["value"], log_odds, rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    offset=st.floats(-0.2, 0.2).filter(lambda d: abs(d) > 1e-6),
    log_odds=st.floats(-6.0, 6.0) | st.sampled_from([np.inf, -np.inf, 0.0]),
)
def test_octants_are_drawn_as_often_as_their_odds_say(seed, offset, log_odds):
    number = 4000
    s2_23, upper = resolve_octant(
        jax.random.key(seed), jnp.full(number, offset), jnp.full(number, log_odds)
    )
    plus = 1.0 / (1.0 + np.exp(-log_odds))
    np.testing.assert_allclose(upper, plus if offset > 0.0 else 1.0 - plus, rtol=1e-12)
    np.testing.assert_allclose(np.abs(s2_23 - 0.5), abs(offset), rtol=1e-9)
    # Exact binomial interval; false alarm below 1e-9 for each example
    count = int(np.sum(np.asarray(s2_23) > 0.5))
    assert binom.ppf(5e-10, number, upper[0]) <= count <= binom.isf(5e-10, number, upper[0])
