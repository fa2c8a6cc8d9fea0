"""The experiment: fluxes, nature, samples and detectors, from which everything else is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bayesxs.detector.density import Sample
from bayesxs.detector.grid import EnergyGrid, NodeGrid, energy_grid, longest_panel, unresolved
from bayesxs.errors import InputError
from bayesxs.experiment.generated import EventNature, Split, Window, refuse_same_events
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.settings import (
    DEFAULT_PRIORS,
    FluxUncertainty,
    GaussianDetector,
    Grid,
)
from bayesxs.experiment.target import make_target
from bayesxs.fork import refuse_fork
from bayesxs.inference.priors import Prior, check_priors, check_truth, on_prior_branch, prior_box
from bayesxs.inputs.flux import Flux
from bayesxs.physics.kinematics import PhaseSpace
from bayesxs.physics.nature import Nature, x_max
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import (
    DUNE,
    Baseline,
    NewtonSteps,
    OscillationParameters,
    probability,
)
from bayesxs.physics.structure_functions import StructureFunctions
from bayesxs.types import Floats as Float

if TYPE_CHECKING:
    from bayesxs.experiment.cross_section import LearnedCrossSection
    from bayesxs.experiment.leptons import Leptons
    from bayesxs.experiment.near import NearData
    from bayesxs.inference.far_data import FarData
    from bayesxs.inference.likelihood import Likelihood
    from bayesxs.inputs.counts import CountTable

# Relative L2 error of the far flux between shared energies from which runs and reports warn: five
# times that of the quick preset
UNRESOLVED: Final = 0.05


@dataclass(frozen=True, eq=False)
class Experiment:
    """Hold what is fixed before anything is learned; parts are made when first asked for.

    Attributes:
        flux: at the near detector.
        nature: what makes the data: an object with `structure_functions(lepton_mass,
            antineutrino)`, one callable (x, q2) -> (b0, b1, b2) for all, or a generator's events
            (`EventNature`), which are near data, far data and cross section at once.
        samples: what the far detector counts.
        far_flux: at the far detector before oscillation; the near one if None.
        assumed: what an analyst would assume in place of learning; None for nothing.
        parameters: true oscillation parameters; sin^2, rad, eV^2.
        priors: of the parameters that are sampled; the others stay at their true values.
        baseline: km, g/cm^3, electrons per nucleon.
        energy_range: lowest and highest neutrino energy in GeV.
        grid: sizes of grids.
        detector: resolutions; None for true energies and angles.
        flux_uncertainty: None for a flux that is known.
        far_events: expected at the far detector, all samples together; decides what is resolved.
        newton_steps: of the oscillation probability.
        source: what messages call the experiment.
        names: what messages call an argument, where that is not its own name.

    Raises:
        InputError: energies beyond the flux, a sample that the beam does not feed, a true value
            that its prior excludes, a generator's events that are assumed of themselves; JAX would
            hang in this process.

    Example:
        >>> flux, nature = bayesxs.dune_flux("neutrino"), bayesxs.QuarkParton(bayesxs.ct18nnlo())
        >>> own = bayesxs.Experiment(flux, nature, energy_range=(1.0, 4.0))
        >>> [sample.name for sample in own.samples]
        ['mu_to_mu']
    """

    flux: Flux
    nature: Nature | StructureFunctions | EventNature
    samples: tuple[Sample, ...] = (Sample(),)
    _: KW_ONLY
    far_flux: Flux | None = None
    assumed: Nature | StructureFunctions | EventNature | None = None
    parameters: OscillationParameters = field(default_factory=nufit_6_0)
    priors: Mapping[str, Prior] = field(default_factory=lambda: dict(DEFAULT_PRIORS))
    baseline: Baseline = DUNE
    energy_range: tuple[float, float] = (0.5, 10.0)
    grid: Grid = field(default_factory=Grid)
    detector: GaussianDetector | None = None
    flux_uncertainty: FluxUncertainty | None = None
    far_events: float = 6200
    newton_steps: NewtonSteps = 1
    source: str = "Experiment"
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what can be checked before anything is computed."""
        refuse_fork()
        object.__setattr__(self, "samples", tuple(self.samples))
        check_priors(self.source, self.priors)
        object.__setattr__(self, "parameters", on_prior_branch(self.priors, self.parameters))
        check_truth(self.source, self.priors, self.parameters)
        low, high = self.energy_range
        for flux in (self.flux, self.flux_at_far):
            first, last = flux.support
            for key, value in (("energy_range[0]", low), ("energy_range[1]", high)):
                if not first <= value <= last:
                    allowed = f"must lie within the flux {flux.source}: {first:g} to {last:g} GeV"
                    raise self._at_fault(key, value, allowed)
        for sample in self.samples:
            if not np.any(self.source_flux(sample)):
                name = self.flux_at_far.source
                allowed = f"{name} has no such neutrinos between {low:g} and {high:g} GeV"
                raise self._at_fault("samples.flavor_in", sample.flavor_in, allowed)
        if self.detector is not None and self.detector.stochastic != 0.0:
            allowed = "must be 0: lepton_samples alone takes it"
            raise self._at_fault("detector.stochastic", self.detector.stochastic, allowed)
        refuse_same_events(self.nature, self.assumed)

    def _at_fault(self, argument: str, value: object, allowed: str) -> InputError:
        return InputError.at(self.source, self.names.get(argument, argument), value, allowed)

    @cached_property
    def energies(self) -> EnergyGrid:
        """Shared energies, which resolve the largest phase that priors and baseline allow."""
        box = prior_box(self.priors)
        largest = sum(
            max(abs(end) for end in (*box.get(name, ()), float(getattr(self.parameters, name))))
            for name in ("dm21", "dm31")
        )
        length, (low, high) = float(np.asarray(self.baseline.length)), self.energy_range
        knots = _knots(self.flux, self.flux_at_far)
        try:
            return energy_grid(
                knots, low, high, self.grid.energy_order, longest_panel(length, largest)
            )
        except ValueError as error:
            allowed = f"the phase turns too often between {low:g} and {high:g} GeV: {error}"
            raise self._at_fault("baseline.length", length, allowed) from None

    @cached_property
    def flux_modes(self) -> Float:
        """Relative changes of the flux of unit prior width at the shared energies, (K, E)."""
        if self.flux_uncertainty is None:
            return np.zeros((0, len(self.energies.points)))
        return self.flux_uncertainty.modes(self.energies)

    @cached_property
    def space(self) -> PhaseSpace:
        """Range of x: as `grid.x_max` or else the furthest cross section says.

        Raises:
            InputError: grid.x_max is below 1 or not finite.
        """
        if self.grid.x_max is not None:
            return PhaseSpace(self.grid.x_max)
        return PhaseSpace(max(x_max(n) for n in (self.nature, self.assumed) if n is not None))

    @property
    def flux_at_far(self) -> Flux:
        """Flux at the far detector before oscillation."""
        return self.flux if self.far_flux is None else self.far_flux

    @property
    def near_far(self) -> float:
        """Error of the far flux over the near flux, over the error that they share."""
        return 0.0 if self.flux_uncertainty is None else self.flux_uncertainty.near_far

    @cached_property
    def unresolved(self) -> float:
        """Distance of far-detector fluxes from their shared energies' polynomials, relative L2.

        The largest of all samples, at the true parameters.
        """
        fine = EnergyGrid(self.energies.edges, 2 * self.energies.order + 4)
        found = []
        for sample in self.samples:
            values, exact = (
                self.flux_at_far(sample.flux_id, grid.points)
                * self.oscillation(sample, grid.points)
                for grid in (self.energies, fine)
            )
            found.append(unresolved(self.energies, values, fine, exact))
        return max(found)

    @property
    def resolution_warning(self) -> str | None:
        """Words for shared energies that do not resolve the oscillation; None if they do."""
        if self.unresolved <= UNRESOLVED:
            return None
        order = self.grid.energy_order
        return (
            f"grid.energy_order = {order}: the far flux between the shared energies is wrong by "
            f"{100.0 * self.unresolved:.0f} %; raise it"
        )

    @cached_property
    def targets(self) -> Mapping[Sample, Target]:
        """The cross section that each sample needs, and where it is learned."""
        return {sample: self._target(sample) for sample in self.samples}

    def _target(self, sample: Sample) -> Target:
        """Find the near-detector sample from which a far sample's cross section is learned."""
        near = sample.near
        flux = self.flux(near.flux_id, self.energies.points)
        if not np.any(flux):
            allowed = (
                f"{self.flux.source} has no near-detector flux to learn this cross section from"
            )
            raise self._at_fault("samples.flavor_out", sample.flavor_out, allowed)
        return make_target(
            near, partial(self.flux, near.flux_id), flux, self.nature, self.assumed, self._window
        )

    @property
    def _window(self) -> Window:
        return Window(self.energy_range, self.space)

    @property
    def generated(self) -> Mapping[str, Split]:
        """A generator's events by target, where nature is made of them; empty where it is not."""
        return {t.name: t.split for t in self.unique_targets if t.split is not None}

    @cached_property
    def unique_targets(self) -> tuple[Target, ...]:
        """Each target once, in the order of the samples."""
        return tuple({t.name: t for t in self.targets.values()}.values())

    @cached_property
    def geometries(self) -> Mapping[str, Geometry]:
        """Grids and operators by target; their parts are built when first asked for."""
        return {
            t.name: Geometry(self.grid, self.detector, self.energies, t, self.space)
            for t in self.unique_targets
        }

    def geometry(self, target: Target) -> Geometry:
        """Return the grids and operators of a target."""
        return self.geometries[target.name]

    @property
    def nodes(self) -> Mapping[str, NodeGrid]:
        """Nodes of the structure functions, by target."""
        return {name: geometry.nodes for name, geometry in self.geometries.items()}

    def source_flux(self, sample: Sample) -> Float:
        """Return the unoscillated flux that feeds a far sample, at the shared energies.

        In its own units, the same for all samples: only how samples compare, and their shapes,
        matter.
        """
        return self.flux_at_far(sample.flux_id, self.energies.points)

    def oscillation(
        self, sample: Sample, energy: Float, parameters: OscillationParameters | None = None
    ) -> Float:
        """Return the oscillation probability of a sample at given energies.

        Args:
            sample: what is counted.
            energy: in GeV.
            parameters: the true ones if None.
        """
        chosen = self.parameters if parameters is None else parameters
        energies = jnp.asarray(energy)
        return np.asarray(_oscillation(chosen, energies, self.baseline, sample, self.newton_steps))

    # What is made of an experiment imports it, and so is imported when first asked for

    def near_data(
        self,
        *,
        events: float | Leptons | Mapping[str, float] | Mapping[str, Leptons] = np.inf,
        key: jax.Array | int | None = None,
        file: str | Path | None = None,
        counts: CountTable | Mapping[str, CountTable] | None = None,
        impossible: Literal["refuse", "drop"] = "refuse",
        samples: Sequence[str] = (),
        one_by_one: bool = False,
    ) -> NearData:
        """Return near-detector data, of which a cross section is learned; made when first needed.

        Args:
            events: expected number for each target, or by target, whose counts fluctuate; infinite
                for the expected density. Or events in arrays, see `bayesxs.near_events`, of which
                the package makes fine bins; by target if there are several. A detector has
                measured them, but with a key its resolution acts on them first.
            key: random key or seed of the fluctuation, or of a detector.
            file: CSV file of counts; with several targets, "{target}" stands for their names.
            counts: in arrays, see `bayesxs.near_counts`; by target if there are several.
            impossible: what becomes of counts in bins that no neutrino of the beam fills.
            samples: targets whose data networks are fitted to, such as ("mu",); all if empty. The
                others are predicted, by networks that leptons share (`bayesxs.Training.share`).
            one_by_one: draw the number of events one by one, which a training can take so
                (`bayesxs.Training.loss`), in place of counts in bins.

        Raises:
            InputError: more than one of events, file and counts; a target without counts; events
                without a key; a sample that is no target.
        """
        from bayesxs.experiment.near_sources import make_near_data

        return make_near_data(
            self,
            events,
            key,
            file,
            counts,
            impossible=impossible,
            samples=samples,
            one_by_one=one_by_one,
        )

    def simulate(
        self,
        parameters: OscillationParameters | None = None,
        *,
        key: jax.Array | int,
        events: int = 6200,
        binned: bool = False,
    ) -> FarData:
        """Draw far-detector events from the true cross section.

        Args:
            parameters: of the oscillation; the experiment's true ones if None.
            key: random key or seed.
            events: number, of all samples together.
            binned: count them in the bins of `likelihood` in place of keeping each.

        Returns:
            Events or counts; with a detector, as it reconstructs them.
        """
        from bayesxs.experiment.far import far_data, simulated_events

        return far_data(self, simulated_events(self, events, key, parameters), binned)

    def likelihood(
        self,
        data: FarData,
        cross_section: LearnedCrossSection | Literal["truth", "assumed"],
        *,
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> Likelihood:
        """Fold far-detector data with a cross section: a pytree that jit, vmap and grad take.

        Args:
            data: events or counts, from `simulate` or own arrays (`bayesxs.FarData`).
            cross_section: a learned one, or that of the experiment by name.
            ranges: of parameters for which the likelihood is fast, by name: oscillation parameters,
                length, density and electron_fraction. Elsewhere it is exact too, and slower. The
                defaults cover priors and five standard deviations of NuFit-6.0.

        Raises:
            InputError: data beyond the phase space (naming the index) or in other bins; double
                precision is off; an unknown name.
        """
        from bayesxs.experiment.folding import fold_likelihood

        return fold_likelihood(self, data, cross_section, ranges or {})


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


def _knots(near: Flux, far: Flux) -> Float:
    """Return the energies at which either flux has a kink; what rounding separates is one."""
    energies = np.unique(np.concatenate([near.knots, far.knots]))
    apart = np.diff(energies, prepend=-np.inf) > 1e-9 * energies
    return energies[apart]
