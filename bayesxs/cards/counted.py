"""The card of samples: `bayesxs sensitivity` and `run` take it.

It is told from the card of a learned cross section by its table `[configuration]`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import tomli_w
from pydantic import Field, ValidationError, model_validator

from bayesxs.cards.beam import FluxShapeFile, NoFluxShape, ParametricFluxShape
from bayesxs.cards.bundled import find_card
from bayesxs.cards.cardfile import Table, merge, read_toml
from bayesxs.cards.counted_campaign import CountedCampaign
from bayesxs.cards.detector import GridCard
from bayesxs.cards.faults import one_line
from bayesxs.cards.lepton import LeptonConfiguration, RatedNature, Years
from bayesxs.cards.oscillation import MixingCard
from bayesxs.cards.overrides import nested, plain_table
from bayesxs.cards.section import KINDED, TYPED, Section, conflict
from bayesxs.cards.uncertainty import CertainCard, GaussianProcessCard
from bayesxs.errors import InputError
from bayesxs.storage.inner import InnerPath

MARK: Final = "configuration"
_PATH_KEYS: Final = (
    (MARK, "path"),
    (MARK, "weights"),
    ("flux_shape", "path"),
    ("data", "path"),
)

Points = Annotated[int, Field(ge=2, le=1000)]


class DuneConfiguration(Section):
    """DUNE's far detector as published with its TDR (arXiv:2103.04797), embedded."""

    type: Literal["dune"] = "dune"
    """The embedded configuration: four samples, 32 channels, nine normalisations."""
    neutrino_years: Years = 6.5
    """Years in neutrino mode, of 56 % up-time."""
    antineutrino_years: Years = 6.5
    """Years in antineutrino mode."""
    mass_kt: Annotated[float, Field(gt=0, le=1e6)] = 40.0
    """Fiducial mass [kt]."""
    power_MW: Annotated[float, Field(gt=0, le=1e3)] = 1.2
    """Power of the beam [MW]."""

    @property
    def years(self) -> float:
        """Years in both modes."""
        return self.neutrino_years + self.antineutrino_years


class GlobesConfiguration(Section):
    """A GLoBES experiment of one's own."""

    type: Literal["globes"] = "globes"
    """An AEDL file, and the files of its folder that it names."""
    path: Annotated[str, Field(min_length=1)]
    """Path of the AEDL file."""
    exposure: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Exposure over that of the file."""


class TruthCard(MixingCard):
    """True oscillation parameters; one given here overrides the named set's."""

    parameters: Literal["dune-tdr", "nufit-6.0-ic24", "nufit-6.0-ic19"] = "dune-tdr"
    """Values of what is not written here.

    `dune-tdr`: NuFIT 4.0 as in the published configuration, with dcp = 0.
    """
    ordering: Literal["normal", "inverted"] = "normal"
    """True mass ordering."""
    density_g_cm3: Annotated[float, Field(ge=0, le=20)] | None = None
    """Density of the matter on the way; that of the configuration if none [g/cm³]."""

    @model_validator(mode="after")
    def _check(self) -> TruthCard:
        if self.dm31 is not None and (self.dm31 > 0.0) != (self.ordering == "normal"):
            sign = "above 0" if self.ordering == "normal" else "below 0"
            raise conflict("dm31", self.dm31, f'must be {sign} with ordering = "{self.ordering}"')
        return self


class ScanCard(Section):
    """Scans of `bayesxs sensitivity`."""

    # TOML has lists, not tuples: only the container is taken leniently
    quantities: Annotated[
        tuple[Literal["cp_violation", "ordering", "resolution", "octant"], ...],
        Field(strict=False, min_length=1),
    ] = ("cp_violation", "ordering", "resolution", "octant")
    """Over the true phase `cp_violation`, `ordering`, `resolution` of dCP; over s2_23 `octant`."""
    dcp_values: Points = 37
    """True phases, from -180 to 180 degrees."""
    s2_23_values: Points = 21
    """True values of sin²θ₂₃."""
    s2_23_low: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Lowest of them."""
    s2_23_high: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Highest of them."""

    @model_validator(mode="after")
    def _check(self) -> ScanCard:
        if not self.s2_23_low < self.s2_23_high:
            allowed = f"must be below s2_23_high = {self.s2_23_high:g}"
            raise conflict("s2_23_low", self.s2_23_low, allowed)
        if len(set(self.quantities)) < len(self.quantities):
            raise conflict("quantities", list(self.quantities), "each once")
        return self


class ExpectedData(Section):
    """Expectation of the truth, without fluctuations (Asimov data)."""

    type: Literal["expected"] = "expected"
    """Expected counts."""


class SimulatedData(Section):
    """A draw of the counts."""

    type: Literal["simulated"] = "simulated"
    """Simulated counts, drawn with the card's seed."""


class CountsFile(Section):
    """Counts of an experiment."""

    type: Literal["file"] = "file"
    """A CSV file of counts."""
    path: Annotated[str, Field(min_length=1)]
    """Path of a file with the columns sample, energy_low_GeV, energy_high_GeV and counts."""


Range = Annotated[tuple[float, float], Field(strict=False)]


class RangesCard(Section):
    """Flat priors of the parameters that have no Gaussian constraint; dcp is uniform."""

    s2_12: Range = (0.2, 0.4)
    """Range of sin²θ₁₂."""
    s2_13: Range = (0.005, 0.05)
    """Range of sin²θ₁₃."""
    s2_23: Range = (0.3, 0.7)
    """Range of sin²θ₂₃, with one half inside."""
    dm21: Range = (6.5e-5, 8.5e-5)
    """Range of Δm²₂₁ [eV²]."""
    dm31: Range = (2.2e-3, 2.8e-3)
    """Range of the size of Δm²₃₁ − sin²θ₁₂ Δm²₂₁, in either ordering [eV²]."""

    @model_validator(mode="after")
    def _check(self) -> RangesCard:
        for name in type(self).model_fields:
            low, high = getattr(self, name)
            if not 0.0 < low < high < 1.0:
                size = ": the size in either ordering, both are sampled" if name == "dm31" else ""
                raise conflict(name, [low, high], f"low < high, between 0 and 1{size}")
        if not self.s2_23[0] < 0.5 < self.s2_23[1]:
            raise conflict("s2_23", list(self.s2_23), "0.5 must lie inside")
        return self


class ChainsCard(Section):
    """The No-U-Turn sampler, for each ordering and octant."""

    chains: Annotated[int, Field(ge=1, le=1000)] = 4
    """Chains of each ordering and octant."""
    warmup: Annotated[int, Field(ge=10, le=1_000_000)] = 1000
    """Steps in which a chain adapts, before its draws count."""
    draws: Annotated[int, Field(ge=10, le=1_000_000)] = 1000
    """Draws of each chain."""
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Acceptance probability to which the step size adapts."""


class CountedCard(Section):
    """An analysis of samples. Frozen; `load_counted_card` reads it."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    """Seed of every random number."""
    configuration: Annotated[
        DuneConfiguration | GlobesConfiguration | LeptonConfiguration,
        Field(discriminator="type"),
        TYPED,
    ]
    """Detector, beam and exposure."""
    nature: RatedNature | None = None
    """Cross section that makes the data in lepton kinematics (`configuration.type = "lepton"`)."""
    assumed: RatedNature | None = None
    """Cross section that an analyst would assume there."""
    grid: GridCard = GridCard()
    """Grids on which cross sections are learned there."""
    uncertainty: Annotated[
        CertainCard | GaussianProcessCard, Field(discriminator="type"), TYPED
    ] = CertainCard()
    """Uncertainty that near data leave of the cross section learned there."""
    truth: TruthCard = TruthCard()
    """True oscillation parameters."""
    constraints: Literal["published", "reactor", "solar", "none"] = "published"
    """Gaussian constraints of other experiments, around the truth.

    `published`: 2.3 % of θ₁₂, 1.5 % of θ₁₃, 4.1 % of θ₂₃, 2.8 % of Δm²₂₁, 1.3 % of Δm²₃₁, 2 % of
    the density. `reactor`: without θ₂₃ and Δm²₃₁. `solar`: without θ₁₃ too. `none`: the density.
    """
    flux_shape: Annotated[
        NoFluxShape | ParametricFluxShape | FluxShapeFile, Field(discriminator="type"), TYPED
    ] = NoFluxShape()
    """Uncertainty of the shape of every flux, each on its own."""
    energy_scale: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    """Relative error of the scale of reconstructed energy, for the samples of each lepton.

    Of each of three terms at 2.5 GeV: a constant, a root and an inverse root of the energy.
    """
    likelihood: Literal["extended", "shape"] = "extended"
    """`extended`: Poisson counts of all bins. `shape`: bins given the total of each sample."""
    scan: ScanCard = ScanCard()
    """Scans of `bayesxs sensitivity`."""
    data: Annotated[
        ExpectedData | SimulatedData | CountsFile, Field(discriminator="type"), TYPED
    ] = ExpectedData()
    """Data of `bayesxs run`."""
    ranges: RangesCard = RangesCard()
    """Flat priors of `bayesxs run`."""
    sampler: ChainsCard = ChainsCard()
    """Sampler of `bayesxs run`."""
    campaign: Annotated[CountedCampaign, Field(discriminator="kind"), KINDED] | None = None
    """Pseudo-experiments for `bayesxs campaign`; none by default."""

    @model_validator(mode="after")
    def _check(self) -> CountedCard:
        shape = self.flux_shape
        if not isinstance(shape, NoFluxShape) and shape.near_far > 0.0:
            allowed = "must be 0: a card of samples has no near detector"
            raise conflict("flux_shape.near_far", shape.near_far, allowed)
        own = self.configuration
        if isinstance(own, DuneConfiguration | LeptonConfiguration) and own.years <= 0.0:
            key = f"{MARK}.neutrino_years"
            raise conflict(key, own.neutrino_years, "no exposure: one mode must have years")
        if isinstance(own, LeptonConfiguration):
            self._check_lepton(own)
        else:
            default = type(self).model_fields["grid"].default
            absences = (("nature", None), ("assumed", None), ("grid", default))
            for key, absent in (*absences, ("uncertainty", CertainCard())):
                if getattr(self, key) != absent:
                    allowed = f'only with {MARK}.type = "lepton"'
                    raise conflict(key, "given", allowed)
        return self

    def _check_lepton(self, own: LeptonConfiguration) -> None:
        """Check what belongs together in lepton kinematics."""
        if self.nature is None:
            raise conflict("nature", "(missing)", f'needed with {MARK}.type = "{own.type}"')
        if own.cross_section == "assumed" and self.assumed is None:
            allowed = "needs a table [assumed]"
            raise conflict(f"{MARK}.cross_section", f'"{own.cross_section}"', allowed)
        if own.cross_section != "learned" and self.uncertainty != CertainCard():
            allowed = f'"none" unless {MARK}.cross_section = "learned"'
            raise conflict("uncertainty.type", f'"{self.uncertainty.type}"', allowed)
        if isinstance(self.uncertainty, GaussianProcessCard) and self.uncertainty.joint:
            allowed = f'false with {MARK}.type = "{own.type}"'
            raise conflict("uncertainty.joint", "true", allowed)
        if own.weights and own.cross_section != "learned":
            allowed = f'none with {MARK}.cross_section = "{own.cross_section}"'
            raise conflict(f"{MARK}.weights", "given", allowed)
        said = f'with {MARK}.type = "{own.type}"'
        for key, given, needed, instead in (
            ("flux_shape.type", f'"{self.flux_shape.type}"', '"none"', "the shape of its flux"),
            ("energy_scale", f"{self.energy_scale:g}", "0", "an energy scale"),
        ):
            if given != needed:
                only = f'must be {needed} {said}; {MARK}.type = "dune" takes {instead}'
                raise conflict(key, given, only)
        if isinstance(self.data, CountsFile):
            instead = "in Python bayesxs.counted_likelihood(samples, counts) takes counts"
            allowed = f'"expected" or "simulated" {said}; {instead}'
            raise conflict("data.type", f'"{self.data.type}"', allowed)


type CountedCardLike = str | os.PathLike[str] | CountedCard | Mapping[str, object]


def is_counted(card: object) -> bool:
    """Tell whether a card is one of samples, by its table.

    Raises:
        InputError: an unreadable file, or broken TOML.
    """
    if isinstance(card, str | os.PathLike):
        card = read_toml(card if isinstance(card, InnerPath) else find_card(card))
    return isinstance(card, CountedCard) or (isinstance(card, Mapping) and MARK in card)


def load_counted_card(
    card: CountedCardLike, overrides: Mapping[str, object] | None = None
) -> CountedCard:
    """Read a card of samples, and lay overrides over it.

    Relative paths count from the card's folder in a file, else from the working folder.

    Args:
        card: path of a TOML file or the name of a bundled card; its tables as a mapping; a card.
        overrides: values of keys, e.g. {"scan.dcp_values": 19}.

    Raises:
        InputError: unreadable file, broken TOML, unknown key, wrong type, value out of range, or
            values that contradict each other; a card without `[configuration]`.
    """
    source, folder = "card", Path.cwd()
    if isinstance(card, CountedCard):
        written: Table = card.model_dump(exclude_none=True)
    elif isinstance(card, Mapping):
        written = plain_table(card, source)
    else:
        path = card if isinstance(card, InnerPath) else find_card(card)
        written, source, folder = read_toml(path), os.fspath(path), Path(path).absolute().parent
    changes = nested(overrides or {})
    if MARK not in written and MARK not in changes:
        allowed = 'a card of samples has [configuration], e.g. with type = "dune"'
        raise InputError.at(source, MARK, "(missing)", allowed)
    for table, place in ((written, folder), (changes, Path.cwd())):
        for section, key in _PATH_KEYS:
            below = table.get(section)
            if isinstance(below, dict) and isinstance(below.get(key), str) and below[key]:
                below[key] = os.path.abspath(place / os.path.expanduser(below[key]))
    data = merge(written, changes)
    try:
        return CountedCard.model_validate(data)
    except ValidationError as error:
        raise one_line(error, data, changes, source) from None


def counted_toml(card: CountedCard) -> str:
    """Return the card with every key written out, as TOML."""
    return tomli_w.dumps(card.model_dump(exclude_none=True))
