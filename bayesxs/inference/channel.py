"""The far-detector likelihood: data of one sample, folded with a cross section and its nuisances.

log L(theta, xi) = sum over samples and events of log p_FD(event | theta, xi) (arXiv:2412.16303,
Eq. 6). The density is bilinear: with nuisances xi of unit prior width,

    p = [T_0 + sum_k c_k(xi) T_k] phi (1 + sum_k xi_k f_k) P(theta) / norm,

c = (xi, products of pairs of xi). Cross-section modes and the response of the learned cross section
to the flux are T_k, flux shapes are f_k, detector response enters T_k to second order. Events and
expected (Asimov) bins differ only in their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from bayesxs.detector.count_modes import POSITIVE_FLOOR
from bayesxs.detector.density import FoldedRows, Sample
from bayesxs.inference.compression import MODE_TOLERANCE, compress, interpolation
from bayesxs.inference.folded import Folded, Oscillation
from bayesxs.physics.joint import Request, joint_probabilities
from bayesxs.physics.oscillation import (
    Baseline,
    NewtonSteps,
    OscillationParameters,
    closest_mixing,
    is_mixing,
)
from bayesxs.types import Floats

# Smallest density, over the one without oscillation, that changes are taken relative to: what
# compression leaves of a density that vanishes is of either sign
SMALLEST = 0.1 * MODE_TOLERANCE


@partial(
    jax.tree_util.register_dataclass,
    data_fields=[
        "left",
        "core",
        "right",
        "total",
        "flux_modes",
        "log_reference",
        "weights",
        "knots",
        "lift",
        "baseline",
    ],
    meta_fields=["pairs", "sample", "newton_steps"],
)
@dataclass(frozen=True)
class FarChannel:
    """Far-detector data of one sample, the response folded for speed.

    With c = (1, xi, products of pairs) and P' = (1 + xi flux_modes) P, the numerator of the density
    is left @ (c . core) @ right @ P', its normalisation c @ total @ P'.

    Attributes:
        left: shape (n, R), in units of the unoscillated nominal density.
        core: shape (1 + q + pairs, R, r), for q nuisances.
        right: orthonormal directions of the probabilities that the priors allow, shape (r, E).
        total: v phi of each mode, shape (1 + q + pairs, E).
        flux_modes: relative change of the flux by each nuisance, shape (q, E).
        log_reference: log of the unoscillated density's numerator, shape (n,).
        weights: multiplicity of each row: 1 for an event, expected counts for Asimov bins, shape
            (n,).
        knots: energies in GeV at which a probability is evaluated, shape (s,).
        lift: matrix from probabilities at the knots to those at the shared energies, shape (E, s).
        baseline: length, density, electron fraction; leaves of the pytree like the rest, so that
            they can be sampled and differentiated.
        pairs: nuisances whose products have modes of their own.
        sample: flavors and beam of the counted events.
        newton_steps: of the oscillation probability.
    """

    left: Array
    core: Array
    right: Array
    total: Array
    flux_modes: Array
    log_reference: Array
    weights: Array
    knots: Array
    lift: Array
    baseline: Baseline
    pairs: tuple[tuple[int, int], ...]
    sample: Sample
    newton_steps: NewtonSteps

    @property
    def nuisances(self) -> int:
        """Number of nuisances."""
        return len(self.flux_modes)


def far_channel(
    folded: Folded,
    energies: Float[ArrayLike, " energy"],
    weights: Float[ArrayLike, " row"],
    oscillation: Oscillation,
    span: Float[ArrayLike, "direction energy"],
) -> FarChannel:
    """Fold response and flux onto the directions that the probabilities span.

    Args:
        folded: cross section of the events or bins, and its nuisances.
        energies: shared energies in GeV.
        weights: multiplicity of each row.
        oscillation: of the sample that is counted.
        span: orthonormal rows from `probability_span`, or the identity for no compression.

    Raises:
        ValueError: a row with weight has no density at any energy, or modes and nuisances differ
            in number.
    """
    flux, span, weights = folded.flux, np.asarray(span), np.asarray(weights, dtype=float)
    if len(folded.modes) != len(folded.flux_modes) + len(folded.pairs):
        raise ValueError(
            f"{len(folded.modes)} modes for {len(folded.flux_modes)} nuisances"
            f" and {len(folded.pairs)} products"
        )
    left, core, reference = _directions(folded, weights, span)
    chosen, lift = interpolation(span)
    totals = [folded.response, *folded.modes]
    return FarChannel(
        jnp.asarray(left),
        jnp.asarray(core),
        jnp.asarray(span),
        jnp.asarray(np.stack([_total(part, len(flux)) for part in totals]) * flux),
        jnp.asarray(folded.flux_modes),
        jnp.asarray(np.log(reference)),
        jnp.asarray(weights[weights > 0.0]),
        jnp.asarray(np.asarray(energies)[chosen]),
        jnp.asarray(lift),
        Baseline(*(jnp.asarray(value, dtype=float) for value in oscillation.baseline)),
        folded.pairs,
        oscillation.sample,
        oscillation.newton_steps,
    )


def _total(response: FoldedRows | None, energies: int) -> Floats:
    return np.zeros(energies) if response is None else np.asarray(response.total)


def _directions(folded: Folded, weights: Floats, span: Floats) -> tuple[Floats, Floats, Floats]:
    """Return left, core and the density without oscillation of the rows that have weight."""
    rows = np.asarray(folded.response.rows) * folded.flux
    reference = rows.sum(axis=1)
    dead = np.nonzero((reference <= 0.0) & (weights > 0.0))[0]
    if len(dead):
        raise ValueError(
            f"no density at {len(dead)} of {len(weights)} rows, the first is {dead[0]}"
        )
    alive = weights > 0.0

    def project(rows: Floats) -> Floats:
        return (rows[alive] / reference[alive, None]) @ span.T

    nominal = project(rows)
    if not folded.modes:
        return nominal, np.eye(nominal.shape[1])[None], reference[alive]
    blocks = [
        np.zeros_like(nominal) if m is None else project(np.asarray(m.rows) * folded.flux)
        for m in folded.modes
    ]
    left, core = compress(np.stack([nominal, *blocks], axis=1))
    return left, np.ascontiguousarray(core.transpose(1, 0, 2)), reference[alive]


def channel_probability(channel: FarChannel, parameters: OscillationParameters) -> Array:
    """Return the oscillation probability of a channel's sample at the shared energies."""
    oscillation = Oscillation(channel.sample, channel.baseline, channel.newton_steps)
    return channel.lift @ oscillation.probability(parameters, channel.knots)


def channel_probabilities(
    channels: Sequence[FarChannel], parameters: OscillationParameters
) -> list[Array]:
    """Return the oscillation probability of each channel's sample at the shared energies.

    Several are evaluated at once, so that compilation does not grow with the samples.
    """
    if len(channels) < 2 or len({c.newton_steps for c in channels}) > 1:
        return [channel_probability(c, parameters) for c in channels]
    requests = [
        Request(c.sample.flavor_in, c.sample.flavor_out, c.sample.antineutrino, c.knots, c.baseline)
        for c in channels
    ]
    at_knots = joint_probabilities(requests, parameters, channels[0].newton_steps)
    return [c.lift @ p for c, p in zip(channels, at_knots, strict=True)]


def mode_weights(channel: FarChannel, nuisances: Array) -> Array:
    """Return c = (1, xi, products of pairs)."""
    products = [nuisances[i : i + 1] * nuisances[j : j + 1] for i, j in channel.pairs]
    return jnp.concatenate([jnp.ones(1), nuisances, *products])


def features(
    channel: FarChannel, oscillation: Array, nuisances: Array
) -> tuple[Array, Array, Array, Array]:
    """Return g and its norm, then g_0 and its norm: with nuisances, and without.

    The density is left @ g / norm; shapes (R,), ().

    Args:
        channel: data and response.
        oscillation: probability at the shared energies.
        nuisances: in units of their prior widths, shape (q,).
    """
    flux = oscillation
    nominal, plain = channel.core[0] @ (channel.right @ flux), channel.total[0] @ flux
    if not channel.nuisances:
        return nominal, plain, nominal, plain
    flux = (1.0 + nuisances @ channel.flux_modes) * flux
    weights = mode_weights(channel, nuisances)
    # Nuisances first: both octants share the response that they change
    modes, *shape = channel.core.shape
    inner = (weights @ channel.core.reshape(modes, -1)).reshape(shape)
    return inner @ (channel.right @ flux), (weights @ channel.total) @ flux, nominal, plain


def positive_log(ratio: Array) -> Array:
    """Return log(ratio), continued below POSITIVE_FLOOR by its tangent."""
    line = jnp.log(POSITIVE_FLOOR) + ratio / POSITIVE_FLOOR - 1.0
    return jnp.where(ratio > POSITIVE_FLOOR, jnp.log(jnp.maximum(ratio, POSITIVE_FLOOR)), line)


def pointwise_log_density(
    channel: FarChannel, parameters: OscillationParameters, nuisances: Array | None = None
) -> Array:
    """Return log p_FD of every event, p in 1/GeV, shape (n,).

    Args:
        channel: data and response.
        parameters: oscillation parameters.
        nuisances: in units of their prior widths, shape (q,); zero if None.
    """
    return pointwise_log_densities([channel], parameters, nuisances)[0]


def pointwise_log_densities(
    channels: Sequence[FarChannel],
    parameters: OscillationParameters,
    nuisances: Array | None = None,
) -> list[Array]:
    """Return log p_FD of every event of each channel, as `pointwise_log_density` does of one."""
    oscillations = channel_probabilities(channels, parameters)
    return [density_logs(c, p, nuisances) for c, p in zip(channels, oscillations, strict=True)]


def density_logs(channel: FarChannel, oscillation: Array, nuisances: Array | None) -> Array:
    """Return log p_FD of every event, given the probability at the shared energies, shape (n,)."""
    xi = jnp.zeros(channel.nuisances) if nuisances is None else nuisances
    g, norm, nominal, plain = features(channel, oscillation, xi)
    if not channel.nuisances:
        # Rounding may fall below zero where an event is impossible at these parameters
        value = jnp.log(jnp.maximum(channel.left @ g, jnp.finfo(g.dtype).tiny))
    else:
        both = channel.left @ jnp.stack([g, nominal], axis=1)
        reference = jnp.maximum(both[:, 1], SMALLEST)
        # Both logarithms are continued so that the density falls: a norm that vanishes must not
        # lift the events that remain
        change = norm / plain
        ratio = both[:, 0] / reference / jnp.maximum(change, POSITIVE_FLOOR)
        beyond = jnp.minimum(change / POSITIVE_FLOOR - 1.0, 0.0)
        value = jnp.log(reference) + positive_log(ratio) + beyond
    return value + channel.log_reference - jnp.log(plain)


def scores_and_densities(
    channels: Sequence[FarChannel],
    points: ArrayLike,
    fixed: OscillationParameters,
    names: tuple[str, ...],
) -> tuple[Floats, Floats]:
    """Return d log p/d(parameters, nuisances) and log p of every row at some points.

    Args:
        channels: rows and responses, one entry per sample.
        points: parameters, then nuisances, shape (points, k).
        fixed: values of the other parameters.
        names: of the parameters in `points`.

    Returns:
        Scores, shape (points, rows, k), and log densities, shape (points, rows); the rows of all
        channels follow one another.
    """
    found = _scores_and_densities(tuple(channels), jnp.asarray(points), fixed, names)
    scores, densities = (np.asarray(part) for part in found)
    return scores, densities


@partial(jax.jit, static_argnames="names")
def _scores_and_densities(
    channels: tuple[FarChannel, ...],
    points: Array,
    fixed: OscillationParameters,
    names: tuple[str, ...],
) -> tuple[Array, Array]:
    def densities(point: Array) -> tuple[Array, Array]:
        parameters = fixed._replace(**dict(zip(names, point, strict=False)))
        xi = point[len(names) :]
        value = jnp.concatenate(pointwise_log_densities(channels, parameters, xi))
        return value, value

    return jax.lax.map(jax.jacfwd(densities, has_aux=True), points)


@jax.jit  # the passes that NumPyro makes over a model before sampling would compile op by op
def log_likelihood(
    channels: Sequence[FarChannel],
    parameters: OscillationParameters,
    nuisances: Array | None = None,
) -> Array:
    """Return the sum over samples and events of weight times log p_FD.

    It is -inf, with slopes that are finite, where parameters are no mixing (a sin^2 outside of
    [0, 1], dm21 < 0) or a baseline is none (length, density or electron fraction below zero).
    """
    valid, inside = is_mixing(parameters), closest_mixing(parameters)
    total = jnp.zeros(())
    densities = pointwise_log_densities(channels, inside, nuisances)
    for channel, values in zip(channels, densities, strict=True):
        valid &= jnp.all(jnp.stack(channel.baseline) >= 0.0)
        total += channel.weights @ values
    return jnp.where(valid, total, -jnp.inf)
