"""The statistic of CP violation, and its distribution where CP is conserved.

    q = min over dcp in {0, pi} of chi2 - min over dcp of chi2,

both over all other parameters and nuisances, orderings and octants. Where Wilks' theorem holds q
follows chi2 of one degree of freedom; pseudo-experiments tell (Feldman and Cousins, Phys. Rev. D 57
(1998) 3873).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesxs.inference.asimov import DCP, Fits, Problems, minimise
from bayesxs.inference.mode_experiments import ModeExperiment
from bayesxs.inference.mode_starts import fit_problems
from bayesxs.inference.modes import MODES, ModePosterior, wrapped
from bayesxs.types import Floats as Float

CONSERVED: Final = (0.0, np.pi)
# Steps of first fits, and how far above the lowest chi2 they may end to be followed: fits in an
# ordering that the data exclude go on for hundreds of steps
_FIRST: Final = 12
_FOLLOWED: Final = 25.0


def cp_statistics(posterior: ModePosterior, counts: Float) -> tuple[Float, Float]:
    """Return q of data sets, and the phases of their best fits in [-pi, pi), (data sets,) each.

    Spectra of dcp and pi - dcp are alike, so that chi2 has minima on both sides of +-pi/2. Fits
    with dcp free therefore start where those with dcp = 0 and pi end, and a quarter turn further.

    Args:
        posterior: priors; flat ones are none in chi2.
        counts: (data sets, bins).
    """
    likelihood = posterior.likelihood
    n_pulls = len(likelihood.nuisances)
    problems = fit_problems(posterior, counts, CONSERVED)
    data, center, sd, start, varied = (np.asarray(field) for field in problems[:5])
    rows = np.arange(len(start))
    set_of = rows // (len(MODES) * len(CONSERVED))

    def fitted(
        rows: NDArray[np.int64], x: Float, pulls: Float, free: bool, steps: int | None = None
    ) -> Fits:
        """Fit some of the problems from other coordinates and pulls."""
        own = varied[rows]
        own[:, DCP] = free
        some = Problems(data[rows], center[rows], sd[rows], x, own, pulls)
        return minimise(likelihood.fitted, n_pulls, some, steps)

    first = fitted(rows, start, np.zeros((len(rows), n_pulls)), False, _FIRST)
    of_mode = first.chi2.reshape(len(counts), len(MODES), len(CONSERVED)).min(axis=2)
    followed = of_mode < of_mode.min(axis=1, keepdims=True) + _FOLLOWED
    rows = rows[np.repeat(followed, len(CONSERVED))]
    conserved = fitted(rows, first.x[rows], first.pulls[rows], False)
    both = np.tile(rows, 2)
    starts = np.concatenate([conserved.x, _turned(conserved.x, 0.5 * np.pi)])
    free = fitted(both, starts, np.tile(conserved.pulls, (2, 1)), True)
    # Of each kind once more from the lowest one of the other kind
    best = _lowest(set_of[both], free.chi2)
    at = np.repeat(best, len(CONSERVED))
    again = free.x[at].copy()
    again[:, DCP] = np.tile(CONSERVED, len(counts))
    conserved = _joined(conserved, fitted(both[at], again, free.pulls[at], False))
    rows = np.concatenate([rows, both[at]])
    lowest = _lowest(set_of[rows], conserved.chi2)
    last = fitted(rows[lowest], conserved.x[lowest], conserved.pulls[lowest], True)
    better = last.chi2 < free.chi2[best]
    chi2 = np.where(better, last.chi2, free.chi2[best])
    phase = np.where(better, last.x[:, DCP], free.x[best, DCP])
    # No step of a fit goes up: q is at least zero but for rounding
    return np.maximum(conserved.chi2[lowest] - chi2, 0.0), wrapped(phase)


def _turned(x: Float, angle: float) -> Float:
    turned = x.copy()
    turned[:, DCP] += angle
    return turned


def _joined(one: Fits, other: Fits) -> Fits:
    return Fits(*(np.concatenate(pair) for pair in zip(one, other, strict=True)))


def _lowest(set_of: NDArray[np.int64], chi2: Float) -> NDArray[np.int64]:
    """Return the place of the lowest chi2 of each data set, (data sets,)."""
    order = np.lexsort((chi2, set_of))
    return order[np.unique(set_of[order], return_index=True)[1]]


@dataclass(frozen=True)
class StatisticExperiment:
    """Pseudo-experiments that conserve CP, and the statistic of its violation."""

    experiment: ModeExperiment

    def run(self, point: int, first: int) -> dict[str, np.ndarray]:
        """Carry out a batch at a point of `CONSERVED`, those numbered from `first`.

        Returns:
            "q" and "estimate", the phase of the best fit in [-pi, pi), (batch,).
        """
        e = self.experiment
        counts = e.data(first, e.truths_at(first, CONSERVED[point]))
        q, estimate = cp_statistics(e.posterior, counts)
        return {"q": q, "estimate": estimate}
