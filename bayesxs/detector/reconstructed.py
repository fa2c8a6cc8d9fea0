"""Expected counts in reconstructed energy: samples that are sums of channels.

Of a channel, the events of true energies E_j that are reconstructed in bin i, without oscillation,

    T_ij = exposure dE_j flux(E_j) post_i smr_ij pre_j sigma(E_j)

are constants; a sample counts n_i = sum over channels of (1 + sum of sd x pull) sum_j T_ij P(E_j).
Channels that share sample, probability and normalisation are added once and for all; where fluxes
have uncertain shapes, those of one flux only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.detector.rates import Part, Rates, make_rates
from bayesxs.errors import InputError
from bayesxs.inputs.flux import COLUMNS, NEUTRINOS
from bayesxs.inputs.globes.configuration import Channel, Configuration
from bayesxs.physics.oscillation import Baseline, OscillationParameters

Float = NDArray[np.float64]

# Total cross section in 1e-38 cm^2 of a PDG id, over energies in GeV
CrossSection = Callable[[int, Float], Float]


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

    @property
    def kind(self) -> tuple[str, str, bool] | None:
        """Which probability it takes; none where it is 1."""
        return (self.flavor_in, self.flavor_out, self.antineutrino) if self.oscillates else None


@dataclass(frozen=True, eq=False)
class ReconstructedSamples:
    """Samples in bins of reconstructed energy, and their expected counts.

    Attributes:
        names: of the samples.
        edges: of the bins, GeV, one more than bins.
        inside: which bins are analysed, (samples, bins).
        energy: centers of the true bins, GeV.
        components: their parts.
        errors: standard deviation of each normalisation.
        baseline: of the neutrinos.
        modes: of the shape of each flux, relative, by its name, (m, true energies).
    """

    names: tuple[str, ...]
    edges: Float
    inside: NDArray[np.bool_]
    energy: Float
    components: tuple[Component, ...]
    errors: Mapping[str, float]
    baseline: Baseline
    modes: Mapping[str, Float] = field(default_factory=dict)

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of the nuisances, in the order of pulls: normalisations, then modes of fluxes."""
        shapes = (f"{name}_{k}" for name, modes in self.modes.items() for k in range(len(modes)))
        return (*self.errors, *shapes)

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
        return make_rates(
            self.energy,
            [c.events[bins] for c in self.components],
            parts,
            np.array(widths, float).reshape(len(parts), -1),
            inside,
            self.baseline,
            np.stack(list(self.modes.values())) if self.modes else None,
        )

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


def reconstructed_samples(
    configuration: Configuration,
    cross_sections: Mapping[str, CrossSection] | None = None,
    flux_modes: Callable[[Float], Float] | None = None,
) -> ReconstructedSamples:
    """Fold the tables of a configuration to what its samples expect.

    A bin is analysed if its center lies in the window of its sample. Components that expect
    nothing, such as of a cross section that is zero, are left out.

    Args:
        configuration: all tables.
        cross_sections: by name, in place of those of the configuration: learned ones for "CC".
        flux_modes: from true energies in GeV, (e,), the modes of the shape of a flux, relative and
            of unit width, (m, e). Each flux, of one beam and one kind of neutrino, has its own.

    Raises:
        InputError: a cross section of a name that the configuration has not, or nothing is
            expected.
    """
    replaced = cross_sections or {}
    for name in replaced:
        if name not in configuration.cross_sections:
            allowed = f"one of {', '.join(configuration.cross_sections)}"
            raise InputError.at(configuration.source, "cross section", name, allowed)
    sections: dict[str, CrossSection] = {**configuration.cross_sections, **replaced}
    energy = 0.5 * (configuration.true[:-1] + configuration.true[1:])
    groups: dict[tuple[object, ...], list[tuple[Channel, Float]]] = {}
    for channel in configuration.channels:
        events = _events(configuration, channel, sections[channel.cross_section], energy)
        if not np.any(events):
            continue
        flavors = (channel.flavor_in, channel.flavor_out, channel.antineutrino)
        kind = flavors if channel.oscillates else None
        key = (channel.sample, kind, channel.errors, _flux(channel) if flux_modes else "")
        groups.setdefault(key, []).append((channel, events))
    if not groups:
        raise InputError(f"{configuration.source}: no channel expects any events")
    names = configuration.samples
    sources = [_flux(members[0][0]) for members in groups.values()]
    fluxes = list(dict.fromkeys(sources))
    components = tuple(
        _added(names, members, fluxes.index(source) if flux_modes else 0)
        for source, members in zip(sources, groups.values(), strict=True)
    )
    modes = dict.fromkeys(fluxes, flux_modes(energy)) if flux_modes else {}
    centers = 0.5 * (configuration.reconstructed[:-1] + configuration.reconstructed[1:])
    windows = np.array([configuration.windows[name] for name in names])
    inside = (centers >= windows[:, :1]) & (centers <= windows[:, 1:])
    baseline = Baseline(configuration.length, configuration.density)
    return ReconstructedSamples(
        *(names, configuration.reconstructed, inside, energy, components),
        *(configuration.errors, baseline, modes),
    )


def _events(
    configuration: Configuration, channel: Channel, cross_section: CrossSection, energy: Float
) -> Float:
    """Return T of a channel, (bins, true energies)."""
    beam = configuration.beams[channel.beam]
    flux = beam.flux(channel.pdg_in, energy) * np.diff(configuration.true)
    rate = flux * cross_section(channel.pdg_out, energy) * channel.pre
    rate *= configuration.exposure(channel.beam) * channel.weight
    return channel.post[:, None] * configuration.matrices[channel.matrix] * rate


def _flux(channel: Channel) -> str:
    """Return the name of a channel's flux, such as "flux_FHC_nu_mu"."""
    return f"flux_{channel.beam}_{COLUMNS[NEUTRINOS.index(channel.pdg_in)]}"


def _added(names: Sequence[str], members: Sequence[tuple[Channel, Float]], flux: int) -> Component:
    first = members[0][0]
    return Component(
        *(names.index(first.sample), first.flavor_in, first.flavor_out, first.antineutrino),
        *(first.oscillates, first.errors, tuple(channel.name for channel, _ in members)),
        np.sum([events for _, events in members], axis=0),
        flux,
    )
