"""Neutrino, lepton and target of HepMC events, for many events at once."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import NEUTRINOS, UNKNOWN, Chunk, Integer, make_chunk
from bayesxs.types import Floats

# Status codes of particles and of a vertex (arXiv:2310.13211, P.R.1 and V.R.1)
FINAL, BEAM, TARGET = 1, 4, 20
PRIMARY: Final = 1

# Two energies are the same within this part of them, and this much. GeV
_SAME: Final = 1e-6
_SAME_GEV: Final = 1e-6
# Momenta as generators balance them, with masses of their own. GeV
_BALANCED: Final = 1e-4
_BALANCED_GEV: Final = 1e-3

_NONE: Final = -1  # the index of a particle that an event does not have


class Block:
    """Contents of events, one after the other, as pyhepmc gives them."""

    def __init__(self) -> None:
        self.attributes: list[dict[str, str]] = []
        self.particles: list[NDArray[Any]] = []
        self.vertices: list[NDArray[Any]] = []
        self.status: list[NDArray[Any]] = []
        self.links: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self.weights: list[list[float]] = []
        self.in_mev: list[bool] = []

    def __len__(self) -> int:
        return len(self.particles)

    def add(self, event: Any, contents: Any) -> None:
        """Add a pyhepmc.GenEvent and its pyhepmc.GenEventData."""
        self.particles.append(contents.particles)
        # Vertices have their numbers, whose order is not that of the list
        self.vertices.append(event.numpy.vertices.id)
        self.status.append(contents.vertices["status"])
        self.links.append((contents.links1, contents.links2))
        self.weights.append(contents.weights)
        self.in_mev.append(contents.momentum_unit.name == "MEV")
        names, values = contents.attribute_name, contents.attribute_string
        self.attributes.append(dict(zip(names, values, strict=True)))


class _Particles(NamedTuple):
    """Particles of all events: their event, identity, four-momentum in GeV, and primary vertex."""

    event: NDArray[np.intp]
    pid: Integer
    status: Integer
    momentum: Floats  # (n, 4): px, py, pz, E
    enters: NDArray[np.bool_]  # the primary vertex
    leaves: NDArray[np.bool_]


def read_block(block: Block, source: str, first: int, channel: Integer, weight: int) -> Chunk:
    """Return the events of a block.

    The lepton is the final one out of the primary vertex. The energy is that of the neutrino that
    enters it and of the beam particle, where both agree. In a broad beam the beam particle of some
    generators does not carry it; then energy and momentum at the primary vertex decide.

    Args:
        block: events.
        source: the file, named in messages.
        first: number of the first event in the file.
        channel: of each event.
        weight: place of the weight in an event's list.

    Raises:
        InputError: an event without neutrino, lepton or weight, or with energies that contradict
            each other.
    """
    events = len(block)
    particles = _particles(block)
    neutral = np.isin(particles.pid, NEUTRINOS)
    leptons = (np.abs(particles.pid) >= 11) & (np.abs(particles.pid) <= 16)
    final = leptons & (particles.status == FINAL)
    lepton = _one(particles, events, final & particles.leaves)
    lepton = np.where(lepton == _NONE, _one(particles, events, final), lepton)
    beam = _one(particles, events, neutral & (particles.status == BEAM))
    inner = _one(particles, events, neutral & particles.enters)
    for name, index in (("final lepton", lepton), ("neutrino", np.maximum(beam, inner))):
        if (index == _NONE).any():
            event = first + int(np.argmax(index == _NONE))
            raise InputError.at(source, f"event {event}", f"no {name}", "one of each")
    neutrino = np.where(inner == _NONE, beam, inner)
    out = particles.momentum[lepton]
    energy = _energy(particles, beam, inner, out[:, 3], source, first)
    along = particles.momentum[neutrino, :3]
    lengths = np.linalg.norm(along, axis=1) * np.linalg.norm(out[:, :3], axis=1)
    dot = np.sum(along * out[:, :3], axis=1)
    target = _one(particles, events, particles.status == TARGET)
    return make_chunk(
        energy,
        out[:, 3],
        np.divide(dot, lengths, out=np.ones(events), where=lengths > 0.0),
        lepton_momentum=np.linalg.norm(out[:, :3], axis=1),
        weight=_weights(block, source, first, weight),
        pdg_nu=particles.pid[neutrino],
        pdg_l=particles.pid[lepton],
        target=np.where(target == _NONE, UNKNOWN, particles.pid[target]),
        channel=channel,
        charged=~neutral[lepton],
    )


def _particles(block: Block) -> _Particles:
    sizes = np.array([len(p) for p in block.particles])
    vertex_sizes = np.array([len(v) for v in block.vertices])
    link_sizes = np.array([len(one) for one, _ in block.links])
    both = np.concatenate(block.particles)
    event = np.repeat(np.arange(len(sizes)), sizes)
    scale = np.where(block.in_mev, 1e-3, 1.0)[event]
    momentum = np.stack([both[name] for name in ("px", "py", "pz", "e")], axis=1) * scale[:, None]
    # A link goes from one to two; particles have positive numbers, vertices negative ones
    one, two = (np.concatenate([pair[i] for pair in block.links]).astype(int) for i in (0, 1))
    link_event = np.repeat(np.arange(len(sizes)), link_sizes)
    before, vertices_before = np.cumsum(sizes) - sizes, np.cumsum(vertex_sizes) - vertex_sizes
    places = vertices_before.repeat(vertex_sizes) - np.concatenate(block.vertices) - 1
    primary = np.zeros(len(places), bool)
    primary[places] = np.concatenate(block.status) == PRIMARY
    marks = []
    for particle, vertex in ((one, two), (two, one)):
        here = (particle > 0) & (vertex < 0)
        at = vertices_before[link_event[here]] - vertex[here] - 1
        mark = np.zeros(len(both), bool)
        mark[(before[link_event[here]] + particle[here] - 1)[primary[at]]] = True
        marks.append(mark)
    ids = both["pid"].astype(np.int64), both["status"].astype(np.int64)
    return _Particles(event, *ids, momentum, *marks)


def _one(particles: _Particles, events: int, wanted: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the first of the wanted particles in each event, _NONE where there is none."""
    index = np.full(events, _NONE)
    places = np.flatnonzero(wanted)[::-1]
    index[particles.event[places]] = places
    return index


def _energy(
    particles: _Particles,
    beam: NDArray[np.intp],
    inner: NDArray[np.intp],
    lepton: Floats,
    source: str,
    first: int,
) -> Floats:
    """Return the neutrino's energy in each event, GeV; see `read_block`."""
    beam = np.where(beam == inner, _NONE, beam)  # the same particle states it once
    stated = [
        np.where(index == _NONE, np.nan, particles.momentum[index, 3]) for index in (beam, inner)
    ]
    balance = _balance(particles, len(lepton))
    # What enters less what leaves is a massless particle where the vertex conserves momentum
    size = balance[:, 3]
    off = np.abs(np.linalg.norm(balance[:, :3], axis=1) - size)
    conserved = (size > 0.0) & (off < _BALANCED * size + _BALANCED_GEV)
    near = [_close(s, size, _BALANCED, _BALANCED_GEV) & conserved for s in stated]
    agree = _close(stated[0], stated[1], _SAME, _SAME_GEV)
    single = np.isnan(stated[0]) | np.isnan(stated[1])
    either = np.where(np.isnan(stated[1]), stated[0], stated[1])
    enough = either >= lepton * (1.0 - _SAME)
    energy = np.select(
        [near[1], near[0], conserved & single, (agree | single) & ~conserved & enough],
        [stated[1], stated[0], size, either],
        np.nan,
    )
    bad = np.isnan(energy)
    if bad.any():
        i = int(np.argmax(bad))
        found = ", ".join(
            f"{name} {value[i]:.6g}"
            for name, value in (("status 4", stated[0]), ("at the vertex", stated[1]))
            if np.isfinite(value[i])
        )
        words = f"by conservation {size[i]:.6g}" if conserved[i] else "momentum is not conserved"
        allowed = f"they agree, or energy and momentum at the primary vertex decide ({words})"
        raise InputError.at(source, f"event {first + i}: E_nu in GeV", found, allowed)
    return energy


def _balance(particles: _Particles, events: int) -> Floats:
    """Return what leaves the primary vertex less what enters it beside the neutrino, (n, 4)."""
    others = particles.enters & ~np.isin(particles.pid, NEUTRINOS)
    sign = particles.leaves.astype(float) - others
    return np.stack(
        [
            np.bincount(particles.event, weights=sign * particles.momentum[:, i], minlength=events)
            for i in range(4)
        ],
        axis=1,
    )


def _close(one: Floats, two: Floats, relative: float, absolute: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(one - two) <= relative * np.abs(two) + absolute)


def _weights(block: Block, source: str, first: int, place: int) -> Floats:
    for i, weights in enumerate(block.weights):
        if len(weights) <= place:
            raise InputError.at(source, f"event {first + i}: weights", len(weights), "at least one")
    return np.array([weights[place] for weights in block.weights], float)
