"""Four samples in lepton kinematics: rates of any cross section, learned or not.

The near detector counts so many events that the rate of each kind of lepton is known. Whatever the
cross section, it is brought to that rate; its shape says what follows for the far detector:

    T = exposure flux_far R[sigma] (near rate of nature)/(near rate of sigma)

What errors remain of absolute rates are normalisations, those of the published configuration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from bayesxs.detector.density import Flavor, Sample
from bayesxs.detector.exact import exact_cross_section
from bayesxs.detector.few_energies import SPLITTING, with_few_energies
from bayesxs.detector.lepton import LeptonResponse, LeptonSamples, exact_response
from bayesxs.detector.operator import Quadrature, build_operator, fold
from bayesxs.detector.reco import RecoGrid
from bayesxs.detector.samples import Component
from bayesxs.detector.smearing import Acceptance, ResponseParameters
from bayesxs.errors import InputError
from bayesxs.experiment.cross_section import LearnedCrossSection
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.settings import GaussianDetector
from bayesxs.inputs.globes.dune import ERRORS, YEARS, embedded_dune
from bayesxs.physics.structure_functions import Positive

Float = NDArray[np.float64]

type Chosen = Literal["truth", "assumed"] | Sequence[LearnedCrossSection]

# Leptons in DUNE's far detector. Resolutions: CDR vol. 2, arXiv:1512.06148, of electrons 2 % and
# 15 %/sqrt(E) at 2.5 GeV. Efficiencies: where the published selections (arXiv:2103.04797) level off
LEPTONS: Final[Mapping[Flavor, GaussianDetector]] = {
    "mu": GaussianDetector(acceptance=Acceptance(efficiency=0.95)),
    "e": GaussianDetector(
        ResponseParameters(energy_resolution=0.10), acceptance=Acceptance(efficiency=0.90)
    ),
}
ARGON: Final = 40.0

# Names of samples by beam and lepton, in the order of the published configuration
_SAMPLES: Final[dict[tuple[str, str], str]] = {
    ("neutrino", "e"): "nue_app",
    ("antineutrino", "e"): "nuebar_app",
    ("neutrino", "mu"): "numu_dis",
    ("antineutrino", "mu"): "numubar_dis",
}
_BEAMS: Final = {"neutrino": "FHC", "antineutrino": "RHC"}

# Share of a sample's rate without oscillation below which a bin counts as empty
_EMPTY: Final = 1e-9


def lepton_samples(
    experiments: Sequence[Experiment],
    cross_section: Chosen,
    *,
    years: float = YEARS,
    antineutrino_years: float | None = None,
    nucleons: float = ARGON,
    detectors: Mapping[Flavor, GaussianDetector] = LEPTONS,
    splitting: float = SPLITTING,
) -> LeptonSamples:
    """Return far-detector samples in bins of lepton energy and angle, of any cross section.

    Electron-like and muon-like events of each beam, sums over what its experiment counts; neutral
    currents and tau leptons are left out. Rates are those of DUNE's published exposure, fluxes per
    m^2 and proton at the far detector, with its errors of normalisation. Every cross section has
    the near rates of nature, whose samples come along: they make simulated data. A beam without
    years has none.

    Args:
        experiments: of one beam each, such as `bayesxs.dune_experiment`; bins are their
            grid.far_bins.
        cross_section: "truth", "assumed", or what was learned in each beam (`learn_together`).
        years: at 1.2 MW and 40 kt in neutrino mode.
        antineutrino_years: the same in antineutrino mode; as in neutrino mode if not given.
        nucleons: of the nucleus whose cross section it is.
        detectors: response at the far detector by lepton, "mu" and "e"; what is not named is seen
            as it is.
        splitting: largest difference of squared masses, eV^2, up to which counts are those of the
            shared energies within 1e-9 of the events without oscillation; beyond, the error grows.

    Raises:
        InputError: no far flux, a beam twice, no years, beams or bins that differ in energies or
            numbers, a generator's events as nature, a cross section that is not there.

    Example:
        >>> small = {"grid": exp.grid, "energy_range": exp.energy_range}
        >>> modes = ("neutrino", "antineutrino")
        >>> beams = [bayesxs.dune_experiment(mode, exp.nature, **small) for mode in modes]
        >>> likelihood = bayesxs.counted_likelihood(bayesxs.lepton_samples(beams, "truth"))
        >>> sorted(likelihood.predict(bayesxs.NUFIT_6_0))
        ['nue_app', 'nuebar_app', 'numu_dis', 'numubar_dis']
    """
    _check(experiments, cross_section)
    configuration = embedded_dune(years, antineutrino_years)
    exposures = [configuration.exposure(_BEAMS[_beam(e)]) / nucleons for e in experiments]
    running = [number for number, exposure in enumerate(exposures) if exposure > 0.0]
    if not running:
        raise InputError.at("lepton_samples", "years", years, "above 0 in one of the beams")
    if not isinstance(cross_section, str):
        cross_section = [cross_section[number] for number in running]
    experiments = [experiments[number] for number in running]
    exposures = [exposures[number] for number in running]
    nature = with_few_energies(_folded(experiments, "truth", exposures, detectors), splitting)
    if cross_section == "truth":
        return nature
    fitted = _folded(experiments, cross_section, exposures, detectors)
    fitted = with_few_energies(fitted, splitting)
    return replace(fitted, inside=nature.inside, nature=nature)


def _folded(
    experiments: Sequence[Experiment],
    cross_section: Chosen,
    exposures: Sequence[float],
    detectors: Mapping[Flavor, GaussianDetector],
) -> LeptonSamples:
    """Fold a cross section with the events that each beam's experiment counts."""
    found: list[tuple[str, Component]] = []
    grids = {}
    for number, experiment in enumerate(experiments):
        learned = None if isinstance(cross_section, str) else cross_section[number]
        folded = _Folded(experiment, cross_section, learned, detectors)
        for sample in experiment.samples:
            name = _SAMPLES[_beam(experiment), sample.flavor_out]
            grids[name] = folded.grid(sample.flavor_out)
            events = exposures[number] * folded.rows(sample) * experiment.source_flux(sample)
            found.append((name, _component(sample, events)))
    names = tuple(name for name in _SAMPLES.values() if name in grids)
    components = [replace(component, sample=names.index(name)) for name, component in found]
    used = {error for c in components for error in c.errors}
    unoscillated = np.zeros((len(names), next(iter(grids.values())).size))
    for component in components:
        unoscillated[component.sample] += component.events.sum(axis=1)
    return LeptonSamples(
        names,
        unoscillated > _EMPTY * unoscillated.sum(axis=1, keepdims=True),
        experiments[0].energies.points,
        tuple(components),
        {name: sd for name, sd in ERRORS.items() if name in used},
        experiments[0].baseline,
        grids=tuple(grids[name] for name in names),
    )


class _Folded:
    """A cross section of one beam in the bins of its samples, made once for each kind of lepton."""

    def __init__(
        self,
        experiment: Experiment,
        kind: object,
        learned: LearnedCrossSection | None,
        detectors: Mapping[Flavor, GaussianDetector],
    ) -> None:
        self._experiment = experiment
        self._kind = kind
        self._learned = learned
        self._detectors = detectors
        self._grids = {
            s.flavor_out: experiment.geometry(experiment.targets[s]).grid
            for s in reversed(experiment.samples)
        }
        self._rows: dict[str, Float] = {}

    def grid(self, flavor: Flavor) -> RecoGrid:
        """Return the bins of a lepton: those of the first sample that has it."""
        return self._grids[flavor]

    def rows(self, sample: Sample) -> Float:
        """Return the cross section in the bins of a sample, (bins, energies), in 1e-38 cm^2 GeV."""
        target = self._experiment.targets[sample]
        if target.name not in self._rows:
            geometry = self._experiment.geometry(target)
            response = self._response(geometry, sample.flavor_out)
            points = response.points
            quadrature = (
                geometry.cell_quadrature
                if points is geometry.cells
                else geometry.rows(points.lepton_energy, points.z)
            )
            rows = response(self._fold(target, geometry, quadrature))
            self._rows[target.name] = rows * self._scale(target, geometry)
        return self._rows[target.name]

    def _response(self, geometry: Geometry, flavor: Flavor) -> LeptonResponse:
        grid, mass = self._grids[flavor], geometry.lepton_mass
        if flavor not in self._detectors:
            return exact_response(grid, mass)
        detector = self._detectors[flavor]
        return LeptonResponse(geometry.cells, grid, detector.resolutions, detector.acceptance, mass)

    def _fold(self, target: Target, geometry: Geometry, quadrature: Quadrature) -> Float:
        """Return the rows of a quadrature, (rows, energies)."""
        if self._learned is not None:
            operator = build_operator(quadrature, geometry.energies, geometry.nodes)
            return operator.response(self._learned.targets[target.name].mean, clamp=True)
        if self._kind == "truth" and quadrature is geometry.cell_quadrature:
            return geometry.true_cell_rows
        value = exact_cross_section(self._functions(target), quadrature)
        return fold(quadrature, geometry.energies, value)

    def _functions(self, target: Target) -> Positive:
        found = target.truth if self._kind == "truth" else target.assumed
        assert isinstance(found, Positive)
        return found

    def _scale(self, target: Target, geometry: Geometry) -> float:
        """Return the near rate of nature over that of the cross section."""
        if self._kind == "truth":
            return 1.0
        rows = self._fold(target, geometry, geometry.totals)
        total = rows.sum(axis=1) * geometry.energies.weights
        return float((geometry.true_total @ target.near_flux) / (total @ target.near_flux))


def _component(sample: Sample, events: Float) -> Component:
    bar = "bar" if sample.beam == "antineutrino" else ""
    error = "numu_sig" if sample.flavor_out == "mu" else "nue_sig"
    if sample.flavor_out == sample.flavor_in == "e":
        error = "nue_bg"
    return Component(
        sample=0,  # its place is known once all samples are
        flavor_in=sample.flavor_in,
        flavor_out=sample.flavor_out,
        antineutrino=sample.antineutrino,
        oscillates=True,
        errors=(error + bar,),
        channels=(f"{_BEAMS[sample.beam]}_{sample.name}",),
        events=events,
    )


def _beam(experiment: Experiment) -> str:
    return experiment.samples[0].beam


def _check(experiments: Sequence[Experiment], cross_section: Chosen) -> None:
    """Check that beams go together, and that their cross sections are there.

    Raises:
        InputError: they do not, or are not.
    """

    def fault(argument: str, value: object, allowed: str) -> InputError:
        return InputError.at("lepton_samples", argument, value, allowed)

    beams = [sample.beam for e in experiments for sample in e.samples[:1]]
    if not beams or len(set(beams)) < len(beams):
        raise fault("experiments", ", ".join(beams) or "()", "one of each beam, at least one")
    if isinstance(cross_section, str):
        if cross_section not in ("truth", "assumed"):
            allowed = 'learned cross sections, "truth" or "assumed"'
            raise fault("cross_section", cross_section, allowed)
    elif len(cross_section) != len(experiments):
        raise fault("cross_section", len(cross_section), f"{len(experiments)}, one for each beam")
    first = experiments[0]
    for number, experiment in enumerate(experiments):
        beam = experiment.samples[0].beam
        where = f"experiments[{number}]"
        if experiment.far_flux is None:
            allowed = "a flux at the far detector, per m^2 and proton: rates are absolute"
            raise fault(f"{where}.far_flux", None, allowed)
        for sample in experiment.samples:
            if sample.flavor_out == "tau" or sample.beam != beam:
                shown = f"{sample.name}, beam {sample.beam}"
                raise fault(f"{where}.samples", shown, f"muons and electrons of beam {beam}")
        if experiment.generated:
            allowed = "structure functions: a generator's events have no absolute cross section"
            raise fault(f"{where}.nature", "events", allowed)
        if cross_section == "assumed" and experiment.assumed is None:
            raise fault("cross_section", "assumed", f"{where} assumes none")
        if not np.array_equal(experiment.energies.points, first.energies.points):
            allowed = f"the shared energies of experiments[0], {len(first.energies.points)}"
            raise fault(f"{where}.energies", len(experiment.energies.points), allowed)
        if experiment.grid.far_bins != first.grid.far_bins:
            allowed = f"that of experiments[0], {first.grid.far_bins}"
            raise fault(f"{where}.grid.far_bins", experiment.grid.far_bins, allowed)
        if not isinstance(cross_section, str):
            _check_learned(experiment, cross_section[number], f"cross_section[{number}]")


def _check_learned(experiment: Experiment, learned: LearnedCrossSection, where: str) -> None:
    for target in experiment.unique_targets:
        if target.name not in learned.targets:
            allowed = f"has {', '.join(learned.targets)} only"
            raise InputError.at("lepton_samples", f"{where}, target", target.name, allowed)
