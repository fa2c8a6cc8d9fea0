"""Goodness of fit of counts: chi-square in bins, and p-values of posterior predictions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bayesxs.types import Floats

# Bins that are expected to hold fewer events are taken together
FEWEST = 5.0


class ChiSquare(NamedTuple):
    """Pearson's chi-square, bins that entered, and the probability of a larger one."""

    chi2: float
    bins: int
    p_value: float


def chi_square(observed: ArrayLike, expected: ArrayLike, parameters: float = 0.0) -> ChiSquare:
    """Compare counts with a spectrum, which is scaled to their sum.

    chi^2 = sum (n - mu)^2/mu over bins with mu of at least FEWEST and one that takes the others.
    Degrees of freedom: bins - 1 less the parameters that were fitted to the same counts.

    Args:
        observed: counts, shape (bins,).
        expected: any normalisation; below zero counts as zero, shape (bins,).
        parameters: their effective number. A linear fit with hat matrix H takes tr H.
    """
    n, mu = np.asarray(observed, dtype=float), np.maximum(np.asarray(expected, dtype=float), 0.0)
    n, mu = merged(n[None], mu * n.sum() / mu.sum())
    chi2 = float(np.sum((n[0] - mu) ** 2 / mu))
    bins = len(mu)
    freedom = bins - 1.0 - parameters
    return ChiSquare(chi2, bins, float(stats.chi2.sf(chi2, freedom)) if freedom > 0.0 else 1.0)


def pulls(observed: ArrayLike, expected: ArrayLike) -> Floats:
    """Return (n - mu)/sqrt(mu), mu scaled to the observed sum; NaN where nothing is expected."""
    n, mu = np.asarray(observed, dtype=float), np.maximum(np.asarray(expected, dtype=float), 0.0)
    mu = mu * n.sum() / mu.sum()
    return np.divide(n - mu, np.sqrt(mu), out=np.full_like(mu, np.nan), where=mu > 0.0)


def predictive_p_value(observed: ArrayLike, replicated: ArrayLike) -> float:
    """Return the share of predicted spectra that lie at least as far from their mean as the data.

    The posterior predictive p-value P(T(y_rep) >= T(y)) of Gelman, Meng and Stern (1996) with
    T(y) = sum (y - m)^2/m, m the mean prediction. Near 0 the model cannot make such data; because
    the same data made the posterior, it gathers about 1/2 if all is well.

    Args:
        observed: counts, shape (bins,).
        replicated: counts predicted from draws of the posterior, shape (draws, bins).
    """
    y, many = np.asarray(observed, dtype=float), np.asarray(replicated, dtype=float)
    if y.sum() == 0.0:
        return 1.0
    rows, mean = merged(np.vstack([y, many]), many.mean(axis=0))
    distances = np.sum((rows - mean) ** 2 / mean, axis=1)
    return float(np.mean(distances[1:] >= distances[0]))


def merged(counts: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """Take together the bins that are expected to hold fewer than FEWEST events.

    Args:
        counts: shape (n, bins).
        expected: shape (bins,).

    Returns:
        Counts, shape (n, kept), and expectations, shape (kept,), none of them zero.
    """
    few = expected < FEWEST
    if few.all():
        return counts.sum(axis=1, keepdims=True), expected.sum(keepdims=True)
    rest, left = counts[:, few].sum(axis=1), float(expected[few].sum())
    counts, expected = counts[:, ~few].copy(), expected[~few].copy()
    if left >= FEWEST:
        return np.column_stack([counts, rest]), np.append(expected, left)
    smallest = int(np.argmin(expected))
    counts[:, smallest] += rest
    expected[smallest] += left
    return counts, expected
