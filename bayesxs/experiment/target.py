"""Structure functions, or a generator's template, for which each near-detector sample stands."""

from __future__ import annotations

from collections.abc import Callable

from bayesxs.detector.density import Sample
from bayesxs.detector.template import Template
from bayesxs.experiment.checks import check_structure_functions
from bayesxs.experiment.generated import EventNature, Window
from bayesxs.experiment.geometry import Target
from bayesxs.physics.nature import Nature
from bayesxs.physics.structure_functions import Positive, StructureFunctions
from bayesxs.types import Floats as Float

type AnyNature = Nature | StructureFunctions | EventNature


def make_target(
    near: Sample,
    flux: Callable[[Float], Float],
    near_flux: Float,
    nature: AnyNature,
    assumed: AnyNature | None,
    window: Window,
) -> Target:
    """Return the target that is learned from a near-detector sample.

    Args:
        near: the sample.
        flux: of its neutrinos at the near detector, at energies in GeV.
        near_flux: the same at the shared energies.
        nature: that makes the data.
        assumed: in place of learning; None for nothing.
        window: of neutrino energies and x.

    Raises:
        InputError: a nature that is not finite, negative, or has too few events.
    """
    other: Positive | Template | None
    if isinstance(assumed, EventNature):
        other = assumed.template(near, flux, window)
    else:
        other = None if assumed is None else structure_functions(assumed, near)
    if isinstance(nature, EventNature):
        split = nature.split(near, flux, window)
        return Target(near, split.far, near_flux, other, split)
    return Target(near, structure_functions(nature, near), near_flux, other)


def structure_functions(nature: Nature | StructureFunctions, sample: Sample) -> Positive:
    """Return what a nature gives for the leptons of a sample, projected where it is negative.

    Raises:
        InputError: not finite, or negative.
    """
    found = (
        nature
        if callable(nature)
        else nature.structure_functions(sample.lepton_mass, sample.antineutrino)
    )
    if isinstance(found, Positive):
        return found
    check_structure_functions(found, f"nature, {sample.name}")
    return Positive(found)
