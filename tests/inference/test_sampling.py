"""NUTS: the right distribution, the same draws after an interruption and on any devices."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayesxs.inference.sampling import (
    ARVIZ_NAMES,
    Draws,
    NutsSampler,
    Own,
    Piece,
    SamplerSettings,
    chain_mesh,
    joined,
)

# A linear model with Gaussian noise and prior: the posterior is Gaussian too
DATA = np.array([[1.2, -0.3], [0.4, 0.9], [2.0, 0.1], [0.9, -1.1], [1.1, 0.6]])
NOISE = np.array([[1.0, 0.6], [0.6, 2.0]])
PRIOR_MEAN, PRIOR_SD = np.array([0.0, 1.0]), 1.5

PRECISION = np.linalg.inv(NOISE)

SETTINGS = SamplerSettings(chains=4, warmup=300, draws=900, record_every=150)


def model(data: Any) -> None:
    mean = numpyro.sample("mean", dist.Normal(PRIOR_MEAN, PRIOR_SD).to_event(1))
    numpyro.deterministic("total", mean.sum())
    deviation = data - mean
    numpyro.factor("data", -0.5 * jnp.sum((deviation @ PRECISION) * deviation))


@pytest.fixture(scope="module")
def sampler() -> NutsSampler:
    return NutsSampler(model, SETTINGS)


@pytest.fixture(scope="module")
def pieces(sampler) -> list[Piece]:
    """The pieces of one run without interruption."""
    return list(sampler.pieces((DATA,), jax.random.key(1)))


@pytest.fixture(scope="module")
def whole(sampler) -> Draws:
    """The same run at once."""
    return sampler.run((DATA,), jax.random.key(1))


def assert_same(first: Draws, second: Draws) -> None:
    """Check equality to the last bit."""
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_a_gaussian_posterior_is_recovered(whole):
    precision = np.eye(2) / PRIOR_SD**2 + len(DATA) * PRECISION
    covariance = np.linalg.inv(precision)
    mean = covariance @ (PRIOR_MEAN / PRIOR_SD**2 + PRECISION @ DATA.sum(axis=0))
    draws = whole.sites["mean"]
    offset = draws - mean
    statistics = {
        "mean 0": (offset[..., 0], 0.0),
        "mean 1": (offset[..., 1], 0.0),
        "variance 0": (offset[..., 0] ** 2, covariance[0, 0]),
        "variance 1": (offset[..., 1] ** 2, covariance[1, 1]),
        "covariance": (offset[..., 0] * offset[..., 1], covariance[0, 1]),
    }
    for name, (values, expected) in statistics.items():
        error = values.std() / np.sqrt(float(az.ess(values, method="mean")))
        # Five standard errors, five numbers: false alarm 3e-6
        assert abs(values.mean() - expected) < 5.0 * error, name
    # ... each narrow enough to mean something: 3 % of the sd, and 4 % of the variance
    assert float(az.ess(draws[..., 0])) > 1000
    assert float(az.rhat(draws[..., 0])) < 1.01


def test_draws_have_their_shapes_and_names(whole):
    draws = whole
    assert draws.sites["mean"].shape == (4, 900, 2)
    np.testing.assert_allclose(draws.sites["total"], draws.sites["mean"].sum(axis=-1), rtol=1e-14)
    assert set(draws.statistics) == set(ARVIZ_NAMES.values())
    assert all(value.shape == (4, 900) for value in draws.statistics.values())
    assert not draws.statistics["diverging"].any()
    assert 0.6 < draws.statistics["acceptance_rate"].mean() < 1.0
    # ArviZ's lp is the log density, up to a constant of the model
    deviation = DATA - draws.sites["mean"][:, :, None]
    squared = np.einsum("cdni,ij,cdnj->cd", deviation, PRECISION, deviation)
    prior = np.sum((draws.sites["mean"] - PRIOR_MEAN) ** 2, axis=-1) / PRIOR_SD**2
    constant = draws.statistics["lp"] + 0.5 * (squared + prior)
    np.testing.assert_allclose(constant, constant[0, 0], rtol=1e-10)


def test_chains_differ(whole):
    draws = whole.sites["mean"]
    assert len(np.unique(draws[:, 0, 0])) == len(draws)


def drawn(pieces: list[Piece]) -> Draws:
    return joined(piece.draws for piece in pieces if piece.draws is not None)


def test_pieces_are_the_run_cut_up(pieces, whole):
    assert [piece.done for piece in pieces] == [150 * (i + 1) for i in range(8)]
    assert [piece.draws is None for piece in pieces] == [True] * 2 + [False] * 6
    assert all(piece.draws.sites["mean"].shape == (4, 150, 2) for piece in pieces[2:])
    assert_same(drawn(pieces), whole)
    # What a run goes on from is as large at its end as in the middle
    sizes = [sum(array.nbytes for array in piece.state.values()) for piece in pieces]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize("step", [150, 300, 450, 1050, 1200])
def test_a_resumed_run_goes_on_with_the_same_bits(step, sampler, pieces, tmp_path):
    before = [piece for piece in pieces if piece.done <= step]
    np.savez(tmp_path / "state.npz", **before[-1].state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        state = dict(file)
    after = list(sampler.pieces((DATA,), jax.random.key(1), resume=state))
    assert [piece.done for piece in after] == [p.done for p in pieces if p.done > step]
    assert_same(drawn(before + after), drawn(pieces))


@pytest.mark.parametrize(
    ("warmup", "draws", "every", "ends"),
    [
        (300, 900, 500, [300, 800, 1200]),
        (1000, 1000, 500, [500, 1000, 1500, 2000]),
        (0, 10, 4, [4, 8, 10]),
        (3, 2, 1, [1, 2, 3, 4, 5]),
    ],
)
def test_warm_up_ends_with_a_piece(warmup, draws, every, ends):
    settings = SamplerSettings(warmup=warmup, draws=draws, record_every=every)
    assert settings.ends == ends


def test_a_chain_is_the_same_whatever_others_there_are():
    settings = SamplerSettings(chains=4, warmup=100, draws=100)
    four = NutsSampler(model, settings).run((DATA,), jax.random.key(1))
    for first in (0, 2):
        part = NutsSampler(model, replace(settings, chains=2, first_chain=first))
        two = part.run((DATA,), jax.random.key(1))
        for name, array in four.sites.items():
            np.testing.assert_allclose(two.sites[name], array[first : first + 2], rtol=1e-9)


def test_memory_does_not_grow_with_the_draws():
    """Neither Python's nor JAX's: what five times the draws leave alive is what one time leaves."""

    def alive(draws: int) -> tuple[int, int]:
        settings = SamplerSettings(chains=2, warmup=50, draws=draws, record_every=250)
        sampler = NutsSampler(model, settings)
        for piece in sampler.pieces((DATA,), jax.random.key(1)):
            if piece.done == 300:  # compiled by then
                tracemalloc.start()
        arrays = sum(array.nbytes for array in jax.live_arrays())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, arrays

    (one, arrays), (five, more) = alive(1_000), alive(5_000)
    # Five thousand draws of the sites and statistics alone take 0.6 MB
    assert five < one + 100_000
    assert more <= arrays + 10_000


def test_the_key_decides_the_draws(sampler, whole):
    assert_same(sampler.run((DATA,), jax.random.key(1)), whole)
    other = sampler.run((DATA,), jax.random.key(2))
    assert np.all(other.sites["mean"] != whole.sites["mean"])


def test_one_sampler_serves_other_data(sampler, whole):
    first, second = whole, sampler.run((DATA + 1.0,), jax.random.key(1))
    weight = np.linalg.inv(np.eye(2) / PRIOR_SD**2 + len(DATA) * PRECISION) @ (
        len(DATA) * PRECISION
    )
    shift = (second.sites["mean"] - first.sites["mean"]).mean(axis=(0, 1))
    # Two means, each of sd 0.5 and more than 1000 independent draws: five of their errors
    np.testing.assert_allclose(shift, weight @ np.ones(2), atol=5.0 * 0.5 * np.sqrt(2.0 / 1000))


# --- devices -----------------------------------------------------------------------------------

ON_FOUR_DEVICES = """
import sys
from dataclasses import replace
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
sys.path.insert(0, sys.argv[1])
import test_sampling
from bayesxs.inference.sampling import NutsSampler, chain_mesh

assert len(jax.devices()) == 4
assert [chain_mesh(n).size for n in (1, 2, 3, 4, 5, 6, 8)] == [1, 2, 3, 4, 1, 3, 4]
sampler = NutsSampler(test_sampling.model, test_sampling.SETTINGS)
draws = sampler.run((test_sampling.DATA,), jax.random.key(1))
np.savez(sys.argv[2], **draws.sites)
for chains, first in ((2, 2), (3, 1)):  # to the last bit, with a device for each
    settings = replace(test_sampling.SETTINGS, chains=chains, first_chain=first)
    part = NutsSampler(test_sampling.model, settings).run((test_sampling.DATA,), jax.random.key(1))
    for name, array in draws.sites.items():
        np.testing.assert_array_equal(part.sites[name], array[first : first + chains])
"""


def test_one_device_takes_all_chains():
    assert [chain_mesh(n).size for n in (1, 2, 5)] == [min(1, len(jax.devices()))] * 3


def test_several_devices_draw_what_one_draws(whole, tmp_path):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES, str(Path(__file__).parent), tmp_path / "d.npz"],
        env=os.environ | {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=300,
    )
    with np.load(tmp_path / "d.npz") as spread:
        for name, array in whole.sites.items():
            np.testing.assert_allclose(spread[name], array, rtol=1e-6, atol=1e-9)


def test_chains_of_their_own_data_have_their_own_posteriors():
    """Eight Gaussian posteriors at once; means within 5 standard errors of 100 effective draws."""
    data = DATA + np.arange(8.0)[:, None, None]
    settings = SamplerSettings(chains=8, warmup=300, draws=400, record_every=100)
    draws = NutsSampler(model, settings, own=Own(arguments=1)).run((data,), jax.random.key(0))
    covariance = np.linalg.inv(len(DATA) * PRECISION + np.eye(2) / PRIOR_SD**2)
    score = data.sum(axis=1) @ PRECISION + PRIOR_MEAN / PRIOR_SD**2
    error = np.sqrt(np.diag(covariance) / 100.0)
    assert np.all(np.abs(draws.sites["mean"].mean(axis=1) - score @ covariance) < 5.0 * error)
    np.testing.assert_allclose(draws.sites["total"], draws.sites["mean"].sum(axis=2))


def two_peaks() -> None:
    """One fifth about 6.5, the rest about -6, with nothing between them."""
    x = numpyro.sample("x", dist.ImproperUniform(dist.constraints.real, (), ()))
    each = jnp.log(jnp.array([0.8, 0.2])) - 0.5 * (x - jnp.array([-6.0, 6.5])) ** 2
    numpyro.factor("peaks", jax.scipy.special.logsumexp(each))


def test_jumps_lead_from_peak_to_peak():
    """Part and shape of the smaller peak, each within 5 standard errors; none finds it alone."""
    settings = SamplerSettings(chains=4, warmup=200, draws=1000, record_every=600)
    start = {"x": -6.0}
    alone = NutsSampler(two_peaks, settings, start).run((), jax.random.key(2)).sites["x"]
    assert alone.max() < 0.0
    jumping = NutsSampler(two_peaks, settings, start, jump=lambda sites: {"x": -sites["x"]})
    draws = jumping.run((), jax.random.key(2))
    x, inside = draws.sites["x"], draws.sites["x"] > 0.0
    ess = float(az.ess(inside.astype(float)))
    assert ess > 500.0
    assert abs(inside.mean() - 0.2) < 5.0 * np.sqrt(0.16 / ess)
    assert abs(x[inside].mean() - 6.5) < 5.0 / np.sqrt(0.2 * ess)
    assert abs(x[inside].std() - 1.0) < 5.0 / np.sqrt(2.0 * 0.2 * ess)
    # The statistics are those of the draws: lp is the density's logarithm
    lp = jax.vmap(lambda x: numpyro.infer.util.log_density(two_peaks, (), {}, {"x": x})[0])
    np.testing.assert_allclose(draws.statistics["lp"].ravel(), lp(x.ravel()), atol=1e-9)


@pytest.mark.parametrize("module", ["priors", "model", "sampling", "pseudo_experiments"])
def test_numpyro_is_whole_after_arviz(module):
    """ArviZ leaves NumPyro as a lazy module; submodules imported before it loads come twice."""
    code = (
        f"import arviz, bayesxs.inference.{module}, numpyro, numpyro.distributions as d;"
        "assert d is numpyro.distributions and d.distribution"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
