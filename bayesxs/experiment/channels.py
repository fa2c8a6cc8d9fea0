"""Far-detector data folded with the true, the learned and, if there is one, an assumed model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations_with_replacement
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesxs.detector.density import FoldedRows, Sample
from bayesxs.detector.expansion import free_parameters
from bayesxs.detector.spectrum import Spectrum
from bayesxs.detector.template import Template
from bayesxs.errors import InputError
from bayesxs.experiment.cross_section import LearnedCrossSection, LearnedTarget
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry
from bayesxs.experiment.uncertainty import response_terms
from bayesxs.inference.channel import FarChannel, far_channel
from bayesxs.inference.compression import box_span, probability_span
from bayesxs.inference.folded import Folded, Oscillation
from bayesxs.inference.nuisances import GROUPS, Nuisance, of_groups
from bayesxs.learning.near_term import NearTerm
from bayesxs.types import Floats as Float

# Share of the expected events in bins that are left out of Asimov data: half an event of 6200
NEGLIGIBLE = 1e-4

# Events of a sample above which they are counted in bins, not taken one by one
BINNED_ABOVE = 50_000

# Share of the unoscillated rate below which a bin counts as empty
EMPTY_SHARE = 1e-12

# Density in 1/GeV of an event that a learned cross section says cannot happen
EMPTY_DENSITY = 1e-6


@dataclass(frozen=True)
class _Effect:
    """The effect on a sample of a unit of a nuisance, or of a product of two."""

    response: FoldedRows | None = None
    flux: Float | None = None


class Rows(NamedTuple):
    """Data of a sample, folded with a cross section, before they are compressed.

    Attributes:
        sample: what is counted.
        folded: cross section and its modes.
        weights: multiplicity of each row, shape (n,).
    """

    sample: Sample
    folded: Folded
    weights: Float


type _Effects = tuple[dict[str, _Effect], dict[tuple[str, str], _Effect]]


class Channels:
    """Far-detector data and cross sections of an experiment, as likelihoods.

    Kinds of cross section: "truth" makes the events, if all data are simulated; "learned" comes
    with the nuisances that are switched on; "assumed" is what an analyst holds against it.
    """

    def __init__(
        self,
        experiment: Experiment,
        cross_section: LearnedCrossSection | None,
        events: xr.Dataset | None,
        *,
        simulated: bool = True,
        binned_above: int = BINNED_ABOVE,
    ) -> None:
        """Hold what likelihoods are made of; they are folded when first asked for.

        Args:
            experiment: fluxes, samples and detectors.
            cross_section: what was learned; None where nothing was.
            events: at the far detector: sample, lepton_energy, z, cos_theta, and what is
                reconstructed where there is response.
            simulated: whether the truth made all data.
            binned_above: events of a sample above which they are counted in bins.
        """
        self.experiment = experiment
        self._cross_section = cross_section
        self._events = events
        self.simulated = simulated
        self._binned_above = binned_above
        self._spans: dict[tuple[Sample, bool], jax.Array] = {}
        self._kept_effects: dict[tuple[Sample, bool], _Effects] = {}
        self._kept: dict[tuple[object, ...], list[FarChannel]] = {}

    @property
    def cross_section(self) -> LearnedCrossSection:
        """The learned cross section.

        Raises:
            InputError: nothing was.
        """
        if self._cross_section is None:
            raise InputError("no cross section was learned: train first")
        return self._cross_section

    @property
    def events(self) -> xr.Dataset:
        """The observed events.

        Raises:
            InputError: there are none.
        """
        if self._events is None:
            raise InputError("no far-detector events: simulate or read them first")
        return self._events

    @property
    def learned(self) -> Mapping[str, LearnedTarget]:
        """The learned cross sections, by target."""
        return self.cross_section.targets

    @property
    def flux_modes(self) -> Float:
        """The flux nuisances that they follow: relative changes of unit prior width, (J, E)."""
        return self.cross_section.flux_modes

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of cross section that there are."""
        truth = ("truth",) if self.simulated else ()
        return (*truth, "learned", *(("assumed",) if self.experiment.assumed is not None else ()))

    @property
    def reference(self) -> str:
        """Kind of the cross section that expected data are made with."""
        return self.kinds[0]

    @property
    def effective_parameters(self) -> dict[str, float]:
        """Parameters that each learned cross section takes from the near data, where known."""
        taken = {name: own.effective_parameters for name, own in self.learned.items()}
        return {name: value for name, value in taken.items() if value is not None}

    @property
    def values(self) -> dict[str, Float]:
        """Learned structure functions on the nodes by target, shape (n_nodes, 3)."""
        return {name: learned.mean for name, learned in self.learned.items()}

    @cached_property
    def nuisances(self) -> tuple[Nuisance, ...]:
        """The nuisances of the learned cross section, in the order of the sampled vector."""
        out = list(dict.fromkeys(n for name in self.learned for n in self._of_modes(name)))
        count = len(self.flux_modes)
        out += [Nuisance(f"flux_{j}", "flux") for j in range(count)]
        if self.experiment.near_far > 0.0:
            out += [Nuisance(f"near_far_{j}", "flux") for j in range(count)]
        return (*out, *(Nuisance(name, "response") for name in self._response_names))

    def _of_modes(self, target: str) -> list[Nuisance]:
        """Return the nuisances of a target's modes, in their order."""
        learned = self.learned[target]
        owners = {own.family or name for name, own in self.learned.items()}
        stem = f"_{learned.family or target}" if len(owners) > 1 else ""
        count = len(learned.modes)
        common = count - learned.ratio_modes
        return [Nuisance(f"cross_section{stem}_{k}", "cross_section") for k in range(common)] + [
            Nuisance(f"lepton_ratio{stem}_{k}", "lepton_ratio") for k in range(count - common)
        ]

    @property
    def _response_names(self) -> tuple[str, ...]:
        detector = self.experiment.detector
        return () if detector is None else free_parameters(detector.sds)

    def chosen(self, groups: Sequence[str] = tuple(GROUPS)) -> tuple[Nuisance, ...]:
        """Return the nuisances of some groups."""
        return of_groups(self.nuisances, groups)

    def near_terms(
        self, kind: str = "learned", groups: Sequence[str] = tuple(GROUPS)
    ) -> tuple[NearTerm, ...]:
        """Return what near data add to a joint model with the nuisances of some groups.

        Args:
            kind: of cross section; near data inform with the learned one alone.
            groups: of nuisances; without the flux there is nothing to inform on.
        """
        names = [n.name for n in self.chosen(groups)] if kind == "learned" else []
        if "flux_0" not in names:
            return ()
        first = names.index("flux_0")
        terms = [own.near for own in self.learned.values() if own.near is not None]
        return tuple(replace(term, first=first) for term in terms)

    def of_events(self, kind: str) -> list[FarChannel]:
        """Return the channels of the observed events.

        They are taken one by one, but in bins where there is response or a generator's template,
        or where they are many.
        """
        if ("events", kind) not in self._kept:
            self._kept["events", kind] = self._of_events(kind)
        return self._kept["events", kind]

    def _of_events(self, kind: str) -> list[FarChannel]:
        return [
            self._channel(rows, self._span(rows.sample, rows.folded.flux_modes))
            for rows in self.rows_of_events(kind)
        ]

    def in_bins(self, number: int) -> bool:
        """Say whether the events of a sample are counted in bins."""
        many = int(np.sum(self.events["sample"].values == number)) > self._binned_above
        return many or self._geometry(self.experiment.samples[number]).integrated

    def rows_of_events(self, kind: str) -> list[Rows]:
        """Return the observed events of each sample, folded: one by one, or in bins."""
        out = []
        for number, sample in enumerate(self.experiment.samples):
            own = self.events.isel(event=self.events["sample"].values == number)
            geometry = self._geometry(sample)
            if self.in_bins(number):
                spectrum, weights = geometry.binned, _counts(geometry, own)
            else:
                spectrum = geometry.events(own["lepton_energy"].values, own["z"].values)
                weights = np.ones(own.sizes["event"])
            out.append(Rows(sample, self._fold(kind, sample, spectrum, tuple(GROUPS)), weights))
        return out

    def rows_of_bins(self, kind: str, counts: Sequence[Float]) -> list[Rows]:
        """Return counts in the bins of each sample's geometry, folded."""
        return [
            Rows(
                sample, self._fold(kind, sample, self._geometry(sample).binned, tuple(GROUPS)), own
            )
            for sample, own in zip(self.experiment.samples, counts, strict=True)
        ]

    def predicted(
        self, kind: str
    ) -> list[tuple[FarChannel, dict[str, jax.Array], NDArray[np.intp]]]:
        """Return the bins of predicted counts of each sample, their edges, and each row's place.

        Bins that the unoscillated flux does not fill have no row.
        """
        out = []
        for sample in self.experiment.samples:
            geometry = self._geometry(sample)
            folded = self._fold(kind, sample, geometry.binned, tuple(GROUPS))
            filled = folded.response.rows @ folded.flux
            kept = filled > EMPTY_SHARE * filled.sum()
            channel = self._channel(Rows(sample, folded, kept.astype(float)), None)
            grid = geometry.grid
            edges = {
                "lepton_energy": jax.numpy.asarray(grid.energy_edges),
                "angle": jax.numpy.asarray(grid.angle_edges),
            }
            out.append((channel, edges, np.flatnonzero(kept)))
        return out

    def folded(
        self, rows: Sequence[Rows], box: Mapping[str, tuple[float, float]] | None
    ) -> list[FarChannel]:
        """Return channels, compressed for parameters within a box; without one, not compressed."""
        e = self.experiment
        out = []
        for own in rows:
            span = None
            if box is not None:
                span = box_span(
                    self._oscillation(own.sample),
                    e.energies.points,
                    box,
                    e.parameters,
                    own.folded.flux_modes,
                )
            out.append(self._channel(own, span))
        return out

    def of_asimov(self, kind: str, groups: tuple[str, ...] = tuple(GROUPS)) -> list[FarChannel]:
        """Return the channels of the expected, unfluctuated data.

        Expected counts and model share the bins' own normalisation, so that the likelihood of the
        true cross section peaks at the true parameters exactly.

        Args:
            kind: of cross section.
            groups: of nuisances to include with the learned one.
        """
        if ("asimov", kind, groups) not in self._kept:
            self._kept["asimov", kind, groups] = self._of_asimov(kind, groups)
        return self._kept["asimov", kind, groups]

    def _of_asimov(self, kind: str, groups: tuple[str, ...]) -> list[FarChannel]:
        sizes = np.bincount(self.events["sample"].values, minlength=len(self.experiment.samples))
        out = []
        for sample, size in zip(self.experiment.samples, sizes, strict=True):
            geometry = self._geometry(sample)
            nominal = self._nominal(self.reference, sample, geometry.seen)
            expected = geometry.seen_sizes * self._expected(sample, nominal)
            expected = _worth_keeping(expected)
            weights = size * expected / expected.sum()
            folded = self._fold(kind, sample, geometry.seen, groups)
            folded = _within(folded, expected > 0.0, geometry.seen_rows(0)[2])
            span = self._span(sample, folded.flux_modes)
            out.append(self._channel(Rows(sample, folded, weights), span))
        return out

    def of_bins(self, kind: str) -> list[FarChannel]:
        """Return the channels of bins, empty as yet, of which pseudo-experiments are made.

        Bins that the true parameters leave all but empty are left out.
        """
        out = []
        for sample in self.experiment.samples:
            folded = self._fold(kind, sample, self._geometry(sample).binned, tuple(GROUPS))
            kept = _worth_keeping(self._expected(sample, folded.response)) > 0.0
            folded = _within(folded, kept, np.ones(len(kept)))
            span = self._span(sample, folded.flux_modes)
            out.append(self._channel(Rows(sample, folded, kept.astype(float)), span))
        return out

    def _expected(self, sample: Sample, response: FoldedRows) -> Float:
        """Return what is expected in each row at the true parameters."""
        oscillation = self.experiment.oscillation(sample, self.experiment.energies.points)
        flux = self.experiment.source_flux(sample) * oscillation
        return response.rows @ flux

    def of_rows(self, kind: str, sample: Sample, lepton_energy: Float, z: Float) -> FoldedRows:
        """Return the nominal response of a cross section at given (E_l, z)."""
        return self._nominal(kind, sample, self._geometry(sample).events(lepton_energy, z))

    def rows_as_seen(self, kind: str, sample: Sample) -> Folded:
        """Return all that makes the expected spectrum of the bins as seen, nuisances included."""
        return self._fold(kind, sample, self._geometry(sample).seen, tuple(GROUPS))

    def _geometry(self, sample: Sample) -> Geometry:
        return self.experiment.geometry(self.experiment.targets[sample])

    def _nominal(self, kind: str, sample: Sample, spectrum: Spectrum) -> FoldedRows:
        """Fold the true, the assumed, or the mean learned cross section."""
        target = self.experiment.targets[sample]
        geometry = self._geometry(sample)
        if kind == "truth":
            if spectrum is geometry.seen or isinstance(target.truth, Template):
                return geometry.seen_truth
            return spectrum.of_function(target.truth)
        if kind == "assumed":
            assert target.assumed is not None
            if isinstance(target.assumed, Template):
                return geometry.of_template(target.assumed)
            return spectrum.of_function(target.assumed)
        return spectrum.of_values(self.learned[target.name].mean, clamp=True)

    def _effects(
        self, sample: Sample, spectrum: Spectrum, groups: Sequence[str]
    ) -> tuple[list[_Effect], list[_Effect], tuple[tuple[int, int], ...]]:
        """Return what nuisances do, what products of pairs do, and which pairs those are."""
        geometry = self._geometry(sample)
        if spectrum is geometry.seen or spectrum is geometry.binned:  # many readers
            key = (sample, spectrum is geometry.binned)
            if key not in self._kept_effects:
                self._kept_effects[key] = self._all_effects(sample, spectrum)
            single, double = self._kept_effects[key]
        else:
            single, double = self._all_effects(sample, spectrum)
        place = {n.name: i for i, n in enumerate(self.chosen(groups))}
        effects = [single[n.name] for n in self.chosen(groups)]
        products, pairs = [], []
        for (first, second), effect in double.items():
            if first in place:
                products.append(effect)
                pairs.append((place[first], place[second]))
        return effects, products, tuple(pairs)

    def _all_effects(self, sample: Sample, spectrum: Spectrum) -> _Effects:
        """Return the effect of every nuisance and of every product of two that has its own."""
        target = self.experiment.targets[sample]
        learned = self.learned[target.name]
        single = {n.name: _Effect() for n in self.nuisances}
        parts = (learned.modes, learned.flux, learned.response)
        shape = (-1, *learned.mean.shape)
        folded = spectrum.of_many(np.concatenate([part.reshape(shape) for part in parts]))
        ends = np.cumsum([len(part) for part in parts])
        modes, fluxes, shared = (
            folded[end - len(part) : end] for end, part in zip(ends, parts, strict=True)
        )
        for own, mode in zip(self._of_modes(target.name), modes, strict=True):
            single[own.name] = _Effect(mode)
        for j, shape in enumerate(self.flux_modes):
            follows = fluxes[j] if fluxes else None
            single[f"flux_{j}"] = _Effect(follows, shape)
            if self.experiment.near_far > 0.0:
                single[f"near_far_{j}"] = _Effect(None, self.experiment.near_far * shape)
        double: dict[tuple[str, str], _Effect] = {}
        if learned.near is not None:
            flux_names = [f"flux_{j}" for j in range(len(self.flux_modes))]
            products = combinations_with_replacement(flux_names, 2)
            for pair, change in zip(products, learned.flux_pairs, strict=True):
                double[pair] = _Effect(spectrum.of_values(change))
        names = self._response_names
        if names:
            terms = response_terms(self._geometry(sample), learned.mean)[1:]
            effects = [FoldedRows(rows, rows.sum(axis=0)) for rows in terms]
            for i, name in enumerate(names):
                effect = effects[i]
                if shared:  # the near detector shares it
                    effect = _sum(effect, shared[i])
                single[name] = _Effect(effect)
            upper = combinations_with_replacement(names, 2)
            for pair, effect in zip(upper, effects[len(names) :], strict=True):
                double[pair] = _Effect(effect)
        return single, double

    def _fold(self, kind: str, sample: Sample, spectrum: Spectrum, groups: Sequence[str]) -> Folded:
        """Fold a cross section and the nuisances that go with it."""
        energies, flux = self.experiment.energies.points, self.experiment.source_flux(sample)
        effects: list[_Effect] = []
        products: list[_Effect] = []
        pairs: tuple[tuple[int, int], ...] = ()
        if kind == "learned":
            effects, products, pairs = self._effects(sample, spectrum, groups)
        shapes = [np.zeros(len(energies)) if e.flux is None else e.flux for e in effects]
        return Folded(
            self._nominal(kind, sample, spectrum),
            [e.response for e in (*effects, *products)],
            flux,
            np.array(shapes).reshape(-1, len(energies)),
            pairs,
        )

    def _channel(self, own: Rows, span: jax.Array | None) -> FarChannel:
        """Fold rows onto the directions of a span; None for all energies as they are."""
        sample, folded, weights = own
        response, dead = folded.response, _without_density(folded, weights)
        # Where a learned cross section vanishes an event has no density to take the logarithm of.
        # It is given one that does not depend on the parameters: such an event tells nothing.
        rows = np.where(dead[:, None], EMPTY_DENSITY * response.total, response.rows)
        informed = folded._replace(
            response=FoldedRows(rows, response.total),
            modes=[_without(m, dead) for m in folded.modes],
        )
        energies = self.experiment.energies.points
        directions = np.eye(len(folded.flux)) if span is None else span
        return far_channel(informed, energies, weights, self._oscillation(sample), directions)

    def _oscillation(self, sample: Sample) -> Oscillation:
        e = self.experiment
        return Oscillation(sample, e.baseline, e.newton_steps)

    def _span(self, sample: Sample, flux_modes: Float) -> jax.Array:
        key = (sample, bool(np.any(flux_modes)))
        if key not in self._spans:
            e = self.experiment
            self._spans[key] = probability_span(
                self._oscillation(sample), e.energies.points, e.priors, e.parameters, flux_modes
            )
        return self._spans[key]


def _counts(geometry: Geometry, events: xr.Dataset) -> Float:
    """Count a sample's events in bins of energy and angle, reconstructed ones if there are."""
    if geometry.response is not None:
        return geometry.grid.count(events["reco_lepton_energy"].values, events["reco_angle"].values)
    return geometry.grid.count(
        events["lepton_energy"].values, np.arccos(events["cos_theta"].values)
    )


def _without_density(folded: Folded, weights: Float) -> np.ndarray:
    """Return which rows have weight, but are made by no neutrino."""
    return ((folded.response.rows @ folded.flux) <= 0.0) & (weights > 0.0)


def _worth_keeping(expected: Float) -> Float:
    """Empty the bins that together hold less than NEGLIGIBLE of the events.

    Of next to nothing, a response may make many times as much: the linear terms of such bins have
    no meaning, and their logarithms would hurt.
    """
    order = np.argsort(expected)
    share = np.cumsum(expected[order]) / expected.sum()
    kept = expected.copy()
    kept[order[share < NEGLIGIBLE]] = 0.0
    return kept


def _within(folded: Folded, kept: np.ndarray, areas: Float) -> Folded:
    """Normalise a cross section and its modes to the rows that are kept.

    Where data never fall into the others, a density that reached into them would favor parameters
    that empty them.
    """

    def restricted(response: FoldedRows) -> FoldedRows:
        outside = areas[~kept] @ response.rows[~kept]
        return FoldedRows(response.rows, response.total - outside)

    modes = [None if mode is None else restricted(mode) for mode in folded.modes]
    return folded._replace(response=restricted(folded.response), modes=modes)


def _sum(first: FoldedRows, second: FoldedRows) -> FoldedRows:
    return FoldedRows(first.rows + second.rows, first.total + second.total)


def _without(response: FoldedRows | None, dead: np.ndarray) -> FoldedRows | None:
    """Leave out the rows that carry no information."""
    if response is None or not dead.any():
        return response
    return FoldedRows(np.where(dead[:, None], 0.0, response.rows), response.total)
