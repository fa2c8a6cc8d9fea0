"""Events of a generator, whatever file they come from: one type, and how it is made of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesxs.constants import ELECTRON_MASS, MUON_MASS, TAU_MASS
from bayesxs.errors import InputError
from bayesxs.types import Floats

type Integer = NDArray[np.int64]

NEUTRINOS: Final = (12, 14, 16, -12, -14, -16)

# GeV, by the absolute PDG id of the lepton
MASSES: Final = {11: ELECTRON_MASS, 13: MUON_MASS, 15: TAU_MASS}

UNKNOWN: Final = 0  # PDG id of a target that the file does not name

# What generators call their channels, in one language
CHANNELS: Final = ("qe", "res", "dis", "coh", "mec", "sis", "other")


class Rules(NamedTuple):
    """The events that are wanted of a file.

    Attributes:
        neutrino: PDG id of the neutrino; None takes every flavor.
        target: PDG id of the nucleus; None takes the only one that the file has.
        unwanted: whether other events (neutral currents, other flavors, other targets) are
            dropped and counted, or refused.
        at_least: events that have to be left.
    """

    neutrino: int | None = None
    target: int | None = None
    unwanted: Literal["drop", "refuse"] = "drop"
    at_least: int = 1


EVERYTHING: Final = Rules()


class Counts(NamedTuple):
    """Numbers of events in a file, and of those left out for each reason."""

    read: int = 0
    not_charged_current: int = 0
    other_flavor: int = 0
    other_target: int = 0

    @property
    def kept(self) -> int:
        """Events that were not left out."""
        return self.read - sum(self[1:])

    def plus(self, other: Counts) -> Counts:
        """Add two counts."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))


@dataclass(frozen=True, eq=False)
class GeneratorEvents:
    """Hold charged-current events: columns of equal length (n,), and what scales them.

    Attributes:
        energy: of the neutrino, GeV.
        lepton_energy: total energy of the charged lepton, GeV.
        cos_theta: cosine of the lepton's angle to the neutrino.
        weight: >= 0, not all zero.
        pdg_nu: PDG ids of the neutrinos.
        pdg_l: PDG ids of the leptons.
        channel: index into channels; -1 where there is none.
        channels: names, such as "qe".
        target: PDG id of the nucleus, None where the file does not tell.
        cross_section: flux-averaged, of these events, 1e-38 cm^2 per nucleon; None where the file
            does not tell.
        source: the file, or what messages call the arrays.
        counts: what the file held.
    """

    energy: Floats
    lepton_energy: Floats
    cos_theta: Floats
    weight: Floats
    pdg_nu: Integer
    pdg_l: Integer
    channel: Integer
    channels: tuple[str, ...]
    target: int | None
    cross_section: float | None
    source: str
    counts: Counts

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def effective(self) -> float:
        """Effective number of events, (sum w)^2 / sum w^2 (Kish 1965)."""
        return effective_number(self.weight)

    def part(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return a part of the events that was drawn blindly: the cross section is the same."""
        names = ("energy", "lepton_energy", "cos_theta", "weight", "pdg_nu", "pdg_l", "channel")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def selected(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return the events of a selection: the cross section is that of their weights."""
        part = self.part(index)
        if self.cross_section is None:
            return part
        share = float(part.weight.sum() / self.weight.sum())
        return replace(part, cross_section=self.cross_section * share)


def effective_number(weight: ArrayLike) -> float:
    """Return (sum w)^2 / sum w^2 (Kish 1965), zero where all weights are."""
    weight = np.asarray(weight, float)
    squares = float(np.sum(weight**2))
    return float(np.sum(weight)) ** 2 / squares if squares > 0.0 else 0.0


def lepton_of(neutrino: ArrayLike) -> Integer:
    """Return the PDG ids of the charged leptons that neutrinos become in charged currents."""
    ids = np.asarray(neutrino, np.int64)
    return ids - np.sign(ids)


def lepton_mass(pdg: ArrayLike) -> Floats:
    """Return the masses of charged leptons in GeV; NaN for anything else."""
    ids = np.abs(np.asarray(pdg, np.int64))
    masses = np.full(ids.shape, np.nan)
    for number, mass in MASSES.items():
        masses[ids == number] = mass
    return masses


def nucleons(target: int) -> int | None:
    """Return the number of nucleons of a target's PDG id, None if it is no nucleus.

    Nuclei are 10LZZZAAAI (PDG, Monte Carlo particle numbering); a free nucleon counts as one.
    """
    if target in (2112, 2212):
        return 1
    number = abs(target)
    return number // 10 % 1000 if 1_000_000_000 <= number < 1_100_000_000 else None


class Chunk(NamedTuple):
    """Some rows of a file as a reader gives them, in GeV; columns of equal length (n,).

    Attributes:
        energy: of the neutrino.
        lepton_energy: of the outgoing lepton.
        lepton_momentum: NaN where the file does not tell.
        cos_theta: to the neutrino.
        weight: 1 where the file has none.
        pdg_nu: PDG ids.
        pdg_l: PDG ids.
        target: PDG ids, UNKNOWN where the file does not tell.
        channel: index into the names of the source, -1 where there is none.
        charged: whether the event is of the charged current, as the file says.
    """

    energy: Floats
    lepton_energy: Floats
    lepton_momentum: Floats
    cos_theta: Floats
    weight: Floats
    pdg_nu: Integer
    pdg_l: Integer
    target: Integer
    channel: Integer
    charged: NDArray[np.bool_]

    def taken(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Chunk:
        """Return some of the rows."""
        return Chunk._make(column[index] for column in self)


def make_chunk(
    energy: ArrayLike,
    lepton_energy: ArrayLike,
    cos_theta: ArrayLike,
    *,
    lepton_momentum: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    pdg_nu: ArrayLike,
    pdg_l: ArrayLike | None = None,
    target: ArrayLike = UNKNOWN,
    channel: ArrayLike = -1,
    charged: ArrayLike = True,
) -> Chunk:
    """Make a chunk of columns or single values of any type of number."""
    size = np.asarray(energy).shape

    def column(values: ArrayLike, kind: type) -> NDArray[np.generic]:
        return np.broadcast_to(np.asarray(values).astype(kind), size)

    ids = column(pdg_nu, np.int64)
    floats = (energy, lepton_energy, lepton_momentum, cos_theta, weight)
    missing = (0.0, 0.0, np.nan, 0.0, 1.0)
    return Chunk._make(
        [
            *(
                column(default if values is None else values, np.float64)
                for values, default in zip(floats, missing, strict=True)
            ),
            ids,
            lepton_of(ids) if pdg_l is None else column(pdg_l, np.int64),
            column(target, np.int64),
            column(channel, np.int64),
            column(charged, np.bool_),
        ]
    )


def channel_names(codes: Sequence[str], known: list[str]) -> Integer:
    """Return the place of each name in a list, which new names are appended to."""
    for name in codes:
        if name not in known:
            known.append(name)
    return np.array([known.index(name) for name in codes], np.int64)


def check_rules(rules: Rules, source: str) -> None:
    """Check that the neutrino wanted is one.

    Raises:
        InputError: it is not.
    """
    if rules.neutrino is not None and rules.neutrino not in NEUTRINOS:
        raise InputError.at(source, "neutrino", rules.neutrino, f"one of {NEUTRINOS}")
