"""Expected counts in reconstructed energy: samples that are sums of channels.

Of a channel, the events of true energies E_j that are reconstructed in bin i, without oscillation,

    T_ij = exposure dE_j flux(E_j) post_i smr_ij pre_j sigma(E_j)

are constants; a sample counts n_i = sum over channels of (1 + sum of sd x pull) sum_j T_ij P(E_j).
Channels that share sample, probability and normalisation are added once and for all; where fluxes
have uncertain shapes, those of one flux only. Uncertain energy scales move events between bins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bayesxs.detector.energy_scale import EnergyScale, energy_scale, scale_shifts
from bayesxs.detector.samples import Component, CountedSamples
from bayesxs.errors import InputError
from bayesxs.inputs.flux import COLUMNS, NEUTRINOS
from bayesxs.inputs.globes.configuration import Channel, Configuration
from bayesxs.physics.oscillation import Baseline
from bayesxs.types import Floats as Float

# Total cross section in 1e-38 cm^2 of a PDG id, over energies in GeV
CrossSection = Callable[[int, Float], Float]


@dataclass(frozen=True, eq=False)
class ReconstructedSamples(CountedSamples):
    """Samples in bins of reconstructed energy; true energies are centers of bins.

    Attributes:
        edges: of the bins, GeV, one more than bins.
        shifts: of the reconstructed energy at the edges by a unit of a nuisance, by its name, GeV,
            (samples, bins + 1).
    """

    edges: Float = field(kw_only=True)
    shifts: Mapping[str, Float] = field(kw_only=True, default_factory=dict)

    @property
    def scales(self) -> tuple[str, ...]:
        """Names of the nuisances of the energy scale."""
        return tuple(self.shifts)

    def shown(self, place: int) -> tuple[Float, NDArray[np.intp]]:
        """Return the edges of a sample's analysed bins, and the place of each."""
        used = np.flatnonzero(self.inside[place])
        return self.edges[used[0] : used[-1] + 2], used - used[0]

    def scale(self, bins: slice) -> EnergyScale | None:
        """Return how counts of some bins follow the energy scale; None where it is known."""
        if not self.shifts:
            return None
        ends = slice(bins.start, None if bins.stop is None else bins.stop + 1)
        return energy_scale(np.stack(list(self.shifts.values()))[..., ends], self.edges[ends])


def reconstructed_samples(
    configuration: Configuration,
    cross_sections: Mapping[str, CrossSection] | None = None,
    flux_modes: Callable[[Float], Float] | None = None,
    scale_error: float = 0.0,
) -> ReconstructedSamples:
    """Fold the tables of a configuration to what its samples expect.

    A bin is analysed if its center lies in the window of its sample. Components that expect
    nothing, such as of a cross section that is zero, are left out, and samples of a beam that does
    not run.

    Args:
        configuration: all tables.
        cross_sections: by name, in place of those of the configuration: learned ones for "CC".
        flux_modes: from true energies in GeV, (e,), the modes of the shape of a flux, relative and
            of unit width, (m, e). Each flux, of one beam and one kind of neutrino, has its own.
        scale_error: relative, of the energy scale of the samples of each lepton.

    Raises:
        InputError: a cross section of a name that the configuration has not, or of values that are
            none; modes of another shape, or an error that is none; a channel without flux or a
            sample without components or without bins though its beam runs; nothing is expected.
    """
    if not 0.0 <= scale_error < 1.0:
        raise InputError.at(configuration.source, "scale_error", scale_error, "from 0 to 1")
    replaced = cross_sections or {}
    for name in replaced:
        if name not in configuration.cross_sections:
            allowed = f"one of {', '.join(configuration.cross_sections)}"
            raise InputError.at(configuration.source, "cross section", name, allowed)
    sections: dict[str, CrossSection] = {**configuration.cross_sections, **replaced}
    energy = 0.5 * (configuration.true[:-1] + configuration.true[1:])
    changes = _modes(configuration, flux_modes, energy)
    groups: dict[tuple[object, ...], list[tuple[Channel, Float]]] = {}
    for channel in configuration.channels:
        events = _events(configuration, channel, sections[channel.cross_section], energy)
        if not np.any(events):
            continue
        flavors = (channel.flavor_in, channel.flavor_out, channel.antineutrino)
        kind = flavors if channel.oscillates else None
        key = (channel.sample, kind, channel.errors, _flux(channel) if flux_modes else "")
        groups.setdefault(key, []).append((channel, events))
    names = _counting(configuration, [members[0][0] for members in groups.values()])
    sources = [_flux(members[0][0]) for members in groups.values()]
    fluxes = list(dict.fromkeys(sources))
    components = tuple(
        _added(names, members, fluxes.index(source) if flux_modes else 0)
        for source, members in zip(sources, groups.values(), strict=True)
    )
    modes = {} if changes is None else dict.fromkeys(fluxes, changes)
    inside = _inside(configuration, names)
    baseline = Baseline(configuration.length, configuration.density)
    edges = configuration.reconstructed
    leptons = _leptons(components, len(names))
    return ReconstructedSamples(
        *(names, inside, energy, components, configuration.errors, baseline, modes),
        edges=edges,
        shifts=scale_shifts(edges, leptons, scale_error) if scale_error > 0.0 else {},
    )


def _counting(configuration: Configuration, channels: Sequence[Channel]) -> tuple[str, ...]:
    """Return the samples that have components; others are left out if their beam does not run.

    Raises:
        InputError: a sample whose beam runs has none, or no beam runs.
    """
    having = {channel.sample for channel in channels}
    for channel in configuration.channels:
        if channel.sample not in having and configuration.exposure(channel.beam) > 0.0:
            allowed = "a channel with flux, cross section and efficiency above 0"
            raise InputError.at(
                configuration.source, f"sample {channel.sample}", "no component", allowed
            )
    if not having:
        raise InputError(f"{configuration.source}: no channel expects any events: no beam runs")
    return tuple(name for name in configuration.samples if name in having)


def _inside(configuration: Configuration, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which bins of samples are analysed, (samples, bins).

    Raises:
        InputError: none of a sample.
    """
    centers = 0.5 * (configuration.reconstructed[:-1] + configuration.reconstructed[1:])
    windows = np.array([configuration.windows[name] for name in names])
    inside = (centers >= windows[:, :1]) & (centers <= windows[:, 1:])
    for row in np.flatnonzero(~inside.any(axis=1))[:1]:
        low, high = windows[row]
        allowed = f"the center of a bin inside: they run from {centers[0]:g} to {centers[-1]:g} GeV"
        shown = f"{low:g} to {high:g} GeV"
        raise InputError.at(configuration.source, f"window of {names[row]}", shown, allowed)
    return inside


def _modes(
    configuration: Configuration, flux_modes: Callable[[Float], Float] | None, energy: Float
) -> Float | None:
    """Return the modes of the shape of a flux, (m, true energies); None where it is known.

    Raises:
        InputError: they have another shape, or are not finite.
    """
    if flux_modes is None:
        return None
    found = np.asarray(flux_modes(energy), float)
    if found.ndim != 2 or found.shape[1] != len(energy) or not np.all(np.isfinite(found)):
        allowed = f"finite, one row for each mode, shape (m, {len(energy)})"
        raise InputError.at(configuration.source, "flux_modes", f"shape {found.shape}", allowed)
    return found


def _leptons(components: Sequence[Component], samples: int) -> list[str]:
    """Return the lepton that each sample selects: of the largest component without oscillation."""
    found = []
    for sample in range(samples):
        own = [c for c in components if c.sample == sample]
        found.append(max(own, key=lambda c: float(np.sum(c.events)) * c.oscillates).flavor_out)
    return found


def _events(
    configuration: Configuration, channel: Channel, cross_section: CrossSection, energy: Float
) -> Float:
    """Return T of a channel, (bins, true energies).

    Raises:
        InputError: its beam runs, and has no such neutrinos.
    """
    beam = configuration.beams[channel.beam]
    flux = beam.flux(channel.pdg_in, energy) * np.diff(configuration.true)
    if configuration.exposure(channel.beam) > 0.0 and not np.any(flux):
        kind = COLUMNS[NEUTRINOS.index(channel.pdg_in)]
        place = f"channel {channel.name}: flux of {kind}"
        allowed = f"above 0 at some energy in beam {channel.beam}"
        raise InputError.at(configuration.source, place, 0.0, allowed)
    value = np.asarray(cross_section(channel.pdg_out, energy), float)
    if value.shape != energy.shape or not np.all((value >= 0.0) & (value < np.inf)):
        shown = f"shape {value.shape}" if value.shape != energy.shape else np.min(value)
        allowed = f"0 or above and finite, shape {energy.shape}"
        place = f"cross section {channel.cross_section} of {channel.pdg_out}"
        raise InputError.at(configuration.source, place, shown, allowed)
    rate = flux * value * channel.pre
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
