"""From the section `[uncertainty]` of a card to a source of modes."""

from __future__ import annotations

from bayesxs.cards.uncertainty import (
    CertainCard,
    EnsembleCard,
    GaussianProcessCard,
    LaplaceCard,
    ModesFileCard,
)
from bayesxs.experiment.uncertainty import (
    Certain,
    Ensemble,
    GaussianProcess,
    Laplace,
    ModesFile,
    Uncertainty,
)


def source_of_modes(
    u: CertainCard | EnsembleCard | GaussianProcessCard | LaplaceCard | ModesFileCard,
) -> Uncertainty:
    """Return what finds the modes of a learned cross section."""
    if isinstance(u, CertainCard):
        return Certain()
    if isinstance(u, ModesFileCard):
        return ModesFile(u.path)
    kept = (u.share, u.modes, u.discretization)
    if isinstance(u, GaussianProcessCard):
        return GaussianProcess(*kept, u.kernel, u.divergence, u.joint)
    return Laplace(*kept) if isinstance(u, LaplaceCard) else Ensemble(*kept)
