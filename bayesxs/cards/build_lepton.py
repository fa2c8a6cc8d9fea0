"""From a card of samples in lepton kinematics to objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from bayesxs.cards.build_nature import build_nature
from bayesxs.cards.build_uncertainty import source_of_modes
from bayesxs.cards.counted import CountedCard, SimulatedData
from bayesxs.cards.lepton import LeptonConfiguration, MuonResponse
from bayesxs.detector.few_energies import SPLITTING
from bayesxs.detector.lepton import LeptonSamples
from bayesxs.detector.smearing import Acceptance, ResponseParameters
from bayesxs.experiment.beams import dune_experiment, learn_together
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.learn import Training
from bayesxs.experiment.lepton import Chosen, lepton_samples
from bayesxs.experiment.near import NearData
from bayesxs.experiment.settings import GaussianDetector, Grid
from bayesxs.inputs.globes.dune import MASS, MEGAWATT
from bayesxs.keys import Purpose, derive
from bayesxs.learning.training import Schedule

_MODES: Final[tuple[Literal["neutrino", "antineutrino"], ...]] = ("neutrino", "antineutrino")
_NEUTRINOS: Final = (12, 14, -12, -14)


def build_lepton_samples(
    card: CountedCard, own: LeptonConfiguration, progress: bool = False
) -> LeptonSamples:
    """Return the samples that a card fits, and with them those of nature.

    Args:
        card: the analysis.
        own: its configuration.
        progress: show bars where networks are trained.

    Raises:
        InputError: a PDF set is not found.
    """
    beams = build_beams(card, own)
    if own.cross_section != "learned":
        return samples_of_beams(card, own, beams, own.cross_section)
    learned = learn_together(
        build_near(card, own, beams),
        training=build_training(own),
        uncertainty=source_of_modes(card.uncertainty),
        key=card.seed,
        progress=progress,
    )
    return samples_of_beams(card, own, beams, learned)


def samples_of_beams(
    card: CountedCard, own: LeptonConfiguration, beams: Sequence[Experiment], chosen: Chosen
) -> LeptonSamples:
    """Return the samples of a card's beams, fitted with a cross section of these."""
    factor = own.power_MW / MEGAWATT * own.mass_kt / MASS
    assert card.nature is not None
    return lepton_samples(
        beams,
        chosen,
        years=factor * own.neutrino_years,
        antineutrino_years=factor * own.antineutrino_years,
        nucleons=float(card.nature.protons + card.nature.neutrons),
        detectors={"mu": build_response(own.muons), "e": build_response(own.electrons)},
        splitting=max(SPLITTING, 1.2 * card.ranges.dm31[1]),
    )


def build_response(own: MuonResponse) -> GaussianDetector:
    """Return how the far detector sees a kind of lepton."""
    angle = float(np.deg2rad(own.angle_resolution_deg))
    return GaussianDetector(
        ResponseParameters(0.0, own.energy_resolution, angle),
        acceptance=Acceptance(own.threshold_GeV, own.efficiency, own.turn_on_GeV),
        stochastic=own.stochastic_resolution,
    )


def build_beams(card: CountedCard, own: LeptonConfiguration) -> list[Experiment]:
    """Return both beams.

    Raises:
        InputError: a PDF set is not found.
    """
    assert card.nature is not None
    nature = build_nature(card.nature, _NEUTRINOS, card.seed)
    assumed = None
    if card.assumed is not None:
        assumed = build_nature(card.assumed, _NEUTRINOS, card.seed)
    g = card.grid
    bins = (own.lepton_energies, own.angles)
    grid = Grid(g.energy_order, g.lepton_energies, g.z, g.nodes_x, g.nodes_q2, bins, g.x_max)
    return [dune_experiment(mode, nature, assumed=assumed, grid=grid) for mode in _MODES]


def build_near(
    card: CountedCard, own: LeptonConfiguration, beams: Sequence[Experiment]
) -> list[NearData]:
    """Return the near data of each beam that cross sections are learned from."""
    fitted = ("mu", "anti_mu") if own.near == "muons" else ()
    if own.near_events == "infinite":
        return [beam.near_data(samples=fitted) for beam in beams]
    near = [
        beam.near_data(
            events=_near_events(beam, float(own.near_events)),
            key=derive(card.seed, Purpose.NEAR, number),
            samples=fitted,
        )
        for number, beam in enumerate(beams)
    ]
    return near if isinstance(card.data, SimulatedData) else [data.expected() for data in near]


def _near_events(beam: Experiment, most: float) -> dict[str, float]:
    """Return the near events of each target, in proportion to their rates."""
    rates = {
        target.name: float(beam.geometry(target).true_total @ target.near_flux)
        for target in beam.unique_targets
    }
    return {name: most * rate / max(rates.values()) for name, rate in rates.items()}


def build_training(own: LeptonConfiguration) -> Training:
    """Return how the networks are trained: one of five functions for each helicity."""
    schedule = Schedule(0, 1e-3, 0, gauss_newton_steps=own.gauss_newton_steps)
    return Training(schedule=schedule, share="helicity")
