"""The analysis card: every choice of a run as frozen, strictly typed models, read from TOML.

A card is laid over a preset, and the preset over the defaults below; ``--set`` lies over them all.
Nothing here imports JAX, so a mistyped card is refused before anything slow starts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from bayesxs.cardfile import merge, nearest, one_line, parse_overrides, read_toml, show
from bayesxs.errors import InputError
from bayesxs.presets import PRESETS

# Keys that hold a path, resolved against the folder of the card that writes them.
_PATH_KEYS: Final = (
    ("network", "weights"),
    ("far", "file"),
    ("beam", "flux", "path"),
    ("nature", "pdf", "name"),
)

Parameter = Literal["s2_12", "s2_13", "s2_23", "dcp", "dm21", "dm31"]
# Mass splittings are bounded above to catch values written in 1e-3 or 1e-5 eV^2.
_PHYSICAL_RANGE: Final[dict[str, tuple[float, float]]] = {
    "s2_12": (0.0, 1.0),
    "s2_13": (0.0, 1.0),
    "s2_23": (0.0, 1.0),
    "dcp": (-360.0, 360.0),
    "dm21": (0.0, 0.01),
    "dm31": (-0.1, 0.1),
}

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Positive = Annotated[float, Field(gt=0)]
Sin2 = Annotated[float, Field(gt=0, lt=1)]


def _conflict(key: str, value: object, allowed: str) -> PydanticCustomError:
    context = {"key": key, "value": value, "allowed": allowed}
    return PydanticCustomError("conflict", "{key} = {value}: {allowed}", context)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OscillationCard(_Section):
    """True oscillation parameters, and the baseline; one given here overrides the named set's."""

    parameters: Literal["nufit-6.0-ic24", "nufit-6.0-ic19"] = "nufit-6.0-ic24"
    s2_12: Sin2 | None = None
    s2_13: Sin2 | None = None
    s2_23: Sin2 | None = None
    dcp_deg: Annotated[float, Field(ge=-360, le=360)] | None = None
    dm21: Annotated[float, Field(gt=0, le=0.01)] | None = None  # eV^2
    dm31: Annotated[float, Field(ge=-0.1, le=0.1)] | None = None  # eV^2, < 0: inverted ordering
    baseline_km: Annotated[float, Field(gt=0, le=20_000)] = 1300.0
    density_g_cm3: Annotated[float, Field(ge=0, le=20)] = 2.848
    electron_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    newton_steps: Literal[0, 1, 2, "exact"] = 1

    @field_validator("newton_steps", mode="before")
    @classmethod
    def _no_bool(cls, value: object) -> object:
        # Python holds true equal to 1, and so would the literal.
        if isinstance(value, bool):
            raise _conflict("", str(value).lower(), 'allowed: 0, 1, 2 or "exact"')
        return value

    @model_validator(mode="after")
    def _check(self) -> OscillationCard:
        if self.dm31 == 0.0:
            raise _conflict("dm31", self.dm31, "must not be zero")
        return self

    def given(self) -> dict[Parameter, float]:
        """Return the parameters written in the card, in card units (dcp in degrees)."""
        values: dict[Parameter, float | None] = {
            "s2_12": self.s2_12,
            "s2_13": self.s2_13,
            "s2_23": self.s2_23,
            "dcp": self.dcp_deg,
            "dm21": self.dm21,
            "dm31": self.dm31,
        }
        return {name: value for name, value in values.items() if value is not None}


class EmbeddedPDF(_Section):
    """The package's own CT18NNLO table."""

    type: Literal["embedded"] = "embedded"


class LhapdfPDF(_Section):
    """A set in the LHAPDF6 format: a name found on ``$LHAPDF_DATA_PATH``, or its folder's path."""

    type: Literal["lhapdf"] = "lhapdf"
    name: Annotated[str, Field(min_length=1)]
    member: Annotated[int, Field(ge=0, le=100_000)] = 0
    reader: Literal["builtin", "official"] = "builtin"


class NatureCard(_Section):
    """The cross section that makes the data."""

    pdf: Annotated[EmbeddedPDF | LhapdfPDF, Field(discriminator="type")] = EmbeddedPDF()
    protons: Annotated[int, Field(ge=0, le=150)] = 18
    neutrons: Annotated[int, Field(ge=0, le=250)] = 22

    @model_validator(mode="after")
    def _check(self) -> NatureCard:
        if self.protons + self.neutrons == 0:
            raise _conflict("protons", 0, "protons + neutrons must be at least 1")
        return self


class DuneFlux(_Section):
    """The package's own DUNE near-detector fluxes."""

    type: Literal["dune"] = "dune"


class GlobesFlux(_Section):
    """A flux file in the GLoBES format."""

    type: Literal["globes"] = "globes"
    path: Annotated[str, Field(min_length=1)]


class CsvFlux(_Section):
    """A flux table with a header line."""

    type: Literal["csv"] = "csv"
    path: Annotated[str, Field(min_length=1)]


class BeamCard(_Section):
    """The beam and the energy range of the analysis."""

    mode: Literal["neutrino", "antineutrino"] = "neutrino"
    flux: Annotated[DuneFlux | GlobesFlux | CsvFlux, Field(discriminator="type")] = DuneFlux()
    energy_min_GeV: Positive = 0.5
    energy_max_GeV: Positive = 10.0

    @model_validator(mode="after")
    def _check(self) -> BeamCard:
        if not self.energy_min_GeV < self.energy_max_GeV:
            allowed = f"must be below energy_max_GeV = {self.energy_max_GeV}"
            raise _conflict("energy_min_GeV", self.energy_min_GeV, allowed)
        return self


class SampleCard(_Section):
    """One kind of counted event."""

    flavor_in: Literal["e", "mu"] = "mu"
    flavor_out: Literal["e", "mu", "tau"] = "mu"
    antineutrino: bool = False


class GridCard(_Section):
    """Quadrature and interpolation grids."""

    energy_order: Annotated[int, Field(ge=1, le=12)] = 3  # Gauss points between flux knots
    lepton_energies: Annotated[int, Field(ge=8, le=4000)] = 80
    z: Annotated[int, Field(ge=8, le=4000)] = 80
    nodes_x: Annotated[int, Field(ge=8, le=1000)] = 48
    nodes_q2: Annotated[int, Field(ge=8, le=1000)] = 48


class NetworkCard(_Section):
    """The network that stands for the structure functions."""

    weights: str = ""  # pinned weights; training is skipped
    head: Literal["positive", "unconstrained"] = "positive"
    inputs: Literal["multi", "plain"] = "multi"
    layers: Annotated[int, Field(ge=1, le=32)] = 3
    width: Annotated[int, Field(ge=1, le=4096)] = 48
    activation: Literal["algebraic", "silu", "leaky_relu", "tanh"] = "algebraic"
    members: Annotated[int, Field(ge=1, le=100)] = 1
    precision: Literal["float64", "float32"] = "float64"


class TrainingCard(_Section):
    """How the network is fitted; method "adam" takes the Adam steps only."""

    method: Literal["lbfgs", "adam"] = "lbfgs"
    adam_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 500
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    lbfgs_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 5000
    weighting: Literal["relative", "uniform"] = "relative"
    floor: Annotated[float, Field(gt=0, le=1)] = 0.02

    @model_validator(mode="after")
    def _check(self) -> TrainingCard:
        key = "adam_steps" if self.method == "adam" else "lbfgs_steps"
        if getattr(self, key) < 1:
            allowed = f'must be at least 1 with method = "{self.method}"'
            raise _conflict(key, getattr(self, key), allowed)
        return self


class FarCard(_Section):
    """Far-detector events: simulated, or read from a file."""

    events: Count = 6200
    file: str = ""


class FlatPrior(_Section):
    """Uniform between low and high (dcp in degrees)."""

    type: Literal["flat"] = "flat"
    low: float
    high: float


class NormalPrior(_Section):
    """Gaussian (dcp in degrees)."""

    type: Literal["normal"] = "normal"
    mean: float
    sd: Positive


class NufitPrior(_Section):
    """Gaussian of NuFit-6.0 for the parameter."""

    type: Literal["nufit"] = "nufit"


Prior = Annotated[FlatPrior | NormalPrior | NufitPrior, Field(discriminator="type")]


class PriorsCard(_Section):
    """The sampled parameters; those left out stay at the truth."""

    s2_12: Prior | None = None
    s2_13: Prior | None = None
    s2_23: Prior | None = None
    dcp: Prior | None = None
    dm21: Prior | None = None
    dm31: Prior | None = None

    @model_validator(mode="after")
    def _check(self) -> PriorsCard:
        for name, prior in self.free().items():
            _check_prior(name, prior)
        return self

    def free(self) -> dict[str, FlatPrior | NormalPrior | NufitPrior]:
        """Return the prior of each sampled parameter, in the order of the fields."""
        pairs = ((name, getattr(self, name)) for name in type(self).model_fields)
        return {name: prior for name, prior in pairs if prior is not None}


def _check_prior(name: str, prior: FlatPrior | NormalPrior | NufitPrior) -> None:
    lowest, highest = _PHYSICAL_RANGE[name]
    bounds = f"between {lowest:g} and {highest:g}"
    if isinstance(prior, FlatPrior):
        for side, value in (("low", prior.low), ("high", prior.high)):
            if not lowest <= value <= highest:
                raise _conflict(f"{name}.{side}", value, f"must lie {bounds}")
        if not prior.low < prior.high:
            raise _conflict(f"{name}.low", prior.low, f"must be below high = {prior.high:g}")
        if name == "dm31" and prior.low * prior.high <= 0.0:
            allowed = (
                f"must have the sign of high = {prior.high:g} (one mass ordering), and not be 0"
            )
            raise _conflict("dm31.low", prior.low, allowed)
        if name == "dcp" and prior.high - prior.low > 360.0:
            raise _conflict("dcp.high", prior.high, f"must be within 360 of low = {prior.low:g}")
    elif isinstance(prior, NormalPrior):
        at_edge = name != "dcp" and prior.mean in (lowest, highest)
        if at_edge or not lowest <= prior.mean <= highest:
            raise _conflict(f"{name}.mean", prior.mean, f"must lie {bounds}")
        if name == "dm31" and abs(prior.mean) < 5.0 * prior.sd:
            allowed = f"must be at least 5 sd (sd = {prior.sd:g}) from zero (one mass ordering)"
            raise _conflict("dm31.mean", prior.mean, allowed)


class SamplerCard(_Section):
    """The No-U-Turn sampler."""

    chains: Annotated[int, Field(ge=1, le=10_000)] = 4
    warmup: Count = 1000
    draws: Annotated[int, Field(ge=4, le=10_000_000)] = 1000
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.9
    octant: Literal["marginalized", "crossed"] = "marginalized"


class BootstrapCard(_Section):
    """The bootstrap of the maximum-likelihood estimate."""

    replicas: Annotated[int, Field(ge=2, le=10_000_000)] = 1000


class ReportCard(_Section):
    """Figures and tables."""

    predictive_draws: Count = 200


class Card(_Section):
    """A whole analysis. Frozen; `load_card` reads it, `to_toml` writes it."""

    preset: Literal["quick", "default", "paper"] = "default"
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    oscillation: OscillationCard = OscillationCard()
    nature: NatureCard = NatureCard()
    beam: BeamCard = BeamCard()
    # TOML has lists, not tuples: only the container is taken leniently
    sample: Annotated[tuple[SampleCard, ...], Field(strict=False, min_length=1)] = (SampleCard(),)
    grid: GridCard = GridCard()
    network: NetworkCard = NetworkCard()
    training: TrainingCard = TrainingCard()
    far: FarCard = FarCard()
    priors: PriorsCard = PriorsCard(
        dm31=FlatPrior(low=2.0e-3, high=3.0e-3), s2_23=FlatPrior(low=0.0, high=1.0)
    )
    sampler: SamplerCard = SamplerCard()
    bootstrap: BootstrapCard = BootstrapCard()
    report: ReportCard = ReportCard()

    @model_validator(mode="after")
    def _check(self) -> Card:
        if not self.priors.free():
            raise _conflict("priors", "{}", f"at least one of {', '.join(PriorsCard.model_fields)}")
        if len(set(self.sample)) < len(self.sample):
            raise _conflict("sample", f"{len(self.sample)} entries", "each sample once")
        if self.training.method == "lbfgs" and self.network.precision == "float32":
            allowed = 'must be "float64" with training.method = "lbfgs"'
            raise _conflict("network.precision", '"float32"', allowed)
        conflict = prior_conflict(self.priors, self.oscillation.given())
        if conflict is not None:
            raise _conflict(*conflict)
        return self


def prior_conflict(priors: PriorsCard, truth: Mapping[Any, float]) -> tuple[str, str, str] | None:
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
    path: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    overrides: Sequence[str] = (),
) -> Card:
    """Read a card, lay it over its preset and lay ``key=value`` overrides over it.

    `preset` wins over the card's own ``preset`` key; keys written in the card win over the
    preset's. Relative paths count from the card's folder in a card and from the working folder
    in an override, and come out absolute. Without a path the card is the preset alone.

    Raises:
        InputError: unreadable file, broken TOML, unknown key, wrong type, value out of range,
            or values that contradict each other.
    """
    # The presets are valid, so without a file any fault lies in the overrides.
    source = "--set" if path is None else os.fspath(path)
    written = {} if path is None else read_toml(Path(path))
    changes = parse_overrides(overrides)
    if preset is not None:
        where, name = "--preset", preset
    elif "preset" in changes:
        where, name = "--set", changes["preset"]
    else:
        where, name = source, written.get("preset", "default")
    if not isinstance(name, str) or name not in PRESETS:
        allowed = f"one of {', '.join(PRESETS)}{nearest(name, PRESETS)}"
        raise InputError.at(where, "preset", show(name), allowed)
    _absolute_paths(written, Path.cwd() if path is None else Path(path).absolute().parent)
    _absolute_paths(changes, Path.cwd())
    if "priors" in changes and "priors" not in written:
        written["priors"] = Card().priors.model_dump(exclude_none=True)
    data = merge(merge(PRESETS[name], written), changes) | {"preset": name}
    try:
        return Card.model_validate(data)
    except ValidationError as error:
        raise one_line(error, Card, data, changes, source) from None


def to_toml(card: Card) -> str:
    """Return the card with every key written out, as TOML that `load_card` reads back unchanged."""
    return tomli_w.dumps(card.model_dump(exclude_none=True))


def _absolute_paths(table: dict[str, Any], folder: Path) -> None:
    """Make the paths in a raw table absolute, in place; leave what is no path for validation."""
    for *parents, key in _PATH_KEYS:
        section: Any = table
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict) or not isinstance(section.get(key), str):
            continue
        value = section[key]
        # A PDF set is a name unless it is written as a path; an empty string means "no file".
        if value and (key != "name" or "/" in value or value.startswith(("~", "."))):
            section[key] = os.path.abspath(folder / os.path.expanduser(value))
