"""Energy scales: moved spectra against spectra that are integrated at moved ends."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from scipy.special import erf

from bayesxs.detector.energy_scale import PIVOT, energy_scale, scale_shifts
from bayesxs.detector.rates import Part, make_rates
from bayesxs.experiment.counted import counted_likelihood, dune_samples
from bayesxs.inference.asimov import DENSITY, coordinates, parameters
from bayesxs.physics.nufit import NUFIT_6_0
from bayesxs.physics.oscillation import Baseline, OscillationParameters

EDGES = np.array([0.5, 0.7, 0.8, 1.1, 1.5, 1.6, 2.0, 2.2])


_moved = jax.jit(lambda shifts, counts, eta: energy_scale(shifts, EDGES).moved(counts, eta))
_smooth = jax.jit(lambda counts: energy_scale(np.zeros((1, 1, 8)), EDGES).smooth(counts))


@given(st.lists(st.just(0.0) | st.floats(1e-3, 1e4), min_size=7, max_size=7), st.floats(-4.0, 4.0))
def test_smooth_spectra_move_as_the_monotone_cubic_of_scipy_and_no_bin_expects_less_than_none(
    counts: list[float], eta: float
) -> None:
    shifts = 0.1 * EDGES  # several bins at most
    moved = _moved(shifts[None, None], np.array([counts]), np.array([eta]))[0]
    total = 1.0 + sum(counts)
    assert np.all(np.isfinite(moved)) and moved.min() > -1e-12 * total
    smooth = np.asarray(_smooth(np.array([counts]))[0])
    ends = EDGES - eta * shifts
    cumulative = PchipInterpolator(EDGES, np.append(0.0, np.cumsum(smooth)), extrapolate=False)
    wanted = counts * np.diff(cumulative(ends)) / smooth
    # SciPy has other slopes at the outermost ends
    inner = (ends >= EDGES[1]) & (ends <= EDGES[-2])
    inner = inner[1:] & inner[:-1]
    np.testing.assert_allclose(moved[inner], wanted[inner], rtol=1e-8, atol=1e-9 * total)


def test_smooth_spectra_are_local_fits_of_the_logarithm() -> None:
    counts = np.random.default_rng(2).uniform(50.0, 100.0, 7)
    density, place = counts / np.diff(EDGES), np.arange(7)
    for bin_, found in enumerate(np.asarray(_smooth(counts[None])[0] / np.diff(EDGES))):
        weights = np.exp(-0.25 * ((place - bin_) / 1.5) ** 2) * (np.abs(place - bin_) <= 4)
        # These are squared
        fit = np.polyfit(place - bin_, np.log(density), 2, w=weights)
        np.testing.assert_allclose(found, np.exp(fit[-1]), rtol=1e-5)
    # What is quadratic stays, up to the thousandth of the mean that counts as none
    quadratic = np.exp(5.0 + 0.3 * place - 0.1 * place**2) * np.diff(EDGES)
    np.testing.assert_allclose(_smooth(quadratic[None])[0], quadratic, rtol=1e-4)


def test_unevenness_of_tables_stays_and_makes_no_minima() -> None:
    edges = np.linspace(0.5, 8.0, 61)
    center = 0.5 * (edges[1:] + edges[:-1])
    even = 100.0 + 30.0 * np.exp(-0.5 * ((center - 3.0) / 1.2) ** 2)
    uneven = even * (1.0 + 0.08 * np.random.default_rng(4).normal(size=60))
    scale = energy_scale(edges[None, None], edges)
    eta = np.linspace(-0.15, 0.15, 121)[:, None]
    chi2 = {}
    for name, move in {"ratio": scale.moved, "all": scale._between}.items():
        mu = np.asarray(jax.vmap(lambda own, move=move: move(uneven[None], own)[0])(eta))
        terms = mu - uneven + uneven * np.log(uneven / mu)
        chi2[name] = np.sum(terms[:, 6:-12], axis=1)  # of events that come from inside
    minima = {k: int(np.sum((c[1:-1] < c[2:]) & (c[1:-1] < c[:-2]))) for k, c in chi2.items()}
    assert minima["ratio"] == 1 < minima["all"]


def test_even_spectra_go_on_beyond_the_outermost_ends() -> None:
    shifts = np.array([[0.1 * EDGES, 0.05 + 0.0 * EDGES], [-0.03 * EDGES**2, 0.0 * EDGES]])
    for eta in (np.array([0.4, 0.7]), np.array([-3.0, 2.0])):
        moved = _moved(shifts, np.tile(3.0 * np.diff(EDGES), (2, 1)), eta)
        ends = EDGES - np.einsum("k,kse->se", eta, shifts)
        np.testing.assert_allclose(moved, 3.0 * np.diff(ends), rtol=1e-12)


@pytest.mark.parametrize(("depth", "allowed"), [(0.5, 0.05), (0.9, 0.16)])
def test_smooth_spectra_move_as_their_integrals_do(depth: float, allowed: float) -> None:
    edges = np.linspace(0.0, 6.0, 49)  # 0.125 GeV, as DUNE's; a dip as wide as its resolution

    def cumulative(e: np.ndarray) -> np.ndarray:
        dip = depth * 0.4 * np.sqrt(np.pi / 2) * erf((e - 2.6) / 0.566)
        return np.asarray(1000.0 * (e - dip))

    counts = jnp.diff(cumulative(edges))[None]
    for size in (0.025, 0.05, -0.05):
        shifts = size * edges[None, None]
        moved = energy_scale(shifts, edges).moved(counts, jnp.ones(1))[0]
        wanted = np.diff(cumulative(edges - size * edges))
        inner = slice(1, -1)
        error = np.abs(moved - wanted)[inner].max()
        assert error < allowed * np.abs(wanted - counts[0])[inner].max()


def test_linear_spectra_move_all_but_exactly() -> None:
    edges = np.linspace(0.5, 8.0, 61)
    cumulative = 3.0 * edges + edges**2
    for size in (0.05, -0.05):
        counts = jnp.diff(cumulative)[None]
        moved = energy_scale(edges[None, None], edges).moved(counts, jnp.array([size]))[0]
        ends = edges * (1.0 - size)
        wanted = np.diff(3.0 * ends + ends**2)
        inner = slice(4, -4)
        error = np.abs(moved - wanted)[inner].max()
        assert error < 1e-3 * np.abs(wanted - counts[0])[inner].max()


def test_terms_are_the_same_at_the_pivot_and_each_lepton_has_its_own() -> None:
    edges = np.array([1.0, PIVOT, 10.0])
    shifts = scale_shifts(edges, ["e", "mu", "e"], 0.02)
    assert list(shifts) == [f"scale_{lepton}_{k}" for lepton in ("e", "mu") for k in range(3)]
    for name, v in shifts.items():
        own = np.array([1.0, 0.0, 1.0]) if "_e_" in name else np.array([0.0, 1.0, 0.0])
        np.testing.assert_allclose(v[:, 1], 0.02 * PIVOT * own)
    np.testing.assert_allclose(shifts["scale_e_1"][0, 2], 0.02 * 10.0 * 2.0)
    np.testing.assert_allclose(shifts["scale_e_2"][0, 2], 0.02 * 10.0 / 2.0)


def test_slopes_are_the_automatic_ones() -> None:
    rng = np.random.default_rng(1)
    parts = (Part(0, ("mu", "e", False)), Part(1, None))
    shifts = 0.02 * rng.random((2, 2, len(EDGES)))
    rates = make_rates(
        *(np.linspace(0.6, 6.0, 5), list(rng.random((2, 7, 5))), parts, rng.random((2, 2)) / 10.0),
        *(np.ones((2, 7), bool), Baseline(), 0.1 * rng.normal(size=(1, 3, 5))),
        energy_scale(shifts, EDGES),
    )
    eta = jnp.asarray(rng.normal(size=rates.nuisances))
    x = jnp.asarray(coordinates(NUFIT_6_0, 2.9))

    def point(x: jax.Array) -> tuple[OscillationParameters, jax.Array]:
        return parameters(x), x[DENSITY]

    found = rates.linearised(point, x, eta)
    slopes = jax.jacfwd(lambda x, eta: rates(*point(x), eta), argnums=(0, 1))(x, eta)
    np.testing.assert_allclose(found[0], rates(*point(x), eta), rtol=1e-12)
    for ours, automatic in zip(found[1:], slopes, strict=True):
        np.testing.assert_allclose(ours, automatic, rtol=1e-9, atol=1e-12)
    known = replace(rates, scale=None)
    np.testing.assert_allclose(rates(*point(x)), known(*point(x), eta[:-2] * 0.0), rtol=1e-14)


def test_scales_are_nuisances_of_the_response_that_move_their_samples() -> None:
    likelihood = counted_likelihood(dune_samples(scale_error=0.02))
    assert [n.name for n in likelihood.nuisances if n.group == "response"] == [
        f"scale_{lepton}_{k}" for lepton in ("e", "mu") for k in range(3)
    ]
    before, after = likelihood.predict({}), likelihood.predict({}, {"scale_mu_0": 1.0})
    np.testing.assert_array_equal(before["nue_app"], after["nue_app"])
    # Events move, few of them out of the window
    assert np.max(np.abs(after["numu_dis"] / before["numu_dis"] - 1.0)) > 0.05
    np.testing.assert_allclose(after["numu_dis"].sum(), before["numu_dis"].sum(), rtol=5e-3)
