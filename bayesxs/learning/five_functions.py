"""A Gaussian process for the five helicity functions that all leptons of a helicity share.

A lepton without mass sees three functions of the tensor, (b0, b1, b2) of T+, T- and LL. These have
the prior of `gaussian_process`. LS and SS, which leptons see in proportion to m^2, are added to it:
with H = T+ + T- + 2 LL = r^2 b0/x, which has the same meaning for every lepton, and d a number,

    SS = d (H/2) s,    LS = sqrt(LL d H/2)/2 t,    cov(s, s') = cov(t, t') = (1 + k)/2,

with k the kernel of g: half of the variance is common to all x and Q^2, as a wrong relation between
form factors would be. Their means are zero, where the current is conserved. LS^2 <= LL SS is
respected on the average: LS^2 is a quarter of LL d H/2, as final states do not agree on the ratio
of the two amplitudes. H and LL come from a first pass without LS and SS.

The unknowns are the five functions on the nodes of every lepton. Each lepton's (b0, b1, b2) is a
linear map of them, so that near data of muons move what electrons see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from bayesxs.detector.grid import NodeGrid
from bayesxs.learning.gaussian_process import (
    Kernel,
    Scales,
    fit_process,
    kernel_matrix,
    prior_covariance,
    prior_mean,
)
from bayesxs.learning.heads import Lepton
from bayesxs.learning.linear_model import Conditioned, Covariance, LinearData, condition
from bayesxs.physics.helicity import bernstein_coefficients

# Share of H/2 that LL is taken to have at least, where LS is bounded by it
LEAST_LL = 0.05

# Columns that a covariance is applied to at once: bounds memory
BATCH = 256


class NearSample(NamedTuple):
    """Near-detector data of one lepton, for w of unit rate in them.

    Attributes:
        place: of its nodes among all.
        lepton: that is counted.
        data: whitened and projected.
        total: near rate of node values, in the operator's units, shape (3 n,).
    """

    place: int
    lepton: Lepton
    data: LinearData
    total: Array


class Tensors(NamedTuple):
    """A posterior of five functions on stacked nodes; the first sample's rate is one.

    Attributes:
        mean: (T+, T-, LL, LS, SS) of every node, those of all grids one after the other, shape
            (5 n,).
        prior: applies their prior covariance.
        posterior: conditioned on all samples.
        scales: of the process.
    """

    mean: Array
    prior: Covariance
    posterior: Conditioned
    scales: Scales


def seen_by(nodes: NodeGrid, lepton: Lepton) -> Array:
    """Return what takes five functions to a lepton's (b0, b1, b2) on nodes, shape (n, 3, 5)."""
    parts = bernstein_coefficients(nodes.x, nodes.q2, lepton.mass, lepton.sign)
    return jnp.stack([jnp.asarray(part) for part in parts], axis=-1)


def tensor_of_massless(nodes: NodeGrid, sign: int) -> Array:
    """Return what takes (b0, b1, b2) of a massless lepton, LS and SS to the five, (n, 5, 5)."""
    massless = seen_by(nodes, Lepton(0.0, sign))[:, :, :3]
    whole = jnp.zeros((nodes.size, 5, 5)).at[:, :3, :3].set(jnp.linalg.inv(massless))
    return whole.at[:, [3, 4], [3, 4]].set(1.0)


def joint_prior(
    grids: Sequence[NodeGrid],
    sign: int,
    scales: Scales,
    kernel: Kernel,
    spreads: Sequence[Array] | None = None,
) -> tuple[Array, Covariance]:
    """Return mean and covariance of the five functions on stacked nodes.

    Args:
        grids: nodes of each lepton, in one chart.
        sign: +1 for neutrinos, -1 for antineutrinos.
        scales: of the process.
        kernel: its kernel.
        spreads: prior standard deviations of LS and SS on each grid, shape (n, 2); None for zero.
    """
    light = Lepton(0.0, sign)
    maps = [tensor_of_massless(own, sign) for own in grids]
    means = [
        jnp.einsum(
            "nij,nj->ni", own[:, :, :3], prior_mean(nodes, scales, light).reshape(-1, 3)
        ).ravel()
        for own, nodes in zip(maps, grids, strict=True)
    ]
    union, blocks = _union(grids)
    u, v = union.u, union.v
    massless = prior_covariance(union, scales, kernel, light)
    along_u = kernel_matrix(jnp.asarray(u), jnp.exp(scales.common_u), kernel)
    along_v = kernel_matrix(jnp.asarray(v), jnp.exp(scales.common_v), kernel)
    size = jnp.zeros((len(u), len(v), 2, 1))
    for block, own in zip(blocks, spreads or (), strict=False):
        size = size.at[block].set(own.reshape(*size[block].shape))
    ends = np.cumsum([5 * own.size for own in grids])[:-1]

    def batch(columns: Array) -> Array:
        table = jnp.zeros((len(u), len(v), 5, columns.shape[1]))
        for part, own, block in zip(jnp.split(columns, ends), maps, blocks, strict=True):
            turned = jnp.einsum("nij,nik->njk", own, part.reshape(len(own), 5, -1))
            table = table.at[block].set(turned.reshape(table[block].shape))
        three = massless(table[:, :, :3].reshape(3 * union.size, -1))
        two = size * table[:, :, 3:]
        near = jnp.einsum("ab,cd,bdik->acik", along_u, along_v, two, optimize="optimal")
        two = 0.5 * size * (two.sum(axis=(0, 1)) + near)
        table = jnp.concatenate([three.reshape(len(u), len(v), 3, -1), two], axis=2)
        out = [
            jnp.einsum("nij,njk->nik", own, table[block].reshape(len(own), 5, -1))
            for own, block in zip(maps, blocks, strict=True)
        ]
        return jnp.concatenate([part.reshape(-1, columns.shape[1]) for part in out])

    def apply(columns: Array) -> Array:
        pieces = range(0, columns.shape[1], BATCH)
        return jnp.concatenate([batch(columns[:, i : i + BATCH]) for i in pieces], axis=1)

    return jnp.concatenate(means), apply


def _union(grids: Sequence[NodeGrid]) -> tuple[NodeGrid, list[tuple[slice, slice]]]:
    """Return nodes of all pairs of the grids' coordinates, and where each grid's lie in u and v.

    The kernels are products, so that this grid holds the nodes of each.
    """
    u, v = (np.concatenate([getattr(own, name) for own in grids]) for name in "uv")
    start_u, start_v = (np.cumsum([0, *(len(getattr(g, n)) for g in grids)]) for n in "uv")
    blocks = [
        (slice(start_u[i], start_u[i + 1]), slice(start_v[i], start_v[i + 1]))
        for i in range(len(grids))
    ]
    return replace(grids[0], u=u, v=v), blocks


def prior_spreads(mean: Array, grids: Sequence[NodeGrid], divergence: float) -> list[Array]:
    """Return prior standard deviations of LS and SS on each grid, shape (n, 2).

    Args:
        mean: five functions on the stacked nodes.
        grids: the nodes.
        divergence: d, that of SS over H/2.
    """
    out = []
    for part in jnp.split(mean, np.cumsum([5 * own.size for own in grids])[:-1]):
        plus, minus, ll, *_ = part.reshape(-1, 5).T
        half = jnp.maximum(0.5 * (plus + minus) + ll, 0.0)
        ss = divergence * half
        ls = 0.5 * jnp.sqrt(jnp.clip(ll, LEAST_LL * half, half) * ss)
        out.append(jnp.stack([ls, ss], axis=-1))
    return out


def on_stack(rows: Array, seen: Array, place: int, grids: Sequence[NodeGrid]) -> Array:
    """Turn functionals of a lepton's node values to ones of the stacked five functions.

    Args:
        rows: shape (k, 3 n).
        seen: of the lepton (`seen_by`), shape (n, 3, 5).
        place: of its nodes.
        grids: all nodes.

    Returns:
        Shape (k, 5 n of all grids).
    """
    five = jnp.einsum("kni,nij->knj", rows.reshape(len(rows), -1, 3), seen)
    widths = [5 * own.size for own in grids]
    before, after = sum(widths[:place]), sum(widths[place + 1 :])
    return jnp.pad(five.reshape(len(rows), -1), ((0, 0), (before, after)))


def shape_only(data: LinearData) -> LinearData:
    """Forget the size of a near spectrum: data of w, whatever its rate.

    y = A w/rate + noise with any rate is, to first order about it, A w = noise across y.
    """
    along = data.observed / jnp.linalg.norm(data.observed)
    design = data.design - jnp.outer(along, along @ data.design)
    whiten = data.whiten - np.outer(along, np.asarray(along) @ data.whiten)
    return LinearData(design, jnp.zeros_like(data.observed), whiten)


def fit_tensors(
    samples: Sequence[NearSample],
    grids: Sequence[NodeGrid],
    kernel: Kernel = "matern32",
    divergence: float = 0.5,
    scales: Scales | None = None,
    record: Callable[[int], None] | None = None,
) -> Tensors:
    """Condition the five functions on near-detector data of several leptons.

    The scales are those of the first sample's evidence, without LS and SS. The rates of the others
    are left open.

    Args:
        samples: of one helicity; the size of the functions is that of the first one's unit rate.
        grids: nodes of all leptons, of which there are data or not.
        kernel: of the process.
        divergence: prior standard deviation of SS over half of T+ + T- + 2 LL.
        scales: use these instead of maximising the evidence.
        record: called as record(evaluations) after each evaluation of the evidence.
    """
    first = samples[0]
    sign = first.lepton.sign
    seen = [seen_by(grids[own.place], own.lepton) for own in samples]
    if scales is None:
        nodes = grids[first.place]
        massless = jnp.einsum("nij,njk->nik", seen[0], tensor_of_massless(nodes, sign))[:, :, :3]
        r = len(first.data.design)
        design = jnp.einsum("rni,nij->rnj", first.data.design.reshape(r, -1, 3), massless)
        data = first.data._replace(design=design.reshape(r, -1))
        light = Lepton(0.0, sign)
        scales = fit_process(data, nodes, kernel, lepton=light, record=record).scales
    design = on_stack(first.data.design, seen[0], first.place, grids)
    start, prior = joint_prior(grids, sign, scales, kernel)
    plain = start + condition(prior, design).regress(first.data.observed - design @ start)
    designs, observed = [design], [first.data.observed]
    for own, view in zip(samples[1:], seen[1:], strict=True):
        rate = (on_stack(own.total[None], view, own.place, grids) @ plain)[0]
        data = shape_only(own.data)
        designs.append(on_stack(data.design / rate, view, own.place, grids))
        observed.append(data.observed)
    design, y = jnp.concatenate(designs), jnp.concatenate(observed)
    spreads = prior_spreads(plain, grids, divergence)
    start, prior = joint_prior(grids, sign, scales, kernel, spreads)
    posterior = condition(prior, design)
    mean = start + posterior.regress(y - design @ start)
    return Tensors(mean, prior, posterior, scales)
