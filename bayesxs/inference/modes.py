"""Mass ordering and octant exactly: four modes, each with a posterior and an evidence of its own.

In a mode every parameter but the phase is a function of a standard normal number z,

    s2_23 = F^-1(z) within the octant,   dm31 = c +- F^-1(z),   other parameters F^-1(z) or z,

F being the prior's cumulative distribution, so that the prior is N(0, 1) in z whatever it is. The
orderings are mirrored about c = s2_12 dm21, where electron neutrinos' mean splitting vanishes. The
phase is uniform on the circle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax import Array
from jax.scipy.special import ndtr, ndtri
from numpyro import distributions as dist
from numpyro.distributions import constraints

from bayesxs.errors import InputError
from bayesxs.inference.circle import TURN, on_branch
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.priors import Flat, Gaussian, Prior, check_priors
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

MIDDLE: Final = 0.5  # between the octants, in s2_23
# Of a standard normal number, beyond which a cumulative distribution is rounded to zero or one
_FAR: Final = 8.0
_PLAIN: Final = ("s2_12", "s2_13", "dm21")


class Mode(NamedTuple):
    """An ordering and an octant.

    Attributes:
        ordering: +1 for the normal one, -1 for the inverted one.
        upper: 1 where s2_23 is above one half, else 0.
    """

    ordering: Array | float
    upper: Array | float

    @property
    def name(self) -> str:
        """Name in words."""
        ordering = "normal" if self.ordering > 0 else "inverted"
        return f"{ordering}, {'upper' if self.upper else 'lower'}"


MODES: Final = tuple(Mode(*pair) for pair in product((1.0, -1.0), (0.0, 1.0)))


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["likelihood", "low", "high", "mean", "sd", "center", "fixed"],
    meta_fields=["names", "flat"],
)
@dataclass(frozen=True)
class ModePosterior:
    """The posterior of a mode: likelihood, and priors as functions of standard normal numbers.

    Attributes:
        likelihood: of the data.
        low: lower ends of flat priors, (names,).
        high: upper ends.
        mean: of Gaussian priors, (names,).
        sd: their standard deviations.
        center: c, about which orderings are mirrored, eV^2.
        fixed: values of parameters that are not free, and of the density.
        names: of the free parameters but dcp, then of nuisances: entries of z.
        flat: whether the prior of each of the former is flat.
    """

    likelihood: CountedLikelihood
    low: Array
    high: Array
    mean: Array
    sd: Array
    center: Array
    fixed: dict[str, Array]
    names: tuple[str, ...]
    flat: tuple[bool, ...]

    @property
    def size(self) -> int:
        """Numbers beside the phase."""
        return len(self.names) + len(self.likelihood.nuisances)

    @property
    def priors(self) -> dict[str, Prior]:
        """Priors of the free parameters but dcp; that of dm31 is of the size |dm31 - center|."""
        ends = zip(self.low.tolist(), self.high.tolist(), strict=True)
        normal = zip(self.mean.tolist(), self.sd.tolist(), strict=True)
        both = zip(self.names, self.flat, ends, normal, strict=True)
        return {name: Flat(*e) if flat else Gaussian(*n) for name, flat, e, n in both}

    def values(self, mode: Mode, z: Array) -> tuple[dict[str, Array], Array]:
        """Return oscillation parameters and density by name, without dcp, and the nuisances."""
        out = dict(self.fixed)
        for i, name in enumerate(self.names):
            if name == "s2_23":
                out[name] = self._in_octant(i, mode, z[i])
            elif self.flat[i]:
                out[name] = self.low[i] + (self.high[i] - self.low[i]) * ndtr(z[i])
            else:
                out[name] = self.mean[i] + self.sd[i] * z[i]
        if "dm31" in out:
            out["dm31"] = self.center + mode.ordering * out["dm31"]
        return out, z[len(self.names) :]

    def log_likelihood(self, mode: Mode, z: Array, dcp: Array) -> Array:
        """Return log L at a point of a mode."""
        values, eta = self.values(mode, z)
        density = values.pop("density")
        theta = OscillationParameters(**values, dcp=dcp)
        return self.likelihood.log_prob(theta, eta, density=density)

    def expected(self, mode: Mode, z: Array, dcp: Array) -> Array:
        """Return the expected counts of all bins at a point of a mode."""
        values, eta = self.values(mode, z)
        density = values.pop("density")
        theta = OscillationParameters(**values, dcp=dcp)
        return jnp.maximum(self.likelihood.rates(theta, density, eta), 0.0)

    def log_density(self, mode: Mode, z: Array, dcp: Array) -> Array:
        """Return log of likelihood times the prior density in z and dcp, given the mode."""
        prior = -0.5 * jnp.sum(z**2) - 0.5 * len(z) * np.log(TURN) - np.log(TURN)
        return self.log_likelihood(mode, z, dcp) + prior

    def log_prior(self, mode: Mode) -> Array:
        """Return the log prior probability of a mode: orderings are equally probable."""
        if "s2_23" not in self.names:
            return jnp.asarray(-np.log(2.0))
        i = self.names.index("s2_23")
        below = self._cumulative(i, MIDDLE)
        return jnp.log(jnp.where(mode.upper, 1.0 - below, below)) - np.log(2.0)

    def _cumulative(self, i: int, s: float) -> Array:
        """Return the prior probability of s2_23 below a value."""
        if self.flat[i]:
            return (s - self.low[i]) / (self.high[i] - self.low[i])
        ends = ndtr((jnp.array([0.0, 1.0]) - self.mean[i]) / self.sd[i])
        return (ndtr((s - self.mean[i]) / self.sd[i]) - ends[0]) / (ends[1] - ends[0])

    def _in_octant(self, i: int, mode: Mode, z: Array) -> Array:
        part = ndtr(z)
        if self.flat[i]:
            low = jnp.where(mode.upper, MIDDLE, self.low[i])
            high = jnp.where(mode.upper, self.high[i], MIDDLE)
            return low + (high - low) * part
        # As z of the untruncated prior, from the nearer tail: what is left of the other is rounded
        away = jnp.where(mode.upper, 1.0, -1.0)
        near = ndtr(away * (self.mean[i] - MIDDLE) / self.sd[i])
        bound = jnp.where(mode.upper, 1.0 - self.mean[i], self.mean[i])
        far = ndtr(-bound / self.sd[i])
        beyond = far + (near - far) * jnp.where(mode.upper, 1.0 - part, part)
        return self.mean[i] - away * self.sd[i] * ndtri(jnp.clip(beyond, 1e-300, 1.0 - 1e-16))

    def place(self, mode: Mode, values: Mapping[str, float]) -> Float:
        """Return z at which a mode has values, or the nearest that it has, (size,)."""
        z = np.zeros(self.size)
        for i, name in enumerate(self.names):
            value = float(values[name])
            if name == "dm31":
                value = (value - float(self.center)) * float(mode.ordering)
            if name == "s2_23":
                low, high = (MIDDLE, 1.0) if mode.upper else (0.0, MIDDLE)
                value = min(max(value, low + 0.01), high - 0.01)
                z[i] = _inverse(partial(self._in_octant, i, mode), value)
            elif self.flat[i]:
                part = (value - float(self.low[i])) / float(self.high[i] - self.low[i])
                z[i] = float(ndtri(np.clip(part, 1e-3, 1.0 - 1e-3)))
            else:
                z[i] = (value - float(self.mean[i])) / float(self.sd[i])
        return z


def _inverse(rising: Callable[[Array], Array], value: float) -> float:
    """Return where a function that rises has a value, by bisection."""
    low, high = -_FAR, _FAR
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rising(jnp.asarray(middle)) < value else (low, middle)
    return 0.5 * (low + high)


def mode_posterior(
    likelihood: CountedLikelihood,
    priors: Mapping[str, Prior],
    density: Prior | float | None = None,
) -> ModePosterior:
    """Return what is sampled in the modes of a likelihood.

    Args:
        likelihood: of the data; parameters without a prior are as there.
        priors: of the oscillation parameters but dcp, which is uniform. That of dm31 is of the
            size |dm31 - s2_12 dm21| in either ordering; that of s2_23 is cut at one half.
        density: prior in g/cm^3, or a value; that of the detector if not given.

    Raises:
        InputError: a prior of dcp or of something unknown, one that cannot be normalised, of dm31
            that reaches zero, or of s2_23 that leaves out an octant; a density that is none.
    """
    given: dict[str, Prior] = dict(priors)
    for name in given:
        if name not in (*_PLAIN, "s2_23", "dm31"):
            allowed = f"one of {', '.join((*_PLAIN, 's2_23', 'dm31'))}; dcp is uniform"
            raise InputError.at("modes", "priors", name, allowed)
    check_priors("modes", given)
    _check_octants(given.get("s2_23"))
    _check_size(given.get("dm31"))
    params = likelihood.parameters
    center = params.s2_12 * params.dm21
    fixed = {n: jnp.asarray(v) for n, v in params._asdict().items() if n not in (*given, "dcp")}
    if "dm31" in fixed:
        fixed["dm31"] = jnp.abs(fixed["dm31"] - center)
    if isinstance(density, Flat | Gaussian):
        check_priors("modes", {"density": density})
        given["density"] = density
    else:
        if density is not None and not 0.0 <= density < np.inf:
            raise InputError.at("modes", "density", density, "a prior, or g/cm^3, 0 or above")
        own_density = likelihood.rates.baseline.density if density is None else density
        fixed["density"] = jnp.asarray(own_density, dtype=float)
    ends = [(p.low, p.high) if isinstance(p, Flat) else (0.0, 1.0) for p in given.values()]
    normal = [(0.0, 1.0) if isinstance(p, Flat) else (p.mean, p.sd) for p in given.values()]
    low, high = jnp.array(ends, float).reshape(-1, 2).T
    mean, sd = jnp.array(normal, float).reshape(-1, 2).T
    flat = tuple(isinstance(p, Flat) for p in given.values())
    return ModePosterior(
        likelihood, low, high, mean, sd, jnp.asarray(center), fixed, tuple(given), flat
    )


def _check_octants(prior: Prior | None) -> None:
    if isinstance(prior, Flat) and not 0.0 <= prior.low < MIDDLE < prior.high <= 1.0:
        allowed = "ends on both sides of 0.5, from 0 to 1"
        raise InputError.at("modes", "priors.s2_23", tuple(prior), allowed)


def _check_size(prior: Prior | None) -> None:
    if prior is None:
        return
    least = prior.low if isinstance(prior, Flat) else prior.mean - 5.0 * prior.sd
    if least <= 0.0:
        allowed = "above 0 (by five standard deviations): the size of the splitting"
        raise InputError.at("modes", "priors.dm31", tuple(prior), allowed)


def mode_model(mode: Mode, posterior: ModePosterior) -> None:
    """NumPyro model of one mode: sites z and dcp_unwrapped, a number on the line."""
    z = numpyro.sample("z", dist.Normal(jnp.zeros(posterior.size), 1.0).to_event(1))
    line = numpyro.sample("dcp_unwrapped", dist.ImproperUniform(constraints.real, (), ()))
    numpyro.factor("data", posterior.log_likelihood(mode, z, line))


def mirrored(sites: dict[str, Array]) -> dict[str, Array]:
    """Return the sites of `mode_model` with pi - dcp in place of dcp.

    The phase enters appearance as cos(dcp +- Delta31), and near the maximum, Delta31 = pi/2, as
    sin(dcp), which is the same: a chain of one phase seldom finds the other.
    """
    return sites | {"dcp_unwrapped": np.pi - sites["dcp_unwrapped"]}


def stacked(modes: Sequence[Mode], each: int) -> Mode:
    """Return modes as arrays along one axis, every one `each` times."""
    return Mode(*(jnp.repeat(jnp.array(field, float), each) for field in zip(*modes, strict=True)))


def wrapped(dcp: Float) -> Float:
    """Return phases in [-pi, pi)."""
    return on_branch(np.asarray(dcp, float), -np.pi)
