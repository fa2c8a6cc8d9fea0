"""The near-detector data as a network sees them: an operator, a target, and the loss between them.

For expected data the loss is the squared error of the normalised density,
||D (K w / sum(K w) - p)||^2, with w the network on the nodes; for a finite number of events it is
the multinomial deviance, or chi-square. K is dense and projected on the row combinations that
structure functions can reach, which is exact for the gradient to the accuracy of the projection
(see `near_problem`). Events one by one make such a problem too (`unbinned_problem`), and so do
several samples of one helicity (`joint_problem`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import xlogy
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.linalg import block_diag
from scipy.special import expit

from bayesxs.constants import NUCLEON_MASS
from bayesxs.detector.grid import NodeGrid
from bayesxs.learning.network import Network
from bayesxs.types import Floats

type Loss = Literal["relative", "uniform", "multinomial", "chi_square"]

# Events in a bin below which the multinomial loss continues the logarithm by its tangent: the
# projection's error may reach below zero beside bins that hold next to nothing, and a logarithm
# that is merely cut there has no slope that leads back
FLOOR_EVENTS = 0.5


class NearProblem(NamedTuple):
    """Everything a training step reads.

    Attributes:
        x: Bjorken x of the active nodes, shape (n,).
        q2: Q^2 of the active nodes in GeV^2, shape (n,).
        matrix: projected, weighted near-detector operator, shape (r, 3 n).
        total: column sums of the unweighted operator, shape (3 n,); of several samples, those of
            each row's sample, shape (r, 3 n).
        target: projected, weighted observed density, shape (r,).
        lift: takes a projected density back to the bins, shape (rows, r); None but for counts.
        counts: observed events in the bins over their sum, shape (rows,); None but for counts.
        mass: of the lepton that sees each node in GeV, shape (n,); None for the network's own.
        least: densities below which logarithms are continued by their tangents, shape (rows,);
            None for that of `density_floor`.
    """

    x: Array
    q2: Array
    matrix: Array
    total: Array
    target: Array
    lift: Array | None = None
    counts: Array | None = None
    mass: Array | None = None
    least: Array | None = None


def near_problem(
    matrix: sparse.csr_array,
    observed: ArrayLike,
    nodes: NodeGrid,
    *,
    loss: Loss = "relative",
    floor: float = 0.02,
    rank: int | None = 700,
    smoothing: float = 2.0,
) -> NearProblem:
    """Weight, project and densify the near-detector operator.

    Rows are weighted by 1/(p + floor p_max), so that the loss also sees small densities, not at all
    ("uniform"), or by 1/sqrt(max(n, 1)) for counts n ("chi_square"). Projection: the weighted K is
    applied to `rank` random functions on the nodes, Gaussian-smooth over `smoothing` node spacings,
    and the rows are projected on the space that these images and the observed density span.
    Functions that the nodes resolve lie in it to about 1e-5; the part of the data outside is a
    constant of a quadratic loss.

    Args:
        matrix: K of `Operator.near_matrix`, shape (rows, 3 n_nodes).
        observed: near density, any normalisation, or counts, shape (rows,).
        nodes: the nodes.
        loss: "relative" and "uniform" for expected data, the others for counts.
        floor: relative floor of the weights.
        rank: random functions; None keeps every row.
        smoothing: correlation length of the random functions in node spacings.
    """
    observed = np.asarray(observed, dtype=float)
    seen = np.nonzero(np.diff(matrix.indptr))[0]
    active = np.unique(matrix.indices // 3)
    columns = (3 * active[:, None] + np.arange(3)).ravel()
    dense = matrix[seen][:, columns].toarray()
    p = observed[seen] / observed[seen].sum()
    total = dense.sum(axis=0)
    scale = np.abs(total).max()  # keeps the numbers near one, for float32's sake
    dense, total = dense / scale, total / scale
    if loss == "uniform":
        weights = np.ones_like(p)
    elif loss == "chi_square":
        weights = 1.0 / np.sqrt(np.maximum(observed[seen], 1.0))
    else:
        weights = 1.0 / (p + floor * p.max())
    weights /= np.linalg.norm(weights * p)
    dense *= weights[:, None]
    target = weights * p
    basis = None
    if rank is not None and rank < len(seen):
        images = dense @ smooth_functions(nodes, active, rank, smoothing)
        basis, _ = np.linalg.qr(np.column_stack([target, images]))
        dense, target = basis.T @ dense, basis.T @ target
    lift = counts = None
    if loss == "multinomial":
        lift = jnp.asarray((np.eye(len(seen)) if basis is None else basis) / weights[:, None])
        counts = jnp.asarray(p)
    arrays = (nodes.x[active], nodes.q2[active], dense, total, target)
    x, q2, operator, sums, goal = (jnp.asarray(a) for a in arrays)
    return NearProblem(x, q2, operator, sums, goal, lift, counts)


def unbinned_problem(
    matrix: sparse.csr_array,
    total: ArrayLike,
    weights: ArrayLike,
    expected: ArrayLike,
    nodes: NodeGrid,
    *,
    floor: float = 0.02,
    rank: int | None = 700,
    smoothing: float = 2.0,
) -> NearProblem:
    """Return -2 sum W log p / sum W of points that stand for events as a loss, p = K w/(total w).

    A constant is added, with which it is about a divergence. For the coarse steps of Gauss-Newton
    and for the projection each point counts as a bin that holds W events.

    Args:
        matrix: densities at the points times what volume belongs to each, (points, 3 n_nodes).
        total: the integral of the density, shape (3 n_nodes,).
        weights: W, some of which may be negative, shape (points,).
        expected: positive numbers of about the same size, shape (points,).
        nodes: the nodes.
        floor: relative floor of the weights in the squared error.
        rank: random functions that span the projected rows; None keeps every row.
        smoothing: correlation length of the random functions in node spacings.
    """
    weights, expected = (np.asarray(a, dtype=float) for a in (weights, expected))
    seen = np.nonzero(np.diff(matrix.indptr))[0]
    integral = np.asarray(total, dtype=float)
    used = np.union1d(matrix.indices // 3, np.nonzero(integral)[0] // 3)
    columns = (3 * used[:, None] + np.arange(3)).ravel()
    events = weights[seen].sum()
    counts, sizes = weights[seen] / events, expected[seen] / events
    scale = np.abs(integral).max()  # keeps the numbers near one, for float32's sake
    relative = 1.0 / (sizes + floor * sizes.max())
    relative /= np.linalg.norm(relative * counts)
    rows = sparse.diags_array(relative / scale) @ matrix[seen][:, columns]
    target, lift = relative * counts, 1.0 / relative[:, None]
    if rank is None or rank >= len(seen):
        operator, lift = rows.toarray(), np.diag(lift[:, 0])
    else:
        images = rows @ smooth_functions(nodes, used, rank, smoothing)
        basis, _ = np.linalg.qr(np.column_stack([target, images]))
        operator, target, lift = (rows.T @ basis).T, basis.T @ target, basis * lift
    least = np.full(len(seen), FLOOR_EVENTS / events)
    x, q2 = (jnp.asarray(a[used]) for a in (nodes.x, nodes.q2))
    arrays = (operator, integral[columns] / scale, target, lift, counts)
    projected, sums, goal, lifted, seen_at = (jnp.asarray(a) for a in arrays)
    return NearProblem(x, q2, projected, sums, goal, lifted, seen_at, least=jnp.asarray(least))


def joint_problem(
    problems: Sequence[NearProblem], masses: Sequence[float], shares: Sequence[float]
) -> NearProblem:
    """Stack the near data of several leptons that see one tensor of five functions.

    Nodes are concatenated, and rows: each sample's operator acts on the (b0, b1, b2) of its own
    lepton and is normalised by its own rate. Samples of one lepton, such as of two beams, share
    their nodes. The loss is the samples' losses, summed with the shares. With shares
    of the events it is for counts the deviance of all events, per event.

    Args:
        problems: of the samples, all for counts or none.
        masses: of their leptons in GeV.
        shares: positive, with the sum 1.
    """
    roots = [np.sqrt(share) for share in shares]
    scaled = list(zip(problems, roots, strict=True))
    lift = counts = least = None
    if all(p.least is not None for p in problems):
        least = jnp.concatenate([root**2 * jnp.asarray(p.least) for p, root in scaled])
    if all(p.lift is not None and p.counts is not None for p in problems):
        lift = jnp.asarray(block_diag(*(root * np.asarray(p.lift) for p, root in scaled)))
        counts = jnp.concatenate([root**2 * jnp.asarray(p.counts) for p, root in scaled])
    leptons = _leptons(problems, masses)
    own = [
        [i for i, lepton in enumerate(leptons) if lepton == number]
        for number in range(max(leptons) + 1)
    ]
    order = [i for samples in own for i in samples]
    firsts = [problems[samples[0]] for samples in own]

    def placed(rows: Sequence[Floats]) -> Array:
        blocks = block_diag(*(np.concatenate([rows[i] for i in samples]) for samples in own))
        sizes = [len(row) for row in rows]
        ends = np.split(np.arange(sum(sizes)), np.cumsum([sizes[i] for i in order])[:-1])
        return jnp.asarray(blocks[np.concatenate([ends[i] for i in np.argsort(order)])])

    return NearProblem(
        jnp.concatenate([p.x for p in firsts]),
        jnp.concatenate([p.q2 for p in firsts]),
        placed([root * np.asarray(p.matrix) for p, root in scaled]),
        placed([np.broadcast_to(np.asarray(p.total), p.matrix.shape) for p in problems]),
        jnp.concatenate([root * p.target for p, root in scaled]),
        lift,
        counts,
        jnp.concatenate([jnp.full(problems[i[0]].x.shape, masses[i[0]]) for i in own]),
        least,
    )


def _leptons(problems: Sequence[NearProblem], masses: Sequence[float]) -> list[int]:
    """Return the number of the lepton of each sample: one where mass and nodes are the same."""
    keys = [
        (mass, np.asarray(p.x).tobytes(), np.asarray(p.q2).tobytes())
        for p, mass in zip(problems, masses, strict=True)
    ]
    distinct = list(dict.fromkeys(keys))
    return [distinct.index(key) for key in keys]


def smooth_functions(nodes: NodeGrid, active: np.ndarray, number: int, smoothing: float) -> Floats:
    """Return random smooth structure functions on the active nodes, shape (3 n_active, number)."""

    def kernel(n: int) -> Floats:
        distance = np.subtract.outer(np.arange(n), np.arange(n)) / smoothing
        return np.exp(-0.5 * distance**2)

    rng = np.random.default_rng(0)  # a fixed basis: it defines the loss, not a sample
    noise = rng.standard_normal((number * 3, len(nodes.u), len(nodes.v)))
    smooth = kernel(len(nodes.u)) @ noise @ kernel(len(nodes.v))
    smooth = smooth.reshape(number, 3, -1)[:, :, active]
    x, q2 = nodes.x[active], nodes.q2[active]
    smooth *= partons_size(x, q2) if x.max() <= 1.0 else nuclear_size(x, q2)
    return np.ascontiguousarray(smooth.transpose(2, 1, 0).reshape(3 * len(active), number))


def partons_size(x: Floats, q2: Floats) -> Floats:
    """Return about the size that structure functions of partons have."""
    size: Floats = ((1.0 - x) ** 2 + 3e-3) * q2 / (q2 + 0.7)
    return size


def nuclear_size(x: Floats, q2: Floats) -> Floats:
    """Return about the size that structure functions of a nucleus have.

    One beyond the quasi-elastic ridge, at any Q^2, and falling before it over the energy |q|/4 that
    Fermi motion gives.
    """
    nu = q2 / (2.0 * NUCLEON_MASS * x)
    beyond = (nu - q2 / (2.0 * NUCLEON_MASS)) / np.sqrt(nu**2 + q2)
    size: Floats = expit(16.0 * beyond) + 3e-3
    return size


def near_density(network: Network, problem: NearProblem) -> Array:
    """Return a network's projected, weighted near density, shape (r,)."""
    w = node_values(network, problem)
    return problem.matrix @ w / (problem.total @ w)


def node_values(network: Network, problem: NearProblem) -> Array:
    """Return (b0, b1, b2) on the nodes, as the lepton of each node sees them, shape (3 n,)."""
    if problem.mass is None:
        return network(problem.x, problem.q2).ravel()
    return network.seen(problem.x, problem.q2, problem.mass).ravel()


def density_loss(density: Array, problem: NearProblem) -> Array:
    """Return the distance of a projected near density p from the observed one p_obs.

    ||D (p - p_obs)||^2 / ||D p_obs||^2, or for counts 2 sum p_obs log(p_obs/p), the multinomial
    deviance per event, the logarithm continued by its tangent below half an event. Weights of
    points may be negative, and then count in the constant by their size.
    """
    if problem.lift is None or problem.counts is None:
        return squared_error(density, problem)
    observed = problem.counts
    ratio, floor = problem.lift @ density, density_floor(problem.counts, problem.least)
    ratio = ratio / floor
    log = jnp.where(ratio > 1.0, jnp.log(jnp.maximum(ratio, 1.0)), ratio - 1.0)
    return 2.0 * jnp.sum(xlogy(observed, jnp.abs(observed) / floor) - observed * log)


def squared_error(density: Array, problem: NearProblem) -> Array:
    """Return ||D (p - p_obs)||^2 / ||D p_obs||^2 of a projected near density p."""
    residual = density - problem.target
    return residual @ residual


def density_floor(counts: Array, least: Array | None = None) -> Array:
    """Return the share of FLOOR_EVENTS in all events, from counts over their sum, shape ().

    The smallest of the counts is taken for one event, or a few; not where `least` is given.
    """
    if least is not None:
        return least
    return FLOOR_EVENTS * jnp.min(jnp.where(counts > 0.0, counts, jnp.inf))


def near_loss(network: Network, problem: NearProblem) -> Array:
    """Return the distance of a network's near density from the observed one (`density_loss`)."""
    return density_loss(near_density(network, problem), problem)
