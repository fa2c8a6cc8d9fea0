"""The far-detector likelihood as an object: what it equals, and what it refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density
from scipy import stats

from bayesxs.errors import InputError
from bayesxs.inference.far_data import FarBins, FarData
from bayesxs.inference.likelihood import Box, Likelihood, far_likelihood
from bayesxs.inference.nuisances import GROUPS, Nuisance, group_label, of_groups
from bayesxs.inference.priors import Flat, Gaussian, log_prior
from bayesxs.physics.oscillation import DUNE, OscillationParameters, probability

ETA = np.array([0.4, -0.8])
INSIDE, OUTSIDE = {"dm31": 2.45e-3, "s2_23": 0.55}, {"dm31": 4e-3, "s2_13": 0.05, "dcp": 1.0}


@pytest.fixture(scope="module")
def far(toy_likelihood) -> Likelihood:
    """Two samples, compressed for dm31 and s2_23 alone."""
    return toy_likelihood()


# --- the log density ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theta", "way", "accuracy"),
    [(INSIDE, {}, 1e-5), (OUTSIDE, {}, 1e-10), (INSIDE, {"density": 4.0}, 1e-10)],
)
def test_log_prob_is_its_definition(far, toy_rows, nature, theta, way, accuracy):
    # sum of log of [T_0 + xi_0 T_1] phi (1 + xi_1 f) P / norm, by plain sums
    expected = 0.0
    point = nature._replace(**theta)
    for channel, rows in zip(far.exact, toy_rows, strict=True):
        s = channel.sample
        p = probability(s.flavor_in, s.flavor_out, point, rows.energy, DUNE._replace(**way))
        flux = np.asarray(p) * (1.0 + ETA[1] * rows.flux_mode)
        slope = 1.0 + ETA[0] * rows.mode
        expected += np.sum(np.log((rows.response * slope) @ flux / np.sum(slope * flux)))
    assert far.log_prob(theta, ETA, **way) == pytest.approx(expected, abs=accuracy)


def test_outside_of_the_box_the_value_is_that_of_a_larger_box(far, toy_likelihood, nature):
    wide = {"dm31": (2e-3, 5e-3), "s2_13": (0.0, 0.1), "dcp": (-4.0, 4.0)}
    larger, point = toy_likelihood(wide), nature._replace(**OUTSIDE)
    expected = float(larger.log_prob(point, ETA))
    assert far.log_prob(point, ETA) == pytest.approx(expected, abs=1e-5)
    # Without the guard it would be wrong
    unguarded = replace(far, exact=far.channels)
    assert abs(unguarded.log_prob(point, ETA) - expected) > 1e-3


def test_the_box_knows_the_circle():
    ends = np.array([[0.0] * 3 + [3.0] + [0.0] * 5, [1.0] * 3 + [4.0] + [1.0] * 5])
    box = Box(*jnp.asarray(ends))

    def holds(dcp, rest=0.5):
        point = jnp.full(9, rest).at[3].set(dcp)
        return bool(box.holds(point, point))

    assert all(holds(a) for a in (3.0, 3.5, 4.0, 3.5 - 2 * np.pi, 3.5 + 4 * np.pi))
    assert not any(holds(a) for a in (2.99, 4.01, 0.0, 3.5 - np.pi))
    assert not holds(3.5, rest=1.5)
    turn = Box(box.low, box.high.at[3].set(3.0 + 2 * np.pi))
    assert all(bool(turn.holds(*[jnp.full(9, 0.5).at[3].set(a)] * 2)) for a in (0.0, 3.0, 17.0))


def test_names_and_arrays_are_the_same(far, nature):
    expected = float(far.log_prob(nature._replace(dm31=2.4e-3), jnp.array([0.0, 0.5])))
    for theta, eta in (
        ({"dm31": 2.4e-3}, {"flux_0": 0.5}),
        (nature._replace(dm31=2.4e-3), np.array([0.0, 0.5])),
    ):
        assert far.log_prob(theta, eta) == pytest.approx(expected, abs=1e-12)
    assert far.log_prob(nature) == far.log_prob({}, {}) == far.log_prob(nature, np.zeros(2))
    own = {"density": DUNE.density, "electron_fraction": 0.5, "baseline": DUNE.length}
    assert far.log_prob({}, **own) == far.log_prob({})


# --- jit, vmap, grad ---------------------------------------------------------------------------


def at(far: Likelihood, x: jax.Array) -> jax.Array:
    """Return log L of theta, eta and the baseline as one vector."""
    way = {"baseline": x[8], "density": x[9], "electron_fraction": x[10]}
    return far.log_prob(OscillationParameters(*x[:6]), x[6:8], **way)


@pytest.fixture(scope="module")
def slopes(far, nature) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Points inside of the box, outside, and where there is no likelihood; values and slopes."""
    base = [*nature._replace(**INSIDE), *ETA, *DUNE]
    points = {
        "inside": np.array(base, dtype=float),
        "outside": np.array([*nature._replace(**OUTSIDE), *ETA, *DUNE], dtype=float),
    }
    for place, value in [(1, -0.1), (2, 1.2), (4, -1e-5), (8, -1.0), (9, -1.0)]:
        points[f"unphysical {place}"] = points["inside"].copy()
        points[f"unphysical {place}"][place] = value
    together = jax.jit(jax.vmap(jax.value_and_grad(partial(at, far))))
    values, found = map(np.asarray, together(np.stack(list(points.values()))))
    return dict(zip(points, zip(points.values(), values, found, strict=True), strict=True))


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_slopes_are_difference_quotients(far, slopes, where):
    x, value, found = slopes[where]
    assert value == pytest.approx(float(at(far, x)), abs=1e-9)
    exact = replace(far, channels=far.exact)  # a step along what the box holds fixed leaves it
    for i, step in enumerate(1e-4 * np.abs(x)):
        unit = step * np.eye(len(x))[i]
        quotient = (at(exact, x + unit) - at(exact, x - unit)) / (2.0 * step)
        assert found[i] == pytest.approx(float(quotient), rel=1e-3, abs=1e-4 / abs(x[i]))


def test_one_point_has_the_slope_of_many(far, slopes):
    one = jax.jit(jax.grad(partial(at, far)))
    for where in ("inside", "outside"):
        x, _, found = slopes[where]
        np.testing.assert_allclose(one(x), found, rtol=1e-7, atol=1e-9)


def test_unphysical_values_have_no_likelihood_but_slopes(far, slopes):
    unphysical = [found for where, found in slopes.items() if where.startswith("unphysical")]
    assert len(unphysical) == 5
    for _, value, slope in unphysical:
        assert value == -np.inf
        assert np.all(np.isfinite(slope))
    assert np.all(np.isnan(far.predict({"s2_23": 1.2})["mu_to_mu"]))
    assert np.all(far.distribution({"s2_23": 1.2}).sample(jax.random.key(0)) == -1)


def test_likelihood_and_distribution_are_pytrees(far, nature):
    value = far.log_prob(nature, ETA)
    assert jax.jit(lambda lik, data: lik.distribution(nature, ETA).log_prob(data))(
        far, far.data
    ) == pytest.approx(float(value), rel=1e-12)
    counts = jax.jit(lambda d: d.sample(jax.random.key(1)))(far.distribution(nature, ETA))
    grid = jnp.array([2.3e-3, 2.4e-3])
    many = jax.vmap(lambda x: far.distribution({"dm31": x}))(grid)
    found = jax.vmap(lambda d: d.log_prob(counts))(many)
    for x, value in zip(grid, found, strict=True):
        expected = far.distribution({"dm31": x}).log_prob(counts)
        assert value == pytest.approx(float(expected), rel=1e-12)


# --- counts ------------------------------------------------------------------------------------


def test_counts_are_multinomial(far, nature):
    distribution = far.distribution(nature, ETA)
    counts = np.asarray(distribution.sample(jax.random.key(2), (3, 2)))
    assert counts.shape == (3, 2, *distribution.event_shape)
    expected, start = 0.0, 0
    for name, size in zip(far.samples, far.sizes, strict=True):
        shares = np.ravel(far.predict(nature, ETA)[name]) / size
        assert shares.sum() == pytest.approx(1.0)
        own = counts[..., start : start + len(shares)]
        start += len(shares)
        assert np.all(own.sum(axis=-1) == size)
        assert not np.any(own[..., shares == 0.0])
        expected = expected + stats.multinomial(size, shares).logpmf(own)
    np.testing.assert_allclose(distribution.log_prob(counts), expected, rtol=1e-10)


def test_expected_counts_are_the_density_of_the_bins(far, toy_rows, nature):
    rows = toy_rows[0]
    p = probability("mu", "mu", nature, rows.energy, DUNE._replace(density=3.5))
    expected = rows.bins @ np.asarray(p)
    expected *= far.sizes[0] / expected.sum()
    found = np.ravel(far.predict(nature, density=3.5)["mu_to_mu"])
    np.testing.assert_allclose(found[np.asarray(far.bins[0].cells)], expected, rtol=1e-9)


def test_mean_and_variance_are_those_of_the_draws(far, nature):
    distribution = far.distribution(nature, ETA)
    draws = np.asarray(distribution.sample(jax.random.key(3), (4000,)))
    mean, variance = np.asarray(distribution.mean), np.asarray(distribution.variance)
    # Fixed seed; for another one some 30 bins beyond five errors: below 2e-5
    assert np.all(np.abs(draws.mean(axis=0) - mean) <= 5.0 * np.sqrt(variance / 4000.0))
    common = mean > 5.0
    np.testing.assert_allclose(draws.var(axis=0)[common], variance[common], rtol=0.15)


def test_probabilities_of_all_counts_add_up_to_one(far, nature):
    few = replace(far, sizes=(3, 0), bins=(_first_bins(far.bins[0], 3), far.bins[1]))
    distribution = few.distribution(nature, ETA)
    rest = [0] * far.bins[1].size
    all_counts = [[*own, *rest] for own in itertools.product(range(4), repeat=4) if sum(own) == 3]
    total = np.exp(distribution.log_prob(jnp.array(all_counts))).sum()
    assert total == pytest.approx(1.0, rel=1e-12)
    unreachable = [n for n in all_counts if n[3]]
    assert np.all(distribution.log_prob(jnp.array(unreachable)) == -np.inf)


def _first_bins(bins: FarBins, number: int) -> FarBins:
    """Keep the first bins, and one more that cannot be reached."""
    channel = bins.channel
    names = ("left", "log_reference", "weights")
    kept = {name: getattr(channel, name)[:number] for name in names}
    edges = {"lepton_energy": jnp.arange(number + 2.0)}
    return FarBins(replace(channel, **kept), edges, jnp.arange(number))


# --- the package's own model -------------------------------------------------------------------


def test_the_own_model_has_prior_times_likelihood(far, nature):
    inside = {"dm31": Flat(2.3e-3, 2.8e-3), "s2_23": Gaussian(0.5, 0.01)}
    for priors in (inside, inside | {"dm31": Flat(2e-3, 5e-3)}):
        model = far.model(priors, marginalize_octant=False)
        site = {"dm31": 2.7e-3, "s2_23": 0.48, "nuisance": jnp.asarray(ETA)}
        found, _ = log_density(model, (), {}, site)
        point = nature._replace(dm31=2.7e-3, s2_23=0.48)
        expected = float(log_prior(priors, point) + stats.norm.logpdf(ETA).sum())
        expected += float(far.log_prob(point, ETA))
        assert found == pytest.approx(expected, abs=1e-4)
    assert far.model(inside).args[0] is far.channels
    assert far.model(inside | {"dm31": Flat(2e-3, 5e-3)}).args[0] is far.exact
    assert far.model({"s2_13": Gaussian(0.022, 0.001)}).args[0] is far.exact


# --- what is refused ---------------------------------------------------------------------------


def test_unknown_names_and_wrong_shapes_are_refused(far, nature):
    cases = [
        ({"dm32": 2.5e-3}, {}, {}, "dm32.*one of s2_12"),
        ({"dm31": [2.5e-3, 2.6e-3]}, {}, {}, r"dm31 = shape \(2,\).*vmap"),
        (np.zeros(6), {}, {}, "theta"),
        ({}, {"flux_7": 1.0}, {}, "flux_7.*cross_section_0, flux_0"),
        ({}, np.zeros(3), {}, r"shape \(3,\).*\(2,\)"),
        ({}, {}, {"density": np.zeros(2)}, "density.*scalar"),
    ]
    for theta, eta, way, words in cases:
        for method in (far.log_prob, far.distribution, far.predict):
            with pytest.raises(InputError, match=words):
                method(theta, eta, **way)
    with pytest.raises(InputError, match="dm32"):
        far.model({"dm32": Flat(0.0, 1.0)})


def test_other_data_are_refused(far, nature):
    own = far.data
    for given, words in [
        (replace(own, lepton_energy=own.lepton_energy[:-1]), "lepton_energy = shape"),
        (replace(own, cos_theta=own.cos_theta.at[4].add(1e-9)), "cos_theta.*index 4"),
        (replace(own, counts=jnp.zeros(3)), "counts = given"),
        (replace(own, sample=None), "sample = absent"),
    ]:
        with pytest.raises(InputError, match=f"{words}.*make a likelihood"):
            far.distribution(nature).log_prob(given)
    # Where values are not known, shapes are
    log_prob = jax.jit(far.distribution(nature).log_prob)
    assert log_prob(own) == pytest.approx(float(far.log_prob(nature)))
    with pytest.raises(InputError, match="shape"):
        log_prob(replace(own, sample=own.sample[1:]))


def test_counts_of_another_experiment_are_refused(far, nature):
    distribution = far.distribution(nature)
    with pytest.raises(InputError, match=r"counts = shape \(5,\)"):
        distribution.log_prob(jnp.zeros(5))
    counts = distribution.sample(jax.random.key(0))
    with pytest.raises(InputError, match="mu_to_mu = 0 events: 60"):
        distribution.log_prob(0 * counts)
    assert jax.jit(distribution.log_prob)(0 * counts) == -np.inf
    assert distribution.log_prob(distribution.mean) > distribution.log_prob(counts)


def test_parts_that_do_not_belong_together_are_refused(far, nature):
    parts = [far.channels, far.exact, far.bins, far.data]
    options = {"box": {}, "parameters": nature, "sizes": far.sizes, "nuisances": far.nuisances}
    far_likelihood(*parts, **options)
    with pytest.raises(InputError, match="box = rho"):
        far_likelihood(*parts, **options | {"box": {"rho": (2.0, 3.0)}})
    with pytest.raises(InputError, match=r"dm31.*low <= high"):
        far_likelihood(*parts, **options | {"box": {"dm31": (3.0, 2.0)}})
    with pytest.raises(ValueError, match="not 1 nuisances"):
        far_likelihood(*parts, **options | {"nuisances": far.nuisances[:1]})
    with pytest.raises(ValueError, match="compressed"):
        far_likelihood(far.channels, far.channels, *parts[2:], **options)
    with pytest.raises(ValueError, match="each sample"):
        far_likelihood(*parts, **options | {"sizes": (60,)})
    with jax.enable_x64(False), pytest.raises(InputError, match=r"bayesxs.enable_x64\(\)"):
        far_likelihood(*parts, **options)


def test_groups_have_names():
    nuisances = [Nuisance("flux_0", "flux"), Nuisance("scale", "my_own")]
    assert of_groups(nuisances, ["my_own"]) == (nuisances[1],)
    assert [group_label(n.group) for n in nuisances] == [GROUPS["flux"], "my own"]
    assert nuisances[0].label == "flux 0"
    assert FarData(np.zeros(3), np.zeros(3), np.zeros(3)).shape == ()
