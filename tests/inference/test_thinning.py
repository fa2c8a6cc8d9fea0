"""Few rows that stand for all: the same likelihood, one compiled sampler."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpyro.infer.util import log_density

from bayesxs.inference.channel import FarChannel, log_likelihood
from bayesxs.inference.model import far_detector_model, initial_values
from bayesxs.inference.priors import Flat, Gaussian, prior_box, prior_distribution
from bayesxs.inference.sampling import NutsSampler, SamplerSettings
from bayesxs.inference.thinning import KEPT, Thinned, thinned

UNIT = st.floats(0.0, 1.0)


@pytest.fixture(scope="module")
def few(channel: FarChannel, priors, nature) -> Thinned:
    return thinned(channel, priors, nature)


@pytest.fixture(scope="module")
def heights(channel, few, priors, nature):
    """Log-likelihood and slopes with all rows and with few, per width of the box."""
    box = prior_box(priors)

    def of(rows: FarChannel):
        def height(unit):
            places = zip(box.items(), unit, strict=True)
            point = {n: low + u * (high - low) for (n, (low, high)), u in places}
            return log_likelihood([rows], nature._replace(**point))

        return jax.jit(jax.value_and_grad(height))

    return of(channel), of(few.channel)


@given(UNIT, UNIT)
@settings(max_examples=50, deadline=None)
def test_the_likelihood_is_that_of_all_rows(heights, first, second):
    unit = jnp.array([first, second])
    (whole, slopes), (part, own) = (height(unit) for height in heights)
    assert float(part) == pytest.approx(float(whole), abs=1e-5)
    # The box is tens of standard errors wide
    np.testing.assert_allclose(own, slopes, rtol=1e-5, atol=1e-3)


def test_few_rows_are_kept(channel, few):
    assert len(few.channel.left) == len(few.channel.weights) == KEPT < len(channel.left)


def test_shares_give_the_likelihood_of_other_weights(channel, few, nature):
    weights = jnp.asarray(np.random.default_rng(1).poisson(1.0, len(channel.weights)), float)
    whole = replace(channel, weights=weights)
    part = replace(few.channel, weights=few.weights(weights))

    def change(rows: FarChannel) -> float:  # the likelihood is known up to a constant
        moved = nature._replace(dm31=2.3e-3, s2_23=0.61)
        return float(log_likelihood([rows], moved) - log_likelihood([rows], nature))

    assert change(part) == pytest.approx(change(whole), abs=1e-5)


def test_rows_that_few_do_not_give_are_all_kept(channel, nature):
    """A wide box of four parameters spans more than there are rows to keep."""
    priors = {
        "dm31": Flat(1e-3, 5e-3),
        "s2_23": Flat(0.0, 1.0),
        "s2_13": Flat(0.0, 0.2),
        "dcp": Flat(-np.pi, np.pi),
    }
    found = thinned(channel, priors, nature)
    assert found.shares is None
    assert found.channel is channel


@pytest.mark.parametrize("widths", [-40.0, -9.0, 3.0, 12.0, 60.0])
def test_beyond_the_box_of_the_priors_the_likelihood_stays_as_at_its_edge(channel, nature, widths):
    """A chain that strays there must not find a spurious maximum."""
    priors = {"dm31": Gaussian(2.5e-3, 4e-5)}
    few = thinned(channel, priors, nature)
    assert few.shares is not None

    def height(rows: FarChannel, away: float) -> float:
        values = {"dm31": 2.5e-3 + away * 4e-5}
        model = partial(far_detector_model, priors=priors, fixed=nature)
        prior = prior_distribution("dm31", priors["dm31"]).log_prob(values["dm31"])
        return float(log_density(model, ([rows],), {}, values)[0] - prior)

    edge = float(np.clip(widths, -8.0, 8.0))
    assert height(few.channel, widths) == pytest.approx(height(channel, edge), abs=1e-4)


def test_few_rows_are_left_as_they_are(channel, priors, nature):
    short = replace(
        channel,
        left=channel.left[:KEPT],
        weights=channel.weights[:KEPT],
        log_reference=channel.log_reference[:KEPT],
    )
    assert thinned(short, priors, nature).channel is short


def test_other_data_of_other_sizes_compile_nothing(channel, priors, nature):
    """Data sets of different numbers of rows are sampled by one program, whatever the key."""
    rows = len(channel.left) - 50
    shorter = replace(
        channel,
        left=channel.left[:rows],
        weights=2.0 * channel.weights[:rows],
        log_reference=channel.log_reference[:rows],
    )
    model = partial(far_detector_model, priors=priors, fixed=nature)
    sampler = NutsSampler(
        model,
        SamplerSettings(chains=2, warmup=20, draws=20, record_every=20),
        initial_values(priors, nature),
    )
    sets = [[thinned(own, priors, nature).channel] for own in (channel, shorter)]
    sampler.run((sets[0],), jax.random.key(0))
    compiled: list[str] = []

    def listen(name: str, _: float, **__: object) -> None:
        if name.endswith("backend_compile_duration"):
            compiled.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        sampler.run((sets[1],), jax.random.key(1))
        assert compiled == []
        sampler.run(([replace(channel, weights=channel.weights)],), jax.random.key(1))
        assert compiled  # all rows are another shape
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
