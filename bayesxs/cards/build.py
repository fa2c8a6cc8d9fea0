"""From a card to objects: the one place where configuration becomes an experiment and settings."""

from __future__ import annotations

from collections.abc import Mapping
from math import pi
from pathlib import Path
from typing import Literal

import numpy as np

from bayesxs.cards.beam import DuneFlux, FluxShapeFile, NearFlux, NoFluxShape, RootFlux
from bayesxs.cards.build_nature import build_nature, nature_files
from bayesxs.cards.build_uncertainty import source_of_modes
from bayesxs.cards.card import Card, prior_conflict
from bayesxs.cards.detector import GaussianResponse
from bayesxs.cards.priors import FlatPrior, NufitPrior
from bayesxs.cards.uncertainty import ModesFileCard
from bayesxs.detector.density import Sample
from bayesxs.detector.smearing import Acceptance, ResponseParameters
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.learn import Training
from bayesxs.experiment.near import NearSource
from bayesxs.experiment.near_sources import drawn_leptons, generated_sources
from bayesxs.experiment.settings import (
    FluxUncertainty,
    GaussianDetector,
    Grid,
    ParametricFluxUncertainty,
    TabulatedFluxUncertainty,
)
from bayesxs.experiment.uncertainty import Uncertainty
from bayesxs.inference.priors import Flat, Gaussian, Prior
from bayesxs.inference.sampling import SamplerSettings
from bayesxs.inputs.flux import Flux, embedded_dune_flux, load_csv_flux, load_globes_flux
from bayesxs.inputs.fluxroot import load_root_flux, split_root_path
from bayesxs.keys import Purpose, derive
from bayesxs.learning.network import Architecture
from bayesxs.learning.training import Schedule
from bayesxs.physics.nufit import nufit_6_0, nufit_6_0_errors
from bayesxs.physics.oscillation import Baseline, OscillationParameters

# Keys of a card that stand for arguments of an experiment
NAMES = {
    "energy_range[0]": "beam.energy_min_GeV",
    "energy_range[1]": "beam.energy_max_GeV",
    "samples.flavor_in": "sample.flavor_in",
    "samples.flavor_out": "sample.flavor_out",
    "baseline.length": "oscillation.baseline_km",
    "far_events": "far.events",
}

# Stands for the target in the name of near.file
TARGET = "{target}"


def build_experiment(card: Card, source: str = "card") -> Experiment:
    """Read the inputs that a card names, and make the experiment of them.

    Args:
        card: the analysis.
        source: where the card was read from, named in messages.

    Raises:
        InputError: an input file is missing or wrong, or contradicts the card.
    """
    truth = true_parameters(card)
    flux = _flux(card, "near")
    o, g = card.oscillation, card.grid
    samples = tuple(
        Sample(s.flavor_in, s.flavor_out, s.antineutrino, card.beam.mode) for s in card.sample
    )
    neutrinos = {s.near.flux_id for s in samples}
    return Experiment(
        flux,
        build_nature(card.nature, neutrinos, card.seed),
        samples,
        far_flux=None if card.beam.far_flux.type == "near" else _flux(card, "far"),
        assumed=None if card.assumed is None else build_nature(card.assumed, neutrinos, card.seed),
        parameters=truth,
        priors=_priors(card, truth, source),
        baseline=Baseline(o.baseline_km, o.density_g_cm3, o.electron_fraction),
        energy_range=(card.beam.energy_min_GeV, card.beam.energy_max_GeV),
        grid=Grid(g.energy_order, g.lepton_energies, g.z, g.nodes_x, g.nodes_q2, x_max=g.x_max),
        detector=_detector(card),
        flux_uncertainty=_flux_uncertainty(card),
        far_events=card.far.events,
        newton_steps=o.newton_steps,
        source=source,
        names=NAMES,
    )


def near_sources(card: Card, experiment: Experiment) -> dict[str, NearSource]:
    """Return where the near-detector data of each target come from.

    Raises:
        InputError: near.file does not say where the target's name stands, and there are several.
    """
    near, names = card.near, [t.name for t in experiment.unique_targets]
    events = np.inf if near.events == "infinite" else float(near.events)
    if experiment.generated and not near.file:
        return generated_sources(experiment, events, card.seed, experiment.source, "near.")
    if near.file and len(names) > 1 and TARGET not in near.file:
        allowed = f"{TARGET} must stand in the name, and a file be there for each of "
        raise InputError.at(experiment.source, "near.file", near.file, allowed + ", ".join(names))
    drawn = {}
    if card.training.loss == "unbinned" and not near.file:
        drawn = drawn_leptons(experiment, events, card.seed, experiment.source, "near.")
    return {
        name: NearSource(
            events,
            derive(card.seed, Purpose.NEAR, number),
            Path(near.file.replace(TARGET, name)) if near.file else None,
            near.impossible,
            experiment.source,
            "near.",
            draw=drawn.get(name),
        )
        for number, name in enumerate(names)
    }


def true_parameters(card: Card) -> OscillationParameters:
    """Return the true oscillation parameters of a card, angles in radians.

    Those that the card leaves out are NuFit's for the ordering that the sign of its dm31 says.
    """
    given = dict(card.oscillation.given())
    if "dcp" in given:
        given["dcp"] *= pi / 180.0
    return nufit_6_0(_variant(card), _ordering(given.get("dm31", 1.0)))._replace(**given)


def build_training(card: Card) -> Training:
    """Return how a card's networks are fitted."""
    n, t = card.network, card.training
    return Training(
        Architecture(n.layers, n.width, n.activation, n.inputs, n.head, n.precision),
        Schedule(
            t.adam_steps if t.method != "gauss_newton" else 0,
            t.learning_rate,
            t.lbfgs_steps if t.method == "lbfgs" else 0,
            gauss_newton_steps=t.gauss_newton_steps if t.method == "gauss_newton" else 0,
        ),
        n.members,
        t.weighting,
        t.floor,
        t.weight_sd,
        t.counted_steps,
        n.share,
        t.loss,
    )


def build_uncertainty(card: Card) -> Uncertainty:
    """Return what finds the modes of a card's learned cross section."""
    return source_of_modes(card.uncertainty)


def build_sampler(card: Card) -> SamplerSettings:
    """Return the settings of a card's chains."""
    s = card.sampler
    return SamplerSettings(
        s.chains,
        s.warmup,
        s.draws,
        s.target_accept,
        record_every=s.checkpoint_every,
        first_chain=s.first_chain,
    )


def input_files(card: Card) -> list[Path]:
    """Return the files that the cross section and the beam are read from, for content keys."""
    files = []
    for flux in (card.beam.flux, card.beam.far_flux):
        if not isinstance(flux, DuneFlux | NearFlux):
            is_root = isinstance(flux, RootFlux)
            files.append(split_root_path(flux.path)[0] if is_root else Path(flux.path))
    shape = card.flux_shape
    if isinstance(shape, FluxShapeFile):
        files.append(Path(shape.path))
    if isinstance(card.uncertainty, ModesFileCard):
        files.append(Path(card.uncertainty.path))
    for nature in (card.nature, card.assumed):
        if nature is not None:
            files += nature_files(nature)
    return files


def _variant(card: Card) -> Literal["ic24", "ic19"]:
    return "ic24" if card.oscillation.parameters == "nufit-6.0-ic24" else "ic19"


def _ordering(dm31: float) -> Literal["normal", "inverted"]:
    return "normal" if dm31 > 0.0 else "inverted"


def _flux(card: Card, detector: Literal["near", "far"]) -> Flux:
    flux = card.beam.flux if detector == "near" else card.beam.far_flux
    if isinstance(flux, DuneFlux | NearFlux):
        return embedded_dune_flux(card.beam.mode, detector)
    if isinstance(flux, RootFlux):
        return load_root_flux(flux.path, flux.contents)
    load = load_globes_flux if flux.type == "globes" else load_csv_flux
    return load(flux.path, flux.energies)


def _detector(card: Card) -> GaussianDetector | None:
    r = card.response
    if not isinstance(r, GaussianResponse):
        return None
    angle = float(np.deg2rad(r.angle_resolution_deg))
    return GaussianDetector(
        ResponseParameters(0.0, r.energy_resolution, angle),
        ResponseParameters(
            r.energy_scale_sd,
            r.energy_resolution_sd * r.energy_resolution,
            r.angle_resolution_sd * angle,
        ),
        Acceptance(r.threshold_GeV, r.efficiency, r.turn_on_GeV),
        r.correlated,
        (r.energy_bins, r.angle_bins),
    )


def _flux_uncertainty(card: Card) -> FluxUncertainty | None:
    shape = card.flux_shape
    if isinstance(shape, NoFluxShape):
        return None
    if isinstance(shape, FluxShapeFile):
        return TabulatedFluxUncertainty(shape.path, shape.share, shape.near_far)
    return ParametricFluxUncertainty(
        shape.amplitude, shape.correlation_length, shape.share, shape.near_far
    )


def _priors(card: Card, truth: OscillationParameters, source: str) -> Mapping[str, Prior]:
    in_card_units = truth._asdict() | {"dcp": truth.dcp * 180.0 / pi}
    if not card.far.file:
        conflict = prior_conflict(card.priors, in_card_units)
        if conflict is not None:
            raise InputError.at(source, *conflict)
    variant, ordering = _variant(card), _ordering(float(np.asarray(truth.dm31)))
    best, errors = nufit_6_0(variant, ordering), nufit_6_0_errors(variant, ordering)
    out: dict[str, Prior] = {}
    for name, prior in card.priors.free().items():
        unit = pi / 180.0 if name == "dcp" else 1.0
        if isinstance(prior, FlatPrior):
            out[name] = Flat(prior.low * unit, prior.high * unit)
        elif isinstance(prior, NufitPrior):
            out[name] = Gaussian(getattr(best, name), getattr(errors, name))
        else:
            out[name] = Gaussian(prior.mean * unit, prior.sd * unit)
    return out
