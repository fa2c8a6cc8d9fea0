"""From a card of samples in reconstructed energy to objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import pi
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesxs.cards.beam import FluxShapeFile, NoFluxShape
from bayesxs.cards.counted import CountedCard, DuneConfiguration
from bayesxs.detector.reconstructed import ReconstructedSamples, reconstructed_samples
from bayesxs.inference.constraints import (
    density_constraint,
    published_constraints,
    reactor_constraints,
    solar_constraints,
)
from bayesxs.inference.sensitivity import Asimov
from bayesxs.inputs.covariance import flux_modes, load_covariance, parametric_covariance
from bayesxs.inputs.globes.configuration import Configuration
from bayesxs.inputs.globes.dune import MASS, MEGAWATT, embedded_dune
from bayesxs.inputs.globes.reader import read_globes
from bayesxs.physics.nufit import dune_tdr, nufit_6_0
from bayesxs.physics.oscillation import OscillationParameters

Float = NDArray[np.float64]

_CONSTRAINTS: Final[dict[str, Callable[[Float], Float]]] = {
    "published": published_constraints,
    "reactor": reactor_constraints,
    "solar": solar_constraints,
    "none": density_constraint,
}


def build_samples(card: CountedCard) -> ReconstructedSamples:
    """Read the configuration that a card names, and fold it to what its samples expect.

    Raises:
        InputError: a file is missing or wrong.
    """
    shape = card.flux_shape
    if isinstance(shape, NoFluxShape):
        return reconstructed_samples(_configuration(card))

    def modes(energy: Float) -> Float:
        if isinstance(shape, FluxShapeFile):
            return flux_modes(load_covariance(shape.path), energy, 1.0 - shape.share)
        covariance = parametric_covariance(energy, shape.amplitude, shape.correlation_length)
        return flux_modes(covariance, energy, 1.0 - shape.share)

    return reconstructed_samples(_configuration(card), flux_modes=modes)


def build_asimov(card: CountedCard, samples: ReconstructedSamples) -> Asimov:
    """Return the experiment that sees its expectation."""
    return Asimov(samples.rates(), len(samples.nuisances), _CONSTRAINTS[card.constraints])


def build_truth(
    card: CountedCard, samples: ReconstructedSamples
) -> tuple[OscillationParameters, float]:
    """Return the true parameters, angles in radians, and the density in g/cm^3."""
    truth = card.truth
    if truth.parameters == "dune-tdr":
        named = dune_tdr(truth.ordering)
    else:
        newest = truth.parameters == "nufit-6.0-ic24"
        named = nufit_6_0("ic24" if newest else "ic19", truth.ordering)
    given = truth.given()
    if "dcp" in given:
        given["dcp"] *= pi / 180.0
    density = truth.density_g_cm3
    if density is None:
        density = float(np.asarray(samples.baseline.density))
    return named._replace(**given), density


def counted_inputs(card: CountedCard) -> list[Path]:
    """Return the files that a card names, for content keys; of a GLoBES folder, all of it."""
    files = []
    if not isinstance(card.configuration, DuneConfiguration):
        folder = Path(card.configuration.path).parent
        files += sorted(path for path in folder.rglob("*") if path.is_file())
    if isinstance(card.flux_shape, FluxShapeFile):
        files.append(Path(card.flux_shape.path))
    return files


def _configuration(card: CountedCard) -> Configuration:
    chosen = card.configuration
    if isinstance(chosen, DuneConfiguration):
        factor = chosen.power_MW / MEGAWATT * chosen.mass_kt / MASS
        return embedded_dune(factor * chosen.neutrino_years, factor * chosen.antineutrino_years)
    found = read_globes(chosen.path)
    return replace(found, mass=found.mass * chosen.exposure)
