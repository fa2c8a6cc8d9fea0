"""Which modes of the counts matter: to the errors of parameters, and to the counts.

Let modes xi have unit normal priors. Those that are left out are held at zero: of a parameter x the
variance falls by C_xd C_dd^-1 C_dx, with C the covariance of the posterior with all modes, and d
those left out. Modes of one block may be turned among themselves, which their prior does not
notice, and few directions carry what moves parameters: as many as there are parameters, at each of
the points where errors are wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from bayesxs.types import Floats as Float

# What all modes that are left out add to the error of a parameter, in quadrature, in parts of it,
# if data say nothing of them; at most sqrt(2) of that if they do. An error comes out too small by
# half of the square, 1e-4
LOST_ERROR: Final = 0.01

# By how many statistical errors, in all bins together, a unit of them all changes the counts: chi2
# of the fit, of hundreds of bins, grows by the square
LOST_COUNTS: Final = 1.0


def directions_that_matter(
    shared: Float, moved: Float, blocks: Sequence[slice], lost: tuple[float, float]
) -> list[Float]:
    """Return orthonormal directions of each block that are worth keeping, (kept, modes of it).

    With s of `shared` and m of `moved` along what is left out, the sum of s^2 over the first
    tolerance squared, and of m^2 over the second one, is below 1.

    Args:
        shared: covariance of each parameter with each mode, over the parameter's error, (rows,
            modes).
        moved: counts that a unit of each mode adds, over their errors, (modes, ...); squares are
            summed.
        blocks: modes that may be turned among themselves.
        lost: `LOST_ERROR` and `LOST_COUNTS`.
    """
    weighed = np.concatenate([shared / lost[0], moved.reshape(len(moved), -1).T / lost[1]])
    found = [np.linalg.eigh(weighed[:, own].T @ weighed[:, own]) for own in blocks]
    sizes = np.sort(np.concatenate([np.maximum(own, 0.0) for own, _ in found]))
    left_out = int(np.searchsorted(np.cumsum(sizes), 1.0))
    least = sizes[left_out] if left_out < len(sizes) else np.inf
    return [_signed(turned[:, own >= least].T[::-1]) for own, turned in found]


def shared_with_modes(slopes: Float, moves: Float, precision: Float, wanted: list[int]) -> Float:
    """Return the covariance of parameters with modes, over the parameters' errors, (wanted, modes).

    Args:
        slopes: of the counts, over their errors, in parameters and other nuisances, (bins, n).
        moves: in the modes, (bins, modes).
        precision: 1/s^2 of the priors of what slopes are of, (n,); zero where there is none.
        wanted: which of the n.
    """
    both = np.concatenate([slopes, moves], axis=1)
    information = both.T @ both + np.diag(np.append(precision, np.ones(moves.shape[1])))
    size = np.sqrt(np.diag(information))
    covariance = np.linalg.inv(information / np.outer(size, size)) / np.outer(size, size)
    error = np.sqrt(np.diag(covariance))[wanted]
    return np.asarray(covariance[wanted, slopes.shape[1] :] / error[:, None])


def _signed(turned: Float) -> Float:
    """Return directions whose largest element is positive: their sign is arbitrary."""
    if not turned.size:
        return turned
    largest = np.argmax(np.abs(turned), axis=1)
    return turned * np.sign(turned[np.arange(len(turned)), largest])[:, None]
