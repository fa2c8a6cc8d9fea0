"""Four samples in lepton kinematics: rates of any cross section, learned or not.

The near detector counts so many events that the rate of each kind of lepton is known. Whatever the
cross section, it is brought to that rate; its shape says what follows for the far detector:

    T = exposure flux_far R[sigma] (near rate of nature)/(near rate of sigma)

What errors remain of absolute rates are normalisations, those of the published configuration.
What near data leave open of a learned cross section are modes, nuisances of the counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

import numpy as np

from bayesxs.detector.density import Flavor, Sample
from bayesxs.detector.few_energies import SPLITTING, with_few_energies
from bayesxs.detector.lepton import LeptonSamples
from bayesxs.detector.samples import Component
from bayesxs.detector.smearing import Acceptance, ResponseParameters
from bayesxs.errors import InputError
from bayesxs.experiment.cross_section import LearnedCrossSection
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.lepton_fold import FoldedBeam, beside
from bayesxs.experiment.lepton_modes import with_modes
from bayesxs.experiment.settings import GaussianDetector
from bayesxs.inputs.globes.dune import ERRORS, YEARS, embedded_dune
from bayesxs.types import Floats as Float

type Chosen = Literal["truth", "assumed"] | Sequence[LearnedCrossSection]

# Leptons in DUNE's far detector. Resolutions: CDR vol. 2, arXiv:1512.06148, of electrons 2 % and
# 15 %/sqrt(E) in quadrature. Efficiencies: where the published selections (arXiv:2103.04797) level
# off
LEPTONS: Final[Mapping[Flavor, GaussianDetector]] = {
    "mu": GaussianDetector(acceptance=Acceptance(efficiency=0.95)),
    "e": GaussianDetector(
        ResponseParameters(energy_resolution=0.02),
        acceptance=Acceptance(efficiency=0.90),
        stochastic=0.15,
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
    years has none. Modes of what was learned are nuisances; then electrons that the near detector
    does not count take their rate from muons.

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
        InputError: no far flux, a beam twice, no years, nucleons or splitting, an unknown lepton,
            beams or bins that differ in energies or numbers, a generator's events as nature, a
            cross section that is not there, or modes of the shapes of spectra alone (`learn`).

    Example:
        >>> small = {"grid": exp.grid, "energy_range": exp.energy_range}
        >>> modes = ("neutrino", "antineutrino")
        >>> beams = [bayesxs.dune_experiment(mode, exp.nature, **small) for mode in modes]
        >>> likelihood = bayesxs.counted_likelihood(bayesxs.lepton_samples(beams, "truth"))
        >>> sorted(likelihood.predict(bayesxs.NUFIT_6_0))
        ['nue_app', 'nuebar_app', 'numu_dis', 'numubar_dis']
    """
    _check(experiments, cross_section, detectors, {"nucleons": nucleons, "splitting": splitting})
    configuration = embedded_dune(years, antineutrino_years)
    exposures = [configuration.exposure(_BEAMS[_beam(e)]) / nucleons for e in experiments]
    running = [number for number, exposure in enumerate(exposures) if exposure > 0.0]
    if not running:
        raise InputError.at("lepton_samples", "years", years, "above 0 in one of the beams")
    if not isinstance(cross_section, str):
        cross_section = [cross_section[number] for number in running]
    experiments = [experiments[number] for number in running]
    exposures = [exposures[number] for number in running]
    return _seen(experiments, cross_section, exposures, detectors, splitting)


def _seen(
    experiments: Sequence[Experiment],
    cross_section: Chosen,
    exposures: Sequence[float],
    detectors: Mapping[Flavor, GaussianDetector],
    splitting: float,
) -> LeptonSamples:
    """Return samples at few energies, with those of nature and the modes of what was learned."""
    nature, _ = _folded(experiments, "truth", exposures, detectors)
    nature = with_few_energies(nature, splitting)
    if cross_section == "truth":
        return nature
    fitted, beams = _folded(experiments, cross_section, exposures, detectors)
    fitted = with_few_energies(fitted, splitting)
    if cross_section != "assumed":
        fitted = with_modes(replace(fitted, inside=nature.inside), beams, exposures)
    return replace(fitted, inside=nature.inside, nature=nature)


def _folded(
    experiments: Sequence[Experiment],
    cross_section: Chosen,
    exposures: Sequence[float],
    detectors: Mapping[Flavor, GaussianDetector],
) -> tuple[LeptonSamples, list[FoldedBeam]]:
    """Fold a cross section with the events that each beam's experiment counts."""
    kind = cross_section if isinstance(cross_section, str) else "learned"
    learned = None if isinstance(cross_section, str) else cross_section
    beams = [
        FoldedBeam(
            experiment,
            kind,
            detectors,
            None if learned is None else learned[number],
            () if learned is None else beside(experiments, learned),
        )
        for number, experiment in enumerate(experiments)
    ]
    found: list[tuple[str, Component]] = []
    grids = {}
    for folded, exposure in zip(beams, exposures, strict=True):
        for sample in folded.experiment.samples:
            name = _SAMPLES[sample.beam, sample.flavor_out]
            grids[name] = folded.grid(sample.flavor_out)
            events = exposure * folded.rows(sample) * folded.experiment.source_flux(sample)
            found.append((name, _component(sample, events)))
    names = tuple(name for name in _SAMPLES.values() if name in grids)
    components = [replace(component, sample=names.index(name)) for name, component in found]
    used = {error for c in components for error in c.errors}
    unoscillated = np.zeros((len(names), next(iter(grids.values())).size))
    for component in components:
        unoscillated[component.sample] += component.events.sum(axis=1)
    samples = LeptonSamples(
        names,
        unoscillated > _EMPTY * unoscillated.sum(axis=1, keepdims=True),
        experiments[0].energies.points,
        tuple(components),
        {name: sd for name, sd in ERRORS.items() if name in used},
        experiments[0].baseline,
        grids=tuple(grids[name] for name in names),
    )
    return samples, beams


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


def _check(
    experiments: Sequence[Experiment],
    cross_section: Chosen,
    detectors: Mapping[Flavor, GaussianDetector],
    positive: Mapping[str, float],
) -> None:
    """Check that beams go together, and that their cross sections are there.

    Args:
        experiments: of one beam each.
        cross_section: of all.
        detectors: by lepton.
        positive: numbers by their argument.

    Raises:
        InputError: they do not, or are not.
    """

    def fault(argument: str, value: object, allowed: str) -> InputError:
        return InputError.at("lepton_samples", argument, value, allowed)

    for name, value in positive.items():
        if not 0.0 < value < np.inf:
            raise fault(name, value, "above 0, finite")
    for lepton in detectors:
        if lepton not in LEPTONS:
            raise fault("detectors", lepton, f"by {', '.join(LEPTONS)}")
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
        own = learned.targets[target.name]
        if len(own.modes) and not own.rates:
            allowed = "none, or those of learn_together: others are of the shapes of spectra alone"
            raise InputError.at("lepton_samples", f"{where}, modes", len(own.modes), allowed)
