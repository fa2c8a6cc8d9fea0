"""Pseudo-experiments at chosen true values: their intervals of every kind, and posterior widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jax import Array

from bayesxs.inference.channel import scores_and_densities
from bayesxs.inference.circle import TURN, about, mean_direction
from bayesxs.inference.intervals import (
    basic_interval,
    bca_interval,
    hdi,
    influence_acceleration,
    percentile_interval,
    profile_interval,
)
from bayesxs.inference.maximum import Estimates, fit
from bayesxs.inference.posterior import PUBLIC_NAMES, public_values
from bayesxs.inference.priors import Flat, Gaussian, is_circular, prior_box, prior_information
from bayesxs.inference.pseudo_experiments import BinnedExperiment
from bayesxs.inference.summaries import mean_of, sd_of
from bayesxs.keys import Purpose, generator
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats

# Kinds of interval, by the names that results give them
INTERVALS: Final = ("hdi", "percentile", "basic", "bca", "profile")

# Points of a profile likelihood, and how far it reaches from the truth in standard errors
PROFILE_POINTS: Final = 49
PROFILE_REACH: Final = 6.0

_OWN_NAMES: Final = {public: own for own, public in PUBLIC_NAMES.items()}

# Fits at once: few enough for their rows to stay in a processor's caches
FITS: Final = 50


def truths_at(
    experiment: BinnedExperiment, first: int, point: Mapping[str, float]
) -> tuple[OscillationParameters, Array]:
    """Return a batch's true parameters, the same for all, and its nuisances, from their priors.

    Parameters that are not of the point and have a Gaussian prior, which is a measurement, are
    drawn from it as nuisances are.
    """
    drawn, xi = experiment.truths(first)
    same = {name: np.full(experiment.settings.chains, value) for name, value in point.items()}
    at_fixed = {
        name: np.full(experiment.settings.chains, float(getattr(experiment.fixed, name)))
        for name, prior in experiment.priors.items()
        if isinstance(prior, Flat)
    }
    return drawn._replace(**at_fixed | same), xi


@dataclass(frozen=True)
class IntervalExperiment:
    """Pseudo-experiments whose intervals are made in every way that is in use.

    Attributes:
        experiment: detector, priors, sampler.
        points: true values of the parameters that vary, one table per point.
        levels: of the intervals.
        replicas: bootstrap samples of each pseudo-experiment.
    """

    experiment: BinnedExperiment
    points: tuple[Mapping[str, float], ...]
    levels: tuple[float, ...]
    replicas: int

    def run(self, point: int, first: int) -> dict[str, np.ndarray]:
        """Carry out a batch at a point, those numbered from `first` in the campaign.

        Returns:
            "interval/KIND/NAME" (batch, levels, 2) for each of `INTERVALS` and each parameter by
            its public name; "truth/NAME", "estimate/NAME", of maximum likelihood, "sd/NAME", of the
            posterior, (batch,); "converged", the part of each one's fits that have; "diverging",
            "n_steps".
        """
        e = self.experiment
        truths, xi = truths_at(e, first, self.points[point])
        counts = e.data(first, truths, xi)
        free, _, statistics = e.posterior(first, counts, truths, xi)
        draws = public_values(free)
        true = public_values({name: np.asarray(getattr(truths, name)) for name in e.priors})
        fits = BatchFits(e, truths, counts)
        estimate = public_values(fits.estimate)
        replicas, converged = fits.replicas(first, self.replicas)
        samples = public_values(replicas)
        accelerations = fits.accelerations()
        middle = np.zeros(len(counts[0]))
        if "dcp" in draws:  # all on one line, whose middle is the posterior's mean direction
            middle = mean_direction(draws["dcp"], axis=1)
            for table in (true, estimate):
                table["dcp"] = about(table["dcp"], middle)
            for table in (draws, samples):
                table["dcp"] = about(table["dcp"], middle[:, None])
        out: dict[str, np.ndarray] = {}
        for name, t in estimate.items():
            ends = {
                "hdi": [hdi(draws[name], p) for p in self.levels],
                "percentile": [percentile_interval(samples[name], p) for p in self.levels],
                "basic": [basic_interval(samples[name], t, p) for p in self.levels],
                "bca": [
                    bca_interval(samples[name], t, accelerations[name], p) for p in self.levels
                ],
                "profile": [profile_interval(*fits.profile(name), p) for p in self.levels],
            }
            if name == "dcp":  # its grid lies about the truth
                turns = TURN * np.rint((middle - fits.truth["dcp"]) / TURN)
                ends["profile"] = [e + turns[:, None] for e in ends["profile"]]
            out |= {f"interval/{kind}/{name}": np.stack(v, axis=1) for kind, v in ends.items()}
            out[f"truth/{name}"] = true[name]
            out[f"estimate/{name}"] = t
            out[f"sd/{name}"] = sd_of(name, draws[name])
        return out | statistics | {"converged": converged}


class BatchFits:
    """Maximum-likelihood fits of a batch of binned pseudo-experiments."""

    def __init__(
        self,
        experiment: BinnedExperiment,
        truths: OscillationParameters,
        counts: Sequence[np.ndarray],
    ) -> None:
        """Fit every pseudo-experiment.

        Args:
            experiment: the detector.
            truths: true parameters; where fits begin, at the means of those drawn from a prior.
            counts: of each sample's bins, (batch, bins).
        """
        self.experiment = experiment
        self.counts = counts
        self.truth = {
            n: p.mean
            if isinstance(p, Gaussian) and np.ptp(getattr(truths, n)) > 0.0
            else float(np.asarray(getattr(truths, n))[0])
            for n, p in experiment.priors.items()
        }
        self._found = self._fit(counts, np.zeros((len(counts[0]), self._nuisances)))
        self._profiles: dict[str, tuple[Floats, Floats]] = {}

    @property
    def _nuisances(self) -> int:
        return self.experiment.nuisances

    @property
    def estimate(self) -> dict[str, Floats]:
        """Estimates of the free parameters, (batch,)."""
        return {name: self._found.values[:, i] for i, name in enumerate(self.experiment.priors)}

    def _fit(
        self,
        counts: Sequence[np.ndarray],
        centers: np.ndarray,
        pinned: Mapping[str, np.ndarray] | None = None,
        means: Mapping[str, np.ndarray] | None = None,
    ) -> Estimates:
        """Fit data sets, `FITS` at a time; the last ones are filled up so that shapes are few."""
        e, number = self.experiment, len(centers)
        index = np.arange(-(-number // FITS) * FITS) % number
        found = []
        for piece in index.reshape(-1, FITS):
            held, moved = (
                {name: values[piece] for name, values in (given or {}).items()}
                for given in (pinned, means)
            )
            weights = [c[piece] for c in counts]
            found.append(
                fit(
                    e.channels,
                    weights,
                    centers[piece],
                    e.priors,
                    e.fixed,
                    self.truth,
                    held,
                    moved,
                )
            )
        return Estimates(*(np.concatenate(part)[:number] for part in zip(*found, strict=True)))

    def replicas(self, first: int, number: int) -> tuple[dict[str, Floats], Floats]:
        """Fit bootstrap samples of the events: estimates (batch, number), and how many converged.

        Constraints of nuisances, and Gaussian priors, fluctuate as measurements would.
        """
        e, batch = self.experiment, len(self.counts[0])
        generators = [generator(key) for key in e.keys(first, Purpose.RESAMPLING)]
        drawn = [
            np.concatenate(
                [
                    g.multinomial(int(n.sum()), n / n.sum(), number).astype(float)
                    for g, n in zip(generators, counts, strict=True)
                ]
            )
            for counts in self.counts
        ]
        centers = np.concatenate([g.standard_normal((number, self._nuisances)) for g in generators])
        normal = {n: p for n, p in e.priors.items() if isinstance(p, Gaussian)}
        means = {
            n: np.concatenate([p.mean + p.sd * g.standard_normal(number) for g in generators])
            for n, p in normal.items()
        }
        found = self._fit(drawn, centers, means=means)
        good = found.converged.reshape(batch, number).sum(axis=1) + self._found.converged
        part = good / (number + 1.0)
        names = enumerate(e.priors)
        return {name: found.values[:, i].reshape(batch, number) for i, name in names}, part

    def accelerations(self) -> dict[str, Floats]:
        """Return the accelerations of BCa intervals by public name, (batch,).

        The influence of an event is the inverse information times its score (Davison and Hinkley,
        Bootstrap Methods and their Application (1997), Sec. 2.7.2).
        """
        e = self.experiment
        scores, _ = scores_and_densities(e.channels, self._found.values, e.fixed, tuple(e.priors))
        counts = np.concatenate(self.counts, axis=1)
        information = np.einsum("bn,bni,bnj->bij", counts, scores, scores)
        influence = _solve(_with_constraints(information, e), np.swapaxes(scores, 1, 2))
        out = {
            name: influence_acceleration(influence[:, i], counts)
            for i, name in enumerate(PUBLIC_NAMES[n] for n in e.priors)
        }
        if "sin2_theta23" in out:  # d sin2_2theta23 = 4 (1 - 2 s) ds
            slope = np.sign(1.0 - 2.0 * self.estimate["s2_23"])
            out["sin2_2theta23"] = slope * out["sin2_theta23"]
        return out

    def profile(self, name: str) -> tuple[Floats, Floats]:
        """Return a parameter's profile likelihood by its public name: grid, (batch, points)."""
        if name == "sin2_2theta23":  # the higher of both octants, whose grid is symmetric
            s, height = self.profile("sin2_theta23")
            half = len(s) // 2 + 1
            higher = np.maximum(height, height[:, ::-1])[:, :half]
            return 4.0 * s[:half] * (1.0 - s[:half]), higher
        if name not in self._profiles:
            self._profiles[name] = self._profile(_OWN_NAMES[name])
        return self._profiles[name]

    def _profile(self, name: str) -> tuple[Floats, Floats]:
        e, batch = self.experiment, len(self.counts[0])
        low, high = prior_box(e.priors)[name]
        if name == "s2_23":
            width = max(0.5 - low, high - 0.5)
            grid = np.linspace(0.5 - width, 0.5 + width, 2 * PROFILE_POINTS - 1)
        else:
            reach = PROFILE_REACH * self._standard_error(name)
            if is_circular(name, e.priors[name]):  # half a turn either side, without bounds
                reach = min(reach, 0.5 * TURN)
                low, high = self.truth[name] - reach, self.truth[name] + reach
            begin, end = max(low, self.truth[name] - reach), min(high, self.truth[name] + reach)
            grid = np.linspace(begin, end, PROFILE_POINTS)
        allowed = (grid >= low) & (grid <= high)
        count = int(allowed.sum())
        repeated = [np.repeat(c, count, axis=0) for c in self.counts]
        centers = np.zeros((batch * count, self._nuisances))
        found = self._fit(repeated, centers, {name: np.tile(grid[allowed], batch)})
        height = np.full((batch, len(grid)), -np.inf)
        height[:, allowed] = found.heights.reshape(batch, count)
        return grid, height

    def _standard_error(self, name: str) -> float:
        """Return the standard error that the information at the truth promises, prior included."""
        e = self.experiment
        at = np.array([[*self.truth.values(), *[0.0] * self._nuisances]])
        scores, densities = scores_and_densities(e.channels, at, e.fixed, tuple(e.priors))
        size = np.repeat(e.sizes, [len(c.weights) for c in e.channels])
        information = np.einsum("bn,bni,bnj->bij", size * np.exp(densities), scores, scores)
        information += np.diag(prior_information(e.priors, self._nuisances))
        own = list(e.priors).index(name)
        unit = np.eye(information.shape[1])[None, :, own, None]
        return float(np.sqrt(_solve(information, unit)[0, own, 0]))


def _with_constraints(information: Floats, experiment: BinnedExperiment) -> Floats:
    """Add the measurements made elsewhere: Gaussian priors, and unit widths of nuisances."""
    known = prior_information(experiment.priors, experiment.nuisances)
    flat = [isinstance(prior, Flat) for prior in experiment.priors.values()]
    known[: len(flat)][flat] = 0.0
    return information + np.diag(known)


def _solve(information: Floats, right: Floats) -> Floats:
    """Solve in units of each coordinate's own error; directions without information stay finite."""
    unit = 1.0 / np.sqrt(np.maximum(np.diagonal(information, axis1=1, axis2=2), 1e-300))
    scaled = unit[:, :, None] * information * unit[:, None, :] + 1e-9 * np.eye(unit.shape[1])
    return unit[:, :, None] * np.linalg.solve(scaled, unit[:, :, None] * right)


@dataclass(frozen=True)
class WidthExperiment:
    """Pseudo-experiments at the nominal parameters, of several sizes.

    Attributes:
        experiment: detector, priors, sampler.
        sizes: events of each sample at each exposure.
    """

    experiment: BinnedExperiment
    sizes: tuple[tuple[int, ...], ...]

    def run(self, exposure: int, first: int) -> dict[str, np.ndarray]:
        """Carry out a batch at one exposure, those numbered from `first` in the campaign.

        Returns:
            By public name "mean/NAME" and "sd/NAME" of each posterior; "diverging", "n_steps".
        """
        e = self.experiment
        truths, xi = truths_at(e, first, {})
        counts = replace(e, sizes=self.sizes[exposure]).data(first, truths, xi)
        free, _, statistics = e.posterior(first, counts, truths, xi)
        draws = public_values(free)
        out = {f"mean/{name}": mean_of(name, values) for name, values in draws.items()}
        out |= {f"sd/{name}": sd_of(name, values) for name, values in draws.items()}
        return out | statistics
