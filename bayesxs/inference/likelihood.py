"""The far-detector likelihood as an object: a log density, a distribution, predicted counts.

It holds arrays only, so that jit, vmap and grad work on it and on whatever it is part of:

    log L(theta, eta) = sum over samples and rows of w log p(row | theta, eta),

the rows being events one by one (w = 1) or bins (w = counts); see `bayesxs.inference.channel`.
Predicted counts n_i are multinomial with shares s_i = p_i / sum p of the bins of a sample:

    log P(n) = log N! - sum log n_i! + sum n_i log s_i,      N = sum n_i fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike
from numpyro import distributions as dist
from numpyro.distributions import constraints

from bayesxs.errors import InputError
from bayesxs.inference.channel import (
    FarChannel,
    channel_probabilities,
    density_logs,
    pointwise_log_densities,
)
from bayesxs.inference.circle import TURN
from bayesxs.inference.far_data import FarBins, FarData, check_same_data
from bayesxs.inference.model import far_detector_model, predictive_model
from bayesxs.inference.nuisances import Nuisance, WithNuisances
from bayesxs.inference.points import Eta, Theta, check_names, eta_of, scalar, theta_of
from bayesxs.inference.priors import Prior, check_priors, prior_box
from bayesxs.learning.near_term import NearTerm, near_log_prob
from bayesxs.physics.oscillation import (
    Baseline,
    OscillationParameters,
    closest_mixing,
    is_mixing,
)

# Part of a sample's size by which counts, which may be expected ones, can miss it
SIZE_TOLERANCE: Final = 1e-9

_BOXED: Final = (*OscillationParameters._fields, *Baseline._fields)
_PHASE: Final = _BOXED.index("dcp")


class Box(NamedTuple):
    """Ranges for which channels are compressed: oscillation parameters, then the baseline's fields.

    Attributes:
        low: shape (9,).
        high: shape (9,).
    """

    low: Array
    high: Array

    def holds(self, low: Array, high: Array) -> Array:
        """Tell whether all of another box lies inside; the phase is taken on the circle."""
        inside = (low >= self.low) & (high <= self.high)
        width = self.high[_PHASE] - self.low[_PHASE]
        start = jnp.mod(low[_PHASE] - self.low[_PHASE], TURN)
        arc = (start + (high[_PHASE] - low[_PHASE]) <= width) | (width >= TURN - 1e-9)
        return jnp.all(inside.at[_PHASE].set(arc))


class _Point(NamedTuple):
    """A point at which a likelihood is evaluated."""

    theta: OscillationParameters
    eta: Array
    baseline: Baseline

    @property
    def coordinates(self) -> Array:
        return jnp.stack([*self.theta, *self.baseline])

    @property
    def valid(self) -> Array:
        return is_mixing(self.theta) & jnp.all(jnp.stack(self.baseline) >= 0.0)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["channels", "exact", "bins", "data", "box", "parameters", "near"],
    meta_fields=["nuisances", "sizes"],
)
@dataclass(frozen=True)
class Likelihood(WithNuisances):
    """The likelihood of far-detector data, given a cross section; made by `far_likelihood`.

    Attributes:
        channels: rows of the data of each sample, compressed for the parameters in `box`.
        exact: the same rows, not compressed: for all other parameters.
        bins: of each sample, for predicted counts.
        data: the data that the rows are of.
        box: ranges for which the compression holds.
        parameters: oscillation parameters where none are given.
        nuisances: of the cross section, the flux and the detector's response, in the order of eta.
        sizes: events of each sample.
        near: of a cross section learned for a joint model, near data as likelihoods of the flux.

    Example:
        >>> far.log_prob({"dm31": 2.5e-3}).shape
        ()
        >>> expected = far.predict(bayesxs.NUFIT_6_0)["mu_to_mu"]
        >>> [len(edges) - 1 for edges in far.edges["mu_to_mu"].values()] == list(expected.shape)
        True
        >>> round(float(expected.sum())) == far.sizes[0]
        True
    """

    channels: tuple[FarChannel, ...]
    exact: tuple[FarChannel, ...]
    bins: tuple[FarBins, ...]
    data: FarData
    box: Box
    parameters: OscillationParameters
    nuisances: tuple[Nuisance, ...]
    sizes: tuple[int, ...]
    near: tuple[NearTerm, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        """Names of the samples."""
        return tuple(c.sample.name for c in self.exact)

    @property
    def edges(self) -> dict[str, dict[str, Array]]:
        """Edges of the bins of predicted counts, by sample and axis."""
        return {n: dict(b.edges) for n, b in zip(self.samples, self.bins, strict=True)}

    def log_prob(
        self,
        theta: Theta,
        eta: Eta = None,
        *,
        density: ArrayLike | None = None,
        electron_fraction: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
    ) -> Array:
        """Return log L of the data, shape ().

        It is -inf, with slopes that are finite, where parameters are no mixing or a baseline is
        none. Outside of `box` the rows are taken as they are, not compressed.

        Args:
            theta: oscillation parameters, or values by name: others are as in `parameters`.
            eta: nuisances in units of their prior widths, by name (others are zero) or as an array,
                shape (q,); all zero if None.
            density: of matter in g/cm^3; that of the experiment if None.
            electron_fraction: electrons per nucleon; that of the experiment if None.
            baseline: length in km; that of the experiment if None.

        Raises:
            InputError: an unknown name, or a value of the wrong shape.
        """
        return _log_prob(self, self._point(theta, eta, density, electron_fraction, baseline))

    def distribution(
        self,
        theta: Theta,
        eta: Eta = None,
        *,
        density: ArrayLike | None = None,
        electron_fraction: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
    ) -> FarDistribution:
        """Return the NumPyro distribution of the data: of counts in bins, or of the events.

        Its draws, and arrays given to its ``log_prob``, are counts in all bins of all samples,
        shape (bins,). Of the data that the likelihood was made for, a `FarData`, ``log_prob`` is
        that of the likelihood: with events, the events' own density.

        Takes the arguments of `log_prob`, and raises the same errors.
        """
        point = self._point(theta, eta, density, electron_fraction, baseline)
        return FarDistribution(self, point)

    def predict(
        self,
        theta: Theta,
        eta: Eta = None,
        *,
        density: ArrayLike | None = None,
        electron_fraction: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
    ) -> dict[str, Array]:
        """Return expected counts by sample, of the shape of its bins; see `edges`.

        They are NaN where parameters are no mixing or a baseline is none. Takes the arguments of
        `log_prob`, and raises the same errors.
        """
        point = self._point(theta, eta, density, electron_fraction, baseline)
        parts = self._split(_expected(self, point))
        return {
            name: part.reshape(bins.shape)
            for name, bins, part in zip(self.samples, self.bins, parts, strict=True)
        }

    def sample_nuisances(self) -> dict[str, Array]:
        """Sample every nuisance from its standard normal prior, inside of a NumPyro model.

        Each is a site of its own name; the site's entry ``infer["group"]`` names its group. Of a
        cross section learned for a joint model (``GaussianProcess(joint=True)``) the near data's
        likelihood of them is the factor "near_detector".

        Returns:
            Values by name, as `log_prob` takes them; an entry may be replaced by another.
        """
        eta = super().sample_nuisances()
        if self.near:
            numpyro.factor("near_detector", self.near_log_prob(eta))
        return eta

    def near_log_prob(self, eta: Eta = None) -> Array:
        """Return the log-likelihood of the near data, the cross section integrated out, shape ().

        It is known up to a constant, and zero where near data inform on the cross section alone.

        Args:
            eta: nuisances, as for `log_prob`.

        Raises:
            InputError: an unknown name, or a value of the wrong shape.
        """
        return near_log_prob(self.near, eta_of(eta, [n.name for n in self.nuisances]))

    def model(
        self,
        priors: Mapping[str, Prior],
        *,
        marginalize_octant: bool = True,
        observed: bool = True,
    ) -> Callable[[], None]:
        """Return the package's own NumPyro model of the data: see `far_detector_model`.

        With ``observed=False`` it has the site "far" in place of the data: counts in all bins, for
        NumPyro's ``Predictive``, of draws of the other model or of the prior.

        Args:
            priors: of the free parameters, by name; others are as in `parameters`.
            marginalize_octant: whether to sum over the octant of s2_23.
            observed: whether the data are given.

        Raises:
            InputError: a prior of an unknown parameter, or one that cannot be normalised.
        """
        check_names("priors", priors)
        check_priors("likelihood", priors)
        if not observed:
            return partial(
                predictive_model,
                self.distribution,
                dict(priors),
                self.parameters,
                len(self.nuisances),
                marginalize_octant,
            )
        box = prior_box(priors)
        low, high = (
            OscillationParameters(
                *(box.get(n, (v, v))[i] for n, v in self.parameters._asdict().items())
            )
            for i in (0, 1)
        )
        ends = [self._point(theta).coordinates for theta in (low, high)]
        channels = self.channels if self.box.holds(*ends) else self.exact
        return partial(
            far_detector_model,
            channels,
            dict(priors),
            self.parameters,
            marginalize_octant,
            self.near,
        )

    def _point(
        self,
        theta: Theta,
        eta: Eta = None,
        density: ArrayLike | None = None,
        electron_fraction: ArrayLike | None = None,
        baseline: ArrayLike | None = None,
    ) -> _Point:
        theta = theta_of(theta, self.parameters)
        own = self.exact[0].baseline
        way = Baseline(
            own.length if baseline is None else baseline,
            own.density if density is None else density,
            own.electron_fraction if electron_fraction is None else electron_fraction,
        )
        names = (*OscillationParameters._fields, "baseline", "density", "electron_fraction")
        values = [scalar(n, v) for n, v in zip(names, (*theta, *way), strict=True)]
        drawn = eta_of(eta, [n.name for n in self.nuisances])
        return _Point(OscillationParameters(*values[:6]), drawn, Baseline(*values[6:]))

    def _split(self, counts: Array) -> list[Array]:
        """Return the part of each sample of arrays over all bins, shape (..., bins)."""
        ends = np.cumsum([b.size for b in self.bins])[:-1]
        return jnp.split(counts, ends, axis=-1)


class FarDistribution(dist.Distribution):
    """The distribution of far-detector data at one point, made by `Likelihood.distribution`.

    Values are counts in all bins of all samples, multinomial in each sample of a fixed size, shape
    (bins,); or the `FarData` of the likelihood.
    """

    arg_constraints: ClassVar[dict[str, object]] = {}
    support = constraints.independent(constraints.nonnegative_integer, 1)
    pytree_data_fields = ("likelihood", "point")

    def __init__(self, likelihood: Likelihood, point: _Point) -> None:
        self.likelihood, self.point = likelihood, point
        size = sum(b.size for b in likelihood.bins)
        super().__init__(batch_shape=(), event_shape=(size,), validate_args=False)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw counts, integers of shape (*sample_shape, bins).

        All are -1 where parameters are no mixing or a baseline is none.
        """
        keys = jax.random.split(key, sample_shape)
        draw = partial(_draw, self.likelihood, self.point)
        for _ in sample_shape:
            draw = jax.vmap(draw)
        return draw(keys)

    def log_prob(self, value: ArrayLike | FarData) -> Array:
        """Return the log probability of counts, shape (..., bins), or that of the own data.

        Counts in bins that cannot be reached, or of another number than the sample's, have none.

        Raises:
            InputError: data of which the likelihood is not, counts of the wrong shape or number.
        """
        if isinstance(value, FarData):
            check_same_data(self.likelihood.data, value)
            return _log_prob(self.likelihood, self.point)
        counts = jnp.asarray(value, dtype=float)
        if counts.shape[-1:] != self.event_shape:
            allowed = f"shape {self.event_shape}, counts in all bins, or the data as FarData"
            raise InputError.at("far data", "counts", f"shape {counts.shape}", allowed)
        self._check_sizes(counts)
        return _log_prob_of_counts(self.likelihood, self.point, counts)

    def _check_sizes(self, counts: Array) -> None:
        """Refuse counts of another number than the sample's, where they are known."""
        if isinstance(counts, jax.core.Tracer):
            return
        likelihood = self.likelihood
        for name, size, own in zip(
            likelihood.samples, likelihood.sizes, likelihood._split(counts), strict=True
        ):
            wrong = np.abs(np.asarray(own.sum(axis=-1)) - size) > SIZE_TOLERANCE * size
            if np.any(wrong):
                found = f"{float(np.ravel(own.sum(axis=-1))[np.argmax(np.ravel(wrong))]):g} events"
                allowed = f"{size}, as many as the likelihood was made for"
                raise InputError.at("far data", f"counts, {name}", found, allowed)

    @property
    def mean(self) -> Array:
        """Expected counts, shape (bins,)."""
        return _expected(self.likelihood, self.point)

    @property
    def variance(self) -> Array:
        """Variance of the counts, N s (1 - s), shape (bins,)."""
        sizes = np.repeat(self.likelihood.sizes, [b.size for b in self.likelihood.bins])
        return self.mean * (1.0 - self.mean / np.maximum(sizes, 1))


def far_likelihood(
    channels: Sequence[FarChannel],
    exact: Sequence[FarChannel],
    bins: Sequence[FarBins],
    data: FarData,
    *,
    box: Mapping[str, tuple[float, float]],
    parameters: OscillationParameters,
    sizes: Sequence[int],
    nuisances: Sequence[Nuisance] = (),
) -> Likelihood:
    """Put a likelihood together.

    Args:
        channels: rows of the data of each sample, compressed.
        exact: the same rows, folded with the identity as span.
        bins: of each sample, folded with the identity as span.
        data: the data that the rows are of.
        box: ranges for which `channels` were compressed, by name: of oscillation parameters, and of
            length, density and electron_fraction of the baseline. Those not named are fixed at
            `parameters` and at the channels' baseline.
        parameters: default oscillation parameters.
        sizes: events of each sample.
        nuisances: in the order of the channels' nuisances.

    Raises:
        InputError: double precision is off, or a range has an unknown name or is none.
        ValueError: channels that do not belong together.
    """
    require_double_precision()
    for name, (low, high) in box.items():
        if name not in _BOXED:
            raise InputError.at("likelihood", "box", name, f"one of {', '.join(_BOXED)}")
        if not -np.inf < low <= high < np.inf:
            raise InputError.at("likelihood", f"box, {name}", (low, high), "low <= high, finite")
    if not len(channels) == len(exact) == len(bins) == len(sizes) > 0:
        raise ValueError("channels, exact, bins and sizes need one entry for each sample")
    for channel in (*channels, *exact, *(b.channel for b in bins)):
        if channel.nuisances != len(nuisances):
            raise ValueError(f"a channel of {channel.nuisances}, not {len(nuisances)} nuisances")
    for channel in (*exact, *(b.channel for b in bins)):
        if channel.right.shape[0] != channel.right.shape[1]:
            raise ValueError("exact channels and bins must not be compressed")
    if len({c.right.shape[1] for c in (*channels, *exact)}) > 1:
        raise ValueError("channels and exact need the same energies")
    for own in bins:
        if own.cells.shape != own.channel.weights.shape:
            raise ValueError(f"{len(own.cells)} cells for {len(own.channel.weights)} bins")
    fixed = parameters._asdict() | exact[0].baseline._asdict()
    ranges = np.array([box.get(name, (fixed[name], fixed[name])) for name in _BOXED], dtype=float)
    return Likelihood(
        tuple(channels),
        tuple(exact),
        tuple(bins),
        jax.tree.map(jnp.asarray, data),
        Box(jnp.asarray(ranges[:, 0]), jnp.asarray(ranges[:, 1])),
        OscillationParameters(*(jnp.asarray(value, dtype=float) for value in parameters)),
        tuple(nuisances),
        tuple(int(size) for size in sizes),
    )


def require_double_precision() -> None:
    """Refuse to go on in single precision, in which likelihoods are wrong by more than their noise.

    Raises:
        InputError: JAX's double precision is off.
    """
    if not jax.config.jax_enable_x64:
        raise InputError("double precision is off: call bayesxs.enable_x64() before anything else")


def _at[T: FarChannel](channels: Sequence[T], baseline: Baseline) -> tuple[T, ...]:
    return tuple(replace(c, baseline=baseline) for c in channels)


@jax.jit
def _log_prob(likelihood: Likelihood, point: _Point) -> Array:
    # One probability for both: most of what there is to compile
    exact = _at(likelihood.exact, point.baseline)
    probabilities = channel_probabilities(exact, closest_mixing(point.theta))

    def total(channels: Sequence[FarChannel]) -> Array:
        parts = [
            channel.weights @ density_logs(channel, probability, point.eta)
            for channel, probability in zip(channels, probabilities, strict=True)
        ]
        return jnp.sum(jnp.stack(parts))

    inside = likelihood.box.holds(point.coordinates, point.coordinates)
    value = jax.lax.cond(inside, lambda: total(likelihood.channels), lambda: total(exact))
    return jnp.where(point.valid, value, -jnp.inf)


def _log_shares(likelihood: Likelihood, point: _Point) -> list[Array]:
    """Return log s of the rows of each sample's bins; of the closest mixing, where it is none."""
    channels = _at([b.channel for b in likelihood.bins], point.baseline)
    densities = pointwise_log_densities(channels, closest_mixing(point.theta), point.eta)
    return [jax.nn.log_softmax(values) for values in densities]


@jax.jit
def _expected(likelihood: Likelihood, point: _Point) -> Array:
    """Return expected counts in all bins of all samples, shape (bins,)."""
    parts = zip(likelihood.bins, likelihood.sizes, _log_shares(likelihood, point), strict=True)
    counts = [
        jnp.zeros(bins.size).at[bins.cells].set(size * jnp.exp(log_shares))
        for bins, size, log_shares in parts
    ]
    return jnp.where(point.valid, jnp.concatenate(counts), jnp.nan)


@jax.jit
def _draw(likelihood: Likelihood, point: _Point, key: Array) -> Array:
    """Draw counts in all bins of all samples, shape (bins,)."""
    keys = jax.random.split(key, len(likelihood.bins))
    parts = zip(
        keys, likelihood.bins, likelihood.sizes, _log_shares(likelihood, point), strict=True
    )
    counts = []
    for own_key, bins, size, log_shares in parts:
        # Events one by one: their number is fixed, and searching a cumulative sum is fast
        drawn = jax.random.choice(own_key, bins.cells, (size,), p=jnp.exp(log_shares))
        counts.append(jnp.bincount(drawn, length=bins.size))
    return jnp.where(point.valid, jnp.concatenate(counts), -1)


@jax.jit
def _log_prob_of_counts(likelihood: Likelihood, point: _Point, counts: Array) -> Array:
    """Return the log probability of counts of shape (..., bins), one multinomial per sample."""
    total, valid = jnp.zeros(counts.shape[:-1]), point.valid
    parts = zip(
        likelihood.bins,
        likelihood.sizes,
        likelihood._split(counts),
        _log_shares(likelihood, point),
        strict=True,
    )
    for bins, size, own, log_shares in parts:
        rows = own[..., bins.cells]
        total += gammaln(size + 1.0) - gammaln(rows + 1.0).sum(axis=-1) + rows @ log_shares
        within = jnp.abs(rows.sum(axis=-1) - size) <= SIZE_TOLERANCE * size
        valid &= within & jnp.all(own >= 0.0, axis=-1)
        valid &= jnp.abs(own.sum(axis=-1) - size) <= SIZE_TOLERANCE * size
    return jnp.where(valid, total, -jnp.inf)
