"""The sections of the analysis card: frozen, strictly typed models."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

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


def conflict(key: str, value: object, allowed: str) -> PydanticCustomError:
    """Return the error of a key whose value contradicts others."""
    context = {"key": key, "value": value, "allowed": allowed}
    return PydanticCustomError("conflict", "{key} = {value}: {allowed}", context)


class Section(BaseModel):
    """What all sections have in common: nothing can be changed, added or converted."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class OscillationCard(Section):
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
            raise conflict("", str(value).lower(), 'allowed: 0, 1, 2 or "exact"')
        return value

    @model_validator(mode="after")
    def _check(self) -> OscillationCard:
        if self.dm31 == 0.0:
            raise conflict("dm31", self.dm31, "must not be zero")
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


class EmbeddedPDF(Section):
    """The package's own tables: CT18NNLO, or the Les Houches benchmark, which differs from it."""

    type: Literal["embedded"] = "embedded"
    table: Literal["ct18nnlo", "les_houches"] = "ct18nnlo"


class LhapdfPDF(Section):
    """A set in the LHAPDF6 format: a name found on ``$LHAPDF_DATA_PATH``, or its folder's path."""

    type: Literal["lhapdf"] = "lhapdf"
    name: Annotated[str, Field(min_length=1)]
    member: Annotated[int, Field(ge=0, le=100_000)] = 0
    reader: Literal["builtin", "official"] = "builtin"


class NatureCard(Section):
    """A cross section: the one that makes the data, or one that an analyst assumes."""

    pdf: Annotated[EmbeddedPDF | LhapdfPDF, Field(discriminator="type")] = EmbeddedPDF()
    protons: Annotated[int, Field(ge=0, le=150)] = 18
    neutrons: Annotated[int, Field(ge=0, le=250)] = 22
    q2_suppression_GeV2: Annotated[float, Field(ge=0, le=10)] = 0.0  # F_i times Q^2/(Q^2 + this)
    xf3_scale: Annotated[float, Field(ge=0, le=2)] = 1.0
    emc: bool = False  # x-dependent nuclear ratio of SLAC E139

    @model_validator(mode="after")
    def _check(self) -> NatureCard:
        nucleons = self.protons + self.neutrons
        if nucleons == 0:
            raise conflict("protons", 0, "protons + neutrons must be at least 1")
        if self.emc and nucleons < 4:
            raise conflict("emc", "true", "needs a nucleus of at least 4 nucleons")
        return self


class DuneFlux(Section):
    """The package's own DUNE near-detector fluxes."""

    type: Literal["dune"] = "dune"


class GlobesFlux(Section):
    """A flux file in the GLoBES format."""

    type: Literal["globes"] = "globes"
    path: Annotated[str, Field(min_length=1)]


class CsvFlux(Section):
    """A flux table with a header line."""

    type: Literal["csv"] = "csv"
    path: Annotated[str, Field(min_length=1)]


class BeamCard(Section):
    """The beam and the energy range of the analysis."""

    mode: Literal["neutrino", "antineutrino"] = "neutrino"
    flux: Annotated[DuneFlux | GlobesFlux | CsvFlux, Field(discriminator="type")] = DuneFlux()
    energy_min_GeV: Positive = 0.5
    energy_max_GeV: Positive = 10.0

    @model_validator(mode="after")
    def _check(self) -> BeamCard:
        if not self.energy_min_GeV < self.energy_max_GeV:
            allowed = f"must be below energy_max_GeV = {self.energy_max_GeV}"
            raise conflict("energy_min_GeV", self.energy_min_GeV, allowed)
        return self


class SampleCard(Section):
    """One kind of counted event."""

    flavor_in: Literal["e", "mu"] = "mu"
    flavor_out: Literal["e", "mu", "tau"] = "mu"
    antineutrino: bool = False


class GridCard(Section):
    """Quadrature and interpolation grids."""

    energy_order: Annotated[int, Field(ge=1, le=12)] = 3  # Gauss points between flux knots
    lepton_energies: Annotated[int, Field(ge=8, le=4000)] = 80
    z: Annotated[int, Field(ge=8, le=4000)] = 80
    nodes_x: Annotated[int, Field(ge=8, le=1000)] = 48
    nodes_q2: Annotated[int, Field(ge=8, le=1000)] = 48


class NetworkCard(Section):
    """The network that stands for the structure functions."""

    weights: str = ""  # pinned weights; training is skipped
    head: Literal["positive", "unconstrained"] = "positive"
    inputs: Literal["multi", "plain"] = "multi"
    layers: Annotated[int, Field(ge=1, le=32)] = 3
    width: Annotated[int, Field(ge=1, le=4096)] = 48
    activation: Literal["algebraic", "silu", "leaky_relu", "tanh"] = "algebraic"
    members: Annotated[int, Field(ge=1, le=100)] = 1
    precision: Literal["float64", "float32"] = "float64"


class TrainingCard(Section):
    """How the network is fitted; method "adam" takes the Adam steps only."""

    method: Literal["lbfgs", "adam"] = "lbfgs"
    adam_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 500
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    lbfgs_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 5000
    weighting: Literal["relative", "uniform"] = "relative"
    floor: Annotated[float, Field(gt=0, le=1)] = 0.02
    # With a finite number of near events: prior sd of the weights about their initial values
    weight_sd: Annotated[float, Field(gt=0, le=100)] = 0.5

    @model_validator(mode="after")
    def _check(self) -> TrainingCard:
        key = "adam_steps" if self.method == "adam" else "lbfgs_steps"
        if getattr(self, key) < 1:
            allowed = f'must be at least 1 with method = "{self.method}"'
            raise conflict(key, getattr(self, key), allowed)
        return self


class NearCard(Section):
    """The near-detector data that the cross section is learned from."""

    # "infinite" is the expected density; with a number the counts fluctuate
    events: int | Literal["infinite"] = "infinite"
    file: str = ""  # counts in the analysis's own bins, instead of simulated ones

    @field_validator("events", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        # Python holds true to be 1
        number = isinstance(value, int) and not isinstance(value, bool)
        if value != "infinite" and not (number and 10_000 <= value <= 10**12):  # type: ignore[operator]
            shown = f'"{value}"' if isinstance(value, str) else value
            raise conflict("", shown, 'allowed: "infinite", or an integer from 10000 to 1e12')
        return value

    @model_validator(mode="after")
    def _check(self) -> NearCard:
        if self.file and self.events == "infinite":
            raise conflict("events", '"infinite"', "must be the number of events in near.file")
        return self


class CertainCard(Section):
    """The learned cross section is taken as it is."""

    type: Literal["none"] = "none"


class _UncertainCard(Section):
    """What every source of cross-section modes has in common."""

    share: Annotated[float, Field(gt=0.5, lt=1)] = 0.999  # of the far variance that modes keep
    modes: Annotated[int, Field(ge=1, le=1000)] | None = None  # at most
    # Relative error of a near bin from quadrature, interpolation and projection
    discretization: Annotated[float, Field(gt=0, le=0.1)] = 2e-4


class EnsembleCard(_UncertainCard):
    """The spread of network.members networks: other initial weights, other near-data replicas."""

    type: Literal["ensemble"] = "ensemble"


class GaussianProcessCard(_UncertainCard):
    """A Gaussian process conditioned on the near data, in closed form."""

    type: Literal["gaussian_process"] = "gaussian_process"
    kernel: Literal["matern32", "matern52", "squared_exponential"] = "matern32"


class LaplaceCard(_UncertainCard):
    """Laplace's approximation around the trained network."""

    type: Literal["laplace"] = "laplace"


class ModesFileCard(Section):
    """Mean and modes that another run left in its cross_section.nc."""

    type: Literal["file"] = "file"
    path: Annotated[str, Field(min_length=1)]


class NoFluxShape(Section):
    """The flux is known."""

    type: Literal["none"] = "none"


class FluxShape(Section):
    """What every uncertain flux has in common."""

    share: Annotated[float, Field(gt=0.5, lt=1)] = 0.999  # of the variance that modes keep
    # Far flux over near flux, on top of what they share: relative size, 0 for none
    near_far: Annotated[float, Field(ge=0, le=1)] = 0.0
    # Whether near-detector data also constrain the flux, through what structure functions cannot do
    near_constraint: bool = False


class ParametricFluxShape(FluxShape):
    """Relative covariance amplitude^2 exp(-(ln E - ln E')^2 / (2 correlation_length^2))."""

    type: Literal["parametric"] = "parametric"
    amplitude: Annotated[float, Field(gt=0, le=1)] = 0.08
    correlation_length: Annotated[float, Field(ge=0.05, le=10)] = 0.7  # in ln E


class FluxShapeFile(FluxShape):
    """Relative covariance in bins of energy, from a CSV or NPZ file."""

    type: Literal["file"] = "file"
    path: Annotated[str, Field(min_length=1)]


class NoResponse(Section):
    """The detectors see true lepton energies and angles."""

    type: Literal["none"] = "none"


class GaussianResponse(Section):
    """Gaussian resolutions; defaults are DUNE's for muons (see `detector.smearing`)."""

    type: Literal["gaussian"] = "gaussian"
    energy_resolution: Annotated[float, Field(gt=0, le=1)] = 0.05  # sigma(E)/E
    angle_resolution_deg: Annotated[float, Field(gt=0, le=90)] = 1.0
    threshold_GeV: Annotated[float, Field(ge=0, le=5)] = 0.03  # kinetic
    efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
    turn_on_GeV: Annotated[float, Field(ge=0, le=5)] = 0.0
    # Priors of the far detector's response, relative; 0 where it is known
    energy_scale_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    energy_resolution_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    angle_resolution_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    # Whether the near detector shares the far detector's deviations
    correlated: bool = False
    energy_bins: Annotated[int, Field(ge=4, le=400)] = 40
    angle_bins: Annotated[int, Field(ge=2, le=400)] = 30


class FarCard(Section):
    """Far-detector events: simulated, or read from a file."""

    events: Count = 6200
    file: str = ""
    # More than so many events of a sample are counted in bins instead of taken one by one
    binned_above: Annotated[int, Field(ge=0)] = 50_000


class FlatPrior(Section):
    """Uniform between low and high (dcp in degrees)."""

    type: Literal["flat"] = "flat"
    low: float
    high: float


class NormalPrior(Section):
    """Gaussian (dcp in degrees)."""

    type: Literal["normal"] = "normal"
    mean: float
    sd: Positive


class NufitPrior(Section):
    """Gaussian of NuFit-6.0 for the parameter."""

    type: Literal["nufit"] = "nufit"


Prior = Annotated[FlatPrior | NormalPrior | NufitPrior, Field(discriminator="type")]


class PriorsCard(Section):
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
                raise conflict(f"{name}.{side}", value, f"must lie {bounds}")
        if not prior.low < prior.high:
            raise conflict(f"{name}.low", prior.low, f"must be below high = {prior.high:g}")
        if name == "dm31" and prior.low * prior.high <= 0.0:
            allowed = (
                f"must have the sign of high = {prior.high:g} (one mass ordering), and not be 0"
            )
            raise conflict("dm31.low", prior.low, allowed)
        if name == "dcp" and prior.high - prior.low > 360.0:
            raise conflict("dcp.high", prior.high, f"must be within 360 of low = {prior.low:g}")
    elif isinstance(prior, NormalPrior):
        at_edge = name != "dcp" and prior.mean in (lowest, highest)
        if at_edge or not lowest <= prior.mean <= highest:
            raise conflict(f"{name}.mean", prior.mean, f"must lie {bounds}")
        if name == "dm31" and abs(prior.mean) < 5.0 * prior.sd:
            allowed = f"must be at least 5 sd (sd = {prior.sd:g}) from zero (one mass ordering)"
            raise conflict("dm31.mean", prior.mean, allowed)


class SamplerCard(Section):
    """The No-U-Turn sampler."""

    chains: Annotated[int, Field(ge=1, le=10_000)] = 4
    # Number of the first chain. A chain's draws depend on its number, not on how many chains there
    # are: other runs can make further ones, for `bayesxs merge`
    first_chain: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    warmup: Count = 1000
    draws: Annotated[int, Field(ge=4, le=10_000_000)] = 1000
    # Steps after which all chains are written to the disk; memory holds the draws of so many
    checkpoint_every: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.9
    octant: Literal["marginalized", "crossed"] = "marginalized"


class BootstrapCard(Section):
    """The bootstrap of the maximum-likelihood estimate."""

    replicas: Annotated[int, Field(ge=2, le=10_000_000)] = 1000


class ReportCard(Section):
    """Figures and tables."""

    predictive_draws: Count = 200


class _CampaignCard(Section):
    """What all campaigns have in common."""

    # Pseudo-experiments, replicas or networks of one task, computed together
    batch: Annotated[int, Field(ge=1, le=100_000)] = 50

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ()


class SampledCampaign(_CampaignCard):
    """What campaigns have in common that sample the posteriors of pseudo-experiments."""

    # Of which cross section events and model are: the true one, or the learned one with what is
    # uncertain about it
    cross_section: Literal["truth", "learned"] = "truth"
    # Bins that say the same about the parameters are merged until this part of the information
    # would be lost; 0 keeps them all
    information_loss: Annotated[float, Field(ge=0, le=0.5)] = 0.005
    warmup: Annotated[int, Field(ge=50, le=1_000_000)] = 250
    draws: Annotated[int, Field(ge=20, le=1_000_000)] = 500
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.8
    # Largest depth of NUTS's trees: every fit of a batch waits for the deepest one.
    # Three suffice for two parameters, four for dozens of nuisances
    tree_depth: Annotated[int, Field(ge=1, le=15)] = 3

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ("train",) if self.cross_section == "learned" else ()


class SbcCampaign(SampledCampaign):
    """Simulation-based calibration: truths from the prior, ranks of the truth among the draws."""

    kind: Literal["sbc"] = "sbc"
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 1000
    # Of so many draws one enters the ranks, which take them for independent
    thin: Annotated[int, Field(ge=1, le=10_000)] = 5

    @model_validator(mode="after")
    def _check(self) -> SbcCampaign:
        if self.draws // self.thin < 10:
            raise conflict("thin", self.thin, f"must leave at least 10 of {self.draws} draws")
        return self


class CoverageCampaign(SampledCampaign):
    """Coverage and length of intervals of every kind, at chosen true values."""

    kind: Literal["coverage"] = "coverage"
    # At each point of the grid that the true values span
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 400
    s2_23: Annotated[list[Sin2], Field(min_length=1, max_length=20)] = [0.42, 0.46, 0.58]
    dm31: Annotated[
        list[Annotated[float, Field(ge=-0.1, le=0.1)]], Field(min_length=1, max_length=10)
    ] = [
        2.45e-3,
        2.53e-3,
        2.6e-3,
    ]
    # Bootstrap samples of each pseudo-experiment
    replicas: Annotated[int, Field(ge=50, le=100_000)] = 400


class BootstrapCampaign(_CampaignCard):
    """Bootstrap of the far events, with the true and the learned cross section, at any size."""

    kind: Literal["bootstrap"] = "bootstrap"
    replicas: Annotated[int, Field(ge=20, le=9_000_000)] = 10_000
    batch: Annotated[int, Field(ge=1, le=100_000)] = 500

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ("train", "simulate")


class EnsembleCampaign(_CampaignCard):
    """Many networks, each trained from its own start on its own replica of the near data."""

    kind: Literal["ensemble"] = "ensemble"
    members: Annotated[int, Field(ge=2, le=100_000)] = 32
    batch: Annotated[int, Field(ge=1, le=1_000)] = 1


class SensitivityCampaign(SampledCampaign):
    """Posterior width against exposure."""

    kind: Literal["sensitivity"] = "sensitivity"
    # At each exposure
    experiments: Annotated[int, Field(ge=2, le=10_000_000)] = 50
    # In kt MW yr, what the far detector's mass, the beam's power and the time multiply to
    exposures: Annotated[list[Positive], Field(min_length=2, max_length=50)] = [
        1.0,
        3.0,
        10.0,
        30.0,
        100.0,
    ]
    # 6200 in 3.5 years (arXiv:2412.16303), half of the 336 kt MW yr that DUNE collects in seven
    # (arXiv:2002.03005)
    events_per_kt_MW_yr: Annotated[float, Field(gt=0, le=1e6)] = 36.9


Campaign = (
    SbcCampaign | CoverageCampaign | BootstrapCampaign | EnsembleCampaign | SensitivityCampaign
)
