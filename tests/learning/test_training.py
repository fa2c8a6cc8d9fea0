"""Training: the loss is what it says, the best is kept, and a run can be interrupted anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from bayesxs.learning.near_problem import NearProblem, density_loss, near_loss, near_problem
from bayesxs.learning.network import Architecture, Network, create_network, network_arrays
from bayesxs.learning.training import Schedule, normalized, train, train_together

ARCHITECTURE = Architecture(layers=2, width=16, head="positive")

# Records at 20, 40 (where Adam ends), 60 and 80
SCHEDULE = Schedule(40, 3e-3, 40, memory=10, record_every=20)


@pytest.fixture(scope="module", autouse=True)
def kept_programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep compiled programs for the length of this file: resumed runs compile the same ones."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (str(tmp_path_factory.mktemp("programs")), 0.2), strict=True):
        jax.config.update(name, value)
    reset_cache()
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture(scope="module")
def matrix(operator, near_flux):
    return operator.near_matrix(near_flux)


@pytest.fixture(scope="module")
def full(matrix, observed, nodes) -> NearProblem:
    """The problem with every row kept."""
    return near_problem(matrix, observed, nodes, rank=None)


@pytest.fixture(scope="module")
def problem(matrix, observed, nodes) -> NearProblem:
    """The problem projected on 150 of 283 dimensions."""
    return near_problem(matrix, observed, nodes, rank=150)


class Record(NamedTuple):
    step: int
    loss: float
    best: Network
    checkpoint: dict[str, np.ndarray]


class Run(NamedTuple):
    start: Network
    before: dict[str, np.ndarray]  # the start's numbers before training
    end: Network
    records: list[Record]
    numbers: list[dict[str, np.ndarray]]  # of each recorded network, at its time


@pytest.fixture(scope="module")
def run(problem) -> Run:
    """One run without interruption."""
    start = create_network(ARCHITECTURE, jax.random.key(0))
    before = network_arrays(start)
    records: list[Record] = []
    numbers: list[dict[str, np.ndarray]] = []

    def record(*arguments: Any) -> None:
        records.append(Record(*arguments))
        numbers.append(network_arrays(records[-1].best))

    end = train(start, problem, SCHEDULE, record=record)
    return Run(start, before, end, records, numbers)


def assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    """Check equality to the last bit."""
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


# --- the loss ----------------------------------------------------------------------------------


def spectrum(operator, near_flux, network) -> np.ndarray:
    """Near spectrum of a network by the other contraction of the operator, unit sum."""
    nodes = operator.nodes
    values = np.asarray(network(nodes.x, nodes.q2))
    unnormalized = operator.response(values) @ near_flux
    return unnormalized / unnormalized.sum()


@pytest.mark.parametrize("floor", [None, 0.02])
def test_the_loss_is_the_weighted_squared_error_of_the_density(
    floor, operator, near_flux, matrix, observed, nodes
):
    network = create_network(ARCHITECTURE, jax.random.key(1))
    p = observed / observed.sum()
    weights = np.ones_like(p) if floor is None else 1.0 / (p + floor * p.max())
    error = weights * (spectrum(operator, near_flux, network) - p)
    expected = np.sum(error**2) / np.sum((weights * p) ** 2)
    choice = {"loss": "uniform"} if floor is None else {"loss": "relative", "floor": floor}
    full = near_problem(matrix, observed, nodes, rank=None, **choice)
    np.testing.assert_allclose(near_loss(network, full), expected, rtol=1e-10)


def test_the_truth_has_almost_no_loss(truth, problem, full):
    # What remains is interpolation between 20 x 20 nodes, seen through the weights
    assert near_loss(truth, full) < 1e-4
    assert near_loss(truth, problem) < 1e-4


def test_the_observed_density_may_have_any_normalization(matrix, observed, nodes):
    one, other = (near_problem(matrix, s * observed, nodes, rank=40) for s in (1.0, 1e-7))
    assert one.counts is other.counts is one.lift is other.lift is None
    for a, b in zip(one[:5], other[:5], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def loss_of():
    """Loss and gradient as a function of weights; one compilation for each shape of problem."""
    graph, _, rest = nnx.split(create_network(ARCHITECTURE, jax.random.key(0)), nnx.Param, ...)

    @jax.jit
    def evaluate(weights: Any, scale: Any, problem: NearProblem) -> Any:
        def loss(w: Any) -> Any:
            network = nnx.merge(graph, w, rest, copy=True)
            network.scale[...] = scale
            return near_loss(network, problem)

        return jax.value_and_grad(loss)(weights)

    return evaluate


def parameters(network: Network) -> Any:
    return nnx.split(network, nnx.Param, ...)[1]


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-6, 1e6), sign=st.sampled_from([1.0, -1.0]))
def test_the_loss_is_blind_to_scale_and_sign(loss_of, problem, scale, sign):
    weights = parameters(create_network(ARCHITECTURE, jax.random.key(2)))
    expected, _ = loss_of(weights, jnp.array(1.0), problem)
    value, _ = loss_of(weights, jnp.array(sign * scale), problem)
    np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_the_projection_leaves_the_gradient(loss_of, problem, full, run):
    # 150 random functions of 283 dimensions change gradients of smooth networks by 2e-6
    one = jnp.array(1.0)
    networks = [create_network(ARCHITECTURE, jax.random.key(k)) for k in range(4)]
    for network in [*networks, run.records[0].best]:
        _, exact = loss_of(parameters(network), one, full)
        _, projected = loss_of(parameters(network), one, problem)
        flat = [
            np.concatenate([np.ravel(a) for a in jax.tree.leaves(g)]) for g in (exact, projected)
        ]
        assert np.linalg.norm(flat[1] - flat[0]) < 2e-5 * np.linalg.norm(flat[0])


def test_a_rank_above_the_rows_projects_nothing(matrix, observed, nodes, full):
    for a, b in zip(near_problem(matrix, observed, nodes, rank=10**4), full, strict=True):
        np.testing.assert_array_equal(a, b)


# --- counts ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counts(operator, near_flux, truth) -> np.ndarray:
    """Poisson counts of 20 000 events: many bins are empty."""
    expected = np.maximum(spectrum(operator, near_flux, truth), 0.0)
    return np.random.default_rng(0).poisson(20_000 * expected).astype(float)


def test_the_multinomial_loss_is_the_deviance(operator, near_flux, matrix, counts, nodes):
    network = create_network(ARCHITECTURE, jax.random.key(1))
    p, model = counts / counts.sum(), spectrum(operator, near_flux, network)
    held = p > 0.0
    expected = 2.0 * np.sum(p[held] * np.log(p[held] / np.maximum(model[held], 1e-12)))
    full = near_problem(matrix, counts, nodes, loss="multinomial", rank=None)
    np.testing.assert_allclose(near_loss(network, full), expected, rtol=1e-9)


def test_a_density_below_half_an_event_is_led_back(matrix, counts, nodes):
    """Below half an event the logarithm is its tangent there: of value and slope of its own."""
    full = near_problem(matrix, counts, nodes, loss="multinomial", rank=None)
    weights = 1.0 / np.diag(np.asarray(full.lift))
    p = np.asarray(full.counts)
    bin_, half = int(np.argmax(p)), 0.5 / counts.sum()
    assert p[p > 0.0].min() == pytest.approx(2.0 * half)

    @jax.jit
    @jax.value_and_grad
    def loss(share: jax.Array) -> jax.Array:
        density = jnp.asarray(np.where(p > 0.0, p, half)).at[bin_].set(share)
        return density_loss(density * weights, full)

    there = 2.0 * p[bin_] * np.log(p[bin_] / half)
    for events in (-3.0, 0.0, 0.4, 0.6):
        value, slope = loss(jnp.array(events / counts.sum()))
        tangent = events < 0.5
        change = 2.0 * events - 1.0 if tangent else np.log(2.0 * events)
        np.testing.assert_allclose(value, there - 2.0 * p[bin_] * change, rtol=1e-9)
        share = half if tangent else events / counts.sum()
        np.testing.assert_allclose(slope, -2.0 * p[bin_] / share, rtol=1e-9)


def test_the_multinomial_loss_is_lowest_at_the_observed_density(
    operator, near_flux, matrix, truth, nodes
):
    # By Gibbs' inequality it vanishes where p is the observed density, and is positive elsewhere;
    # interpolation makes a few bins of the truth negative, which counts cannot be
    own = np.maximum(spectrum(operator, near_flux, truth), 0.0)
    full = near_problem(matrix, own, nodes, loss="multinomial", rank=None)
    here = float(near_loss(truth, full))
    assert here == pytest.approx(0.0, abs=1e-4)
    for key in range(4):
        other = create_network(ARCHITECTURE, jax.random.key(key))
        assert near_loss(other, full) > here + 1e-3


@pytest.mark.parametrize("loss", ["multinomial", "chi_square"])
@pytest.mark.parametrize("rank", [None, 150])
def test_empty_bins_leave_loss_and_gradient_finite(loss, rank, loss_of, matrix, counts, nodes):
    assert np.any(counts[np.diff(matrix.indptr) > 0] == 0.0)
    problem = near_problem(matrix, counts, nodes, loss=loss, rank=rank)
    weights = parameters(create_network(ARCHITECTURE, jax.random.key(2)))
    value, slope = loss_of(weights, jnp.array(1.0), problem)
    assert np.isfinite(value)
    assert all(np.all(np.isfinite(a)) for a in jax.tree.leaves(slope))


def test_the_chi_square_loss_weighs_by_counts(operator, near_flux, matrix, counts, nodes):
    network = create_network(ARCHITECTURE, jax.random.key(1))
    error = counts.sum() * spectrum(operator, near_flux, network) - counts
    seen = np.diff(matrix.indptr) > 0
    variance = np.maximum(counts, 1.0)[seen]
    expected = np.sum(error[seen] ** 2 / variance) / np.sum(counts[seen] ** 2 / variance)
    full = near_problem(matrix, counts, nodes, loss="chi_square", rank=None)
    np.testing.assert_allclose(near_loss(network, full), expected, rtol=1e-9)


def test_the_anchor_holds_the_weights(problem):
    start = create_network(ARCHITECTURE, jax.random.key(0))

    def moved(anchor: float) -> float:
        end = train(start, problem, Schedule(40, 3e-3, 0, anchor=anchor, record_every=40))
        pairs = zip(*(jax.tree.leaves(parameters(n)) for n in (start, end)), strict=True)
        return float(sum(jnp.sum((a - b) ** 2) for a, b in pairs))

    free, held = moved(0.0), moved(10.0)
    assert 0.0 < held < 0.4 * free


# --- a run -------------------------------------------------------------------------------------


def test_training_learns(run, problem):
    start, end = near_loss(run.start, problem), near_loss(run.end, problem)
    assert end < 1e-4 * start
    # The quasi-Newton finish goes on from where Adam ended
    adam = near_loss(run.records[1].best, problem)
    assert end < 1e-2 * adam


def test_records_come_when_promised_and_never_get_worse(run, problem):
    assert [record.step for record in run.records] == [20, 40, 60, 80]
    best = [float(near_loss(record.best, problem)) for record in run.records]
    assert best == sorted(best, reverse=True)
    assert all(b <= r.loss * (1.0 + 1e-9) for b, r in zip(best, run.records, strict=True))


def test_training_touches_neither_its_start_nor_what_it_recorded(run):
    assert_same(run.before, network_arrays(run.start))
    for record, numbers in zip(run.records, run.numbers, strict=True):
        assert_same(numbers, network_arrays(record.best))
    assert_same(run.numbers[-1], network_arrays(run.end))


def test_networks_end_with_unit_near_rate(run, problem):
    for network in (run.end, *(record.best for record in run.records)):
        rate = problem.total @ network(problem.x, problem.q2).ravel()
        np.testing.assert_allclose(rate, 1.0, rtol=1e-12)


def test_the_best_network_is_kept_when_the_last_is_worse(problem):
    losses: list[float] = []
    start = create_network(ARCHITECTURE, jax.random.key(0))
    restless = Schedule(adam_steps=30, learning_rate=0.3, lbfgs_steps=0, record_every=1)
    end = train(start, problem, restless, record=lambda step, loss, *_: losses.append(loss))
    assert len(losses) == 30
    assert losses[-1] > 1.1 * min(losses)
    np.testing.assert_allclose(near_loss(end, problem), min(losses), rtol=1e-10)


def test_a_negative_network_ends_positive(problem):
    # The paper's network in single precision, started with a negative cross section everywhere
    paper = Architecture(2, 16, "leaky_relu", "plain", "unconstrained", "float32")
    start = create_network(paper, jax.random.key(0))
    start.layers[-1].bias[...] = jnp.full(3, -5.0, jnp.float32)
    total = problem.total.astype(jnp.float32)
    assert total @ start(problem.x, problem.q2).ravel() < 0.0
    end = train(start, problem, Schedule(20, 1e-3, 0, record_every=20))
    assert {a.dtype for a in network_arrays(end).values()} == {np.dtype(np.float32)}
    np.testing.assert_allclose(total @ end(problem.x, problem.q2).ravel(), 1.0, rtol=1e-4)
    assert near_loss(end, problem) < near_loss(start, problem)


def test_no_steps_give_the_start_normalized(problem):
    start = create_network(ARCHITECTURE, jax.random.key(0))
    end = train(start, problem, Schedule(adam_steps=0, lbfgs_steps=0))
    assert_same(network_arrays(end), network_arrays(normalized(start, problem)))


# --- interruptions -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(3), ids=["in Adam", "between", "in L-BFGS"])
def test_a_resumed_run_ends_with_the_same_bits(number, run, problem):
    records: list[Record] = []
    end = train(
        create_network(ARCHITECTURE, jax.random.key(0)),
        problem,
        SCHEDULE,
        resume=run.records[number].checkpoint,
        record=lambda *arguments: records.append(Record(*arguments)),
    )
    assert_same(network_arrays(end), network_arrays(run.end))
    rest = run.records[number + 1 :]
    assert [(r.step, r.loss) for r in records] == [(r.step, r.loss) for r in rest]
    for record, expected in zip(records, rest, strict=True):
        assert_same(record.checkpoint, expected.checkpoint)


def test_the_same_key_gives_the_same_bits(run, problem):
    again = train(create_network(ARCHITECTURE, jax.random.key(0)), problem, SCHEDULE)
    assert_same(network_arrays(again), network_arrays(run.end))


def test_a_checkpoint_of_another_network_is_refused(run, problem):
    other = create_network(Architecture(layers=2, width=8), jax.random.key(0))
    with pytest.raises(ValueError, match="checkpoint does not fit"):
        train(other, problem, SCHEDULE, resume=run.records[-1].checkpoint)


def test_observed_nan_ends_the_training(matrix, observed, nodes):
    damaged = np.where(np.arange(len(observed)) == np.argmax(observed), np.nan, observed)
    problem = near_problem(matrix, damaged, nodes, rank=None)
    start = create_network(ARCHITECTURE, jax.random.key(0))
    with pytest.raises(FloatingPointError, match="step 5"):
        train(start, problem, Schedule(10, lbfgs_steps=0, record_every=5))


def test_networks_trained_together_are_those_trained_alone(problem):
    """To rounding, which many quasi-Newton steps would amplify: hence few."""
    short = Schedule(10, 3e-3, 3, memory=4, anchor=1e-4, record_every=5)
    starts = [create_network(ARCHITECTURE, jax.random.key(seed)) for seed in range(3)]
    shifted = problem._replace(target=1.01 * problem.target)
    problems = [problem, shifted, problem]
    records = []
    together = train_together(
        starts, problems, short, record=lambda *arguments: records.append(arguments)
    )
    for start, own, end in zip(starts, problems, together, strict=True):
        alone = network_arrays(train(start, own, short))
        for name, value in network_arrays(end).items():
            np.testing.assert_allclose(value, alone[name], rtol=1e-6, atol=1e-9)
    assert [record[0] for record in records] == [5, 10, 13]
    again = train_together(starts, problems, short, resume=records[1][3])
    for first, second in zip(together, again, strict=True):
        assert_same(network_arrays(first), network_arrays(second))
