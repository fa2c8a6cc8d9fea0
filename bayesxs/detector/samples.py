"""Samples that are sums of components: what they expect, whatever their bins are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.detector.count_modes import CountModes
from bayesxs.detector.energy_scale import EnergyScale
from bayesxs.detector.rates import Part, Rates, make_rates
from bayesxs.physics.oscillation import Baseline, OscillationParameters
from bayesxs.types import Floats as Float


@dataclass(frozen=True, eq=False)
class Component:
    """Part of a sample with one probability and one normalisation.

    Attributes:
        sample: its place among the samples.
        flavor_in: flavor that leaves the source.
        flavor_out: flavor that interacts.
        antineutrino: whether of antineutrinos.
        oscillates: False where P = 1.
        errors: names of its normalisations.
        channels: names of what was added.
        events: T_ij, (bins, true energies).
        flux: place of its flux among those of uncertain shape.
        count_modes: what modes of the cross section add to it; None where it is known.
    """

    sample: int
    flavor_in: str
    flavor_out: str
    antineutrino: bool
    oscillates: bool
    errors: tuple[str, ...]
    channels: tuple[str, ...]
    events: Float
    flux: int = 0
    count_modes: CountModes | None = None

    @property
    def kind(self) -> tuple[str, str, bool] | None:
        """Probability that it takes; none where it is 1."""
        return (self.flavor_in, self.flavor_out, self.antineutrino) if self.oscillates else None


@dataclass(frozen=True, eq=False)
class CountedSamples:
    """Samples in bins of any kind, and their expected counts.

    Attributes:
        names: of the samples.
        inside: which bins are analysed, (samples, bins).
        energy: true energies, GeV.
        components: their parts.
        errors: standard deviation of each normalisation.
        baseline: of the neutrinos.
        modes: of the shape of each flux, relative, by its name, (m, true energies).
        nature: samples of the same analysed bins that make the data, where they are others.
        cross_section: modes of the cross section, each by its name with its group of nuisances.
        shown_energy: which energy samples are shown in.
    """

    names: tuple[str, ...]
    inside: NDArray[np.bool_]
    energy: Float
    components: tuple[Component, ...]
    errors: Mapping[str, float]
    baseline: Baseline
    modes: Mapping[str, Float] = field(default_factory=dict)
    nature: CountedSamples | None = field(kw_only=True, default=None)
    cross_section: Mapping[str, str] = field(kw_only=True, default_factory=dict)
    shown_energy: ClassVar[str] = "reconstructed energy"

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisances, in the order of pulls.

        Normalisations, fluxes, energy scales, modes of the cross section.
        """
        return (*self.errors, *self.shapes, *self.scales, *self.cross_section)

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each nuisance, as the registry of nuisances calls it."""
        out = ["normalisation"] * len(self.errors) + ["flux"] * len(self.shapes)
        return (*out, *(["response"] * len(self.scales)), *self.cross_section.values())

    @property
    def shapes(self) -> tuple[str, ...]:
        """Names of the modes of fluxes."""
        return tuple(f"{name}_{k}" for name, own in self.modes.items() for k in range(len(own)))

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the nuisances of the energy scale."""
        return ()

    def scale(self, bins: slice) -> EnergyScale | None:
        """Return how counts of some bins follow the energy scale; None where it is known."""
        return None

    def rates(self, all_bins: bool = False) -> Rates:
        """Return the expected counts as a pytree of arrays.

        Bins from the first that any sample analyses to the last are held.

        Args:
            all_bins: hold those that no sample analyses too, and analyse all.
        """
        used = np.flatnonzero(self.inside.any(axis=0))
        bins = slice(None) if all_bins else slice(int(used[0]), int(used[-1]) + 1)
        inside = np.ones_like(self.inside) if all_bins else self.inside[:, bins]
        parts = [Part(c.sample, c.kind, c.flux) for c in self.components]
        widths = [
            [sd * (name in c.errors) for name, sd in self.errors.items()] for c in self.components
        ]
        rates = make_rates(
            self.energy,
            [c.events[bins] for c in self.components],
            parts,
            np.array(widths, float).reshape(len(parts), -1),
            inside,
            self.baseline,
            np.stack(list(self.modes.values())) if self.modes else None,
            self.scale(bins),
        )
        if not self.cross_section:
            return rates
        modes = [c.count_modes and c.count_modes.of_bins(bins) for c in self.components]
        return rates.with_modes(modes)

    def of_nature(self) -> Rates:
        """Return the expected counts that make data."""
        return (self.nature or self).rates()

    def shown(self, place: int) -> tuple[Float, NDArray[np.intp]]:
        """Return edges in GeV that a sample is shown in, and the one of each analysed bin.

        Args:
            place: of the sample.
        """
        raise NotImplementedError

    @cached_property
    def _all(self) -> Rates:
        return self.rates(all_bins=True)

    @cached_property
    def _expected(self) -> Rates:
        return self.rates()

    def by_component(
        self, params: OscillationParameters, density: ArrayLike | None = None
    ) -> Array:
        """Return the expected counts of each component, all bins, (components, bins).

        Args:
            params: scalars.
            density: of the matter in g/cm^3; that of `baseline` if not given.
        """
        return self._all.by_component(params, density)

    def counts(
        self,
        params: OscillationParameters,
        density: ArrayLike | None = None,
        pulls: ArrayLike | None = None,
    ) -> Array:
        """Return the expected counts of every sample, all bins, (samples, bins).

        Args:
            params: scalars.
            density: of the matter in g/cm^3; that of `baseline` if not given.
            pulls: nuisances in standard deviations, in the order of `nuisances`; zero if not
                given.
        """
        return self._all.counts(params, density, pulls)

    def expected(
        self,
        params: OscillationParameters,
        density: ArrayLike | None = None,
        pulls: ArrayLike | None = None,
    ) -> Array:
        """Return the counts of all analysed bins, one sample after the other.

        Takes what `counts` takes.
        """
        return self._expected(params, density, pulls)
