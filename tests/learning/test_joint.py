"""Several leptons, one network: the stacked near data are the samples' own, each with its mass."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree
from scipy.special import xlogy

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, NUCLEON_MASS, TAU_MASS
from bayesxs.detector.grid import lepton_grid, node_grid
from bayesxs.detector.operator import build_operator, row_quadrature
from bayesxs.inputs.flux import embedded_dune_flux
from bayesxs.learning.gauss_newton import gauss_newton_step, initial_damping
from bayesxs.learning.heads import Lepton
from bayesxs.learning.near_problem import (
    NearProblem,
    joint_problem,
    near_density,
    near_loss,
    near_problem,
)
from bayesxs.learning.network import Architecture, Network, create_network
from bayesxs.learning.training import Schedule, train
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity, lepton_coefficients
from bayesxs.physics.kinematics import y_range
from bayesxs.physics.structure_functions import bernstein_basis, y_max

KIND = Architecture(layers=2, width=8, head="psd")
MASSES = {"mu": MUON_MASS, "e": ELECTRON_MASS}
COUNTS = {"mu": 200_000, "e": 5_000}


def tensor(x, q2) -> Helicity:
    """Return five functions in closed form, positive, as a network can be."""
    x, q2 = jnp.broadcast_arrays(jnp.asarray(x), jnp.asarray(q2))
    size = (1.0 - x) ** 3 * q2 / (q2 + 0.7) / jnp.sqrt(x)
    parts = (1.0, 0.2 + 0.1 * x, 0.15 * x, 0.1 * x, 0.2 * x)
    return Helicity(*(size * part for part in parts))


def seen(mass: float, x, q2):
    return bernstein_from_helicity(tensor(x, q2), x, q2, mass, 1)


@pytest.fixture(scope="module")
def samples(energies) -> dict[str, tuple]:
    """Near matrix, expected spectrum and nodes of muons and of electrons of the beam."""
    found = {}
    for name, mass in MASSES.items():
        nodes = node_grid(5.0, 20, 20, mass)
        rows = row_quadrature(*lepton_grid(5.0, 24, 24, mass).rows, energies, mass)
        flux = embedded_dune_flux("neutrino")({"mu": 14, "e": 12}[name], energies.points)
        matrix = build_operator(rows, energies, nodes).near_matrix(flux)
        spectrum = matrix @ np.asarray(seen(mass, nodes.x, nodes.q2)).ravel()
        spectrum = np.maximum(spectrum, 0.0)  # what interpolation makes of a zero
        found[name] = matrix, spectrum / spectrum.sum(), nodes
    return found


@pytest.fixture(scope="module", params=["expected", "counted"])
def problems(request: pytest.FixtureRequest, samples) -> dict[str, NearProblem]:
    found = {}
    for name, (matrix, spectrum, nodes) in samples.items():
        if request.param == "expected":
            found[name] = near_problem(matrix, spectrum, nodes, rank=60)
            continue
        counts = np.random.default_rng(0).poisson(COUNTS[name] * spectrum).astype(float)
        found[name] = near_problem(matrix, counts, nodes, loss="multinomial", rank=60)
    return found


def by_weights(function, network: Network, lepton: Lepton):
    """Return a function of a flat vector of weights, for another lepton, and the weights."""
    other = create_network(network.architecture, jax.random.key(4), lepton)
    graph, params, rest = nnx.split(other, nnx.Param, ...)
    flat, unravel = ravel_pytree(params)
    return jax.jit(lambda theta: function(nnx.merge(graph, unravel(theta), rest))), flat


def test_one_sample_alone_is_the_separate_problem(problems) -> None:
    alone = problems["mu"]
    joint = joint_problem([alone], [MUON_MASS], [1.0])
    network = create_network(KIND, jax.random.key(4))
    np.testing.assert_allclose(
        near_density(network, joint), near_density(network, alone), rtol=1e-12
    )
    graph, weights, rest = nnx.split(network, nnx.Param, ...)
    steps = [
        jax.jit(partial(gauss_newton_step, graph=graph, anchor=1e-3))(
            weights, initial_damping(jnp.float64), problem, rest=rest, initial=weights
        )
        for problem in (joint, alone)
    ]
    for one, other in zip(*(jax.tree.leaves(step) for step in steps), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)


def test_losses_and_slopes_add(problems) -> None:
    """Of networks with the same weights, made for each lepton by itself."""
    shares = {"mu": 0.7, "e": 0.3}
    joint = joint_problem(
        [problems[n] for n in MASSES], list(MASSES.values()), [shares[n] for n in MASSES]
    )
    network = create_network(KIND, jax.random.key(4))
    whole, theta = by_weights(partial(near_loss, problem=joint), network, Lepton(TAU_MASS))
    value, slope = jax.value_and_grad(whole)(theta)
    expected_value, expected_slope = 0.0, 0.0
    for name, mass in MASSES.items():
        own, same = by_weights(partial(near_loss, problem=problems[name]), network, Lepton(mass))
        np.testing.assert_array_equal(same, theta)
        part, gradient = jax.value_and_grad(own)(theta)
        expected_value += shares[name] * part
        expected_slope += shares[name] * gradient
    if joint.counts is not None:  # the floor of a logarithm is half an event of the joint data
        assert float(value) == pytest.approx(float(expected_value), rel=0.05)
        return
    assert float(value) == pytest.approx(float(expected_value), rel=1e-10)
    np.testing.assert_allclose(slope, expected_slope, rtol=1e-7, atol=1e-10)


def test_beams_of_one_lepton_share_its_nodes(problems) -> None:
    """In any order: the loss is that of blocks of their own."""
    mu, e = (problems[name] for name in MASSES)
    other = mu._replace(matrix=1.5 * mu.matrix[::-1], total=2.0 * mu.total)
    shares, network = (0.5, 0.2, 0.3), create_network(KIND, jax.random.key(4))
    samples, masses = [mu, e, other], [MUON_MASS, ELECTRON_MASS, MUON_MASS]
    joint = joint_problem(samples, masses, shares)
    assert joint.x.shape == (len(mu.x) + len(e.x),)
    found = near_density(network, joint)
    parts = [
        np.sqrt(share) * near_density(network, joint_problem([own], [mass], [1.0]))
        for own, mass, share in zip(samples, masses, shares, strict=True)
    ]
    np.testing.assert_allclose(found, np.concatenate(parts), rtol=1e-10, atol=1e-14)


def test_counts_have_the_deviance_of_all_events(samples) -> None:
    """2 sum n log(n/m) over the bins of both samples, m of each scaled to its events."""
    network = create_network(KIND, jax.random.key(4))
    problems, total, deviance = [], sum(COUNTS.values()), 0.0
    for name, (matrix, spectrum, nodes) in samples.items():
        counts = np.where(spectrum * COUNTS[name] > 20.0, np.round(spectrum * COUNTS[name]), 0.0)
        events = counts.sum()
        problems.append(
            (near_problem(matrix, counts, nodes, loss="multinomial", rank=None), events)
        )
        w = np.asarray(network.seen(nodes.x, nodes.q2, MASSES[name])).ravel()
        expected = events * (matrix @ w) / (matrix @ w).sum()
        assert expected[counts > 0].min() > 1.0  # no logarithm is continued
        deviance += 2.0 * np.sum(xlogy(counts, counts / np.where(counts > 0, expected, 1.0)))
    total = sum(events for _, events in problems)
    joint = joint_problem(
        [p for p, _ in problems], list(MASSES.values()), [n / total for _, n in problems]
    )
    assert float(near_loss(network, joint)) == pytest.approx(deviance / total, rel=1e-9)


@pytest.mark.parametrize("inputs", ["multi", "ridge"])
def test_every_lepton_sees_the_formula(inputs) -> None:
    """From one network: the contraction of tensors, not Bernstein coefficients, at three masses."""
    kind = Architecture(layers=2, width=8, head="psd", inputs=inputs)
    network = create_network(kind, jax.random.key(4))
    rng = np.random.default_rng(2)
    energy, x = rng.uniform(6.0, 10.0, 300), rng.uniform(0.3, 0.9, 300)
    for mass in (ELECTRON_MASS, MUON_MASS, TAU_MASS):
        low, high = y_range(energy, x, mass)
        kept = high > low
        e, xs = energy[kept], x[kept]
        y = low[kept] + (high - low)[kept] * rng.uniform(0.01, 0.99, kept.sum())
        q2 = 2.0 * NUCLEON_MASS * e * xs * y
        basis = np.asarray(bernstein_basis(y / y_max(xs, q2, mass)))
        bracket = (np.asarray(network.seen(xs, q2, mass)) * basis).sum(axis=-1)
        parts = lepton_coefficients(e, xs, y, mass, 1)
        five = network.tensor(xs, q2)
        formula = sum(np.asarray(c) * np.asarray(w) for c, w in zip(parts, five, strict=True))
        np.testing.assert_allclose(bracket, formula, rtol=1e-8)
        own = create_network(kind, jax.random.key(4), Lepton(mass))
        np.testing.assert_allclose(own(xs, q2), network.seen(xs, q2, mass), rtol=1e-12)
    with pytest.raises(ValueError, match="three functions"):
        create_network(Architecture(2, 8), jax.random.key(0)).seen(0.1, 1.0, MUON_MASS)


def test_both_samples_are_learned_by_one_network(samples) -> None:
    problems = [
        near_problem(m, spectrum, nodes, rank=60) for m, spectrum, nodes in samples.values()
    ]
    joint = joint_problem(problems, list(MASSES.values()), [0.5, 0.5])
    schedule = Schedule(0, 1e-3, 0, gauss_newton_steps=24, record_often=8)
    network = train(create_network(KIND, jax.random.key(4)), joint, schedule)
    for name, (matrix, spectrum, nodes) in samples.items():
        w = np.asarray(network.seen(nodes.x, nodes.q2, MASSES[name])).ravel()
        found = matrix @ w / (matrix @ w).sum()
        assert np.linalg.norm(found - spectrum) < 5e-3 * np.linalg.norm(spectrum)
    # Size: the first sample's rate is one, in units of its operator
    matrix, _, nodes = samples["mu"]
    column_sums = matrix.sum(axis=0)
    w = np.asarray(network.seen(nodes.x, nodes.q2, MUON_MASS)).ravel()
    assert column_sums @ w / np.abs(column_sums).max() == pytest.approx(1.0, rel=1e-9)
