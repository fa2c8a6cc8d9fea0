"""From a card of samples to objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import pi
from pathlib import Path
from typing import Final

import numpy as np

from bayesxs.cards.beam import FluxShapeFile, NoFluxShape
from bayesxs.cards.build_lepton import build_lepton_samples
from bayesxs.cards.build_nature import nature_files
from bayesxs.cards.counted import (
    CountedCard,
    CountsFile,
    DuneConfiguration,
    GlobesConfiguration,
    RangesCard,
    SimulatedData,
)
from bayesxs.cards.lepton import LeptonConfiguration
from bayesxs.detector.reconstructed import ReconstructedSamples, reconstructed_samples
from bayesxs.detector.samples import CountedSamples
from bayesxs.experiment.counted import counted_likelihood
from bayesxs.inference.asimov import NAMES
from bayesxs.inference.constraints import (
    density_constraint,
    published_constraints,
    reactor_constraints,
    solar_constraints,
)
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.modes import ModePosterior, mode_posterior
from bayesxs.inference.priors import Flat, Gaussian, Prior
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.inference.sensitivity import Asimov, true_coordinates
from bayesxs.inputs.binned import read_counts
from bayesxs.inputs.covariance import flux_modes, load_covariance, parametric_covariance
from bayesxs.inputs.globes.configuration import Configuration
from bayesxs.inputs.globes.dune import MASS, MEGAWATT, embedded_dune
from bayesxs.inputs.globes.reader import read_globes
from bayesxs.keys import Purpose, derive, generator
from bayesxs.physics.nufit import dune_tdr, nufit_6_0
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

_CONSTRAINTS: Final[dict[str, Callable[[Float], Float]]] = {
    "published": published_constraints,
    "reactor": reactor_constraints,
    "solar": solar_constraints,
    "none": density_constraint,
}


def build_samples(card: CountedCard, progress: bool = False) -> CountedSamples:
    """Read the configuration that a card names, and fold it to what its samples expect.

    Args:
        card: the analysis.
        progress: show bars where a cross section is learned.

    Raises:
        InputError: a file is missing or wrong.
    """
    if isinstance(card.configuration, LeptonConfiguration):
        return build_lepton_samples(card, card.configuration, progress)
    shape = card.flux_shape
    configuration, scale = _configuration(card), card.energy_scale
    if isinstance(shape, NoFluxShape):
        return reconstructed_samples(configuration, scale_error=scale)

    def modes(energy: Float) -> Float:
        if isinstance(shape, FluxShapeFile):
            return flux_modes(load_covariance(shape.path), energy, 1.0 - shape.share)
        covariance = parametric_covariance(energy, shape.amplitude, shape.correlation_length)
        return flux_modes(covariance, energy, 1.0 - shape.share)

    return reconstructed_samples(configuration, flux_modes=modes, scale_error=scale)


def build_asimov(card: CountedCard, samples: CountedSamples) -> Asimov:
    """Return the experiment that sees its expectation."""
    likelihood = counted_likelihood(samples, shape_only=card.likelihood == "shape")
    return Asimov(likelihood.fitted, len(samples.nuisances), _CONSTRAINTS[card.constraints])


def build_truth(card: CountedCard, samples: CountedSamples) -> tuple[OscillationParameters, float]:
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


def build_likelihood(card: CountedCard, samples: CountedSamples) -> CountedLikelihood:
    """Return the likelihood of the data that a card names.

    Raises:
        InputError: a file of counts is missing, or holds other bins.
    """
    truth, density = build_truth(card, samples)
    expected = np.asarray(samples.of_nature()(truth, density))
    if isinstance(card.data, CountsFile) and isinstance(samples, ReconstructedSamples):
        counts = read_counts(card.data.path, samples.names, samples.edges, samples.inside)
    elif isinstance(card.data, SimulatedData):
        rng = generator(derive(card.seed, Purpose.SIMULATION))
        counts = rng.poisson(expected).astype(float)
    else:
        counts = expected
    shape_only = card.likelihood == "shape"
    return counted_likelihood(samples, counts, parameters=truth, shape_only=shape_only)


def build_modes(card: CountedCard, likelihood: CountedLikelihood, density: float) -> ModePosterior:
    """Return priors and likelihood: constraints of other experiments, flat ranges elsewhere."""
    known = _gaussians(likelihood.parameters, density, card.constraints)
    priors: dict[str, Prior] = {
        name: known.get(name) or Flat(*getattr(card.ranges, name))
        for name in RangesCard.model_fields
    }
    return mode_posterior(likelihood, priors, known["density"])


def reactor_prior(truth: OscillationParameters) -> Gaussian:
    """Return the constraint of reactor experiments on s2_13, around the truth."""
    return _gaussians(truth, 0.0, "reactor")["s2_13"]


def _gaussians(
    truth: OscillationParameters, density: float, constraints: str
) -> dict[str, Gaussian]:
    """Return the Gaussian constraints that a card names, of the parameters that have one."""
    values = {name: float(np.asarray(value)) for name, value in truth._asdict().items()}
    x = true_coordinates(OscillationParameters(**values), density)
    found = {}
    for coordinate, at, sd in zip(NAMES, x[0], _CONSTRAINTS[constraints](x)[0], strict=True):
        if not np.isfinite(sd):
            continue
        name, width = coordinate.replace("theta", "s2_"), float(sd)
        value = density if name == "density" else values[name]
        if coordinate != name:  # d sin^2 theta = sin(2 theta) d theta
            width *= float(np.sin(2.0 * at))
        if name == "dm31":
            value = abs(value - values["s2_12"] * values["dm21"])
        found[name] = Gaussian(value, width)
    return found


def build_chains(card: CountedCard) -> SamplerSettings:
    """Return the settings of the chains of each mode."""
    s = card.sampler
    piece = max(1, min(s.warmup, s.draws, 250))
    return SamplerSettings(s.chains, s.warmup, s.draws, s.target_accept, record_every=piece)


def counted_inputs(card: CountedCard) -> list[Path]:
    """Return the files that a card names, for content keys; of a GLoBES folder, all of it."""
    files = []
    if isinstance(card.configuration, GlobesConfiguration):
        folder = Path(card.configuration.path).parent
        files += sorted(path for path in folder.rglob("*") if path.is_file())
    if isinstance(card.flux_shape, FluxShapeFile):
        files.append(Path(card.flux_shape.path))
    if isinstance(card.data, CountsFile):
        files.append(Path(card.data.path))
    for nature in (card.nature, card.assumed):
        if nature is not None:
            files += nature_files(nature)
    return files


def _configuration(card: CountedCard) -> Configuration:
    chosen = card.configuration
    assert not isinstance(chosen, LeptonConfiguration)
    if isinstance(chosen, DuneConfiguration):
        factor = chosen.power_MW / MEGAWATT * chosen.mass_kt / MASS
        return embedded_dune(factor * chosen.neutrino_years, factor * chosen.antineutrino_years)
    found = read_globes(chosen.path)
    return replace(found, mass=found.mass * chosen.exposure)
