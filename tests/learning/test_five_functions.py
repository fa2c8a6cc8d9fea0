"""Five functions of all leptons: the joint process against dense regression; what data leave."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, TAU_MASS
from bayesxs.detector.grid import NodeGrid, lepton_grid, node_grid
from bayesxs.detector.operator import build_operator, row_quadrature
from bayesxs.inputs.flux import embedded_dune_flux
from bayesxs.learning.five_functions import (
    NearSample,
    Tensors,
    fit_tensors,
    joint_prior,
    on_stack,
    prior_spreads,
    seen_by,
    shape_only,
    tensor_of_massless,
)
from bayesxs.learning.gaussian_process import PARTONS, kernel_matrix, prior_covariance, prior_size
from bayesxs.learning.heads import Lepton
from bayesxs.learning.linear_model import LinearData, near_data
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity

KERNEL = "matern32"
LEPTONS = {"mu": Lepton(MUON_MASS), "e": Lepton(ELECTRON_MASS)}


@pytest.fixture(scope="module")
def grids() -> list[NodeGrid]:
    """Nodes of muons and of electrons."""
    return [node_grid(5.0, 6, 5, own.mass) for own in LEPTONS.values()]


@pytest.fixture(scope="module")
def spreads(grids) -> list[jnp.ndarray]:
    rng = np.random.default_rng(1)
    return [jnp.asarray(rng.uniform(0.1, 1.0, (own.size, 2))) for own in grids]


def dense(grids, spreads) -> np.ndarray:
    """Return the prior covariance of the five functions, written out for all pairs of nodes."""
    x, q2 = (np.concatenate([getattr(own, name) for own in grids]) for name in ("x", "q2"))
    u, v = grids[0].chart.forward(x, q2)
    mean = np.concatenate([np.asarray(prior_size(own, PARTONS)) for own in grids])

    def kernel(length_u: float, length_v: float) -> np.ndarray:
        along = [(u, length_u), (v, length_v)]
        parts = [np.asarray(kernel_matrix(jnp.asarray(t), np.exp(s), KERNEL)) for t, s in along]
        return parts[0] * parts[1]

    near = kernel(PARTONS.common_u, PARTONS.common_v)
    own = kernel(PARTONS.own_u, PARTONS.own_v)
    outer = np.outer(mean, mean) * np.exp(2.0 * PARTONS.common)
    size = np.concatenate([np.asarray(s) for s in spreads])
    whole = np.zeros((len(x), 5, len(x), 5))
    for i in range(3):
        for j in range(3):
            same = np.exp(2.0 * PARTONS.own) * own if i == j else 0.0
            whole[:, i, :, j] = outer * (near + same)
    for k in range(2):
        whole[:, 3 + k, :, 3 + k] = np.outer(size[:, k], size[:, k]) * 0.5 * (1.0 + near)
    turn = np.concatenate([np.asarray(tensor_of_massless(g, 1)) for g in grids])
    turned = np.einsum("nij,njmk,mlk->niml", turn, whole, turn)
    return turned.reshape(5 * len(x), 5 * len(x))


def test_prior_between_leptons_is_that_of_all_pairs_of_nodes(grids, spreads) -> None:
    expected = dense(grids, spreads)
    _, prior = joint_prior(grids, 1, PARTONS, KERNEL, spreads)
    found = np.asarray(prior(jnp.eye(len(expected))))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("sign", [1, -1])
def test_leptons_see_the_formula(grids, sign) -> None:
    rng = np.random.default_rng(2)
    nodes = grids[0]
    five = rng.uniform(-1.0, 1.0, (nodes.size, 5))
    for mass in (ELECTRON_MASS, MUON_MASS, TAU_MASS):
        found = jnp.einsum("nij,nj->ni", seen_by(nodes, Lepton(mass, sign)), five)
        expected = bernstein_from_helicity(Helicity(*five.T), nodes.x, nodes.q2, mass, sign)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("sign", [1, -1])
def test_without_mass_only_the_process_of_three_functions_is_seen(grids, spreads, sign) -> None:
    """Whatever LS and SS may be; their part of what muons see is proportional to m^2."""
    nodes = grids[0]
    mean, _ = joint_prior([nodes], sign, PARTONS, KERNEL, spreads[:1])

    def seen(lepton: Lepton, spread: list | None = spreads[:1]) -> np.ndarray:
        rows = on_stack(jnp.eye(3 * nodes.size), seen_by(nodes, lepton), 0, [nodes])
        _, own = joint_prior([nodes], sign, PARTONS, KERNEL, spread)
        return np.asarray(rows @ own(rows.T))

    massless = Lepton(0.0, sign)
    expected = np.asarray(
        prior_covariance(nodes, PARTONS, KERNEL, massless)(jnp.eye(3 * nodes.size))
    )
    scale = np.abs(expected).max()
    np.testing.assert_allclose(seen(massless), expected, atol=1e-10 * scale)
    rows = on_stack(jnp.eye(3 * nodes.size), seen_by(nodes, massless), 0, [nodes])
    expected_mean = np.repeat(np.asarray(prior_size(nodes, PARTONS)), 3)
    np.testing.assert_allclose(rows @ mean, expected_mean, rtol=1e-9)
    light, heavy = (
        np.diag(seen(Lepton(m, sign)) - seen(Lepton(m, sign), None)).reshape(-1, 3)[:, 1]
        for m in (1e-3, 2e-3)
    )
    high = nodes.q2 > 0.1
    np.testing.assert_allclose(
        heavy[high], 16.0 * light[high], rtol=1e-3, atol=1e-3 * heavy[high].max()
    )


def test_posterior_is_that_of_dense_regression(grids, spreads) -> None:
    """Rows of muons and electrons, the rate of the latter left open as another unknown."""
    rng = np.random.default_rng(3)
    truth = [np.asarray(five_functions(g)) for g in grids]
    samples = []
    for place, (lepton, nodes) in enumerate(zip(LEPTONS.values(), grids, strict=True)):
        rows = 30.0 * rng.uniform(0.0, 1.0, (12, 3 * nodes.size))
        w = np.einsum("nij,nj->ni", seen_by(nodes, lepton), truth[place]).ravel()
        total = rows.sum(axis=0)
        y = rows @ w * (1.0 if place == 0 else 1.0 / (total @ w))
        samples.append(
            NearSample(
                place,
                lepton,
                LinearData(jnp.asarray(rows), jnp.asarray(y), np.eye(12)),
                jnp.asarray(total),
            )
        )
    found = fit_tensors(samples, grids, KERNEL, 0.5, PARTONS)
    # The same, dense: a first pass of muons without LS and SS, then both
    start, _ = joint_prior(grids, 1, PARTONS, KERNEL)
    zero = [np.zeros((g.size, 2)) for g in grids]
    seen = [seen_by(g, lepton) for g, lepton in zip(grids, LEPTONS.values(), strict=True)]
    first = np.asarray(on_stack(samples[0].data.design, seen[0], 0, grids))

    def regress(covariance, design, y, noise):
        gain = covariance @ design.T @ np.linalg.inv(design @ covariance @ design.T + noise)
        return start + gain @ (y - design @ start), covariance - gain @ design @ covariance

    plain, _ = regress(dense(grids, zero), first, samples[0].data.observed, np.eye(12))
    rate = float((on_stack(samples[1].total[None], seen[1], 1, grids) @ plain)[0])
    second = np.asarray(on_stack(samples[1].data.design / rate, seen[1], 1, grids))
    y = np.concatenate([samples[0].data.observed, samples[1].data.observed])
    noise = np.eye(24)
    noise[12:, 12:] += 1e7 * np.outer(y[12:], y[12:])  # any rate
    covariance = dense(grids, prior_spreads(jnp.asarray(plain), grids, 0.5))
    mean, left = regress(covariance, np.concatenate([first, second]), y, noise)
    size = np.sqrt(np.diag(covariance))
    some = size > 0.0  # at x = 1 there is nothing
    differ = (np.asarray(found.mean) - mean)[some] / size[some]
    np.testing.assert_allclose(differ, 0.0, atol=1e-4)
    columns = np.asarray(found.posterior.covariance(jnp.eye(len(mean))[:, some]))[some]
    outer = np.outer(size, size)[some][:, some]
    np.testing.assert_allclose(columns / outer, left[some][:, some] / outer, atol=1e-4)


def five_functions(nodes: NodeGrid) -> np.ndarray:
    """Return a positive tensor on nodes, shape (n, 5)."""
    size = (1.0 - nodes.x) ** 3 * nodes.q2 / (nodes.q2 + 0.7) / np.sqrt(nodes.x)
    return size[:, None] * np.array([1.0, 0.25, 0.15, 0.0, 0.0])


def test_shape_only_forgets_the_rate() -> None:
    rng = np.random.default_rng(4)
    design, w = rng.standard_normal((9, 20)), rng.standard_normal(20)
    data = shape_only(LinearData(jnp.asarray(design), jnp.asarray(design @ w), np.eye(9)))
    np.testing.assert_allclose(data.design @ (3.0 * w), data.observed, atol=1e-12)
    np.testing.assert_allclose(data.whiten @ (design @ w), 0.0, atol=1e-12)


@pytest.fixture(scope="module")
def fitted(energies) -> dict[str, tuple[Tensors, list[NodeGrid]]]:
    """Five functions from 100,000 muons, and with 100,000 electrons."""
    nodes, samples = [], []
    for place, (name, lepton) in enumerate(LEPTONS.items()):
        own = node_grid(5.0, 14, 14, lepton.mass)
        rows = row_quadrature(*lepton_grid(5.0, 20, 20, lepton.mass).rows, energies, lepton.mass)
        flux = embedded_dune_flux("neutrino")({"mu": 14, "e": 12}[name], energies.points)
        matrix = build_operator(rows, energies, own).near_matrix(flux)
        w = np.einsum("nij,nj->ni", seen_by(own, lepton), five_functions(own)).ravel()
        expected = np.maximum(matrix @ w, 0.0)
        data = near_data(matrix, expected, expected, own, events=1e5, discretization=1e-3, rank=120)
        samples.append(NearSample(place, lepton, data, jnp.asarray(matrix.sum(axis=0))))
        nodes.append(own)
    return {
        "mu": (fit_tensors(samples[:1], nodes, KERNEL, 0.5, PARTONS), nodes),
        "both": (fit_tensors(samples, nodes, KERNEL, 0.5, PARTONS), nodes),
    }


def test_muons_leave_the_prior_of_ls_and_ss_and_electrons_shrink_it(fitted) -> None:
    """Standard deviations of LS and SS over H/2 where events are, over those of the prior."""
    left = {}
    for name, (found, nodes) in fitted.items():
        n = nodes[0].size
        functions = found.mean[: 5 * n].reshape(n, 5)
        half = np.asarray(0.5 * (functions[:, 0] + functions[:, 1]) + functions[:, 2])
        seen = (nodes[0].x > 0.05) & (nodes[0].x < 0.8) & (nodes[0].q2 > 0.02) & (nodes[0].q2 < 3)
        columns = np.zeros((2, len(found.mean)))
        for k in range(2):
            columns[k, 3 + k : 5 * n : 5] = np.where(seen, 1.0 / half, 0.0)
        prior, posterior = (
            np.sqrt(np.diag(columns @ np.asarray(apply(jnp.asarray(columns.T)))))
            for apply in (found.prior, found.posterior.covariance)
        )
        left[name] = posterior / prior
    assert (left["mu"] > 0.95).all()
    assert (left["both"] < 0.99 * left["mu"]).all()
