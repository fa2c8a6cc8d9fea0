"""Nature as a generator made it: events, of which one part is seen near and the other one far.

No structure functions are known. The near detector counts one part of the events; the other part
is the generator's own template, from which the far detector's data are drawn, and with which the
learned cross section is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from bayesxs.detector.density import Sample
from bayesxs.detector.template import Template
from bayesxs.errors import InputError
from bayesxs.experiment.leptons import EDGE, Leptons
from bayesxs.inputs.generators.events import GeneratorEvents
from bayesxs.keys import Purpose, derive, generator
from bayesxs.physics.kinematics import PhaseSpace, is_physical, z_from_cosine
from bayesxs.types import Floats

# Near-detector events below which no cross section can be learned
FEWEST: Final = 1000


class Dropped(NamedTuple):
    """Events of a file that an experiment does not use, and why.

    Attributes:
        not_charged_current: on a nucleus.
        other_flavor: than that of the target.
        other_target: than the chosen nucleus.
        other_channel: than the chosen ones.
        outside_energy_range: of the analysis, by their true neutrino energy.
        outside_phase_space: beyond the largest x, or with a lepton that no kinematics allows.
    """

    not_charged_current: int
    other_flavor: int
    other_target: int
    other_channel: int
    outside_energy_range: int
    outside_phase_space: int


class Window(NamedTuple):
    """The range of an experiment.

    Attributes:
        energy_range: of neutrino energies, GeV.
        space: how far x reaches.
    """

    energy_range: tuple[float, float]
    space: PhaseSpace


@dataclass(frozen=True, eq=False)
class Split:
    """The events of one target, as both detectors take them.

    Attributes:
        near: seen by the near detector.
        far: the generator's own cross section.
        read: events that there were, before any were dropped.
        dropped: those that were.
    """

    near: Leptons
    far: Template
    read: int
    dropped: Dropped

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of events, by what became of them."""
        used = {"near": len(self.near.weight), "far": len(self.far.rate)}
        return {"read": self.read} | used | self.dropped._asdict()


@dataclass(frozen=True, eq=False)
class EventNature:
    """A cross section of which nothing but a generator's events is known.

    The events were made in the flux of the near detector. With sample weights the counts are
    effective ones, (sum w)^2 / sum w^2 in all.

    Attributes:
        events: from `bayesxs.read_events` or `bayesxs.events_from_arrays`.
        near_share: of the events that the near detector counts; the others make the far data and
            the template.
        key: random key or seed of the division.
        channels: names of the channels that are taken; all if empty.
        same_events: whether both detectors take all events, for tests of what that does.

    Raises:
        InputError: a share that leaves one side empty, or an unknown channel.

    Example:
        >>> events = bayesxs.events_from_arrays([2.0, 3.1], [1.2, 2.5], [0.9, 0.98])
        >>> bayesxs.EventNature(events, near_share=0.5, key=1).near_share
        0.5
    """

    events: GeneratorEvents
    near_share: float = 0.5
    key: jax.Array | int = 0
    channels: tuple[str, ...] = ()
    same_events: bool = False

    # Where nuclei end: beyond lie two in a thousand of the events of generators
    x_max: ClassVar[float] = 3.0

    def __post_init__(self) -> None:
        """Check what does not depend on an experiment."""
        source = self.events.source
        if not (self.same_events or 0.0 < self.near_share < 1.0):
            allowed = "above 0 and below 1: near and far data must be different events"
            raise InputError.at(source, "near_share", self.near_share, allowed)
        for name in self.channels:
            if name not in self.events.channels:
                known = ", ".join(self.events.channels) or "the file names none"
                raise InputError.at(source, "channels", name, f"one of {known}")

    def split(
        self,
        sample: Sample,
        flux: Callable[[Floats], Floats],
        window: Window,
    ) -> Split:
        """Divide the events of one kind of neutrino between the detectors.

        Args:
            sample: of the near detector: whose neutrinos they are.
            flux: that made the events, at energies in GeV.
            window: of true neutrino energies and x; events beyond are dropped.

        Raises:
            InputError: no such events; energies without flux; too few events for the near detector.
        """
        near, far, dropped = self._divided(sample, window)
        if len(near) < FEWEST:
            low, high = window.energy_range
            allowed = f"at least {FEWEST}, of {sample.name} from {low:g} to {high:g} GeV"
            raise InputError.at(self.events.source, "near-detector events", len(near), allowed)
        if not near.weight.any():
            raise InputError.at(self.events.source, "weight", "all zero", "some above zero")
        seen = Leptons(near.lepton_energy, np.clip(near.cos_theta, -EDGE, EDGE), near.weight)
        return Split(seen, _template(far, sample, flux), self.events.counts.read, dropped)

    def template(
        self,
        sample: Sample,
        flux: Callable[[Floats], Floats],
        window: Window,
    ) -> Template:
        """Return the template of all events, as one that is assumed.

        Takes the arguments of `split`, and raises its errors but the last.
        """
        kept, _ = self._kept(sample, window)
        return _template(self.events.part(np.flatnonzero(kept)), sample, flux)

    def _divided(
        self, sample: Sample, window: Window
    ) -> tuple[GeneratorEvents, GeneratorEvents, Dropped]:
        """Return the near part, the far part, and how many events are in neither."""
        kept, dropped = self._kept(sample, window)
        if self.same_events:
            all_of_them = self.events.part(np.flatnonzero(kept))
            return all_of_them, all_of_them, dropped
        rng = generator(derive(self.key, Purpose.SPLIT))
        order = rng.permutation(len(self.events))
        border = round(self.near_share * len(order))
        near, far = (np.sort(part[kept[part]]) for part in (order[:border], order[border:]))
        return self.events.part(near), self.events.part(far), dropped

    def _kept(self, sample: Sample, window: Window) -> tuple[NDArray[np.bool_], Dropped]:
        """Return which events an experiment takes, and how many it drops for which reason."""
        e, (low, high) = self.events, window.energy_range
        flavor = e.pdg_nu == sample.flux_id
        codes = [e.channels.index(name) for name in self.channels]
        channel = np.isin(e.channel, codes) if codes else np.full(len(e), True)
        inside = (e.energy >= low) & (e.energy <= high)
        cosine = np.clip(e.cos_theta, -EDGE, EDGE)
        z = z_from_cosine(e.lepton_energy, cosine, sample.lepton_mass)
        physical = np.asarray(
            is_physical(e.energy, e.lepton_energy, z, sample.lepton_mass, window.space)
        )
        kept, lost = np.full(len(e), True), []
        for passed in (flavor, channel, inside, physical):
            lost.append(int(np.count_nonzero(kept & ~passed)))
            kept &= passed
        if not kept.any():
            names = ("other flavor", "other channel", "outside the energies", "outside phase space")
            found = ", ".join(f"{n} {name}" for n, name in zip(lost, names, strict=True) if n)
            allowed = f"some of {sample.name} with neutrino energies from {low:g} to {high:g} GeV"
            raise InputError.at(e.source, "charged-current events", f"none ({found})", allowed)
        counts = e.counts
        return kept, Dropped(
            counts.not_charged_current,
            counts.other_flavor + lost[0],
            counts.other_target,
            *lost[1:],
        )


def _template(
    events: GeneratorEvents, sample: Sample, flux: Callable[[Floats], Floats]
) -> Template:
    """Return the cross section that events have, given the flux that made them.

    Raises:
        InputError: energies without flux, or no events of any weight.
    """
    values, source = np.asarray(flux(events.energy), float), events.source
    outside = ~(values > 0.0)
    if outside.any():
        place = int(np.argmax(outside))
        more = f" (and {outside.sum() - 1} more)" if outside.sum() > 1 else ""
        allowed = f"energies at which the near flux has such neutrinos{more}"
        raise InputError.at(source, "E_nu_GeV", f"{events.energy[place]:g}", allowed)
    if not events.weight.any():
        raise InputError.at(source, "weight of the far part", "all zero", "some above zero")
    cosine = np.clip(events.cos_theta, -EDGE, EDGE)
    return Template(
        events.energy,
        events.lepton_energy,
        z_from_cosine(events.lepton_energy, cosine, sample.lepton_mass),
        np.arccos(cosine),
        events.weight / events.weight.sum(),
        values,
        sample.lepton_mass,
    )


def refuse_same_events(nature: object, assumed: object) -> None:
    """Refuse to assume a template of the events that the data are made of, unless forced.

    Raises:
        InputError: they are the same, in whatever order.
    """
    if not (isinstance(nature, EventNature) and isinstance(assumed, EventNature)):
        return
    if nature.same_events or assumed.same_events:
        return
    both = nature.events, assumed.events
    if len(both[0]) != len(both[1]):
        return
    first, second = (np.sort(e.energy + e.lepton_energy + e.cos_theta) for e in both)
    if np.array_equal(first, second):
        allowed = "other events than those of nature, unless same_events says so"
        raise InputError.at(assumed.events.source, "assumed events", len(assumed.events), allowed)
