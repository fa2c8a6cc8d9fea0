"""Settings of the stages of a run, besides the experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bayesxs.cards.build import build_sampler, build_training, build_uncertainty
from bayesxs.cards.card import Card
from bayesxs.experiment.learn import Training
from bayesxs.experiment.uncertainty import Uncertainty
from bayesxs.inference.sampling import SamplerSettings


@dataclass(frozen=True)
class FarSource:
    """Where far-detector events come from.

    Attributes:
        events: number to simulate.
        file: of events in their place; empty for none.
        impossible: what becomes of events that no neutrino of the beam can make.
        binned_above: events of a sample above which they are counted in bins.
    """

    events: int
    file: str
    impossible: Literal["refuse", "drop"]
    binned_above: int


@dataclass(frozen=True)
class RunSettings:
    """Hold what a card says to stages.

    Attributes:
        seed: of every random number.
        training: of the networks.
        weights: file of trained networks in place of training.
        uncertainty: source of cross-section modes.
        far: source of far-detector events.
        sampler: chains.
        marginalize_octant: sum over the octant exactly.
        replicas: of the bootstrap.
        predictive_draws: posterior draws of which spectra are replicated.
        simulated: whether the truth makes all data.
    """

    seed: int
    training: Training
    weights: Path | None
    uncertainty: Uncertainty
    far: FarSource
    sampler: SamplerSettings
    marginalize_octant: bool
    replicas: int
    predictive_draws: int
    simulated: bool


def run_settings(card: Card) -> RunSettings:
    """Return the settings of a card's run."""
    return RunSettings(
        card.seed,
        build_training(card),
        Path(card.network.weights) if card.network.weights else None,
        build_uncertainty(card),
        FarSource(card.far.events, card.far.file, card.far.impossible, card.far.binned_above),
        build_sampler(card),
        card.sampler.octant == "marginalized",
        card.bootstrap.replicas,
        card.report.predictive_draws,
        card.simulated,
    )
