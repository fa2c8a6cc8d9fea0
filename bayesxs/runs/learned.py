"""Samples of a card in a folder: a cross section that is learned is kept there, as stages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from bayesxs.cards.build_counted import build_samples
from bayesxs.cards.build_lepton import build_beams, build_near, build_training, samples_of_beams
from bayesxs.cards.build_nature import nature_files
from bayesxs.cards.build_uncertainty import source_of_modes
from bayesxs.cards.counted import (
    CountedCard,
    SimulatedData,
    counted_toml,
    is_counted,
    load_counted_card,
)
from bayesxs.cards.lepton import LeptonConfiguration
from bayesxs.detector.samples import CountedSamples
from bayesxs.errors import InputError, words
from bayesxs.experiment.cross_section import LearnedCrossSection, read_cross_section
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.near import NearData
from bayesxs.experiment.shared import learned_cross_sections
from bayesxs.experiment.uncertainty import Uncertainty
from bayesxs.learning.gaussian_process import STEPS
from bayesxs.progress import Reporter, Update
from bayesxs.runs.pipeline import DATA_VERSION, device
from bayesxs.runs.training import NETWORK, pinned_stage, train_stage, trained_networks
from bayesxs.storage.atomic import write_text
from bayesxs.storage.inner import present
from bayesxs.storage.manifest import package_version
from bayesxs.storage.run_folder import CONFIG, RunFolder, Stage, content_key


class _Keys(NamedTuple):
    """Content keys of the stages that learn."""

    train: str
    uncertainty: str


def card_samples(card: CountedCard, opened: RunFolder, reporter: Reporter) -> CountedSamples:
    """Return the samples that a card fits.

    A cross section that is to be learned is learned as the stages train and uncertainty of the
    folder, unless they are there. Otherwise nothing is written.

    Raises:
        InputError: bad input, before anything is written.
    """
    own = learned_configuration(card)
    if own is None:
        return build_samples(card)
    return samples_of_beams(card, own, *_beams(card, own, opened, reporter))


def begin(card: CountedCard, opened: RunFolder) -> None:
    """Write the card and what it is computed on into a folder."""
    write_text(opened.path / CONFIG, counted_toml(card))
    opened.record(device=device(), seeds={"seed": card.seed})


def train_counted(
    card: CountedCard, folder: Path, *, resume: bool = False, progress: bool = True
) -> Path:
    """Learn the cross section of a card of samples, and return the path of its networks.

    Args:
        card: the analysis.
        folder: new, or with `resume` one that holds a run of this card.
        resume: keep what is there.
        progress: show bars.

    Raises:
        InputError: bad input, or a card that learns nothing.
    """
    own = learned_configuration(card)
    if own is None:
        allowed = 'with type = "lepton" and cross_section = "learned": nothing else is trained'
        raise InputError.at("train", "configuration.type", str(card.configuration.type), allowed)
    with RunFolder.create(folder, resume=resume) as opened:
        refuse_changes(card, opened)
        _beams(card, own, opened, Reporter(progress))
        return opened.output(NETWORK)


def learned_configuration(card: CountedCard) -> LeptonConfiguration | None:
    """Return the configuration of a card whose cross section is learned; None of others."""
    own = card.configuration
    learned = isinstance(own, LeptonConfiguration) and own.cross_section == "learned"
    return own if learned else None  # type: ignore[return-value]


def upstream(card: CountedCard) -> dict[str, str]:
    """Return the content keys of stages that a card's results depend on, for their own key."""
    own = learned_configuration(card)
    return {} if own is None else {"uncertainty": _keys(card, own).uncertainty}


def refuse_changes(card: CountedCard, opened: RunFolder) -> None:
    """Refuse a folder that was made with another card.

    Raises:
        InputError: it was.
    """
    config = opened.path / CONFIG
    if not present(config):
        return
    if not is_counted(config) or load_counted_card(config) != card:
        raise InputError(f"{opened.path}: was made with another card: choose another {words().out}")


def _keys(card: CountedCard, own: LeptonConfiguration) -> _Keys:
    """Return the keys of what is learned: exposure, truth and far bins do not enter."""
    assert card.nature is not None
    weights = [Path(own.weights)] if own.weights else []
    whole = card.model_dump(mode="json")
    sections = {name: whole[name] for name in ("seed", "nature", "grid")}
    chosen = {"near": own.near, "gauss_newton_steps": own.gauss_newton_steps}
    if own.near_events != "infinite":
        drawn = isinstance(card.data, SimulatedData)
        chosen |= {"near_events": own.near_events, "fluctuate": drawn}
    train = content_key(
        "train",
        sections=sections | {"configuration": chosen},
        files=[*nature_files(card.nature), *weights],
        versions={"bayesxs": package_version(), "data": DATA_VERSION},
    )
    source = {name: whole[name] for name in ("uncertainty",) if card.uncertainty.type != "none"}
    return _Keys(train, content_key("uncertainty", sections=source, upstream={"train": train}))


def _beams(
    card: CountedCard, own: LeptonConfiguration, opened: RunFolder, reporter: Reporter
) -> tuple[list[Experiment], list[LearnedCrossSection]]:
    """Return both beams and what is learned of each."""
    beams = build_beams(card, own)
    near = build_near(card, own, beams)
    begin(card, opened)
    return beams, _learned(card, own, near, opened, reporter)


def _learned(
    card: CountedCard,
    own: LeptonConfiguration,
    near: Sequence[NearData],
    opened: RunFolder,
    reporter: Reporter,
) -> list[LearnedCrossSection]:
    """Bring both stages up to date, and read what they left."""
    keys = _keys(card, own)

    def train(stage: Stage) -> None:
        if own.weights:
            pinned_stage(near, Path(own.weights), stage)
        else:
            train_stage(near, build_training(own), card.seed, stage, reporter)

    def uncertainty(stage: Stage) -> None:
        _uncertainty(source_of_modes(card.uncertainty), near, opened, stage, reporter)

    for name, key, carry_out in (
        ("train", keys.train, train),
        ("uncertainty", keys.uncertainty, uncertainty),
    ):
        if opened.stage_is_current(name, key):
            reporter.line(f"{name}: up to date")
            continue
        with opened.stage(name, key) as stage:
            carry_out(stage)
        reporter.line(f"{name}: {opened.stages[name]['seconds']:.1f} s")
    return [
        read_cross_section(opened.output(_file_of(n.experiment)), n.experiment.nodes) for n in near
    ]


def _uncertainty(
    source: Uncertainty,
    near: Sequence[NearData],
    opened: RunFolder,
    stage: Stage,
    reporter: Reporter,
) -> None:
    """Write the cross section of each beam, and what near data leave open of it."""

    def bar(name: str) -> AbstractContextManager[Update]:
        return reporter.bar(f"cross-section modes, {name}", STEPS)

    networks = trained_networks(near, opened.output(NETWORK))
    found = learned_cross_sections(near, networks, source, bar, shared=True, rates=True)
    for own, learned in zip(near, found, strict=True):
        learned.save(stage.output(_file_of(own.experiment)))


def _file_of(beam: Experiment) -> str:
    return f"cross_section_{beam.samples[0].beam}.nc"
