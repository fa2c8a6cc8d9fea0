"""Counts of oscillated neutrinos from probabilities at few energies.

A probability is an entire function of u = 1/E: amplitudes are exp(-i (u M/2 + V) L), with squared
masses M and matter V, so that |P| <= exp(t |Im u|), t = L (largest - least squared mass)/2.
Polynomials through n Chebyshev points of an interval of u, of half width h, are off by at most

    4 exp(t h sinh(log r))/(r^(n - 1) (r - 1))        for every r > 1

(Trefethen, Approximation Theory and Approximation Practice, theorem 8.2), which falls faster than
any power once n exceeds t h. Sums T_ij P(E_j) over many energies become sums over the n points, of
T_ij l_k(E_j), the l_k being Lagrange's polynomials in u.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import minimize_scalar

from bayesxs.constants import PHASE
from bayesxs.detector.samples import CountedSamples
from bayesxs.types import Floats as Float

# Largest error of a probability
TOLERANCE: Final = 1e-9

# Difference of squared masses in eV^2 up to which that holds, unless another one is given
SPLITTING: Final = 5e-3


def with_few_energies[Samples: CountedSamples](
    samples: Samples, splitting: float = SPLITTING
) -> Samples:
    """Return samples that expect the same counts, of probabilities at few energies.

    Each unoscillated event of a component changes by `TOLERANCE` at most. Neither fluxes nor
    cross sections have modes.

    Args:
        samples: of any energies.
        splitting: largest difference of squared masses, eV^2; beyond it the error grows.
    """
    points = few_energies(samples.energy, float(np.asarray(samples.baseline.length)), splitting)
    if len(points) >= len(samples.energy):
        return samples
    polynomials = lagrange(points, samples.energy)
    components = tuple(replace(c, events=c.events @ polynomials) for c in samples.components)
    return replace(samples, energy=points, components=components)


def few_energies(energy: Float, length: float, splitting: float) -> Float:
    """Return as few energies as probabilities between the first and the last one need.

    Args:
        energy: in GeV, rising.
        length: of the way in km.
        splitting: largest difference of squared masses, eV^2.
    """
    high, low = 1.0 / energy[0], 1.0 / energy[-1]
    reach = PHASE * splitting * length * (high - low)
    number = next(n for n in range(2, 10_000) if error_bound(reach, n) < TOLERANCE)
    angles = np.pi * np.arange(number) / (number - 1)
    return 1.0 / (0.5 * (high + low) + 0.5 * (high - low) * np.cos(angles))


def error_bound(reach: float, number: int) -> float:
    """Return the largest error of a probability that is interpolated.

    Args:
        reach: t h, half of the phase 2 Delta between the ends of the interval.
        number: of Chebyshev points.
    """

    def log_bound(log_r: float) -> float:
        grown = reach * np.sinh(log_r) - (number - 1) * log_r
        return float(np.log(4.0) + grown - np.log(np.expm1(log_r)))

    return float(np.exp(minimize_scalar(log_bound, bounds=(1e-6, 10.0), method="bounded").fun))


def lagrange(points: Float, energy: Float) -> Float:
    """Return Lagrange's polynomials in 1/E, (energies, points).

    Args:
        points: energies at which a polynomial is given.
        energy: at which it is wanted.
    """
    unit = BarycentricInterpolator(1.0 / points, np.eye(len(points)))
    return np.asarray(unit(1.0 / energy))
