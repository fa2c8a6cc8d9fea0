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

from bayesxs.inference.asimov import DCP, Problems, minimise
from bayesxs.inference.mode_experiments import ModeExperiment
from bayesxs.inference.mode_starts import fit_problems
from bayesxs.inference.modes import ModePosterior
from bayesxs.types import Floats as Float

CONSERVED: Final = (0.0, np.pi)
_PHASES: Final = (-0.5 * np.pi, 0.5 * np.pi)


def cp_statistics(posterior: ModePosterior, counts: Float) -> tuple[Float, Float]:
    """Return q of data sets, and the phases of their best fits, (data sets,) each.

    Fits with dcp free start at +-pi/2 and where those that conserve CP end.

    Args:
        posterior: priors; flat ones are none in chi2.
        counts: (data sets, bins).
    """
    many = len(counts)

    def fitted(phases: tuple[float, ...], free: bool, start: Float | None) -> tuple[Float, Float]:
        problems = fit_problems(posterior, counts, phases)
        rows = np.array(problems.free)
        rows[:, DCP] = free
        begin = np.array(problems.start)
        if start is not None:  # of each problem, or of each data set with dcp of the problem
            own = np.repeat(start, len(begin) // len(start), axis=0)
            own[:, DCP] = begin[:, DCP] if len(start) == many else own[:, DCP]
            begin = own
        fits = minimise(
            posterior.likelihood.fitted,
            len(posterior.likelihood.nuisances),
            Problems(problems.counts, problems.center, problems.sd, begin, rows),
        )
        return fits.chi2.reshape(many, -1), fits.x

    # A minimum may not be the lowest: fits of each kind start again where the other ones ended
    chi2, x = fitted(_PHASES, True, None)
    conserved, at = fitted(CONSERVED, False, None)
    again, at_again = fitted(CONSERVED, False, _best(chi2, x))
    from_free, x_free = fitted(CONSERVED, True, at)
    from_again, x_again = fitted(CONSERVED, True, at_again)
    conserved = np.concatenate([conserved, again], axis=1)
    chi2 = np.concatenate([chi2, from_free, from_again], axis=1)
    phases = np.concatenate(
        [found[:, DCP].reshape(many, -1) for found in (x, x_free, x_again)], axis=1
    )
    best = np.argmin(chi2, axis=1)[:, None]
    q = conserved.min(axis=1) - np.take_along_axis(chi2, best, axis=1)[:, 0]
    # No step of a fit goes up: q is at least zero but for rounding
    return np.maximum(q, 0.0), np.take_along_axis(phases, best, axis=1)[:, 0]


def _best(chi2: Float, x: Float) -> Float:
    """Return where the smallest chi2 of each data set is, (data sets, 7)."""
    fits = x.reshape(*chi2.shape, -1)
    return np.take_along_axis(fits, np.argmin(chi2, axis=1)[:, None, None], axis=1)[:, 0]


@dataclass(frozen=True)
class StatisticExperiment:
    """Pseudo-experiments that conserve CP, and the statistic of its violation."""

    experiment: ModeExperiment

    def run(self, point: int, first: int) -> dict[str, np.ndarray]:
        """Carry out a batch at a point of `CONSERVED`, those numbered from `first`.

        Returns:
            "q" and "estimate", the phase of the best fit, (batch,).
        """
        e = self.experiment
        counts = e.data(first, e.truths_at(first, CONSERVED[point]))
        q, estimate = cp_statistics(e.posterior, counts)
        return {"q": q, "estimate": estimate}
