"""Evidences by bridge sampling, with a proposal that knows of one angle.

The optimal bridge of Meng and Wong (1996, Statistica Sinica 6, 831) between the posterior and a
proposal q of unit norm gives the evidence as the fixed point of

    Z = mean_q[ l / (s1 l + s2 Z) ] / mean_post[ 1 / (s1 l + s2 Z) ],    l = density / q,

its relative error by Fruehwirth-Schnatter (2004, Econometrics Journal 7, 143), eq. 16; both after
Gronau et al. (arXiv:1703.05984), eqs. 10-16. Half of the draws fit the proposal, the other half
enters. Of the draws' autocorrelation s1 and the error know the effective number. Few draws in many
dimensions do not say what a covariance is: there the curvature at the highest density does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import arviz as az
import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from bayesxs.inference.circle import TURN
from bayesxs.types import Floats as Float

# Kernels of the angle's marginal; harmonics of the mean of the rest over the angle
_KERNELS: Final = 200
_HARMONICS: Final = 2
_WIDEST: Final = 1.5  # of a kernel, rad
_TOLERANCE: Final = 1e-10
_ITERATIONS: Final = 1000

# log of likelihood times prior, (n,), from (n, d) numbers and (n,) angles
LogDensity = Callable[[Float, Float], Float]


class Evidence(NamedTuple):
    """log Z, and its standard error."""

    log: float
    error: float


def normalised(log_weights: Float, errors: Float) -> tuple[Float, Float]:
    """Return weights that add up to one, and errors that follow from those of their logarithms."""
    p = np.exp(log_weights - logsumexp(log_weights))
    slopes = p[:, None] * (np.eye(len(p)) - p)
    return p, np.sqrt((slopes**2) @ errors**2)


class Curvature(NamedTuple):
    """The curvature at the highest density, which describes a density where draws are few.

    Attributes:
        center: where it is, (d,).
        covariance: of the numbers at given angle, (d, d).
        first: how many numbers, those that stand first, may be far from normal.
    """

    center: Float
    covariance: Float
    first: int


class Proposal(NamedTuple):
    """An angle from wrapped normal kernels, and normal numbers whose mean follows the angle.

    Attributes:
        centers: of the kernels, (k,).
        width: of the kernels, rad.
        coefficients: of the mean in harmonics of the angle, (h, d).
        factor: Cholesky factor of the covariance about it, (d, d).
    """

    centers: Float
    width: float
    coefficients: Float
    factor: Float

    @classmethod
    def fitted(cls, z: Float, angle: Float, curvature: Curvature | None = None) -> Proposal:
        """Fit a proposal to draws, (n, d) and (n,).

        Args:
            z: draws of numbers.
            angle: draws of the angle.
            curvature: at the highest density, for few draws.
        """
        if curvature is not None:
            coefficients, covariance = _near(z, angle, curvature)
        else:
            basis = _basis(angle)
            coefficients = np.linalg.lstsq(basis, z, rcond=None)[0]
            rest = z - basis @ coefficients
            covariance = np.atleast_2d(np.cov(rest, rowvar=False)) if z.shape[1] else np.eye(0)
            rank = np.linalg.matrix_rank(covariance, hermitian=True) if z.shape[1] else 0
            if rank < len(covariance):
                # Few draws: of the width of the prior, one, as much as one draw more would add
                covariance += np.eye(len(covariance)) / len(angle)
        step = max(1, len(angle) // _KERNELS)
        length = np.abs(np.mean(np.exp(1j * angle)))
        spread = np.sqrt(-2.0 * np.log(np.clip(length, 1e-12, 1.0 - 1e-12)))
        width = min(_WIDEST, 1.5 * spread * len(angle[::step]) ** -0.2)
        return cls(angle[::step], float(width), coefficients, np.linalg.cholesky(covariance))

    def draw(self, rng: np.random.Generator, size: int) -> tuple[Float, Float]:
        """Return numbers, (size, d), and angles, (size,)."""
        angle = rng.choice(self.centers, size) + self.width * rng.standard_normal(size)
        noise = rng.standard_normal((size, len(self.factor)))
        return _basis(angle) @ self.coefficients + noise @ self.factor.T, angle

    def log_density(self, z: Float, angle: Float) -> Float:
        """Return log q, (n,); of the angle, over one turn."""
        rest = np.linalg.solve(self.factor, (z - _basis(angle) @ self.coefficients).T)
        normal = -0.5 * np.sum(rest**2, axis=0) - 0.5 * len(rest) * np.log(TURN)
        normal -= np.sum(np.log(np.diag(self.factor)))
        away = (angle[:, None] - self.centers + np.pi) % TURN - np.pi
        turns = [-0.5 * ((away + TURN * n) / self.width) ** 2 for n in (-1, 0, 1)]
        kernels = logsumexp(np.stack(turns), axis=(0, 2)) - np.log(len(self.centers))
        return normal + kernels - np.log(self.width * np.sqrt(TURN))


def _near(z: Float, angle: Float, curvature: Curvature) -> tuple[Float, Float]:
    """Return coefficients in harmonics and covariance from few draws and a curvature.

    In its units, numbers that follow those which stand first by the curvature's regression: there,
    the first ones have mean, harmonics and covariance of the draws; of the others harmonics and
    mean are shrunk to none (James and Stein 1961, positive part: harmonics of each number by
    itself, the mean of all together), and the covariance is that of the curvature.

    Args:
        z: draws, (n, d).
        angle: draws, (n,).
        curvature: at the highest density.
    """
    root = np.linalg.cholesky(curvature.covariance)
    units = np.linalg.solve(root, (z - curvature.center).T).T
    first = curvature.first
    waves = _basis(angle)[:, 1:]
    middle, mean = waves.mean(axis=0), units.mean(axis=0)
    axes, scale = np.linalg.qr(waves - middle)
    seen = axes.T @ (units - mean)
    noise = np.sum((units - mean - axes @ seen) ** 2, axis=0) / max(1, len(z) - len(seen) - 1)
    seen[:, first:] *= _kept(noise[first:], np.sum(seen[:, first:] ** 2, axis=0), len(seen))
    number = len(mean) - first
    if number:  # draws of a chain: half of them count
        mean[first:] *= _kept(
            2.0 * noise[first:].mean() / len(z), np.sum(mean[first:] ** 2), number
        )
    of_waves = np.linalg.lstsq(scale, seen, rcond=None)[0]
    rest = (units - mean - (waves - middle) @ of_waves)[:, :first]
    covariance = np.eye(len(root))
    covariance[:first, :first] = (rest.T @ rest + np.eye(first)) / (len(rest) + 1.0)
    constant = curvature.center + root @ (mean - middle @ of_waves)
    return np.concatenate([constant[None], of_waves @ root.T]), root @ covariance @ root.T


def _kept(noise: ArrayLike, square: ArrayLike, number: int) -> Float:
    """Return the factor by which James and Stein shrink numbers of a sum of squares."""
    ratio = np.asarray(noise, float) / np.maximum(square, 1e-300)
    return np.maximum(0.0, 1.0 - (number - 2.0) * ratio)


def bridge(
    log_density: LogDensity,
    z: Float,
    angle: Float,
    rng: np.random.Generator,
    curvature: Curvature | None = None,
    proposals: int | None = None,
) -> Evidence:
    """Return the evidence of a density of which there are draws.

    Args:
        log_density: log of the density, not normalised.
        z: draws of numbers, (chains, draws, d).
        angle: draws of an angle, (chains, draws).
        rng: for draws of the proposal.
        curvature: at the highest density, for few draws.
        proposals: draws of the proposal; as many as of the density if not given.
    """
    half = z.shape[1] // 2
    proposal = Proposal.fitted(
        z[:, :half].reshape(-1, z.shape[2]), angle[:, :half].ravel(), curvature
    )
    own_z, own_angle = z[:, half:].reshape(-1, z.shape[2]), angle[:, half:].ravel()
    number = proposals or len(own_angle)
    new_z, new_angle = proposal.draw(rng, number)
    ratio = log_density(own_z, own_angle) - proposal.log_density(own_z, own_angle)
    new_ratio = log_density(new_z, new_angle) - proposal.log_density(new_z, new_angle)
    new_ratio = np.where(np.isfinite(new_ratio), new_ratio, -np.inf)
    effective = min(len(own_angle), _ess(ratio.reshape(z.shape[0], -1)))
    log_s1, log_s2 = np.log(np.array([effective, number]) / (effective + number))
    log_z = float(np.median(ratio))
    shares = np.log(len(ratio) / number)  # of means, in place of sums
    for _ in range(_ITERATIONS):
        top = logsumexp(new_ratio - np.logaddexp(log_s1 + new_ratio, log_s2 + log_z))
        bottom = logsumexp(-np.logaddexp(log_s1 + ratio, log_s2 + log_z))
        before, log_z = log_z, float(top - bottom + shares)
        if abs(log_z - before) < _TOLERANCE:
            break
    # Both are posterior over mixture density and proposal over it, of means near one
    of_proposal = np.exp(new_ratio - log_z - np.logaddexp(log_s1 + new_ratio - log_z, log_s2))
    of_draws = np.exp(-np.logaddexp(log_s1 + ratio - log_z, log_s2))
    variance = np.var(of_proposal) / np.mean(of_proposal) ** 2 / number
    variance += (
        np.var(of_draws) / np.mean(of_draws) ** 2 / max(1.0, _ess(of_draws.reshape(z.shape[0], -1)))
    )
    return Evidence(log_z, float(np.sqrt(variance)))


def _ess(values: Float) -> float:
    """Return the effective number of draws, (chains, draws)."""
    if np.ptp(values) == 0.0:
        return float(values.size)
    dataset = xr.Dataset({"x": (("chain", "draw"), values)})
    found = float(np.asarray(az.ess(dataset, method="mean")["x"]))
    return found if np.isfinite(found) else 1.0


def _basis(angle: Float) -> Float:
    """Return one, and cosines and sines of multiples of the angle, (n, h)."""
    waves = [f(k * angle) for k in range(1, _HARMONICS + 1) for f in (np.cos, np.sin)]
    return np.stack([np.ones_like(angle), *waves], axis=1)
