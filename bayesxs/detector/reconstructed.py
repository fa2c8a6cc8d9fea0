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

import numpy as np
from numpy.typing import NDArray

from bayesxs.detector.samples import Component, CountedSamples
from bayesxs.errors import InputError
from bayesxs.inputs.flux import COLUMNS, NEUTRINOS
from bayesxs.inputs.globes.configuration import Channel, Configuration
from bayesxs.physics.oscillation import Baseline

Float = NDArray[np.float64]

# Total cross section in 1e-38 cm^2 of a PDG id, over energies in GeV
CrossSection = Callable[[int, Float], Float]


@dataclass(frozen=True, eq=False)
class ReconstructedSamples(CountedSamples):
    """Samples in bins of reconstructed energy; true energies are centers of bins.

    Attributes:
        edges: of the bins, GeV, one more than bins.
    """

    edges: Float = field(kw_only=True)


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
        *(names, inside, energy, components, configuration.errors, baseline, modes),
        edges=configuration.reconstructed,
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
