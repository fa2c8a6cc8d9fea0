"""Content of a file of generator's events: counts, flavors, targets, channels, energies, x > 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from bayesxs.inputs.generators.events import Chunk, Counts, lepton_mass
from bayesxs.inputs.generators.read import EventStream
from bayesxs.physics.kinematics import HIGHEST_X, invariants, z_from_cosine
from bayesxs.types import Floats

# Quantiles are read off bins of energy that are this fine
_ENERGIES: Final = np.geomspace(1e-3, 1e4, 7001)  # GeV
QUANTILES: Final = (0.01, 0.5, 0.99)

NO_CHANNEL: Final = "(none)"


class EventSummary(NamedTuple):
    """Content of a file; shares are of the sum of weights.

    Attributes:
        path: the file.
        format: name of its format.
        counts: events read, and those left out.
        weight: sum of weights of the events kept.
        effective: (sum w)^2 / sum w^2.
        flavors: share of each neutrino's PDG id.
        targets: share of each nucleus's PDG id; 0 is one that the file does not name.
        channels: share of each channel.
        energies: lowest and highest energy of a neutrino, GeV.
        quantiles: energies in GeV below which QUANTILES of the events lie, to 0.3 %.
        above_one: share of x = Q^2/(2 M nu) > 1.
        beyond: share of x beyond the end of the phase space of nuclei, 3.
        no_transfer: share of nu = E - E_l <= 0, which no structure function describes.
        cross_section: flux-averaged, 1e-38 cm^2 per nucleon; None where the file does not tell, or
            for several targets.
        stated: the file's own words for it.
    """

    path: str
    format: str
    counts: Counts
    weight: float
    effective: float
    flavors: Mapping[int, float]
    targets: Mapping[int, float]
    channels: Mapping[str, float]
    energies: tuple[float, float]
    quantiles: tuple[float, ...]
    above_one: float
    beyond: float
    no_transfer: float
    cross_section: float | None
    stated: str | None


def summarize(stream: EventStream) -> EventSummary:
    """Read a file once, a bounded number of events at a time, and sum up its content.

    Raises:
        InputError: see `EventStream`.
    """
    flavors, targets, codes = Counter[int](), Counter[int](), Counter[int]()
    weight = squares = above = beyond = none = 0.0
    spectrum = np.zeros(len(_ENERGIES) - 1)
    low, high = np.inf, 0.0
    for chunk in stream:
        for counter, ids in ((flavors, chunk.pdg_nu), (targets, chunk.target)):
            _add(counter, ids, chunk.weight)
        _add(codes, chunk.channel, chunk.weight)
        nu, x = _transfers(chunk)
        weight += float(chunk.weight.sum())
        squares += float(np.sum(chunk.weight**2))
        above += float(chunk.weight[(nu > 0.0) & (x > 1.0)].sum())
        beyond += float(chunk.weight[(nu > 0.0) & (x > HIGHEST_X)].sum())
        none += float(chunk.weight[nu <= 0.0].sum())
        inside = np.clip(chunk.energy, _ENERGIES[0], _ENERGIES[-1])
        spectrum += np.histogram(inside, _ENERGIES, weights=chunk.weight)[0]
        low, high = min(low, float(chunk.energy.min())), max(high, float(chunk.energy.max()))
    names = (*stream.channels, NO_CHANNEL)
    several = len(stream.targets) > 1
    scale = stream.scale()
    sums = np.append(0.0, np.cumsum(spectrum)) / weight
    return EventSummary(
        stream.path,
        stream.format,
        stream.counts,
        weight,
        weight**2 / squares,
        _shares(flavors, weight),
        _shares(targets, weight),
        {names[code]: share for code, share in _shares(codes, weight).items()},
        (low, high),
        tuple(float(e) for e in np.interp(QUANTILES, sums, _ENERGIES)),
        above / weight,
        beyond / weight,
        none / weight,
        None if several else stream.cross_section(),
        None if scale is None else scale.words,
    )


def _add(counter: Counter[int], ids: np.ndarray, weight: Floats) -> None:
    values, inverse = np.unique(ids, return_inverse=True)
    for value, share in zip(values, np.bincount(inverse, weights=weight), strict=True):
        counter[int(value)] += share  # type: ignore[assignment]


def _shares(counter: Counter[int], total: float) -> dict[int, float]:
    return {value: float(weight) / total for value, weight in counter.most_common()}


def _transfers(chunk: Chunk) -> tuple[Floats, Floats]:
    """Return nu in GeV, and x, which means nothing where nu is not above zero."""
    nu, x = np.empty_like(chunk.energy), np.empty_like(chunk.energy)
    masses = lepton_mass(chunk.pdg_l)
    for mass in np.unique(masses):
        rows = masses == mass
        energy, lepton = chunk.energy[rows], chunk.lepton_energy[rows]
        z = z_from_cosine(lepton, chunk.cos_theta[rows], float(mass))
        nu[rows] = energy - lepton
        with np.errstate(divide="ignore", invalid="ignore"):
            x[rows] = invariants(energy, lepton, z, float(mass)).x
    return nu, x
