"""Events of a quadratic in 1/E pass the test, others do not; the shared samples' figures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bayesxs.constants import MUON_MASS
from bayesxs.inference.decomposition import (
    Decomposition,
    FluxIntegrals,
    decompose,
    threshold,
    transfers,
    verdict,
)
from bayesxs.inputs.flux import embedded_dune_flux
from bayesxs.inputs.generators.read import read_events

type Float = NDArray[np.float64]

KNOTS = np.array([0.5, 2.0, 4.0, 10.0])
VALUES = np.array([1.0, 4.0, 2.0, 0.5])


def flux(energy: Float) -> Float:
    return np.interp(energy, KNOTS, VALUES)


def drawn(
    shape: Callable[[Float, Float, Float], Float], events: int, seed: int
) -> tuple[Float, Float, Float]:
    """Draw energies, nu and Q^2 with a density of flux times shape, which is below one."""
    rng = np.random.default_rng(seed)
    kept: list[Float] = []
    while sum(len(k) for k in kept) < events:
        energy = rng.uniform(0.5, 10.0, 400_000)
        nu, q2 = rng.uniform(0.1, 2.0, energy.size), rng.uniform(0.05, 2.0, energy.size)
        density = flux(energy) * shape(energy, nu, q2) / VALUES.max()
        reached = energy > threshold(nu, q2, MUON_MASS)
        good = reached & (rng.uniform(size=energy.size) < density)
        kept.append(np.stack([energy, nu, q2])[:, good].T)
    return tuple(np.concatenate(kept)[:events].T)  # type: ignore[return-value]


def quadratic(energy: Float, nu: Float, q2: Float) -> Float:
    y = nu / energy
    return np.exp(-q2) * (0.5 + 0.3 * nu * (1.0 - y) ** 2) * 0.8


def bent(energy: Float, nu: Float, q2: Float) -> Float:
    return quadratic(energy, nu, q2) * (0.6 + 0.4 * np.sin(2.0 * energy) ** 2)


INTEGRALS = FluxIntegrals(flux, KNOTS)


def outcome(events: tuple[Float, Float, Float], **more: object) -> Decomposition:
    weight = more.pop("weight", np.ones(len(events[0])))
    return decompose(*events, weight, INTEGRALS, MUON_MASS, **more)  # type: ignore[arg-type]


def test_integrals_over_a_linear_flux_are_exact() -> None:
    edges = np.array([0.7, 1.1, 3.0, 9.0])
    found = INTEGRALS(edges)
    # flux = a + b E in each piece: the integrals of a E^-k + b E^(1-k) in closed form
    expected = np.zeros((3, 3))
    cuts = np.unique(np.concatenate([edges, KNOTS[1:-1]]))
    for low, high in pairwise(cuts):
        b = (flux(high) - flux(low)) / (high - low)
        a = flux(low) - b * low
        row = np.searchsorted(edges, low, side="right") - 1
        log, inverse = np.log(high / low), 1.0 / low - 1.0 / high
        parts = [(high - low, (high**2 - low**2) / 2.0), (log, high - low), (inverse, log)]
        expected[row] += [a * one + b * two for one, two in parts]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@given(st.floats(0.2, 20.0), st.floats(0.01, 0.99), st.floats(-1.0, 1.0))
def test_nothing_is_reached_below_its_threshold(energy: float, part: float, cosine: float) -> None:
    lepton = np.array([MUON_MASS + part * (energy - MUON_MASS)])
    nu, q2 = transfers(np.array([energy]), lepton, np.array([cosine]), MUON_MASS)
    if q2[0] > 1e-6:
        assert threshold(nu, q2, MUON_MASS)[0] <= energy * (1.0 + 1e-6)
    # Straight back, the neutrino has no energy to spare
    nu, q2 = transfers(np.array([energy]), lepton, np.array([-1.0]), MUON_MASS)
    np.testing.assert_allclose(threshold(nu, q2, MUON_MASS), energy, rtol=1e-6)


# p < 1e-3 has a false alarm in one of a thousand seeds


def test_quadratics_pass_in_cells_of_any_size() -> None:
    events = drawn(quadratic, 150_000, 1)
    for cell in (500, 3000, 20_000):
        result = outcome(events, cell=cell)
        assert result.p_value > 1e-3
        assert result.used > 0.8
        assert verdict((result,)).startswith("decomposes")
    # One in twenty of the cells has a probability below that
    parts = np.array([fit.p_value for fit in outcome(events, cell=500).cells])
    assert abs(np.mean(parts < 0.5) - 0.5) < 4.0 * 0.5 / np.sqrt(len(parts))


def test_the_third_coefficient_is_missed_where_there_is_one() -> None:
    curved = drawn(lambda e, nu, q2: np.exp(-q2) * (0.05 + 3.6 * (nu / e - 0.5) ** 2), 150_000, 2)
    assert outcome(curved).third < 1e-6
    assert outcome(curved).p_value > 1e-3
    linear = drawn(lambda e, nu, q2: np.exp(-q2) * (0.9 - 0.4 * nu / e), 150_000, 3)
    assert outcome(linear).third > 1e-3


def test_what_bends_otherwise_fails_and_so_does_another_flux() -> None:
    good, bad = outcome(drawn(quadratic, 100_000, 4), name="a"), drawn(bent, 100_000, 5)
    failed = outcome(bad, name="b")
    assert failed.p_value < 1e-6
    assert verdict((good, failed)).startswith("does not decompose: b (p = ")
    assert "another flux" in verdict((failed,))
    assert verdict((outcome(tuple(c[:50] for c in bad)),)) == "too few events for a test"  # type: ignore[arg-type]


def test_weights_count_by_their_spread() -> None:
    events = drawn(quadratic, 100_000, 6)
    rng = np.random.default_rng(7)
    weight = rng.choice([0.2, 1.0, 3.0], 100_000)
    result = outcome(events, weight=weight)
    assert result.p_value > 1e-3
    larger = outcome(events, weight=1e3 * weight)
    assert larger.freedom == result.freedom
    assert larger.chi2 == pytest.approx(result.chi2, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("nuwro_ar40_numu_duneND", ("res", "dis", "qe", "coh", "mec")),
        ("achilles_ar40_numu_duneND_qe", ("qe",)),
    ],
)
def test_samples_of_two_generators_decompose(
    reference: Path, name: str, channels: tuple[str, ...]
) -> None:
    events = read_events(reference / "generator" / f"{name}.npz")
    dune = embedded_dune_flux("neutrino")
    integrals = FluxIntegrals(lambda energy: dune(14, energy), dune.knots)
    nu, q2 = transfers(events.energy, events.lepton_energy, events.cos_theta, MUON_MASS)
    for channel in channels:
        rows = events.channel == events.channels.index(channel)
        columns = (events.energy, nu, q2, events.weight)
        result = decompose(*(c[rows] for c in columns), integrals, MUON_MASS, name=channel)
        assert result.freedom > 100
        assert result.p_value > 1e-3
