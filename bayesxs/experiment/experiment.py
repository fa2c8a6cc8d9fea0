"""From a card to physics: the one place where configuration becomes objects of the other rooms."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from math import pi
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from bayesxs.cards.card import Card, prior_conflict
from bayesxs.cards.sections import (
    DuneFlux,
    FlatPrior,
    FluxShapeFile,
    LhapdfPDF,
    ModesFileCard,
    NatureCard,
    NearFlux,
    NoFluxShape,
    NufitPrior,
    RootFlux,
)
from bayesxs.detector.density import Sample
from bayesxs.detector.grid import EnergyGrid, Float, energy_grid, longest_panel, unresolved
from bayesxs.errors import InputError
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.near import NearDetector, near_path, require_file_per_target
from bayesxs.experiment.observed import read_observed
from bayesxs.fork import refuse_fork
from bayesxs.inference.priors import Flat, Gaussian, Prior, on_prior_branch, prior_box
from bayesxs.inputs.covariance import flux_modes, load_covariance, parametric_covariance
from bayesxs.inputs.flux import Flux, embedded_dune_flux, load_csv_flux, load_globes_flux
from bayesxs.inputs.fluxroot import load_root_flux, split_root_path
from bayesxs.inputs.lhagrid import set_files
from bayesxs.inputs.pdf import (
    PDF,
    embedded_ct18nnlo,
    embedded_les_houches,
    find_pdf_set,
    load_lhapdf_grid,
    load_official,
    require_flavors,
    with_heavy_flavors,
)
from bayesxs.keys import Purpose, derive
from bayesxs.learning.network import Architecture
from bayesxs.learning.training import Schedule
from bayesxs.physics.modification import Modification
from bayesxs.physics.oscillation import (
    Baseline,
    NewtonSteps,
    OscillationParameters,
    nufit_6_0,
    nufit_6_0_errors,
    probability,
)
from bayesxs.physics.structure_functions import PARTONS, Positive, QuarkParton

# Relative L2 error of the far flux between shared energies from which runs and reports warn: five
# times that of the quick preset
UNRESOLVED = 0.05


class Experiment:
    """Everything that a card fixes before anything is learned; built once, parts made on demand."""

    def __init__(self, card: Card, source: str = "card") -> None:
        """Read the inputs that a card names.

        Args:
            card: the analysis.
            source: where the card was read from, named in messages.

        Raises:
            InputError: an input file is missing or wrong, or contradicts the card; JAX would hang
                in this process.
        """
        refuse_fork()
        self.card = card
        self.source = source
        self.flux = _flux(card, "near")
        self.far_flux = self.flux if card.beam.far_flux.type == "near" else _flux(card, "far")
        self.pdf = _pdf(card.nature)
        truth = true_parameters(card)
        self.priors = _priors(card, truth, source)
        self.parameters = on_prior_branch(self.priors, truth)
        o = card.oscillation
        self.baseline = Baseline(o.baseline_km, o.density_g_cm3, o.electron_fraction)
        low, high = card.beam.energy_min_GeV, card.beam.energy_max_GeV
        for flux in (self.flux, self.far_flux):
            first, last = flux.support
            for key, value in (("energy_min_GeV", low), ("energy_max_GeV", high)):
                if not first <= value <= last:
                    allowed = f"must lie within the flux {flux.source}: {first:g} to {last:g} GeV"
                    raise InputError.at(source, f"beam.{key}", value, allowed)
        knots = _knots(self.flux, self.far_flux)
        self.energies = self._energy_grid(knots, low, high)
        beam = card.beam.mode
        self.samples = tuple(
            Sample(s.flavor_in, s.flavor_out, s.antineutrino, beam) for s in card.sample
        )
        self._geometries: dict[str, Geometry] = {}
        self._near: dict[str, NearDetector] = {}
        self.targets = {s: self._target(s) for s in self.samples}
        for sample in self.samples:
            if not np.any(self.source_flux(sample)):
                allowed = (
                    f"{self.far_flux.source} has no such neutrinos between {low:g} and {high:g} GeV"
                )
                raise InputError.at(source, "sample.flavor_in", sample.flavor_in, allowed)
        fluxes = {sample: self.source_flux(sample) for sample in self.samples}
        self.observed = read_observed(card, self.samples, self.energies, fluxes)
        self.flux_modes = _flux_modes(card, self.energies)
        require_file_per_target(card, [t.name for t in self.unique_targets], source)

    def _energy_grid(self, knots: Float, low: float, high: float) -> EnergyGrid:
        """Lay out energies that resolve the largest phase that priors and baseline allow."""
        box = prior_box(self.priors)
        largest = sum(
            max(abs(end) for end in (*box.get(name, ()), float(getattr(self.parameters, name))))
            for name in ("dm21", "dm31")
        )
        length = self.card.oscillation.baseline_km
        try:
            return energy_grid(
                knots, low, high, self.card.grid.energy_order, longest_panel(length, largest)
            )
        except ValueError as error:
            allowed = f"the phase turns too often between {low:g} and {high:g} GeV: {error}"
            raise InputError.at(self.source, "oscillation.baseline_km", length, allowed) from None

    @cached_property
    def unresolved(self) -> float:
        """How far far-detector fluxes are from their shared energies' polynomials, relative L2.

        The largest of all samples, at the true parameters.
        """
        fine = EnergyGrid(self.energies.edges, 2 * self.energies.order + 4)
        found = []
        for sample in self.samples:
            values, exact = (
                self.far_flux(sample.flux_id, grid.points) * self.oscillation(sample, grid.points)
                for grid in (self.energies, fine)
            )
            found.append(unresolved(self.energies, values, fine, exact))
        return max(found)

    @property
    def resolution_warning(self) -> str | None:
        """What to say where the shared energies do not resolve the oscillation; None if they do."""
        if self.unresolved <= UNRESOLVED:
            return None
        order = self.card.grid.energy_order
        return (
            f"grid.energy_order = {order}: the far flux between the shared energies is wrong by "
            f"{100.0 * self.unresolved:.0f} %; raise it"
        )

    def _target(self, sample: Sample) -> Target:
        """Find the near-detector sample from which a far sample's cross section is learned."""
        near = Sample(
            sample.flavor_out, sample.flavor_out, sample.antineutrino, sample.beam, "near"
        )
        flux = self.flux(near.flux_id, self.energies.points)
        if not np.any(flux):
            allowed = (
                f"{self.flux.source} has no near-detector flux to learn this cross section from"
            )
            raise InputError.at(self.source, "sample.flavor_out", sample.flavor_out, allowed)
        assumed = self.card.assumed
        return Target(
            near,
            _quark_parton(self.card.nature, self.pdf, near),
            flux,
            _quark_parton(assumed, _pdf(assumed), near) if assumed is not None else None,
        )

    @property
    def seed(self) -> int:
        """Seed of every random number."""
        return self.card.seed

    @property
    def unique_targets(self) -> tuple[Target, ...]:
        """Return each target once, in the order of the samples."""
        return tuple({t.name: t for t in self.targets.values()}.values())

    def geometry(self, target: Target) -> Geometry:
        """Return the grids and operators of a target, built at the first call."""
        if target.name not in self._geometries:
            self._geometries[target.name] = Geometry(self.card, self.energies, target)
        return self._geometries[target.name]

    def near(self, target: Target) -> NearDetector:
        """Return the near detector's view of a target, built at the first call."""
        if target.name not in self._near:
            key = derive(self.seed, Purpose.NEAR, self.unique_targets.index(target))
            self._near[target.name] = NearDetector(
                self.card, self.geometry(target), key, self.source
            )
        return self._near[target.name]

    @property
    def near_files(self) -> tuple[Path, ...]:
        """Return the files of near-detector counts."""
        if not self.card.near.file:
            return ()
        return tuple(near_path(self.card, target.name) for target in self.unique_targets)

    def source_flux(self, sample: Sample) -> Float:
        """Return the unoscillated flux that feeds a far sample, at the shared energies.

        In its own units, the same for all samples: only how samples compare, and their shapes,
        matter.
        """
        return self.far_flux(sample.flux_id, self.energies.points)

    def oscillation(self, sample: Sample, energy: Float) -> Float:
        """Return the true oscillation probability of a sample at given energies."""
        steps = self.card.oscillation.newton_steps
        energies = jnp.asarray(energy)
        return np.asarray(_oscillation(self.parameters, energies, self.baseline, sample, steps))


@partial(jax.jit, static_argnames=("sample", "newton_steps"))
def _oscillation(
    parameters: OscillationParameters,
    energy: jax.Array,
    baseline: Baseline,
    sample: Sample,
    newton_steps: NewtonSteps,
) -> jax.Array:
    return probability(
        sample.flavor_in,
        sample.flavor_out,
        parameters,
        energy,
        baseline,
        antineutrino=sample.antineutrino,
        newton_steps=newton_steps,
    )


def true_parameters(card: Card) -> OscillationParameters:
    """Return the true oscillation parameters of a card, angles in radians.

    Those that the card leaves out are NuFit's for the ordering that the sign of its dm31 says.
    """
    given = dict(card.oscillation.given())
    if "dcp" in given:
        given["dcp"] *= pi / 180.0
    return nufit_6_0(_variant(card), _ordering(given.get("dm31", 1.0)))._replace(**given)


def architecture(card: Card) -> Architecture:
    """Return the network's architecture."""
    n = card.network
    return Architecture(n.layers, n.width, n.activation, n.inputs, n.head, n.precision)


def schedule(card: Card, near_events: float) -> Schedule:
    """Return the training schedule.

    Args:
        card: the analysis.
        near_events: counted near-detector events; infinite for the expected density.
    """
    t = card.training
    anchor = 1.0 / (t.weight_sd**2 * near_events)  # the loss is twice -log L per event
    return Schedule(
        t.adam_steps if t.method != "gauss_newton" else 0,
        t.learning_rate,
        t.lbfgs_steps if t.method == "lbfgs" else 0,
        anchor,
        gauss_newton_steps=t.gauss_newton_steps if t.method == "gauss_newton" else 0,
    )


def input_files(card: Card) -> list[Path]:
    """Return the files that the cross section and the beam are read from, for content keys."""
    files = []
    for flux in (card.beam.flux, card.beam.far_flux):
        if not isinstance(flux, DuneFlux | NearFlux):
            is_root = isinstance(flux, RootFlux)
            files.append(split_root_path(flux.path)[0] if is_root else Path(flux.path))
    shape = card.flux_shape
    if isinstance(shape, FluxShapeFile):
        files.append(Path(shape.path))
    if isinstance(card.uncertainty, ModesFileCard):
        files.append(Path(card.uncertainty.path))
    for nature in (card.nature, card.assumed):
        if nature is not None and isinstance(nature.pdf, LhapdfPDF):
            files += set_files(find_pdf_set(nature.pdf.name), nature.pdf.member)
    return files


def _variant(card: Card) -> Literal["ic24", "ic19"]:
    return "ic24" if card.oscillation.parameters == "nufit-6.0-ic24" else "ic19"


def _ordering(dm31: float) -> Literal["normal", "inverted"]:
    return "normal" if dm31 > 0.0 else "inverted"


def _flux(card: Card, detector: Literal["near", "far"]) -> Flux:
    flux = card.beam.flux if detector == "near" else card.beam.far_flux
    if isinstance(flux, DuneFlux | NearFlux):
        return embedded_dune_flux(card.beam.mode, detector)
    if isinstance(flux, RootFlux):
        return load_root_flux(flux.path, flux.contents)
    load = load_globes_flux if flux.type == "globes" else load_csv_flux
    return load(flux.path, flux.energies)


def _knots(near: Flux, far: Flux) -> Float:
    """Return the energies at which either flux has a kink; what rounding separates is one."""
    energies = np.unique(np.concatenate([near.knots, far.knots]))
    apart = np.diff(energies, prepend=-np.inf) > 1e-9 * energies
    return energies[apart]


def _flux_modes(card: Card, energies: EnergyGrid) -> Float:
    """Return relative changes of the flux of unit prior width at the shared energies, (K, E)."""
    shape = card.flux_shape
    if isinstance(shape, NoFluxShape):
        return np.zeros((0, len(energies.points)))
    if isinstance(shape, FluxShapeFile):
        ends = (float(energies.edges[0]), float(energies.edges[-1]))
        return flux_modes(load_covariance(shape.path, ends), energies.points, 1.0 - shape.share)
    covariance = parametric_covariance(energies.points, shape.amplitude, shape.correlation_length)
    return flux_modes(covariance, energies.points, 1.0 - shape.share)


def _quark_parton(nature: NatureCard, pdf: PDF, sample: Sample) -> Positive:
    change = Modification(
        nature.q2_suppression_GeV2,
        nature.xf3_scale,
        nature.protons + nature.neutrons if nature.emc else 0,
    )
    modification = None if change == Modification() else change
    partons = QuarkParton(
        pdf,
        nature.protons,
        nature.neutrons,
        sample.lepton_mass,
        sample.antineutrino,
        modification,
        nature.form,
    )
    return Positive(partons)


def _pdf(nature: NatureCard) -> PDF:
    choice = nature.pdf
    if not isinstance(choice, LhapdfPDF):
        return embedded_ct18nnlo() if choice.table == "ct18nnlo" else embedded_les_houches()
    if choice.reader == "official":
        pdf: PDF = load_official(choice.name, choice.member)
    else:
        pdf = load_lhapdf_grid(find_pdf_set(choice.name), choice.member)
    pdf = with_heavy_flavors(pdf)
    require_flavors(pdf, PARTONS)
    return pdf


def _priors(card: Card, truth: OscillationParameters, source: str) -> Mapping[str, Prior]:
    in_card_units = truth._asdict() | {"dcp": truth.dcp * 180.0 / pi}
    if not card.far.file:
        conflict = prior_conflict(card.priors, in_card_units)
        if conflict is not None:
            raise InputError.at(source, *conflict)
    variant, ordering = _variant(card), _ordering(float(np.asarray(truth.dm31)))
    best, errors = nufit_6_0(variant, ordering), nufit_6_0_errors(variant, ordering)
    out: dict[str, Prior] = {}
    for name, prior in card.priors.free().items():
        unit = pi / 180.0 if name == "dcp" else 1.0
        if isinstance(prior, FlatPrior):
            out[name] = Flat(prior.low * unit, prior.high * unit)
        elif isinstance(prior, NufitPrior):
            out[name] = Gaussian(getattr(best, name), getattr(errors, name))
        else:
            out[name] = Gaussian(prior.mean * unit, prior.sd * unit)
    return out
