"""Far-detector events from a file: which of them the beam can make, and what is odd about them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from bayesxs.detector.grid import EnergyGrid
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import Experiment
from bayesxs.inputs.events import COLUMNS, LeptonEvents, load_events
from bayesxs.physics.kinematics import is_physical, z_from_cosine
from bayesxs.types import Floats as Float


@dataclass(frozen=True)
class Observed:
    """Events of a file, without those that were dropped.

    Attributes:
        events: in the order of the file.
        notes: how many there were, how many were dropped and why, and how many stand in the file
            more than once.
    """

    events: LeptonEvents
    notes: dict[str, int]


def read_observed(
    experiment: Experiment,
    path: str | Path,
    impossible: Literal["refuse", "drop"] = "refuse",
    prefix: str = "",
) -> Observed:
    """Read far-detector events from a file.

    An event is possible where a neutrino of the beam can make its lepton with x < x_max: by
    kinematics alone, for no cross section is known beforehand. What a detector has reconstructed
    need not be possible; such events are judged by its bins, and by its threshold.

    Args:
        experiment: its samples and fluxes.
        path: of the events.
        impossible: what becomes of events that no neutrino of the beam can make.
        prefix: of the name that messages give to `impossible`.

    Raises:
        InputError: a bad file, or an impossible event where these are to be refused.
    """
    samples, detector = experiment.samples, experiment.detector
    reconstructed = detector is not None
    masses = [sample.lepton_mass for sample in samples]
    events = load_events(path, masses, reconstructed=reconstructed)
    # Rounding must not push events that lie exactly along the beam out of the physical region
    edge = 1.0 - 1e-12
    events = events._replace(cos_theta=np.clip(events.cos_theta, -edge, edge))
    rows = np.stack([*events], axis=1)
    notes = {"read": len(rows), "repeated": len(rows) - len(np.unique(rows, axis=0))}
    if detector is not None:
        threshold = np.array(masses) + detector.acceptance.threshold
        kept = events.lepton_energy >= threshold[events.sample]
        return Observed(_only(events, kept), notes | {"below_threshold": int((~kept).sum())})
    tops = np.array(
        [_highest(experiment.energies, experiment.source_flux(sample)) for sample in samples]
    )
    possible = np.full(len(rows), False)
    for number, (top, mass) in enumerate(zip(tops, masses, strict=True)):
        own = events.sample == number
        energy = events.lepton_energy[own]
        z = z_from_cosine(energy, events.cos_theta[own], mass)
        possible[own] = np.asarray(is_physical(top, energy, z, mass, experiment.space))
    if not possible.all() and impossible == "refuse":
        first = int(np.argmin(possible))
        count = int((~possible).sum())
        shown = f"{events.lepton_energy[first]:g} GeV, {events.cos_theta[first]:g}"
        more = f" (and {count - 1} more rows)" if count > 1 else ""
        top, x = tops[events.sample[first]], experiment.space.x_max
        allowed = f"no neutrino up to {top:g} GeV makes such a lepton with x < {x:g}{more}"
        allowed += f'; {prefix}impossible = "drop" leaves it out'
        raise InputError.at(path, f"event {first}: {', '.join(COLUMNS)}", shown, allowed)
    if not possible.any():
        raise InputError(f"{path}: no events: no neutrino of the beam makes any of these leptons")
    return Observed(_only(events, possible), notes | {"impossible": int((~possible).sum())})


def _only(events: LeptonEvents, kept: np.ndarray) -> LeptonEvents:
    return LeptonEvents(*(column[kept] for column in events))


def _highest(energies: EnergyGrid, flux: Float) -> float:
    """Return the upper edge of the last panel of energies that has flux."""
    last = int(np.flatnonzero(flux)[-1])
    return float(energies.edges[last // energies.order + 1])


def on_edges(values: Float, edges: Float) -> int:
    """Count values that lie on an edge of bins, where rounding decides into which they fall."""
    above = np.clip(np.searchsorted(edges, values), 0, len(edges) - 1)
    nearest = np.minimum(
        np.abs(edges[above] - values), np.abs(edges[np.maximum(above - 1, 0)] - values)
    )
    return int(np.count_nonzero(nearest <= 1e-9 * np.maximum(np.abs(values), 1.0)))
