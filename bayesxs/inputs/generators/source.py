"""Results of every reader of events: chunks of rows, and the meaning of a unit of weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import Chunk, nucleons

# Called with the part of the file that was read, from 0 to 1, and the events so far
type Progress = Callable[[float, int], None]

# In 1e-38 cm^2
UNITS: Final = {
    "pb": 100.0,
    "fb": 0.1,
    "nb": 1e5,
    "mb": 1e11,
    "cm2": 1e38,
    "10-38 cm2": 1.0,
    "1e-38 cm2": 1.0,
}
PER_ATOM: Final = ("PerAtom", "PerTargetAtom", "PerTarget")
PER_NUCLEON: Final = ("PerNucleon", "PerTargetNucleon")


class CrossSection(NamedTuple):
    """The meaning of a unit of weight: 1e-38 cm^2 per nucleon, or per atom; as the file says it.

    Attributes:
        per_weight: 1e-38 cm^2 a unit of weight.
        per_atom: whether that is for a whole nucleus.
        words: the file's own value and unit.
    """

    per_weight: float
    per_atom: bool
    words: str

    def per_nucleon(self, weight: float, target: int | None, source: str) -> float:
        """Return the cross section of events with this sum of weights, per nucleon.

        Raises:
            InputError: it is one per atom, of a target without a known number of nucleons.
        """
        if not self.per_atom:
            return self.per_weight * weight
        number = None if target is None else nucleons(target)
        if number is None or number < 1:
            allowed = "a nucleus, as the cross section is one per atom"
            raise InputError.at(source, "target", target, allowed)
        return self.per_weight * weight / number


class Source(Protocol):
    """A file of events of one format."""

    @property
    def path(self) -> str:
        """The file, as messages name it."""

    @property
    def format(self) -> str:
        """Name of the format."""

    @property
    def channels(self) -> Sequence[str]:
        """Names of channels; complete once the chunks were read."""

    def chunks(self, progress: Progress) -> Iterator[Chunk]:
        """Yield the rows in GeV, a bounded number at a time.

        Raises:
            InputError: unreadable, damaged or truncated file, missing column or branch.
        """

    def cross_section(self, weights: float) -> CrossSection | None:
        """Return what a unit of weight stands for, once all chunks were read.

        Args:
            weights: sum of the weights of all rows of the file.

        Raises:
            InputError: units that are not known, or values that contradict each other.
        """


def in_units(value: float, unit: str, scale: str, source: str) -> tuple[float, bool]:
    """Return a cross section in 1e-38 cm^2, and whether it is one per atom.

    Raises:
        InputError: a unit or a scale that is not known.
    """
    known = {name.replace(" ", "").lower(): size for name, size in UNITS.items()}
    plain = unit.replace(" ", "").replace("^", "").lower()
    if plain not in known:
        raise InputError.at(source, "unit of the cross section", unit, f"one of {', '.join(UNITS)}")
    if scale not in PER_ATOM + PER_NUCLEON:
        allowed = f"one of {', '.join(PER_ATOM + PER_NUCLEON)}"
        raise InputError.at(source, "scale of the cross section", scale, allowed)
    return value * known[plain], scale in PER_ATOM
