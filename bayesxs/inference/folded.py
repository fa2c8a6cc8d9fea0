"""The parts of a far spectrum: a folded cross section with its nuisances, and the oscillation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import ArrayLike, Float

from bayesxs.detector.density import FoldedRows, Sample
from bayesxs.physics.oscillation import (
    DUNE,
    Baseline,
    NewtonSteps,
    OscillationParameters,
    probability,
)


class Folded(NamedTuple):
    """A cross section folded with rows, and the changes that its nuisances make.

    Attributes:
        response: T[row, E] and v[E] of the events or bins, at the nominal values.
        modes: change per unit of each nuisance, then of each product; None where there is none.
        flux: unoscillated, at the shared energies, shape (E,).
        flux_modes: its relative change per unit of each nuisance, shape (q, E).
        pairs: nuisances whose products have modes.
    """

    response: FoldedRows
    modes: Sequence[FoldedRows | None]
    flux: Float[np.ndarray, " energy"]
    flux_modes: Float[np.ndarray, "nuisance energy"]
    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def plain(cls, response: FoldedRows, flux: ArrayLike) -> Folded:
        """Return a cross section without nuisances.

        Args:
            response: T[row, E] and v[E].
            flux: at the shared energies, shape (E,).
        """
        flux = np.asarray(flux)
        return cls(response, [], flux, np.zeros((0, len(flux))))


class Oscillation(NamedTuple):
    """The oscillation of one sample.

    Attributes:
        sample: whose flavors and beam they are.
        baseline: length, density, electron fraction; its fields broadcast with the energies.
        newton_steps: of the probability.
    """

    sample: Sample
    baseline: Baseline = DUNE
    newton_steps: NewtonSteps = 1

    def probability(
        self, parameters: OscillationParameters, energies: ArrayLike
    ) -> Float[Array, "..."]:
        """Return the probability at energies in GeV, which broadcast with the parameters."""
        return probability(
            self.sample.flavor_in,
            self.sample.flavor_out,
            parameters,
            energies,
            self.baseline,
            antineutrino=self.sample.antineutrino,
            newton_steps=self.newton_steps,
        )
