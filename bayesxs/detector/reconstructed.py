"""Expected counts in reconstructed energy: samples that are sums of channels.

Of a channel, the events of true energies E_j that are reconstructed in bin i, without oscillation,

    T_ij = exposure dE_j flux(E_j) post_i smr_ij pre_j sigma(E_j)

are constants; a sample counts n_i = sum over channels of (1 + sum of sd x pull) sum_j T_ij P(E_j).
Channels that share sample, probability and normalisation are added once and for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.globes.configuration import Channel, Configuration
from bayesxs.physics.oscillation import (
    Baseline,
    OscillationParameters,
    Request,
    joint_probabilities,
)

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
    """

    sample: int
    flavor_in: str
    flavor_out: str
    antineutrino: bool
    oscillates: bool
    errors: tuple[str, ...]
    channels: tuple[str, ...]
    events: Float

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
        errors: standard deviation of each normalisation, in the order of pulls.
        baseline: of the neutrinos.
    """

    names: tuple[str, ...]
    edges: Float
    inside: NDArray[np.bool_]
    energy: Float
    components: tuple[Component, ...]
    errors: Mapping[str, float]
    baseline: Baseline

    @cached_property
    def kinds(self) -> tuple[tuple[str, str, bool] | None, ...]:
        """The probabilities that are needed."""
        return tuple(dict.fromkeys(component.kind for component in self.components))

    @cached_property
    def _kernels(self) -> tuple[Float, Float, NDArray[np.int64], Float]:
        """Return events, normalisations (components, pulls), kind, and (samples, components)."""
        events = np.stack([c.events for c in self.components])
        widths = [
            [sd * (name in c.errors) for name, sd in self.errors.items()] for c in self.components
        ]
        kind = np.array([self.kinds.index(c.kind) for c in self.components])
        places = np.array([c.sample for c in self.components])
        sample = np.equal(places, np.arange(len(self.names))[:, None]).astype(float)
        return events, np.array(widths, float).reshape(len(events), -1), kind, sample

    @cached_property
    def _analysed(self) -> tuple[slice, NDArray[np.bool_]]:
        """Return the bins from the first that any sample analyses to the last; which of them."""
        used = np.flatnonzero(self.inside.any(axis=0))
        bins = slice(int(used[0]), int(used[-1]) + 1)
        return bins, self.inside[:, bins]

    def probabilities(self, params: OscillationParameters, baseline: Baseline) -> Array:
        """Return the probability of each of `kinds` at the true energies, (kinds, energies)."""
        requests = [
            Request(*kind, jnp.asarray(self.energy), baseline) for kind in self.kinds if kind
        ]
        found = iter(joint_probabilities(requests, params) if requests else [])
        ones = jnp.ones(len(self.energy))
        return jnp.stack([next(found) if kind else ones for kind in self.kinds])

    def by_component(
        self, params: OscillationParameters, density: ArrayLike | None = None
    ) -> Array:
        """Return the expected counts of each component, all bins, (components, bins).

        Args:
            params: scalars.
            density: of the matter in g/cm^3; that of `baseline` if not given.
        """
        return self._by_component(params, density, slice(None))

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
            pulls: normalisations in standard deviations, in the order of `errors`; zero if not
                given.
        """
        return self._counts(params, density, pulls, slice(None))

    def expected(
        self,
        params: OscillationParameters,
        density: ArrayLike | None = None,
        pulls: ArrayLike | None = None,
    ) -> Array:
        """Return the counts of all analysed bins, one sample after the other.

        Takes what `counts` takes.
        """
        bins, inside = self._analysed
        counts = self._counts(params, density, pulls, bins)
        return counts.ravel() if inside.all() else counts[inside]

    def _by_component(
        self, params: OscillationParameters, density: ArrayLike | None, bins: slice
    ) -> Array:
        baseline = self.baseline if density is None else self.baseline._replace(density=density)
        events, _, kind, _ = self._kernels
        probability = self.probabilities(params, baseline)[kind]
        return jnp.einsum("cbe,ce->cb", events[:, bins], probability)

    def _counts(
        self,
        params: OscillationParameters,
        density: ArrayLike | None,
        pulls: ArrayLike | None,
        bins: slice,
    ) -> Array:
        _, widths, _, sample = self._kernels
        counts = self._by_component(params, density, bins)
        if pulls is not None:
            counts = counts * (1.0 + widths @ jnp.asarray(pulls))[:, None]
        return jnp.asarray(sample) @ counts


def reconstructed_samples(
    configuration: Configuration, cross_sections: Mapping[str, CrossSection] | None = None
) -> ReconstructedSamples:
    """Fold the tables of a configuration to what its samples expect.

    A bin is analysed if its center lies in the window of its sample. Components that expect
    nothing, such as of a cross section that is zero, are left out.

    Args:
        configuration: all tables.
        cross_sections: by name, in place of those of the configuration: learned ones for "CC".

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
        key = (channel.sample, kind, channel.errors)
        groups.setdefault(key, []).append((channel, events))
    if not groups:
        raise InputError(f"{configuration.source}: no channel expects any events")
    names = configuration.samples
    components = tuple(_added(names, members) for members in groups.values())
    centers = 0.5 * (configuration.reconstructed[:-1] + configuration.reconstructed[1:])
    windows = np.array([configuration.windows[name] for name in names])
    inside = (centers >= windows[:, :1]) & (centers <= windows[:, 1:])
    baseline = Baseline(configuration.length, configuration.density)
    return ReconstructedSamples(
        *(names, configuration.reconstructed, inside, energy, components),
        *(configuration.errors, baseline),
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


def _added(names: Sequence[str], members: Sequence[tuple[Channel, Float]]) -> Component:
    first = members[0][0]
    return Component(
        *(names.index(first.sample), first.flavor_in, first.flavor_out, first.antineutrino),
        *(first.oscillates, first.errors, tuple(channel.name for channel, _ in members)),
        np.sum([events for _, events in members], axis=0),
    )
