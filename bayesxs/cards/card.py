"""The analysis card: every choice of a run as frozen, strictly typed models, read from TOML.

A card is laid over a preset, and the preset over the defaults below; overrides lie over them all.
Nothing here imports JAX, so a mistyped card is refused before anything slow starts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from bayesxs.cards.beam import BeamCard, FluxShape, FluxShapeFile, NoFluxShape, ParametricFluxShape
from bayesxs.cards.bundled import find_card
from bayesxs.cards.campaign import Campaign, CoverageCampaign, EnsembleCampaign
from bayesxs.cards.cardfile import Table, merge, read_toml
from bayesxs.cards.counted import MARK, CountedCard
from bayesxs.cards.detector import GaussianResponse, GridCard, NoResponse
from bayesxs.cards.faults import one_line
from bayesxs.cards.inference import BootstrapCard, ReportCard, SamplerCard
from bayesxs.cards.nature import EventsCard, NatureCard, QuarkPartonCard, typed
from bayesxs.cards.network import NetworkCard, TrainingCard
from bayesxs.cards.oscillation import OscillationCard, Parameter
from bayesxs.cards.overrides import nested, plain_table
from bayesxs.cards.presets import PRESETS
from bayesxs.cards.priors import FlatPrior, NormalPrior, NufitPrior, PriorsCard
from bayesxs.cards.samples import FarCard, NearCard, SampleCard
from bayesxs.cards.section import KINDED, TYPED, Section, conflict
from bayesxs.cards.uncertainty import (
    CertainCard,
    EnsembleCard,
    GaussianProcessCard,
    LaplaceCard,
    ModesFileCard,
)
from bayesxs.cards.wording import nearest, show
from bayesxs.errors import InputError, words
from bayesxs.storage.inner import InnerPath

# Keys that hold a path, resolved against the folder of the card that writes them.
_PATH_KEYS: Final = (
    ("network", "weights"),
    ("near", "file"),
    ("far", "file"),
    ("beam", "flux", "path"),
    ("beam", "far_flux", "path"),
    ("nature", "path"),
    ("assumed", "path"),
    ("nature", "pdf", "name"),
    ("assumed", "pdf", "name"),
    ("uncertainty", "path"),
    ("flux_shape", "path"),
)

# Near-detector events that are drawn one by one at most
MOST_UNBINNED: Final = 10_000_000

# Near events below which their bins are too empty for the Gaussian likelihood of a joint model:
# about sixteen in each bin of the default grid
LEAST_JOINT: Final = 100_000

_OF_SAMPLES: Final = (
    "a card of samples: `bayesxs run`, `sensitivity` and `campaign` take "
    "it, in Python bayesxs.infer, bayesxs.sensitivity and bayesxs.campaign"
)


class Card(Section):
    """A whole analysis. Frozen; `load_card` reads it, `to_toml` writes it.

    Example:
        >>> bayesxs.Card(seed=7).far.events
        6200
    """

    preset: Literal["quick", "default", "paper"] = "default"
    """Values of the keys that the card leaves out."""
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Seed of every random number."""
    oscillation: OscillationCard = OscillationCard()
    """True oscillation parameters and baseline."""
    nature: NatureCard = QuarkPartonCard()
    """Cross section that makes the data."""
    beam: BeamCard = BeamCard()
    """Beam and energy range."""
    # TOML has lists, not tuples: only the container is taken leniently
    sample: Annotated[tuple[SampleCard, ...], Field(strict=False, min_length=1)] = (SampleCard(),)
    """Kinds of counted events; the likelihood is their product."""
    grid: GridCard = GridCard()
    """Quadrature and interpolation."""
    network: NetworkCard = NetworkCard()
    """Network of the structure functions."""
    training: TrainingCard = TrainingCard()
    """Training of the network."""
    near: NearCard = NearCard()
    """Near-detector data."""
    far: FarCard = FarCard()
    """Far-detector data."""
    uncertainty: Annotated[
        CertainCard | EnsembleCard | GaussianProcessCard | LaplaceCard | ModesFileCard,
        Field(discriminator="type"),
        TYPED,
    ] = CertainCard()
    """Uncertainty of the cross section that near-detector data leave."""
    flux_shape: Annotated[
        NoFluxShape | ParametricFluxShape | FluxShapeFile, Field(discriminator="type"), TYPED
    ] = NoFluxShape()
    """Uncertainty of the flux."""
    response: Annotated[NoResponse | GaussianResponse, Field(discriminator="type"), TYPED] = (
        NoResponse()
    )
    """Detector response."""
    assumed: NatureCard | None = None
    """Cross section that an analyst assumes instead of learning one; none by default."""
    priors: PriorsCard = PriorsCard(
        dm31=FlatPrior(low=2.0e-3, high=3.0e-3), s2_23=FlatPrior(low=0.0, high=1.0)
    )
    """Sampled oscillation parameters; those left out stay at the truth."""
    sampler: SamplerCard = SamplerCard()
    """No-U-Turn sampler."""
    bootstrap: BootstrapCard = BootstrapCard()
    """Bootstrap of the maximum-likelihood estimate."""
    report: ReportCard = ReportCard()
    """Figures and tables."""
    campaign: Annotated[Campaign, Field(discriminator="kind"), KINDED] | None = None
    """Pseudo-experiments for `bayesxs campaign`; none by default."""

    @model_validator(mode="before")
    @classmethod
    def _same_form(cls, data: object) -> object:
        # What is assumed differs from nature in what the card says, not in the preset's form
        if not isinstance(data, dict):
            return data
        nature, assumed = (typed(data.get(key)) for key in ("nature", "assumed"))
        if not (isinstance(nature, dict) and isinstance(assumed, dict) and "form" in nature):
            return data
        if nature["type"] != assumed["type"]:
            return data
        return {**data, "assumed": {"form": nature["form"], **assumed}}

    @property
    def simulated(self) -> bool:
        """Whether all data are simulated, so that the true cross section is known."""
        return not (self.near.file or self.far.file)

    @model_validator(mode="after")
    def _check(self) -> Card:
        if not self.priors.free():
            raise conflict("priors", "{}", f"at least one of {', '.join(PriorsCard.model_fields)}")
        if len(set(self.sample)) < len(self.sample):
            raise conflict("sample", f"{len(self.sample)} entries", "each sample once")
        method = self.training.method
        if method != "adam" and self.network.precision == "float32":
            allowed = f'must be "float64" with training.method = "{method}"'
            raise conflict("network.precision", '"float32"', allowed)
        for found in (
            prior_conflict(self.priors, self.oscillation.given()),
            *_coverage_conflicts(self),
            _samples_conflict(self),
            _unbinned_conflict(self),
            _uncertainty_conflict(self),
            _campaign_conflict(self),
        ):
            if found is not None:
                raise conflict(*found)
        return self


def _campaign_conflict(card: Card) -> tuple[str, object, str] | None:
    """Return (key, value, allowed) of a campaign that needs a true cross section."""
    plan = card.campaign
    if isinstance(card.nature, EventsCard) and isinstance(plan, EnsembleCampaign):
        allowed = 'another kind: networks are judged by structure functions, nature.type = "events"'
        return "campaign.kind", '"ensemble"', f"{allowed} has none"
    return None


def _samples_conflict(card: Card) -> tuple[str, object, str] | None:
    """Return (key, value, allowed) where near samples are left out that nothing else replaces."""
    if card.near.samples and card.network.share == "none":
        return "near.samples", list(card.near.samples), 'none without network.share = "helicity"'
    return None


def _unbinned_conflict(card: Card) -> tuple[str, object, str] | None:
    """Return (key, value, allowed) of what cannot go with events taken one by one."""
    if card.training.loss != "unbinned":
        return None
    near, said = card.near, 'with training.loss = "unbinned"'
    if isinstance(card.response, GaussianResponse):
        return "response.type", f'"{card.response.type}"', f'"none" {said}'
    if card.network.head == "unconstrained":
        return "network.head", '"unconstrained"', f"a positive one {said}"
    simulated = not (near.file or isinstance(card.nature, EventsCard))
    if simulated and (near.events == "infinite" or near.events > MOST_UNBINNED):
        shown = f'"{near.events}"' if near.events == "infinite" else near.events
        return "near.events", shown, f"a number up to {MOST_UNBINNED} {said}"
    return None


def _uncertainty_conflict(card: Card) -> tuple[str, object, str] | None:
    """Return (key, value, allowed) of the first choice that its source of modes cannot meet."""
    source, members = card.uncertainty, card.network.members
    shared = CertainCard | EnsembleCard | GaussianProcessCard
    if card.network.share != "none" and not isinstance(source, shared):
        allowed = '"none", "ensemble" or "gaussian_process"'
        allowed = f'{allowed} with network.share = "{card.network.share}"'
        return "uncertainty.type", f'"{source.type}"', allowed
    if card.near.samples and not isinstance(source, CertainCard | GaussianProcessCard):
        allowed = '"none" or "gaussian_process" where near.samples leaves near data out'
        return "uncertainty.type", f'"{source.type}"', allowed
    if isinstance(source, EnsembleCard):
        if members < 2:
            allowed = 'at least 2 with uncertainty.type = "ensemble"'
            return "network.members", members, allowed
        if source.modes is not None and source.modes > members - 1:
            allowed = f"at most {members - 1}, one less than network.members = {members}"
            return "uncertainty.modes", source.modes, allowed
    elif isinstance(source, LaplaceCard) and members != 1:
        return "network.members", members, '1 with uncertainty.type = "laplace"'
    if isinstance(source, GaussianProcessCard) and source.joint:
        return _joint_conflict(card)
    if isinstance(card.flux_shape, FluxShape) and isinstance(source, CertainCard | ModesFileCard):
        allowed = (
            "ensemble, gaussian_process or laplace: the learned cross section follows the flux"
        )
        return "uncertainty.type", f'"{source.type}"', f"with flux_shape must be {allowed}"
    return None


def _joint_conflict(card: Card) -> tuple[str, object, str] | None:
    """Return (key, value, allowed) of a joint model that the rest of the card does not allow."""
    events, allowed = card.near.events, ""
    if not isinstance(card.flux_shape, FluxShape):
        allowed = 'false without an uncertain flux: add flux_shape.type = "parametric" or "file"'
    elif isinstance(card.response, GaussianResponse) and card.response.correlated:
        allowed = (
            "false with response.correlated = true: near data are not linear in a response that "
            "both detectors share; set either to false"
        )
    elif card.network.share != "none":
        allowed = (
            f'false with network.share = "{card.network.share}": leptons then share their '
            'uncertainty; set network.share = "none"'
        )
    elif card.campaign is not None:
        allowed = "false with campaign: pseudo-experiments have no near data of their own"
    elif not card.near.file and events != "infinite" and events < LEAST_JOINT:
        allowed = (
            f"at least {LEAST_JOINT} with uncertainty.joint = true, which takes near counts as "
            "Gaussian; set joint to false for fewer"
        )
        return "near.events", events, allowed
    return ("uncertainty.joint", "true", allowed) if allowed else None


def _coverage_conflicts(card: Card) -> Iterator[tuple[str, object, str]]:
    """Yield (key, value, allowed) of true values of a coverage campaign that priors exclude."""
    plan = card.campaign
    if not isinstance(plan, CoverageCampaign):
        return
    for name in ("s2_23", "dm31"):
        if name not in card.priors.free():
            yield f"priors.{name}", "none", "coverage is that of its intervals: it must be free"
        for value in getattr(plan, name):
            found = prior_conflict(card.priors, {name: value})
            if found is not None:
                key, shown, _ = found
                yield f"campaign.{name}", value, f"must be what {key} = {shown} allows"


def differing_keys(first: Card, second: Card) -> list[str]:
    """Return the dotted keys in which two cards differ, in alphabetical order."""
    one, other = (dotted(card.model_dump(mode="json")) for card in (first, second))
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def dotted(table: Mapping[str, object], prefix: str = "") -> Table:
    """Return the values of a nested table under dotted keys."""
    flat: Table = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def prior_conflict(
    priors: PriorsCard, truth: Mapping[Parameter, float]
) -> tuple[str, str, str] | None:
    """Return (key, value, allowed) of the first prior that excludes its parameter's true value.

    The truth is in card units: eV^2, dcp in degrees. Parameters that it lacks are not checked.
    """
    for name, prior in priors.free().items():
        value = truth.get(name)
        if value is None or isinstance(prior, NufitPrior):
            continue
        if isinstance(prior, NormalPrior):
            if name == "dm31" and prior.mean * value < 0.0:
                allowed = f"must have the sign of the true value {value:g}"
                return f"priors.{name}.mean", f"{prior.mean:g}", allowed
            continue
        turns = (-360.0, 0.0, 360.0) if name == "dcp" else (0.0,)
        if not any(prior.low <= value + turn <= prior.high for turn in turns):
            shown = f"[{prior.low:g}, {prior.high:g}]"
            return f"priors.{name}", shown, f"must contain the true value {value:g}"
    return None


def load_card(
    card: str | os.PathLike[str] | Card | Mapping[str, object] | None = None,
    preset: str | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Card:
    """Read a card, lay it over its preset and lay overrides over it.

    `preset` wins over the card's own ``preset`` key; keys written in the card win over the
    preset's. Relative paths count from the card's folder in a file, else from the working folder,
    and come out absolute; environment variables in paths are put in.

    Args:
        card: path of a TOML file or the name of a bundled card; its tables as a mapping; a `Card`;
            the preset alone if None.
        preset: "quick", "default" or "paper". A `Card` has its own.
        overrides: values of keys, e.g. {"far.events": 1000}.

    Raises:
        InputError: unreadable file, broken TOML, unknown name or key, wrong type, value out of
            range, values that contradict each other, or a card of samples.

    Example:
        >>> bayesxs.load_card(preset="quick", overrides={"far.events": 1000}).far.events
        1000
    """
    written, source, folder = _written(card)
    if MARK in written:
        raise InputError(f"{source}: {MARK}: {_OF_SAMPLES}")
    changes = nested(overrides or {})
    name: object
    if preset is not None:
        where, name = words().preset, preset
    elif "preset" in changes:
        where, name = words().overrides, changes["preset"]
    else:
        where, name = source, written.get("preset", "default")
    if not isinstance(name, str) or name not in PRESETS:
        allowed = f"one of {', '.join(PRESETS)}{nearest(name, PRESETS)}"
        raise InputError.at(where, "preset", show(name), allowed)
    if isinstance(card, Card) and name != card.preset:
        allowed = f"a Card has every key: it keeps its own, {show(card.preset)}"
        raise InputError.at(where, "preset", show(name), allowed)
    _absolute_paths(written, folder)
    _absolute_paths(changes, Path.cwd())
    if "priors" in changes and "priors" not in written:
        written["priors"] = Card().priors.model_dump(exclude_none=True)
    below = _with_types(merge(_with_types(PRESETS[name]), written))
    data = _with_types(merge(below, changes)) | {"preset": name}
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        raise one_line(error, data, changes, source) from None


def _with_types(table: Mapping[str, object]) -> Table:
    """Name the type of the cross sections in a raw table that leaves it out."""
    return {k: typed(v) if k in ("nature", "assumed") else v for k, v in table.items()}


def _written(card: object) -> tuple[Table, str, Path]:
    """Return the tables of a card, its name in messages, and the folder of its relative paths."""
    if card is None:  # the presets are valid: any fault lies in the overrides
        return {}, words().overrides, Path.cwd()
    if isinstance(card, Card | CountedCard):
        return card.model_dump(exclude_none=True), "card", Path.cwd()
    if isinstance(card, Mapping):
        return plain_table(card, "card"), "card", Path.cwd()
    if not isinstance(card, str | os.PathLike):
        allowed = "must be a path, the name of a bundled card, a mapping, or a Card"
        raise InputError(f"card: {show(card)}: {allowed}")
    path = card if isinstance(card, InnerPath) else find_card(card)
    return read_toml(path), os.fspath(path), Path(path).absolute().parent


def to_toml(card: Card) -> str:
    """Return the card with every key written out, as TOML that `load_card` reads back unchanged."""
    return tomli_w.dumps(card.model_dump(exclude_none=True))


def _absolute_paths(table: Table, folder: Path) -> None:
    """Make the paths in a raw table absolute, in place; leave what is no path for validation."""
    for *parents, key in _PATH_KEYS:
        section: object = table
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict) or not isinstance(section.get(key), str):
            continue
        value = section[key]
        # A PDF set is a name unless it is written as a path; an empty string means "no file".
        if value and (key != "name" or "/" in value or value.startswith(("~", "."))):
            expanded = os.path.expanduser(os.path.expandvars(value))
            section[key] = os.path.abspath(folder / expanded)
