"""The sections of the analysis card: frozen, strictly typed models.

The string under a field is its description, with the unit in brackets: the reference of cards is
made of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

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

# Narrower priors are lost in rounding: a parameter that is known is left out of them
_LEAST_WIDTH: Final[dict[str, float]] = {
    "s2_12": 1e-8,
    "s2_13": 1e-8,
    "s2_23": 1e-8,
    "dcp": 1e-5,
    "dm21": 1e-11,
    "dm31": 1e-10,
}

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Positive = Annotated[float, Field(gt=0)]
Sin2 = Annotated[float, Field(ge=0, le=1)]


def conflict(key: str, value: object, allowed: str) -> PydanticCustomError:
    """Return the error of a key whose value contradicts others."""
    context = {"key": key, "value": value, "allowed": allowed}
    return PydanticCustomError("conflict", "{key} = {value}: {allowed}", context)


class Section(BaseModel):
    """What all sections have in common: nothing can be changed, added or converted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class OscillationCard(Section):
    """True oscillation parameters, and the baseline; one given here overrides the named set's."""

    parameters: Literal["nufit-6.0-ic24", "nufit-6.0-ic19"] = "nufit-6.0-ic24"
    """Global fit for what is not written here. NuFit-6.0 with the IceCube-24 data, or without."""
    s2_12: Sin2 | None = None
    """True sin²θ₁₂."""
    s2_13: Sin2 | None = None
    """True sin²θ₁₃."""
    s2_23: Sin2 | None = None
    """True sin²θ₂₃."""
    dcp_deg: Annotated[float, Field(ge=-360, le=360)] | None = None
    """True CP phase [degrees]."""
    dm21: Annotated[float, Field(ge=0, le=0.01)] | None = None
    """True Δm²₂₁ [eV²]."""
    dm31: Annotated[float, Field(ge=-0.1, le=0.1)] | None = None
    """True Δm²₃₁, negative for the inverted ordering [eV²]."""
    baseline_km: Annotated[float, Field(gt=0, le=20_000)] = 1300.0
    """Distance from the source to the far detector [km]."""
    density_g_cm3: Annotated[float, Field(ge=0, le=20)] = 2.848
    """Density of the matter on the way [g/cm³]."""
    electron_fraction: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Electrons per nucleon of that matter."""
    newton_steps: Literal[0, 1, 2, "exact"] = 1
    """Newton steps of the oscillation probability (NuFast)."""

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
    """Tables that come with the package."""
    table: Literal["ct18nnlo", "les_houches"] = "ct18nnlo"
    """Which of them: CT18NNLO, or the Les Houches benchmark."""


class LhapdfPDF(Section):
    """A set in the LHAPDF6 format: a name found on ``$LHAPDF_DATA_PATH``, or its folder's path."""

    type: Literal["lhapdf"] = "lhapdf"
    """A set in the LHAPDF6 format."""
    name: Annotated[str, Field(min_length=1)]
    """Name of a set on `$LHAPDF_DATA_PATH`, or the path of its folder."""
    member: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Member of the set; 0 is the central one."""
    reader: Literal["builtin", "official"] = "builtin"
    """The package's own reader, or the official `lhapdf` module."""


class NatureCard(Section):
    """A cross section: the one that makes the data, or one that an analyst assumes."""

    pdf: Annotated[EmbeddedPDF | LhapdfPDF, Field(discriminator="type")] = EmbeddedPDF()
    """Parton distributions."""
    protons: Annotated[int, Field(ge=0, le=150)] = 18
    """Protons of the nucleus."""
    neutrons: Annotated[int, Field(ge=0, le=250)] = 22
    """Neutrons of the nucleus."""
    form: Literal["helicity", "collinear"] = "helicity"
    """What quarks make where M²x²/Q² counts: "helicity", quarks T+ and antiquarks T-, positive by
    itself; "collinear", 2xF₁ = F₂ as in arXiv:2412.16303, its negative part projected out. In
    `[assumed]` that of `[nature]` unless written."""
    q2_suppression_GeV2: Annotated[float, Field(ge=0, le=10)] = 0.0
    """s of a factor Q²/(Q² + s) on all structure functions; 0 for none [GeV²]."""
    xf3_scale: Annotated[float, Field(ge=0, le=2)] = 1.0
    """Factor on the structure function xF₃."""
    emc: bool = False
    """Whether the nuclear ratio of SLAC E139 multiplies structure functions (EMC effect)."""

    @model_validator(mode="after")
    def _check(self) -> NatureCard:
        nucleons = self.protons + self.neutrons
        if nucleons == 0:
            raise conflict("protons", 0, "protons + neutrons must be at least 1")
        if self.emc and nucleons < 4:
            raise conflict("emc", "true", "needs a nucleus of at least 4 nucleons")
        return self


class NearFlux(Section):
    """The far flux is the near one, but for oscillation."""

    type: Literal["near"] = "near"
    """The near-detector flux, as in the toy of arXiv:2412.16303."""


class DuneFlux(Section):
    """The package's own DUNE fluxes."""

    type: Literal["dune"] = "dune"
    """The embedded DUNE fluxes (arXiv:2103.04797)."""


class GlobesFlux(Section):
    """A flux file in the GLoBES format."""

    type: Literal["globes"] = "globes"
    """A file in the GLoBES format."""
    path: Annotated[str, Field(min_length=1)]
    """Path of the file."""
    energies: Literal["centers", "low_edges"] | None = None
    """Whether one energy per row is the center of a bin or its low edge, where unclear."""


class CsvFlux(Section):
    """A flux table with a header line."""

    type: Literal["csv"] = "csv"
    """A CSV file with a header line."""
    path: Annotated[str, Field(min_length=1)]
    """Path of the file."""
    energies: Literal["centers", "low_edges"] | None = None
    """Whether one energy per row is the center of a bin or its low edge, where unclear."""


class RootFlux(Section):
    """Histograms of a ROOT file; the flux is constant in their bins."""

    type: Literal["root"] = "root"
    """One-dimensional histograms of a ROOT file."""
    path: Annotated[str, Field(min_length=1)]
    """FILE.root:HISTOGRAM; more names follow after commas, each a species or SPECIES=HISTOGRAM."""
    contents: Literal["per_GeV", "per_bin"] = "per_GeV"
    """Whether a bin holds the flux per GeV, or integrated over the bin."""


class BeamCard(Section):
    """The beam and the energy range of the analysis."""

    mode: Literal["neutrino", "antineutrino"] = "neutrino"
    """Polarity of the horns; chooses the embedded flux."""
    flux: Annotated[DuneFlux | GlobesFlux | CsvFlux | RootFlux, Field(discriminator="type")] = (
        DuneFlux()
    )
    """Flux at the near detector."""
    far_flux: Annotated[
        NearFlux | DuneFlux | GlobesFlux | CsvFlux | RootFlux, Field(discriminator="type")
    ] = NearFlux()
    """Flux at the far detector before oscillation; "near" and "dune" may stand for their tables."""
    energy_min_GeV: Positive = 0.5
    """Lowest neutrino energy of the analysis [GeV]."""
    energy_max_GeV: Positive = 10.0
    """Highest neutrino energy of the analysis [GeV]."""

    @field_validator("far_flux", mode="before")
    @classmethod
    def _word(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if value not in ("near", "dune"):
            raise conflict(
                "", f'"{value}"', 'allowed: "near", "dune", or a table with type and path'
            )
        return {"type": value}

    @model_validator(mode="after")
    def _check(self) -> BeamCard:
        if not self.energy_min_GeV < self.energy_max_GeV:
            allowed = f"must be below energy_max_GeV = {self.energy_max_GeV}"
            raise conflict("energy_min_GeV", self.energy_min_GeV, allowed)
        return self


class SampleCard(Section):
    """One kind of counted event."""

    flavor_in: Literal["e", "mu"] = "mu"
    """Flavor of the neutrino that leaves the source."""
    flavor_out: Literal["e", "mu", "tau"] = "mu"
    """Flavor of the charged lepton that is counted."""
    antineutrino: bool = False
    """Whether antineutrinos are counted."""


class GridCard(Section):
    """Quadrature and interpolation grids."""

    energy_order: Annotated[int, Field(ge=1, le=12)] = 3
    """Gauss points on each panel of neutrino energies."""
    lepton_energies: Annotated[int, Field(ge=8, le=4000)] = 80
    """Near-detector bins in lepton energy."""
    z: Annotated[int, Field(ge=8, le=4000)] = 80
    """Near-detector bins in z = (E_l - p_l cos θ)/M."""
    nodes_x: Annotated[int, Field(ge=8, le=1000)] = 48
    """Nodes in x on which structure functions are evaluated."""
    nodes_q2: Annotated[int, Field(ge=8, le=1000)] = 48
    """Nodes in Q² on which structure functions are evaluated."""


class NetworkCard(Section):
    """The network that stands for the structure functions."""

    weights: str = ""
    """File of trained weights, with which training is skipped; empty for none."""
    head: Literal["helicity", "positive", "unconstrained"] = "helicity"
    """Last layer.

    `helicity` and `positive`: the cross section cannot be negative. They describe the same ones;
    `helicity` knows how the masses of target and lepton enter. `unconstrained`: as in the paper.
    """
    inputs: Literal["multi", "plain"] = "multi"
    """`multi`: x and Q² on several scales each; `plain`: the two numbers, as in the paper."""
    layers: Annotated[int, Field(ge=1, le=32)] = 3
    """Hidden layers."""
    width: Annotated[int, Field(ge=1, le=4096)] = 48
    """Units of each hidden layer."""
    activation: Literal["algebraic", "silu", "leaky_relu", "tanh"] = "algebraic"
    """Activation function."""
    members: Annotated[int, Field(ge=1, le=100)] = 1
    """Networks, each trained from its own initial weights; their mean is used."""
    precision: Literal["float64", "float32"] = "float64"
    """Floating-point precision of weights and training."""


class TrainingCard(Section):
    """How the network is fitted: each method reads its own numbers of steps."""

    method: Literal["gauss_newton", "lbfgs", "adam"] = "gauss_newton"
    """Gauss-Newton, Adam followed by the quasi-Newton method L-BFGS, or Adam alone."""
    gauss_newton_steps: Annotated[int, Field(ge=0, le=100_000)] = 40
    """Gauss-Newton (Levenberg-Marquardt) steps."""
    adam_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 500
    """Adam steps on all data."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate of Adam."""
    lbfgs_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 5000
    """L-BFGS steps after those of Adam."""
    weighting: Literal["relative", "uniform"] = "relative"
    """Weight of a bin for expected data: one over its density, or 1."""
    floor: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Smallest density in the relative weights, over the largest density."""
    weight_sd: Annotated[float, Field(gt=0, le=100)] = 0.5
    """Prior standard deviation of the weights about their initial values.

    It acts where `near.events` is finite.
    """

    @model_validator(mode="after")
    def _check(self) -> TrainingCard:
        key = f"{self.method}_steps"
        if getattr(self, key) < 1:
            allowed = f'must be at least 1 with method = "{self.method}"'
            raise conflict(key, getattr(self, key), allowed)
        return self


class NearCard(Section):
    """The near-detector data that the cross section is learned from."""

    events: int | Literal["infinite"] = "infinite"
    """Near-detector events of each cross section.

    Their counts fluctuate; `infinite` stands for the expected density.
    """
    file: str = ""
    """CSV file of counts, in bins of its own or those of the analysis; empty for simulated ones.

    Where several cross sections are learned, the name holds `{target}`, which stands for `mu`,
    `anti_mu`, `e` and so on: one file for each. `events` need not be given: it is the file's sum.
    """
    impossible: Literal["refuse", "drop"] = "refuse"
    """What becomes of counts in bins that no neutrino of the beam can fill."""

    @property
    def counted(self) -> bool:
        """Whether near data are counts, which fluctuate, and not the expected density."""
        return bool(self.file) or self.events != "infinite"

    @field_validator("events", mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        # Python holds true to be 1
        number = isinstance(value, int) and not isinstance(value, bool)
        if value != "infinite" and not (number and 10_000 <= value <= 10**12):  # type: ignore[operator]
            shown = f'"{value}"' if isinstance(value, str) else value
            raise conflict("", shown, 'allowed: "infinite", or an integer from 10000 to 1e12')
        return value


class CertainCard(Section):
    """The learned cross section is taken as it is."""

    type: Literal["none"] = "none"
    """The learned cross section is taken as certain."""


class _UncertainCard(Section):
    """What every source of cross-section modes has in common."""

    share: Annotated[float, Field(gt=0.5, lt=1)] = 0.999
    """Share of the far-detector variance that the modes keep."""
    modes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Largest number of modes."""
    discretization: Annotated[float, Field(gt=0, le=0.1)] = 2e-4
    """Relative error of a near bin from quadrature, interpolation and projection."""


class EnsembleCard(_UncertainCard):
    """The spread of network.members networks: other initial weights, other near-data replicas."""

    type: Literal["ensemble"] = "ensemble"
    """Spread of the `network.members` networks."""


class GaussianProcessCard(_UncertainCard):
    """A Gaussian process conditioned on the near data, in closed form."""

    type: Literal["gaussian_process"] = "gaussian_process"
    """Gaussian process conditioned on the near-detector data."""
    kernel: Literal["matern32", "matern52", "squared_exponential"] = "matern32"
    """Kernel of the process, roughest first."""


class LaplaceCard(_UncertainCard):
    """Laplace's approximation around the trained network."""

    type: Literal["laplace"] = "laplace"
    """Laplace's approximation around the trained network."""


class ModesFileCard(Section):
    """Mean and modes that another run left in its cross_section.nc."""

    type: Literal["file"] = "file"
    """Mean and modes of another run."""
    path: Annotated[str, Field(min_length=1)]
    """Path of that run's `cross_section.nc`."""


class NoFluxShape(Section):
    """The flux is known."""

    type: Literal["none"] = "none"
    """The flux is known."""


class FluxShape(Section):
    """What every uncertain flux has in common."""

    share: Annotated[float, Field(gt=0.5, lt=1)] = 0.999
    """Share of the flux variance that the modes keep."""
    near_far: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Error of the far flux over the near flux, over the error that they share; 0 for none."""

    @model_validator(mode="before")
    @classmethod
    def _no_near_constraint(cls, data: Any) -> Any:
        if isinstance(data, dict) and "near_constraint" in data:
            allowed = (
                "removed: bounds from near data on the flux shape did not cover it; "
                "put external constraints into the covariance of the flux"
            )
            raise conflict("near_constraint", str(data["near_constraint"]).lower()[:20], allowed)
        return data


class ParametricFluxShape(FluxShape):
    """Relative covariance amplitude^2 exp(-(ln E - ln E')^2 / (2 correlation_length^2))."""

    type: Literal["parametric"] = "parametric"
    """A covariance by formula."""
    amplitude: Annotated[float, Field(gt=0, le=1)] = 0.08
    """Relative standard deviation of the flux at every energy."""
    correlation_length: Annotated[float, Field(ge=0.05, le=10)] = 0.7
    """Correlation length in ln E."""


class FluxShapeFile(FluxShape):
    """Relative covariance in bins of energy, from a CSV or NPZ file."""

    type: Literal["file"] = "file"
    """A covariance in bins of energy."""
    path: Annotated[str, Field(min_length=1)]
    """Path of a CSV or NPZ file."""


class NoResponse(Section):
    """The detectors see true lepton energies and angles."""

    type: Literal["none"] = "none"
    """Detectors that see true energies and angles."""


class GaussianResponse(Section):
    """Gaussian resolutions; defaults are DUNE's for muons (see `detector.smearing`)."""

    type: Literal["gaussian"] = "gaussian"
    """Gaussian resolutions with threshold and efficiency."""
    energy_resolution: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Relative resolution of the lepton energy, σ(E)/E."""
    angle_resolution_deg: Annotated[float, Field(gt=0, le=90)] = 1.0
    """Resolution of the lepton angle [degrees]."""
    threshold_GeV: Annotated[float, Field(ge=0, le=5)] = 0.03
    """Smallest kinetic energy that is seen [GeV]."""
    efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Efficiency far above the threshold."""
    turn_on_GeV: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Kinetic energy over which the efficiency rises; 0 for a step [GeV]."""
    energy_scale_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Prior standard deviation of the energy scale, relative; 0 for none."""
    energy_resolution_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Prior standard deviation of the energy resolution, relative; 0 for none."""
    angle_resolution_sd: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    """Prior standard deviation of the angular resolution, relative; 0 for none."""
    correlated: bool = False
    """Whether the near detector shares the far detector's deviations."""
    energy_bins: Annotated[int, Field(ge=4, le=400)] = 40
    """Bins in reconstructed energy."""
    angle_bins: Annotated[int, Field(ge=2, le=400)] = 30
    """Bins in reconstructed angle."""


class FarCard(Section):
    """Far-detector events: simulated, or read from a file."""

    events: Count = 6200
    """Far-detector events of all samples together."""
    file: str = ""
    """CSV file of events; empty for simulated ones."""
    impossible: Literal["refuse", "drop"] = "refuse"
    """What becomes of events in `file` that no neutrino of the beam can make."""
    binned_above: Annotated[int, Field(ge=0)] = 50_000
    """Events of a sample above which they are counted in bins, not taken one by one."""


class FlatPrior(Section):
    """Uniform between low and high (dcp in degrees)."""

    type: Literal["flat"] = "flat"
    """Uniform between two bounds."""
    low: float
    """Lower bound [unit of the parameter]."""
    high: float
    """Upper bound [unit of the parameter]."""


class NormalPrior(Section):
    """Gaussian (dcp in degrees)."""

    type: Literal["normal"] = "normal"
    """Gaussian, cut at the physical range."""
    mean: float
    """Mean [unit of the parameter]."""
    sd: Positive
    """Standard deviation [unit of the parameter]."""


class NufitPrior(Section):
    """Gaussian of NuFit-6.0 for the parameter."""

    type: Literal["nufit"] = "nufit"
    """Gaussian with the mean and the symmetrised error of NuFit-6.0."""


Prior = Annotated[FlatPrior | NormalPrior | NufitPrior, Field(discriminator="type")]


class PriorsCard(Section):
    """The sampled parameters; those left out stay at the truth."""

    s2_12: Prior | None = None
    """Prior of sin²θ₁₂; none keeps it at the truth."""
    s2_13: Prior | None = None
    """Prior of sin²θ₁₃; none keeps it at the truth."""
    s2_23: Prior | None = None
    """Prior of sin²θ₂₃; none keeps it at the truth."""
    dcp: Prior | None = None
    """Prior of the CP phase; none keeps it at the truth."""
    dm21: Prior | None = None
    """Prior of Δm²₂₁; none keeps it at the truth."""
    dm31: Prior | None = None
    """Prior of Δm²₃₁; none keeps it at the truth."""

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
        if prior.high - prior.low < _LEAST_WIDTH[name]:
            allowed = f"must be at least {_LEAST_WIDTH[name]:g} below high; to fix it, leave it out"
            raise conflict(f"{name}.low", prior.low, allowed)
        if name == "dm31" and prior.low * prior.high <= 0.0:
            allowed = (
                f"must have the sign of high = {prior.high:g} (one mass ordering), and not be 0"
            )
            raise conflict("dm31.low", prior.low, allowed)
        if name == "dcp" and prior.high - prior.low > 360.0:
            raise conflict("dcp.high", prior.high, f"must be within 360 of low = {prior.low:g}")
    elif isinstance(prior, NormalPrior):
        widest = highest - lowest
        if not _LEAST_WIDTH[name] <= prior.sd <= widest:
            allowed = f"must lie between {_LEAST_WIDTH[name]:g} and {widest:g}"
            raise conflict(f"{name}.sd", prior.sd, allowed)
        if not lowest <= prior.mean <= highest or (name == "dm31" and prior.mean == 0.0):
            raise conflict(f"{name}.mean", prior.mean, f"must lie {bounds}")
        if name == "dm31" and abs(prior.mean) < 5.0 * prior.sd:
            allowed = f"must be at least 5 sd (sd = {prior.sd:g}) from zero (one mass ordering)"
            raise conflict("dm31.mean", prior.mean, allowed)


class SamplerCard(Section):
    """The No-U-Turn sampler."""

    chains: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Number of chains."""
    first_chain: Annotated[int, Field(ge=0, le=1_000_000_000)] = 0
    """Number of the first chain.

    A chain's random numbers depend on its number, not on how many chains there are: other runs can
    make further ones, for `bayesxs merge`.
    """
    warmup: Count = 1000
    """Steps in which a chain adapts, before its draws count."""
    draws: Annotated[int, Field(ge=4, le=10_000_000)] = 1000
    """Draws of each chain."""
    checkpoint_every: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    """Steps after which all chains are written to the disk.

    Memory holds the draws of one such piece.
    """
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Acceptance probability to which the step size adapts."""
    octant: Literal["marginalized", "crossed"] = "marginalized"
    """Octant of θ₂₃. `marginalized`: summed over exactly, then drawn; `crossed`: sampled."""


class BootstrapCard(Section):
    """The bootstrap of the maximum-likelihood estimate."""

    replicas: Annotated[int, Field(ge=2, le=10_000_000)] = 1000
    """Bootstrap samples of the far-detector events."""


class ReportCard(Section):
    """Figures and tables."""

    predictive_draws: Count = 200
    """Posterior draws from which spectra are simulated."""


class _CampaignCard(Section):
    """What all campaigns have in common."""

    batch: Annotated[int, Field(ge=1, le=100_000)] = 50
    """Pseudo-experiments, replicas or networks of one task, computed together."""

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ()


class SampledCampaign(_CampaignCard):
    """What campaigns have in common that sample the posteriors of pseudo-experiments."""

    cross_section: Literal["truth", "learned"] = "truth"
    """Cross section of data and model. `learned` comes with its nuisances."""
    information_loss: Annotated[float, Field(ge=0, le=0.5)] = 0.005
    """Share of the Fisher information that merging of bins may lose; 0 keeps every bin."""
    warmup: Annotated[int, Field(ge=50, le=1_000_000)] = 250
    """Steps in which a chain adapts, before its draws count."""
    draws: Annotated[int, Field(ge=20, le=1_000_000)] = 500
    """Draws of each pseudo-experiment."""
    target_accept: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Acceptance probability to which the step size adapts."""
    tree_depth: Annotated[int, Field(ge=1, le=15)] = 3
    """Largest depth of the trees of NUTS.

    Every fit of a batch waits for the deepest tree. Three suffice for two parameters, four for
    dozens of nuisances.
    """

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ("train",) if self.cross_section == "learned" else ()


class SbcCampaign(SampledCampaign):
    """Simulation-based calibration: truths from the prior, ranks of the truth among the draws."""

    kind: Literal["sbc"] = "sbc"
    """Simulation-based calibration."""
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 1000
    """Pseudo-experiments."""
    thin: Annotated[int, Field(ge=1, le=10_000)] = 5
    """One draw in this many enters the ranks, which take draws for independent."""

    @model_validator(mode="after")
    def _check(self) -> SbcCampaign:
        if self.draws // self.thin < 10:
            raise conflict("thin", self.thin, f"must leave at least 10 of {self.draws} draws")
        return self


class CoverageCampaign(SampledCampaign):
    """Coverage and length of intervals of every kind, at chosen true values."""

    kind: Literal["coverage"] = "coverage"
    """Coverage and length of intervals."""
    experiments: Annotated[int, Field(ge=10, le=10_000_000)] = 400
    """Pseudo-experiments at each point of the grid of true values."""
    s2_23: Annotated[list[Sin2], Field(min_length=1, max_length=20)] = [0.42, 0.46, 0.58]
    """True values of sin²θ₂₃ of the grid."""
    dm31: Annotated[
        list[Annotated[float, Field(ge=-0.1, le=0.1)]], Field(min_length=1, max_length=10)
    ] = [
        2.45e-3,
        2.53e-3,
        2.6e-3,
    ]
    """True values of Δm²₃₁ of the grid [eV²]."""
    replicas: Annotated[int, Field(ge=50, le=100_000)] = 400
    """Bootstrap samples of each pseudo-experiment."""


class BootstrapCampaign(_CampaignCard):
    """Bootstrap of the far events, with the true and the learned cross section, at any size."""

    kind: Literal["bootstrap"] = "bootstrap"
    """Bootstrap of the far-detector events."""
    replicas: Annotated[int, Field(ge=20, le=9_000_000)] = 10_000
    """Bootstrap samples."""
    batch: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Bootstrap samples of one task."""

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Commands whose results the campaign needs."""
        return ("train", "simulate")


class EnsembleCampaign(_CampaignCard):
    """Many networks, each trained from its own start on its own replica of the near data."""

    kind: Literal["ensemble"] = "ensemble"
    """Networks on replicas of the near-detector data."""
    members: Annotated[int, Field(ge=2, le=100_000)] = 32
    """Networks."""
    batch: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Networks of one task."""


class SensitivityCampaign(SampledCampaign):
    """Posterior width against exposure."""

    kind: Literal["sensitivity"] = "sensitivity"
    """Posterior width against exposure."""
    experiments: Annotated[int, Field(ge=2, le=10_000_000)] = 50
    """Pseudo-experiments at each exposure."""
    exposures: Annotated[list[Positive], Field(min_length=2, max_length=50)] = [
        1.0,
        3.0,
        10.0,
        30.0,
        100.0,
    ]
    """Products of detector mass, beam power and time [kt MW yr]."""
    # 6200 in 3.5 years (arXiv:2412.16303), half of the 336 kt MW yr that DUNE collects in seven
    # (arXiv:2002.03005)
    events_per_kt_MW_yr: Annotated[float, Field(gt=0, le=1e6)] = 36.9
    """Far-detector events of an exposure of 1 [1/(kt MW yr)]."""


Campaign = (
    SbcCampaign | CoverageCampaign | BootstrapCampaign | EnsembleCampaign | SensitivityCampaign
)
