"""The likelihood of counted samples as an object: Poisson counts in bins, with their rates.

    log L(theta, eta) = sum over bins of n_i log mu_i - mu_i - log n_i!,    mu = rates(theta, eta)

Where rates are not known, shapes alone count: counts are multinomial given the total N_s of each
sample, p_i = mu_i / sum over the sample of mu. The Poisson likelihood is that times the one of the
totals; with a normalisation of each sample that is free, with a flat prior of its logarithm, and
integrated out, it is that but for a constant.

It holds arrays only, so that jit, vmap and grad work on it and on whatever it is part of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jax.typing import ArrayLike
from numpyro import distributions as dist

from bayesxs.detector.rates import Rates
from bayesxs.errors import InputError
from bayesxs.inference.asimov import Shapes
from bayesxs.inference.likelihood import require_double_precision
from bayesxs.inference.multinomials import Multinomials, membership, to_totals
from bayesxs.inference.nuisances import Nuisance, WithNuisances
from bayesxs.inference.points import Eta, Theta, eta_of, scalar, theta_of
from bayesxs.physics.oscillation import OscillationParameters, closest_mixing, is_mixing

_LEAST: Final = 1e-30  # counts that a bin expects at least


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["rates", "counts", "constant", "parameters"],
    meta_fields=["nuisances", "samples", "sizes", "shape_only"],
)
@dataclass(frozen=True)
class CountedLikelihood(WithNuisances):
    """The likelihood of counts of several samples, made by `counted_likelihood`.

    Attributes:
        rates: expected counts.
        counts: data, of all analysed bins, one sample after the other, shape (bins,).
        constant: sum of log n! over the bins.
        parameters: oscillation parameters where none are given.
        nuisances: in the order of eta.
        samples: their names.
        sizes: analysed bins of each sample.
        shape_only: whether given the total of each sample.

    Example:
        >>> likelihood = bayesxs.counted_likelihood(bayesxs.dune_samples(years=3.5))
        >>> likelihood.log_prob({"dcp": 1.0}).shape
        ()
        >>> sorted(likelihood.predict(bayesxs.NUFIT_6_0))
        ['nue_app', 'nuebar_app', 'numu_dis', 'numubar_dis']
    """

    rates: Rates
    counts: Array
    constant: Array
    parameters: OscillationParameters
    nuisances: tuple[Nuisance, ...]
    samples: tuple[str, ...]
    sizes: tuple[int, ...]
    shape_only: bool = False

    @property
    def totals(self) -> Array:
        """Counts of each sample, (samples,)."""
        return jnp.asarray(membership(self.sizes)) @ self.counts

    @property
    def fitted(self) -> Rates | Shapes:
        """Expected counts as a minimiser of chi2 takes them: the rates, or only their shapes."""
        if not self.shape_only:
            return self.rates
        return Shapes(self.rates, jnp.asarray(membership(self.sizes)))

    def log_prob(self, theta: Theta, eta: Eta = None, *, density: ArrayLike | None = None) -> Array:
        """Return log L of the data, shape (); -inf where parameters are no mixing.

        Args:
            theta: oscillation parameters, or values by name: others are as in `parameters`.
            eta: nuisances in units of their prior widths, by name (others are zero) or as an array,
                shape (q,); all zero if None.
            density: of matter in g/cm^3; that of the detector if None.

        Raises:
            InputError: an unknown name, or a value of the wrong shape.
        """
        params, expected = self._expected(theta, eta, density)
        terms = jnp.sum(self.counts * jnp.log(expected) - expected) - self.constant
        if self.shape_only:  # all that the totals say of themselves is left out
            n = self.totals
            terms -= jnp.sum(jnp.where(n > 0.0, n * jnp.log(n) - n, 0.0) - gammaln(n + 1.0))
        return jnp.where(is_mixing(params), terms, -jnp.inf)

    def distribution(
        self, theta: Theta, eta: Eta = None, *, density: ArrayLike | None = None
    ) -> dist.Distribution:
        """Return the NumPyro distribution of the counts, independent Poisson, shape (bins,).

        Of shapes only it is multinomial, sample by sample. Its rates are NaN where parameters are
        no mixing. Takes the arguments of `log_prob`, and raises the same errors.
        """
        params, expected = self._expected(theta, eta, density)
        rate = jnp.where(is_mixing(params), expected, jnp.nan)
        if self.shape_only:
            return Multinomials(rate, self.totals, self.sizes)
        return dist.Poisson(rate, validate_args=False).to_event(1)

    def predict(
        self, theta: Theta, eta: Eta = None, *, density: ArrayLike | None = None
    ) -> dict[str, Array]:
        """Return the expected counts of each sample; takes the arguments of `log_prob`.

        Of shapes only they add up to the counts of the sample.
        """
        return self.split(self._expected(theta, eta, density)[1])

    def with_counts(self, counts: ArrayLike) -> CountedLikelihood:
        """Return the likelihood of other counts, shape (bins,), such as those of a trace.

        Raises:
            InputError: counts of another number.
        """
        data = jnp.asarray(counts, dtype=float)
        _check_shape(data.shape, sum(self.sizes))
        return replace(self, counts=data, constant=jnp.sum(gammaln(data + 1.0)))

    def split(self, counts: ArrayLike) -> dict[str, Array]:
        """Return the part of each sample of counts, shape (..., bins)."""
        ends = np.cumsum(self.sizes)[:-1]
        parts = jnp.split(jnp.asarray(counts), ends, axis=-1)
        return dict(zip(self.samples, parts, strict=True))

    def _expected(
        self, theta: Theta, eta: Eta, density: ArrayLike | None
    ) -> tuple[OscillationParameters, Array]:
        given = theta_of(theta, self.parameters)
        values = (scalar(n, v) for n, v in given._asdict().items())
        params = OscillationParameters(*values)
        vector = eta_of(eta, [n.name for n in self.nuisances])
        thickness = None if density is None else scalar("density", density)
        rates = self.rates(closest_mixing(params), thickness, vector)
        expected = jnp.maximum(rates, _LEAST)
        if self.shape_only:
            expected = to_totals(expected, self.totals, membership(self.sizes))
        return params, expected


def counted_likelihood(
    rates: Rates,
    counts: ArrayLike,
    parameters: OscillationParameters,
    nuisances: Sequence[Nuisance],
    sizes: Mapping[str, int],
    shape_only: bool = False,
) -> CountedLikelihood:
    """Put a likelihood together.

    Args:
        rates: expected counts.
        counts: of all analysed bins, one sample after the other; whole numbers or expected ones.
        parameters: default oscillation parameters.
        nuisances: in the order of those of the rates.
        sizes: analysed bins of each sample, by its name.
        shape_only: whether given the total of each sample.

    Raises:
        InputError: double precision is off, counts of another number, negative or not finite.
        ValueError: nuisances that are not those of the rates.
    """
    require_double_precision()
    if len(nuisances) != rates.nuisances:
        raise ValueError(f"{len(nuisances)} nuisances for {rates.nuisances} of the rates")
    data = np.asarray(counts, float)
    bins = sum(sizes.values())
    _check_shape(data.shape, bins)
    for place in np.flatnonzero(~(np.isfinite(data) & (data >= 0.0)))[:1]:
        raise InputError.at("counted data", f"bin {place}", data[place], "a count, 0 or above")
    return CountedLikelihood(
        rates,
        jnp.asarray(data),
        jnp.sum(gammaln(jnp.asarray(data) + 1.0)),
        OscillationParameters(*(jnp.asarray(v, dtype=float) for v in parameters)),
        tuple(nuisances),
        tuple(sizes),
        tuple(sizes.values()),
        shape_only,
    )


def _check_shape(shape: tuple[int, ...], bins: int) -> None:
    if shape != (bins,):
        allowed = f"shape ({bins},), one for each analysed bin"
        raise InputError.at("counted data", "counts", f"shape {shape}", allowed)
